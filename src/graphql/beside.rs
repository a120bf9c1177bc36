//! What came together with accounts. It waits here rather than in the dataloader, which would look it up in four maps
//! and copy it each time; [`Loaders`](super::loader::Loaders) is still the one door to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::models::profile::Profile;
use crate::models::role::Role;
use crate::models::role_snapshot::RoleSnapshot;
use crate::services::users::Related;

/// By the account that it belongs to.
#[derive(Default)]
pub(super) struct Beside(Mutex<Known>);

type Known = HashMap<Uuid, Relations, foldhash::fast::RandomState>;

struct Relations {
    profile: Option<Arc<Profile>>,
    /// `None` where they are not known.
    roles: Option<Vec<Arc<Role>>>,
}

impl Beside {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The profile of an account, if it has one; `None` where that is not known.
    pub fn profile(&self, user: Uuid) -> Option<Option<Arc<Profile>>> {
        Some(self.known().get(&user)?.profile.clone())
    }

    /// The roles of an account, by name; `None` where they are not known.
    pub fn roles(&self, user: Uuid) -> Option<Vec<Arc<Role>>> {
        self.known().get(&user)?.roles.clone()
    }

    /// Puts the profile of an account in, or that it has none.
    pub fn put_profile(&self, user: Uuid, profile: Option<Profile>) {
        let relations = Relations {
            profile: profile.map(Arc::new),
            roles: None,
        };
        self.known().entry(user).or_insert(relations);
    }

    /// Puts in what came with a page; the roles of `snapshot`, if it has all of them.
    pub fn put(&self, related: Vec<Related>, snapshot: Option<&RoleSnapshot>) {
        let mut known = self.known();
        known.reserve(related.len());
        for Related {
            user,
            profile,
            roles,
        } in related
        {
            let roles = snapshot.and_then(|all| all.roles(&roles));
            let profile = profile.map(Arc::new);
            known.insert(user, Relations { profile, roles });
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.known().clear();
    }
}
