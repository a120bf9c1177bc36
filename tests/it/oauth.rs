//! Signing in with a provider: which account it leads into.

use axum::body::Body;
use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::oauth::{PAGE, Setup};
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Answer, Client};

const RESULT: &str = "finishOAuthSignIn/result";

/// Nothing but the code of the refusal and its words.
fn refusal(answer: &Answer) -> &Value {
    assert_eq!(answer.data(RESULT), &Value::Null);
    answer.data("finishOAuthSignIn/errors")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_of_the_settings_are_told() {
    let setup = Setup::with(&["--github-client-id=x", "--github-client-secret=y"]).await;
    let options = "{ authOptions { providers { slug displayName } } }";
    let answer = setup.app.gql(options, Value::Null).await;
    assert_eq!(
        answer.data("authOptions/providers"),
        &json!([
            { "slug": "github", "displayName": "GitHub" },
            { "slug": "acme", "displayName": "Acme" },
        ])
    );
    assert_eq!(setup.acme.times("/.well-known/openid-configuration"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_an_account_without_a_password_and_the_same_one_again() {
    let setup = Setup::new().await;
    let answer = setup.sign_in("ada", "ada@example.org").await;
    let user = answer.data("finishOAuthSignIn/result/user").clone();
    assert_eq!(user["email"], "ada@example.org");
    assert_eq!(user["fullName"], "Ada Lovelace");
    assert_eq!(user["emailVerified"], true);
    assert_eq!(user["status"], "ACTIVE");
    assert_eq!(user["linkedAccounts"][0]["provider"], "acme");
    assert_eq!(user["linkedAccounts"][0]["displayName"], "Ada Lovelace");
    let ada = Client::new(&setup.app, answer.data(RESULT));
    let roles = ada.ask("{ me { permissions profile { language } } }").await;
    assert_eq!(
        roles.data("me/permissions"),
        &json!(["read:own", "write:own"])
    );
    assert_eq!(
        setup
            .app
            .db
            .text("SELECT count(hashed_password)::text FROM users")
            .await,
        "0"
    );

    // By the number of the person alone, whatever else changed there.
    let again = setup.signed_in("ada", "ada@example.com").await;
    assert_eq!(again.id, ada.id);
    assert_eq!(setup.app.count("users").await, "1");
    assert_eq!(setup.app.count("identities").await, "1");
    let me = again.ask("{ me { email } }").await;
    assert_eq!(me.data("me/email"), "ada@example.org");

    // The same address, and somebody else: an address given away at the provider opens nothing.
    let other = setup.sign_in("eve", "ada@example.org").await;
    assert_eq!(refusal(&other)[0]["code"], "REJECTED");
    assert_eq!(setup.app.count("sessions").await, "2");
    assert_eq!(setup.app.waiting_jobs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_made_so_can_set_a_password_and_sign_in_with_it() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    let token = setup.app.reset_token("ada@example.org").await;
    assert_eq!(setup.app.reset(&token, NEW_PASSWORD).await.code(), "");
    let answer = setup.app.login("ada@example.org", NEW_PASSWORD).await;
    assert_eq!(answer.data("login/result/user/id"), &json!(ada.id));
    assert_eq!(setup.signed_in("ada", "ada@example.org").await.id, ada.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_both_sides_have_proved_links_and_its_owner_is_told() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    let answer = setup.sign_in("ada", "ADA@example.org").await;
    assert_eq!(
        answer.data("finishOAuthSignIn/result/user/id"),
        &json!(ada.id)
    );
    assert!(ada.is_signed_in().await, "other sessions go on");
    let subjects = setup.app.subjects(&email("ada")).await;
    assert!(
        subjects.contains(&"Sign-in with Acme for your account at Cardea".to_owned()),
        "{subjects:?}"
    );
    assert_eq!(
        setup.app.login("ada", PASSWORD).await.code(),
        "",
        "the password stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_provider_does_not_vouch_for_links_and_opens_nothing() {
    for unproved in [
        json!(false),
        json!("false"),
        json!("true"),
        Value::Null,
        json!("absent"),
    ] {
        let setup = Setup::new().await;
        setup.app.user("ada").await;
        setup.app.run_jobs().await;
        setup.acme.claims(move |claims| {
            if unproved == "absent" {
                claims
                    .as_object_mut()
                    .expect("claims")
                    .remove("email_verified");
            } else {
                claims["email_verified"] = unproved.clone();
            }
        });
        let before = setup.app.state().await;
        let known = setup.sign_in("ada", "ada@example.org").await;
        let free = setup.sign_in("bob", "bob@example.org").await;
        assert_eq!(refusal(&known)[0]["code"], "REJECTED");
        assert_eq!(
            refusal(&known),
            refusal(&free),
            "who has an account is not told"
        );
        assert_eq!(setup.app.state().await, before);
        assert_eq!(setup.app.count("identities").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_word_does_not_count_for_addresses_links_and_opens_nothing() {
    use crate::harness::app::start_of_time;
    use crate::harness::oauth::provider;
    use crate::harness::provider::FakeProvider;
    let clock = cardea::clock::Clock::fixed(start_of_time());
    let acme = FakeProvider::new(&clock).await;
    let mut settings = provider("acme", &acme.url);
    settings["trustEmail"] = false.into();
    let setup = Setup::of(clock, acme, &json!([settings]), &[]).await;
    setup.app.user("ada").await;
    for address in ["ada@example.org", "bob@example.org"] {
        let answer = setup.sign_in("ada", address).await;
        assert_eq!(refusal(&answer)[0]["code"], "REJECTED");
    }
    assert_eq!(setup.app.count("users").await, "1");
    assert_eq!(setup.app.count("identities").await, "0");
}

/// Authorizer CVE-2026-35511: an attacker registers with the victim's address and waits.
#[tokio::test(flavor = "multi_thread")]
async fn who_registered_with_somebody_elses_address_is_not_let_in_when_its_owner_comes() {
    let setup = Setup::new().await;
    setup.app.register("ada").await;
    let mailed = setup.app.mailed_token(&email("ada")).await;
    let owner = setup.signed_in("ada", "ada@example.org").await;
    let me = owner.ask("{ me { fullName status username } }").await;
    assert_eq!(me.data("me/username"), &Value::Null);
    assert_eq!(
        me.data("me/fullName"),
        "Ada Lovelace",
        "not what the stranger typed in"
    );
    assert_eq!(
        setup.app.login("ada", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        setup.app.login("ada@example.org", PASSWORD).await.code(),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(setup.app.verify(&mailed).await.code(), "TOKEN_REJECTED");
    assert_eq!(setup.app.live_sessions().await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_account_whose_address_was_never_proved_is_not_linked() {
    let setup = Setup::new().await;
    setup.app.user("ada").await;
    setup
        .app
        .db
        .sql("UPDATE users SET email_verified_at = NULL")
        .await;
    let answer = setup.sign_in("ada", "ada@example.org").await;
    assert_eq!(refusal(&answer)[0]["code"], "REJECTED");
    assert_eq!(setup.app.count("identities").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_stays_closed_and_its_owner_gets_the_link_that_opens_it() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    setup.signed_in("ada", "ada@example.org").await;
    ada.deactivate(PASSWORD).await;
    setup.app.run_jobs().await;
    let sent = setup.app.mails_to(&email("ada")).len();
    // Known by its number, and one known by its address alone.
    for subject in ["ada", "somebody"] {
        let answer = setup.sign_in(subject, "ada@example.org").await;
        assert_eq!(refusal(&answer)[0]["code"], "ACCOUNT_UNAVAILABLE");
    }
    assert_eq!(setup.app.live_sessions().await, "0");
    assert_eq!(setup.app.count("identities").await, "1");
    setup.app.run_jobs().await;
    assert_eq!(setup.app.mails_to(&email("ada")).len(), sent + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_registration_is_closed_or_asks_for_more_nobody_new_is_let_in() {
    for flag in ["--registration-open=false", "--birth-date-required=true"] {
        let setup = Setup::with(&[flag]).await;
        let answer = setup.sign_in("ada", "ada@example.org").await;
        assert_eq!(refusal(&answer)[0]["code"], "REJECTED", "{flag}");
        assert_eq!(setup.app.count("users").await, "0", "{flag}");
    }
    let setup = Setup::with(&["--registrations-per-hour=1"]).await;
    setup.signed_in("ada", "ada@example.org").await;
    let bob = setup.sign_in("bob", "bob@example.org").await;
    assert_eq!(bob.code(), "TOO_MANY_ATTEMPTS");
    setup.signed_in("ada", "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_provider_makes_up_do_no_harm() {
    let setup = Setup::new().await;
    for (at, (name, expected)) in [
        (json!("x".repeat(5000)), json!("x".repeat(255))),
        (json!("Ada\r\nBcc: eve@example.org"), json!("ada1")),
        (json!("\u{202e}adA"), json!("ada2")),
        (json!(""), json!("ada3")),
        (json!("<b>Ada</b>"), json!("<b>Ada</b>")),
    ]
    .into_iter()
    .enumerate()
    {
        setup
            .acme
            .claims(move |claims| claims["name"] = name.clone());
        let (subject, address) = (format!("s{at}"), format!("ada{at}@example.org"));
        let answer = setup.sign_in(&subject, &address).await;
        assert_eq!(
            answer.data("finishOAuthSignIn/result/user/fullName"),
            &expected
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_first_sign_ins_at_once_make_one_account() {
    let setup = Setup::new().await;
    let mut inputs = Vec::new();
    for _ in 0..4 {
        let begun = setup.app.begin("acme").await;
        let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
        inputs.push(begun.with(&code));
    }
    let answers = inputs.iter().map(|input| setup.app.finish(input));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.code(), "", "{}", answer.text);
    }
    assert_eq!(setup.app.count("users").await, "1");
    assert_eq!(setup.app.count("identities").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_with_a_known_identity_takes_few_statements() {
    let setup = Setup::new().await;
    setup.signed_in("ada", "ada@example.org").await;
    let begun = setup.app.begin("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    let finish = "mutation($input: FinishOAuthSignInInput!) { finishOAuthSignIn(input: $input) { errors { code } } }";
    let input = json!({ "input": begun.with(&code) });
    let (statements, answer) = setup.app.statements(setup.app.gql(finish, input)).await;
    assert_eq!(answer.code(), "");
    // The limit, the state, and in a transaction: whose the identity is, what the common door asks, and
    // that the identity was used, and the entry in the audit trail with its key.
    assert_eq!(statements, 15);
    let (statements, answer) = setup.app.statements(setup.app.start("acme", PAGE)).await;
    assert_eq!(answer.code(), "");
    assert_eq!(statements, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_as_cookies_too_and_for_as_long_as_asked() {
    let setup = Setup::new().await;
    let begun = setup.app.begin("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    let mut input = begun.with(&code);
    input["rememberMe"] = true.into();
    let answer = setup.app.finish(&input).await;
    assert_eq!(answer.code(), "");
    let remembered = "SELECT remember_me::text FROM sessions";
    assert_eq!(setup.app.db.text(remembered).await, "true");
    // A page of another site is told nothing, and its visitor gets no cookie.
    let begun = setup.app.begin("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    let mut input = begun.with(&code);
    input["tokenDelivery"] = "COOKIE".into();
    let query = "mutation($input: FinishOAuthSignInInput!) { finishOAuthSignIn(input: $input) { errors { code } } }";
    let body = json!({ "query": query, "variables": { "input": input } }).to_string();
    let send = async |origin: &str| {
        let headers = [("content-type", "application/json"), ("origin", origin)];
        let body = Body::from(body.clone());
        setup
            .app
            .raw(Method::POST, "/graphql", &headers, body)
            .await
    };
    let foreign = send("https://evil.example").await;
    assert_eq!(foreign.codes(), ["FORBIDDEN"]);
    assert_eq!(foreign.header("set-cookie"), None);
    let own = send("http://127.0.0.1:8000").await;
    assert_eq!(own.code(), "");
    assert_eq!(own.headers.get_all("set-cookie").iter().count(), 2);
}

/// Switches the second factor on.
async fn second_factor(setup: &Setup, client: &Client<'_>) {
    let enabled = client
        .ask("mutation { enableTwoFactor { setup { secret } } }")
        .await;
    let secret = enabled
        .data("enableTwoFactor/setup/secret")
        .as_str()
        .expect("a secret");
    let totp = totp_rs::Builder::new()
        .with_secret(totp_rs::Secret::try_from_base32(secret).expect("base32"))
        .build()
        .expect("a secret");
    let now = u64::try_from(setup.app.app.clock.now().timestamp()).expect("an instant");
    let code = totp.generate(now).to_string();
    let confirm =
        "mutation($code: String!) { confirmTwoFactor(input: { code: $code }) { errors { code } } }";
    let answer = client.gql(confirm, json!({ "code": code })).await;
    assert_eq!(answer.code(), "", "{}", answer.text);
}

/// O04: whoever has the mailbox for a while ties nothing of their own to an account that asks for more.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_alone_links_no_account_that_asks_for_a_second_factor() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    let device = ada.with_two_factor(&setup.app).await;
    let answer = setup.sign_in("eve", "ada@example.org").await;
    let result = answer.data(RESULT);
    assert_eq!(result["__typename"], "TwoFactorRequired");
    assert_eq!(setup.app.count("identities").await, "0");

    // The second factor lets its owner in, who links while signed in.
    setup.app.advance(TimeDelta::seconds(30));
    let answer = setup.sign_in("ada", "ada@example.org").await;
    let begun = setup.app.begin("acme").await;
    assert_eq!(answer.data(RESULT)["__typename"], "TwoFactorRequired");
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    let finish = "mutation($input: FinishOAuthSignInInput!) { finishOAuthSignIn(input: $input) { errors { code } \
        result { ... on TwoFactorRequired { challengeToken } } } }";
    let input = json!({ "input": begun.with(&code) });
    let answer = setup.app.gql(finish, input).await;
    let challenge = answer.data("finishOAuthSignIn/result/challengeToken");
    let challenge = challenge.as_str().expect("a token");
    let verified = setup.app.verify_code(challenge, &device.code()).await;
    assert_eq!(verified.code(), "");
    let begun = ada.begin_link("acme").await;
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    assert_eq!(ada.finish_link(&begun.with(&code)).await.code(), "");
    assert_eq!(ada.linked().await.len(), 1);
    let answer = setup.sign_in("eve", "ada@example.org").await;
    assert_eq!(answer.code(), "REJECTED", "somebody else there");
    setup.app.run_jobs().await;
}

/// O08: a provider stands for one factor; the account's second one is asked for as ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_second_factor_is_asked_for_it_after_the_provider() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    second_factor(&setup, &ada).await;
    let sessions = setup.app.count("sessions").await;
    let answer = setup.sign_in("ada", "ada@example.org").await;
    assert_eq!(
        answer.data("finishOAuthSignIn/result/__typename"),
        "TwoFactorRequired"
    );
    assert_eq!(setup.app.count("sessions").await, sessions);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_provider_and_nothing_secret_is_kept() {
    let setup = Setup::new().await;
    let begun = setup.app.begin("acme").await;
    let dump = setup.app.db.dump().await;
    for name in ["state", "nonce", "code_challenge"] {
        assert!(!dump.contains(&begun.parameter(name)), "{name}");
    }
    assert!(!dump.contains(&begun.state));
    assert!(
        !begun.url.as_str().contains(&begun.state),
        "the secret stays in the tab"
    );
    let code = setup.acme.agree(&begun.url, "ada", "ada@example.org", None);
    assert_eq!(setup.app.finish(&begun.with(&code)).await.code(), "");
    let dump = setup.app.db.dump().await;
    assert!(!dump.contains("at-secret"), "the access token");
    assert!(!dump.contains(&code));
    assert_eq!(setup.app.count("oauth_states").await, "0");
}
