//! The table `jobs`: side effects, queued in the transaction that causes them.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{self, Array, BigInt, Jsonb, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::{DateTime, Json};
use crate::schema::jobs;

/// What is to be done. It carries ids and never a secret: tokens are made when it runs.
///
/// A variant stays until no row of its kind can be left in a queue.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// Mail a token that proves the address of the account.
    VerifyEmail {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner of an account that somebody tried to register with its address.
    AlreadyRegistered {
        /// The account.
        user: Uuid,
    },
    /// Mail a token that sets a new password.
    ResetPassword {
        /// The account.
        user: Uuid,
    },
    /// Mail a token that opens a closed account again.
    ReactivateAccount {
        /// The account.
        user: Uuid,
    },
    /// Mail a token that proves the address to move to.
    ConfirmEmailChange {
        /// The account.
        user: Uuid,
        /// The row of `email_changes`.
        change: Uuid,
    },
    /// Tell the address before that the account has moved, with a token that undoes it.
    EmailChanged {
        /// The account.
        user: Uuid,
        /// The row of `email_changes`.
        change: Uuid,
    },
    /// Tell the owner that the move to another address was undone.
    EmailChangeUndone {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the password is another one now.
    PasswordChanged {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that a passkey was added.
    PasskeyAdded {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that a passkey was removed.
    PasskeyRemoved {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that somebody signed in from where nobody had before.
    NewDevice {
        /// The account.
        user: Uuid,
        /// The session that was opened.
        session: Uuid,
    },
    /// Tell the owner that a refresh token was used twice and its session is over.
    SessionReuse {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the account is closed, and how to open it where that is theirs to do.
    AccountClosed {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the account is open again.
    AccountReopened {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the account will be erased, and when.
    ErasureScheduled {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the account will not be erased after all.
    ErasureCancelled {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the account was not erased, because it is that of the last administrator.
    ErasureImpossible {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner what will become of an account that is not used.
    InactivityWarning {
        /// The account.
        user: Uuid,
        /// Which warning it is, from 1.
        number: i16,
    },
    /// Tell the owner that the second factor is on, or has another device.
    TwoFactorEnabled {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the second factor is off.
    TwoFactorDisabled {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that an administrator took the second factor off.
    TwoFactorReset {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that there are new recovery codes.
    RecoveryCodesReplaced {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that a recovery code was used.
    RecoveryCodeUsed {
        /// The account.
        user: Uuid,
        /// How many were left of those that it belonged to.
        left: i64,
    },
    /// Tell the owner that somebody who knows the password tries codes.
    WrongCodes {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that the password has to be changed soon.
    PasswordExpires {
        /// The account.
        user: Uuid,
    },
    /// Tell the owner that a sign-in provider was tied to the account.
    ProviderLinked {
        /// The account.
        user: Uuid,
        /// What the provider is called.
        provider: String,
    },
    /// Tell the owner that a sign-in provider was untied from the account.
    ProviderUnlinked {
        /// The account.
        user: Uuid,
        /// What the provider is called.
        provider: String,
    },
}

/// A job that a worker holds.
#[derive(QueryableByName, Debug)]
#[diesel(table_name = jobs)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Claimed {
    pub id: Uuid,
    pub payload: Json,
    pub attempts: i32,
    pub created_at: DateTime,
}

/// A mail that was not sent yet.
#[derive(QueryableByName, Debug)]
#[diesel(table_name = jobs)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Unsent {
    pub id: Uuid,
    pub payload: Json,
    pub attempts: i32,
    pub run_at: DateTime,
    pub last_error: Option<String>,
    pub failed_at: Option<DateTime>,
}

impl Unsent {
    /// The text that the payload has under `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.payload.get(key)?.as_str()
    }
}

impl Job {
    /// The mails that were not sent yet, the oldest first; those that were given up among them.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn unsent_mails(conn: &mut Conn) -> QueryResult<Vec<Unsent>> {
        diesel::sql_query(
            "SELECT id, payload, attempts, run_at, last_error, failed_at FROM jobs \
             WHERE endpoint IS NULL ORDER BY created_at, id",
        )
        .load(conn)
        .await
    }

    /// Lets these jobs begin anew at once, given up or not; gives how many there were. Leaves alone
    /// what a worker holds.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn retry(conn: &mut Conn, ids: &[Uuid], now: DateTime) -> QueryResult<usize> {
        // From now on it has as long as a new one has, and workers are told as of a new one.
        diesel::sql_query(
            "WITH again AS ( \
                 UPDATE jobs SET failed_at = NULL, attempts = 0, run_at = $2, created_at = $2, locked_until = NULL \
                 WHERE id = ANY($1) AND (locked_until IS NULL OR locked_until <= $2) RETURNING id \
             ) SELECT pg_notify('jobs', '') FROM again",
        )
        .bind::<Array<sql_types::Uuid>, _>(ids)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
    }

    /// Queues the job; it runs once the transaction around it is committed. One that waits already and
    /// was not begun does for both.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn enqueue(&self, conn: &mut Conn, now: DateTime) -> QueryResult<()> {
        self.enqueue_for(conn, now, now).await
    }

    /// Queues the job to run at `run_at`, as [`Job::enqueue`] does.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn enqueue_for(
        &self,
        conn: &mut Conn,
        run_at: DateTime,
        now: DateTime,
    ) -> QueryResult<()> {
        let payload = serde_json::to_value(self)
            .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
        diesel::sql_query(
            "INSERT INTO jobs (id, payload, run_at, created_at) SELECT $1, $2, $3, $4 \
             WHERE NOT EXISTS ( \
                 SELECT FROM jobs WHERE payload = $2 AND attempts = 0 AND failed_at IS NULL \
             )",
        )
        .bind::<sql_types::Uuid, _>(Uuid::now_v7())
        .bind::<Jsonb, _>(Json(payload))
        .bind::<Timestamptz, _>(run_at)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
        .map(drop)
    }

    /// Takes up to `most` due jobs for the time of `lease`; no other worker gets them meanwhile. Events for
    /// other services are a queue of their own (`models/webhook.rs`).
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn claim(
        conn: &mut Conn,
        most: i64,
        lease: TimeDelta,
        now: DateTime,
    ) -> QueryResult<Vec<Claimed>> {
        // Materialized: as a part of the condition, the planner may run the search once for each row that
        // it compares, and each time it takes up to `most` others.
        diesel::sql_query(
            "WITH due AS MATERIALIZED ( \
                 SELECT id FROM jobs WHERE failed_at IS NULL AND endpoint IS NULL AND run_at <= $1 \
                 AND (locked_until IS NULL OR locked_until <= $1) \
                 ORDER BY run_at, id LIMIT $3 FOR UPDATE SKIP LOCKED \
             ) \
             UPDATE jobs SET locked_until = $2, attempts = attempts + 1 FROM due WHERE jobs.id = due.id \
             RETURNING jobs.id, jobs.payload, jobs.attempts, jobs.created_at",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(DateTime(*now + lease))
        .bind::<BigInt, _>(most)
        .load(conn)
        .await
    }

    /// Removes a job that is done.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn done(conn: &mut Conn, id: Uuid) -> QueryResult<()> {
        diesel::delete(jobs::table.find(id))
            .execute(conn)
            .await
            .map(drop)
    }

    /// Lets the job run again at `run_at`, or gives it up where that is `None`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn failed(
        conn: &mut Conn,
        id: Uuid,
        error: &str,
        run_at: Option<DateTime>,
        now: DateTime,
    ) -> QueryResult<()> {
        let error: String = error.chars().take(2000).collect();
        let row = diesel::update(jobs::table.find(id));
        let common = (
            jobs::last_error.eq(error),
            jobs::locked_until.eq(None::<DateTime>),
        );
        match run_at {
            Some(run_at) => row
                .set((common, jobs::run_at.eq(run_at)))
                .execute(conn)
                .await
                .map(drop),
            None => row
                .set((common, jobs::failed_at.eq(now)))
                .execute(conn)
                .await
                .map(drop),
        }
    }

    /// How many jobs wait.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count_waiting(conn: &mut Conn) -> QueryResult<i64> {
        jobs::table
            .filter(jobs::failed_at.is_null())
            .count()
            .get_result(conn)
            .await
    }
}
