CREATE TABLE import_requests (
    user_id uuid NOT NULL,
    key_hash bytea NOT NULL,
    request_hash bytea NOT NULL,
    answer jsonb,
    created_at timestamptz NOT NULL,
    CONSTRAINT import_requests_pkey PRIMARY KEY (user_id, key_hash),
    CONSTRAINT import_requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT import_requests_key_hash_length CHECK (octet_length(key_hash) = 32),
    CONSTRAINT import_requests_request_hash_length CHECK (octet_length(request_hash) = 32),
    CONSTRAINT import_requests_answer_object CHECK (jsonb_typeof(answer) = 'object')
);

CREATE INDEX import_requests_created_at_idx ON import_requests (created_at);

COMMENT ON TABLE import_requests IS 'Calls of importUsers that carried a key, so that the same call again gets the same answer and imports nothing twice.';
COMMENT ON COLUMN import_requests.user_id IS 'Who called.';
COMMENT ON COLUMN import_requests.key_hash IS 'HMAC-SHA-256 of the key, under a key that the database never sees.';
COMMENT ON COLUMN import_requests.request_hash IS 'HMAC-SHA-256 of the rows, under a key that the database never sees: the same key for other rows is refused.';
COMMENT ON COLUMN import_requests.answer IS 'What was answered: counts, and what was wrong with which row; nothing that was in the rows. Null only within the transaction that imports.';
COMMENT ON COLUMN import_requests.created_at IS 'When it was called; a day later the key is free again.';
