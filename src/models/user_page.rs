//! Lists of accounts: filters, search, orders and keyset pages over `users`.

use diesel::dsl::{exists, not, sql};
use diesel::expression::BoxableExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::text_enum;
use crate::models::user::{AccountStatus, User};
use crate::scalar::DateTime;
use crate::schema::{two_factor_secrets, user_roles, users};

text_enum! {
    /// What a list of accounts can be ordered by.
    pub enum UserOrderField {
        /// When the account was opened.
        CreatedAt = "created_at",
        /// Address, without regard to case.
        Email = "email",
        /// Most recent sign-in; accounts that never signed in count as the oldest.
        LastLoginAt = "last_login_at",
        /// User name, without regard to case; accounts without one count as first.
        Username = "username",
    }
}

/// Which accounts; all conditions must hold.
#[derive(Default, Clone, Debug)]
#[expect(missing_docs, reason = "each is a column or said beside it")]
pub struct UserFilter {
    /// Spans are half open: from the first, before the second.
    pub coaching_start_date: Span,
    pub created_at: Span,
    pub last_login_at: Span,
    pub email_verified: Option<bool>,
    pub is_active: Option<bool>,
    pub statuses: Option<Vec<AccountStatus>>,
    /// The second factor is on.
    pub two_factor_enabled: Option<bool>,
    /// Holds any of these roles.
    pub roles: Option<Vec<Uuid>>,
    /// Words that must each stand in username, address or one of the names.
    pub words: Vec<String>,
}

/// From the first instant on, before the second.
pub type Span = (Option<DateTime>, Option<DateTime>);

/// Where a page begins: the key of its neighbour in the order, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The value of the order's field, as text.
    pub key: String,
    /// The id, which breaks ties.
    pub id: Uuid,
}

type Condition = Box<dyn BoxableExpression<users::table, Pg, SqlType = Bool>>;

/// The value that an account has in an order. Nulls are stand-ins that no account has, so that
/// one comparison of pairs serves for every order.
fn key_sql(field: UserOrderField) -> (&'static str, &'static str) {
    match field {
        UserOrderField::CreatedAt => ("users.created_at", "timestamptz"),
        UserOrderField::Email => ("lower(users.email)", "text"),
        UserOrderField::LastLoginAt => {
            ("coalesce(users.last_login_at, '-infinity')", "timestamptz")
        }
        UserOrderField::Username => ("coalesce(lower(users.username), '')", "text"),
    }
}

/// The position of `user` in the order of `field`.
#[must_use]
pub fn position(user: &User, field: UserOrderField) -> Position {
    let instant = |instant: DateTime| instant.to_rfc3339();
    let key = match field {
        UserOrderField::CreatedAt => instant(user.created_at),
        UserOrderField::Email => user.email.to_lowercase(),
        UserOrderField::LastLoginAt => user
            .last_login_at
            .map_or_else(|| "-infinity".to_owned(), instant),
        UserOrderField::Username => user.username.as_deref().unwrap_or_default().to_lowercase(),
    };
    Position { key, id: user.id }
}

fn conditions(filter: &UserFilter) -> Vec<Condition> {
    let mut all: Vec<Condition> = Vec::new();
    let mut span = |column: &'static str, (from, to): Span| {
        if let Some(from) = from {
            all.push(Box::new(
                sql::<Bool>(&format!("{column} >= ")).bind::<Timestamptz, _>(from),
            ));
        }
        if let Some(to) = to {
            all.push(Box::new(
                sql::<Bool>(&format!("{column} < ")).bind::<Timestamptz, _>(to),
            ));
        }
    };
    span("users.coaching_start_date", filter.coaching_start_date);
    span("users.created_at", filter.created_at);
    span("users.last_login_at", filter.last_login_at);
    if let Some(verified) = filter.email_verified {
        all.push(if verified {
            Box::new(users::email_verified_at.is_not_null())
        } else {
            Box::new(users::email_verified_at.is_null())
        });
    }
    if let Some(enabled) = filter.two_factor_enabled {
        let confirmed = exists(
            two_factor_secrets::table
                .filter(two_factor_secrets::user_id.eq(users::id))
                .filter(two_factor_secrets::confirmed_at.is_not_null()),
        );
        all.push(if enabled {
            Box::new(confirmed)
        } else {
            Box::new(not(confirmed))
        });
    }
    if let Some(active) = filter.is_active {
        all.push(if active {
            Box::new(users::status.eq(AccountStatus::Active))
        } else {
            Box::new(users::status.ne(AccountStatus::Active))
        });
    }
    if let Some(statuses) = &filter.statuses {
        all.push(Box::new(users::status.eq_any(statuses.clone())));
    }
    if let Some(roles) = &filter.roles {
        all.push(Box::new(exists(
            user_roles::table
                .filter(user_roles::user_id.eq(users::id))
                .filter(user_roles::role_id.eq_any(roles.clone())),
        )));
    }
    for word in &filter.words {
        let pattern = format!(
            "%{}%",
            word.replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_")
        );
        all.push(Box::new(
            sql::<Bool>(
                "concat_ws(' ', users.username, users.email, users.full_name, users.first_name, users.last_name) ILIKE ",
            )
            .bind::<Text, _>(pattern),
        ));
    }
    all
}

impl User {
    /// At most `limit` accounts that match, in the order of `field`, beginning right behind
    /// `after`; `descending` turns the order round.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn page(
        conn: &mut Conn,
        filter: &UserFilter,
        (field, descending): (UserOrderField, bool),
        after: Option<&Position>,
        before: Option<&Position>,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let (key, sql_type) = key_sql(field);
        let direction = if descending { "DESC" } else { "ASC" };
        let mut query = users::table.select(Self::as_select()).into_boxed();
        for condition in conditions(filter) {
            query = query.filter(condition);
        }
        let (ahead, behind) = if descending { ("<", ">") } else { (">", "<") };
        for (position, comparison) in [(after, ahead), (before, behind)] {
            let Some(position) = position else { continue };
            query = query.filter(
                sql::<Bool>(&format!("({key}, users.id) {comparison} ("))
                    .bind::<Text, _>(position.key.clone())
                    .sql(&format!("::{sql_type}, "))
                    .bind::<SqlUuid, _>(position.id)
                    .sql(")"),
            );
        }
        query
            .order(sql::<Bool>(&format!(
                "{key} {direction}, users.id {direction}"
            )))
            .limit(limit)
            .load(conn)
            .await
    }

    /// How many accounts match.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn, filter: &UserFilter) -> QueryResult<i64> {
        let mut query = users::table.count().into_boxed();
        for condition in conditions(filter) {
            query = query.filter(condition);
        }
        query.get_result(conn).await
    }
}
