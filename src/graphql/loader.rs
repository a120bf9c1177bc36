//! Dataloaders: one batch, one statement for each relation and level. A new set for each request, so
//! that nothing of one caller is seen by another.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, HashMapCache, Loader};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::app::App;
use crate::auth::requester::Actor;
use crate::crypto::seal::DataKey;
use crate::db::Reading;
use crate::error::{Error, Result};
use crate::graphql::activity::ActivityOf;
use crate::graphql::beside::Beside;
use crate::graphql::known::Known;
use crate::graphql::turn::Turns;
use crate::models::audit_event::AuditEvent;
use crate::models::background::Background;
use crate::models::identity::Identity;
use crate::models::passkey::Passkey;
use crate::models::permission::Permission;
use crate::models::personalization::Personalization;
use crate::models::profile::Profile;
use crate::models::role::{Assignment, Role};
use crate::models::role_snapshot::RoleSnapshot;
use crate::models::session::Session;
use crate::models::two_factor::TwoFactorState;
use crate::models::user::User;
use crate::models::verification_token::VerificationToken;
use crate::scalar::DateTime;
use crate::services::users::Related;
use crate::services::{data_keys, roles};

/// Most keys that are looked up on a connection that others wait for, too.
const MOST_SHARED: usize = 16;

/// The loaders of one request.
pub struct Loaders {
    pub(super) loader: DataLoader<Database, HashMapCache>,
    pub(super) known: Option<Known>,
    beside: Beside,
}

/// What the loaders load from.
pub struct Database {
    pub(super) app: App,
    /// Nothing changes meanwhile: what this server remembers will do.
    read_only: bool,
    /// Who asks.
    caller: Option<Actor>,
}

impl Loaders {
    /// Empty loaders for a request of `caller` that takes `turns`. Where it is `read_only`, roles and what they grant
    /// come from what the server remembers; what a request changes itself it reads anew.
    #[must_use]
    pub fn new(app: &App, turns: &Turns, read_only: bool, caller: Option<&Actor>) -> Self {
        let cache = HashMapCache::default();
        let database = Database {
            app: app.clone(),
            read_only,
            caller: caller.cloned(),
        };
        Self {
            loader: DataLoader::with_cache(database, turns.clone(), turns.clone(), cache),
            known: None,
            beside: Beside::default(),
        }
    }

