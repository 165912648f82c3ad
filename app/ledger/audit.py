"""The audit: recomputes everything from the transfers, and names every difference."""

# ruff: noqa: E501  queries are read as tables, a condition a line

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue

from sqlalchemy import Connection, Engine, text

from app.ledger.audit_paying import PAYING_CHECKS
from app.ledger.check import Check


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that breaks a check."""

    check: str
    subject: str
    wrong: str


#: How many rows of one check are named; the count is always whole.
NAMED = 20

#: So many sessions share the checks of a large audit.
SESSIONS = 2

#: Each check reads whole tables: it sorts and hashes in memory, on all cores, and is not worth compiling.
SESSION = "SET LOCAL work_mem = '256MB'; SET LOCAL max_parallel_workers_per_gather = 4; SET LOCAL jit = off"

CHECKS = (
    Check(
        "the guards of the books stand: their triggers fire always, and the service may only add",
        """
        SELECT guarded || '.' || guard, 'missing, or does not fire always'
        FROM (VALUES
            ('transfer', 'transfer_moves_balances'), ('transfer', 'transfer_append_only'),
            ('account', 'account_starts_at_nothing'), ('event', 'event_append_only'),
            ('payable', 'payable_append_only'), ('closed_month', 'closed_month_append_only')
        ) AS wanted(guarded, guard)
        LEFT JOIN pg_trigger ON tgrelid = guarded::regclass AND tgname = guard AND tgenabled = 'A'
        WHERE tgname IS NULL
        UNION ALL
        SELECT guarded, 'scrip_service may change it'
        FROM (VALUES ('transfer'), ('account'), ('event'), ('payable'), ('closed_month')) AS books(guarded)
        WHERE has_any_column_privilege('scrip_service', guarded, 'UPDATE') OR has_table_privilege('scrip_service', guarded, 'DELETE, TRUNCATE, TRIGGER')
        """,
    ),
    Check(
        "issued + refunded = balances + settled + lapsed, by currency and mode",
        """
        SELECT currency || ' ' || mode, format('in %s, balances %s, out %s', inward, balances, outward) FROM (
            SELECT currency, mode,
                   coalesce(sum(amount_minor) FILTER (WHERE kind IN ('issue', 'refund')), 0) AS inward,
                   coalesce(sum(amount_minor) FILTER (WHERE kind IN ('settle', 'lapse')), 0) AS outward
            FROM transfer GROUP BY currency, mode
        ) AS moved
        FULL JOIN (
            SELECT currency, mode, sum(balance_minor) AS balances FROM account WHERE kind = 'card' GROUP BY currency, mode
        ) AS kept USING (currency, mode)
        WHERE inward IS DISTINCT FROM coalesce(balances, 0) + outward
        """,
    ),
    Check(
        "every card's balance is the sum of its transfers",
        """
        SELECT coalesce(a.id, s.id), format('kept %s, transfers say %s', a.balance_minor, s.sum_minor)
        FROM (SELECT id, balance_minor FROM account WHERE kind = 'card') AS a
        FULL JOIN (
            SELECT id, sum(amount_minor) AS sum_minor FROM (
                SELECT credit_id AS id, amount_minor FROM transfer WHERE kind IN ('issue', 'refund')
                UNION ALL SELECT debit_id, -amount_minor FROM transfer WHERE kind IN ('settle', 'lapse')
            ) AS legs GROUP BY id
        ) AS s USING (id)
        WHERE a.balance_minor IS DISTINCT FROM s.sum_minor OR a.balance_minor < 0
        """,
    ),
    Check(
        "every transfer goes between the accounts that its kind names, in their mode and currency",
        """
        SELECT t.id, format('%s from %s to %s', t.kind, t.debit_id, t.credit_id)
        FROM transfer t LEFT JOIN account d ON d.id = t.debit_id LEFT JOIN account c ON c.id = t.credit_id
        WHERE (
            CASE WHEN t.kind IN ('issue', 'settle', 'refund', 'lapse')
                THEN (t.kind, d.kind, c.kind) IN (('issue', 'funding', 'card'), ('settle', 'card', 'owed'), ('refund', 'owed', 'card'), ('lapse', 'card', 'breakage'))
                    AND t.card_id = CASE WHEN d.kind = 'card' THEN d.owner_id ELSE c.owner_id END AND t.document_id IS NULL
                ELSE (t.kind, d.kind, c.kind) IN (
                        ('send', 'owed', 'in_transit'), ('arrive', 'in_transit', 'paid'), ('return', 'in_transit', 'owed'), ('return', 'paid', 'owed'),
                        ('goodwill', 'goodwill', 'owed'), ('fund', 'bank', 'funding'),
                        ('adjust', 'funding', 'bank'), ('adjust', 'funding', 'goodwill'), ('adjust', 'funding', 'fraud_loss'), ('adjust', 'funding', 'chargeback'),
                        ('adjust', 'bank', 'funding'), ('adjust', 'goodwill', 'funding'), ('adjust', 'fraud_loss', 'funding'), ('adjust', 'chargeback', 'funding')
                    )
                    AND (t.kind = 'goodwill' OR d.owner_id = c.owner_id) AND t.card_id IS NULL AND t.document_id IS NOT NULL
            END
            AND (t.kind IN ('settle', 'refund')) = (t.payment_id IS NOT NULL)
            AND (t.mode, t.currency) = (d.mode, d.currency) AND (t.mode, t.currency) = (c.mode, c.currency)
            AND t.amount_minor > 0
        ) IS NOT TRUE
        """,
    ),
    Check(
        "every card was issued once, for its amount, out of its issuer's funding, and lapsed to its issuer's breakage",
        """
        SELECT card_id, 'issued or lapsed by a transfer too few, too many, or of another amount or issuer' FROM (
            SELECT id AS card_id, 'issue' AS kind, issuer_id || ':funding:' || currency AS other_id, issued_minor AS amount_minor, 1 AS times FROM card
            UNION ALL SELECT card_id, kind, debit_id, amount_minor, -1 FROM transfer WHERE kind = 'issue'
            UNION ALL SELECT t.card_id, t.kind, t.credit_id, 0, -1 FROM transfer t WHERE t.kind = 'lapse'
            UNION ALL SELECT t.card_id, t.kind, c.issuer_id || ':breakage:' || c.currency, 0, 1 FROM transfer t JOIN card c ON c.id = t.card_id WHERE t.kind = 'lapse'
        ) AS both_sides
        GROUP BY card_id, kind, other_id, amount_minor HAVING sum(times) <> 0
        """,
    ),
    Check(
        "every card has an account of its own",
        """
        SELECT card.id, 'its account is missing or another card''s'
        FROM card LEFT JOIN account a ON (a.id, a.kind, a.owner_id) = (card.account_id, 'card', card.id)
        WHERE a.id IS NULL
        """,
    ),
    Check(
        "every payment's settled and refunded are the sums of its settlements and refunds",
        """
        SELECT payment_id, format('%s settled and %s refunded more than its rows say', sum(settled_minor), sum(refunded_minor)) FROM (
            SELECT id AS payment_id, card_id, store_id, settled_minor, refunded_minor FROM payment
            UNION ALL SELECT payment_id, card_id, store_id, -amount_minor, 0 FROM settlement
            UNION ALL SELECT payment_id, card_id, store_id, 0, -amount_minor FROM refund
        ) AS both_sides
        GROUP BY payment_id, card_id, store_id HAVING sum(settled_minor) <> 0 OR sum(refunded_minor) <> 0
        """,
    ),
    Check(
        "every settlement and refund has its transfer, to or from what is owed to its store, and the reverse",
        """
        SELECT payment_id, format('a %s of %s, rows less transfers: %s', kind, amount_minor, sum(times)) FROM (
            SELECT payment_id, 'settle' AS kind, card_id, store_id, amount_minor, at, 1 AS times FROM settlement
            UNION ALL SELECT payment_id, 'refund', card_id, store_id, amount_minor, at, 1 FROM refund
            UNION ALL SELECT payment_id, kind, card_id, split_part(credit_id, ':', 1), amount_minor, at, -1 FROM transfer WHERE kind = 'settle'
            UNION ALL SELECT payment_id, kind, card_id, split_part(debit_id, ':', 1), amount_minor, at, -1 FROM transfer WHERE kind = 'refund'
        ) AS both_sides
        GROUP BY payment_id, kind, card_id, store_id, amount_minor, at HAVING sum(times) <> 0
        """,
    ),
    Check(
        "every transfer is told by an event, and the reverse",
        """
        SELECT coalesce(payment_id, card_id, document_id), format('%s of %s at %s, transfers less events: %s', kind, amount, at, sum(times)) FROM (
            SELECT kind, card_id, payment_id, document_id, amount_minor::text AS amount, CASE WHEN card_id IS NOT NULL THEN at END AS at, 1 AS times FROM transfer
            UNION ALL
            SELECT CASE kind WHEN 'card_issued' THEN 'issue' WHEN 'payment_settled' THEN 'settle' WHEN 'payment_refunded' THEN 'refund' WHEN 'card_lapsed' THEN 'lapse'
                       WHEN 'payout_sent' THEN 'send' WHEN 'payout_paid' THEN 'arrive' WHEN 'payout_returned' THEN 'return'
                       WHEN 'goodwill_given' THEN 'goodwill' WHEN 'issuer_funded' THEN 'fund' ELSE 'adjust' END,
                   card_id, payment_id, CASE WHEN card_id IS NULL THEN coalesce(facts->>'payout_id', facts->>'break_id', facts->>'entry_id') END,
                   facts->>CASE kind WHEN 'payment_settled' THEN 'settled_minor' WHEN 'payment_refunded' THEN 'refunded_minor' ELSE 'amount_minor' END,
                   CASE WHEN card_id IS NOT NULL THEN at END, -1
            FROM event WHERE kind IN (
                'card_issued', 'payment_settled', 'payment_refunded', 'card_lapsed',
                'payout_sent', 'payout_paid', 'payout_returned', 'goodwill_given', 'issuer_funded', 'account_adjusted'
            )
        ) AS both_sides
        GROUP BY kind, card_id, payment_id, document_id, amount, at HAVING sum(times) <> 0
        """,
    ),
    Check(
        "every payment was opened by an exchange, which an event tells, and the reverse",
        """
        SELECT coalesce(payment_id, card_id), format('a hold of %s at %s, payments less events: %s', amount, at, sum(times)) FROM (
            SELECT id AS payment_id, card_id, hold_minor::text AS amount, created_at AS at, 1 AS times FROM payment
            UNION ALL SELECT payment_id, card_id, facts->>'held_minor', at, -1 FROM event WHERE kind = 'code_exchanged'
        ) AS both_sides
        GROUP BY payment_id, card_id, amount, at HAVING sum(times) <> 0
        """,
    ),
    Check(
        "no payment was refunded before it was settled",
        """
        SELECT payment_id, format('refunds were %s ahead of settlements', -min(so_far)) FROM (
            SELECT payment_id, sum(CASE kind WHEN 'settle' THEN amount_minor ELSE -amount_minor END)
                OVER (PARTITION BY payment_id ORDER BY recorded_at) AS so_far
            FROM transfer WHERE payment_id IN (SELECT payment_id FROM refund)
        ) AS in_time
        GROUP BY payment_id HAVING min(so_far) < 0
        """,
    ),
    Check(
        "no open hold is more than its card's balance, nor settled, refunded and released more than was held",
        """
        SELECT p.id, format('%s: held %s of a balance of %s, settled %s, released %s', p.state, p.held_minor, a.balance_minor, p.settled_minor, p.released_minor)
        FROM payment p LEFT JOIN card ON card.id = p.card_id LEFT JOIN account a ON a.id = card.account_id
        WHERE (
            p.held_minor <= a.balance_minor
            AND p.hold_minor = p.held_minor + p.settled_minor + p.released_minor
            AND p.refunded_minor <= p.settled_minor AND least(p.held_minor, p.settled_minor, p.released_minor, p.refunded_minor) >= 0
            AND (p.state = 'held') = (p.held_minor > 0) AND (p.state IN ('held', 'settled') OR p.settled_minor = 0)
        ) IS NOT TRUE
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
        "the key is the card's own waiting or lapsed link, live code, or bound one with at most one held payment",
        """
        SELECT k.card_id, format('link %s, code %s, payment %s', l.state, c.state, p.state)
        FROM card_key k
        LEFT JOIN claim_link l ON l.id = k.link_id
        LEFT JOIN code c ON c.id = k.code_id
        LEFT JOIN payment p ON p.id = k.payment_id
        WHERE (k.link_id IS NOT NULL AND (l.card_id = k.card_id AND l.state IN ('waiting', 'lapsed')) IS NOT TRUE)
           OR (k.code_id IS NOT NULL AND (c.card_id = k.card_id AND c.state IN ('live', 'bound')) IS NOT TRUE)
           OR (k.payment_id IS NOT NULL AND (
                p.card_id = k.card_id AND p.state = 'held' AND p.code_id = k.code_id AND c.state = 'bound' AND p.expires_at = c.bound_until
           ) IS NOT TRUE)
        """,
    ),
    Check(
        "nothing is open that no key points at: no waiting link, no code that is not dead, no held payment",
        """
        SELECT l.card_id, 'a waiting link that is not its card''s key: ' || l.id FROM claim_link l LEFT JOIN card_key k ON k.card_id = l.card_id
        WHERE l.state = 'waiting' AND k.link_id IS DISTINCT FROM l.id
        UNION ALL
        SELECT c.card_id, 'a code that is not dead and not its card''s key: ' || c.id FROM code c LEFT JOIN card_key k ON k.card_id = c.card_id
        WHERE c.state <> 'dead' AND k.code_id IS DISTINCT FROM c.id
        UNION ALL
        SELECT p.card_id, 'a held payment that is not its card''s key: ' || p.id FROM payment p LEFT JOIN card_key k ON k.card_id = p.card_id
        WHERE p.state = 'held' AND k.payment_id IS DISTINCT FROM p.id
        """,
    ),
    Check(
        "no dead code has a hash, every other has one of 32 bytes",
        "SELECT id, 'hash of a ' || state || ' code' FROM code WHERE (state = 'dead') <> (hash IS NULL) OR length(hash) <> 32",
    ),
    Check(
        "a payment's code is its card's, and bound to its store",
        """
        SELECT p.id, format('at %s, its code %s at %s', p.store_id, c.state, c.store_id)
        FROM payment p LEFT JOIN code c ON c.id = p.code_id
        WHERE (c.card_id = p.card_id AND c.store_id = p.store_id) IS NOT TRUE
        """,
    ),
    Check(
        "codes and letters name links of their own card",
        """
        SELECT named.id, kind || ' that names another card''s link' FROM (
            SELECT id, 'a code' AS kind, card_id, link_id FROM code
            UNION ALL SELECT id, 'a letter', card_id, link_id FROM letter WHERE link_id IS NOT NULL
        ) AS named LEFT JOIN claim_link l ON l.id = named.link_id
        WHERE l.card_id IS DISTINCT FROM named.card_id
        """,
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
        "a card that is spent or lapsed became so by its last transfer",
        """
        SELECT c.id, format('%s at %s, by its transfers at %s', c.state, max(t.recorded_at), max(t.recorded_at) FILTER (WHERE t.kind = CASE c.state WHEN 'spent' THEN 'settle' ELSE 'lapse' END))
        FROM card c LEFT JOIN transfer t ON t.card_id = c.id WHERE c.state <> 'active'
        GROUP BY c.id, c.state
        HAVING max(t.recorded_at) IS DISTINCT FROM max(t.recorded_at) FILTER (WHERE t.kind = CASE c.state WHEN 'spent' THEN 'settle' ELSE 'lapse' END)
        """,
    ),
    Check(
        "cards and payments have the mode and currency of whom they belong to",
        """
        SELECT t.id, 'a transfer of another mode or currency than its card' FROM transfer t JOIN card c ON c.id = t.card_id
        WHERE (t.mode, t.currency) <> (c.mode, c.currency)
        UNION ALL
        SELECT p.id, 'a payment of another mode or currency than its card or store'
        FROM payment p LEFT JOIN card c ON c.id = p.card_id LEFT JOIN store s ON s.id = p.store_id
        WHERE ((p.mode, p.currency) = (c.mode, c.currency) AND p.mode = s.mode) IS NOT TRUE
        UNION ALL
        SELECT c.id, 'a card of another mode, currency or issuer than its programme'
        FROM card c LEFT JOIN programme g ON g.id = c.programme_id LEFT JOIN issuer i ON i.id = c.issuer_id
        WHERE ((c.mode, c.currency, c.issuer_id) = (g.mode, g.currency, g.issuer_id) AND c.mode = i.mode) IS NOT TRUE
        """,
    ),
    Check(
        "every request that was carried out has its answer",
        "SELECT party_id || ' ' || reference, operation || ' without an answer' FROM request WHERE answer IS NULL",
    ),
    *PAYING_CHECKS,
)


