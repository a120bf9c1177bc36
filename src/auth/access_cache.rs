//! What an instance remembers of live sessions, so that telling a caller costs no statement. It is
//! believed only as long as the database's notifications are known to arrive; it asks nobody itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::auth::requester::{Actor, ClientInfo};
use crate::crypto::seal::DataKey;
use crate::models::role_snapshot::RoleSnapshot;
use crate::models::session::SessionOwner;
use crate::scalar::DateTime;

/// Most sessions and most accounts that are remembered: some tens of megabytes.
const CAPACITY: usize = 50_000;

/// How long after a sign of life the notifications count as arriving. Whatever is revoked is
/// refused by every instance within a second, even by one whose line to the database went silent.
pub const BELIEF: Duration = Duration::from_millis(900);

/// How often a session's use is written down at most.
const USE_INTERVAL_MICROS: i64 = 60_000_000;

/// Live sessions and their accounts. Cheap to clone.
#[derive(Clone)]
pub struct AccessCache(Arc<Inner>);

struct Inner {
    sessions: Cache<Uuid, Arc<CachedSession>>,
    accounts: Cache<Uuid, Arc<CachedAccount>>,
    /// All roles with what they grant.
    roles: RwLock<Option<Arc<RoleSnapshot>>>,
    /// Counts what was forgotten: an answer of the database that is older than that is not kept.
    epoch: AtomicU64,
    start: Instant,
    /// Until when the cache is believed, in milliseconds from `start`.
    believed_until: AtomicU64,
    /// Who waits for the next sign of life.
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    wake: Notify,
    /// Sessions whose use is to be written down.
    used: Mutex<Vec<Uuid>>,
}

/// A live session, as far as requests must know it.
#[derive(Debug)]
pub struct CachedSession {
    /// The session.
    pub id: Uuid,
    /// Its account.
    pub user_id: Uuid,
    /// When it ends by itself.
    pub expires_at: DateTime,
    /// When the person last proved to be at the keyboard.
    pub authenticated_at: DateTime,
    /// A second factor was proved, at sign-in or since.
    pub second_factor: bool,
    used_at: AtomicI64,
}

/// An account that may sign in, as far as requests must know it.
#[derive(Debug)]
pub struct CachedAccount {
    /// The identifier for other systems, `sub` in access tokens.
    pub auth_token: Uuid,
    /// Names of all permissions that the roles add up to, sorted.
    pub permissions: Vec<String>,
    /// It has a password.
    pub has_password: bool,
    /// Its second factor is on.
    pub two_factor: bool,
    /// It has a passkey.
    pub has_passkey: bool,
    /// A role of it makes a second factor compulsory.
    pub two_factor_by_role: bool,
    /// Its roles, by id, in no order.
    pub roles: Vec<Uuid>,
    /// Seals what is kept of it, once that was looked up.
    pub data_key: OnceLock<Arc<DataKey>>,
}

/// The state of the cache when the database was asked; see [`AccessCache::keep`].
#[derive(Clone, Copy, Debug)]
pub struct Epoch(u64);

impl Default for AccessCache {
    fn default() -> Self {
        Self(Arc::new(Inner {
            sessions: Cache::new(CAPACITY),
            accounts: Cache::new(CAPACITY),
            roles: RwLock::default(),
            epoch: AtomicU64::new(0),
            start: Instant::now(),
            believed_until: AtomicU64::new(0),
            waiting: Mutex::default(),
            wake: Notify::new(),
            used: Mutex::default(),
        }))
    }
}

impl AccessCache {
    /// The caller with this session, if it is remembered and lives.
    #[must_use]
    pub fn get(&self, session: Uuid, client: &Arc<ClientInfo>, now: DateTime) -> Option<Actor> {
        if !self.is_believed() {
            return None;
        }
        let session = self.0.sessions.get(&session)?;
        let account = self.0.accounts.get(&session.user_id)?;
        (session.expires_at > now).then(|| Actor::new(session, account, Arc::clone(client)))
    }

