ALTER TABLE users DROP COLUMN password_warned_at;
DROP TABLE password_history;
