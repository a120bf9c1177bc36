//! The table `import_requests`: imports that carried a key, and what was answered.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::scalar::{DateTime, Json};
use crate::schema::import_requests;

/// How long a key stands for its first call.
pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// An import that carried a key.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = import_requests)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct ImportRequest {
    pub user_id: Uuid,
    pub key_hash: Vec<u8>,
    pub request_hash: Vec<u8>,
    pub answer: Option<Json>,
    pub created_at: DateTime,
}

impl ImportRequest {
    /// Takes the key, unless a call of the last day has it; says whether it was free. Whoever has it at this moment
    /// is waited for.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn claim(&self, conn: &mut Conn) -> QueryResult<bool> {
        let over = DateTime(*self.created_at - LIFETIME);
        diesel::sql_query(
            "INSERT INTO import_requests AS former (user_id, key_hash, request_hash, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, key_hash) DO UPDATE \
             SET request_hash = excluded.request_hash, answer = NULL, created_at = excluded.created_at \
             WHERE former.created_at <= $5",
        )
        .bind::<SqlUuid, _>(self.user_id)
        .bind::<Binary, _>(&self.key_hash)
        .bind::<Binary, _>(&self.request_hash)
        .bind::<Timestamptz, _>(self.created_at)
        .bind::<Timestamptz, _>(over)
        .execute(conn)
        .await
        .map(|rows| rows > 0)
    }

    /// The call that has the key.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn find(conn: &mut Conn, user: Uuid, key: &[u8]) -> QueryResult<Option<Self>> {
        import_requests::table
            .find((user, key))
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// Keeps what is answered to the call that has taken the key.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn answer(
        conn: &mut Conn,
        user: Uuid,
        key: &[u8],
        answer: &Json,
    ) -> QueryResult<usize> {
        diesel::update(import_requests::table.find((user, key)))
            .set(import_requests::answer.eq(answer))
            .execute(conn)
            .await
    }
}
