-- Every client that there is has a secret, and no keys.
ALTER TABLE client ADD COLUMN auth_method TEXT NOT NULL DEFAULT 'client_secret_basic';
ALTER TABLE client ADD COLUMN jwks JSONB;
ALTER TABLE client ADD CONSTRAINT client_auth_method_known CHECK (auth_method IN ('client_secret_basic', 'private_key_jwt'));
ALTER TABLE client ADD CONSTRAINT client_keys_of_method CHECK ((auth_method = 'private_key_jwt') = (jwks IS NOT NULL));
GRANT UPDATE (jwks) ON client TO scrip_service;

-- Inserted once, and deleted when its time is over.
CREATE TABLE spent_assertion (
    hash BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT spent_assertion_pkey PRIMARY KEY (hash),
    CONSTRAINT spent_assertion_hash_sha256 CHECK (octet_length(hash) = 32)
);
CREATE INDEX spent_assertion_by_end ON spent_assertion (expires_at);
GRANT SELECT ON spent_assertion TO scrip_service, scrip_reader;
GRANT INSERT, DELETE ON spent_assertion TO scrip_service;
