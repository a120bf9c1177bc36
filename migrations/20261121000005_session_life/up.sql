ALTER TABLE sessions
    ADD COLUMN successor_salt bytea,
    ADD COLUMN authenticated_at timestamptz,
    ADD CONSTRAINT sessions_successor_salt_length CHECK (octet_length(successor_salt) = 32),
    DROP CONSTRAINT sessions_revoked_reason_known,
    ADD CONSTRAINT sessions_revoked_reason_known CHECK (revoked_reason IN ('admin', 'displaced', 'logout', 'password_changed', 'reuse_detected', 'user'));

UPDATE sessions SET authenticated_at = created_at;
ALTER TABLE sessions ALTER COLUMN authenticated_at SET NOT NULL;

COMMENT ON COLUMN sessions.successor_salt IS 'Makes the present refresh token from the one before it, so that parallel callers with that one get the same answer within the grace; worthless without that token.';
COMMENT ON COLUMN sessions.authenticated_at IS 'When the person last proved to be at the keyboard.';

CREATE TABLE spent_refresh_tokens (
    token_hash bytea NOT NULL,
    session_id uuid NOT NULL,
    spent_at timestamptz NOT NULL,
    CONSTRAINT spent_refresh_tokens_pkey PRIMARY KEY (token_hash),
    CONSTRAINT spent_refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT spent_refresh_tokens_token_hash_length CHECK (octet_length(token_hash) = 32)
);

CREATE INDEX spent_refresh_tokens_session_id_idx ON spent_refresh_tokens (session_id);

COMMENT ON TABLE spent_refresh_tokens IS 'Refresh tokens that were traded in, for as long as their session is kept: seeing one again means that two hold it.';
COMMENT ON COLUMN spent_refresh_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN spent_refresh_tokens.session_id IS 'The session that it kept alive.';
COMMENT ON COLUMN spent_refresh_tokens.spent_at IS 'When it was traded in.';

INSERT INTO spent_refresh_tokens (token_hash, session_id, spent_at)
SELECT previous_refresh_token_hash, id, refreshed_at FROM sessions
WHERE previous_refresh_token_hash IS NOT NULL AND refreshed_at IS NOT NULL;

CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

ALTER TABLE sessions DROP COLUMN previous_refresh_token_hash, DROP COLUMN refreshed_at;

-- What every instance keeps in memory of who may do what is told to all of them when it changes,
-- whoever changes it. Notifications are delivered when the transaction commits.
CREATE FUNCTION access_notify_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access', 'session ' || OLD.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_access_update AFTER UPDATE ON sessions FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.authenticated_at) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.authenticated_at))
    EXECUTE FUNCTION access_notify_session();
CREATE TRIGGER sessions_access_delete AFTER DELETE ON sessions FOR EACH ROW WHEN (OLD.revoked_at IS NULL)
    EXECUTE FUNCTION access_notify_session();

CREATE FUNCTION access_notify_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access', 'user ' || OLD.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER users_access_update AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION access_notify_user();
CREATE TRIGGER users_access_delete AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION access_notify_user();

CREATE FUNCTION access_notify_user_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('access', 'user ' || OLD.user_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('access', 'user ' || NEW.user_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER user_roles_access AFTER INSERT OR UPDATE OR DELETE ON user_roles FOR EACH ROW
    EXECUTE FUNCTION access_notify_user_role();

CREATE FUNCTION access_notify_permissions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access', 'permissions');
    RETURN NULL;
END
$$;

CREATE TRIGGER role_permissions_access AFTER INSERT OR UPDATE OR DELETE ON role_permissions FOR EACH STATEMENT
    EXECUTE FUNCTION access_notify_permissions();
CREATE TRIGGER permissions_access AFTER UPDATE OR DELETE ON permissions FOR EACH STATEMENT
    EXECUTE FUNCTION access_notify_permissions();
