ALTER TABLE users ADD COLUMN imported_at timestamptz;

COMMENT ON COLUMN users.imported_at IS 'When it was taken in from elsewhere; null for an account that was opened here. Until its address is proved, whoever registers with it writes nothing into it.';
