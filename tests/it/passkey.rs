//! Adding, naming and removing passkeys.

use cardea::db::single_connection;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::authenticator::{
    Authenticator, BACKED_UP, How, PRESENT, RP_ID, VERIFIED, decode, encode,
};
use crate::harness::{Program, TestApp};

const FINISH: &str = "finishPasskeyRegistration";

/// Does `work` while whatever queues a mail waits until two are under way at once.
async fn at_once<T>(app: &TestApp, work: impl Future<Output = T>) -> T {
    let conn = single_connection(&app.db.url()).await;
    let mut conn = conn.expect("a connection");
    let held = conn
        .batch_execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        .await;
    held.expect("held");
    let release = async {
        app.db.until_waiting(2).await;
        conn.batch_execute("COMMIT").await.expect("released");
    };
    tokio::join!(work, release).0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_gets_several_passkeys_with_names() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let begun = ada.start_passkey_registration().await;
    let options = &begun.options;
    assert_eq!(options["rp"], json!({ "id": RP_ID, "name": "Cardea" }));
    assert_eq!(decode(&options["user"]["id"]), ada.user_id().as_bytes());
    assert_eq!(options["user"]["name"], "ada@example.org");
    assert_eq!(options["user"]["displayName"], "ada Example");
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["excludeCredentials"], json!([]));
    let selection = &options["authenticatorSelection"];
    assert_eq!(selection["residentKey"], "required");
    assert_eq!(selection["requireResidentKey"], true);
    assert_eq!(selection["userVerification"], "required");

    let mut phone = Authenticator::new();
    let credential = phone.create(options, &How::default());
    let answer = ada
        .finish_passkey_registration(&begun.token, &credential, "  My phone ")
        .await;
    assert_eq!(answer.code(), "");
    assert_eq!(answer.data(&format!("{FINISH}/passkey/name")), "My phone");
    assert_eq!(answer.data(&format!("{FINISH}/user/id")), &ada.id);

    app.advance(TimeDelta::seconds(1));
    let begun = ada.start_passkey_registration().await;
    let excluded = json!([{ "type": "public-key", "id": encode(&phone.credential_id) }]);
    assert_eq!(begun.options["excludeCredentials"], excluded);
    let credential = Authenticator::new().create(&begun.options, &How::default());
    ada.finish_passkey_registration(&begun.token, &credential, "Laptop")
        .await;
    assert_eq!(ada.passkeys().await, ["My phone", "Laptop"]);

    let subject = "A passkey was added to your account at Cardea";
    app.run_jobs().await;
    assert_eq!(app.subjects(&email("ada")).await[0], subject);
}

