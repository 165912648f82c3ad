-- One small row for each client and address that has asked lately. After a crash of the server the counts begin at
-- nothing, which costs nobody anything: so they are not logged, no commit waits for the disk, and no standby gets them.
-- The rows are written again and again: room in each page keeps the new versions beside the old.
CREATE UNLOGGED TABLE request_limit (
    key BYTEA NOT NULL,
    window_s INTEGER NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    previous INTEGER NOT NULL,
    current INTEGER NOT NULL,
    passed BOOLEAN NOT NULL,
    CONSTRAINT request_limit_pkey PRIMARY KEY (key),
    CONSTRAINT request_limit_key_sha256 CHECK (octet_length(key) = 32),
    CONSTRAINT request_limit_counts CHECK (window_s > 0 AND previous >= 0 AND current >= 0)
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON request_limit TO scrip_service;
