-- On top of the population: what stores with live pounds are owed was billed and approved, some of it paid, some on its way, and
-- one line of each bill written off. The triggers of the books are on, so the service could have left it so.

CREATE SCHEMA paid;
CREATE TABLE paid.store AS
SELECT row_number() OVER (ORDER BY s.id) - 1 AS rank, s.id AS store_id, right(s.id, 26) AS tail, i.id AS issuer_id, min(g.id) AS programme_id,
    (ARRAY['in_transit', 'paid', 'returned', 'returned_late', 'drafted', 'unpaid', 'left_out', 'dropped'])[row_number() OVER (ORDER BY s.id) % 8 + 1] AS fate
FROM store s JOIN issuer i ON i.mode = s.mode JOIN programme g ON (g.issuer_id, g.currency) = (i.id, 'GBP')
WHERE s.mode = 'live' AND EXISTS (SELECT FROM settlement t JOIN payment p ON p.id = t.payment_id WHERE t.store_id = s.id AND p.currency = 'GBP')
GROUP BY s.id, i.id;

INSERT INTO account (id, kind, owner_id, currency, mode)
SELECT owner_id || ':' || kind || ':GBP', kind, owner_id, 'GBP', 'live' FROM (
    SELECT store_id AS owner_id, kind FROM paid.store, unnest('{in_transit,paid}'::text[]) AS kind
    UNION SELECT issuer_id, kind FROM paid.store, unnest('{bank,goodwill,fraud_loss,chargeback}'::text[]) AS kind
) AS opened;

INSERT INTO bill (id, store_id, mode, reference, period, as_of, source, media_type, content_sha256, received_by, received_at, state, lines, wrong_lines,
    matched_lines, broken_lines, read_at, matched_at, closed_by, closed_at)
SELECT 'bill_' || tail, store_id, 'live', 'october', '2026-10', now(), 'file', 'text/csv', sha256('x'), 'operator:ann', now(), 'matched', 1, 0, 0, 1, now(), now(), NULL, NULL
FROM paid.store;
INSERT INTO bill_line (bill_id, line_no, payment_id, amount_minor, currency) SELECT 'bill_' || tail, 1, 'pay_unknown', 500 + rank, 'GBP' FROM paid.store;
INSERT INTO bill_break (id, bill_id, line_no, kind, issuer_id, opened_at, state, proposal, proposal_id, would_claim_minor, would_pay_minor, reason, proposed_by, proposed_at,
    approved_by, approved_at, closed_at, claimed_minor, paid_minor)
SELECT 'brk_' || tail, 'bill_' || tail, 1, 'unknown_payment', issuer_id, now(), 'written_off', 'write_off', 'prp_' || tail, 0, 500 + rank, 'a kindness', 'operator:ann', now(),
    'operator:bob', now(), now(), 0, 500 + rank
FROM paid.store;
DO $$
DECLARE
    of record;
BEGIN
    FOR of IN SELECT * FROM paid.store LOOP -- what a statement takes up is of one bill
        INSERT INTO billed (movement_id, bill_id, line_no, payment_id, card_id, store_id, issuer_id, programme_id, currency, amount_minor)
        SELECT m.id, 'bill_' || of.tail, 2, p.id, p.card_id, of.store_id, c.issuer_id, c.programme_id, 'GBP', m.amount_minor FROM (
            SELECT id, payment_id, amount_minor, at FROM settlement UNION ALL SELECT id, payment_id, -amount_minor, at FROM refund
        ) AS m JOIN payment p ON p.id = m.payment_id JOIN card c ON c.id = p.card_id WHERE p.currency = 'GBP' AND p.store_id = of.store_id;
    END LOOP;
END $$;
UPDATE bill SET state = 'approved', closed_by = 'operator:ann', closed_at = now();

INSERT INTO payable (id, bill_id, store_id, issuer_id, mode, currency, amount_minor, approved_at)
SELECT 'pbl_' || tail, 'bill_' || tail, s.store_id, s.issuer_id, 'live', 'GBP', 500 + rank + sum(b.amount_minor), now()
FROM paid.store s JOIN billed b ON b.bill_id = 'bill_' || tail GROUP BY tail, s.store_id, s.issuer_id, rank;

INSERT INTO payment_run (id, mode, drafted_by, drafted_at, state, released_by, released_at, dropped_by, dropped_at) VALUES
    ('run_released', 'live', 'operator:ann', now(), 'released', 'operator:bob', now(), NULL, NULL),
    ('run_drafted', 'live', 'operator:ann', now(), 'drafted', NULL, NULL, NULL, NULL),
    ('run_dropped', 'live', 'operator:ann', now(), 'dropped', NULL, NULL, 'operator:ann', now());
INSERT INTO payout (id, run_id, store_id, issuer_id, mode, currency, amount_minor, end_to_end_id)
SELECT 'out_' || tail, CASE fate WHEN 'drafted' THEN 'run_drafted' WHEN 'dropped' THEN 'run_dropped' ELSE 'run_released' END,
    s.store_id, s.issuer_id, 'live', 'GBP', amount_minor, 'SCRIP' || upper(tail)
FROM paid.store s JOIN payable b ON b.id = 'pbl_' || tail WHERE fate <> 'unpaid';
INSERT INTO payout_payable (payout_id, payable_id) SELECT 'out_' || tail, 'pbl_' || tail FROM paid.store WHERE fate <> 'unpaid';

-- goodwill first: it is owed, and then sent
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, document_id, at)
SELECT 'tra_goodwill' || rank, 'goodwill', issuer_id || ':goodwill:GBP', store_id || ':owed:GBP', 500 + rank, 'GBP', 'live', 'brk_' || tail, now() FROM paid.store;

