//! The caller of a request. It is told who that is; it looks nothing up.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::auth::access_cache::{CachedAccount, CachedSession};
use crate::crypto::seal::DataKey;
use crate::error::{Error, Proof, Result};
use crate::models::permission::SystemPermission;
use crate::scalar::DateTime;

/// Who makes a request.
#[derive(Clone, Debug)]
pub enum Requester {
    /// Nobody is signed in.
    Anonymous,
    /// An account with a live session.
    User(Actor),
    /// An account with a live session that lacks a compulsory second factor: it can set one up or prove it,
    /// and is nobody to everything else.
    Unproven(Actor),
}

impl Requester {
    /// The signed-in caller.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody is signed in, [`Error::TwoFactorRequired`] when a
    /// compulsory second factor was not proved.
    pub fn actor(&self) -> Result<&Actor> {
        match self {
            Self::Anonymous => Err(Error::Unauthenticated),
            Self::User(actor) => Ok(actor),
            Self::Unproven(actor) => Err(Error::TwoFactorRequired(actor.second_proofs())),
        }
    }

    /// The signed-in caller, even one who lacks a compulsory second factor. For what sets one up or
    /// proves it, and for ending the session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody is signed in.
    pub fn actor_before_second_factor(&self) -> Result<&Actor> {
        match self {
            Self::Anonymous => Err(Error::Unauthenticated),
            Self::User(actor) | Self::Unproven(actor) => Ok(actor),
        }
    }

    /// The signed-in caller, if there is one.
    #[must_use]
    pub fn signed_in(&self) -> Option<&Actor> {
        self.actor().ok()
    }

    /// Whose session comes along with the request, if one does: also that of an account that owes a second factor.
    #[must_use]
    pub fn in_session(&self) -> Option<&Actor> {
        self.actor_before_second_factor().ok()
    }

    /// Whether the caller is signed in and holds `permission`.
    #[must_use]
    pub fn has(&self, permission: SystemPermission) -> bool {
        self.signed_in().is_some_and(|actor| actor.has(permission))
    }
}

/// A signed-in caller as of the beginning of the request. Cheap to clone.
///
/// Services that need somebody signed in take one; it can only be had from a live session, so that
/// leaving the check out does not compile.
#[derive(Clone, Debug)]
pub struct Actor {
    session: Arc<CachedSession>,
    account: Arc<CachedAccount>,
    client: Arc<ClientInfo>,
}

impl Actor {
    /// The owner of a live session, at this client.
    #[must_use]
    pub fn new(
        session: Arc<CachedSession>,
        account: Arc<CachedAccount>,
        client: Arc<ClientInfo>,
    ) -> Self {
        Self {
            session,
            account,
            client,
        }
    }

    /// From where the request comes.
    #[must_use]
    pub fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// The session that makes the request.
    #[must_use]
    pub fn session(&self) -> &CachedSession {
        &self.session
    }

    /// The session's id.
    #[must_use]
    pub fn session_id(&self) -> Uuid {
        self.session.id
    }

    /// The account's id.
    #[must_use]
    pub fn user_id(&self) -> Uuid {
        self.session.user_id
    }

    /// The identifier of the account in other systems.
    #[must_use]
    pub fn auth_token(&self) -> Uuid {
        self.account.auth_token
    }

    /// The data key of the account, where it was looked up already.
    #[must_use]
    pub fn data_key(&self) -> &OnceLock<Arc<DataKey>> {
        &self.account.data_key
    }

    /// When the person last proved to be at the keyboard.
    #[must_use]
    pub fn authenticated_at(&self) -> DateTime {
        self.session.authenticated_at
    }

    /// Whether the session proved a second factor, at sign-in or since.
    #[must_use]
    pub fn has_proved_second_factor(&self) -> bool {
        self.session.second_factor
    }

    /// Whether a role of the account makes a second factor compulsory.
    #[must_use]
    pub fn two_factor_by_role(&self) -> bool {
        self.account.two_factor_by_role
    }

    /// The ways in which the person can prove anew who they are. Where the second factor is on, or
    /// `compulsory` and a passkey, a password alone is none of them.
    #[must_use]
    pub fn proofs(&self, compulsory: bool) -> Vec<Proof> {
        let mut proofs = self.second_proofs();
        let asked_for = self.account.two_factor || compulsory && self.account.has_passkey;
        if self.account.has_password && !asked_for {
            proofs.insert(0, Proof::Password);
        }
        if proofs.is_empty() {
            proofs.push(Proof::SignIn);
        }
        proofs
    }

    /// The ways in which the person can prove a second factor; none where there is none yet.
    #[must_use]
    pub fn second_proofs(&self) -> Vec<Proof> {
        let passkey = self.account.has_passkey.then_some(Proof::Passkey);
        let code = self.account.two_factor.then_some(Proof::TwoFactorCode);
        passkey.into_iter().chain(code).collect()
    }

    /// Names of all permissions that the caller's roles add up to, sorted.
    #[must_use]
    pub fn permissions(&self) -> &[String] {
        &self.account.permissions
    }

    /// The caller's roles, by id, in no order.
    #[must_use]
    pub fn roles(&self) -> &[Uuid] {
        &self.account.roles
    }

    /// Whether the caller holds `permission`.
    #[must_use]
    pub fn has(&self, permission: SystemPermission) -> bool {
        self.holds(permission.name())
    }

    /// Whether the caller holds the permission of this name.
    #[must_use]
    pub fn holds(&self, permission: &str) -> bool {
        self.permissions()
            .binary_search_by(|held| held.as_str().cmp(permission))
            .is_ok()
    }
}

/// From where a request comes.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The address of the peer.
    pub ip: IpAddr,
    /// The user agent as sent, at most 512 characters, without control characters.
    pub user_agent: Option<String>,
    /// Names the request in the log and in the audit trail.
    pub request_id: Option<String>,
}

impl ClientInfo {
    /// A client at `ip` that calls itself `user_agent`.
    #[must_use]
    pub fn new(ip: IpAddr, user_agent: Option<&str>) -> Self {
        let user_agent =
            user_agent.map(|text| text.chars().filter(|c| !c.is_control()).take(512).collect());
        Self {
            ip: ip.to_canonical(),
            user_agent,
            request_id: None,
        }
    }

    /// The same client in the request of this name.
    #[must_use]
    pub fn in_request(self, id: &str) -> Self {
        let request_id = Some(id.to_owned());
        Self { request_id, ..self }
    }

    /// The network that limits count against: the address, and for IPv6 its first 64 bits, since
    /// one customer has at least as many.
    #[must_use]
    pub fn network(&self) -> String {
        match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> String {
        ClientInfo::new(ip.parse().expect("an address"), None).network()
    }

    #[test]
    fn one_customer_is_one_network() {
        assert_eq!(network("2001:db8::1"), network("2001:0db8:0:0:ffff::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
    }
}
