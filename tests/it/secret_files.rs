//! Secrets in files, as Docker and Kubernetes hand them over, and what is never said of them.

use std::fs;
use std::path::Path;

use secrecy::ExposeSecret as _;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::Program;
use crate::harness::app::{MASTER_KEY, config};
use crate::harness::db::TestDb;

/// Settings that hold secrets, each with one that is good.
const SECRETS: [(&str, &str, &str); 10] = [
    (
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "postgres://a:hunter2@127.0.0.1/b",
    ),
    (
        "DATABASE_DIRECT_URL",
        "DATABASE_DIRECT_URL_FILE",
        "postgres://a:hunter2@127.0.0.1/b",
    ),
    (
        "DATABASE_REPLICA_URL",
        "DATABASE_REPLICA_URL_FILE",
        "postgres://a:hunter2@127.0.0.1/b",
    ),
    (
        "CARDEA_SMTP_URL",
        "CARDEA_SMTP_URL_FILE",
        "smtp://a:hunter2@mail.example.org",
    ),
    (
        "CARDEA_GOOGLE_CLIENT_SECRET",
        "CARDEA_GOOGLE_CLIENT_SECRET_FILE",
        "hunter2",
    ),
    (
        "CARDEA_APPLE_PRIVATE_KEY",
        "CARDEA_APPLE_PRIVATE_KEY_FILE",
        "hunter2",
    ),
    (
        "CARDEA_GITHUB_CLIENT_SECRET",
        "CARDEA_GITHUB_CLIENT_SECRET_FILE",
        "hunter2",
    ),
    (
        "CARDEA_OIDC_PROVIDERS",
        "CARDEA_OIDC_PROVIDERS_FILE",
        r#"[{"slug": "acme", "name": "Acme", "issuer": "https://id.example.org", "clientId": "a", "clientSecret": "hunter2"}]"#,
    ),
    (
        "CARDEA_WEBHOOKS",
        "CARDEA_WEBHOOKS_FILE",
        r#"[{"name": "crm", "url": "https://crm.example.org", "secrets": ["whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="]}]"#,
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS_FILE",
        "x-api-key=hunter2",
    ),
];

/// What goes with them.
fn program() -> Program {
    Program::new()
        .with("CARDEA_GOOGLE_CLIENT_ID", "a")
        .with("CARDEA_APPLE_CLIENT_ID", "a")
        .with("CARDEA_APPLE_TEAM_ID", "a")
        .with("CARDEA_APPLE_KEY_ID", "a")
        .with("CARDEA_GITHUB_CLIENT_ID", "a")
}

fn file(folder: &TempDir, name: &str, text: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path.to_str().expect("a path").to_owned()
}

/// What the check of settings says of these.
#[track_caller]
fn check(program: &Program) -> String {
    let checked = program.run(&["config", "check"]);
    let told = format!("{}{}", checked.stdout, checked.stderr);
    assert!(!told.contains("hunter2"), "{told}");
    checked.stdout
}

#[test]
fn every_secret_can_stand_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = program();
    for (name, variable, secret) in SECRETS {
        let text = format!("{secret}\r\n");
        program = program.with(variable, &file(&folder, name, text.as_bytes()));
    }
    assert_eq!(check(&program), "The settings are sound.\n");
    // They are read: what is set without them lacks its half.
    assert!(check(&self::program()).contains("CARDEA_GOOGLE_CLIENT_ID needs"));

    let path = file(&folder, "smtp", b"smtp://a:b@mail.example.org\n\n");
    let flag = format!("--smtp-url-file={path}");
    let smtp = config(&[&flag]).mail.smtp_url.expect("it was read");
    assert_eq!(smtp.expose_secret(), "smtp://a:b@mail.example.org");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_nothing_that_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = file(&folder, "empty", b"\n");
    let garbled = file(&folder, "garbled", b"hunter2\xff");
    let directory = folder.path().to_str().expect("a path");
    for (name, variable, secret) in SECRETS {
        for (path, said) in [
            ("/nowhere/at/all", "cannot be read: No such file"),
            (directory, "cannot be read: Is a directory"),
            (
                &garbled,
                "cannot be read: stream did not contain valid UTF-8",
            ),
            (&empty, "is empty"),
        ] {
            let told = check(&program().with(variable, path));
            assert!(
                told.contains(&format!("{variable}: {path} {said}")),
                "{told}"
            );
        }
        let good = file(&folder, name, secret.as_bytes());
        let told = check(&program().with(name, secret).with(variable, &good));
        assert!(
            told.contains(&format!("set {name} or {variable}, not both")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_runs_on_files_alone() {
    let db = TestDb::new(&config(&[]).database).await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("{}\n", db.url().expose_secret());
    let key = format!("{MASTER_KEY}\n");
    let webhooks = json!([{
        "name": "crm", "url": "http://127.0.0.1:1/", "secrets": ["whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="],
    }]);
    let program = Program::new()
        .with("DATABASE_URL_FILE", &file(&folder, "url", url.as_bytes()))
        .with(
            "CARDEA_MASTER_KEY_FILE",
            &file(&folder, "key", key.as_bytes()),
        )
        .with(
            "CARDEA_WEBHOOKS_FILE",
            &file(&folder, "webhooks", webhooks.to_string().as_bytes()),
        );
    let server = program.serve();
    server.register("ada");
    assert_eq!(server.get("/health/ready").text, "ready\n");
    assert_eq!(db.text("SELECT count(*)::text FROM users").await, "1");
    assert!(program.postgres().is_none(), "no database of its own");
    assert!(program.run(&["webhook", "list"]).success().contains("crm"));
    let told = server.stop("TERM");
    assert!(!Path::new(&program.data_dir()).join("data").exists());
    told.success();
}
