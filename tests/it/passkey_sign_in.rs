//! Signing in with a passkey: by it alone, and what of an answer is checked.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::TestApp;
use crate::harness::authenticator::{
    Authenticator, BACKED_UP, BACKUP_ELIGIBLE, How, ORIGIN, PRESENT, RP_ID, VERIFIED, encode,
};

const SIGN_IN: &str = "finishPasskeySignIn";

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_signs_its_owner_in_without_a_name() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let mut key = ada.add_passkey().await;
    let mut other = bob.add_passkey_of(Authenticator::without_counter()).await;

    let begun = app.start_passkey_sign_in().await;
    assert_eq!(begun.options["rpId"], RP_ID);
    assert_eq!(begun.options["userVerification"], "required");
    assert_eq!(begun.options["allowCredentials"], json!([]));
    assert_eq!(begun.options["timeout"], 300_000);
    let challenge = begun.options["challenge"].as_str().expect("a challenge");
    assert!(challenge.len() >= 22, "128 bits at least: {challenge}");
    assert!(begun.token.starts_with("crp_"));

    for _ in 0..3 {
        assert_eq!(app.sign_in_by(&mut key).await.id, ada.id);
        assert_eq!(app.sign_in_by(&mut other).await.id, bob.id);
    }
    let signed_in = app.sign_in_by(&mut key).await;
    assert!(signed_in.is_signed_in().await);
    let used = signed_in.ask("{ me { passkeys { lastUsedAt } } }").await;
    assert_eq!(
        used.data("me/passkeys/0/lastUsedAt"),
        "2026-11-30T08:00:00Z"
    );
    let count = app
        .db
        .text("SELECT string_agg(sign_count::text, ',' ORDER BY sign_count) FROM passkeys")
        .await;
    assert_eq!(count, "0,4");
}

