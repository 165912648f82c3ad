"""What a service role that was taken over may bill: nothing that no settlement or refund bears out."""

# ruff: noqa: E501  rows are read as a table

import psycopg
import pytest
from sqlalchemy import text

from app import clock
from app.config import Settings
from app.db.transaction import transaction
from app.redemption.settle import settle_payment
from tests.billing.bills import given_bill, matched
from tests.billing.test_match import IN_NOVEMBER, IN_OCTOBER, RECEIVED, refund, settled
from tests.db.test_forged import Row, insert, refusal
from tests.db.test_roles import role
from tests.world import World, gbp, make_world, reference, rows

BILLED: Row = {
    "movement_id": "{settlement}",
    "bill_id": "{bill}",
    "line_no": 1,
    "payment_id": "{payment}",
    "card_id": "{card}",
    "store_id": "{bookshop}",
    "issuer_id": "{issuer}",
    "programme_id": "{programme}",
    "currency": "GBP",
    "amount_minor": 3_000,
}
REFUND = BILLED | {"movement_id": "{refund}", "amount_minor": -1_000}

FORGED: list[tuple[str, Row, Row, str]] = [
    ("no settlement", BILLED, {"movement_id": "set_x"}, "billed_borne_out"),
    ("no bill", BILLED, {"bill_id": "bill_x"}, "billed_borne_out"),
    ("another amount", BILLED, {"amount_minor": 3_001}, "billed_borne_out"),
    ("less", BILLED, {"amount_minor": 2_999}, "billed_borne_out"),
    ("nothing", BILLED, {"amount_minor": 0}, "billed_amount"),
    ("a settlement that gives back", BILLED, {"amount_minor": -3_000}, "billed_amount"),
    ("a refund as a settlement", REFUND, {"amount_minor": 1_000}, "billed_amount"),
    ("more refunded", REFUND, {"amount_minor": -1_001}, "billed_borne_out"),
    ("a settlement without a line", BILLED, {"line_no": None}, "billed_credit"),
    ("another payment", BILLED, {"payment_id": "{other_payment}"}, "billed_borne_out"),
    ("another card", BILLED, {"card_id": "{other_card}"}, "billed_borne_out"),
    ("another issuer", BILLED, {"issuer_id": "{other_issuer}"}, "billed_borne_out"),
    ("another programme", BILLED, {"programme_id": "{other_programme}"}, "billed_borne_out"),
    ("another currency", BILLED, {"currency": "EUR"}, "billed_borne_out"),
    ("another store's settlement", BILLED, {"movement_id": "{elsewhere}", "payment_id": "{payment_elsewhere}"}, "billed_borne_out"),
    (
        "another store's settlement, told as it is",
        BILLED,
        {"movement_id": "{elsewhere}", "payment_id": "{payment_elsewhere}", "card_id": "{card_elsewhere}", "store_id": "{toyshop}"},
        "billed_borne_out",
    ),
    ("in another store's bill", BILLED, {"bill_id": "{bill_elsewhere}"}, "billed_borne_out"),
    ("in another store's bill, as if it were its", BILLED, {"bill_id": "{bill_elsewhere}", "store_id": "{toyshop}"}, "billed_borne_out"),
    ("what came after the period", BILLED | {"movement_id": "{later}", "payment_id": "{later_payment}", "card_id": "{later_card}"}, {}, "billed_borne_out"),
    ("in a bill that was rejected", BILLED, {"bill_id": "{rejected}"}, "billed_borne_out"),
    ("in a bill that is not read yet", BILLED, {"bill_id": "{received}"}, "billed_borne_out"),
    ("twice", BILLED | {"movement_id": "{taken}", "payment_id": "{taken_payment}", "card_id": "{taken_card}"}, {}, "billed_pkey"),
]  # fmt: skip


@pytest.fixture(scope="module")
def names(database: Settings) -> dict[str, str]:
    """Bookshop's open bill and a payment that it names, of which 3,000 are settled and 1,000 refunded; and others."""
    return _walked(make_world(), make_world())


