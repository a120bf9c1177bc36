CREATE TABLE installation_keys (
    purpose text NOT NULL,
    wrapped_key bytea NOT NULL,
    master_key_id bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT installation_keys_pkey PRIMARY KEY (purpose),
    CONSTRAINT installation_keys_purpose_known CHECK (purpose IN ('audit')),
    CONSTRAINT installation_keys_wrapped_key_length CHECK (octet_length(wrapped_key) = 61),
    CONSTRAINT installation_keys_master_key_id_length CHECK (octet_length(master_key_id) = 8)
);

COMMENT ON TABLE installation_keys IS 'Keys of the installation itself, wrapped by a master key that the database never sees.';
COMMENT ON COLUMN installation_keys.purpose IS 'What the key is for.';
COMMENT ON COLUMN installation_keys.wrapped_key IS 'The key, encrypted.';
COMMENT ON COLUMN installation_keys.master_key_id IS 'Which master key encrypted it.';
COMMENT ON COLUMN installation_keys.created_at IS 'When it was made.';

CREATE TABLE audit_events (
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    action text NOT NULL,
    outcome text NOT NULL,
    actor_id uuid,
    subject_id uuid,
    request_id text,
    client bytea,
    reason bytea,
    details jsonb NOT NULL DEFAULT '{}',
    mac bytea NOT NULL,
    position bigint,
    hash bytea,
    CONSTRAINT audit_events_pkey PRIMARY KEY (id, occurred_at),
    CONSTRAINT audit_events_action_form CHECK (action ~ '^[a-z_]{1,64}$'),
    CONSTRAINT audit_events_outcome_known CHECK (outcome IN ('denied', 'failure', 'success')),
    CONSTRAINT audit_events_request_id_length CHECK (char_length(request_id) <= 64),
    CONSTRAINT audit_events_client_length CHECK (octet_length(client) <= 4096),
    CONSTRAINT audit_events_reason_length CHECK (octet_length(reason) <= 4096),
    CONSTRAINT audit_events_details_object CHECK (jsonb_typeof(details) = 'object'),
    CONSTRAINT audit_events_details_size CHECK (octet_length(details::text) <= 16384),
    CONSTRAINT audit_events_mac_length CHECK (octet_length(mac) = 32),
    CONSTRAINT audit_events_position_positive CHECK (position > 0),
    CONSTRAINT audit_events_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_events_sealed_whole CHECK ((position IS NULL) = (hash IS NULL))
) PARTITION BY RANGE (occurred_at);

CREATE INDEX audit_events_occurred_at_idx ON audit_events (occurred_at, id);
CREATE INDEX audit_events_subject_idx ON audit_events (subject_id, occurred_at, id);
CREATE INDEX audit_events_actor_idx ON audit_events (actor_id, occurred_at, id);
CREATE INDEX audit_events_action_idx ON audit_events (action, occurred_at, id);
-- Rows that wait to be sealed are its nulls.
CREATE INDEX audit_events_position_idx ON audit_events (position);

COMMENT ON TABLE audit_events IS 'The audit trail: appended only, kept in months. Accounts are named by id alone, without a foreign key, so that erasing one changes no row.';
COMMENT ON COLUMN audit_events.id IS 'UUID v7.';
COMMENT ON COLUMN audit_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN audit_events.action IS 'What was done.';
COMMENT ON COLUMN audit_events.outcome IS 'How it ended.';
COMMENT ON COLUMN audit_events.actor_id IS 'The account that did it; null for the server itself and for somebody who did not prove who they are.';
COMMENT ON COLUMN audit_events.subject_id IS 'The account that it was done to.';
COMMENT ON COLUMN audit_events.request_id IS 'The request in which it was done.';
COMMENT ON COLUMN audit_events.client IS 'Address and user agent, sealed with the data key of the actor, without one of the subject, without both of the installation.';
COMMENT ON COLUMN audit_events.reason IS 'The reason that was given, sealed with the data key of the subject.';
COMMENT ON COLUMN audit_events.details IS 'Facts that differ for each action; neither secrets nor personal data.';
COMMENT ON COLUMN audit_events.mac IS 'HMAC-SHA-256 of the columns before it, made when the row was written, under a key that the database never sees.';
COMMENT ON COLUMN audit_events.position IS 'Place in the chain of its month, from 1; null until it is sealed.';
COMMENT ON COLUMN audit_events.hash IS 'HMAC-SHA-256 of the hash before it and of the row''s mac.';

