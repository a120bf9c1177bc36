//! Accounts from elsewhere whose address nobody has proved: whose they are, and what becomes of them.

use serde_json::json;

use crate::harness::importing::{OLD, PBKDF2, lines, type_of};
use crate::harness::oauth::Setup;
use crate::harness::verbs::NEW_PASSWORD;
use crate::harness::{Program, TestApp};
use crate::registration::{REGISTER, input};

const ADA: &str = "ada@example.org";
const FROM_CARDEA: [&str; 4] = ["--from", "cardea", "--format", "jsonl"];

/// Takes in an account whose address nobody has proved.
fn taken_in(app: &TestApp) {
    let row = json!({ "email": ADA, "fullName": "Ada Lovelace", "firstName": "Ada", "username": "ada",
        "birthDate": "1990-12-10", "passwordHash": PBKDF2, "roleNames": ["moderator"] });
    app.import(&FROM_CARDEA, &lines(&[row])).success();
}

/// What came along.
async fn brought(app: &TestApp) -> String {
    let columns = "concat_ws(' ', full_name, first_name, username, hashed_password, status, birth_date IS NOT NULL, \
        (SELECT count(*) FROM user_roles WHERE user_id = users.id))";
    app.column(ADA, columns).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_with_the_address_of_an_imported_account_is_not_given_it() {
    let app = TestApp::with(&["--resend-secs=0"]).await;
    taken_in(&app);
    let before = brought(&app).await;
    assert_eq!(before, format!("Ada Lovelace Ada ada {PBKDF2} pending t 2"));
    let fresh = app.register("bob").await;
    let form = json!({ "email": "ADA@example.org", "fullName": "Mallory", "password": NEW_PASSWORD,
        "username": "mallory", "birthDate": "2000-01-01" });
    let registered = app.gql(REGISTER, input(&form)).await;
    assert_eq!(
        registered.data("register"),
        &json!({ "errors": [], "result": null })
    );
    assert_eq!(fresh.code(), "", "as for any other address");
    assert_eq!(brought(&app).await, before);
    // Told what they would be told of an account of their own.
    let waiting = app.login(ADA, NEW_PASSWORD).await;
    assert_eq!(type_of(&waiting), "EmailVerificationRequired");
    // The owner of the mailbox comes in; of two different passwords none is believed.
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.verify(&token).await.code(), "");
    for password in [NEW_PASSWORD, OLD] {
        let refused = app.login(ADA, password).await;
        assert!(!refused.text.contains("SignedIn"), "{}", refused.text);
    }
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.reset(&token, "Owners-Choice-9").await.code(), "");
    let owner = app.login(ADA, "Owners-Choice-9").await;
    assert_eq!(type_of(&owner), "SignedIn");
    let left = brought(&app).await;
    assert!(
        left.starts_with("Ada Lovelace Ada ada $argon2id$"),
        "{left}"
    );
    assert!(left.ends_with(" active t 2"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_with_the_password_that_came_along_keeps_it() {
    let app = TestApp::with(&["--resend-secs=0", "--password-min-length=8"]).await;
    taken_in(&app);
    let form = json!({ "password": OLD });
    let answer = app.gql(REGISTER, input(&form)).await;
    assert_eq!(answer.code(), "", "{}", answer.text);
    let token = app.mailed_token(ADA).await;
    assert_eq!(app.verify(&token).await.code(), "");
    app.comes_over("ada", ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_proves_the_address_ends_the_password_that_came_along() {
    let setup = Setup::new().await;
    let app = &setup.app;
    taken_in(app);
    let signed_in = setup.sign_in("ada-subject", ADA).await;
    assert_eq!(signed_in.code(), "", "{}", signed_in.text);
    assert_eq!(
        brought(app).await,
        "Ada Lovelace Ada ada active t 2",
        "all but the password"
    );
    assert_eq!(app.login(ADA, OLD).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_how_many_wait_and_how_long() {
    let app = TestApp::new().await;
    let row = |name: &str, more: bool| json!({ "email": format!("{name}@example.org"), "fullName": "Some Body", "emailVerified": more });
    let file = lines(&[row("ada", false), row("bob", true), row("eve", false)]);
    let expected = "Accounts that wait for their owners to prove the address: 2; \
        each is erased 30 days after it came in, without a mail (CARDEA_UNPROVED_DAYS).";
    let tried = [&FROM_CARDEA[..], &["--dry-run"]].concat();
    for arguments in [&tried[..], &FROM_CARDEA, &FROM_CARDEA] {
        let said = app.import(arguments, &file).success();
        assert!(said.contains(expected), "{said}");
    }
    let program = Program::on(&app.db.url()).with("CARDEA_UNPROVED_DAYS", "0");
    let arguments = [&["import"], &FROM_CARDEA[..], &["-"]].concat();
    let said = program.run_with_input(&arguments, &file).success();
    assert!(
        said.contains("the address: 2; none of them is erased for that."),
        "{said}"
    );
    let said = app
        .import(&FROM_CARDEA, &lines(&[row("bob", true)]))
        .success();
    assert!(!said.contains("wait"), "{said}");
}
