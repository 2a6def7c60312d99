//! How long a temporary DNS failure may hold mail up.
//!
//! A DMARC record that cannot be looked up defers a message, for the next try may find it; so does what would show that a
//! message which fails DMARC was forwarded by somebody trusted. Not for ever: a domain with broken DNS would lose its mail by
//! deferral. So the first failure is remembered for each author domain and client prefix, and each [`Doubt`];
//! [`DEFERRAL_HOURS_MAX`] later mail goes on without the answer.
//!
//! *Guarantees:* trouble with the store defers nothing. The table is bounded.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::address::Domain;
use crate::store::{Store, StoreError, Table};

/// How long after the first failure mail is still deferred, in hours.
pub const DEFERRAL_HOURS_MAX: i64 = 4;
/// A failure that was not seen again for so long, in hours, is a new one.
pub const FORGET_HOURS: i64 = 72;
/// Failures remembered at once; past that nothing more is deferred.
pub const ENTRIES_MAX: u64 = 100_000;

const VERSION: u8 = 1;

/// What could not be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Does the message pass DMARC, and what does its author domain want?
    Dmarc,
    /// It does not: did somebody forward it who is trusted?
    Forwarder,
}

/// The failures that are remembered. All calls block.
pub struct Deferrals {
    store: Store,
    /// How many there are.
    entries: AtomicU64,
    /// Held while one is read and written.
    turn: Mutex<()>,
}

/// First and latest failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    first: Timestamp,
    latest: Timestamp,
}

impl Deferrals {
    /// Counts what is remembered, and forgets what is old.
    pub fn open(store: Store, now: Timestamp) -> Self {
        let deferrals = Deferrals { store, entries: AtomicU64::new(0), turn: Mutex::new(()) };
        if let Err(error) = deferrals.sweep(now) {
            unknown(&error);
        }
        deferrals
    }

    /// It could not be looked up: may the message wait for another try?
    pub fn on_failure(&self, doubt: Doubt, author: &Domain, client: IpAddr, now: Timestamp) -> bool {
        self.try_failure(doubt, author, client, now).unwrap_or_else(|error| {
            unknown(&error);
            false
        })
    }

    fn try_failure(&self, doubt: Doubt, author: &Domain, client: IpAddr, now: Timestamp) -> Result<bool, StoreError> {
        let _turn = self.turn();
        let key = key(doubt, author, client);
        let known = self.store.get(Table::Deferrals, &key)?.as_deref().and_then(Entry::decode);
        let entry = match known {
            Some(entry) if !entry.is_forgotten(now) => Entry { latest: now, ..entry },
            _ if known.is_none() && self.entries.load(Ordering::Relaxed) >= ENTRIES_MAX => return Ok(false),
            _ => Entry { first: now, latest: now },
        };
        self.store.put(Table::Deferrals, &key, &entry.encode())?;
        if known.is_none() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        Ok(now.duration_since(entry.first) < SignedDuration::from_hours(DEFERRAL_HOURS_MAX))
    }

    /// It was looked up: earlier failures do not count any more.
    pub fn on_success(&self, doubt: Doubt, author: &Domain, client: IpAddr) {
        if self.is_empty() {
            return;
        }
        let _turn = self.turn();
        let key = key(doubt, author, client);
        let forgotten = self.store.get(Table::Deferrals, &key).and_then(|known| match known {
            Some(_) => self.store.delete(Table::Deferrals, &key).map(|()| 1),
            None => Ok(0),
        });
        match forgotten {
            Ok(count) => drop(self.entries.fetch_sub(count, Ordering::Relaxed)),
            Err(error) => unknown(&error),
        }
    }

    /// Nothing is remembered: there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is old. Called at start and from time to time.
    pub fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let _turn = self.turn();
        let mut kept = 0;
        let mut batch = self.store.batch();
        for record in self.store.iterate(Table::Deferrals)? {
            let (key, value) = record?;
            match Entry::decode(&value) {
                Some(entry) if !entry.is_forgotten(now) => kept += 1,
                _ => batch.delete(Table::Deferrals, &key)?,
            }
        }
        batch.write()?;
        self.entries.store(kept, Ordering::Relaxed);
        Ok(())
    }
}

fn unknown(error: &StoreError) {
    tracing::error!(%error, "the table of DMARC deferrals does not answer: nothing is deferred for DNS failures");
}

/// The author domain, and the client's /24 or /64: a sender's pool retries from its neighbours.
fn key(doubt: Doubt, author: &Domain, client: IpAddr) -> Vec<u8> {
    let mut key = author.as_str().as_bytes().to_vec();
    key.push(0);
    match client {
        IpAddr::V4(address) => key.extend_from_slice(&address.octets()[..3]),
        IpAddr::V6(address) => key.extend_from_slice(&address.octets()[..8]),
    }
    if doubt == Doubt::Forwarder {
        key.push(b'f');
    }
    key
}

impl Entry {
    fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.latest) > SignedDuration::from_hours(FORGET_HOURS)
    }

    fn encode(self) -> [u8; 17] {
        let mut value = [VERSION; 17];
        value[1..9].copy_from_slice(&self.first.as_second().to_be_bytes());
        value[9..].copy_from_slice(&self.latest.as_second().to_be_bytes());
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (version, rest) = value.split_first()?;
        let (first, latest) = rest.split_at_checked(8)?;
        let second = |octets: &[u8]| Timestamp::from_second(i64::from_be_bytes(octets.try_into().ok()?)).ok();
        (*version == VERSION).then_some(Entry { first: second(first)?, latest: second(latest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_hours_and_not_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |minutes: i64| start + SignedDuration::from_mins(minutes);
        let deferrals = Deferrals::open(store.clone(), start);
        let (author, client) = (Domain::parse("example.com").unwrap(), IpAddr::from([192, 0, 2, 1]));
        let neighbour = IpAddr::from([192, 0, 2, 200]);

        assert!(deferrals.on_failure(Doubt::Dmarc, &author, client, at(0)));
        assert!(deferrals.on_failure(Doubt::Dmarc, &author, neighbour, at(239)));
        assert!(!deferrals.on_failure(Doubt::Dmarc, &author, client, at(240)));
        assert!(
            deferrals.on_failure(Doubt::Dmarc, &author, IpAddr::from([198, 51, 100, 1]), at(240)),
            "another prefix"
        );

        let reopened = Deferrals::open(store, at(241));
        assert!(!reopened.on_failure(Doubt::Dmarc, &author, client, at(241)), "a restart does not begin anew");
        assert!(reopened.on_failure(Doubt::Forwarder, &author, client, at(241)), "another doubt");
        reopened.on_success(Doubt::Forwarder, &author, client);
        assert!(!reopened.on_failure(Doubt::Dmarc, &author, client, at(241)), "it is forgotten for itself");
        reopened.on_success(Doubt::Dmarc, &author, client);
        assert!(reopened.on_failure(Doubt::Dmarc, &author, client, at(300)), "forgotten on success");
        assert!(!reopened.on_failure(Doubt::Dmarc, &author, client, at(540)));
        assert!(reopened.on_failure(Doubt::Dmarc, &author, client, at(540 + 73 * 60)), "long ago is another failure");
    }
}
