-- The organisation that funds cards.
CREATE TABLE issuer (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT issuer_pkey PRIMARY KEY (id),
    CONSTRAINT issuer_id_mode_key UNIQUE (id, mode),
    CONSTRAINT issuer_mode CHECK (mode IN ('live', 'test'))
);

-- An issuer's set of terms.
CREATE TABLE programme (
    id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    card_min_minor BIGINT NOT NULL,
    card_max_minor BIGINT NOT NULL,
    valid_days INTEGER NOT NULL,
    link_policy TEXT NOT NULL,
    hold_ttl_s INTEGER NOT NULL,
    confirmed_ttl_s INTEGER NOT NULL,
    hold_max_s INTEGER NOT NULL,
    all_stores BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT programme_pkey PRIMARY KEY (id),
    CONSTRAINT programme_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT programme_id_mode_key UNIQUE (id, mode),
    CONSTRAINT programme_id_issuer_id_mode_currency_key UNIQUE (id, issuer_id, mode, currency),
    CONSTRAINT programme_card_limits CHECK (0 < card_min_minor AND card_min_minor <= card_max_minor),
    CONSTRAINT programme_valid_days CHECK (valid_days > 0),
    CONSTRAINT programme_link_policy CHECK (link_policy IN ('single_use', 'fresh_code_each_open')),
    CONSTRAINT programme_hold_times CHECK (0 < hold_ttl_s AND hold_ttl_s <= hold_max_s AND 0 < confirmed_ttl_s AND confirmed_ttl_s <= hold_max_s)
);
CREATE INDEX programme_by_issuer ON programme (issuer_id, id);

-- Which stores may take the cards of a programme that is not for all.
CREATE TABLE programme_store (
    programme_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    CONSTRAINT programme_store_pkey PRIMARY KEY (programme_id, store_id),
    CONSTRAINT programme_store_programme_id_mode_fkey FOREIGN KEY(programme_id, mode) REFERENCES programme (id, mode)
);

-- Stored value that survives reissue; its balance is its ledger account's.
CREATE TABLE card (
    id TEXT COLLATE "C" NOT NULL,
    programme_id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    currency TEXT NOT NULL,
    issued_minor BIGINT NOT NULL,
    state TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    holder_sealed BYTEA NOT NULL,
    email_hash BYTEA NOT NULL,
    order_reference TEXT,
    issuer_metadata JSONB NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT card_pkey PRIMARY KEY (id),
    CONSTRAINT card_programme_id_issuer_id_mode_currency_fkey FOREIGN KEY(programme_id, issuer_id, mode, currency) REFERENCES programme (id, issuer_id, mode, currency),
    CONSTRAINT card_id_mode_currency_key UNIQUE (id, mode, currency),
    CONSTRAINT card_account_is_its_own CHECK (account_id = id || ':card:' || currency),
    CONSTRAINT card_state CHECK (state IN ('active', 'spent', 'lapsed'))
);
CREATE INDEX card_by_issuer ON card (issuer_id, id);
CREATE INDEX card_by_order_reference ON card (issuer_id, order_reference);
CREATE INDEX card_to_lapse ON card (expires_at) WHERE state = 'active';

-- One offer to claim a card.
CREATE TABLE claim_link (
    id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE,
    opened_by TEXT,
    nonce_hash BYTEA,
    CONSTRAINT claim_link_pkey PRIMARY KEY (id),
    CONSTRAINT claim_link_card_id_id_key UNIQUE (card_id, id),
    CONSTRAINT claim_link_state CHECK (state IN ('waiting', 'opened', 'superseded', 'lapsed')),
    CONSTRAINT claim_link_opened_at CHECK ((state = 'opened') = (opened_at IS NOT NULL)),
    CONSTRAINT claim_link_card_id_fkey FOREIGN KEY(card_id) REFERENCES card (id)
);
CREATE UNIQUE INDEX claim_link_one_waiting ON claim_link (card_id) WHERE state = 'waiting';
CREATE INDEX claim_link_to_lapse ON claim_link (expires_at) WHERE state = 'waiting';

-- Keyed hashes of claim keys: never the keys.
CREATE TABLE claim_key (
    key_hash BYTEA NOT NULL,
    link_id TEXT COLLATE "C" NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT claim_key_pkey PRIMARY KEY (key_hash),
    CONSTRAINT claim_key_link_id_fkey FOREIGN KEY(link_id) REFERENCES claim_link (id)
);
CREATE INDEX claim_key_by_link ON claim_key (link_id);

-- Codes: only their Argon2id hash, and only until they die.
CREATE TABLE code (
    id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    link_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    hash BYTEA,
    pepper_epoch INTEGER NOT NULL,
    store_id TEXT COLLATE "C",
    shopper_key TEXT,
    order_reference TEXT,
    bound_until TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    died_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT code_pkey PRIMARY KEY (id),
    CONSTRAINT code_card_id_link_id_fkey FOREIGN KEY(card_id, link_id) REFERENCES claim_link (card_id, id),
    CONSTRAINT code_card_id_id_key UNIQUE (card_id, id),
    CONSTRAINT code_hash_key UNIQUE (hash),
    CONSTRAINT code_state CHECK (state IN ('live', 'bound', 'dead')),
    CONSTRAINT code_hash_erased_at_death CHECK ((state = 'dead') = (hash IS NULL)),
    CONSTRAINT code_died_at CHECK ((state = 'dead') = (died_at IS NOT NULL)),
    CONSTRAINT code_bound_to CHECK (state <> 'bound' OR (store_id IS NOT NULL AND bound_until IS NOT NULL)),
    CONSTRAINT code_live_is_nobodys CHECK (state <> 'live' OR store_id IS NULL)
);
CREATE UNIQUE INDEX code_one_not_dead ON code (card_id) WHERE state <> 'dead';
CREATE INDEX code_to_die ON code (bound_until) WHERE state = 'bound';

-- One card, one key: the single secret through which the value can be reached now.
CREATE TABLE card_key (
    card_id TEXT COLLATE "C" NOT NULL,
    link_id TEXT COLLATE "C",
    code_id TEXT COLLATE "C",
    payment_id TEXT COLLATE "C",
    CONSTRAINT card_key_pkey PRIMARY KEY (card_id),
    CONSTRAINT card_key_card_id_link_id_fkey FOREIGN KEY(card_id, link_id) REFERENCES claim_link (card_id, id),
    CONSTRAINT card_key_card_id_code_id_fkey FOREIGN KEY(card_id, code_id) REFERENCES code (card_id, id),
    CONSTRAINT card_key_only_one CHECK (num_nonnulls(link_id, code_id) <= 1),
    CONSTRAINT card_key_payment_has_code CHECK (payment_id IS NULL OR code_id IS NOT NULL),
    CONSTRAINT card_key_card_id_fkey FOREIGN KEY(card_id) REFERENCES card (id)
);
