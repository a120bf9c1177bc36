//! Lists of accounts: filters, search, orders and keyset pages over `users`.

use diesel::dsl::{AsSelect, exists, not, sql};
use diesel::expression::BoxableExpression;
use diesel::internal::table_macro::{BoxedSelectStatement, FromClause};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Json, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::profile::Profile;
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
#[derive(Default, Clone, Debug, PartialEq)]
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
    /// Words that must each stand in username, address or one of the names: anywhere where three letters
    /// or digits stand together in the word, else where a name begins.
    pub words: Vec<String>,
}

/// From the first instant on, before the second.
pub type Span = (Option<DateTime>, Option<DateTime>);

/// Where a page begins: the key of its neighbour in the order, and its id, which breaks ties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What the neighbour has in the column of the order.
    pub key: Key,
    /// Its id.
    pub id: Uuid,
}

/// The value of the column that a list is ordered by, as it stands in the row: what the order makes
/// of it, such as lower case, is left to the database, so that both sides of a comparison agree
/// whatever its collation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Of an instant; null where there is none.
    Instant(Option<DateTime>),
    /// Of a text; null where there is none.
    Text(Option<String>),
}

/// A piece of a list of accounts.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Which accounts.
    pub filter: UserFilter,
    /// The order.
    pub field: UserOrderField,
    /// The order is turned round.
    pub descending: bool,
    /// Begins right behind this position.
    pub after: Option<Position>,
    /// Ends right before this position.
    pub before: Option<Position>,
    /// Most accounts.
    pub limit: i64,
}

type Condition = Box<dyn BoxableExpression<users::table, Pg, SqlType = Bool>>;
type Users<'a, S> = BoxedSelectStatement<'a, S, FromClause<users::table>, Pg>;

/// What an order compares, in two pieces around the column. Nulls are stand-ins that no account has, so
/// that one comparison of pairs serves for every order; and each has an index of just this expression.
fn key_sql(field: UserOrderField) -> (&'static str, &'static str, &'static str) {
    match field {
        UserOrderField::CreatedAt => ("", "users.created_at", ""),
        UserOrderField::Email => ("lower(", "users.email", ")"),
        UserOrderField::LastLoginAt => ("coalesce(", "users.last_login_at", ", '-infinity')"),
        UserOrderField::Username => ("coalesce(lower(", "users.username", "), '')"),
    }
}

/// The position of `user` in the order of `field`.
#[must_use]
pub fn position(user: &User, field: UserOrderField) -> Position {
    let key = match field {
        UserOrderField::CreatedAt => Key::Instant(Some(user.created_at)),
        UserOrderField::Email => Key::Text(Some(user.email.0.clone())),
        UserOrderField::LastLoginAt => Key::Instant(user.last_login_at),
        UserOrderField::Username => Key::Text(user.username.clone()),
    };
    Position { key, id: user.id }
}

/// The account lies behind `position`, in the direction of `comparison`.
fn behind(position: &Position, field: UserOrderField, comparison: &str) -> Condition {
    let (open, column, close) = key_sql(field);
    let pair = sql::<Bool>(&format!(
        "({open}{column}{close}, users.id) {comparison} ({open}"
    ));
    match &position.key {
        Key::Instant(at) => Box::new(
            pair.bind::<Nullable<Timestamptz>, _>(*at)
                .sql(&format!("{close}, "))
                .bind::<SqlUuid, _>(position.id)
                .sql(")"),
        ),
        Key::Text(text) => Box::new(
            pair.bind::<Nullable<Text>, _>(text.clone())
                .sql(&format!("{close}, "))
                .bind::<SqlUuid, _>(position.id)
                .sql(")"),
        ),
    }
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
    // As the index has it; what stands there for never is no instant and in no span.
    let (from, to) = filter.last_login_at;
    let ever = from.or(to.and(Some(DateTime(chrono::DateTime::UNIX_EPOCH))));
    span("coalesce(users.last_login_at, '-infinity')", (ever, to));
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
        if !word.contains(char::is_alphanumeric) {
            // The index knows letters and digits alone, and looking through every account is no search.
            all.push(Box::new(sql::<Bool>("false")));
            continue;
        }
        all.push(Box::new(
            sql::<Bool>("users.search_text LIKE lower(")
                .bind::<Text, _>(pattern(word))
                .sql(")"),
        ));
    }
    all
}

