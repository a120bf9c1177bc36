DROP TRIGGER user_roles_webhooks ON user_roles;
DROP TRIGGER personalizations_webhooks ON personalizations;
DROP TRIGGER backgrounds_webhooks ON backgrounds;
DROP TRIGGER profiles_webhooks ON profiles;
DROP TRIGGER users_webhooks ON users;
DROP FUNCTION webhooks_tell_part();
DROP FUNCTION webhooks_tell_account();
DROP FUNCTION webhooks_changed(text, text[], jsonb, jsonb);
DROP FUNCTION webhooks_enqueue(uuid, uuid, text, text, text[]);

-- They would be taken for mails.
DELETE FROM jobs WHERE endpoint IS NOT NULL;
DROP INDEX jobs_event_key;
DROP INDEX jobs_events_due_idx;
DROP INDEX jobs_due_idx;
ALTER TABLE jobs
    DROP CONSTRAINT jobs_sequence_positive,
    DROP CONSTRAINT jobs_event_whole,
    DROP COLUMN sequence,
    DROP COLUMN account_id,
    DROP COLUMN endpoint;
CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE failed_at IS NULL;
COMMENT ON TABLE jobs IS 'Side effects still to be carried out, written in the transaction that causes them.';
COMMENT ON COLUMN jobs.id IS 'UUID v7; stable over retries, so that it can name a mail.';

DROP TABLE webhook_sequences;
DROP TABLE webhook_endpoints;
