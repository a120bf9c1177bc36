//! The real program as a newcomer meets it: how it starts, what it survives, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::Program;
use crate::harness::app::{PASSWORD, email};
use crate::harness::process::until;

const VERIFY: &str = "mutation($token: String!) { verifyEmail(input: { token: $token }) { \
    errors { code } result { __typename } } }";

#[test]
fn the_first_start_needs_nothing_and_every_later_one_finds_the_accounts() {
    let program = Program::new();
    let server = program.serve();
    server.register("ada");
    let token = server.mailed_token(&email("ada"));
    let verified = server.gql(VERIFY, &json!({ "token": token }));
    let signed_in = json!({ "errors": [], "result": { "__typename": "SignedIn" } });
    assert_eq!(verified.data("verifyEmail"), &signed_in);
    let session = server.login(&email("ada"), PASSWORD);
    let me = server.gql_as(&session, "{ me { email fullName } }");
    let ada = json!({ "email": email("ada"), "fullName": "ada Example" });
    assert_eq!(me.data("me"), &ada);

    let postgres = program.postgres().expect("it has one of its own");
    server.stop("INT").success();
    assert!(!postgres.answers() && program.postgres().is_none());

    let server = program.serve();
    server.login(&email("ada"), PASSWORD);
    server.process.signal("KILL");
    assert_eq!(server.process.wait().code, None);
    let orphan = program.postgres().expect("nobody stopped it");
    assert!(orphan.answers());

    let server = program.serve();
    let joined = program.postgres().expect("it runs");
    assert_eq!(joined.pid, orphan.pid, "one database, not two");
    server.login(&email("ada"), PASSWORD);
    // As if the power went.
    joined.signal("KILL");
    server.process.signal("KILL");
    server.process.wait();
    until("the end of the database", || {
        (!joined.answers()).then_some(())
    });
    assert!(program.postgres().is_some(), "it could not tidy up");

    let server = program.serve();
    server.login(&email("ada"), PASSWORD);
    let postgres = program.postgres().expect("it runs");
    assert_ne!(postgres.pid, joined.pid);
    server.stop("TERM").success();
    assert!(!postgres.answers() && program.postgres().is_none());
}

#[test]
fn a_newcomer_is_told_the_addresses_and_how_to_make_an_administrator() {
    let program = Program::new();
    let server = program.serve();
    let address = server.address;
    let told = until("the last line", || {
        let told = server.process.stdout.text();
        told.contains("Ctrl-C").then_some(told)
    });
    let at = |label: &str| {
        let line = told
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("{told}")).trim()
    };
    assert_eq!(at("GraphiQL"), format!("http://{address}/"));
    assert_eq!(at("GraphQL "), format!("http://{address}/graphql"));
    assert_eq!(at("Mail inbox"), format!("http://{address}/inbox"));
    let folder = program.data_dir();
    assert!(at("Data").starts_with(&*folder.to_string_lossy()));
    for page in ["/", "/inbox"] {
        let answer = server.get(page);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
    }
    let schema = server.gql("{ __schema { queryType { name } } }", &Value::Null);
    assert_eq!(schema.data("__schema/queryType/name"), "Query");

    // The command as it is printed.
    let (words, name) = at("cargo run -- ")
        .split_once(" --full-name ")
        .expect("a name");
    let mut arguments: Vec<_> = words.split(' ').collect();
    arguments.extend(["--full-name", name.trim_matches('"')]);
    let made = program.run(&arguments);
    assert_eq!(made.stderr, "");
    let said = made.success();
    let (opened, password) = said
        .split_once("Its password, shown this once: ")
        .expect("a password");
    assert_eq!(
        opened,
        "Opened the account you@example.org with the role admin.\n"
    );
    let session = server.login("you@example.org", password.trim());
    let viewer = server.gql_as(
        &session,
        "{ viewer { hasPermissions(names: [\"admin:users\", \"admin:system\"]) } }",
    );
    assert_eq!(viewer.data("viewer/hasPermissions"), &json!([true, true]));

    let given = "user create --password-stdin --full-name Bob --email bob@example.org";
    let arguments: Vec<_> = given.split(' ').collect();
    let made = program.run_with_input(&arguments, "Given-Secret-9\n");
    assert_eq!(made.success(), "Opened the account bob@example.org.\n");
    let session = server.login("bob@example.org", "Given-Secret-9");
    let viewer = server.gql_as(
        &session,
        "{ viewer { hasPermissions(names: [\"admin:users\"]) } }",
    );
    assert_eq!(viewer.data("viewer/hasPermissions"), &json!([false]));

    server.stop("INT").success();
    // Alone, an errand starts the database and stops it again.
    let status = program.run(&["migrate", "status"]).success();
    assert!(status.starts_with("done ") && !status.contains("pending"));
    assert!(program.postgres().is_none());
}

#[test]
fn a_signal_during_the_first_start_ends_it_in_order() {
    let program = Program::new();
    let process = program.spawn(&[], "");
    until("the folder of the database", || {
        program.data_dir().exists().then_some(())
    });
    process.signal("TERM");
    process.wait().success();
    assert!(program.postgres().is_none());
}

#[test]
fn a_port_in_use_is_one_clear_line_and_starts_no_database() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let program = Program::new().with("CARDEA_LISTEN", &address);
    let error = program.run(&[]).error();
    let said = format!(
        "cannot listen on {address} (another one can be set with --listen): Address already in use"
    );
    assert!(error.starts_with(&said), "{error}");
    assert!(!program.data_dir().exists());
}

#[test]
fn supervisors_ask_the_server_how_it_is() {
    let program = Program::new();
    let server = program.serve();
    let port = server.address.port();
    let ask = |listen: &str, more: &[&str]| {
        let arguments = [&["health", "--listen", listen], more].concat();
        program.run(&arguments)
    };
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        assert_eq!(ask(&listen, &[]).success(), "");
        assert_eq!(ask(&listen, &["--live"]).success(), "");
    }
    server.stop("TERM").success();
    let error = ask(&format!("127.0.0.1:{port}"), &[]).error();
    assert!(error.contains("no answer from 127.0.0.1"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one").to_string();
    let silent = ask(&address, &[]).error();
    assert!(silent.contains("within 3s"), "{silent}");
    let answering = std::thread::spawn(move || {
        for stream in listener.incoming().skip(1).take(1) {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 512];
            let length = stream.read(&mut asked).expect("a request");
            assert!(asked[..length].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("it listens");
        }
    });
    let error = ask(&address, &[]).error();
    assert!(error.contains("503"), "{error}");
    answering.join().expect("it was asked");
}
