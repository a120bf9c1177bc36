//! The constraints of the database, each broken once past the server: what a bug above lets through
//! stops here.

use std::collections::BTreeSet;

use cardea::db::single_connection;
use diesel::result::Error;
use diesel_async::SimpleAsyncConnection as _;

use crate::harness::app::config;
use crate::harness::db::TestDb;

/// A row in each table, for the statements below to break.
const ROWS: &str = "
    INSERT INTO users (id, auth_token, username, email, full_name, created_at, updated_at) VALUES
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000000a1', 'ada', 'ada@example.org', 'Ada', now(), now()),
        ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-0000000000a2', 'bob', 'bob@example.org', 'Bob', now(), now());
    INSERT INTO profiles (user_id, created_at, updated_at) VALUES ('00000000-0000-0000-0000-000000000001', now(), now());
    INSERT INTO backgrounds (user_id, created_at, updated_at) VALUES ('00000000-0000-0000-0000-000000000001', now(), now());
    INSERT INTO personalizations (user_id, created_at, updated_at) VALUES ('00000000-0000-0000-0000-000000000001', now(), now());
    INSERT INTO roles (id, name, created_at, updated_at) VALUES ('00000000-0000-0000-0000-000000000003', 'editor', now(), now());
    INSERT INTO permissions (id, name, created_at) VALUES ('00000000-0000-0000-0000-000000000004', 'posts:publish', now());
    INSERT INTO role_permissions (role_id, permission_id) VALUES ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000004');
    INSERT INTO user_roles (user_id, role_id, assigned_at, assigned_by) VALUES
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003', now(), '00000000-0000-0000-0000-000000000002');
    INSERT INTO sessions (id, user_id, refresh_token_hash, remember_me, created_at, last_accessed_at, authenticated_at, expires_at, methods) VALUES
        ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000001', decode(repeat('05', 32), 'hex'), true, now(), now(), now(), now() + INTERVAL '30 days', '{password,totp}'),
        ('00000000-0000-0000-0000-000000000006', '00000000-0000-0000-0000-000000000001', decode(repeat('06', 32), 'hex'), false, now(), now(), now(), now(), '{}');
    INSERT INTO data_keys (user_id, wrapped_key, master_key_id, created_at) VALUES
        ('00000000-0000-0000-0000-000000000001', decode(repeat('21', 61), 'hex'), decode(repeat('22', 8), 'hex'), now());
    INSERT INTO two_factor_secrets (id, user_id, sealed_secret, last_step, created_at, confirmed_at) VALUES
        ('00000000-0000-0000-0000-000000000021', '00000000-0000-0000-0000-000000000001', 'x', 1, now(), now()),
        ('00000000-0000-0000-0000-000000000022', '00000000-0000-0000-0000-000000000001', 'x', NULL, now(), NULL);
    INSERT INTO recovery_codes (id, user_id, code_hash, created_at) VALUES
        ('00000000-0000-0000-0000-000000000023', '00000000-0000-0000-0000-000000000001', decode(repeat('23', 32), 'hex'), now()),
        ('00000000-0000-0000-0000-000000000024', '00000000-0000-0000-0000-000000000001', decode(repeat('24', 32), 'hex'), now());
    INSERT INTO two_factor_challenges (token_hash, user_id, method, remember_me, in_cookies, device_hash, forgiven_keys, created_at, expires_at) VALUES
        (decode(repeat('25', 32), 'hex'), '00000000-0000-0000-0000-000000000001', 'password', false, false, decode(repeat('26', 32), 'hex'), '{}', now(), now());
    INSERT INTO trusted_devices (token_hash, user_id, created_at, expires_at) VALUES
        (decode(repeat('27', 32), 'hex'), '00000000-0000-0000-0000-000000000001', now(), now());
    INSERT INTO login_events (id, user_id, methods, occurred_at) VALUES
        ('00000000-0000-0000-0000-000000000028', '00000000-0000-0000-0000-000000000001', '{password}', now());
    INSERT INTO installation_keys (purpose, wrapped_key, master_key_id, created_at) VALUES
        ('audit', decode(repeat('31', 61), 'hex'), decode(repeat('32', 8), 'hex'), now());
    INSERT INTO audit_events (id, occurred_at, action, outcome, mac) VALUES ('00000000-0000-0000-0000-000000000031', now(), 'login', 'success', decode(repeat('31', 32), 'hex'));
    INSERT INTO audit_chains (month, number, genesis, length, head, mac) VALUES
        ('2026-12-01', 2, decode(repeat('33', 32), 'hex'), 0, decode(repeat('33', 32), 'hex'), decode(repeat('33', 32), 'hex')),
        ('2026-11-01', 1, decode(repeat('33', 32), 'hex'), 0, decode(repeat('33', 32), 'hex'), decode(repeat('33', 32), 'hex'));
    INSERT INTO login_quarters (starts_at, successes, failures) VALUES ('2026-11-30T08:15:00Z', 1, 0), ('2026-11-30T08:30:00Z', 0, 1);
    INSERT INTO login_day_methods (day, method, sign_ins) VALUES ('2026-11-30', 'password', 1), ('2026-11-30', 'totp', 1);
    INSERT INTO login_day_returns (day, previous_day, sign_ins) VALUES ('2026-11-30', '-infinity', 1), ('2026-11-30', '2026-11-29', 1);
    INSERT INTO unsealed_values (user_id, place, row_id, value) VALUES
        ('00000000-0000-0000-0000-000000000001', 'users.birth_date', '00000000-0000-0000-0000-000000000001', '1990-12-10'),
        ('00000000-0000-0000-0000-000000000001', 'sessions.ip_address', '00000000-0000-0000-0000-000000000005', '127.0.0.1');
    INSERT INTO spent_refresh_tokens (token_hash, session_id, spent_at) VALUES (decode(repeat('15', 32), 'hex'), '00000000-0000-0000-0000-000000000005', now());
    INSERT INTO email_changes (id, user_id, new_email, old_email, requested_at) VALUES
        ('00000000-0000-0000-0000-00000000000d', '00000000-0000-0000-0000-000000000001', 'eve@example.org', 'ada@example.org', now());
    INSERT INTO known_devices (user_id, device_hash, network_hash, first_seen_at, last_seen_at) VALUES
        ('00000000-0000-0000-0000-000000000001', decode(repeat('0e', 32), 'hex'), decode(repeat('0f', 32), 'hex'), now(), now());
    INSERT INTO verification_tokens (id, user_id, token_hash, kind, email, expires_at, created_at) VALUES
        ('00000000-0000-0000-0000-000000000007', '00000000-0000-0000-0000-000000000001', decode(repeat('07', 32), 'hex'), 'invitation', 'ada@example.org', now(), now()),
        ('00000000-0000-0000-0000-000000000008', '00000000-0000-0000-0000-000000000001', decode(repeat('08', 32), 'hex'), 'invitation', 'ada@example.org', now(), now());
    INSERT INTO password_history (id, user_id, hashed_password, created_at) VALUES ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-000000000001', 'x', now());
    INSERT INTO passkeys (id, user_id, credential_id, credential, name, created_at) VALUES
        ('00000000-0000-0000-0000-00000000000e', '00000000-0000-0000-0000-000000000001', decode(repeat('0e', 16), 'hex'), '{}', 'Phone', now()),
        ('00000000-0000-0000-0000-00000000000f', '00000000-0000-0000-0000-000000000001', decode(repeat('0f', 16), 'hex'), '{}', 'Laptop', now());
    INSERT INTO passkey_challenges (token_hash, kind, user_id, session_id, state, created_at, expires_at) VALUES
        (decode(repeat('10', 32), 'hex'), 'registration', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000005', '{}', now(), now()),
        (decode(repeat('11', 32), 'hex'), 'sign_in', '00000000-0000-0000-0000-000000000001', NULL, '{}', now(), now());
    INSERT INTO jobs (id, payload, run_at, created_at) VALUES ('00000000-0000-0000-0000-000000000009', '{}', now(), now());
    INSERT INTO jobs (id, payload, run_at, created_at, endpoint, account_id, sequence) VALUES
        ('00000000-0000-0000-0000-000000000041', '{}', now(), now(), 'crm', '00000000-0000-0000-0000-000000000041', 1),
        ('00000000-0000-0000-0000-000000000042', '{}', now(), now(), 'crm', '00000000-0000-0000-0000-000000000041', 2);
    INSERT INTO webhook_endpoints (name, created_at, retired_at) VALUES ('crm', now(), now());
    INSERT INTO webhook_sequences (user_id, last, transaction_id) VALUES ('00000000-0000-0000-0000-000000000041', 2, 1);
    INSERT INTO rate_limits (key, full_at) VALUES (decode(repeat('0a', 32), 'hex'), now());
    INSERT INTO signing_keys (id, algorithm, private_key, created_at, signs_from) VALUES ('00000000-0000-0000-0000-00000000000b', 'EdDSA', decode(repeat('0b', 48), 'hex'), now(), now());
    INSERT INTO identities (id, user_id, provider, issuer, subject, linked_at, last_used_at) VALUES
        ('00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000001', 'acme', 'https://id.acme.test', 'ada', now(), now()),
        ('00000000-0000-0000-0000-000000000012', '00000000-0000-0000-0000-000000000001', 'other', 'https://id.acme.test', 'ada', now(), now());
    INSERT INTO import_requests (user_id, key_hash, request_hash, created_at) VALUES
        ('00000000-0000-0000-0000-000000000001', decode(repeat('41', 32), 'hex'), decode(repeat('42', 32), 'hex'), now());
    INSERT INTO oauth_states (state_hash, provider, redirect_uri, user_id, created_at, expires_at) VALUES
        (decode(repeat('13', 32), 'hex'), 'acme', 'https://app.test', '00000000-0000-0000-0000-000000000001', now(), now());
";

/// Every constraint that has a name, and statements that break it and nothing before it.
#[rustfmt::skip]
const BROKEN: &[(&str, &[&str])] = &[
    ("users_pkey", &["UPDATE users SET id = '00000000-0000-0000-0000-000000000001'"]),
    ("users_auth_token_key", &[
        "INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at) \
        SELECT gen_random_uuid(), auth_token, 'eve@example.org', 'Eve', now(), now() FROM users WHERE username = 'ada'",
    ]),
    ("users_auth_token_immutable", &["UPDATE users SET auth_token = gen_random_uuid()"]),
    ("users_closed_by_known", &["UPDATE users SET closed_at = now(), closed_by = 'nobody'"]),
    ("users_closed_whole", &["UPDATE users SET closed_at = now()", "UPDATE users SET closed_by = 'owner'"]),
    ("users_closed_reason_length", &["UPDATE users SET closed_reason = repeat('ä', 501)"]),
    ("users_email_key", &[
        "UPDATE users SET email = 'ada@example.org'",
        "UPDATE users SET email = 'ADA@Example.ORG' WHERE username = 'bob'",
    ]),
    ("users_email_form", &[
        "UPDATE users SET email = 'a@'",
        "UPDATE users SET email = 'ab'",
        "UPDATE users SET email = '@example.org'",
        "UPDATE users SET email = 'a b@example.org'",
        "UPDATE users SET email = 'a@b@example.org'",
        "UPDATE users SET email = E'a@example.org\\r\\nBcc: b@example.org'",
        "UPDATE users SET email = repeat('x', 250) || '@x.org'",
    ]),
    ("users_username_key", &["UPDATE users SET username = 'ADA' WHERE username = 'bob'"]),
    ("users_username_form", &[
        "UPDATE users SET username = ''",
        "UPDATE users SET username = 'a-b'",
        "UPDATE users SET username = 'a@b'",
        "UPDATE users SET username = 'ä'",
        "UPDATE users SET username = E'ada\\n'",
        "UPDATE users SET username = repeat('x', 151)",
    ]),
    ("users_full_name_length", &[
        "UPDATE users SET full_name = 'A'",
        "UPDATE users SET full_name = ' Ada'",
        "UPDATE users SET full_name = repeat('x', 256)",
    ]),
    ("users_first_name_length", &[
        "UPDATE users SET first_name = ''",
        "UPDATE users SET first_name = repeat('x', 151)",
    ]),
    ("users_last_name_length", &[
        "UPDATE users SET last_name = ''",
        "UPDATE users SET last_name = repeat('x', 151)",
    ]),
    ("users_avatar_url_form", &[
        "UPDATE users SET avatar_url = 'javascript:alert(1)'",
        "UPDATE users SET avatar_url = ''",
        "UPDATE users SET avatar_url = 'https://' || repeat('x', 493)",
    ]),
    ("users_birth_date_length", &["UPDATE users SET birth_date = '1849-12-31'"]),
    ("users_status_known", &[
        "UPDATE users SET status = 'ACTIVE'",
        "UPDATE users SET status = ''",
    ]),
    ("users_inactivity_warnings_range", &[
        "UPDATE users SET inactivity_warnings = 3, inactivity_warned_at = now()",
        "UPDATE users SET inactivity_warnings = -1, inactivity_warned_at = now()",
    ]),
    ("users_inactivity_warned_whole", &[
        "UPDATE users SET inactivity_warnings = 1",
        "UPDATE users SET inactivity_warned_at = now()",
    ]),
    ("users_login_count_positive", &["UPDATE users SET login_count = -1"]),

    ("data_keys_pkey", &["INSERT INTO data_keys SELECT * FROM data_keys"]),
    ("data_keys_user_id_fkey", &["UPDATE data_keys SET user_id = gen_random_uuid()"]),
    ("data_keys_wrapped_key_length", &["UPDATE data_keys SET wrapped_key = 'x'"]),
    ("data_keys_master_key_id_length", &["UPDATE data_keys SET master_key_id = 'x'"]),

    ("installation_keys_pkey", &["INSERT INTO installation_keys SELECT * FROM installation_keys"]),
    ("installation_keys_purpose_known", &["UPDATE installation_keys SET purpose = 'x'"]),
    ("installation_keys_wrapped_key_length", &["UPDATE installation_keys SET wrapped_key = 'x'"]),
    ("installation_keys_master_key_id_length", &["UPDATE installation_keys SET master_key_id = 'x'"]),

    ("audit_events_pkey", &["INSERT INTO audit_events SELECT * FROM audit_events"]),
    ("audit_events_action_form", &[
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'LOGIN', 'success')",
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), '', 'success')",
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), repeat('x', 65), 'success')",
    ]),
    ("audit_events_outcome_known", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'x')"]),
    ("audit_events_request_id_length", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome, request_id) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', repeat('x', 65))"]),
    ("audit_events_client_length", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome, client) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', decode(repeat('00', 4097), 'hex'))"]),
    ("audit_events_reason_length", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome, reason) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', decode(repeat('00', 4097), 'hex'))"]),
    ("audit_events_details_object", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome, details) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', '[]')"]),
    ("audit_events_details_size", &["INSERT INTO audit_events (id, occurred_at, mac, action, outcome, details) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', jsonb_build_object('x', repeat('x', 16384)))"]),
    ("audit_events_mac_length", &["INSERT INTO audit_events (id, occurred_at, action, outcome, mac) VALUES (gen_random_uuid(), now(), 'login', 'success', 'x')"]),
    ("audit_events_position_positive", &["UPDATE audit_events SET position = 0, hash = decode(repeat('34', 32), 'hex')"]),
    ("audit_events_hash_length", &["UPDATE audit_events SET position = 1, hash = 'x'"]),
    ("audit_events_subjects_several", &[
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome, subject_id, subjects) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', NULL, ARRAY[gen_random_uuid()])",
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome, subject_id, subjects) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', gen_random_uuid(), ARRAY[gen_random_uuid(), gen_random_uuid()])",
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome, subject_id, subjects) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', NULL, ARRAY[gen_random_uuid(), NULL])",
        "INSERT INTO audit_events (id, occurred_at, mac, action, outcome, subject_id, subjects) VALUES (gen_random_uuid(), now(), decode(repeat('31', 32), 'hex'), 'login', 'success', NULL, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 101)))",
    ]),
    ("audit_events_sealed_whole", &["UPDATE audit_events SET position = 1"]),
    ("audit_events_append_only", &[
        "UPDATE audit_events SET action = 'logout'",
        "UPDATE audit_events SET hash = decode(repeat('34', 32), 'hex')",
        "UPDATE audit_events SET position = 1, hash = decode(repeat('34', 32), 'hex'), subject_id = gen_random_uuid()",
        "DELETE FROM audit_events",
        "DELETE FROM audit_months.others",
        "TRUNCATE audit_events",
        "TRUNCATE audit_months.others",
    ]),
    ("audit_chains_pkey", &["INSERT INTO audit_chains SELECT * FROM audit_chains"]),
    ("audit_chains_number_key", &["UPDATE audit_chains SET number = 1"]),
    ("audit_chains_number_positive", &["UPDATE audit_chains SET number = 0 WHERE number = 1"]),
    ("audit_chains_month_first", &["UPDATE audit_chains SET month = '2026-11-02'"]),
    ("audit_chains_genesis_length", &["UPDATE audit_chains SET genesis = 'x'"]),
    ("audit_chains_length_positive", &["UPDATE audit_chains SET length = -1"]),
    ("audit_chains_head_length", &["UPDATE audit_chains SET head = 'x'"]),
    ("audit_chains_mac_length", &["UPDATE audit_chains SET mac = 'x'"]),

    ("two_factor_secrets_pkey", &["UPDATE two_factor_secrets SET id = '00000000-0000-0000-0000-000000000021'"]),
    ("two_factor_secrets_user_id_fkey", &["UPDATE two_factor_secrets SET user_id = gen_random_uuid()"]),
    ("two_factor_secrets_wrong_codes_bound", &[
        "UPDATE two_factor_secrets SET wrong_codes = -1",
        "UPDATE two_factor_secrets SET wrong_codes = 101",
    ]),
    ("two_factor_secrets_confirmed_whole", &["UPDATE two_factor_secrets SET last_step = NULL"]),
    ("two_factor_secrets_confirmed_key", &["UPDATE two_factor_secrets SET confirmed_at = now(), last_step = 1"]),
    ("two_factor_secrets_pending_key", &["UPDATE two_factor_secrets SET confirmed_at = NULL"]),

    ("recovery_codes_pkey", &["UPDATE recovery_codes SET id = '00000000-0000-0000-0000-000000000023'"]),
    ("recovery_codes_user_id_fkey", &["UPDATE recovery_codes SET user_id = gen_random_uuid()"]),
    ("recovery_codes_code_hash_key", &["UPDATE recovery_codes SET code_hash = decode(repeat('23', 32), 'hex')"]),
    ("recovery_codes_code_hash_length", &["UPDATE recovery_codes SET code_hash = 'x'"]),

    ("two_factor_challenges_pkey", &["INSERT INTO two_factor_challenges SELECT * FROM two_factor_challenges"]),
    ("two_factor_challenges_user_id_fkey", &["UPDATE two_factor_challenges SET user_id = gen_random_uuid()"]),
    ("two_factor_challenges_token_hash_length", &["UPDATE two_factor_challenges SET token_hash = 'x'"]),
    ("two_factor_challenges_device_hash_length", &["UPDATE two_factor_challenges SET device_hash = 'x'"]),
    ("two_factor_challenges_method_known", &["UPDATE two_factor_challenges SET method = 'luck'"]),
    ("two_factor_challenges_tries_bound", &[
        "UPDATE two_factor_challenges SET tries = -1",
        "UPDATE two_factor_challenges SET tries = 6",
    ]),

    ("trusted_devices_pkey", &["INSERT INTO trusted_devices SELECT * FROM trusted_devices"]),
    ("trusted_devices_user_id_fkey", &["UPDATE trusted_devices SET user_id = gen_random_uuid()"]),
    ("trusted_devices_token_hash_length", &["UPDATE trusted_devices SET token_hash = 'x'"]),

    ("login_events_pkey", &["INSERT INTO login_events SELECT * FROM login_events"]),
    ("login_events_user_id_fkey", &["UPDATE login_events SET user_id = gen_random_uuid()"]),
    ("login_events_methods_known", &["UPDATE login_events SET methods = '{luck}'"]),
    ("login_events_refused_bare", &[
        "UPDATE login_events SET succeeded = false, user_id = NULL",
        "UPDATE login_events SET succeeded = false, methods = '{}'",
        "UPDATE login_events SET succeeded = false, user_id = NULL, methods = '{}', previous_at = occurred_at",
    ]),
    ("login_events_previous_at_order", &["UPDATE login_events SET previous_at = occurred_at + INTERVAL '1 second'"]),

    ("login_quarters_pkey", &["UPDATE login_quarters SET starts_at = '2026-11-30T08:30:00Z'"]),
    ("login_quarters_starts_at_whole", &[
        "UPDATE login_quarters SET starts_at = starts_at + INTERVAL '1 minute'",
        "UPDATE login_quarters SET starts_at = starts_at + INTERVAL '1 microsecond'",
    ]),
    ("login_quarters_counts_positive", &["UPDATE login_quarters SET successes = -1", "UPDATE login_quarters SET failures = -1"]),

    ("login_day_methods_pkey", &["UPDATE login_day_methods SET method = 'totp'"]),
    ("login_day_methods_method_known", &["UPDATE login_day_methods SET method = 'luck'"]),
    ("login_day_methods_sign_ins_positive", &["UPDATE login_day_methods SET sign_ins = 0"]),

    ("login_day_returns_pkey", &["UPDATE login_day_returns SET previous_day = '-infinity'"]),
    ("login_day_returns_order", &["UPDATE login_day_returns SET previous_day = '2026-12-01'"]),
    ("login_day_returns_sign_ins_positive", &["UPDATE login_day_returns SET sign_ins = 0"]),

    ("username_reservations_pkey", &["INSERT INTO username_reservations SELECT 'kept', id, now() FROM users, generate_series(1, 2) LIMIT 2"]),
    ("username_reservations_user_id_fkey", &["INSERT INTO username_reservations VALUES ('kept', gen_random_uuid(), now())"]),
    ("username_reservations_name_form", &[
        "INSERT INTO username_reservations SELECT 'Kept', id, now() FROM users LIMIT 1",
        "INSERT INTO username_reservations SELECT '', id, now() FROM users LIMIT 1",
    ]),

    ("registration_claims_pkey", &["INSERT INTO registration_claims SELECT user_id, 'x', now() FROM profiles, generate_series(1, 2)"]),
    ("registration_claims_user_id_fkey", &["INSERT INTO registration_claims VALUES (gen_random_uuid(), 'x', now())"]),

    ("profiles_pkey", &["INSERT INTO profiles SELECT * FROM profiles"]),
    ("profiles_user_id_fkey", &["UPDATE profiles SET user_id = gen_random_uuid()"]),
    ("profiles_bio_length", &["UPDATE profiles SET bio = repeat('ä', 501)"]),
    ("profiles_timezone_known", &[
        "UPDATE profiles SET timezone = ''",
        "UPDATE profiles SET timezone = '+01:00'",
        "UPDATE profiles SET timezone = '<+05>-5'",
        "UPDATE profiles SET timezone = 'Europe/Vienna; DROP TABLE users'",
        "UPDATE profiles SET timezone = repeat('x', 65)",
    ]),
    ("profiles_coaching_goals_length", &["UPDATE profiles SET coaching_goals = convert_to(repeat('x', 33001), 'UTF8')"]),
    ("profiles_preferred_coaching_style_known", &["UPDATE profiles SET preferred_coaching_style = 'strict'"]),
    ("profiles_session_frequency_known", &["UPDATE profiles SET session_frequency = 'yearly'"]),
    ("profiles_notification_frequency_known", &["UPDATE profiles SET notification_frequency = 'hourly'"]),
    ("profiles_theme_known", &["UPDATE profiles SET theme = 'blue'"]),
    ("profiles_language_form", &[
        "UPDATE profiles SET language = ''",
        "UPDATE profiles SET language = 'e'",
        "UPDATE profiles SET language = 'en_GB'",
        "UPDATE profiles SET language = 'en-'",
        "UPDATE profiles SET language = 'en' || repeat('-abcdefgh', 4)",
    ]),
    ("profiles_preferences_object", &["UPDATE profiles SET preferences = '\"x\"'"]),
    ("profiles_preferences_size", &["UPDATE profiles SET preferences = jsonb_build_object('a', repeat('x', 16376))"]),

    ("backgrounds_pkey", &["INSERT INTO backgrounds SELECT * FROM backgrounds"]),
    ("backgrounds_user_id_fkey", &["UPDATE backgrounds SET user_id = gen_random_uuid()"]),
    ("backgrounds_software_tools_items", &[
        "UPDATE backgrounds SET software_tools = ARRAY['vim', NULL]",
        "UPDATE backgrounds SET software_tools = array_fill('x'::text, ARRAY[201])",
    ]),
    ("backgrounds_programming_languages_items", &[
        "UPDATE backgrounds SET programming_languages = ARRAY[NULL]",
        "UPDATE backgrounds SET programming_languages = array_fill('x'::text, ARRAY[201])",
    ]),
    ("backgrounds_hardware_setup_object", &["UPDATE backgrounds SET hardware_setup = '5'"]),
    ("backgrounds_hardware_setup_size", &["UPDATE backgrounds SET hardware_setup = jsonb_build_object('a', repeat('x', 32760))"]),
    ("backgrounds_technical_preferences_object", &["UPDATE backgrounds SET technical_preferences = 'true'"]),
    ("backgrounds_technical_preferences_size", &["UPDATE backgrounds SET technical_preferences = jsonb_build_object('a', repeat('x', 32760))"]),
    ("backgrounds_experience_level_known", &["UPDATE backgrounds SET experience_level = 'guru'"]),
    ("backgrounds_primary_domain_length", &[
        "UPDATE backgrounds SET primary_domain = ''",
        "UPDATE backgrounds SET primary_domain = repeat('x', 256)",
    ]),

    ("personalizations_pkey", &["INSERT INTO personalizations SELECT * FROM personalizations"]),
    ("personalizations_user_id_fkey", &["UPDATE personalizations SET user_id = gen_random_uuid()"]),
    ("personalizations_recommended_content_items", &[
        "UPDATE personalizations SET recommended_content = ARRAY[NULL]",
        "UPDATE personalizations SET recommended_content = array_fill('x'::text, ARRAY[201])",
    ]),
    ("personalizations_preferred_categories_items", &[
        "UPDATE personalizations SET preferred_categories = ARRAY[NULL]",
        "UPDATE personalizations SET preferred_categories = array_fill('x'::text, ARRAY[201])",
    ]),

    ("permissions_pkey", &["INSERT INTO permissions (id, name, created_at) SELECT id, 'x', now() FROM permissions LIMIT 1"]),
    ("permissions_name_key", &["INSERT INTO permissions (id, name, created_at) VALUES (gen_random_uuid(), 'read:own', now())"]),
    ("permissions_name_form", &[
        "UPDATE permissions SET name = '' WHERE NOT is_system",
        "UPDATE permissions SET name = 'Posts:publish' WHERE NOT is_system",
        "UPDATE permissions SET name = 'posts:' WHERE NOT is_system",
        "UPDATE permissions SET name = 'posts publish' WHERE NOT is_system",
        "UPDATE permissions SET name = repeat('x', 101) WHERE NOT is_system",
    ]),
    ("permissions_description_length", &["UPDATE permissions SET description = repeat('x', 501)"]),
    ("permissions_system_protected", &[
        "UPDATE permissions SET name = 'read:mine' WHERE name = 'read:own'",
        "UPDATE permissions SET is_system = false WHERE name = 'read:own'",
        "DELETE FROM permissions WHERE name = 'read:own'",
        "DELETE FROM permissions",
    ]),

    ("roles_pkey", &["INSERT INTO roles (id, name, created_at, updated_at) SELECT id, 'x', now(), now() FROM roles LIMIT 1"]),
    ("roles_name_key", &["INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'Admin', now(), now())"]),
    ("roles_name_length", &[
        "UPDATE roles SET name = '' WHERE NOT is_system",
        "UPDATE roles SET name = 'editor ' WHERE NOT is_system",
        "UPDATE roles SET name = repeat('x', 65) WHERE NOT is_system",
    ]),
    ("roles_description_length", &["UPDATE roles SET description = repeat('x', 501)"]),
    ("roles_system_protected", &[
        "UPDATE roles SET name = 'root' WHERE name = 'admin'",
        "UPDATE roles SET name = 'ADMIN' WHERE name = 'admin'",
        "UPDATE roles SET is_system = false WHERE name = 'user'",
        "DELETE FROM roles WHERE name = 'moderator'",
        "DELETE FROM roles",
    ]),

    ("roles_admin_not_default", &["UPDATE roles SET is_default = true WHERE name = 'admin'"]),
    ("role_permissions_admin_protected", &[
        "DELETE FROM role_permissions USING roles WHERE roles.id = role_id AND roles.name = 'admin'",
        "DELETE FROM role_permissions",
    ]),
    ("role_permissions_pkey", &["INSERT INTO role_permissions SELECT * FROM role_permissions LIMIT 1"]),
    ("role_permissions_role_id_fkey", &["UPDATE role_permissions SET role_id = gen_random_uuid()"]),
    ("role_permissions_permission_id_fkey", &["UPDATE role_permissions SET permission_id = gen_random_uuid()"]),
    ("user_roles_pkey", &["INSERT INTO user_roles SELECT * FROM user_roles"]),
    ("user_roles_user_id_fkey", &["UPDATE user_roles SET user_id = gen_random_uuid()"]),
    ("user_roles_role_id_fkey", &["UPDATE user_roles SET role_id = gen_random_uuid()"]),
    ("user_roles_assigned_by_fkey", &["UPDATE user_roles SET assigned_by = gen_random_uuid()"]),
    ("unsealed_values_pkey", &["UPDATE unsealed_values SET place = 'users.birth_date', row_id = '00000000-0000-0000-0000-000000000001'"]),
    ("unsealed_values_user_id_fkey", &["UPDATE unsealed_values SET user_id = gen_random_uuid()"]),
    ("unsealed_values_place_known", &["UPDATE unsealed_values SET place = 'users.email'"]),
    ("sessions_pkey", &["UPDATE sessions SET id = '00000000-0000-0000-0000-000000000005'"]),
    ("sessions_user_id_fkey", &["UPDATE sessions SET user_id = gen_random_uuid()"]),
    ("sessions_refresh_token_hash_key", &["UPDATE sessions SET refresh_token_hash = decode(repeat('05', 32), 'hex')"]),
    ("sessions_refresh_token_hash_length", &["UPDATE sessions SET refresh_token_hash = decode(repeat('05', 31), 'hex')"]),
    ("sessions_successor_salt_length", &["UPDATE sessions SET successor_salt = 'salt'"]),
    ("sessions_ip_address_length", &["UPDATE sessions SET ip_address = convert_to(repeat('x', 129), 'UTF8')"]),
    ("sessions_user_agent_length", &["UPDATE sessions SET user_agent = convert_to(repeat('x', 2177), 'UTF8')"]),
    ("sessions_expires_at_bound", &["UPDATE sessions SET expires_at = created_at + INTERVAL '30 days 1 second'"]),
    ("sessions_revoked_reason_known", &["UPDATE sessions SET revoked_at = now(), revoked_reason = 'whim'"]),
    ("sessions_methods_known", &["UPDATE sessions SET methods = '{password,luck}'"]),
    ("sessions_revoked_whole", &[
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET revoked_reason = 'logout'",
    ]),

    ("spent_refresh_tokens_pkey", &["INSERT INTO spent_refresh_tokens SELECT * FROM spent_refresh_tokens"]),
    ("spent_refresh_tokens_session_id_fkey", &["UPDATE spent_refresh_tokens SET session_id = gen_random_uuid()"]),
    ("spent_refresh_tokens_token_hash_length", &["UPDATE spent_refresh_tokens SET token_hash = 'crr_token'"]),

    ("email_changes_pkey", &["INSERT INTO email_changes SELECT id, user_id, new_email, old_email, now(), now() FROM email_changes"]),
    ("email_changes_user_id_fkey", &["UPDATE email_changes SET user_id = gen_random_uuid()"]),
    ("email_changes_pending_key", &["INSERT INTO email_changes SELECT gen_random_uuid(), user_id, new_email, old_email, now() FROM email_changes"]),
    ("email_changes_new_email_form", &["UPDATE email_changes SET new_email = 'eve'", "UPDATE email_changes SET new_email = repeat('x', 250) || '@x.org'"]),
    ("email_changes_old_email_form", &["UPDATE email_changes SET old_email = 'a@b@example.org'"]),
    ("known_devices_pkey", &["INSERT INTO known_devices SELECT * FROM known_devices"]),
    ("known_devices_user_id_fkey", &["UPDATE known_devices SET user_id = gen_random_uuid()"]),
    ("known_devices_device_hash_length", &["UPDATE known_devices SET device_hash = 'firefox'"]),
    ("known_devices_network_hash_length", &["UPDATE known_devices SET network_hash = '127.0.0.1'"]),

    ("verification_tokens_pkey", &["UPDATE verification_tokens SET id = '00000000-0000-0000-0000-000000000007'"]),
    ("verification_tokens_user_id_fkey", &["UPDATE verification_tokens SET user_id = gen_random_uuid()"]),
    ("verification_tokens_token_hash_key", &["UPDATE verification_tokens SET token_hash = decode(repeat('07', 32), 'hex')"]),
    ("verification_tokens_token_hash_length", &["UPDATE verification_tokens SET token_hash = 'crv_token'"]),
    ("verification_tokens_kind_known", &["UPDATE verification_tokens SET kind = 'gift'"]),
    ("verification_tokens_email_length", &["UPDATE verification_tokens SET email = repeat('x', 255)"]),

    ("password_history_pkey", &["INSERT INTO password_history SELECT * FROM password_history"]),
    ("password_history_user_id_fkey", &["UPDATE password_history SET user_id = gen_random_uuid()"]),

    ("jobs_pkey", &["INSERT INTO jobs SELECT * FROM jobs"]),
    ("jobs_payload_object", &["UPDATE jobs SET payload = '[]'"]),
    ("jobs_attempts_positive", &["UPDATE jobs SET attempts = -1"]),
    ("jobs_event_whole", &["UPDATE jobs SET endpoint = NULL WHERE endpoint = 'crm'", "UPDATE jobs SET account_id = NULL WHERE endpoint = 'crm'", "UPDATE jobs SET sequence = 1 WHERE endpoint IS NULL"]),
    ("jobs_sequence_positive", &["UPDATE jobs SET sequence = 0 WHERE endpoint = 'crm'"]),
    ("jobs_event_key", &["UPDATE jobs SET sequence = 3 WHERE endpoint = 'crm'"]),
    ("webhook_endpoints_pkey", &["INSERT INTO webhook_endpoints SELECT * FROM webhook_endpoints"]),
    ("webhook_endpoints_name_form", &["UPDATE webhook_endpoints SET name = ''", "UPDATE webhook_endpoints SET name = 'CRM'", "UPDATE webhook_endpoints SET name = repeat('x', 33)"]),
    ("webhook_sequences_pkey", &["INSERT INTO webhook_sequences SELECT * FROM webhook_sequences"]),
    ("webhook_sequences_last_positive", &["UPDATE webhook_sequences SET last = 0"]),
    ("jobs_last_error_length", &["UPDATE jobs SET last_error = repeat('x', 2001)"]),

    ("passkeys_pkey", &["UPDATE passkeys SET id = '00000000-0000-0000-0000-00000000000e'"]),
    ("passkeys_user_id_fkey", &["UPDATE passkeys SET user_id = gen_random_uuid()"]),
    ("passkeys_credential_id_key", &["UPDATE passkeys SET credential_id = decode(repeat('0e', 16), 'hex')"]),
    ("passkeys_credential_id_length", &[
        "UPDATE passkeys SET credential_id = ''",
        "UPDATE passkeys SET credential_id = decode(repeat('0e', 15), 'hex') WHERE name = 'Phone'",
        "UPDATE passkeys SET credential_id = decode(repeat('0e', 1024), 'hex') WHERE name = 'Phone'",
    ]),
    ("passkeys_sign_count_range", &[
        "UPDATE passkeys SET sign_count = -1",
        "UPDATE passkeys SET sign_count = 4294967296",
    ]),
    ("passkeys_name_length", &[
        "UPDATE passkeys SET name = ''",
        "UPDATE passkeys SET name = ' Phone'",
        "UPDATE passkeys SET name = repeat('ä', 101)",
    ]),

    ("passkey_challenges_pkey", &["UPDATE passkey_challenges SET token_hash = decode(repeat('10', 32), 'hex')"]),
    ("passkey_challenges_user_id_fkey", &["UPDATE passkey_challenges SET user_id = gen_random_uuid()"]),
    ("passkey_challenges_session_id_fkey", &["UPDATE passkey_challenges SET session_id = gen_random_uuid() WHERE kind = 'registration'"]),
    ("passkey_challenges_two_factor_hash_fkey", &["UPDATE passkey_challenges SET two_factor_hash = decode(repeat('77', 32), 'hex') WHERE kind = 'sign_in'"]),
    ("passkey_challenges_token_hash_length", &["UPDATE passkey_challenges SET token_hash = 'crp_'"]),
    ("passkey_challenges_kind_known", &["UPDATE passkey_challenges SET kind = 'other' WHERE session_id IS NULL"]),
    ("passkey_challenges_registration_whole", &[
        "UPDATE passkey_challenges SET session_id = NULL WHERE kind = 'registration'",
        "UPDATE passkey_challenges SET user_id = NULL WHERE kind = 'registration'",
        "UPDATE passkey_challenges SET kind = 'registration'",
    ]),

    ("passkey_challenges_second_step_whole", &[
        "UPDATE passkey_challenges SET two_factor_hash = decode(repeat('25', 32), 'hex') WHERE kind = 'registration'",
        "UPDATE passkey_challenges SET two_factor_hash = decode(repeat('25', 32), 'hex'), user_id = NULL WHERE kind = 'sign_in'",
    ]),

    ("rate_limits_pkey", &["INSERT INTO rate_limits SELECT * FROM rate_limits"]),
    ("rate_limits_tries_positive", &["UPDATE rate_limits SET tries = -1"]),
    ("rate_limits_subject_length", &["UPDATE rate_limits SET subject = 'ada'"]),
    ("rate_limits_key_length", &["UPDATE rate_limits SET key = 'login'"]),

    ("signing_keys_pkey", &["INSERT INTO signing_keys SELECT id, algorithm, private_key, created_at, now() FROM signing_keys"]),
    ("signing_keys_algorithm_known", &["UPDATE signing_keys SET algorithm = 'none'"]),
    ("signing_keys_private_key_length", &["UPDATE signing_keys SET private_key = 'short'"]),

    ("identities_pkey", &["UPDATE identities SET id = '00000000-0000-0000-0000-000000000011'"]),
    ("identities_user_id_fkey", &["UPDATE identities SET user_id = gen_random_uuid()"]),
    ("identities_subject_key", &[
        "INSERT INTO identities SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000002', provider, issuer, subject, NULL, NULL, now(), now() FROM identities",
    ]),
    ("identities_provider_key", &[
        "INSERT INTO identities SELECT gen_random_uuid(), user_id, provider, issuer, 'eve', NULL, NULL, now(), now() FROM identities",
    ]),
    ("identities_provider_form", &[
        "UPDATE identities SET provider = ''",
        "UPDATE identities SET provider = 'Acme'",
        "UPDATE identities SET provider = 'acme-'",
        "UPDATE identities SET provider = repeat('x', 33)",
    ]),
    ("identities_issuer_length", &["UPDATE identities SET issuer = ''", "UPDATE identities SET issuer = repeat('x', 2049)"]),
    ("identities_subject_length", &["UPDATE identities SET subject = ''", "UPDATE identities SET subject = repeat('x', 256)"]),
    ("identities_display_name_length", &["UPDATE identities SET display_name = ''", "UPDATE identities SET display_name = repeat('x', 256)"]),
    ("identities_email_length", &["UPDATE identities SET email = 'a@'", "UPDATE identities SET email = repeat('x', 255)"]),

    ("import_requests_pkey", &["INSERT INTO import_requests SELECT * FROM import_requests"]),
    ("import_requests_user_id_fkey", &["UPDATE import_requests SET user_id = gen_random_uuid()"]),
    ("import_requests_key_hash_length", &["UPDATE import_requests SET key_hash = 'x'"]),
    ("import_requests_request_hash_length", &["UPDATE import_requests SET request_hash = 'x'"]),
    ("import_requests_answer_object", &["UPDATE import_requests SET answer = '[]'"]),
    ("oauth_states_pkey", &["INSERT INTO oauth_states SELECT * FROM oauth_states"]),
    ("oauth_states_user_id_fkey", &["UPDATE oauth_states SET user_id = gen_random_uuid()"]),
    ("oauth_states_state_hash_length", &["UPDATE oauth_states SET state_hash = '\\x00'"]),
    ("oauth_states_provider_form", &["UPDATE oauth_states SET provider = 'a b'"]),
    ("oauth_states_redirect_uri_length", &["UPDATE oauth_states SET redirect_uri = ''", "UPDATE oauth_states SET redirect_uri = repeat('x', 2049)"]),
    ("oauth_states_name_length", &["UPDATE oauth_states SET name = ''", "UPDATE oauth_states SET name = repeat('x', 256)"]),
];

