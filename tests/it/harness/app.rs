//! A server with its own database, a clock that stands still, and mails in memory.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use cardea::app::App;
use cardea::clock::Clock;
use cardea::config::Config;
use cardea::db::Db;
use cardea::mail::Message;
use cardea::models::job::Job;
use cardea::models::role::Role;
use cardea::{http, listener, worker};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::client::{Answer, Client};
use crate::harness::db::TestDb;
use crate::harness::told;

/// The password of every account that a test makes.
pub const PASSWORD: &str = "Correct-Horse-7";

/// Wraps the data keys of tests.
pub const MASTER_KEY: &str = "Q2FyZGVhJ3MgdGVzdHMgc2VhbCBieSBrZXkgbm8gMSE=";

pub struct TestApp {
    pub app: App,
    pub router: Router,
    // Last, so that the connections are gone before the database goes.
    pub db: TestDb,
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

/// Settings for tests: cheap hashes, few connections, no limits that a test does not ask for.
pub fn config(arguments: &[&str]) -> Config {
    let defaults = [
        "cardea",
        "--argon2-memory-kib=8",
        "--argon2-passes=1",
        "--password-threads=2",
        "--database-pool-size=4",
        "--database-wait-secs=10",
        "--registrations-per-hour=100000",
        "--login-tries=100000",
        "--logins-per-name=100000",
        "--logins-per-network=100000",
        "--mails-per-hour=100000",
        "--mail-requests-per-network=100000",
        "--tokens-per-network=100000",
        "--code-tries=100000",
        "--master-key",
        MASTER_KEY,
        "--oauth-per-network=100000",
    ];
    // The last of two equal flags holds.
    told::listen();
    let mut config = Settings::parse_from(defaults.iter().chain(arguments)).config;
    config.read_secret_files().expect("files of secrets");
    config
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A server with these flags.
    pub async fn with(arguments: &[&str]) -> Self {
        Self::with_config(config(arguments)).await
    }

    pub async fn with_config(config: Config) -> Self {
        Self::with_clock(config, Clock::fixed(start_of_time())).await
    }

    /// A server on this clock.
    pub async fn with_clock(config: Config, clock: Clock) -> Self {
        let db = TestDb::new(&config.database).await;
        // Boxed: settings are large, and tests hold futures with them.
        let app = Box::pin(start(config, &db, clock)).await;
        let router = http::router(app.clone()).expect("the schema is sound");
        Self { app, router, db }
    }

    /// A server that does not listen to what others change.
    pub async fn deaf() -> Self {
        let config = config(&[]);
        let db = TestDb::new(&config.database).await;
        let app = Box::pin(assemble(config, &db, Clock::fixed(start_of_time()))).await;
        let router = http::router(app.clone()).expect("the schema is sound");
        Self { app, router, db }
    }

    /// Another server on the same database, with the same clock and these flags.
    pub async fn second(&self, arguments: &[&str]) -> (App, Router) {
        let app = Box::pin(start(config(arguments), &self.db, self.app.clock.clone())).await;
        let router = http::router(app.clone()).expect("the schema is sound");
        (app, router)
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router always answers");
        Answer::read(response).await
    }

    /// Runs a document without a session.
    pub async fn gql(&self, query: &str, variables: Value) -> Answer {
        self.gql_as(None, query, variables).await
    }

    /// Runs a document with an access token.
    pub async fn gql_as(&self, token: Option<&str>, query: &str, variables: Value) -> Answer {
        told::addresses(query);
        told::json(&variables);
        let mut request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/graphql-response+json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = json!({ "query": query, "variables": variables }).to_string();
        self.send(request.body(Body::from(body)).expect("a request"))
            .await
    }

    /// Registers `name@example.org`; the address is not proved.
    pub async fn register(&self, name: &str) -> Answer {
        let input = json!({
            "email": email(name), "fullName": format!("{name} Example"), "password": PASSWORD, "username": name,
        });
        self.gql("mutation($input: RegisterInput!) { register(input: $input) { errors { code path message } result { __typename } } }",
            json!({ "input": input })).await
    }

    /// An account that has proved its address, signed in; all of it through the API.
    pub async fn user(&self, name: &str) -> Client<'_> {
        let registered = self.register(name).await;
        assert_eq!(
            registered.data("register/errors"),
            &json!([]),
            "{registered:?}"
        );
        let token = self.mailed_token(&email(name)).await;
        let verified = self
            .gql(
                "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { message } \
                 result { ... on SignedIn { accessToken refreshToken user { id uuid } session { id } } } } }",
                json!({ "token": token }),
            )
            .await;
        Client::new(self, verified.data("verifyEmail/result"))
    }

