//! The command `import`: accounts of each product come over with what they had, and sign in as they did there.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::importing::{ARGON2I, BCRYPT, OLD, PBKDF2, SCRYPT, lines, me, type_of};
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Client, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn the_coaching_app_comes_over_from_dumpdata() {
    let app = TestApp::new().await;
    let user =
        |pk: u32, fields: Value| json!({ "model": "accounts.User", "pk": pk, "fields": fields });
    let file = lines(&[
        json!({ "model": "auth.group", "pk": 1, "fields": { "name": "coaches" } }),
        user(
            1,
            json!({ "email": "Ada@example.org", "username": "ada", "first_name": "Ada", "last_name": "Lovelace", "password": PBKDF2,
            "date_joined": "2021-03-04T05:06:07.089Z", "last_login": "2024-05-06T07:08:09Z", "is_active": true, "is_staff": true, "is_superuser": false,
            "birth_date": "1990-12-10", "coaching_start_date": "2022-01-01T00:00:00Z", "last_coaching_session": "2024-01-01T00:00:00Z",
            "bio": "Counts.", "timezone": "Europe/London", "coaching_goals": { "first": "rest" }, "preferred_coaching_style": "directive",
            "session_frequency": "biweekly", "push_notifications": false, "notification_frequency": "weekly", "theme": "dark", "language": "en-GB" }),
        ),
        user(
            2,
            json!({ "email": "bob@example.org", "username": "bob", "first_name": "", "last_name": "", "password": PBKDF2,
            "date_joined": "2023-01-02T00:00:00Z", "last_login": null, "is_active": false, "is_staff": false, "is_superuser": false }),
        ),
        user(
            3,
            json!({ "email": "eve@example.org", "username": "eve", "first_name": "Eve", "last_name": "", "password": "!unusable",
            "date_joined": "2020-01-02T00:00:00Z", "last_login": "2020-02-02T00:00:00Z", "is_active": false, "is_superuser": true }),
        ),
    ]);
    let arguments = ["--from", "coaching", "--format", "jsonl"];
    let said = app.import(&arguments, &file).success();
    assert!(
        said.contains("3 created, 0 updated, 0 unchanged, 0 failed."),
        "{said}"
    );
    assert!(said.contains("1 records were no accounts"), "{said}");
    assert!(
        said.contains("2 rows name rights that were not taken over"),
        "{said}"
    );
    app.repeat_is_harmless(&arguments, &file, 3).await;
    assert_eq!(app.waiting_jobs().await, 0, "nobody is mailed");

    let ada = app.comes_over("ada", "Ada@example.org").await;
    let fields = "email username fullName firstName birthDate createdAt emailVerified coachingStartDate roles { name } \
        profile { bio timezone coachingGoals preferredCoachingStyle sessionFrequency emailNotifications pushNotifications notificationFrequency theme language }";
    assert_eq!(
        me(&ada, fields).await,
        json!({ "email": "Ada@example.org", "username": "ada", "fullName": "Ada Lovelace", "firstName": "Ada", "birthDate": "1990-12-10",
            "createdAt": "2021-03-04T05:06:07.089Z", "emailVerified": true, "coachingStartDate": "2022-01-01T00:00:00Z", "roles": [{ "name": "user" }],
            "profile": { "bio": "Counts.", "timezone": "Europe/London", "coachingGoals": { "first": "rest" }, "preferredCoachingStyle": "DIRECTIVE",
                "sessionFrequency": "BIWEEKLY", "emailNotifications": true, "pushNotifications": false, "notificationFrequency": "WEEKLY",
                "theme": "DARK", "language": "en-GB" } })
    );
    // Not active, and nobody says whether it ever was: closed.
    assert!(
        said.contains("1 rows are of accounts that are not active, never signed in"),
        "{said}"
    );
    let bob = app.login("bob@example.org", OLD).await;
    assert_eq!(bob.code(), "ACCOUNT_UNAVAILABLE");
    assert_eq!(app.column("bob@example.org", "full_name").await, "bob");
    let eve = "status || closed_by || coalesce(hashed_password, ' none')";
    assert_eq!(
        app.column("eve@example.org", eve).await,
        "deactivatedadmin none"
    );

    // What was chosen: a role of ours for whom the export calls staff.
    let chosen = [&arguments[..], &["--staff-role", "moderator"]].concat();
    let said = app.import(&chosen, &file).success();
    assert!(said.contains("0 created, 1 updated, 2 unchanged"), "{said}");
    // Another process wrote it, which the server hears within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let permissions = ada.permissions().await;
    assert_eq!(permissions, json!(["read:all", "read:own", "write:own"]));
    let unknown = [&arguments[..], &["--superuser-role", "king"]].concat();
    assert_eq!(app.import(&unknown, &file).error(), "there is no role king");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_password_of_another_system_may_not_be_used_again() {
    let app = TestApp::with(&["--password-history=3"]).await;
    let file = format!("email,password,is_active,first_name\nada@example.org,{PBKDF2},1,Ada\n");
    app.import(&["--from", "coaching", "--format", "csv"], &file)
        .success();
    // Forgotten before the first sign-in, so that the old hash goes into the history as it is.
    let token = app.reset_token("ada@example.org").await;
    let again = app.reset(&token, OLD).await;
    assert_eq!(again.rules(), ["PASSWORD_REUSED"]);
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    let history = "SELECT hashed_password FROM password_history";
    assert_eq!(app.db.text(history).await, PBKDF2);
    app.advance(TimeDelta::minutes(2));
    let token = app.reset_token("ada@example.org").await;
    assert_eq!(app.reset(&token, OLD).await.rules(), ["PASSWORD_REUSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numerology_app_comes_over_with_its_uuids_and_closed_accounts() {
    let app = TestApp::new().await;
    let (ada, bob, eve) = (
        "8c1f0e52-8d4b-4a6e-9a55-0d8f6ab0c001",
        "8c1f0e52-8d4b-4a6e-9a55-0d8f6ab0c002",
        "8c1f0e52-8d4b-4a6e-9a55-0d8f6ab0c003",
    );
    let file = format!(
        "id,email,full_name,hashed_password,birth_date,is_active,deleted_at,created_at\r\n\
         {ada},ada@example.org,\"Lovelace, Ada\",{BCRYPT},1990-12-10,true,,2022-02-03 04:05:06.789\r\n\
         {bob},bob@example.org,Bob Example,,1991-01-01,true,,2022-02-03 04:05:06\r\n\
         {eve},eve@example.org,Eve Example,{BCRYPT},1992-01-01,false,2024-01-01 00:00:00,2022-02-03 04:05:06\r\n"
    );
    let arguments = [
        "--from",
        "numerology",
        "--format",
        "csv",
        "--addresses-proved",
    ];
    let said = app.import(&arguments, &file).success();
    assert!(said.contains("3 created"), "{said}");
    app.repeat_is_harmless(&arguments, &file, 3).await;
    let client = app.comes_over("ada@example.org", "ada@example.org").await;
    assert_eq!(
        me(&client, "uuid fullName birthDate createdAt").await,
        json!({ "uuid": ada, "fullName": "Lovelace, Ada", "birthDate": "1990-12-10", "createdAt": "2022-02-03T04:05:06.789Z" })
    );
    // Without a password there: by the mailed link.
    assert_eq!(
        app.login("bob@example.org", OLD).await.code(),
        "INVALID_CREDENTIALS"
    );
    let token = app.reset_token("bob@example.org").await;
    assert_eq!(app.reset(&token, NEW_PASSWORD).await.code(), "");
    assert_eq!(
        type_of(&app.login("bob@example.org", NEW_PASSWORD).await),
        "SignedIn"
    );
    assert_eq!(app.column("bob@example.org", "auth_token").await, bob);
    // Closed by its owner, who may open it again.
    assert_eq!(
        app.login("eve@example.org", OLD).await.code(),
        "ACCOUNT_UNAVAILABLE"
    );
    let token = app.mailed_token("eve@example.org").await;
    assert_eq!(app.reactivate(&token).await.code(), "");
    app.comes_over("eve@example.org", "eve@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_about_addresses_they_have_to_be_proved() {
    let app = TestApp::new().await;
    let file = format!(
        "id,email,full_name,hashed_password\n8c1f0e52-8d4b-4a6e-9a55-0d8f6ab0c001,ada@example.org,Ada,{BCRYPT}\n"
    );
    app.import(&["--from", "numerology", "--format", "csv"], &file)
        .success();
    let asked = app.login("ada@example.org", OLD).await;
    assert_eq!(type_of(&asked), "EmailVerificationRequired");
    app.resend("ada@example.org").await;
    let token = app.mailed_token("ada@example.org").await;
    assert_eq!(app.verify(&token).await.code(), "");
    app.comes_over("ada@example.org", "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_management_comes_over_with_roles_that_were_chosen() {
    let app = TestApp::new().await;
    let file = lines(&[
        json!({ "id": 1, "email": "ada@example.org", "full_name": "Ada", "hashed_password": SCRYPT, "is_active": true, "is_verified": true,
            "roles": ["user", "moderator", "auditor"], "created_at": "2023-04-05T06:07:08.123456", "last_login_at": "2024-04-05T06:07:08" }),
        json!({ "id": 2, "email": "bob@example.org", "full_name": "Bob", "hashed_password": SCRYPT, "is_active": false, "is_verified": false, "roles": ["user"] }),
        json!({ "id": 3, "email": "eve@example.org", "full_name": "Eve", "hashed_password": SCRYPT, "is_active": false, "is_verified": true }),
    ]);
    let arguments = [
        "--from",
        "user-management",
        "--format",
        "jsonl",
        "--role",
        "moderator=moderator",
    ];
    let said = app.import(&arguments, &file).success();
    assert!(said.contains("3 created"), "{said}");
    assert!(
        said.contains("1 rows name rights that were not taken over"),
        "{said}"
    );
    app.repeat_is_harmless(&arguments, &file, 3).await;
    assert_eq!(
        app.column("ada@example.org", "last_login_at AT TIME ZONE 'UTC'")
            .await,
        "2024-04-05 06:07:08"
    );
    let ada = app.comes_over("ada@example.org", "ada@example.org").await;
    assert_eq!(
        me(&ada, "createdAt roles { name }").await,
        json!({ "createdAt": "2023-04-05T06:07:08.123456Z", "roles": [{ "name": "moderator" }, { "name": "user" }] })
    );
    for closed in ["bob@example.org", "eve@example.org"] {
        let refused = app.login(closed, OLD).await;
        assert_eq!(refused.code(), "ACCOUNT_UNAVAILABLE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_stays_closed_whoever_proves_the_address() {
    let row = |name: &str, more: Value| {
        let mut row = json!({ "email": format!("{name}@example.org"), "full_name": "Some Body", "username": name,
            "password": PBKDF2, "is_active": false });
        for (key, value) in more.as_object().expect("an object") {
            row[key] = value.clone();
        }
        row
    };
    let file = lines(&[
        row("silent", json!({})),
        row("unproved", json!({ "is_verified": false })),
        row(
            "used",
            json!({ "is_verified": false, "last_login": "2024-01-01T00:00:00Z" }),
        ),
        row(
            "dated",
            json!({ "is_verified": false, "deactivated_at": "2024-01-01T00:00:00Z" }),
        ),
        row("open", json!({ "is_verified": false, "is_active": true })),
    ]);
    for product in ["coaching", "user-management"] {
        for (more, may_wait) in [(&[][..], "deactivated"), (&["--inactive-wait"], "pending")] {
            let app = TestApp::new().await;
            let arguments = [&["--from", product, "--format", "jsonl"], more].concat();
            let said = app.import(&arguments, &file).success();
            let told = said.contains("2 rows are of accounts that are not active");
            assert_eq!(told, more.is_empty(), "{said}");
            for (name, expected) in [
                ("silent", may_wait),
                ("unproved", may_wait),
                ("used", "deactivated"),
                ("dated", "deactivated"),
                ("open", "pending"),
            ] {
                let status = app.column(&format!("{name}@example.org"), "status").await;
                assert_eq!(status, expected, "{product} {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_without_its_algorithm_is_not_taken_for_a_password() {
    let app = TestApp::new().await;
    let mut file = String::from("email,username,password\n");
    for length in [32, 40, 64, 128] {
        let digest = "0123456789abcDEF".repeat(8);
        let digest = &digest[..length];
        let _ = writeln!(file, "u{length}@example.org,u{length},{digest}");
    }
    file += "ada@example.org,ada,0123456789abcdef0\n";
    let outcome = app.import(&["--from", "restaurant", "--format", "csv"], &file);
    let said: Vec<_> = outcome.stderr.lines().collect();
    let wrong = "As many hexadecimal digits are no password but a hash of an unknown kind. Leave it empty, and \
        the owner sets one by a mailed link.";
    let expected = |line: u32| format!("line {line}: password: {wrong}");
    assert_eq!(said[..4], [2, 3, 4, 5].map(expected));
    assert_eq!(said[4..], ["error: 4 rows were not taken in"]);
    assert_eq!(app.column("ada@example.org", "username").await, "ada");
    assert_eq!(app.count("users").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_learning_platform_comes_over_with_background_and_taste() {
    let app = TestApp::new().await;
    let uuid = "0d9a7b1e-3f60-4d57-8a6f-3c4b5a697801";
    let file = lines(&[
        json!({ "id": uuid, "email": "ada@example.org", "name": null, "password_hash": ARGON2I, "is_active": true, "email_verified": true,
        "created_at": "2025-01-02T03:04:05+00:00",
        "background": { "software_tools": ["vim"], "programming_languages": ["rust", "sql"], "hardware_setup": { "cpu": "old" },
            "technical_preferences": null, "experience_level": "Expert", "primary_domain": "Engines" },
        "personalization": { "recommended_content": ["c1"], "preferred_categories": ["maths"] } }),
    ]);
    let arguments = ["--from", "learning", "--format", "jsonl"];
    app.import(&arguments, &file).success();
    app.repeat_is_harmless(&arguments, &file, 1).await;
    let ada = app.comes_over("ada@example.org", "ada@example.org").await;
    let fields = "uuid fullName createdAt background { softwareTools programmingLanguages hardwareSetup technicalPreferences experienceLevel primaryDomain } \
        personalization { recommendedContent preferredCategories }";
    assert_eq!(
        me(&ada, fields).await,
        json!({ "uuid": uuid, "fullName": "ada", "createdAt": "2025-01-02T03:04:05Z",
            "background": { "softwareTools": ["vim"], "programmingLanguages": ["rust", "sql"], "hardwareSetup": { "cpu": "old" },
                "technicalPreferences": null, "experienceLevel": "EXPERT", "primaryDomain": "Engines" },
            "personalization": { "recommendedContent": ["c1"], "preferredCategories": ["maths"] } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restaurant_guide_comes_over_and_none_of_its_plain_passwords_is_kept() {
    let app = TestApp::new().await;
    let token = "5e0f1c2d-7a8b-4c9d-8e0f-102132435401";
    let file = format!(
        "id,auth_token,email,username,first_name,last_name,password,is_active,is_verified,date_joined\n\
         1,{token},ada@example.org,ada,Ada,Lovelace,{OLD},True,True,2019-05-06 07:08:09.123+00\n\
         2,5e0f1c2d-7a8b-4c9d-8e0f-102132435402,bob@example.org,bob,,,{OLD},True,False,2019-05-06 07:08:09+00\n\
         3,5e0f1c2d-7a8b-4c9d-8e0f-102132435403,eve@example.org,eve,,,{PBKDF2},True,True,2019-05-06 07:08:09+00\n\
         4,5e0f1c2d-7a8b-4c9d-8e0f-102132435404,mal@example.org,mal,,,md5$salt$0123456789abcdef,True,True,2019-05-06 07:08:09+00\n"
    );
    let arguments = ["--from", "restaurant", "--format", "csv"];
    let outcome = app.import(&arguments, &file);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .starts_with("line 5: passwordHash: Not a hash of"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stdout
            .contains("3 created, 0 updated, 0 unchanged, 1 failed."),
        "{outcome:?}"
    );
    let hash = app.column("ada@example.org", "hashed_password").await;
    assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
    assert!(!app.db.dump().await.contains(OLD));
    assert!(!outcome.stdout.contains(OLD) && !outcome.stderr.contains(OLD));
    let before = app.kept().await;
    assert_eq!(app.import(&arguments, &file).code, Some(1));
    assert_eq!(app.kept().await, before, "the same hashes, too");

    let ada = app.login("ada", OLD).await;
    let ada = Client::new(&app, ada.data("login/result"));
    assert_eq!(ada.uuid, token);
    assert_eq!(
        me(&ada, "createdAt").await,
        json!({ "createdAt": "2019-05-06T07:08:09.123Z" })
    );
    assert_eq!(
        type_of(&app.login("bob@example.org", OLD).await),
        "EmailVerificationRequired"
    );
    app.comes_over("eve", "eve@example.org").await;
}
