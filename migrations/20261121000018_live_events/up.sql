-- Every instance hands these on to whoever follows them. Ids and states only: whoever may listen to the
-- database's notifications need not be allowed to read its tables. Nothing is told of rows that come,
-- so that filling the tables costs no notification.
CREATE FUNCTION events_notify_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('events', json_build_object('session', json_build_object(
        'id', NEW.id, 'user', NEW.user_id, 'reason', NEW.revoked_reason, 'at', NEW.revoked_at))::text);
    RETURN NULL;
END
$$;

-- Its name stands before that of sessions_access_update, so that a connection hears why its session
-- ended before it hears that it did.
CREATE TRIGGER session_ended_events AFTER UPDATE ON sessions FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION events_notify_session();

CREATE FUNCTION events_notify_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('events', json_build_object('account', json_build_object(
        'id', OLD.id, 'active', TG_OP <> 'DELETE' AND NEW.status = 'active', 'erased', TG_OP = 'DELETE'))::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER users_events_update AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION events_notify_user();
-- An account that was never opened goes without a word.
CREATE TRIGGER users_events_delete AFTER DELETE ON users FOR EACH ROW WHEN (OLD.status <> 'pending')
    EXECUTE FUNCTION events_notify_user();
