-- Inserted once, and deleted when its time is over: a solution is good once.
CREATE TABLE spent_captcha (
    signature BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT spent_captcha_pkey PRIMARY KEY (signature),
    CONSTRAINT spent_captcha_signature_sha256 CHECK (octet_length(signature) = 32)
);
CREATE INDEX spent_captcha_by_end ON spent_captcha (expires_at);
GRANT SELECT ON spent_captcha TO scrip_service, scrip_reader;
GRANT INSERT, DELETE ON spent_captcha TO scrip_service;
