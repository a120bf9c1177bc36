COMMENT ON COLUMN username_reservations.created_at IS 'When it was first asked for.';
DROP INDEX username_reservations_created_at_idx;
DROP INDEX jobs_user_idx;
DROP INDEX email_changes_new_email_idx;
DROP INDEX verification_tokens_email_idx;

DROP INDEX users_unproved_idx;
ALTER TABLE users
    DROP COLUMN erases_at,
    DROP COLUMN inactivity_warnings,
    DROP COLUMN inactivity_warned_at;
