DROP INDEX jobs_payload_idx;
ALTER TABLE rate_limits DROP COLUMN subject, DROP COLUMN tries;
COMMENT ON COLUMN rate_limits.full_at IS 'When the whole budget will be there again (the theoretical arrival time); in the past: unused.';
DROP TABLE known_devices;
DROP TABLE email_changes;
DELETE FROM verification_tokens WHERE kind = 'email_change_undo';
ALTER TABLE verification_tokens
    DROP CONSTRAINT verification_tokens_kind_known,
    ADD CONSTRAINT verification_tokens_kind_known CHECK (kind IN ('account_reactivation', 'email_change', 'email_verification', 'invitation', 'password_reset'));
DROP INDEX registration_claims_created_at_idx;
DROP INDEX users_password_changed_at_idx;
ALTER TABLE users DROP COLUMN contested, DROP COLUMN closed_reason, DROP COLUMN closed_by, DROP COLUMN closed_at;
