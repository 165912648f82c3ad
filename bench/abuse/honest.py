"""Honest people beside the abuse, in a process of their own: they claim and pay, and notice something or not."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Protocol

from bench.abuse.ground import Ground, Shop
from bench.abuse.shopping import Checkout, claim, code_token, exchange, from_address, settle, solution_of
from bench.abuse.wire import Answer, Line

#: Who is told to come again in so many seconds does so, once, as a program with our kit and our own pages do.
PATIENT_S = 2
#: At once so many are under way, so that one who waits delays nobody else.
AT_ONCE = 16


class Event(Protocol):
    """Of threads, or of processes."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that somebody wanted, and what came of it. `again`: it was asked twice, for a wait that was short."""

    kind: str
    at: float
    took_ms: float
    outcome: str
    succeeded: bool
    again: bool
    waited: bool
    captcha: bool


@dataclass
class Crowd:
    """Honest traffic that runs until it is ended."""

    port: int
    shops: Sequence[Shop]
    links: Sequence[str]
    per_s: float
    ended: Event
    seed: int
    steps: list[Step] = field(default_factory=list)

    def work(self) -> None:
        """One shopping trip after the other, at an even pace."""
        links, lock, began_s = iter(enumerate(self.links)), threading.Lock(), time.monotonic()

        def take() -> tuple[int, str] | None:
            with lock:
                number, link = next(links, (0, ""))
            is_over = self.ended.wait(max(0.0, began_s + number / self.per_s - time.monotonic())) or not link
            return None if is_over else (number, link)

        def trips() -> None:
            with Line(self.port) as line:
                while (found := take()) is not None:
                    number, link = found
                    Trip(self, line, self._dice(number), number).walk(link)

        threads = [threading.Thread(target=trips) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _dice(self, number: int) -> random.Random:
        return random.Random(f"{self.seed} {number}")  # noqa: S311 – no secret


class Trip:
    """One holder with a network of his own, who shops in one of three ways."""

    def __init__(self, crowd: Crowd, line: Line, dice: random.Random, number: int) -> None:
        self._crowd, self._line, self._number = crowd, line, number
        self._shop, self._key = dice.choice(crowd.shops), secrets.token_urlsafe(16)
        third, fourth = divmod(number, 256)
        self._address = f"10.{third % 256}.{fourth}.{dice.randrange(1, 255)}"
        self._network = self._address.rpartition(".")[0] + ".0/24"

    def walk(self, link: str) -> None:
        """Stops at the first step that comes to nothing: what follows would need it."""
        nonce = secrets.token_urlsafe(32)
        opened = self._step(
            "claim", lambda captcha: claim(self._line, link, nonce=nonce, address=self._address, captcha=captcha)
        )
        if opened is None:
            return
        code = str(opened.told["code"])
        way = (self._by_store, self._by_field, self._by_checkout)[self._number % 3]
        payment_id = way(code)
        if payment_id:
            self._step("settle", lambda _: settle(self._line, self._shop, payment_id))

    def _by_store(self, code: str) -> str | None:
        shopper = {"key_hash": self._key, "address_prefix": self._network}
        paid = self._step("exchange", lambda _: exchange(self._line, self._shop, code=code, shopper=shopper))
        return str(paid.told["id"]) if paid else None

    def _by_field(self, code: str) -> str | None:
        typed = self._step("field", lambda captcha: self._typed(code, captcha))
        if typed is None:
            return None
        token, shopper = str(typed.told["code_token"]), {"key_hash": self._key}
        paid = self._step(
            "exchange by token",
            lambda _: exchange(self._line, self._shop, code=token, shopper=shopper, by="code_token"),
        )
        return str(paid.told["id"]) if paid else None

    def _typed(self, code: str, captcha: str | None) -> Answer:
        headers = from_address(self._address)
        return code_token(
            self._line, self._crowd.port, self._shop, code=code, headers=headers, key=self._key, captcha=captcha
        )

    def _by_checkout(self, code: str) -> None:
        page = Checkout(self._line, self._crowd.port, self._shop, self._address)
        if self._step("push", lambda _: page.push()) and self._step("checkout page", lambda _: page.open()):
            paid = self._step("checkout", lambda captcha: page.try_code(code, captcha), page.leads_to_store)
            if paid is not None:
                self._step("redeem", lambda _: page.redeem(paid.headers["location"]))

    def _step(
        self, kind: str, ask: Callable[[str | None], Answer], is_good: Callable[[Answer], bool] | None = None
    ) -> Answer | None:
        """Asks; solves the captcha where one is asked; and comes again once where that is soon."""
        answer = ask(None)
        if (captcha := solution_of(answer)) is not None:
            answer = ask(captcha)
        waited = answer.status == 429
        again = answer.retry_after_s is not None and answer.retry_after_s <= PATIENT_S
        if again and not self._crowd.ended.wait(answer.retry_after_s):
            answer = ask(None)
            if (solution := solution_of(answer)) is not None:
                answer = ask(solution)
        succeeded = is_good(answer) if is_good else answer.status < 300
        self._crowd.steps.append(
            Step(
                kind, answer.began_at, answer.took_ms, answer.outcome, succeeded, again, waited, captcha is not None
            )
        )  # fmt: skip
        return answer if succeeded else None


class Beside:
    """An honest crowd in a process of its own: its processor time is not the abuse's."""

    def __init__(self, ground: Ground, *, links: int, per_s: float, shops: Sequence[Shop] | None = None) -> None:
        context = get_context("spawn")
        self._ended, (self._mine, its) = context.Event(), context.Pipe(duplex=False)
        crowd = Crowd(ground.port, shops or ground.shops, ground.links(links), per_s, self._ended, seed=1)
        self._process = context.Process(target=_work, args=(crowd, its), daemon=True)
        self._process.start()
        its.close()

    def end(self) -> list[Step]:
        """Everything that they did."""
        self._ended.set()
        steps: list[Step] = self._mine.recv()
        self._process.join(60)
        return steps


def _work(crowd: Crowd, its: Connection) -> None:
    crowd.work()
    its.send(crowd.steps)
