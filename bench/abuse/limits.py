"""Whether limits hold against two workers and whoever plays with headers, addresses, letters and names."""

import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

from app.issuance.code import draw_code, show_code
from bench.abuse.ground import Ground, Shop
from bench.abuse.guessers import address_in
from bench.abuse.hostile_shopper import looked_at_most
from bench.abuse.shopping import claim, code_token, exchange, from_address, good
from bench.abuse.verdict import Measured
from bench.abuse.wire import Answer, Headers, Line
from tests.guard.captchas import captchas_asked

#: At once, so that both workers have some of them under way.
LINES = 8
TRIES = 40
PERSON, SHARED, BUDGET = 5, 20, 20
#: After three wrong codes of a network our pages ask for a captcha, which nobody solves here; who begins while they are
#: looked at was not asked yet. Where one network is behind all of them, its own five end it.
OF_NETWORK, OF_SITE = 5, 3 + LINES - 1
WRONG = "code-not-accepted"

#: What a stranger writes to seem another one each time. A proxy that we trust adds whom it sees as the last entry.
SPOOFED: Mapping[str, Callable[[int], Headers]] = {
    "X-Forwarded-For": lambda n: [("X-Forwarded-For", f"192.0.2.{n}")],
    "in other letters": lambda n: [("x-FORWARDED-for", f"198.51.{n}.1")],
    "twice": lambda n: [("X-Forwarded-For", f"198.51.{n}.1"), ("X-Forwarded-For", f"203.0.{n}.1")],
    "with underscores": lambda n: [("X_Forwarded_For", f"198.51.{n}.1")],
    "Forwarded": lambda n: [("Forwarded", f"for=198.51.{n}.1")],
    "X-Real-IP": lambda n: [("X-Real-IP", f"198.51.{n}.1"), ("X-Client-IP", f"198.51.{n}.1")],
    "of clouds": lambda n: [("True-Client-IP", f"198.51.{n}.1"), ("CF-Connecting-IP", f"2001:db8:{n:x}::1")],
}
#: One network, spelt in many ways.
SPELT = ["203.0.113.0/24", "203.0.113.77/24", "203.0.113.5", "203.0.113.128/25", "203.0.113.9/32"]
SPELT_V6 = ["2001:db8:77:1::/64", "2001:DB8:77:1:0:0:0:0/64", "2001:0db8:0077:0001::1/128", "2001:db8:77:1:f::/80"]
_DIGITS, _CAPITALS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Letters that look like plain ones, or mean the same elsewhere.
LOOK_ALIKES = {
    "fullwidth letters": str.maketrans(_DIGITS + _CAPITALS, "".join(chr(ord(c) + 0xFEE0) for c in _DIGITS + _CAPITALS)),
    "Cyrillic letters": str.maketrans("ABCEHKMPTX", "АВСЕНКМРТХ"),
    "Arabic digits": str.maketrans(_DIGITS, "".join(chr(0x660 + n) for n in range(10))),
}


def measure_untrusting(ground: Ground) -> list[Measured]:
    """Of a service that trusts no proxy: whatever headers say, whoever comes over one connection is one network."""
    field = _Field(ground)
    found = []
    for name, spoofed in SPOOFED.items():
        headers = [spoofed(n) for n in range(TRIES)]
        found.append(_at_most(f"field, spoofed {name}", field.outcomes(headers), OF_NETWORK))
    return found


def measure(ground: Ground) -> list[Measured]:
    """Of a service that trusts the proxy on this machine: everything else."""
    return [
        *_at_stores(ground),
        *_spellings_of_codes(ground),
        *_of_networks(ground),
        *_behind_proxy(ground),
        _everybody(ground),
    ]


# ── at stores ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _at_stores(ground: Ground) -> list[Measured]:
    fresh = [{"key_hash": secrets.token_urlsafe(16)} for _ in range(TRIES)]
    odd = ["shopper-ключ", "shopper key", "shopper\tkey", "shopper\u200bkey", "ｓｈｏｐｐｅｒ"]

    def from_network(spelt: Sequence[str]) -> list[Mapping[str, str]]:
        return [{**key, "address_prefix": spelt[n % len(spelt)]} for n, key in enumerate(fresh)]

    return [
        at_once_by_a_shopper(ground, "shopper-1"),
        _tried("a network in many spellings", ground, from_network(SPELT), SHARED),
        _tried("a v6 network in many spellings", ground, from_network(SPELT_V6), SHARED),
        _tried("a store's budget, without a shopper", ground, [None] * TRIES, BUDGET),
        _at_most("shoppers whose key is no plain text", _tries(ground, [{"key_hash": key} for key in odd]), 0),
    ]


def at_once_by_a_shopper(ground: Ground, key: str) -> Measured:
    """Many tries of one shopper in one moment, over as many connections as reach both workers."""
    return _tried("a shopper", ground, [{"key_hash": key}] * TRIES, PERSON)


def _tried(name: str, ground: Ground, shoppers: Sequence[Mapping[str, str] | None], free: int) -> Measured:
    ground.forgive_all()
    began_s = time.monotonic()
    told = _tries(ground, shoppers)
    within_s = time.monotonic() - began_s
    most = looked_at_most(free, within_s) if shoppers[0] else free + math.ceil(within_s * free / 60)
    return _at_most(name, told, most)


def _spellings_of_codes(ground: Ground) -> list[Measured]:
    """One code in many spellings: what is no plain letter is a typing mistake, and each plain spelling counts once."""
    ground.forgive_all()
    with Line(ground.port) as line:
        return _codes_spelt(ground, ground.shops[0], line)


