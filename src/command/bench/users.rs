//! `bench users`: how long the lists of accounts take, and by which plan PostgreSQL finds them.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::error::Error;
use cardea::models::user::{AccountStatus, User};
use cardea::models::user_page::{Slice, UserFilter, UserOrderField, position};
use cardea::scalar::DateTime;
use cardea::services::roles;
use cardea::services::users::{self, PageRequest};
use chrono::TimeDelta;
use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use crate::command::database::Database;

#[derive(Args, Debug)]
pub(crate) struct Users {
    /// How often each query runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Only queries whose name holds this text
    #[arg(long)]
    only: Option<String>,
}

/// Measures the lists of the accounts that are there.
///
/// # Errors
/// One line that says why not.
pub(super) async fn run(mut config: Config, bench: Users) -> anyhow::Result<()> {
    // What takes too long is to be seen, not given up.
    config.database.statement_timeout_secs = 600;
    let database = Database::open(&config).await?;
    let measured = async {
        database.prepare(&config).await?;
        let app = App::new(config, database.db.clone(), Clock::system()).await?;
        measure_all(&app, &bench)
            .await
            .map_err(|error| match error {
                Error::Internal(cause) => anyhow!("{cause:#}"),
                other => anyhow!("{other:?}"),
            })
    }
    .await;
    database.close().await?;
    measured
}

/// What is measured.
enum Query {
    Page(PageRequest),
    Count(UserFilter),
    Id(Uuid),
    Uuid(Uuid),
    Email(String),
    Username(String),
}

async fn measure_all(app: &App, bench: &Users) -> Result<(), Error> {
    let queries = queries(app).await?;
    let wanted = bench.only.as_deref().unwrap_or_default();
    println!("| query | rows | median ms | p95 ms | plan |\n|---|--:|--:|--:|---|");
    for (name, query) in queries {
        if !name.contains(wanted) {
            continue;
        }
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..bench.runs {
            let began = Instant::now();
            rows = run_once(app, &query).await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let at = |percent: usize| millis(times[(times.len() - 1) * percent / 100]);
        let plan = explain(app, &query)
            .await?
            .map_or_else(String::new, |plan| summary(&plan));
        println!("| {name} | {rows} | {} | {} | {plan} |", at(50), at(95));
    }
    Ok(())
}

async fn run_once(app: &App, query: &Query) -> Result<i64, Error> {
    let found = match query {
        Query::Page(request) => users::page(app, request).await?.users,
        Query::Count(filter) => return users::count(app, filter).await,
        Query::Id(id) => User::by_ids(&*app.db.conn().await?, &[*id]).await?,
        Query::Uuid(uuid) => {
            let user = User::by_auth_token(&mut *app.db.conn().await?, *uuid).await?;
            user.into_iter().collect()
        }
        Query::Email(email) => {
            let user = User::by_email(&mut *app.db.conn().await?, email).await?;
            user.into_iter().collect()
        }
        Query::Username(name) => {
            let user = User::by_username(&mut *app.db.conn().await?, name).await?;
            user.into_iter().collect()
        }
    };
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX))
}

async fn explain(app: &App, query: &Query) -> Result<Option<Value>, Error> {
    let conn = &mut *app.db.conn().await?;
    Ok(match query {
        Query::Page(request) => Some(User::explain_page(conn, &request.slice()).await?),
        Query::Count(filter) => Some(User::explain_count(conn, filter).await?),
        _ => None,
    })
}

