//! Accounts that administrators open for others, and the mailed link by which these choose a password.

use cardea::db::single_connection;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::roles::clerk;
use crate::harness::verbs::{NEW_PASSWORD, Visitor};
use crate::harness::{Answer, Client, TestApp};

const ADA: &str = "ada@example.org";

impl Client<'_> {
    async fn invite(&self, input: Value) -> Answer {
        let document = "mutation($input: CreateUserInput!) { createUser(input: $input) { \
            errors { code path ... on InvalidValueError { rule } ... on TooManyAttemptsError { retryAfterSeconds } } \
            user { id email username fullName firstName lastName status emailVerified roles { name } } } }";
        self.gql(document, json!({ "input": input })).await
    }
}

fn ada() -> Value {
    json!({ "email": ADA, "fullName": "Ada Lovelace", "firstName": "Ada", "lastName": "Lovelace", "username": "ada" })
}

async fn audited(app: &TestApp) -> String {
    let entries = "SELECT string_agg(action || details::text, ' ' ORDER BY id) FROM audit_events \
        WHERE action NOT IN ('login', 'email_verified', 'personal_data_read') AND subject_id <> actor_id";
    app.db.text(entries).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_chooses_a_password_and_signs_in() {
    let app = TestApp::with(&["--public-url=https://example.org"]).await;
    let admin = app.admin().await;
    let moderator = admin.role_id("moderator").await;
    let mut input = ada();
    input["roleIds"] = json!([moderator, moderator]);
    let (statements, invited) = app.statements(admin.invite(input)).await;
    let id = invited.data("createUser/user/id").clone();
    assert_eq!(
        invited.data("createUser"),
        &json!({ "errors": [], "user": { "id": id, "email": ADA, "username": "ada", "fullName": "Ada Lovelace", "firstName": "Ada",
            "lastName": "Lovelace", "status": "PENDING", "emailVerified": false, "roles": [{ "name": "moderator" }, { "name": "user" }] } })
    );
    assert!(statements < 25, "{statements}");
    assert_eq!(
        audited(&app).await,
        "account_created{} role_assigned{\"role\": \"moderator\"}"
    );
    assert_eq!(app.login(ADA, PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let token = app.mailed_token(ADA).await;
    let mail = app.mails_to(ADA).remove(0);
    assert_eq!(mail.subject, "You are invited to Cardea");
    assert_eq!(
        mail.links,
        [format!(
            "https://example.org/accept-invitation#token={token}"
        )]
    );
    assert!(
        mail.text.contains("72 hours") && !mail.text.contains("Lovelace"),
        "{}",
        mail.text
    );
    // For this and nothing else.
    assert_eq!(app.verify(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.confirm_email(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.reactivate(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(
        admin.reset(&token, PASSWORD).await.code(),
        "TOKEN_REJECTED",
        "somebody else is signed in"
    );
    assert!(
        !app.reset(&token, "short").await.rules().is_empty(),
        "the policy holds"
    );
    let chosen = app.reset(&token, PASSWORD).await;
    assert_eq!(
        chosen.data("resetPassword"),
        &json!({ "errors": [], "user": { "id": id, "emailVerified": true, "status": "ACTIVE" } })
    );
    assert_eq!(
        app.reset(&token, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED",
        "used"
    );
    let ada = app.sign_in("ada").await;
    assert_eq!(
        ada.permissions().await,
        json!(["read:all", "read:own", "write:own"])
    );
    // From now on a forgotten password is just that.
    app.reset_token(ADA).await;
    assert_eq!(
        app.mails_to(ADA)[0].subject,
        "Set a new password for Cardea"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_is_replaced_and_asked_for_again() {
    let app = TestApp::with(&["--invitation-hours=2"]).await;
    let admin = app.admin().await;
    let mut input = ada();
    input["language"] = json!("de-AT");
    assert_eq!(admin.invite(input).await.code(), "");
    let first = app.mailed_token(ADA).await;
    assert_eq!(app.mails_to(ADA)[0].subject, "Du bist zu Cardea eingeladen");
    app.advance(TimeDelta::minutes(2));
    assert_eq!(
        app.resend(ADA).await.data("resendVerification/accepted"),
        true
    );
    let second = app.mailed_token(ADA).await;
    let third = app.reset_token(ADA).await;
    assert_eq!(app.mails_to(ADA)[0].subject, "Du bist zu Cardea eingeladen");
    for replaced in [&first, &second] {
        assert_eq!(app.reset(replaced, PASSWORD).await.code(), "TOKEN_REJECTED");
    }
    app.advance(TimeDelta::hours(2));
    assert_eq!(
        app.reset(&third, PASSWORD).await.code(),
        "TOKEN_REJECTED",
        "past its end"
    );
    let fourth = app.reset_token(ADA).await;
    assert_eq!(admin_closes(&app, true).await, "");
    assert_eq!(
        app.reset(&fourth, PASSWORD).await.code(),
        "TOKEN_REJECTED",
        "closed"
    );
    app.run_jobs().await;
    let mails = app.mails_to(ADA).len();
    app.advance(TimeDelta::minutes(2));
    app.request_reset(ADA).await;
    app.resend(ADA).await;
    app.run_jobs().await;
    assert_eq!(
        app.mails_to(ADA).len(),
        mails,
        "nobody is invited into a closed account"
    );
}

async fn admin_closes(app: &TestApp, closed: bool) -> String {
    let admin = app.sign_in("admin").await;
    let found = admin
        .ask("{ user(by: { username: \"ada\" }) { id } }")
        .await;
    let id = found.data("user/id").as_str().expect("an id").to_owned();
    admin.set_status(&id, !closed, None).await.code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_registration_changes_nothing_of_an_invited_account() {
    let app = TestApp::with(&["--resend-secs=0"]).await;
    let admin = app.admin().await;
    let mut input = ada();
    input["roleIds"] = json!([admin.role_id("moderator").await]);
    assert_eq!(admin.invite(input).await.code(), "");
    app.run_jobs().await;
    let row = "SELECT row_to_json(users)::text FROM users WHERE email = 'ada@example.org'";
    let before = app.db.text(row).await;
    let fresh = app.register("bob").await;
    let form = json!({ "email": "ADA@example.org", "fullName": "Mallory", "password": PASSWORD, "username": "mallory", "language": "fr" });
    let register = "mutation($input: RegisterInput!) { register(input: $input) { errors { code path message } result { __typename } } }";
    let registered = app.gql(register, json!({ "input": form })).await;
    assert_eq!(registered.json, fresh.json, "as for any other address");
    assert_eq!(app.db.text(row).await, before);
    // The stranger is told what they would be told of an account of their own, and never let in.
    let waiting = app.login(ADA, PASSWORD).await;
    assert_eq!(
        waiting.data("login/result/__typename"),
        "EmailVerificationRequired"
    );
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.mails_to(ADA)[0].subject, "You are invited to Cardea");
    assert_eq!(app.verify(&token).await.code(), "TOKEN_REJECTED");
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    let stranger = app.login(ADA, PASSWORD).await;
    assert_ne!(stranger.at("login/result/__typename"), "SignedIn");
    assert_eq!(
        app.login("mallory", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    let owner = app.login(ADA, NEW_PASSWORD).await;
    assert_eq!(owner.data("login/result/__typename"), "SignedIn");
    let name = app
        .db
        .text("SELECT full_name FROM users WHERE email = 'ada@example.org'")
        .await;
    assert_eq!(name, "Ada Lovelace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_does_not_write_a_password_into_an_account_that_is_being_opened() {
    let app = TestApp::with(&["--resend-secs=0"]).await;
    app.register("ada").await;
    let mut held = single_connection(&app.db.url())
        .await
        .expect("a connection");
    let open = "BEGIN; UPDATE users SET status = 'active', email_verified_at = now() WHERE username = 'ada'";
    held.batch_execute(open).await.expect("opened");
    let form = json!({ "email": ADA, "fullName": "Mallory", "password": NEW_PASSWORD });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    let (registered, ()) = join(app.gql(register, json!({ "input": form })), async {
        app.db.until_waiting(1).await;
        held.batch_execute("COMMIT").await.expect("released");
    })
    .await;
    assert_eq!(registered.code(), "");
    let stranger = app.login(ADA, NEW_PASSWORD).await;
    assert_ne!(
        stranger.at("login/result/__typename"),
        "SignedIn",
        "{}",
        stranger.text
    );
    assert_eq!(
        app.login("ada", PASSWORD)
            .await
            .data("login/result/__typename"),
        "SignedIn"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_show_one_invitation_one_sets_the_password() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    assert_eq!(admin.invite(ada()).await.code(), "");
    let token = app.mailed_token(ADA).await;
    let (_second, other) = app.second(&[]).await;
    let uses = (0..20).map(async |n| {
        let router = if n % 2 == 0 { &app.router } else { &other };
        let visitor = Visitor::of(router, "127.0.0.1");
        visitor.reset(&token, PASSWORD).await.code().to_owned()
    });
    let answers = join_all(uses).await;
    assert_eq!(
        answers.iter().filter(|code| code.is_empty()).count(),
        1,
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.register("bob").await;
    app.run_jobs().await;
    let clerk = clerk(&app, "clerk", &["admin:users", "read:own", "write:own"]).await;
    let moderator = admin.role_id("moderator").await;
    let before = app.state().await;
    let with = |field: &str, value: Value| {
        let mut input = ada();
        input[field] = value;
        input
    };
    for (input, code, path) in [
        (with("email", json!("BOB@example.org")), "TAKEN", "email"),
        (with("email", json!("admin@example.org")), "TAKEN", "email"),
        (with("username", json!("Bob")), "TAKEN", "username"),
        (with("email", json!("x")), "INVALID_VALUE", "email"),
        (
            with("email", json!("a@example.org\r\nBcc: b@example.org")),
            "INVALID_VALUE",
            "email",
        ),
        (with("fullName", json!("A")), "INVALID_VALUE", "fullName"),
        (
            with("firstName", json!("A\nB")),
            "INVALID_VALUE",
            "firstName",
        ),
        (with("username", json!("a b")), "INVALID_VALUE", "username"),
        (with("language", json!("!")), "INVALID_VALUE", "language"),
        (
            with("roleIds", json!(vec![moderator.clone(); 51])),
            "INVALID_VALUE",
            "roleIds",
        ),
    ] {
        let answer = admin.invite(input).await;
        assert_eq!(answer.code(), code, "{}", answer.text);
        assert_eq!(answer.data("createUser/errors/0/path/1"), path);
    }
    for id in ["nonsense", &admin.id] {
        let answer = admin.invite(with("roleIds", json!([moderator, id]))).await;
        assert_eq!(
            answer.data("createUser/errors"),
            &json!([{ "code": "NOT_FOUND", "path": ["input", "roleIds", "1"] }])
        );
    }
    let answer = clerk.invite(with("roleIds", json!([moderator]))).await;
    assert_eq!(answer.codes(), ["FORBIDDEN"], "{}", answer.text);
    assert_eq!(app.state().await, before);
    let own = admin.role_id("clerk").await;
    let invited = clerk.invite(with("roleIds", json!([own]))).await;
    assert_eq!(invited.at("createUser/errors"), &json!([]));
    let private = invited.at("createUser/user/email");
    assert_eq!(private, &Value::Null, "who reads no accounts reads none so");
    app.advance(TimeDelta::minutes(6));
    let late = admin.invite(with("email", json!("late@example.org"))).await;
    assert_eq!(late.codes(), ["REAUTHENTICATION_REQUIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_invites_so_many_an_hour() {
    let app = TestApp::with(&["--invitations-per-hour=2"]).await;
    let (admin, other) = (
        app.admin().await,
        app.user_with_role("other", "admin").await,
    );
    let person = |n: u32| json!({ "email": format!("p{n}@example.org"), "fullName": "Person" });
    for n in 0..2 {
        assert_eq!(admin.invite(person(n)).await.code(), "");
    }
    assert_eq!(admin.invite(person(2)).await.wait(), 1800);
    assert_eq!(
        other.invite(person(2)).await.code(),
        "",
        "each for themself"
    );
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_was_closed_and_opened_again_is_one_again() {
    let app = TestApp::with(&["--public-url=https://example.org"]).await;
    let admin = app.admin().await;
    let invited = admin.invite(ada()).await;
    let id = invited.data("createUser/user/id").as_str().expect("an id");
    let first = app.mailed_token(ADA).await;
    let opened = admin.set_status(id, true, None).await;
    assert_eq!(opened.code(), "REJECTED", "it waits for its owner");
    for (open, status) in [(false, "DEACTIVATED"), (true, "PENDING")] {
        let changed = admin.set_status(id, open, None).await;
        assert_eq!(changed.data("updateUserStatus/user/status"), status);
    }
    let second = app.mailed_token(ADA).await;
    assert_eq!(
        app.reset(&first, NEW_PASSWORD).await.code(),
        "TOKEN_REJECTED"
    );
    let accepted = app.reset(&second, NEW_PASSWORD).await;
    let user = json!({ "id": id, "emailVerified": true, "status": "ACTIVE" });
    assert_eq!(accepted.data("resetPassword/user"), &user);
    assert_eq!(app.login(ADA, NEW_PASSWORD).await.code(), "");
}
