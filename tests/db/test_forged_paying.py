"""What a service role that was taken over may insert of paying: no payout twice, of more, or to another store."""

# ruff: noqa: E501  movements are read as a table

from typing import Any

import psycopg
import pytest
from psycopg import Connection

from app.config import Settings
from tests.billing.matched import bill_of, settled
from tests.db.test_forged import Row, insert, refusal
from tests.db.test_roles import role
from tests.world import make_world

#: A payout of 2,000 to Bookshop that a released run says is on its way, and which nothing has moved yet.
SEND: Row = {
    "id": "tra_x",
    "kind": "send",
    "debit_id": "{bookshop}:owed:GBP",
    "credit_id": "{bookshop}:in_transit:GBP",
    "amount_minor": 2_000,
    "currency": "GBP",
    "mode": "test",
    "document_id": "{payout}",
}
ARRIVE = SEND | {"kind": "arrive", "debit_id": "{bookshop}:in_transit:GBP", "credit_id": "{bookshop}:paid:GBP"}
RETURN = SEND | {"kind": "return", "debit_id": "{bookshop}:in_transit:GBP", "credit_id": "{bookshop}:owed:GBP"}
GOODWILL = SEND | {
    "kind": "goodwill",
    "debit_id": "{issuer}:goodwill:GBP",
    "credit_id": "{bookshop}:owed:GBP",
    "amount_minor": 700,
    "document_id": "{break}",
}
FUND = SEND | {
    "kind": "fund",
    "debit_id": "{issuer}:bank:GBP",
    "credit_id": "{issuer}:funding:GBP",
    "amount_minor": 900,
    "document_id": "{fund}",
}
ADJUST = FUND | {
    "kind": "adjust",
    "debit_id": "{issuer}:funding:GBP",
    "credit_id": "{issuer}:fraud_loss:GBP",
    "amount_minor": 300,
    "document_id": "{adjust}",
}
SENT = "UPDATE payout SET state = 'in_transit', sent_at = now() WHERE id = '{payout}'"
PAID = "UPDATE payout SET state = 'paid', paid_at = now() WHERE id = '{payout}'"
BACK = (
    "UPDATE payout SET state = 'returned', returned_at = now(), returned_because = 'AC04' WHERE id = '{payout}'",
    "UPDATE payout_payable SET is_live = false WHERE payout_id = '{payout}'",
)
BOOKED = "UPDATE entry SET state = 'booked', decided_by = 'operator:bob', decided_at = now() WHERE id = '{adjust}'"
FUNDED = "UPDATE entry SET state = 'booked', decided_by = 'operator:ann', decided_at = now() WHERE id = '{fund}'"
APPROVED = "UPDATE bill SET state = 'approved', closed_by = 'operator:ann', closed_at = now() WHERE id = '{bill}'"

