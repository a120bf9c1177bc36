//! The second factor: setting it up, the life of its codes, and taking it off.

use cardea::app::App;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::app::{MASTER_KEY, PASSWORD, config, email};
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_a_secret_once_and_nothing_changes_until_it_shows_a_code() {
    let app = TestApp::with(&["--product-name=Coach: Pro"]).await;
    let ada = app.user("ada").await;
    let other = app.sign_in("ada").await;
    let answer = ada
        .ask("mutation { enableTwoFactor { errors { code } setup { secret otpauthUri expiresAt } } }")
        .await;
    let setup = answer.data("enableTwoFactor/setup");
    let secret = setup["secret"].as_str().expect("a secret");
    assert_eq!(secret.len(), 32, "160 bits in base 32");
    assert_eq!(
        setup["otpauthUri"],
        format!(
            "otpauth://totp/Coach%20%20Pro:ada%40example.org?secret={secret}&issuer=Coach%20%20Pro"
        )
    );
    assert_eq!(setup["expiresAt"], "2026-11-30T08:15:00Z");
    assert_eq!(ada.two_factor().await, (false, 0));
    assert_eq!(
        app.first_step("ada").await.data("login/result/__typename"),
        "SignedIn"
    );

    let device = crate::harness::device::Device::new(&app, secret);
    let wrong = ada.confirm_two_factor(&device.wrong_code()).await;
    assert_eq!(
        wrong.data("confirmTwoFactor/errors"),
        &json!([{ "code": "TOKEN_REJECTED", "path": ["input", "code"] }])
    );
    assert_eq!(ada.two_factor().await, (false, 0));

    let right = ada
        .confirm_two_factor(&format!(" {} ", device.code()))
        .await;
    assert_eq!(
        right.data("confirmTwoFactor/user/twoFactor"),
        &json!({ "enabled": true, "confirmedAt": "2026-11-30T08:00:00Z", "recoveryCodesLeft": 10 })
    );
    let codes = right.data("confirmTwoFactor/recoveryCodes").as_array();
    let mut codes: Vec<_> = codes
        .expect("codes")
        .iter()
        .map(|c| c.as_str().expect("text"))
        .collect();
    for code in &codes {
        assert_eq!(code.len(), 19);
        assert!(code.split('-').all(|part| part.len() == 4), "{code}");
    }
    codes.dedup();
    assert_eq!(codes.len(), 10);
    assert!(ada.is_signed_in().await);
    assert!(!other.is_signed_in().await, "other sessions end");
    assert_eq!(
        app.subjects(&email("ada")).await[0],
        "Your account at Coach: Pro asks for a second factor now"
    );
    // Shown once: neither the secret nor the codes can be had again.
    let schema = include_str!("../../schema.graphql");
    assert_eq!(schema.matches("  secret: String!").count(), 1);
    let again = ada.confirm_two_factor(&device.code()).await;
    assert_eq!(again.code(), "TOKEN_REJECTED", "nothing waits any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_waits_a_quarter_of_an_hour_and_gives_way_to_the_next_one() {
    let app = TestApp::with(&["--recent-sign-in-minutes=60", "--access-token-minutes=60"]).await;
    let ada = app.user("ada").await;
    let first = ada.begin_two_factor(&app).await;
    let second = ada.begin_two_factor(&app).await;
    let answer = ada.confirm_two_factor(&first.code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED", "the first one gave way");
    app.advance(TimeDelta::minutes(15));
    let answer = ada.confirm_two_factor(&second.code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED", "too late");
    assert_eq!(ada.two_factor().await, (false, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_takes_the_place_of_the_one_before() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let old = ada.with_two_factor(&app).await;
    let new = ada.begin_two_factor(&app).await;
    let session = app.sign_in_with("ada", &old.code()).await;
    let answer = ada.confirm_two_factor(&new.code()).await;
    assert_eq!(answer.code(), "");
    assert!(!session.is_signed_in().await);
    app.advance(TimeDelta::seconds(30));
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &old.code()).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    let answer = app.verify_code(&challenge, &old.recovery_codes[0]).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED", "those codes went with it");
    assert_eq!(app.verify_code(&challenge, &new.code()).await.code(), "");
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_and_nothing_of_them_is_in_the_database() {
    // M09, D02: what a dump shows opens nothing, and a value in another place is an error.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let bob = app.user("bob").await;
    let device = ada.with_two_factor(&app).await;
    let bobs = bob.with_two_factor(&app).await;
    let dump = app.db.dump().await.to_lowercase();
    let hex: String = device
        .secret_bytes()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert!(!dump.contains(&hex));
    for code in &device.recovery_codes {
        let code = code.to_lowercase();
        assert!(
            !dump.contains(&code) && !dump.contains(&code.replace('-', "")),
            "{code}"
        );
    }
    // A thief of the table who puts an own secret in the place of another account's.
    app.db
        .sql(&format!(
            "UPDATE two_factor_secrets SET sealed_secret = (SELECT sealed_secret FROM two_factor_secrets WHERE user_id = '{}') \
             WHERE user_id = '{}'",
            bob.user_id(),
            ada.user_id()
        ))
        .await;
    let challenge = app.challenge("ada").await;
    let answer = app.verify_code(&challenge, &bobs.code()).await;
    assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"]);
    assert_eq!(
        app.verify_code(&challenge, &device.recovery_codes[0])
            .await
            .code(),
        ""
    );
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_master_key_does_not_start() {
    let app = TestApp::new().await;
    let start = async |key: &str| {
        let config = config(&["--master-key", key]);
        App::new(config, app.app.db.clone(), app.app.clock.clone()).await
    };
    let other = "Tm90IHRoZSBrZXkgb2YgdGhpcyBkYXRhYmFzZSBubzE=";
    // The first start has kept a key of the installation.
    let error = start(other).await.err().expect("refused").to_string();
    assert!(error.contains("another master key"), "{error}");
    // With both, the new one first, all is well.
    assert!(start(&format!("{other}\n{MASTER_KEY}")).await.is_ok());
    // A key file that is gone is not made anew over what it has sealed.
    let folder = tempfile::tempdir().expect("a folder");
    let mut without = config(&["--data-dir", &folder.path().to_string_lossy()]);
    without.seal.master_key = None;
    let refused = App::new(without, app.app.db.clone(), app.app.clock.clone()).await;
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("master.key"), "{error}");
    assert!(!folder.path().join("master.key").exists());
    let error = start("c2hvcnQ=").await.err().expect("refused");
    assert!(!format!("{error:#}").contains("c2hvcnQ"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_factor_is_switched_off_by_itself_and_not_by_the_password() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let off = ada.prove("disableTwoFactor", "password", PASSWORD).await;
    assert_eq!(off.code(), "REJECTED", "it is off already");
    let device = ada.with_two_factor(&app).await;
    let other = app.sign_in_with("ada", &device.code()).await;
    // The code in the input is proof enough, however old the sign-in is: it cannot be shown twice.
    app.advance(TimeDelta::minutes(6));
    let before = app.state().await;
    let password = ada.prove("disableTwoFactor", "password", PASSWORD).await;
    assert_eq!(
        password.data("disableTwoFactor/errors"),
        &json!([{ "code": "REJECTED", "path": ["input", "password"] }])
    );
    let wrong = ada
        .prove("disableTwoFactor", "twoFactorCode", &device.wrong_code())
        .await;
    assert_eq!(
        wrong.data("disableTwoFactor/errors"),
        &json!([{ "code": "TOKEN_REJECTED", "path": ["input", "twoFactorCode"] }])
    );
    assert_eq!(ada.two_factor().await, (true, 10));
    assert_eq!(app.state().await, before);
    let right = ada
        .prove("disableTwoFactor", "twoFactorCode", &device.code())
        .await;
    assert_eq!(right.code(), "");
    assert_eq!(ada.two_factor().await, (false, 0));
    assert!(!other.is_signed_in().await);
    assert_eq!(
        app.first_step("ada").await.data("login/result/__typename"),
        "SignedIn"
    );
    assert_eq!(
        app.subjects(&email("ada")).await[0],
        "Your account at Cardea asks for no second factor any more"
    );
    assert_eq!(app.count("recovery_codes").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_takes_a_lost_second_factor_off() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let second = app.user_with_role("second", "admin").await;
    let ada = app.user("ada").await;
    ada.with_two_factor(&app).await;
    let reset = async |client: &Client<'_>, user: &str| {
        let document = "mutation($user: ID!) { resetTwoFactor(input: { userId: $user }) { errors { code path } user { twoFactor { enabled } } } }";
        client.gql(document, json!({ "user": user })).await
    };
    assert_eq!(
        reset(&admin, &admin.id).await.code(),
        "PROTECTED",
        "the own one"
    );
    assert_eq!(
        reset(&admin, &ada.session).await.code(),
        "NOT_FOUND",
        "an id of something else"
    );
    let clerk = app.user("clerk").await;
    app.db
        .sql(
            "INSERT INTO roles (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'clerk', now(), now()); \
             INSERT INTO role_permissions SELECT roles.id, permissions.id FROM roles, permissions \
             WHERE roles.name = 'clerk' AND permissions.name = 'admin:users'",
        )
        .await;
    app.grant(&clerk, "clerk").await;
    assert_eq!(
        reset(&clerk, &second.id).await.codes(),
        ["FORBIDDEN"],
        "above the own head"
    );
    let answer = reset(&clerk, &ada.id).await;
    assert_eq!(answer.data("resetTwoFactor/user/twoFactor/enabled"), false);
    assert!(!ada.is_signed_in().await, "its sessions end");
    assert_eq!(
        app.first_step("ada").await.data("login/result/__typename"),
        "SignedIn"
    );
    assert_eq!(
        app.subjects(&email("ada")).await[0],
        "The second factor of your account at Cardea was taken off"
    );
    let mails = app.mails_to(&email("ada")).len();
    assert_eq!(
        reset(&clerk, &ada.id).await.code(),
        "",
        "once more changes nothing"
    );
    app.run_jobs().await;
    assert_eq!(app.mails_to(&email("ada")).len(), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_codes_stand_in_once_each_and_the_owner_is_told() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let code = &device.recovery_codes[0];
    let challenge = app.challenge("ada").await;
    assert_eq!(app.verify_code(&challenge, code).await.code(), "");
    assert_eq!(ada.two_factor().await, (true, 9));
    let mail = app.subjects(&email("ada")).await;
    assert_eq!(
        mail[0],
        "A recovery code of your account at Cardea was used"
    );
    assert!(app.mails()[0].text.contains("Codes that are left: 9."));

    let challenge = app.challenge("ada").await;
    assert_eq!(
        app.verify_code(&challenge, code).await.code(),
        "TOKEN_REJECTED"
    );
    // As people write them.
    let typed = device.recovery_codes[1].to_lowercase().replace('-', " ");
    assert_eq!(app.verify_code(&challenge, &typed).await.code(), "");
    let typed = device.recovery_codes[2].replace('-', "");
    let proved = ada.prove("reauthenticate", "twoFactorCode", &typed).await;
    assert_eq!(proved.code(), "");
    assert_eq!(ada.two_factor().await, (true, 7));
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_recovery_codes_void_the_old_ones() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let wrong = ada
        .prove(
            "regenerateRecoveryCodes",
            "twoFactorCode",
            &device.wrong_code(),
        )
        .await;
    assert_eq!(wrong.code(), "TOKEN_REJECTED");
    let answer = ada
        .prove("regenerateRecoveryCodes", "twoFactorCode", &device.code())
        .await;
    let new = answer
        .data("regenerateRecoveryCodes/recoveryCodes/0")
        .as_str()
        .expect("a code");
    let challenge = app.challenge("ada").await;
    let old = app.verify_code(&challenge, &device.recovery_codes[0]).await;
    assert_eq!(old.code(), "TOKEN_REJECTED");
    assert_eq!(app.verify_code(&challenge, new).await.code(), "");
    assert_eq!(ada.two_factor().await, (true, 9));
    assert!(
        app.subjects(&email("ada"))
            .await
            .contains(&"New recovery codes for your account at Cardea".to_owned())
    );
    // A code that was used to replace them counts among those that it belonged to.
    let answer = ada
        .prove(
            "regenerateRecoveryCodes",
            "twoFactorCode",
            answer
                .data("regenerateRecoveryCodes/recoveryCodes/1")
                .as_str()
                .expect("a code"),
        )
        .await;
    assert_eq!(answer.code(), "");
    app.run_jobs().await;
    let told = app.mails_to(&email("ada"));
    assert!(
        told.iter()
            .any(|mail| mail.text.contains("Codes that are left: 8."))
    );
    let bob = app.user("bob").await;
    let off = bob
        .prove("regenerateRecoveryCodes", "password", PASSWORD)
        .await;
    assert_eq!(off.code(), "REJECTED", "the second factor is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_password_leaves_the_second_factor_and_opens_no_session() {
    // V05.
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let device = ada.with_two_factor(&app).await;
    let token = app.reset_token(&email("ada")).await;
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    assert_eq!(app.live_sessions().await, "0");
    let login = app.login("ada", NEW_PASSWORD).await;
    assert_eq!(login.data("login/result/__typename"), "TwoFactorRequired");
    let _ = device;
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_show_their_second_factor_by_one_statement() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    ada.with_two_factor(&app).await;
    app.user("bob").await;
    let list = "{ users(orderBy: { field: USERNAME, direction: ASC }) { nodes { username twoFactor { enabled recoveryCodesLeft } } } }";
    admin.ask(list).await;
    let (statements, answer) = app.statements(admin.ask(list)).await;
    assert_eq!(
        statements, 3,
        "the page, all states, and what is written down of it"
    );
    assert_eq!(
        answer.data("users/nodes"),
        &json!([
            { "username": "ada", "twoFactor": { "enabled": true, "recoveryCodesLeft": 10 } },
            { "username": "admin", "twoFactor": { "enabled": false, "recoveryCodesLeft": 0 } },
            { "username": "bob", "twoFactor": { "enabled": false, "recoveryCodesLeft": 0 } },
        ])
    );
    for (enabled, expected) in [(true, json!(["ada"])), (false, json!(["admin", "bob"]))] {
        let answer = admin
            .gql(
                "query($on: Boolean) { users(filter: { twoFactorEnabled: $on }, orderBy: { field: USERNAME, direction: ASC }) { nodes { username } } }",
                json!({ "on": enabled }),
            )
            .await;
        let names = answer
            .data("users/nodes")
            .as_array()
            .expect("accounts")
            .iter();
        let names: Vec<_> = names.map(|user| user["username"].clone()).collect();
        assert_eq!(json!(names), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_move_takes_off_what_a_thief_set_up_and_leaves_what_is_older() {
    let old = email("ada");
    let undone = async |before: bool| {
        let app = TestApp::with(&["--access-token-minutes=60"]).await;
        let mut ada = app.user("ada").await;
        if before {
            let device = ada.with_two_factor(&app).await;
            app.advance(TimeDelta::days(8));
            ada = app.sign_in_with("ada", &device.code()).await;
        }
        let token = ada.email_change_token(&app, "eve@example.org").await;
        assert_eq!(ada.confirm_email(&token).await.code(), "");
        let undo = app.mailed_token(&old).await;
        if !before {
            ada.with_two_factor(&app).await;
        }
        assert_eq!(app.confirm_email(&undo).await.code(), "");
        let reset = app.mailed_token(&old).await;
        assert_eq!(app.reset(&reset, NEW_PASSWORD).await.code(), "");
        app.run_jobs().await;
        let answer = app.login("ada", NEW_PASSWORD).await;
        answer.data("login/result/__typename").clone()
    };
    assert_eq!(undone(false).await, "SignedIn", "the owner is not shut out");
    // Whoever holds the former mailbox alone must not get past a second factor by it.
    assert_eq!(undone(true).await, "TwoFactorRequired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_move_voids_recovery_codes_that_a_thief_has_seen() {
    let app = TestApp::with(&["--access-token-minutes=60"]).await;
    let old = email("ada");
    let device = app.user("ada").await.with_two_factor(&app).await;
    app.advance(TimeDelta::days(8));
    let ada = app.sign_in_with("ada", &device.code()).await;
    app.advance(TimeDelta::seconds(30));
    let made = ada
        .prove("regenerateRecoveryCodes", "twoFactorCode", &device.code())
        .await;
    let seen = made.data("regenerateRecoveryCodes/recoveryCodes/0").clone();
    let token = ada.email_change_token(&app, "eve@example.org").await;
    assert_eq!(ada.confirm_email(&token).await.code(), "");
    let undo = app.mailed_token(&old).await;
    assert_eq!(app.confirm_email(&undo).await.code(), "");
    let reset = app.mailed_token(&old).await;
    assert_eq!(app.reset(&reset, NEW_PASSWORD).await.code(), "");
    app.run_jobs().await;
    let challenge = crate::harness::device::challenge_of(&app.login("ada", NEW_PASSWORD).await);
    let seen = seen.as_str().expect("a code");
    let answer = app.verify_code(&challenge, seen).await;
    assert_eq!(answer.code(), "TOKEN_REJECTED");
    app.advance(TimeDelta::seconds(30));
    let answer = app.verify_code(&challenge, &device.code()).await;
    assert_eq!(answer.code(), "", "the device of before goes on");
}
