-- The third-party shop.
CREATE TABLE store (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT store_pkey PRIMARY KEY (id),
    CONSTRAINT store_id_mode_key UNIQUE (id, mode),
    CONSTRAINT store_mode CHECK (mode IN ('live', 'test'))
);

-- What a store settles; its hold is always held + settled + released.
CREATE TABLE payment (
    id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    code_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    order_reference TEXT NOT NULL,
    balance_minor BIGINT NOT NULL,
    hold_minor BIGINT NOT NULL,
    held_minor BIGINT NOT NULL,
    settled_minor BIGINT NOT NULL,
    released_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    expired_minor BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    expired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payment_pkey PRIMARY KEY (id),
    CONSTRAINT payment_store_id_mode_fkey FOREIGN KEY(store_id, mode) REFERENCES store (id, mode),
    CONSTRAINT payment_card_id_id_key UNIQUE (card_id, id),
    CONSTRAINT payment_id_card_id_store_id_key UNIQUE (id, card_id, store_id),
    CONSTRAINT payment_state CHECK (state IN ('held', 'settled', 'voided', 'expired')),
    CONSTRAINT payment_hold_positive CHECK (hold_minor > 0),
    CONSTRAINT payment_hold_is_split CHECK (hold_minor = held_minor + settled_minor + released_minor),
    CONSTRAINT payment_parts CHECK (held_minor >= 0 AND settled_minor >= 0 AND released_minor >= 0),
    CONSTRAINT payment_held CHECK ((state = 'held') = (held_minor > 0)),
    CONSTRAINT payment_ended CHECK ((state = 'held') = (ended_at IS NULL)),
    CONSTRAINT payment_settled_stays CHECK (state NOT IN ('voided', 'expired') OR settled_minor = 0),
    CONSTRAINT payment_settled_something CHECK (state <> 'settled' OR settled_minor > 0),
    CONSTRAINT payment_expired_part CHECK (0 <= expired_minor AND expired_minor <= released_minor),
    CONSTRAINT payment_expired_at CHECK (expired_minor = 0 OR expired_at IS NOT NULL),
    CONSTRAINT payment_refunded CHECK (0 <= refunded_minor AND refunded_minor <= settled_minor)
);
CREATE UNIQUE INDEX payment_one_held ON payment (card_id) WHERE state = 'held';
CREATE INDEX payment_to_expire ON payment (expires_at) WHERE state = 'held';

-- Money taken from a hold for good.
CREATE TABLE settlement (
    id TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    order_reference TEXT NOT NULL,
    late BOOLEAN NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT settlement_pkey PRIMARY KEY (id),
    CONSTRAINT settlement_payment_id_card_id_store_id_fkey FOREIGN KEY(payment_id, card_id, store_id) REFERENCES payment (id, card_id, store_id),
    CONSTRAINT settlement_amount CHECK (amount_minor > 0)
);
CREATE INDEX settlement_by_payment ON settlement (payment_id);
CREATE INDEX settlement_by_store ON settlement (store_id, at);

-- Settled money that went back to the card.
CREATE TABLE refund (
    id TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    card_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    reason TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT refund_pkey PRIMARY KEY (id),
    CONSTRAINT refund_payment_id_card_id_store_id_fkey FOREIGN KEY(payment_id, card_id, store_id) REFERENCES payment (id, card_id, store_id),
    CONSTRAINT refund_amount CHECK (amount_minor > 0)
);
CREATE INDEX refund_by_payment ON refund (payment_id);
CREATE INDEX refund_by_store ON refund (store_id, at);
