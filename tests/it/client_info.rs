//! From where a request comes: the peer of the connection and nothing that a header claims, unless a
//! proxy that is trusted says so.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use serde_json::{Value, json};

use crate::harness::app::MASTER_KEY;
use crate::harness::app::PASSWORD;
use crate::harness::raw::graphql_url;
use crate::harness::{Answer, Program, TestApp};

const FORGED: [(&str, &str); 9] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-for", "203.0.113.10, 203.0.113.11"),
    ("x-real-ip", "203.0.113.9"),
    ("cf-connecting-ip", "203.0.113.9"),
    ("forwarded", "for=203.0.113.9;host=evil.example;proto=https"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("host", "evil.example"),
    ("origin", "https://evil.example"),
];

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { errors { code } \
    result { ... on SignedIn { session { ipAddress userAgent } } } } }";

fn request(query: &str, variables: &Value) -> Request<Body> {
    let body = json!({ "query": query, "variables": variables }).to_string();
    Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .expect("a request")
}

fn forge(request: &mut Request<Body>) {
    for (name, value) in FORGED {
        request
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
}

fn credentials() -> Value {
    json!({ "input": { "identifier": "ada", "password": PASSWORD } })
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_headers_change_neither_the_address_of_a_session_nor_a_mailed_link() {
    let app = TestApp::new().await;
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    let input = json!({ "email": "ada@example.org", "fullName": "Ada Lovelace", "password": PASSWORD, "username": "ada" });
    let mut forged = request(register, &json!({ "input": input }));
    forge(&mut forged);
    assert_eq!(app.send(forged).await.data("register/errors"), &json!([]));
    app.run_jobs().await;
    let mail = app.mails_to("ada@example.org").remove(0);
    assert!(
        mail.links[0].starts_with("http://127.0.0.1:8000/verify-email#token="),
        "{}",
        mail.links[0]
    );
    assert!(!format!("{mail:?}").contains("evil"), "{mail:?}");

    let token = app.mailed_token("ada@example.org").await;
    let verify =
        "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { code } } }";
    app.gql(verify, json!({ "token": token }))
        .await
        .data("verifyEmail");
    let mut forged = request(LOGIN, &credentials());
    forge(&mut forged);
    forged
        .extensions_mut()
        .insert(ConnectInfo(std::net::SocketAddr::from((
            [192, 0, 2, 7],
            5000,
        ))));
    let answer = app.send(forged).await;
    assert_eq!(answer.data("login/result/session/ipAddress"), "192.0.2.7");
    assert!(
        !app.db.dump().await.contains("203.0.113"),
        "a forged address was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_headers_give_no_fresh_budget() {
    let app = TestApp::with(&["--login-tries=2"]).await;
    let wrong = json!({ "input": { "identifier": "ada", "password": "x" } });
    let mut codes = Vec::new();
    for (name, value) in FORGED.into_iter().take(5) {
        let mut forged = request(LOGIN, &wrong);
        forged
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
        codes.push(app.send(forged).await.data("login/errors/0/code").clone());
    }
    assert_eq!(codes[..2], ["INVALID_CREDENTIALS", "INVALID_CREDENTIALS"]);
    assert_eq!(codes[2..], ["TOO_MANY_ATTEMPTS"; 3]);
}

/// A sign-in that comes from `peer` with these values of `X-Forwarded-For`.
async fn forwarded(app: &TestApp, peer: [u8; 4], values: &[&str], input: &Value) -> Answer {
    let mut request = request(LOGIN, input);
    for value in values {
        let value = HeaderValue::from_str(value).expect("a value");
        request.headers_mut().append("x-forwarded-for", value);
    }
    let peer = std::net::SocketAddr::from((peer, 5000));
    request.extensions_mut().insert(ConnectInfo(peer));
    app.send(request).await
}

const PROXY: [u8; 4] = [10, 0, 0, 1];

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_session_is_the_one_that_trusted_proxies_saw() {
    let app = TestApp::with(&["--trusted-proxies=10.0.0.0/8, 2001:db8::/32"]).await;
    app.user("ada").await;
    for (peer, values, address) in [
        (PROXY, &["192.0.2.7"][..], "192.0.2.7"),
        (PROXY, &["203.0.113.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (
            PROXY,
            &["203.0.113.9", "192.0.2.7", "2001:db8::2"],
            "192.0.2.7",
        ),
        (PROXY, &["2001:db9:0::7"], "2001:db9::7"),
        (PROXY, &["::ffff:192.0.2.7"], "192.0.2.7"),
        (PROXY, &["203.0.113.9, garbage, 10.0.0.2"], "10.0.0.2"),
        (PROXY, &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (PROXY, &[], "10.0.0.1"),
        // Whoever comes past the proxies is believed nothing.
        ([192, 0, 2, 7], &["203.0.113.9"], "192.0.2.7"),
        ([192, 0, 2, 7], &["203.0.113.9, 10.0.0.2"], "192.0.2.7"),
    ] {
        let answer = forwarded(&app, peer, values, &credentials()).await;
        let found = answer.data("login/result/session/ipAddress");
        assert_eq!(found, address, "{values:?} from {peer:?}");
    }
    assert!(!app.db.dump().await.contains("203.0.113"));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_no_other_header_tells_an_address() {
    let app = TestApp::with(&["--trusted-proxies=127.0.0.1"]).await;
    app.user("ada").await;
    for (name, value) in FORGED {
        let mut forged = request(LOGIN, &credentials());
        let value = HeaderValue::from_static(value);
        forged.headers_mut().append(name, value);
        let answer = app.send(forged).await;
        let found = answer.data("login/result/session/ipAddress");
        let told = name == "x-forwarded-for";
        assert_eq!(found != "127.0.0.1", told, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_follow_the_address_that_trusted_proxies_saw() {
    let app = TestApp::with(&["--login-tries=2", "--trusted-proxies=10.0.0.0/8"]).await;
    let wrong = json!({ "input": { "identifier": "ada", "password": "x" } });
    let code = async |peer, values: &[&str]| {
        let answer = forwarded(&app, peer, values, &wrong).await;
        answer.data("login/errors/0/code").clone()
    };
    for _ in 0..2 {
        assert_eq!(code(PROXY, &["192.0.2.7"]).await, "INVALID_CREDENTIALS");
    }
    for values in [
        &["192.0.2.7"][..],
        &["203.0.113.9, 192.0.2.7"],
        &["203.0.113.10", "192.0.2.7:4711, 10.9.9.9"],
    ] {
        assert_eq!(code(PROXY, values).await, "TOO_MANY_ATTEMPTS", "{values:?}");
    }
    assert_eq!(
        code([192, 0, 2, 7], &["203.0.113.9"]).await,
        "TOO_MANY_ATTEMPTS"
    );
    assert_eq!(code(PROXY, &["192.0.2.8"]).await, "INVALID_CREDENTIALS");
}

#[test]
fn a_list_of_proxies_that_cannot_be_read_or_trusts_everybody_is_refused() {
    for wrong in ["proxy.example.org", "10.0.0.0/33", "127.0.0.1,*"] {
        let outcome = Program::new()
            .with("CARDEA_TRUSTED_PROXIES", wrong)
            .run(&[]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(
            outcome
                .stderr
                .contains("is neither an address nor a network"),
            "{outcome:?}"
        );
    }
    for (list, sound) in [
        ("", true),
        ("127.0.0.1, ::1", true),
        ("0.0.0.0/0", false),
        ("::/0", false),
    ] {
        let program = Program::new()
            .with("CARDEA_MODE", "production")
            .with("CARDEA_MASTER_KEY", MASTER_KEY)
            .with("CARDEA_PUBLIC_URL", "https://accounts.example.org")
            .with("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c")
            .with("CARDEA_TRUSTED_PROXIES", list);
        let said = program.run(&["config", "check"]).stdout;
        let refused = "production: CARDEA_TRUSTED_PROXIES trusts every address, so that each client could name its own\n";
        assert_eq!(
            said,
            if sound {
                "The settings are sound.\n"
            } else {
                refused
            },
            "{list}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_address_opens_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let query = "{ viewer { isAuthenticated } }";
    for name in ["access_token", "accessToken", "token", "authorization"] {
        let url = graphql_url(&[("query", query), (name, &ada.access_token)]);
        assert_eq!(
            app.get(&url).await.data("viewer/isAuthenticated"),
            false,
            "{name}"
        );
        let mut posted = request(query, &Value::Null);
        *posted.uri_mut() = graphql_url(&[(name, &ada.access_token)])
            .parse()
            .expect("an address");
        assert_eq!(
            app.send(posted).await.data("viewer/isAuthenticated"),
            false,
            "{name}"
        );
    }
    for value in [
        ada.access_token.clone(),
        format!("Basic {}", ada.access_token),
        format!("Bearer{}", ada.access_token),
        format!("Token {}", ada.access_token),
    ] {
        let mut other = request(query, &Value::Null);
        other
            .headers_mut()
            .insert(header::AUTHORIZATION, value.parse().expect("a header"));
        assert_eq!(
            app.send(other).await.data("viewer/isAuthenticated"),
            false,
            "{value:.10}"
        );
    }
    for name in ["cookie", "x-access-token", "proxy-authorization"] {
        let mut other = request(query, &Value::Null);
        let value = format!("access_token={}", ada.access_token);
        other
            .headers_mut()
            .insert(name, value.parse().expect("a header"));
        assert_eq!(
            app.send(other).await.data("viewer/isAuthenticated"),
            false,
            "{name}"
        );
    }
    let mut right = request(query, &Value::Null);
    let value = format!("bEARER  {}", ada.access_token);
    right
        .headers_mut()
        .insert(header::AUTHORIZATION, value.parse().expect("a header"));
    assert_eq!(app.send(right).await.data("viewer/isAuthenticated"), true);
}

async fn login_as(app: &TestApp, user_agent: &[u8]) -> Answer {
    let mut request = request(LOGIN, &credentials());
    let value = HeaderValue::from_bytes(user_agent).expect("a header");
    request.headers_mut().insert(header::USER_AGENT, value);
    app.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_agent_is_kept_without_control_characters_and_cut_to_512() {
    let app = TestApp::new().await;
    app.user("ada").await;
    for (sent, kept) in [
        (
            &b"Mozilla/5.0 (X11; Linux x86_64)"[..],
            "Mozilla/5.0 (X11; Linux x86_64)",
        ),
        (b"tabs\tare\tcontrol", "tabsarecontrol"),
        (b"next\xc2\x85line \xc2\x9b31mred", "nextline 31mred"),
        ("Fön für Ägypten 🦊".as_bytes(), "Fön für Ägypten 🦊"),
        (b"latin-1 \xfc", "latin-1 \u{fffd}"),
        (
            b"<script>'; DROP TABLE users; --",
            "<script>'; DROP TABLE users; --",
        ),
        (b"", ""),
    ] {
        let answer = login_as(&app, sent).await;
        assert_eq!(answer.data("login/result/session/userAgent"), kept);
    }
    let long = login_as(&app, "ä".repeat(2000).as_bytes()).await;
    assert_eq!(
        long.data("login/result/session/userAgent"),
        &json!("ä".repeat(512))
    );
    let none = app.send(request(LOGIN, &credentials())).await;
    assert_eq!(none.data("login/result/session/userAgent"), &Value::Null);
}
