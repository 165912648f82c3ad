"""The audit of billing: what bills have taken up is borne out, each once, and matched lines come to it."""

# ruff: noqa: E501  queries are read as tables, a condition a line

from app.ledger.check import Check

BILLING_CHECKS = (
    Check(
        "whatever a bill has taken up is a settlement or refund of its store, before its time, of that card and issuer, and in one bill",
        """
        SELECT t.movement_id, format('%s of %s in %s, by %s of %s', t.amount_minor, t.store_id, t.bill_id, m.amount_minor, m.store_id)
        FROM billed t
        LEFT JOIN bill b ON b.id = t.bill_id
        LEFT JOIN (
            SELECT id, payment_id, card_id, store_id, amount_minor, at FROM settlement
            UNION ALL SELECT id, payment_id, card_id, store_id, -amount_minor, at FROM refund
        ) AS m ON m.id = t.movement_id
        LEFT JOIN card c ON c.id = t.card_id
        WHERE (
            (t.payment_id, t.card_id, t.store_id, t.amount_minor) = (m.payment_id, m.card_id, m.store_id, m.amount_minor)
            AND (t.issuer_id, t.programme_id, t.currency) = (c.issuer_id, c.programme_id, c.currency)
            AND (t.store_id, c.mode) = (b.store_id, b.mode) AND m.at < b.as_of
        ) IS NOT TRUE
        UNION ALL
        SELECT movement_id, format('in %s bills', count(*)) FROM billed GROUP BY movement_id HAVING count(*) > 1
        """,
    ),
    Check(
        "every line of a bill matched, and comes to what it took up, or has a break; only open and approved bills take up, for their lines",
        """
        SELECT l.bill_id, format('line %s of %s took up %s', l.line_no, l.amount_minor, t.taken_minor)
        FROM bill_line l JOIN bill b ON b.id = l.bill_id AND b.state IN ('matched', 'approved')
        LEFT JOIN (SELECT bill_id, line_no, sum(amount_minor) AS taken_minor FROM billed GROUP BY bill_id, line_no) AS t ON (t.bill_id, t.line_no) = (l.bill_id, l.line_no)
        WHERE t.taken_minor IS DISTINCT FROM l.amount_minor AND NOT EXISTS (SELECT FROM bill_break k WHERE (k.bill_id, k.line_no) = (l.bill_id, l.line_no))
        UNION ALL
        SELECT t.bill_id, format('%s taken up for line %s of a %s bill', t.movement_id, t.line_no, coalesce(b.state, 'missing'))
        FROM billed t LEFT JOIN bill b ON b.id = t.bill_id LEFT JOIN bill_line l ON (l.bill_id, l.line_no) = (t.bill_id, t.line_no)
        WHERE (b.state IN ('matched', 'approved') AND (t.line_no IS NULL OR l.line_no IS NOT NULL)) IS NOT TRUE
        UNION ALL
        SELECT b.id, format('says %s lines, %s of them broken: there are %s and %s', b.lines, b.broken_lines, l.lines, coalesce(k.broken, 0))
        FROM bill b
        LEFT JOIN (SELECT bill_id, count(*) AS lines FROM bill_line GROUP BY bill_id) AS l ON l.bill_id = b.id
        LEFT JOIN (SELECT bill_id, count(*) AS broken FROM bill_break GROUP BY bill_id) AS k ON k.bill_id = b.id
        WHERE b.matched_at IS NOT NULL AND (b.lines, b.broken_lines, b.matched_lines) IS DISTINCT FROM (coalesce(l.lines, 0), coalesce(k.broken, 0), coalesce(l.lines, 0) - coalesce(k.broken, 0))
        """,
    ),
)
