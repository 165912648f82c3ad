-- Ledger accounts; only a card's keeps a running balance. An account's id says what it is, and cannot lie: what a transfer
-- may do is read from the ids alone.
CREATE TABLE account (
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    owner_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    mode TEXT NOT NULL,
    balance_minor BIGINT,
    CONSTRAINT account_pkey PRIMARY KEY (id),
    CONSTRAINT account_kind_owner_id_currency_key UNIQUE (kind, owner_id, currency),
    CONSTRAINT account_id_currency_mode_key UNIQUE (id, currency, mode),
    CONSTRAINT account_id_says_what_it_is CHECK (id = owner_id || ':' || kind || ':' || currency AND owner_id NOT LIKE '%:%'),
    CONSTRAINT account_kind CHECK (kind IN ('funding', 'card', 'owed', 'breakage')),
    CONSTRAINT account_card_has_balance CHECK ((kind = 'card') = (balance_minor IS NOT NULL)),
    CONSTRAINT account_balance_not_negative CHECK (balance_minor >= 0),
    CONSTRAINT account_mode CHECK (mode IN ('live', 'test'))
);

-- Movements of money. Append-only.
CREATE TABLE transfer (
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    debit_id TEXT COLLATE "C" NOT NULL,
    credit_id TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    mode TEXT NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C",
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT transfer_pkey PRIMARY KEY (id),
    CONSTRAINT transfer_debit_id_currency_mode_fkey FOREIGN KEY(debit_id, currency, mode) REFERENCES account (id, currency, mode),
    CONSTRAINT transfer_credit_id_currency_mode_fkey FOREIGN KEY(credit_id, currency, mode) REFERENCES account (id, currency, mode),
    CONSTRAINT transfer_two_accounts CHECK (debit_id <> credit_id),
    CONSTRAINT transfer_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT transfer_kind CHECK (kind IN ('issue', 'settle', 'refund', 'lapse')),
    CONSTRAINT transfer_between CHECK (
        CASE kind
            WHEN 'issue' THEN split_part(debit_id, ':', 2) = 'funding' AND credit_id = card_id || ':card:' || currency
            WHEN 'settle' THEN debit_id = card_id || ':card:' || currency AND split_part(credit_id, ':', 2) = 'owed'
            WHEN 'refund' THEN split_part(debit_id, ':', 2) = 'owed' AND credit_id = card_id || ':card:' || currency
            WHEN 'lapse' THEN debit_id = card_id || ':card:' || currency AND split_part(credit_id, ':', 2) = 'breakage'
        END
    ),
    CONSTRAINT transfer_of_payment CHECK ((kind IN ('settle', 'refund')) = (payment_id IS NOT NULL))
);
CREATE UNIQUE INDEX transfer_one_issue ON transfer (card_id) WHERE kind = 'issue';
CREATE INDEX transfer_by_card ON transfer (card_id);
CREATE INDEX transfer_by_credit ON transfer (credit_id);
CREATE INDEX transfer_by_debit ON transfer (debit_id);
