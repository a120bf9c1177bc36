//! Telling the owner that somebody signed in from a device that is new.

use crate::harness::TestApp;
use crate::harness::app::PASSWORD;
use crate::harness::verbs::FIREFOX;

const ADA: &str = "ada@example.org";
const NOTICE: &str = "New sign-in to your account at Cardea";
const HOME: &str = "192.0.2.7";

/// How many notices ada has got, once somebody at `ip` has signed in with `agent`.
async fn notices(app: &TestApp, ip: &str, agent: &str) -> usize {
    let answer = app.at(ip).with(agent).login("ada", PASSWORD).await;
    assert_eq!(answer.data("login/result/__typename"), "SignedIn");
    let subjects = app.subjects(ADA).await;
    subjects.iter().filter(|subject| *subject == NOTICE).count()
}

/// An account whose first sign-in was at home, with Firefox.
async fn ada_at_home() -> TestApp {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.db.sql("DELETE FROM known_devices").await;
    assert_eq!(
        notices(&app, HOME, FIREFOX).await,
        0,
        "the first one is no news"
    );
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_browser_or_provider_is_told_and_a_new_version_or_address_is_not() {
    let app = ada_at_home().await;
    let next = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0.1";
    assert_eq!(notices(&app, HOME, next).await, 0, "the next version");
    assert_eq!(
        notices(&app, "192.0.200.1", FIREFOX).await,
        0,
        "the same provider"
    );
    assert_eq!(
        notices(&app, HOME, "curl/8.5.0").await,
        1,
        "another program"
    );
    assert_eq!(
        notices(&app, HOME, "curl/8.6.0").await,
        1,
        "which is known now"
    );
    assert_eq!(
        notices(&app, "203.0.113.9", FIREFOX).await,
        2,
        "another provider"
    );
    assert_eq!(notices(&app, "203.0.113.9", next).await, 2);
    assert_eq!(notices(&app, "2001:db8:1:2::1", FIREFOX).await, 3);
    assert_eq!(
        notices(&app, "2001:db8:ffff::1", FIREFOX).await,
        3,
        "the same provider"
    );
    assert_eq!(notices(&app, "2001:db9::1", FIREFOX).await, 4);
    assert_eq!(notices(&app, HOME, FIREFOX).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notice_names_time_address_and_browser() {
    let app = ada_at_home().await;
    app.db
        .sql("UPDATE profiles SET timezone = 'Europe/Vienna'")
        .await;
    let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
    assert_eq!(notices(&app, "203.0.113.9", chrome).await, 1);
    let text = app.mails_to(ADA)[0].text.clone();
    for fact in ["30", "2026", "09:00", "203.0.113.9", "Chrome", "Windows"] {
        assert!(text.contains(fact), "no {fact} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_not_told_of_and_makes_no_device_known() {
    let app = ada_at_home().await;
    let before = app.state().await;
    let stranger = app.at("203.0.113.9").with("curl/8.5.0");
    let answer = stranger.login("ada", "Wrong-Horse-7").await;
    assert_eq!(answer.code(), "INVALID_CREDENTIALS");
    assert_eq!(app.state().await, before);
    let known = "SELECT count(*)::text FROM known_devices";
    assert_eq!(app.db.text(known).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_kept_as_hashes_and_by_account() {
    let app = ada_at_home().await;
    app.user("bob").await;
    app.at(HOME).login("bob", PASSWORD).await;
    let kept = app
        .db
        .text("SELECT query_to_xml('SELECT * FROM known_devices', true, false, '')::text")
        .await;
    assert!(
        !kept.contains("192.0.2") && !kept.contains("Firefox"),
        "{kept}"
    );
    let hashes = "SELECT count(DISTINCT device_hash)::text FROM known_devices";
    assert_eq!(
        app.db.text(hashes).await,
        "3",
        "one device is another one for another account"
    );
}
