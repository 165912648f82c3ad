"""What a service role that was taken over may insert: no movement that nothing bears out, no account that lies."""

# ruff: noqa: E501  movements are read as a table

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql
from sqlalchemy import make_url

from app.config import Settings
from tests.db.test_roles import role
from tests.world import World, make_world

Row = dict[str, Any]

#: A settle of 1,000 more on a payment that holds 5,000 of card `a`, of which 3,000 are settled: what the books expect
#: once the payment says so. Names in braces stand for the world's identifiers.
SETTLE: Row = {
    "id": "tra_x",
    "kind": "settle",
    "debit_id": "{a}:card:GBP",
    "credit_id": "{bookshop}:owed:GBP",
    "amount_minor": 1_000,
    "currency": "GBP",
    "mode": "test",
    "card_id": "{a}",
    "payment_id": "{payment}",
}
REFUND = SETTLE | {"kind": "refund", "debit_id": "{bookshop}:owed:GBP", "credit_id": "{a}:card:GBP"}
LAPSE = SETTLE | {"kind": "lapse", "credit_id": "{issuer}:breakage:GBP", "payment_id": None}
ISSUE = SETTLE | {
    "kind": "issue",
    "debit_id": "{issuer}:funding:GBP",
    "credit_id": "{a}:card:GBP",
    "amount_minor": 5_000,
    "payment_id": None,
}

FORGED: list[tuple[str, Row, Row, str]] = [
    ("nothing", SETTLE, {"amount_minor": 0}, "transfer_amount_positive"),
    ("less than nothing", SETTLE, {"amount_minor": -1_000}, "transfer_amount_positive"),
    ("less than nothing, backwards", REFUND, {"amount_minor": -1_000}, "transfer_amount_positive"),
    ("more than a number holds", SETTLE, {"amount_minor": 2**63}, "22003"),
    ("so much that the balance overflows", REFUND, {"amount_minor": 2**63 - 1}, "22003"),
    ("more than the balance", SETTLE, {"amount_minor": 2_001}, "account_balance_not_negative"),
    ("no amount", SETTLE, {"amount_minor": None}, "23502"),
    ("an unknown kind", SETTLE, {"kind": "gift"}, "transfer_"),
    ("from a card to itself", SETTLE, {"credit_id": "{a}:card:GBP"}, "transfer_"),
    ("from a card to a card", SETTLE, {"credit_id": "{b}:card:GBP"}, "transfer_between"),
    ("from a card to a card, as a refund", REFUND, {"debit_id": "{b}:card:GBP"}, "transfer_between"),
    ("from a store to a store", SETTLE, {"debit_id": "{toyshop}:owed:GBP"}, "transfer_between"),
    ("out of funding to a store", SETTLE, {"debit_id": "{issuer}:funding:GBP"}, "transfer_between"),
    ("out of breakage to a card", ISSUE, {"debit_id": "{issuer}:breakage:GBP"}, "transfer_between"),
    ("out of what a store is owed, as an issue", ISSUE, {"debit_id": "{bookshop}:owed:GBP"}, "transfer_between"),
    ("out of funding, as a refund", REFUND, {"debit_id": "{issuer}:funding:GBP"}, "transfer_between"),
    ("to a store, as a lapse", LAPSE, {"credit_id": "{bookshop}:owed:GBP"}, "transfer_between"),
    ("off another card", SETTLE, {"debit_id": "{b}:card:GBP"}, "transfer_between"),
    ("to an account that is not there", SETTLE, {"credit_id": "str_x:owed:GBP"}, "transfer_credit_id"),
    ("from an account that is not there", REFUND, {"debit_id": "str_x:owed:GBP"}, "transfer_"),
    ("in live money", SETTLE, {"mode": "live"}, "transfer_"),
    ("in another currency", SETTLE, {"currency": "EUR"}, "transfer_between"),
    ("in another currency to the end", SETTLE, {"currency": "EUR", "debit_id": "{a}:card:EUR"}, "transfer_"),
    ("a second issue", ISSUE, {}, "transfer_one_issue"),
    ("a settle without payment", SETTLE, {"payment_id": None}, "transfer_of_payment"),
    ("a lapse with a payment", LAPSE, {"payment_id": "{payment}"}, "transfer_of_payment"),
    ("a settle that its payment does not say", SETTLE, {}, "transfer_borne_out"),
    ("a settle of another card's payment", SETTLE, {"card_id": "{b}", "debit_id": "{b}:card:GBP"}, "transfer_borne_out"),
    ("a settle of an unknown payment", SETTLE, {"payment_id": "pay_x"}, "transfer_borne_out"),
    ("a settle to another store", SETTLE, {"credit_id": "{toyshop}:owed:GBP"}, "transfer_borne_out"),
    ("a refund that its payment does not say", REFUND, {}, "transfer_borne_out"),
    ("a refund to another card", REFUND, {"card_id": "{b}", "credit_id": "{b}:card:GBP"}, "transfer_borne_out"),
    ("a refund out of another store", REFUND, {"debit_id": "{toyshop}:owed:GBP"}, "transfer_borne_out"),
    ("a lapse into another issuer's breakage", LAPSE, {"credit_id": "{other}:breakage:GBP"}, "transfer_borne_out"),
]  # fmt: skip