def audit(db: Connection) -> Iterator[tuple[Check, int, list[Finding]]]:
    """Each check, how many rows break it, and the first of them. The caller gives a snapshot that does not move."""
    db.exec_driver_sql(SESSION)
    for check in CHECKS:
        yield check, *_differences(db, check)


def audit_in_sessions(engine: Engine) -> Iterator[tuple[Check, int, list[Finding]]]:
    """As `audit`, in sessions that share one snapshot (PostgreSQL manual, section 9.28.5) and the checks between them.

    Much of a check is the work of one process, whatever the planner does: two of them take some half of the time.
    """
    repeatable = engine.execution_options(isolation_level="REPEATABLE READ")
    with ExitStack() as opened:
        sessions = [opened.enter_context(repeatable.connect()) for _ in range(SESSIONS)]
        snapshot = sessions[0].exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        free: SimpleQueue[Connection] = SimpleQueue()
        for db in sessions:
            if db is not sessions[0]:
                db.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            db.exec_driver_sql(SESSION)
            free.put(db)

        def look(check: Check) -> tuple[Check, int, list[Finding]]:
            db = free.get()
            try:
                return check, *_differences(db, check)
            finally:
                free.put(db)

        pool = opened.enter_context(ThreadPoolExecutor(SESSIONS))
        yield from pool.map(look, CHECKS)


def _differences(db: Connection, check: Check) -> tuple[int, list[Finding]]:
    found = db.execute(text(_FIRST.format(check.query, NAMED))).all()
    return found[0].in_all if found else 0, [Finding(check.name, row.subject, row.wrong) for row in found]


#: Counted by the database, so that a million findings are no more to carry than twenty.
_FIRST = "SELECT subject, wrong, count(*) OVER () AS in_all FROM ({}) AS found(subject, wrong) LIMIT {}"
