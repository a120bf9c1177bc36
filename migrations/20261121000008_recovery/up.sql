ALTER TABLE users
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by text,
    ADD COLUMN closed_reason text,
    ADD COLUMN contested boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_closed_by_known CHECK (closed_by IN ('admin', 'inactivity', 'owner')),
    ADD CONSTRAINT users_closed_whole CHECK ((closed_at IS NULL) = (closed_by IS NULL)),
    ADD CONSTRAINT users_closed_reason_length CHECK (char_length(closed_reason) <= 500);

CREATE INDEX users_password_changed_at_idx ON users (password_changed_at);
CREATE INDEX registration_claims_created_at_idx ON registration_claims (created_at);

COMMENT ON COLUMN users.closed_at IS 'When the account was deactivated; null while it is open.';
COMMENT ON COLUMN users.closed_by IS 'Who deactivated it: only what its owner or inactivity closed can be opened again by a mailed link.';
COMMENT ON COLUMN users.closed_reason IS 'What the administrator said of it.';

COMMENT ON COLUMN users.contested IS 'Registered with more than one password before the address was proved: none of them is believed when it is.';

ALTER TABLE verification_tokens
    DROP CONSTRAINT verification_tokens_kind_known,
    ADD CONSTRAINT verification_tokens_kind_known CHECK (kind IN ('account_reactivation', 'email_change', 'email_change_undo', 'email_verification', 'invitation', 'password_reset'));

CREATE TABLE email_changes (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    new_email text NOT NULL,
    old_email text NOT NULL,
    requested_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    CONSTRAINT email_changes_pkey PRIMARY KEY (id),
    CONSTRAINT email_changes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT email_changes_new_email_form CHECK (char_length(new_email) BETWEEN 3 AND 254 AND new_email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
    CONSTRAINT email_changes_old_email_form CHECK (char_length(old_email) BETWEEN 3 AND 254 AND old_email ~ '^[^[:space:]@]+@[^[:space:]@]+$')
);

CREATE INDEX email_changes_user_id_idx ON email_changes (user_id);
CREATE INDEX email_changes_requested_at_idx ON email_changes (requested_at);
CREATE UNIQUE INDEX email_changes_pending_key ON email_changes (user_id) WHERE confirmed_at IS NULL;

COMMENT ON TABLE email_changes IS 'Moves of an account to another address: asked for, then confirmed; kept for as long as they can be undone.';
COMMENT ON COLUMN email_changes.id IS 'UUID v7.';
COMMENT ON COLUMN email_changes.user_id IS 'The account; at most one move waits for confirmation.';
COMMENT ON COLUMN email_changes.new_email IS 'The address to move to, as typed.';
COMMENT ON COLUMN email_changes.old_email IS 'The address before; a link mailed to it undoes the move.';
COMMENT ON COLUMN email_changes.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN email_changes.confirmed_at IS 'When the new address was proved and taken; null while it waits.';

CREATE TABLE known_devices (
    user_id uuid NOT NULL,
    device_hash bytea NOT NULL,
    network_hash bytea NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT known_devices_pkey PRIMARY KEY (user_id, device_hash, network_hash),
    CONSTRAINT known_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT known_devices_device_hash_length CHECK (octet_length(device_hash) = 32),
    CONSTRAINT known_devices_network_hash_length CHECK (octet_length(network_hash) = 32)
);

CREATE INDEX known_devices_network_idx ON known_devices (user_id, network_hash);
CREATE INDEX known_devices_last_seen_at_idx ON known_devices (last_seen_at);

COMMENT ON TABLE known_devices IS 'From where somebody has signed in: a sign-in from elsewhere is told by mail, and wrong tries of strangers do not shut these out.';
COMMENT ON COLUMN known_devices.user_id IS 'The account.';
COMMENT ON COLUMN known_devices.device_hash IS 'SHA-256 of account, kind of browser and system, and wider network; no address stands here in clear.';
COMMENT ON COLUMN known_devices.network_hash IS 'SHA-256 of account and network.';
COMMENT ON COLUMN known_devices.first_seen_at IS 'First sign-in from there.';
COMMENT ON COLUMN known_devices.last_seen_at IS 'Last sign-in from there.';

ALTER TABLE rate_limits
    ADD COLUMN tries integer NOT NULL DEFAULT 0,
    ADD COLUMN subject bytea,
    ADD CONSTRAINT rate_limits_tries_positive CHECK (tries >= 0),
    ADD CONSTRAINT rate_limits_subject_length CHECK (octet_length(subject) = 32);

CREATE INDEX rate_limits_subject_idx ON rate_limits (subject);

COMMENT ON COLUMN rate_limits.full_at IS 'When the whole budget will be there again (the theoretical arrival time), or when the next try is allowed; in the past: unused.';
COMMENT ON COLUMN rate_limits.tries IS 'Tries that failed in a row, where each next one has to wait longer.';
COMMENT ON COLUMN rate_limits.subject IS 'SHA-256 of the name that is tried, so that an administrator can let its owner in again.';

CREATE INDEX jobs_payload_idx ON jobs USING hash (payload);
