//! The way to the mail server: who it is, who we are, and what nobody on the way gets to see.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::TestApp;
use crate::harness::authority::Authority;
use crate::harness::smtp::MailServer;

/// Settings of a mail server with a certificate of `authority`, which wants an account.
fn mail_server(authority: &Authority, tls: &str) -> Value {
    json!({
        "tls": tls, "certificate": authority.file("server.pem"), "key": authority.file("server.key"),
        "credentials": ["cardea", "p:w/ä"],
    })
}

/// Sends one mail to the server at `url`; gives what the job failed with.
async fn send(url: &str, trusted: Option<&Path>) -> String {
    let mut flags = vec![
        format!("--smtp-url={url}"),
        "--smtp-timeout-secs=3".to_owned(),
    ];
    flags.extend(trusted.map(|file| format!("--smtp-ca-file={}", file.display())));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let app = TestApp::with(&flags).await;
    app.register("ada").await;
    app.run_jobs().await;
    assert_eq!(
        app.db.text("SELECT count(failed_at)::text FROM jobs").await,
        "0",
        "none is given up"
    );
    app.db.text("SELECT last_error FROM jobs").await
}

/// `p:w/ä`, as it is written in an address.
const USER: &str = "cardea:p%3Aw%2F%C3%A4@";

#[tokio::test(flavor = "multi_thread")]
async fn starttls_and_tls_from_the_start_protect_the_password_and_the_mail() {
    let authority = Authority::certifying("localhost");
    for (scheme, tls) in [("smtp", "starttls"), ("smtps", "implicit")] {
        let Some(server) = MailServer::with(mail_server(&authority, tls)).await else {
            return;
        };
        let url = format!("{scheme}://{USER}localhost:{}", server.port);
        assert_eq!(
            send(&url, Some(&authority.file("authority.pem"))).await,
            "",
            "{tls}"
        );
        let mails = server.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(
            (&mails[0]["tls"], &mails[0]["user"]),
            (&json!(true), &json!("cardea"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_host_or_of_a_stranger_gets_no_mail() {
    let other = Authority::certifying("mail.example.org");
    let authority = Authority::certifying("localhost");
    for (scheme, tls) in [("smtp", "starttls"), ("smtps", "implicit")] {
        let Some(server) = MailServer::with(mail_server(&other, tls)).await else {
            return;
        };
        let url = format!("{scheme}://{USER}localhost:{}", server.port);
        let error = send(&url, Some(&other.file("authority.pem"))).await;
        assert!(error.contains("not valid for name"), "{error}");
        assert_eq!(server.mails(), Vec::<Value>::new());

        let server = MailServer::with(mail_server(&authority, tls))
            .await
            .expect("Python");
        let url = format!("{scheme}://{USER}localhost:{}", server.port);
        for trusted in [None, Some(other.file("authority.pem"))] {
            let error = send(&url, trusted.as_deref()).await;
            assert!(error.contains("UnknownIssuer"), "{error}");
        }
        assert_eq!(server.mails(), Vec::<Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_gets_neither_password_nor_mail() {
    // As if somebody on the way had taken STARTTLS out of what the server offers.
    let Some(server) = MailServer::with(json!({ "credentials": ["cardea", "p:w/ä"] })).await
    else {
        return;
    };
    let error = send(&format!("smtp://{USER}localhost:{}", server.port), None).await;
    assert!(error.starts_with("the mail server gives no TLS"), "{error}");
    let error = send(&format!("smtps://{USER}localhost:{}", server.port), None).await;
    assert!(
        error.starts_with("the mail server cannot be reached"),
        "{error}"
    );
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_an_account_takes_mails_only_with_the_right_one_and_none_is_lost() {
    let Some(server) = MailServer::with(json!({ "credentials": ["cardea", "p:w/ä"] })).await
    else {
        return;
    };
    let address = format!("127.0.0.1:{}?tls=none", server.port);
    let none = send(&format!("smtp://{address}"), None).await;
    assert!(
        none.starts_with("the mail server refuses the sender: 530"),
        "{none}"
    );
    let wrong = send(&format!("smtp://cardea:guess@{address}"), None).await;
    assert!(
        wrong.starts_with("the mail server lets us not in: 535"),
        "{wrong}"
    );
    assert!(!wrong.contains("guess"), "{wrong}");
    assert_eq!(server.mails(), Vec::<Value>::new());
    assert_eq!(send(&format!("smtp://{USER}{address}"), None).await, "");
    assert_eq!(server.mails()[0]["user"], "cardea");
}

/// Somebody on the way to `port`, who sends `answers` along with the server's answer to STARTTLS.
async fn meddler(port: u16, answers: &'static str) -> (u16, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let mut work = JoinSet::new();
    work.spawn(async move {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut client_says, mut to_client) = client.into_split();
        let (mut server_says, mut to_server) = server.into_split();
        let upward = async { tokio::io::copy(&mut client_says, &mut to_server).await };
        let downward = async {
            let mut buffer = [0; 4096];
            while let length @ 1.. = server_says.read(&mut buffer).await? {
                let mut said = buffer[..length].to_vec();
                if said.starts_with(b"220 Ready to start TLS") {
                    said.extend_from_slice(answers.as_bytes());
                }
                to_client.write_all(&said).await?;
            }
            to_client.shutdown().await?;
            std::io::Result::Ok(())
        };
        tokio::try_join!(upward, downward).map(drop)
    });
    (own, work)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_before_tls_are_not_taken_for_the_server_s() {
    let authority = Authority::certifying("localhost");
    let mut settings = mail_server(&authority, "starttls");
    settings
        .as_object_mut()
        .expect("an object")
        .remove("credentials");
    let Some(mut server) = MailServer::with(settings).await else {
        return;
    };
    // So that only an answer of somebody else can say that the mail is accepted.
    server.rule(&json!({ "*": "hang" }));
    let accepted = "250 mail.test\r\n250 OK\r\n250 OK\r\n354 Go on\r\n250 Accepted\r\n";
    let (port, _meddling) = meddler(server.port, accepted).await;
    let trusted = authority.file("authority.pem");
    let error = send(&format!("smtp://localhost:{port}"), Some(&trusted)).await;
    assert!(
        error.starts_with("the mail server gives no TLS"),
        "{error:?}"
    );
    // Whoever only passes on is let through, up to the server's own silence.
    let (port, _meddling) = meddler(server.port, "").await;
    let error = send(&format!("smtp://localhost:{port}"), Some(&trusted)).await;
    assert_eq!(error, "the mail server took too long");
}
