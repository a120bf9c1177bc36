-- What was given up is counted at every scrape, and looked for every minute by what removes it: neither may read all
-- that waits. Ordinary jobs are never in it.
CREATE INDEX jobs_failed_idx ON jobs (failed_at) WHERE failed_at IS NOT NULL;
