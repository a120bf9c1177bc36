//! The client's address: the peer, or behind proxies that are trusted, what they say of it. No other
//! header is believed, whoever sends it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::TrustedProxies;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client whose request reached this server from `peer`.
///
/// Each proxy adds the address that it saw at the end of the list, so the list is read from there:
/// what stands before the first address that is not a trusted proxy, that client may have made up.
#[must_use]
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer;
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let elements = values
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for element in elements {
        if !trusted.contains(client) {
            break;
        }
        match address(element) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, which some proxies write with a port.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse().ok();
    address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(peer: &str, headers: &[&str], expected: &str) {
        let trusted = "10.0.0.0/8,2001:db8::/32".parse().expect("a list");
        let mut map = HeaderMap::new();
        for value in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            map.append(FORWARDED_FOR, value);
        }
        let found = client_ip(peer.parse().expect("an address"), &map, &trusted);
        assert_eq!(
            found.to_canonical().to_string(),
            expected,
            "{headers:?} from {peer}"
        );
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        check("192.0.2.7", &["203.0.113.9"], "192.0.2.7");
        check("192.0.2.7", &["203.0.113.9, 10.0.0.1"], "192.0.2.7");
        check("2001:db9::1", &["203.0.113.9"], "2001:db9::1");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &["203.0.113.9, 192.0.2.7"], "192.0.2.7");
        check(
            "10.0.0.1",
            &["203.0.113.9, 192.0.2.7,10.0.0.3 , 10.0.0.2"],
            "192.0.2.7",
        );
        check(
            "10.0.0.1",
            &["203.0.113.9", "192.0.2.7", "10.0.0.2"],
            "192.0.2.7",
        );
        check(
            "10.0.0.1",
            &["203.0.113.9, 192.0.2.7", "10.0.0.3, 10.0.0.2"],
            "192.0.2.7",
        );
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn addresses_come_in_every_form() {
        check("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7");
        check("10.0.0.1", &["2001:DB9:0::7"], "2001:db9::7");
        check("10.0.0.1", &["[2001:db9::7]"], "2001:db9::7");
        check(
            "10.0.0.1",
            &["[2001:db9::7]:4711, 2001:db8::2"],
            "2001:db9::7",
        );
        check(
            "::ffff:10.0.0.1",
            &["::ffff:192.0.2.7, ::ffff:10.0.0.2"],
            "192.0.2.7",
        );
        check("2001:db8::1", &["192.0.2.7"], "192.0.2.7");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_what_could() {
        for garbage in [
            "unknown",
            "",
            " ",
            "_hidden",
            "192.0.2",
            "192.0.2.7.1",
            "for=192.0.2.7",
            "\"192.0.2.7\"",
            "192.0.2.7:",
            "192.0.2.7:99999",
            "[192.0.2.7",
            "2001:db9::7]:1",
            "localhost",
            "192.0.2.7;10.0.0.2",
            "fe80::1%eth0",
            "\u{fffd}",
        ] {
            check("10.0.0.1", &[garbage], "10.0.0.1");
            check(
                "10.0.0.1",
                &["203.0.113.9", garbage, "10.0.0.2"],
                "10.0.0.2",
            );
            let list = format!("203.0.113.9, {garbage}, 10.0.0.2");
            check("10.0.0.1", &[&list], "10.0.0.2");
            let list = format!("{garbage}, 192.0.2.7, 10.0.0.2");
            check("10.0.0.1", &[&list], "192.0.2.7");
        }
    }
}
