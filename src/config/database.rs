//! Where data is kept, and what the address of a database says of TLS. It connects to nothing.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode};

/// Where data is kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// PostgreSQL 15 or newer, as `postgres://user:password@host/database?sslmode=verify-full`; without it the server starts one of its own
    #[arg(
        long = "database-url",
        env = "DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    pub url: Option<SecretString>,
    /// File with the address of the database, in the place of `DATABASE_URL`
    #[arg(
        long = "database-url-file",
        env = "DATABASE_URL_FILE",
        value_name = "PATH",
        global = true
    )]
    pub url_file: Option<PathBuf>,
    /// PostgreSQL itself, where `DATABASE_URL` names a pooler that lends connections out for single transactions
    #[arg(
        long = "database-direct-url",
        env = "DATABASE_DIRECT_URL",
        hide_env_values = true,
        global = true
    )]
    pub direct_url: Option<SecretString>,
    /// File with the address of PostgreSQL itself, in the place of `DATABASE_DIRECT_URL`
    #[arg(
        long = "database-direct-url-file",
        env = "DATABASE_DIRECT_URL_FILE",
        value_name = "PATH",
        global = true
    )]
    pub direct_url_file: Option<PathBuf>,
    /// A replica of the database, for lists, statistics and exports
    #[arg(
        long = "database-replica-url",
        env = "DATABASE_REPLICA_URL",
        hide_env_values = true,
        global = true
    )]
    pub replica_url: Option<SecretString>,
    /// File with the address of the replica, in the place of `DATABASE_REPLICA_URL`
    #[arg(
        long = "database-replica-url-file",
        env = "DATABASE_REPLICA_URL_FILE",
        value_name = "PATH",
        global = true
    )]
    pub replica_url_file: Option<PathBuf>,
    /// Folder of the server's own database [default: the user's data folder, as root /var/lib/cardea]
    #[arg(long, env = "CARDEA_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Folder of the PostgreSQL programs, where they are not found by themselves
    #[arg(long, env = "CARDEA_POSTGRES_BIN_DIR", global = true)]
    pub postgres_bin_dir: Option<PathBuf>,
    /// Most connections to the database
    #[arg(
        long = "database-pool-size",
        env = "CARDEA_DATABASE_POOL_SIZE",
        default_value_t = 16,
        global = true
    )]
    pub pool_size: usize,
    /// Seconds that a request waits for a connection
    #[arg(
        long = "database-wait-secs",
        env = "CARDEA_DATABASE_WAIT_SECS",
        default_value_t = 2,
        global = true
    )]
    pub wait_secs: u64,
    /// Seconds after which PostgreSQL gives a statement up
    #[arg(
        long,
        env = "CARDEA_STATEMENT_TIMEOUT_SECS",
        default_value_t = 5,
        global = true
    )]
    pub statement_timeout_secs: u32,
    /// Bring the database's schema up to date at start [default: true in development, false in production]
    #[arg(long, env = "CARDEA_AUTO_MIGRATE", value_name = "BOOL", global = true)]
    pub auto_migrate: Option<bool>,
}

/// The address of a database, taken apart.
#[derive(Clone, Debug)]
pub struct Address {
    /// Everything but how certificates are checked.
    pub server: tokio_postgres::Config,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How a connection to PostgreSQL is protected: the words of `sslmode` in libpq, and what they mean there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Encrypted where the server offers it: against nobody who can change what is sent.
    Prefer,
    /// Encrypted, by whoever answers.
    Require,
    /// The certificate is from one of the authorities in a file, for whatever name.
    VerifyCa(PathBuf),
    /// The certificate is made out to the host, by an authority in a file or, without one, a public one.
    VerifyFull(Option<PathBuf>),
}

impl Address {
    /// Takes the address apart. Reads no file.
    ///
    /// Where nothing is said of TLS, an authority in `sslrootcert` means `verify-full`; without one it is libpq's `prefer`.
    ///
    /// # Errors
    /// Why it cannot hold. It never repeats a part that may be secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (mut mode, mut authority) = (None, None);
        let url = take_parameters(url, |key, value| match key {
            "sslmode" => {
                mode = Some(value);
                Ok(true)
            }
            "sslrootcert" => {
                authority = Some(value);
                Ok(true)
            }
            "sslnegotiation" => Ok(false),
            _ if key.starts_with("ssl")
                && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
            {
                Err(format!("`{key}` is not supported"))
            }
            _ => Ok(false),
        })?;
        // The parser's own words may quote a piece of the password.
        let mut server: tokio_postgres::Config = url
            .parse()
            .map_err(|_| "it is not well formed".to_owned())?;
        let tls = tls(mode.as_deref(), authority.as_deref())?;
        if server.get_hosts().is_empty() {
            // Certificates are made out to names or addresses: this is the one.
            for address in server.get_hostaddrs().to_vec() {
                server.host(address.to_string());
            }
        }
        // Nobody but this machine is at the other end, and PostgreSQL has no TLS there.
        let sockets = server.get_hostaddrs().is_empty() && server.get_hosts().iter().all(is_socket);
        server.ssl_mode(match tls {
            _ if sockets => SslMode::Disable,
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa(_) | Tls::VerifyFull(_) => SslMode::Require,
        });
        Ok(Self { server, tls })
    }

    /// Whether nothing leaves this machine on the way there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let addresses = self.server.get_hostaddrs();
        if !addresses.is_empty() {
            return addresses.iter().all(IpAddr::is_loopback);
        }
        self.server.get_hosts().iter().all(|host| {
            let Host::Tcp(name) = host else { return true };
            let address = name.parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    }
}

