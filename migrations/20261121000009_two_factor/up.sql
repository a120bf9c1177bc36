CREATE TABLE data_keys (
    user_id uuid NOT NULL,
    wrapped_key bytea NOT NULL,
    master_key_id bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT data_keys_pkey PRIMARY KEY (user_id),
    CONSTRAINT data_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT data_keys_wrapped_key_length CHECK (octet_length(wrapped_key) = 61),
    CONSTRAINT data_keys_master_key_id_length CHECK (octet_length(master_key_id) = 8)
);

COMMENT ON TABLE data_keys IS 'A key for each account that has sealed values, wrapped by a master key that lies outside the database.';
COMMENT ON COLUMN data_keys.user_id IS 'The account.';
COMMENT ON COLUMN data_keys.wrapped_key IS 'The key, encrypted with the master key (AES-256-GCM-SIV).';
COMMENT ON COLUMN data_keys.master_key_id IS 'Names the master key: the first 8 bytes of a SHA-256.';
COMMENT ON COLUMN data_keys.created_at IS 'When it was made.';

CREATE TABLE two_factor_secrets (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    sealed_secret bytea NOT NULL,
    last_step bigint,
    wrong_codes integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    CONSTRAINT two_factor_secrets_pkey PRIMARY KEY (id),
    CONSTRAINT two_factor_secrets_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT two_factor_secrets_wrong_codes_bound CHECK (wrong_codes BETWEEN 0 AND 100),
    CONSTRAINT two_factor_secrets_confirmed_whole CHECK (confirmed_at IS NULL OR last_step IS NOT NULL)
);

CREATE UNIQUE INDEX two_factor_secrets_confirmed_key ON two_factor_secrets (user_id) WHERE confirmed_at IS NOT NULL;
CREATE UNIQUE INDEX two_factor_secrets_pending_key ON two_factor_secrets (user_id) WHERE confirmed_at IS NULL;
CREATE INDEX two_factor_secrets_user_id_idx ON two_factor_secrets (user_id);
CREATE INDEX two_factor_secrets_created_at_idx ON two_factor_secrets (created_at) WHERE confirmed_at IS NULL;

COMMENT ON TABLE two_factor_secrets IS 'Secrets of devices that show codes (TOTP, RFC 6238): one that is in use, and one that waits to be confirmed.';
COMMENT ON COLUMN two_factor_secrets.id IS 'UUID v7.';
COMMENT ON COLUMN two_factor_secrets.user_id IS 'The account.';
COMMENT ON COLUMN two_factor_secrets.sealed_secret IS 'The secret, sealed with the data key of the account.';
COMMENT ON COLUMN two_factor_secrets.last_step IS 'The last time step whose code was taken; codes of it and of earlier ones are refused.';
COMMENT ON COLUMN two_factor_secrets.wrong_codes IS 'Wrong codes in a row; at 100 no code is taken any more.';
COMMENT ON COLUMN two_factor_secrets.created_at IS 'When it was made.';
COMMENT ON COLUMN two_factor_secrets.confirmed_at IS 'When the first code from the device was shown; null while it waits.';

CREATE TABLE recovery_codes (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (id),
    CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT recovery_codes_code_hash_key UNIQUE (user_id, code_hash),
    CONSTRAINT recovery_codes_code_hash_length CHECK (octet_length(code_hash) = 32)
);

COMMENT ON TABLE recovery_codes IS 'Codes that stand in for a lost device, each once.';
COMMENT ON COLUMN recovery_codes.id IS 'UUID v7.';
COMMENT ON COLUMN recovery_codes.user_id IS 'The account.';
COMMENT ON COLUMN recovery_codes.code_hash IS 'HMAC-SHA-256 of the code under the data key of the account.';
COMMENT ON COLUMN recovery_codes.created_at IS 'When it was made.';
COMMENT ON COLUMN recovery_codes.used_at IS 'When it was used; null while it was not.';

CREATE TABLE two_factor_challenges (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    method text NOT NULL,
    password_changed_at timestamptz,
    remember_me boolean NOT NULL,
    in_cookies boolean NOT NULL,
    device_hash bytea NOT NULL,
    forgiven_keys bytea[] NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT two_factor_challenges_pkey PRIMARY KEY (token_hash),
    CONSTRAINT two_factor_challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT two_factor_challenges_token_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT two_factor_challenges_device_hash_length CHECK (octet_length(device_hash) = 32),
    CONSTRAINT two_factor_challenges_method_known CHECK (method IN ('email_link', 'passkey', 'password', 'provider', 'recovery_code', 'totp', 'trusted_device')),
    CONSTRAINT two_factor_challenges_tries_bound CHECK (tries BETWEEN 0 AND 5)
);

CREATE INDEX two_factor_challenges_user_id_idx ON two_factor_challenges (user_id);
CREATE INDEX two_factor_challenges_expires_at_idx ON two_factor_challenges (expires_at);

