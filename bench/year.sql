-- A year of bills: whose cards were taken where, what stores bill of it month by month, and what must become of each line. CARDS,
-- STORES, MONTHS, EACH (payments of a card) and SEED stand for numbers. The outcomes are part of the plan: a payment's story says
-- what its store bills and what that comes to, and nothing of the matcher is asked.

-- ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE SCHEMA year;

-- Whole numbers from 0 to below, the same for the same seed.
CREATE FUNCTION year.draw(n bigint, salt integer, below integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((hashint8extended(n, SEED::bigint * 64 + salt) & 2147483647) % below)::integer;

-- An identifier as app/ids.py writes it: its first ten characters count up, as time does.
CREATE FUNCTION year.id(prefix text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN prefix || '_' || lpad(n::text, 10, '0') || 'f' || left(md5(prefix || n || '/' || SEED), 15);

CREATE TABLE year.month AS
SELECT m, to_char(begins, 'YYYY-MM') AS period, begins AT TIME ZONE 'UTC' AS begins_at, (begins + interval '1 month') AT TIME ZONE 'UTC' AS ends_at
FROM generate_series(1, MONTHS) AS m, LATERAL (SELECT timestamp '2024-12-01' + interval '1 month' * m AS begins) AS b;

-- Three issuers, and a fourth of the other mode, whose cards are named by mistake.
CREATE TABLE year.issuer AS
SELECT i, year.id('iss', i) AS id, year.id('prg', i) AS programme_id, CASE i WHEN 3 THEN 'test' ELSE 'live' END AS mode,
    CASE i WHEN 2 THEN 'EUR' ELSE 'GBP' END AS currency FROM generate_series(0, 3) AS i;

CREATE TABLE year.store AS SELECT s, year.id('str', s) AS id, CASE s WHEN STORES THEN 'test' ELSE 'live' END AS mode FROM generate_series(0, STORES) AS s;

CREATE TABLE year.card AS
SELECT c, year.id('card', c) AS id, i.id AS issuer_id, i.programme_id, i.mode, i.currency
FROM generate_series(0, CARDS - 1) AS c JOIN year.issuer AS i ON i.i = CASE WHEN c % 100 = 99 THEN 3 ELSE c % 3 END;

-- What becomes of a payment, and what its store makes of it; most are plain.
CREATE UNLOGGED TABLE year.payment AS
SELECT n, year.id('pay', n) AS id, c.id AS card_id, c.issuer_id, c.mode, c.currency, s.s, s.id AS store_id, m.m, m.ends_at, amount_minor, other_minor,
    CASE WHEN c.mode = 'test' THEN 'other_mode' ELSE (ARRAY[
        'parts', 'parts', 'parts', 'refunded', 'refunded', 'refunded', 'refunded_billed_gross', 'refunded_whole_billed_gross', 'credit', 'credit',
        'credit_by_line', 'over', 'under', 'tolerated_over', 'tolerated_under', 'doubled', 'billed_again', 'other_currency', 'elsewhere', 'unknown',
        'voided', 'expired', 'at_the_end', 'unbilled', 'refund_tolerated'
    ])[1 + year.draw(n, 1, 250)] END AS story,
    -- a while before the month's end, so that what follows at once is still in it
    m.begins_at + (m.ends_at - m.begins_at - interval '3 days') * (n * MONTHS % (CARDS * EACH::bigint) / (CARDS * EACH)::double precision) AS at
FROM generate_series(0, CARDS * EACH::bigint - 1) AS n
JOIN year.card AS c ON c.c = n * 7919 % CARDS
JOIN year.month AS m ON m.m = 1 + n * MONTHS / (CARDS * EACH::bigint)
JOIN year.store AS s ON s.s = CASE c.mode WHEN 'test' THEN STORES ELSE year.draw(n, 2, STORES) END
CROSS JOIN LATERAL (SELECT 500 + year.draw(n, 3, 9500)::bigint AS amount_minor, 100 + year.draw(n, 4, 300)::bigint AS other_minor) AS drawn;
UPDATE year.payment SET story = 'plain' WHERE story IS NULL;
ANALYZE year.payment;

-- What was settled and refunded, and in which month; `at_the_end` is settled as the next month begins, to the microsecond.
CREATE UNLOGGED TABLE year.movement AS
SELECT year.id(kind, n * 2 + place) AS id, kind, n, moved.at, moved.amount_minor,
    (SELECT coalesce(min(m), MONTHS + 1) FROM year.month WHERE moved.at < ends_at) AS m
FROM year.payment AS p
CROSS JOIN LATERAL (
    SELECT 'set' AS kind, 0 AS place, p.at, p.amount_minor WHERE story NOT IN ('voided', 'expired', 'at_the_end')
    UNION ALL SELECT 'set', 0, p.ends_at, p.amount_minor WHERE story = 'at_the_end'
    UNION ALL SELECT 'set', 1, p.at + interval '20 days', p.other_minor WHERE story = 'parts'
    UNION ALL SELECT 'ref', 0, p.at + interval '2 days', p.other_minor WHERE story IN ('refunded', 'refunded_billed_gross')
    UNION ALL SELECT 'ref', 0, p.at + interval '2 days', p.amount_minor WHERE story = 'refunded_whole_billed_gross'
    UNION ALL SELECT 'ref', 0, p.at + interval '2 days', 3 WHERE story = 'refund_tolerated'
    UNION ALL SELECT 'ref', 0, p.at + interval '40 days', p.other_minor WHERE story IN ('credit', 'credit_by_line')
) AS moved;
CREATE INDEX ON year.movement (n);
ANALYZE year.movement;

-- The lines of the bills, and what must become of each: `expected_minor` as a break says it, what it takes up, and what is paid.
CREATE UNLOGGED TABLE year.line AS
SELECT bill_s AS s, m, payment_id, n, amount_minor, currency, outcome, other_m, expected_minor, taken_minor, paid_minor,
    row_number() OVER (PARTITION BY bill_s, m ORDER BY hashint8(n), place)::integer AS line_no
FROM (
    SELECT p.s, p.m AS own_m, p.id AS own_id, p.n, p.currency AS own_currency, p.story, p.store_id, p.amount_minor AS a, p.other_minor AS o,
        v.second_m, v.refund_m
    FROM year.payment AS p
    LEFT JOIN (
        SELECT n, max(m) FILTER (WHERE kind = 'set') AS second_m, max(m) FILTER (WHERE kind = 'ref') AS refund_m FROM year.movement GROUP BY n
    ) AS v ON v.n = p.n
) AS p
CROSS JOIN LATERAL (VALUES
    -- story, place, month, payment, amount, currency, outcome, bill of the month that took it, expected, taken up, paid
    ('plain', 0, own_m, own_id, a, own_currency, 'matched', NULL::bigint, NULL::bigint, a, a),
    ('parts', 0, own_m, own_id, a + CASE second_m WHEN own_m THEN o ELSE 0 END, own_currency, 'matched', NULL, NULL, a + CASE second_m WHEN own_m THEN o ELSE 0 END, a + CASE second_m WHEN own_m THEN o ELSE 0 END),
    ('parts', 1, nullif(second_m, own_m), own_id, o, own_currency, 'matched', NULL, NULL, o, o),
    ('refunded', 0, own_m, own_id, a - o, own_currency, 'matched', NULL, NULL, a - o, a - o),
    ('refunded_billed_gross', 0, own_m, own_id, a, own_currency, 'refunded_after', NULL, a - o, 0, 0),
    ('refunded_whole_billed_gross', 0, own_m, own_id, a, own_currency, 'refunded_after', NULL, 0, 0, 0),
    ('refund_tolerated', 0, own_m, own_id, a, own_currency, 'refunded_after', NULL, a - 3, a - 3, a - 3),
    ('credit', 0, own_m, own_id, a, own_currency, 'matched', NULL, NULL, a, a),
    ('credit_by_line', 0, own_m, own_id, a, own_currency, 'matched', NULL, NULL, a, a),
    ('credit_by_line', 1, refund_m, own_id, -o, own_currency, 'matched', NULL, NULL, -o, -o),
    ('over', 0, own_m, own_id, a + 7, own_currency, 'amount_over', NULL, a, 0, 0),
    ('under', 0, own_m, own_id, a - 7, own_currency, 'amount_under', NULL, a, 0, 0),
    ('tolerated_over', 0, own_m, own_id, a + 5, own_currency, 'amount_over', NULL, a, a, a),
    ('tolerated_under', 0, own_m, own_id, a - 5, own_currency, 'amount_under', NULL, a, a, a - 5),
    ('doubled', 0, own_m, own_id, a, own_currency, 'matched', NULL, NULL, a, a),
    ('doubled', 1, own_m, own_id, a, own_currency, 'duplicate_line', NULL, NULL, 0, 0),
    ('billed_again', 0, own_m, own_id, a, own_currency, 'matched', NULL, NULL, a, a),
    ('billed_again', 1, own_m + 1, own_id, a, own_currency, 'already_billed', own_m, 0, 0, 0),
    ('other_currency', 0, own_m, own_id, a, CASE own_currency WHEN 'GBP' THEN 'EUR' ELSE 'GBP' END, 'currency_mismatch', NULL, NULL, 0, 0),
    ('unknown', 0, own_m, year.id('pay', 9000000000 + n), a, own_currency, 'unknown_payment', NULL, NULL, 0, 0),
    ('voided', 0, own_m, own_id, a, own_currency, 'voided', NULL, 0, 0, 0),
    ('expired', 0, own_m, own_id, a, own_currency, 'not_settled', NULL, 0, 0, 0),
    ('at_the_end', 0, own_m, own_id, a, own_currency, 'not_settled', NULL, 0, 0, 0),
    ('at_the_end', 1, own_m + 1, own_id, a, own_currency, 'matched', NULL, NULL, a, a),
    ('elsewhere', 0, CASE WHEN STORES > 1 THEN own_m END, own_id, a, own_currency, 'not_this_store', NULL, NULL, 0, 0),
    ('other_mode', 0, own_m, own_id, a, own_currency, 'other_mode', NULL, NULL, 0, 0)
) AS told(told_story, place, m, payment_id, amount_minor, currency, outcome, other_m, expected_minor, taken_minor, paid_minor)
CROSS JOIN LATERAL (SELECT CASE story WHEN 'elsewhere' THEN (p.s + 1) % STORES WHEN 'other_mode' THEN n % STORES ELSE p.s END) AS bills(bill_s)
WHERE told_story = story AND told.m <= MONTHS;
ANALYZE year.line;

-- Refunds of what was billed before, which come back by themselves.
CREATE UNLOGGED TABLE year.credit AS
SELECT p.s, v.m, v.id AS movement_id, v.amount_minor FROM year.movement AS v JOIN year.payment AS p ON p.n = v.n
WHERE p.story = 'credit' AND v.kind = 'ref' AND v.m <= MONTHS;

-- ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

INSERT INTO issuer (id, name, mode, created_at) SELECT id, 'Issuer ' || i, mode, '2024-12-01' FROM year.issuer;
INSERT INTO programme (
    id, issuer_id, mode, name, currency, card_min_minor, card_max_minor, valid_days, link_policy, hold_ttl_s, confirmed_ttl_s,
    hold_max_s, all_stores, created_at
) SELECT programme_id, id, mode, 'Gift card', currency, 1, 100000000, 1825, 'single_use', 5184000, 5184000, 7776000, true, '2024-12-01'
FROM year.issuer;
INSERT INTO store (id, name, mode, created_at) SELECT id, 'Shop ' || s, mode, '2024-12-01' FROM year.store;
INSERT INTO tolerance (issuer_id, currency, tolerance_minor) SELECT id, currency, 5 FROM year.issuer;

INSERT INTO account (id, kind, owner_id, currency, mode, balance_minor)
SELECT owner_id || ':' || kind || ':' || currency, kind, owner_id, currency, mode, balance_minor FROM (
    SELECT id AS owner_id, kind, currency, mode, NULL::bigint AS balance_minor FROM year.issuer, (VALUES ('funding'), ('breakage')) AS kinds(kind)
    UNION ALL SELECT DISTINCT store_id, 'owed', currency, mode, NULL::bigint FROM year.payment
    UNION ALL
    SELECT c.id, 'card', c.currency, c.mode, 100000000 - coalesce(sum(CASE v.kind WHEN 'set' THEN v.amount_minor ELSE -v.amount_minor END), 0)
    FROM year.card AS c LEFT JOIN year.payment AS p ON p.card_id = c.id LEFT JOIN year.movement AS v ON v.n = p.n
    GROUP BY c.id, c.currency, c.mode
) AS opened;
INSERT INTO card (
    id, programme_id, issuer_id, account_id, mode, currency, issued_minor, state, expires_at, holder_sealed, email_hash, issuer_metadata, created_at
) SELECT id, programme_id, issuer_id, id || ':card:' || currency, mode, currency, 100000000, 'active', '2029-12-01', '\x00', '\x00', '{}', '2024-12-01'
FROM year.card ORDER BY c;

INSERT INTO payment (
    id, card_id, code_id, store_id, mode, currency, state, order_reference, balance_minor, hold_minor, held_minor, settled_minor,
    released_minor, refunded_minor, expired_minor, created_at, confirmed_at, expires_at, ended_at
)
SELECT p.id, p.card_id, 'code_x', p.store_id, p.mode, p.currency, CASE story WHEN 'voided' THEN 'voided' WHEN 'expired' THEN 'expired' ELSE 'settled' END,
    'order-' || p.n, 0, p.amount_minor + p.other_minor, 0,
    coalesce(v.settled_minor, 0), p.amount_minor + p.other_minor - coalesce(v.settled_minor, 0),
    coalesce(v.refunded_minor, 0), 0, p.at - interval '1 hour', NULL, p.at + interval '60 days', p.at
FROM year.payment AS p
LEFT JOIN (
    SELECT n, sum(amount_minor) FILTER (WHERE kind = 'set') AS settled_minor, sum(amount_minor) FILTER (WHERE kind = 'ref') AS refunded_minor
    FROM year.movement GROUP BY n
) AS v ON v.n = p.n
ORDER BY p.n;
INSERT INTO settlement (id, payment_id, card_id, store_id, amount_minor, order_reference, late, at)
SELECT v.id, p.id, p.card_id, p.store_id, v.amount_minor, 'order-' || p.n, false, v.at
FROM year.movement AS v JOIN year.payment AS p ON p.n = v.n WHERE v.kind = 'set' ORDER BY v.n;
INSERT INTO refund (id, payment_id, card_id, store_id, amount_minor, reason, at)
SELECT v.id, p.id, p.card_id, p.store_id, v.amount_minor, 'returned', v.at
FROM year.movement AS v JOIN year.payment AS p ON p.n = v.n WHERE v.kind = 'ref' ORDER BY v.n;
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at, recorded_at)
SELECT year.id('tra', c), 'issue', issuer_id || ':funding:' || currency, id || ':card:' || currency, 100000000, currency, mode, id, NULL, '2024-12-01', '2024-12-01'
FROM year.card
UNION ALL
SELECT 'tra' || substr(v.id, 1, 1) || substr(v.id, 4), CASE v.kind WHEN 'set' THEN 'settle' ELSE 'refund' END,
    CASE v.kind WHEN 'set' THEN p.card_id || ':card:' || p.currency ELSE p.store_id || ':owed:' || p.currency END,
    CASE v.kind WHEN 'set' THEN p.store_id || ':owed:' || p.currency ELSE p.card_id || ':card:' || p.currency END,
    v.amount_minor, p.currency, p.mode, p.card_id, p.id, v.at, v.at
FROM year.movement AS v JOIN year.payment AS p ON p.n = v.n;

INSERT INTO bill (
    id, store_id, mode, reference, period, as_of, source, media_type, content_sha256, received_by, received_at, state, lines, wrong_lines, read_at
)
SELECT year.id('bill', m.m * 1000 + s.s), s.id, 'live', m.period, m.period, m.ends_at, 'file', 'text/csv', sha256('x'), 'year', m.ends_at + interval '3 days',
    'read', (SELECT count(*) FROM year.line AS l WHERE (l.s, l.m) = (s.s, m.m)), 0, m.ends_at + interval '3 days'
FROM year.month AS m, year.store AS s WHERE s.mode = 'live';
INSERT INTO bill_line (bill_id, line_no, payment_id, amount_minor, currency, order_reference)
SELECT year.id('bill', m * 1000 + s), line_no, payment_id, amount_minor, currency, 'order-' || n FROM year.line ORDER BY m, s, line_no;
