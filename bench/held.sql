-- Held payments of one store, as exchange and confirm leave them; their identifiers are prefix and number, so that a script
-- can name them. FIRST, LAST, ISSUER, PROGRAMME, STORE, CURRENCY and MODE stand for what the caller gives.
CREATE TEMPORARY TABLE held AS
SELECT lpad(n::text, 26, '0') AS tail, 5000::bigint AS minor, now() - interval '1 hour' AS at FROM generate_series(FIRST, LAST) AS n;

INSERT INTO account (id, kind, owner_id, currency, mode, balance_minor)
SELECT 'card_' || tail || ':card:' || CURRENCY, 'card', 'card_' || tail, CURRENCY, MODE, minor FROM held;

INSERT INTO card (
    id, programme_id, issuer_id, account_id, mode, currency, issued_minor, state, expires_at, holder_sealed, email_hash,
    issuer_metadata, created_at
)
SELECT 'card_' || tail, PROGRAMME, ISSUER, 'card_' || tail || ':card:' || CURRENCY, MODE, CURRENCY, minor, 'active',
    at + interval '1825 days', sha256(tail::bytea) || sha256(tail::bytea), sha256(tail::bytea), '{}', at
FROM held;

INSERT INTO claim_link (id, card_id, state, reason, created_at, expires_at, opened_at, opened_by, nonce_hash)
SELECT 'link_' || tail, 'card_' || tail, 'opened', 'issue', at, at + interval '90 days', at, 'Firefox', sha256(tail::bytea) FROM held;

INSERT INTO code (id, card_id, link_id, state, hash, pepper_epoch, store_id, order_reference, bound_until, created_at)
SELECT 'code_' || tail, 'card_' || tail, 'link_' || tail, 'bound', sha256(tail::bytea), 1, STORE, 'order', at + interval '7 days', at FROM held;

INSERT INTO payment (
    id, card_id, code_id, store_id, mode, currency, state, order_reference, balance_minor, hold_minor, held_minor, settled_minor,
    released_minor, refunded_minor, expired_minor, created_at, confirmed_at, expires_at
)
SELECT 'pay_' || tail, 'card_' || tail, 'code_' || tail, STORE, MODE, CURRENCY, 'held', 'order', minor, minor, minor, 0, 0, 0, 0,
    at, at, at + interval '7 days'
FROM held;

INSERT INTO card_key (card_id, code_id, payment_id) SELECT 'card_' || tail, 'code_' || tail, 'pay_' || tail FROM held;

INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, at)
SELECT 'tra_' || tail, 'issue', ISSUER || ':funding:' || CURRENCY, 'card_' || tail || ':card:' || CURRENCY, minor, CURRENCY, MODE,
    'card_' || tail, at
FROM held;
