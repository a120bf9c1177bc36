//! Tokens in cookies: how they are set and taken back, and that no other site can use them.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, TestApp};
use crate::registration::{self, REGISTER};

const LOGIN: &str = "mutation($password: String!, $remember: Boolean!) { login(input: { identifier: \"ada\", \
    password: $password, rememberMe: $remember, tokenDelivery: COOKIE }) { errors { code } \
    result { __typename ... on SignedIn { accessToken refreshToken session { id } } } } }";
const ME: &str = "{ me { username } }";
const RENAME: &str =
    "mutation { updateProfile(input: { fullName: \"Changed\" }) { errors { code } } }";
const REFRESH: &str = "mutation { refreshToken { errors { code } result { ... on SignedIn { accessToken refreshToken } } } }";
const OWN: (&str, &str) = ("origin", "https://id.example.org");
const PREFLIGHT: (&str, &str) = ("graphql-require-preflight", "1");

async fn https() -> TestApp {
    let app = TestApp::with(&[
        "--public-url=https://id.example.org",
        "--cors-origins=https://app.example.org",
    ])
    .await;
    app.user("ada").await;
    app
}

/// A browser: it sends the cookies that it was given.
struct Browser<'a> {
    app: &'a TestApp,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            cookies: Vec::new(),
        }
    }

    async fn send(&mut self, query: &str, variables: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/graphql-response+json");
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, format!("theme=dark; {}", pairs.join("; ")));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = json!({ "query": query, "variables": variables }).to_string();
        let answer = self
            .app
            .send(request.body(Body::from(body)).expect("a request"))
            .await;
        for (name, value) in set(&answer.headers) {
            self.cookies.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                self.cookies.push((name, value));
            }
        }
        answer
    }

    async fn login(&mut self, remember: bool) -> Answer {
        let variables = json!({ "password": PASSWORD, "remember": remember });
        self.send(LOGIN, variables, &[OWN]).await
    }
}

