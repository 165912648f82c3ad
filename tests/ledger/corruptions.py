"""What a superuser's hand may do to the books and keys, a row at a time, and what the audit must then name."""

# ruff: noqa: E501  statements are read as a table

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.ledger.audit import audit


@dataclass(frozen=True, slots=True)
class Corruption:
    """`pick` selects rows that can be corrupted so: `id`, what the audit must name as `named`, and what `change` needs.

    `sole`: the beginning of the name of the one check that notices it, for those that no other would.
    """

    name: str
    pick: str
    change: str
    sole: str | None = None


@dataclass(frozen=True, slots=True)
class Noticed:
    """What the audit said after a corruption: the findings' subjects by check; and whom it should have named."""

    named: str
    subjects: Mapping[str, list[str]]

    @property
    def is_named(self) -> bool:
        return any(self.named in subjects for subjects in self.subjects.values())


#: They follow from the other checks: kept because they are the sentences that finance asks for.
EQUATIONS = {
    "issued + refunded = balances + settled + lapsed, by currency and mode",
    "what is owed to a store is settled - refunded + written off - sent + returned",
}

_GUARDED = ("transfer", "event", "account", "payable", "closed_month")
_TRIGGERS = (
    ("transfer", "transfer_moves_balances"),
    ("transfer", "transfer_append_only"),
    ("account", "account_starts_at_nothing"),
    ("event", "event_append_only"),
    ("payable", "payable_append_only"),
    ("closed_month", "closed_month_append_only"),
    ("billed", "billed_borne_out"),
    ("billed", "billed_kept"),
    ("billed", "billed_stays"),
    ("bill_break", "bill_break_of_open_bill"),
)

#: Of no account with a snapshot, which would notice too.
_UNKEPT = "credit_id NOT IN (SELECT account_id FROM account_snapshot)"
_BOOKED = "SELECT id, card_id || ':card:' || currency AS named FROM transfer WHERE kind = "
_OTHER = "(SELECT min(o.id) FROM {0} o WHERE o.id <> %(id)s AND o.{1} <> %(card_id)s)"
_COPY_OF_TRANSFER = (
    "INSERT INTO transfer SELECT 'tra_copy', kind, debit_id, credit_id, amount_minor, currency, mode, card_id,"
    " payment_id, at, recorded_at, document_id FROM transfer WHERE id = %(id)s"
)


def _of_kind(name: str, change: str) -> list[Corruption]:
    """Of each kind of transfer: those of cards, and those of documents."""
    of_cards = [(kind, f"{_BOOKED}'{kind}'") for kind in ("issue", "settle", "refund", "lapse")]
    documents = "SELECT id, document_id AS named FROM transfer WHERE kind = "
    of_documents = [
        (kind, f"{documents}'{kind}'") for kind in ("send", "arrive", "return", "goodwill", "fund", "adjust")
    ]
    return [Corruption(f"{kind}: {name}", pick, change) for kind, pick in of_cards + of_documents]


