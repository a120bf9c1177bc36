//! Changing names, profile, background and personalization.

use serde_json::{Value, json};

use crate::harness::{Client, TestApp};

const PROFILE: &str = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { \
    errors { code path ... on InvalidValueError { rule maximum } } \
    user { username fullName firstName lastName avatarUrl birthDate } \
    profile { bio timezone coachingGoals preferredCoachingStyle sessionFrequency emailNotifications pushNotifications \
    notificationFrequency theme language preferences } } }";

async fn update(client: &Client<'_>, input: Value) -> Value {
    client
        .gql(PROFILE, json!({ "input": input }))
        .await
        .data("updateProfile")
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_stays_null_clears_and_a_value_sets() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let all = json!({
        "username": "Ada_L", "fullName": "Ada King", "firstName": "Ada", "lastName": "King",
        "avatarUrl": "https://example.org/ada.png", "birthDate": "1815-12-10", "bio": "Poetical science",
        "timezone": "Europe/London", "coachingGoals": { "b": [1, 2.5], "a": { "c": null } },
        "preferredCoachingStyle": "CHALLENGING", "sessionFrequency": "BIWEEKLY", "emailNotifications": false,
        "pushNotifications": false, "notificationFrequency": "NEVER", "theme": "DARK", "language": "en-GB",
        "preferences": { "sidebar": true },
    });
    let mut born = all.clone();
    born["birthDate"] = json!("1990-12-10");
    let set = update(&ada, born.clone()).await;
    assert_eq!(set["errors"], json!([]));
    for (key, value) in born.as_object().expect("an object") {
        let found = if set["user"].get(key).is_some() {
            &set["user"][key]
        } else {
            &set["profile"][key]
        };
        assert_eq!(found, value, "{key}");
    }
    let untouched = update(&ada, json!({})).await;
    assert_eq!(untouched, set);

    let keys = born
        .as_object()
        .expect("an object")
        .keys()
        .filter(|key| *key != "fullName");
    let nulls: Value = keys.map(|key| (key.clone(), Value::Null)).collect();
    let cleared = update(&ada, nulls).await;
    assert_eq!(
        cleared,
        json!({
            "errors": [],
            "user": { "username": null, "fullName": "Ada King", "firstName": null, "lastName": null, "avatarUrl": null, "birthDate": null },
            "profile": {
                "bio": null, "timezone": "UTC", "coachingGoals": {}, "preferredCoachingStyle": null, "sessionFrequency": null,
                "emailNotifications": true, "pushNotifications": true, "notificationFrequency": "DAILY", "theme": "LIGHT",
                "language": "en", "preferences": {},
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_omitted_variable_leaves_the_field_alone() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    update(&ada, json!({ "bio": "stays" })).await;
    let mutation =
        "mutation($bio: String) { updateProfile(input: { bio: $bio }) { profile { bio } } }";
    assert_eq!(
        ada.gql(mutation, json!({}))
            .await
            .data("updateProfile/profile/bio"),
        "stays"
    );
    assert_eq!(
        ada.gql(mutation, json!({ "bio": null }))
            .await
            .data("updateProfile/profile/bio"),
        &Value::Null
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bio_has_500_characters_and_not_501() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let longest = "ä".repeat(500);
    assert_eq!(
        update(&ada, json!({ "bio": longest })).await["profile"]["bio"],
        longest
    );
    let refused = update(
        &ada,
        json!({ "bio": "ä".repeat(501), "theme": "DARK", "fullName": "Changed" }),
    )
    .await;
    assert_eq!(
        refused,
        json!({ "errors": [{ "code": "INVALID_VALUE", "path": ["input", "bio"], "rule": "LENGTH", "maximum": 500 }], "user": null, "profile": null })
    );
    let me = ada.ask("{ me { fullName profile { bio theme } } }").await;
    assert_eq!(
        me.data("me"),
        &json!({ "fullName": "ada Example", "profile": { "bio": longest, "theme": "LIGHT" } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_profile_refuses_with_its_path() {
    let app = TestApp::new().await;
    app.user("bob").await;
    let ada = app.user("ada").await;
    let deep = (0..9).fold(json!(1), |inner, _| json!({ "a": inner }));
    for (field, value, code, rule) in [
        ("username", json!("a b"), "INVALID_VALUE", json!("FORMAT")),
        (
            "username",
            json!("x".repeat(151)),
            "INVALID_VALUE",
            json!("LENGTH"),
        ),
        ("username", json!("BOB"), "TAKEN", Value::Null),
        ("fullName", Value::Null, "INVALID_VALUE", json!("REQUIRED")),
        ("fullName", json!(" a "), "INVALID_VALUE", json!("LENGTH")),
        ("fullName", json!("a\nb"), "INVALID_VALUE", json!("FORMAT")),
        (
            "avatarUrl",
            json!("javascript:alert(1)"),
            "INVALID_VALUE",
            json!("FORMAT"),
        ),
        (
            "birthDate",
            json!("2026-11-30"),
            "INVALID_VALUE",
            json!("RANGE"),
        ),
        (
            "birthDate",
            json!("1895-11-30"),
            "INVALID_VALUE",
            json!("RANGE"),
        ),
        (
            "timezone",
            json!("Mars/Base"),
            "INVALID_VALUE",
            json!("TIME_ZONE"),
        ),
        ("language", json!("e"), "INVALID_VALUE", json!("LANGUAGE")),
        (
            "coachingGoals",
            json!([]),
            "INVALID_VALUE",
            json!("JSON_OBJECT"),
        ),
        ("coachingGoals", deep, "INVALID_VALUE", json!("JSON_DEPTH")),
        (
            "preferences",
            json!({ "a": "x".repeat(17_000) }),
            "INVALID_VALUE",
            json!("JSON_SIZE"),
        ),
    ] {
        let refused = update(&ada, json!({ field: value, "bio": "never written" })).await;
        let error = &refused["errors"][0];
        assert_eq!(
            (&error["code"], &error["path"]),
            (&json!(code), &json!(["input", field])),
            "{refused}"
        );
        assert_eq!(
            error.get("rule").unwrap_or(&Value::Null),
            &rule,
            "{refused}"
        );
        assert_eq!(refused["errors"].as_array().map(Vec::len), Some(1));
    }
    assert_eq!(
        ada.ask("{ me { profile { bio } } }")
            .await
            .data("me/profile/bio"),
        &Value::Null
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_least_age_can_be_asked_for() {
    let app = TestApp::with(&["--minimum-age=16"]).await;
    let ada = app.user("ada").await;
    assert_eq!(
        update(&ada, json!({ "birthDate": "2010-11-30" })).await["errors"],
        json!([])
    );
    assert_eq!(
        update(&ada, json!({ "birthDate": "2010-12-01" })).await["errors"][0]["rule"],
        "MINIMUM_AGE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_merge_key_by_key_also_at_the_same_time() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    update(
        &ada,
        json!({ "preferences": { "a": 1, "b": { "deep": 1 }, "c": 3 } }),
    )
    .await;
    let merged = update(
        &ada,
        json!({ "preferences": { "a": null, "b": { "other": 2 }, "d": null } }),
    )
    .await;
    assert_eq!(
        merged["profile"]["preferences"],
        json!({ "b": { "other": 2 }, "c": 3 })
    );

    let inputs = (0..10).map(|n| update(&ada, json!({ "preferences": { format!("k{n}"): n } })));
    futures_util::future::join_all(inputs).await;
    let all = update(&ada, json!({})).await;
    assert_eq!(
        all["profile"]["preferences"]
            .as_object()
            .map(serde_json::Map::len),
        Some(12)
    );

    let half = "x".repeat(9000);
    assert_eq!(
        update(&ada, json!({ "preferences": { "big": half } })).await["errors"],
        json!([])
    );
    let too_large = update(&ada, json!({ "preferences": { "bigger": half } })).await;
    assert_eq!(too_large["errors"][0]["rule"], "JSON_SIZE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_username_loses_nothing_and_races_have_one_winner() {
    let app = TestApp::new().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (one, two) = tokio::join!(
        update(&ada, json!({ "username": "same" })),
        update(&bob, json!({ "username": "SAME" }))
    );
    let codes: Vec<_> = [&one, &two]
        .iter()
        .map(|answer| answer["errors"][0]["code"].clone())
        .collect();
    assert!(
        codes.contains(&Value::Null) && codes.contains(&json!("TAKEN")),
        "{codes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_is_made_at_its_first_change() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let background = "{ me { background { softwareTools programmingLanguages hardwareSetup technicalPreferences experienceLevel primaryDomain } } }";
    assert_eq!(
        ada.ask(background).await.data("me/background"),
        &Value::Null
    );
    let mutation = "mutation($input: UpdateBackgroundInput!) { updateBackground(input: $input) { errors { code path ... on InvalidValueError { rule } } background { softwareTools primaryDomain } user { id } } }";
    let set = json!({
        "softwareTools": ["vim", "git"], "programmingLanguages": ["Rust"], "hardwareSetup": { "screens": 2 },
        "technicalPreferences": { "tabs": false }, "experienceLevel": "EXPERT", "primaryDomain": "Engines",
    });
    assert_eq!(
        ada.gql(mutation, json!({ "input": set }))
            .await
            .data("updateBackground/errors"),
        &json!([])
    );
    assert_eq!(ada.ask(background).await.data("me/background"), &set);
    let cleared = json!({ "input": { "softwareTools": null, "hardwareSetup": null, "experienceLevel": null } });
    let cleared = ada.gql(mutation, cleared).await;
    assert_eq!(
        cleared.data("updateBackground/background"),
        &json!({ "softwareTools": [], "primaryDomain": "Engines" })
    );
    for (field, value, path, rule) in [
        (
            "softwareTools",
            json!(["ok", ""]),
            json!(["input", "softwareTools", "1"]),
            "LENGTH",
        ),
        (
            "softwareTools",
            json!(vec!["x"; 201]),
            json!(["input", "softwareTools"]),
            "LIST_LENGTH",
        ),
        (
            "programmingLanguages",
            json!(["x".repeat(201)]),
            json!(["input", "programmingLanguages", "0"]),
            "LENGTH",
        ),
        (
            "hardwareSetup",
            json!("text"),
            json!(["input", "hardwareSetup"]),
            "JSON_OBJECT",
        ),
        (
            "primaryDomain",
            json!(""),
            json!(["input", "primaryDomain"]),
            "LENGTH",
        ),
    ] {
        let refused = ada
            .gql(mutation, json!({ "input": { field: value } }))
            .await;
        let error = refused.data("updateBackground/errors/0");
        assert_eq!(
            (&error["path"], &error["rule"]),
            (&path, &json!(rule)),
            "{field}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personalization_is_written_by_its_owner_and_by_services() {
    let app = TestApp::new().await;
    let (ada, bob, admin) = (
        app.user("ada").await,
        app.user("bob").await,
        app.admin().await,
    );
    let mutation = "mutation($input: UpdatePersonalizationInput!) { updatePersonalization(input: $input) { errors { code path } \
        user { id } personalization { recommendedContent preferredCategories lastPersonalizationUpdate } } }";
    let own = ada
        .gql(
            mutation,
            json!({ "input": { "preferredCategories": ["jazz"] } }),
        )
        .await;
    assert_eq!(
        own.data("updatePersonalization/personalization"),
        &json!({ "recommendedContent": [], "preferredCategories": ["jazz"], "lastPersonalizationUpdate": "2026-11-30T08:00:00Z" })
    );
    let by_service = admin
        .gql(
            mutation,
            json!({ "input": { "userId": ada.id, "recommendedContent": ["x1"] } }),
        )
        .await;
    assert_eq!(
        by_service.data("updatePersonalization/user/id"),
        &json!(ada.id)
    );
    assert_eq!(
        by_service.data("updatePersonalization/personalization/preferredCategories"),
        &json!(["jazz"])
    );
    for id in [ada.id.as_str(), "nonsense", &ada.session] {
        let foreign = bob
            .gql(
                mutation,
                json!({ "input": { "userId": id, "recommendedContent": ["spam"] } }),
            )
            .await;
        let refused = json!({ "code": "NOT_FOUND", "path": ["input", "userId"] });
        assert_eq!(foreign.data("updatePersonalization/errors/0"), &refused);
    }
    let unknown = admin.gql(mutation, json!({ "input": { "userId": "VXNlcgAAAAAAAAAAAAAAAAAAAAA", "recommendedContent": [] } })).await;
    assert_eq!(
        unknown.data("updatePersonalization/errors/0/code"),
        "NOT_FOUND"
    );
    let kept = ada
        .ask("{ me { personalization { recommendedContent } } }")
        .await;
    assert_eq!(
        kept.data("me/personalization/recommendedContent"),
        &json!(["x1"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_of_one_document_answer_what_the_earlier_ones_wrote() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let document = "mutation { updateProfile(input: { fullName: \"New Name\" }) { errors { code } } \
        updateBackground(input: { primaryDomain: \"Engines\" }) { user { fullName background { primaryDomain } } } }";
    assert_eq!(
        ada.ask(document).await.data("updateBackground/user"),
        &json!({ "fullName": "New Name", "background": { "primaryDomain": "Engines" } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_the_own_account_writes_none_of_it() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.db.sql("DELETE FROM user_roles").await;
    app.app.access.catch_up().await;
    for mutation in [
        "updateProfile(input: { bio: \"x\" })",
        "updateBackground(input: { primaryDomain: \"x\" })",
        "updatePersonalization(input: { preferredCategories: [\"x\"] })",
    ] {
        let answer = ada
            .ask(&format!(
                "mutation {{ {mutation} {{ errors {{ code }} }} }}"
            ))
            .await;
        assert_eq!(answer.codes(), ["FORBIDDEN"], "{mutation}");
    }
}
