"""A try of a code: counted before anybody looks at it, in a transaction of its own, and given back when it was right.

Nobody waits here, and nobody slips through between look and note: a try that is under way counts as a wrong one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy, CodeNotAccepted, LinkNotAccepted, TryLater
from app.guard import backoff, counts
from app.guard.backoff import Count
from app.guard.counts import Counted, Found, Noted
from app.guard.keys import ANYBODY, Key, Kind, browser_keys, shopper_keys, store_key
from app.ids import StoreId
from app.web.networks import Address
from app.web.traces import trace_of

#: What says that a code, or a link's key, was wrong.
WRONG = (CodeNotAccepted, LinkNotAccepted)
#: After so many wrong tries from a network a page of ours asks for a captcha.
CAPTCHA_AFTER = 3
#: A store's good exchanges are counted anew so often, and only while its wrong ones are many.
RECKONED_FOR = timedelta(minutes=1)

_NAMED = "This shopper tried many wrong codes: have the code compared, and wait as Retry-After says."
_UNNAMED = (
    "This store sent many wrong codes, so that those without a shopper are slowed down: wait as Retry-After says, or "
    "name the shopper (shopper.key_hash), who has tries of his own."
)
_VISITING = "There were many wrong tries from your network."

log = structlog.get_logger(__name__)

#: What becomes of a count: key, count, time, a store's budget, and what the try at hand would leave if it had not been.
Decision = Callable[[Key, Count, datetime, int, Count | None], Count]


@dataclass(frozen=True, slots=True)
class Change:
    """A count before a try, and level and end of its wait after it."""

    before: Count
    after: tuple[float, datetime]


#: By the key's hash.
Changes = Mapping[bytes, Change]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at a page of ours. `prove` looks at the captcha that came along, once it is asked, and raises
    CaptchaNeeded; without it none is asked."""

    address: Address | None
    prove: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """Whose try it is: `own` counts may make it wait, `noted` ones hear of it when it was wrong, and `suspicious` ones
    have it show first that it is no robot."""

    own: tuple[Key, ...]
    noted: tuple[Key, ...]
    too_many: str
    suspicious: tuple[Key, ...] = ()
    prove: Callable[[], None] | None = None


def watch_store(store_id: StoreId, *, shopper_key: str | None, network: str | None = None) -> Watched:
    """A store that tries a code for a shopper, whom it may name. What others try there delays him only if it does not.

    `network` is where it says that the shopper comes from.
    """
    store = store_key(store_id)
    if shopper_key is None:
        return Watched((store,), (ANYBODY,), _UNNAMED)
    return Watched(shopper_keys(store_id, shopper_key, network), (store, ANYBODY), _NAMED)


def watch_visitor(who: Visitor, *, store_id: StoreId | None = None) -> Watched:
    """Somebody at a page of ours who types a code for a store's order, or without one brings a claim link's key; these
    count apart. What is wrong here never counts for the store; where that has many wrong codes, a captcha is asked."""
    own = browser_keys(who.address, "link" if store_id is None else "code")
    suspicious = (*own, ANYBODY) if store_id is None else (*own, ANYBODY, store_key(store_id))
    return Watched(own, (ANYBODY,), _VISITING, suspicious, who.prove)


@contextmanager
def one_try(who: Watched) -> Iterator[None]:
    """Inside, one code or key is looked at. A right one gives the try back, and halves what was wrong before.

    Raises TryLater, Busy, and what `prove` does, all before anything is looked at.
    """
    _ask_for_captcha(who, must_wait=True)
    changes = _take(who)
    try:
        yield
    except WRONG:
        _settle(who.noted, _note_wrong)
        raise
    except BaseException:
        _settle(who.own, _give_back, changes)
        raise
    _settle(who.own, _note_success, changes)


@contextmanager
def one_key(who: Watched) -> Iterator[None]:
    """Inside, the key of a claim link is looked at. Nobody guesses 256 bits, so a right one passes whatever was wrong
    before it from the same network; a wrong one counts, and whoever brings one too soon is told to wait.

    Raises TryLater in place of what says that the key was wrong, Busy, and what `prove` does.
    """
    _ask_for_captcha(who, must_wait=False)
    try:
        yield
    except WRONG:
        _take(who)
        _settle(who.noted, _note_wrong)
        raise


def _ask_for_captcha(who: Watched, *, must_wait: bool) -> None:
    """Whoever has to wait is told so first, and keeps the captcha that he has solved."""
    if who.prove is None:
        return
    with transaction() as db:
        found, now = counts.read(db, [key.hash for key in who.suspicious])
    for key in who.own:
        if must_wait and (seen := found.get(key.hash)) is not None and not backoff.is_free(seen.count, now):
            raise _later(who, backoff.Wait(seen.count.free_at, now))
    if _is_suspicious(found, now, who.suspicious):
        who.prove()


def _is_suspicious(found: Found, now: datetime, keys: Sequence[Key]) -> bool:
    return any(_asks_for_captcha(key, found[key.hash], now) for key in keys if key.hash in found)