@pytest.fixture(scope="module")
def names(database: Settings) -> dict[str, str]:
    """A card `a` with 3,000 settled and 2,000 held, another card, a store that is owed something, another issuer."""
    world = make_world()
    return _walked(world) | {"other": make_world().issuer_id}


def _walked(world: World) -> dict[str, str]:
    payment = world.payment().payment
    world.settle(payment.id, 3_000, final=False)
    world.payment(store=world.toyshop)
    return {
        "a": world.card_of(payment.id).id,
        "b": world.issue().id,
        "payment": payment.id,
        "issuer": world.issuer_id,
        "bookshop": world.bookshop,
        "toyshop": world.toyshop,
    }


def insert(db: Connection[Any], table: str, row: Row, names: dict[str, str]) -> None:
    """Inserts a row; a value in braces is one of the world's identifiers."""
    values = {name: value.format(**names) if isinstance(value, str) else value for name, value in row.items()}
    if table == "transfer":
        values.setdefault("at", "now")
    columns, marks = map(sql.Identifier, values), sql.SQL(", ").join(sql.Placeholder() * len(values))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})")
    db.execute(statement.format(sql.Identifier(table), sql.SQL(", ").join(columns), marks), list(values.values()))


def refusal(db: Connection[Any], table: str, row: Row, names: dict[str, str]) -> str:
    """The constraint, or else the SQLSTATE, that refuses a row; empty for one that is taken. It is undone."""
    try:
        insert(db, table, row, names)
    except psycopg.Error as error:
        return error.diag.constraint_name or error.sqlstate or str(error)
    finally:
        db.rollback()
    return ""


@pytest.mark.parametrize(
    ("forged", "refused_by"), [(row | changes, by) for _, row, changes, by in FORGED], ids=[name for name, *_ in FORGED]
)
def test_a_forged_movement_is_refused(
    urls: dict[str, str], names: dict[str, str], forged: Row, refused_by: str
) -> None:
    with role(urls, "service") as db:
        assert refusal(db, "transfer", forged, names).startswith(refused_by)


def test_the_same_movement_is_taken_once_the_payment_says_so(urls: dict[str, str], names: dict[str, str]) -> None:
    """Else the refusals above would show nothing."""
    says_so = "UPDATE payment SET settled_minor = settled_minor + 1000, held_minor = held_minor - 1000 WHERE id = %s"
    with role(urls, "service") as db:
        db.execute(says_so, [names["payment"]])
        assert refusal(db, "transfer", SETTLE, names) == ""


ACCOUNT: Row = {"id": "x:owed:GBP", "kind": "owed", "owner_id": "x", "currency": "GBP", "mode": "test"}


