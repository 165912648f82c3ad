-- Letters to holders: queued in the transaction that wants them sent, sent by the worker. Not append-only: a state moves on.
-- A row holds neither address nor claim key (both are found when the letter is sent); facts hold no name, secret or code.
-- due_at is moved on before every try, so that a killed worker leaves the letter to the next one; tries counts the tries
-- that were begun, except those that never reached the mail server. last_error holds SMTP numbers or the name of an error,
-- never the server's words, which may repeat the address.
-- The service role needs SELECT, INSERT, and UPDATE (state, tries, due_at, sent_at, last_error); no DELETE.

CREATE TABLE letter (
    id          text COLLATE "C" NOT NULL CONSTRAINT letter_pkey PRIMARY KEY,
    kind        text NOT NULL,
    card_id     text COLLATE "C" NOT NULL CONSTRAINT letter_card_id_fkey REFERENCES card (id),
    link_id     text COLLATE "C",
    facts       jsonb NOT NULL,
    state       text NOT NULL,
    tries       integer NOT NULL,
    due_at      timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    sent_at     timestamptz,
    last_error  text,
    CONSTRAINT letter_card_id_link_id_fkey FOREIGN KEY (card_id, link_id) REFERENCES claim_link (card_id, id),
    CONSTRAINT letter_kind_known CHECK (kind IN ('claim', 'reissue', 'new_link', 'hold_expired', 'receipt', 'refund')),
    CONSTRAINT letter_state_known CHECK (state IN ('queued', 'sent', 'failed', 'dropped')),
    CONSTRAINT letter_facts_object CHECK (jsonb_typeof(facts) = 'object'),
    CONSTRAINT letter_tries_counted CHECK (tries >= 0),
    CONSTRAINT letter_sent_at_told CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT letter_error_short CHECK (length(last_error) <= 200)
);

CREATE INDEX letter_due ON letter (due_at) WHERE state = 'queued';
CREATE INDEX letter_link ON letter (link_id) WHERE link_id IS NOT NULL;
