"""What may be issued, opened and asked for, decided purely: every refusal once, in the order of the checks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.errors import (
    AmountOutsideProgramme,
    CardHeld,
    CurrencyMismatch,
    InvalidRequest,
    IssuingLimitReached,
    LinkLapsed,
    LinkOpened,
    LinkSuperseded,
    Refusal,
    TryLater,
)
from app.issuance import rules
from app.money import Money
from tests.world import gbp

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE, A_MOMENT = timedelta(minutes=1), timedelta(microseconds=1)
TERMS = rules.Terms("GBP", 1_000, 50_000, 365)


def issue(amount: Money, *, by_email: bool = True, not_before: datetime | None = None) -> datetime:
    return rules.decide_issue(TERMS, amount, by_email=by_email, not_before=not_before, now=NOW)


@pytest.mark.parametrize(
    ("decide", "refusal"),
    [
        (lambda: issue(Money(1, "EUR")), CurrencyMismatch),
        (lambda: issue(gbp(999), by_email=False, not_before=NOW), AmountOutsideProgramme),
        (lambda: issue(gbp(50_001)), AmountOutsideProgramme),
        (lambda: issue(gbp(1_000), by_email=False, not_before=NOW), InvalidRequest),
        (lambda: issue(gbp(1_000), not_before=NOW + rules.LATEST_DELIVERY + A_MOMENT), InvalidRequest),
        (lambda: issue(gbp(1_000), not_before=NOW - rules.LATE_ASKED - A_MOMENT), InvalidRequest),
    ],
)
def test_each_refusal_to_issue(decide: Any, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        decide()


def test_a_card_lives_its_days_from_its_delivery() -> None:
    year = timedelta(days=365)
    assert issue(gbp(1_000)) == issue(gbp(50_000), not_before=NOW - MINUTE) == NOW + year
    assert issue(gbp(1_000), not_before=NOW - rules.LATE_ASKED) == NOW + year
    assert issue(gbp(1_000), by_email=False) == NOW + year
    assert issue(gbp(1_000), not_before=NOW + MINUTE) == NOW + MINUTE + year


WAITING = rules.LinkSeen(
    state="waiting",
    policy=rules.SINGLE_USE,
    expires_at=NOW + MINUTE,
    card_expires_at=NOW + MINUTE,
    opened_at=None,
    opened_by=None,
    is_newest=True,
    same_browser=False,
    code_state=None,
    held=False,
    bound_until=None,
    codes_today=0,
)
OPENED = replace(WAITING, state="opened", opened_at=NOW - MINUTE, opened_by="Firefox", code_state="live", codes_today=1)
AGAIN = replace(OPENED, policy=rules.FRESH_CODE_EACH_OPEN)
HELD: dict[str, Any] = {"code_state": "bound", "held": True, "bound_until": NOW + MINUTE}
VOIDED: dict[str, Any] = {"code_state": "bound", "held": False, "bound_until": NOW + MINUTE}


@pytest.mark.parametrize(
    ("link", "refusal"),
    [
        (replace(WAITING, state="superseded", is_newest=False), LinkSuperseded),
        (replace(WAITING, state="lapsed", is_newest=False), LinkSuperseded),
        (replace(OPENED, is_newest=False, card_expires_at=NOW), LinkOpened),
        (replace(WAITING, state="lapsed"), LinkLapsed),
        (replace(WAITING, expires_at=NOW), LinkLapsed),
        (replace(AGAIN, card_expires_at=NOW), LinkLapsed),
        (OPENED, LinkOpened),
        (replace(OPENED, same_browser=True, opened_at=NOW - rules.SAME_BROWSER_AGAIN), LinkOpened),
        (replace(OPENED, same_browser=True, **HELD), LinkOpened),
        (replace(AGAIN, code_state=None), LinkOpened),
        (replace(AGAIN, code_state="bound", bound_until=NOW), LinkOpened),
        (replace(AGAIN, code_state="bound", bound_until=NOW, card_expires_at=NOW), LinkOpened),
        (replace(AGAIN, **HELD), CardHeld),
        (replace(AGAIN, **HELD, card_expires_at=NOW), CardHeld),
        (replace(AGAIN, codes_today=5), TryLater),
    ],
)
def test_each_refusal_to_open(link: rules.LinkSeen, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        rules.decide_opening(link, NOW)


@pytest.mark.parametrize(
    ("link", "opening"),
    [
        (WAITING, rules.Opening.FIRST),
        (replace(WAITING, expires_at=NOW + A_MOMENT, codes_today=99), rules.Opening.FIRST),
        (replace(OPENED, same_browser=True), rules.Opening.AGAIN),
        (replace(OPENED, same_browser=True, opened_at=NOW - rules.SAME_BROWSER_AGAIN + A_MOMENT), rules.Opening.AGAIN),
        (AGAIN, rules.Opening.AGAIN),
        (replace(AGAIN, **VOIDED), rules.Opening.AGAIN),
        (replace(AGAIN, codes_today=4), rules.Opening.AGAIN),
        (replace(AGAIN, expires_at=NOW), rules.Opening.AGAIN),
    ],
)
def test_a_link_opens(link: rules.LinkSeen, opening: rules.Opening) -> None:
    assert rules.decide_opening(link, NOW) is opening


def test_an_opened_link_says_when_and_by_which_browser() -> None:
    with pytest.raises(LinkOpened) as refused:
        rules.decide_opening(OPENED, NOW)
    assert refused.value.facts == {"opened_at": OPENED.opened_at, "opened_by": "Firefox"}


@pytest.mark.parametrize(
    ("asked_at", "wait_s"),
    [
        ([NOW - timedelta(minutes=9)], 61),
        ([NOW - timedelta(hours=h) for h in (1, 2, 23)], 3_601),
    ],
)
def test_a_new_link_three_times_a_day_ten_minutes_apart(asked_at: list[datetime], wait_s: int) -> None:
    with pytest.raises(TryLater) as refused:
        rules.decide_new_link(asked_at, NOW)
    assert refused.value.retry_after_s == wait_s


@pytest.mark.parametrize("asked_at", [[], [NOW - timedelta(minutes=10)], [NOW - timedelta(hours=h) for h in (1, 2)]])
def test_a_new_link_is_given(asked_at: list[datetime]) -> None:
    rules.decide_new_link(asked_at, NOW)


@pytest.mark.parametrize(
    ("state", "expires_at", "held", "lapsed"),
    [
        ("active", NOW, False, True),
        ("active", NOW, True, False),
        ("active", NOW + A_MOMENT, False, False),
        ("spent", NOW, False, False),
        ("lapsed", NOW + MINUTE, False, True),
    ],
)
def test_a_card_lapses_at_its_date_unless_held(state: str, expires_at: datetime, held: bool, lapsed: bool) -> None:
    assert rules.has_lapsed(state=state, expires_at=expires_at, held=held, now=NOW) is lapsed


def test_value_that_comes_back_lives_long_enough() -> None:
    soon, late = NOW + MINUTE, NOW + timedelta(days=99)
    assert rules.after_release(soon, NOW) == NOW + timedelta(days=14)
    assert rules.after_release(late, NOW) == rules.after_refund(late, NOW) == late
    assert rules.after_refund(soon, NOW) == NOW + timedelta(days=14)
    assert rules.after_refund(NOW, NOW) == NOW + timedelta(days=90)


def test_a_link_ends_with_its_card_at_the_latest() -> None:
    assert rules.link_expiry(NOW + MINUTE, valid_days=90, now=NOW) == NOW + MINUTE
    assert rules.link_expiry(NOW + timedelta(days=99), valid_days=90, now=NOW) == NOW + timedelta(days=90)


@pytest.mark.parametrize(
    ("opened_at", "codes_today", "refusal"),
    [
        (None, 5, LinkOpened),
        (NOW - rules.PAGE_SESSION, 5, LinkOpened),
        (NOW - rules.PAGE_SESSION + A_MOMENT, 5, TryLater),
    ],
)
def test_each_refusal_of_a_fresh_code(opened_at: datetime | None, codes_today: int, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        rules.decide_page_code(opened_at, codes_today, NOW)


def test_a_fresh_code_soon_after_the_opening() -> None:
    rules.decide_page_code(NOW - rules.PAGE_SESSION + A_MOMENT, 4, NOW)


@pytest.mark.parametrize("name", ["", " ", "Book\nshop", "Book\x00shop"])
def test_a_name_that_people_could_not_read_is_refused(name: str) -> None:
    rules.check_name("Bookshop & Söhne")
    with pytest.raises(InvalidRequest):
        rules.check_name(name)


# ── a day's limits ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("used", "limit", "passed", "left"),
    [
        (1_000, 1_000, timedelta(0), 1_000),
        (1_000, 1_000, timedelta(hours=6), 750),
        (1_000, 1_000, timedelta(days=1), 0),
        (1_000, 1_000, timedelta(days=9), 0),
        (1_000, 400, timedelta(0), 400),  # a limit that was lowered
        (1_000, 1_000, timedelta(hours=-1), 1_000),  # a clock that was set back forgets nothing
    ],
)
def test_a_whole_limit_is_forgotten_in_a_day(used: int, limit: int, passed: timedelta, left: int) -> None:
    assert rules.still_used(Decimal(used), limit, passed) == left


@pytest.mark.parametrize(
    ("used_minor", "used_cards", "left", "free_in"),
    [
        (1_000, 5, None, None),  # exactly the limit
        (1_001, 5, (99, 1), timedelta(seconds=87)),
        (1_000, 6, (100, 0), timedelta(days=1) / 5),
        (1_500, 8, (0, 0), timedelta(days=1) * 3 / 5),
    ],
)
def test_a_card_that_passes_a_limit_is_refused_with_what_is_left_and_when_it_is_free(
    used_minor: int, used_cards: int, left: tuple[int, int] | None, free_in: timedelta | None
) -> None:
    level = rules.Level(1_000, 5, Decimal(used_minor), Decimal(used_cards))
    if left is None or free_in is None:
        rules.check_issuing(level, gbp(100), whose="client", now=NOW)
        return
    with pytest.raises(IssuingLimitReached) as refused:
        rules.check_issuing(level, gbp(100), whose="client", now=NOW)
    facts = refused.value.facts
    assert (facts["left_minor"], facts["left_cards"], facts["free_at"]) == (*left, NOW + free_in)


@pytest.mark.parametrize(("limit_minor", "limit_cards"), [(99, 5), (1_000, 0)])
def test_a_card_that_no_waiting_helps_is_told_no_time(limit_minor: int, limit_cards: int) -> None:
    level = rules.Level(limit_minor, limit_cards, Decimal(1_100), Decimal(6))
    with pytest.raises(IssuingLimitReached) as refused:
        rules.check_issuing(level, gbp(100), whose="issuer", now=NOW)
    assert "free_at" not in refused.value.facts
