DROP TABLE login_day_returns;
DROP TABLE login_day_methods;
DROP TABLE login_quarters;

DELETE FROM login_events WHERE NOT succeeded;
DROP INDEX login_events_previous_at_idx;
DROP INDEX login_events_refused_idx;
ALTER TABLE login_events
    DROP CONSTRAINT login_events_refused_bare,
    DROP CONSTRAINT login_events_previous_at_order,
    DROP COLUMN previous_at,
    DROP COLUMN succeeded;

COMMENT ON TABLE login_events IS 'Sign-ins that opened a session, for statistics; appended only.';
COMMENT ON COLUMN login_events.user_id IS 'The account; null once it is gone.';
COMMENT ON COLUMN login_events.methods IS 'What was proved, in order.';
COMMENT ON COLUMN login_events.occurred_at IS 'When.';
