-- What the rules look at: the last minutes of a few kinds of events, and one party's movements of the last weeks.
CREATE INDEX event_by_kind ON event (kind, at);
CREATE INDEX event_of_money ON event (COALESCE((facts ->> 'issuer_id'), (facts ->> 'store_id')), kind, at) WHERE kind IN ('card_issued', 'payment_settled', 'payment_refunded');

CREATE TABLE alarm (
    id TEXT COLLATE "C" NOT NULL,
    rule TEXT NOT NULL,
    mode TEXT NOT NULL,
    group_id TEXT COLLATE "C" NOT NULL,
    party_id TEXT COLLATE "C",
    currency TEXT,
    first_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    figure BIGINT NOT NULL,
    peak BIGINT NOT NULL,
    threshold BIGINT NOT NULL,
    told BIGINT NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by TEXT,
    CONSTRAINT alarm_pkey PRIMARY KEY (id),
    CONSTRAINT alarm_mode_known CHECK (mode IN ('live', 'test')),
    CONSTRAINT alarm_times_in_order CHECK (first_at <= last_at),
    CONSTRAINT alarm_peak_highest CHECK (figure <= peak AND told <= peak),
    CONSTRAINT alarm_acknowledged_by_whom CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
-- However many workers look at once, an attack is one alarm.
CREATE UNIQUE INDEX alarm_one_open ON alarm (rule, mode, group_id, currency) NULLS NOT DISTINCT WHERE ended_at IS NULL;
CREATE INDEX alarm_by_rule ON alarm (rule, ended_at);
CREATE INDEX alarm_by_party ON alarm (party_id, id) WHERE party_id IS NOT NULL;

CREATE TABLE alarm_message (
    id TEXT COLLATE "C" NOT NULL,
    channel TEXT NOT NULL,
    mode TEXT NOT NULL,
    alarm_ids TEXT[] NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE,
    sent_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    CONSTRAINT alarm_message_pkey PRIMARY KEY (id),
    CONSTRAINT alarm_message_channel_known CHECK (channel ~ '^(webhook|mail:[0-9]+)$'),
    CONSTRAINT alarm_message_mode_known CHECK (mode IN ('live', 'test')),
    CONSTRAINT alarm_message_state_known CHECK (state IN ('waiting', 'sending', 'sent', 'failed')),
    CONSTRAINT alarm_message_begun_at_told CHECK ((state = 'waiting') = (begun_at IS NULL)),
    CONSTRAINT alarm_message_sent_at_told CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT alarm_message_error_short CHECK (length(last_error) <= 200)
);
CREATE UNIQUE INDEX alarm_message_one_waiting ON alarm_message (channel, mode) WHERE state = 'waiting';
CREATE INDEX alarm_message_by_channel ON alarm_message (channel, mode, begun_at);
CREATE INDEX alarm_message_due ON alarm_message (due_at) WHERE state IN ('waiting', 'sending');

CREATE TABLE alarm_look (
    rule TEXT NOT NULL,
    looked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT alarm_look_pkey PRIMARY KEY (rule)
);

GRANT SELECT ON alarm, alarm_message, alarm_look TO scrip_service, scrip_reader;
GRANT INSERT, DELETE ON alarm, alarm_message TO scrip_service;
GRANT INSERT ON alarm_look TO scrip_service;
-- Which rule and whose alarm it is, is written once.
GRANT UPDATE (last_at, ended_at, figure, peak, threshold, told, what, why, acknowledged_at, acknowledged_by) ON alarm TO scrip_service;
GRANT UPDATE (alarm_ids, state, tries, due_at, begun_at, sent_at, last_error) ON alarm_message TO scrip_service;
GRANT UPDATE (looked_at) ON alarm_look TO scrip_service;

-- A party may read the alarms that concern it.
ALTER TABLE client DROP CONSTRAINT client_scopes_of_party;
ALTER TABLE client ADD CONSTRAINT client_scopes_of_party CHECK (cardinality(scopes) > 0 AND scopes <@ (ARRAY['introspect', 'client.manage', 'guard.read'] || CASE WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill'] ELSE ARRAY['issue'] END));
