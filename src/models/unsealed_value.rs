//! The table `unsealed_values`: values from before their columns were sealed, waiting to be.

use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::schema::unsealed_values;

/// A value in clear and where it belongs.
#[derive(HasQuery, Debug)]
#[diesel(table_name = unsealed_values)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct UnsealedValue {
    pub user_id: Uuid,
    pub place: String,
    pub row_id: Uuid,
    pub value: String,
}

impl UnsealedValue {
    /// At most `most` values, those of one account together, locked until the transaction ends.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn lock_some(conn: &mut Conn, most: i64) -> QueryResult<Vec<Self>> {
        Self::query()
            .order((
                unsealed_values::user_id,
                unsealed_values::place,
                unsealed_values::row_id,
            ))
            .limit(most)
            .for_update()
            .load(conn)
            .await
    }

    /// Writes what was sealed of `values` into the columns of one place, given as `table.column`, and forgets
    /// what stood in clear. What was changed meanwhile stays.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace(
        conn: &mut Conn,
        place: &str,
        values: &[&Self],
        sealed: Vec<Vec<u8>>,
    ) -> QueryResult<()> {
        let (table, column, key) = match place {
            "users.birth_date" => ("users", "birth_date", "id"),
            "profiles.coaching_goals" => ("profiles", "coaching_goals", "user_id"),
            "sessions.ip_address" => ("sessions", "ip_address", "id"),
            "sessions.user_agent" => ("sessions", "user_agent", "id"),
            _ => return Err(diesel::result::Error::NotFound),
        };
        let rows: Vec<Uuid> = values.iter().map(|value| value.row_id).collect();
        diesel::sql_query(format!(
            "UPDATE {table} SET {column} = coalesce({column}, sealed.value) \
             FROM unnest($1, $2) AS sealed (id, value) WHERE {table}.{key} = sealed.id"
        ))
        .bind::<Array<SqlUuid>, _>(&rows)
        .bind::<Array<Binary>, _>(sealed)
        .execute(conn)
        .await?;
        diesel::sql_query("DELETE FROM unsealed_values WHERE place = $1 AND row_id = ANY($2)")
            .bind::<Text, _>(place)
            .bind::<Array<SqlUuid>, _>(&rows)
            .execute(conn)
            .await
            .map(drop)
    }
}