/// Which constraint a trigger reports, for those that report one.
const TRIGGERS: &[(&str, &str)] = &[
    ("users_auth_token_immutable", "users_auth_token_immutable"),
    ("audit_events_append_only", "audit_events_append_only"),
    ("audit_events_no_truncate", "audit_events_append_only"),
    ("roles_system_rename", "roles_system_protected"),
    ("roles_system_delete", "roles_system_protected"),
    ("permissions_system_rename", "permissions_system_protected"),
    ("permissions_system_delete", "permissions_system_protected"),
    // Tells of jobs; `migrations` has its test.
    ("jobs_notify", ""),
    // Tell other services of accounts; `webhook_events` has their tests.
    ("backgrounds_webhooks", ""),
    ("personalizations_webhooks", ""),
    ("profiles_webhooks", ""),
    ("user_roles_webhooks", ""),
    ("users_webhooks", ""),
    // Tells of keys; `signing_key` has its test.
    ("signing_keys_notify", ""),
    // Tell of access that ends; `two_servers` has their tests.
    ("permissions_access", ""),
    ("role_permissions_access", ""),
    ("role_permissions_admin", "role_permissions_admin_protected"),
    ("passkeys_access", ""),
    ("sessions_access_delete", ""),
    ("sessions_access_update", ""),
    ("user_roles_access", ""),
    ("users_access_delete", ""),
    ("users_access_update", ""),
    // Tell of what happens; `live_events` has their tests.
    ("session_ended_events", ""),
    ("users_events_delete", ""),
    ("users_events_update", ""),
    // Tell of second factors; `two_factor_compulsory` has their tests.
    ("roles_access", ""),
    ("two_factor_secrets_access_delete", ""),
    ("two_factor_secrets_access_insert", ""),
    ("two_factor_secrets_access_update", ""),
];

