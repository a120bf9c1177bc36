//! The program's errands and settings, and the one line that it says when something is wrong.

use std::net::TcpListener;
use std::time::Duration;

use cardea::config::Config;
use cardea::db::single_connection;
use cardea::graphql::Api;
use clap::Args as _;
use diesel_async::SimpleAsyncConnection as _;
use secrecy::ExposeSecret as _;

use crate::harness::Program;
use crate::harness::app::MASTER_KEY;
use crate::harness::app::config;
use crate::harness::db::TestDb;
use crate::harness::process::until;

/// Tables, types and functions of the database, by name.
const LEFT: &str = "SELECT string_agg(name, ' ' ORDER BY name) FROM ( \
    SELECT relname::text AS name, relnamespace AS schema FROM pg_class WHERE relkind IN ('r', 'v', 'S') UNION \
    SELECT typname::text, typnamespace FROM pg_type WHERE typtype IN ('e', 'd') UNION \
    SELECT proname::text, pronamespace FROM pg_proc) AS ours WHERE schema = 'public'::regnamespace";

const NOT_TO_BE_SHOWN: &str = "hunter2";

/// What the program says of this `DATABASE_URL`.
#[track_caller]
fn refused(url: &str) -> String {
    let outcome = Program::new().with("DATABASE_URL", url).run(&[]);
    assert!(!outcome.stderr.contains(NOT_TO_BE_SHOWN), "{outcome:?}");
    outcome.error()
}

