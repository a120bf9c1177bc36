//! Two servers on one database: what one ends is refused by the other within a second, and nobody asks
//! the database who a caller is as long as that is known.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use cardea::app::App;
use cardea::db::single_connection;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, Client, TestApp};

/// The other server, asked with the token of a client.
struct Other {
    app: App,
    router: Router,
}

impl Other {
    async fn beside(app: &TestApp) -> Self {
        let (app, router) = app.second(&[]).await;
        Self { app, router }
    }

    async fn ask(&self, client: &Client<'_>, query: &str) -> Answer {
        let body = json!({ "query": query }).to_string();
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/graphql-response+json")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", client.access_token),
            )
            .body(Body::from(body))
            .expect("a request");
        let answer = self.router.clone().oneshot(request).await;
        Answer::read(answer.expect("the router always answers")).await
    }

    /// Waits until the other server listens, and remembers the client.
    async fn remembers(&self, client: &Client<'_>) {
        within_a_second_of("listening", async || self.app.access.is_believed()).await;
        self.ask(client, "{ viewer { isAuthenticated } }").await;
        let before = self.app.db.statements();
        let answer = self.ask(client, "{ viewer { isAuthenticated } }").await;
        assert_eq!(answer.data("viewer/isAuthenticated"), true);
        assert_eq!(self.app.db.statements(), before, "nobody is asked");
    }

    /// What this server says of the roles of the client's account.
    async fn roles(&self, client: &Client<'_>) -> Value {
        let document = "{ me { roles { name description permissions { name } } } }";
        self.ask(client, document).await.data("me/roles").clone()
    }

    async fn refuses(&self, client: &Client<'_>) {
        within_a_second_of("refusing", async || {
            self.ask(client, "{ me { id } }").await.status == StatusCode::UNAUTHORIZED
        })
        .await;
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.app.shutdown.cancel();
        self.app.db.close();
    }
}

