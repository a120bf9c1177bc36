//! Which settings cannot hold, alone, together, or in production.

use crate::config::links::MAX_HOURS;
use crate::config::{Config, Origins, SameSite, SmtpTls, TrustedProxies};

impl Config {
    /// Every setting that cannot hold, one line each; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = self.problems_of_parts();
        let mut check = |wrong: bool, problem: &str| {
            if wrong {
                found.push(problem.to_owned());
            }
        };
        if let Some(url) = &self.public_url {
            check(
                !matches!(url.scheme(), "http" | "https")
                    || url.query().is_some()
                    || url.fragment().is_some(),
                "CARDEA_PUBLIC_URL must be an http or https address without query and fragment",
            );
        }
        found.extend(self.database.problems(self.production()));
        let mut check = |wrong: bool, problem: &str| {
            if wrong {
                found.push(problem.to_owned());
            }
        };
        check(
            self.session.sessions_per_account == 0 || self.session.recent_sign_in_minutes == 0,
            "CARDEA_SESSIONS_PER_ACCOUNT and CARDEA_RECENT_SIGN_IN_MINUTES must be at least 1",
        );
        check(
            self.session.cookie_same_site == SameSite::None && !self.is_https(),
            "CARDEA_COOKIE_SAME_SITE=none needs a CARDEA_PUBLIC_URL with https: browsers take no such cookie otherwise",
        );
        check(
            self.audit.months > 1200,
            "CARDEA_AUDIT_MONTHS must be at most 1200",
        );
        check(
            self.database.pool_size < 2,
            "CARDEA_DATABASE_POOL_SIZE must be at least 2",
        );
        check(
            self.registration.minimum_age > 130,
            "CARDEA_MINIMUM_AGE must be at most 130",
        );
        check(
            !(1..=MAX_HOURS).contains(&self.registration.verification_hours),
            "CARDEA_VERIFICATION_HOURS must lie between 1 and 8760",
        );
        check(
            !(1..=self.password.max_length).contains(&self.password_policy().minimum_length),
            "CARDEA_PASSWORD_MIN_LENGTH must be at least 1 and at most CARDEA_PASSWORD_MAX_LENGTH",
        );
        check(
            !(64..=1024).contains(&self.password.max_length),
            "CARDEA_PASSWORD_MAX_LENGTH must lie between 64 and 1024",
        );
        check(
            self.password.history > 24,
            "CARDEA_PASSWORD_HISTORY must be at most 24",
        );
        check(
            self.password.max_age_days > 3650,
            "CARDEA_PASSWORD_MAX_AGE_DAYS must be at most 3650",
        );
        check(
            !(8..=1_048_576).contains(&self.password.argon2_memory_kib)
                || !(1..=20).contains(&self.password.argon2_passes),
            "CARDEA_ARGON2_MEMORY_KIB must lie between 8 and 1048576, CARDEA_ARGON2_PASSES between 1 and 20",
        );
        check(
            self.password.threads == Some(0),
            "CARDEA_PASSWORD_THREADS must be at least 1",
        );
        check(
            !(1..=60).contains(&self.session.access_token_minutes),
            "CARDEA_ACCESS_TOKEN_MINUTES must lie between 1 and 60",
        );
        check(
            !(1..=720).contains(&self.session.session_hours)
                || !(1..=30).contains(&self.session.remembered_session_days),
            "a session lives for at least an hour and at most 30 days",
        );
        check(
            self.limits.nesting > 64,
            "CARDEA_DOCUMENT_NESTING must be at most 64",
        );
        check(self.rates.hold_nothing(), "rates must be at least 1");
        found.extend(self.malformed_origins());
        found.extend(self.passkey_problem());
        if self.production() {
            found.extend(self.unsafe_in_production());
        }
        found
    }

    fn malformed_origins(&self) -> Vec<String> {
        let origins = self.http.cors_origins.iter().flat_map(Origins::malformed);
        let problem = |origin| {
            format!(
                "CARDEA_CORS_ORIGINS: `{origin}` is no origin such as https://app.example.org or http://localhost:5173"
            )
        };
        origins.map(problem).collect()
    }

    fn problems_of_parts(&self) -> Vec<String> {
        let mut found = self.mail.problems();
        found.extend(self.links.problems());
        found.extend(self.http.problems());
        found.extend(self.two_factor.problems());
        found.extend(self.seal.problems());
        found.extend(self.retention.problems());
        found.extend(self.providers.problems(self.production()));
        found.extend(self.webhooks.problems(self.production()));
        found.extend(self.traces.problems(self.production()));
        if self.metrics_listen == Some(self.listen) && self.listen.port() != 0 {
            let problem = "CARDEA_METRICS_LISTEN must be another address than CARDEA_LISTEN: metrics are for no client";
            found.push(problem.to_owned());
        }
        found
    }

    fn unsafe_in_production(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                found.push(format!("production: {problem}"));
            }
        };
        refuse(
            self.database.url.is_none(),
            "DATABASE_URL is missing; the server's own database is for development",
        );
        refuse(
            self.public_url
                .as_ref()
                .is_none_or(|url| url.scheme() != "https"),
            "CARDEA_PUBLIC_URL must be an https address",
        );
        refuse(
            !self.seal.is_given(),
            "CARDEA_MASTER_KEY, CARDEA_MASTER_KEY_FILE or CARDEA_MASTER_KEY_COMMAND is missing; keep it apart from the database and its backups",
        );
        refuse(
            self.inbox(),
            "the inbox page shows everybody's mails; set CARDEA_INBOX=false",
        );
        if let Ok(Some(server)) = self.mail.server() {
            refuse(
                server.tls == SmtpTls::None && !server.is_loopback(),
                "CARDEA_SMTP_URL sends mails in the clear; leave tls=none out",
            );
            refuse(
                self.mail.from.contains("localhost"),
                "CARDEA_MAIL_FROM must be an address of yours",
            );
        }
        refuse(
            self.password_policy().minimum_length < 8,
            "CARDEA_PASSWORD_MIN_LENGTH must be at least 8 (NIST SP 800-63B-4, 3.1.1.2)",
        );
        refuse(
            self.playground() && !self.introspection(),
            "GraphiQL does not work without introspection; set CARDEA_PLAYGROUND=false or CARDEA_INTROSPECTION=true",
        );
        refuse(
            self.password.argon2_memory_kib < 7168
                || self
                    .password
                    .argon2_memory_kib
                    .saturating_mul(self.password.argon2_passes)
                    < 35_840,
            "the parameters of argon2 are weaker than OWASP's weakest (7168 KiB with 5 passes)",
        );
        refuse(
            self.http
                .trusted_proxies
                .as_ref()
                .is_some_and(TrustedProxies::everybody),
            "CARDEA_TRUSTED_PROXIES trusts every address, so that each client could name its own",
        );
        for origin in self.http.cors_origins.iter().flat_map(Origins::insecure) {
            let problem = format!("CARDEA_CORS_ORIGINS: `{origin}` must be an https origin");
            refuse(true, &problem);
        }
        found
    }
}
