//! Which new passwords are taken: the rules through registration, former passwords at the service.

use cardea::error::{Error, UserError};
use cardea::models::password_history::PasswordHistory;
use cardea::models::user::User;
use cardea::services::password_policy;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::{PASSWORD, config};
use crate::registration::{REGISTER, input};

const NIST: &str = "--password-preset=nist";

/// The rules that a registration with these changes breaks; every one at the password.
async fn broken_with(app: &TestApp, changes: &Value) -> Vec<String> {
    let answer = app.gql(REGISTER, input(changes)).await;
    let errors = answer.data("register/errors").as_array().expect("a list");
    let rule = |error: &Value| {
        assert_eq!(error["path"], json!(["input", "password"]), "{error}");
        assert_eq!(error["code"], "INVALID_VALUE");
        let (minimum, maximum) = (&error["minimum"], &error["maximum"]);
        match error["rule"].as_str() {
            Some("LENGTH") => format!("LENGTH {minimum} {maximum}"),
            rule => {
                assert!(minimum.is_null() && maximum.is_null(), "{error}");
                rule.expect("a rule").to_owned()
            }
        }
    };
    errors.iter().map(rule).collect()
}

async fn broken(app: &TestApp, password: &str) -> Vec<String> {
    broken_with(app, &json!({ "password": password })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_of_classes_asks_for_eight_characters_and_four_classes() {
    let app = TestApp::new().await;
    let nothing: [&str; 0] = [];
    assert_eq!(broken(&app, PASSWORD).await, nothing);
    assert_eq!(broken(&app, "kT7-pq9").await, ["LENGTH 8 128"]);
    assert_eq!(broken(&app, "kT7-pq9w").await, nothing);
    assert_eq!(broken(&app, "kt7-pq9w").await, ["PASSWORD_UPPERCASE"]);
    assert_eq!(broken(&app, "KT7-PQ9W").await, ["PASSWORD_LOWERCASE"]);
    assert_eq!(broken(&app, "kTu-pqiw").await, ["PASSWORD_DIGIT"]);
    assert_eq!(broken(&app, "kT7upq9w").await, ["PASSWORD_SPECIAL"]);
    // Every rule at once, in one answer.
    let all = [
        "LENGTH 8 128",
        "PASSWORD_UPPERCASE",
        "PASSWORD_LOWERCASE",
        "PASSWORD_DIGIT",
        "PASSWORD_SPECIAL",
        "PASSWORD_BREACHED",
    ];
    assert_eq!(broken(&app, "").await, all);
    assert_eq!(broken(&app, "ÄRGER-über-7").await, nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_of_nist_asks_for_fifteen_characters_of_any_kind() {
    let app = TestApp::with(&[NIST]).await;
    let nothing: [&str; 0] = [];
    assert_eq!(broken(&app, "tuqhbzwepnvkxm").await, ["LENGTH 15 128"]);
    assert_eq!(broken(&app, "tuqhbzwepnvkxma").await, nothing);
    assert_eq!(broken(&app, "abendrotvogelfeder").await, nothing);
    assert_eq!(broken(&app, "48151623427091837465").await, nothing);
    assert_eq!(broken(&app, PASSWORD).await, nothing);
    assert_eq!(
        broken(&app, "passwordpassword").await,
        ["PASSWORD_BREACHED"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn single_settings_change_a_preset() {
    let app = TestApp::with(&[
        NIST,
        "--password-min-length=10",
        "--password-require-digit=true",
        "--password-refuse-common=false",
    ])
    .await;
    assert_eq!(
        broken(&app, "password").await,
        ["LENGTH 10 128", "PASSWORD_DIGIT"]
    );
    let nothing: [&str; 0] = [];
    assert_eq!(broken(&app, "password12").await, nothing);
    assert_eq!(broken(&app, "ada@example.org1").await, nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn length_counts_code_points_and_nothing_is_cut() {
    let app = TestApp::with(&[NIST]).await;
    let nothing: [&str; 0] = [];
    let long: String = "Wo die Zitronen blühn, im dunkeln Laub die Goldorangen glühn; "
        .chars()
        .cycle()
        .take(129)
        .collect();
    let cut = |length: usize| long.chars().take(length).collect::<String>();
    assert_eq!(broken(&app, &cut(64)).await, nothing);
    assert_eq!(broken(&app, &cut(128)).await, nothing);
    assert_eq!(broken(&app, &long).await, ["LENGTH 15 128"]);
    let foxes = "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧🐦🐤🦆";
    assert_eq!(foxes.chars().count(), 15);
    assert_eq!(broken(&app, foxes).await, nothing);
    let fewer: String = foxes.chars().skip(1).collect();
    assert_eq!(broken(&app, &fewer).await, ["LENGTH 15 128"]);
    assert_eq!(broken(&app, "a b c d e f gä\u{7}ö").await, nothing);
    // Fifteen letters, one of them spelt as two.
    assert_eq!(broken(&app, "cafe\u{301}tuqhbzwepnv").await, nothing);
    assert_eq!(
        broken(&app, "cafe\u{301}tuqhbzwepn").await,
        ["LENGTH 15 128"]
    );
    let flood = "e\u{301}".repeat(1000);
    assert_eq!(broken(&app, &flood).await, ["LENGTH 15 128"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_decomposed_spelling_signs_in() {
    let app = TestApp::new().await;
    let ada = json!({ "password": "Caf\u{e9}-Tuqhbz-7" });
    assert!(broken_with(&app, &ada).await.is_empty());
    let login = "mutation($input: LoginInput!) { login(input: $input) { result { __typename } } }";
    let decomposed = json!({ "identifier": "ada@example.org", "password": "Cafe\u{301}-Tuqhbz-7" });
    let answer = app.gql(login, json!({ "input": decomposed })).await;
    let waits = "EmailVerificationRequired";
    assert_eq!(answer.data("login/result/__typename"), waits);
}

#[tokio::test(flavor = "multi_thread")]
async fn common_passwords_and_what_everybody_makes_of_them_are_refused() {
    let app = TestApp::new().await;
    for common in ["Password1!", "P@ssw0rd2024!", "Summer2024!", "Qwertz123!"] {
        assert_eq!(
            broken(&app, common).await,
            ["PASSWORD_BREACHED"],
            "{common}"
        );
    }
    assert_eq!(app.count("users").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_know_of_the_person_is_refused() {
    let app = TestApp::with(&["--product-name=Hinge"]).await;
    let person = |password: &str| {
        json!({
            "password": password, "email": "a.byron+hinge@example.org", "username": "Countess",
            "fullName": "Ada Lovelace", "firstName": "Rene\u{301}e", "lastName": "King-Noel Οδυσσέας",
        })
    };
    for personal in [
        "Lovelace-1815",
        "x1-LOVELACE-x",
        "My-COUNTESS-7",
        "A.byron+hinge@example.org7",
        "1-A.Byron-1",
        "7-Ren\u{e9}e-kqx",
        "Old-King-noEL-1",
        "Hinge-of-1-Door",
        // In capitals, with more behind the sigma that ends the name.
        "1-ΟΔΥΣΣΈΑΣq-kx",
    ] {
        let broken = broken_with(&app, &person(personal)).await;
        assert_eq!(broken, ["PASSWORD_PERSONAL"], "{personal}");
    }
    // Words of three letters are in everything.
    for fine in ["Adamant-7-kqx", "Bad-Adage-71"] {
        let mut person = person(fine);
        person["username"] = Value::Null;
        assert!(broken_with(&app, &person).await.is_empty(), "{fine}");
    }
}

#[test]
fn settings_of_passwords_that_cannot_hold_are_named() {
    for (flag, problem) in [
        ("history=25", "CARDEA_PASSWORD_HISTORY must be at most 24"),
        (
            "max-age-days=3651",
            "CARDEA_PASSWORD_MAX_AGE_DAYS must be at most 3650",
        ),
        (
            "min-length=0",
            "CARDEA_PASSWORD_MIN_LENGTH must be at least 1 and at most CARDEA_PASSWORD_MAX_LENGTH",
        ),
    ] {
        assert_eq!(
            config(&[&format!("--password-{flag}")]).problems(),
            [problem]
        );
    }
    let least = [
        "--password-history=24",
        "--password-max-age-days=3650",
        NIST,
    ];
    assert_eq!(config(&least).problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_pages_are_told_the_whole_policy() {
    let query = "{ authOptions { passwordPolicy { historyDepth maximumAgeDays maximumLength minimumLength refusesCommon \
        requiresDigit requiresLowercase requiresSpecial requiresUppercase } } }";
    let policy = async |flags: &[&str]| {
        let app = TestApp::with(flags).await;
        let answer = app.gql(query, Value::Null).await;
        answer.data("authOptions/passwordPolicy").clone()
    };
    assert_eq!(
        policy(&[]).await,
        json!({
            "historyDepth": 0, "maximumAgeDays": null, "maximumLength": 128, "minimumLength": 8, "refusesCommon": true,
            "requiresDigit": true, "requiresLowercase": true, "requiresSpecial": true, "requiresUppercase": true,
        })
    );
    let nist = [
        NIST,
        "--password-history=5",
        "--password-max-age-days=90",
        "--password-max-length=64",
    ];
    assert_eq!(
        policy(&nist).await,
        json!({
            "historyDepth": 5, "maximumAgeDays": 90, "maximumLength": 64, "minimumLength": 15, "refusesCommon": true,
            "requiresDigit": false, "requiresLowercase": false, "requiresSpecial": false, "requiresUppercase": false,
        })
    );
}

/// The account `ada`, whose password is the one of all tests.
async fn ada(app: &TestApp) -> User {
    let registered = app.register("ada").await;
    assert_eq!(registered.data("register/errors"), &json!([]));
    let conn = &mut *app.app.db.conn().await.expect("a connection");
    let user = User::by_username(conn, "ada").await;
    user.expect("an answer").expect("an account")
}

/// Makes `password` a former password of `user`.
async fn push(app: &TestApp, user: &User, password: &str, depth: u8) {
    app.advance(TimeDelta::seconds(1));
    let hash = app.app.hash_password(password.into()).await;
    let hash = hash.expect("a hash");
    let conn = &mut *app.app.db.conn().await.expect("a connection");
    PasswordHistory::push(conn, user.id, &hash, depth, app.app.now())
        .await
        .expect("kept");
}

/// The rules that `password` breaks as the next one of `user`.
async fn refused(app: &TestApp, user: &User, password: &str) -> Vec<String> {
    let path = ["input", "newPassword"];
    match password_policy::accept(&app.app, &path, user, password.into()).await {
        Ok(accepted) => {
            assert_eq!(accepted.expose_secret(), password);
            Vec::new()
        }
        Err(Error::Refused(errors)) => errors
            .into_iter()
            .map(|error| match error {
                UserError::InvalidValue(error) => {
                    assert_eq!(error.path, path);
                    error.rule
                }
                other => panic!("{other:?}"),
            })
            .collect(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_former_passwords_as_many_are_refused_as_the_settings_say() {
    let app = TestApp::with(&["--password-history=2"]).await;
    let user = ada(&app).await;
    for former in ["First-Lamp-1", "Second-Lamp-2", "Third-Lamp-3"] {
        push(&app, &user, former, 2).await;
    }
    assert_eq!(app.count("password_history").await, "2");
    let nothing: [&str; 0] = [];
    assert_eq!(refused(&app, &user, "First-Lamp-1").await, nothing);
    for used in ["Second-Lamp-2", "Third-Lamp-3", PASSWORD] {
        assert_eq!(refused(&app, &user, used).await, ["PASSWORD_REUSED"]);
    }
    assert_eq!(refused(&app, &user, "Fourth-Lamp-4").await, nothing);
    // Rules come first, and without them nothing is hashed.
    assert_eq!(
        refused(&app, &user, "Password1!").await,
        ["PASSWORD_BREACHED"]
    );
    let (statements, _) = app.statements(refused(&app, &user, "short")).await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_cut_keeps_the_newest_and_leaves_others_alone() {
    let app = TestApp::new().await;
    let user = ada(&app).await;
    app.register("bob").await;
    let bob = User::by_username(&mut app.app.db.conn().await.expect("a connection"), "bob").await;
    let bob = bob.expect("an answer").expect("an account");
    push(&app, &bob, "Bobs-Lamp-1", 24).await;
    for number in 1..=5 {
        push(&app, &user, &format!("Lamp-Lamp-{number}"), 24).await;
    }
    let newest = async |depth: u8| {
        let conn = &mut *app.app.db.conn().await.expect("a connection");
        PasswordHistory::newest(conn, user.id, depth)
            .await
            .expect("a list")
    };
    let all = newest(24).await;
    assert_eq!((all.len(), newest(2).await), (5, all[..2].to_vec()));
    let was_used = async |password: &str, hashes: &[String]| {
        password_policy::was_used(&app.app, &password.into(), hashes.to_vec())
            .await
            .expect("an answer")
    };
    assert!(was_used("Lamp-Lamp-5", &all[..1]).await);
    assert!(!was_used("Lamp-Lamp-5", &all[1..]).await);
    push(&app, &user, "Lamp-Lamp-6", 3).await;
    let kept = newest(24).await;
    assert_eq!((kept.len(), &kept[1..]), (3, &all[..2]));
    push(&app, &user, "Lamp-Lamp-7", 0).await;
    assert_eq!(newest(24).await, Vec::<String>::new());
    assert_eq!(app.count("password_history").await, "1", "that of bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_history_passwords_may_be_used_again_unless_they_grow_too_old() {
    let app = TestApp::new().await;
    let user = ada(&app).await;
    let (statements, broken) = app.statements(refused(&app, &user, PASSWORD)).await;
    assert_eq!((statements, broken), (0, Vec::new()));
    let (aging, _) = app.second(&["--password-max-age-days=90"]).await;
    let again = password_policy::accept(&aging, &["input"], &user, PASSWORD.into()).await;
    let Err(Error::Refused(errors)) = again else {
        panic!("the present password passed for a new one");
    };
    assert!(
        matches!(&errors[..], [UserError::InvalidValue(error)] if error.rule == "PASSWORD_REUSED")
    );
}
