-- Changed with each try, so that pages need room for another version of a row, and no index but the key's.
CREATE TABLE guard_count (
    key BYTEA NOT NULL,
    level FLOAT NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    free_at TIMESTAMP WITH TIME ZONE NOT NULL,
    halved_at TIMESTAMP WITH TIME ZONE,
    budget INTEGER,
    budgeted_at TIMESTAMP WITH TIME ZONE,
    over_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT guard_count_pkey PRIMARY KEY (key),
    CONSTRAINT guard_count_key_short CHECK (octet_length(key) = 16),
    CONSTRAINT guard_count_level CHECK (level >= 0),
    CONSTRAINT guard_count_budgeted CHECK ((budget IS NULL) = (budgeted_at IS NULL))
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON guard_count TO scrip_service;
GRANT SELECT ON guard_count TO scrip_reader;