    /// The profile of an account.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn profile(&self, user: Uuid) -> Result<Option<Arc<Profile>>> {
        match self.beside.profile(user) {
            Some(profile) => Ok(profile),
            None => Ok(self.one(ProfileOf(user)).await?.map(Arc::new)),
        }
    }

    /// The roles that an account holds, by name; those of the caller are known already.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn roles(&self, user: Uuid) -> Result<Vec<Arc<Role>>> {
        if let Some(roles) = self.beside.roles(user) {
            return Ok(roles);
        }
        let database = self.loader.loader();
        if let Some(actor) = database.caller(user)
            && let Some(roles) = database.remembered_roles()
            && let Some(roles) = roles.roles(actor.roles())
        {
            return Ok(roles);
        }
        Ok(self.one(RolesOf(user)).await?.unwrap_or_default())
    }

    /// The permissions that a role grants, by name.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn permissions_of_role(&self, role: Uuid) -> Result<Vec<Arc<Permission>>> {
        let roles = self.loader.loader().remembered_roles();
        if let Some(permissions) = roles.as_ref().and_then(|roles| roles.permissions(role)) {
            return Ok(permissions.to_vec());
        }
        Ok(self.one(PermissionsOfRole(role)).await?.unwrap_or_default())
    }

    /// The names of the permissions that an account's roles add up to; those of the caller are known already.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn permission_names(&self, user: Uuid) -> Result<Vec<String>> {
        if let Some(actor) = self.loader.loader().caller(user) {
            return Ok(actor.permissions().to_vec());
        }
        Ok(self.one(PermissionNamesOf(user)).await?.unwrap_or_default())
    }

    /// What belongs to `key`, if anything does.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn one<K>(&self, key: K) -> Result<Option<<Database as Loader<K>>::Value>>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        Database: Loader<K, Error = Error>,
    {
        self.loader.load_one(key).await
    }

    /// An account together with its profile, which is then known, too: one statement for both.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn user_with_profile(&self, id: Uuid) -> Result<Option<User>> {
        let Some((user, profile)) = self.one(UserWithProfile(id)).await? else {
            return Ok(None);
        };
        self.beside.put_profile(id, profile);
        Ok(Some(user))
    }

    /// Puts in what came with a page of accounts.
    pub fn know(&self, related: Vec<Related>) {
        let snapshot = self.loader.loader().remembered_roles();
        self.beside.put(related, snapshot.as_deref());
    }

    /// The key of what is sealed of the account `user`.
    ///
    /// # Errors
    /// If the database cannot answer or the account has none.
    pub async fn data_key(&self, user: Uuid) -> Result<Arc<DataKey>> {
        let key = self.one(DataKeyOf(user)).await?;
        Ok(key.ok_or_else(|| anyhow::anyhow!("the account {user} has no data key"))?)
    }

    /// Forgets everything, before a change.
    pub fn forget(&self) {
        self.beside.clear();
        self.loader.clear::<ActivityOf>();
        self.loader.clear::<AuditEventById>();
        self.loader.clear::<DataKeyOf>();
        self.loader.clear::<UserById>();
        self.loader.clear::<UserByUuid>();
        self.loader.clear::<UserWithProfile>();
        self.loader.clear::<ProfileOf>();
        self.loader.clear::<BackgroundOf>();
        self.loader.clear::<PersonalizationOf>();
        self.loader.clear::<RolesOf>();
        self.loader.clear::<MemberCountOf>();
        self.loader.clear::<AssignmentsOf>();
        self.loader.clear::<PermissionsOfRole>();
        self.loader.clear::<PermissionNamesOf>();
        self.loader.clear::<VerificationsOf>();
        self.loader.clear::<RoleById>();
        self.loader.clear::<PermissionById>();
        self.loader.clear::<SessionById>();
        self.loader.clear::<SessionsOf>();
        self.loader.clear::<TwoFactorOf>();
        self.loader.clear::<IdentityById>();
        self.loader.clear::<IdentitiesOf>();
        self.loader.clear::<PasskeyById>();
        self.loader.clear::<PasskeysOf>();
    }
}