/// The index holds groups of three letters or digits. A word in which no such group stands is looked for
/// where a name begins: the blank before it makes a group.
fn pattern(word: &str) -> String {
    let anywhere = word
        .split(|c: char| !c.is_alphanumeric())
        .any(|part| part.chars().count() >= 3);
    let literal = word
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{}{literal}%", if anywhere { "" } else { " " })
}

/// Up to so many accounts are gathered and sorted. It takes a fraction of a second, wherever in the order they lie.
const GATHERED: i64 = 100_000;

/// A query for the accounts of a slice.
///
/// PostgreSQL can walk along the index of the order until enough accounts match, or gather all that match
/// and sort them. It believes that those that match are spread evenly along the order, and so prefers to
/// walk; where they all lie at the far end, it walks past everybody. A subquery with `OFFSET 0` is
/// planned by itself, without the order, and forces the second way.
struct Page {
    matching: Users<'static, UserColumns>,
    order: String,
    limit: i64,
    gathered: bool,
    /// One plan is as good as another: nothing is looked for that could be rare or common.
    keeps_plan: bool,
}

type UserColumns = <AsSelect<User, Pg> as Expression>::SqlType;

impl Page {
    /// The query in the form that is best for it, which the database is asked to estimate.
    async fn planned(conn: &mut Conn, slice: &Slice) -> QueryResult<Self> {
        let (open, column, close) = key_sql(slice.field);
        let direction = if slice.descending { "DESC" } else { "ASC" };
        let order = format!(" ORDER BY {open}{column}{close} {direction}, users.id {direction}");
        let gathered = slice.filter.lies_apart(slice.field) && {
            let estimate = Explained("", matching(slice));
            let plan: serde_json::Value = estimate.get_result(conn).await?;
            let rows = plan[0]["Plan"]["Plan Rows"].as_i64();
            rows.is_some_and(|rows| rows <= GATHERED)
        };
        Ok(Self {
            matching: matching(slice),
            order,
            limit: slice.limit,
            gathered,
            keeps_plan: slice.filter == UserFilter::default()
                && USUAL_SIZES.contains(&(slice.limit - 1)),
        })
    }
}

/// An account of a page, with what most answers show beside it.
pub type Listed = (User, Option<Profile>, Vec<Uuid>);

/// The accounts of a page, each with its profile and the ids of its roles.
struct Listing {
    page: Page,
    profile: AsSelect<Option<Profile>, Pg>,
}

/// Page sizes that lists are shown in. Their statements are kept as prepared ones, of which a connection can hold only
/// so many.
const USUAL_SIZES: [i64; 5] = [10, 20, 25, 50, 100];

/// All accounts of the list between the ends of `slice`, in no order.
fn matching(slice: &Slice) -> Users<'static, UserColumns> {
    let (ahead, back) = if slice.descending {
        ("<", ">")
    } else {
        (">", "<")
    };
    let mut query = users::table.select(User::as_select()).into_boxed();
    for condition in conditions(&slice.filter) {
        query = query.filter(condition);
    }
    for (position, comparison) in [(&slice.after, ahead), (&slice.before, back)] {
        if let Some(position) = position {
            query = query.filter(behind(position, slice.field, comparison));
        }
    }
    query
}

impl UserFilter {
    /// The role that is the only condition.
    #[must_use]
    pub fn only_role(&self) -> Option<Uuid> {
        let [role] = self.roles.as_deref()? else {
            return None;
        };
        let alone = Self {
            roles: Some(vec![*role]),
            ..Self::default()
        };
        (*self == alone).then_some(*role)
    }

