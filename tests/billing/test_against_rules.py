"""The SQL against the rules: worlds of payments and bills are drawn, and what each line becomes is decided twice."""

# ruff: noqa: E501  statements are read as tables

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from sqlalchemy import make_url

from app.billing import match, rules
from app.billing.rules import BY_AMOUNT, MATCHED, Facts, PaymentSeen
from app.billing.taking_up import facts_of, lock_bill
from app.billing.tolerances import set_tolerance
from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.transaction import transaction
from app.ids import CardId, PaymentId, StoreId, new_id
from app.money import Money
from tests.billing.bills import breaks, given_bill, matched, outcomes, taken
from tests.conftest import fresh_database
from tests.db.test_roles import role
from tests.world import World, make_world, rows

ENDS = [rules.period_named(name).ends_at for name in ("2026-07", "2026-08", "2026-09")]
#: In each month, at the very end of each, and after all.
MOMENTS = [moment for end in ENDS for moment in (end - timedelta(days=3), end - timedelta(microseconds=1), end)]
RECEIVED = datetime(2026, 11, 20, tzinfo=UTC)
NOBODYS = PaymentId("pay_0" + "0" * 25)


@dataclass
class Movement:
    id: str
    amount_minor: int
    at: datetime
    bill_id: str | None = None
    line_no: int | None = None


@dataclass
class Drawn:
    """A payment: `whose` store it is, in which mode and currency, whether it was voided, and when, and what moved."""

    whose: str
    currency: str
    voided_at: datetime | None
    amounts: list[tuple[int, datetime]]
    refunds: list[tuple[int, datetime]]
    id: PaymentId = field(default_factory=lambda: PaymentId(new_id("pay")))
    movements: list[Movement] = field(default_factory=list)

    def covers(self, refunds: list[tuple[int, datetime]]) -> bool:
        """Whether, whenever one of these came, as much had been settled."""
        return all(
            sum(minor for minor, at in refunds if at <= moment)
            <= sum(minor for minor, at in self.amounts if at <= moment)
            for _, moment in refunds
        )

    def free(self, before: datetime) -> list[Movement]:
        return [each for each in self.movements if each.at < before and each.bill_id is None]


moments = st.sampled_from(MOMENTS)
amounts = st.lists(st.tuples(st.sampled_from([100, 200, 203]), moments), max_size=3)
drawn_payments = st.builds(
    Drawn,
    whose=st.sampled_from(["ours", "ours", "ours", "ours", "elsewhere", "live"]),
    currency=st.sampled_from(["GBP", "GBP", "GBP", "EUR"]),
    voided_at=st.none() | moments,
    amounts=amounts,
    refunds=st.lists(st.tuples(st.sampled_from([50, 100, 200]), moments), max_size=2),
)
#: Which payment a line names, in which currency, and by how much it is off what is left, or off what was settled.
drawn_lines = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from(["GBP", "GBP", "GBP", "EUR"]), st.sampled_from(["net", "net", "gross"]),
        st.sampled_from([0, 0, 0, 2, -2, 7, -7]),
    ),
    max_size=7,
)  # fmt: skip


@dataclass
class Ground:
    """Where all examples play: an issuer with a card of each currency, Bookshop's parties, and a hand that no rule stops."""

    world: World
    live: World
    db: Connection[Any]
    card_of: dict[str, CardId]

    def put(self, payment: Drawn) -> None:
        """The payment's rows; a voided one has not settled anything."""
        if payment.voided_at is not None:
            payment.amounts = []
        payment.refunds = [each for n, each in enumerate(payment.refunds) if payment.covers(payment.refunds[: n + 1])]
        store = {"ours": self.world.bookshop, "elsewhere": self.world.toyshop, "live": self.live.bookshop}[
            payment.whose
        ]
        card = self.card_of[payment.currency]
        self.db.execute(
            "INSERT INTO payment (id, card_id, code_id, store_id, mode, currency, state, order_reference, balance_minor, hold_minor,"
            " held_minor, settled_minor, released_minor, refunded_minor, expired_minor, created_at, expires_at, ended_at)"
            " VALUES (%s, %s, 'code_x', %s, %s, %s, %s, 'x', 0, 1, 0, %s, %s, 0, 0, %s, %s, %s)",
            [payment.id, card, store, "live" if payment.whose == "live" else "test", payment.currency]
            + (["voided", 0, 1] if payment.voided_at else ["settled", 1, 0])
            + [MOMENTS[0], MOMENTS[0], payment.voided_at or MOMENTS[0]],
        )
        for table, prefix, moved, sign in (
            ("settlement", "set", payment.amounts, 1),
            ("refund", "ref", payment.refunds, -1),
        ):
            more = (", order_reference, late", ", 'x', false") if table == "settlement" else ("", "")
            for amount_minor, at in moved:
                movement = Movement(new_id(prefix), sign * amount_minor, at)
                payment.movements.append(movement)
                self.db.execute(
                    f"INSERT INTO {table} (id, payment_id, card_id, store_id, amount_minor, at{more[0]})"
                    f" VALUES (%s, %s, %s, %s, %s, %s{more[1]})".encode(),
                    [movement.id, payment.id, card, store, amount_minor, at],
                )