@pytest.mark.parametrize(
    ("changes", "refused_by"),
    [
        ({}, ""),
        ({"kind": "funding"}, "account_id_says_what_it_is"),
        ({"id": "x:card:GBP"}, "account_id_says_what_it_is"),
        ({"owner_id": "y"}, "account_id_says_what_it_is"),
        ({"currency": "EUR"}, "account_id_says_what_it_is"),
        ({"id": "x:card:owed:GBP", "owner_id": "x:card"}, "account_id_says_what_it_is"),
        ({"id": "x:gift:GBP", "kind": "gift"}, "account_kind"),
        ({"mode": "real"}, "account_mode"),
    ],
)
def test_an_account_cannot_lie(urls: dict[str, str], changes: Row, refused_by: str) -> None:
    with role(urls, "service") as db:
        assert refusal(db, "account", ACCOUNT | changes, {}) == refused_by


MADE = {
    "issue": "INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, at)"
    " VALUES ('tra_x', 'issue', '{issuer}:funding:GBP', '{new}:card:GBP', 700, 'GBP', 'test', '{new}', now())",
    "account": "INSERT INTO account (id, kind, owner_id, currency, mode)"
    " VALUES ('{new}:card:GBP', 'card', '{new}', 'GBP', 'test')",
    "card": "INSERT INTO card (id, programme_id, issuer_id, account_id, mode, currency, issued_minor, state, expires_at,"
    " holder_sealed, email_hash, issuer_metadata, created_at) SELECT '{new}', programme_id, issuer_id, '{new}:card:GBP',"
    " mode, currency, 700, state, expires_at, holder_sealed, email_hash, issuer_metadata, created_at FROM card"
    " WHERE id = '{a}'",
}


def test_what_is_left_is_to_issue_and_it_stands_in_the_books(urls: dict[str, str], names: dict[str, str]) -> None:
    """A limit: issuing is the service's business. Such a card takes its money out of its issuer's funding."""
    known = names | {"new": "card_new"}
    with role(urls, "service") as db:
        for statement in (MADE["account"], MADE["card"], MADE["issue"]):
            db.execute(statement.format(**known).encode())
        funded = "SELECT sum(amount_minor) FROM transfer WHERE debit_id = %s AND card_id = 'card_new'"
        assert db.execute(funded, [f"{names['issuer']}:funding:GBP"]).fetchone() == (700,)


@pytest.mark.parametrize(
    ("before", "after", "refused_by"),
    [
        ("700, state", "900, state", "transfer_borne_out"),
        ("{new}:card:GBP', mode", "{a}:card:GBP', mode", "card_account_is_its_own"),
        ("{issuer}:funding", "{other}:funding", "transfer_borne_out"),
    ],
)
def test_but_only_for_the_cards_amount_from_its_own_issuer_to_its_own_account(
    urls: dict[str, str], names: dict[str, str], before: str, after: str, refused_by: str
) -> None:
    known = names | {"new": "card_new"}
    with role(urls, "service") as db:
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            for statement in (MADE["account"], MADE["card"], MADE["issue"]):
                db.execute(statement.replace(before, after).format(**known).encode())
        assert refused.value.diag.constraint_name == refused_by


# ── planted: a constraint that somebody dropped ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def weakened(own_database: Settings, urls: dict[str, str]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The service's and the superuser's URL of a database that a superuser may damage, and the names of its world."""
    name = make_url(own_database.database_url).database
    own = {who: make_url(url).set(database=name).render_as_string(hide_password=False) for who, url in urls.items()}
    yield own, _walked(make_world()) | {"other": make_world().issuer_id}


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE transfer DROP CONSTRAINT transfer_between",
        "ALTER TABLE transfer DISABLE TRIGGER transfer_moves_balances",
        "DROP INDEX transfer_one_issue",
        "ALTER TABLE account DROP CONSTRAINT account_balance_not_negative",
    ],
)
def test_a_guard_that_is_gone_is_noticed(weakened: tuple[dict[str, str], dict[str, str]], damage: str) -> None:
    own, names = weakened
    url = make_url(own["admin"]).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute(damage.encode())
    with role(own, "service") as db:
        said = {name: (refusal(db, "transfer", row | changes, names), by) for name, row, changes, by in FORGED}
    assert [name for name, (refused, by) in said.items() if not refused.startswith(by)] != []