async fn with_rows() -> TestDb {
    let db = TestDb::new(&config(&[]).database).await;
    db.sql(ROWS).await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_refuses_what_it_is_there_for() {
    let db = with_rows().await;
    let mut conn = single_connection(&db.url()).await.expect("a connection");
    for (constraint, statements) in BROKEN {
        for statement in *statements {
            let outcome = conn.batch_execute(statement).await;
            let Err(Error::DatabaseError(_, refusal)) = outcome else {
                panic!("{constraint}: {statement} gave {outcome:?}");
            };
            // A partition says its own name for the key of the whole.
            let name = refusal.constraint_name();
            let name = name.map(|name| name.replace("others_", "audit_events_"));
            assert_eq!(
                name.as_deref(),
                Some(*constraint),
                "{statement}: {refusal:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_of_the_catalogue_is_broken_here() {
    let db = TestDb::new(&config(&[]).database).await;
    let names = async |query: &str| -> BTreeSet<String> {
        let text = db
            .text(&format!(
                "SELECT string_agg(name, ' ') FROM ({query}) AS names (name)"
            ))
            .await;
        text.split(' ').map(str::to_owned).collect()
    };
    // NOT NULL is the type's business: a row struct without `Option` finds it.
    let constraints = names(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'p', 'u', 'x')
            AND conrelid <> '__diesel_schema_migrations'::regclass
        UNION SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE relnamespace = 'public'::regnamespace AND indisunique AND indrelid <> '__diesel_schema_migrations'::regclass",
    )
    .await;
    let triggers = names("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").await;
    let tested: BTreeSet<_> = TRIGGERS
        .iter()
        .map(|(trigger, _)| (*trigger).to_owned())
        .collect();
    assert_eq!(triggers, tested);
    let reported = TRIGGERS
        .iter()
        .map(|(_, constraint)| (*constraint).to_owned());
    let expected: BTreeSet<_> = constraints
        .into_iter()
        .chain(reported.filter(|name| !name.is_empty()))
        .collect();
    let broken: BTreeSet<_> = BROKEN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        expected.difference(&broken).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "without a statement"
    );
    assert_eq!(
        broken.difference(&expected).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in the database"
    );
    assert_eq!(broken.len(), BROKEN.len(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_zone_that_the_server_does_not_know_is_refused() {
    let db = with_rows().await;
    let mut conn = single_connection(&db.url()).await.expect("a connection");
    let refused = conn
        .batch_execute("UPDATE profiles SET timezone = 'Mars/Olympus_Mons'")
        .await;
    let refused = refused.expect_err("no such place").to_string();
    assert_eq!(refused, "time zone \"Mars/Olympus_Mons\" not recognized");
    for zone in [
        "UTC",
        "Europe/Vienna",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+5",
    ] {
        db.sql(&format!("UPDATE profiles SET timezone = '{zone}'"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_constraints_are_not_there_for_goes_through() {
    let db = with_rows().await;
    db.sql(
        "UPDATE users SET email = 'Ada@Example.org', username = 'ADA' WHERE username = 'ada';
        UPDATE users SET auth_token = auth_token, full_name = repeat('ä', 255), birth_date = decode(repeat('0c', 39), 'hex');
        UPDATE users SET username = NULL;
        UPDATE profiles SET bio = repeat('🦊', 500), language = 'zh-Hant-TW';
        UPDATE backgrounds SET software_tools = array_fill('x'::text, ARRAY[200]), hardware_setup = NULL;
        UPDATE roles SET description = 'other', requires_two_factor = true WHERE name = 'admin';
        UPDATE roles SET is_default = true WHERE name = 'moderator';
        DELETE FROM role_permissions USING roles WHERE roles.id = role_id AND roles.name <> 'admin';
        UPDATE permissions SET description = NULL WHERE is_system;
        UPDATE roles SET name = 'Writer' WHERE NOT is_system;
        DELETE FROM permissions WHERE NOT is_system;
        DELETE FROM roles WHERE NOT is_system;
        UPDATE sessions SET user_agent = convert_to(repeat('x', 2176), 'UTF8'), revoked_at = now(), revoked_reason = 'logout';
        INSERT INTO signing_keys SELECT gen_random_uuid(), algorithm, private_key, created_at, signs_from FROM signing_keys;",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_account_goes_all_that_belongs_to_it() {
    let db = with_rows().await;
    db.sql("DELETE FROM users WHERE username = 'bob'").await;
    let given = "SELECT coalesce(assigned_by::text, 'nobody') FROM user_roles";
    assert_eq!(
        db.text(given).await,
        "nobody",
        "what an erased account gave stays"
    );
    db.sql("DELETE FROM users").await;
    for table in [
        "profiles",
        "backgrounds",
        "personalizations",
        "user_roles",
        "sessions",
        "spent_refresh_tokens",
        "email_changes",
        "known_devices",
        "verification_tokens",
        "password_history",
        "data_keys",
        "two_factor_secrets",
        "recovery_codes",
        "two_factor_challenges",
        "trusted_devices",
        "passkeys",
        "passkey_challenges",
    ] {
        assert_eq!(
            db.text(&format!("SELECT count(*)::text FROM {table}"))
                .await,
            "0",
            "{table}"
        );
    }
    let counted = "SELECT count(*)::text FROM login_events WHERE user_id IS NULL";
    assert_eq!(
        db.text(counted).await,
        "1",
        "statistics stay, without a name"
    );
    assert_eq!(db.text("SELECT count(*)::text FROM roles").await, "4");
}
