//! Following the audit trail: every entry once, in order, from every server, and without end in itself.

use cardea::live::Times;
use cardea::services::audit_chain;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::socket::{Listening, Socket};

const ALL: &str = "subscription { auditEventAdded { action actor { fullName } subject { username } ipAddress details } }";
const REFUSED: &str = "subscription { auditEventAdded(filter: { actions: [LOGIN], outcomes: [FAILURE] }) { action outcome subject { username } } }";

async fn next(socket: &mut Socket) -> Value {
    let said = socket.message().await;
    assert_eq!(said["type"], "next", "{said}");
    assert_eq!(said["payload"]["errors"], Value::Null, "{said}");
    said["payload"]["data"]["auditEventAdded"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_told_once_in_order_on_every_server() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ada").await;
    let (second, _) = app.second(&[]).await;
    let server = Listening::at(second, Times::default(), 0).await;
    audit_chain::chain(&app.app).await.expect("chained");
    let mut all = server.following(&admin, ALL).await;
    let mut refused = server.following(&admin, REFUSED).await;
    app.login("ada", "Wrong-Horse-7").await;
    app.login("ada", PASSWORD).await.data("login/result");
    let mut chained = audit_chain::chain(&app.app).await.expect("chained");
    // That it is followed stands there, too: once for each.
    for _ in 0..2 {
        let begun = next(&mut all).await;
        assert_eq!(begun["action"], "PERSONAL_DATA_READ");
        assert_eq!(
            begun["details"],
            json!({ "subscription": "auditEventAdded" })
        );
        assert_eq!(begun["actor"]["fullName"], "admin Example");
    }
    let failed = next(&mut all).await;
    assert_eq!(
        (&failed["action"], &failed["actor"]),
        (&json!("LOGIN"), &Value::Null)
    );
    assert_eq!(failed["details"]["methods"], json!(["password"]));
    assert_eq!(failed["subject"]["username"], "ada");
    let signed_in = next(&mut all).await;
    assert_eq!(
        (&signed_in["action"], &signed_in["ipAddress"]),
        (&json!("LOGIN"), &json!("127.0.0.1"))
    );
    let one = json!({ "action": "LOGIN", "outcome": "FAILURE", "subject": { "username": "ada" } });
    assert_eq!(next(&mut refused).await, one);
    // Whom they are about leaves one entry for each who follows, and reading that none: otherwise there would be no
    // end.
    chained += audit_chain::chain(&app.app).await.expect("chained");
    assert_eq!(chained, 4 + 2);
    for _ in 0..2 {
        let read = next(&mut all).await;
        assert_eq!(read["action"], "PERSONAL_DATA_READ");
        assert_eq!(read["subject"]["username"], "ada");
    }
    all.in_order().await;
    assert_eq!(audit_chain::chain(&app.app).await.expect("chained"), 0);
    all.in_order().await;
    refused.in_order().await;
    server.app.shutdown.cancel();
    server.app.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_the_right_hears_no_more() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let other = app.user_with_role("other", "admin").await;
    let server = Listening::of(&app, Times::default()).await;
    let mut socket = server.following(&admin, ALL).await;
    let remove = "mutation($role: ID!, $user: ID!) { removeRole(input: { roleId: $role, userId: $user }) { errors { code } } }";
    let role = other.ask("{ role(name: \"admin\") { id } }").await;
    let role = role.data("role/id").clone();
    let removed = other
        .gql(remove, json!({ "role": role, "user": admin.id }))
        .await;
    assert_eq!(removed.data("removeRole/errors"), &json!([]));
    let said = socket.message().await;
    assert_eq!(said["type"], "error", "{said}");
    assert_eq!(
        said["payload"][0]["extensions"]["code"], "FORBIDDEN",
        "{said}"
    );
    audit_chain::chain(&app.app).await.expect("chained");
    socket.in_order().await;
}
