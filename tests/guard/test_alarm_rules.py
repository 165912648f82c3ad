"""The rules of alarms as tables: what they take for unusual, at the boundary, and what they say."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.cli import scrip
from app.config_guard import Alarms, AlarmThresholds
from app.guard.alarm_rules import BY_NAME, RULES, Seen, Usual, advice_of, decide, floor_of
from tests.test_docs import commands

AT = datetime(2026, 6, 10, 12, tzinfo=UTC)
STORE = "str_01m84qez5yf32tqrxjsmfnpt7b"


def seen(figure: int, *, of: int | None = None, currency: str | None = None, usual: Usual | None = None) -> Seen:
    return Seen("live", STORE, STORE, figure, figure if of is None else of, AT, AT, currency, usual)


STEADY = Usual(busy_hours=200, mean=100_000, spread=20_000)


@pytest.mark.parametrize(
    ("rule", "figures", "threshold"),
    [
        ("wrong_codes_store", {"figure": 10}, 10),
        ("wrong_codes_store", {"figure": 10, "of": 50}, 10),
        ("wrong_codes_overall", {"figure": 150}, 150),
        ("code_elsewhere", {"figure": 3}, 3),
        ("openings_address", {"figure": 30}, 30),
        ("new_links_card", {"figure": 5}, 5),
        ("other_country", {"figure": 5, "of": 25}, 5),
        # mean and six spreads, 2,200.00, are above three means and above the floor
        ("settled_amount", {"figure": 300_000, "currency": "GBP", "usual": STEADY}, 300_000),
        ("settled_amount", {"figure": 340_000, "currency": "GBP", "usual": replace(STEADY, spread=40_000)}, 340_000),
        # small and steady: the floor counts
        ("settled_amount", {"figure": 200_000, "currency": "GBP", "usual": Usual(200, 1_000, 0)}, 200_000),
        # no pattern yet: ten times the floor, and in five movements at least
        (
            "settled_amount",
            {"figure": 2_000_000, "of": 5, "currency": "GBP", "usual": Usual(23, 9_999_999, 0)},
            2_000_000,
        ),
        ("refunded_amount", {"figure": 500_000, "of": 5, "currency": "GBP", "usual": Usual(0, 0, 0)}, 500_000),
        ("issued_amount", {"figure": 5_000, "currency": "JPY", "usual": Usual(24, 100, 10)}, 5_000),
        ("settled_count", {"figure": 50, "usual": Usual(24, 10, 2)}, 50),
        ("settled_count", {"figure": 500, "usual": Usual(23, 10, 2)}, 500),
        ("refunded_count", {"figure": 30, "usual": Usual(24, 10, 2)}, 30),
        ("issued_count", {"figure": 1_300, "usual": Usual(24, 100, 200)}, 1_300),
    ],
)
def test_a_figure_alarms_from_its_threshold_on_and_not_below(
    rule: str, figures: dict[str, Any], threshold: int
) -> None:
    found = decide(BY_NAME[rule], seen(**figures), Alarms())
    assert found is not None
    assert found.threshold == threshold
    of = figures.get("of", figures["figure"])
    assert decide(BY_NAME[rule], seen(**{**figures, "figure": figures["figure"] - 1, "of": of}), Alarms()) is None


@pytest.mark.parametrize("rule", ["wrong_codes_store", "wrong_codes_overall", "other_country"])
def test_what_is_a_small_part_of_much_business_is_no_alarm(rule: str) -> None:
    assert decide(BY_NAME[rule], seen(200, of=1_000), Alarms()) is not None
    assert decide(BY_NAME[rule], seen(200, of=1_001), Alarms()) is None


def test_a_new_stores_first_sales_are_no_alarm_however_large() -> None:
    for of in range(1, 5):
        assert decide(BY_NAME["settled_amount"], seen(99_999_999, of=of, currency="GBP"), Alarms()) is None


def test_floors_are_in_whole_units_and_follow_the_rates() -> None:
    rule = BY_NAME["settled_amount"]
    alarms = Alarms(AlarmThresholds(settled_amount=7), {"JPY": 150})
    assert [floor_of(rule, code, alarms) for code in ("GBP", "KWD", "JPY")] == [700, 7_000, 1_050]


def test_an_alarm_says_what_happened_and_against_what() -> None:
    usual = Usual(200, 100_000, 20_000)
    found = decide(BY_NAME["settled_amount"], seen(412_345, of=7, currency="GBP", usual=usual), Alarms())
    assert found is not None
    assert found.what == f"The store {STORE} settled 4123.45 GBP in 7 settlements within an hour."
    assert found.why == (
        "In its busy hours of the last 28 days it is 1000.00 GBP on average, with a spread of 200.00 GBP: "
        "3000.00 GBP or more is unusual."
    )
    wrong = decide(BY_NAME["wrong_codes_store"], seen(12, of=40), Alarms())
    assert wrong is not None
    assert wrong.what == f"12 of 40 codes tried at the store {STORE} within 30 seconds were wrong."
    assert wrong.why == "10 or more are unusual within 30 seconds, if they are 20 % of all."


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_one_sentence_each_and_names_only_commands_that_are_there(rule: Any) -> None:
    known = {name for name, _ in commands(scrip)}
    advice = advice_of(rule, STORE, "GBP", for_party=False)
    for named in re.findall(r"`scrip ([^`]*)`", advice):
        assert any(f"{named} ".startswith(f"{command} ") for command in known), named
    currency, usual = ("GBP", STEADY) if rule.measure == "amount" else (None, Usual(0, 0, 0))
    found = decide(rule, seen(10**9, currency=currency, usual=usual), Alarms())
    assert found is not None
    is_for_party = rule.group not in ("overall", "address")
    assert bool(rule.party_advice) == is_for_party
    told = [found.what, found.why, advice, *([rule.party_advice] if is_for_party else [])]
    for sentence in told:
        assert re.fullmatch(r"[A-Z0-9][^{}]*[^.{}]\.", sentence), sentence
        assert ". " not in sentence
    assert "scrip" not in rule.party_advice
