//! Looking accounts up: one, or a page of them.

use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::db::Pooled;
use crate::error::Result;
use crate::models::permission::SystemPermission;
use crate::models::profile::Profile;
use crate::models::user::User;
use crate::models::user_page::{Position, Slice, UserFilter, UserOrderField};

/// Which single account is meant.
#[derive(Debug)]
pub enum Lookup {
    /// The one with this id.
    Id(Uuid),
    /// The one with this address.
    Email(String),
    /// The one with this username.
    Username(String),
    /// The one that other systems know by this UUID.
    Uuid(Uuid),
}

/// The account that is meant, if it exists and the caller may see it.
///
/// # Errors
/// If the database cannot answer.
pub async fn find(app: &App, actor: &Actor, lookup: Lookup) -> Result<Option<User>> {
    let mut conn = app.db.conn().await?;
    let user = match lookup {
        Lookup::Id(id) => User::by_ids(&conn, &[id]).await?.pop(),
        Lookup::Email(email) => User::by_email(&mut conn, email.trim()).await?,
        Lookup::Username(username) => User::by_username(&mut conn, username.trim()).await?,
        Lookup::Uuid(auth_token) => User::by_auth_token(&mut conn, auth_token).await?,
    };
    Ok(user.filter(|user| actor.has(SystemPermission::ReadAll) || user.id == actor.user_id()))
}

/// A page of accounts to fetch.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Which accounts.
    pub filter: UserFilter,
    /// The order.
    pub field: UserOrderField,
    /// Largest first.
    pub descending: bool,
    /// Right behind this position.
    pub after: Option<Position>,
    /// Right before this position.
    pub before: Option<Position>,
    /// Most accounts.
    pub limit: usize,
    /// From the end of the list instead of its beginning.
    pub backward: bool,
    /// With [`Page::related`].
    pub related: bool,
}

impl PageRequest {
    /// What is read for the page. Backward is the turned order, whose `before` is then where it begins.
    /// One more than asked for says whether there are more.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let (after, before) = (self.after.clone(), self.before.clone());
        let (after, before) = if self.backward {
            (before, after)
        } else {
            (after, before)
        };
        Slice {
            filter: self.filter.clone(),
            field: self.field,
            descending: self.descending != self.backward,
            after,
            before,
            limit: i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1,
        }
    }
}

/// A page of accounts, in the order asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// The accounts.
    pub users: Vec<User>,
    /// What belongs to them, where it was asked for; in no order.
    pub related: Vec<Related>,
    /// More match before the first.
    pub has_previous: bool,
    /// More match behind the last.
    pub has_next: bool,
}

/// What belongs to an account of a page.
#[derive(Clone, Debug)]
pub struct Related {
    /// The account.
    pub user: Uuid,
    /// Its profile.
    pub profile: Option<Profile>,
    /// The ids of its roles, in no order.
    pub roles: Vec<Uuid>,
}

/// Fetches a page of accounts.
///
/// # Errors
/// If the database cannot answer.
pub async fn page(app: &App, request: &PageRequest) -> Result<Page> {
    let slice = &request.slice();
    let read = |mut conn: Pooled| async move {
        if !request.related {
            return Ok((User::page(&mut conn, slice).await?, Vec::new()));
        }
        let listed = User::listing(&mut conn, slice).await?.into_iter();
        let split = listed.map(|(user, profile, roles)| {
            let related = Related {
                user: user.id,
                profile,
                roles,
            };
            (user, related)
        });
        Ok(split.unzip())
    };
    let (mut users, related): (Vec<_>, Vec<_>) = app.db.read_much(read).await?;
    let more = users.len() > request.limit;
    users.truncate(request.limit);
    // A cursor stands for an account of the list, so that something lies on its other side.
    let (before_start, behind_end) = (slice.after.is_some(), more || slice.before.is_some());
    if request.backward {
        users.reverse();
        Ok(Page {
            users,
            related,
            has_previous: behind_end,
            has_next: before_start,
        })
    } else {
        Ok(Page {
            users,
            related,
            has_previous: before_start,
            has_next: behind_end,
        })
    }
}

/// How many accounts match.
///
/// # Errors
/// If the database cannot answer.
pub async fn count(app: &App, filter: &UserFilter) -> Result<i64> {
    let count = |mut conn: Pooled| async move { Ok(User::count(&mut conn, filter).await?) };
    app.db.read_much(count).await
}
