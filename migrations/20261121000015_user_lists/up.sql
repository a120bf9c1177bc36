-- In the contrib package of PostgreSQL, and trusted: the owner of a database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

ALTER TABLE users ADD COLUMN search_text text NOT NULL GENERATED ALWAYS AS (
    lower(' ' || coalesce(username || ' ', '') || email || ' ' || full_name
        || coalesce(' ' || first_name, '') || coalesce(' ' || last_name, ''))
) STORED;
COMMENT ON COLUMN users.search_text IS 'What a search looks through: user name, address and names in lower case, a blank before each.';
-- The planner guesses how many accounts a word finds by trying it on so many samples.
ALTER TABLE users ALTER COLUMN search_text SET STATISTICS 1000;

-- Nothing is released yet, so that no big table has to be written to while these are built.
CREATE INDEX users_search_text_idx ON users USING gin (search_text gin_trgm_ops);
-- Orders of lists, each just as models/user_page.rs writes it. created_at has one; users_email_key serves
-- the order by address, since no two accounts share one.
CREATE INDEX users_last_login_at_idx ON users (coalesce(last_login_at, '-infinity'), id);
CREATE INDEX users_username_idx ON users (coalesce(lower(username), ''), id);
-- Accounts that wait or are closed are few, and lie together in these orders: nobody who waits has ever
-- signed in, and most of them are new. Without an index of their own a list of them walks past all others.
CREATE INDEX users_not_open_created_at_idx ON users (created_at, id)
    WHERE status <> 'active' OR email_verified_at IS NULL;
CREATE INDEX users_not_open_last_login_at_idx ON users (coalesce(last_login_at, '-infinity'), id)
    WHERE status <> 'active' OR email_verified_at IS NULL;
