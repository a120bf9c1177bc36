//! What an operator sees and does where mails do not get out, with the real program.

use cardea::worker;
use serde_json::json;

use crate::harness::app::MASTER_KEY;
use crate::harness::app::email;
use crate::harness::process::until;
use crate::harness::smtp::MailServer;
use crate::harness::{Program, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mail_is_listed_and_gets_out_once_it_is_tried_again_and_the_server_takes_it() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({ "*": "550 5.1.1 <ada@example.org> unknown" }));
    let url = format!("--smtp-url={}", server.url());
    let app = TestApp::with(&[&url]).await;
    let program = Program::on(&app.db.url());
    assert_eq!(program.run(&["mail", "list"]).success(), "No mail waits.\n");
    for name in ["ada", "bob"] {
        app.register(name).await;
    }
    let fresh = program.run(&["mail", "list"]).success();
    assert_eq!(
        fresh.matches("  verify_email  account ").count(),
        2,
        "{fresh}"
    );
    assert_eq!(
        fresh
            .matches("  0 tries  next try 2026-11-30T08:00:00Z\n")
            .count(),
        2,
        "{fresh}"
    );
    app.run_jobs().await;
    let user = app
        .db
        .text("SELECT id::text FROM users WHERE username = 'ada'")
        .await;
    let list = program.run(&["mail", "list"]).success();
    let lines: Vec<_> = list.lines().collect();
    let [ada, _] = lines[..] else {
        panic!("{list}");
    };
    let (id, rest) = ada.split_once("  ").expect("an id");
    let expected = format!(
        "verify_email  account {user}  1 try  given up 2026-11-30T08:00:00Z  550 5.1.1 … unknown"
    );
    assert_eq!(rest, expected);

    let unknown = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        program.run(&["mail", "retry", unknown]).error(),
        format!("no mail with the id {unknown} waits")
    );
    let neither = program.run(&["mail", "retry"]);
    assert_eq!(neither.code, Some(2), "{neither:?}");
    server.rule(&json!({}));
    // The clock of the program is the real one; workers that stand in the past would wait for it.
    app.app.clock.advance(chrono::TimeDelta::days(3650));
    assert_eq!(app.run_jobs().await, 0);
    worker::start(&app.app);
    let retried = program.run(&["mail", "retry", id]).success();
    assert_eq!(retried, "1 of 1 mails will be tried again.\n");
    let arrived = async |count: usize| {
        for _ in 0..100 {
            if server.recipients().len() >= count && app.waiting_jobs().await == 0 {
                return server.recipients();
            }
            // Less than the five seconds after which workers look by themselves: they are woken.
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        panic!("{:?}", server.recipients());
    };
    assert_eq!(arrived(1).await, [email("ada")]);
    assert_eq!(
        program.run(&["mail", "retry", "--all"]).success(),
        "1 of 1 mails will be tried again.\n"
    );
    assert_eq!(arrived(2).await, [email("ada"), email("bob")]);
    assert_eq!(program.run(&["mail", "list"]).success(), "No mail waits.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_version_is_listed_as_a_mail_may_be_and_stays_when_tried_again() {
    let app = TestApp::new().await;
    app.db
        .sql("INSERT INTO jobs (id, payload, run_at, created_at) VALUES (gen_random_uuid(), '{\"kind\": \"unheard_of\"}', now(), now())")
        .await;
    let program = Program::on(&app.db.url());
    let list = program.run(&["mail", "list"]).success();
    assert!(
        list.contains("  unheard_of  account unknown  0 tries  next try "),
        "{list}"
    );
    assert_eq!(
        program.run(&["mail", "retry", "--all"]).success(),
        "1 of 1 mails will be tried again.\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_sends_through_the_mail_server_that_it_is_given_and_shows_no_inbox() {
    let Some(mail_server) = MailServer::plain().await else {
        return;
    };
    let app = TestApp::new().await;
    let url = mail_server.url();
    tokio::task::spawn_blocking(move || {
        let program = Program::on(&app.db.url()).with("CARDEA_SMTP_URL", &url);
        let server = program.serve();
        server.register("ada");
        until("the mail", || {
            (mail_server.recipients() == [email("ada")]).then_some(())
        });
        assert_eq!(server.get("/inbox").status, 404);
        server.stop("TERM").success();
    })
    .await
    .expect("it runs");
}

#[test]
fn settings_of_the_mail_server_are_checked_before_anything_starts_and_never_repeated() {
    let check = |settings: &[(&'static str, &str)]| {
        let mut program = Program::new();
        for (variable, value) in settings {
            program = program.with(variable, value);
        }
        program.run(&["config", "check"]).stdout
    };
    let wrong = check(&[
        ("CARDEA_SMTP_URL", "smtp://ann:hush@"),
        ("CARDEA_MAIL_FROM", "Cardea"),
        ("CARDEA_SMTP_TIMEOUT_SECS", "41"),
        ("CARDEA_SMTP_CONNECTIONS", "0"),
    ]);
    for problem in [
        "CARDEA_SMTP_URL must be smtp:// or smtps://",
        "CARDEA_MAIL_FROM must be a mail address",
        "CARDEA_SMTP_TIMEOUT_SECS must lie between 1 and 40",
        "CARDEA_SMTP_CONNECTIONS must lie between 1 and 50",
    ] {
        assert!(wrong.contains(problem), "{wrong}");
    }
    assert!(!wrong.contains("hush"), "{wrong}");
    let production = [
        ("CARDEA_MODE", "production"),
        ("CARDEA_MASTER_KEY", MASTER_KEY),
        ("CARDEA_PUBLIC_URL", "https://accounts.example.org"),
        (
            "DATABASE_URL",
            "postgres://cardea@db.example.org/cardea?sslmode=verify-full",
        ),
        ("CARDEA_MAIL_FROM", "no-reply@example.org"),
    ];
    let with = |url| check(&[&production[..], &[("CARDEA_SMTP_URL", url)]].concat());
    let sound = "The settings are sound.\n";
    assert_eq!(check(&production), sound, "mails may wait");
    assert_eq!(with("smtp://ann:hush@mail.example.org"), sound);
    assert_eq!(with("smtp://127.0.0.1:25?tls=none"), sound);
    let clear = with("smtp://mail.example.org?tls=none");
    assert_eq!(
        clear,
        "production: CARDEA_SMTP_URL sends mails in the clear; leave tls=none out\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_certificates_stops_the_server_by_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("authority.pem");
    let app = TestApp::new().await;
    let start = || {
        let program = Program::on(&app.db.url())
            .with("CARDEA_SMTP_URL", "smtp://mail.example.org")
            .with("CARDEA_SMTP_CA_FILE", &file.to_string_lossy());
        program.run(&[]).error()
    };
    assert_eq!(start(), "CARDEA_SMTP_CA_FILE names no file");
    for content in ["", "-----BEGIN CERTIFICATE-----\nxxxx\n"] {
        std::fs::write(&file, content).expect("a file");
        let error = start();
        let expected = format!("CARDEA_SMTP_CA_FILE: {} cannot be used: ", file.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}
