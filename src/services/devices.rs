//! From where somebody signs in, as far as it is kept: two hashes, for new devices and for networks.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::auth::requester::ClientInfo;
use crate::db::Conn;
use crate::error::Result;
use crate::models::known_device;
use crate::scalar::DateTime;

/// What stands for the client's network in `known_devices`.
#[must_use]
pub fn network_hash(client: &ClientInfo) -> [u8; 32] {
    hash(&["network", &client.network()])
}

/// What stands for the client's device and wider network in `known_devices` of `user`.
#[must_use]
pub fn device_hash(client: &ClientInfo, user: Uuid) -> [u8; 32] {
    let agent = kind_of_agent(client.user_agent.as_deref().unwrap_or_default());
    hash(&["device", &user.to_string(), &agent, &provider(client.ip)])
}

/// Notes a sign-in; says whether it is from a device that is new for the account.
///
/// A device is a kind of browser on a kind of system in one provider's network: its next version or
/// another address of the same provider is no news.
///
/// # Errors
/// If the database cannot answer.
pub async fn note(conn: &mut Conn, client: &ClientInfo, user: Uuid, now: DateTime) -> Result<bool> {
    let device = device_hash(client, user);
    Ok(known_device::note(conn, user, &device, &network_hash(client), now).await?)
}

/// The user agent without its version numbers.
fn kind_of_agent(agent: &str) -> String {
    agent
        .chars()
        .filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '_'))
        .collect()
}

/// The first 16 bits of an IPv4 address, the first 32 of an IPv6 one.
fn provider(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            format!("{a}.{b}")
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            format!("{a:x}:{b:x}")
        }
    }
}

fn hash(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("\0")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_of_a_browser_is_the_same_kind() {
        let old = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
        let new = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0.1";
        assert_eq!(kind_of_agent(old), kind_of_agent(new));
        assert_ne!(kind_of_agent(old), kind_of_agent("curl/8.1"));
    }
}
