DROP TRIGGER roles_access ON roles;
DROP TRIGGER users_access_update ON users;
CREATE TRIGGER users_access_update AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION access_notify_user();
DROP TRIGGER sessions_access_update ON sessions;
CREATE TRIGGER sessions_access_update AFTER UPDATE ON sessions FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.authenticated_at) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.authenticated_at))
    EXECUTE FUNCTION access_notify_session();

DROP TABLE login_events;
ALTER TABLE roles DROP COLUMN requires_two_factor;

UPDATE sessions SET revoked_reason = 'user' WHERE revoked_reason = 'two_factor_changed';
ALTER TABLE sessions
    DROP COLUMN methods,
    DROP COLUMN second_factor,
    DROP CONSTRAINT sessions_revoked_reason_known,
    ADD CONSTRAINT sessions_revoked_reason_known CHECK (revoked_reason IN ('admin', 'displaced', 'logout', 'password_changed', 'reuse_detected', 'user'));

DROP TABLE trusted_devices;
DROP TABLE two_factor_challenges;
DROP TABLE recovery_codes;
DROP TABLE two_factor_secrets;
DROP TABLE data_keys;
