//! What operators do to take in accounts from elsewhere, and how their owners come over.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::process::Outcome;
use crate::harness::{Answer, Client, Program, TestApp};

/// The password behind every hash below; the policy for new ones does not take it.
pub const OLD: &str = "Old-Pferd-4";
pub const PBKDF2: &str = "pbkdf2_sha256$1000$seasalt$44rXkXevuAfj0yeQ+P+mVAsM+Yd346hjy81a68Cf8mM=";
pub const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuMKSX0F4azdlS5hon5x8whFMHsewmcU2";
pub const SCRYPT: &str =
    "$scrypt$ln=4,r=8,p=1$c2Vhc2FsdHNlYXNhbHQxMg$P1mNL2JCFm8E0ZcO5K22nAO6eEoJV1QTeonaB2BdCtE";
pub const ARGON2I: &str =
    "$argon2i$v=19$m=32,t=3,p=2$c2Vhc2FsdHNhbHQ$M1lvtECiN2pY5yZAGqNEVj+i3zUx1dng";

impl TestApp {
    /// Runs `import` on this input.
    pub fn import(&self, arguments: &[&str], input: &str) -> Outcome {
        let arguments = [&["import"], arguments, &["-"]].concat();
        let program = Program::on(&self.db.url())
            .with("CARDEA_ARGON2_MEMORY_KIB", "8")
            .with("CARDEA_ARGON2_PASSES", "1");
        program.run_with_input(&arguments, input)
    }

    /// What stands in these columns of the account with this address.
    pub async fn column(&self, email: &str, column: &str) -> String {
        let sql = format!("SELECT ({column})::text FROM users WHERE email = '{email}'");
        self.db.text(&sql).await
    }

    /// Signs in with the old password, and again; the hash is ours from the first time on.
    pub async fn comes_over(&self, identifier: &str, email: &str) -> Client<'_> {
        let before = self.column(email, "hashed_password").await;
        let wrong = self.login(identifier, "Old-Pferd-5").await;
        assert_eq!(wrong.code(), "INVALID_CREDENTIALS");
        let first = self.login(identifier, OLD).await;
        let client = Client::new(self, first.data("login/result"));
        let after = self.column(email, "hashed_password").await;
        assert!(after.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{after}");
        assert_ne!(before, after);
        let second = self.login(identifier, OLD).await;
        assert_eq!(second.data("login/result/__typename"), "SignedIn");
        assert_eq!(self.column(email, "hashed_password").await, after);
        client
    }

    /// What is kept of accounts and what belongs to them, as text; of the audit trail nothing.
    pub async fn kept(&self) -> String {
        let table = |table: &str| {
            format!("query_to_xml('SELECT * FROM {table} ORDER BY 1, 2', true, false, '')::text")
        };
        let tables = [
            "users",
            "profiles",
            "backgrounds",
            "personalizations",
            "user_roles",
            "data_keys",
            "jobs",
        ];
        let tables = tables.map(table).join(", ");
        self.db.text(&format!("SELECT concat({tables})")).await
    }

    /// The second import of the same thing changes nothing.
    pub async fn repeat_is_harmless(&self, arguments: &[&str], input: &str, rows: usize) {
        let before = self.kept().await;
        let again = self.import(arguments, input).success();
        let expected = format!("0 created, 0 updated, {rows} unchanged, 0 failed.");
        assert!(again.contains(&expected), "{again}");
        assert_eq!(self.kept().await, before);
    }
}

/// JSON lines of these rows.
pub fn lines(rows: &[Value]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let _ = writeln!(text, "{row}");
        text
    })
}

/// What `me` says.
pub async fn me(client: &Client<'_>, fields: &str) -> Value {
    let answer = client.ask(&format!("{{ me {{ {fields} }} }}")).await;
    answer.data("me").clone()
}

/// What a sign-in came to.
pub fn type_of(answer: &Answer) -> &Value {
    answer.data("login/result/__typename")
}