#: What the documents say before, the movement and what is changed in it, and what refuses it.
FORGED: list[tuple[str, tuple[str | Row, ...], Row, Row, str]] = [
    ("a send that nobody released", (), SEND, {}, "transfer_borne_out"),
    ("a send without payout", (SENT,), SEND, {"document_id": "out_x"}, "transfer_borne_out"),
    ("a send of nothing named", (SENT,), SEND, {"document_id": None}, "transfer_of_card_or_document"),
    ("a send of more", (SENT,), SEND, {"amount_minor": 2_001}, "transfer_borne_out"),
    ("a send of less", (SENT,), SEND, {"amount_minor": 1_999}, "transfer_borne_out"),
    ("a send at another time", (SENT,), SEND, {"at": "yesterday"}, "transfer_borne_out"),
    ("a send twice", (SENT, SEND), SEND, {"id": "tra_y"}, "transfer_one_of_document"),
    ("a send across stores", (SENT,), SEND, {"credit_id": "{toyshop}:in_transit:GBP"}, "transfer_between"),
    (
        "a send to another store",
        (SENT,),
        SEND,
        {"debit_id": "{toyshop}:owed:GBP", "credit_id": "{toyshop}:in_transit:GBP"},
        "transfer_borne_out",
    ),
    ("a send past the bank", (SENT,), SEND, {"credit_id": "{bookshop}:paid:GBP"}, "transfer_between"),
    ("a send in live money", (SENT,), SEND, {"mode": "live"}, "transfer_"),
    ("a send of a card", (SENT,), SEND, {"card_id": "card_x"}, "transfer_of_card_or_document"),
    ("a send of another run's payables", (SENT, "UPDATE payout_payable SET is_live = false"), SEND, {}, "transfer_borne"),
    ("what was never sent arrives", (SENT, PAID), ARRIVE, {}, "transfer_borne_out"),
    ("what is on its way arrives", (SENT, SEND), ARRIVE, {}, "transfer_borne_out"),
    ("it arrives twice", (SENT, SEND, PAID, ARRIVE), ARRIVE, {"id": "tra_y"}, "transfer_one_of_document"),
    ("what was never sent comes back", (SENT, *BACK), RETURN, {}, "transfer_borne_out"),
    ("what is on its way comes back", (SENT, SEND), RETURN, {}, "transfer_borne_out"),
    ("it comes back twice", (SENT, SEND, *BACK, RETURN), RETURN, {"id": "tra_y"}, "transfer_one_of_document"),
    ("it comes back from where it is not", (SENT, SEND, PAID, ARRIVE, *BACK), RETURN, {}, "transfer_borne_out"),
    (
        "it comes back, and was never paid",
        (SENT, SEND, *BACK),
        RETURN,
        {"debit_id": "{bookshop}:paid:GBP"},
        "transfer_borne_out",
    ),
    ("goodwill before the bill is approved", (), GOODWILL, {}, "transfer_borne_out"),
    ("more goodwill", (APPROVED,), GOODWILL, {"amount_minor": 701}, "transfer_borne_out"),
    ("goodwill of another issuer", (APPROVED,), GOODWILL, {"debit_id": "{other}:goodwill:GBP"}, "transfer_borne_out"),
    ("goodwill to another store", (APPROVED,), GOODWILL, {"credit_id": "{toyshop}:owed:GBP"}, "transfer_borne_out"),
    ("goodwill twice", (APPROVED, GOODWILL), GOODWILL, {"id": "tra_y"}, "transfer_one_of_document"),
    ("money that did not come", (), FUND, {}, "transfer_borne_out"),
    ("more money than came", (FUNDED,), FUND, {"amount_minor": 901}, "transfer_borne_out"),
    ("money from the bank to a store", (FUNDED,), FUND, {"credit_id": "{bookshop}:owed:GBP"}, "transfer_between"),
    ("money into another issuer's funding", (FUNDED,), FUND, {"credit_id": "{other}:funding:GBP"}, "transfer_between"),
    (
        "another issuer's money",
        (FUNDED,),
        FUND,
        {"debit_id": "{other}:bank:GBP", "credit_id": "{other}:funding:GBP"},
        "transfer_borne_out",
    ),
    ("an adjustment that nobody booked", (), ADJUST, {}, "transfer_borne_out"),
    (
        "an adjustment the other way",
        (BOOKED,),
        ADJUST,
        {"debit_id": "{issuer}:fraud_loss:GBP", "credit_id": "{issuer}:funding:GBP"},
        "transfer_borne_out",
    ),
    (
        "an adjustment to another account",
        (BOOKED,),
        ADJUST,
        {"credit_id": "{issuer}:chargeback:GBP"},
        "transfer_borne_out",
    ),
    ("an adjustment of a card's money", (BOOKED,), ADJUST, {"credit_id": "{card}:card:GBP"}, "transfer_between"),
    ("an adjustment of breakage", (BOOKED,), ADJUST, {"debit_id": "{issuer}:breakage:GBP"}, "transfer_between"),
]  # fmt: skip

#: The same in good order, or else the refusals above would show nothing.
HONEST: list[tuple[str | Row, ...]] = [
    (SENT, SEND, PAID, ARRIVE, *BACK, RETURN | {"debit_id": "{bookshop}:paid:GBP"}),
    (SENT, SEND, *BACK, RETURN),
    (APPROVED, GOODWILL),
    (FUNDED, FUND),
    (BOOKED, ADJUST),
]


@pytest.fixture(scope="module")
def names(database: Settings, urls: dict[str, str]) -> dict[str, str]:
    """A bill with something written off, a drafted payout of another bill in a released run, and two entries."""
    world = make_world()
    bill = bill_of(world, [], written_off={"pay_x": 700})
    paid = bill_of(world, [settled(world)])
    settled(world, store=world.toyshop)
    known = {
        "payout": "out_x1",
        "bill": bill,
        "paid": paid,
        "issuer": world.issuer_id,
        "other": make_world().issuer_id,
        "fund": "ent_x1",
        "adjust": "ent_x2",
        "bookshop": world.bookshop,
        "toyshop": world.toyshop,
        "card": world.issue().id,
    }
    with role(urls, "service") as db:
        known["break"] = db.execute("SELECT id FROM bill_break WHERE bill_id = %s", [bill]).fetchall()[0][0]
        for statement in DOCUMENTS:
            db.execute(statement.format(**known).encode())
        db.commit()
    return known