BOOKS = [
    *_of_kind("a wrong amount", "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE id = %(id)s"),
    *_of_kind("a missing transfer", "DELETE FROM transfer WHERE id = %(id)s"),
    *_of_kind("a doubled row", _COPY_OF_TRANSFER),
    *_of_kind("of nothing", "UPDATE transfer SET amount_minor = 0 WHERE id = %(id)s"),
    Corruption(
        "of nobody",
        "SELECT id, id AS named FROM transfer",
        "UPDATE transfer SET document_id = NULL, card_id = NULL WHERE id = %(id)s",
    ),
    Corruption(
        "of a card and of a document",
        "SELECT id, id AS named FROM transfer WHERE card_id IS NOT NULL",
        "UPDATE transfer SET document_id = 'ent_fund' WHERE id = %(id)s",
    ),
    Corruption(
        "the two legs swapped",
        "SELECT id, id AS named FROM transfer",
        "UPDATE transfer SET debit_id = credit_id, credit_id = debit_id WHERE id = %(id)s",
    ),
    Corruption(
        "another kind",
        "SELECT id, id AS named FROM transfer",
        "UPDATE transfer SET kind = CASE kind WHEN 'settle' THEN 'lapse' ELSE 'settle' END WHERE id = %(id)s",
    ),
    Corruption(
        "a leg missing",
        "SELECT id, id AS named FROM transfer WHERE kind = 'settle'",
        "UPDATE transfer SET credit_id = 'nowhere' WHERE id = %(id)s",
    ),
    Corruption(
        "money owed to another store",
        f"SELECT id, payment_id AS named FROM transfer WHERE kind = 'settle' AND {_UNKEPT}",
        "UPDATE transfer SET credit_id = (SELECT min(o.id) FROM account o JOIN account a ON a.id = credit_id"
        " WHERE o.kind = 'owed' AND o.id <> a.id AND (o.mode, o.currency) = (a.mode, a.currency)) WHERE id = %(id)s",
        sole="every settlement and refund has its transfer",
    ),
    Corruption(
        "a card issued out of another issuer's funding",
        "SELECT id, card_id AS named FROM transfer WHERE kind = 'issue' AND currency = 'GBP'",
        "UPDATE transfer SET debit_id = (SELECT min(id) FROM account WHERE kind = 'funding' AND id <> debit_id)"
        " WHERE id = %(id)s",
    ),
    Corruption(
        "lapsed to another issuer's breakage",
        "SELECT id, card_id AS named FROM transfer WHERE kind = 'lapse' AND (currency, mode) = ('GBP', 'live')",
        "INSERT INTO account SELECT 'x:breakage:GBP', 'breakage', 'x', 'GBP', 'live';"
        " UPDATE transfer SET credit_id = 'x:breakage:GBP' WHERE id = %(id)s",
        sole="every card was issued once",
    ),
    Corruption(
        "a transfer without its payment",
        "SELECT id, id AS named FROM transfer WHERE payment_id IS NOT NULL",
        "UPDATE transfer SET payment_id = NULL WHERE id = %(id)s",
    ),
    Corruption(
        "mode crossed: a transfer",
        "SELECT id, id AS named FROM transfer",
        "UPDATE transfer SET mode = CASE mode WHEN 'live' THEN 'test' ELSE 'live' END WHERE id = %(id)s",
    ),
    Corruption(
        "currency crossed: a transfer",
        "SELECT id, id AS named FROM transfer",
        "UPDATE transfer SET currency = 'USD' WHERE id = %(id)s",
    ),
    Corruption(
        "currency crossed: what a store is owed",
        f"SELECT id, id AS named, credit_id FROM transfer WHERE kind = 'settle' AND {_UNKEPT}",
        "INSERT INTO account SELECT owner_id || ':owed:USD', 'owed', owner_id, 'USD', mode FROM account WHERE id = %(credit_id)s;"
        " UPDATE transfer SET credit_id = split_part(credit_id, ':', 1) || ':owed:USD' WHERE id = %(id)s",
        sole="every transfer goes between",
    ),
    Corruption(
        "balance drift up",
        "SELECT id, id AS named FROM account WHERE kind = 'card' AND balance_minor > 0",
        "UPDATE account SET balance_minor = balance_minor + 1 WHERE id = %(id)s",
        sole="every card's balance",
    ),
    Corruption(
        "balance drift down",
        "SELECT id, id AS named FROM account WHERE kind = 'card' AND balance_minor > 0",
        "UPDATE account SET balance_minor = balance_minor - 1 WHERE id = %(id)s",
    ),
    Corruption(
        "a card's account gone",
        "SELECT id, owner_id AS named FROM account WHERE kind = 'card'",
        "DELETE FROM account WHERE id = %(id)s",
    ),
    Corruption(
        "a card that shows another card's balance",
        "SELECT id, id AS named FROM card WHERE state = 'active' AND id NOT IN (SELECT card_id FROM payment WHERE state = 'held')",
        "UPDATE card SET account_id = (SELECT min(account_id) FROM card WHERE state = 'active' AND id <> %(id)s) WHERE id = %(id)s",
        sole="every card has an account",
    ),
    Corruption(
        "an account with money and no card",
        "SELECT id, 'x:card:GBP' AS named FROM account WHERE kind = 'funding'",
        "INSERT INTO account VALUES ('x:card:GBP', 'card', 'x', 'GBP', 'live', 100)",
    ),
    Corruption(
        "a card issued for another amount",
        "SELECT id, id AS named FROM card",
        "UPDATE card SET issued_minor = issued_minor + 1 WHERE id = %(id)s",
    ),
    Corruption(
        "an event missing",
        "SELECT id, coalesce(payment_id, card_id) AS named FROM event"
        " WHERE kind IN ('card_issued', 'payment_settled', 'payment_refunded', 'card_lapsed')",
        "DELETE FROM event WHERE id = %(id)s",
        sole="every transfer is told",
    ),
    Corruption(
        "a forged event",
        "SELECT id, coalesce(payment_id, card_id) AS named FROM event WHERE kind = 'payment_settled'",
        "INSERT INTO event SELECT 'evt_copy', at, kind, actor, request_id, card_id, payment_id, facts FROM event"
        " WHERE id = %(id)s",
    ),
    Corruption(
        "an event of another amount",
        "SELECT id, payment_id AS named FROM event WHERE kind = 'payment_settled'",
        """UPDATE event SET facts = facts || '{"settled_minor": "all"}' WHERE id = %(id)s""",
    ),
]

