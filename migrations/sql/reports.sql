-- An issuer may read its own statements.
ALTER TABLE client DROP CONSTRAINT client_scopes_of_party;
ALTER TABLE client ADD CONSTRAINT client_scopes_of_party CHECK (
    cardinality(scopes) > 0 AND scopes <@ (ARRAY['introspect', 'client.manage'] || CASE
        WHEN finance THEN ARRAY['finance.read', 'finance.work']
        WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill', 'guard.read']
        ELSE ARRAY['issue', 'statement', 'guard.read'] END)
);

-- What lay on the account that keeps an issuer's money at the end of a day, as somebody entered it or a file of the bank's
-- says. Append-only: what was wrong is entered again, and what was recorded last counts.
CREATE TABLE bank_balance (
    id TEXT COLLATE "C" NOT NULL,
    issuer_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    currency TEXT NOT NULL,
    day DATE NOT NULL,
    balance_minor BIGINT NOT NULL,
    source TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT bank_balance_pkey PRIMARY KEY (id),
    CONSTRAINT bank_balance_issuer_id_mode_fkey FOREIGN KEY(issuer_id, mode) REFERENCES issuer (id, mode),
    CONSTRAINT bank_balance_source CHECK (source IN ('entered', 'imported'))
);
CREATE INDEX bank_balance_by_day ON bank_balance (issuer_id, currency, day, recorded_at);
CREATE TRIGGER bank_balance_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_balance FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE bank_balance ENABLE ALWAYS TRIGGER bank_balance_append_only;

-- Below this balance people are told that an issuer should send money.
CREATE TABLE low_balance (
    issuer_id TEXT COLLATE "C" NOT NULL,
    currency TEXT NOT NULL,
    least_minor BIGINT NOT NULL,
    CONSTRAINT low_balance_pkey PRIMARY KEY (issuer_id, currency),
    CONSTRAINT low_balance_issuer_id_fkey FOREIGN KEY(issuer_id) REFERENCES issuer (id),
    CONSTRAINT low_balance_not_negative CHECK (least_minor >= 0)
);

GRANT SELECT ON bank_balance, low_balance TO scrip_service, scrip_reader;
GRANT INSERT ON bank_balance TO scrip_service;
GRANT INSERT, DELETE ON low_balance TO scrip_service;
GRANT UPDATE (least_minor) ON low_balance TO scrip_service;
