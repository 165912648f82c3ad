-- Fills an empty database with cards in all their states, as the verbs would have left them. CARDS, PAYMENTS and SEED stand
-- for numbers. First the plan: who, when, how much, what becomes of it. Then one statement for each table of the service.

-- ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE SCHEMA population;

-- Whole numbers from 0 to below, the same for the same seed.
CREATE FUNCTION population.draw(n bigint, salt integer, below integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((hashint8extended(n, SEED::bigint * 64 + salt) & 2147483647) % below)::integer;

-- What follows the prefix of an identifier, as app/ids.py writes it: a version 7 UUID in Crockford's characters, ten of them for
-- its milliseconds; the random ones are hexadecimal.
CREATE FUNCTION population.tail(ms bigint, n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 45)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 40 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 35 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 30 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 25 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 20 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 15 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 10 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms >> 5 & 31)::integer + 1, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', (ms & 31)::integer + 1, 1)
        || 'f' || overlay(left(md5(n || '/' || SEED), 15) PLACING '8' FROM 3 FOR 1);

-- One of a card's many identifiers: they differ in their last four characters.
CREATE FUNCTION population.id(prefix text, tail text, place integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN prefix || '_' || left(tail, 22) || lpad(to_hex(place), 4, '0');

-- A keyed hash as app/secrecy.py stores it.
CREATE FUNCTION population.keyed(purpose text, n bigint, i integer) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '\x01'::bytea || sha256(convert_to(purpose || n || '/' || i || '/' || SEED, 'UTF8'));

CREATE TABLE population.began AS SELECT now() AS at, (extract(epoch FROM now()) * 1000)::bigint AS ms;

CREATE TABLE population.issuer AS
SELECT p, mode, currency, population.id('iss', tail, p) AS id, population.id('prg', tail, p) AS programme_id,
    at - interval '50 days' AS created_at
FROM population.began, LATERAL (SELECT population.tail(ms - 50 * 86400000::bigint, 0)) AS tails(tail), (VALUES (0, 'live', 'GBP'), (1, 'test', 'GBP'), (2, 'live', 'EUR'), (3, 'live', 'JPY')) AS parties(p, mode, currency);

CREATE TABLE population.store AS
SELECT s, mode, population.id('str', tail, s * 2 + place) AS id, 'Shop ' || s AS name, at - interval '50 days' AS created_at
FROM population.began, LATERAL (SELECT population.tail(ms - 50 * 86400000::bigint, 1)) AS tails(tail), generate_series(0, 19) AS s, (VALUES ('live', 0), ('test', 1)) AS modes(mode, place);

-- A card is issued between 40 and 2 days ago, and walks the money's path in rounds of three hours: a link, its code, a payment.
CREATE UNLOGGED TABLE population.card AS
SELECT n, i.id AS issuer_id, i.programme_id, i.mode, i.currency, 'card_' || tail AS id, tail,
    to_timestamp(issued_ms / 1000.0) AS issued_at, fate, part_minor, part_minor * (rounds + 2) AS issued_minor, rounds,
    rounds + (fate NOT IN ('waiting', 'link_lapsed', 'lapsed'))::integer AS codes,
    fate IN ('waiting', 'link_lapsed', 'lapsed', 'returned', 'expired') AS has_link
FROM population.began
CROSS JOIN generate_series(1, CARDS) AS n
CROSS JOIN LATERAL (
    SELECT ms - 40 * 86400000::bigint + (n * (38 * 86400000.0 / CARDS))::bigint AS issued_ms,
        population.draw(n, 1, PAYMENTS + 1) AS rounds, population.draw(n, 2, 100) AS lot,
        (2 + population.draw(n, 3, 40)) * 50::bigint AS part_minor
) AS drawn
CROSS JOIN LATERAL (
    SELECT population.tail(issued_ms, n) AS tail, CASE
        WHEN lot < 40 THEN 'waiting' WHEN lot < 58 THEN 'claimed' WHEN lot < 63 THEN 'held' WHEN lot < 66 THEN 'in_part'
        WHEN lot < 68 THEN 'voided' WHEN lot < 88 THEN 'spent' WHEN lot < 91 THEN 'returned' WHEN lot < 93 THEN 'lapsed'
        WHEN lot < 95 THEN 'code_lapsed' WHEN lot < 97 THEN 'link_lapsed' ELSE 'expired'
    END AS fate
) AS told
JOIN population.issuer AS i ON i.p = n % 4
ORDER BY n;

-- Every code that a card has had, and what a store did with it. The last one's kind is the card's fate.
CREATE UNLOGGED TABLE population.round AS
WITH drawn AS (
    SELECT c.n, i, c.id AS card_id, c.tail, c.mode, c.currency, c.issuer_id, c.issued_minor, kind,
        issued_at + interval '3 hours' * i AS at, s.id AS store_id, s.name AS store_name, 'order-' || c.n || '-' || i AS order_reference,
        CASE WHEN kind IN ('settled', 'in_part') THEN part_minor ELSE 0 END AS taken_minor,
        CASE WHEN kind = 'settled' AND population.draw(c.n * 64 + i, 4, 8) = 0 THEN part_minor / 2 ELSE 0 END AS given_minor
    FROM population.card AS c
    CROSS JOIN generate_series(1, c.codes) AS i
    CROSS JOIN LATERAL (SELECT CASE WHEN i <= c.rounds THEN 'settled' ELSE c.fate END AS kind) AS k
    JOIN population.store AS s ON s.mode = c.mode AND s.s = population.draw(c.n * 64 + i, 5, 20)
), walked AS (
    SELECT *, issued_minor - coalesce(sum(taken_minor - given_minor) OVER (
        PARTITION BY n ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0)::bigint AS balance_minor FROM drawn
)
SELECT n, i, card_id, mode, currency, issuer_id, kind, at, store_id, store_name, order_reference, tail, balance_minor,
    CASE WHEN kind IN ('spent', 'returned') THEN balance_minor ELSE taken_minor END AS settled_minor,
    CASE kind WHEN 'returned' THEN balance_minor / 2 ELSE given_minor END AS refunded_minor,
    CASE kind WHEN 'held' THEN balance_minor WHEN 'in_part' THEN balance_minor - taken_minor ELSE 0 END AS held_minor,
    kind IN ('settled', 'in_part', 'spent', 'returned') AS has_settled,
    kind NOT IN ('claimed', 'code_lapsed') AS has_payment,
    population.id('link', tail, i) AS link_id, population.id('link', tail, i + 1) AS next_link_id,
    population.id('code', tail, i) AS code_id, population.id('pay', tail, i) AS payment_id,
    population.id('set', tail, i) AS settlement_id, population.id('ref', tail, i) AS refund_id
FROM walked ORDER BY n, i;

ANALYZE population.card, population.round;

-- ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- parties
INSERT INTO issuer (id, name, mode, created_at) SELECT id, 'Issuer ' || p, mode, created_at FROM population.issuer;

INSERT INTO programme (
    id, issuer_id, mode, name, currency, card_min_minor, card_max_minor, valid_days, link_policy, hold_ttl_s, confirmed_ttl_s,
    hold_max_s, all_stores, created_at
) SELECT programme_id, id, mode, 'Gift card', currency, 1, 100000, 1825, 'single_use', 5184000, 5184000, 7776000, true, created_at
FROM population.issuer;

INSERT INTO store (id, name, mode, created_at) SELECT id, name, mode, created_at FROM population.store;

INSERT INTO account (id, kind, owner_id, currency, mode)
SELECT owner_id || ':' || kind || ':' || currency, kind, owner_id, currency, mode FROM (
    SELECT id AS owner_id, kind, currency, mode FROM population.issuer, (VALUES ('funding'), ('breakage')) AS kinds(kind)
    UNION ALL
    SELECT DISTINCT store_id, 'owed', currency, mode FROM population.round WHERE has_payment
) AS opened;

-- account
INSERT INTO account (id, kind, owner_id, currency, mode, balance_minor)
SELECT c.id || ':card:' || c.currency, 'card', c.id, c.currency, c.mode, CASE
    WHEN c.fate IN ('lapsed', 'code_lapsed') THEN 0 ELSE coalesce(r.balance_minor - r.settled_minor + r.refunded_minor, c.issued_minor) END
FROM population.card AS c LEFT JOIN population.round AS r ON (r.n, r.i) = (c.n, c.codes)
ORDER BY c.n;

-- card
INSERT INTO card (
    id, programme_id, issuer_id, account_id, mode, currency, issued_minor, state, expires_at, holder_sealed, email_hash,
    order_reference, issuer_metadata, created_at
)
SELECT id, programme_id, issuer_id, id || ':card:' || currency, mode, currency, issued_minor,
    CASE WHEN fate = 'spent' THEN 'spent' WHEN fate IN ('lapsed', 'code_lapsed') THEN 'lapsed' ELSE 'active' END,
    issued_at + CASE WHEN fate IN ('lapsed', 'code_lapsed') THEN interval '3 hours' * (codes + 1) ELSE interval '1825 days' END,
    population.keyed('name', n, 0) || population.keyed('address', n, 0) || substr(population.keyed('message', n, 0), 1, 12)
        || population.keyed('tag', n, 0),
    population.keyed('email', n, 0), 'gift-' || n, '{}', issued_at
FROM population.card ORDER BY n;

-- claim_link
INSERT INTO claim_link (id, card_id, state, reason, created_at, expires_at, opened_at, opened_by, nonce_hash)
SELECT link_id, card_id, 'opened', CASE i WHEN 1 THEN 'issue' ELSE 'settlement' END, at - interval '3 hours', at + interval '87 days',
    at, 'Firefox', population.keyed('nonce', n, i)
FROM population.round ORDER BY n, i;
INSERT INTO claim_link (id, card_id, state, reason, created_at, expires_at)
SELECT population.id('link', tail, codes + 1), id,
    CASE WHEN fate IN ('lapsed', 'link_lapsed') THEN 'lapsed' ELSE 'waiting' END,
    CASE WHEN fate = 'returned' THEN 'refund' WHEN fate = 'expired' THEN 'expiry' WHEN codes = 0 THEN 'issue' ELSE 'settlement' END,
    issued_at + interval '3 hours' * codes,
    issued_at + interval '3 hours' * codes + CASE WHEN fate IN ('lapsed', 'link_lapsed') THEN interval '3 hours' ELSE interval '90 days' END
FROM population.card WHERE has_link ORDER BY n;

INSERT INTO claim_key (key_hash, link_id, created_at) SELECT '\x01'::bytea || sha256(convert_to(id, 'UTF8')), id, created_at
FROM claim_link ORDER BY 1;

-- code
INSERT INTO code (
    id, card_id, link_id, state, hash, pepper_epoch, store_id, shopper_key, order_reference, bound_until, created_at, died_at
)
SELECT code_id, card_id, link_id, state, CASE WHEN state <> 'dead' THEN sha256(convert_to('code' || n || '/' || SEED, 'UTF8')) END, 1,
    CASE WHEN has_payment THEN store_id END, CASE WHEN has_payment THEN md5('shopper' || n % 10007) END,
    CASE WHEN has_payment THEN order_reference END, CASE WHEN has_payment THEN at + interval '60 days' END,
    at, CASE WHEN state = 'dead' THEN at + interval '1 hour' END
FROM population.round, LATERAL (
    SELECT CASE WHEN kind = 'claimed' THEN 'live' WHEN kind IN ('held', 'in_part', 'voided') THEN 'bound' ELSE 'dead' END
) AS now(state)
ORDER BY n, i;

-- payment
INSERT INTO payment (
    id, card_id, code_id, store_id, mode, currency, state, order_reference, balance_minor, hold_minor, held_minor, settled_minor,
    released_minor, refunded_minor, expired_minor, created_at, confirmed_at, expires_at, ended_at, expired_at
)
SELECT payment_id, card_id, code_id, store_id, mode, currency,
    CASE WHEN kind IN ('spent', 'returned') THEN 'settled' WHEN kind = 'in_part' THEN 'held' ELSE kind END,
    order_reference, balance_minor - settled_minor, balance_minor, held_minor, settled_minor,
    balance_minor - held_minor - settled_minor, refunded_minor, CASE kind WHEN 'expired' THEN balance_minor ELSE 0 END,
    at + interval '30 minutes', CASE WHEN kind <> 'voided' THEN at + interval '40 minutes' END,
    CASE kind WHEN 'expired' THEN at + interval '1 hour' ELSE at + interval '60 days' END,
    CASE WHEN held_minor = 0 THEN at + interval '1 hour' END, CASE kind WHEN 'expired' THEN at + interval '1 hour' END
FROM population.round WHERE has_payment ORDER BY n, i;

-- card_key
INSERT INTO card_key (card_id, link_id, code_id, payment_id)
SELECT c.id, CASE WHEN has_link AND fate <> 'lapsed' THEN population.id('link', c.tail, codes + 1) END,
    CASE WHEN fate IN ('claimed', 'held', 'in_part', 'voided') THEN population.id('code', c.tail, codes) END,
    CASE WHEN fate IN ('held', 'in_part') THEN population.id('pay', c.tail, codes) END
FROM population.card AS c ORDER BY c.n;

-- settlement
INSERT INTO settlement (id, payment_id, card_id, store_id, amount_minor, order_reference, late, at)
SELECT settlement_id, payment_id, card_id, store_id, settled_minor, order_reference, false, at + interval '1 hour'
FROM population.round WHERE has_settled ORDER BY n, i;

-- refund
INSERT INTO refund (id, payment_id, card_id, store_id, amount_minor, reason, at)
SELECT refund_id, payment_id, card_id, store_id, refunded_minor, 'returned', at + interval '2 hours'
FROM population.round WHERE refunded_minor > 0 ORDER BY n, i;

-- transfer
INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at, recorded_at)
SELECT population.id('tra', tail, place), kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at, at
FROM (
    SELECT n, 0 AS place, 'issue' AS kind, issuer_id || ':funding:' || currency AS debit_id, id || ':card:' || currency AS credit_id,
        issued_minor AS amount_minor, currency, mode, id AS card_id, NULL AS payment_id, issued_at AS at, tail FROM population.card
    UNION ALL
    SELECT n, i, 'settle', card_id || ':card:' || currency, store_id || ':owed:' || currency, settled_minor, currency, mode, card_id,
        payment_id, at + interval '1 hour', tail FROM population.round WHERE has_settled
    UNION ALL
    SELECT n, 100 + i, 'refund', store_id || ':owed:' || currency, card_id || ':card:' || currency, refunded_minor, currency, mode,
        card_id, payment_id, at + interval '2 hours', tail FROM population.round WHERE refunded_minor > 0
    UNION ALL
    SELECT c.n, 200, 'lapse', c.id || ':card:' || c.currency, c.issuer_id || ':breakage:' || c.currency,
        coalesce(r.balance_minor - r.settled_minor + r.refunded_minor, c.issued_minor), c.currency, c.mode, c.id, NULL,
        c.issued_at + interval '3 hours' * (c.codes + 1), c.tail
    FROM population.card AS c LEFT JOIN population.round AS r ON (r.n, r.i) = (c.n, c.codes)
    WHERE c.fate IN ('lapsed', 'code_lapsed')
) AS moved
ORDER BY n, at;

-- letter
INSERT INTO letter (id, kind, card_id, link_id, facts, state, tries, due_at, created_at, sent_at)
SELECT population.id('let', tail, place), kind, card_id, link_id, facts, 'sent', 1, at, at, at + interval '2 seconds'
FROM (
    SELECT n, 0 AS place, 'claim' AS kind, id AS card_id, population.id('link', tail, 1) AS link_id, '{}'::jsonb AS facts,
        issued_at AS at, tail FROM population.card
    UNION ALL
    SELECT n, i, CASE WHEN kind = 'settled' THEN 'reissue' WHEN kind = 'expired' THEN 'hold_expired' ELSE 'receipt' END, card_id,
        CASE WHEN kind IN ('settled', 'expired') THEN next_link_id END,
        CASE WHEN kind = 'expired' THEN jsonb_build_object('store', store_name) ELSE jsonb_build_object(
            'store', store_name, 'taken_minor', settled_minor, 'left_minor', balance_minor - settled_minor) END,
        at + interval '1 hour', tail FROM population.round WHERE has_settled OR kind = 'expired'
    UNION ALL
    SELECT n, 100 + i, 'refund', card_id, CASE WHEN kind = 'returned' THEN next_link_id END, jsonb_build_object(
            'store', store_name, 'refunded_minor', refunded_minor, 'left_minor', balance_minor - settled_minor + refunded_minor),
        at + interval '2 hours', tail FROM population.round WHERE refunded_minor > 0
) AS told
ORDER BY n, at;

-- event
INSERT INTO event (id, at, kind, actor, request_id, card_id, payment_id, facts)
SELECT population.id('evt', tail, place), at, kind, 'service', population.id('req', tail, place), card_id, payment_id, facts
FROM (
    SELECT n, 0 AS place, 'card_issued' AS kind, issued_at AS at, id AS card_id, NULL AS payment_id,
        jsonb_build_object('amount_minor', issued_minor) AS facts, tail FROM population.card
    UNION ALL
    SELECT n, 1000 + i, 'code_shown', at, card_id, NULL, jsonb_build_object('how', 'first', 'code_id', code_id, 'link_id', link_id), tail
    FROM population.round
    UNION ALL
    SELECT n, 2000 + i, 'code_exchanged', at + interval '30 minutes', card_id, payment_id, jsonb_build_object(
        'store_id', store_id, 'held_minor', balance_minor, 'order_reference', order_reference), tail
    FROM population.round WHERE has_payment
    UNION ALL
    SELECT n, 3000 + i, CASE WHEN has_settled THEN 'payment_settled' ELSE 'payment_' || kind END, at + interval '1 hour', card_id, payment_id,
        CASE WHEN has_settled THEN jsonb_build_object(
            'settlement_id', settlement_id, 'store_id', store_id, 'settled_minor', settled_minor, 'held_minor', held_minor,
            'released_minor', balance_minor - settled_minor - held_minor, 'order_reference', order_reference, 'late', false
        ) ELSE jsonb_build_object('store_id', store_id, 'released_minor', balance_minor) END, tail
    FROM population.round WHERE has_settled OR kind IN ('voided', 'expired')
    UNION ALL
    SELECT n, 4000 + i, 'payment_refunded', at + interval '2 hours', card_id, payment_id, jsonb_build_object(
        'refund_id', refund_id, 'store_id', store_id, 'refunded_minor', refunded_minor), tail
    FROM population.round WHERE refunded_minor > 0
    UNION ALL
    SELECT c.n, 5000, CASE fate WHEN 'link_lapsed' THEN 'link_lapsed' ELSE 'card_lapsed' END, c.issued_at + interval '3 hours' * (codes + 1),
        c.id, NULL, CASE fate WHEN 'link_lapsed' THEN jsonb_build_object('link_id', population.id('link', c.tail, codes + 1))
        ELSE jsonb_build_object('amount_minor', coalesce(r.balance_minor - r.settled_minor + r.refunded_minor, c.issued_minor)) END, c.tail
    FROM population.card AS c LEFT JOIN population.round AS r ON (r.n, r.i) = (c.n, c.codes)
    WHERE fate IN ('lapsed', 'code_lapsed', 'link_lapsed')
) AS happened
ORDER BY n, at;

-- request
INSERT INTO request (party_id, reference, operation, target_id, content_hmac, answer, created_at)
SELECT party_id, left(encode(content_hmac, 'hex'), 43), operation, target_id, content_hmac, answer::jsonb, at
FROM (
    SELECT issuer_id AS party_id, 'issue_card' AS operation, '' AS target_id, population.keyed('card', n, 0) AS content_hmac, issued_at AS at,
        '{"mode": "' || mode || '", "state": "active", "letter": "queued", "metadata": {}, "replayed": false, "not_before": null,'
        || '"holder_email": "s…@h…", "issued": ' || money || ', "balance": ' || money || ', "created_at": "' || issued_at
        || '", "expires_at": "' || issued_at || '", "programme_id": "' || programme_id || '", "order_reference": "gift-' || n
        || '", "reached_through": {"kind": "link", "state": "waiting", "until": "' || issued_at || '", "store_id": null, "id": "'
        || population.id('link', tail, 1) || '"}, "id": "' || id || '"}' AS answer
    FROM population.card, LATERAL (SELECT '{"currency": "' || currency || '", "amount_minor": ' || issued_minor || '}') AS m(money)
    UNION ALL
    SELECT store_id, verb, CASE verb WHEN 'exchange_code' THEN '' ELSE payment_id END, population.keyed(verb, n, i), at + interval '1 hour',
        '{"replayed": false, "id": "' || settlement_id || '", "payment": {"state": "held", "replayed": false, "confirmed": true, "id": "'
        || payment_id || '", "store_id": "' || store_id || '", "order_reference": "' || order_reference || '", "as_of": "' || at
        || '", "created_at": "' || at || '", "expires_at": "' || at || '", "held": ' || money || ', "balance": ' || money
        || ', "settled": ' || money || ', "refunded": ' || money || ', "released": ' || money || '}}'
    FROM population.round, unnest(ARRAY['exchange_code', 'settle_payment', 'refund_payment']) AS verb,
        LATERAL (SELECT '{"currency": "' || currency || '", "amount_minor": ' || balance_minor || '}') AS m(money)
    WHERE has_payment AND CASE verb WHEN 'settle_payment' THEN has_settled WHEN 'refund_payment' THEN refunded_minor > 0 ELSE true END
) AS asked
ORDER BY 1, 2;
