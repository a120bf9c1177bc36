//! The built-in pages: what they may do, and that opening one changes nothing.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::{PASSWORD, email};

const BASE: &str = "https://example.org/accounts";

const PAGES: [&str; 8] = [
    "/accept-invitation",
    "/confirm-email-change",
    "/forgot-password",
    "/oauth/callback",
    "/reactivate-account",
    "/reset-password",
    "/sign-in",
    "/verify-email",
];

/// What stands between `before` and the next quotation mark, each time.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split(['"', '\'']).next())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_load_and_reach_nothing_but_its_own_server_and_runs_no_inline_script() {
    let app = TestApp::new().await;
    for path in PAGES {
        let page = app.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("x-robots-tag"), Some("noindex"), "{path}");
        assert_eq!(page.header("set-cookie"), None, "{path}");
        assert_eq!(
            page.header("content-security-policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            ),
            "{path}"
        );
        for inline in ["<script>", "<style", " style=", " on", "://"] {
            assert!(!page.text.contains(inline), "{inline} in {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_a_page_names_is_there_and_named_relative_to_the_page() {
    let app = TestApp::new().await;
    for path in PAGES {
        let page = app.get(path).await;
        let mut named = quoted(&page.text, "href=\"");
        named.extend(quoted(&page.text, "src=\""));
        // A server behind a path of a proxy has no files at the root.
        let up = "../".repeat(path.matches('/').count() - 1);
        let mut files = Vec::new();
        for name in named {
            let name = name.strip_prefix(&up).unwrap_or_default();
            let is_page = PAGES
                .iter()
                .any(|page| page.strip_prefix('/') == Some(name));
            if is_page {
                continue;
            }
            assert!(name.starts_with("pages/"), "{name} in {path}");
            files.push(name.to_owned());
        }
        assert!(files.len() >= 2, "{path}: {files:?}");
        let mut next = 0;
        while let Some(name) = files.get(next) {
            let file = app.get(&format!("/{name}")).await;
            assert_eq!(file.status, StatusCode::OK, "{name} in {path}");
            if name.rsplit('.').next() == Some("js") {
                let script = Some("text/javascript; charset=utf-8");
                assert_eq!(file.header("content-type"), script, "{name}");
            }
            for imported in quoted(&file.text, " from './") {
                let imported = format!("pages/{imported}");
                if !files.contains(&imported) {
                    files.push(imported);
                }
            }
            next += 1;
        }
    }
}

/// The token of the newest mail to an address, whose link leads to this page of the server.
async fn mailed(app: &TestApp, to: &str, path: &str) -> String {
    let token = app.mailed_token(to).await;
    let links = app.mails_to(to).swap_remove(0).links;
    assert_eq!(links, [format!("{BASE}{path}#token={token}")]);
    token
}

/// Opens a page as a browser or a mail scanner would, in every way that a GET allows.
async fn open(app: &TestApp, path: &str, token: &str) {
    let (statements, ()) = app
        .statements(async {
            for path in [path, &format!("{path}?token={token}")] {
                for method in [Method::GET, Method::HEAD] {
                    let answer = app.raw(method, path, &[], Body::empty()).await;
                    assert_eq!(answer.status, StatusCode::OK, "{path}");
                    assert!(!answer.text.contains(token), "{path}");
                }
            }
        })
        .await;
    assert_eq!(statements, 0, "{path} asked the database");
}

/// Uses a token up as the page does when its button is pressed.
async fn press(app: &TestApp, mutation: &str, input: &str, value: Value) {
    let query = format!(
        "mutation($input: {input}!) {{ {mutation}(input: $input) {{ errors {{ code message }} }} }}"
    );
    let answer = app.gql(&query, json!({ "input": value })).await;
    let errors = answer.data(&format!("{mutation}/errors"));
    assert_eq!(errors, &json!([]), "{mutation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_lead_to_pages_of_the_server_and_opening_one_uses_no_token_up() {
    let app = TestApp::with(&["--resend-secs=0", &format!("--public-url={BASE}")]).await;
    let address = email("ada");
    app.register("ada").await;
    let token = mailed(&app, &address, "/verify-email").await;
    open(&app, "/verify-email", &token).await;
    press(
        &app,
        "verifyEmail",
        "VerifyEmailInput",
        json!({ "token": token }),
    )
    .await;

    let asked = json!({ "email": address });
    press(&app, "requestPasswordReset", "EmailInput", asked).await;
    let token = mailed(&app, &address, "/reset-password").await;
    open(&app, "/reset-password", &token).await;
    let input = json!({ "token": token, "newPassword": "Shiny-Marble-42" });
    press(&app, "resetPassword", "ResetPasswordInput", input).await;
    app.run_jobs().await;
    let told = app.mails_to(&address).swap_remove(0);
    assert_eq!(told.links, [format!("{BASE}/forgot-password")]);

    let bob = app.user("bob").await;
    let asked = bob
        .ask("mutation { requestEmailChange(input: { newEmail: \"bob@example.net\" }) { errors { message } } }")
        .await;
    assert_eq!(asked.data("requestEmailChange/errors"), &json!([]));
    // The new address, and then the old one, which undoes it.
    for to in ["bob@example.net", &email("bob")] {
        let token = mailed(&app, to, "/confirm-email-change").await;
        open(&app, "/confirm-email-change", &token).await;
        let input = json!({ "token": token });
        press(&app, "confirmEmailChange", "TokenInput", input).await;
    }

    let eve = app.user("eve").await;
    let closed = eve
        .gql(
            "mutation($input: ConfirmIdentityInput!) { deactivateAccount(input: $input) { errors { message } } }",
            json!({ "input": { "password": PASSWORD } }),
        )
        .await;
    assert_eq!(closed.data("deactivateAccount/errors"), &json!([]));
    let token = mailed(&app, &email("eve"), "/reactivate-account").await;
    open(&app, "/reactivate-account", &token).await;
    let input = json!({ "token": token });
    press(&app, "reactivateAccount", "TokenInput", input).await;
}
