"""Whether the time of a refusal tells why: six kinds of codes that are not accepted, and each pair of them."""

import itertools
import random
import secrets
from collections.abc import Callable, Mapping, Sequence

from app.issuance.code import draw_code
from bench.abuse.ground import Ground, Shop, add_programme, add_shop
from bench.abuse.shopping import claim, exchange, good, path_of, settle
from bench.abuse.verdict import Measured, percentile
from bench.abuse.wire import Line

#: So much of all times a threshold may tell right; one half is told by a coin.
LIMIT = 0.52
#: So many codes of each kind are tried in turn.
OF_EACH = 20

Kinds = Mapping[str, Callable[[], str]]


def measure(ground: Ground, *, samples: int, say: Callable[[str], None]) -> list[Measured]:
    """Milliseconds of `samples` refusals of each kind over one kept connection, each for a fresh shopper."""
    shop, other = ground.shops[0], ground.shops[1]
    kinds = _kinds(ground, other)
    times = {name: list[float]() for name in kinds}
    order = [name for name in kinds for _ in range(samples)]
    random.shuffle(order)
    with Line(ground.port) as line:
        for number, name in enumerate(order):
            if number % 1_000 == 0:
                say(f"{number} of {len(order)} refusals")
            answer = exchange(line, shop, code=kinds[name](), shopper={"key_hash": secrets.token_urlsafe(16)})
            if answer.outcome != "code-not-accepted":
                raise RuntimeError(f"{name}: {answer.status} {answer.body.decode()}")
            times[name].append(answer.took_ms)
    return judge(times)


def judge(times: Mapping[str, Sequence[float]]) -> list[Measured]:
    """The times of each kind, and for each pair of kinds how much of it the best threshold tells."""
    found = [Measured(f"{name}, median", f"{percentile(each, 0.5):.2f} ms") for name, each in times.items()]
    for one, two in itertools.combinations(times, 2):
        told = told_apart(times[one], times[two])
        found.append(Measured(f"{one} / {two}", f"{told:.1%}", f"≤ {LIMIT:.0%}", told <= LIMIT))
    return found


def told_apart(one: Sequence[float], two: Sequence[float]) -> float:
    """The share that a threshold tells right: the best one for either half, judged on the other half."""
    halves = [(one[::2], two[::2]), (one[1::2], two[1::2])]
    shares = [_share(*best_threshold(*fitted), *judged) for fitted, judged in (halves, halves[::-1])]
    return sum(shares) / 2


def best_threshold(one: Sequence[float], two: Sequence[float]) -> tuple[float, bool]:
    """Below which time it is most often the first (or the second: False) of the two."""
    below = {True: 0, False: 0}
    best, threshold, first_is_below = 0, 0.0, True
    for took, is_first in sorted([(took, True) for took in one] + [(took, False) for took in two]):
        below[is_first] += 1
        right = below[True] + len(two) - below[False]
        for found, is_so in ((right, True), (len(one) + len(two) - right, False)):
            if found > best:
                best, threshold, first_is_below = found, took, is_so
    return threshold, first_is_below


def _share(threshold: float, first_is_below: bool, one: Sequence[float], two: Sequence[float]) -> float:
    right = sum(took <= threshold for took in one) + sum(took > threshold for took in two)
    share = right / (len(one) + len(two))
    return share if first_is_below else 1 - share


# ── the codes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _kinds(ground: Ground, other: Shop) -> Kinds:
    """By kind what gives the next code of it."""
    with Line(ground.port) as line:
        turns = {name: itertools.cycle(each) for name, each in _codes(ground, line, other).items()}
    return {"unknown": draw_code, **{name: turn.__next__ for name, turn in turns.items()}}


def _codes(ground: Ground, line: Line, other: Shop) -> Mapping[str, Sequence[str]]:
    foreign, live = add_programme(stores=(other.store_id,)), add_programme(mode="live")
    add_shop("Elsewhere", mode="live")
    lapsing = ground.links(OF_EACH)
    codes = {
        "dead": [_claimed(line, link) for link in ground.links(OF_EACH)],
        "lapsed": [_claimed(line, link) for link in lapsing],
        "bound elsewhere": [_claimed(line, link) for link in ground.links(OF_EACH)],
        "other programme": [_claimed(line, ground.issue(*foreign)) for _ in range(OF_EACH)],
        "other mode": [_claimed(line, ground.issue(*live)) for _ in range(OF_EACH)],
    }
    for code in codes["dead"]:
        good(settle(line, other, _held(line, other, code)))
    for code in codes["bound elsewhere"]:
        _held(line, other, code)
    with ground.database() as db:
        db.execute(_LAPSE, ([path_of(link).rpartition("/")[2] for link in lapsing],))
    return codes


#: Their time is over, and no worker has come by yet.
_LAPSE = """
UPDATE card SET expires_at = created_at + interval '1 millisecond'
WHERE id IN (SELECT card_id FROM claim_link WHERE id = ANY(%s))
"""


def _claimed(line: Line, link: str) -> str:
    address = str(secrets.choice(range(1, 224))) + "." + ".".join(str(secrets.randbelow(256)) for _ in range(3))
    answer = claim(line, link, nonce=secrets.token_urlsafe(32), address=address)
    return str(good(answer).told["code"])


def _held(line: Line, shop: Shop, code: str) -> str:
    answer = exchange(line, shop, code=code, shopper={"key_hash": secrets.token_urlsafe(16)})
    return str(good(answer).told["id"])
