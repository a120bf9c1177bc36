//! The keys of access tokens: one follows another while several servers serve, and nobody is signed out.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use cardea::app::App;
use cardea::auth::access_token::{KeySet, generate_private_key};
use cardea::auth::keys::KeyState;
use cardea::models::signing_key::SigningKey;
use cardea::services::keys::{self, Beginning, Removal, Rotation};
use chrono::TimeDelta;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::harness::{Answer, TestApp};

const JWKS: &str = "/.well-known/jwks.json";

async fn get(router: &Router, path: &str, headers: &[(header::HeaderName, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await;
    Answer::read(response.expect("the router always answers")).await
}

/// The names of the keys that a server publishes, the one that signs last first.
async fn published(router: &Router) -> Vec<String> {
    let answer = get(router, JWKS, &[]).await;
    let keys = answer.json["keys"].as_array().expect("keys");
    let names = keys.iter().map(|key| key["kid"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

/// What a server says to who shows this token.
async fn shown(router: &Router, token: &str) -> StatusCode {
    let bearer = format!("Bearer {token}");
    let headers = [(header::AUTHORIZATION, &*bearer)];
    let answer = get(router, "/graphql?query=%7Bme%7Bid%7D%7D", &headers).await;
    answer.status
}

fn key_of(token: &str) -> String {
    let header = jsonwebtoken::decode_header(token).expect("a token");
    header.kid.expect("the name of a key")
}

/// Another token for the session of `token`, by the key that signs on this server now.
fn another(app: &App, token: &str) -> String {
    let claims = app.keys.verify_lapsed(token, app.now()).expect("a token");
    let signed = app
        .keys
        .sign(claims.sub, claims.sid, Vec::new(), None, app.now());
    signed.expect("signed").token
}

async fn rotate(app: &App, beginning: Beginning) -> String {
    match keys::rotate(app, beginning).await.expect("an answer") {
        Rotation::Added(key) => key.id.to_string(),
        Rotation::Waiting(key) => panic!("{key:?} waits"),
    }
}

async fn reload(apps: &[&App]) {
    for app in apps {
        app.reload_keys().await.expect("read");
    }
}

async fn states(app: &App) -> Vec<KeyState> {
    let keys = keys::list(app).await.expect("a list");
    keys.into_iter().map(|(_, state)| state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_published_at_once_and_signs_ten_minutes_later_on_every_server() {
    let first = TestApp::new().await;
    let (second, second_router) = first.second(&[]).await;
    let ada = first.user("ada").await;
    let old = key_of(&ada.access_token);
    assert_eq!(published(&first.router).await, [&*old]);

    let new = rotate(&first.app, Beginning::Published).await;
    reload(&[&first.app, &second]).await;
    for router in [&first.router, &second_router] {
        assert_eq!(published(router).await, [&*new, &*old]);
    }
    first.advance(TimeDelta::minutes(10) - TimeDelta::microseconds(1));
    for app in [&first.app, &second] {
        assert_eq!(key_of(&another(app, &ada.access_token)), old);
    }
    first.advance(TimeDelta::microseconds(1));
    for app in [&first.app, &second] {
        let token = another(app, &ada.access_token);
        assert_eq!(key_of(&token), new);
        for router in [&first.router, &second_router] {
            assert_eq!(shown(router, &token).await, StatusCode::OK);
            assert_eq!(shown(router, &ada.access_token).await, StatusCode::OK);
            assert_eq!(published(router).await, [&*new, &*old]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_old_key_are_good_until_they_run_out_and_then_the_key_is_gone() {
    let first = TestApp::new().await;
    let (second, second_router) = first.second(&[]).await;
    let ada = first.user("ada").await;
    let old = key_of(&ada.access_token);
    let new = rotate(&first.app, Beginning::Published).await;
    reload(&[&first.app, &second]).await;
    first.advance(TimeDelta::minutes(10) - TimeDelta::seconds(1));
    let last = another(&first.app, &ada.access_token);
    assert_eq!(key_of(&last), old);

    first.advance(TimeDelta::minutes(15));
    for router in [&first.router, &second_router] {
        assert_eq!(shown(router, &last).await, StatusCode::UNAUTHORIZED);
        assert_eq!(published(router).await.len(), 2);
    }
    first.advance(-TimeDelta::seconds(1));
    for router in [&first.router, &second_router] {
        assert_eq!(shown(router, &last).await, StatusCode::OK);
    }
    // The last second of the old key, its tokens' lifetime, and a minute for clocks that differ.
    first.advance(TimeDelta::seconds(62) - TimeDelta::microseconds(1));
    assert_eq!(published(&first.router).await, [&*new, &*old]);
    assert!(
        first
            .app
            .keys
            .verify_lapsed(&last, first.app.now())
            .is_some()
    );
    assert_eq!(keys::remove_ended(&first.app).await.expect("cleaned"), 0);
    first.advance(TimeDelta::microseconds(1));
    for (app, router) in [(&first.app, &first.router), (&second, &second_router)] {
        assert_eq!(published(router).await, [&*new]);
        assert!(app.keys.verify_lapsed(&last, app.now()).is_none());
        assert_eq!(states(app).await, [KeyState::Signing]);
    }
    assert_eq!(first.count("signing_keys").await, "2");
    assert_eq!(keys::remove_ended(&first.app).await.expect("cleaned"), 1);
    assert_eq!(keys::remove_ended(&first.app).await.expect("cleaned"), 0);
    reload(&[&first.app, &second]).await;
    for router in [&first.router, &second_router] {
        assert_eq!(published(router).await, [&*new]);
        assert_eq!(shown(router, &last).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_key_made_at_once_is_good_on_a_server_that_was_not_told() {
    let first = TestApp::deaf().await;
    let (second, _) = first.second(&[]).await;
    let ada = first.user("ada").await;
    let new = rotate(&second, Beginning::AtOnce).await;
    reload(&[&second]).await;
    let token = another(&second, &ada.access_token);
    assert_eq!(key_of(&token), new);
    assert_eq!(published(&first.router).await.len(), 1);
    assert_eq!(shown(&first.router, &token).await, StatusCode::OK);
    assert_eq!(published(&first.router).await.len(), 2);
    assert_eq!(key_of(&another(&first.app, &token)), new);
    assert_eq!(
        shown(&first.router, &ada.access_token).await,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_refused_while_keys_rotate_every_ten_seconds_on_servers_that_nobody_tells() {
    let first = TestApp::new().await;
    let (second, second_router) = first.second(&[]).await;
    let ada = first.user("ada").await;
    let mut tokens = vec![ada.access_token.clone()];
    for round in 0..12 {
        let rotating = if round % 2 == 0 { &first.app } else { &second };
        rotate(rotating, Beginning::AtOnce).await;
        reload(&[rotating]).await;
        for app in [&first.app, &second] {
            tokens.push(another(app, &ada.access_token));
        }
        for token in tokens.iter().rev().take(5) {
            for router in [&first.router, &second_router] {
                assert_eq!(shown(router, token).await, StatusCode::OK, "{round}");
            }
        }
        first.advance(TimeDelta::seconds(10));
    }
    for token in &tokens {
        assert_eq!(shown(&first.router, token).await, StatusCode::OK);
    }
    assert_eq!(states(&second).await.len(), 13);
}

/// A set with a key that is in no database, for tokens that look like those of `app`.
fn foreign(app: &App, issuer: &str) -> KeySet {
    let row = SigningKey {
        id: Uuid::now_v7(),
        private_key: generate_private_key().expect("a key"),
        signs_from: app.now(),
    };
    let (audience, lifetime) = ("cardea".to_owned(), app.config.access_token_lifetime());
    KeySet::new(&[row], issuer.to_owned(), audience, lifetime).expect("a set")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_has_are_looked_for_at_most_once_a_second() {
    let app = TestApp::new().await;
    let token = || {
        let set = foreign(&app.app, &app.app.config.token_issuer());
        let signed = set.sign(
            Uuid::new_v4(),
            Uuid::new_v4(),
            Vec::new(),
            None,
            app.app.now(),
        );
        signed.expect("signed").token
    };
    let flood = async || {
        let requests = (0..20).map(|_| async {
            assert_eq!(shown(&app.router, &token()).await, StatusCode::UNAUTHORIZED);
        });
        futures_util::future::join_all(requests).await;
    };
    assert_eq!(app.statements(flood()).await.0, 1);
    app.advance(TimeDelta::milliseconds(999));
    assert_eq!(app.statements(flood()).await.0, 0);
    app.advance(TimeDelta::milliseconds(1));
    assert_eq!(app.statements(flood()).await.0, 1);
    // A clock that is set back keeps nobody waiting.
    app.advance(-TimeDelta::hours(1));
    assert_eq!(app.statements(flood()).await.0, 1);

    app.advance(TimeDelta::seconds(2));
    let ended = token();
    app.advance(TimeDelta::minutes(15));
    let other = foreign(&app.app, "https://other.example");
    let other = other.sign(
        Uuid::new_v4(),
        Uuid::new_v4(),
        Vec::new(),
        None,
        app.app.now(),
    );
    for hopeless in [ended, other.expect("signed").token, "x.y.z".to_owned()] {
        let (sent, status) = app.statements(shown(&app.router, &hopeless)).await;
        assert_eq!((sent, status), (0, StatusCode::UNAUTHORIZED));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_tokens_of_known_keys_still_verify() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let set = foreign(&app.app, &app.app.config.token_issuer());
    let unknown = set.sign(Uuid::nil(), Uuid::nil(), Vec::new(), None, app.app.now());
    app.app.db.close();
    assert!(app.app.reload_keys().await.is_err());
    let unknown = unknown.expect("signed").token;
    assert!(app.app.verify_access_token(&unknown).await.is_none());
    let known = app.app.verify_access_token(&ada.access_token).await;
    assert_eq!(known.expect("good").sub.to_string(), ada.uuid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_does_not_take_the_place_of_those_that_can() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    app.db
        .sql("UPDATE signing_keys SET private_key = decode(repeat('00', 48), 'hex')")
        .await;
    assert!(app.app.reload_keys().await.is_err());
    assert_eq!(shown(&app.router, &ada.access_token).await, StatusCode::OK);
    app.db.sql("DELETE FROM signing_keys").await;
    assert!(app.app.reload_keys().await.is_err());
    assert_eq!(shown(&app.router, &ada.access_token).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_waits_at_a_time() {
    let app = TestApp::new().await;
    let next = rotate(&app.app, Beginning::Published).await;
    let again = keys::rotate(&app.app, Beginning::Published).await;
    assert!(
        matches!(again, Ok(Rotation::Waiting(key)) if key.id.to_string() == next),
        "{again:?}"
    );
    assert_eq!(app.count("signing_keys").await, "2");
    // In an emergency a third one signs until the one that waits begins.
    let urgent = rotate(&app.app, Beginning::AtOnce).await;
    let (next_state, retiring) = (KeyState::Next, KeyState::Retiring);
    assert_eq!(
        states(&app.app).await,
        [next_state, KeyState::Signing, retiring]
    );
    reload(&[&app.app]).await;
    let sign = || {
        let signed = app
            .app
            .keys
            .sign(Uuid::nil(), Uuid::nil(), Vec::new(), None, app.app.now());
        key_of(&signed.expect("signed").token)
    };
    assert_eq!(sign(), urgent);
    app.advance(TimeDelta::minutes(10));
    assert_eq!(sign(), next);
    assert_eq!(
        states(&app.app).await,
        [KeyState::Signing, retiring, retiring]
    );
    rotate(&app.app, Beginning::Published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_key_is_void_at_once_and_the_last_one_that_can_sign_stays() {
    let app = TestApp::new().await;
    let ada = app.user("ada").await;
    let stolen: Uuid = key_of(&ada.access_token).parse().expect("an id");
    let remove = async |id| keys::remove(&app.app, id).await.expect("an answer");
    assert_eq!(remove(Uuid::now_v7()).await, Removal::Unknown);
    assert_eq!(remove(stolen).await, Removal::Needed);
    let next = rotate(&app.app, Beginning::Published).await;
    assert_eq!(
        remove(stolen).await,
        Removal::Needed,
        "the other signs only later"
    );
    let new = rotate(&app.app, Beginning::AtOnce).await;
    assert_eq!(remove(stolen).await, Removal::Removed);
    assert_eq!(remove(stolen).await, Removal::Unknown);
    reload(&[&app.app]).await;
    assert_eq!(
        shown(&app.router, &ada.access_token).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(published(&app.router).await, [&*next, &*new]);
    assert_eq!(remove(next.parse().expect("an id")).await, Removal::Removed);
    reload(&[&app.app]).await;
    assert_eq!(published(&app.router).await, [&*new]);
    app.advance(TimeDelta::minutes(20));
    assert_eq!(states(&app.app).await, [KeyState::Signing]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_ended_does_not_come_back_when_its_successor_is_removed() {
    let app = TestApp::new().await;
    let new = rotate(&app.app, Beginning::AtOnce).await;
    app.advance(TimeDelta::minutes(16));
    assert_eq!(states(&app.app).await, [KeyState::Signing]);
    let removal = keys::remove(&app.app, new.parse().expect("an id")).await;
    assert_eq!(removal.expect("an answer"), Removal::Needed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lapsed_token_still_says_whose_it_was_and_a_forged_one_does_not() {
    let app = TestApp::new().await;
    let (other, _) = app.second(&["--token-audience=other"]).await;
    let ada = app.user("ada").await;
    app.advance(TimeDelta::days(20));
    let now = app.app.now();
    assert!(app.app.keys.verify(&ada.access_token, now).is_none());
    let lapsed = app.app.keys.verify_lapsed(&ada.access_token, now);
    assert_eq!(lapsed.expect("ours").sub.to_string(), ada.uuid);
    assert!(other.keys.verify_lapsed(&ada.access_token, now).is_none());
    let (head, signature) = ada.access_token.rsplit_once('.').expect("three parts");
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for forged in [
        format!("{head}.{flipped}{}", &signature[1..]),
        format!("{head}."),
        ada.refresh_token.clone(),
    ] {
        assert!(
            app.app.keys.verify_lapsed(&forged, now).is_none(),
            "{forged}"
        );
    }
    assert_eq!(
        shown(&app.router, &ada.access_token).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_published_keys_is_told_that_nothing_has_changed() {
    let app = TestApp::new().await;
    let whole = app.get(JWKS).await;
    assert_eq!(whole.header("content-type"), Some("application/json"));
    assert_eq!(whole.header("cache-control"), Some("public, max-age=300"));
    let tag = whole.header("etag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for held in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let answer = get(&app.router, JWKS, &[(header::IF_NONE_MATCH, &held)]).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{held}");
        assert_eq!(answer.text, "");
        assert_eq!(answer.header("etag"), Some(&*tag));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    rotate(&app.app, Beginning::Published).await;
    reload(&[&app.app]).await;
    for held in [&*tag, "", "x", "\"x\""] {
        let answer = get(&app.router, JWKS, &[(header::IF_NONE_MATCH, held)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{held}");
        let keys = answer.json["keys"].as_array().expect("keys");
        assert_eq!(keys.len(), 2);
        for key in keys {
            let mut members: Vec<_> = key.as_object().expect("a key").keys().collect();
            members.sort_unstable();
            assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
        }
        assert_ne!(answer.header("etag"), Some(&*tag));
    }
}
