CREATE TABLE webhook_endpoints (
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (name),
    CONSTRAINT webhook_endpoints_name_form CHECK (char_length(name) <= 32 AND name ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
);

COMMENT ON TABLE webhook_endpoints IS 'Services that are told of accounts, written from the settings at start. Where they are and what signs stands in the settings alone.';
COMMENT ON COLUMN webhook_endpoints.name IS 'What the settings call it.';
COMMENT ON COLUMN webhook_endpoints.created_at IS 'Since when it is told.';
COMMENT ON COLUMN webhook_endpoints.retired_at IS 'When a server started whose settings do not name it; since then nothing is queued for it.';

-- One row for each account that was told of. Whoever writes an event holds it until the transaction ends,
-- so that the events of an account are numbered in the order of their commits. No foreign key: the event of
-- an erasure is the last one, and comes when the account is gone.
CREATE TABLE webhook_sequences (
    user_id uuid NOT NULL,
    last bigint NOT NULL,
    transaction_id bigint NOT NULL,
    CONSTRAINT webhook_sequences_pkey PRIMARY KEY (user_id),
    CONSTRAINT webhook_sequences_last_positive CHECK (last > 0)
);

COMMENT ON TABLE webhook_sequences IS 'How many events each account had; goes with the account.';
COMMENT ON COLUMN webhook_sequences.user_id IS 'The account.';
COMMENT ON COLUMN webhook_sequences.last IS 'Number of its last event.';
COMMENT ON COLUMN webhook_sequences.transaction_id IS 'The transaction that wrote it; what else that one changes becomes part of it.';

ALTER TABLE jobs
    ADD COLUMN endpoint text,
    ADD COLUMN account_id uuid,
    ADD COLUMN sequence bigint,
    ADD CONSTRAINT jobs_event_whole CHECK (num_nonnulls(endpoint, account_id, sequence) IN (0, 3)),
    ADD CONSTRAINT jobs_sequence_positive CHECK (sequence > 0);

COMMENT ON TABLE jobs IS 'Side effects still to be carried out, written in the transaction that causes them: mails, and events for other services.';
COMMENT ON COLUMN jobs.id IS 'UUID, stable over retries, so that it can name a mail or an event.';
COMMENT ON COLUMN jobs.endpoint IS 'The service that gets the event; null for a mail. No foreign key: every change of an account would lock its row.';
COMMENT ON COLUMN jobs.account_id IS 'The account that the event is about, which may be gone.';
COMMENT ON COLUMN jobs.sequence IS 'Number of the event among those of the account; sent only when those before it are delivered or given up.';

-- Each queue finds its own: neither looks at what waits in the other.
DROP INDEX jobs_due_idx;
CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE failed_at IS NULL AND endpoint IS NULL;
CREATE INDEX jobs_events_due_idx ON jobs (endpoint, run_at, created_at, id) WHERE failed_at IS NULL AND endpoint IS NOT NULL;
CREATE UNIQUE INDEX jobs_event_key ON jobs (account_id, sequence, endpoint) WHERE endpoint IS NOT NULL;

-- Writes an event for every endpoint, or makes the change a part of the event that this transaction has
-- written already.
CREATE FUNCTION webhooks_enqueue(account uuid, uuid uuid, status text, kind text, changed text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this CONSTANT bigint := pg_current_xact_id()::text::bigint;
    place bigint;
    before text;
    event jsonb;
BEGIN
    SELECT s.last INTO place FROM webhook_sequences AS s
        WHERE s.user_id = account AND s.transaction_id = this;
    IF FOUND THEN
        SELECT jobs.payload ->> 'type' INTO before FROM jobs
            WHERE jobs.account_id = account AND jobs.sequence = place AND jobs.endpoint IS NOT NULL AND jobs.attempts = 0 LIMIT 1;
        -- What makes an account, a hundred thousand of them perhaps, makes its parts as well.
        IF before = 'account.created' AND kind = 'account.updated' AND NOT 'status' = ANY(changed) THEN
            RETURN;
        END IF;
        IF kind = 'account.updated' AND before <> 'account.erased'
            OR before = 'account.updated' AND kind <> 'account.erased' THEN
            UPDATE jobs SET payload = payload || jsonb_build_object('status', webhooks_enqueue.status)
                    || CASE before WHEN 'account.created' THEN '{}' ELSE jsonb_build_object(
                        'type', CASE before WHEN 'account.updated' THEN kind ELSE before END,
                        'changed', (
                            SELECT jsonb_agg(DISTINCT field) FROM (
                                SELECT jsonb_array_elements_text(payload -> 'changed') UNION ALL SELECT unnest(changed)
                            ) AS fields (field)
                        )) END
                WHERE jobs.account_id = account AND jobs.sequence = place AND jobs.endpoint IS NOT NULL AND jobs.attempts = 0;
            RETURN;
        END IF;
    END IF;
    INSERT INTO webhook_sequences AS s (user_id, last, transaction_id) VALUES (account, 1, this)
        ON CONFLICT (user_id) DO UPDATE SET last = s.last + 1, transaction_id = this
        RETURNING s.last INTO place;
    event := jsonb_strip_nulls(jsonb_build_object(
        'kind', 'account_event', 'type', kind, 'uuid', uuid, 'status', status, 'changed', changed,
        'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
    -- Due at once by every clock.
    INSERT INTO jobs (id, payload, run_at, created_at, endpoint, account_id, sequence)
        SELECT gen_random_uuid(), event, '-infinity', now(), e.name, account, place
        FROM webhook_endpoints AS e WHERE e.retired_at IS NULL;
END
$$;

-- Names of the columns that differ, as the API calls the fields.
CREATE FUNCTION webhooks_changed(prefix text, columns text[], old_row jsonb, new_row jsonb)
    RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(field ORDER BY field) FROM (
        SELECT prefix || lower(left(name, 1)) || substr(replace(initcap(name), '_', ''), 2)
            FROM unnest(columns) AS told (name)
            WHERE old_row -> name IS DISTINCT FROM new_row -> name
    ) AS fields (field)
$$;

CREATE FUNCTION webhooks_tell_account() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text[];
    kind text := 'account.updated';
BEGIN
    IF NOT EXISTS (SELECT FROM webhook_endpoints WHERE retired_at IS NULL) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM webhooks_enqueue(NEW.id, NEW.auth_token, NEW.status, 'account.created', NULL);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM webhooks_enqueue(OLD.id, OLD.auth_token, NULL, 'account.erased', NULL);
        DELETE FROM webhook_sequences WHERE user_id = OLD.id;
    ELSE
        changed := webhooks_changed('', TG_ARGV[0:], to_jsonb(OLD), to_jsonb(NEW));
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
        IF NEW.status = 'deactivated' AND OLD.status <> 'deactivated' THEN
            kind := 'account.deactivated';
        ELSIF NEW.status = 'active' AND OLD.status = 'deactivated' THEN
            kind := 'account.reactivated';
        END IF;
        PERFORM webhooks_enqueue(NEW.id, NEW.auth_token, NEW.status, kind, changed);
    END IF;
    RETURN NULL;
END
$$;

-- Of a table that the API shows as a part of the account. The first argument is the field.
CREATE FUNCTION webhooks_tell_part() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    account users%ROWTYPE;
    changed text[] := ARRAY[TG_ARGV[0]];
BEGIN
    IF NOT EXISTS (SELECT FROM webhook_endpoints WHERE retired_at IS NULL) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        changed := webhooks_changed(TG_ARGV[0] || '.', TG_ARGV[1:], to_jsonb(OLD), to_jsonb(NEW));
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    -- Gone with the account, perhaps, which is told once.
    SELECT * INTO account FROM users WHERE id = CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
    IF FOUND THEN
        PERFORM webhooks_enqueue(account.id, account.auth_token, account.status, 'account.updated', changed);
    END IF;
    RETURN NULL;
END
$$;

-- Deferred: the row of an account's sequence is locked last of all, whatever else a transaction locks, and
-- for as long as the commit takes. Neither sign-ins nor other bookkeeping are among the columns.
CREATE CONSTRAINT TRIGGER users_webhooks AFTER INSERT OR UPDATE OR DELETE ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhooks_tell_account(
        'username', 'email', 'full_name', 'first_name', 'last_name', 'avatar_url', 'birth_date', 'status',
        'email_verified_at', 'coaching_start_date', 'last_coaching_session');
CREATE CONSTRAINT TRIGGER profiles_webhooks AFTER INSERT OR UPDATE OR DELETE ON profiles
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhooks_tell_part(
        'profile', 'bio', 'timezone', 'coaching_goals', 'preferred_coaching_style', 'session_frequency',
        'email_notifications', 'push_notifications', 'notification_frequency', 'theme', 'language', 'preferences');
CREATE CONSTRAINT TRIGGER backgrounds_webhooks AFTER INSERT OR UPDATE OR DELETE ON backgrounds
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhooks_tell_part(
        'background', 'software_tools', 'programming_languages', 'hardware_setup', 'technical_preferences',
        'experience_level', 'primary_domain');
CREATE CONSTRAINT TRIGGER personalizations_webhooks AFTER INSERT OR UPDATE OR DELETE ON personalizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhooks_tell_part(
        'personalization', 'recommended_content', 'preferred_categories', 'last_personalization_update');
CREATE CONSTRAINT TRIGGER user_roles_webhooks AFTER INSERT OR DELETE ON user_roles
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhooks_tell_part('roles');