CREATE FUNCTION audit_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The one change that a row ever sees: it gets its place in the chain.
    IF TG_OP = 'UPDATE' THEN
        IF OLD.position IS NULL AND NEW.position IS NOT NULL THEN
            OLD.position := NEW.position;
            OLD.hash := NEW.hash;
            IF OLD IS NOT DISTINCT FROM NEW THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is appended only'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_events_append_only', TABLE = 'audit_events';
END
$$;

CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_refuse_change();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();

CREATE TABLE audit_chains (
    month date NOT NULL,
    number integer NOT NULL,
    genesis bytea NOT NULL,
    length bigint NOT NULL,
    head bytea NOT NULL,
    retired boolean NOT NULL DEFAULT false,
    mac bytea NOT NULL,
    CONSTRAINT audit_chains_pkey PRIMARY KEY (month),
    CONSTRAINT audit_chains_number_key UNIQUE (number),
    CONSTRAINT audit_chains_number_positive CHECK (number > 0),
    CONSTRAINT audit_chains_month_first CHECK (extract(day FROM month) = 1),
    CONSTRAINT audit_chains_genesis_length CHECK (octet_length(genesis) = 32),
    CONSTRAINT audit_chains_length_positive CHECK (length >= 0),
    CONSTRAINT audit_chains_head_length CHECK (octet_length(head) = 32),
    CONSTRAINT audit_chains_mac_length CHECK (octet_length(mac) = 32)
);

COMMENT ON TABLE audit_chains IS 'One chain of hashes for each month of the audit trail.';
COMMENT ON COLUMN audit_chains.month IS 'First day of the month, in UTC.';
COMMENT ON COLUMN audit_chains.number IS 'Counts the chains in the order in which they began.';
COMMENT ON COLUMN audit_chains.genesis IS 'What the first row is chained to: HMAC-SHA-256 of the month and of the genesis of the chain before it.';
COMMENT ON COLUMN audit_chains.length IS 'Rows sealed so far.';
COMMENT ON COLUMN audit_chains.head IS 'Hash of the last of them, or the genesis.';
COMMENT ON COLUMN audit_chains.retired IS 'The retention removed the rows.';
COMMENT ON COLUMN audit_chains.mac IS 'HMAC-SHA-256 of the columns before it, under a key that the database never sees.';

-- The months lie in a schema of their own: they come and go, and nobody names them.
CREATE SCHEMA audit_months;
COMMENT ON SCHEMA audit_months IS 'Partitions of audit_events, one for each month.';

CREATE TABLE audit_months.others PARTITION OF audit_events DEFAULT;
COMMENT ON TABLE audit_months.others IS 'Entries of months without a partition: a clock was far ahead or behind.';
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_months.others
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();

CREATE FUNCTION audit_make_month(first date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text := 'month_' || to_char(first, 'YYYY_MM');
    starts timestamptz := first::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (first + INTERVAL '1 month')::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass('audit_months.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE audit_months.%I (LIKE audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    IF EXISTS (SELECT FROM audit_months.others WHERE occurred_at >= starts AND occurred_at < ends) THEN
        -- Rows never move by UPDATE or DELETE, so the others are put together anew.
        ALTER TABLE audit_events DETACH PARTITION audit_months.others;
        ALTER TABLE audit_months.others RENAME TO former;
        CREATE TABLE audit_months.others (LIKE audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
        EXECUTE format('INSERT INTO audit_months.%I SELECT * FROM audit_months.former WHERE occurred_at >= $1 AND occurred_at < $2', name)
            USING starts, ends;
        INSERT INTO audit_months.others SELECT * FROM audit_months.former WHERE occurred_at < starts OR occurred_at >= ends;
        DROP TABLE audit_months.former;
        ALTER TABLE audit_events ATTACH PARTITION audit_months.others DEFAULT;
        CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_months.others
            FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();
    END IF;
    EXECUTE format('ALTER TABLE audit_events ATTACH PARTITION audit_months.%I FOR VALUES FROM (%L) TO (%L)', name, starts, ends);
    EXECUTE format('CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_months.%I FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change()', name);
    RETURN true;
END
$$;

COMMENT ON FUNCTION audit_make_month IS 'Makes the partition of the month that begins on this day, unless it is there.';

CREATE FUNCTION audit_drop_month(first date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_make_month(first);
    EXECUTE format('DROP TABLE audit_months.%I', 'month_' || to_char(first, 'YYYY_MM'));
END
$$;

COMMENT ON FUNCTION audit_drop_month IS 'Removes the entries of the month that begins on this day.';