PAYMENTS = [
    Corruption(
        "more settled than its settlements",
        "SELECT id, id AS named FROM payment WHERE released_minor > 0 AND state = 'settled'",
        "UPDATE payment SET settled_minor = settled_minor + 1, released_minor = released_minor - 1 WHERE id = %(id)s",
        sole="every payment's settled",
    ),
    Corruption(
        "settled beyond the hold",
        "SELECT id, id AS named FROM payment WHERE state = 'settled'",
        "UPDATE payment SET released_minor = hold_minor - settled_minor + 1 WHERE id = %(id)s",
        sole="no open hold",
    ),
    Corruption(
        "a smaller hold than was settled",
        "SELECT id, id AS named FROM payment WHERE state = 'settled'",
        "UPDATE payment SET hold_minor = settled_minor - 1 WHERE id = %(id)s",
    ),
    Corruption(
        "a hold of more than the balance",
        "SELECT id, id AS named FROM payment WHERE state = 'held'",
        "UPDATE payment SET held_minor = held_minor + 90000, hold_minor = hold_minor + 90000 WHERE id = %(id)s",
    ),
    Corruption(
        "refunded beyond what was settled",
        "SELECT id, id AS named FROM payment WHERE settled_minor > 0",
        "UPDATE payment SET refunded_minor = settled_minor + 1 WHERE id = %(id)s",
    ),
    Corruption(
        "a refund that its payment does not know",
        "SELECT id, id AS named FROM payment WHERE refunded_minor > 0",
        "UPDATE payment SET refunded_minor = 0 WHERE id = %(id)s",
    ),
    Corruption("a payment gone", "SELECT id, id AS named FROM payment", "DELETE FROM payment WHERE id = %(id)s"),
    Corruption(
        "a payment gone that came to nothing",
        "SELECT id, id AS named FROM payment WHERE state = 'voided'",
        "DELETE FROM payment WHERE id = %(id)s",
        sole="every payment was opened",
    ),
    Corruption(
        "an exchange that no event tells",
        "SELECT id, payment_id AS named FROM event WHERE kind = 'code_exchanged'",
        "DELETE FROM event WHERE id = %(id)s",
    ),
    Corruption(
        "a settlement without a transfer",
        "SELECT id, id AS named FROM payment WHERE released_minor > 0 AND state = 'settled'",
        "UPDATE payment SET settled_minor = settled_minor + 1, released_minor = released_minor - 1 WHERE id = %(id)s;"
        " INSERT INTO settlement SELECT 'set_x', id, card_id, store_id, 1, order_reference, false, now() FROM payment"
        " WHERE id = %(id)s",
    ),
    *(
        Corruption(f"{table}: {name}", f"SELECT id, payment_id AS named FROM {table}", change.format(table))
        for table in ("settlement", "refund")
        for name, change in {
            "gone": "DELETE FROM {} WHERE id = %(id)s",
            "a wrong amount": "UPDATE {} SET amount_minor = amount_minor - 1 WHERE id = %(id)s",
            "another store's": "UPDATE {} SET store_id = 'str_x' WHERE id = %(id)s",
            "another time": "UPDATE {} SET at = at + interval '1 day' WHERE id = %(id)s",
        }.items()
    ),
    Corruption(
        "a doubled settlement",
        "SELECT id, payment_id AS named FROM settlement",
        "INSERT INTO settlement SELECT 'set_copy', payment_id, card_id, store_id, amount_minor, order_reference, late,"
        " at FROM settlement WHERE id = %(id)s",
    ),
    Corruption(
        "refunded before it was settled",
        "SELECT t.id, t.payment_id AS named FROM transfer t JOIN refund r ON r.payment_id = t.payment_id"
        " JOIN card c ON c.id = t.card_id WHERE t.kind = 'settle' AND c.state = 'active'"
        " AND t.credit_id NOT IN (SELECT account_id FROM account_snapshot)",
        "UPDATE transfer SET recorded_at = now() WHERE id = %(id)s",
        sole="no payment was refunded before",
    ),
    Corruption(
        "a code that was bound to another store",
        "SELECT p.code_id AS id, p.id AS named FROM payment p",
        "UPDATE code SET store_id = (SELECT min(id) FROM store WHERE id <> store_id) WHERE id = %(id)s",
        sole="a payment's code",
    ),
    *(
        Corruption(
            f"{column} crossed: a payment",
            "SELECT id, id AS named FROM payment",
            f"UPDATE payment SET {column} = 'x' WHERE id = %(id)s",
            sole="cards and payments have the mode",
        )
        for column in ("mode", "currency")
    ),
    *(
        Corruption(
            f"{column} crossed: a card",
            "SELECT id, id AS named FROM card",
            f"UPDATE card SET {column} = 'x' WHERE id = %(id)s",
        )
        for column in ("mode", "currency")
    ),
]

