-- What a client, or an issuer over all of its clients, may issue in a day, and what it has issued of that. A row of its own
-- for each currency: only issuing in the same currency waits for it. It is never deleted: a limit would be forgotten with it.
CREATE TABLE issuing_limit (
    subject_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    limit_minor BIGINT,
    limit_cards BIGINT,
    used_minor NUMERIC NOT NULL,
    used_cards NUMERIC NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT issuing_limit_pkey PRIMARY KEY (subject_id, currency),
    CONSTRAINT issuing_limit_both CHECK ((limit_minor IS NULL) = (limit_cards IS NULL)),
    CONSTRAINT issuing_limit_not_negative CHECK (limit_minor >= 0 AND limit_cards >= 0),
    CONSTRAINT issuing_limit_used CHECK (used_minor >= 0 AND used_cards >= 0)
);
GRANT SELECT ON issuing_limit TO scrip_service, scrip_reader;
GRANT INSERT ON issuing_limit TO scrip_service;
GRANT UPDATE (limit_minor, limit_cards, used_minor, used_cards, as_of, told_at) ON issuing_limit TO scrip_service;

-- A higher limit needs two operators. What was asked for is written once, and cannot be inserted as decided.
CREATE TABLE issuing_limit_request (
    id TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    limit_minor BIGINT NOT NULL,
    limit_cards BIGINT NOT NULL,
    seen_minor BIGINT NOT NULL,
    seen_cards BIGINT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT issuing_limit_request_pkey PRIMARY KEY (id),
    CONSTRAINT issuing_limit_request_not_negative CHECK (limit_minor >= 0 AND limit_cards >= 0),
    CONSTRAINT issuing_limit_request_raises CHECK (limit_minor > seen_minor OR limit_cards > seen_cards),
    CONSTRAINT issuing_limit_request_reason CHECK (reason <> ''),
    CONSTRAINT issuing_limit_request_state CHECK (state IN ('waiting', 'approved', 'rejected')),
    CONSTRAINT issuing_limit_request_decided
        CHECK ((state = 'waiting') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT issuing_limit_request_four_eyes CHECK (state <> 'approved' OR decided_by <> requested_by)
);
CREATE INDEX issuing_limit_request_waiting ON issuing_limit_request (requested_at) WHERE state = 'waiting';
GRANT SELECT ON issuing_limit_request TO scrip_service, scrip_reader;
GRANT INSERT (
    id, subject_id, currency, limit_minor, limit_cards, seen_minor, seen_cards, reason, requested_by, requested_at
) ON issuing_limit_request TO scrip_service;
GRANT UPDATE (state, decided_by, decided_at) ON issuing_limit_request TO scrip_service;