fn is_socket(host: &Host) -> bool {
    !matches!(host, Host::Tcp(_))
}

/// What the two words say together.
fn tls(mode: Option<&str>, authority: Option<&str>) -> Result<Tls, String> {
    let file = match authority {
        None | Some("system") => None,
        Some(path) => Some(PathBuf::from(path)),
    };
    match (mode, file) {
        // As in libpq, where `system` asks for no less.
        (None | Some("verify-full"), file) if mode.is_some() || authority.is_some() => {
            Ok(Tls::VerifyFull(file))
        }
        // As libpq does it: who names an authority wants it asked.
        (Some("verify-ca" | "require"), Some(file)) => Ok(Tls::VerifyCa(file)),
        (Some("require"), None) if authority.is_none() => Ok(Tls::Require),
        (Some("verify-ca" | "require"), None) => Err(
            "sslmode=verify-ca needs an authority of yours in sslrootcert=FILE: a public one vouches for anybody; or take verify-full"
                .to_owned(),
        ),
        (Some("disable" | "prefer"), _) if authority.is_some() => {
            Err("sslrootcert needs sslmode=verify-full or verify-ca".to_owned())
        }
        (Some("disable"), _) => Ok(Tls::Disable),
        (None | Some("prefer"), _) => Ok(Tls::Prefer),
        (Some(_), _) => Err(
            "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
        ),
    }
}

/// Shows `take` each parameter of an address; gives the address without those that it took.
fn take_parameters(
    url: &str,
    mut take: impl FnMut(&str, String) -> Result<bool, String>,
) -> Result<String, String> {
    // A password may hold a question mark: parameters begin behind the host, as tokio-postgres reads it.
    let host = url.find('@').unwrap_or(0);
    let Some(start) = url[host..].find('?').map(|at| host + at) else {
        return Ok(url.to_owned());
    };
    let mut left = Vec::new();
    for parameter in url[start + 1..].split('&') {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
        if !take(key, decoded)? {
            left.push(parameter);
        }
    }
    let address = &url[..start];
    Ok(if left.is_empty() {
        address.to_owned()
    } else {
        format!("{address}?{}", left.join("&"))
    })
}

impl DatabaseConfig {
    /// What of these settings cannot hold, one line each.
    pub(super) fn problems(&self, production: bool) -> Vec<String> {
        let mut found = Vec::new();
        if self.direct_url.is_some() && self.url.is_none() {
            found.push("DATABASE_DIRECT_URL needs a DATABASE_URL, that of the pooler".to_owned());
        }
        if self.replica_url.is_some() && self.url.is_none() {
            found.push("DATABASE_REPLICA_URL needs a DATABASE_URL, that of the primary".to_owned());
        }
        for (name, url) in self.urls() {
            found.extend(problems_of(name, url.expose_secret(), production));
        }
        found
    }

    /// What the ways to the database do not hold against, where they leave this machine; nothing where they are well
    /// protected.
    #[must_use]
    pub fn weak_tls(&self) -> Option<&'static str> {
        self.urls()
            .find_map(|(_, url)| weakness_of(url.expose_secret()))
    }

    /// The addresses that are given, with the names of their settings.
    fn urls(&self) -> impl Iterator<Item = (&'static str, &SecretString)> {
        let given = [
            ("DATABASE_URL", &self.url),
            ("DATABASE_DIRECT_URL", &self.direct_url),
            ("DATABASE_REPLICA_URL", &self.replica_url),
        ];
        let given = given.into_iter();
        given.filter_map(|(name, url)| Some((name, url.as_ref()?)))
    }
}

