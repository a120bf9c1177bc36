//! What happened to an account, over months: entries about it alone and entries about several accounts, in one order.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, TestApp, email};
use crate::harness::client::Client;

async fn read(client: &Client<'_>, part: &str) -> Vec<String> {
    let document = format!("{{ me {{ activity({part}) {{ nodes {{ action details }} }} }} }}");
    let answer = client.ask(&document).await;
    let nodes = answer.data("me/activity/nodes").as_array().cloned();
    let told = |node: &Value| {
        let name = |key: &str| node["details"][key][0].as_str().map(str::to_owned);
        name("fields").unwrap_or_else(|| node["action"].as_str().unwrap_or_default().to_owned())
    };
    nodes.unwrap_or_default().iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_through_the_months_from_either_end() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.user("bob").await;
    // Each month somebody reads one thing of everybody, and then another of Ada alone.
    let several = ["email", "fullName", "birthDate", "username"];
    let alone = ["firstName", "lastName", "avatarUrl", "lastLoginAt"];
    let mut wanted = Vec::new();
    for (of_all, of_ada) in several.into_iter().zip(alone) {
        let moderator = app
            .user_with_role(&format!("mod_{of_all}"), "moderator")
            .await;
        let list = format!("{{ users {{ nodes {{ {of_all} }} }} }}");
        moderator.ask(&list).await.data("users/nodes");
        app.advance(TimeDelta::minutes(1));
        let one = format!("{{ user(by: {{ email: \"ada@example.org\" }}) {{ {of_ada} }} }}");
        moderator.ask(&one).await.data("user");
        wanted.extend([of_all.to_owned(), of_ada.to_owned()]);
        // Two months without anything lie between them.
        app.advance(TimeDelta::days(92));
    }
    let login = "mutation($input: LoginInput!) { login(input: $input) { result { \
        ... on SignedIn { accessToken refreshToken user { id uuid } session { id } } } } }";
    let input = json!({ "input": { "identifier": email("ada"), "password": PASSWORD } });
    let ada = Client::new(&app, app.gql(login, input).await.data("login/result"));
    let shown = |list: Vec<String>| -> Vec<String> {
        let known = |name: &String| wanted.contains(name);
        list.into_iter().filter(known).collect()
    };
    let newest: Vec<_> = wanted.iter().rev().cloned().collect();
    assert_eq!(shown(read(&ada, "first: 50").await), newest);
    assert_eq!(shown(read(&ada, "last: 50").await), newest);
    for most in 1..6 {
        let page = read(&ada, &format!("first: {}", most + 1)).await;
        // The newest of all is the sign-in.
        assert_eq!(page[1..], newest[..most], "{most}");
    }
}