def _codes_spelt(ground: Ground, shop: Shop, line: Line) -> list[Measured]:
    nonce = secrets.token_urlsafe(32)
    code = str(good(claim(line, ground.links(1)[0], nonce=nonce, address="192.0.2.1")).told["code"])
    found = []
    for name, likes in LOOK_ALIKES.items():
        typed = [each.translate(likes) for each in [code, *(show_code(draw_code()) for _ in range(30))]]
        told = Counter(_try(line, shop, each, "typist-1").outcome for each in typed if not each.isascii())
        found.append(Measured(f"codes in {name}", _told(told), "code-mistyped alone", set(told) == {"code-mistyped"}))
    wrong = show_code(draw_code())
    plain = [wrong, wrong.lower(), wrong.replace("-", ""), wrong.replace("0", "O").replace("1", "l"), f" {wrong} "]
    told = Counter(_try(line, shop, each, "typist-1").outcome for each in [*plain, wrong.replace("-", " ")])
    holds = (
        told[WRONG] == PERSON or told[WRONG] == len(plain) + 1
    )  # a machine so slow that the wait of a second is over
    right = _try(line, shop, code.lower().replace("-", " "), "typist-2").status
    return [
        *found,
        Measured("a wrong code, spelt in six ways", _told(told), f"{PERSON} looked at", holds),
        Measured("a right code, in small letters", str(right), "201", right == 201),
    ]


def _try(line: Line, shop: Shop, code: str, key: str) -> Answer:
    return exchange(line, shop, code=code, shopper={"key_hash": key})


# ── at our pages ────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_networks(ground: Ground) -> list[Measured]:
    field = _Field(ground)

    def hop(*prefixes: str) -> list[Headers]:
        return [from_address(address_in(prefixes[n % len(prefixes)], field.dice)) for n in range(TRIES)]

    site = [f"2001:db8:88:{n:x}::/64" for n in range(TRIES)]
    mapped = [from_address(f"::ffff:203.0.114.{n}") for n in range(TRIES)]
    return [
        _at_most("field, addresses of a v4 network", field.outcomes(hop("203.0.112.0/24")), OF_NETWORK),
        _at_most("field, v4 addresses in v6 spelling", field.outcomes(mapped), OF_NETWORK),
        _at_most("field, hopping in a v6 /64", field.outcomes(hop("2001:db8:99:1::/64")), OF_NETWORK),
        _at_most("field, hopping over a v6 /48", field.outcomes(hop(*site)), OF_SITE),
    ]


def _behind_proxy(ground: Ground) -> list[Measured]:
    """The proxy sees 203.0.115.x, and adds that to whatever was sent to it."""
    field, found = _Field(ground), []
    for number, (name, spoofed) in enumerate(SPOOFED.items()):
        seen = f"203.0.{120 + number}.7"
        headers = [_as_proxied(spoofed(n), seen) for n in range(TRIES)]
        found.append(_at_most(f"field behind a proxy, spoofed {name}", field.outcomes(headers), OF_NETWORK))
    return found


def _as_proxied(spoofed: Headers, seen: str) -> Headers:
    """Some proxies add an entry to the last line, some a line."""
    return [*spoofed, ("X-Forwarded-For", seen)]


def _everybody(ground: Ground) -> Measured:
    """While far more codes are wrong than usual, both workers ask strangers for a captcha before anything else."""
    field = _Field(ground)
    ground.forgive_all()
    with captchas_asked():
        told = field.outcomes([from_address(field.stranger()) for _ in range(2 * LINES)], forgiven=False)
    name = "strangers, while codes are wrong everywhere"
    return Measured(name, _told(told), "captcha alone", set(told) == {"captcha-needed"})


class _Field:
    """Wrong codes in a store's field, each with headers of its own, over many connections."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.dice = secrets.SystemRandom()

    def outcomes(self, headers: Sequence[Headers], *, forgiven: bool = True) -> Counter[str]:
        """What all of them are told, after nobody has been wrong before."""
        if forgiven:
            self._ground.forgive_all()
        return _at_once(self._ground.port, [partial(self._ask, each) for each in headers])

    def stranger(self) -> str:
        """From a network where nobody else has been."""
        return f"100.{self.dice.randrange(64, 128)}.{self.dice.randrange(256)}.1"

    def _ask(self, headers: Headers, line: Line) -> Answer:
        return code_token(line, self._ground.port, self._ground.shops[0], code=draw_code(), headers=headers)


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def _tries(ground: Ground, shoppers: Iterable[Mapping[str, str] | None]) -> Counter[str]:
    return _at_once(ground.port, [partial(_ask, ground.shops[0], each) for each in shoppers])


def _ask(shop: Shop, shopper: Mapping[str, str] | None, line: Line) -> Answer:
    return exchange(line, shop, code=draw_code(), shopper=shopper)


def _at_once(port: int, asks: Iterable[Callable[[Line], Answer]]) -> Counter[str]:
    lines: SimpleQueue[Line] = SimpleQueue()
    for _ in range(LINES):
        lines.put(Line(port))

    def ask(one: Callable[[Line], Answer]) -> str:
        line = lines.get()
        try:
            return one(line).outcome
        finally:
            lines.put(line)

    try:
        with ThreadPoolExecutor(LINES) as pool:
            return Counter(pool.map(ask, asks))
    finally:
        while not lines.empty():
            lines.get().close()


def _at_most(name: str, told: Counter[str], most: int) -> Measured:
    """Whether so many codes at most were looked at. Of those that may be, some were: else nothing was tried at all."""
    return Measured(name, _told(told), f"≤ {most} looked at", told[WRONG] <= most and (told[WRONG] > 0) == (most > 0))


def _told(told: Counter[str]) -> str:
    return ", ".join(f"{many} {outcome}" for outcome, many in sorted(told.items()))
