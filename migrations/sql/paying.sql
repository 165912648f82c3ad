-- ── the books: kinds of account and of transfer that are borne out by documents, not by cards ───────────────────────────────

ALTER TABLE account DROP CONSTRAINT account_kind;
ALTER TABLE account ADD CONSTRAINT account_kind CHECK (kind IN (
    'funding', 'card', 'owed', 'breakage', 'bank', 'goodwill', 'fraud_loss', 'chargeback', 'in_transit', 'paid'
));

ALTER TABLE transfer ALTER COLUMN card_id DROP NOT NULL;
ALTER TABLE transfer ADD COLUMN document_id TEXT COLLATE "C";
ALTER TABLE transfer DROP CONSTRAINT transfer_kind;
ALTER TABLE transfer ADD CONSTRAINT transfer_kind CHECK (kind IN (
    'issue', 'settle', 'refund', 'lapse', 'send', 'arrive', 'return', 'goodwill', 'fund', 'adjust'
));
ALTER TABLE transfer DROP CONSTRAINT transfer_between;
ALTER TABLE transfer ADD CONSTRAINT transfer_between CHECK (
    CASE kind
        WHEN 'issue' THEN split_part(debit_id, ':', 2) = 'funding' AND credit_id = card_id || ':card:' || currency
        WHEN 'settle' THEN debit_id = card_id || ':card:' || currency AND split_part(credit_id, ':', 2) = 'owed'
        WHEN 'refund' THEN split_part(debit_id, ':', 2) = 'owed' AND credit_id = card_id || ':card:' || currency
        WHEN 'lapse' THEN debit_id = card_id || ':card:' || currency AND split_part(credit_id, ':', 2) = 'breakage'
        WHEN 'goodwill' THEN split_part(debit_id, ':', 2) = 'goodwill' AND split_part(credit_id, ':', 2) = 'owed'
        ELSE split_part(debit_id, ':', 1) = split_part(credit_id, ':', 1) AND CASE kind
            WHEN 'send' THEN split_part(debit_id, ':', 2) = 'owed' AND split_part(credit_id, ':', 2) = 'in_transit'
            WHEN 'arrive' THEN split_part(debit_id, ':', 2) = 'in_transit' AND split_part(credit_id, ':', 2) = 'paid'
            WHEN 'return' THEN split_part(debit_id, ':', 2) IN ('in_transit', 'paid') AND split_part(credit_id, ':', 2) = 'owed'
            WHEN 'fund' THEN split_part(debit_id, ':', 2) = 'bank' AND split_part(credit_id, ':', 2) = 'funding'
            WHEN 'adjust' THEN
                split_part(debit_id, ':', 2) = 'funding' AND split_part(credit_id, ':', 2) IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')
                OR split_part(credit_id, ':', 2) = 'funding' AND split_part(debit_id, ':', 2) IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')
        END
    END
);
ALTER TABLE transfer ADD CONSTRAINT transfer_of_card_or_document CHECK (
    (kind IN ('issue', 'settle', 'refund', 'lapse')) = (card_id IS NOT NULL) AND (card_id IS NULL) = (document_id IS NOT NULL)
);
CREATE UNIQUE INDEX transfer_one_of_document ON transfer (document_id, kind) WHERE document_id IS NOT NULL;
-- With the time, so that what was recorded since a moment is found without reading all that came before.
DROP INDEX transfer_by_credit;
CREATE INDEX transfer_by_credit ON transfer (credit_id, recorded_at);
DROP INDEX transfer_by_debit;
CREATE INDEX transfer_by_debit ON transfer (debit_id, recorded_at);

-- What an account of a store's came to by all that was recorded before `up_to`, which lies so far back that nobody can still be
-- writing before it.
CREATE TABLE account_snapshot (
    account_id TEXT COLLATE "C" NOT NULL,
    up_to TIMESTAMP WITH TIME ZONE NOT NULL,
    balance_minor BIGINT NOT NULL,
    CONSTRAINT account_snapshot_pkey PRIMARY KEY (account_id),
    CONSTRAINT account_snapshot_account_id_fkey FOREIGN KEY(account_id) REFERENCES account (id)
);

