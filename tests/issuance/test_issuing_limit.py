"""A stolen client issues what its limit allows and no more: however many ask at once, in how many processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as some

from app import clock
from app.db.transaction import transaction
from app.errors import AmountOutsideProgramme, IssuingLimitReached
from app.ids import IssuerId
from app.issuance import issue
from app.issuance.issuing_limit import TOLD_EVERY, count_card, list_limits
from app.issuance.rules import DAY, Level, check_issuing, still_used
from app.money import Money
from tests.api import api_of, assert_problem, money, nothing_changes
from tests.at_once import at_once, split
from tests.issuance.limits import Issuing, defaults, issuing, limit
from tests.web.bodies import card_body
from tests.world import gbp, make_world, reference, rows

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("database")


def used(subject_id: str) -> tuple[Any, Any]:
    [found] = rows("SELECT used_minor, used_cards FROM issuing_limit WHERE subject_id = :id", id=subject_id)
    return found.used_minor, found.used_cards


# ── up to the limit ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("whose", ["client", "issuer"])
def test_up_to_the_limit_and_not_a_penny_more(whose: str) -> None:
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.client_id if whose == "client" else acme.world.issuer_id, minor=1_500)
        acme.world.issue(1_000, client_id=acme.client_id)
        with pytest.raises(IssuingLimitReached) as refused:
            acme.world.issue(501, client_id=acme.client_id)
        facts = refused.value.facts
        assert (facts["limit"], facts["left_minor"]) == (whose, 500)
        assert refused.value.detail.startswith(
            "This client can issue 5.00 GBP"
            if whose == "client"
            else "The issuer, by all of its clients, can issue 5.00"
        )
        assert acme.issue(500) == 500
        assert acme.issue(1) == 0


@pytest.mark.parametrize("whose", ["client", "issuer"])
def test_as_many_cards_as_the_limit_and_not_one_more(whose: str) -> None:
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.client_id if whose == "client" else acme.world.issuer_id, cards=2)
        assert [acme.issue(5), acme.issue(5), acme.issue(5)] == [5, 5, 0]


def test_two_clients_together_meet_their_issuers_limit() -> None:
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.world.issuer_id, minor=1_000)
        assert acme.issue(600) == 600
        assert acme.issue(401, client_id=acme.other_id) == 0
        assert acme.issue(400, client_id=acme.other_id) == 400
        assert used(acme.other_id) == (400, 1)


def test_the_first_card_already_may_be_too_much() -> None:
    acme = issuing()
    with defaults(client_minor=999):
        assert acme.issue(1_000) == 0
        assert acme.issue(999) == 999


def test_nothing_at_all_can_be_allowed() -> None:
    acme = issuing()
    limit(acme.client_id, cards=0)
    with pytest.raises(IssuingLimitReached) as refused:
        acme.world.issue(1, client_id=acme.client_id)
    assert refused.value.facts["left_cards"] == 0
    assert "free_at" not in refused.value.facts, "it will not be by waiting"


def test_a_limit_is_of_one_subject_and_one_currency() -> None:
    """And so of one mode, which a client and an issuer have for good."""
    acme, live, euros = issuing(), issuing(mode="live"), make_world(currency="EUR")
    with clock.set_to(NOON):
        limit(acme.client_id, minor=0)
        limit(acme.client_id, minor=5_000, currency="EUR")
        assert (acme.issue(1), acme.issue(1, client_id=acme.other_id), live.issue(1)) == (0, 1, 1)
        ours: dict[str, Any] = {"client_id": acme.client_id, "issuer_id": euros.issuer_id}
        with transaction() as db:
            count_card(db, Money(5_000, "EUR"), now=NOON, **ours)
            with pytest.raises(IssuingLimitReached):
                count_card(db, Money(1, "EUR"), now=NOON, **ours)


def test_the_settings_limit_whoever_has_no_limit_of_its_own() -> None:
    acme, other = issuing(), issuing()
    limit(other.client_id, minor=700)
    with clock.set_to(NOON), defaults(client_minor=1_000, issuer_minor=1_500):
        assert (acme.issue(1_000), acme.issue(1)) == (1_000, 0)
        assert (acme.issue(501, client_id=acme.other_id), acme.issue(500, client_id=acme.other_id)) == (0, 500)
        assert (other.issue(701), other.issue(700)) == (0, 700)


# ── what counts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_repeat_counts_once_and_is_answered_when_the_limit_is_reached() -> None:
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.client_id, minor=1_000)
        once = reference(acme.world.issuer_id)
        for _ in range(3):
            assert acme.issue(1_000, reference=once) == 1_000
        assert used(acme.client_id) == (1_000, 1)


def test_what_is_refused_or_rolled_back_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = issuing(card_max_minor=2_000)
    with clock.set_to(NOON):
        limit(acme.client_id, minor=1_000)
        acme.issue(400)
        with pytest.raises(AmountOutsideProgramme):
            acme.world.issue(2_001, client_id=acme.client_id)
        assert acme.issue(601) == 0
        monkeypatch.setattr(issue, "replace", None)
        with pytest.raises(TypeError):
            acme.world.issue(100, client_id=acme.client_id)
        assert (used(acme.client_id), used(acme.world.issuer_id)) == ((400, 1), (400, 1))


def test_a_refusal_leaves_nothing_but_one_event_an_hour() -> None:
    acme = issuing()
    limit(acme.client_id, minor=1_000)

    def events() -> list[Any]:
        told = "SELECT facts FROM event WHERE kind = 'issuing_limited' AND facts ->> 'subject_id' = :id"
        return [row.facts for row in rows(told, id=acme.client_id)]

    with clock.set_to(NOON):
        with nothing_changes(but=("event", "issuing_limit")):
            assert [acme.issue(1_001) for _ in range(3)] == [0, 0, 0]
        [facts] = events()
    assert facts == {
        "subject_id": acme.client_id,
        "client_id": acme.client_id,
        "issuer_id": acme.world.issuer_id,
        "mode": "test",
        "amount_minor": 1_001,
        "currency": "GBP",
        "limit": "client",
        "left_minor": 1_000,
        "left_cards": facts["left_cards"],
    }
    with clock.set_to(NOON + TOLD_EVERY + timedelta(seconds=1)):
        assert acme.issue(1_001) == 0
    assert len(events()) == 2


# ── a day ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_forgotten_evenly_and_the_refusal_says_when_enough_is() -> None:
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.client_id, minor=2_400)
        assert acme.issue(2_400) == 2_400
        with pytest.raises(IssuingLimitReached) as refused:
            acme.world.issue(100, client_id=acme.client_id)
    free_at: Any = refused.value.facts["free_at"]
    assert free_at - NOON - timedelta(hours=1) < timedelta(seconds=2)
    with clock.set_to(NOON + timedelta(minutes=59)):
        assert acme.issue(100) == 0
    with clock.set_to(free_at):
        assert acme.issue(100) == 100
        assert acme.issue(100) == 0
    with clock.set_to(NOON + 3 * DAY):
        assert acme.issue(2_401) == 0
        assert acme.issue(2_400) == 2_400


def test_a_time_from_before_the_lock_forgets_nothing_twice() -> None:
    """Whoever waited for the row read the clock before whoever was faster."""
    acme = issuing()
    with clock.set_to(NOON):
        limit(acme.client_id, minor=1_000)
    named: dict[str, Any] = {"client_id": acme.client_id, "issuer_id": acme.world.issuer_id}
    with transaction() as db:
        for hours in (0, 12, 6, 12):
            count_card(db, gbp(100), now=NOON + timedelta(hours=hours), **named)
    with clock.set_to(NOON + DAY / 2), transaction() as db:
        [ours] = [each for each in list_limits(db) if each.subject_id == acme.client_id]
    assert 299.9 < ours.used_minor <= 300


amounts = some.lists(some.tuples(some.integers(0, 40), some.integers(1, 60)), min_size=1, max_size=30)


@given(limit_minor=some.integers(1, 100), limit_cards=some.integers(1, 20), asked=amounts)
def test_in_no_time_more_than_the_stated_bound(
    limit_minor: int, limit_cards: int, asked: list[tuple[int, int]]
) -> None:
    """In any time T: at most limit × (1 + T / 24 h)."""
    at, used_minor, used_cards, issued = NOON, Decimal(0), Decimal(0), []
    for hours, minor in asked:
        passed = timedelta(hours=hours)
        at += passed
        used_minor, used_cards = (
            still_used(used_minor, limit_minor, passed),
            still_used(used_cards, limit_cards, passed),
        )
        level = Level(limit_minor, limit_cards, used_minor + minor, used_cards + 1)
        try:
            check_issuing(level, gbp(minor), whose="client", now=at)
        except IssuingLimitReached:
            continue
        used_minor, used_cards = level.used_minor, level.used_cards
        issued.append((at, minor))
    for place, (begin, _) in enumerate(issued):
        for end, _ in issued[place:]:
            within = [minor for when, minor in issued if begin <= when <= end]
            share = 1 + Decimal((end - begin) // timedelta(hours=1)) / 24
            assert sum(within) <= limit_minor * share + Decimal("1e-9")
            assert len(within) <= limit_cards * share + Decimal("1e-9")


@pytest.mark.usefixtures("database")
@settings(max_examples=15, deadline=None)
@given(asked=some.lists(some.tuples(some.integers(0, 10**11), some.integers(1, 500)), min_size=1, max_size=12))
def test_the_database_reckons_as_the_rule_does(asked: list[tuple[int, int]]) -> None:
    client_id, at, minor, cards = f"cli_{reference('x').key}", NOON, Decimal(0), Decimal(0)
    kept = "SELECT used_minor, used_cards FROM issuing_limit WHERE subject_id = $1"
    with transaction() as db, defaults(client_minor=1_000, client_cards=7):
        for passed_us, amount in asked:
            passed = timedelta(microseconds=passed_us)
            at += passed
            minor, cards = still_used(minor, 1_000, passed) + amount, still_used(cards, 7, passed) + 1
            with suppress(IssuingLimitReached):
                count_card(db, gbp(amount), client_id=client_id, issuer_id=IssuerId("iss_x"), now=at)
            row = db.exec_driver_sql(kept, (client_id,)).one()
            assert abs(row.used_minor - minor) < Decimal("1e-9")
            assert abs(row.used_cards - cards) < Decimal("1e-9")
        db.rollback()


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def issue_at_once(acme: Issuing, clients: list[str]) -> int:
    """What eight threads for each client issued, 100 each."""
    issued, refused = split(at_once([partial(acme.issue, 100, client_id=client_id) for client_id in clients * 8]))
    assert not refused
    return sum(issued)


def test_at_once_the_limits_of_client_and_issuer_hold() -> None:
    acme, other = issuing(), issuing()
    limit(acme.client_id, minor=750)
    limit(other.world.issuer_id, minor=950)
    assert issue_at_once(acme, [acme.client_id] * 2) == 700
    assert issue_at_once(other, [other.client_id, other.other_id]) == 900


def test_a_count_that_reads_first_and_writes_afterwards_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: what the tests of races are for."""

    def looks_first(db: Any, amount: Money, *, client_id: str, issuer_id: str, now: datetime) -> None:
        seen = db.exec_driver_sql("SELECT used_minor FROM issuing_limit WHERE subject_id = $1", (client_id,)).scalar()
        db.exec_driver_sql("SELECT pg_sleep(0.1)")
        if seen + amount.amount_minor > 750:
            raise IssuingLimitReached("client", left="", left_minor=0, left_cards=0, free_at=None)
        counted = "UPDATE issuing_limit SET used_minor = used_minor + 100 WHERE subject_id = $1"
        db.exec_driver_sql(counted, (client_id,))

    monkeypatch.setattr(issue, "count_card", looks_first)
    acme = issuing()
    limit(acme.client_id, minor=750)
    assert issue_at_once(acme, [acme.client_id] * 2) > 750


def test_two_processes_do_not_double_a_limit() -> None:
    acme = issuing()
    limit(acme.client_id, minor=1_050)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
        issued = [processes.submit(issue_at_once, acme, [acme.client_id]) for _ in range(2)]
        assert sum(each.result() for each in issued) == 1_000


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_is_told_how_much_is_left_and_when_there_is_more(client: FlaskClient) -> None:
    api = api_of(client, make_world())
    limit(api.acme.known.client_id, minor=10_000)
    body = card_body(api.world.programme_id, amount=money(6_000))
    assert api.acme.post("/v1/cards", body).status_code == 201
    problem = assert_problem(api.acme.post("/v1/cards", body), 422, "issuing-limit-reached")
    assert (problem["limit"], problem["left_minor"]) == ("client", 4_000)
    free_at = datetime.fromisoformat(problem["free_at"])
    assert timedelta(hours=4.7) < free_at - datetime.now(UTC) < timedelta(hours=4.9)