/// A relation: its key, what belongs to it, and the one query that loads a batch. `one` relations
/// have at most one value for a key, `many` a list.
macro_rules! relation {
    ($(#[$doc:meta])* one $key:ident -> $value:ty, $id:ident, |$conn:ident, $ids:ident, $now:ident| $query:expr) => {
        relation!(@reading $(#[$doc])* $key, $value, |$conn, $ids, $now| {
            let rows: Vec<$value> = $query;
            rows.into_iter().map(|row| ($key(row.$id), row)).collect()
        });
    };
    ($(#[$doc:meta])* many $key:ident -> $value:ty, |$conn:ident, $ids:ident, $now:ident| $query:expr) => {
        relation!(@reading $(#[$doc])* $key, Vec<$value>, |$conn, $ids, $now| {
            let rows: Vec<(Uuid, $value)> = $query;
            let mut lists: HashMap<$key, Vec<$value>> = HashMap::new();
            for (id, value) in rows {
                lists.entry($key(id)).or_default().push(value);
            }
            lists
        });
    };
    (@$from:ident $(#[$doc:meta])* $key:ident, $value:ty, |$conn:ident, $ids:ident, $now:ident| $load:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $key(pub Uuid);

        impl Loader<$key> for Database {
            type Value = $value;
            type Error = Error;

            async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $value>> {
                let mut $ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
                // Sorted, so that equal batches are equal statements in the database's log.
                $ids.sort_unstable();
                let $now: DateTime = self.app.now();
                let $conn = &*self.$from(keys.len()).await?;
                Ok($load)
            }
        }
    };
}

relation! {
    // Looks into every month.
    @conn
    /// An entry of the audit trail by its id.
    AuditEventById, AuditEvent, |conn, ids, _now| {
        let found = AuditEvent::by_ids(conn, &ids).await?.into_iter();
        found.map(|event| (AuditEventById(event.id), event)).collect()
    }
}
relation! {
    /// An account by its id.
    one UserById -> User, id, |conn, ids, _now| User::by_ids(conn, &ids).await?
}
relation! {
    @reading
    /// An account by its id, with its profile.
    UserWithProfile, (User, Option<Profile>), |conn, ids, _now| {
        let found = User::with_profiles(conn, &ids).await?.into_iter();
        found.map(|(user, profile)| (UserWithProfile(user.id), (user, profile))).collect()
    }
}
relation! {
    /// An account by the UUID that other systems know it by.
    one UserByUuid -> User, auth_token, |conn, uuids, _now| User::by_auth_tokens(conn, &uuids).await?
}
relation! {
    /// The profile of an account.
    one ProfileOf -> Profile, user_id, |conn, ids, _now| Profile::by_users(conn, &ids).await?
}
relation! {
    /// The background of an account.
    one BackgroundOf -> Background, user_id, |conn, ids, _now| Background::by_users(conn, &ids).await?
}
relation! {
    /// What is kept about the taste of an account.
    one PersonalizationOf -> Personalization, user_id, |conn, ids, _now| Personalization::by_users(conn, &ids).await?
}
relation! {
    /// A role by its id.
    one RoleById -> Role, id, |conn, ids, _now| Role::by_ids(conn, &ids).await?
}
relation! {
    /// A permission by its id.
    one PermissionById -> Permission, id, |conn, ids, _now| Permission::by_ids(conn, &ids).await?
}
relation! {
    /// A live session by its id.
    one SessionById -> Session, id, |conn, ids, now| Session::live_by_ids(conn, &ids, now).await?
}
relation! {
    /// The live sessions of an account, the most recently used first; their number is bounded.
    many SessionsOf -> Session, |conn, ids, now| {
        let sessions = Session::live_by_users(conn, &ids, now).await?;
        sessions.into_iter().map(|session| (session.user_id, session)).collect()
    }
}
relation! {
    /// A passkey by its id.
    one PasskeyById -> Passkey, id, |conn, ids, _now| Passkey::by_ids(conn, &ids).await?
}
relation! {
    /// The passkeys of an account, the oldest first; their number is bounded.
    many PasskeysOf -> Passkey, |conn, ids, _now| {
        let passkeys = Passkey::by_users(conn, &ids).await?;
        passkeys.into_iter().map(|passkey| (passkey.user_id, passkey)).collect()
    }
}
relation! {
    /// The state of an account's second factor.
    one TwoFactorOf -> TwoFactorState, user_id, |conn, ids, _now| TwoFactorState::by_users(conn, &ids).await?
}
relation! {
    /// A provider tied to an account, by its id.
    one IdentityById -> Identity, id, |conn, ids, _now| Identity::by_ids(conn, &ids).await?
}
relation! {
    /// The providers tied to an account, in the order in which they were.
    many IdentitiesOf -> Identity, |conn, ids, _now| {
        let identities = Identity::by_users(conn, &ids).await?;
        identities.into_iter().map(|identity| (identity.user_id, identity)).collect()
    }
}
relation! {
    @conn
    /// How many accounts hold a role. Also told where nobody does, because nothing would be asked for again.
    MemberCountOf, i64, |conn, ids, _now| {
        let counts: HashMap<_, _> = Role::count_members(conn, &ids).await?.into_iter().collect();
        let count = |id| (MemberCountOf(id), counts.get(&id).copied().unwrap_or(0));
        ids.into_iter().map(count).collect()
    }
}
relation! {
    /// The roles that an account holds and how it came by them, by name.
    many AssignmentsOf -> Assignment, |conn, ids, _now| Role::assignments_by_users(conn, &ids).await?
}
relation! {
    /// The names of the permissions that an account's roles add up to.
    many PermissionNamesOf -> String, |conn, ids, _now| Permission::names_by_users(conn, &ids).await?
}
relation! {
    /// The tokens mailed for an account in the last 30 days, the newest first.
    many VerificationsOf -> VerificationToken, |conn, ids, now| {
        let since = DateTime(*now - TimeDelta::days(30));
        let tokens = VerificationToken::by_users(conn, &ids, since).await?;
        tokens.into_iter().map(|token| (token.user_id, token)).collect()
    }
}

/// The roles that an account holds, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RolesOf(pub Uuid);

impl Loader<RolesOf> for Database {
    type Value = Vec<Arc<Role>>;
    type Error = Error;

    async fn load(&self, keys: &[RolesOf]) -> Result<HashMap<RolesOf, Vec<Arc<Role>>>> {
        let mut users: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        users.sort_unstable();
        if self.remembers() {
            let roles = roles::snapshot(&self.app).await?;
            let held = self.role_ids(&users).await?;
            let held = held
                .into_iter()
                .map(|(user, ids)| Some((RolesOf(user), roles.roles(&ids)?)));
            if let Some(held) = held.collect() {
                return Ok(held);
            }
        }
        let mut lists: HashMap<_, Vec<_>> = HashMap::new();
        let conn = &*self.reading(users.len()).await?;
        for (user, role) in Role::by_users(conn, &users).await? {
            lists.entry(RolesOf(user)).or_default().push(Arc::new(role));
        }
        Ok(lists)
    }
}

impl Database {
    /// A connection for one statement that looks up so many things. Queries that come by HTTP share one: they are
    /// polled until they end, whereas a socket may rest half-way while it sends something else.
    async fn reading(&self, keys: usize) -> Result<Reading> {
        if self.read_only && keys <= MOST_SHARED {
            self.app.db.reading().await
        } else {
            self.conn(keys).await
        }
    }

    /// The same, where it may take its time.
    async fn conn(&self, _keys: usize) -> Result<Reading> {
        Ok(self.app.db.conn().await?.into())
    }

    /// Whether what is remembered will do. Where notifications do not arrive, nothing is: no reading everything then.
    fn remembers(&self) -> bool {
        self.read_only && self.app.access.is_believed()
    }

    /// The caller, if that is `user`, where nothing changes meanwhile.
    fn caller(&self, user: Uuid) -> Option<&Actor> {
        let caller = self.caller.as_ref().filter(|_| self.read_only);
        caller.filter(|actor| actor.user_id() == user)
    }

    /// All roles, where they are remembered and that will do.
    fn remembered_roles(&self) -> Option<Arc<RoleSnapshot>> {
        self.app.access.roles().filter(|_| self.remembers())
    }

    /// The ids of the roles that these accounts hold. Those of the caller are known.
    async fn role_ids(&self, users: &[Uuid]) -> Result<HashMap<Uuid, Vec<Uuid>>> {
        let mut held: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        if let [user] = users
            && let Some(actor) = self.caller(*user)
        {
            held.insert(*user, actor.roles().to_vec());
            return Ok(held);
        }
        let conn = &*self.reading(users.len()).await?;
        for (user, role) in Role::ids_by_users(conn, users).await? {
            held.entry(user).or_default().push(role);
        }
        Ok(held)
    }
}

/// The permissions that a role grants, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PermissionsOfRole(pub Uuid);

impl Loader<PermissionsOfRole> for Database {
    type Value = Vec<Arc<Permission>>;
    type Error = Error;

    async fn load(
        &self,
        keys: &[PermissionsOfRole],
    ) -> Result<HashMap<PermissionsOfRole, Vec<Arc<Permission>>>> {
        let mut ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        ids.sort_unstable();
        if self.remembers() {
            let roles = roles::snapshot(&self.app).await?;
            let granted = ids.iter().map(|id| {
                let permissions = roles.permissions(*id)?;
                Some((PermissionsOfRole(*id), permissions.to_vec()))
            });
            if let Some(granted) = granted.collect() {
                return Ok(granted);
            }
        }
        let mut lists: HashMap<_, Vec<_>> = HashMap::new();
        let conn = &*self.reading(ids.len()).await?;
        for (role, permission) in Permission::by_roles(conn, &ids).await? {
            let list = lists.entry(PermissionsOfRole(role)).or_default();
            list.push(Arc::new(permission));
        }
        Ok(lists)
    }
}

/// The key of what is sealed of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataKeyOf(pub Uuid);

impl Loader<DataKeyOf> for Database {
    type Value = Arc<DataKey>;
    type Error = Error;

    async fn load(&self, keys: &[DataKeyOf]) -> Result<HashMap<DataKeyOf, Arc<DataKey>>> {
        let users: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let conn = &*self.reading(users.len()).await?;
        let found = data_keys::of(&self.app, conn, &users).await?;
        Ok(found
            .into_iter()
            .map(|(user, key)| (DataKeyOf(user), key))
            .collect())
    }
}
