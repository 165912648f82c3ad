-- What happened. Append-only.
CREATE TABLE event (
    id TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT,
    card_id TEXT COLLATE "C",
    payment_id TEXT COLLATE "C",
    facts JSONB NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (id)
);
CREATE INDEX event_by_card ON event (card_id, at, id);
