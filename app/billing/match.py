"""Match: every line of a bill that was read becomes matched or one break, by set-based SQL in one transaction."""

# ruff: noqa: E501, S608  queries are read as tables, and made of constants only

from sqlalchemy import Connection, text

from app import clock
from app.billing.taking_up import BILLED_BY, FACTS, MOVEMENTS, TAKE_UP, lock_bills_of
from app.db.base import AnyRow
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import new_id

#: From so many lines on it costs less to read all that the store has settled than to look each payment up.
MANY_LINES = 50_000
#: Statistics know nothing of lines that have just been copied in. So the number of lines, which the bill knows, says
#: how they are joined: the planner would look a million up one by one, or read a million payments for ten lines.
SESSION = (
    "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '1min'; SET LOCAL work_mem = '128MB';"
    " SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
)
BY_SETS = (
    "SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL plan_cache_mode = force_custom_plan"
)
#: Here a plan may be kept: a foreign key's check would else be planned again for each break.
ONE_BY_ONE = (
    "SET LOCAL enable_nestloop = on; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL plan_cache_mode = auto"
)
AS_PLANNED = "SET LOCAL enable_nestloop = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"


def match_bill(bill_id: str) -> bool:
    """Takes a bill from `read` to `matched`: what it takes up, its breaks, credits and counts, and one event.

    Returns whether it did: not where the bill is in another state, or another worker has it in hand. Only what happened
    before the bill's `as_of` counts, so the outcome is the same whenever it runs. Waits for another bill of the store.
    Raises Busy.
    """
    with transaction() as db:
        db.exec_driver_sql(SESSION)
        bill = db.execute(_LOCK, {"bill_id": bill_id}).one_or_none()
        if bill is None:
            return False
        lock_bills_of(db, bill.store_id)
        _match(db, bill)
        return True


def _match(db: Connection, bill: AnyRow) -> None:
    now = clock.now(db)
    values = {**bill._mapping, "now": now, "id_begins": new_id("brk")[:-8]}
    if bill.lines >= MANY_LINES:
        db.exec_driver_sql(BY_SETS)
        db.execute(_TAKE_UP_PLAIN, values)
    db.exec_driver_sql(ONE_BY_ONE)
    db.execute(_DECIDE_REST, values)
    db.exec_driver_sql(AS_PLANNED)
    credited = db.execute(_TAKE_CREDITS, values).rowcount
    counts = db.execute(_CLOSE, values).one()
    facts = {"bill_id": bill.bill_id, "store_id": bill.store_id, **counts._mapping, "credits": credited}
    together(db, event_of("bill_matched", at=now, facts=facts))


_LOCK = text(
    """
    SELECT id AS bill_id, store_id, mode, as_of, lines FROM bill WHERE id = :bill_id AND state = 'read'
    FOR UPDATE SKIP LOCKED
    """
)

#: The lines that are plainly right: the only ones of their payment, in its currency, that come to what is left of it.
_TAKE_UP_PLAIN = text(
    f"""
    {TAKE_UP}
    SELECT m.id, :bill_id, l.line_no, m.payment_id, m.card_id, m.store_id, c.issuer_id, c.programme_id, c.currency,
        m.amount_minor
    FROM (
        SELECT m.*, (sum(m.amount_minor) OVER (PARTITION BY m.payment_id))::bigint AS expected_minor
        FROM ({MOVEMENTS}) AS m
        WHERE m.store_id = :store_id AND m.at < :as_of AND NOT EXISTS (SELECT FROM billed WHERE movement_id = m.id)
    ) AS m
    JOIN (
        SELECT payment_id, currency, min(line_no) AS line_no, min(amount_minor) AS amount_minor
        FROM bill_line WHERE bill_id = :bill_id GROUP BY payment_id, currency HAVING count(*) = 1
    ) AS l ON l.payment_id = m.payment_id AND l.amount_minor = m.expected_minor
    JOIN card AS c ON c.id = m.card_id AND c.currency = l.currency
    """
)

#: Of lines of one payment in one currency none is plainly right, so those that are left over tell which came first.
_REST = """
(
    SELECT bill_id, line_no, payment_id, amount_minor, currency,
        row_number() OVER (PARTITION BY payment_id, currency ORDER BY line_no) > 1 AS is_duplicate
    FROM bill_line
    WHERE bill_id = :bill_id
        AND line_no NOT IN (SELECT line_no FROM billed WHERE bill_id = :bill_id AND line_no IS NOT NULL)
) AS l
"""