#[test]
fn an_address_that_leads_to_no_postgresql_is_one_clear_line() {
    for url in ["mysql://a:hunter2@127.0.0.1/b", "hunter2", ""] {
        let error = refused(url);
        assert_eq!(
            error,
            "DATABASE_URL must begin with postgres:// or postgresql://"
        );
    }
    let error = refused("postgres://a:hunter2@127.0.0.1:1/b");
    let said = "cannot connect to PostgreSQL at 127.0.0.1:1: error connecting to server: Connection refused";
    assert!(error.starts_with(said), "{error}");
    assert_eq!(
        refused("postgres://a:hunter2@127.0.0.1:port/b"),
        "DATABASE_URL: it is not well formed"
    );
    assert_eq!(
        refused("postgres://a:hunter2@127.0.0.1:1/b?hunter2=1"),
        "DATABASE_URL: it is not well formed"
    );
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address");
    assert_eq!(
        refused(&format!("postgres://a:hunter2@{address}/b")),
        format!("cannot connect to PostgreSQL at {address}: no answer in 5 seconds")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_database_are_one_clear_line() {
    let db = TestDb::empty().await;
    let url = db.url().expose_secret().to_owned();
    let (_, at) = url.split_once('@').expect("a password");
    let (server, _) = at.split_once('/').expect("a database");
    assert_eq!(
        refused(&format!("postgres://cardea:hunter2@{at}")),
        format!(
            "cannot connect to PostgreSQL at {server}: password authentication failed for user \"cardea\""
        )
    );
    let missing = url.replace(at, &format!("{server}/missing"));
    assert_eq!(
        refused(&missing),
        format!("cannot connect to PostgreSQL at {server}: database \"missing\" does not exist")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_create_tables_is_one_clear_line() {
    let db = TestDb::empty().await;
    let role = "reader_of_cli_test";
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{NOT_TO_BE_SHOWN}'"
    ))
    .await;
    let url = db.url().expose_secret().to_owned();
    let (_, at) = url.split_once('@').expect("a password");
    assert_eq!(
        refused(&format!("postgres://{role}:{NOT_TO_BE_SHOWN}@{at}")),
        "the database could not be brought up to date: permission denied for schema public"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_migrations_are_one_clear_line_where_they_may_not_be_run() {
    let db = TestDb::empty().await;
    let program = Program::on(&db.url()).with("CARDEA_AUTO_MIGRATE", "false");
    let all = cardea::db::migration_names()
        .expect("they have names")
        .len();
    assert_eq!(
        program.run(&[]).error(),
        format!(
            "{all} migrations were not run yet; run `cardea migrate up`, or set CARDEA_AUTO_MIGRATE=true"
        )
    );
    program.run(&["migrate", "up"]).success();
    program.serve().stop("TERM").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_up_again() {
    let db = TestDb::empty().await;
    let program = Program::on(&db.url());
    let names = cardea::db::migration_names().expect("they have names");
    let listed = |state: &str| {
        let lines = names.iter().map(|name| [state, " ", name, "\n"].concat());
        lines.collect::<String>()
    };

    assert_eq!(
        program.run(&["migrate", "status"]).success(),
        listed("pending")
    );
    for _ in 0..2 {
        let all = listed("ran") + "The database is up to date.\n";
        assert_eq!(program.run(&["migrate", "up"]).success(), all);
        assert_eq!(
            program.run(&["migrate", "up"]).success(),
            "The database is up to date.\n"
        );
        assert_eq!(
            program.run(&["migrate", "status"]).success(),
            listed("done   ")
        );
        for name in names.iter().rev() {
            assert_eq!(
                program.run(&["migrate", "down"]).success(),
                format!("took back {name}\n")
            );
        }
        assert_eq!(
            program.run(&["migrate", "down"]).success(),
            "There is nothing to take back.\n"
        );
        assert_eq!(db.text(LEFT).await, "__diesel_schema_migrations");
        assert_eq!(
            program.run(&["migrate", "status"]).success(),
            listed("pending")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_opened_is_one_clear_line_and_none_is() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url());
    let create = |email: &str, password: &str| {
        let given = [
            "user create --admin --full-name Ada --password-stdin --email",
            email,
        ]
        .join(" ");
        program.run_with_input(&given.split(' ').collect::<Vec<_>>(), password)
    };
    for (email, password, said) in [
        (
            "ada@example.org",
            "short",
            "password: Between 8 and 128 characters. password: At least one upper-case letter. \
            password: At least one digit. password: At least one character that is neither letter nor digit.",
        ),
        (
            "ada.example.org",
            "Good-Enough-1",
            "email: Not a mail address.",
        ),
        (
            "ada@example.org",
            "\n",
            "there is no password on standard input",
        ),
    ] {
        assert_eq!(create(email, password).error(), said);
    }
    assert_eq!(db.text("SELECT count(*)::text FROM users").await, "0");
    create("ada@example.org", "Good-Enough-1").success();
    assert_eq!(
        create("ADA@example.org", "Good-Enough-1").error(),
        "email: This address has an account."
    );
    assert_eq!(db.text("SELECT count(*)::text FROM users").await, "1");
}

#[test]
fn the_printed_schema_is_the_one_that_is_served() {
    let sdl = Api::new().expect("the schema is sound").sdl().clone();
    assert_eq!(Program::new().run(&["schema", "print"]).success(), sdl);
}

#[test]
fn the_check_of_settings_lists_everything_that_is_wrong() {
    assert_eq!(
        Program::new().run(&["config", "check"]).success(),
        "The settings are sound.\n"
    );

    let program = Program::new()
        .with("DATABASE_URL", "mysql://a:hunter2@b")
        .with("CARDEA_PUBLIC_URL", "ftp://example.org")
        .with("CARDEA_DATABASE_POOL_SIZE", "1")
        .with("CARDEA_ARGON2_PASSES", "0");
    let checked = program.run(&["config", "check"]);
    assert_eq!(
        checked.stdout,
        "CARDEA_PUBLIC_URL must be an http or https address without query and fragment\n\
         DATABASE_URL must begin with postgres:// or postgresql://\n\
         CARDEA_DATABASE_POOL_SIZE must be at least 2\n\
         CARDEA_ARGON2_MEMORY_KIB must lie between 8 and 1048576, CARDEA_ARGON2_PASSES between 1 and 20\n"
    );
    assert_eq!(checked.error(), "4 of the settings cannot hold");
}

#[test]
fn production_names_all_unsafe_settings_at_once() {
    let program = Program::new().with("CARDEA_MODE", "production");
    let bare = program.run(&[]);
    assert_eq!(bare.code, Some(1));
    assert_eq!(
        bare.stderr,
        "error: the settings cannot hold:\n  \
         production: DATABASE_URL is missing; the server's own database is for development\n  \
         production: CARDEA_PUBLIC_URL must be an https address\n  \
         production: CARDEA_MASTER_KEY, CARDEA_MASTER_KEY_FILE or CARDEA_MASTER_KEY_COMMAND is missing; keep it apart from the database and its backups\n"
    );
    let program = program
        .with("CARDEA_PUBLIC_URL", "http://example.org")
        .with("CARDEA_INBOX", "true")
        .with("CARDEA_PLAYGROUND", "true")
        .with("CARDEA_PASSWORD_MIN_LENGTH", "7")
        .with("CARDEA_ARGON2_MEMORY_KIB", "8");
    let checked = program.run(&["config", "check"]);
    assert_eq!(checked.stdout.lines().count(), 7, "{checked:?}");
    for named in [
        "DATABASE_URL",
        "CARDEA_PUBLIC_URL",
        "CARDEA_MASTER_KEY",
        "CARDEA_INBOX",
        "CARDEA_PASSWORD_MIN_LENGTH",
        "CARDEA_PLAYGROUND",
        "argon2",
    ] {
        assert!(checked.stdout.contains(named), "{named}: {checked:?}");
    }
    assert!(!program.data_dir().exists());
}

#[test]
fn a_master_key_that_cannot_hold_is_found_before_the_start_and_never_repeated() {
    for (variable, value, said) in [
        ("CARDEA_MASTER_KEY", "hunter2", "32 random bytes in base64"),
        (
            "CARDEA_MASTER_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "not random",
        ),
        ("CARDEA_MASTER_KEY_FILE", "/nowhere", "/nowhere"),
    ] {
        let checked = Program::new()
            .with(variable, value)
            .run(&["config", "check"]);
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.stdout.contains(said), "{checked:?}");
        assert!(checked.stdout.contains(variable), "{checked:?}");
        let told = format!("{}{}", checked.stdout, checked.stderr);
        assert!(
            variable != "CARDEA_MASTER_KEY" || !told.contains(value),
            "{told}"
        );
    }
}

#[test]
fn a_command_for_the_master_key_without_a_shell_is_one_clear_line() {
    let checked = Program::new()
        .with("CARDEA_MASTER_KEY_COMMAND", "echo hunter2")
        .with("PATH", "/nowhere")
        .run(&["config", "check"]);
    assert_eq!(
        checked.stdout,
        "CARDEA_MASTER_KEY_COMMAND is run by `sh`, and there is none here; an image for it needs a shell\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_ends_at_a_signal_that_it_hears_itself() {
    let db = TestDb::empty().await;
    let mut other = single_connection(&db.url()).await.expect("a connection");
    other
        .batch_execute("SELECT pg_advisory_lock(hashtext('cardea migrations'))")
        .await
        .expect("the lock is free");
    let program = Program::on(&db.url());
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let process = program.spawn(&["migrate", "up"], "");
        let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
            AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()";
        while db.text(waiting).await != "1" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process.signal(signal);
        // Who says nothing about a signal has no code; as the first process of a container it would go on.
        let ended = tokio::task::spawn_blocking(|| process.wait());
        assert_eq!(ended.await.expect("its end").code, Some(code));
        while db.text(waiting).await != "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_objects_has_nothing_else_in_it() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url()).with("CARDEA_LOG_FORMAT", "json");
    let process = program.spawn(&[], "");
    let ready = until("the word", || {
        let log = process.stderr.text();
        let line = log.lines().find(|line| line.contains("Cardea is ready"))?;
        Some(line.to_owned())
    });
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("an object");
    let listens = ready["fields"]["listen"].as_str().expect("an address");
    assert!(std::net::TcpStream::connect(listens).is_ok(), "{ready}");
    process.signal("TERM");
    let outcome = process.wait();
    assert_eq!(outcome.stdout, "");
    for line in outcome.stderr.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_does_not_migrate_by_itself() {
    let db = TestDb::empty().await;
    let program = Program::on(&db.url())
        .with("CARDEA_MODE", "production")
        .with("CARDEA_MASTER_KEY", MASTER_KEY)
        .with("CARDEA_PUBLIC_URL", "https://accounts.example.org");
    assert!(program.run(&[]).error().contains("run `cardea migrate up`"));
    program.run(&["migrate", "up"]).success();
    program.serve().stop("TERM").success();
}

#[test]
fn help_names_every_setting_with_its_variable_and_no_secret() {
    let url = format!("postgres://a:{NOT_TO_BE_SHOWN}@b/c");
    let help = Program::new()
        .with("DATABASE_URL", &url)
        .run(&["--help"])
        .success();
    let settings = Config::augment_args(clap::Command::new("cardea"));
    for setting in settings.get_arguments() {
        let flag = setting.get_long().expect("every setting has a flag");
        let variable = setting.get_env().expect("every setting has a variable");
        assert!(help.contains(&format!("--{flag} <")), "{flag}");
        let variable = variable.to_string_lossy();
        assert!(help.contains(&format!("[env: {variable}")), "{variable}");
    }
    assert!(settings.get_arguments().count() > 40);
    assert!(!help.contains(NOT_TO_BE_SHOWN));
}

#[test]
fn an_unknown_word_is_refused_with_the_usage() {
    let outcome = Program::new().run(&["dance"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome
            .stderr
            .starts_with("error: unrecognized subcommand 'dance'"),
        "{outcome:?}"
    );
}