    /// An account with this role beside `user`.
    pub async fn user_with_role(&self, name: &str, role: &str) -> Client<'_> {
        let client = self.user(name).await;
        self.grant(&client, role).await;
        client
    }

    /// Gives a role past the API: somebody must be the first.
    pub async fn grant(&self, client: &Client<'_>, role: &str) {
        let conn = &mut *self.app.db.conn().await.expect("a connection");
        let role = Role::by_name(conn, role)
            .await
            .expect("an answer")
            .expect("a seeded role");
        Role::assign(conn, role.id, client.user_id(), None, self.app.now())
            .await
            .expect("granted");
        self.app.access.catch_up().await;
    }

    pub async fn admin(&self) -> Client<'_> {
        self.user_with_role("admin", "admin").await
    }

    /// Carries out every job that is due.
    pub async fn run_jobs(&self) -> usize {
        worker::run_due(&self.app).await.expect("the queue works")
    }

    pub async fn waiting_jobs(&self) -> i64 {
        Job::count_waiting(&mut self.app.db.conn().await.expect("a connection"))
            .await
            .expect("a count")
    }

    /// Mails so far, the newest first.
    pub fn mails(&self) -> Vec<Message> {
        let inbox = self.app.mailer.inbox().expect("tests have an inbox");
        let mails = inbox.messages();
        for mail in &mails {
            told::addresses(&mail.to);
            told::addresses(&mail.text);
            let tokens = mail
                .links
                .iter()
                .filter_map(|link| link.split_once("token="));
            tokens.for_each(|(_, token)| told::secret(token));
        }
        mails
    }

    /// Mails to one address so far, the newest first.
    pub fn mails_to(&self, to: &str) -> Vec<Message> {
        self.mails()
            .into_iter()
            .filter(|mail| mail.to == to)
            .collect()
    }

    /// The token in the newest mail to `to`, once the queue is empty.
    pub async fn mailed_token(&self, to: &str) -> String {
        self.run_jobs().await;
        let mails = self.mails_to(to);
        let link = mails
            .first()
            .and_then(|mail| mail.links.first())
            .expect("a mail with a link");
        link.rsplit_once("token=")
            .expect("a link with a token")
            .1
            .to_owned()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.app.clock.advance(by);
    }

    /// SQL statements that `work` sends.
    pub async fn statements<T>(&self, work: impl Future<Output = T>) -> (u64, T) {
        let before = self.app.db.statements();
        let result = work.await;
        (self.app.db.statements() - before, result)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.app.shutdown.cancel();
        self.app.db.close();
    }
}

pub fn email(name: &str) -> String {
    format!("{name}@example.org")
}

/// When tests begin.
pub fn start_of_time() -> DateTime<Utc> {
    "2026-11-30T08:00:00Z".parse().expect("an instant")
}

async fn start(config: Config, db: &TestDb, clock: Clock) -> App {
    let app = assemble(config, db, clock).await;
    listener::start(&app);
    app
}

async fn assemble(config: Config, db: &TestDb, clock: Clock) -> App {
    let pool = Db::new(&db.url(), &config.database).expect("a pool");
    App::new(config, pool, clock)
        .await
        .expect("the application starts")
}
