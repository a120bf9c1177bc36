//! What people do to have accounts erased, one request each.

use cardea::services::{erasure, retention};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, TestApp};

impl Client<'_> {
    /// Asks for the erasure of the own account; without a password it proves nothing.
    pub async fn erase_account(&self, password: Option<&str>) -> Answer {
        let input = password.map(|password| json!({ "password": password }));
        self.gql(
            "mutation($input: ConfirmIdentityInput) { eraseAccount(input: $input) { erasesAt errors { code path } } }",
            json!({ "input": input }),
        )
        .await
    }

    pub async fn cancel_erasure(&self) -> Answer {
        self.ask("mutation { cancelErasure { errors { code path } user { id erasesAt } } }")
            .await
    }

    /// Asks for the erasure of somebody's account, with more in the input.
    pub async fn erase_user(&self, user: &str, more: Value) -> Answer {
        let mut input = json!({ "userId": user });
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        self.gql(
            "mutation($input: EraseUserInput!) { eraseUser(input: $input) { erasesAt \
             errors { code path ... on InvalidValueError { rule } } } }",
            json!({ "input": input }),
        )
        .await
    }
}

impl TestApp {
    /// Erases the accounts whose moment has come; gives how many.
    pub async fn erase_due(&self) -> usize {
        erasure::erase_due(&self.app).await.expect("erased")
    }

    /// Takes accounts through their next stage; gives what was done, as `stage: accounts`.
    pub async fn retention(&self) -> Vec<String> {
        let taken = retention::run(&self.app, retention::PASS, |_, _| {}).await;
        let taken = taken.expect("carried out").into_iter();
        let some = taken.filter(|(_, accounts)| *accounts > 0);
        some.map(|(stage, accounts)| format!("{}: {accounts}", stage.name()))
            .collect()
    }

    /// Every row of the database as text, one a line, after the name of its table; bytes are hexadecimal.
    pub async fn rows(&self) -> String {
        let text = self
            .db
            .text(
                "SELECT string_agg(query_to_xml(format('SELECT %L || t::text AS r FROM %I.%I AS t ORDER BY 1', \
                     tablename || ' ', schemaname, tablename), true, false, '')::text, '' ORDER BY tablename) \
                 FROM pg_tables WHERE schemaname IN ('public', 'audit_months')",
            )
            .await;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("<r>")?.strip_suffix("</r>"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
