-- Inserted once, and deleted when its time is over.
CREATE TABLE revoked_token (
    jti TEXT COLLATE "C" NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT revoked_token_pkey PRIMARY KEY (jti)
);
CREATE INDEX revoked_token_by_end ON revoked_token (expires_at);
GRANT SELECT ON revoked_token TO scrip_service, scrip_reader;
GRANT INSERT, DELETE ON revoked_token TO scrip_service;
