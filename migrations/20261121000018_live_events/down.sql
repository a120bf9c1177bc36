DROP TRIGGER users_events_delete ON users;
DROP TRIGGER users_events_update ON users;
DROP FUNCTION events_notify_user();
DROP TRIGGER session_ended_events ON sessions;
DROP FUNCTION events_notify_session();
