//! What happened on any instance, handed to whoever follows it on this one. It asks nobody and decides
//! nothing; whoever follows decides who may see what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::models::audit_event::AuditEvent;
use crate::models::session::SessionEndReason;
use crate::scalar::{Date, DateTime};

/// How many events may wait for one follower. One that lags further behind is dropped, and told so.
const QUEUE: usize = 256;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session ended before its time.
    SessionEnded(SessionEnded),
    /// An account was opened, closed or erased.
    AccountChanged(AccountChanged),
    /// An entry of the audit trail got its place, after all before it.
    AuditAdded(Arc<AuditEvent>),
    /// Who may do what has changed for whoever hears this: to be looked up anew.
    AccessChanged,
    /// The line to the database's notifications was lost: events may be missing from here on.
    LineLost,
}

/// A session that ended before its time.
#[derive(Clone, Debug)]
pub struct SessionEnded {
    /// The session.
    pub id: Uuid,
    /// Its account.
    pub user: Uuid,
    /// Why.
    pub reason: SessionEndReason,
    /// When.
    pub at: DateTime,
}

/// An account after a change of its state.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountChanged {
    /// The account.
    pub id: Uuid,
    /// It may sign in.
    pub active: bool,
    /// It is gone.
    pub erased: bool,
}

/// What a follower hears of. Nobody is woken for what concerns others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Access of who has this session changed.
    Session(Uuid),
    /// Access of this account changed.
    Account(Uuid),
    /// What concerns every follower; all hear of it.
    Everybody,
    /// Sessions of this account that end.
    SessionsOf(Uuid),
    /// This account opens, closes or goes.
    StatusOf(Uuid),
    /// Any account opens, closes or goes.
    Status,
    /// Entries of the audit trail.
    Audit,
}

/// A notification on the channel `events`, as the triggers of the database write them.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Session {
        id: Uuid,
        user: Uuid,
        reason: String,
        at: DateTime,
    },
    Account(AccountChanged),
    Audit(AuditPlaces),
}

/// Entries of the audit trail that got their places.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct AuditPlaces {
    /// The month in whose chain they are.
    pub month: Date,
    /// The place of the first.
    pub from: i64,
    /// The place of the last.
    pub to: i64,
}

/// What a notification tells of.
#[derive(Debug)]
pub enum News {
    /// All of it.
    Event(Event),
    /// Where it is to be read.
    Audit(AuditPlaces),
}

impl News {
    /// Reads a notification; `None` for one of a newer version, perhaps.
    #[must_use]
    pub fn read(payload: &str) -> Option<Self> {
        let event = match serde_json::from_str(payload).ok()? {
            Told::Session {
                id,
                user,
                reason,
                at,
            } => Event::SessionEnded(SessionEnded {
                id,
                user,
                reason: SessionEndReason::from_text(&reason)?,
                at,
            }),
            Told::Account(changed) => Event::AccountChanged(changed),
            Told::Audit(places) => return Some(Self::Audit(places)),
        };
        Some(Self::Event(event))
    }
}

/// Who follows what. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Followers>>);

#[derive(Default)]
struct Followers {
    next: u64,
    by_topic: HashMap<Topic, HashMap<u64, mpsc::Sender<Event>>>,
}

impl Events {
    /// Follows what happens under these topics, and what concerns everybody, from now on.
    #[must_use]
    pub fn follow(&self, topics: &[Topic]) -> Follower {
        let (sender, queue) = mpsc::channel(QUEUE);
        let topics: Vec<_> = topics.iter().copied().chain([Topic::Everybody]).collect();
        let mut followers = self.lock();
        followers.next += 1;
        let id = followers.next;
        for topic in &topics {
            let others = followers.by_topic.entry(*topic).or_default();
            others.insert(id, sender.clone());
        }
        drop(followers);
        Follower {
            id,
            topics,
            queue,
            events: self.clone(),
        }
    }

