DROP TRIGGER signing_keys_notify ON signing_keys;
DROP FUNCTION signing_keys_notify();

ALTER TABLE signing_keys ALTER COLUMN signs_from DROP NOT NULL;
ALTER TABLE signing_keys RENAME COLUMN signs_from TO retired_at;

-- The newest key signs, also one that was only to begin; the others retired when the next one came.
UPDATE signing_keys SET retired_at = succeeded_at
FROM (SELECT id, lead(retired_at) OVER (ORDER BY retired_at, id) AS succeeded_at FROM signing_keys) AS successors
WHERE signing_keys.id = successors.id;

CREATE UNIQUE INDEX signing_keys_active_key ON signing_keys ((true)) WHERE retired_at IS NULL;

COMMENT ON TABLE signing_keys IS 'Keys that sign access tokens.';
COMMENT ON COLUMN signing_keys.retired_at IS 'From when on it signs no more; exactly one key has none.';