@pytest.fixture(scope="module")
def ground(database: Settings, server: EmbeddedPostgres, urls: dict[str, str]) -> Any:
    """In a database of its own, for its books are made up."""
    with fresh_database(database, server, urls) as settings:
        name = make_url(settings.database_url).database
        admin = make_url(urls["admin"]).set(database=name).render_as_string(hide_password=False)
        yield from _ground({"admin": admin})


def _ground(urls: dict[str, str]) -> Any:
    world, euro = make_world(), make_world(currency="EUR")
    cards = {"GBP": world.issue().id}
    with role(urls, "admin") as db:
        db.autocommit = True
        db.execute("SET session_replication_role = replica")
        (columns,) = db.execute(
            "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'card'::regclass AND attnum > 0"
            " AND NOT attisdropped AND attname NOT IN ('id', 'programme_id', 'issuer_id', 'account_id', 'currency')"
        ).fetchone() or ("",)
        cards["EUR"] = CardId(new_id("card"))
        db.execute(
            f"INSERT INTO card (id, programme_id, issuer_id, account_id, currency, {columns})"
            f" SELECT %s, %s, %s, %s, 'EUR', {columns} FROM card WHERE id = %s".encode(),
            [cards["EUR"], euro.programme_id, euro.issuer_id, cards["EUR"] + ":card:EUR", cards["GBP"]],
        )
        yield Ground(world, make_world(mode="live"), db, cards)
        db.autocommit = False