/// Ways to answer a request for a new credential that are not quite right.
#[rustfmt::skip]
fn tampered() -> Vec<(&'static str, How)> {
    let how = How::default;
    vec![
        ("another origin", How { origin: "https://evil.example".to_owned(), ..how() }),
        ("another port", How { origin: "http://localhost:8001".to_owned(), ..how() }),
        ("a frame of another origin", How { cross_origin: true, ..how() }),
        ("another relying party", How { rp_id: "evil.example".to_owned(), ..how() }),
        ("another challenge", How { challenge: Some(encode(&[7; 32])), ..how() }),
        ("the other ceremony", How { ceremony: Some("webauthn.get"), ..how() }),
        ("nobody there", How { flags: VERIFIED, ..how() }),
        ("nobody verified", How { flags: PRESENT, ..how() }),
        ("backed up without being able to", How { flags: PRESENT | VERIFIED | BACKED_UP, ..how() }),
        // -8: EdDSA, which was not asked for.
        ("another algorithm", How { algorithm: 0x27, ..how() }),
        ("an attestation that does not hold", How { format: "packed", ..how() }),
        ("an unknown attestation", How { format: "made-up", ..how() }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_tampered_with_adds_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = Authenticator::new();
    let before = app.state().await;
    for (what, how) in tampered() {
        let answer = ada.register_passkey(&mut key, &how).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED", "{what}");
        let path = answer.data(&format!("{FINISH}/errors/0/path"));
        assert_eq!(path, &json!(["input", "credential"]), "{what}");
    }
    for length in [0, 15, 1024] {
        let mut key = Authenticator::new();
        key.credential_id = vec![7; length];
        let answer = ada.register_passkey(&mut key, &How::default()).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED", "{length}");
    }
    assert_eq!(ada.passkeys().await, [""; 0]);
    assert_eq!(app.state().await, before, "nor is any mail queued");
    for length in [16, 1023] {
        let mut key = Authenticator::new();
        key.credential_id = vec![7; length];
        assert_eq!(
            ada.register_passkey(&mut key, &How::default()).await.code(),
            "",
            "{length}"
        );
        app.sign_in_by(&mut key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_changed_on_the_way_are_no_fault_of_the_server() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let begun = ada.start_passkey_registration().await;
    let sound = Authenticator::new().create(&begun.options, &How::default());
    let object = decode(&sound["response"]["attestationObject"]);
    let flipped = (0..object.len()).step_by(3).map(|at| {
        let mut object = object.clone();
        object[at] ^= 0xff;
        object
    });
    let cut = (0..object.len())
        .step_by(7)
        .map(|length| object[..length].to_vec());
    for (number, object) in flipped.chain(cut).enumerate() {
        let begun = ada.start_passkey_registration().await;
        let mut credential = Authenticator::new().create(&begun.options, &How::default());
        credential["response"]["attestationObject"] = json!(encode(&object));
        let answer = ada
            .finish_passkey_registration(&begun.token, &credential, "Odd")
            .await;
        assert!(["", "TOKEN_REJECTED"].contains(&answer.code()), "{number}");
        app.db.sql("DELETE FROM passkeys").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceremony_is_good_once_for_five_minutes_and_for_the_session_that_began_it() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let again = app.sign_in("ada").await;
    let bob = app.user("bob").await;
    let rejected = |answer: &crate::harness::Answer| {
        assert_eq!(answer.code(), "TOKEN_REJECTED");
        let path = answer.data(&format!("{FINISH}/errors/0/path"));
        assert_eq!(path, &json!(["input", "challengeToken"]));
    };
    let begun = ada.start_passkey_registration().await;
    let credential = Authenticator::new().create(&begun.options, &How::default());
    let (token, name) = (&begun.token, "A key");
    rejected(
        &again
            .finish_passkey_registration(token, &credential, name)
            .await,
    );
    rejected(
        &bob.finish_passkey_registration(token, &credential, name)
            .await,
    );
    let answer = ada
        .finish_passkey_registration(token, &credential, name)
        .await;
    assert_eq!(answer.code(), "", "others have not used it up");
    rejected(
        &ada.finish_passkey_registration(token, &credential, name)
            .await,
    );

    let begun = ada.start_passkey_registration().await;
    let credential = Authenticator::new().create(&begun.options, &How::default());
    app.advance(TimeDelta::minutes(5));
    rejected(
        &ada.finish_passkey_registration(&begun.token, &credential, name)
            .await,
    );
    let begun = app.start_passkey_sign_in().await;
    rejected(
        &ada.finish_passkey_registration(&begun.token, &credential, name)
            .await,
    );
    assert_eq!(ada.passkeys().await.len(), 1);

    let begun = ada.start_passkey_registration().await;
    let credential = Authenticator::new().create(&begun.options, &How::default());
    let tries = (0..40).map(|_| ada.finish_passkey_registration(&begun.token, &credential, name));
    let answers = join_all(tries).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.code().is_empty())
            .count(),
        1
    );
    assert_eq!(ada.passkeys().await.len(), 2);

    app.advance(TimeDelta::seconds(1));
    assert_eq!(
        ada.try_passkey_registration().await.codes(),
        ["REAUTHENTICATION_REQUIRED"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_of_one_account_and_once() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let mut key = ada.add_passkey().await;
    for client in [&ada, &bob] {
        let answer = client.register_passkey(&mut key, &How::default()).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED");
    }
    assert_eq!(bob.passkeys().await, [""; 0]);
    // Bob's authenticator may not take Ada's id with a key of its own either.
    let mut copy = Authenticator::new();
    copy.credential_id.clone_from(&key.credential_id);
    assert_eq!(
        bob.register_passkey(&mut copy, &How::default())
            .await
            .code(),
        "TOKEN_REJECTED"
    );
    key.user_handle = ada.user_id().as_bytes().to_vec();
    assert_eq!(app.sign_in_by(&mut key).await.id, ada.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_line_of_up_to_a_hundred_characters() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let key = ada.add_passkey().await;
    let begun = ada.start_passkey_registration().await;
    let credential = Authenticator::new().create(&begun.options, &How::default());
    for (name, rule) in [
        (String::new(), "LENGTH"),
        ("   ".to_owned(), "LENGTH"),
        ("ä".repeat(101), "LENGTH"),
        ("a\nb".to_owned(), "FORMAT"),
        ("a\u{202e}b".to_owned(), "FORMAT"),
    ] {
        let answer = ada
            .finish_passkey_registration(&begun.token, &credential, &name)
            .await;
        assert_eq!(answer.rules(), [rule], "{name:?}");
        let answer = ada.rename_passkey(&key.passkey, &name).await;
        assert_eq!(answer.rules(), [rule], "{name:?}");
    }
    let answer = ada
        .finish_passkey_registration(&begun.token, &json!([]), "")
        .await;
    assert_eq!(
        answer.rules(),
        ["LENGTH", "JSON_OBJECT"],
        "all problems at once"
    );
    // What the form of the answer was refused for leaves the ceremony open.
    let longest = "ä".repeat(100);
    let answer = ada
        .finish_passkey_registration(&begun.token, &credential, &longest)
        .await;
    assert_eq!(answer.code(), "");
    let answer = ada.rename_passkey(&key.passkey, "  Öffi\t ").await;
    assert_eq!(answer.data("renamePasskey/passkey/name"), "Öffi");
    assert_eq!(ada.passkeys().await, ["Öffi", &longest]);
    let bob = app.user("bob").await;
    for id in [&*key.passkey, &ada.id, "", "x"] {
        assert_eq!(
            bob.rename_passkey(id, "Mine").await.code(),
            "NOT_FOUND",
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_at_most_twenty() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    for _ in 0..19 {
        ada.add_passkey().await;
    }
    let mut begun = Vec::new();
    for _ in 0..3 {
        let ceremony = ada.start_passkey_registration().await;
        let credential = Authenticator::new().create(&ceremony.options, &How::default());
        begun.push((ceremony.token, credential));
    }
    let tries = begun
        .iter()
        .map(|(token, credential)| ada.finish_passkey_registration(token, credential, "One more"));
    let answers = at_once(&app, join_all(tries)).await;
    let mut codes: Vec<&str> = answers.iter().map(|answer| answer.code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["", "REJECTED", "REJECTED"]);
    assert_eq!(ada.passkeys().await.len(), 20);
    assert_eq!(ada.try_passkey_registration().await.code(), "REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_removed_by_its_owner_who_is_told() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let key = ada.add_passkey().await;
    for id in [&*key.passkey, &ada.id, "", "x"] {
        assert_eq!(bob.remove_passkey(id).await.code(), "NOT_FOUND", "{id}");
    }
    assert_eq!(ada.passkeys().await.len(), 1);
    let answer = ada.remove_passkey(&key.passkey).await;
    assert_eq!(answer.data("removePasskey/user/passkeys"), &json!([]));
    assert_eq!(ada.remove_passkey(&key.passkey).await.code(), "NOT_FOUND");
    let subject = "A passkey was removed from your account at Cardea";
    let subjects = app.subjects(&email("ada")).await;
    assert_eq!(subjects.iter().filter(|line| *line == subject).count(), 1);
    let key = ada.add_passkey().await;
    app.advance(TimeDelta::minutes(6));
    assert_eq!(
        ada.remove_passkey(&key.passkey).await.codes(),
        ["REAUTHENTICATION_REQUIRED"]
    );
    assert_eq!(ada.rename_passkey(&key.passkey, "Kept").await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_way_in_stays_also_when_two_are_removed_at_once() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let (one, two) = (ada.add_passkey().await, ada.add_passkey().await);
    app.db.sql("UPDATE users SET hashed_password = NULL").await;
    let removals = join_all([
        ada.remove_passkey(&one.passkey),
        ada.remove_passkey(&two.passkey),
    ]);
    let answers = at_once(&app, removals).await;
    let mut codes: Vec<&str> = answers.iter().map(|answer| answer.code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["", "PROTECTED"]);
    assert_eq!(ada.passkeys().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn passkeys_are_seen_by_their_owner_and_by_who_administers_accounts() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let key = ada.add_passkey().await;
    let (bob, admin) = (app.user("bob").await, app.admin().await);
    let moderator = app.user_with_role("moderator", "moderator").await;
    let node = format!(
        "{{ node(id: \"{}\") {{ id ... on Passkey {{ name createdAt lastUsedAt }} }} }}",
        key.passkey
    );
    let list = format!(
        "{{ user(by: {{ id: \"{}\" }}) {{ passkeys {{ id }} }} }}",
        ada.id
    );
    let seen = json!({ "id": key.passkey, "name": "A key", "createdAt": "2026-11-30T08:00:00Z", "lastUsedAt": null });
    for client in [&ada, &admin] {
        assert_eq!(client.ask(&node).await.data("node"), &seen);
        assert_eq!(
            client.ask(&list).await.data("user/passkeys"),
            &json!([{ "id": key.passkey }])
        );
    }
    for client in [&bob, &moderator] {
        assert_eq!(client.ask(&node).await.data("node"), &Value::Null);
    }
    assert_eq!(moderator.ask(&list).await.codes(), ["FORBIDDEN"]);
    // Nobody else's may be removed, by administrators neither.
    assert_eq!(admin.remove_passkey(&key.passkey).await.code(), "NOT_FOUND");
    for _ in 0..3 {
        app.user(&format!("more{}", app.live_sessions().await))
            .await
            .add_passkey()
            .await;
    }
    let page = "{ users(first: 50) { nodes { passkeys { id } } } }";
    let (all, _) = app.statements(admin.ask(page)).await;
    let (one, _) = app
        .statements(admin.ask("{ users(first: 1) { nodes { passkeys { id } } } }"))
        .await;
    assert_eq!(all, one, "one statement for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_change_of_the_address_takes_the_passkeys_along() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    let token = ada.email_change_token(&app, "eve@example.org").await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    let undo = app.mailed_token(&email("ada")).await;
    app.sign_in_by(&mut key).await;
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    let answer = app.passkey_sign_in(&mut key, &How::default()).await;
    assert_eq!(
        answer.code(),
        "TOKEN_REJECTED",
        "whoever moved the account may have added it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_meanwhile_adds_and_removes_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let key = ada.add_passkey().await;
    let begun = ada.start_passkey_registration().await;
    let credential = Authenticator::new().create(&begun.options, &How::default());
    // What ends the session has locked the account, and the requests are past the door.
    let conn = single_connection(&app.db.url()).await;
    let mut conn = conn.expect("a connection");
    let held = conn.batch_execute("BEGIN; SELECT FROM users FOR UPDATE");
    held.await.expect("held");
    let end = async {
        app.db.until_waiting(2).await;
        let end = "UPDATE sessions SET revoked_at = created_at, revoked_reason = 'user'; COMMIT";
        conn.batch_execute(end).await.expect("ended");
    };
    let (added, removed, ()) = tokio::join!(
        ada.finish_passkey_registration(&begun.token, &credential, "Late"),
        ada.remove_passkey(&key.passkey),
        end,
    );
    assert_eq!(added.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(removed.codes(), ["UNAUTHENTICATED"]);
    assert_eq!(
        app.db.text("SELECT count(*)::text FROM passkeys").await,
        "1"
    );
    assert_eq!(added.at(FINISH), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_reached_by_a_number_says_so() {
    let app = TestApp::with(&["--public-url=http://192.0.2.7:8000"]).await;
    let ada = app.user("ada").await;
    assert_eq!(ada.try_passkey_registration().await.code(), "REJECTED");
    let start = "mutation { startPasskeySignIn { errors { code } } }";
    assert_eq!(app.gql(start, Value::Null).await.code(), "REJECTED");
    let answer = app.finish_passkey_sign_in("x", &json!({})).await;
    assert_eq!(answer.code(), "REJECTED");
    assert!(app.login("ada", PASSWORD).await.code().is_empty());
}

#[test]
fn an_id_that_no_page_could_use_is_refused_at_start() {
    let check = |id: &str| {
        Program::new()
            .with("CARDEA_PUBLIC_URL", "https://api.example.org")
            .with("CARDEA_CORS_ORIGINS", "https://app.example.net")
            .with("CARDEA_WEBAUTHN_RP_ID", id)
            .run(&["config", "check"])
    };
    for sound in [
        "example.org",
        "api.example.org",
        "example.net",
        "app.example.net",
    ] {
        check(sound).success();
    }
    for (wrong, why) in [
        ("org", "is no domain such as example.org"),
        ("https://example.org", "is no domain such as example.org"),
        ("example.org:443", "is no domain such as example.org"),
        ("Example.org", "is no domain such as example.org"),
        ("192.0.2.7", "is no domain such as example.org"),
        ("", "is no domain such as example.org"),
        ("evil.example", "so that no page could use a passkey"),
        ("ample.org", "so that no page could use a passkey"),
    ] {
        let checked = check(wrong);
        assert!(checked.stdout.contains(why), "{wrong}: {}", checked.stdout);
    }
}