KEYS = [
    Corruption(
        "a second live code",
        "SELECT id, card_id AS named FROM code WHERE state = 'live'",
        "INSERT INTO code SELECT 'code_x', card_id, link_id, 'live', sha256('x'), 1 AS pepper_epoch, NULL, NULL, NULL,"
        " NULL, created_at FROM code WHERE id = %(id)s",
        sole="nothing is open",
    ),
    Corruption(
        "a dead code come alive",
        "SELECT id, card_id AS named FROM code WHERE state = 'dead'",
        "UPDATE code SET state = 'live', hash = sha256('x'), died_at = NULL WHERE id = %(id)s",
    ),
    Corruption(
        "a hash left on a dead code",
        "SELECT id, id AS named FROM code WHERE state = 'dead'",
        "UPDATE code SET hash = sha256('x') WHERE id = %(id)s",
        sole="no dead code has a hash",
    ),
    Corruption(
        "a live code without a whole hash",
        "SELECT id, id AS named FROM code WHERE state <> 'dead'",
        "UPDATE code SET hash = substr(hash, 2) WHERE id = %(id)s",
    ),
    Corruption(
        "two held payments",
        "SELECT id, card_id AS named FROM payment WHERE state = 'held'",
        "INSERT INTO payment SELECT 'pay_x', card_id, code_id, store_id, mode, currency, 'held', 'x', 1, 1, 1, 0, 0, 0, 0,"
        " created_at, NULL, expires_at FROM payment WHERE id = %(id)s",
    ),
    Corruption(
        "an ended payment that holds",
        "SELECT id, card_id AS named FROM payment WHERE state IN ('voided', 'expired')",
        "UPDATE payment SET state = 'held', held_minor = 1, released_minor = released_minor - 1 WHERE id = %(id)s",
    ),
    Corruption(
        "a hold that the key still names has ended",
        "SELECT id, card_id AS named FROM payment WHERE state = 'held' AND settled_minor = 0",
        "UPDATE payment SET state = 'voided', released_minor = held_minor, held_minor = 0 WHERE id = %(id)s",
        sole="the key is",
    ),
    Corruption(
        "an opened link that waits",
        "SELECT id, card_id AS named FROM claim_link WHERE state = 'opened'",
        "UPDATE claim_link SET state = 'waiting' WHERE id = %(id)s",
    ),
    Corruption(
        "a waiting link that is no longer",
        "SELECT id, card_id AS named FROM claim_link WHERE state = 'waiting'",
        "UPDATE claim_link SET state = 'superseded' WHERE id = %(id)s",
    ),
    Corruption(
        "a key that points at another card's link",
        "SELECT card_id AS id, card_id, card_id AS named FROM card_key WHERE link_id IS NOT NULL",
        f"UPDATE card_key SET link_id = {_OTHER.format('claim_link', 'card_id')} WHERE card_id = %(id)s",
    ),
    Corruption(
        "a key that points at another card's code",
        "SELECT card_id AS id, card_id, card_id AS named FROM card_key WHERE code_id IS NOT NULL",
        f"UPDATE card_key SET code_id = {_OTHER.format('code', 'card_id')} WHERE card_id = %(id)s",
    ),
    Corruption(
        "a key that points nowhere",
        "SELECT card_id AS id, card_id AS named FROM card_key WHERE link_id IS NOT NULL",
        "UPDATE card_key SET link_id = 'link_x' WHERE card_id = %(id)s",
    ),
    Corruption(
        "an active card without a key",
        "SELECT k.card_id AS id, k.card_id AS named FROM card_key k JOIN claim_link l ON l.id = k.link_id"
        " WHERE l.state = 'lapsed'",
        "UPDATE card_key SET link_id = NULL WHERE card_id = %(id)s",
        sole="one card, one key",
    ),
    Corruption(
        "a key of two",
        "SELECT k.card_id AS id, k.card_id AS named, c.id AS code_id FROM card_key k JOIN code c ON c.card_id = k.card_id"
        " WHERE k.link_id IS NOT NULL",
        "UPDATE card_key SET code_id = %(code_id)s WHERE card_id = %(id)s",
    ),
    Corruption(
        "a hold that its key does not name",
        "SELECT card_id AS id, card_id AS named FROM card_key WHERE payment_id IS NOT NULL",
        "UPDATE card_key SET payment_id = NULL WHERE card_id = %(id)s",
    ),
    Corruption(
        "no key row",
        "SELECT card_id AS id, card_id AS named FROM card_key",
        "DELETE FROM card_key WHERE card_id = %(id)s",
    ),
    Corruption(
        "a code that is bound for longer than its hold",
        "SELECT c.id, c.card_id AS named FROM code c JOIN card_key k ON k.code_id = c.id WHERE k.payment_id IS NOT NULL",
        "UPDATE code SET bound_until = bound_until + interval '1 day' WHERE id = %(id)s",
    ),
    Corruption(
        "spent with money",
        "SELECT id, id AS named FROM card WHERE state = 'active'",
        "UPDATE card SET state = 'spent' WHERE id = %(id)s",
    ),
    Corruption(
        "active without money",
        "SELECT id, id AS named FROM card WHERE state <> 'active'",
        "UPDATE card SET state = 'active' WHERE id = %(id)s",
    ),
    Corruption(
        "active without money, with a key",
        "SELECT c.id, c.id AS named, min(d.id) AS code_id, min(d.link_id) AS link_id FROM card c JOIN code d"
        " ON d.card_id = c.id WHERE c.state = 'spent' GROUP BY c.id",
        "UPDATE card SET state = 'active' WHERE id = %(id)s;"
        " UPDATE claim_link SET state = 'lapsed' WHERE id = %(link_id)s;"
        " UPDATE card_key SET link_id = %(link_id)s WHERE card_id = %(id)s",
        sole="a card's state fits",
    ),
    Corruption(
        "lapsed that was spent",
        "SELECT id, id AS named FROM card WHERE state = 'spent'",
        "UPDATE card SET state = 'lapsed' WHERE id = %(id)s",
        sole="a card that is spent or lapsed",
    ),
    Corruption(
        "spent that has lapsed",
        "SELECT id, id AS named FROM card WHERE state = 'lapsed'",
        "UPDATE card SET state = 'spent' WHERE id = %(id)s",
    ),
    Corruption(
        "a code of another card's link",
        "SELECT id, card_id, id AS named FROM code",
        f"UPDATE code SET link_id = {_OTHER.format('claim_link', 'card_id')} WHERE id = %(id)s",
        sole="codes and letters",
    ),
    Corruption(
        "a letter with another card's link",
        "SELECT id, card_id, id AS named FROM letter WHERE link_id IS NOT NULL",
        f"UPDATE letter SET link_id = {_OTHER.format('claim_link', 'card_id')} WHERE id = %(id)s",
    ),
    Corruption(
        "a letter to another card's holder",
        "SELECT id, card_id, id AS named FROM letter WHERE link_id IS NOT NULL",
        f"UPDATE letter SET card_id = {_OTHER.format('card', 'id')} WHERE id = %(id)s",
    ),
    Corruption(
        "a request without its answer",
        "SELECT reference AS id, party_id || ' ' || reference AS named FROM request",
        "UPDATE request SET answer = NULL WHERE reference = %(id)s",
        sole="every request",
    ),
]

