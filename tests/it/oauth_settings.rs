//! Settings of providers that cannot hold are named before anything starts, and secrets never are.

use serde_json::json;

use crate::harness::app::config;
use crate::harness::oauth::provider;

fn problems(flags: &[&str]) -> Vec<String> {
    config(flags).problems()
}

fn of(providers: &serde_json::Value) -> Vec<String> {
    problems(&[&format!("--oidc-providers={providers}")])
}

#[test]
fn a_provider_that_is_half_set_is_named() {
    for (flags, named) in [
        (vec!["--google-client-id=x"], "CARDEA_GOOGLE_CLIENT_SECRET"),
        (
            vec!["--google-client-secret=s3cret"],
            "CARDEA_GOOGLE_CLIENT_ID",
        ),
        (vec!["--github-client-id=x"], "CARDEA_GITHUB_CLIENT_SECRET"),
        (
            vec!["--apple-client-id=x", "--apple-team-id=x"],
            "CARDEA_APPLE_KEY_ID",
        ),
    ] {
        let found = problems(&flags).join("; ");
        assert!(found.contains(named), "{flags:?}: {found}");
        assert!(!found.contains("s3cret"), "{found}");
    }
    let all = ["--google-client-id=x", "--google-client-secret=y"];
    assert_eq!(problems(&all), Vec::<String>::new());
}

#[test]
fn other_providers_are_read_whole_or_not_at_all() {
    let good = provider("acme", "https://id.acme.test");
    assert_eq!(of(&json!([good])), Vec::<String>::new());
    assert_eq!(of(&json!([])), Vec::<String>::new());
    let with = |key: &str, value: serde_json::Value| {
        let mut provider = good.clone();
        provider[key] = value;
        json!([provider])
    };
    for (broken, named) in [
        (json!({}), "no such JSON"),
        (
            json!([{ "slug": "acme", "clientSecret": "s3cret:/?" }]),
            "no such JSON",
        ),
        (with("unknown", json!("s3cret:/?")), "no such JSON"),
        (with("slug", json!("")), "slug"),
        (with("slug", json!("Acme")), "slug"),
        (with("slug", json!("-acme")), "slug"),
        (with("slug", json!("x".repeat(33))), "slug"),
        (with("name", json!(" ")), "name"),
        (with("issuer", json!("id.acme.test")), "https"),
        (with("issuer", json!("file:///x")), "https"),
        (with("issuer", json!("https://user@id.acme.test")), "https"),
        (with("issuer", json!("https://id.acme.test?x")), "https"),
        (with("clientSecretFile", json!("/nowhere")), "one of"),
        (with("clientSecret", json!(null)), "one of"),
        (json!([good, good]), "two sign-in providers `acme`"),
    ] {
        let found = of(&broken).join("; ");
        assert!(found.contains(named), "{broken}: {found}");
        assert!(!found.contains("s3cret"), "{found}");
    }
}

#[test]
fn pages_to_come_back_to_are_addresses_or_apps() {
    let page = |page: &str| problems(&[&format!("--oauth-redirect-uris={page}")]);
    for good in [
        "https://app.example.org/welcome",
        "http://localhost:5173/welcome, https://app.example.org/",
        "org.example.app:/callback",
    ] {
        assert_eq!(page(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "app.example.org",
        "/welcome",
        "javascript:alert(1)",
        "data:text/html",
        "https://app.example.org/#x",
    ] {
        assert_eq!(page(bad).len(), 1, "{bad}");
    }
}

#[test]
fn production_wants_https_of_providers_and_pages() {
    let providers = format!(
        "--oidc-providers={}",
        json!([provider("acme", "http://id.acme.test")])
    );
    let found = problems(&[
        "--mode=production",
        &providers,
        "--oauth-redirect-uris=http://app.example.org/welcome",
        "--github-client-id=x",
        "--github-client-secret=y",
        "--github-url=http://github.test",
    ])
    .join("; ");
    assert!(
        found.contains("`acme` must have an https address"),
        "{found}"
    );
    assert!(
        found.contains("`github` must have an https address"),
        "{found}"
    );
    assert!(
        found.contains("`http://app.example.org/welcome` is no https"),
        "{found}"
    );
}

#[test]
fn the_own_page_is_always_one_to_come_back_to() {
    let allowed = |flags: &[&str], page: &str| config(flags).redirect_allowed(page);
    let listed = "--oauth-redirect-uris=https://app.example.org/welcome";
    let public = "--public-url=https://id.example.org";
    assert!(allowed(
        &[public, listed],
        "https://id.example.org/oauth/callback"
    ));
    assert!(allowed(
        &[public, listed],
        "https://app.example.org/welcome"
    ));
    // Under whichever name of this machine a development server's page was opened.
    for near in ["localhost", "127.0.0.1", "[::1]"] {
        let page = format!("http://{near}:8000/oauth/callback");
        assert!(allowed(&[], &page), "{page}");
        assert!(!allowed(&[public], &page), "{page}");
    }
    for other in [
        "https://id.example.org.evil.test/oauth/callback",
        "https://id.example.org/oauth/callback/",
        "https://id.example.org/oauth/callback?x",
        "https://id.example.org/oauth/callback#x",
        "https://id.example.org:443/oauth/callback",
        "https://x@id.example.org/oauth/callback",
        "http://id.example.org/oauth/callback",
        "https://app.example.org/welcome/",
        "javascript:alert(1)",
        "/oauth/callback",
        "",
    ] {
        assert!(!allowed(&[public, listed], other), "{other}");
    }
}
