CREATE TABLE passkeys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    credential_id bytea NOT NULL,
    credential jsonb NOT NULL,
    sign_count bigint NOT NULL DEFAULT 0,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT passkeys_pkey PRIMARY KEY (id),
    CONSTRAINT passkeys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT passkeys_credential_id_key UNIQUE (credential_id),
    CONSTRAINT passkeys_credential_id_length CHECK (octet_length(credential_id) BETWEEN 16 AND 1023),
    CONSTRAINT passkeys_sign_count_range CHECK (sign_count BETWEEN 0 AND 4294967295),
    CONSTRAINT passkeys_name_length CHECK (char_length(name) BETWEEN 1 AND 100 AND name = btrim(name))
);

CREATE INDEX passkeys_user_id_idx ON passkeys (user_id, created_at);

COMMENT ON TABLE passkeys IS 'Passkeys (WebAuthn credentials) that open an account.';
COMMENT ON COLUMN passkeys.id IS 'UUID v7.';
COMMENT ON COLUMN passkeys.user_id IS 'The account; its id is the user handle that the authenticator keeps.';
COMMENT ON COLUMN passkeys.credential_id IS 'The id that the authenticator gave it; of one account only.';
COMMENT ON COLUMN passkeys.credential IS 'Public key and what else is checked at sign-in, as webauthn-rs writes it; nothing in it is secret.';
COMMENT ON COLUMN passkeys.sign_count IS 'Signature counter at the last use; 0 before it, and of authenticators that do not count.';
COMMENT ON COLUMN passkeys.name IS 'What its owner calls it.';
COMMENT ON COLUMN passkeys.created_at IS 'When it was added.';
COMMENT ON COLUMN passkeys.last_used_at IS 'When somebody last proved to hold it; null while nobody did.';

CREATE TABLE passkey_challenges (
    token_hash bytea NOT NULL,
    kind text NOT NULL,
    user_id uuid,
    session_id uuid,
    two_factor_hash bytea,
    state jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT passkey_challenges_pkey PRIMARY KEY (token_hash),
    CONSTRAINT passkey_challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT passkey_challenges_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT passkey_challenges_two_factor_hash_fkey FOREIGN KEY (two_factor_hash) REFERENCES two_factor_challenges (token_hash) ON DELETE CASCADE,
    CONSTRAINT passkey_challenges_token_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT passkey_challenges_kind_known CHECK (kind IN ('registration', 'sign_in')),
    CONSTRAINT passkey_challenges_registration_whole CHECK ((kind = 'registration') = (session_id IS NOT NULL) AND (session_id IS NULL OR user_id IS NOT NULL)),
    CONSTRAINT passkey_challenges_second_step_whole CHECK (two_factor_hash IS NULL OR (kind = 'sign_in' AND user_id IS NOT NULL))
);

CREATE INDEX passkey_challenges_user_id_idx ON passkey_challenges (user_id);
CREATE INDEX passkey_challenges_session_id_idx ON passkey_challenges (session_id);
CREATE INDEX passkey_challenges_two_factor_hash_idx ON passkey_challenges (two_factor_hash);
CREATE INDEX passkey_challenges_expires_at_idx ON passkey_challenges (expires_at);

COMMENT ON TABLE passkey_challenges IS 'Ceremonies with an authenticator that were begun and not finished; a row is taken out before its answer is looked at.';
COMMENT ON COLUMN passkey_challenges.token_hash IS 'SHA-256 of the token that names the ceremony.';
COMMENT ON COLUMN passkey_challenges.kind IS 'What it is for.';
COMMENT ON COLUMN passkey_challenges.user_id IS 'The account whose passkeys are meant; null where the authenticator says whose.';
COMMENT ON COLUMN passkey_challenges.session_id IS 'The session that began the registration, and only may finish it.';
COMMENT ON COLUMN passkey_challenges.two_factor_hash IS 'The sign-in whose second factor is to be proved; null where it begins one.';
COMMENT ON COLUMN passkey_challenges.state IS 'The challenge and what is asked of the authenticator, as webauthn-rs writes it; never told to the client.';
COMMENT ON COLUMN passkey_challenges.created_at IS 'When it began.';
COMMENT ON COLUMN passkey_challenges.expires_at IS 'From when on it is refused.';

-- Whether an account has passkeys is part of what every instance keeps in memory.
CREATE TRIGGER passkeys_access AFTER INSERT OR DELETE ON passkeys FOR EACH ROW
    EXECUTE FUNCTION access_notify_user_role();
