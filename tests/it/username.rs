//! Usernames: public, unique, and telling nothing of addresses.

use serde_json::json;

use crate::harness::TestApp;
use crate::registration::{REGISTER, input};

#[tokio::test(flavor = "multi_thread")]
async fn a_username_does_not_tell_whether_an_address_has_an_account() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let errors = async |email: &str, username: &str| {
        let answer = app
            .gql(
                REGISTER,
                input(&json!({ "email": email, "username": username })),
            )
            .await;
        answer.data("register/errors").clone()
    };
    let taken = json!("TAKEN");
    // A free name with a known and with an unknown address, then the same name with another one.
    for (email, name) in [
        ("ada@example.org", "Probe_1"),
        ("nobody@example.org", "Probe_2"),
    ] {
        assert_eq!(errors(email, name).await, json!([]));
        assert_eq!(
            errors(&format!("x{email}"), name).await[0]["code"],
            taken,
            "{email}"
        );
        assert_eq!(errors(email, name).await[0]["code"], taken, "{email}");
    }
    // A name in use is told whatever the address.
    for email in ["ada@example.org", "new@example.org"] {
        assert_eq!(errors(email, "ADA").await[0]["code"], taken);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_kept_for_an_account_is_its_own_to_take() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    app.gql(REGISTER, input(&json!({ "username": "countess" })))
        .await;
    let rename =
        "mutation { updateProfile(input: { username: \"Countess\" }) { errors { code path } } }";
    assert_eq!(
        bob.ask(rename).await.data("updateProfile/errors/0"),
        &json!({ "code": "TAKEN", "path": ["input", "username"] })
    );
    assert_eq!(
        ada.ask(rename).await.data("updateProfile/errors"),
        &json!([])
    );
}
