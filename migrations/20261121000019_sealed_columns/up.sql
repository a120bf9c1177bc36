-- Only the server has the keys: what stands here in clear waits in a table of its own, and the next server that starts
-- seals it before it serves. The columns change their type, which writes the tables anew without the clear values.
CREATE TABLE unsealed_values (
    user_id uuid NOT NULL,
    place text NOT NULL,
    row_id uuid NOT NULL,
    value text NOT NULL,
    CONSTRAINT unsealed_values_pkey PRIMARY KEY (user_id, place, row_id),
    CONSTRAINT unsealed_values_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT unsealed_values_place_known CHECK (place IN ('profiles.coaching_goals', 'sessions.ip_address', 'sessions.user_agent', 'users.birth_date'))
);

COMMENT ON TABLE unsealed_values IS 'Values from before their columns were sealed; the next server that starts seals them and leaves this table empty.';
COMMENT ON COLUMN unsealed_values.user_id IS 'The account.';
COMMENT ON COLUMN unsealed_values.place IS 'The table and column that the value belongs to.';
COMMENT ON COLUMN unsealed_values.row_id IS 'The row that it belongs to.';
COMMENT ON COLUMN unsealed_values.value IS 'The value, in clear.';

INSERT INTO unsealed_values (user_id, place, row_id, value)
    SELECT id, 'users.birth_date', id, to_char(birth_date, 'YYYY-MM-DD') FROM users WHERE birth_date IS NOT NULL
    UNION ALL
    SELECT user_id, 'profiles.coaching_goals', user_id, coaching_goals::text FROM profiles WHERE coaching_goals <> '{}'
    UNION ALL
    SELECT user_id, 'sessions.ip_address', id, ip_address FROM sessions WHERE ip_address IS NOT NULL
    UNION ALL
    SELECT user_id, 'sessions.user_agent', id, user_agent FROM sessions WHERE user_agent IS NOT NULL;

ALTER TABLE users
    DROP CONSTRAINT users_birth_date_range,
    ALTER COLUMN birth_date TYPE bytea USING NULL,
    ADD CONSTRAINT users_birth_date_length CHECK (octet_length(birth_date) = 39);
COMMENT ON COLUMN users.birth_date IS 'Day of birth, sealed.';

ALTER TABLE profiles
    DROP CONSTRAINT profiles_coaching_goals_object,
    DROP CONSTRAINT profiles_coaching_goals_size,
    ALTER COLUMN coaching_goals DROP DEFAULT,
    ALTER COLUMN coaching_goals DROP NOT NULL,
    ALTER COLUMN coaching_goals TYPE bytea USING NULL,
    ADD CONSTRAINT profiles_coaching_goals_length CHECK (octet_length(coaching_goals) <= 33000);
COMMENT ON COLUMN profiles.coaching_goals IS 'What the person wants out of coaching: a JSON object, sealed; null for an empty one.';

ALTER TABLE sessions
    DROP CONSTRAINT sessions_ip_address_length,
    DROP CONSTRAINT sessions_user_agent_length,
    ALTER COLUMN ip_address TYPE bytea USING NULL,
    ALTER COLUMN user_agent TYPE bytea USING NULL,
    ADD CONSTRAINT sessions_ip_address_length CHECK (octet_length(ip_address) <= 128),
    ADD CONSTRAINT sessions_user_agent_length CHECK (octet_length(user_agent) <= 2176);
COMMENT ON COLUMN sessions.ip_address IS 'Address of the client at sign-in, sealed.';
COMMENT ON COLUMN sessions.user_agent IS 'User agent of the client at sign-in, at most 512 characters, sealed.';
