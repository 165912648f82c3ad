-- client
-- The service role needs SELECT, INSERT and UPDATE (disabled_at).
CREATE TABLE client (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    issuer_id TEXT COLLATE "C",
    store_id TEXT COLLATE "C",
    scopes TEXT[] NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT client_pkey PRIMARY KEY (id),
    CONSTRAINT client_name_filled CHECK (name <> ''),
    CONSTRAINT client_mode_known CHECK (mode IN ('live', 'test')),
    CONSTRAINT client_of_one_party CHECK (num_nonnulls(issuer_id, store_id) = 1),
    CONSTRAINT client_scopes_of_party CHECK (cardinality(scopes) > 0 AND scopes <@ CASE WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill'] ELSE ARRAY['issue'] END),
    CONSTRAINT client_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT client_store_id_mode_fkey FOREIGN KEY(store_id, mode) REFERENCES store (id, mode)
);
CREATE INDEX client_by_issuer ON client (issuer_id, id) WHERE issuer_id IS NOT NULL;
CREATE INDEX client_by_store ON client (store_id, id) WHERE store_id IS NOT NULL;

-- client_secret
-- The service role needs SELECT, INSERT and UPDATE (last_used_at, retired_at).
CREATE TABLE client_secret (
    id TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    slot SMALLINT NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT client_secret_pkey PRIMARY KEY (id),
    CONSTRAINT client_secret_secret_hash_key UNIQUE (secret_hash),
    CONSTRAINT client_secret_hash_sha256 CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT client_secret_slot_known CHECK (slot IN (1, 2)),
    CONSTRAINT client_secret_client_id_fkey FOREIGN KEY(client_id) REFERENCES client (id)
);
-- At most two secrets of a client are live, whatever the service does.
CREATE UNIQUE INDEX client_secret_two_live ON client_secret (client_id, slot) WHERE retired_at IS NULL;

-- signing_key
-- The service role needs SELECT, INSERT and UPDATE (state, private_sealed, activated_at, retires_at, retired_at).
CREATE TABLE signing_key (
    kid TEXT COLLATE "C" NOT NULL,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    public_jwk JSONB NOT NULL,
    private_sealed BYTEA,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    activated_at TIMESTAMP WITH TIME ZONE,
    retires_at TIMESTAMP WITH TIME ZONE,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT signing_key_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_key_purpose_known CHECK (purpose IN ('access', 'balance')),
    CONSTRAINT signing_key_state_known CHECK (state IN ('next', 'active', 'retiring', 'retired')),
    CONSTRAINT signing_key_activated CHECK (CASE state WHEN 'next' THEN activated_at IS NULL WHEN 'retired' THEN true ELSE activated_at IS NOT NULL END),
    CONSTRAINT signing_key_retires CHECK ((retires_at IS NOT NULL) = (state IN ('retiring', 'retired'))),
    CONSTRAINT signing_key_retired CHECK ((retired_at IS NOT NULL) = (state = 'retired')),
    CONSTRAINT signing_key_private_erased CHECK ((private_sealed IS NULL) = (state = 'retired'))
);
CREATE UNIQUE INDEX signing_key_one_next ON signing_key (purpose) WHERE state = 'next';
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (purpose) WHERE state = 'active';
