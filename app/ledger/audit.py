"""The audit: recomputes everything from the transfers, and names every difference."""

# ruff: noqa: E501  queries are read as tables, a condition a line

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. `query` selects what breaks it: an identifier, and what is wrong with it."""

    name: str
    query: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that breaks a check."""

    check: str
    subject: str
    wrong: str


#: How many rows of one check are named; the count is always whole.
NAMED = 20

CHECKS = (
    Check(
        "every card's balance is the sum of its transfers",
        """
        SELECT a.id, format('kept %s, transfers say %s', a.balance_minor, coalesce(s.sum_minor, 0))
        FROM account a
        LEFT JOIN (
            SELECT id, sum(amount_minor) AS sum_minor FROM (
                SELECT credit_id AS id, amount_minor FROM transfer
                UNION ALL SELECT debit_id, -amount_minor FROM transfer
            ) AS legs GROUP BY id
        ) AS s ON s.id = a.id
        WHERE a.kind = 'card' AND a.balance_minor IS DISTINCT FROM coalesce(s.sum_minor, 0)
        """,
    ),
    Check(
        "issued + refunded = balances + settled + lapsed, by currency and mode",
        """
        SELECT currency || ' ' || mode, format('in %s, balances %s, out %s', inward, balances, outward) FROM (
            SELECT currency, mode,
                   sum(amount_minor) FILTER (WHERE kind IN ('issue', 'refund')) AS inward,
                   coalesce(sum(amount_minor) FILTER (WHERE kind IN ('settle', 'lapse')), 0) AS outward
            FROM transfer GROUP BY currency, mode
        ) AS moved
        JOIN (
            SELECT currency, mode, sum(balance_minor) AS balances FROM account WHERE kind = 'card' GROUP BY currency, mode
        ) AS kept USING (currency, mode)
        WHERE inward IS DISTINCT FROM balances + outward
        """,
    ),
    Check(
        "every transfer goes between the accounts that its kind names",
        """
        SELECT t.id, format('%s from %s to %s', t.kind, d.kind, c.kind)
        FROM transfer t JOIN account d ON d.id = t.debit_id JOIN account c ON c.id = t.credit_id
        WHERE (t.kind, d.kind, c.kind) NOT IN (
            ('issue', 'funding', 'card'), ('settle', 'card', 'owed'), ('refund', 'owed', 'card'), ('lapse', 'card', 'breakage')
        ) OR t.card_id <> CASE WHEN d.kind = 'card' THEN d.owner_id ELSE c.owner_id END
          OR (t.kind IN ('settle', 'refund')) <> (t.payment_id IS NOT NULL)
        """,
    ),
    Check(
        "every card was issued once, for its amount, out of its issuer's funding",
        """
        SELECT card.id, 'issue transfer missing, doubled or of another amount'
        FROM card LEFT JOIN transfer t ON t.card_id = card.id AND t.kind = 'issue'
        GROUP BY card.id, card.issued_minor, card.issuer_id, card.currency, card.account_id
        HAVING count(t.id) <> 1 OR sum(t.amount_minor) <> card.issued_minor OR min(t.credit_id) <> card.account_id
            OR min(t.debit_id) <> card.issuer_id || ':funding:' || card.currency
        """,
    ),
    Check(
        "every payment's settled and refunded are the sums of its settlements, refunds and transfers",
        """
        SELECT p.id, format(
            'kept %s settled, %s refunded; rows %s, %s; transfers %s, %s',
            p.settled_minor, p.refunded_minor, coalesce(s.sum_minor, 0), coalesce(r.sum_minor, 0),
            coalesce(t.settled_minor, 0), coalesce(t.refunded_minor, 0)
        )
        FROM payment p
        LEFT JOIN (SELECT payment_id, sum(amount_minor) AS sum_minor FROM settlement GROUP BY payment_id) s ON s.payment_id = p.id
        LEFT JOIN (SELECT payment_id, sum(amount_minor) AS sum_minor FROM refund GROUP BY payment_id) r ON r.payment_id = p.id
        LEFT JOIN (
            SELECT payment_id,
                   sum(amount_minor) FILTER (WHERE kind = 'settle') AS settled_minor,
                   sum(amount_minor) FILTER (WHERE kind = 'refund') AS refunded_minor
            FROM transfer WHERE payment_id IS NOT NULL GROUP BY payment_id
        ) t ON t.payment_id = p.id
        WHERE (p.settled_minor, p.refunded_minor) IS DISTINCT FROM (coalesce(s.sum_minor, 0), coalesce(r.sum_minor, 0))
           OR (p.settled_minor, p.refunded_minor) IS DISTINCT FROM (coalesce(t.settled_minor, 0), coalesce(t.refunded_minor, 0))
        """,
    ),
    Check(
        "every settlement and refund has its transfer, and the reverse",
        """
        SELECT coalesce(made.payment_id, moved.payment_id), 'rows and transfers differ in number or amount'
        FROM (
            SELECT payment_id, 'settle' AS kind, amount_minor, count(*) FROM settlement GROUP BY payment_id, amount_minor
            UNION ALL SELECT payment_id, 'refund', amount_minor, count(*) FROM refund GROUP BY payment_id, amount_minor
        ) AS made
        FULL JOIN (
            SELECT payment_id, kind, amount_minor, count(*) FROM transfer WHERE payment_id IS NOT NULL
            GROUP BY payment_id, kind, amount_minor
        ) AS moved USING (payment_id, kind, amount_minor, count)
        WHERE made.payment_id IS NULL OR moved.payment_id IS NULL
        """,
    ),
    Check(
        "what is owed to each store is what was settled there less what it refunded",
        """
        SELECT a.id, format('the account says %s, the payments say %s', coalesce(legs.sum_minor, 0), coalesce(p.sum_minor, 0))
        FROM account a
        LEFT JOIN (
            SELECT id, sum(amount_minor) AS sum_minor FROM (
                SELECT credit_id AS id, amount_minor FROM transfer WHERE kind = 'settle'
                UNION ALL SELECT debit_id, -amount_minor FROM transfer WHERE kind = 'refund'
            ) AS l GROUP BY id
        ) AS legs ON legs.id = a.id
        LEFT JOIN (
            SELECT store_id, currency, sum(settled_minor - refunded_minor) AS sum_minor FROM payment GROUP BY store_id, currency
        ) AS p ON p.store_id = a.owner_id AND p.currency = a.currency
        WHERE a.kind = 'owed' AND coalesce(legs.sum_minor, 0) <> coalesce(p.sum_minor, 0)
        """,
    ),
    Check(
        "no open hold is more than its card's balance, nor settled, refunded and released more than was held",
        """
        SELECT p.id, format('holds %s of a balance of %s', p.held_minor, a.balance_minor)
        FROM payment p JOIN card ON card.id = p.card_id JOIN account a ON a.id = card.account_id
        WHERE p.held_minor > a.balance_minor
           OR p.hold_minor <> p.held_minor + p.settled_minor + p.released_minor
           OR p.refunded_minor > p.settled_minor OR least(p.held_minor, p.settled_minor, p.released_minor) < 0
        """,
    ),
    Check(
        "one card, one key: an active card has exactly one, any other none",
        """
        SELECT card.id, format('%s with link %s, code %s, payment %s', card.state, k.link_id, k.code_id, k.payment_id)
        FROM card LEFT JOIN card_key k ON k.card_id = card.id
        WHERE k.card_id IS NULL
           OR num_nonnulls(k.link_id, k.code_id) <> CASE WHEN card.state = 'active' THEN 1 ELSE 0 END
           OR (k.payment_id IS NOT NULL AND k.code_id IS NULL)
        """,
    ),
    Check(
        "the key points at a waiting or lapsed link, a live code, or a bound one with at most one held payment",
        """
        SELECT k.card_id, format('link %s, code %s, payment %s', l.state, c.state, p.state)
        FROM card_key k
        LEFT JOIN claim_link l ON l.id = k.link_id
        LEFT JOIN code c ON c.id = k.code_id
        LEFT JOIN payment p ON p.id = k.payment_id
        WHERE (k.link_id IS NOT NULL AND l.state NOT IN ('waiting', 'lapsed'))
           OR (k.code_id IS NOT NULL AND c.state = 'dead')
           OR (k.payment_id IS NOT NULL AND (p.state <> 'held' OR c.state <> 'bound' OR p.code_id <> k.code_id))
        """,
    ),
    Check(
        "nothing is open that no key points at: no waiting link, no code that is not dead, no held payment",
        """
        SELECT l.id, 'a waiting link that is not its card''s key' FROM claim_link l JOIN card_key k ON k.card_id = l.card_id
        WHERE l.state = 'waiting' AND k.link_id IS DISTINCT FROM l.id
        UNION ALL
        SELECT c.id, 'a code that is not dead and not its card''s key' FROM code c JOIN card_key k ON k.card_id = c.card_id
        WHERE c.state <> 'dead' AND k.code_id IS DISTINCT FROM c.id
        UNION ALL
        SELECT p.id, 'a held payment that is not its card''s key' FROM payment p JOIN card_key k ON k.card_id = p.card_id
        WHERE p.state = 'held' AND k.payment_id IS DISTINCT FROM p.id
        """,
    ),
    Check(
        "no dead code has a hash, every other has one of 32 bytes",
        "SELECT id, 'hash of a ' || state || ' code' FROM code WHERE (state = 'dead') <> (hash IS NULL) OR length(hash) <> 32",
    ),
    Check(
        "a card's state fits its balance",
        """
        SELECT card.id, format('%s with a balance of %s', card.state, a.balance_minor)
        FROM card JOIN account a ON a.id = card.account_id
        WHERE (card.state = 'active') <> (a.balance_minor > 0)
        """,
    ),
    Check(
        "money of a mode stays in its mode",
        """
        SELECT t.id, 'mode or currency differs from its accounts or card'
        FROM transfer t JOIN account d ON d.id = t.debit_id JOIN account c ON c.id = t.credit_id JOIN card ON card.id = t.card_id
        WHERE (t.mode, t.currency) <> ALL (ARRAY[(d.mode, d.currency), (c.mode, c.currency), (card.mode, card.currency)])
        """,
    ),
)


def audit(db: Connection) -> Iterator[tuple[Check, int, list[Finding]]]:
    """Each check, how many rows break it, and the first of them. The caller gives a snapshot that does not move."""
    for check in CHECKS:
        found = db.execute(text(check.query)).all()
        yield check, len(found), [Finding(check.name, str(row[0]), str(row[1])) for row in found[:NAMED]]