fn set(headers: &HeaderMap) -> Vec<(String, String)> {
    let values = headers.get_all(header::SET_COOKIE).iter();
    values
        .map(|value| {
            let value = value.to_str().expect("ASCII");
            let (name, rest) = value.split_once('=').expect("a name");
            (
                name.to_owned(),
                rest.split(';').next().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn attributes(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all(header::SET_COOKIE).iter();
    values
        .map(|value| {
            let value = value.to_str().expect("ASCII");
            let (name, _) = value.split_once('=').expect("a name");
            let (_, attributes) = value.split_once("; ").expect("attributes");
            format!("{name}: {attributes}")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_cookies_are_bound_to_host_and_tls_and_stand_in_no_body() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    let answer = browser.login(true).await;
    let result = answer.data("login/result");
    assert_eq!(result["accessToken"], Value::Null);
    assert_eq!(result["refreshToken"], Value::Null);
    let bound = "Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=2592000";
    assert_eq!(
        attributes(&answer),
        [
            format!("__Host-cardea-access: {bound}"),
            format!("__Host-cardea-refresh: {bound}")
        ]
    );
    for (_, value) in set(&answer.headers) {
        assert!(!answer.text.contains(&value));
    }
    let me = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(me.data("me/username"), "ada");
    let short = Browser::new(&app).login(false).await;
    assert!(
        !attributes(&short)[0].contains("Max-Age"),
        "gone with the browser's session"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_an_address_can_have_the_tokens_in_cookies() {
    const VERIFY: &str = "mutation($token: String!) { verifyEmail(input: { token: $token, tokenDelivery: COOKIE }) { \
        errors { code } result { ... on SignedIn { accessToken refreshToken user { email } } } } }";
    let app = https().await;
    app.gql(
        REGISTER,
        registration::input(&json!({ "email": "bob@example.org" })),
    )
    .await;
    app.run_jobs().await;
    let token = json!({ "token": app.mailed_token("bob@example.org").await });
    let mut browser = Browser::new(&app);
    // Another site would have the victim signed in as the one who sent the link.
    let foreign = ("origin", "https://evil.example");
    let refused = browser.send(VERIFY, token.clone(), &[foreign]).await;
    assert_eq!(refused.codes(), ["FORBIDDEN"]);
    assert!(browser.cookies.is_empty());
    let verified = browser.send(VERIFY, token.clone(), &[OWN]).await;
    assert_eq!(
        verified.data("verifyEmail"),
        &json!({ "errors": [], "result": {
            "accessToken": null, "refreshToken": null, "user": { "email": "bob@example.org" } } })
    );
    assert_eq!(attributes(&verified).len(), 2);
    let me = "{ me { email } }";
    let me = browser.send(me, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(me.data("me/email"), "bob@example.org");
    let mut again = Browser::new(&app);
    let again = again.send(VERIFY, token, &[OWN]).await;
    assert_eq!(again.data("verifyEmail/errors/0/code"), "TOKEN_REJECTED");
    assert!(attributes(&again).is_empty());

    // Whoever is signed in in this browser stays it, also while the access token is over.
    let invite = registration::input(&json!({ "email": "eve@example.org" }));
    app.gql(REGISTER, invite).await;
    app.run_jobs().await;
    let token = json!({ "token": app.mailed_token("eve@example.org").await });
    let mut ada = Browser::new(&app);
    ada.login(true).await;
    let kept = ada.cookies.clone();
    let rejected = ada.send(VERIFY, token.clone(), &[PREFLIGHT, OWN]).await;
    assert_eq!(rejected.data("verifyEmail/errors/0/code"), "TOKEN_REJECTED");
    app.advance(TimeDelta::minutes(16));
    let refused = ada.send(VERIFY, token.clone(), &[PREFLIGHT, OWN]).await;
    assert_eq!(refused.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(ada.cookies, kept);
    ada.send(REFRESH, Value::Null, &[PREFLIGHT, OWN]).await;
    let rejected = ada.send(VERIFY, token.clone(), &[PREFLIGHT, OWN]).await;
    assert_eq!(rejected.data("verifyEmail/errors/0/code"), "TOKEN_REJECTED");
    ada.send(
        "mutation { logout { endedSessions } }",
        Value::Null,
        &[PREFLIGHT, OWN],
    )
    .await;
    let verified = ada.send(VERIFY, token, &[PREFLIGHT, OWN]).await;
    assert_eq!(
        verified.data("verifyEmail/result/user/email"),
        "eve@example.org"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_owes_a_second_factor_is_not_swapped_for_another() {
    let app = TestApp::with(&["--two-factor-required=everybody"]).await;
    let ada = app.user("ada").await;
    app.gql(
        REGISTER,
        registration::input(&json!({ "email": "eve@example.org" })),
    )
    .await;
    app.run_jobs().await;
    let token = json!({ "token": app.mailed_token("eve@example.org").await });
    let rejected = ada.gql(registration::VERIFY, token.clone()).await;
    assert_eq!(rejected.data("verifyEmail/errors/0/code"), "TOKEN_REJECTED");
    // Of the account that this opens, fields are closed until it has a second factor, too.
    let verified = app.gql(registration::VERIFY, token).await;
    assert_eq!(verified.at("verifyEmail/errors"), &json!([]));
    assert_eq!(verified.at("verifyEmail/result/__typename"), "SignedIn");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_the_cookies_have_no_prefix_that_browsers_would_refuse() {
    let app = TestApp::with(&["--cookie-same-site=lax"]).await;
    app.user("ada").await;
    let mut browser = Browser::new(&app);
    let variables = json!({ "password": PASSWORD, "remember": false });
    let answer = browser.send(LOGIN, variables, &[]).await;
    assert_eq!(
        attributes(&answer),
        [
            "cardea-access: Path=/; HttpOnly; SameSite=Lax",
            "cardea-refresh: Path=/; HttpOnly; SameSite=Lax"
        ]
    );
    let host = app.app.config.listen.to_string();
    let own = format!("http://{host}");
    let me = browser
        .send(ME, Value::Null, &[PREFLIGHT, ("origin", &own)])
        .await;
    assert_eq!(me.data("me/username"), "ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_sends_with_the_cookies_is_refused_and_changes_nothing() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(false).await;
    let before = app.db.dump().await;
    for (what, headers) in [
        (
            "a foreign origin",
            vec![PREFLIGHT, ("origin", "https://evil.example")],
        ),
        (
            "a look-alike",
            vec![PREFLIGHT, ("origin", "https://id.example.org.evil.example")],
        ),
        (
            "another scheme",
            vec![PREFLIGHT, ("origin", "http://id.example.org")],
        ),
        ("no origin at all", vec![PREFLIGHT, ("origin", "null")]),
        (
            "a cross-site request",
            vec![PREFLIGHT, ("sec-fetch-site", "cross-site")],
        ),
        (
            "a request of a sub-domain",
            vec![PREFLIGHT, ("sec-fetch-site", "same-site")],
        ),
        ("neither origin nor header", vec![]),
        ("the own origin without the header", vec![OWN]),
        (
            "the own site without the header",
            vec![("sec-fetch-site", "same-origin")],
        ),
    ] {
        for document in [RENAME, ME, REFRESH, "mutation { logout { endedSessions } }"] {
            let answer = browser.send(document, Value::Null, &headers).await;
            assert_eq!(
                (answer.status, answer.codes()),
                (StatusCode::FORBIDDEN, vec!["FORBIDDEN"]),
                "{what}: {document}"
            );
            assert!(answer.headers.get(header::SET_COOKIE).is_none(), "{what}");
        }
    }
    assert_eq!(before, app.db.dump().await);
    for good in [
        vec![PREFLIGHT, OWN],
        vec![
            PREFLIGHT,
            ("origin", "https://app.example.org"),
            ("sec-fetch-site", "cross-site"),
        ],
        vec![PREFLIGHT, ("sec-fetch-site", "same-origin")],
        vec![("apollo-require-preflight", "true"), OWN],
    ] {
        let answer = browser.send(ME, Value::Null, &good).await;
        assert_eq!(answer.data("me/username"), "ada", "{good:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_elsewhere_reads_nothing_with_the_cookies() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(false).await;
    let (name, value) = &browser.cookies[0];
    let request = Request::get("/graphql?query=%7Bme%7Busername%7D%7D")
        .header(header::COOKIE, format!("{name}={value}"))
        .header("sec-fetch-site", "none")
        .body(Body::empty());
    let answer = app.send(request.expect("a request")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!answer.text.contains("ada"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_browser_would_drop_the_cookies_is_told() {
    let app = https().await;
    let variables = json!({ "password": PASSWORD, "remember": false });
    let listed = [
        ("origin", "https://app.example.org"),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = Browser::new(&app).send(LOGIN, variables, &listed).await;
    assert_eq!(answer.codes(), ["FORBIDDEN"]);
    assert!(answer.text.contains("CARDEA_COOKIE_SAME_SITE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_signs_nobody_in_with_cookies() {
    let app = https().await;
    let variables = json!({ "password": PASSWORD, "remember": false });
    for foreign in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = Browser::new(&app)
            .send(LOGIN, variables.clone(), &[foreign])
            .await;
        assert_eq!(answer.codes(), ["FORBIDDEN"]);
        assert!(answer.headers.get(header::SET_COOKIE).is_none());
    }
    assert_eq!(
        app.db
            .text("SELECT sum(login_count)::text FROM users")
            .await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_refreshed_and_taken_back() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(true).await;
    let first = browser.cookies.clone();
    app.advance(TimeDelta::minutes(20));
    let lapsed = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(lapsed.status, StatusCode::UNAUTHORIZED, "told to refresh");
    let refreshed = browser.send(REFRESH, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(
        refreshed.data("refreshToken"),
        &json!({ "errors": [], "result": { "accessToken": null, "refreshToken": null } })
    );
    assert_ne!(browser.cookies, first);
    let me = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(me.data("me/username"), "ada");

    app.advance(TimeDelta::minutes(20));
    let logout = "mutation { logout { endedSessions } }";
    let left = browser.send(logout, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(left.data("logout/endedSessions"), 1);
    assert!(
        attributes(&left)
            .iter()
            .all(|cookie| cookie.ends_with("Max-Age=0"))
    );
    assert_eq!(left.header("clear-site-data"), Some("\"cache\""));
    assert!(browser.cookies.is_empty());
    let nobody = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(nobody.data("me"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_refresh_cookie_alone_the_session_can_be_kept_and_ended() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(true).await;
    browser
        .cookies
        .retain(|(name, _)| name.ends_with("refresh"));
    let refreshed = browser.send(REFRESH, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(refreshed.data("refreshToken/errors"), &json!([]));
    browser
        .cookies
        .retain(|(name, _)| name.ends_with("refresh"));
    let logout = "mutation { logout { endedSessions } }";
    let left = browser.send(logout, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(left.data("logout/endedSessions"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_header_counts_before_cookies_and_needs_no_preflight() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(false).await;
    let bob = app.user("bob").await;
    let bearer = format!("Bearer {}", bob.access_token);
    let me = browser
        .send(
            ME,
            Value::Null,
            &[
                ("authorization", &bearer),
                ("origin", "https://app.example.org"),
            ],
        )
        .await;
    assert_eq!(me.data("me/username"), "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_of_another_name_or_without_the_prefix_is_nothing() {
    let app = https().await;
    let ada = app
        .gql(
            LOGIN.replace("COOKIE", "BODY").as_str(),
            json!({ "password": PASSWORD, "remember": false }),
        )
        .await;
    let token = ada
        .data("login/result/accessToken")
        .as_str()
        .expect("a token");
    for name in [
        "cardea-access",
        "__Secure-cardea-access",
        "__host-cardea-access",
        "access",
    ] {
        let mut browser = Browser::new(&app);
        browser.cookies.push((name.to_owned(), token.to_owned()));
        let me = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
        assert_eq!(me.data("me"), &Value::Null, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_a_session_that_has_ended_are_taken_back_when_they_are_to_be_refreshed() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(true).await;
    app.db
        .sql("UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin'")
        .await;
    app.app.access.clear();
    let me = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    let refused = browser.send(REFRESH, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(refused.data("refreshToken/errors/0/code"), "TOKEN_REJECTED");
    assert!(browser.cookies.is_empty());
    let me = browser.send(ME, Value::Null, &[PREFLIGHT, OWN]).await;
    assert_eq!(me.data("me"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_are_good_no_more_are_taken_back() {
    let app = https().await;
    let mut browser = Browser::new(&app);
    browser.login(false).await;
    app.db.sql("DELETE FROM sessions").await;
    app.app.access.catch_up().await;
    for kept in ["cardea-refresh", "cardea-access"] {
        let mut browser = Browser::new(&app);
        browser.cookies = vec![(format!("__Host-{kept}"), "crr_x".to_owned())];
        let answer = browser.send(REFRESH, Value::Null, &[PREFLIGHT, OWN]).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
        assert_eq!(
            answer.headers.get_all("set-cookie").iter().count(),
            2,
            "{kept}"
        );
    }
}