/// The nodes of a plan from the top, with the indexes that they read.
fn summary(plan: &Value) -> String {
    fn walk(node: &Value, parts: &mut Vec<String>) {
        let kind = node["Node Type"].as_str().unwrap_or_default();
        let backward = node["Scan Direction"] == "Backward";
        let kind = if backward {
            format!("{kind} Backward")
        } else {
            kind.to_owned()
        };
        parts.push(
            match node["Index Name"]
                .as_str()
                .or(node["Relation Name"].as_str())
            {
                Some(name) => format!("{kind} `{name}`"),
                None => kind,
            },
        );
        for child in node["Plans"].as_array().into_iter().flatten() {
            walk(child, parts);
        }
    }
    let mut parts = Vec::new();
    walk(&plan[0]["Plan"], &mut parts);
    parts.retain(|part| !matches!(&**part, "Limit" | "Aggregate"));
    parts.join(", ")
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

const ORDERS: [(&str, UserOrderField); 4] = [
    ("created", UserOrderField::CreatedAt),
    ("email", UserOrderField::Email),
    ("last login", UserOrderField::LastLoginAt),
    ("username", UserOrderField::Username),
];

/// The first hundred.
fn first(filter: UserFilter, field: UserOrderField, descending: bool) -> PageRequest {
    PageRequest {
        related: false,
        filter,
        field,
        descending,
        after: None,
        before: None,
        limit: 100,
        backward: false,
    }
}

async fn queries(app: &App) -> Result<Vec<(String, Query)>, Error> {
    let mut queries = Vec::new();
    let way = |descending| if descending { "desc" } else { "asc" };
    for (order, field) in ORDERS {
        for descending in [false, true] {
            let page = first(UserFilter::default(), field, descending);
            queries.push((
                format!("page 1, {order} {}", way(descending)),
                Query::Page(page),
            ));
        }
    }
    let total = users::count(app, &UserFilter::default()).await?;
    // Of a million accounts the 199,900th, behind which page 2,000 begins.
    let deep = (total / 5 - 100).max(1);
    let mut somebody = None;
    for (order, field) in ORDERS {
        for descending in [false, true] {
            let slice = Slice {
                limit: deep,
                ..first(UserFilter::default(), field, descending).slice()
            };
            let last = User::page(&mut *app.db.conn().await?, &slice).await?.pop();
            let place = last.as_ref().map(|user| position(user, field));
            somebody = last.or(somebody);
            let name = format!("page {}, {order} {}", deep / 100 + 1, way(descending));
            let mut page = first(UserFilter::default(), field, descending);
            page.after.clone_from(&place);
            queries.push((name.clone(), Query::Page(page.clone())));
            (page.after, page.before, page.backward) = (None, place, true);
            queries.push((format!("{name}, the page before"), Query::Page(page)));
        }
    }
    for (name, filter) in filters(app).await? {
        for (order, field) in ORDERS {
            for descending in [false, true] {
                let name = format!("{name}, {order} {}", way(descending));
                queries.push((name, Query::Page(first(filter.clone(), field, descending))));
            }
        }
        queries.push((format!("{name}, count"), Query::Count(filter)));
    }
    queries.push(("count".to_owned(), Query::Count(UserFilter::default())));
    if let Some(user) = somebody {
        queries.push(("one by id".to_owned(), Query::Id(user.id)));
        queries.push(("one by uuid".to_owned(), Query::Uuid(user.auth_token)));
        queries.push(("one by address".to_owned(), Query::Email(user.email.0)));
        let by_name = user.username.map(Query::Username);
        queries.extend(by_name.map(|query| ("one by username".to_owned(), query)));
    }
    Ok(queries)
}

/// Every filter, the rare and the common side of it, and searches.
async fn filters(app: &App) -> Result<Vec<(String, UserFilter)>, Error> {
    let any = UserFilter::default;
    let mut filters = Vec::new();
    let mut add = |name: &str, filter: UserFilter| filters.push((name.to_owned(), filter));
    for (name, statuses) in [
        ("pending", vec![AccountStatus::Pending]),
        ("deactivated", vec![AccountStatus::Deactivated]),
        (
            "pending or deactivated",
            vec![AccountStatus::Pending, AccountStatus::Deactivated],
        ),
        ("active", vec![AccountStatus::Active]),
    ] {
        add(
            name,
            UserFilter {
                statuses: Some(statuses),
                ..any()
            },
        );
    }
    for holds in [true, false] {
        add(
            &format!("isActive: {holds}"),
            UserFilter {
                is_active: Some(holds),
                ..any()
            },
        );
        add(
            &format!("emailVerified: {holds}"),
            UserFilter {
                email_verified: Some(holds),
                ..any()
            },
        );
        add(
            &format!("twoFactorEnabled: {holds}"),
            UserFilter {
                two_factor_enabled: Some(holds),
                ..any()
            },
        );
    }
    for name in ["admin", "moderator", "user"] {
        let role = roles::by_name(app, name).await?;
        let roles = role.map(|role| vec![role.id]);
        add(&format!("role {name}"), UserFilter { roles, ..any() });
    }
    let ago = |days| Some(DateTime(*app.now() - TimeDelta::days(days)));
    add(
        "created last week",
        UserFilter {
            created_at: (ago(7), None),
            ..any()
        },
    );
    add(
        "created two years ago",
        UserFilter {
            created_at: (ago(760), ago(730)),
            ..any()
        },
    );
    add(
        "signed in last week",
        UserFilter {
            last_login_at: (ago(7), None),
            ..any()
        },
    );
    add(
        "not signed in for two years",
        UserFilter {
            last_login_at: (None, ago(730)),
            ..any()
        },
    );
    add(
        "coached since last month",
        UserFilter {
            coaching_start_date: (ago(30), None),
            ..any()
        },
    );
    filters.extend(searches());
    Ok(filters)
}

/// Words that few, many, all and none have.
fn searches() -> Vec<(String, UserFilter)> {
    let any = UserFilter::default;
    let mut filters = Vec::new();
    let mut add = |name: &str, filter: UserFilter| filters.push((name.to_owned(), filter));
    for words in [
        "quennev",
        "schmidt",
        "example",
        "olga schmidt",
        "example quennev",
        "mül",
        "MÜLLER",
        "mu",
        "z",
        "xqzzy",
        "100%",
        "a_b",
        "@",
        "example.net 777",
    ] {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let name = format!("search `{}`", words.join(" "));
        add(&name, UserFilter { words, ..any() });
    }
    let pending = Some(vec![AccountStatus::Pending]);
    add(
        "pending and `example`",
        UserFilter {
            statuses: pending,
            words: vec!["example".to_owned()],
            ..any()
        },
    );
    filters
}