#: Whatever else: each line's facts, what `rules.decide_line` says of them, and what follows from it.
_DECIDE_REST = text(
    f"""
    WITH seen AS (
        SELECT l.line_no, l.payment_id, l.amount_minor, l.currency, l.is_duplicate, {FACTS.format(lines=_REST)}
    ), told AS (
        SELECT seen.*, free_settled_minor - free_refunded_minor AS expected_minor, CASE
            WHEN store_id IS NULL THEN 'unknown_payment'
            WHEN mode <> :mode THEN 'other_mode'
            WHEN store_id <> :store_id THEN 'not_this_store'
            WHEN payment_currency <> currency THEN 'currency_mismatch'
            WHEN is_duplicate THEN 'duplicate_line'
            WHEN is_voided THEN 'voided'
            WHEN free_settled_minor = 0 AND free_refunded_minor = 0 AND other_bill_id IS NOT NULL THEN 'already_billed'
            WHEN NOT has_settled THEN 'not_settled'
            WHEN amount_minor = free_settled_minor - free_refunded_minor THEN 'matched'
            WHEN free_refunded_minor > 0 AND amount_minor = free_settled_minor THEN 'refunded_after'
            WHEN amount_minor > free_settled_minor - free_refunded_minor THEN 'amount_over'
            ELSE 'amount_under'
        END AS kind FROM seen
    ), decided AS MATERIALIZED (
        SELECT told.*, c.issuer_id, c.programme_id, kind IN ('refunded_after', 'amount_over', 'amount_under')
            AND abs(amount_minor - expected_minor) <= coalesce(t.tolerance_minor, 0) AS is_tolerated
        FROM told
        LEFT JOIN card AS c ON c.id = told.card_id AND told.store_id = :store_id
        LEFT JOIN tolerance AS t ON t.issuer_id = c.issuer_id AND t.currency = told.currency
    ), taken AS (
        {TAKE_UP}
        SELECT m.id, :bill_id, d.line_no, m.payment_id, m.card_id, m.store_id, d.issuer_id, d.programme_id, d.currency,
            m.amount_minor
        FROM decided AS d
        CROSS JOIN LATERAL (SELECT * FROM ({MOVEMENTS}) AS m WHERE m.payment_id = d.payment_id AND m.at < :as_of) AS m
        WHERE (d.kind = 'matched' OR d.is_tolerated) AND {BILLED_BY} IS NULL
    )
    INSERT INTO bill_break (
        id, bill_id, line_no, kind, other_bill_id, expected_minor, issuer_id, opened_at, state, proposal, proposed_by,
        proposed_at, approved_by, approved_at, closed_at, claimed_minor, paid_minor
    )
    SELECT :id_begins || lpad(to_hex(line_no), 8, '0'), :bill_id, line_no, kind,
        CASE kind WHEN 'already_billed' THEN other_bill_id END,
        CASE WHEN store_id = :store_id AND payment_currency = currency AND NOT is_duplicate THEN expected_minor END,
        issuer_id, :now, CASE WHEN is_tolerated THEN 'resolved' ELSE 'open' END,
        CASE WHEN is_tolerated THEN 'tolerance' END, CASE WHEN is_tolerated THEN 'tolerance' END,
        CASE WHEN is_tolerated THEN CAST(:now AS timestamptz) END, CASE WHEN is_tolerated THEN 'tolerance' END,
        CASE WHEN is_tolerated THEN CAST(:now AS timestamptz) END,
        CASE WHEN is_tolerated THEN CAST(:now AS timestamptz) END, CASE WHEN is_tolerated THEN expected_minor END,
        CASE WHEN is_tolerated THEN least(amount_minor, expected_minor) END
    FROM decided WHERE kind <> 'matched'
    """
)

#: Refunds of what was billed before, which no line has taken up: they come back by themselves. Those that lessen what an
#: open break may take up wait for it: they come with it, or with the next bill.
_TAKE_CREDITS = text(
    f"""
    {TAKE_UP}
    SELECT m.id, :bill_id, NULL, m.payment_id, m.card_id, m.store_id, c.issuer_id, c.programme_id, c.currency, -m.amount_minor
    FROM refund AS m JOIN card AS c ON c.id = m.card_id
    WHERE m.store_id = :store_id AND m.at < :as_of AND {BILLED_BY} IS NULL
        AND EXISTS (
            SELECT FROM settlement AS s
            WHERE s.payment_id = m.payment_id AND (SELECT true FROM billed WHERE movement_id = s.id)
        )
        AND NOT (
            m.payment_id IN (
                SELECT (SELECT payment_id FROM bill_line AS l WHERE (l.bill_id, l.line_no) = (k.bill_id, k.line_no))
                FROM bill_break AS k WHERE k.bill_id = :bill_id AND k.closed_at IS NULL AND k.expected_minor IS NOT NULL
            )
            AND EXISTS (
                SELECT FROM settlement AS s
                WHERE s.payment_id = m.payment_id AND s.at < :as_of
                    AND (SELECT true FROM billed WHERE movement_id = s.id) IS NULL
            )
        )
    """
)

_CLOSE = text(
    """
    UPDATE bill SET state = 'matched', matched_at = :now, broken_lines = b.broken, matched_lines = lines - b.broken
    FROM (SELECT count(*)::integer AS broken FROM bill_break WHERE bill_id = :bill_id) AS b
    WHERE id = :bill_id
    RETURNING lines, matched_lines, broken_lines
    """
)
