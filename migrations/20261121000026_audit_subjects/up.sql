-- What one request reads of many accounts is one entry: a row for each would cost more than the reading.
ALTER TABLE audit_events ADD COLUMN subjects uuid[];
ALTER TABLE audit_events ADD CONSTRAINT audit_events_subjects_several CHECK (
    subjects IS NULL
    OR subject_id IS NULL AND cardinality(subjects) BETWEEN 2 AND 100 AND array_position(subjects, NULL) IS NULL
);

CREATE INDEX audit_events_subjects_idx ON audit_events USING gin (subjects);

COMMENT ON COLUMN audit_events.subject_id IS 'The account that it was done to; null where it was none or several.';
COMMENT ON COLUMN audit_events.subjects IS 'The accounts that it was done to, where there are several; 2 to 100.';
COMMENT ON COLUMN audit_events.mac IS 'HMAC-SHA-256 of the columns before position, and of subjects where there are several, made when the row was written, under a key that the database never sees.';
