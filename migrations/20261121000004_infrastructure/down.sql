DROP TABLE signing_keys;
DROP TABLE rate_limits;
DROP TABLE jobs;
DROP FUNCTION jobs_notify();
