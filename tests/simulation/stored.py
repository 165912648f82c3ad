"""What the database holds about a card, held against the model; what the model cannot know it takes from there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.db.engine import engine
from app.ledger.audit import Finding, audit
from tests.simulation.model import Card

#: One round trip: the card's rows, its one key, its transfers, and the books of all cards of these issuers.
QUERY = """
SELECT card.state, card.expires_at, a.balance_minor,
    (SELECT json_agg(json_build_array(id, state, reason, created_at, expires_at, opened_at) ORDER BY created_at)
     FROM claim_link WHERE card_id = card.id) AS links,
    (SELECT json_agg(json_build_array(id, state, store_id, created_at, bound_until, hash IS NULL) ORDER BY created_at)
     FROM code WHERE card_id = card.id) AS codes,
    (SELECT json_agg(json_build_array(id, state, store_id, order_reference, confirmed_at IS NOT NULL, balance_minor,
                                      hold_minor, held_minor, settled_minor, released_minor, refunded_minor,
                                      expired_minor, created_at, expires_at, expired_at) ORDER BY created_at)
     FROM payment WHERE card_id = card.id) AS payments,
    (SELECT json_agg(kind ORDER BY kind) FROM letter WHERE card_id = card.id) AS letters,
    (SELECT json_object_agg(kind, moved_minor) FROM (
        SELECT kind, sum(amount_minor) AS moved_minor FROM transfer WHERE card_id = card.id GROUP BY kind
     ) AS by_kind) AS moved,
    k.link_id, k.code_id, k.payment_id,
    (SELECT sum(CASE WHEN kind IN ('issue', 'refund') THEN amount_minor ELSE -amount_minor END)
     FROM transfer JOIN card AS c ON c.id = transfer.card_id WHERE c.issuer_id = ANY($2)) AS in_less_out,
    (SELECT sum(balance_minor) FROM account JOIN card AS c ON c.account_id = account.id
     WHERE c.issuer_id = ANY($2)) AS balances
FROM card JOIN account a ON a.id = card.account_id JOIN card_key k ON k.card_id = card.id
WHERE card.id = $1
"""


@dataclass(frozen=True)
class Stored:
    """The rows of one card, in the model's order; `money` are amounts by name."""

    state: str
    ends_at: datetime
    money: dict[str, int]
    links: list[Any]
    codes: list[Any]
    payments: list[Any]
    letters: list[str]
    key: tuple[str | None, str | None, str | None]
    in_less_out: int
    balances: int


def read_stored(db: Connection, card_id: str, issuers: Sequence[str]) -> Stored:
    """Everything about a card, in one statement."""
    row = db.exec_driver_sql(QUERY, (card_id, list(issuers))).one()
    moved = row.moved
    return Stored(
        row.state,
        row.expires_at,
        {"balance": row.balance_minor, **{kind: int(moved.get(kind, 0)) for kind in KINDS}},
        [[*one[:3], *map(_time, one[3:])] for one in row.links],
        [[*one[:3], *map(_time, one[3:5]), one[5]] for one in row.codes or ()],
        [[*one[:12], *map(_time, one[12:])] for one in row.payments or ()],
        row.letters or [],
        (row.link_id, row.code_id, row.payment_id),
        int(row.in_less_out),
        int(row.balances),
    )


KINDS = ("issue", "settle", "refund", "lapse")


def differences(card: Card, stored: Stored, stores: dict[str, str], *, within: timedelta) -> Iterator[str]:
    """What differs, times by more than `within`. `stores`: their IDs by name."""
    if stored.in_less_out != stored.balances:
        yield f"the books: {stored.in_less_out} came in and stayed, the balances are {stored.balances}"
    for what, expected, found in _pairs(card, stored, stores):
        if len(expected) != len(found):
            yield f"{what}: {len(found)} stored, {len(expected)} expected"
        for place, (one, other) in enumerate(zip(expected, found, strict=False)):
            if not is_same(one, other, within=within):
                yield f"{what}[{place}]: {other!r} stored, {one!r} expected"


def is_same(one: object, other: object, *, within: timedelta) -> bool:
    """Equal; times when they are as near as the readings of one verb."""
    if isinstance(one, datetime) and isinstance(other, datetime):
        return abs(one - other) <= within
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(lambda a, b: is_same(a, b, within=within), one, other))
    return one == other


def adopt(card: Card, stored: Stored) -> None:
    """Takes over identifiers, and the times to the microsecond; they were compared."""
    card.ends_at = stored.ends_at
    for link, row in zip(card.links, stored.links, strict=True):
        link.id, link.made_at, link.ends_at, link.opened_at = row[0], row[3], row[4], row[5]
    for code, row in zip(card.codes, stored.codes, strict=True):
        code.id, code.made_at, code.until = row[0], row[3], row[4]
    for payment, row in zip(card.payments, stored.payments, strict=True):
        payment.id, payment.made_at, payment.until, payment.expired_at = row[0], row[12], row[13], row[14]


def audit_findings(db: Connection) -> frozenset[Finding]:
    """What the whole audit of the database finds."""
    return frozenset(finding for _, _, findings in audit(db) for finding in findings)


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection to look with: every statement sees what is committed, and costs one round trip."""
    with engine().connect() as db:
        yield db.execution_options(isolation_level="AUTOCOMMIT")


def _pairs(card: Card, stored: Stored, stores: dict[str, str]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    money = {"balance": card.balance, **dict(zip(KINDS, _moved(card), strict=True))}
    yield "card", [card.state, card.ends_at], [stored.state, stored.ends_at]
    yield "money", sorted(money.items()), sorted(stored.money.items())
    yield "links", list(map(_link, card.links)), [tuple(row[1:]) for row in stored.links]
    yield "codes", [_code(code, stores) for code in card.codes], [_code_row(row) for row in stored.codes]
    yield (
        "payments",
        [_payment(card, at, stores) for at in range(len(card.payments))],
        [tuple(row[1:]) for row in stored.payments],
    )
    yield "letters", sorted(card.letters), stored.letters
    yield "key", _key(card, stored), list(stored.key)


def _moved(card: Card) -> tuple[int, ...]:
    return card.issued, card.settled, card.refunded, card.lapsed


def _link(link: Any) -> tuple[Any, ...]:
    return link.state, link.reason, link.made_at, link.ends_at, link.opened_at


def _code(code: Any, stores: dict[str, str]) -> tuple[Any, ...]:
    is_dead = code.state == "dead"
    return code.state, stores.get(code.store), code.made_at, code.until, is_dead


def _code_row(row: Any) -> tuple[Any, ...]:
    return row[1], row[2], row[3], row[4], row[5]


def _payment(card: Card, place: int, stores: dict[str, str]) -> tuple[Any, ...]:
    p = card.payments[place]
    amounts = (p.balance, p.hold, p.held, p.settled, p.released, p.refunded, p.late)
    return p.state, stores[p.store], p.order, p.confirmed, *amounts, p.made_at, p.until, p.expired_at


def _key(card: Card, stored: Stored) -> list[str | None]:
    """By place: the newest link or code of the card and no other, the newest payment while it is held."""
    return [
        stored.links[-1][0] if card.link else None,
        stored.codes[-1][0] if card.code and stored.codes else None,
        stored.payments[-1][0] if card.payment and stored.payments else None,
    ]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
