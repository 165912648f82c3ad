-- A store's bill, as it arrived. The row is the job as well: the worker takes what is `received`, reads it, and matches it.
CREATE TABLE bill (
    id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    reference TEXT NOT NULL,
    period TEXT NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT NOT NULL,
    media_type TEXT NOT NULL,
    content_sha256 BYTEA NOT NULL,
    received_by TEXT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'received' NOT NULL,
    unreadable_because TEXT,
    lines INTEGER,
    wrong_lines INTEGER,
    matched_lines INTEGER,
    broken_lines INTEGER,
    read_at TIMESTAMP WITH TIME ZONE,
    matched_at TIMESTAMP WITH TIME ZONE,
    closed_by TEXT,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT bill_pkey PRIMARY KEY (id),
    CONSTRAINT bill_store_id_mode_fkey FOREIGN KEY(store_id, mode) REFERENCES store (id, mode),
    CONSTRAINT bill_store_id_reference_key UNIQUE (store_id, reference),
    CONSTRAINT bill_id_store_id_mode_key UNIQUE (id, store_id, mode),
    CONSTRAINT bill_period CHECK (period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    CONSTRAINT bill_as_of CHECK (as_of <= received_at),
    CONSTRAINT bill_source CHECK (source IN ('api', 'file', 'self')),
    CONSTRAINT bill_content_sha256 CHECK (octet_length(content_sha256) = 32),
    CONSTRAINT bill_state CHECK (state IN ('received', 'read', 'matched', 'unreadable', 'approved', 'rejected')),
    CONSTRAINT bill_unreadable CHECK ((state = 'unreadable') = (unreadable_because IS NOT NULL)),
    CONSTRAINT bill_closed CHECK ((state IN ('approved', 'rejected')) = (closed_at IS NOT NULL) AND (closed_by IS NULL) = (closed_at IS NULL)),
    CONSTRAINT bill_counts CHECK (
        (state IN ('received', 'unreadable', 'rejected') OR (lines IS NOT NULL AND wrong_lines IS NOT NULL AND read_at IS NOT NULL))
        AND (state IN ('received', 'unreadable', 'read', 'rejected') OR (matched_lines + broken_lines = lines AND matched_at IS NOT NULL)) IS TRUE
    )
);
CREATE INDEX bill_by_store ON bill (store_id, id);
CREATE INDEX bill_to_do ON bill (id) WHERE state IN ('received', 'read');

-- The file itself, in parts, so that nobody ever holds a large one in memory.
CREATE TABLE bill_part (
    bill_id TEXT COLLATE "C" NOT NULL,
    place INTEGER NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT bill_part_pkey PRIMARY KEY (bill_id, place),
    CONSTRAINT bill_part_bill_id_fkey FOREIGN KEY(bill_id) REFERENCES bill (id),
    CONSTRAINT bill_part_place CHECK (place >= 0)
);

-- A line that could be read, by its number in the file. An amount below zero gives back what an earlier bill took.
CREATE TABLE bill_line (
    bill_id TEXT COLLATE "C" NOT NULL,
    line_no INTEGER NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    order_reference TEXT,
    CONSTRAINT bill_line_pkey PRIMARY KEY (bill_id, line_no),
    CONSTRAINT bill_line_amount CHECK (amount_minor <> 0)
);

-- A line that could not be read: why, and how it began.
CREATE TABLE bill_wrong_line (
    bill_id TEXT COLLATE "C" NOT NULL,
    line_no INTEGER NOT NULL,
    reason TEXT NOT NULL,
    begins TEXT NOT NULL,
    CONSTRAINT bill_wrong_line_pkey PRIMARY KEY (bill_id, line_no)
);

-- In place of a foreign key, which would look up the same bill once for each of a million lines.
CREATE FUNCTION check_bill_of_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM (SELECT DISTINCT bill_id FROM added) AS of_lines WHERE NOT EXISTS (SELECT 1 FROM bill WHERE bill.id = of_lines.bill_id);
    IF FOUND THEN
        RAISE EXCEPTION 'a line is of no bill' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bill_of_lines_exists AFTER INSERT ON bill_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_bill_of_lines();
ALTER TABLE bill_line ENABLE ALWAYS TRIGGER bill_of_lines_exists;
CREATE TRIGGER bill_of_wrong_lines_exists AFTER INSERT ON bill_wrong_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_bill_of_lines();
ALTER TABLE bill_wrong_line ENABLE ALWAYS TRIGGER bill_of_wrong_lines_exists;

-- What a bill takes up: a settlement, or a refund with its amount below zero. The primary key is the promise that each is billed
-- once, ever. Without a line number it is a credit: a refund that no line names, of a payment that was billed before.
-- There is no foreign key to the bill, and no index by payment, for with a million lines each costs as much as all the rest:
-- the trigger below looks at the bill once for all of them, and a payment's own rows are found by its settlements and refunds.
CREATE TABLE billed (
    movement_id TEXT COLLATE "C" NOT NULL,
    bill_id TEXT COLLATE "C" NOT NULL,
    line_no INTEGER,
    payment_id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    programme_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    CONSTRAINT billed_pkey PRIMARY KEY (movement_id),
    CONSTRAINT billed_amount CHECK ((amount_minor > 0) = (movement_id LIKE 'set\_%') AND (amount_minor < 0) = (movement_id LIKE 'ref\_%')),
    CONSTRAINT billed_credit CHECK (line_no IS NOT NULL OR amount_minor < 0)
);
CREATE INDEX billed_by_bill ON billed (bill_id, line_no);

-- What a bill takes up is borne out by a settlement or refund of its own store, with the same amount, payment and card, and by that
-- card's issuer, programme and currency; and only while the bill is open. A statement is of one bill, and all of its rows are looked
-- at together, planned for as many as there are: a plan that was kept from ten would look a million up one by one.
CREATE FUNCTION bear_out_billed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    one record;
    bill_of record;
    is_borne_out boolean;
BEGIN
    SELECT count(*) AS rows, min(bill_id) AS bill_id, max(bill_id) AS last_bill_id INTO one FROM taken;
    -- whoever approves or rejects the bill has it locked, and comes before or after
    SELECT store_id, mode, as_of INTO bill_of FROM public.bill WHERE id = one.bill_id AND state IN ('read', 'matched') FOR SHARE;
    EXECUTE $check$
        SELECT count(*) = $1 FROM taken AS t
        JOIN (
            SELECT id, payment_id, card_id, store_id, amount_minor, at FROM public.settlement
            UNION ALL SELECT id, payment_id, card_id, store_id, -amount_minor, at FROM public.refund
        ) AS m ON m.id = t.movement_id AND m.amount_minor = t.amount_minor AND m.payment_id = t.payment_id AND m.card_id = t.card_id
        JOIN public.card AS c ON c.id = t.card_id AND c.issuer_id = t.issuer_id AND c.programme_id = t.programme_id AND c.currency = t.currency
        WHERE t.store_id = $2 AND m.store_id = $2 AND m.at < $3 AND c.mode = $4
    $check$ INTO is_borne_out USING one.rows, bill_of.store_id, bill_of.as_of, bill_of.mode;
    IF one.rows > 0 AND (is_borne_out AND one.bill_id = one.last_bill_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'nothing bears out what a bill takes up' USING ERRCODE = 'check_violation', CONSTRAINT = 'billed_borne_out';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION bear_out_billed() FROM PUBLIC;
CREATE TRIGGER billed_borne_out AFTER INSERT ON billed REFERENCING NEW TABLE AS taken FOR EACH STATEMENT EXECUTE FUNCTION bear_out_billed();
ALTER TABLE billed ENABLE ALWAYS TRIGGER billed_borne_out;

-- A closed bill gives nothing back.
CREATE FUNCTION keep_billed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM public.bill WHERE id IN (SELECT bill_id FROM given_back) FOR SHARE;
    IF EXISTS (SELECT FROM public.bill WHERE id IN (SELECT bill_id FROM given_back) AND state NOT IN ('read', 'matched')) THEN
        RAISE EXCEPTION 'a closed bill gives nothing back' USING ERRCODE = 'check_violation', CONSTRAINT = 'billed_kept';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_billed() FROM PUBLIC;
CREATE TRIGGER billed_kept AFTER DELETE ON billed REFERENCING OLD TABLE AS given_back FOR EACH STATEMENT EXECUTE FUNCTION keep_billed();
ALTER TABLE billed ENABLE ALWAYS TRIGGER billed_kept;
CREATE TRIGGER billed_stays BEFORE UPDATE OR TRUNCATE ON billed FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE billed ENABLE ALWAYS TRIGGER billed_stays;

-- Why a line did not match, and what becomes of it. `expected_minor`: what the line's payment came to, where it is this store's, in
-- this currency, and named by no line before.
-- `would_claim_minor` and `would_pay_minor` are what the proposal comes to, as it was made. Once the break is closed, `issuer_id` is
-- the issuer that pays, and `paid_minor` what is paid for the line: never more than what it takes up (`claimed_minor`), but for what
-- a second person writes off.
CREATE TABLE bill_break (
    id TEXT COLLATE "C" NOT NULL,
    bill_id TEXT COLLATE "C" NOT NULL,
    line_no INTEGER NOT NULL,
    kind TEXT NOT NULL,
    other_bill_id TEXT COLLATE "C",
    expected_minor BIGINT,
    issuer_id TEXT COLLATE "C",
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    assignee TEXT,
    proposal_id TEXT COLLATE "C",
    proposal TEXT,
    proposed_payment_id TEXT COLLATE "C",
    proposed_issuer_id TEXT COLLATE "C",
    would_claim_minor BIGINT,
    would_pay_minor BIGINT,
    reason TEXT,
    proposed_by TEXT,
    proposed_at TIMESTAMP WITH TIME ZONE,
    approved_by TEXT,
    approved_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    claimed_minor BIGINT,
    paid_minor BIGINT,
    CONSTRAINT bill_break_pkey PRIMARY KEY (id),
    CONSTRAINT bill_break_bill_id_line_no_fkey FOREIGN KEY(bill_id, line_no) REFERENCES bill_line (bill_id, line_no),
    CONSTRAINT bill_break_bill_id_line_no_key UNIQUE (bill_id, line_no),
    CONSTRAINT bill_break_other_bill_id_fkey FOREIGN KEY(other_bill_id) REFERENCES bill (id),
    CONSTRAINT bill_break_proposed_issuer_id_fkey FOREIGN KEY(proposed_issuer_id) REFERENCES issuer (id),
    CONSTRAINT bill_break_kind CHECK (kind IN (
        'unknown_payment', 'other_mode', 'not_this_store', 'currency_mismatch', 'duplicate_line', 'voided', 'already_billed',
        'not_settled', 'refunded_after', 'amount_over', 'amount_under'
    )),
    CONSTRAINT bill_break_state CHECK (
        CASE state
            WHEN 'proposed' THEN proposal IN ('pay_smaller', 'match_payment', 'write_off', 'reject')
            WHEN 'resolved' THEN proposal IN ('pay_smaller', 'match_payment', 'tolerance')
            WHEN 'written_off' THEN proposal = 'write_off'
            WHEN 'rejected' THEN proposal = 'reject'
            WHEN 'assigned' THEN proposal IS NULL AND assignee IS NOT NULL
            ELSE state IN ('open', 'reopened') AND proposal IS NULL
        END IS TRUE
    ),
    CONSTRAINT bill_break_proposed CHECK (
        num_nulls(proposal, proposed_by, proposed_at) IN (0, 3)
        AND num_nulls(proposal_id, would_claim_minor, would_pay_minor) = CASE WHEN proposal <> 'tolerance' THEN 0 ELSE 3 END
        AND (proposed_payment_id IS NOT NULL) = (proposal IS NOT DISTINCT FROM 'match_payment')
        AND (proposed_issuer_id IS NULL OR proposal IS NOT DISTINCT FROM 'write_off')
    ),
    CONSTRAINT bill_break_closed CHECK (
        (state IN ('resolved', 'written_off', 'rejected')) = (closed_at IS NOT NULL)
        AND num_nulls(approved_by, approved_at, closed_at) IN (0, 3)
    ),
    CONSTRAINT bill_break_paid CHECK (
        (state IN ('resolved', 'written_off')) = (paid_minor IS NOT NULL)
        AND num_nulls(paid_minor, claimed_minor) IN (0, 2)
        AND (paid_minor IS NULL OR issuer_id IS NOT NULL AND (paid_minor > claimed_minor) = (state = 'written_off'))
    ),
    CONSTRAINT bill_break_four_eyes CHECK (proposal NOT IN ('write_off', 'match_payment') OR approved_by <> proposed_by)
);
CREATE INDEX bill_break_open ON bill_break (id) WHERE closed_at IS NULL;
CREATE INDEX bill_break_other_bill ON bill_break (other_bill_id) WHERE other_bill_id IS NOT NULL;

-- How far an issuer lets a line differ from what is owed before a person looks at it.
CREATE TABLE tolerance (
    issuer_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    tolerance_minor BIGINT NOT NULL,
    CONSTRAINT tolerance_pkey PRIMARY KEY (issuer_id, currency),
    CONSTRAINT tolerance_issuer_id_fkey FOREIGN KEY(issuer_id) REFERENCES issuer (id),
    CONSTRAINT tolerance_not_negative CHECK (tolerance_minor >= 0)
);

GRANT SELECT ON bill, bill_part, bill_line, bill_wrong_line, billed, bill_break, tolerance TO scrip_service, scrip_reader;
GRANT INSERT (
    id, store_id, mode, reference, period, as_of, source, media_type, content_sha256, received_by, received_at
) ON bill TO scrip_service;
GRANT UPDATE (
    state, unreadable_because, lines, wrong_lines, matched_lines, broken_lines, read_at, matched_at, closed_by, closed_at
) ON bill TO scrip_service;
GRANT INSERT ON bill_part, bill_line, bill_wrong_line, tolerance TO scrip_service;
GRANT INSERT, DELETE ON billed TO scrip_service;
GRANT INSERT (
    id, bill_id, line_no, kind, other_bill_id, expected_minor, issuer_id, opened_at, state, proposal, proposed_by, proposed_at,
    approved_by, approved_at, closed_at, claimed_minor, paid_minor
) ON bill_break TO scrip_service;
GRANT UPDATE (
    issuer_id, state, assignee, proposal_id, proposal, proposed_payment_id, proposed_issuer_id, would_claim_minor, would_pay_minor,
    reason, proposed_by, proposed_at, approved_by, approved_at, closed_at, claimed_minor, paid_minor
) ON bill_break TO scrip_service;
GRANT UPDATE (tolerance_minor) ON tolerance TO scrip_service;
