//! How many instructions a request takes from its bytes to those of its answer: decoded, guarded, resolved and encoded,
//! with everything that production has on, but without the database, whose answers are known beforehand. Unlike times,
//! the numbers do not depend on what else the machine does.
//!
//! `cargo bench --bench instructions` fails where one is above its limit. It takes valgrind, and `gungraun-runner` in the
//! version that Cargo.lock names; `.ci/install` installs both.

#![allow(
    missing_docs,
    reason = "the macros of the library make items of their own"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use cardea::app::{App, Secrets};
use cardea::auth::access_token::{KeySet, generate_private_key};
use cardea::auth::requester::ClientInfo;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::crypto::seal::MasterKeys;
use cardea::db::Db;
use cardea::graphql::known::{Answers, Known};
use cardea::http;
use cardea::models::permission::Permission;
use cardea::models::profile::{NotificationFrequency, Profile, Theme};
use cardea::models::role::Role;
use cardea::models::role_snapshot::RoleSnapshot;
use cardea::models::session::SessionOwner;
use cardea::models::signing_key::SigningKey;
use cardea::models::user::{AccountStatus, User};
use cardea::scalar::{DateTime, EmailAddress, Json};
use cardea::services::users::{Page, Related};
use chrono::TimeDelta;
use clap::Parser;
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use secrecy::SecretString;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use uuid::Uuid;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was counted when the limits were last set, and by how much it may be more. Whoever raises one says in the commit
/// what it buys; whoever saves a tenth lowers it.
const ME: u64 = 196_000;
const PAGE: u64 = 1_924_000;
const MORE_PER_CENT: u64 = 5;

const ACCOUNTS: u128 = 100;
const MASTER_KEY: &str = "Q2FyZGVhIGNvdW50cyBpbnN0cnVjdGlvbnMgMTIzNCE=";
/// Nobody listens there.
const DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

const ME_DOCUMENT: &str = "{ me { id email profile { bio timezone language theme emailNotifications pushNotifications } \
    roles { name permissions { name } } } }";
const PAGE_DOCUMENT: &str =
    "{ users(first: 100) { nodes { id email profile { bio timezone } roles { name } } } }";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

/// A request that was answered once before, so that what is remembered of its kind is.
struct Asked {
    runtime: Runtime,
    app: App,
    router: Router,
    request: Request<Body>,
    /// Kept, so that the request does not take it down.
    _known: Known,
}

impl Asked {
    /// Of the account with the number 1, who holds these roles.
    fn new(document: &str, roles: &[u128]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (app, request) = runtime.block_on(async {
            let app = app();
            let token = sign_in(&app, roles);
            let body = serde_json::json!({ "query": document }).to_string();
            (app, (token, body))
        });
        let (token, body) = request;
        let known = Known(Arc::new(answers()));
        let request = || {
            let mut request = Request::post("/graphql")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .body(Body::from(body.clone()))
                .expect("a request");
            request.extensions_mut().insert(known.clone());
            request
        };
        let router = http::router(app.clone()).expect("the schema is sound");
        let mut asked = Self {
            runtime,
            app,
            router,
            request: request(),
            _known: known.clone(),
        };
        for _ in 0..3 {
            asked.answer();
            asked.request = request();
        }
        asked
    }

    /// The bytes of the answer.
    fn answer(&mut self) -> Vec<u8> {
        let request = std::mem::take(&mut self.request);
        let router = self.router.clone();
        // The entry of the audit trail is made and handed over; it goes no further.
        let (_told, writer) = self.app.shown.put(Vec::new());
        let writer = writer.expect("nobody else writes");
        self.runtime.block_on(async {
            let answered = async {
                let response = router.oneshot(request).await.expect("an answer");
                let body = to_bytes(response.into_body(), usize::MAX).await;
                body.expect("a body").to_vec()
            };
            let written = writer.run(async |_| Ok(()));
            tokio::join!(biased; answered, written).0
        })
    }
}

/// The application as production has it.
fn app() -> App {
    let settings = [
        "cardea",
        "--introspection=false",
        "--playground=false",
        "--log=warn",
    ];
    let Settings { config } = Settings::parse_from(settings);
    let clock = Clock::system();
    let now = DateTime(clock.now());
    let key = SigningKey {
        id: Uuid::from_u128(7),
        private_key: generate_private_key().expect("a key"),
        signs_from: now,
    };
    let lifetime = TimeDelta::hours(1);
    let issuer = config.token_issuer();
    let audience = config.session.token_audience.clone();
    let access_tokens = KeySet::new(&[key], issuer, audience, lifetime).expect("keys");
    let master = MasterKeys::parse(MASTER_KEY).expect("a key");
    let (audit, ..) = master.new_data_key(Uuid::nil()).expect("a key");
    let secrets = Secrets {
        access_tokens,
        master,
        audit,
    };
    let db = Db::new(&SecretString::from(DATABASE), &config.database).expect("settings");
    App::assemble(config, db, clock, secrets).expect("settings")
}

