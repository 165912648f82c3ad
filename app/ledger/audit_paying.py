"""The audit of paying: what bills come to, who is paid it, and what moved for it in the books."""

# ruff: noqa: E501, S608  queries are read as tables, a condition a line; one is a part of two others

from app.ledger.check import Check

#: What was written off on approved bills, to be joined as `w`.
_WRITTEN_OFF = """
    SELECT k.id, b.store_id, k.issuer_id, b.mode, l.currency, k.paid_minor - k.claimed_minor AS amount_minor, b.closed_at AS at
    FROM bill_break k JOIN bill b ON b.id = k.bill_id JOIN bill_line l ON (l.bill_id, l.line_no) = (k.bill_id, k.line_no)
    WHERE b.state = 'approved' AND k.state = 'written_off' AND k.paid_minor > k.claimed_minor
"""

PAYING_CHECKS = (
    Check(
        "every payout, write-off and entry moved what it says, once, and nothing else did",
        f"""
        SELECT document_id, format('a %s of %s from %s to %s, by documents less by transfers: %s', kind, amount_minor, debit_id, credit_id, sum(times)) FROM (
            SELECT id AS document_id, kind, owner_id || ':' || debit || ':' || currency AS debit_id, owner_id || ':' || credit || ':' || currency AS credit_id,
                   amount_minor, mode, at, 1 AS times
            FROM (
                SELECT id, 'send' AS kind, store_id AS owner_id, 'owed' AS debit, 'in_transit' AS credit, amount_minor, currency, mode, sent_at AS at FROM payout WHERE sent_at IS NOT NULL
                UNION ALL SELECT id, 'arrive', store_id, 'in_transit', 'paid', amount_minor, currency, mode, paid_at FROM payout WHERE paid_at IS NOT NULL
                UNION ALL SELECT id, 'return', store_id, CASE WHEN paid_at IS NULL THEN 'in_transit' ELSE 'paid' END, 'owed', amount_minor, currency, mode, returned_at FROM payout WHERE returned_at IS NOT NULL
                UNION ALL SELECT id, kind, issuer_id, CASE WHEN amount_minor > 0 THEN account ELSE 'funding' END, CASE WHEN amount_minor > 0 THEN 'funding' ELSE account END,
                    abs(amount_minor), currency, mode, effective_at FROM entry WHERE state = 'booked'
            ) AS moving
            UNION ALL SELECT w.id, 'goodwill', w.issuer_id || ':goodwill:' || w.currency, w.store_id || ':owed:' || w.currency, w.amount_minor, w.mode, w.at, 1 FROM ({_WRITTEN_OFF}) AS w
            UNION ALL SELECT document_id, kind, debit_id, credit_id, amount_minor, mode, at, -1 FROM transfer WHERE document_id IS NOT NULL
        ) AS both_sides
        GROUP BY document_id, kind, debit_id, credit_id, amount_minor, mode, at HAVING sum(times) <> 0
        """,
    ),
    Check(
        "what is owed to a store is settled - refunded + written off - sent + returned",
        f"""
        SELECT account_id, format('by its transfers %s, by what bears them out %s', sum(booked_minor), sum(borne_out_minor)) FROM (
            SELECT s.store_id || ':owed:' || p.currency AS account_id, 0 AS booked_minor, s.amount_minor AS borne_out_minor FROM settlement s JOIN payment p ON p.id = s.payment_id
            UNION ALL SELECT r.store_id || ':owed:' || p.currency, 0, -r.amount_minor FROM refund r JOIN payment p ON p.id = r.payment_id
            UNION ALL SELECT w.store_id || ':owed:' || w.currency, 0, w.amount_minor FROM ({_WRITTEN_OFF}) AS w
            UNION ALL SELECT store_id || ':owed:' || currency, 0, -amount_minor FROM payout WHERE sent_at IS NOT NULL AND returned_at IS NULL
            UNION ALL SELECT credit_id, amount_minor, 0 FROM transfer WHERE kind IN ('settle', 'return', 'goodwill')
            UNION ALL SELECT debit_id, -amount_minor, 0 FROM transfer WHERE kind IN ('refund', 'send')
        ) AS both_sides
        GROUP BY account_id HAVING sum(booked_minor) <> sum(borne_out_minor)
        """,
    ),
    Check(
        "every break has taken up what it says, nothing while it is open, and two people agreed where two must",
        """
        SELECT k.id, format('%s: says %s, took up %s', k.state, k.claimed_minor, sum(t.amount_minor))
        FROM bill_break k JOIN bill b ON b.id = k.bill_id LEFT JOIN billed t ON (t.bill_id, t.line_no) = (k.bill_id, k.line_no)
        WHERE b.state IN ('matched', 'approved')
        GROUP BY k.id HAVING coalesce(k.claimed_minor, 0) <> coalesce(sum(t.amount_minor), 0) OR (k.claimed_minor IS NULL AND count(t.movement_id) > 0)
        UNION ALL
        SELECT id, format('%s, proposed by %s and approved by %s', proposal, proposed_by, approved_by)
        FROM bill_break WHERE proposal IN ('write_off', 'match_payment') AND closed_at IS NOT NULL AND (approved_by <> proposed_by) IS NOT TRUE
        """,
    ),
    Check(
        "every payable is what its approved bill comes to for one issuer and currency, and every approved bill has them",
        """
        SELECT bill_id, format('%s %s of %s: %s more than its payables say', currency, store_id, issuer_id, sum(amount_minor)) FROM (
            SELECT t.bill_id, t.store_id, t.issuer_id, t.currency, t.amount_minor FROM billed t JOIN bill b ON b.id = t.bill_id WHERE b.state = 'approved'
            UNION ALL SELECT k.bill_id, b.store_id, k.issuer_id, l.currency, k.paid_minor - k.claimed_minor
            FROM bill_break k JOIN bill b ON b.id = k.bill_id JOIN bill_line l ON (l.bill_id, l.line_no) = (k.bill_id, k.line_no)
            WHERE b.state = 'approved' AND k.paid_minor <> k.claimed_minor
            UNION ALL SELECT bill_id, store_id, issuer_id, currency, -amount_minor FROM payable
        ) AS both_sides
        GROUP BY bill_id, store_id, issuer_id, currency HAVING sum(amount_minor) <> 0
        """,
    ),
    Check(
        "every payout is the sum of its payables, all of its store, issuer, mode and currency, and stands as its run does",
        """
        SELECT p.id, format('%s of a %s run: %s, payables of its own say %s, of others %s', p.state, r.state, p.amount_minor, sum(b.amount_minor) FILTER (WHERE is_own), sum(b.amount_minor) FILTER (WHERE NOT is_own))
        FROM payout p LEFT JOIN payment_run r ON (r.id, r.mode) = (p.run_id, p.mode) LEFT JOIN payout_payable l ON l.payout_id = p.id LEFT JOIN payable b ON b.id = l.payable_id,
             LATERAL (SELECT (b.store_id, b.issuer_id, b.mode, b.currency) = (p.store_id, p.issuer_id, p.mode, p.currency)) AS own(is_own)
        GROUP BY p.id, r.id
        HAVING (p.amount_minor = sum(b.amount_minor) AND bool_and(is_own) AND p.amount_minor > 0 AND CASE r.state WHEN 'released' THEN p.state NOT IN ('drafted', 'dropped') ELSE p.state = r.state END) IS NOT TRUE
        """,
    ),
    Check(
        "a payable is in one live payout at most, and in a payout's hands while that is drafted, in transit or paid",
        """
        SELECT payable_id, format('in %s live payouts', count(*)) FROM payout_payable WHERE is_live GROUP BY payable_id HAVING count(*) > 1
        UNION ALL
        SELECT l.payable_id, format('%s in payout %s, which is %s', CASE WHEN is_live THEN 'live' ELSE 'free' END, p.id, p.state)
        FROM payout_payable l JOIN payout p ON p.id = l.payout_id WHERE is_live <> (p.state IN ('drafted', 'in_transit', 'paid'))
        """,
    ),
    Check(
        "who drafted a run did not release it, and who proposed an adjustment did not book it",
        """
        SELECT id, 'drafted and released by ' || released_by FROM payment_run WHERE state = 'released' AND (released_by <> drafted_by) IS NOT TRUE
        UNION ALL
        SELECT id, 'proposed and booked by ' || decided_by FROM entry WHERE (kind, state) = ('adjust', 'booked') AND (decided_by <> proposed_by) IS NOT TRUE
        """,
    ),
    Check(
        "every snapshot of what is owed is the sum of what was recorded before it",
        """
        SELECT account_id, format('kept %s, transfers say %s', max(kept_minor), coalesce(sum(amount_minor), 0)) FROM (
            SELECT account_id, balance_minor AS kept_minor, NULL AS amount_minor FROM account_snapshot
            UNION ALL SELECT s.account_id, NULL, t.amount_minor FROM account_snapshot s JOIN transfer t ON t.credit_id = s.account_id AND t.recorded_at < s.up_to
            UNION ALL SELECT s.account_id, NULL, -t.amount_minor FROM account_snapshot s JOIN transfer t ON t.debit_id = s.account_id AND t.recorded_at < s.up_to
        ) AS both_sides
        GROUP BY account_id HAVING max(kept_minor) <> coalesce(sum(amount_minor), 0)
        """,
    ),
    Check(
        "months close one after the other, each when it is over by a day",
        """
        SELECT mode || ' ' || month, 'closed at ' || closed_at || ', the one before: ' || coalesce(month_before || ' at ' || closed_before, 'none') FROM (
            SELECT mode, month, closed_at, (left(month, 4) || '-' || right(month, 2) || '-01')::date AS first_day,
                   lag(month) OVER months AS month_before, lag(closed_at) OVER months AS closed_before
            FROM closed_month WINDOW months AS (PARTITION BY mode ORDER BY month)
        ) AS closed
        WHERE closed_at < (first_day + interval '1 month 1 day') AT TIME ZONE 'UTC' OR closed_before > closed_at
           OR month_before <> to_char(first_day - interval '1 month', 'YYYY-MM')
        """,
    ),
)
