//! Removing rows that are over, whatever their table. It decides neither what is over nor when.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::db::Conn;
use crate::scalar::DateTime;

/// Rows that end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Moves to another address, by when they were asked for.
    EmailChanges,
    /// Mails and events that were given up.
    FailedJobs,
    /// Imports that carried a key, by when they were.
    ImportRequests,
    /// Devices, by their last sign-in.
    KnownDevices,
    /// Sign-ins with a provider that never came back, by their end.
    OAuthStates,
    /// Ceremonies with an authenticator, by their end.
    PasskeyChallenges,
    /// Sign-ins by method, rolled up, by their day.
    LoginDayMethods,
    /// Sign-ins by the day of the one before, rolled up, by their day.
    LoginDayReturns,
    /// Sign-ins, by when they were.
    LoginEvents,
    /// Sign-ins by quarters of an hour, rolled up, by their start.
    LoginQuarters,
    /// Budgets that are whole again.
    RateLimits,
    /// Refused tries to sign in, by when they were.
    RefusedSignIns,
    /// Registrations in vain.
    RegistrationClaims,
    /// Spent refresh tokens, by when their session ended.
    SpentTokens,
    /// Sessions, by when they ended.
    Sessions,
    /// Devices that waited to be confirmed.
    PendingSecrets,
    /// Devices that need no second factor.
    TrustedDevices,
    /// Sign-ins that waited for their second factor.
    TwoFactorChallenges,
    /// Usernames that were asked for in vain.
    UsernameReservations,
    /// Mailed tokens, by their end.
    VerificationTokens,
    /// Events for services that are told no more, by when that began.
    WebhookEvents,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::EmailChanges,
        Self::FailedJobs,
        Self::ImportRequests,
        Self::KnownDevices,
        Self::OAuthStates,
        Self::PasskeyChallenges,
        Self::LoginEvents,
        Self::RefusedSignIns,
        Self::LoginQuarters,
        Self::LoginDayMethods,
        Self::LoginDayReturns,
        Self::RateLimits,
        Self::RegistrationClaims,
        // Before their sessions, which would take all of them along at once.
        Self::SpentTokens,
        Self::Sessions,
        Self::PendingSecrets,
        Self::TrustedDevices,
        Self::TwoFactorChallenges,
        Self::UsernameReservations,
        Self::VerificationTokens,
        Self::WebhookEvents,
    ];

    /// Removes up to `most` rows that ended before `before`; gives how many.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn remove(self, conn: &mut Conn, before: DateTime, most: i64) -> QueryResult<usize> {
        let (table, ended) = match self {
            Self::EmailChanges => ("email_changes", "requested_at < $1"),
            Self::FailedJobs => ("jobs", "failed_at < $1"),
            Self::ImportRequests => ("import_requests", "created_at < $1"),
            Self::KnownDevices => ("known_devices", "last_seen_at < $1"),
            Self::OAuthStates => ("oauth_states", "expires_at < $1"),
            Self::PasskeyChallenges => ("passkey_challenges", "expires_at < $1"),
            Self::LoginDayMethods => ("login_day_methods", "day < $1"),
            Self::LoginDayReturns => ("login_day_returns", "day < $1"),
            Self::LoginEvents => ("login_events", "occurred_at < $1"),
            Self::LoginQuarters => ("login_quarters", "starts_at < $1"),
            Self::RateLimits => ("rate_limits", "full_at < $1"),
            Self::RefusedSignIns => ("login_events", "NOT succeeded AND occurred_at < $1"),
            Self::RegistrationClaims => ("registration_claims", "created_at < $1"),
            Self::SpentTokens => (
                "spent_refresh_tokens",
                "session_id IN (SELECT id FROM sessions WHERE expires_at < $1 OR revoked_at < $1)",
            ),
            Self::Sessions => ("sessions", "expires_at < $1 OR revoked_at < $1"),
            Self::PendingSecrets => (
                "two_factor_secrets",
                "confirmed_at IS NULL AND created_at < $1",
            ),
            Self::TrustedDevices => ("trusted_devices", "expires_at < $1"),
            Self::TwoFactorChallenges => ("two_factor_challenges", "expires_at < $1"),
            Self::UsernameReservations => ("username_reservations", "created_at < $1"),
            Self::VerificationTokens => ("verification_tokens", "expires_at < $1"),
            Self::WebhookEvents => (
                "jobs",
                "endpoint IN (SELECT name FROM webhook_endpoints WHERE retired_at < $1)",
            ),
        };
        // Rows that somebody works with are left for the next time. The condition stands twice: a
        // row may have got another life between being found and being removed.
        diesel::sql_query(format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY( \
                 SELECT ctid FROM {table} WHERE {ended} LIMIT $2 FOR UPDATE SKIP LOCKED \
             )) AND ({ended})"
        ))
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(most)
        .execute(conn)
        .await
    }
}

#[derive(QueryableByName)]
struct Got {
    #[diesel(sql_type = Bool)]
    got: bool,
}

/// Takes the turn to clean until the transaction ends; says whether it was free.
///
/// # Errors
/// If the database cannot answer.
pub async fn try_turn(conn: &mut Conn) -> QueryResult<bool> {
    let turn: Got =
        diesel::sql_query("SELECT pg_try_advisory_xact_lock(hashtext('cardea cleaning')) AS got")
            .get_result(conn)
            .await?;
    Ok(turn.got)
}
