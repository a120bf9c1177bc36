//! Providers that are down, slow, or answer what none may answer: the person is told in time, and
//! everybody else signs in as before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::oauth::{PAGE, Setup, provider};
use crate::harness::provider::{FakeProvider, Mood};
use crate::harness::{Answer, TestApp};

fn unreachable(answer: &Answer, field: &str) {
    let errors = answer.data(&format!("{field}/errors"));
    assert_eq!(errors[0]["code"], "REJECTED", "{}", answer.text);
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_at_the_token_is_told_in_time_and_holds_nobody_up() {
    let setup = Setup::new().await;
    setup.app.user("ada").await;
    for mood in [Mood::Slow, Mood::Huge, Mood::Redirects, Mood::Html] {
        setup.acme.behaviour().mood = mood;
        let began = Instant::now();
        let failing = setup.sign_in("ada", "ada@example.org");
        let others = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let began = Instant::now();
            assert_eq!(setup.app.login("ada", PASSWORD).await.code(), "");
            began.elapsed()
        };
        let (answer, others) = tokio::join!(failing, others);
        assert_eq!(answer.code(), "REJECTED", "{}", answer.text);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert!(others < Duration::from_secs(3), "{others:?}");
    }
    assert_eq!(
        setup.acme.times("/elsewhere"),
        0,
        "a redirect is not followed"
    );
    setup.acme.behaviour().mood = Mood::Good;
    setup.signed_in("ada", "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_begins_nothing_and_comes_back() {
    let setup = Setup::new().await;
    // A port that nothing listens to.
    let settings = format!(
        "--oidc-providers={}",
        json!([provider("acme", "http://127.0.0.1:9")])
    );
    let pages = format!("--oauth-redirect-uris={PAGE}");
    let app = TestApp::with(&[&settings, &pages]).await;
    let answer = app.start("acme", PAGE).await;
    unreachable(&answer, "startOAuthSignIn");
    assert_eq!(answer.data("startOAuthSignIn/state"), &Value::Null);
    assert_eq!(app.count("oauth_states").await, "0");
    setup.signed_in("ada", "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_lead_inside_the_network_or_to_another_issuer_are_not_believed() {
    let setup = Setup::new().await;
    let inside = FakeProvider::at("127.0.0.2:0", &setup.app.app.clock).await;
    // Names that lead to this machine, and addresses of it, by the same protocol and by TLS.
    let port = inside.url.rsplit_once(':').expect("a port").1.to_owned();
    for endpoint in ["token_endpoint", "jwks_uri", "authorization_endpoint"] {
        for place in [
            format!("http://127.0.0.2:{port}/token"),
            format!("https://127.0.0.2:{port}/token"),
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "https://[::ffff:10.0.0.1]/".to_owned(),
            "file:///etc/passwd".to_owned(),
        ] {
            let told = place.clone();
            setup.acme.behaviour().metadata =
                Box::new(move |metadata| metadata[endpoint] = told.as_str().into());
            let answer = setup.app.start("acme", PAGE).await;
            assert_eq!(answer.code(), "REJECTED", "{endpoint} at {place}");
        }
    }
    // A name of this machine is found out only when it is looked up, and not even a connection is made.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    setup.acme.behaviour().metadata =
        Box::new(move |told| told["jwks_uri"] = format!("https://localhost:{port}/jwks").into());
    assert_eq!(setup.app.start("acme", PAGE).await.code(), "REJECTED");
    let connected = listener.accept().map(|(_, from)| from);
    assert!(connected.is_err(), "{connected:?}");
    for issuer in [
        "https://accounts.google.com".to_owned(),
        format!("{}/", setup.acme.url),
    ] {
        setup.acme.behaviour().metadata =
            Box::new(move |told| told["issuer"] = issuer.as_str().into());
        assert_eq!(setup.app.start("acme", PAGE).await.code(), "REJECTED");
    }
    assert_eq!(inside.behaviour().asked.len(), 0);
    assert_eq!(setup.app.count("oauth_states").await, "0");
    setup.acme.behaviour().metadata = Box::new(|_| ());
    setup.signed_in("ada", "ada@example.org").await;
}
