-- SQL cannot open what is sealed. Birth dates and goals are not thrown away: with any of them there this fails.
DO $$
BEGIN
    IF EXISTS (SELECT FROM users WHERE birth_date IS NOT NULL) OR EXISTS (SELECT FROM profiles WHERE coaching_goals IS NOT NULL) THEN
        RAISE EXCEPTION 'birth dates or coaching goals are sealed, and SQL cannot open them; nothing was changed';
    END IF;
END
$$;

-- Where from a session was opened is: it is only shown.
ALTER TABLE sessions
    DROP CONSTRAINT sessions_ip_address_length,
    DROP CONSTRAINT sessions_user_agent_length,
    ALTER COLUMN ip_address TYPE text USING NULL,
    ALTER COLUMN user_agent TYPE text USING NULL,
    ADD CONSTRAINT sessions_ip_address_length CHECK (char_length(ip_address) <= 45),
    ADD CONSTRAINT sessions_user_agent_length CHECK (char_length(user_agent) <= 512);
COMMENT ON COLUMN sessions.ip_address IS 'Address of the client at sign-in.';
COMMENT ON COLUMN sessions.user_agent IS 'User agent of the client at sign-in, at most 512 characters.';

ALTER TABLE profiles
    DROP CONSTRAINT profiles_coaching_goals_length,
    ALTER COLUMN coaching_goals TYPE jsonb USING '{}',
    ALTER COLUMN coaching_goals SET DEFAULT '{}',
    ALTER COLUMN coaching_goals SET NOT NULL,
    ADD CONSTRAINT profiles_coaching_goals_object CHECK (jsonb_typeof(coaching_goals) = 'object'),
    ADD CONSTRAINT profiles_coaching_goals_size CHECK (octet_length(coaching_goals::text) <= 32768);
COMMENT ON COLUMN profiles.coaching_goals IS 'What the person wants out of coaching: a JSON object, at most 16 KiB as sent (jsonb text adds spaces, hence the looser bound here).';
UPDATE profiles SET coaching_goals = value::jsonb FROM unsealed_values
    WHERE place = 'profiles.coaching_goals' AND row_id = profiles.user_id;

ALTER TABLE users
    DROP CONSTRAINT users_birth_date_length,
    ALTER COLUMN birth_date TYPE date USING NULL,
    ADD CONSTRAINT users_birth_date_range CHECK (birth_date >= DATE '1850-01-01');
COMMENT ON COLUMN users.birth_date IS 'Day of birth.';
UPDATE users SET birth_date = value::date FROM unsealed_values WHERE place = 'users.birth_date' AND row_id = users.id;

DROP TABLE unsealed_values;
