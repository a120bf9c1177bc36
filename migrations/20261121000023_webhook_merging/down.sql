CREATE OR REPLACE FUNCTION webhooks_enqueue(account uuid, uuid uuid, status text, kind text, changed text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this CONSTANT bigint := pg_current_xact_id()::text::bigint;
    place bigint;
    before text;
    event jsonb;
BEGIN
    SELECT s.last INTO place FROM webhook_sequences AS s
        WHERE s.user_id = account AND s.transaction_id = this;
    IF FOUND THEN
        SELECT jobs.payload ->> 'type' INTO before FROM jobs
            WHERE jobs.account_id = account AND jobs.sequence = place AND jobs.endpoint IS NOT NULL AND jobs.attempts = 0 LIMIT 1;
        -- What makes an account, a hundred thousand of them perhaps, makes its parts as well.
        IF before = 'account.created' AND kind = 'account.updated' AND NOT 'status' = ANY(changed) THEN
            RETURN;
        END IF;
        IF kind = 'account.updated' AND before <> 'account.erased'
            OR before = 'account.updated' AND kind <> 'account.erased' THEN
            UPDATE jobs SET payload = payload || jsonb_build_object('status', webhooks_enqueue.status)
                    || CASE before WHEN 'account.created' THEN '{}' ELSE jsonb_build_object(
                        'type', CASE before WHEN 'account.updated' THEN kind ELSE before END,
                        'changed', (
                            SELECT jsonb_agg(DISTINCT field) FROM (
                                SELECT jsonb_array_elements_text(payload -> 'changed') UNION ALL SELECT unnest(changed)
                            ) AS fields (field)
                        )) END
                WHERE jobs.account_id = account AND jobs.sequence = place AND jobs.endpoint IS NOT NULL AND jobs.attempts = 0;
            RETURN;
        END IF;
    END IF;
    INSERT INTO webhook_sequences AS s (user_id, last, transaction_id) VALUES (account, 1, this)
        ON CONFLICT (user_id) DO UPDATE SET last = s.last + 1, transaction_id = this
        RETURNING s.last INTO place;
    event := jsonb_strip_nulls(jsonb_build_object(
        'kind', 'account_event', 'type', kind, 'uuid', uuid, 'status', status, 'changed', changed,
        'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
    -- Due at once by every clock.
    INSERT INTO jobs (id, payload, run_at, created_at, endpoint, account_id, sequence)
        SELECT gen_random_uuid(), event, '-infinity', now(), e.name, account, place
        FROM webhook_endpoints AS e WHERE e.retired_at IS NULL;
END
$$;
