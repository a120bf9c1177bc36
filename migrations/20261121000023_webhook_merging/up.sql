-- As before, and what changes while the event before it waits at a service, untried, becomes part of that one, whoever
-- changed it: nobody fills a queue by changing an account over and over.
CREATE OR REPLACE FUNCTION webhooks_enqueue(account uuid, uuid uuid, status text, kind text, changed text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this CONSTANT bigint := pg_current_xact_id()::text::bigint;
    instant CONSTANT text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    place bigint;
    mine boolean;
    told text[] := '{}';
    event jsonb;
BEGIN
    SELECT s.last, s.transaction_id = this INTO place, mine FROM webhook_sequences AS s
        WHERE s.user_id = account FOR UPDATE;
    IF kind IN ('account.updated', 'account.deactivated', 'account.reactivated') AND FOUND THEN
        -- What makes an account, a hundred thousand of them perhaps, makes its parts as well.
        IF mine AND kind = 'account.updated' AND NOT 'status' = ANY(changed) AND EXISTS (
            SELECT FROM jobs WHERE jobs.account_id = account AND jobs.sequence = place
            AND jobs.endpoint IS NOT NULL AND jobs.payload ->> 'type' = 'account.created'
        ) THEN
            RETURN;
        END IF;
        -- The last event of each service. One that is sent again may have been taken as it is.
        WITH waiting AS (
            -- It is new as long as something of it is: how long it is tried counts from the last of it.
            UPDATE jobs SET created_at = now(), payload = payload || jsonb_build_object('status', webhooks_enqueue.status)
                    || CASE payload ->> 'type' WHEN 'account.created' THEN '{}' ELSE jsonb_build_object(
                        'type', CASE payload ->> 'type' WHEN 'account.updated' THEN kind ELSE payload ->> 'type' END,
                        'timestamp', instant,
                        'changed', (
                            SELECT jsonb_agg(DISTINCT field) FROM (
                                SELECT jsonb_array_elements_text(payload -> 'changed') UNION ALL SELECT unnest(changed)
                            ) AS fields (field)
                        )) END
                WHERE jobs.account_id = account AND jobs.endpoint IS NOT NULL
                AND jobs.attempts = 0 AND jobs.last_error IS NULL
                AND (jobs.payload ->> 'type' = 'account.updated' OR mine AND kind = 'account.updated')
                AND NOT EXISTS (
                    SELECT FROM jobs AS later WHERE later.account_id = account
                    AND later.endpoint = jobs.endpoint AND later.sequence > jobs.sequence
                )
                RETURNING jobs.endpoint
        ) SELECT coalesce(array_agg(waiting.endpoint), '{}') INTO told FROM waiting;
    END IF;
    IF NOT EXISTS (SELECT FROM webhook_endpoints AS e WHERE e.retired_at IS NULL AND e.name <> ALL(told)) THEN
        RETURN;
    END IF;
    INSERT INTO webhook_sequences AS s (user_id, last, transaction_id) VALUES (account, 1, this)
        ON CONFLICT (user_id) DO UPDATE SET last = s.last + 1, transaction_id = this
        RETURNING s.last INTO place;
    event := jsonb_strip_nulls(jsonb_build_object(
        'kind', 'account_event', 'type', kind, 'uuid', uuid, 'status', status, 'changed', changed,
        'timestamp', instant));
    -- Due at once by every clock.
    INSERT INTO jobs (id, payload, run_at, created_at, endpoint, account_id, sequence)
        SELECT gen_random_uuid(), event, '-infinity', now(), e.name, account, place
        FROM webhook_endpoints AS e WHERE e.retired_at IS NULL AND e.name <> ALL(told);
END
$$;