DOCUMENTS = [
    "INSERT INTO account (id, kind, owner_id, currency, mode) SELECT owner || ':' || kind || ':GBP', kind, owner, 'GBP',"
    " 'test' FROM (VALUES ('{bookshop}', 'in_transit'), ('{bookshop}', 'paid'), ('{toyshop}', 'in_transit'),"
    " ('{issuer}', 'bank'), ('{issuer}', 'goodwill'), ('{issuer}', 'fraud_loss'), ('{issuer}', 'chargeback'),"
    " ('{other}', 'bank'), ('{other}', 'goodwill')) AS opened(owner, kind)",
    "INSERT INTO account (id, kind, owner_id, currency, mode) VALUES"
    " ('{other}:funding:GBP', 'funding', '{other}', 'GBP', 'test') ON CONFLICT DO NOTHING",
    "INSERT INTO payable (id, bill_id, store_id, issuer_id, mode, currency, amount_minor, approved_at)"
    " VALUES ('pbl_x1', '{paid}', '{bookshop}', '{issuer}', 'test', 'GBP', 2000, now())",
    "INSERT INTO payment_run (id, mode, drafted_by, drafted_at) VALUES ('run_x1', 'test', 'operator:ann', now())",
    "UPDATE payment_run SET state = 'released', released_by = 'operator:bob', released_at = now() WHERE id = 'run_x1'",
    "INSERT INTO payout (id, run_id, store_id, issuer_id, mode, currency, amount_minor, end_to_end_id)"
    " VALUES ('{payout}', 'run_x1', '{bookshop}', '{issuer}', 'test', 'GBP', 2000, 'X1')",
    "INSERT INTO payout_payable (payout_id, payable_id) VALUES ('{payout}', 'pbl_x1')",
    "INSERT INTO entry (id, mode, issuer_id, kind, account, amount_minor, currency, effective_at, reference, reason,"
    " proposed_by, proposed_at) VALUES ('{fund}', 'test', '{issuer}', 'fund', 'bank', 900, 'GBP', now(), 'B1', NULL,"
    " 'operator:ann', now()), ('{adjust}', 'test', '{issuer}', 'adjust', 'fraud_loss', -300, 'GBP', now(), NULL, 'x',"
    " 'operator:ann', now())",
]


def said(db: Connection[Any], before: tuple[str | Row, ...], names: dict[str, str]) -> None:
    """Documents and movements, all of which are taken. Times of documents are those of the movements."""
    for step in before:
        if isinstance(step, str):
            db.execute(step.format(**names).encode())
        else:
            insert(db, "transfer", step | {"id": f"tra_{step['kind']}"} | times(db, step, names), names)


def times(db: Connection[Any], row: Row, names: dict[str, str]) -> Row:
    """A movement's time is its document's."""
    column = {"send": "sent_at", "arrive": "paid_at", "return": "returned_at"}.get(row["kind"])
    query = (
        f"SELECT {column}::text FROM payout WHERE id = %s"
        if column
        else "SELECT effective_at::text FROM entry WHERE id = %s"
    )
    found = db.execute(query.encode(), [(row["document_id"] or "").format(**names)]).fetchone()
    return {"at": found[0]} if found and found[0] else {}


@pytest.mark.parametrize(
    ("before", "forged", "changes", "refused_by"),
    [forged[1:] for forged in FORGED],
    ids=[forged[0] for forged in FORGED],
)
def test_a_forged_movement_is_refused(
    urls: dict[str, str],
    names: dict[str, str],
    before: tuple[str | Row, ...],
    forged: Row,
    changes: Row,
    refused_by: str,
) -> None:
    with role(urls, "service") as db:
        said(db, before, names)
        assert refusal(db, "transfer", forged | times(db, forged, names) | changes, names).startswith(refused_by)


@pytest.mark.parametrize("steps", HONEST)
def test_in_good_order_each_is_taken(urls: dict[str, str], names: dict[str, str], steps: tuple[str | Row, ...]) -> None:
    with role(urls, "service") as db:
        said(db, steps, names)
        db.rollback()


@pytest.mark.parametrize(
    ("statement", "refused_by"),
    [
        ("UPDATE payment_run SET state = 'released', released_at = now(), released_by = drafted_by", "four_eyes"),
        (
            "UPDATE entry SET state = 'booked', decided_at = now(), decided_by = proposed_by WHERE kind = 'adjust'",
            "four",
        ),
        ("INSERT INTO payout_payable (payout_id, payable_id) SELECT id, 'pbl_x1' FROM payout", "payout_payable_"),
        (
            "INSERT INTO closed_month (mode, month, closed_by) VALUES ('test', to_char(now(), 'YYYY-MM'), 'x')",
            "is_over",
        ),
    ],
)
def test_what_documents_cannot_say(
    urls: dict[str, str], names: dict[str, str], statement: str, refused_by: str
) -> None:
    with role(urls, "service") as db:
        db.execute("INSERT INTO payment_run (id, mode, drafted_by, drafted_at) VALUES ('run_x2', 'test', 'x', now())")
        with pytest.raises(psycopg.errors.IntegrityError) as refused:
            db.execute(statement.encode())
        assert refused_by in str(refused.value.diag.constraint_name)
        db.rollback()
