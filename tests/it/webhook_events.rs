//! What other services are told of accounts: every change, whoever makes it, and nothing personal.

use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::receiver::{Received, Receiver};

async fn told(app: &TestApp, receiver: &Receiver) -> Vec<Value> {
    app.deliver().await;
    let events = receiver.take().into_iter();
    events
        .map(|event| {
            let data = &event.json["data"];
            json!([
                event.json["type"],
                data["sequence"],
                data["status"],
                data["changed"]
            ])
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_an_account_is_told_in_order_and_by_its_ids() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let ada = app.user("ada").await;
    app.deliver().await;
    let events = receiver.take();
    let uuid = app.db.text("SELECT auth_token::text FROM users").await;
    let id = ada.ask("{ me { id } }").await;
    let id = id.data("me/id");
    let [created, proved] = &events[..] else {
        panic!("{events:?}");
    };
    let timestamp = &created.json["timestamp"];
    assert_eq!(
        created.json,
        json!({ "type": "account.created", "timestamp": timestamp, "data": {
            "id": id, "uuid": uuid, "sequence": 1, "status": "PENDING", "isActive": false,
        }})
    );
    let parsed = timestamp.as_str().map(chrono::DateTime::parse_from_rfc3339);
    assert!(matches!(parsed, Some(Ok(_))), "{timestamp}");
    assert_eq!(
        proved.json["data"],
        json!({ "id": id, "uuid": uuid, "sequence": 2, "status": "ACTIVE", "isActive": true,
            "changed": ["emailVerifiedAt", "status"] })
    );

    let profile = "mutation { updateProfile(input: { fullName: \"Ada Byron\", bio: \"x\", theme: DARK }) { errors { code } } }";
    let answer = ada.ask(profile).await;
    assert_eq!(answer.data("updateProfile/errors"), &json!([]));
    // Nothing that anybody would fetch.
    app.gql(
        "mutation { login(input: { identifier: \"ada\", password: \"Correct-Horse-7\" }) { errors { code } } }",
        Value::Null,
    )
    .await;
    let mut seen = told(&app, &receiver).await;
    for domain in ["x", "y"] {
        let background = format!(
            "mutation {{ updateBackground(input: {{ primaryDomain: \"{domain}\" }}) {{ errors {{ code }} }} }}"
        );
        ada.ask(&background).await;
        seen.extend(told(&app, &receiver).await);
    }
    app.grant(&ada, "moderator").await;
    seen.extend(told(&app, &receiver).await);
    assert_eq!(
        seen,
        [
            json!([
                "account.updated",
                3,
                "ACTIVE",
                ["fullName", "profile.bio", "profile.theme"]
            ]),
            json!([
                "account.updated",
                4,
                "ACTIVE",
                ["background", "background.primaryDomain"]
            ]),
            json!(["account.updated", 5, "ACTIVE", ["background.primaryDomain"]]),
            json!(["account.updated", 6, "ACTIVE", ["roles"]]),
        ]
    );
    // By hand, and several things in one transaction.
    app.db
        .sql("UPDATE users SET status = 'deactivated', closed_at = now(), closed_by = 'owner'")
        .await;
    app.db
        .sql("BEGIN; UPDATE users SET full_name = 'Eve'; UPDATE users SET status = 'active', closed_at = NULL, closed_by = NULL; \
              DELETE FROM backgrounds; DELETE FROM user_roles; COMMIT")
        .await;
    app.db
        .sql("BEGIN; UPDATE users SET full_name = 'Eva'; ROLLBACK")
        .await;
    app.db
        .sql("UPDATE users SET full_name = full_name, updated_at = now(), login_count = 7, last_login_at = now()")
        .await;
    app.db.sql("DELETE FROM users").await;
    assert_eq!(
        told(&app, &receiver).await,
        [
            json!(["account.deactivated", 7, "DEACTIVATED", ["status"]]),
            json!([
                "account.reactivated",
                8,
                "ACTIVE",
                ["background", "fullName", "roles", "status"]
            ]),
            json!(["account.erased", 9, null, null]),
        ]
    );
    assert_eq!(app.events().await, "0 0");
    assert_eq!(app.count("webhook_sequences").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_untried_takes_up_what_comes_after_it() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let ada = app.user("ada").await;
    told(&app, &receiver).await;
    for theme in ["LIGHT", "SYSTEM"] {
        let profile = format!(
            "mutation {{ updateProfile(input: {{ fullName: \"{theme}\", theme: {theme} }}) {{ errors {{ code }} }} }}"
        );
        ada.ask(&profile).await;
    }
    app.grant(&ada, "admin").await;
    assert_eq!(
        told(&app, &receiver).await,
        [json!([
            "account.updated",
            3,
            "ACTIVE",
            ["fullName", "profile.theme", "roles"]
        ])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_an_account_is_told_or_known_to_be_bookkeeping() {
    let app = TestApp::new().await;
    let bookkeeping = [
        "id",
        "auth_token",
        "hashed_password",
        "password_changed_at",
        "last_login_at",
        "login_count",
        "created_at",
        "updated_at",
        "erases_at",
        "inactivity_warned_at",
        "inactivity_warnings",
        "password_warned_at",
        "closed_at",
        "closed_by",
        "closed_reason",
        "contested",
        "imported_at",
        "search_text",
        "user_id",
    ];
    let list = |names: &[&str]| format!("'{}'", names.join("','"));
    let untold = format!(
        "SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name IN ('users', 'profiles', 'backgrounds', 'personalizations') \
         AND column_name NOT IN ({}) AND NOT EXISTS ( \
             SELECT FROM pg_trigger WHERE tgname = table_name || '_webhooks' \
             AND encode(tgargs, 'escape') ~ ('(^|\\\\000)' || column_name || '\\\\000') \
         )",
        list(&bookkeeping)
    );
    assert_eq!(app.db.text(&untold).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_queued_where_nobody_is_told() {
    let app = TestApp::telling(&[]).await;
    app.user("ada").await;
    app.db.sql("DELETE FROM users").await;
    assert_eq!(app.events().await, "0 0");
    assert_eq!(app.count("webhook_sequences").await, "0");

    // Nor for one that the settings name no more; what was queued for it waits.
    let receiver = Receiver::new().await;
    let (told, _) = app.second(&[&receiver.flag()]).await;
    cardea::services::webhook::register(&told)
        .await
        .expect("set");
    app.register("bob").await;
    assert_eq!(app.events().await, "1 0");
    cardea::services::webhook::register(&app.app)
        .await
        .expect("set");
    app.register("eve").await;
    assert_eq!(app.events().await, "1 0");
    cardea::services::webhook::register(&told)
        .await
        .expect("set");
    app.register("joe").await;
    assert_eq!(app.events().await, "2 0");
    cardea::worker::deliver_due(&told).await.expect("delivered");
    assert_eq!(receiver.told(), ["account.created 1", "account.created 1"]);

    // It is kept for thirty days.
    app.register("mia").await;
    cardea::services::webhook::register(&app.app)
        .await
        .expect("set");
    app.advance(chrono::TimeDelta::days(29));
    cardea::services::cleaning::clean(&app.app)
        .await
        .expect("cleaned");
    assert_eq!(app.events().await, "1 0");
    app.advance(chrono::TimeDelta::days(2));
    cardea::services::cleaning::clean(&app.app)
        .await
        .expect("cleaned");
    assert_eq!(app.events().await, "0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_person_nothing_is_left_in_the_queue_and_nothing_is_sent() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    let ada = app.user("ada").await;
    ada.ask("mutation { updateProfile(input: { fullName: \"Ada Byron\", bio: \"Countess\" }) { errors { code } } }")
        .await;
    app.db.sql("DELETE FROM users").await;
    let queued = app
        .db
        .text(
            "SELECT string_agg(row_to_json(jobs)::text, ' ') FROM jobs WHERE endpoint IS NOT NULL",
        )
        .await;
    app.deliver().await;
    let sent = receiver.take();
    assert_eq!(
        sent.last().map(Received::told),
        Some("account.erased 3".to_owned())
    );
    let sent: String = sent.iter().map(|event| event.body.as_str()).collect();
    for text in [queued, sent] {
        for personal in [
            "ada@",
            "Ada",
            "example.org",
            "Byron",
            "Countess",
            "127.0.0.1",
        ] {
            assert!(!text.contains(personal), "{personal} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_at_once_are_told_of_each_and_two_services_get_the_same() {
    let (crm, billing) = (Receiver::new().await, Receiver::new().await);
    let both = json!([crm.setting("crm"), billing.setting("billing")]);
    let app = TestApp::telling(&[&crate::harness::receiver::flag(&both)]).await;
    app.db
        .sql("BEGIN; \
              INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at) \
                  SELECT gen_random_uuid(), gen_random_uuid(), n || '@example.org', 'Name', now(), now() FROM generate_series(1, 20) AS n; \
              INSERT INTO profiles (user_id, created_at, updated_at) SELECT id, now(), now() FROM users; COMMIT")
        .await;
    app.db
        .sql("UPDATE users SET status = 'deactivated', closed_at = now(), closed_by = 'owner'")
        .await;
    app.db.sql("UPDATE profiles SET theme = 'dark'").await;
    assert_eq!(app.events().await, "120 0");
    assert_eq!(app.deliver().await, 120);
    let told = |receiver: &Receiver| {
        let mut told: Vec<_> = receiver
            .take()
            .iter()
            .map(|event| format!("{} {}", event.uuid(), event.told()))
            .collect();
        let order = told.clone();
        told.sort();
        (told, order)
    };
    let ((crm, order), (billing, _)) = (told(&crm), told(&billing));
    assert_eq!(crm, billing);
    assert_eq!(crm.len(), 60);
    for account in crm.chunks(3) {
        let place = |event: &String| order.iter().position(|sent| sent == event);
        assert!(account[0].ends_with("account.created 1"), "{account:?}");
        assert!(place(&account[0]) < place(&account[1]) && place(&account[1]) < place(&account[2]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_account_at_once_wait_for_each_other() {
    let receiver = Receiver::new().await;
    let app = TestApp::telling(&[&receiver.flag()]).await;
    app.user("ada").await;
    app.deliver().await;
    receiver.take();
    // One that waits at its end for the other, which holds the account's number and is not done.
    let first = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE profiles SET theme = 'dark'; \
        SELECT pg_advisory_lock(1); COMMIT";
    let gate = cardea::db::single_connection(&app.db.url()).await;
    let mut gate = gate.expect("a connection");
    gate.batch_execute("SELECT pg_advisory_lock(1)")
        .await
        .expect("locked");
    let second = async {
        app.db.until_waiting(1).await;
        let rename = app.db.sql("UPDATE users SET full_name = 'Eve'");
        let open = async {
            app.db.until_waiting(2).await;
            gate.batch_execute("SELECT pg_advisory_unlock(1)")
                .await
                .expect("open");
        };
        tokio::join!(rename, open)
    };
    tokio::join!(app.db.sql(first), second);
    // The second one finds the first one's event, and becomes part of it.
    let both = ["fullName", "profile.theme"];
    assert_eq!(
        told(&app, &receiver).await,
        [json!(["account.updated", 3, "ACTIVE", both])]
    );
}
