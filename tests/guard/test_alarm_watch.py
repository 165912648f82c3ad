"""The watch on real events: each rule fires and ends, an honest day is quiet, and whoever looks finds the same."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.guard import alarm_episodes, alarm_watch
from app.guard.alarm_replay import Replayed, replay
from app.guard.alarm_rules import BY_NAME, RULES
from app.guard.alarm_sight import look
from app.guard.alarm_watch import ALARMS_KEPT, forget_alarms
from app.ids import new_id
from tests.guard.ground import (
    alarms,
    as_found,
    every,
    happened,
    issued,
    messages,
    seconds,
    watch_until,
    watched_since,
    wrong_codes,
)

A_MINUTE, AN_HOUR, A_DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def found(rule: str, at: datetime) -> list[Any]:
    with transaction() as db:
        return look(db, BY_NAME[rule], at, settings().alarms)


# ── each rule ───────────────────────────────────────────────────────────────────────────────────────────────────────


def store_codes(at: datetime) -> str:
    store_id = new_id("str")
    happened("code_exchanged", [at], store_id=store_id, mode="test")
    wrong_codes(10, at - seconds(0.9), store_id=store_id)
    return store_id


def overall_codes(at: datetime) -> str:
    for _ in range(30):
        wrong_codes(5, at - seconds(0.4), store_id=new_id("str"))
    return "overall"


def elsewhere(at: datetime) -> str:
    card_id = issued(at - A_DAY, issuer_id=new_id("iss"))
    times = every(seconds(1), at - seconds(2), 3)
    happened("code_refused", times, store_id=new_id("str"), mode="test", reason="bound_elsewhere", card_id=card_id)
    return card_id


def openings(at: datetime) -> str:
    mark = new_id("x")[-16:]
    issuer_id = new_id("iss")
    for place in range(30):
        card_id = issued(at - A_DAY, issuer_id=issuer_id)
        happened("code_shown", [at - seconds(place)], of_card=card_id, address=mark)
    return mark


def new_links(at: datetime) -> str:
    card_id = issued(at - A_DAY, issuer_id=new_id("iss"))
    happened("link_reissued", every(seconds(1), at - seconds(3), 4), of_card=card_id, reason="asked")
    happened("link_reissued", [at] * 9, of_card=card_id, reason="pepper")
    happened("address_corrected", [at], of_card=card_id)
    return card_id


def other_country(at: datetime) -> str:
    store_id, issuer_id = new_id("str"), new_id("iss")
    for place in range(8):
        card_id = issued(at - A_DAY, issuer_id=issuer_id)
        happened("code_shown", [at - AN_HOUR], of_card=card_id, country="FR")
        happened("code_shown", [at - 2 * A_MINUTE], of_card=card_id, country="GB", address="x")
        used = {"store_id": store_id, "country": "BR" if place < 5 else "GB"}
        happened("code_token_made", [at - seconds(place)], of_card=card_id, **used)
        happened("code_exchanged", [at - seconds(place)], of_card=card_id, mode="test", store_id=store_id)
    return store_id


def movements(kind: str, fact: str, at: datetime, *, amount_minor: int, count: int, party: str = "store") -> str:
    """28 days of 8 busy hours with two movements of 20.00 each, and then `count` in this hour."""
    party_id = new_id({"store": "str", "issuer": "iss"}[party])
    morning = (at - 28 * A_DAY).replace(hour=9)
    times = [morning + day * A_DAY + half * A_MINUTE * 30 for day in range(28) for half in range(16)]
    facts: dict[str, Any] = {f"{party}_id": party_id, "mode": "test", "currency": "GBP"}
    happened(kind, times, **facts | {fact: 2_000})
    happened(kind, every(seconds(1), at - seconds(count - 1), count), **facts | {fact: amount_minor})
    return party_id


def settled_amount(at: datetime) -> str:
    return movements("payment_settled", "settled_minor", at, amount_minor=200_000, count=1)


def settled_count(at: datetime) -> str:
    return movements("payment_settled", "settled_minor", at, amount_minor=10, count=50)


def refunded_amount(at: datetime) -> str:
    return movements("payment_refunded", "refunded_minor", at, amount_minor=25_000, count=2)


def refunded_count(at: datetime) -> str:
    return movements("payment_refunded", "refunded_minor", at, amount_minor=10, count=10)


def issued_amount(at: datetime) -> str:
    return movements("card_issued", "amount_minor", at, amount_minor=50_000, count=10, party="issuer")


def issued_count(at: datetime) -> str:
    return movements("card_issued", "amount_minor", at, amount_minor=100, count=100, party="issuer")


def issuing_limited(at: datetime) -> str:
    issuer_id = new_id("iss")
    happened("issuing_limited", [at], mode="test", issuer_id=issuer_id, client_id=new_id("cli"))
    return issuer_id


def funds(kind: str) -> Callable[[datetime], str]:
    def told(at: datetime) -> str:
        issuer_id = new_id("iss")
        happened(kind, [at], mode="test", issuer_id=issuer_id, currency="GBP", day="2026-11-27")
        return issuer_id

    return told


UNUSUAL: dict[str, Callable[[datetime], str]] = {
    "wrong_codes_store": store_codes,
    "wrong_codes_overall": overall_codes,
    "code_elsewhere": elsewhere,
    "openings_address": openings,
    "new_links_card": new_links,
    "other_country": other_country,
    "settled_amount": settled_amount,
    "settled_count": settled_count,
    "refunded_amount": refunded_amount,
    "refunded_count": refunded_count,
    "issued_amount": issued_amount,
    "issued_count": issued_count,
    "issuing_limited": issuing_limited,
    "funds_short": funds("funds_short"),
    "funds_low": funds("funds_low"),
    "funds_unknown": funds("funds_unknown"),
}


def test_every_rule_is_tried_here() -> None:
    assert list(UNUSUAL) == list(BY_NAME)


@pytest.mark.parametrize("rule", UNUSUAL)
def test_a_rule_finds_what_is_unusual_from_its_last_event_to_the_end_of_its_window(noon: datetime, rule: str) -> None:
    group_id = UNUSUAL[rule](noon)
    [finding] = found(rule, noon)
    assert (finding.seen.group_id, finding.seen.mode, finding.seen.last_at) == (group_id, "test", noon)
    assert group_id in finding.what or rule == "wrong_codes_overall"
    assert found(rule, noon - seconds(0.001)) == []
    assert found(rule, noon + BY_NAME[rule].window) == []


def test_live_and_test_are_counted_apart(noon: datetime) -> None:
    for mode in ("live", "test"):
        for _ in range(30):
            wrong_codes(4, noon, store_id=new_id("str"), mode=mode)
    assert found("wrong_codes_overall", noon + seconds(1)) == []
    wrong_codes(30, noon, store_id=new_id("str"), mode="live", every_s=0.01)
    [finding] = found("wrong_codes_overall", noon + seconds(1))
    assert (finding.seen.mode, finding.seen.figure) == ("live", 150)


def test_amounts_of_two_currencies_are_not_added_up(noon: datetime) -> None:
    store_id = movements("payment_settled", "settled_minor", noon, amount_minor=100_000, count=1)
    happened("payment_settled", [noon], store_id=store_id, mode="test", currency="USD", settled_minor=100_000)
    assert found("settled_amount", noon) == []


def test_an_honest_day_is_quiet(noon: datetime) -> None:
    """Twelve hours of a shop with slips, refunds, a new store, an issuer's round of cards, and a traveller."""
    start = noon - timedelta(hours=6)
    issuer_id = movements("card_issued", "amount_minor", noon, amount_minor=2_000, count=60, party="issuer")
    store_id = movements("payment_settled", "settled_minor", noon, amount_minor=2_500, count=20)
    happened("payment_settled", [noon], store_id=new_id("str"), mode="test", currency="GBP", settled_minor=40_000)
    happened("payment_refunded", [noon], store_id=store_id, mode="test", currency="GBP", refunded_minor=9_000)
    for place in range(60):
        at = start + place * timedelta(minutes=7)
        card_id = issued(at - A_DAY, issuer_id=issuer_id)
        happened("code_shown", [at - A_MINUTE], of_card=card_id, address="00ff00ff00ff00ff", country="GB")
        happened("code_refused", [at], store_id=store_id, mode="test", reason="dead", country="GB")
        used = {"store_id": store_id, "mode": "test", "country": "FR" if place == 30 else "GB"}
        happened("code_exchanged", [at + seconds(9)], of_card=card_id, **used)
    happened("link_reissued", every(AN_HOUR, start, 3), of_card=card_id, reason="asked")
    assert list(replay(RULES, since=start, until=start + timedelta(hours=12))) == []