/// Waits for something that must be so within a second. The bound is what the server promises, and far
/// above what it takes.
async fn within_a_second_of(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{what} took too long"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ended_on_one_server_is_refused_by_the_other() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    ada.ask("mutation { logout { endedSessions } }").await;
    other.refuses(&ada).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_refused_by_the_other() {
    let app = TestApp::new().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    let close = "mutation($id: ID!) { updateUserStatus(input: { userId: $id, isActive: false }) { errors { code } } }";
    let closed = admin.gql(close, json!({ "id": ada.id })).await;
    assert_eq!(closed.data("updateUserStatus/errors"), &json!([]));
    other.refuses(&ada).await;
    assert_eq!(
        other.ask(&admin, "{ me { id } }").await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_password_ends_the_sessions_on_the_other() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    app.gql(
        "mutation { requestPasswordReset(input: { email: \"ada@example.org\" }) { accepted } }",
        Value::Null,
    )
    .await;
    let token = app.mailed_token("ada@example.org").await;
    let reset = "mutation($token: String!) { resetPassword(input: { token: $token, newPassword: \"Other-Horse-8\" }) { errors { code } } }";
    let reset = app.gql(reset, json!({ "token": token })).await;
    assert_eq!(reset.data("resetPassword/errors"), &json!([]));
    other.refuses(&ada).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_role_and_a_lost_right_are_lost_on_the_other() {
    let app = TestApp::new().await;
    let moderator = app.user_with_role("mo", "moderator").await;
    let second = app.user_with_role("ma", "moderator").await;
    let admin = app.admin().await;
    let other = Other::beside(&app).await;
    for client in [&moderator, &second] {
        other.remembers(client).await;
        assert!(
            other
                .ask(client, "{ users { nodes { id } } }")
                .await
                .codes()
                .is_empty()
        );
    }
    let role = admin.ask("{ role(name: \"moderator\") { id } }").await;
    let input = json!({ "role": role.data("role/id"), "user": moderator.id });
    let take = "mutation($role: ID!, $user: ID!) { removeRole(input: { roleId: $role, userId: $user }) { errors { code } } }";
    admin.gql(take, input).await;
    let forbidden = async |client: &Client<'_>| {
        other
            .ask(client, "{ users { nodes { id } } }")
            .await
            .codes()
            == ["FORBIDDEN"]
    };
    within_a_second_of("losing a role", async || forbidden(&moderator).await).await;
    assert!(!forbidden(&second).await);
    app.db
        .sql(
            "DELETE FROM role_permissions USING permissions, roles WHERE permissions.id = permission_id \
             AND permissions.name = 'read:all' AND roles.id = role_id AND roles.name = 'moderator'",
        )
        .await;
    within_a_second_of("losing a right", async || forbidden(&second).await).await;
    app.db.sql("DELETE FROM users WHERE username = 'ma'").await;
    other.refuses(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_while_nobody_listens_is_refused_all_the_same() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    other.remembers(&bob).await;
    // The lines of both servers are cut, and the sessions end before they are up again.
    app.db
        .sql(
            "BEGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'NOTIFY alive%' AND pid <> pg_backend_pid(); \
             UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin' \
             FROM users WHERE users.id = user_id AND username = 'ada'; COMMIT",
        )
        .await;
    other.refuses(&ada).await;
    within_a_second_of("asking the database instead", async || {
        other.ask(&bob, "{ me { id } }").await.status == StatusCode::OK
    })
    .await;
    // And the line comes back by itself.
    let start = Instant::now();
    while !other.app.access.is_believed() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the line stays down"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other.remembers(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_line_is_not_believed() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    // The process behind the other server's line stands still: its socket is open and says nothing.
    let listeners = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE 'NOTIFY alive%' AND pid <> pg_backend_pid()";
    let pids = app.db.text(listeners).await;
    assert_eq!(pids.split(' ').count(), 2, "{pids}");
    let signal = |signal: &str| {
        for pid in pids.split(' ') {
            let sent = std::process::Command::new("kill")
                .args([signal, pid])
                .status();
            assert!(sent.expect("kill runs").success());
        }
    };
    signal("-STOP");
    app.db
        .sql("UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin'")
        .await;
    other.refuses(&ada).await;
    signal("-CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_traded_once_among_two_servers() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let (_, router) = app.second(&[]).await;
    let send = async |router: &Router| {
        let body = json!({ "query": crate::session::REFRESH, "variables": { "token": ada.refresh_token } });
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answer = router.clone().oneshot(request).await;
        let answer = Answer::read(answer.expect("an answer")).await;
        answer.data("refreshToken/result/refreshToken").clone()
    };
    let tokens = futures_util::future::join_all(
        (0..20).map(|turn| send(if turn % 2 == 0 { &app.router } else { &router })),
    )
    .await;
    assert!(tokens.iter().all(|token| token == &tokens[0]), "{tokens:?}");
    app.advance(TimeDelta::minutes(1));
    let reused = app
        .gql(
            crate::session::REFRESH,
            json!({ "token": ada.refresh_token }),
        )
        .await;
    assert_eq!(reused.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_count_together_on_two_servers() {
    let app = TestApp::with(&["--login-tries=4"]).await;
    app.user("ada").await;
    let (_, router) = app.second(&["--login-tries=4"]).await;
    let attempt = async |router: &Router, password: &str| {
        let query = "mutation($p: String!) { login(input: { identifier: \"ada\", password: $p }) { errors { code } } }";
        let body = json!({ "query": query, "variables": { "p": password } });
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answer = router.clone().oneshot(request).await;
        let answer = Answer::read(answer.expect("an answer")).await;
        answer.data("login/errors/0/code").clone()
    };
    let codes = futures_util::future::join_all(
        (0..30).map(|turn| attempt(if turn % 2 == 0 { &app.router } else { &router }, "Wrong-1")),
    )
    .await;
    let tried = codes
        .iter()
        .filter(|code| *code == "INVALID_CREDENTIALS")
        .count();
    assert_eq!(tried, 4, "{codes:?}");
    assert_eq!(attempt(&router, PASSWORD).await, "TOO_MANY_ATTEMPTS");
}

/// A line to PostgreSQL that swallows notifications, as poolers do that lend connections out for single
/// transactions: `LISTEN` succeeds, statements answer, and nothing is ever heard.
async fn deaf_line(to: std::net::SocketAddr) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let tasks = tokio_util::task::TaskTracker::new();
    let lines = tasks.clone();
    tasks.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(to)
                .await
                .expect("PostgreSQL");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            lines.spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                let _ = to_server.shutdown().await;
            });
            lines.spawn(async move {
                // Type, length with itself, content (PostgreSQL, message flow).
                let mut head = [0; 5];
                while from_server.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                    let mut content = vec![0; usize::try_from(length).expect("small") - 4];
                    if from_server.read_exact(&mut content).await.is_err() {
                        break;
                    }
                    let message = [&head[..], &content[..]].concat();
                    if head[0] != b'A' && to_client.write_all(&message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_that_swallows_notifications_nothing_is_remembered() {
    use secrecy::ExposeSecret as _;
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let direct = app.db.url();
    let mut url = url::Url::parse(direct.expose_secret()).expect("an address");
    let port = url.port().expect("a port");
    let line = deaf_line(([127, 0, 0, 1], port).into()).await;
    url.set_port(Some(line.port())).expect("a port");
    // The line knows messages alone, and the answer to a question about TLS is none.
    url.set_query(Some("sslmode=disable"));
    let config = crate::harness::app::config(&[]);
    let db = cardea::db::Db::new(&String::from(url).into(), &config.database).expect("a pool");
    let other = App::new(config, db, app.app.clock.clone())
        .await
        .expect("it starts");
    cardea::listener::start(&other);
    let router = cardea::http::router(other.clone()).expect("the schema is sound");
    let other = Other { app: other, router };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let before = other.app.db.statements();
        let answer = other.ask(&ada, "{ viewer { isAuthenticated } }").await;
        assert_eq!(answer.data("viewer/isAuthenticated"), true);
        assert!(other.app.db.statements() > before, "the database is asked");
        assert!(!other.app.access.is_believed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ada.ask("mutation { logout { endedSessions } }").await;
    let refused = other.ask(&ada, "{ me { id } }").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_remembered_everywhere_until_something_about_them_changes() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let other = Other::beside(&app).await;
    other.remembers(&ada).await;
    let mut known = other.roles(&ada).await;
    let before = other.app.db.statements();
    assert_eq!(other.roles(&ada).await, known);
    assert_eq!(other.app.db.statements(), before + 1, "the account alone");
    let mut past_all_servers = single_connection(&app.db.url()).await.expect("a database");
    for change in [
        "UPDATE roles SET description = 'Everybody' WHERE name = 'user'",
        "INSERT INTO permissions (id, name, created_at) VALUES (gen_random_uuid(), 'posts:write', now());
         INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions
         WHERE roles.name = 'user' AND permissions.name = 'posts:write'",
        "UPDATE permissions SET name = 'posts:publish' WHERE name = 'posts:write'",
        "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'author', now(), now());
         INSERT INTO user_roles (user_id, role_id, assigned_at) SELECT users.id, roles.id, now() FROM users, roles
         WHERE username = 'ada' AND name = 'author'",
        "UPDATE roles SET name = 'writer' WHERE name = 'author'",
        "DELETE FROM user_roles USING roles WHERE roles.id = role_id AND name = 'writer'",
        "DELETE FROM permissions WHERE name = 'posts:publish'",
    ] {
        past_all_servers.batch_execute(change).await.expect(change);
        within_a_second_of(change, async || other.roles(&ada).await != known).await;
        known = other.roles(&ada).await;
    }
    let names = ["read:own", "write:own"].map(|name| json!({ "name": name }));
    let user = json!({ "name": "user", "description": "Everybody", "permissions": names });
    assert_eq!(known, json!([user]));
}