/// Ways to answer a request for a proof that are not quite right.
#[rustfmt::skip]
fn tampered(bob: Uuid) -> Vec<(&'static str, How)> {
    let how = How::default;
    vec![
        ("another origin", How { origin: "http://evil.example".to_owned(), ..how() }),
        ("another port", How { origin: "http://localhost:8001".to_owned(), ..how() }),
        ("another scheme", How { origin: "https://localhost:8000".to_owned(), ..how() }),
        ("a number", How { origin: "http://127.0.0.1:8000".to_owned(), ..how() }),
        ("below the origin", How { origin: "http://evil.localhost:8000".to_owned(), ..how() }),
        ("a frame of another origin", How { cross_origin: true, ..how() }),
        ("another relying party", How { rp_id: "evil.example".to_owned(), ..how() }),
        ("another challenge", How { challenge: Some(encode(&[7; 32])), ..how() }),
        ("no challenge", How { challenge: Some(String::new()), ..how() }),
        ("the other ceremony", How { ceremony: Some("webauthn.create"), ..how() }),
        ("nobody there", How { flags: VERIFIED, ..how() }),
        ("nobody verified", How { flags: PRESENT, ..how() }),
        ("backed up all at once", How { flags: PRESENT | VERIFIED | BACKUP_ELIGIBLE, ..how() }),
        ("backed up without being able to", How { flags: PRESENT | VERIFIED | BACKED_UP, ..how() }),
        ("a spoilt signature", How { spoilt: true, ..how() }),
        ("the handle of another", How { user_handle: Some(Some(bob.as_bytes().to_vec())), ..how() }),
        ("an empty handle", How { user_handle: Some(Some(Vec::new())), ..how() }),
        ("no handle", How { user_handle: Some(None), ..how() }),
        ("the same count", How { count: Some(1), ..how() }),
        ("a smaller count", How { count: Some(0), ..how() }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_tampered_with_is_refused_alike_and_changes_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let mut key = ada.add_passkey().await;
    app.sign_in_by(&mut key).await;
    bob.add_passkey().await;
    let wrong = tampered(bob.user_id());
    let sessions = app.live_sessions().await;
    let kept = "SELECT string_agg(passkeys::text, ' ' ORDER BY id) FROM passkeys";
    let before = app.db.text(kept).await;
    let mut answers = Vec::new();
    for (what, how) in wrong {
        let answer = app.passkey_sign_in(&mut key, &how).await;
        assert_eq!(answer.code(), "TOKEN_REJECTED", "{what}");
        assert_eq!(
            answer.data(&format!("{SIGN_IN}/errors/0/path")),
            &json!(["input", "credential"]),
            "{what}"
        );
        assert_eq!(
            answer.data(&format!("{SIGN_IN}/result")),
            &Value::Null,
            "{what}"
        );
        answers.push(answer.text);
    }
    // An authenticator that nobody has registered.
    let mut stranger = Authenticator::new();
    stranger.user_handle.clone_from(&key.user_handle);
    answers.push(
        app.passkey_sign_in(&mut stranger, &How::default())
            .await
            .text,
    );
    // The id of Ada's passkey, the key of another.
    stranger.credential_id.clone_from(&key.credential_id);
    stranger.count = Some(100);
    answers.push(
        app.passkey_sign_in(&mut stranger, &How::default())
            .await
            .text,
    );
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(app.live_sessions().await, sessions);
    assert_eq!(app.db.text(kept).await, before);
    // Nothing of it shut the owner out.
    app.sign_in_by(&mut key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_changed_on_the_way_are_refused() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    for part in ["authenticatorData", "clientDataJSON", "signature"] {
        for cut in [0, 1, 20, 36] {
            let begun = app.start_passkey_sign_in().await;
            let mut credential = key.get(&begun.options, &How::default());
            let mut bytes = crate::harness::authenticator::decode(&credential["response"][part]);
            match cut {
                0 => bytes.clear(),
                1 => bytes.push(0),
                cut => bytes[cut] ^= 1,
            }
            credential["response"][part] = json!(encode(&bytes));
            let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
            assert_eq!(answer.code(), "TOKEN_REJECTED", "{part} {cut}");
        }
    }
    app.sign_in_by(&mut key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_credential_is_told_so_and_leaves_the_ceremony_open() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    let begun = app.start_passkey_sign_in().await;
    let sound = key.get(&begun.options, &How::default());
    let with = |pointer: &str, value: Value| {
        let mut changed = sound.clone();
        *changed.pointer_mut(pointer).expect("a part") = value;
        changed
    };
    let deep = (0..20).fold(json!({}), |inner, _| json!({ "a": inner }));
    let mut large = sound.clone();
    large["more"] = json!("x".repeat(16 * 1024));
    for (credential, rule) in [
        (json!([]), "JSON_OBJECT"),
        (json!("x"), "JSON_OBJECT"),
        (json!({}), "FORMAT"),
        (with("/type", json!("password")), "FORMAT"),
        (with("/rawId", json!("not base64url!")), "FORMAT"),
        (with("/rawId", json!(7)), "FORMAT"),
        (with("/response", json!({})), "FORMAT"),
        (with("/response/signature", Value::Null), "FORMAT"),
        (with("/response/clientDataJSON", json!(["x"])), "FORMAT"),
        (with("/clientExtensionResults", deep), "JSON_DEPTH"),
        (large, "JSON_SIZE"),
    ] {
        let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
        assert_eq!(answer.code(), "INVALID_VALUE", "{credential}");
        assert_eq!(answer.rules(), [rule], "{credential}");
    }
    let answer = app.finish_passkey_sign_in(&begun.token, &sound).await;
    assert_eq!(answer.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceremony_is_good_once_for_five_minutes_and_for_its_own_purpose() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    let rejected = |answer: &crate::harness::Answer| {
        assert_eq!(answer.code(), "TOKEN_REJECTED");
        let path = answer.data(&format!("{SIGN_IN}/errors/0/path"));
        assert_eq!(path, &json!(["input", "challengeToken"]));
    };
    let how = How::default();

    // A wrong answer uses it up, too: one challenge, one try.
    let begun = app.start_passkey_sign_in().await;
    let spoilt = key.get(
        &begun.options,
        &How {
            spoilt: true,
            ..how.clone()
        },
    );
    let sound = key.get(&begun.options, &how);
    assert_eq!(
        app.finish_passkey_sign_in(&begun.token, &spoilt)
            .await
            .code(),
        "TOKEN_REJECTED"
    );
    rejected(&app.finish_passkey_sign_in(&begun.token, &sound).await);

    // The challenge of one ceremony does not answer another.
    let (one, two) = (
        app.start_passkey_sign_in().await,
        app.start_passkey_sign_in().await,
    );
    let answer = app
        .finish_passkey_sign_in(&one.token, &key.get(&two.options, &how))
        .await;
    assert_eq!(
        answer.data(&format!("{SIGN_IN}/errors/0/path")),
        &json!(["input", "credential"])
    );

    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &how);
    app.advance(TimeDelta::seconds(299));
    assert_eq!(
        app.finish_passkey_sign_in(&begun.token, &credential)
            .await
            .code(),
        ""
    );
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &how);
    app.advance(TimeDelta::minutes(5));
    rejected(&app.finish_passkey_sign_in(&begun.token, &credential).await);

    // What begins a registration ends no sign-in, whatever is signed.
    let ada = app.sign_in_by(&mut key).await;
    let begun = ada.start_passkey_registration().await;
    let credential = key.get(&begun.options, &how);
    rejected(&app.finish_passkey_sign_in(&begun.token, &credential).await);
    rejected(
        &app.finish_passkey_sign_in(&ada.refresh_token, &credential)
            .await,
    );
    rejected(&app.finish_passkey_sign_in("", &credential).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_finish_one_ceremony_at_once_one_is_let_in() {
    let app = TestApp::new().await;
    let mut key = app
        .user("ada")
        .await
        .add_passkey_of(Authenticator::without_counter())
        .await;
    let before: i64 = app.live_sessions().await.parse().expect("a count");
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &How::default());
    let tries = (0..40).map(|_| app.finish_passkey_sign_in(&begun.token, &credential));
    let answers = join_all(tries).await;
    let let_in = answers.iter().filter(|answer| answer.code().is_empty());
    assert_eq!(let_in.count(), 1);
    let after: i64 = app.live_sessions().await.parse().expect("a count");
    assert_eq!(after, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_key_that_sign_at_once_do_not_both_come_in() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    let mut uses = Vec::new();
    for _ in 0..20 {
        let begun = app.start_passkey_sign_in().await;
        let how = How {
            count: Some(1),
            ..How::default()
        };
        uses.push((begun.token, key.get(&begun.options, &how)));
    }
    let tries = uses
        .iter()
        .map(|(token, credential)| app.finish_passkey_sign_in(token, credential));
    let answers = join_all(tries).await;
    let let_in = answers.iter().filter(|answer| answer.code().is_empty());
    assert_eq!(let_in.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_authenticator_says_of_its_backup_is_kept() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = Authenticator::without_counter();
    let eligible = How {
        flags: PRESENT | VERIFIED | BACKUP_ELIGIBLE,
        ..How::default()
    };
    assert_eq!(ada.register_passkey(&mut key, &eligible).await.code(), "");
    let state = "SELECT credential #>> '{cred,backup_state}' FROM passkeys";
    assert_eq!(app.db.text(state).await, "false");
    let backed_up = How {
        flags: eligible.flags | BACKED_UP,
        ..eligible
    };
    assert_eq!(app.passkey_sign_in(&mut key, &backed_up).await.code(), "");
    assert_eq!(app.db.text(state).await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_stays_closed_to_its_passkey() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    ada.deactivate(crate::harness::app::PASSWORD).await;
    let answer = app.passkey_sign_in(&mut key, &How::default()).await;
    assert_eq!(answer.code(), "ACCOUNT_UNAVAILABLE");
    assert_eq!(app.live_sessions().await, "0");
    // Told only to who has proved to hold the passkey.
    let answer = app
        .passkey_sign_in(
            &mut key,
            &How {
                spoilt: true,
                ..How::default()
            },
        )
        .await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");

    app.db
        .sql("UPDATE users SET status = 'pending', closed_at = NULL, closed_by = NULL")
        .await;
    let answer = app.passkey_sign_in(&mut key, &How::default()).await;
    assert_eq!(
        answer.data(&format!("{SIGN_IN}/result/__typename")),
        "EmailVerificationRequired"
    );
    assert_eq!(app.live_sessions().await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_passkey_opens_nothing() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let mut key = ada.add_passkey().await;
    let begun = app.start_passkey_sign_in().await;
    let credential = key.get(&begun.options, &How::default());
    assert_eq!(ada.remove_passkey(&key.passkey).await.code(), "");
    let answer = app.finish_passkey_sign_in(&begun.token, &credential).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_halves_take_a_fixed_number_of_statements() {
    let app = TestApp::new().await;
    let mut key = app.user("ada").await.add_passkey().await;
    app.sign_in_by(&mut key).await;
    let (start, begun) = app.statements(app.start_passkey_sign_in()).await;
    let credential = key.get(&begun.options, &How::default());
    let finish = app.finish_passkey_sign_in(&begun.token, &credential);
    let (finish, answer) = app.statements(finish).await;
    assert_eq!(answer.code(), "");
    assert_eq!((start, finish), (2, 14));
    let begun = app.start_passkey_sign_in().await;
    let credential = Authenticator::new().get(&begun.options, &How::default());
    let unknown = app.finish_passkey_sign_in(&begun.token, &credential);
    assert_eq!(
        app.statements(unknown).await.0,
        8,
        "it is counted, and written down"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_tries_too_often_has_to_wait() {
    let app = TestApp::with(&["--logins-per-network=3"]).await;
    let mut key = app.user("ada").await.add_passkey().await;
    let start = "mutation { startPasskeySignIn { errors { code ... on TooManyAttemptsError { retryAfterSeconds } } } }";
    // Adding it was the first ceremony.
    for _ in 0..2 {
        app.sign_in_by(&mut key).await;
    }
    assert!(app.gql(start, Value::Null).await.wait() > 0);
    app.advance(TimeDelta::minutes(15));
    let begun = app.start_passkey_sign_in().await;
    let wrong = Authenticator::new().get(&begun.options, &How::default());
    for _ in 0..3 {
        assert_eq!(
            app.finish_passkey_sign_in(&begun.token, &wrong)
                .await
                .code(),
            "TOKEN_REJECTED"
        );
    }
    assert!(
        app.finish_passkey_sign_in(&begun.token, &wrong)
            .await
            .wait()
            > 0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_within_the_domain_may_use_passkeys_and_no_others() {
    let app = TestApp::with(&[
        "--public-url=https://api.example.org",
        "--cors-origins=https://app.example.org,https://example.net",
        "--webauthn-rp-id=example.org",
    ])
    .await;
    let from = |origin: &str| How {
        origin: origin.to_owned(),
        rp_id: "example.org".to_owned(),
        ..How::default()
    };
    let ada = app.user("ada").await;
    let mut key = Authenticator::new();
    let answer = ada
        .register_passkey(&mut key, &from("https://app.example.org"))
        .await;
    assert_eq!(answer.code(), "");
    for (origin, code) in [
        ("https://api.example.org", ""),
        ("https://app.example.org", ""),
        ("https://example.net", "TOKEN_REJECTED"),
        ("https://example.org", "TOKEN_REJECTED"),
        ("https://evil.app.example.org", "TOKEN_REJECTED"),
        (ORIGIN, "TOKEN_REJECTED"),
    ] {
        let answer = app.passkey_sign_in(&mut key, &from(origin)).await;
        assert_eq!(answer.code(), code, "{origin}");
    }
}
