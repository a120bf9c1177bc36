//! Settings that name others on the network: the proxies in front, and the front ends beside.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

/// Proxies whose `X-Forwarded-For` is believed: addresses and networks.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether `address` is one of them. An IPv4 address is the same one when it is written as IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether a network among them holds every address of its kind.
    #[must_use]
    pub fn everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Reads addresses and networks between commas; an empty text names none.
    fn from_str(text: &str) -> Result<Self, String> {
        let networks = elements(text).map(|element| {
            let network = element.parse::<IpNet>().ok();
            let network = network.or_else(|| Some(element.parse::<IpAddr>().ok()?.into()));
            network.map(canonical).ok_or_else(|| {
                format!("`{element}` is neither an address nor a network such as 10.0.0.0/8")
            })
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

/// `::ffff:10.0.0.0/104` as `10.0.0.0/8`.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(six) = network
        && let Some(four) = six.addr().to_ipv4_mapped()
        && let Some(length) = six.prefix_len().checked_sub(96)
        && let Ok(four) = Ipv4Net::new(four, length)
    {
        return IpNet::V4(four);
    }
    network
}

/// Origins whose pages may use the API with their visitors' credentials, each exactly as browsers
/// send it.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Whether `origin` is one of them, to the letter.
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|listed| listed == origin)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The ones that no browser sends, or that would not name one origin.
    pub(super) fn malformed(&self) -> impl Iterator<Item = &str> {
        let malformed = self.0.iter().filter(|origin| !is_origin(origin));
        malformed.map(String::as_str)
    }

    /// The ones that anybody between here and there could speak for.
    pub(super) fn insecure(&self) -> impl Iterator<Item = &str> {
        let insecure = self.0.iter().filter(|origin| {
            Url::parse(origin).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
        });
        insecure.map(String::as_str)
    }
}

impl FromStr for Origins {
    type Err = std::convert::Infallible;

    /// Takes what stands between commas; an empty text names none. Does not check the origins.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(elements(text).map(str::to_owned).collect()))
    }
}

/// Whether `text` is the origin of a page, written as browsers do: in small letters, without the
/// port that goes without saying, and with nothing behind.
fn is_origin(text: &str) -> bool {
    // A host that no DNS knows, such as `*`, is one to the parser all the same.
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.origin().ascii_serialization() == text
            && !text.contains('*')
    })
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_addresses_and_networks_of_both_kinds() {
        let list = "10.0.0.0/8, 192.0.2.7,2001:db8::/32 , ::ffff:198.51.100.0/120,::1,";
        let proxies: TrustedProxies = list.parse().expect("a list");
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("198.51.100.255", true),
            ("::1", true),
            ("127.0.0.1", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(proxies.contains(address), trusted, "{address}");
        }
        let none: TrustedProxies = " ".parse().expect("an empty list");
        assert!(!none.contains(IpAddr::from([127, 0, 0, 1])));
        for wrong in [
            "proxy.example.org",
            "10.0.0.0/33",
            "10.0.0",
            "*",
            "10.0.0.1:80",
        ] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
        assert!(
            "0.0.0.0/0"
                .parse::<TrustedProxies>()
                .expect("a list")
                .everybody()
        );
        assert!(
            "::ffff:0.0.0.0/96"
                .parse::<TrustedProxies>()
                .expect("a list")
                .everybody()
        );
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for origin in [
            "https://app.example.org",
            "https://app.example.org:8443",
            "http://localhost:5173",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "https://xn--mnchen-3ya.example",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "*",
            "https://*",
            "https://*.example.org",
            "null",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://app.example.org?q",
            "https://app.example.org#f",
            "https://user@app.example.org",
            "https://user:secret@app.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://App.example.org",
            "HTTPS://app.example.org",
            "https://münchen.example",
            "https:app.example.org",
            "https://",
            "https://app.example.org https://other.example.org",
            "ftp://app.example.org",
            "file:///",
            "chrome-extension://abc",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