    /// To be taken before the database is asked for what [`AccessCache::keep`] is to remember.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.0.epoch.load(Ordering::SeqCst))
    }

    /// Remembers what the database said of a session, unless anything was forgotten since `asked`
    /// or the notifications do not arrive.
    #[must_use]
    pub fn keep(&self, asked: Epoch, owner: SessionOwner, client: Arc<ClientInfo>) -> Actor {
        let session = Arc::new(CachedSession {
            id: owner.id,
            user_id: owner.user_id,
            expires_at: owner.expires_at,
            authenticated_at: owner.authenticated_at,
            second_factor: owner.second_factor,
            used_at: AtomicI64::new(owner.last_accessed_at.timestamp_micros()),
        });
        let account = Arc::new(CachedAccount {
            auth_token: owner.auth_token,
            permissions: owner.permissions,
            has_password: owner.has_password,
            two_factor: owner.two_factor,
            has_passkey: owner.has_passkey,
            two_factor_by_role: owner.two_factor_by_role,
            roles: owner.roles,
            data_key: OnceLock::new(),
        });
        if self.is_believed() {
            self.0.sessions.insert(session.id, Arc::clone(&session));
            self.0
                .accounts
                .insert(session.user_id, Arc::clone(&account));
            // Forgotten meanwhile: what was put in may be what was to be forgotten.
            if self.epoch().0 != asked.0 {
                self.0.sessions.remove(&session.id);
                self.0.accounts.remove(&session.user_id);
            }
        }
        Actor::new(session, account, client)
    }

    /// Forgets a session that ended or changed.
    pub fn forget_session(&self, session: Uuid) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        self.0.sessions.remove(&session);
    }

    /// Forgets an account whose state or roles changed.
    pub fn forget_user(&self, user: Uuid) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        self.0.accounts.remove(&user);
    }

    /// All roles with what they grant, if they are remembered.
    #[must_use]
    pub fn roles(&self) -> Option<Arc<RoleSnapshot>> {
        if !self.is_believed() {
            return None;
        }
        self.0
            .roles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers what the database said of all roles, as [`AccessCache::keep`] does of a session.
    pub fn keep_roles(&self, asked: Epoch, roles: &Arc<RoleSnapshot>) {
        if !self.is_believed() {
            return;
        }
        self.set_roles(Some(Arc::clone(roles)));
        if self.epoch().0 != asked.0 {
            self.set_roles(None);
        }
    }

    fn set_roles(&self, roles: Option<Arc<RoleSnapshot>>) {
        *self.0.roles.write().unwrap_or_else(PoisonError::into_inner) = roles;
    }

    /// Forgets every account and all roles: what roles are and grant has changed.
    pub fn forget_permissions(&self) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        self.0.accounts.clear();
        self.set_roles(None);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        self.0.sessions.clear();
        self.0.accounts.clear();
        self.set_roles(None);
    }

    /// Whether notifications are known to arrive.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.elapsed() < self.0.believed_until.load(Ordering::SeqCst)
    }

    /// Who wants to know that all notifications up to now were heard; see [`AccessCache::caught_up`].
    #[must_use]
    pub fn waiting(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(
            &mut *self
                .0
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Ends when somebody wants to know at once.
    pub async fn asked(&self) {
        self.0.wake.notified().await;
    }

    /// Notes that the database answered a question put at `asked` on the line that notifications
    /// come by, and tells those who waited for it.
    pub fn caught_up(&self, asked: Instant, waited: Vec<oneshot::Sender<()>>) {
        let until = asked.saturating_duration_since(self.0.start) + BELIEF;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.0.believed_until.fetch_max(until, Ordering::SeqCst);
        for waiting in waited {
            // Whoever gave up waiting is not interested any more.
            let _ = waiting.send(());
        }
    }

    /// Believes nothing until the next sign of life.
    pub fn doubt(&self) {
        self.0.believed_until.store(0, Ordering::SeqCst);
        self.clear();
    }

    /// Waits until everything that was committed before this call is known here. Where that takes
    /// long, everything is forgotten instead.
    pub async fn catch_up(&self) {
        if !self.is_believed() {
            return;
        }
        let (told, heard) = oneshot::channel();
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
        self.0.wake.notify_one();
        if !matches!(tokio::time::timeout(BELIEF, heard).await, Ok(Ok(()))) {
            self.doubt();
        }
    }

    /// Notes that a session is used, to be written down later; at most once a minute.
    pub fn note_use(&self, session: &CachedSession, now: DateTime) {
        let (now, last) = (
            now.timestamp_micros(),
            session.used_at.load(Ordering::Relaxed),
        );
        if now.saturating_sub(last) < USE_INTERVAL_MICROS {
            return;
        }
        let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        // Of two requests at once one writes.
        if session
            .used_at
            .compare_exchange(last, now, order, failed)
            .is_ok()
        {
            self.0
                .used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(session.id);
        }
    }

    /// The sessions whose use is to be written down since the last call.
    #[must_use]
    pub fn take_used(&self) -> Vec<Uuid> {
        std::mem::take(&mut *self.0.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: u128, user: u128) -> SessionOwner {
        let instant =
            |seconds| DateTime(chrono::DateTime::from_timestamp(seconds, 0).expect("an instant"));
        SessionOwner {
            id: Uuid::from_u128(id),
            user_id: Uuid::from_u128(user),
            expires_at: instant(1000),
            authenticated_at: instant(0),
            last_accessed_at: instant(0),
            auth_token: Uuid::from_u128(user),
            permissions: vec!["read:own".to_owned()],
            second_factor: false,
            has_password: true,
            two_factor: false,
            has_passkey: false,
            two_factor_by_role: false,
            roles: Vec::new(),
        }
    }

    fn client() -> Arc<ClientInfo> {
        Arc::new(ClientInfo::new([127, 0, 0, 1].into(), None))
    }

    fn at(seconds: i64) -> DateTime {
        DateTime(chrono::DateTime::from_timestamp(seconds, 0).expect("an instant"))
    }

    #[test]
    fn nothing_is_remembered_while_nobody_listens() {
        let cache = AccessCache::default();
        let _ = cache.keep(cache.epoch(), owner(1, 7), client());
        cache.caught_up(Instant::now(), Vec::new());
        assert!(cache.get(Uuid::from_u128(1), &client(), at(1)).is_none());
    }

    #[test]
    fn what_is_forgotten_while_the_database_answers_is_not_kept() {
        let cache = AccessCache::default();
        cache.caught_up(Instant::now(), Vec::new());
        let asked = cache.epoch();
        cache.forget_session(Uuid::from_u128(2));
        let _ = cache.keep(asked, owner(1, 7), client());
        assert!(cache.get(Uuid::from_u128(1), &client(), at(1)).is_none());
        let _ = cache.keep(cache.epoch(), owner(1, 7), client());
        assert!(cache.get(Uuid::from_u128(1), &client(), at(1)).is_some());
        assert!(
            cache.get(Uuid::from_u128(1), &client(), at(1000)).is_none(),
            "past its end"
        );
    }

    #[test]
    fn sessions_accounts_and_permissions_are_forgotten_apart() {
        let cache = AccessCache::default();
        cache.caught_up(Instant::now(), Vec::new());
        for (session, user) in [(1, 7), (2, 7), (3, 8)] {
            let _ = cache.keep(cache.epoch(), owner(session, user), client());
        }
        let known = |id| cache.get(Uuid::from_u128(id), &client(), at(1)).is_some();
        cache.forget_session(Uuid::from_u128(1));
        assert_eq!([known(1), known(2), known(3)], [false, true, true]);
        cache.forget_user(Uuid::from_u128(7));
        assert_eq!([known(2), known(3)], [false, true]);
        cache.forget_permissions();
        assert!(!known(3));
    }

    #[test]
    fn an_old_sign_of_life_is_none() {
        let cache = AccessCache::default();
        cache.caught_up(Instant::now(), Vec::new());
        let _ = cache.keep(cache.epoch(), owner(1, 7), client());
        std::thread::sleep(BELIEF);
        assert!(cache.get(Uuid::from_u128(1), &client(), at(1)).is_none());
        cache.caught_up(Instant::now(), Vec::new());
        assert!(
            cache.get(Uuid::from_u128(1), &client(), at(1)).is_some(),
            "the line was slow and lost nothing"
        );
    }

    #[test]
    fn use_is_noted_once_a_minute() {
        let cache = AccessCache::default();
        let actor = cache.keep(cache.epoch(), owner(1, 7), client());
        for (second, expected) in [(59, 0), (60, 1), (61, 0), (119, 0), (120, 1)] {
            cache.note_use(actor.session(), at(second));
            assert_eq!(cache.take_used().len(), expected, "{second}");
        }
    }
}
