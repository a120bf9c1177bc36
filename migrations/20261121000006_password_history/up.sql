CREATE TABLE password_history (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    hashed_password text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT password_history_pkey PRIMARY KEY (id),
    CONSTRAINT password_history_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX password_history_user_id_idx ON password_history (user_id, created_at DESC, id DESC);

COMMENT ON TABLE password_history IS 'Passwords that accounts had before, as many of each as the settings say.';
COMMENT ON COLUMN password_history.id IS 'UUID v7.';
COMMENT ON COLUMN password_history.user_id IS 'The account.';
COMMENT ON COLUMN password_history.hashed_password IS 'PHC string of the former password.';
COMMENT ON COLUMN password_history.created_at IS 'When another password took its place.';

ALTER TABLE users ADD COLUMN password_warned_at timestamptz;

COMMENT ON COLUMN users.password_warned_at IS 'When the owner was last told that the password is about to grow too old; null for never.';
