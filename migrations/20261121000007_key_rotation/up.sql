DROP INDEX signing_keys_active_key;

-- Renamed instead of dropped and added, so that up and down lead back to the same table.
ALTER TABLE signing_keys RENAME COLUMN retired_at TO signs_from;
UPDATE signing_keys SET signs_from = created_at;
ALTER TABLE signing_keys ALTER COLUMN signs_from SET NOT NULL;

COMMENT ON TABLE signing_keys IS 'Keys that sign access tokens, each until the next one does.';
COMMENT ON COLUMN signing_keys.signs_from IS 'From when on it signs; it is published before.';

-- Servers keep the keys in memory; all of them follow.
CREATE FUNCTION signing_keys_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access', 'keys');
    RETURN NULL;
END
$$;

CREATE TRIGGER signing_keys_notify AFTER INSERT OR UPDATE OR DELETE ON signing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION signing_keys_notify();