# ── from look to look ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_attack_is_seen_within_a_minute_and_all_is_normal_within_a_minute_of_its_end(noon: datetime) -> None:
    wrong_codes(1_200, noon, store_id=(store_id := new_id("str")))  # ten a second for two minutes
    watch_until(noon + seconds(20))
    [alarm] = alarms(rule="wrong_codes_store")
    assert (alarm.group_id, alarm.party_id, alarm.ended_at) == (store_id, store_id, None)
    watch_until(noon + seconds(120))
    assert [each.ended_at for each in alarms()] == [None, None]
    assert {each.rule for each in alarms()} == {"wrong_codes_store", "wrong_codes_overall"}
    watch_until(noon + seconds(162))
    assert [each.ended_at - noon for each in alarms()] == [seconds(150), seconds(140)]
    assert alarms(rule="wrong_codes_store")[0].peak == 300


def test_bursts_are_one_alarm_and_what_comes_after_a_quarter_of_an_hour_is_another(noon: datetime) -> None:
    store_id = new_id("str")
    watched_since(noon, only=["wrong_codes_store"])
    for minutes in (0, 2, 4, 21):
        wrong_codes(20, noon + minutes * A_MINUTE, store_id=store_id)
    watch_until(noon + 2 * A_MINUTE)
    assert [each.ended_at is None for each in alarms()] == [False]
    watch_until(noon + seconds(135))
    assert [each.ended_at for each in alarms()] == [None]
    watch_until(noon + 22 * A_MINUTE)
    assert [each.first_at - noon for each in alarms()] == [timedelta(0), 21 * A_MINUTE]


