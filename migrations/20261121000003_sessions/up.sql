CREATE TABLE verification_tokens (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    kind text NOT NULL,
    email text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT verification_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT verification_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT verification_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT verification_tokens_token_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT verification_tokens_kind_known CHECK (kind IN ('account_reactivation', 'email_change', 'email_verification', 'invitation', 'password_reset')),
    CONSTRAINT verification_tokens_email_length CHECK (char_length(email) <= 254)
);

CREATE INDEX verification_tokens_user_id_idx ON verification_tokens (user_id, kind, created_at);
CREATE INDEX verification_tokens_expires_at_idx ON verification_tokens (expires_at);

COMMENT ON TABLE verification_tokens IS 'Tokens that were mailed; used once, replaced by a newer one of their kind.';
COMMENT ON COLUMN verification_tokens.id IS 'UUID v7.';
COMMENT ON COLUMN verification_tokens.user_id IS 'The account that the token was made for.';
COMMENT ON COLUMN verification_tokens.token_hash IS 'SHA-256 of the token; the token itself is kept nowhere.';
COMMENT ON COLUMN verification_tokens.kind IS 'What the token is for.';
COMMENT ON COLUMN verification_tokens.email IS 'Address that the mail went to.';
COMMENT ON COLUMN verification_tokens.expires_at IS 'From when on it is refused; moved forward to now when a newer one replaces it.';
COMMENT ON COLUMN verification_tokens.used_at IS 'When it was used; null while it was not.';
COMMENT ON COLUMN verification_tokens.created_at IS 'When it was made.';

CREATE TABLE sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    refresh_token_hash bytea NOT NULL,
    previous_refresh_token_hash bytea,
    remember_me boolean NOT NULL,
    ip_address text,
    user_agent text,
    created_at timestamptz NOT NULL,
    last_accessed_at timestamptz NOT NULL,
    refreshed_at timestamptz,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_refresh_token_hash_key UNIQUE (refresh_token_hash),
    CONSTRAINT sessions_previous_refresh_token_hash_key UNIQUE (previous_refresh_token_hash),
    CONSTRAINT sessions_refresh_token_hash_length CHECK (octet_length(refresh_token_hash) = 32),
    CONSTRAINT sessions_previous_refresh_token_hash_length CHECK (octet_length(previous_refresh_token_hash) = 32),
    CONSTRAINT sessions_ip_address_length CHECK (char_length(ip_address) <= 45),
    CONSTRAINT sessions_user_agent_length CHECK (char_length(user_agent) <= 512),
    CONSTRAINT sessions_expires_at_bound CHECK (expires_at <= created_at + INTERVAL '30 days'),
    CONSTRAINT sessions_revoked_reason_known CHECK (revoked_reason IN ('admin', 'logout', 'password_changed', 'reuse_detected', 'user')),
    CONSTRAINT sessions_revoked_whole CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id, last_accessed_at DESC);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

COMMENT ON TABLE sessions IS 'Signed-in devices and browsers.';
COMMENT ON COLUMN sessions.id IS 'UUID v7; sid in access tokens.';
COMMENT ON COLUMN sessions.user_id IS 'The account.';
COMMENT ON COLUMN sessions.refresh_token_hash IS 'SHA-256 of the refresh token that is good now.';
COMMENT ON COLUMN sessions.previous_refresh_token_hash IS 'SHA-256 of the one before it, to tell reuse from noise.';
COMMENT ON COLUMN sessions.remember_me IS 'Lives for 30 days instead of 24 hours.';
COMMENT ON COLUMN sessions.ip_address IS 'Address of the client at sign-in.';
COMMENT ON COLUMN sessions.user_agent IS 'User agent of the client at sign-in, at most 512 characters.';
COMMENT ON COLUMN sessions.created_at IS 'When the sign-in happened.';
COMMENT ON COLUMN sessions.last_accessed_at IS 'When the session was last used.';
COMMENT ON COLUMN sessions.refreshed_at IS 'When the refresh token was last rotated.';
COMMENT ON COLUMN sessions.expires_at IS 'When it ends by itself; refreshing does not move it.';
COMMENT ON COLUMN sessions.revoked_at IS 'When it was ended before its time.';
COMMENT ON COLUMN sessions.revoked_reason IS 'Why it was ended before its time.';
