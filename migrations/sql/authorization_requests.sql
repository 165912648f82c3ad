-- Where a store's client may send its shoppers back to; nowhere, until an operator says so.
ALTER TABLE client ADD COLUMN redirect_uris TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE client ADD CONSTRAINT client_redirect_uris_of_store CHECK (cardinality(redirect_uris) <= CASE WHEN store_id IS NULL THEN 0 ELSE 10 END);
GRANT UPDATE (redirect_uris) ON client TO scrip_service;

-- The approval that opened a payment alone stands behind it: so far no store has fetched it, and it may be given back.
ALTER TABLE payment ADD COLUMN provisional BOOLEAN NOT NULL DEFAULT false;
GRANT UPDATE (provisional) ON payment TO scrip_service;

-- A store's wish to take a payment from whoever types a card's code at our page, and what became of it. What it asks for is
-- written once; deleted when it is of no more use. It holds hashes of keys, so the reader has no business here.
CREATE TABLE authorization_request (
    id TEXT COLLATE "C" NOT NULL,
    uri_hash BYTEA NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    state_given TEXT,
    scope TEXT,
    code_challenge TEXT NOT NULL,
    dpop_jkt TEXT,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    order_reference TEXT NOT NULL,
    shopper_key TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE,
    browser_hash BYTEA,
    tries SMALLINT NOT NULL,
    tried_at TIMESTAMP WITH TIME ZONE,
    card_id TEXT COLLATE "C",
    card_code_id TEXT COLLATE "C",
    payment_id TEXT COLLATE "C",
    opened_payment BOOLEAN NOT NULL,
    approved_minor BIGINT,
    approved_at TIMESTAMP WITH TIME ZONE,
    code_hash BYTEA,
    code_expires_at TIMESTAMP WITH TIME ZONE,
    token_jti TEXT COLLATE "C",
    token_expires_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT authorization_request_pkey PRIMARY KEY (id),
    CONSTRAINT authorization_request_uri_hash_key UNIQUE (uri_hash),
    CONSTRAINT authorization_request_code_hash_key UNIQUE (code_hash),
    CONSTRAINT authorization_request_client_id_fkey FOREIGN KEY(client_id) REFERENCES client (id),
    CONSTRAINT authorization_request_store_id_mode_fkey FOREIGN KEY(store_id, mode) REFERENCES store (id, mode),
    CONSTRAINT authorization_request_card_id_card_code_id_fkey FOREIGN KEY(card_id, card_code_id) REFERENCES code (card_id, id),
    CONSTRAINT authorization_request_payment_id_card_id_store_id_fkey FOREIGN KEY(payment_id, card_id, store_id) REFERENCES payment (id, card_id, store_id),
    CONSTRAINT authorization_request_uri_sha256 CHECK (octet_length(uri_hash) = 32),
    CONSTRAINT authorization_request_browser_sha256 CHECK (octet_length(browser_hash) = 32),
    CONSTRAINT authorization_request_code_sha256 CHECK (octet_length(code_hash) = 32),
    CONSTRAINT authorization_request_amount CHECK (amount_minor > 0),
    CONSTRAINT authorization_request_tries CHECK (0 <= tries AND tries <= 5),
    CONSTRAINT authorization_request_state CHECK (state IN ('pushed', 'opened', 'approved', 'redeemed', 'released', 'cancelled', 'exhausted')),
    CONSTRAINT authorization_request_opened CHECK ((state = 'pushed') = (opened_at IS NULL) AND (opened_at IS NULL) = (browser_hash IS NULL)),
    CONSTRAINT authorization_request_card_by_code CHECK ((card_id IS NULL) = (card_code_id IS NULL)),
    CONSTRAINT authorization_request_approved CHECK ((payment_id IS NOT NULL) = (approved_at IS NOT NULL) AND (approved_at IS NULL OR card_id IS NOT NULL)),
    CONSTRAINT authorization_request_payment_of_state CHECK (CASE WHEN state IN ('approved', 'redeemed', 'released') THEN approved_at IS NOT NULL ELSE state = 'cancelled' OR approved_at IS NULL END),
    CONSTRAINT authorization_request_code_of_state CHECK ((code_hash IS NOT NULL) = (state IN ('approved', 'redeemed'))),
    CONSTRAINT authorization_request_code_expires CHECK ((approved_at IS NULL) = (code_expires_at IS NULL)),
    CONSTRAINT authorization_request_redeemed CHECK ((state = 'redeemed') = (token_jti IS NOT NULL) AND (token_jti IS NULL) = (token_expires_at IS NULL)),
    CONSTRAINT authorization_request_ended CHECK ((ended_at IS NULL) = (state IN ('pushed', 'opened', 'approved')))
);
CREATE INDEX authorization_request_by_age ON authorization_request (created_at);
-- Of two requests that lead to one payment, one alone gives it back.
CREATE UNIQUE INDEX authorization_request_one_to_release ON authorization_request (payment_id) WHERE state = 'approved' AND opened_payment;
CREATE INDEX authorization_request_to_release ON authorization_request (code_expires_at) WHERE state = 'approved';
GRANT SELECT, INSERT, DELETE ON authorization_request TO scrip_service;
GRANT UPDATE (
    state, expires_at, opened_at, browser_hash, tries, tried_at, card_id, card_code_id, payment_id, opened_payment, approved_minor,
    approved_at, code_hash, code_expires_at, token_jti, token_expires_at, ended_at
) ON authorization_request TO scrip_service;
