ALTER TABLE login_events
    -- Servers of the release before write none of the columns.
    ADD COLUMN succeeded boolean NOT NULL DEFAULT true,
    ADD COLUMN previous_at timestamptz;

UPDATE login_events SET previous_at = earlier.occurred_at
    FROM (
        SELECT id, lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at, id) AS occurred_at
        FROM login_events WHERE user_id IS NOT NULL
    ) AS earlier
    WHERE login_events.id = earlier.id AND earlier.occurred_at IS NOT NULL;

ALTER TABLE login_events
    ADD CONSTRAINT login_events_refused_bare CHECK (succeeded OR (user_id IS NULL AND methods = '{}' AND previous_at IS NULL)),
    ADD CONSTRAINT login_events_previous_at_order CHECK (previous_at <= occurred_at);

CREATE INDEX login_events_previous_at_idx ON login_events (previous_at, occurred_at) WHERE previous_at IS NOT NULL;
CREATE INDEX login_events_refused_idx ON login_events (occurred_at) WHERE NOT succeeded;

COMMENT ON TABLE login_events IS 'Sign-ins that opened a session, and tries that were refused, for statistics; appended only.';
COMMENT ON COLUMN login_events.user_id IS 'The account; null once it is gone, and for a refused try, whoever was meant.';
COMMENT ON COLUMN login_events.methods IS 'What was proved, in order; nothing for a refused try.';
COMMENT ON COLUMN login_events.occurred_at IS 'When; never before the sign-in before of the same account, nor within a quarter of an hour that was rolled up.';
COMMENT ON COLUMN login_events.succeeded IS 'A session was opened.';
COMMENT ON COLUMN login_events.previous_at IS 'When the account had signed in before; null for its first sign-in and for a refused try. In a span of time each account has one sign-in whose predecessor lies before the span. Stays when the account goes.';

CREATE TABLE login_quarters (
    starts_at timestamptz NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    CONSTRAINT login_quarters_pkey PRIMARY KEY (starts_at),
    CONSTRAINT login_quarters_starts_at_whole CHECK (extract(epoch FROM starts_at) % 900 = 0),
    CONSTRAINT login_quarters_counts_positive CHECK (successes >= 0 AND failures >= 0)
);

COMMENT ON TABLE login_quarters IS 'Roll-up of login_events by quarters of an hour. All events before the end of the last row are in the roll-ups, and no others.';
COMMENT ON COLUMN login_quarters.starts_at IS 'Start of the quarter of an hour.';
COMMENT ON COLUMN login_quarters.successes IS 'Sign-ins that opened a session.';
COMMENT ON COLUMN login_quarters.failures IS 'Tries that were refused.';

CREATE TABLE login_day_methods (
    day date NOT NULL,
    method text NOT NULL,
    sign_ins bigint NOT NULL,
    CONSTRAINT login_day_methods_pkey PRIMARY KEY (day, method),
    CONSTRAINT login_day_methods_method_known CHECK (method IN ('email_link', 'passkey', 'password', 'provider', 'recovery_code', 'totp', 'trusted_device')),
    CONSTRAINT login_day_methods_sign_ins_positive CHECK (sign_ins > 0)
);

COMMENT ON TABLE login_day_methods IS 'Roll-up of login_events by what was proved.';
COMMENT ON COLUMN login_day_methods.day IS 'Day in UTC.';
COMMENT ON COLUMN login_day_methods.method IS 'What was proved.';
COMMENT ON COLUMN login_day_methods.sign_ins IS 'Sign-ins that it was part of.';

CREATE TABLE login_day_returns (
    day date NOT NULL,
    previous_day date NOT NULL,
    sign_ins bigint NOT NULL,
    CONSTRAINT login_day_returns_pkey PRIMARY KEY (day, previous_day),
    CONSTRAINT login_day_returns_order CHECK (previous_day <= day),
    CONSTRAINT login_day_returns_sign_ins_positive CHECK (sign_ins > 0)
);

COMMENT ON TABLE login_day_returns IS 'Roll-up of login_events by the day of the account''s sign-in before. Counts the accounts of a span of days: the sign-ins whose predecessor lies before it.';
COMMENT ON COLUMN login_day_returns.day IS 'Day in UTC.';
COMMENT ON COLUMN login_day_returns.previous_day IS 'Day in UTC of the account''s sign-in before; -infinity for its first one.';
COMMENT ON COLUMN login_day_returns.sign_ins IS 'Sign-ins.';
