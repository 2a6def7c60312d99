//! The ledger: what makes a sender's retry harmless (RFC 1047: our reply got lost, so the message comes again).
//!
//! *Does:* remembers which message each recipient already has. An entry is an *intent* before the file appears under `new/`
//! and *done* once its directory is synced; it is *released* when the sender has seen our reply, for the same octets sent
//! after that are a new message. Entries that are never released stay for [`ENTRY_AGE_MAX_S`], and at most [`ENTRIES_MAX`]
//! of them: past that the oldest go.
//! *Guarantees:* no delivery is suppressed without proof. `Delivered` is answered for entries that are done, and for
//! nothing else. Within the process a key is in flight once at a time.
//! *Never does:* lose or refuse mail. When the store fails the message counts as new and the failure is logged: it costs at
//! most a second copy.
//! *Not synced:* a write that reached the kernel survives the death of the process, and that is when a retry must find its
//! entry. A power cut may take the last seconds: a lost entry costs a second copy; a lost release, of which nothing but an
//! identical message could tell, leaves a message that the recipient has.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Intent};
use super::trouble::{LogLimit, unix_time_s};
use crate::address::{ForwardPath, Mailbox, ReversePath};
use crate::message::Message;
use crate::store::{Store, StoreError, Table};

/// How many entries there may be. Each takes some 50 octets; a well-behaved sender's are released within a second.
pub const ENTRIES_MAX: usize = 250_000;
/// How long an entry stays that is not released, in seconds: seven days. Senders give up after five (RFC 5321 section 4.5.4.1).
pub const ENTRY_AGE_MAX_S: u64 = 7 * 24 * 3600;

/// The digest of mail data as received. Computed once for all recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these octets.
    pub fn of(message: &Message) -> Self {
        Digest(*blake3::hash(message.octets()).as_bytes())
    }
}

/// Which message, from whom, to whom, into whose mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; Key::OCTETS]);

impl Key {
    const OCTETS: usize = 32;

    /// The key of one recipient's message: the forward-path as the sender gave it, the mailbox that it came to in the end.
    pub fn new(reverse_path: &ReversePath, forward_path: &ForwardPath, mailbox: &Mailbox, digest: &Digest) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("mxkeep ledger key, version 1");
        // Each part stands behind its length, so that no two triples read the same.
        for part in [reverse_path.to_string(), forward_path.to_string(), mailbox.to_string()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&digest.0);
        Key(*hasher.finalize().as_bytes())
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Key)
    }

    #[cfg(test)]
    pub(super) fn numbered(n: u8) -> Self {
        Key([n; Key::OCTETS])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What the ledger knows of a key.
#[derive(Debug)]
pub enum Seen {
    /// Nothing: deliver it. The claim keeps other sessions from delivering the same until it is dropped.
    New(Claim),
    /// The recipient has this very message: 250, and no second copy.
    Delivered,
    /// Another session is delivering it right now: 451.
    InFlight,
    /// The same key stands further up in the same question (a forward-path given twice): one copy serves both.
    Repeated,
}

/// A key that is in flight. Dropping it ends that.
pub struct Claim {
    ledger: Ledger,
    key: Key,
}

impl Claim {
    /// What is claimed.
    pub fn key(&self) -> Key {
        self.key
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ledger.in_flight().remove(&self.key);
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({:?})", self.key)
    }
}

/// The ledger. Clones are cheap and mean the same one.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    in_flight: Mutex<HashSet<Key>>,
    /// How many entries there are, more or less: each sweep counts anew.
    entries: AtomicUsize,
    entries_max: usize,
}

impl Ledger {
    /// The ledger in this store. [`super::recover`] must run before the first look-up.
    pub fn new(store: Store) -> Self {
        Self::with_bound(store, ENTRIES_MAX)
    }

    fn with_bound(store: Store, entries_max: usize) -> Self {
        let (in_flight, entries) = (Mutex::default(), AtomicUsize::new(0));
        let ledger = Ledger { shared: Arc::new(Shared { store, in_flight, entries, entries_max }) };
        ledger.sweep();
        ledger
    }

    /// Claims the keys, and says what is known of each, in their order. Blocks.
    pub fn look_up(&self, keys: &[Key]) -> Vec<Seen> {
        let mut asked = HashSet::with_capacity(keys.len());
        let seen = keys.iter().map(|key| match asked.insert(*key) {
            true => self.look_up_one(*key),
            false => Seen::Repeated,
        });
        seen.collect()
    }

    /// How many entries there are, more or less: each sweep counts anew.
    pub fn entries(&self) -> usize {
        self.shared.entries.load(Ordering::Relaxed)
    }

    /// Forgets deliveries whose reply the sender has seen. Blocks.
    pub fn release(&self, keys: &[Key]) {
        self.remove(keys, "release");
    }

