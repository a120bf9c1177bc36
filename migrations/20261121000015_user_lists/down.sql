DROP INDEX users_not_open_last_login_at_idx;
DROP INDEX users_not_open_created_at_idx;
DROP INDEX users_username_idx;
DROP INDEX users_last_login_at_idx;
ALTER TABLE users DROP COLUMN search_text;
DROP EXTENSION pg_trgm;