    /// What matches may lie together anywhere in the order of `field`: no index has both.
    fn lies_apart(&self, field: UserOrderField) -> bool {
        let spans = [
            (self.coaching_start_date, false),
            (self.created_at, field == UserOrderField::CreatedAt),
            (self.last_login_at, field == UserOrderField::LastLoginAt),
        ];
        !self.words.is_empty()
            || self.roles.is_some()
            // Who has a second factor has signed in once.
            || self.two_factor_enabled.is_some() && field == UserOrderField::LastLoginAt
            || spans
                .iter()
                .any(|(span, ordered)| !ordered && *span != (None, None))
    }
}

impl QueryFragment<Pg> for Page {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Most are not kept as prepared statements: planned anew each time, they are planned for their values. A
        // rare role wants another plan than a common one.
        if !self.keeps_plan {
            out.unsafe_to_cache_prepared();
        }
        if self.gathered {
            out.push_sql("SELECT * FROM (");
        }
        <Users<'static, UserColumns> as QueryFragment<Pg>>::walk_ast(
            &self.matching,
            out.reborrow(),
        )?;
        if self.gathered {
            out.push_sql(" OFFSET 0) AS users");
        }
        out.push_sql(&self.order);
        out.push_sql(&format!(" LIMIT {}", self.limit));
        Ok(())
    }
}

impl QueryFragment<Pg> for Listing {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT users.*, ");
        self.profile.walk_ast(out.reborrow())?;
        out.push_sql(
            ", ARRAY(SELECT role_id FROM user_roles WHERE user_roles.user_id = users.id) FROM (",
        );
        self.page.walk_ast(out.reborrow())?;
        // One by one: PostgreSQL would rather read all profiles than look a hundred up.
        out.push_sql(
            ") AS users LEFT JOIN LATERAL \
             (SELECT * FROM profiles WHERE profiles.user_id = users.id OFFSET 0) AS profiles ON true",
        );
        out.push_sql(&self.page.order);
        Ok(())
    }
}

impl Query for Listing {
    type SqlType = (
        UserColumns,
        <AsSelect<Option<Profile>, Pg> as Expression>::SqlType,
        Array<SqlUuid>,
    );
}

impl QueryId for Listing {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Page {
    type SqlType = UserColumns;
}

impl QueryId for Page {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

fn count(filter: &UserFilter) -> Users<'static, BigInt> {
    // A literal keeps diesel from preparing it; see above.
    let mut query = users::table.select(sql::<BigInt>("count(*)")).into_boxed();
    for condition in conditions(filter) {
        query = query.filter(condition);
    }
    query
}

impl User {
    /// The accounts of `slice`, in its order.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn page(conn: &mut Conn, slice: &Slice) -> QueryResult<Vec<Self>> {
        Page::planned(conn, slice).await?.load(conn).await
    }

    /// The same with their profiles and roles, by one statement.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn listing(conn: &mut Conn, slice: &Slice) -> QueryResult<Vec<Listed>> {
        let listing = Listing {
            page: Page::planned(conn, slice).await?,
            profile: Option::<Profile>::as_select(),
        };
        listing.load(conn).await
    }

    /// How PostgreSQL finds the accounts of `slice`: the answer of `EXPLAIN (ANALYZE, BUFFERS)` as JSON.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn explain_page(conn: &mut Conn, slice: &Slice) -> QueryResult<serde_json::Value> {
        let page = Page::planned(conn, slice).await?;
        Explained("ANALYZE, BUFFERS, ", page).get_result(conn).await
    }

    /// How many accounts match.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn count(conn: &mut Conn, filter: &UserFilter) -> QueryResult<i64> {
        count(filter).get_result(conn).await
    }

    /// How PostgreSQL counts the accounts that match: as [`User::explain_page`] tells.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn explain_count(
        conn: &mut Conn,
        filter: &UserFilter,
    ) -> QueryResult<serde_json::Value> {
        Explained("ANALYZE, BUFFERS, ", count(filter))
            .get_result(conn)
            .await
    }
}

/// Asks for the plan of a query in the place of its rows, with these options.
struct Explained<Q>(&'static str, Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explained<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("EXPLAIN (");
        out.push_sql(self.0);
        out.push_sql("FORMAT JSON) ");
        self.1.walk_ast(out)
    }
}

impl<Q> Query for Explained<Q> {
    type SqlType = Json;
}

impl<Q> QueryId for Explained<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