_UNPAID = "SELECT id, bill_id AS named FROM payable WHERE id NOT IN (SELECT payable_id FROM payout_payable)"

_TAKEN = "SELECT movement_id AS id, movement_id AS named, card_id FROM billed"
_MATCHED = (
    "SELECT bill_id || line_no AS id, bill_id AS named, bill_id, line_no FROM bill_line"
    " WHERE (bill_id, line_no) NOT IN (SELECT bill_id, line_no FROM bill_break)"
)
_THE_LINE = "WHERE bill_id = %(bill_id)s AND line_no = %(line_no)s"

BILLING = [
    Corruption(
        "a bill that takes up for another programme",
        _TAKEN,
        "UPDATE billed SET programme_id = 'prg_x' WHERE movement_id = %(id)s",
        sole="whatever a bill has taken up",
    ),
    *(
        Corruption(f"a bill that takes up {name}", _TAKEN, f"UPDATE billed SET {change} WHERE movement_id = %(id)s")
        for name, change in {
            "another amount": "amount_minor = amount_minor - 1",
            "for another store": "store_id = 'str_x'",
            "for another issuer": "issuer_id = 'iss_x'",
            "of another card": "card_id = 'card_x'",
            "of another payment": "payment_id = 'pay_x'",
            "in another currency": "currency = 'EUR'",
        }.items()
    ),
    Corruption(
        "a bill that takes up what is not there",
        "SELECT movement_id AS id, 'set_x' AS named FROM billed",
        "UPDATE billed SET movement_id = 'set_x' WHERE movement_id = %(id)s",
    ),
    Corruption(
        "a bill that takes up what came after its time",
        # the last one: of more than twenty the audit would not name each
        """
        SELECT DISTINCT ON (bill_id) movement_id AS id, movement_id AS named, bill_id, at
        FROM billed JOIN (SELECT id, at FROM settlement UNION ALL SELECT id, at FROM refund) AS m ON m.id = movement_id
        ORDER BY bill_id, at DESC
        """,
        "UPDATE bill SET as_of = %(at)s WHERE id = %(bill_id)s",
    ),
    Corruption(
        "a matched line of another amount",
        _MATCHED,
        f"UPDATE bill_line SET amount_minor = amount_minor + 1 {_THE_LINE}",
        sole="every line of a bill matched",
    ),
    Corruption("a matched line gone", _MATCHED, f"DELETE FROM bill_line {_THE_LINE}"),
    Corruption("a matched line that took up nothing", _MATCHED, f"DELETE FROM billed {_THE_LINE}"),
    Corruption(
        "a bill that counts a line more",
        "SELECT id, id AS named FROM bill",
        "UPDATE bill SET lines = lines + 1, matched_lines = matched_lines + 1 WHERE id = %(id)s",
    ),
    Corruption(
        "a rejected bill that gave nothing back",
        "SELECT id, id AS named FROM bill WHERE state = 'approved'",
        "UPDATE bill SET state = 'rejected' WHERE id = %(id)s",
    ),
]

