//! Providers tied to an account: by who is signed in, and never untied as the last way in.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::email;
use crate::harness::oauth::Setup;
use crate::harness::verbs::NEW_PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_links_a_provider_whatever_its_address() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    setup.app.run_jobs().await;
    setup
        .acme
        .claims(|claims| claims["email_verified"] = false.into());
    let begun = ada.begin_link("acme").await;
    let code = setup
        .acme
        .agree(&begun.url, "a-1", "elsewhere@example.com", None);
    let answer = ada.finish_link(&begun.with(&code)).await;
    let user = answer.data("finishOAuthSignIn/result/user");
    assert_eq!(user["id"], json!(ada.id));
    assert_eq!(
        user["email"], "ada@example.org",
        "the address of the account stays"
    );
    assert_eq!(
        user["linkedAccounts"][0]["displayName"],
        "elsewhere@example.com"
    );
    let subjects = setup.app.subjects(&email("ada")).await;
    assert_eq!(subjects[0], "Sign-in with Acme for your account at Cardea");
    let again = setup.signed_in("a-1", "elsewhere@example.com").await;
    assert_eq!(again.id, ada.id);
    assert_eq!(setup.app.waiting_jobs().await, 0, "nothing new is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_wants_somebody_who_signed_in_a_short_time_ago() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    let nobody = json!({ "input": { "provider": "acme", "redirectUri": "https://app.example.org/welcome", "link": true } });
    let start =
        "mutation($input: StartOAuthSignInInput!) { startOAuthSignIn(input: $input) { state } }";
    let answer = setup.app.gql(start, nobody).await;
    assert_eq!(answer.codes(), ["UNAUTHENTICATED"]);
    setup.app.advance(TimeDelta::minutes(6));
    let answer = ada.start_link("acme").await;
    assert_eq!(answer.codes(), ["REAUTHENTICATION_REQUIRED"]);
    assert_eq!(setup.app.count("oauth_states").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_began_is_finished_by_the_same_account_or_not_at_all() {
    let setup = Setup::new().await;
    let (ada, eve) = (setup.app.user("ada").await, setup.app.user("eve").await);
    // Nobody signed in, and somebody else.
    for who in [None, Some(&eve)] {
        let begun = ada.begin_link("acme").await;
        let code = setup.acme.agree(&begun.url, "a-1", "ada@example.org", None);
        let input = begun.with(&code);
        match who {
            None => {
                let answer = setup.app.finish(&input).await;
                assert_eq!(answer.codes(), ["UNAUTHENTICATED"]);
            }
            Some(eve) => assert_eq!(eve.finish_link(&input).await.code(), "TOKEN_REJECTED"),
        }
    }
    // Signed out in between.
    let begun = ada.begin_link("acme").await;
    let code = setup.acme.agree(&begun.url, "a-1", "ada@example.org", None);
    ada.ask("mutation { logout { endedSessions } }").await;
    let answer = ada.finish_link(&begun.with(&code)).await;
    assert_eq!(answer.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(setup.app.count("identities").await, "0");
    assert_eq!(setup.acme.times("/token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_provider_belongs_to_one_account_and_an_account_has_one_of_it() {
    let setup = Setup::new().await;
    let first = setup.signed_in("a-1", "first@example.org").await;
    let ada = setup.app.user("ada").await;
    let begun = ada.begin_link("acme").await;
    let code = setup
        .acme
        .agree(&begun.url, "a-1", "first@example.org", None);
    assert_eq!(ada.finish_link(&begun.with(&code)).await.code(), "TAKEN");
    assert_eq!(ada.linked().await.len(), 0);
    let begun = first.begin_link("acme").await;
    let code = setup
        .acme
        .agree(&begun.url, "a-2", "second@example.org", None);
    assert_eq!(
        first.finish_link(&begun.with(&code)).await.code(),
        "REJECTED"
    );
    assert_eq!(first.linked().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_way_in_stays_and_its_owner_is_told_of_every_other() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    let id = ada.linked().await.remove(0);
    let before = setup.app.state().await;
    let answer = ada.unlink(&id).await;
    assert_eq!(answer.code(), "PROTECTED");
    assert_eq!(
        answer.data("unlinkAccount/errors/0/path"),
        &json!(["input", "linkedAccountId"])
    );
    assert_eq!(setup.app.state().await, before);
    assert_eq!(ada.linked().await, [&*id]);

    let token = setup.app.reset_token("ada@example.org").await;
    setup.app.reset(&token, NEW_PASSWORD).await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    let answer = ada.unlink(&id).await;
    assert_eq!(answer.data("unlinkAccount/user/linkedAccounts"), &json!([]));
    let subjects = setup.app.subjects("ada@example.org").await;
    assert_eq!(
        subjects[0],
        "No more sign-in with Acme for your account at Cardea"
    );
    assert_eq!(ada.unlink(&id).await.code(), "NOT_FOUND", "it is gone");
    assert_eq!(
        setup
            .app
            .login("ada@example.org", NEW_PASSWORD)
            .await
            .code(),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_untie_the_last_two_ways_in_one_is_refused() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    setup.app.db.sql(
        "INSERT INTO identities (id, user_id, provider, issuer, subject, linked_at, last_used_at) \
         SELECT gen_random_uuid(), id, 'other', 'https://other.test', 'x', now(), now() FROM users",
    ).await;
    for _ in 0..5 {
        let linked = ada.linked().await;
        assert_eq!(linked.len(), 2);
        let (one, two) = tokio::join!(ada.unlink(&linked[0]), ada.unlink(&linked[1]));
        let mut codes = [one.code(), two.code()];
        codes.sort_unstable();
        assert_eq!(codes, ["", "PROTECTED"]);
        assert_eq!(ada.linked().await.len(), 1);
        setup.app.db.sql(
            "INSERT INTO identities (id, user_id, provider, issuer, subject, linked_at, last_used_at) \
             SELECT gen_random_uuid(), users.id, CASE provider WHEN 'other' THEN 'acme' ELSE 'other' END, \
             'https://other.test', 'x', now(), now() FROM users JOIN identities ON user_id = users.id",
        ).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_or_no_linked_account_is_not_found() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    let eve = setup.app.user("eve").await;
    let id = ada.linked().await.remove(0);
    for wrong in [&*id, &*eve.id, &*eve.session, "x", ""] {
        assert_eq!(eve.unlink(wrong).await.code(), "NOT_FOUND", "{wrong}");
    }
    assert_eq!(ada.linked().await.len(), 1);
    setup.app.advance(TimeDelta::minutes(6));
    assert_eq!(ada.unlink(&id).await.codes(), ["REAUTHENTICATION_REQUIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn linked_accounts_are_read_by_their_owner_and_by_administrators_alone() {
    let setup = Setup::new().await;
    let ada = setup.signed_in("ada", "ada@example.org").await;
    let admin = setup.app.admin().await;
    let moderator = setup.app.user_with_role("moderator", "moderator").await;
    let id = ada.linked().await.remove(0);
    let node = "query($id: ID!) { node(id: $id) { __typename id } }";
    let of = "query($id: ID!) { user(by: { id: $id }) { linkedAccounts { provider } } }";
    for (who, sees) in [(&ada, true), (&admin, true), (&moderator, false)] {
        let answer = who.gql(node, json!({ "id": id })).await;
        let found = if sees {
            json!({ "__typename": "LinkedAccount", "id": id })
        } else {
            Value::Null
        };
        assert_eq!(answer.data("node"), &found);
        let answer = who.gql(of, json!({ "id": ada.id })).await;
        assert_eq!(answer.codes().is_empty(), sees, "{}", answer.text);
    }
    // One statement for a page of accounts, as for one of one.
    let page = "{ users(first: 10) { nodes { linkedAccounts { provider } } } }";
    let (few, _) = setup.app.statements(admin.ask(page)).await;
    for name in ["b", "c", "d"] {
        setup.signed_in(name, &email(name)).await;
    }
    let (many, answer) = setup.app.statements(admin.ask(page)).await;
    assert_eq!(answer.data("users/nodes").as_array().map(Vec::len), Some(6));
    assert_eq!(many, few);
}

/// Whoever took an account over and moved it away could leave a provider of their own behind.
#[tokio::test(flavor = "multi_thread")]
async fn undoing_a_move_to_another_address_unties_everything() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    let thief = setup.app.sign_in("ada").await;
    let begun = thief.begin_link("acme").await;
    let code = setup
        .acme
        .agree(&begun.url, "thief", "thief@example.net", None);
    assert_eq!(thief.finish_link(&begun.with(&code)).await.code(), "");
    setup.app.advance(TimeDelta::minutes(1));
    let token = thief
        .email_change_token(&setup.app, "thief@example.net")
        .await;
    thief.confirm_email(&token).await;
    let undo = setup.app.mailed_token(&email("ada")).await;
    assert_eq!(setup.app.confirm_email(&undo).await.code(), "");
    assert_eq!(setup.app.count("identities").await, "0");
    let back = setup.signed_in("thief", "thief@example.net").await;
    assert_ne!(back.id, ada.id, "a new account of their own");
    // The owner's is tied again by itself.
    let owner = setup.signed_in("mine", "ada@example.org").await;
    assert_eq!(owner.id, ada.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_with_the_former_address_does_not_stand_in_the_way_of_its_owner() {
    let setup = Setup::new().await;
    let ada = setup.app.user("ada").await;
    let token = ada.email_change_token(&setup.app, "eve@example.org").await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    let undo = setup.app.mailed_token("ada@example.org").await;
    // The owner, who has not read that mail yet.
    let answer = setup.sign_in("ada", "ADA@example.org").await;
    assert_eq!(answer.code(), "REJECTED");
    assert_eq!(setup.app.confirm_email(&undo).await.code(), "");
    let answer = setup.sign_in("ada", "ada@example.org").await;
    let id = answer.data("finishOAuthSignIn/result/user/id");
    assert_eq!(id, &json!(ada.id), "the account is back");
    setup.app.run_jobs().await;

    let bob = setup.app.user("bob").await;
    let token = bob.email_change_token(&setup.app, "b@example.org").await;
    assert_eq!(bob.confirm_email(&token).await.code(), "");
    setup.app.advance(TimeDelta::days(30));
    let answer = setup.sign_in("bob", "bob@example.org").await;
    assert_eq!(answer.code(), "", "nothing is to be undone any more");
    setup.app.run_jobs().await;
}
