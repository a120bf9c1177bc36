//! Everything that is kept about one account, read in one statement: one moment of the database.

use diesel::prelude::*;
use diesel::sql_types::{Jsonb, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::Json;

/// A part of the export: its name, and the rows that it shows of the account `$1`, the oldest first.
///
/// What is sealed comes as base64 in a column whose name begins with `sealed_`. Names of columns that end in
/// `_id` stay out, except those that the person may use: other rows' ids tell them nothing.
struct Part {
    name: &'static str,
    rows: &'static str,
    /// At most one row: an object or null, instead of a list.
    one: bool,
}

const fn one(name: &'static str, rows: &'static str) -> Part {
    Part {
        name,
        rows,
        one: true,
    }
}

const fn many(name: &'static str, rows: &'static str) -> Part {
    Part {
        name,
        rows,
        one: false,
    }
}

const PARTS: &[Part] = &[
    one(
        "account",
        "SELECT id, auth_token AS uuid, username, email, full_name, first_name, last_name, avatar_url, \
             encode(birth_date, 'base64') AS sealed_birth_date, status, email_verified_at, \
             hashed_password IS NOT NULL AS has_password, password_changed_at, password_warned_at, last_login_at, \
             login_count, coaching_start_date, last_coaching_session, closed_at, closed_by, closed_reason, erases_at, \
             inactivity_warnings, inactivity_warned_at, contested, imported_at, \
             created_at, updated_at \
         FROM users WHERE id = $1",
    ),
    one(
        "profile",
        "SELECT bio, timezone, encode(coaching_goals, 'base64') AS sealed_coaching_goals, \
             preferred_coaching_style, session_frequency, email_notifications, push_notifications, \
             notification_frequency, theme, language, preferences, created_at, updated_at \
         FROM profiles WHERE user_id = $1",
    ),
    one(
        "background",
        "SELECT software_tools, programming_languages, hardware_setup, technical_preferences, experience_level, \
             primary_domain, created_at, updated_at \
         FROM backgrounds WHERE user_id = $1",
    ),
    one(
        "personalization",
        "SELECT recommended_content, preferred_categories, last_personalization_update, created_at, updated_at \
         FROM personalizations WHERE user_id = $1",
    ),
    many(
        "roles",
        "SELECT name, description, assigned_at FROM user_roles JOIN roles ON roles.id = role_id \
         WHERE user_id = $1 ORDER BY assigned_at, name",
    ),
    many(
        "reservedUsernames",
        "SELECT name, created_at FROM username_reservations WHERE user_id = $1 ORDER BY created_at, name",
    ),
    many(
        "registrationAttempts",
        "SELECT created_at FROM registration_claims WHERE user_id = $1 ORDER BY created_at",
    ),
    many(
        "emailChanges",
        "SELECT old_email, new_email, requested_at, confirmed_at FROM email_changes WHERE user_id = $1 \
         ORDER BY requested_at, id",
    ),
    many(
        "mailedTokens",
        "SELECT kind, email, created_at, expires_at, used_at FROM verification_tokens WHERE user_id = $1 \
         ORDER BY created_at, id",
    ),
    many(
        "sessions",
        "SELECT id, encode(ip_address, 'base64') AS sealed_ip_address, encode(user_agent, 'base64') AS sealed_user_agent, \
             methods, second_factor, remember_me, created_at, authenticated_at, last_accessed_at, expires_at, revoked_at, \
             revoked_reason \
         FROM sessions WHERE user_id = $1 ORDER BY created_at, id",
    ),
    many(
        "knownDevices",
        "SELECT first_seen_at, last_seen_at FROM known_devices WHERE user_id = $1 ORDER BY first_seen_at, device_hash",
    ),
    many(
        "trustedDevices",
        "SELECT created_at, expires_at FROM trusted_devices WHERE user_id = $1 ORDER BY created_at, token_hash",
    ),
    many(
        "formerPasswords",
        "SELECT created_at FROM password_history WHERE user_id = $1 ORDER BY created_at, id",
    ),
    many(
        "authenticatorApps",
        "SELECT created_at, confirmed_at FROM two_factor_secrets WHERE user_id = $1 ORDER BY created_at, id",
    ),
    many(
        "recoveryCodes",
        "SELECT created_at, used_at FROM recovery_codes WHERE user_id = $1 ORDER BY created_at, id",
    ),
    many(
        "passkeys",
        "SELECT name, sign_count, created_at, last_used_at FROM passkeys WHERE user_id = $1 ORDER BY created_at, id",
    ),
    many(
        "linkedAccounts",
        "SELECT provider, issuer, subject, display_name, email, linked_at, last_used_at FROM identities \
         WHERE user_id = $1 ORDER BY linked_at, id",
    ),
    many(
        "signInsUnderWay",
        "SELECT method, remember_me, created_at, expires_at FROM two_factor_challenges WHERE user_id = $1 UNION ALL \
         SELECT 'passkey', NULL, created_at, expires_at FROM passkey_challenges WHERE user_id = $1 UNION ALL \
         SELECT provider, NULL, created_at, expires_at FROM oauth_states WHERE user_id = $1 ORDER BY 3, 1",
    ),
    many(
        "signIns",
        "SELECT occurred_at, methods FROM login_events WHERE user_id = $1 ORDER BY occurred_at, id",
    ),
    many(
        "queuedMails",
        "SELECT payload->>'kind' AS kind, attempts, run_at, failed_at, created_at FROM jobs \
         WHERE payload->>'user' = $1::text ORDER BY created_at, id",
    ),
    many(
        "imports",
        "SELECT created_at FROM import_requests WHERE user_id = $1 ORDER BY created_at",
    ),
    many(
        "queuedEvents",
        "SELECT payload->>'type' AS type, payload->'changed' AS changed, sequence, attempts, failed_at, \
             created_at \
         FROM jobs WHERE account_id = $1 ORDER BY endpoint, sequence",
    ),
    many(
        "activity",
        "SELECT id, occurred_at, action, outcome, coalesce(actor_id = $1, false) AS by_you, coalesce(subject_id = $1 OR subjects @> ARRAY[$1], false) AS on_you, \
             CASE WHEN coalesce(actor_id, $1) = $1 THEN encode(client, 'base64') END AS sealed_client, \
             CASE WHEN subject_id = $1 THEN encode(reason, 'base64') END AS sealed_reason, \
             request_id, details \
         FROM ( \
             SELECT * FROM audit_events WHERE subject_id = $1 OR subjects @> ARRAY[$1] OR actor_id = $1 ORDER BY occurred_at DESC, id DESC LIMIT 20000 \
         ) AS newest ORDER BY occurred_at, id",
    ),
    // Whoever administers for years leaves more than one document can hold.
    one(
        "activityInAll",
        "SELECT count(*) AS entries FROM audit_events WHERE subject_id = $1 OR subjects @> ARRAY[$1] OR actor_id = $1",
    ),
];

#[derive(QueryableByName)]
struct Exported {
    #[diesel(sql_type = Nullable<Jsonb>)]
    document: Option<Json>,
}

/// Everything kept about the account as one object, with names of columns as they are and what is sealed as it
/// is; `None` where there is no such account.
///
/// # Errors
/// If the database cannot answer.
pub async fn everything(conn: &mut Conn, user: Uuid) -> QueryResult<Option<Json>> {
    let parts: Vec<String> = PARTS
        .iter()
        .map(|Part { name, rows, one }| {
            let all = if *one {
                "to_jsonb(part)"
            } else {
                "coalesce(jsonb_agg(to_jsonb(part)), '[]')"
            };
            format!("'{name}', (SELECT {all} FROM ({rows}) part)")
        })
        .collect();
    let statement = format!(
        "SELECT CASE WHEN EXISTS (SELECT FROM users WHERE id = $1) THEN jsonb_build_object({}) END AS document",
        parts.join(", ")
    );
    let exported: Exported = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(user)
        .get_result(conn)
        .await?;
    Ok(exported.document)
}
