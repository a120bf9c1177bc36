//! Counts over many accounts.

use async_graphql::{Context, Object, SimpleObject};

use crate::error::Result;
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, requires_permission};
use crate::graphql::page::DateTimeRange;
use crate::models::permission::SystemPermission;
use crate::models::role::Role;
use crate::models::session::SignInMethod;
use crate::models::statistics::MethodCount;
use crate::scalar::{Date, DateTime};
use crate::services::statistics;

/// Sign-ins within a span of time. Those of accounts that are gone count, too.
#[derive(SimpleObject)]
pub struct LoginStats {
    /// Every day of the span, in order. The first and the last count as far as they lie within it.
    by_day: Vec<LoginDay>,
    /// By what was proved, the most frequent first. A sign-in in two steps counts with both.
    by_method: Vec<LoginMethodCount>,
    /// Accounts that signed in, each counted once.
    distinct_users: i32,
    /// Tries to sign in that were refused: for a wrong name, password or code, a passkey or an answer of a
    /// provider that is not good, a step of a sign-in that is unknown or past its end, or a closed account. A try
    /// that a limit refused before anything was looked at does not count. Those of the last 90 days are
    /// counted to the instant, older ones by whole quarters of an hour.
    failures: i32,
    /// Sign-ins that opened a session.
    successes: i32,
}

/// Sign-ins of a day.
#[derive(SimpleObject)]
pub struct LoginDay {
    /// The day, from midnight to midnight in the time zone that was asked for.
    day: Date,
    /// Tries to sign in that were refused.
    failures: i32,
    /// Sign-ins that opened a session.
    successes: i32,
}

/// How often something was proved to sign in.
#[derive(SimpleObject)]
pub struct LoginMethodCount {
    /// Sign-ins that it was part of.
    count: i32,
    /// What was proved.
    method: SignInMethod,
}

impl From<MethodCount> for LoginMethodCount {
    fn from(row: MethodCount) -> Self {
        Self {
            count: number(row.sign_ins),
            method: row.method,
        }
    }
}

impl From<statistics::LoginStats> for LoginStats {
    fn from(stats: statistics::LoginStats) -> Self {
        let days = || stats.by_day.iter();
        Self {
            distinct_users: number(stats.accounts),
            failures: number(days().map(|day| day.failures).sum()),
            successes: number(days().map(|day| day.successes).sum()),
            by_day: days()
                .map(|day| LoginDay {
                    day: day.day,
                    failures: number(day.failures),
                    successes: number(day.successes),
                })
                .collect(),
            by_method: stats.by_method.into_iter().map(Into::into).collect(),
        }
    }
}

/// Counts over all accounts at one instant.
#[derive(SimpleObject)]
pub struct UserStats {
    /// Accounts that may sign in.
    active: i32,
    /// When it was counted; the last 30 days end then.
    as_of: DateTime,
    /// Every role, by name, with how many accounts hold it.
    by_role: Vec<RoleCount>,
    /// Accounts whose address was proved.
    email_verified: i32,
    /// Accounts that may not sign in: closed, or waiting for their address to be proved.
    inactive: i32,
    /// Accounts that signed in within the last 30 days.
    monthly_active: i32,
    /// Accounts that came into being within the last 30 days.
    #[graphql(name = "newLast30Days")]
    new_last_30_days: i32,
    /// Every day of `registrationsWithin`, in order. The first and the last count as far as they lie within it.
    /// Accounts that are gone by now do not count.
    registrations: Vec<DayCount>,
    /// All accounts.
    total: i32,
    /// Accounts whose second factor is on, as `TwoFactorStatus.enabled` says.
    two_factor_enabled: i32,
}

/// Accounts per role.
#[derive(SimpleObject)]
pub struct RoleCount {
    /// Accounts that hold it, whether or not they may sign in.
    count: i32,
    /// The role that is counted.
    role: Role,
}

/// How many there were on a day, e.g. registrations.
#[derive(SimpleObject)]
pub struct DayCount {
    /// How many there were.
    count: i32,
    /// The day, from midnight to midnight in the time zone that was asked for.
    day: Date,
}

impl From<statistics::UserStats> for UserStats {
    fn from(stats: statistics::UserStats) -> Self {
        let accounts = stats.accounts;
        let by_role = stats.by_role.into_iter().map(|(role, count)| RoleCount {
            count: number(count),
            role,
        });
        let registrations = stats
            .registrations
            .into_iter()
            .map(|(day, count)| DayCount {
                count: number(count),
                day,
            });
        Self {
            active: number(accounts.active),
            as_of: stats.as_of,
            by_role: by_role.collect(),
            email_verified: number(accounts.email_verified),
            inactive: number(accounts.total - accounts.active),
            monthly_active: number(accounts.seen),
            new_last_30_days: number(accounts.new),
            registrations: registrations.collect(),
            total: number(accounts.total),
            two_factor_enabled: number(accounts.two_factor),
        }
    }
}

/// The greatest number that the API can tell stands for any that is greater.
fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Counting.
#[derive(Default)]
pub struct StatisticsQuery;

#[Object]
impl StatisticsQuery {
    /// Sign-ins over time, up to the present; of the last 30 days when `period` is left out, of at most 400 days. A
    /// `period` without `from` begins 30 days before its end. Days are cut at the midnight of `timezone`, an IANA
    /// name. What is older than 800 days is gone.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::AdminSystem, false, false),
        directive = cost::apply(50),
    )]
    async fn login_stats(
        &self,
        ctx: &Context<'_>,
        period: Option<DateTimeRange>,
        #[graphql(default = "UTC")] timezone: String,
    ) -> Result<Option<LoginStats>> {
        let span = period.map(Into::into).unwrap_or_default();
        let stats = statistics::logins(ctx.app(), span, &timezone).await?;
        Ok(Some(stats.into()))
    }

    /// Counts over all accounts, with the registrations of each day: of the last 30 days when `registrationsWithin`
    /// is left out, of at most 400 days. Days are cut at the midnight of `timezone`, an IANA name.
    #[graphql(
        directive = requires_permission::apply(SystemPermission::AdminUsers, false, false),
        directive = cost::apply(50),
    )]
    async fn user_stats(
        &self,
        ctx: &Context<'_>,
        registrations_within: Option<DateTimeRange>,
        #[graphql(default = "UTC")] timezone: String,
    ) -> Result<Option<UserStats>> {
        let span = registrations_within.map(Into::into).unwrap_or_default();
        let stats = statistics::users(ctx.app(), span, &timezone).await?;
        Ok(Some(stats.into()))
    }
}