@given(
    payments=st.lists(drawn_payments, min_size=1, max_size=5),
    bills=st.lists(st.tuples(st.sampled_from(ENDS), drawn_lines), min_size=1, max_size=4),
    tolerance_minor=st.sampled_from([0, 2]),
    many_lines=st.sampled_from([0, 10**9]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_line_becomes_what_the_rules_say(
    ground: Ground,
    payments: list[Drawn],
    bills: list[tuple[datetime, list[tuple[int, str, str, int]]]],
    tolerance_minor: int,
    many_lines: int,
) -> None:
    """And takes up, gives back as a credit and pays what follows from it, in one bill after the other."""
    payments = [Drawn(each.whose, each.currency, each.voided_at, each.amounts, each.refunds) for each in payments]
    for payment in payments:
        ground.put(payment)
    set_tolerance(ground.world.issuer_id, "GBP", tolerance_minor)
    store = ground.world.bookshop
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "MANY_LINES", many_lines)
        for end, drawn in bills:
            lines = [_line(payments, end, *each) for each in drawn]
            bill_id = given_bill(store, [(pay, minor, currency) for pay, minor, currency in lines],
                                 period=rules.period_of(end - timedelta(days=1)).name, received_at=RECEIVED)  # fmt: skip
            facts = _facts(payments, store, bill_id, end, lines)
            with transaction() as db:
                seen = lock_bill(db, bill_id)
                assert [facts_of(db, seen, line_no) for line_no in range(1, len(lines) + 1)] == facts
            _match(payments, ground, bill_id, end, facts, tolerance_minor)
    _empty(ground, payments)


def _line(
    payments: list[Drawn], end: datetime, place: int, currency: str, of: str, off: int
) -> tuple[PaymentId, int, str]:
    if place >= len(payments):
        return NOBODYS, 100 + off, currency
    free = payments[place].free(end)
    minor = sum(each.amount_minor for each in free if of == "net" or each.amount_minor > 0) + off
    return payments[place].id, minor or 100, currency


def _facts(
    payments: list[Drawn], store: StoreId, bill_id: str, end: datetime, lines: Sequence[tuple[PaymentId, int, str]]
) -> list[Facts]:
    """What the model knows of each line, before any is taken up."""
    found, before = [], set[tuple[PaymentId, str]]()
    for pay, minor, currency in lines:
        payment = next((each for each in payments if each.id == pay), None)
        line = Money(minor, currency)
        is_duplicate = (pay, currency) in before
        before.add((pay, currency))
        if payment is None:
            found.append(Facts(line, store, "test", None, is_duplicate))
            continue
        free = payment.free(end)
        seen = PaymentSeen(
            pay,
            _stores[payment.whose](store),
            "live" if payment.whose == "live" else "test",
            payment.currency,
            is_voided=payment.voided_at is not None and payment.voided_at < end,
        )
        found.append(
            Facts(
                line,
                store,
                "test",
                seen,
                is_duplicate,
                free_settled_minor=sum(each.amount_minor for each in free if each.amount_minor > 0),
                free_refunded_minor=-sum(each.amount_minor for each in free if each.amount_minor < 0),
                has_settled=any(each.amount_minor > 0 and each.at < end for each in payment.movements),
                other_bill_id=max(
                    (each.bill_id for each in payment.movements if each.bill_id not in (None, bill_id)), default=None
                ),
            )
        )
    return found


_stores: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def stores(ground: Ground) -> None:
    _stores.update(
        ours=lambda store: store,
        elsewhere=lambda _: ground.world.toyshop,
        live=lambda _: ground.live.bookshop,
    )


def _match(
    payments: list[Drawn], ground: Ground, bill_id: str, end: datetime, facts: list[Facts], tolerance_minor: int
) -> None:
    """Matches, and compares with what the rules say; then the model has taken the same."""
    matched(bill_id)
    by_id = {each.id: each for each in payments}
    expected, paid = {}, {}
    for line_no, each in enumerate(facts, 1):
        expected[line_no] = rules.decide_line(each)
        is_tolerated = each.line.currency == "GBP" and rules.is_tolerated(each, tolerance_minor)
        if expected[line_no] == MATCHED or is_tolerated:
            assert each.payment is not None
            for movement in by_id[each.payment.id].free(end):
                movement.bill_id, movement.line_no = bill_id, line_no
        if is_tolerated:
            paid[line_no] = (each.expected_minor, rules.paid_minor(each))
    for payment in payments:
        if payment.whose == "ours" and any(each.bill_id and each.amount_minor > 0 for each in payment.movements):
            for movement in payment.free(end):
                if movement.amount_minor < 0:
                    movement.bill_id, expected[0] = bill_id, "credit"
    assert outcomes(bill_id) == dict(sorted(expected.items()))
    of_bill = [each for payment in payments for each in payment.movements if each.bill_id == bill_id]
    assert taken(bill_id) == {
        each.id: (each.line_no, each.amount_minor) for each in sorted(of_bill, key=lambda m: m.id)
    }
    found = breaks(bill_id)
    assert {each.line_no: (each.claimed_minor, each.paid_minor) for each in found if each.state == "resolved"} == paid
    ours = [f.payment is not None and f.payment.store_id == ground.world.bookshop for f in facts]
    for each in found:
        about = facts[each.line_no - 1]
        comparable = ours[each.line_no - 1] and each.kind not in ("currency_mismatch", "duplicate_line")
        assert each.expected_minor == (about.expected_minor if comparable else None)
        assert each.other_bill_id == (about.other_bill_id if each.kind == "already_billed" else None)
        assert (each.issuer_id is not None) == ours[each.line_no - 1]
    assert all(each.kind in BY_AMOUNT for each in found if each.state == "resolved")


def _empty(ground: Ground, payments: list[Drawn]) -> None:
    """What is left of an example would be in the way of the next: refunds that become credits."""
    left = rows("SELECT count(*) AS found FROM billed WHERE payment_id = ANY(:ids)", ids=[each.id for each in payments])
    assert left[0].found == sum(each.bill_id is not None for payment in payments for each in payment.movements)
    for table in ("settlement", "refund", "payment"):
        key = "id" if table == "payment" else "payment_id"
        ground.db.execute(f"DELETE FROM {table} WHERE {key} = ANY(%s)".encode(), [[each.id for each in payments]])