def _asks_for_captcha(key: Key, seen: Counted, now: datetime) -> bool:
    match key.kind:
        case Kind.PERSON:
            return backoff.unforgiven(seen.count, now) > CAPTCHA_AFTER - 1
        case Kind.STORE:
            return backoff.is_spent(seen.count, now, budget=seen.budget or backoff.LEAST_BUDGET)
        case Kind.ANYBODY:
            return backoff.is_unusual(seen.count, now, usual_per_s=settings().usual_wrong_codes_per_s)


def _take(who: Watched) -> Changes:
    try:
        return _change(who.own, _count_try)
    except backoff.Wait as wait:
        raise _later(who, wait) from None


def _later(who: Watched, wait: backoff.Wait) -> TryLater:
    return TryLater(who.too_many, retry_after_s=wait.seconds)


def _settle(keys: Sequence[Key], decide: Decision, changes: Changes | None = None) -> None:
    """What the try came to is told in any case, for money may have moved: a count that could not be mended is mended
    by time."""
    try:
        _change(keys, decide, changes)
    except (Busy, DBAPIError) as error:
        log.warning("try_not_settled", error=trace_of(error))


def _change(keys: Sequence[Key], decide: Decision, changes: Changes | None = None) -> Changes:
    """`changes`: what this try has changed before. Where nobody has come since, that is undone first."""
    changed: dict[bytes, Change] = {}
    with transaction(durable=False) as db:
        found, now = counts.lock(db, [key.hash for key in keys])
        noted = {}
        for key in keys:
            seen, before = found[key.hash], (changes or {}).get(key.hash)
            is_alone = before is not None and (seen.count.level, seen.count.free_at) == before.after
            noted[key.hash] = _decided(key, seen, now, decide, undone=before.before if before and is_alone else None)
            count = noted[key.hash].counted.count
            changed[key.hash] = Change(seen.count, (count.level, count.free_at))
        counts.write(db, noted)
    for key in keys:
        if key.kind is Kind.STORE:
            _reckon(key, noted[key.hash].counted, now)
    return changed


def _decided(key: Key, seen: Counted, now: datetime, decide: Decision, *, undone: Count | None) -> Noted:
    budget = seen.budget or backoff.LEAST_BUDGET
    count = decide(key, seen.count, now, budget, undone)
    match key.kind:
        case Kind.PERSON:
            leaks_per_s = 1 / backoff.LONGEST_S
        case Kind.STORE:
            leaks_per_s = budget / 60
        case Kind.ANYBODY:
            leaks_per_s = settings().usual_wrong_codes_per_s
    return Noted(replace(seen, count=count), backoff.over_at(count, leaks_per_s=leaks_per_s))


def _reckon(key: Key, seen: Counted, now: datetime) -> None:
    """Reckons what is usual for a store whose wrong codes are becoming many, before it slows anybody down, and while
    nobody waits for its count: an hour's exchanges are not counted at once."""
    is_fresh = seen.budgeted_at is not None and now - seen.budgeted_at < RECKONED_FOR
    if is_fresh or not backoff.is_spent(seen.count, now, budget=backoff.LEAST_BUDGET // 2):
        return
    try:
        with transaction() as db:
            good = db.exec_driver_sql(_GOOD_EXCHANGES, (now - timedelta(hours=1), key.name)).scalar_one()
        with transaction(durable=False) as db:
            counts.note_budget(db, key.hash, backoff.budget_of(good), now)
    except Busy as busy:  # the next wrong code has it reckoned; this one has been counted
        log.warning("budget_not_reckoned", error=trace_of(busy))


_GOOD_EXCHANGES = """
SELECT count(*) FROM event WHERE kind = 'code_exchanged' AND at > $1 AND facts->>'store_id' = $2
"""


def _count_try(key: Key, seen: Count, now: datetime, budget: int, _: Count | None) -> Count:
    if key.kind is Kind.STORE:
        return backoff.take_unnamed_try(seen, now, budget=budget)
    return backoff.take_try(seen, now, free=key.free)


def _give_back(key: Key, seen: Count, now: datetime, budget: int, undone: Count | None) -> Count:
    """Whoever has waited does not wait again for what came to nothing."""
    if key.kind is Kind.STORE:
        return backoff.give_back_unnamed_try(seen, now, budget=budget)
    return undone or backoff.give_back_try(seen, now, free=key.free)


def _note_success(key: Key, seen: Count, now: datetime, budget: int, undone: Count | None) -> Count:
    if key.kind is Kind.STORE:
        return backoff.give_back_unnamed_try(seen, now, budget=budget)
    left = undone or backoff.give_back_try(seen, now, free=key.free)
    return backoff.note_success(left, now, free=key.free)


def _note_wrong(key: Key, seen: Count, now: datetime, budget: int, _: Count | None) -> Count:
    if key.kind is Kind.STORE:
        return backoff.note_wrong(seen, now, budget=budget)
    return backoff.note_wrong_anywhere(seen, now, usual_per_s=settings().usual_wrong_codes_per_s)
