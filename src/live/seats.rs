//! How many live connections there are: on this instance, of one account, and of one network that has not
//! said yet who it is. It closes none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

/// Most sockets of a network that have not said yet who they are.
const WAITING_PER_NETWORK: usize = 50;

/// The seats of an instance. Cheap to clone.
#[derive(Clone)]
pub struct Seats(Arc<Hall>);

struct Hall {
    all: usize,
    per_account: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    waiting: HashMap<String, usize>,
    accounts: HashMap<Uuid, usize>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Every seat of the instance is taken.
    Server,
    /// Those of the account are.
    Account,
    /// Too many of the network have not said who they are.
    Network,
}

/// A place that is held until dropped.
pub struct Seat {
    hall: Arc<Hall>,
    holder: Holder,
}

enum Holder {
    Network(String),
    Account(Uuid),
}

impl Seats {
    /// So many seats, of which each account gets so many.
    #[must_use]
    pub fn new(all: usize, per_account: usize) -> Self {
        Self(Arc::new(Hall {
            all,
            per_account,
            taken: Mutex::default(),
        }))
    }

    /// A seat for who is not known yet, from this network.
    ///
    /// # Errors
    /// When there is none.
    pub fn for_stranger(&self, network: String) -> Result<Seat, Full> {
        self.take(Holder::Network(network))
    }

    /// A seat for an account.
    ///
    /// # Errors
    /// When there is none.
    pub fn for_account(&self, account: Uuid) -> Result<Seat, Full> {
        self.take(Holder::Account(account))
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.lock().all
    }

    fn take(&self, holder: Holder) -> Result<Seat, Full> {
        let mut taken = self.0.lock();
        if taken.all >= self.0.all {
            return Err(Full::Server);
        }
        self.0.count(&mut taken, &holder)?;
        taken.all += 1;
        drop(taken);
        Ok(Seat {
            hall: Arc::clone(&self.0),
            holder,
        })
    }
}

impl Hall {
    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, taken: &mut Taken, holder: &Holder) -> Result<(), Full> {
        match holder {
            Holder::Network(network) => {
                more(&mut taken.waiting, network.clone(), WAITING_PER_NETWORK).ok_or(Full::Network)
            }
            Holder::Account(account) => {
                more(&mut taken.accounts, *account, self.per_account).ok_or(Full::Account)
            }
        }
    }
}

impl Seat {
    /// Counts the seat to an account from now on.
    ///
    /// # Errors
    /// When the account has too many.
    pub fn pass_to(&mut self, account: Uuid) -> Result<(), Full> {
        let holder = Holder::Account(account);
        let mut taken = self.hall.lock();
        self.hall.count(&mut taken, &holder)?;
        taken.leave(&std::mem::replace(&mut self.holder, holder));
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.hall.lock();
        taken.all -= 1;
        taken.leave(&self.holder);
    }
}

impl Taken {
    fn leave(&mut self, holder: &Holder) {
        match holder {
            Holder::Network(network) => less(&mut self.waiting, network),
            Holder::Account(account) => less(&mut self.accounts, account),
        }
    }
}

fn more<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K, most: usize) -> Option<()> {
    if counts.get(&key).is_some_and(|count| *count >= most) || most == 0 {
        return None;
    }
    *counts.entry(key).or_default() += 1;
    Some(())
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_who_holds_them_and_come_back() {
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let seats = Seats::new(3, 2);
        let first = seats.for_account(ada).expect("a seat");
        let _second = seats.for_account(ada).expect("a seat");
        assert_eq!(seats.for_account(ada).err(), Some(Full::Account));
        let mut stranger = seats.for_stranger("net".to_owned()).expect("a seat");
        assert_eq!(seats.for_account(bob).err(), Some(Full::Server));
        assert_eq!(stranger.pass_to(ada), Err(Full::Account));
        assert_eq!(stranger.pass_to(bob), Ok(()));
        assert_eq!(seats.taken(), 3);
        drop((first, stranger));
        let taken = seats.0.lock();
        assert_eq!(
            (taken.all, taken.waiting.len(), taken.accounts.len()),
            (1, 0, 1)
        );
    }

    #[test]
    fn a_network_that_does_not_say_who_it_is_gets_few() {
        let seats = Seats::new(1000, 10);
        let held: Vec<_> = (0..WAITING_PER_NETWORK)
            .map(|_| seats.for_stranger("net".to_owned()).expect("a seat"))
            .collect();
        assert_eq!(
            seats.for_stranger("net".to_owned()).err(),
            Some(Full::Network)
        );
        assert!(seats.for_stranger("other".to_owned()).is_ok());
        drop(held);
        assert!(seats.for_stranger("net".to_owned()).is_ok());
    }
}