PAYING = [
    Corruption(
        "an entry at another time",
        "SELECT id, document_id AS named FROM transfer WHERE kind IN ('fund', 'adjust')",
        "UPDATE transfer SET at = at + interval '1 month' WHERE id = %(id)s",
        sole="every payout, write-off and entry",
    ),
    Corruption(
        "an adjustment booked in the books, and not decided",
        "SELECT id, id AS named FROM entry WHERE state = 'booked'",
        "UPDATE entry SET state = 'proposed' WHERE id = %(id)s",
    ),
    Corruption(
        "a write-off approved by who proposed it",
        "SELECT id, id AS named FROM bill_break WHERE state = 'written_off'",
        "UPDATE bill_break SET approved_by = proposed_by WHERE id = %(id)s",
        sole="every break has taken up",
    ),
    Corruption(
        "a break that says less than it took up",
        "SELECT movement_id AS id, 'brk_' || right(bill_id, -5) AS named FROM billed",
        "UPDATE billed SET line_no = 1 WHERE movement_id = %(id)s",
    ),
    Corruption(
        "goodwill for a break that was not written off",
        "SELECT id, id AS named FROM bill_break WHERE state = 'written_off'",
        "UPDATE bill_break SET state = 'resolved' WHERE id = %(id)s",
    ),
    Corruption(
        "goodwill of another issuer",
        "SELECT id, document_id AS named FROM transfer WHERE kind = 'goodwill'",
        "INSERT INTO account VALUES ('iss_x:goodwill:GBP', 'goodwill', 'iss_x', 'GBP', 'live');"
        " UPDATE transfer SET debit_id = 'iss_x:goodwill:GBP' WHERE id = %(id)s",
    ),
    Corruption(
        "sent to another store",
        "SELECT id, document_id AS named FROM transfer WHERE kind = 'send'",
        "UPDATE transfer SET credit_id = (SELECT min(id) FROM account WHERE kind = 'in_transit' AND id <> credit_id) WHERE id = %(id)s",
    ),
    Corruption(
        "a payout that was sent says that it was not",
        "SELECT id, id AS named FROM payout WHERE state = 'in_transit'",
        "UPDATE payout SET state = 'left_out', sent_at = NULL WHERE id = %(id)s",
    ),
    Corruption(
        "a payable of another amount",
        _UNPAID,
        "UPDATE payable SET amount_minor = amount_minor + 1 WHERE id = %(id)s",
        sole="every payable",
    ),
    Corruption("a payable gone", _UNPAID, "DELETE FROM payable WHERE id = %(id)s"),
    Corruption(
        "a payable of a bill that nobody approved",
        "SELECT id, id AS named FROM bill WHERE state = 'approved'",
        "UPDATE bill SET state = 'matched', closed_by = NULL, closed_at = NULL WHERE id = %(id)s",
    ),
    Corruption(
        "what a bill takes up, changed after it was approved",
        "SELECT movement_id AS id, bill_id AS named FROM billed",
        "UPDATE billed SET amount_minor = amount_minor + 1 WHERE movement_id = %(id)s",
    ),
    Corruption(
        "a drafted payout of another amount",
        "SELECT id, id AS named FROM payout WHERE state = 'drafted'",
        "UPDATE payout SET amount_minor = amount_minor + 1 WHERE id = %(id)s",
        sole="every payout is the sum",
    ),
    Corruption(
        "a payout of another issuer's money",
        "SELECT id, id AS named FROM payout",
        "UPDATE payout SET issuer_id = 'iss_x' WHERE id = %(id)s",
    ),
    Corruption(
        "a payout whose run was never released",
        "SELECT id, id AS named FROM payout WHERE state IN ('in_transit', 'paid')",
        "UPDATE payout SET run_id = 'run_drafted' WHERE id = %(id)s",
    ),
    Corruption(
        "a payable that is paid twice",
        "SELECT l.payable_id AS id, l.payable_id AS named FROM payout_payable l JOIN payout p ON p.id = l.payout_id WHERE p.state = 'paid'",
        "INSERT INTO payout_payable SELECT 'out_x', payable_id, true FROM payout_payable WHERE payable_id = %(id)s",
        sole="a payable is in one live payout",
    ),
    Corruption(
        "a payable that is free while it is paid",
        "SELECT l.payable_id AS id, l.payable_id AS named FROM payout_payable l WHERE is_live",
        "UPDATE payout_payable SET is_live = false WHERE payable_id = %(id)s",
    ),
    Corruption(
        "released by who drafted it",
        "SELECT id, id AS named FROM payment_run WHERE state = 'released'",
        "UPDATE payment_run SET released_by = drafted_by WHERE id = %(id)s",
        sole="who drafted a run",
    ),
    Corruption(
        "booked by who proposed it",
        "SELECT id, id AS named FROM entry WHERE (kind, state) = ('adjust', 'booked')",
        "UPDATE entry SET decided_by = proposed_by WHERE id = %(id)s",
    ),
    Corruption(
        "a snapshot of more than was recorded",
        "SELECT account_id AS id, account_id AS named FROM account_snapshot",
        "UPDATE account_snapshot SET balance_minor = balance_minor + 1 WHERE account_id = %(id)s",
        sole="every snapshot",
    ),
    Corruption(
        "recorded where a snapshot has looked already",
        "SELECT t.id, t.credit_id AS named FROM transfer t JOIN account_snapshot s ON s.account_id = t.credit_id"
        " WHERE t.recorded_at >= s.up_to AND t.kind = 'settle' AND t.payment_id NOT IN (SELECT payment_id FROM refund)"
        " AND (SELECT state FROM card WHERE id = t.card_id) = 'active'",
        "UPDATE transfer SET recorded_at = '2026-01-01' WHERE id = %(id)s",
    ),
    Corruption(
        "a month skipped",
        "SELECT max(month) AS id, 'live ' || max(month) AS named FROM closed_month",
        "DELETE FROM closed_month WHERE month = (SELECT max(month) FROM closed_month WHERE month < %(id)s)",
        sole="months close one after the other",
    ),
    Corruption(
        "a month closed before it was over",
        "SELECT max(month) AS id, 'live ' || max(month) AS named FROM closed_month",
        "UPDATE closed_month SET closed_at = closed_at - interval '2 months' WHERE month = %(id)s",
    ),
]

