-- No page may show a store's field until an operator names its origin.
ALTER TABLE store ADD COLUMN origins TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE store ADD CONSTRAINT store_origins_few CHECK (cardinality(origins) <= 10);
GRANT UPDATE (origins) ON store TO scrip_service;

-- Inserted once, spent once, and deleted when its time is over.
CREATE TABLE code_token (
    hash BYTEA NOT NULL,
    code_id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    shopper_key TEXT,
    order_reference TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    spent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT code_token_pkey PRIMARY KEY (hash),
    CONSTRAINT code_token_store_id_fkey FOREIGN KEY(store_id) REFERENCES store (id),
    CONSTRAINT code_token_card_id_code_id_fkey FOREIGN KEY(card_id, code_id) REFERENCES code (card_id, id),
    CONSTRAINT code_token_hash_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT code_token_amount CHECK (amount_minor > 0)
);
CREATE INDEX code_token_by_end ON code_token (expires_at);
GRANT SELECT, INSERT, DELETE ON code_token TO scrip_service;
GRANT UPDATE (spent_at) ON code_token TO scrip_service;
