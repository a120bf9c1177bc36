ALTER TABLE users
    ADD COLUMN erases_at timestamptz,
    ADD COLUMN inactivity_warnings smallint NOT NULL DEFAULT 0,
    ADD COLUMN inactivity_warned_at timestamptz,
    ADD CONSTRAINT users_inactivity_warnings_range CHECK (inactivity_warnings BETWEEN 0 AND 2),
    ADD CONSTRAINT users_inactivity_warned_whole CHECK ((inactivity_warnings = 0) = (inactivity_warned_at IS NULL));

COMMENT ON COLUMN users.erases_at IS 'From when on the account is to be erased; until then that can be called off. Null while nobody asked for it.';
COMMENT ON COLUMN users.inactivity_warnings IS 'How often its owner was warned since the account was last used.';
COMMENT ON COLUMN users.inactivity_warned_at IS 'When that was last; null while it was not.';

-- What the retention looks for, in the order in which it takes it, just as models/retention.rs writes it.
-- Nothing is released yet, so that no big table has to be written to while these are built.
CREATE INDEX users_erases_at_idx ON users (erases_at, id) WHERE erases_at IS NOT NULL;
CREATE INDEX users_idle_idx ON users (inactivity_warnings, coalesce(last_login_at, created_at), id)
    WHERE status = 'active' AND erases_at IS NULL;
CREATE INDEX users_unproved_idx ON users (updated_at, id) WHERE status = 'pending';
CREATE INDEX users_closed_idle_idx ON users (closed_at, id) WHERE closed_by = 'inactivity' AND erases_at IS NULL;

-- What others said of an address goes with the account that has it.
CREATE INDEX verification_tokens_email_idx ON verification_tokens (lower(email));
CREATE INDEX email_changes_new_email_idx ON email_changes (lower(new_email)) WHERE confirmed_at IS NULL;
CREATE INDEX jobs_user_idx ON jobs ((payload ->> 'user'));

CREATE INDEX username_reservations_created_at_idx ON username_reservations (created_at);
COMMENT ON COLUMN username_reservations.created_at IS 'When somebody last registered with the address.';