-- What is owed on an account, as committed by now: VOLATILE as in balance_of, for whoever has waited for a lock.
CREATE FUNCTION owed_of(wanted text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    since timestamptz := '-infinity';
    known bigint := 0;
BEGIN
    SELECT up_to, balance_minor INTO since, known FROM account_snapshot WHERE account_id = wanted;
    since := coalesce(since, '-infinity');
    RETURN coalesce(known, 0)
        + (SELECT coalesce(sum(amount_minor), 0) FROM transfer WHERE credit_id = wanted AND recorded_at >= since)
        - (SELECT coalesce(sum(amount_minor), 0) FROM transfer WHERE debit_id = wanted AND recorded_at >= since);
END $$;

-- How far below nothing a store's refunds may take what it is owed, by currency, in minor units. Without one: not at all.
ALTER TABLE store ADD COLUMN refund_allowances JSONB NOT NULL DEFAULT '{}';
ALTER TABLE store ADD CONSTRAINT store_refund_allowances_object CHECK (jsonb_typeof(refund_allowances) = 'object');

-- ── paying ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What an approved bill comes to, for one issuer and currency. Nothing or less is netted with the store's next.
CREATE TABLE payable (
    id TEXT COLLATE "C" NOT NULL,
    bill_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    approved_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT payable_pkey PRIMARY KEY (id),
    CONSTRAINT payable_bill_id_store_id_mode_fkey FOREIGN KEY(bill_id, store_id, mode) REFERENCES bill (id, store_id, mode),
    CONSTRAINT payable_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT payable_bill_id_issuer_id_currency_key UNIQUE (bill_id, issuer_id, currency)
);
CREATE INDEX payable_by_store ON payable (store_id, issuer_id, currency);

-- Payouts that are made together. Who drafts a run does not release it.
CREATE TABLE payment_run (
    id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    drafted_by TEXT NOT NULL,
    drafted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'drafted' NOT NULL,
    released_by TEXT,
    released_at TIMESTAMP WITH TIME ZONE,
    dropped_by TEXT,
    dropped_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payment_run_pkey PRIMARY KEY (id),
    CONSTRAINT payment_run_id_mode_key UNIQUE (id, mode),
    CONSTRAINT payment_run_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT payment_run_state CHECK (state IN ('drafted', 'released', 'dropped')),
    CONSTRAINT payment_run_released CHECK ((state = 'released') = (released_at IS NOT NULL) AND (released_by IS NULL) = (released_at IS NULL)),
    CONSTRAINT payment_run_dropped CHECK ((state = 'dropped') = (dropped_at IS NOT NULL) AND (dropped_by IS NULL) = (dropped_at IS NULL)),
    CONSTRAINT payment_run_four_eyes CHECK (released_by <> drafted_by)
);

-- One payment by the bank. It is made with the draft, and what is not covered when the run is released is left out.
CREATE TABLE payout (
    id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    end_to_end_id TEXT NOT NULL,
    state TEXT DEFAULT 'drafted' NOT NULL,
    left_out_because TEXT,
    sent_at TIMESTAMP WITH TIME ZONE,
    paid_at TIMESTAMP WITH TIME ZONE,
    returned_at TIMESTAMP WITH TIME ZONE,
    returned_because TEXT,
    CONSTRAINT payout_pkey PRIMARY KEY (id),
    CONSTRAINT payout_run_id_mode_fkey FOREIGN KEY(run_id, mode) REFERENCES payment_run (id, mode),
    CONSTRAINT payout_store_id_mode_fkey FOREIGN KEY(store_id, mode) REFERENCES store (id, mode),
    CONSTRAINT payout_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT payout_end_to_end_id_key UNIQUE (end_to_end_id),
    CONSTRAINT payout_run_id_store_id_issuer_id_currency_key UNIQUE (run_id, store_id, issuer_id, currency),
    CONSTRAINT payout_amount CHECK (amount_minor > 0),
    CONSTRAINT payout_end_to_end_id CHECK (end_to_end_id ~ '^[A-Z0-9]{1,35}$'),
    CONSTRAINT payout_state CHECK (state IN ('drafted', 'in_transit', 'paid', 'returned', 'left_out', 'dropped')),
    CONSTRAINT payout_left_out CHECK ((state = 'left_out') = (left_out_because IS NOT NULL)),
    CONSTRAINT payout_times CHECK (
        (state IN ('in_transit', 'paid', 'returned')) = (sent_at IS NOT NULL)
        AND (state <> 'paid' OR paid_at IS NOT NULL) AND (paid_at IS NULL OR state IN ('paid', 'returned'))
        AND (state = 'returned') = (returned_at IS NOT NULL) AND (returned_at IS NULL) = (returned_because IS NULL)
    )
);
CREATE INDEX payout_by_store ON payout (store_id, id);

-- Which payout pays which payable. It is live until the payout is returned, left out or dropped; a payable is in one live payout.
CREATE TABLE payout_payable (
    payout_id TEXT COLLATE "C" NOT NULL,
    payable_id TEXT COLLATE "C" NOT NULL,
    is_live BOOLEAN DEFAULT true NOT NULL,
    CONSTRAINT payout_payable_pkey PRIMARY KEY (payout_id, payable_id),
    CONSTRAINT payout_payable_payout_id_fkey FOREIGN KEY(payout_id) REFERENCES payout (id),
    CONSTRAINT payout_payable_payable_id_fkey FOREIGN KEY(payable_id) REFERENCES payable (id)
);
CREATE UNIQUE INDEX payout_payable_one_live ON payout_payable (payable_id) WHERE is_live;

-- Money that came from an issuer, and what is moved between its funding and its other accounts. An amount above zero enters the
-- funding. What came in is known by the bank's reference; anything else needs a second person.
CREATE TABLE entry (
    id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    effective_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reference TEXT,
    reason TEXT,
    proposed_by TEXT NOT NULL,
    proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'proposed' NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT entry_pkey PRIMARY KEY (id),
    CONSTRAINT entry_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT entry_issuer_id_reference_key UNIQUE (issuer_id, reference),
    CONSTRAINT entry_kind CHECK (kind IN ('fund', 'adjust')),
    CONSTRAINT entry_account CHECK (account IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')),
    CONSTRAINT entry_amount CHECK (amount_minor <> 0),
    CONSTRAINT entry_fund CHECK (kind <> 'fund' OR (account = 'bank' AND amount_minor > 0)),
    CONSTRAINT entry_reference CHECK ((kind = 'fund') = (reference IS NOT NULL)),
    CONSTRAINT entry_reason CHECK ((kind = 'adjust') = (reason IS NOT NULL)),
    CONSTRAINT entry_effective CHECK (effective_at <= proposed_at),
    CONSTRAINT entry_state CHECK (state IN ('proposed', 'booked', 'rejected')),
    CONSTRAINT entry_decided CHECK ((state = 'proposed') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT entry_four_eyes CHECK (kind = 'fund' OR state <> 'booked' OR decided_by <> proposed_by)
);
CREATE INDEX entry_proposed ON entry (proposed_at) WHERE state = 'proposed';

-- Months whose books are closed: what is recorded later posts to the first month that is open by then.
CREATE TABLE closed_month (
    mode TEXT NOT NULL,
    month TEXT NOT NULL,
    closed_by TEXT NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT closed_month_pkey PRIMARY KEY (mode, month),
    CONSTRAINT closed_month_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT closed_month_month CHECK (month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    CONSTRAINT closed_month_is_over CHECK (
        closed_at >= (make_date("left"(month, 4)::integer, "right"(month, 2)::integer, 1) + INTERVAL '1 month 1 day') AT TIME ZONE 'UTC'
    )
);

-- When a transfer counts in the books' months: at its time, unless that month was closed before it was recorded; then at the end
-- of the last month that was. A month closes a day after its end, so what was recorded within a day needs no look.
CREATE FUNCTION posted_at(of_mode text, at timestamptz, recorded_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN recorded_at < at + interval '1 day' THEN at ELSE greatest(at, (
        SELECT max((make_date(left(c.month, 4)::integer, right(c.month, 2)::integer, 1) + interval '1 month') AT TIME ZONE 'UTC')
        FROM closed_month c WHERE c.mode = of_mode AND c.closed_at < recorded_at
    )) END
$$;

-- ── the last guard ──────────────────────────────────────────────────────────────────────────────────────────────────────────

-- As in guards.sql; and a movement without a card must be borne out by its document: a payout of a released run that its payables
-- add up to, a break that was written off on an approved bill, an entry that was booked.
CREATE OR REPLACE FUNCTION apply_transfer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    card_account CONSTANT text := NEW.card_id || ':card:' || NEW.currency;
    is_borne_out boolean;
BEGIN
    IF NEW.card_id IS NOT NULL THEN
        UPDATE public.account
        SET balance_minor = balance_minor + CASE NEW.credit_id WHEN card_account THEN NEW.amount_minor ELSE -NEW.amount_minor END
        WHERE id = card_account;
    END IF;
    IF NEW.payment_id IS NOT NULL THEN
        SELECT p.store_id || ':owed:' || p.currency IN (NEW.debit_id, NEW.credit_id)
            AND p.settled_minor = sum(t.amount_minor) FILTER (WHERE t.kind = 'settle')
            AND p.refunded_minor = coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 'refund'), 0)
        INTO is_borne_out FROM public.payment p JOIN public.transfer t ON t.card_id = p.card_id AND t.payment_id = p.id
        WHERE p.id = NEW.payment_id AND p.card_id = NEW.card_id GROUP BY p.id;
    ELSIF NEW.card_id IS NOT NULL THEN
        SELECT CASE NEW.kind
            WHEN 'issue' THEN NEW.debit_id = issuer_id || ':funding:' || currency AND NEW.amount_minor = issued_minor
            ELSE NEW.credit_id = issuer_id || ':breakage:' || currency
        END INTO is_borne_out FROM public.card WHERE id = NEW.card_id;
    ELSIF NEW.kind IN ('send', 'arrive', 'return') THEN
        SELECT (NEW.amount_minor, NEW.at) = (p.amount_minor, CASE NEW.kind WHEN 'send' THEN p.sent_at WHEN 'arrive' THEN p.paid_at ELSE p.returned_at END)
            AND NEW.debit_id = p.store_id || CASE WHEN NEW.kind = 'send' THEN ':owed:'
                WHEN NEW.kind = 'return' AND p.paid_at IS NOT NULL THEN ':paid:' ELSE ':in_transit:' END || p.currency
            AND NEW.mode = p.mode AND r.state = 'released'
            AND p.state = CASE NEW.kind WHEN 'send' THEN 'in_transit' WHEN 'arrive' THEN 'paid' ELSE 'returned' END
            AND (NEW.kind = 'send' OR EXISTS (SELECT FROM public.transfer t WHERE (t.document_id, t.kind) = (p.id, 'send')))
            AND (NEW.kind <> 'return' OR p.paid_at IS NULL
                OR EXISTS (SELECT FROM public.transfer t WHERE (t.document_id, t.kind) = (p.id, 'arrive')))
            AND p.amount_minor = (
                SELECT sum(b.amount_minor) FROM public.payout_payable l JOIN public.payable b ON b.id = l.payable_id
                WHERE l.payout_id = p.id AND l.is_live = (p.state <> 'returned')
                AND (b.store_id, b.issuer_id, b.mode, b.currency) = (p.store_id, p.issuer_id, p.mode, p.currency)
            )
        INTO is_borne_out FROM public.payout p JOIN public.payment_run r ON r.id = p.run_id WHERE p.id = NEW.document_id;
    ELSIF NEW.kind = 'goodwill' THEN
        SELECT b.state = 'approved' AND k.state = 'written_off' AND NEW.amount_minor = k.paid_minor - k.claimed_minor
            AND NEW.debit_id = k.issuer_id || ':goodwill:' || l.currency AND NEW.credit_id = b.store_id || ':owed:' || l.currency
            AND NEW.mode = b.mode
        INTO is_borne_out FROM public.bill_break k JOIN public.bill b ON b.id = k.bill_id
        JOIN public.bill_line l ON (l.bill_id, l.line_no) = (k.bill_id, k.line_no) WHERE k.id = NEW.document_id;
    ELSE
        SELECT e.state = 'booked' AND NEW.kind = e.kind AND NEW.amount_minor = abs(e.amount_minor) AND NEW.at = e.effective_at
            AND NEW.mode = e.mode AND e.issuer_id || CASE WHEN e.amount_minor > 0 THEN ':' || e.account || ':' ELSE ':funding:' END || e.currency = NEW.debit_id
            AND e.issuer_id || CASE WHEN e.amount_minor < 0 THEN ':' || e.account || ':' ELSE ':funding:' END || e.currency = NEW.credit_id
        INTO is_borne_out FROM public.entry e WHERE e.id = NEW.document_id;
    END IF;
    IF is_borne_out IS NOT TRUE THEN
        RAISE EXCEPTION 'nothing bears out transfer %', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'transfer_borne_out';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER payable_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payable FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payable ENABLE ALWAYS TRIGGER payable_append_only;
CREATE TRIGGER closed_month_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closed_month FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE closed_month ENABLE ALWAYS TRIGGER closed_month_append_only;

GRANT SELECT ON account_snapshot, payable, payment_run, payout, payout_payable, entry, closed_month TO scrip_service, scrip_reader;
GRANT EXECUTE ON FUNCTION owed_of(text), posted_at(text, timestamptz, timestamptz) TO scrip_service, scrip_reader;
GRANT INSERT (document_id) ON transfer TO scrip_service;
GRANT INSERT ON account_snapshot, payable TO scrip_service;
GRANT INSERT (mode, month, closed_by) ON closed_month TO scrip_service;
GRANT UPDATE (up_to, balance_minor) ON account_snapshot TO scrip_service;
GRANT UPDATE (refund_allowances) ON store TO scrip_service;
-- What a run pays is written once, and cannot be inserted as released, nor an entry as booked.
GRANT INSERT (id, mode, drafted_by, drafted_at) ON payment_run TO scrip_service;
GRANT UPDATE (state, released_by, released_at, dropped_by, dropped_at) ON payment_run TO scrip_service;
GRANT INSERT (id, run_id, store_id, issuer_id, mode, currency, amount_minor, end_to_end_id) ON payout TO scrip_service;
GRANT UPDATE (state, left_out_because, sent_at, paid_at, returned_at, returned_because) ON payout TO scrip_service;
GRANT INSERT (payout_id, payable_id), UPDATE (is_live) ON payout_payable TO scrip_service;
GRANT INSERT (
    id, mode, issuer_id, kind, account, amount_minor, currency, effective_at, reference, reason, proposed_by, proposed_at
) ON entry TO scrip_service;
GRANT UPDATE (state, decided_by, decided_at) ON entry TO scrip_service;
