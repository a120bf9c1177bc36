DROP TABLE audit_events;
DROP SCHEMA audit_months;
DROP FUNCTION audit_drop_month(date);
DROP FUNCTION audit_make_month(date);
DROP FUNCTION audit_events_refuse_change();
DROP TABLE audit_chains;
DROP TABLE installation_keys;