/// An access token of the account with the number 1, whose session and roles are remembered.
fn sign_in(app: &App, roles: &[u128]) -> String {
    // For an hour, nobody has to ask the database whether it still stands.
    app.access
        .caught_up(Instant::now() + Duration::from_hours(1), Vec::new());
    let names = ["admin", "moderator", "user"];
    let held = ["admin:users", "read:all", "read:own", "write:own"];
    let now = app.now();
    let role = |(at, name): (usize, &&str)| Role {
        id: number(at as u128 + 1),
        name: (*name).to_owned(),
        description: None,
        is_default: false,
        is_system: true,
        created_at: now,
        updated_at: now,
        requires_two_factor: false,
    };
    let permission = |(at, name): (usize, &&str)| Permission {
        id: number(at as u128 + 1),
        name: (*name).to_owned(),
        description: None,
        is_system: true,
    };
    let granted = (1..=4).map(|permission| (number(1), number(permission)));
    let snapshot = RoleSnapshot::new(
        names.iter().enumerate().map(role).collect(),
        held.iter().enumerate().map(permission).collect(),
        granted
            .chain([(number(3), number(3)), (number(3), number(4))])
            .collect(),
    );
    app.access
        .keep_roles(app.access.epoch(), &Arc::new(snapshot));
    let all = roles.contains(&1);
    let owner = SessionOwner {
        id: number(1),
        user_id: number(1),
        expires_at: DateTime(*now + TimeDelta::hours(1)),
        authenticated_at: now,
        last_accessed_at: now,
        second_factor: true,
        auth_token: number(1),
        permissions: held
            .iter()
            .skip(if all { 0 } else { 2 })
            .map(|name| (*name).to_owned())
            .collect(),
        has_password: true,
        two_factor: true,
        has_passkey: false,
        two_factor_by_role: false,
        roles: roles.iter().copied().map(number).collect(),
    };
    let client = Arc::new(ClientInfo::new([127, 0, 0, 1].into(), None));
    let actor = app.access.keep(app.access.epoch(), owner, client);
    let (key, ..) = app.master_keys.new_data_key(number(1)).expect("a key");
    actor.data_key().set(Arc::new(key)).expect("new");
    let token = app.keys.sign(number(1), number(1), Vec::new(), None, now);
    token.expect("a token").token
}

fn number(number: u128) -> Uuid {
    Uuid::from_u128(number << 64 | number)
}

/// What the database would say.
fn answers() -> Answers {
    let now = DateTime(Clock::system().now());
    let user = |at: u128| User {
        id: number(at),
        auth_token: number(at),
        username: Some(format!("somebody-{at}")),
        email: EmailAddress(format!("somebody.{at}@example.org")),
        full_name: "Some Body".to_owned(),
        first_name: Some("Some".to_owned()),
        last_name: Some("Body".to_owned()),
        avatar_url: None,
        birth_date: None,
        status: AccountStatus::Active,
        email_verified_at: Some(now),
        last_login_at: Some(now),
        login_count: 3,
        coaching_start_date: None,
        last_coaching_session: None,
        created_at: now,
        updated_at: now,
        erases_at: None,
    };
    let profile = |at: u128| Profile {
        user_id: number(at),
        bio: Some("Some words of somebody about themselves.".to_owned()),
        timezone: "Europe/Vienna".to_owned(),
        coaching_goals: None,
        preferred_coaching_style: None,
        session_frequency: None,
        email_notifications: true,
        push_notifications: false,
        notification_frequency: NotificationFrequency::Daily,
        theme: Theme::Light,
        language: "de-AT".to_owned(),
        preferences: Json(serde_json::json!({})),
        created_at: now,
        updated_at: now,
    };
    let related = |at: u128| Related {
        user: number(at),
        profile: Some(profile(at)),
        roles: vec![number(3)],
    };
    let page = Page {
        users: (1..=ACCOUNTS).map(user).collect(),
        related: (1..=ACCOUNTS).map(related).collect(),
        has_previous: false,
        has_next: true,
    };
    Answers {
        accounts: vec![(user(1), Some(profile(1)))],
        page: Some(page),
    }
}

/// What the answer must be like: a number that is right for the wrong reason says nothing.
#[expect(clippy::needless_pass_by_value, reason = "the library hands it over")]
fn check(answer: Vec<u8>) {
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert!(answer["errors"].is_null(), "{answer}");
    let whole = |account: &serde_json::Value| {
        account["email"].is_string()
            && account["profile"]["timezone"] == "Europe/Vienna"
            && account["roles"][0]["name"].is_string()
    };
    match answer["data"]["users"]["nodes"].as_array() {
        Some(nodes) => assert!(nodes.len() == 100 && nodes.iter().all(whole), "{answer}"),
        None => assert!(whole(&answer["data"]["me"]), "{answer}"),
    }
}

fn at_most(counted: u64) -> LibraryBenchmarkConfig {
    let limit = counted * (100 + MORE_PER_CENT) / 100;
    LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, limit)]))
        .clone()
}

#[library_benchmark(teardown = check)]
#[bench::me(args = (Asked::new(ME_DOCUMENT, &[3])), config = at_most(ME))]
#[bench::page(args = (Asked::new(PAGE_DOCUMENT, &[1, 3])), config = at_most(PAGE))]
fn answer(mut asked: Asked) -> Vec<u8> {
    let answer = asked.answer();
    // Taking the application down is nobody's request.
    std::mem::forget(asked);
    answer
}

library_benchmark_group!(name = requests, benchmarks = [answer]);

main!(library_benchmark_groups = requests);
