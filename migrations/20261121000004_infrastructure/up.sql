CREATE TABLE jobs (
    id uuid NOT NULL,
    payload jsonb NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL,
    locked_until timestamptz,
    last_error text,
    failed_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT jobs_attempts_positive CHECK (attempts >= 0),
    CONSTRAINT jobs_last_error_length CHECK (char_length(last_error) <= 2000)
);

CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE failed_at IS NULL;

COMMENT ON TABLE jobs IS 'Side effects still to be carried out, written in the transaction that causes them.';
COMMENT ON COLUMN jobs.id IS 'UUID v7; stable over retries, so that it can name a mail.';
COMMENT ON COLUMN jobs.payload IS 'What to do, with ids and never with secrets.';
COMMENT ON COLUMN jobs.attempts IS 'How often it was begun.';
COMMENT ON COLUMN jobs.run_at IS 'Not before this moment.';
COMMENT ON COLUMN jobs.locked_until IS 'A worker holds it until then; later it counts as dropped.';
COMMENT ON COLUMN jobs.last_error IS 'Why the last attempt failed.';
COMMENT ON COLUMN jobs.failed_at IS 'When it was given up; such rows wait for an operator.';
COMMENT ON COLUMN jobs.created_at IS 'When it was queued.';

CREATE FUNCTION jobs_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('jobs', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_notify AFTER INSERT ON jobs FOR EACH STATEMENT EXECUTE FUNCTION jobs_notify();

-- Unlogged: a crash of the database empties it, which costs an attacker's victim nothing that
-- matters, and every sign-in writes here.
CREATE UNLOGGED TABLE rate_limits (
    key bytea NOT NULL,
    full_at timestamptz NOT NULL,
    CONSTRAINT rate_limits_pkey PRIMARY KEY (key),
    CONSTRAINT rate_limits_key_length CHECK (octet_length(key) = 32)
);

CREATE INDEX rate_limits_full_at_idx ON rate_limits (full_at);

COMMENT ON TABLE rate_limits IS 'Budgets of the generic cell rate algorithm, one row for each operation and caller.';
COMMENT ON COLUMN rate_limits.key IS 'SHA-256 of operation and subject; no address stands here in clear.';
COMMENT ON COLUMN rate_limits.full_at IS 'When the whole budget will be there again (the theoretical arrival time); in the past: unused.';

CREATE TABLE signing_keys (
    id uuid NOT NULL,
    algorithm text NOT NULL,
    private_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (id),
    CONSTRAINT signing_keys_algorithm_known CHECK (algorithm = 'EdDSA'),
    CONSTRAINT signing_keys_private_key_length CHECK (octet_length(private_key) BETWEEN 32 AND 4096)
);

CREATE UNIQUE INDEX signing_keys_active_key ON signing_keys ((true)) WHERE retired_at IS NULL;

COMMENT ON TABLE signing_keys IS 'Keys that sign access tokens.';
COMMENT ON COLUMN signing_keys.id IS 'UUID v7; kid in tokens and in the key set.';
COMMENT ON COLUMN signing_keys.algorithm IS 'JWS algorithm.';
COMMENT ON COLUMN signing_keys.private_key IS 'PKCS #8, DER.';
COMMENT ON COLUMN signing_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN signing_keys.retired_at IS 'From when on it signs no more; exactly one key has none.';