COMMENT ON TABLE two_factor_challenges IS 'Sign-ins that wait for their second factor, for a few minutes.';
COMMENT ON COLUMN two_factor_challenges.token_hash IS 'SHA-256 of the token that continues the sign-in; it opens nothing else.';
COMMENT ON COLUMN two_factor_challenges.user_id IS 'The account.';
COMMENT ON COLUMN two_factor_challenges.method IS 'What was proved first.';
COMMENT ON COLUMN two_factor_challenges.password_changed_at IS 'When the password was set that was proved: with another one the challenge is void.';
COMMENT ON COLUMN two_factor_challenges.remember_me IS 'Keep the session for longer.';
COMMENT ON COLUMN two_factor_challenges.in_cookies IS 'The tokens are to come in cookies.';
COMMENT ON COLUMN two_factor_challenges.device_hash IS 'From where the sign-in began: SHA-256 of account, kind of browser and system, and wider network.';
COMMENT ON COLUMN two_factor_challenges.forgiven_keys IS 'Budgets of wrong passwords that are full again once the sign-in is whole.';
COMMENT ON COLUMN two_factor_challenges.tries IS 'Codes that were tried; at 5 it is void.';
COMMENT ON COLUMN two_factor_challenges.created_at IS 'When the first factor was proved.';
COMMENT ON COLUMN two_factor_challenges.expires_at IS 'From when on it is refused.';

CREATE TABLE trusted_devices (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT trusted_devices_pkey PRIMARY KEY (token_hash),
    CONSTRAINT trusted_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT trusted_devices_token_hash_length CHECK (octet_length(token_hash) = 32)
);

CREATE INDEX trusted_devices_user_id_idx ON trusted_devices (user_id, created_at);
CREATE INDEX trusted_devices_expires_at_idx ON trusted_devices (expires_at);

COMMENT ON TABLE trusted_devices IS 'Devices that need no second factor for a while, because one was proved on them.';
COMMENT ON COLUMN trusted_devices.token_hash IS 'SHA-256 of the token that the device keeps.';
COMMENT ON COLUMN trusted_devices.user_id IS 'The account.';
COMMENT ON COLUMN trusted_devices.created_at IS 'When the second factor was proved there.';
COMMENT ON COLUMN trusted_devices.expires_at IS 'Until when it is spared.';

ALTER TABLE sessions
    ADD COLUMN methods text[] NOT NULL DEFAULT '{}',
    ADD COLUMN second_factor boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT sessions_methods_known CHECK (methods <@ ARRAY['email_link', 'passkey', 'password', 'provider', 'recovery_code', 'totp', 'trusted_device']),
    DROP CONSTRAINT sessions_revoked_reason_known,
    ADD CONSTRAINT sessions_revoked_reason_known CHECK (revoked_reason IN ('admin', 'displaced', 'logout', 'password_changed', 'reuse_detected', 'two_factor_changed', 'user'));

UPDATE sessions SET methods = '{password}';
ALTER TABLE sessions ALTER COLUMN methods DROP DEFAULT;

COMMENT ON COLUMN sessions.methods IS 'What was proved at sign-in, in order.';
COMMENT ON COLUMN sessions.second_factor IS 'A second factor was proved, at sign-in or since.';

ALTER TABLE roles ADD COLUMN requires_two_factor boolean NOT NULL DEFAULT false;
UPDATE roles SET requires_two_factor = true WHERE name = 'admin';

COMMENT ON COLUMN roles.requires_two_factor IS 'Who holds the role must have a second factor, where the settings leave that to the roles.';

CREATE TABLE login_events (
    id uuid NOT NULL,
    user_id uuid,
    methods text[] NOT NULL,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT login_events_pkey PRIMARY KEY (id),
    CONSTRAINT login_events_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT login_events_methods_known CHECK (methods <@ ARRAY['email_link', 'passkey', 'password', 'provider', 'recovery_code', 'totp', 'trusted_device'])
);

CREATE INDEX login_events_user_id_idx ON login_events (user_id);
CREATE INDEX login_events_occurred_at_idx ON login_events (occurred_at);

COMMENT ON TABLE login_events IS 'Sign-ins that opened a session, for statistics; appended only.';
COMMENT ON COLUMN login_events.id IS 'UUID v7.';
COMMENT ON COLUMN login_events.user_id IS 'The account; null once it is gone.';
COMMENT ON COLUMN login_events.methods IS 'What was proved, in order.';
COMMENT ON COLUMN login_events.occurred_at IS 'When.';

-- Which proofs an account has, and which its roles ask of it, is part of what every instance keeps in memory.
DROP TRIGGER sessions_access_update ON sessions;
CREATE TRIGGER sessions_access_update AFTER UPDATE ON sessions FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at, OLD.authenticated_at, OLD.second_factor) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at, NEW.authenticated_at, NEW.second_factor))
    EXECUTE FUNCTION access_notify_session();
DROP TRIGGER users_access_update ON users;
CREATE TRIGGER users_access_update AFTER UPDATE ON users FOR EACH ROW
    WHEN ((OLD.status, OLD.hashed_password IS NULL) IS DISTINCT FROM (NEW.status, NEW.hashed_password IS NULL))
    EXECUTE FUNCTION access_notify_user();
CREATE TRIGGER two_factor_secrets_access_insert AFTER INSERT ON two_factor_secrets FOR EACH ROW
    WHEN (NEW.confirmed_at IS NOT NULL) EXECUTE FUNCTION access_notify_user_role();
CREATE TRIGGER two_factor_secrets_access_update AFTER UPDATE ON two_factor_secrets FOR EACH ROW
    WHEN (OLD.confirmed_at IS DISTINCT FROM NEW.confirmed_at) EXECUTE FUNCTION access_notify_user_role();
CREATE TRIGGER two_factor_secrets_access_delete AFTER DELETE ON two_factor_secrets FOR EACH ROW
    WHEN (OLD.confirmed_at IS NOT NULL) EXECUTE FUNCTION access_notify_user_role();
CREATE TRIGGER roles_access AFTER UPDATE ON roles FOR EACH ROW
    WHEN (OLD.requires_two_factor IS DISTINCT FROM NEW.requires_two_factor) EXECUTE FUNCTION access_notify_permissions();
