//! Scripts of `tests/browser` that drive a Chromium.

use std::path::Path;

use crate::harness::node::{Scripts, say, skip, variable};

/// A browser, and the scripts for it.
pub struct Chromium {
    program: String,
    scripts: Scripts,
}

impl Chromium {
    /// `None`, with a notice, on a machine without Chromium or Node; a CI without them fails.
    /// `others` are files that scripts import.
    pub async fn found(others: &'static [&'static str]) -> Option<Self> {
        let program = variable("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".to_owned());
        if !Path::new(&program).exists() {
            skip(&format!("there is no Chromium at {program}"));
            return None;
        }
        let install = || Scripts::installed("browser", others);
        let scripts = tokio::task::spawn_blocking(install)
            .await
            .expect("installed")?;
        Some(Self { program, scripts })
    }

    /// Runs a script with these variables and says what it printed. Fails the test if the script does.
    pub async fn run(self, script: &'static str, variables: &[(&'static str, &str)]) {
        let mut all = vec![("CHROMIUM", self.program)];
        all.extend(
            variables
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let run = move || {
            let variables: Vec<_> = all.iter().map(|(name, value)| (*name, &**value)).collect();
            self.scripts.run(script, &variables)
        };
        let printed = tokio::task::spawn_blocking(run).await.expect("run");
        say(printed.trim());
    }
}