def _walked(world: World, other: World) -> dict[str, str]:
    payment, later, taken = settled(world), settled(world, at=IN_NOVEMBER), settled(world)
    refund(world, payment, 1_000, at=IN_OCTOBER)
    with clock.set_to(IN_OCTOBER):
        elsewhere = world.payment(store=world.toyshop).payment.id
        settle_payment(elsewhere, gbp(3_000), store_id=world.toyshop, reference=reference(world.toyshop))
    bills = {
        name: given_bill(store, [(pay, 3_000)], period="2026-10", received_at=RECEIVED)
        for name, store, pay in (
            ("bill", world.bookshop, payment),
            ("bill_elsewhere", world.toyshop, elsewhere),
            ("taking", world.bookshop, taken),
            ("rejected", world.bookshop, payment),
            ("received", world.bookshop, payment),
        )
    }
    matched(bills["taking"])
    with transaction() as db:
        states = {
            "rejected": "state = 'rejected', closed_at = now(), closed_by = 'x', matched_lines = 0, broken_lines = 1, matched_at = now()"
        }
        for name, values in {**states, "received": "state = 'received'"}.items():
            db.execute(text(f"UPDATE bill SET {values} WHERE id = :id"), {"id": bills[name]})
    set_of = {name: rows("SELECT id, card_id FROM settlement WHERE payment_id = :id", id=pay)[0] for name, pay in (
        ("settlement", payment), ("later", later), ("taken", taken), ("elsewhere", elsewhere)
    )}  # fmt: skip
    return bills | {name: each.id for name, each in set_of.items()} | {
        "refund": rows("SELECT id FROM refund WHERE payment_id = :id", id=payment)[0].id,
        "payment": payment,
        "later_payment": later,
        "taken_payment": taken,
        "payment_elsewhere": elsewhere,
        "other_payment": settled(world),
        "card": set_of["settlement"].card_id,
        "later_card": set_of["later"].card_id,
        "taken_card": set_of["taken"].card_id,
        "card_elsewhere": set_of["elsewhere"].card_id,
        "other_card": world.issue().id,
        "issuer": world.issuer_id,
        "programme": world.programme_id,
        "bookshop": world.bookshop,
        "toyshop": world.toyshop,
        "other_issuer": other.issuer_id,
        "other_programme": other.programme_id,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("forged", "refused_by"), [(row | changes, by) for _, row, changes, by in FORGED], ids=[name for name, *_ in FORGED]
)
def test_what_nothing_bears_out_is_refused(
    urls: dict[str, str], names: dict[str, str], forged: Row, refused_by: str
) -> None:
    with role(urls, "service") as db:
        assert refusal(db, "billed", forged, names) == refused_by


def test_what_is_borne_out_is_taken(urls: dict[str, str], names: dict[str, str]) -> None:
    """Else the refusals above would show nothing."""
    with role(urls, "service") as db:
        assert [refusal(db, "billed", row, names) for row in (BILLED, REFUND, REFUND | {"line_no": None})] == [
            "",
            "",
            "",
        ]


def test_one_statement_takes_up_for_one_bill(urls: dict[str, str], names: dict[str, str]) -> None:
    """Or rows of a bill that nobody looked at could come along with another's."""
    columns = ", ".join(BILLED)
    two = [
        BILLED,
        BILLED | {"movement_id": "{elsewhere}", "payment_id": "{payment_elsewhere}", "bill_id": "{bill_elsewhere}"},
    ]
    two[1] |= {"card_id": "{card_elsewhere}", "store_id": "{toyshop}"}
    values = [value.format(**names) if isinstance(value, str) else value for row in two for value in row.values()]
    marks = ", ".join(["%s"] * len(BILLED))
    with role(urls, "service") as db:
        for row in two:
            insert(db, "billed", row, names)
        db.rollback()
        with pytest.raises(psycopg.errors.CheckViolation, match="bears out"):
            db.execute(f"INSERT INTO billed ({columns}) VALUES ({marks}), ({marks})".encode(), values)


def test_a_closed_bill_gives_nothing_back(urls: dict[str, str], names: dict[str, str]) -> None:
    give_back = "DELETE FROM billed WHERE bill_id = %s"
    close = "UPDATE bill SET state = 'approved', closed_at = now(), closed_by = 'x' WHERE id = %s"
    with role(urls, "service") as db:
        assert db.execute(give_back, [names["taking"]]).rowcount == 1
        db.rollback()
        db.execute(close, [names["taking"]])
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            db.execute(give_back, [names["taking"]])
        assert refused.value.diag.constraint_name == "billed_kept"


@pytest.mark.parametrize("statement", ["UPDATE billed SET bill_id = bill_id", "TRUNCATE billed"])
@pytest.mark.parametrize("name", ["service", "admin"])
def test_nobody_changes_what_was_taken_up(
    urls: dict[str, str], names: dict[str, str], statement: str, name: str
) -> None:
    with role(urls, name) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement.encode())


def test_the_guards_stand_in_replica_mode_too(urls: dict[str, str], names: dict[str, str]) -> None:
    with role(urls, "admin") as db:
        db.execute("SET session_replication_role = replica")
        assert refusal(db, "billed", BILLED | {"amount_minor": 2_999}, names) == "billed_borne_out"
