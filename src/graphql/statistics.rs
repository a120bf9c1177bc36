//! Counts over many accounts.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, requires_permission};
use crate::graphql::page::DateTimeRange;
use crate::models::login_event::MethodCount;
use crate::models::permission::SystemPermission;
use crate::models::session::SignInMethod;
use crate::services::statistics;

/// Sign-ins within a span of time.
#[derive(SimpleObject)]
pub struct LoginStats {
    /// By what was proved, the most frequent first. A sign-in in two steps counts with both.
    by_method: Vec<LoginMethodCount>,
    /// Accounts that signed in.
    distinct_users: i32,
    /// Sign-ins that opened a session.
    successes: i32,
}

/// How often something was proved to sign in.
#[derive(SimpleObject)]
pub struct LoginMethodCount {
    /// Sign-ins that it was part of.
    count: i32,
    /// Accounts whose sign-ins it was part of.
    distinct_users: i32,
    /// What was proved.
    method: SignInMethod,
}

impl From<MethodCount> for LoginMethodCount {
    fn from(row: MethodCount) -> Self {
        Self {
            count: number(row.sign_ins),
            distinct_users: number(row.accounts),
            method: row.method,
        }
    }
}

fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Counting.
#[derive(Default)]
pub struct StatisticsQuery;

#[Object]
impl StatisticsQuery {
    /// Sign-ins over time; the last 30 days when `period` is left out, at most 400 days.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::AdminSystem, false, false),
        directive = cost::apply(50),
    )]
    async fn login_stats(
        &self,
        ctx: &Context<'_>,
        period: Option<DateTimeRange>,
    ) -> Result<Option<LoginStats>> {
        let span = period.map(Into::into).unwrap_or_default();
        let stats = statistics::logins(ctx.app(), span).await?;
        Ok(Some(LoginStats {
            by_method: stats.by_method.into_iter().map(Into::into).collect(),
            distinct_users: number(stats.totals.accounts),
            successes: number(stats.totals.sign_ins),
        }))
    }
}