def test_what_happened_while_no_worker_ran_is_looked_at_for_a_while(
    noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_episodes, "CATCH_UP", timedelta(minutes=10))
    watched_since(noon, only=["wrong_codes_store"])
    wrong_codes(20, noon + A_MINUTE, store_id=new_id("str"))
    watch_until(noon + timedelta(minutes=9))
    [alarm] = alarms()
    assert alarm.ended_at == noon + seconds(100)
    assert watch_until(noon + timedelta(hours=9)) == 61


def steps_of(replayed: list[Replayed]) -> dict[tuple[str, str], Any]:
    """By rule and group the episode as its last step leaves it."""
    return {(each.rule.name, each.step.episode.group_id): each.step.episode for each in replayed}


def test_replay_finds_what_the_watch_found_and_writes_nothing(noon: datetime) -> None:
    for unusual in UNUSUAL.values():
        unusual(noon + seconds(47))
    wrong_codes(400, noon + seconds(61), store_id=new_id("str"))
    watch_until(noon + 3 * A_MINUTE)
    live = alarms()
    assert {each.rule for each in live} == set(BY_NAME)
    until = noon + 3 * A_MINUTE
    replayed = steps_of([*replay(RULES, since=noon, until=until)])
    assert alarms() == live
    assert set(replayed) == {(each.rule, each.group_id) for each in live}
    for each in live:
        assert as_found(replayed[each.rule, each.group_id]) == as_found(each), each.rule
    looked = [each.at for each in replay([BY_NAME["wrong_codes_store"]], since=noon, until=until)]
    assert all(noon < at < until for at in looked)


@pytest.mark.parametrize("workers", [2])
def test_several_workers_at_once_make_one_alarm_and_one_message(noon: datetime, office: Any, workers: int) -> None:
    for _ in range(50):
        wrong_codes(12, noon + seconds(1), store_id=new_id("str"))
    at_once = threading.Barrier(workers)
    with clock.ahead(noon + seconds(23) - now()):

        def work() -> None:
            at_once.wait()
            alarm_watch.watch()

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(alarms(rule="wrong_codes_store")) == 50
    [message] = messages()
    assert sorted(message.alarm_ids) == sorted(each.id for each in alarms())


def now() -> datetime:
    with transaction() as db:
        return clock.now(db)


def test_a_bug_in_one_rule_stops_no_other(noon: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(db: Any, rule: Any, *rest: Any) -> Any:
        if rule.name == "wrong_codes_store":
            raise KeyError("planted")
        return look(db, rule, *rest)

    monkeypatch.setattr(alarm_watch, "look", broken)
    wrong_codes(200, noon + seconds(1), store_id=new_id("str"), every_s=0.01)
    watch_until(noon + seconds(20))
    assert {each.rule for each in alarms()} == {"wrong_codes_overall"}
    monkeypatch.undo()
    watch_until(noon + seconds(21))
    assert {each.rule for each in alarms()} == {"wrong_codes_store", "wrong_codes_overall"}


def test_old_alarms_are_forgotten_and_open_ones_are_not(noon: datetime) -> None:
    wrong_codes(20, noon + seconds(1), store_id=new_id("str"))
    card_id = new_links(noon)
    watch_until(noon + 2 * A_MINUTE)
    assert len(alarms()) == 2
    with clock.set_to(noon + ALARMS_KEPT):
        assert forget_alarms() == 0
    with clock.set_to(noon + ALARMS_KEPT + AN_HOUR):
        assert forget_alarms() == 1
    assert [each.group_id for each in alarms()] == [card_id]
