//! Secrets that are read from files, as Docker and Kubernetes hand them over. Whatever is wrong with a file, what is in it
//! is never said.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::Config;

impl Config {
    /// Reads each secret whose file is named, and puts it in the place of the setting itself. The master key is not
    /// among them: commands that need none do without its file.
    ///
    /// # Errors
    /// A line for each file that cannot be read or is empty, and for each secret that is given in both ways.
    pub fn read_secret_files(&mut self) -> Result<(), Vec<String>> {
        let (providers, webhooks) = (&mut self.providers, &mut self.webhooks);
        let traces = &mut self.traces;
        let found = [
            put(
                "DATABASE_URL",
                &mut self.database.url,
                self.database.url_file.take(),
            ),
            put(
                "DATABASE_DIRECT_URL",
                &mut self.database.direct_url,
                self.database.direct_url_file.take(),
            ),
            put(
                "DATABASE_REPLICA_URL",
                &mut self.database.replica_url,
                self.database.replica_url_file.take(),
            ),
            put(
                "CARDEA_SMTP_URL",
                &mut self.mail.smtp_url,
                self.mail.smtp_url_file.take(),
            ),
            put(
                "CARDEA_GOOGLE_CLIENT_SECRET",
                &mut providers.google_client_secret,
                providers.google_client_secret_file.take(),
            ),
            put(
                "CARDEA_APPLE_PRIVATE_KEY",
                &mut providers.apple_private_key,
                providers.apple_private_key_file.take(),
            ),
            put(
                "CARDEA_GITHUB_CLIENT_SECRET",
                &mut providers.github_client_secret,
                providers.github_client_secret_file.take(),
            ),
            put(
                "CARDEA_OIDC_PROVIDERS",
                &mut providers.oidc_providers,
                providers.oidc_providers_file.take(),
            ),
            put(
                "CARDEA_WEBHOOKS",
                &mut webhooks.webhooks,
                webhooks.webhooks_file.take(),
            ),
            put(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &mut traces.otel_exporter_otlp_headers,
                traces.otel_exporter_otlp_headers_file.take(),
            ),
        ];
        let problems: Vec<_> = found.into_iter().filter_map(Result::err).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}

fn put(
    name: &str,
    setting: &mut Option<SecretString>,
    file: Option<PathBuf>,
) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    if setting.is_some() {
        return Err(format!("set {name} or {name}_FILE, not both"));
    }
    *setting = Some(read(&format!("{name}_FILE"), &file)?);
    Ok(())
}

/// The text of a file without the line break at its end.
///
/// # Errors
/// A line with the path, if it cannot be read or is empty.
pub(super) fn read(what: &str, file: &Path) -> Result<SecretString, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{what}: {} cannot be read: {error}", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{what}: {} is empty", file.display())),
        text => Ok(text.into()),
    }
}
