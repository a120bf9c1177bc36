//! GitHub: no ID token, and addresses that count only when GitHub has proved them.

use cardea::clock::Clock;
use serde_json::json;

use crate::harness::app::start_of_time;
use crate::harness::oauth::Setup;
use crate::harness::provider::FakeProvider;
use crate::harness::{Answer, Client};

async fn setup() -> Setup {
    let clock = Clock::fixed(start_of_time());
    let github = FakeProvider::new(&clock).await;
    let url = format!("--github-url={}", github.url);
    let api = format!("--github-api-url={}/api", github.url);
    let flags = [
        "--github-client-id=cardea",
        "--github-client-secret=s3cret:/?",
        &url,
        &api,
    ];
    Setup::of(clock, github, &json!([]), &flags).await
}

async fn sign_in(setup: &Setup) -> Answer {
    let begun = setup.app.begin("github").await;
    let code = setup.acme.agree(&begun.url, "", "", None);
    setup.app.finish(&begun.with(&code)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_the_person_and_the_proved_first_address_sign_in() {
    let setup = setup().await;
    let answer = sign_in(&setup).await;
    let ada = Client::new(&setup.app, answer.data("finishOAuthSignIn/result"));
    let user = answer.data("finishOAuthSignIn/result/user");
    assert_eq!(user["fullName"], "ada-l");
    assert_eq!(user["email"], "ada@example.org");
    assert_eq!(user["linkedAccounts"][0]["provider"], "github");
    let kept = "SELECT concat_ws(' ', issuer, subject) FROM identities";
    assert_eq!(
        setup.app.db.text(kept).await,
        format!("{} 583231", setup.acme.url)
    );
    // The address may go, the number stays.
    setup.acme.behaviour().emails = json!([]);
    let again = sign_in(&setup).await;
    assert_eq!(
        again.data("finishOAuthSignIn/result/user/id"),
        &json!(ada.id)
    );
    let form = setup.acme.behaviour().form.clone();
    assert!(form.contains_key("code_verifier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_proved_or_not_the_first_leads_nowhere() {
    let setup = setup().await;
    setup.app.user("ada").await;
    for emails in [
        json!([{ "email": "ada@example.org", "primary": true, "verified": false }]),
        json!([
            { "email": "ada@example.org", "primary": false, "verified": true },
            { "email": "eve@example.org", "primary": true, "verified": false },
        ]),
        json!([]),
    ] {
        setup.acme.behaviour().emails = emails;
        assert_eq!(sign_in(&setup).await.code(), "REJECTED");
    }
    assert_eq!(setup.app.count("identities").await, "0");
    setup.acme.behaviour().emails = json!({ "message": "Bad credentials" });
    assert_eq!(sign_in(&setup).await.code(), "REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_sign_in_is_refused() {
    let setup = setup().await;
    let (mine, yours) = (
        setup.app.begin("github").await,
        setup.app.begin("github").await,
    );
    let code = setup.acme.agree(&yours.url, "", "", None);
    assert_eq!(
        setup.app.finish(&mine.with(&code)).await.code(),
        "TOKEN_REJECTED"
    );
    assert_eq!(setup.app.count("users").await, "0");
}