fn problems_of(name: &str, url: &str, production: bool) -> Vec<String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return vec![format!(
            "{name} must begin with postgres:// or postgresql://"
        )];
    }
    let address = match Address::parse(url) {
        Ok(address) => address,
        Err(problem) => return vec![format!("{name}: {problem}")],
    };
    let mut found = Vec::new();
    if let Tls::VerifyCa(file) | Tls::VerifyFull(Some(file)) = &address.tls
        && !file.is_file()
    {
        found.push(format!(
            "{name}: sslrootcert={} names no file",
            file.display()
        ));
    }
    if production && !address.is_local() && address.tls == Tls::Prefer {
        found.push(format!(
            "production: {name} must say how the way to the database is protected: sslmode=verify-full, or \
             sslmode=disable where nobody else is in the network"
        ));
    }
    found
}

fn weakness_of(url: &str) -> Option<&'static str> {
    let address = Address::parse(url).ok()?;
    if address.is_local() {
        return None;
    }
    match address.tls {
        Tls::Disable => Some("nothing is encrypted"),
        Tls::Prefer => {
            Some("TLS is used only where the database offers it, and no certificate is checked")
        }
        Tls::Require => Some("the certificate of the database is not checked"),
        Tls::VerifyCa(_) | Tls::VerifyFull(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls_of(parameters: &str) -> Result<Tls, String> {
        let url = format!("postgres://ann:p?w@db.example.org/cardea{parameters}");
        Address::parse(&url).map(|address| address.tls)
    }

    #[test]
    fn the_words_of_libpq_mean_what_they_mean_there() {
        let file = || PathBuf::from("/etc/a b.pem");
        for (parameters, tls) in [
            ("", Tls::Prefer),
            ("?sslmode=disable", Tls::Disable),
            ("?application_name=x&sslmode=prefer", Tls::Prefer),
            ("?sslmode=require&application_name=x", Tls::Require),
            (
                "?sslmode=require&sslrootcert=/etc/a%20b.pem",
                Tls::VerifyCa(file()),
            ),
            (
                "?sslmode=verify-ca&sslrootcert=/etc/a%20b.pem",
                Tls::VerifyCa(file()),
            ),
            ("?sslrootcert=/etc/a%20b.pem", Tls::VerifyFull(Some(file()))),
            (
                "?sslmode=verify-full&sslrootcert=/etc/a%20b.pem",
                Tls::VerifyFull(Some(file())),
            ),
            ("?sslrootcert=system", Tls::VerifyFull(None)),
            ("?sslmode=verify-full", Tls::VerifyFull(None)),
        ] {
            assert_eq!(tls_of(parameters), Ok(tls), "{parameters}");
        }
    }

    #[test]
    fn words_that_would_protect_less_than_they_seem_to_are_refused() {
        for (parameters, said) in [
            ("?sslmode=allow", "must be disable"),
            ("?sslmode=Verify-Full", "must be disable"),
            ("?sslmode", "must be disable"),
            ("?sslmode=verify-ca", "an authority of yours"),
            (
                "?sslmode=verify-ca&sslrootcert=system",
                "an authority of yours",
            ),
            (
                "?sslmode=require&sslrootcert=system",
                "an authority of yours",
            ),
            ("?sslmode=prefer&sslrootcert=/x", "sslrootcert needs"),
            ("?sslmode=disable&sslrootcert=system", "sslrootcert needs"),
            ("?sslcert=/x", "`sslcert` is not supported"),
            ("?SSLMODE=verify-full", "not well formed"),
            ("?p?w", "not well formed"),
        ] {
            let error = tls_of(parameters).expect_err(parameters);
            assert!(error.contains(said) && !error.contains("p?w"), "{error}");
        }
    }

    #[test]
    fn only_sockets_and_this_machine_are_local_and_no_socket_takes_tls_from_a_host() {
        for (url, local, mode) in [
            (
                "postgres://a@127.0.0.1/b?sslmode=verify-full",
                true,
                SslMode::Require,
            ),
            ("postgres://a@[::1]/b", true, SslMode::Prefer),
            (
                "postgres://a@%2Frun%2Fpostgresql/b?sslmode=require",
                true,
                SslMode::Disable,
            ),
            ("postgres:///b?host=/run&user=a", true, SslMode::Disable),
            (
                "postgres://a@%2Frun,db.example.org/b?sslmode=require",
                false,
                SslMode::Require,
            ),
            ("postgres://a@localhost,10.0.0.1/b", false, SslMode::Prefer),
            ("postgres://a@/b?hostaddr=10.0.0.1", false, SslMode::Prefer),
            (
                "postgres://a@localhost/b?hostaddr=10.0.0.1",
                false,
                SslMode::Prefer,
            ),
            (
                "postgres://a@localhost.example.org/b",
                false,
                SslMode::Prefer,
            ),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.is_local(), local, "{url}");
            assert_eq!(address.server.get_ssl_mode(), mode, "{url}");
        }
    }
}