UPDATE payout o SET state = 'left_out', left_out_because = 'not covered' FROM paid.store WHERE o.id = 'out_' || tail AND fate = 'left_out';
UPDATE payout o SET state = 'dropped' FROM paid.store WHERE o.id = 'out_' || tail AND fate = 'dropped';
UPDATE payout_payable l SET is_live = false FROM paid.store WHERE l.payout_id = 'out_' || tail AND fate IN ('left_out', 'dropped');

UPDATE payout o SET state = 'in_transit', sent_at = now() FROM paid.store WHERE o.id = 'out_' || tail AND fate IN ('in_transit', 'paid', 'returned', 'returned_late');
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, document_id, at)
SELECT 'tra_send' || rank, 'send', o.store_id || ':owed:GBP', o.store_id || ':in_transit:GBP', o.amount_minor, 'GBP', 'live', o.id, o.sent_at
FROM paid.store s JOIN payout o ON o.id = 'out_' || tail AND o.state = 'in_transit';

UPDATE payout o SET state = 'paid', paid_at = now() FROM paid.store WHERE o.id = 'out_' || tail AND fate IN ('paid', 'returned_late');
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, document_id, at)
SELECT 'tra_arrive' || rank, 'arrive', o.store_id || ':in_transit:GBP', o.store_id || ':paid:GBP', o.amount_minor, 'GBP', 'live', o.id, o.paid_at
FROM paid.store s JOIN payout o ON o.id = 'out_' || tail AND o.state = 'paid';

UPDATE payout o SET state = 'returned', returned_at = now(), returned_because = 'AC04' FROM paid.store WHERE o.id = 'out_' || tail AND fate IN ('returned', 'returned_late');
UPDATE payout_payable l SET is_live = false FROM paid.store WHERE l.payout_id = 'out_' || tail AND fate IN ('returned', 'returned_late');
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, document_id, at)
SELECT 'tra_return' || rank, 'return', o.store_id || CASE fate WHEN 'returned' THEN ':in_transit:GBP' ELSE ':paid:GBP' END, o.store_id || ':owed:GBP', o.amount_minor, 'GBP', 'live', o.id, o.returned_at
FROM paid.store s JOIN payout o ON o.id = 'out_' || tail AND o.state = 'returned';

-- entries of the issuer: money that came in, and an adjustment each way
INSERT INTO entry (id, mode, issuer_id, kind, account, amount_minor, currency, effective_at, reference, reason, proposed_by, proposed_at, state, decided_by, decided_at)
SELECT DISTINCT ON (issuer_id, e.id) e.id, 'live', issuer_id, e.kind, e.account, e.amount_minor, 'GBP', now() - interval '3 days', e.reference, e.reason, 'operator:ann', now(), e.state, e.decided_by, CASE WHEN e.decided_by IS NOT NULL THEN now() END
FROM paid.store, (VALUES
    ('ent_fund', 'fund', 'bank', 100000::bigint, 'BANK-1', NULL, 'booked', 'operator:ann'),
    ('ent_fraud', 'adjust', 'fraud_loss', -700, NULL, 'a stolen code', 'booked', 'operator:bob'),
    ('ent_chargeback', 'adjust', 'chargeback', 300, NULL, 'won', 'booked', 'operator:bob'),
    ('ent_waits', 'adjust', 'goodwill', -900, NULL, 'covers goodwill', 'proposed', NULL)
) AS e(id, kind, account, amount_minor, reference, reason, state, decided_by);
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, document_id, at)
SELECT 'tra_' || id, kind, issuer_id || CASE WHEN amount_minor > 0 THEN ':' || account ELSE ':funding' END || ':GBP',
    issuer_id || CASE WHEN amount_minor < 0 THEN ':' || account ELSE ':funding' END || ':GBP', abs(amount_minor), 'GBP', 'live', id, effective_at
FROM entry WHERE state = 'booked';

INSERT INTO event (id, at, kind, actor, facts)
SELECT 'evt_of_' || id, now(), CASE kind WHEN 'send' THEN 'payout_sent' WHEN 'arrive' THEN 'payout_paid' WHEN 'return' THEN 'payout_returned'
        WHEN 'goodwill' THEN 'goodwill_given' WHEN 'fund' THEN 'issuer_funded' ELSE 'account_adjusted' END, 'operator:ann',
    jsonb_build_object(CASE WHEN kind = 'goodwill' THEN 'break_id' WHEN kind IN ('fund', 'adjust') THEN 'entry_id' ELSE 'payout_id' END, document_id, 'amount_minor', amount_minor)
FROM transfer WHERE document_id IS NOT NULL;

INSERT INTO account_snapshot (account_id, up_to, balance_minor)
SELECT id, now() - interval '20 days', coalesce((SELECT sum(amount_minor) FROM transfer WHERE credit_id = a.id AND recorded_at < now() - interval '20 days'), 0)
    - coalesce((SELECT sum(amount_minor) FROM transfer WHERE debit_id = a.id AND recorded_at < now() - interval '20 days'), 0)
FROM account a WHERE (kind, mode, currency) = ('owed', 'live', 'GBP');
INSERT INTO closed_month (mode, month, closed_by, closed_at)
SELECT 'live', to_char(now() - interval '1 month' * n, 'YYYY-MM'), 'operator:ann', now() - interval '1 month' * (n - 1) FROM (VALUES (4), (3), (2)) AS back(n);
DROP SCHEMA paid CASCADE;