    /// Hands an event to its followers. Waits for none of them: one whose queue is full is dropped.
    pub fn publish(&self, event: &Event) {
        match event {
            Event::SessionEnded(ended) => self.tell(Topic::SessionsOf(ended.user), event),
            Event::AccountChanged(changed) => {
                self.tell(Topic::StatusOf(changed.id), event);
                self.tell(Topic::Status, event);
            }
            Event::AuditAdded(_) => self.tell(Topic::Audit, event),
            Event::AccessChanged | Event::LineLost => self.tell(Topic::Everybody, event),
        }
    }

    /// Tells those who follow `topic` that their access is to be looked up anew.
    pub fn access_changed(&self, topic: Topic) {
        self.tell(topic, &Event::AccessChanged);
    }

    /// Tells those who follow `topic` that they miss events from here on.
    pub fn lost(&self, topic: Topic) {
        self.tell(topic, &Event::LineLost);
    }

    /// How many follow a topic.
    #[must_use]
    pub fn followers(&self, topic: Topic) -> usize {
        self.lock().by_topic.get(&topic).map_or(0, HashMap::len)
    }

    fn tell(&self, topic: Topic, event: &Event) {
        let mut followers = self.lock();
        let Some(told) = followers.by_topic.get(&topic) else {
            return;
        };
        let lost: Vec<u64> = told
            .iter()
            .filter(|(_, queue)| queue.try_send(event.clone()).is_err())
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            // From every topic, so that its queue ends after what is in it.
            followers.by_topic.retain(|_, followers| {
                followers.remove(&id);
                !followers.is_empty()
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Followers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows events, until dropped.
pub struct Follower {
    id: u64,
    topics: Vec<Topic>,
    queue: mpsc::Receiver<Event>,
    events: Events,
}

impl Follower {
    /// The next event; `None` once some were lost because too many waited.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.events.lock();
        for topic in &self.topics {
            if let Some(others) = followers.by_topic.get_mut(topic) {
                others.remove(&self.id);
                if others.is_empty() {
                    followers.by_topic.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(id: u128) -> Event {
        Event::AccountChanged(AccountChanged {
            id: Uuid::from_u128(id),
            active: true,
            erased: false,
        })
    }

    #[tokio::test]
    async fn a_follower_hears_of_what_it_follows_and_of_nothing_else() {
        let events = Events::default();
        let mut one = events.follow(&[Topic::StatusOf(Uuid::from_u128(1))]);
        events.publish(&changed(2));
        events.publish(&changed(1));
        assert!(matches!(one.next().await, Some(Event::AccountChanged(c)) if c.id.as_u128() == 1));
        events.publish(&Event::LineLost);
        assert!(matches!(one.next().await, Some(Event::LineLost)));
    }

    #[tokio::test]
    async fn who_lags_behind_loses_its_place_and_holds_nobody_up() {
        let events = Events::default();
        let mut slow = events.follow(&[Topic::Status]);
        let mut quick = events.follow(&[Topic::Status]);
        for id in 0..=QUEUE as u128 {
            events.publish(&changed(id));
            assert!(quick.next().await.is_some());
        }
        assert_eq!(events.followers(Topic::Status), 1);
        assert_eq!(events.followers(Topic::Everybody), 1);
        for _ in 0..QUEUE {
            assert!(slow.next().await.is_some());
        }
        assert!(slow.next().await.is_none());
    }

    #[test]
    fn followers_that_go_leave_nothing_behind() {
        let events = Events::default();
        drop(events.follow(&[Topic::Status, Topic::Account(Uuid::nil())]));
        assert!(events.lock().by_topic.is_empty());
    }

    #[test]
    fn what_nobody_understands_is_no_event() {
        for payload in [
            "",
            "{}",
            "{\"newer\": {}}",
            "{\"session\": {\"id\": \"x\"}}",
            "{\"session\": {\"id\": \"00000000-0000-0000-0000-000000000000\", \"user\": \
             \"00000000-0000-0000-0000-000000000000\", \"reason\": \"new\", \"at\": \"2026-11-30T08:00:00Z\"}}",
        ] {
            assert!(News::read(payload).is_none(), "{payload}");
        }
    }
}
