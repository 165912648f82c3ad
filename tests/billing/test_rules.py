"""What a line becomes, decided purely: every outcome once, in the order in which the rules check."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.billing import rules
from app.billing.rules import BY_AMOUNT, KINDS, MATCHED, Facts, PaymentSeen, decide_line
from app.ids import PaymentId, StoreId
from app.money import Money

BOOKSHOP, TOYSHOP = StoreId("bookshop"), StoreId("toyshop")
PAYMENT = PaymentSeen(PaymentId("pay"), BOOKSHOP, "live", "GBP")
#: A line of 30.00 for a payment of which 40.00 were settled and 10.00 refunded.
PLAIN = Facts(
    line=Money(3_000, "GBP"),
    store_id=BOOKSHOP,
    mode="live",
    payment=PAYMENT,
    free_settled_minor=4_000,
    free_refunded_minor=1_000,
    has_settled=True,
)


def line(amount_minor: int, **changes: object) -> Facts:
    return replace(PLAIN, line=Money(amount_minor, "GBP"), **changes)  # type: ignore[arg-type]


#: Each row is wrong in all that the rows below it are wrong in, as far as both can be.
IN_ORDER = [
    ("unknown_payment", replace(PLAIN, payment=None, is_duplicate=True)),
    ("other_mode", replace(PLAIN, payment=PaymentSeen(PAYMENT.id, TOYSHOP, "test", "EUR"), is_duplicate=True)),
    ("not_this_store", replace(PLAIN, payment=PaymentSeen(PAYMENT.id, TOYSHOP, "live", "EUR"), is_duplicate=True)),
    ("currency_mismatch", replace(PLAIN, payment=replace(PAYMENT, currency="EUR"), is_duplicate=True)),
    ("duplicate_line", line(1, payment=replace(PAYMENT, is_voided=True), is_duplicate=True)),
    (
        "voided",
        line(
            1,
            payment=replace(PAYMENT, is_voided=True),
            free_settled_minor=0,
            free_refunded_minor=0,
            has_settled=False,
            other_bill_id="bill",
        ),
    ),
    (
        "already_billed",
        line(1, free_settled_minor=0, free_refunded_minor=0, has_settled=False, other_bill_id="bill"),
    ),
    ("not_settled", line(1, free_settled_minor=0, free_refunded_minor=0, has_settled=False)),
    (MATCHED, PLAIN),
    (MATCHED, line(-1_000, free_settled_minor=0, other_bill_id="bill")),
    ("refunded_after", line(4_000)),
    ("refunded_after", line(4_000, free_refunded_minor=4_000)),
    ("amount_over", line(3_001)),
    ("amount_over", line(4_000, free_settled_minor=0, other_bill_id="bill")),
    ("amount_over", line(1, free_settled_minor=0, free_refunded_minor=0)),
    ("amount_over", line(4_000, free_refunded_minor=0, free_settled_minor=3_999)),
    ("amount_under", line(2_999)),
    ("amount_under", line(-1)),
]


@pytest.mark.parametrize(("outcome", "facts"), IN_ORDER, ids=[f"{n}-{row[0]}" for n, row in enumerate(IN_ORDER)])
def test_a_line_becomes_the_first_that_applies(outcome: str, facts: Facts) -> None:
    assert decide_line(facts) == outcome


def test_the_table_has_every_outcome_in_the_order_of_the_kinds() -> None:
    seen = list(dict.fromkeys(outcome for outcome, _ in IN_ORDER if outcome != MATCHED))
    assert tuple(seen) == KINDS
    assert set(KINDS) > BY_AMOUNT


@pytest.mark.parametrize(
    ("facts", "paid_minor"),
    [
        (line(3_001), 3_000),
        (line(2_999), 2_999),
        (line(4_000), 3_000),
        (line(-1_200, free_settled_minor=0), -1_200),
        (line(-800, free_settled_minor=0), -1_000),
        (line(4_000, free_refunded_minor=4_000), 0),
        (line(-1_000, free_settled_minor=0, free_refunded_minor=0), 0),
        (line(3_000, free_settled_minor=0, free_refunded_minor=0), 0),
    ],
)
def test_the_smaller_amount_is_paid_and_nothing_where_nothing_is_left(facts: Facts, paid_minor: int) -> None:
    assert rules.paid_minor(facts) == paid_minor


@pytest.mark.parametrize(
    ("facts", "is_tolerated"),
    [
        (line(3_005), True),
        (line(2_995), True),
        (line(3_006), False),
        (line(2_994), False),
        (line(4_000, free_refunded_minor=5), True),
        (PLAIN, False),
        (line(3_005, is_duplicate=True), False),
    ],
)
def test_a_tolerance_closes_small_differences_of_amount_only(facts: Facts, is_tolerated: bool) -> None:
    assert rules.is_tolerated(facts, 5) is is_tolerated
    assert not rules.is_tolerated(facts, 0)


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("2026-02", (2026, 2, 1), (2026, 3, 1)),
        ("2026-12", (2026, 12, 1), (2027, 1, 1)),
        ("2028-01", (2028, 1, 1), (2028, 2, 1)),
    ],
)
def test_a_period_is_a_month_in_utc(name: str, begins: tuple[int, int, int], ends: tuple[int, int, int]) -> None:
    period = rules.period_named(name)
    assert (period.begins_at, period.ends_at) == (datetime(*begins, tzinfo=UTC), datetime(*ends, tzinfo=UTC))
    assert rules.period_of(period.begins_at) == period == rules.period_of(period.ends_at - timedelta(microseconds=1))
    assert rules.period_of(period.ends_at) != period


def test_a_moment_lies_in_the_month_that_it_is_in_utc() -> None:
    new_year_in_tokyo = datetime(2027, 1, 1, 8, 59, tzinfo=timezone(timedelta(hours=9)))
    assert rules.period_of(new_year_in_tokyo).name == "2026-12"


@pytest.mark.parametrize(
    "name", ["2026-13", "2026-00", "2026-1", "1999-12", "2026-11-01", "2026-11 ", "", "２０２６-11"]
)
def test_what_names_no_month_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a month such as"):
        rules.period_named(name)


def test_what_counts_ends_with_the_period_or_when_the_bill_came() -> None:
    period = rules.period_named("2026-11")
    assert rules.as_of(period, period.ends_at + timedelta(days=3)) == period.ends_at
    assert rules.as_of(period, period.begins_at) == period.begins_at
