DROP TRIGGER permissions_access ON permissions;
DROP TRIGGER role_permissions_access ON role_permissions;
DROP FUNCTION access_notify_permissions();
DROP TRIGGER user_roles_access ON user_roles;
DROP FUNCTION access_notify_user_role();
DROP TRIGGER users_access_delete ON users;
DROP TRIGGER users_access_update ON users;
DROP FUNCTION access_notify_user();
DROP TRIGGER sessions_access_delete ON sessions;
DROP TRIGGER sessions_access_update ON sessions;
DROP FUNCTION access_notify_session();
ALTER TABLE sessions
    ADD COLUMN previous_refresh_token_hash bytea,
    ADD COLUMN refreshed_at timestamptz,
    ADD CONSTRAINT sessions_previous_refresh_token_hash_key UNIQUE (previous_refresh_token_hash),
    ADD CONSTRAINT sessions_previous_refresh_token_hash_length CHECK (octet_length(previous_refresh_token_hash) = 32);
UPDATE sessions SET previous_refresh_token_hash = token_hash, refreshed_at = spent_at
FROM (SELECT DISTINCT ON (session_id) * FROM spent_refresh_tokens ORDER BY session_id, spent_at DESC) AS spent
WHERE sessions.id = spent.session_id;
COMMENT ON COLUMN sessions.previous_refresh_token_hash IS 'SHA-256 of the one before it, to tell reuse from noise.';
COMMENT ON COLUMN sessions.refreshed_at IS 'When the refresh token was last rotated.';
DROP TABLE spent_refresh_tokens;
DROP INDEX sessions_revoked_at_idx;
UPDATE sessions SET revoked_reason = 'user' WHERE revoked_reason = 'displaced';
ALTER TABLE sessions
    DROP CONSTRAINT sessions_revoked_reason_known,
    ADD CONSTRAINT sessions_revoked_reason_known CHECK (revoked_reason IN ('admin', 'logout', 'password_changed', 'reuse_detected', 'user')),
    DROP COLUMN authenticated_at,
    DROP COLUMN successor_salt;
