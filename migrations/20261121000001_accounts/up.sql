CREATE TABLE users (
    id uuid NOT NULL,
    auth_token uuid NOT NULL,
    username text,
    email text NOT NULL,
    hashed_password text,
    full_name text NOT NULL,
    first_name text,
    last_name text,
    avatar_url text,
    birth_date date,
    status text NOT NULL DEFAULT 'pending',
    email_verified_at timestamptz,
    password_changed_at timestamptz,
    last_login_at timestamptz,
    login_count integer NOT NULL DEFAULT 0,
    coaching_start_date timestamptz,
    last_coaching_session timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_auth_token_key UNIQUE (auth_token),
    CONSTRAINT users_username_form CHECK (username ~ '^[A-Za-z0-9_]{1,150}$'),
    CONSTRAINT users_email_form CHECK (char_length(email) BETWEEN 3 AND 254 AND email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
    CONSTRAINT users_full_name_length CHECK (char_length(full_name) BETWEEN 2 AND 255 AND full_name = btrim(full_name)),
    CONSTRAINT users_first_name_length CHECK (char_length(first_name) BETWEEN 1 AND 150),
    CONSTRAINT users_last_name_length CHECK (char_length(last_name) BETWEEN 1 AND 150),
    CONSTRAINT users_avatar_url_form CHECK (char_length(avatar_url) <= 500 AND avatar_url ~ '^https?://'),
    CONSTRAINT users_birth_date_range CHECK (birth_date >= DATE '1850-01-01'),
    CONSTRAINT users_status_known CHECK (status IN ('pending', 'active', 'deactivated')),
    CONSTRAINT users_login_count_positive CHECK (login_count >= 0)
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE UNIQUE INDEX users_username_key ON users (lower(username));
CREATE INDEX users_status_idx ON users (status);
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_coaching_start_date_idx ON users (coaching_start_date);

COMMENT ON TABLE users IS 'Accounts: one row for each person.';
COMMENT ON COLUMN users.id IS 'UUID v7 made by the application; known to this server only.';
COMMENT ON COLUMN users.auth_token IS 'UUID v4 by which every other system knows the account; never changes.';
COMMENT ON COLUMN users.username IS 'Second name to sign in with, as typed; unique without case.';
COMMENT ON COLUMN users.email IS 'Address as typed; unique without case.';
COMMENT ON COLUMN users.hashed_password IS 'PHC string; null for accounts that sign in without a password.';
COMMENT ON COLUMN users.full_name IS 'Name as it is to be shown, trimmed.';
COMMENT ON COLUMN users.first_name IS 'Given name.';
COMMENT ON COLUMN users.last_name IS 'Family name.';
COMMENT ON COLUMN users.avatar_url IS 'Picture shown beside the name.';
COMMENT ON COLUMN users.birth_date IS 'Day of birth.';
COMMENT ON COLUMN users.status IS 'pending until the address is proved, then active; deactivated is a soft delete.';
COMMENT ON COLUMN users.email_verified_at IS 'When the address was last proved; null while it was not.';
COMMENT ON COLUMN users.password_changed_at IS 'When the password was last set.';
COMMENT ON COLUMN users.last_login_at IS 'Most recent successful sign-in.';
COMMENT ON COLUMN users.login_count IS 'Successful sign-ins so far.';
COMMENT ON COLUMN users.coaching_start_date IS 'When coaching began.';
COMMENT ON COLUMN users.last_coaching_session IS 'Most recent coaching session.';
COMMENT ON COLUMN users.created_at IS 'When the account came into being.';
COMMENT ON COLUMN users.updated_at IS 'When anything about the account last changed.';

CREATE FUNCTION users_refuse_auth_token_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'users.auth_token never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'users_auth_token_immutable', TABLE = 'users';
END
$$;

CREATE TRIGGER users_auth_token_immutable BEFORE UPDATE ON users
    FOR EACH ROW WHEN (OLD.auth_token IS DISTINCT FROM NEW.auth_token)
    EXECUTE FUNCTION users_refuse_auth_token_change();

CREATE TABLE username_reservations (
    name text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT username_reservations_pkey PRIMARY KEY (name),
    CONSTRAINT username_reservations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT username_reservations_name_form CHECK (name ~ '^[a-z0-9_]{1,150}$')
);

CREATE INDEX username_reservations_user_id_idx ON username_reservations (user_id);

COMMENT ON TABLE username_reservations IS 'Usernames asked for in registrations with an address that has an account already; kept from others, so that a free name does not tell that the address was in use.';
COMMENT ON COLUMN username_reservations.name IS 'The username in lower case.';
COMMENT ON COLUMN username_reservations.user_id IS 'The account that has the address; it alone may take the name.';
COMMENT ON COLUMN username_reservations.created_at IS 'When it was first asked for.';

CREATE TABLE registration_claims (
    user_id uuid NOT NULL,
    hashed_password text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT registration_claims_pkey PRIMARY KEY (user_id),
    CONSTRAINT registration_claims_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE registration_claims IS 'The last registration with the address of an account that is open already. Signing in with its password is answered as for a new account, which the caller would have otherwise; it opens nothing.';
COMMENT ON COLUMN registration_claims.user_id IS 'The account that has the address.';
COMMENT ON COLUMN registration_claims.hashed_password IS 'PHC string of the password that was given.';
COMMENT ON COLUMN registration_claims.created_at IS 'When it was given.';

CREATE TABLE profiles (
    user_id uuid NOT NULL,
    bio text,
    timezone text NOT NULL DEFAULT 'UTC',
    coaching_goals jsonb NOT NULL DEFAULT '{}',
    preferred_coaching_style text,
    session_frequency text,
    email_notifications boolean NOT NULL DEFAULT true,
    push_notifications boolean NOT NULL DEFAULT true,
    notification_frequency text NOT NULL DEFAULT 'daily',
    theme text NOT NULL DEFAULT 'light',
    language text NOT NULL DEFAULT 'en',
    preferences jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT profiles_pkey PRIMARY KEY (user_id),
    CONSTRAINT profiles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT profiles_bio_length CHECK (char_length(bio) <= 500),
    -- AT TIME ZONE fails for a zone that the server's own time zone data does not hold.
    CONSTRAINT profiles_timezone_known CHECK (
        char_length(timezone) <= 64 AND timezone ~ '^[A-Za-z][A-Za-z0-9_+/-]*$'
        AND (TIMESTAMPTZ '2000-01-01 00:00:00Z' AT TIME ZONE timezone) IS NOT NULL
    ),
    CONSTRAINT profiles_coaching_goals_object CHECK (jsonb_typeof(coaching_goals) = 'object'),
    CONSTRAINT profiles_coaching_goals_size CHECK (octet_length(coaching_goals::text) <= 32768),
    CONSTRAINT profiles_preferred_coaching_style_known CHECK (preferred_coaching_style IN ('directive', 'supportive', 'collaborative', 'challenging')),
    CONSTRAINT profiles_session_frequency_known CHECK (session_frequency IN ('daily', 'weekly', 'biweekly', 'monthly')),
    CONSTRAINT profiles_notification_frequency_known CHECK (notification_frequency IN ('immediate', 'daily', 'weekly', 'never')),
    CONSTRAINT profiles_theme_known CHECK (theme IN ('light', 'dark', 'system')),
    CONSTRAINT profiles_language_form CHECK (language ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' AND char_length(language) <= 35),
    CONSTRAINT profiles_preferences_object CHECK (jsonb_typeof(preferences) = 'object'),
    CONSTRAINT profiles_preferences_size CHECK (octet_length(preferences::text) <= 16384)
);

CREATE INDEX profiles_timezone_idx ON profiles (timezone);
CREATE INDEX profiles_created_at_idx ON profiles (created_at);

COMMENT ON TABLE profiles IS 'Self-description and coaching preferences; made with the account.';
COMMENT ON COLUMN profiles.user_id IS 'The account.';
COMMENT ON COLUMN profiles.bio IS 'Self-description, at most 500 characters.';
COMMENT ON COLUMN profiles.timezone IS 'IANA name.';
COMMENT ON COLUMN profiles.coaching_goals IS 'What the person wants out of coaching: a JSON object, at most 16 KiB as sent (jsonb text adds spaces, hence the looser bound here).';
COMMENT ON COLUMN profiles.preferred_coaching_style IS 'Tone the coach should take.';
COMMENT ON COLUMN profiles.session_frequency IS 'How often the person wants to meet.';
COMMENT ON COLUMN profiles.email_notifications IS 'Send notices by mail.';
COMMENT ON COLUMN profiles.push_notifications IS 'Send notices to devices.';
COMMENT ON COLUMN profiles.notification_frequency IS 'How often notices are bundled.';
COMMENT ON COLUMN profiles.theme IS 'Colour scheme.';
COMMENT ON COLUMN profiles.language IS 'BCP 47 tag.';
COMMENT ON COLUMN profiles.preferences IS 'Settings that only front ends read: a JSON object of at most 16 KiB after merging.';
COMMENT ON COLUMN profiles.created_at IS 'When the profile came into being.';
COMMENT ON COLUMN profiles.updated_at IS 'When the profile last changed.';

CREATE TABLE backgrounds (
    user_id uuid NOT NULL,
    software_tools text[] NOT NULL DEFAULT '{}',
    programming_languages text[] NOT NULL DEFAULT '{}',
    hardware_setup jsonb,
    technical_preferences jsonb,
    experience_level text,
    primary_domain text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT backgrounds_pkey PRIMARY KEY (user_id),
    CONSTRAINT backgrounds_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT backgrounds_software_tools_items CHECK (array_position(software_tools, NULL) IS NULL AND cardinality(software_tools) <= 200),
    CONSTRAINT backgrounds_programming_languages_items CHECK (array_position(programming_languages, NULL) IS NULL AND cardinality(programming_languages) <= 200),
    CONSTRAINT backgrounds_hardware_setup_object CHECK (jsonb_typeof(hardware_setup) = 'object'),
    CONSTRAINT backgrounds_hardware_setup_size CHECK (octet_length(hardware_setup::text) <= 32768),
    CONSTRAINT backgrounds_technical_preferences_object CHECK (jsonb_typeof(technical_preferences) = 'object'),
    CONSTRAINT backgrounds_technical_preferences_size CHECK (octet_length(technical_preferences::text) <= 32768),
    CONSTRAINT backgrounds_experience_level_known CHECK (experience_level IN ('beginner', 'intermediate', 'advanced', 'expert')),
    CONSTRAINT backgrounds_primary_domain_length CHECK (char_length(primary_domain) BETWEEN 1 AND 255)
);

COMMENT ON TABLE backgrounds IS 'Background in software and hardware; made when first written.';
COMMENT ON COLUMN backgrounds.user_id IS 'The account.';
COMMENT ON COLUMN backgrounds.software_tools IS 'Tools in use.';
COMMENT ON COLUMN backgrounds.programming_languages IS 'Languages in use, the strongest first.';
COMMENT ON COLUMN backgrounds.hardware_setup IS 'Machines and peripherals: a JSON object.';
COMMENT ON COLUMN backgrounds.technical_preferences IS 'Editor, keyboard, build habits and the like: a JSON object.';
COMMENT ON COLUMN backgrounds.experience_level IS 'Self-assessed level.';
COMMENT ON COLUMN backgrounds.primary_domain IS 'Main field of work.';
COMMENT ON COLUMN backgrounds.created_at IS 'When it was first written.';
COMMENT ON COLUMN backgrounds.updated_at IS 'When it last changed.';

CREATE TABLE personalizations (
    user_id uuid NOT NULL,
    recommended_content text[] NOT NULL DEFAULT '{}',
    preferred_categories text[] NOT NULL DEFAULT '{}',
    last_personalization_update timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT personalizations_pkey PRIMARY KEY (user_id),
    CONSTRAINT personalizations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT personalizations_recommended_content_items CHECK (array_position(recommended_content, NULL) IS NULL AND cardinality(recommended_content) <= 200),
    CONSTRAINT personalizations_preferred_categories_items CHECK (array_position(preferred_categories, NULL) IS NULL AND cardinality(preferred_categories) <= 200)
);

COMMENT ON TABLE personalizations IS 'What was learned about the person''s taste; written by services, read by the owner.';
COMMENT ON COLUMN personalizations.user_id IS 'The account.';
COMMENT ON COLUMN personalizations.recommended_content IS 'Keys of the content to offer next.';
COMMENT ON COLUMN personalizations.preferred_categories IS 'Categories in order of preference.';
COMMENT ON COLUMN personalizations.last_personalization_update IS 'When the columns beside this one were last computed.';
COMMENT ON COLUMN personalizations.created_at IS 'When it was first written.';
COMMENT ON COLUMN personalizations.updated_at IS 'When it last changed.';
