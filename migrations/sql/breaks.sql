-- The finance of a mode may have clients too: a party without a row of its own.
ALTER TABLE client ADD COLUMN finance BOOLEAN DEFAULT false NOT NULL;
ALTER TABLE client DROP CONSTRAINT client_of_one_party;
ALTER TABLE client ADD CONSTRAINT client_of_one_party CHECK (num_nonnulls(issuer_id, store_id) + finance::int = 1);
ALTER TABLE client DROP CONSTRAINT client_scopes_of_party;
ALTER TABLE client ADD CONSTRAINT client_scopes_of_party CHECK (
    cardinality(scopes) > 0 AND scopes <@ (ARRAY['introspect', 'client.manage'] || CASE
        WHEN finance THEN ARRAY['finance.read', 'finance.work']
        WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill', 'guard.read']
        ELSE ARRAY['issue', 'guard.read'] END)
);

-- What is paid for a bill that was approved stands: nothing about its breaks changes any more.
CREATE FUNCTION refuse_break_of_closed_bill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM bill WHERE id = NEW.bill_id AND state IN ('approved', 'rejected')) THEN
        RAISE EXCEPTION 'the bill of this break is closed' USING ERRCODE = 'check_violation', CONSTRAINT = 'bill_break_of_open_bill';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bill_break_of_open_bill BEFORE INSERT OR UPDATE ON bill_break
    FOR EACH ROW EXECUTE FUNCTION refuse_break_of_closed_bill();
ALTER TABLE bill_break ENABLE ALWAYS TRIGGER bill_break_of_open_bill;

-- What people say about a break, and what they add to it. Both are only ever added.
CREATE TABLE bill_break_note (
    id TEXT COLLATE "C" NOT NULL,
    break_id TEXT COLLATE "C" NOT NULL,
    note TEXT NOT NULL,
    noted_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT bill_break_note_pkey PRIMARY KEY (id),
    CONSTRAINT bill_break_note_break_id_fkey FOREIGN KEY(break_id) REFERENCES bill_break (id),
    CONSTRAINT bill_break_note_length CHECK (length(note) BETWEEN 1 AND 2000)
);
CREATE INDEX bill_break_note_by_break ON bill_break_note (break_id, id);

CREATE TABLE bill_break_attachment (
    id TEXT COLLATE "C" NOT NULL,
    break_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    content_sha256 BYTEA NOT NULL,
    content BYTEA NOT NULL,
    attached_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT bill_break_attachment_pkey PRIMARY KEY (id),
    CONSTRAINT bill_break_attachment_break_id_fkey FOREIGN KEY(break_id) REFERENCES bill_break (id),
    CONSTRAINT bill_break_attachment_name CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT bill_break_attachment_media_type CHECK (length(media_type) BETWEEN 3 AND 100),
    CONSTRAINT bill_break_attachment_size CHECK (size = octet_length(content) AND size BETWEEN 1 AND 5242880),
    CONSTRAINT bill_break_attachment_sha256 CHECK (content_sha256 = sha256(content))
);
CREATE INDEX bill_break_attachment_by_break ON bill_break_attachment (break_id, id);

CREATE TRIGGER bill_break_note_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bill_break_note
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE bill_break_note ENABLE ALWAYS TRIGGER bill_break_note_append_only;
CREATE TRIGGER bill_break_attachment_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bill_break_attachment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE bill_break_attachment ENABLE ALWAYS TRIGGER bill_break_attachment_append_only;

GRANT SELECT ON bill_break_note, bill_break_attachment TO scrip_service, scrip_reader;
GRANT INSERT ON bill_break_note, bill_break_attachment TO scrip_service;
