//! How often something may be tried: by whom it is counted, how long one waits, and whom it cannot
//! shut out.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::{NEW_PASSWORD, Visitor};

const ADA: &str = "ada@example.org";
const WRONG: &str = "Wrong-Horse-7";
/// From where nobody signs in but strangers.
const STRANGER: &str = "203.0.113.9";

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_tries_at_once_on_two_servers_ten_are_verified() {
    let app = TestApp::with(&["--login-tries=10"]).await;
    app.user("ada").await;
    let (_second, other) = app.second(&["--login-tries=10"]).await;
    for identifier in ["ada", "nobody"] {
        let tries = (0..200).map(async |n| {
            let router = if n % 2 == 0 { &app.router } else { &other };
            let visitor = Visitor::of(router, STRANGER);
            visitor.login(identifier, WRONG).await.code().to_owned()
        });
        let codes = join_all(tries).await;
        let count = |code: &str| codes.iter().filter(|found| *found == code).count();
        assert_eq!(count("INVALID_CREDENTIALS"), 10, "{identifier}");
        assert_eq!(count("TOO_MANY_ATTEMPTS"), 190, "{identifier}");
        let right = app.at(STRANGER).login(identifier, PASSWORD).await;
        assert_eq!(right.wait(), 5, "the right one waits as well");
        let elsewhere = Visitor::of(&other, STRANGER)
            .login(identifier, PASSWORD)
            .await;
        assert_eq!(elsewhere.wait(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten_in_time() {
    let app = TestApp::with(&["--login-tries=3"]).await;
    app.user("ada").await;
    let ada = app.at(STRANGER);
    for _ in 0..2 {
        assert_eq!(ada.login("ada", WRONG).await.code(), "INVALID_CREDENTIALS");
    }
    for wait in [5, 10, 20, 40, 80, 160, 320, 640, 900, 900] {
        assert_eq!(
            ada.login("ada", WRONG).await.code(),
            "INVALID_CREDENTIALS",
            "{wait}"
        );
        assert_eq!(ada.login("ada", WRONG).await.wait(), wait);
        assert_eq!(
            ada.login("ADA", PASSWORD).await.wait(),
            wait,
            "counted once"
        );
        app.advance(TimeDelta::seconds(i64::try_from(wait).expect("small") - 1));
        assert_eq!(ada.login("ada", PASSWORD).await.wait(), 1);
        app.advance(TimeDelta::seconds(1));
    }
    app.advance(TimeDelta::minutes(15));
    for _ in 0..3 {
        assert_eq!(ada.login("ada", WRONG).await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(ada.login("ada", WRONG).await.wait(), 5, "as at first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_forgives_what_went_before() {
    let app = TestApp::with(&["--login-tries=3"]).await;
    app.user("ada").await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(app.login("ada", WRONG).await.code(), "INVALID_CREDENTIALS");
        }
        assert_eq!(app.login("ada", PASSWORD).await.code(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_of_a_document_counts() {
    let app = TestApp::with(&["--login-tries=2"]).await;
    app.user("ada").await;
    let one = |alias: &str| {
        format!(
            "{alias}: login(input: {{ identifier: \"ada\", password: \"{WRONG}\" }}) {{ errors {{ code }} }} "
        )
    };
    let document = format!("mutation {{ {}{}{} }}", one("a"), one("b"), one("c"));
    let answer = app.gql(&document, Value::Null).await;
    let codes: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|alias| answer.data(&format!("{alias}/errors/0/code")).clone())
        .collect();
    assert_eq!(
        codes,
        [
            "INVALID_CREDENTIALS",
            "INVALID_CREDENTIALS",
            "TOO_MANY_ATTEMPTS"
        ]
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_shut_out_an_owner_at_home() {
    let app = TestApp::with(&["--login-tries=3", "--logins-per-name=20"]).await;
    app.user("ada").await;
    let mut tried = 0;
    for network in 1..=20 {
        for _ in 0..3 {
            let answer = app
                .at(&format!("198.51.100.{network}"))
                .login("ada", WRONG)
                .await;
            tried += usize::from(answer.code() == "INVALID_CREDENTIALS");
        }
    }
    assert_eq!(tried, 20, "strangers share one budget, wherever they are");
    let stranger = app.at(STRANGER).login("ada", PASSWORD).await;
    assert_eq!(stranger.wait(), 72 * 60);
    assert_eq!(
        app.login("ada", PASSWORD).await.code(),
        "",
        "from where ada signed in before"
    );
    assert_eq!(
        app.at(STRANGER).login(ADA, WRONG).await.code(),
        "INVALID_CREDENTIALS",
        "the address has a budget of its own"
    );
    app.advance(TimeDelta::minutes(72));
    assert_eq!(app.at(STRANGER).login("ada", PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_an_account_knows_has_a_limit_too_and_does_not_tell_it() {
    let app = TestApp::with(&["--logins-per-name=3"]).await;
    app.user("ada").await;
    for identifier in ["ada", "nobody"] {
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (statements, answer) = app.statements(app.login(identifier, WRONG)).await;
            seen.push((statements, answer.code().to_owned()));
        }
        let tried = (5, "INVALID_CREDENTIALS".to_owned());
        let refused = (4, "TOO_MANY_ATTEMPTS".to_owned());
        let statements = seen[0].0;
        assert!(
            seen[..3]
                .iter()
                .all(|one| one.1 == tried.1 && one.0 == statements),
            "{seen:?}"
        );
        // What a limit refuses is neither counted nor written down.
        assert_eq!(seen[3], (statements - 5, refused.1), "{identifier}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_of_ipv6_addresses_is_one_network_however_it_is_written() {
    let app = TestApp::with(&["--login-tries=3"]).await;
    app.user("ada").await;
    let mut codes = Vec::new();
    for ip in [
        "2001:db8:1:2::1",
        "2001:0DB8:0001:0002:ffff:ffff:ffff:ffff",
        "2001:db8:1:2:0:0:192.0.2.1",
        "2001:db8:1:2::7",
        "2001:db8:1:3::1",
    ] {
        codes.push(app.at(ip).login("ada", WRONG).await.code().to_owned());
    }
    assert_eq!(codes[..3], ["INVALID_CREDENTIALS"; 3]);
    assert_eq!(codes[3..], ["TOO_MANY_ATTEMPTS", "INVALID_CREDENTIALS"]);
    for ip in ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"] {
        assert_eq!(
            app.at(ip).login("ada", WRONG).await.code(),
            "INVALID_CREDENTIALS"
        );
    }
    assert_eq!(app.at("192.0.2.1").login("ada", WRONG).await.wait(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_may_not_try_many_names() {
    let app = TestApp::with(&["--logins-per-network=5"]).await;
    for n in 0..5 {
        let answer = app.at(STRANGER).login(&format!("name{n}"), WRONG).await;
        assert_eq!(answer.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(app.at(STRANGER).login("name5", WRONG).await.wait(), 180);
    assert_eq!(
        app.at("203.0.113.10").login("name5", WRONG).await.code(),
        "INVALID_CREDENTIALS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_works_while_signing_in_is_held_off_and_ends_the_wait() {
    let app = TestApp::with(&["--login-tries=1"]).await;
    app.user("ada").await;
    assert_eq!(app.login("ada", WRONG).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(app.login("ada", PASSWORD).await.wait(), 5);
    let token = app.reset_token(ADA).await;
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    assert_eq!(app.login("ada", NEW_PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_lets_somebody_in_again_and_nobody_else() {
    let app = TestApp::with(&["--login-tries=1", "--logins-per-name=2"]).await;
    let (admin, ada, bob) = (
        app.admin().await,
        app.user("ada").await,
        app.user("bob").await,
    );
    for name in ["ada", ADA, "bob"] {
        app.at(STRANGER).login(name, WRONG).await;
        assert_eq!(app.at(STRANGER).login(name, PASSWORD).await.wait(), 5);
    }
    ada.reauthenticate(WRONG).await;
    assert_eq!(ada.reauthenticate(PASSWORD).await.wait(), 5);
    assert_eq!(bob.unlock(&ada.id).await.codes(), ["FORBIDDEN"]);
    assert_eq!(admin.unlock(&admin.session).await.code(), "NOT_FOUND");
    assert_eq!(app.at(STRANGER).login("ada", PASSWORD).await.wait(), 5);
    let before = app.state().await;
    let unlocked = admin.unlock(&ada.id).await;
    assert_eq!(
        unlocked.data("unlockUser"),
        &json!({ "errors": [], "user": { "id": ada.id, "emailVerified": true, "status": "ACTIVE" } })
    );
    assert_eq!(app.state().await, before, "nothing but the count");
    assert_eq!(app.at(STRANGER).login("ada", PASSWORD).await.code(), "");
    assert_eq!(app.at(STRANGER).login(ADA, PASSWORD).await.code(), "");
    assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "");
    assert_eq!(app.at(STRANGER).login("bob", PASSWORD).await.wait(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_vain_registration_forgives_no_wrong_tries() {
    let app = TestApp::with(&["--login-tries=3"]).await;
    app.user("ada").await;
    let input = json!({ "email": ADA, "fullName": "Eve", "password": "Attackers-Pass-1" });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    assert_eq!(
        app.gql(register, json!({ "input": input })).await.code(),
        ""
    );
    let eve = app.at(STRANGER);
    for password in [WRONG, "Attackers-Pass-1", WRONG] {
        assert!(["", "INVALID_CREDENTIALS"].contains(&eve.login(ADA, password).await.code()));
    }
    assert_eq!(eve.login(ADA, "Attackers-Pass-1").await.wait(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_to_one_address_have_a_limit_by_kind_and_by_the_hour() {
    let app = TestApp::with(&["--mails-per-hour=3"]).await;
    app.user("ada").await;
    app.advance(TimeDelta::hours(1));
    app.run_jobs().await;
    let before = app.mails_to(ADA).len();
    for _ in 0..3 {
        assert_eq!(app.request_reset(ADA).await.code(), "");
        assert_eq!(app.request_reset("ADA@example.org").await.wait(), 60);
        app.run_jobs().await;
        app.advance(TimeDelta::minutes(1));
    }
    // A third of an hour for each of three, three minutes of which are over.
    assert_eq!(app.request_reset(ADA).await.wait(), 17 * 60);
    assert_eq!(app.request_reset("bob@example.org").await.code(), "");
    app.run_jobs().await;
    assert_eq!(app.mails_to(ADA).len(), before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uses_up_the_way_back_of_another_with_mails_of_another_kind() {
    let app = TestApp::with(&["--mails-per-hour=3"]).await;
    app.user("ada").await;
    let eve = app.at(STRANGER);
    let resend =
        "mutation { resendVerification(input: { email: \"ada@example.org\" }) { accepted } }";
    for _ in 0..5 {
        eve.gql(resend, json!(null)).await;
        app.advance(TimeDelta::minutes(1));
    }
    assert_eq!(app.request_reset(ADA).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_may_not_refresh_or_confirm_without_end() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for _ in 0..30 {
        assert_eq!(ada.reauthenticate(PASSWORD).await.code(), "");
    }
    assert_eq!(ada.reauthenticate(PASSWORD).await.wait(), 30);
    let refresh = "mutation($token: String!) { refreshToken(input: { refreshToken: $token }) { \
        errors { code } result { ... on SignedIn { refreshToken } } } }";
    let mut token = ada.refresh_token.clone();
    for _ in 0..120 {
        let answer = app.gql(refresh, json!({ "token": token })).await;
        let next = answer.data("refreshToken/result/refreshToken").as_str();
        token = next.expect("a token").to_owned();
    }
    let refused = app.gql(refresh, json!({ "token": token })).await;
    assert_eq!(refused.code(), "TOO_MANY_ATTEMPTS");
    app.advance(TimeDelta::seconds(30));
    let later = app.gql(refresh, json!({ "token": token })).await;
    assert_eq!(later.code(), "", "the token was not spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_may_not_ask_for_many_mails_or_show_many_tokens() {
    let app = TestApp::with(&["--mail-requests-per-network=2", "--tokens-per-network=3"]).await;
    app.user("ada").await;
    for n in 0..2 {
        assert_eq!(
            app.request_reset(&format!("name{n}@example.org"))
                .await
                .code(),
            ""
        );
    }
    assert_eq!(app.request_reset(ADA).await.wait(), 1800);
    assert_eq!(app.resend(ADA).await.wait(), 1800);
    app.run_jobs().await;
    assert_eq!(app.mails_to(ADA).len(), 1, "the one of the registration");
    assert_eq!(app.verify("crv_x").await.code(), "TOKEN_REJECTED");
    assert_eq!(app.confirm_email("crv_x").await.code(), "TOKEN_REJECTED");
    let before = app.state().await;
    assert_eq!(
        app.reset("crv_x", NEW_PASSWORD).await.code(),
        "TOO_MANY_ATTEMPTS"
    );
    assert_eq!(app.reactivate("crv_x").await.code(), "TOO_MANY_ATTEMPTS");
    assert_eq!(app.state().await, before);
}
