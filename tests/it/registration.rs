//! Opening an account and proving its address.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;

pub const REGISTER: &str = "mutation($input: RegisterInput!) { register(input: $input) { \
    errors { __typename code path message ... on InvalidValueError { rule minimum maximum } } result { __typename } } }";
pub const VERIFY: &str = "mutation($token: String!) { verifyEmail(input: { token: $token }) { \
    errors { code path } result { __typename ... on SignedIn { accessToken user { email emailVerified status loginCount } } } } }";
const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { errors { code } \
    result { __typename ... on EmailVerificationRequired { resendAvailableAt } } } }";

pub fn input(changes: &Value) -> Value {
    let mut input =
        json!({ "email": "ada@example.org", "fullName": "Ada Lovelace", "password": PASSWORD });
    for (key, value) in changes.as_object().expect("an object") {
        input[key] = value.clone();
    }
    json!({ "input": input })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_registers_proves_the_address_and_is_signed_in() {
    let app = TestApp::new().await;
    let all = json!({
        "birthDate": "1990-12-10", "firstName": "Ada", "lastName": "Lovelace", "language": "de-at",
        "timezone": "Europe/Vienna", "username": "ada_l",
    });
    let registered = app.gql(REGISTER, input(&all)).await;
    assert_eq!(
        registered.data("register"),
        &json!({ "errors": [], "result": null })
    );
    assert_eq!(app.run_jobs().await, 1);
    let mails = app.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, "ada@example.org");
    assert_eq!(mails[0].subject, "Bestätige deine Adresse für Cardea");
    assert!(mails[0].text.contains(&mails[0].links[0]));
    assert!(mails[0].html.contains("Meine Adresse bestätigen"));

    assert!(
        !mails[0].text.contains("Lovelace") && !mails[0].html.contains("Lovelace"),
        "a stranger's words"
    );

    let token = app.mailed_token("ada@example.org").await;
    let verified = app.gql(VERIFY, json!({ "token": token })).await;
    let user = verified.data("verifyEmail/result/user");
    assert_eq!(
        user,
        &json!({ "email": "ada@example.org", "emailVerified": true, "status": "ACTIVE", "loginCount": 1 })
    );

    let access = verified
        .data("verifyEmail/result/accessToken")
        .as_str()
        .expect("a token");
    let me = app
        .gql_as(
            Some(access),
            "{ me { username firstName lastName fullName birthDate profile { timezone language theme bio } roles { name } permissions } }",
            Value::Null,
        )
        .await;
    assert_eq!(
        me.data("me"),
        &json!({
            "username": "ada_l", "firstName": "Ada", "lastName": "Lovelace", "fullName": "Ada Lovelace",
            "birthDate": "1990-12-10",
            "profile": { "timezone": "Europe/Vienna", "language": "de-AT", "theme": "LIGHT", "bio": null },
            "roles": [{ "name": "user" }], "permissions": ["read:own", "write:own"],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_value_is_told_at_once_and_nothing_is_written() {
    let app = TestApp::new().await;
    let wrong = json!({
        "email": "ada", "fullName": " A ", "password": "abc", "username": "a-b", "timezone": "Mars/Base",
        "language": "english!", "birthDate": "2026-11-30", "firstName": "x".repeat(151),
    });
    let answer = app.gql(REGISTER, input(&wrong)).await;
    let errors = answer.data("register/errors").as_array().expect("a list");
    let found: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error["path"][1].as_str().unwrap_or_default(),
                error["rule"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("email", "FORMAT"),
            ("fullName", "LENGTH"),
            ("username", "FORMAT"),
            ("timezone", "TIME_ZONE"),
            ("language", "LANGUAGE"),
            ("firstName", "LENGTH"),
            ("birthDate", "RANGE"),
            ("password", "LENGTH"),
            ("password", "PASSWORD_UPPERCASE"),
            ("password", "PASSWORD_DIGIT"),
            ("password", "PASSWORD_SPECIAL"),
            ("password", "PASSWORD_BREACHED"),
        ]
    );
    assert_eq!(app.waiting_jobs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_gets_the_same_answer_and_its_owner_a_mail() {
    let app = TestApp::new().await;
    let first = app.register("ada").await;
    let token = app.mailed_token("ada@example.org").await;
    app.gql(VERIFY, json!({ "token": token })).await;
    app.advance(TimeDelta::seconds(60));
    let eve = json!({ "email": "ADA@Example.ORG", "fullName": "Eve" });
    for _ in 0..5 {
        let again = app.gql(REGISTER, input(&eve)).await;
        assert_eq!(
            first.json["data"]["register"]["errors"],
            again.json["data"]["register"]["errors"]
        );
    }
    app.run_jobs().await;
    let mails = app.mails_to("ada@example.org");
    assert_eq!(mails.len(), 2, "one a minute, however often somebody tries");
    assert_eq!(mails[0].subject, "You already have an account at Cardea");
    assert!(mails[0].text.contains("ada Example") && !mails[0].text.contains("Eve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_and_signing_in_does_not_tell_a_known_address_from_a_new_one() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.advance(TimeDelta::minutes(5));
    let probe = async |email: &str, password: &str| {
        let input = json!({ "input": { "identifier": email, "password": password } });
        app.statements(app.gql(LOGIN, input)).await
    };
    for email in ["ada@example.org", "nobody@example.org"] {
        app.gql(
            REGISTER,
            input(&json!({ "email": email, "password": "Attackers-Pass-1" })),
        )
        .await;
    }
    for password in ["Attackers-Pass-1", "Another-Pass-1"] {
        let (known, new) = (
            probe("ada@example.org", password).await,
            probe("nobody@example.org", password).await,
        );
        assert_eq!(known.0, new.0, "the same statements");
        assert_eq!(known.1.text, new.1.text, "{password}");
    }
    assert_eq!(
        probe("ada@example.org", PASSWORD)
            .await
            .1
            .data("login/result/__typename"),
        "SignedIn"
    );
    app.advance(TimeDelta::hours(24));
    assert_eq!(
        probe("ada@example.org", "Attackers-Pass-1")
            .await
            .1
            .data("login/errors/0/code"),
        "INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_mails_at_once_one_holds_a_live_token() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    app.db.sql("INSERT INTO jobs (id, payload, run_at, created_at) SELECT gen_random_uuid(), payload, run_at, created_at FROM jobs, generate_series(1, 5)").await;
    tokio::join!(app.run_jobs(), app.run_jobs(), app.run_jobs());
    assert_eq!(app.mails().len(), 6);
    let live = app.db.text("SELECT count(*)::text FROM verification_tokens WHERE expires_at > '2026-11-30T08:00:00Z'").await;
    assert_eq!(live, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_once_within_a_day_and_until_a_newer_one() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    let first = app.mailed_token("ada@example.org").await;
    app.advance(TimeDelta::seconds(61));
    let resend = "mutation { resendVerification(input: { email: \"ada@example.org\" }) { accepted errors { code } } }";
    assert_eq!(
        app.gql(resend, Value::Null)
            .await
            .data("resendVerification/accepted"),
        true
    );
    let second = app.mailed_token("ada@example.org").await;
    assert_ne!(first, second);

    let refused = json!([{ "code": "TOKEN_REJECTED", "path": ["input", "token"] }]);
    assert_eq!(
        app.gql(VERIFY, json!({ "token": first }))
            .await
            .data("verifyEmail/errors"),
        &refused
    );
    app.advance(TimeDelta::hours(24));
    assert_eq!(
        app.gql(VERIFY, json!({ "token": second }))
            .await
            .data("verifyEmail/errors"),
        &refused
    );
    assert_eq!(
        app.gql(resend, Value::Null)
            .await
            .data("resendVerification/accepted"),
        true
    );
    let third = app.mailed_token("ada@example.org").await;
    assert_eq!(
        app.gql(VERIFY, json!({ "token": third }))
            .await
            .data("verifyEmail/errors"),
        &json!([])
    );
    assert_eq!(
        app.gql(VERIFY, json!({ "token": third }))
            .await
            .data("verifyEmail/errors"),
        &refused
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_account_is_told_only_to_who_knows_its_password() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    app.run_jobs().await;
    let login = async |password: &str| {
        app.gql(
            LOGIN,
            json!({ "input": { "identifier": "ada@example.org", "password": password } }),
        )
        .await
    };
    let right = login(PASSWORD).await;
    assert_eq!(
        right.data("login/result"),
        &json!({ "__typename": "EmailVerificationRequired", "resendAvailableAt": "2026-11-30T08:01:00Z" })
    );
    assert_eq!(
        login("Wrong-Horse-7").await.data("login"),
        &json!({ "errors": [{ "code": "INVALID_CREDENTIALS" }], "result": null })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_mail_can_be_asked_for_once_a_minute_and_the_answer_tells_nothing() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    app.user("proved").await;
    app.run_jobs().await;
    let mails = app.mails().len();
    let resend = async |email: &str| {
        let document = "mutation($email: String!) { resendVerification(input: { email: $email }) { accepted \
            errors { code path ... on TooManyAttemptsError { retryAfterSeconds } } } }";
        app.gql(document, json!({ "email": email }))
            .await
            .data("resendVerification")
            .clone()
    };
    let wait = json!({ "accepted": false, "errors": [{ "code": "TOO_MANY_ATTEMPTS", "path": [], "retryAfterSeconds": 60 }] });
    for email in ["ada@example.org", "ADA@example.org", "proved@example.org"] {
        assert_eq!(resend(email).await, wait, "{email}");
    }
    app.advance(TimeDelta::seconds(60));
    for email in [
        "Ada@example.org",
        "proved@example.org",
        "unknown@example.org",
    ] {
        assert_eq!(
            resend(email).await,
            json!({ "accepted": true, "errors": [] }),
            "{email}"
        );
        assert_eq!(resend(email).await, wait, "{email}");
    }
    app.run_jobs().await;
    assert_eq!(
        app.mails().len(),
        mails + 1,
        "only who waits for a mail gets one"
    );
    assert_eq!(
        resend("nonsense").await["errors"][0]["path"],
        json!(["input", "email"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_from_one_network_have_a_limit() {
    let app = TestApp::with(&["--registrations-per-hour=2"]).await;
    for (name, code) in [
        ("ada", Value::Null),
        ("bob", Value::Null),
        ("eve", json!("TOO_MANY_ATTEMPTS")),
    ] {
        let answer = app.register(name).await;
        assert_eq!(
            answer
                .at("register/errors")
                .get(0)
                .map_or(&Value::Null, |error| &error["code"]),
            &code,
            "{name}"
        );
    }
    app.advance(TimeDelta::minutes(30));
    assert_eq!(
        app.register("eve").await.data("register/errors"),
        &json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_somebody_else_is_refused_and_stays_good() {
    let app = TestApp::new().await;
    let bob = app.user("bob").await;
    app.gql(REGISTER, input(&json!({}))).await;
    let token = app.mailed_token("ada@example.org").await;
    let while_bob = bob.gql(VERIFY, json!({ "token": token })).await;
    assert_eq!(
        while_bob.data("verifyEmail/errors/0/code"),
        "TOKEN_REJECTED"
    );
    assert_eq!(
        app.gql(VERIFY, json!({ "token": token }))
            .await
            .data("verifyEmail/errors"),
        &json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_of_one_token_one_succeeds() {
    let app = TestApp::new().await;
    app.gql(REGISTER, input(&json!({}))).await;
    let token = app.mailed_token("ada@example.org").await;
    let uses = (0..10).map(|_| app.gql(VERIFY, json!({ "token": token })));
    let answers = futures_util::future::join_all(uses).await;
    let won = answers
        .iter()
        .filter(|answer| answer.data("verifyEmail/errors") == &json!([]))
        .count();
    assert_eq!(won, 1);
    assert_eq!(
        app.db.text("SELECT count(*)::text FROM sessions").await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_registrations_of_one_address_one_opens_an_account() {
    let app = TestApp::new().await;
    let spellings = [
        "ada@example.org",
        "ADA@example.org",
        "Ada@Example.Org",
        " ada@example.org ",
    ];
    let tries = (0..12).map(|n| app.gql(REGISTER, input(&json!({ "email": spellings[n % 4] }))));
    let answers = futures_util::future::join_all(tries).await;
    assert!(
        answers.iter().all(|answer| answer.text == answers[0].text),
        "{answers:?}"
    );
    assert_eq!(app.db.text("SELECT count(*)::text FROM users").await, "1");
    app.run_jobs().await;
    let subjects = app
        .mails()
        .into_iter()
        .filter(|mail| mail.subject.starts_with("Confirm"))
        .count();
    assert_eq!(subjects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_birth_date_can_be_compulsory_and_stays_so() {
    let told = "{ authOptions { birthDateRequired minimumAge } }";
    let app = TestApp::new().await;
    let unset = app.gql(told, Value::Null).await;
    assert_eq!(
        unset.data("authOptions"),
        &json!({ "birthDateRequired": false, "minimumAge": null })
    );
    let app = TestApp::with(&["--birth-date-required=true", "--minimum-age=16"]).await;
    let told = app.gql(told, Value::Null).await;
    assert_eq!(
        told.data("authOptions"),
        &json!({ "birthDateRequired": true, "minimumAge": 16 })
    );
    let refused = app.gql(REGISTER, input(&json!({}))).await;
    let error = refused.data("register/errors/0");
    assert_eq!(
        (&error["path"], &error["rule"]),
        (&json!(["input", "birthDate"]), &json!("REQUIRED"))
    );
    app.gql(REGISTER, input(&json!({ "birthDate": "1990-12-10" })))
        .await;
    let token = app.mailed_token("ada@example.org").await;
    let verified = app.gql(VERIFY, json!({ "token": token })).await;
    let access = verified.data("verifyEmail/result/accessToken").as_str();
    let clear = "mutation { updateProfile(input: { birthDate: null }) { errors { path } } }";
    let cleared = app.gql_as(access, clear, Value::Null).await;
    assert_eq!(
        cleared.data("updateProfile/errors/0/path"),
        &json!(["input", "birthDate"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_twice_within_a_minute_gets_the_mail_when_the_minute_is_over() {
    let app = TestApp::new().await;
    let register = "mutation { register(input: { email: \"ada@example.org\", fullName: \"Ada\", password: \"Correct-Horse-7\" }) { errors { code } } }";
    for _ in 0..3 {
        let answer = app.gql(register, Value::Null).await;
        assert_eq!(answer.data("register/errors"), &json!([]));
        app.run_jobs().await;
    }
    assert_eq!(app.mails_to("ada@example.org").len(), 1);
    app.advance(TimeDelta::minutes(1));
    let token = app.mailed_token("ada@example.org").await;
    assert_eq!(app.mails_to("ada@example.org").len(), 2);
    let verify =
        "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { code } } }";
    let verified = app.gql(verify, json!({ "token": token })).await;
    assert_eq!(verified.data("verifyEmail/errors"), &json!([]));
}
