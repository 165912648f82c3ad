-- The same request twice: its first answer.
CREATE TABLE request (
    party_id TEXT COLLATE "C" NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    operation TEXT NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    content_hmac BYTEA NOT NULL,
    answer JSONB,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT request_pkey PRIMARY KEY (party_id, reference)
);
