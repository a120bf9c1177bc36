CREATE TABLE identities (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    provider text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    display_name text,
    email text,
    linked_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT identities_pkey PRIMARY KEY (id),
    CONSTRAINT identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT identities_subject_key UNIQUE (provider, issuer, subject),
    CONSTRAINT identities_provider_key UNIQUE (user_id, provider),
    CONSTRAINT identities_provider_form CHECK (provider ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    CONSTRAINT identities_issuer_length CHECK (char_length(issuer) BETWEEN 1 AND 2048),
    CONSTRAINT identities_subject_length CHECK (char_length(subject) BETWEEN 1 AND 255),
    CONSTRAINT identities_display_name_length CHECK (char_length(display_name) BETWEEN 1 AND 255),
    CONSTRAINT identities_email_length CHECK (char_length(email) BETWEEN 3 AND 254)
);

COMMENT ON TABLE identities IS 'Who an account is at sign-in providers. The pair of issuer and subject names a person there; an address never does.';
COMMENT ON COLUMN identities.id IS 'UUID v7.';
COMMENT ON COLUMN identities.user_id IS 'The account; at most one identity of a provider.';
COMMENT ON COLUMN identities.provider IS 'Slug of the provider in the settings.';
COMMENT ON COLUMN identities.issuer IS 'Who vouches for the subject: the issuer of ID tokens, or the address of a provider without them.';
COMMENT ON COLUMN identities.subject IS 'The person, as the issuer numbers them; never given to anybody else.';
COMMENT ON COLUMN identities.display_name IS 'Name or address that the provider showed when it was last used.';
COMMENT ON COLUMN identities.email IS 'Address that the provider told when it was last used; decides nothing.';
COMMENT ON COLUMN identities.linked_at IS 'When it was tied to the account.';
COMMENT ON COLUMN identities.last_used_at IS 'When it was last signed in with.';

CREATE TABLE oauth_states (
    state_hash bytea NOT NULL,
    provider text NOT NULL,
    redirect_uri text NOT NULL,
    user_id uuid,
    name text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT oauth_states_pkey PRIMARY KEY (state_hash),
    CONSTRAINT oauth_states_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT oauth_states_state_hash_length CHECK (octet_length(state_hash) = 32),
    CONSTRAINT oauth_states_provider_form CHECK (provider ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    CONSTRAINT oauth_states_redirect_uri_length CHECK (char_length(redirect_uri) BETWEEN 1 AND 2048),
    CONSTRAINT oauth_states_name_length CHECK (char_length(name) BETWEEN 1 AND 255)
);

CREATE INDEX oauth_states_user_id_idx ON oauth_states (user_id);
CREATE INDEX oauth_states_expires_at_idx ON oauth_states (expires_at);

COMMENT ON TABLE oauth_states IS 'Sign-ins with a provider that began and have not come back. Nonce and PKCE verifier follow from the secret that the browser holds, and stand nowhere.';
COMMENT ON COLUMN oauth_states.state_hash IS 'SHA-256 of the `state` that went to the provider, which follows from the secret of the browser.';
COMMENT ON COLUMN oauth_states.provider IS 'Slug of the provider that was asked; the answer of another one is refused.';
COMMENT ON COLUMN oauth_states.redirect_uri IS 'Page of the front end to which the browser comes back.';
COMMENT ON COLUMN oauth_states.user_id IS 'The account that the provider is to be tied to; null for a sign-in.';
COMMENT ON COLUMN oauth_states.name IS 'Name of the person, where the provider tells it beside the code and once only (Apple).';
COMMENT ON COLUMN oauth_states.created_at IS 'When the sign-in began.';
COMMENT ON COLUMN oauth_states.expires_at IS 'End of life.';
