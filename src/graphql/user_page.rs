//! Pages of accounts: their order, their cursors, and the connection.

use async_graphql::{Context, InputObject, Name, Object, SimpleObject};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::at_hand::{AtHand, ListAtHand};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::cost;
use crate::graphql::loader::MemberCountOf;
use crate::graphql::page::{self, PageArguments, PageInfo, SortDirection};
use crate::models::user::User;
use crate::models::user_page::{Key, Position, UserFilter, UserOrderField, position};
use crate::scalar::DateTime;
use crate::services::users::{self, PageRequest};

/// Order of a list of accounts. Ties are broken by id, so pages never overlap.
#[derive(InputObject, Clone, Copy)]
pub struct UserOrder {
    /// Which end of the list comes first.
    #[graphql(default_with = "SortDirection::Desc")]
    pub direction: SortDirection,
    /// What the list is ordered by.
    pub field: UserOrderField,
}

/// The order of a list where none is given.
pub const NEWEST_FIRST: UserOrder = UserOrder {
    direction: SortDirection::Desc,
    field: UserOrderField::CreatedAt,
};

/// Page of accounts.
pub struct UserConnection {
    page: users::Page,
    order: UserOrderField,
    filter: UserFilter,
}

impl UserConnection {
    /// A cursor holds what the list is ordered by.
    fn note<'u>(&self, ctx: &Context<'_>, users: impl IntoIterator<Item = &'u User>) {
        let field = match self.order {
            UserOrderField::CreatedAt => return,
            UserOrderField::Email => "email",
            UserOrderField::LastLoginAt => "lastLoginAt",
            UserOrderField::Username => "username",
        };
        let field = Name::new(field);
        for user in users {
            ctx.caller().witness().read(user.id, &field);
        }
    }
}

/// Page of accounts.
#[Object]
impl UserConnection {
    /// The accounts with their cursors.
    async fn edges(&self, ctx: &Context<'_>) -> ListAtHand<Vec<UserEdge>> {
        self.note(ctx, &self.page.users);
        let edge = |user: &User| UserEdge {
            cursor: cursor(user, self.order),
            node: AtHand(user.clone()),
        };
        ListAtHand(self.page.users.iter().map(edge).collect())
    }

    /// The accounts without their cursors.
    async fn nodes(&self) -> ListAtHand<&[User]> {
        ListAtHand(&self.page.users)
    }

    /// Where the page lies within the list.
    async fn page_info(&self, ctx: &Context<'_>) -> PageInfo {
        let (first, last) = (self.page.users.first(), self.page.users.last());
        self.note(ctx, first.into_iter().chain(last));
        PageInfo {
            end_cursor: self.page.users.last().map(|user| cursor(user, self.order)),
            has_next_page: self.page.has_next,
            has_previous_page: self.page.has_previous,
            start_cursor: self.page.users.first().map(|user| cursor(user, self.order)),
        }
    }

    /// All accounts that match, counted only when selected.
    #[graphql(directive = cost::apply(20))]
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        // Roles in a list are counted together.
        let count = match self.filter.only_role() {
            Some(role) => ctx.loaders().one(MemberCountOf(role)).await?.unwrap_or(0),
            None => users::count(ctx.app(), &self.filter).await?,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// One account in a page.
#[derive(SimpleObject)]
pub struct UserEdge {
    /// Where the account stands in the list; for `after` and `before`.
    cursor: String,
    /// The account.
    node: AtHand<User>,
}

fn cursor(user: &User, order: UserOrderField) -> String {
    write_cursor(position(user, order), order)
}

/// Writes a position in the order of `order` as a cursor, which names the order too, so that one of another order is
/// refused.
#[must_use]
pub fn write_cursor(Position { key, id }: Position, order: UserOrderField) -> String {
    let key = match key {
        Key::Instant(at) => at.map(|at| at.to_rfc3339()),
        Key::Text(text) => text,
    };
    page::encode(&(order.as_str(), key, id))
}

/// Reads what [`write_cursor`] wrote for this order. Does not check that there ever was such an account.
///
/// # Errors
/// [`Error::BadInput`] for anything else.
pub fn read_cursor(cursor: &str, order: UserOrderField) -> Result<Position> {
    let refused = || Error::BadInput("This is no cursor of this list.".to_owned());
    let (field, key, id): (String, Option<String>, Uuid) = page::decode(cursor)?;
    let key = match order {
        UserOrderField::CreatedAt | UserOrderField::LastLoginAt => Key::Instant(
            key.as_deref()
                .map(instant)
                .transpose()
                .map_err(|()| refused())?,
        ),
        UserOrderField::Email | UserOrderField::Username => Key::Text(key),
    };
    let nullable = matches!(
        order,
        UserOrderField::LastLoginAt | UserOrderField::Username
    );
    let fits = match &key {
        Key::Instant(None) | Key::Text(None) => nullable,
        Key::Instant(Some(_)) => true,
        Key::Text(Some(text)) => !text.contains('\0'),
    };
    if field == order.as_str() && fits {
        Ok(Position { key, id })
    } else {
        Err(refused())
    }
}

/// An instant as [`write_cursor`] writes it, and nothing that only looks alike.
fn instant(text: &str) -> Result<DateTime, ()> {
    let at = chrono::DateTime::parse_from_rfc3339(text).map_err(drop)?;
    let at = at.to_utc();
    (at.to_rfc3339() == text).then_some(DateTime(at)).ok_or(())
}

/// Whether a field of the accounts of the page is selected.
fn shows(ctx: &Context<'_>, field: &str) -> bool {
    let page = ctx.look_ahead();
    let (nodes, edges) = (page.field("nodes"), page.field("edges").field("node"));
    nodes.field(field).exists() || edges.field(field).exists()
}

/// A page of the accounts that match `filter`.
///
/// # Errors
/// [`Error::BadInput`] for malformed arguments.
pub async fn connection(
    ctx: &Context<'_>,
    arguments: PageArguments,
    filter: UserFilter,
    order: UserOrder,
) -> Result<UserConnection> {
    let (limit, backward) = arguments.size()?;
    let read = |cursor: &Option<String>| {
        let cursor = cursor.as_deref();
        cursor
            .map(|cursor| read_cursor(cursor, order.field))
            .transpose()
    };
    let request = PageRequest {
        field: order.field,
        descending: order.direction == SortDirection::Desc,
        after: read(&arguments.after)?,
        before: read(&arguments.before)?,
        filter,
        limit,
        backward,
        related: shows(ctx, "profile") || shows(ctx, "roles"),
    };
    let mut page = ctx.loaders().page(&request).await?;
    let related = std::mem::take(&mut page.related);
    ctx.loaders().know(related);
    Ok(UserConnection {
        page,
        order: order.field,
        filter: request.filter,
    })
}
