//! Mails on their way through a real mail server: they arrive, whatever it does meanwhile.

use std::time::{Duration, Instant};

use cardea::worker;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::app::email;
use crate::harness::smtp::MailServer;

/// An application that sends through the server at `url`, and gives up on it after a second.
async fn sender(url: &str, more: &[&str]) -> TestApp {
    let url = format!("--smtp-url={url}");
    let flags = [
        &url,
        "--smtp-timeout-secs=1",
        "--mail-from=Cardea <no-reply@cardea.test>",
    ];
    let flags: Vec<&str> = flags.into_iter().chain(more.iter().copied()).collect();
    TestApp::with(&flags).await
}

/// Carries jobs out and lets time pass until none waits; gives how much time passed.
async fn deliver(app: &TestApp) -> TimeDelta {
    let step = TimeDelta::seconds(5);
    let mut passed = TimeDelta::zero();
    loop {
        app.run_jobs().await;
        if app.waiting_jobs().await == 0 {
            return passed;
        }
        assert!(passed < TimeDelta::hours(3), "mails wait for ever");
        app.advance(step);
        passed += step;
    }
}

/// What the operator sees of the jobs: tries, whether it was given up, and why.
async fn jobs(app: &TestApp) -> String {
    app.db
        .text(
            "SELECT string_agg(concat_ws(' ', attempts, CASE WHEN failed_at IS NULL THEN 'waits' ELSE 'dead' END, \
             last_error), '; ' ORDER BY id) FROM jobs",
        )
        .await
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().expect("headers");
    let mut found = headers.iter().filter(|header| header[0] == name);
    let value = found.next().unwrap_or_else(|| panic!("{name} in {mail}"));
    assert_eq!(found.next(), None, "{name} is there twice");
    value[1].as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_arrives_in_both_forms_with_everything_a_mail_reader_needs() {
    let Some(server) = MailServer::plain().await else {
        return;
    };
    let app = sender(&server.url(), &[]).await;
    let input = json!({ "email": email("ada"), "fullName": "Ada", "password": "Correct-Horse-7", "language": "de-AT" });
    let register =
        "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
    app.gql(register, json!({ "input": input })).await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.waiting_jobs().await, 0);
    let mails = server.mails();
    let [mail] = &mails[..] else {
        panic!("{mails:?}")
    };
    assert_eq!(mail["from"], "no-reply@cardea.test");
    assert_eq!(mail["to"], json!(["ada@example.org"]));
    assert_eq!(mail["hello"], "cardea.test");
    assert_eq!(header(mail, "From"), "Cardea <no-reply@cardea.test>");
    assert_eq!(header(mail, "To"), "ada@example.org");
    assert_eq!(
        header(mail, "Subject"),
        "Bestätige deine Adresse für Cardea"
    );
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(mail, "MIME-Version"), "1.0");
    assert!(header(mail, "Date").ends_with("+0000"), "{mail}");
    let id = header(mail, "Message-ID");
    assert!(id.starts_with('<') && id.ends_with("@cardea.test>"), "{id}");
    assert_eq!(mail["type"], "multipart/alternative");
    // Any server on the way may take 7 bits and 998 characters a line for the most there is.
    assert_eq!(mail["ascii"], true);
    assert!(
        mail["longest"]
            .as_u64()
            .is_some_and(|longest| longest <= 998),
        "{mail}"
    );
    let text = mail["text"].as_str().expect("a text");
    let link = text
        .lines()
        .find(|line| line.starts_with("http"))
        .expect("a link");
    assert!(text.contains("Bestätige bitte über diesen Link"), "{text}");
    let html = mail["html"].as_str().expect("a page");
    assert!(html.contains("<html lang=\"de\">"), "{html}");
    assert!(html.contains(&link.replace('/', "&#x2f;")), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_451_for_ten_minutes_gets_every_mail_within_a_minute_after() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({ "*": "451 4.7.1 Try again later" }));
    let app = sender(&server.url(), &[]).await;
    let names: Vec<_> = (0..10).map(|number| format!("user{number}")).collect();
    for name in &names {
        app.register(name).await;
    }
    for _ in 0..120 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(5));
    }
    assert_eq!(server.mails().len(), 0);
    assert_eq!(app.waiting_jobs().await, 10, "none is given up");
    server.rule(&json!({}));
    let passed = deliver(&app).await;
    assert!(passed <= TimeDelta::seconds(60), "{passed}");
    let expected: Vec<_> = names.iter().map(|name| email(name)).collect();
    assert_eq!(server.recipients(), expected, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_refused_for_good_is_set_aside_at_once_and_blocks_nobody() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({
        "ada@example.org": "550 5.1.1 <ada@example.org> unknown, ask postmaster@example.org",
        "bob@example.org": "554 data 5.7.1 Looks like spam: http://127.0.0.1/verify-email#token=crv_x",
    }));
    let app = sender(&server.url(), &[]).await;
    for name in ["ada", "bob", "eve"] {
        app.register(name).await;
    }
    assert_eq!(app.run_jobs().await, 3);
    assert_eq!(server.recipients(), ["eve@example.org"]);
    assert_eq!(app.waiting_jobs().await, 0);
    // Neither an address nor a token, though the server repeated both.
    let expected = "1 dead 550 5.1.1 … unknown, ask …; 1 dead 554 5.7.1 Looks like spam: …";
    assert_eq!(jobs(&app).await, expected);
    app.advance(TimeDelta::hours(2));
    assert_eq!(app.run_jobs().await, 0, "it is not tried again by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_hangs_costs_the_others_nothing_and_arrives_later() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({ "slow@example.org": "hang" }));
    let app = sender(&server.url(), &[]).await;
    app.register("slow").await;
    for number in 0..10 {
        app.register(&format!("user{number}")).await;
    }
    let begun = Instant::now();
    worker::start(&app.app);
    while server.mails().len() < 10 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            server.recipients()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "the ten took {took:?}, as long as the one that hangs"
    );
    while !jobs(&app).await.contains("took too long") {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{}",
            jobs(&app).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(jobs(&app).await, "1 waits the mail server took too long");
    server.rule(&json!({}));
    app.advance(TimeDelta::seconds(5));
    app.run_jobs().await;
    while app.waiting_jobs().await > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}",
            jobs(&app).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let to = server.recipients();
    assert_eq!(to.iter().filter(|to| *to == "slow@example.org").count(), 1);
    assert_eq!(to.len(), 11, "{to:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_after_the_mail_was_taken_makes_at_most_one_duplicate_of_the_same_id() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({ "ada@example.org": "drop once" }));
    let app = sender(&server.url(), &[]).await;
    app.register("ada").await;
    app.register("bob").await;
    deliver(&app).await;
    let ada = ["ada@example.org", "ada@example.org", "bob@example.org"];
    assert_eq!(server.recipients(), ada);
    let mails = server.mails();
    let ids: Vec<_> = mails
        .iter()
        .filter(|mail| mail["to"][0] == "ada@example.org")
        .map(|mail| header(mail, "Message-ID"))
        .collect();
    assert_eq!(ids[0], ids[1], "mail readers show the two as one");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_goes_down_and_comes_back_every_mail_arrives() {
    let Some(first) = MailServer::plain().await else {
        return;
    };
    let app = sender(&first.url(), &[]).await;
    let names: Vec<_> = (0..30).map(|number| format!("user{number:02}")).collect();
    for name in &names[..10] {
        app.register(name).await;
    }
    app.run_jobs().await;
    let mut arrived = first.recipients();
    assert_eq!(arrived.len(), 10);
    // With connections open that were good a moment ago.
    let port = first.port;
    drop(first);
    for name in &names[10..] {
        app.register(name).await;
    }
    for _ in 0..60 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(5));
    }
    assert_eq!(app.waiting_jobs().await, 20);
    assert!(
        jobs(&app)
            .await
            .contains("the mail server cannot be reached")
    );
    let back = MailServer::with(json!({ "port": port }))
        .await
        .expect("Python");
    deliver(&app).await;
    arrived.extend(back.recipients());
    arrived.sort();
    let expected: Vec<_> = names.iter().map(|name| email(name)).collect();
    assert_eq!(arrived, expected, "each once, none lost");
    assert_eq!(jobs(&app).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_share_a_connection() {
    let Some(server) = MailServer::plain().await else {
        return;
    };
    let app = sender(&server.url(), &[]).await;
    for number in 0..60 {
        app.register(&format!("user{number}")).await;
    }
    app.run_jobs().await;
    let mut peers: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| mail["peer"].to_string())
        .collect();
    peers.dedup();
    assert_eq!(server.mails().len(), 60);
    assert_eq!(peers.len(), 2, "fifty mails to a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_given_up_half_way_leaves_no_answer_to_the_next_mail() {
    let Some(mut server) = MailServer::plain().await else {
        return;
    };
    server.rule(&json!({ "slow@example.org": "hang", "bad@example.org": "550 5.1.1 Unknown" }));
    let app = sender(&server.url(), &["--smtp-connections=1"]).await;
    for name in ["good", "slow", "bad", "last"] {
        app.register(name).await;
    }
    assert_eq!(app.run_jobs().await, 4);
    let expected = "1 waits the mail server took too long; 1 dead 550 5.1.1 Unknown";
    assert_eq!(jobs(&app).await, expected);
    assert_eq!(
        server.recipients(),
        ["good@example.org", "last@example.org"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_connections_and_says_nothing_holds_nobody_longer_than_the_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let app = sender(&format!("smtp://127.0.0.1:{port}"), &[]).await;
    app.register("ada").await;
    let begun = Instant::now();
    assert_eq!(app.run_jobs().await, 1);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(jobs(&app).await, "1 waits the mail server took too long");
}