    /// Forgets what is older than [`ENTRY_AGE_MAX_S`] and, past the bound, the oldest: one eighth of the bound at once, so
    /// that a flood does not make each delivery sweep. Returns how many entries went. Run it hourly. Blocks.
    pub fn sweep(&self) -> usize {
        let now_s = unix_time_s();
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        self.for_each(|key, entry| match entry {
            Some(Entry::Done { time_s }) if now_s.saturating_sub(time_s) < ENTRY_AGE_MAX_S => kept.push((time_s, key)),
            // Intents are the business of the delivery that is under way, and of recovery.
            Some(Entry::Intent(_)) => {}
            _ => gone.push(key),
        });
        let bound = self.shared.entries_max;
        if kept.len() > bound {
            let excess = kept.len() - bound + bound / 8;
            // Orders just as much as it takes: the oldest stand first.
            if excess < kept.len() {
                kept.select_nth_unstable(excess);
            }
            gone.extend(kept.drain(..excess).map(|(_, key)| key));
        }
        self.shared.entries.store(kept.len().saturating_add(gone.len()), Ordering::Relaxed);
        self.remove(&gone, "sweep");
        gone.len()
    }

    /// Records that these files are about to appear (D2).
    pub(super) fn intend<'a>(&self, intents: impl Iterator<Item = (Key, Intent<'a>)>) {
        let intents: Vec<_> = intents.collect();
        let mut batch = self.shared.store.batch();
        let mut put = |(key, intent): &(Key, Intent<'_>)| batch.put(Table::Ledger, &key.0, &intent.encode());
        let written = intents.iter().try_for_each(&mut put).and_then(|()| batch.write());
        self.log_failure("record an intent", written);
        self.shared.entries.fetch_add(intents.len(), Ordering::Relaxed);
    }

    /// Records how intents ended (D4): done, or nothing of it is left.
    pub(super) fn settle(&self, done: &[Key], dropped: &[Key]) {
        let entry = Entry::done(unix_time_s());
        let mut batch = self.shared.store.batch();
        let puts = done.iter().try_for_each(|key| batch.put(Table::Ledger, &key.0, &entry));
        let deletes = dropped.iter().try_for_each(|key| batch.delete(Table::Ledger, &key.0));
        self.log_failure("record a delivery", puts.and(deletes).and_then(|()| batch.write()));
        self.count_removed(dropped.len());
        if self.shared.entries.load(Ordering::Relaxed) > self.shared.entries_max {
            self.sweep();
        }
    }

    /// All intents: what a crash left behind.
    pub(super) fn intents(&self) -> Vec<(Key, OwnedIntent)> {
        let mut intents = Vec::new();
        self.for_each(|key, entry| {
            if let Some(Entry::Intent(Intent { root, directory, name })) = entry {
                intents.push((key, OwnedIntent { root: root.into(), directory: directory.into(), name: name.into() }));
            }
        });
        intents
    }

    fn look_up_one(&self, key: Key) -> Seen {
        if !self.in_flight().insert(key) {
            return Seen::InFlight;
        }
        // Claimed first, read second: whoever had the claim before us has recorded how it ended.
        let claim = Claim { ledger: self.clone(), key };
        match self.is_done(&key) {
            true => Seen::Delivered,
            false => Seen::New(claim),
        }
    }

    fn is_done(&self, key: &Key) -> bool {
        let octets = self.shared.store.get(Table::Ledger, &key.0).unwrap_or_else(|error| {
            self.log_failure("look up a delivery", Err(error));
            None
        });
        matches!(octets.as_deref().and_then(Entry::decode), Some(Entry::Done { .. }))
    }

    fn remove(&self, keys: &[Key], doing: &'static str) {
        let mut batch = self.shared.store.batch();
        let deletes = keys.iter().try_for_each(|key| batch.delete(Table::Ledger, &key.0));
        self.log_failure(doing, deletes.and_then(|()| batch.write()));
        self.count_removed(keys.len());
    }

    fn count_removed(&self, removed: usize) {
        let fewer = |entries: usize| Some(entries.saturating_sub(removed));
        // The closure never declines, so there is no error.
        let _ = self.shared.entries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }

    /// Each entry in turn; `None` for one that this version cannot read. Ends at the first failure of the store.
    fn for_each(&self, mut visit: impl FnMut(Key, Option<Entry<'_>>)) {
        let visited = self.shared.store.iterate(Table::Ledger).and_then(|mut records| {
            let failure = records.try_for_each(|record| match record {
                Ok((key, value)) => {
                    Key::from_octets(&key).into_iter().for_each(|key| visit(key, Entry::decode(&value)));
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            });
            failure.break_value().map_or(Ok(()), Err)
        });
        self.log_failure("read the ledger", visited);
    }

    fn log_failure(&self, doing: &'static str, result: Result<(), StoreError>) {
        static LIMIT: LogLimit = LogLimit::new();
        let Err(error) = result else { return };
        if let Some(held_back) = LIMIT.pass() {
            tracing::error!(doing, %error, held_back, "ledger trouble: no mail is lost, but a retry may make a second copy");
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashSet<Key>> {
        // Inserting and removing leave no half-done state for a panic to expose.
        self.shared.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An intent as recovery reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnedIntent {
    pub(super) root: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) name: String,
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
