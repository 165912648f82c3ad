"""People who guess, in processes of their own: well-formed codes of nobody, from many networks, in every way."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from resource import RUSAGE_SELF, getrusage

from app.issuance.code import draw_code, show_code
from bench.abuse.ground import Ground, Shop
from bench.abuse.honest import Event
from bench.abuse.shopping import Checkout, code_token, exchange, from_address
from bench.abuse.wire import Answer, Line

#: Through a store: a fresh session for each guess, one of three sessions a store, no shopper at all. Or our own pages.
WAYS = ("fresh shopper", "few shoppers", "no shopper", "field", "checkout")
LINES = 8
PROCESSES = 2
#: A page of the hosted checkout takes five wrong codes.
TRIES_OF_PAGE = 5


@dataclass(frozen=True, slots=True)
class Told:
    """What all guesses came to, by way and outcome; how many were right, and what asking took of a processor."""

    outcomes: Counter[tuple[str, str]]
    hits: int
    cpu_s: float

    @property
    def guesses(self) -> int:
        return sum(self.outcomes.values())

    def of(self, way: str) -> int:
        return sum(many for (each, _), many in self.outcomes.items() if each == way)

    @property
    def looked_at(self) -> Counter[str]:
        """By way how many codes were hashed and looked up: the rest were refused before."""
        return Counter({way: many for (way, outcome), many in self.outcomes.items() if outcome == "code-not-accepted"})


@dataclass
class Gang:
    """One process of guessers. `per_s` is how fast they would like to be; None is as fast as they are answered."""

    port: int
    shops: Sequence[Shop]
    prefixes: Sequence[str]
    ways: Sequence[str]
    guesses: int
    per_s: float | None
    lines: int
    ended: Event
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    hits: int = 0

    def work(self) -> None:
        """Guesses until there were enough, or it is ended."""
        numbers, lock, began_s = iter(range(self.guesses)), threading.Lock(), time.monotonic()

        def take() -> int | None:
            with lock:
                number = next(numbers, None)
            if number is None or self.ended.is_set():
                return None
            is_over = self.per_s and self.ended.wait(max(0.0, began_s + number / self.per_s - time.monotonic()))
            return None if is_over else number

        def guess() -> None:
            with Line(self.port) as line:
                guesser = Guesser(self, line, random.Random())  # noqa: S311 – no secret
                while (number := take()) is not None:
                    way = self.ways[number % len(self.ways)]
                    outcome, is_hit = guesser.guess(way)
                    with lock:
                        self.outcomes[way, outcome] += 1
                        self.hits += is_hit

        threads = [threading.Thread(target=guess) for _ in range(self.lines)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Guesser:
    """One connection, which comes from another network each time."""

    def __init__(self, gang: Gang, line: Line, dice: random.Random) -> None:
        self._gang, self._line, self._dice = gang, line, dice
        self._page: tuple[Checkout, int] | None = None

    def guess(self, way: str) -> tuple[str, bool]:
        """What one guess came to, and whether it was right."""
        shop, prefix = self._dice.choice(self._gang.shops), self._dice.choice(self._gang.prefixes)
        code = show_code(draw_code())
        match way:
            case "field":
                headers = from_address(address_in(prefix, self._dice))
                return _told(code_token(self._line, self._gang.port, shop, code=code, headers=headers))
            case "checkout":
                return self._at_page(shop, prefix, code)
            case "fresh shopper":
                shopper = {"key_hash": secrets.token_urlsafe(16), "address_prefix": prefix}
            case "few shoppers":
                shopper = {"key_hash": f"guesser-{self._dice.randrange(3)}"}
            case "one shopper":
                shopper = {"key_hash": "guesser-of-this-store"}
            case _:
                return _told(exchange(self._line, shop, code=code, shopper=None))
        return _told(exchange(self._line, shop, code=code, shopper=shopper))

    def _at_page(self, shop: Shop, prefix: str, code: str) -> tuple[str, bool]:
        """The store pushes a request for whoever comes to its checkout; its page is used until it is dead."""
        page, tries = self._page or (None, 0)
        if page is None or tries >= TRIES_OF_PAGE:
            page, tries = Checkout(self._line, self._gang.port, shop, address_in(prefix, self._dice)), 0
            for answer in (page.push(), page.open()):
                if answer.status >= 400:
                    self._page = None
                    return f"no page: {answer.status}", False
        answer = page.try_code(code)
        self._page = (page, tries + 1) if answer.status in (303, 403) else None
        if page.leads_to_store(answer):
            return "hit", True
        return {303: "code-not-accepted", 403: "captcha-needed", 429: "try-later"}.get(
            answer.status, str(answer.status)
        ), False


def _told(answer: Answer) -> tuple[str, bool]:
    return answer.outcome, answer.status < 300


def prefixes(many: int) -> list[str]:
    """Networks that nobody else comes from: half of them IPv4, half IPv6, where twenty share a site."""
    v4 = [f"198.{18 + number // 256}.{number % 256}.0/24" for number in range(many // 2)]
    v6 = [f"2001:db8:{number // 20:x}:{number % 20:x}::/64" for number in range(many - many // 2)]
    return v4 + v6


def address_in(prefix: str, dice: random.Random) -> str:
    """Any address of the network: in v6 there are enough for a fresh one each time."""
    network = prefix.partition("/")[0]
    if ":" in network:
        return network + ":".join(f"{dice.getrandbits(16):x}" for _ in range(4))
    return f"{network.rpartition('.')[0]}.{dice.randrange(1, 255)}"


class Attack:
    """Guessers in processes of their own."""

    def __init__(
        self,
        ground: Ground,
        *,
        guesses: int,
        per_s: float | None,
        networks: int = 1_000,
        ways: Sequence[str] = WAYS,
        shops: Sequence[Shop] | None = None,
        processes: int = PROCESSES,
        lines: int = LINES,
    ) -> None:
        context = get_context("spawn")
        self._ended, self._lines, self._processes = context.Event(), [], []
        for number in range(processes):
            mine, its = context.Pipe(duplex=False)
            gang = Gang(
                port=ground.port,
                shops=shops or ground.shops,
                prefixes=prefixes(networks)[number::processes],
                ways=ways,
                guesses=guesses // processes,
                per_s=per_s and per_s / processes,
                lines=lines,
                ended=self._ended,
            )
            process = context.Process(target=_work, args=(gang, its), daemon=True)
            process.start()
            its.close()
            self._lines.append(mine)
            self._processes.append(process)

    def is_over(self) -> bool:
        """Whether all have guessed enough."""
        return all(line.poll() for line in self._lines)

    def end(self) -> Told:
        """Stops those who are still guessing."""
        self._ended.set()
        told: list[Told] = [line.recv() for line in self._lines]
        for process in self._processes:
            process.join(60)
        outcomes = Counter[tuple[str, str]]()
        for each in told:
            outcomes.update(each.outcomes)
        return Told(outcomes, sum(each.hits for each in told), sum(each.cpu_s for each in told))


def _work(gang: Gang, its: Connection) -> None:
    gang.work()
    used = getrusage(RUSAGE_SELF)
    its.send(Told(gang.outcomes, gang.hits, used.ru_utime + used.ru_stime))