GUARDS = [
    *(
        Corruption(
            f"{trigger} {how}",
            f"SELECT '{table}' AS id, '{table}.{trigger}' AS named",
            f"ALTER TABLE {table} {change} TRIGGER {trigger}",
            sole="the guards",
        )
        for table, trigger in _TRIGGERS
        for how, change in {"disabled": "DISABLE", "only where no replica writes": "ENABLE"}.items()
    ),
    *(
        Corruption(
            f"{right} on {table} given to the service",
            f"SELECT '{table}' AS id, '{table}' AS named",
            f"GRANT {right} ON {table} TO scrip_service",
            sole="the guards",
        )
        for table in _GUARDED
        for right in ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
    ),
]

CORRUPTIONS = [*BOOKS, *PAYMENTS, *KEYS, *BILLING, *PAYING, *GUARDS]

_UNIQUE = (
    *("payment_one_held", "code_one_not_dead", "claim_link_one_waiting", "transfer_one_issue"),
    *("transfer_one_of_document", "payout_payable_one_live"),
)


def take_constraints_away(db: Connection) -> None:
    """What a superuser can do beforehand, for good: no check and no partial unique index refuses anything any more."""
    checks = "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    for table, name in db.exec_driver_sql(checks).all():
        db.exec_driver_sql(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"')
    for index in _UNIQUE:
        db.exec_driver_sql(f"DROP INDEX {index}")


def corrupt(db: Connection, corruption: Corruption, salt: int) -> Noticed:
    """Corrupts a row that the salt picks, lets the audit look, and undoes it. The rows are the same for the same seeds."""
    with db.begin_nested() as undone:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        order = "ORDER BY md5(right(id, 15) || %(salt)s::text), id, named LIMIT 1"
        query = f"SELECT * FROM ({corruption.pick}) AS eligible {order}"
        row: dict[str, Any] = dict(db.exec_driver_sql(query, {"salt": salt}).one()._mapping)
        _change_books(db, corruption, row)
        subjects = {check.name: [one.subject for one in found] for check, count, found in audit(db) if count}
        undone.rollback()
    return Noticed(row["named"], subjects)


def _change_books(db: Connection, corruption: Corruption, row: Mapping[str, Any]) -> None:
    if corruption in GUARDS:
        db.exec_driver_sql(corruption.change)
        return
    for table in (*_GUARDED, "bill_break", "billed"):
        db.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for change in corruption.change.split(";"):
        assert db.exec_driver_sql(change, dict(row)).rowcount > 0, f"did nothing: {corruption.name}"
    for table, trigger in _TRIGGERS:
        db.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
