-- Refused while an entry has several subjects: the trail is appended only, and nothing of it is forgotten silently.
ALTER TABLE audit_events ADD CONSTRAINT audit_events_subjects_none CHECK (subjects IS NULL);
ALTER TABLE audit_events DROP CONSTRAINT audit_events_subjects_none;
ALTER TABLE audit_events DROP COLUMN subjects;

COMMENT ON COLUMN audit_events.subject_id IS 'The account that it was done to.';
COMMENT ON COLUMN audit_events.mac IS 'HMAC-SHA-256 of the columns before it, made when the row was written, under a key that the database never sees.';
