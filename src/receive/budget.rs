//! What all messages that are being received may take together: in memory, in temporary files, and while they are judged.
//!
//! *Guarantees:* whoever takes something holds a [`Share`] or a [`Ration`], and dropping it gives everything back, whatever
//! happens: RSET, a broken connection, a panic. Nothing is counted twice, and nothing waits for memory.
//! *Never does:* allocate, read or write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Limits, client_network};

/// How long a large message waits to be judged, in seconds, before its sender is told to try again: senders wait ten
/// minutes (RFC 5321 section 4.5.3.2.6), and delivery may take up to four of them.
pub const INSPECTION_SECONDS_MAX: u64 = 180;
/// What judging a large message takes beside its octets, in octets: the views of its text, and a piece of each copy.
pub const INSPECTION_OVERHEAD_OCTETS: u64 = 4 << 20;
/// Octets of each message for which there is always room, in flight and in memory: who fills the budget with large messages
/// keeps no small ones out.
pub const FREE_OCTETS: u64 = 16 << 10;
/// The ration's smallest part, in octets.
const PART_OCTETS: u64 = 1024;

/// The budget of the process. See `[limits]` of the configuration for what each limit means.
#[derive(Debug)]
pub struct Budget {
    /// Where temporary files are made.
    pub(super) directory: PathBuf,
    message_memory_octets_max: AtomicU64,
    memory_octets_max: AtomicU64,
    in_flight_octets_max: AtomicU64,
    in_flight_octets_per_network_max: AtomicU64,
    memory: AtomicU64,
    in_flight: AtomicU64,
    /// Of what is in flight: what comes from each network.
    networks: Mutex<HashMap<IpAddr, u64>>,
    inspection: Mutex<Inspection>,
}

/// The ration in force, and how many parts it has.
#[derive(Debug, Clone)]
struct Inspection {
    left: Arc<Semaphore>,
    parts_max: u32,
}

impl Inspection {
    fn new(octets_max: u64) -> Self {
        let parts_max = parts(octets_max);
        Inspection { left: Arc::new(Semaphore::new(parts_max as usize)), parts_max }
    }
}

impl Budget {
    /// Nothing is taken yet. Temporary files will be made in this directory.
    pub fn new(limits: &Limits, directory: PathBuf) -> Self {
        Budget {
            directory,
            message_memory_octets_max: AtomicU64::new(limits.message_memory_octets_max),
            memory_octets_max: AtomicU64::new(limits.memory_octets_max),
            in_flight_octets_max: AtomicU64::new(limits.in_flight_octets_max),
            in_flight_octets_per_network_max: AtomicU64::new(limits.in_flight_octets_per_network_max),
            memory: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            networks: Mutex::default(),
            inspection: Mutex::new(Inspection::new(limits.inspection_octets_max)),
        }
    }

    /// Other limits from now on. What is taken stays taken; rations of the old size that are out count no more.
    pub fn set_limits(&self, limits: &Limits) {
        self.message_memory_octets_max.store(limits.message_memory_octets_max, Ordering::Relaxed);
        self.memory_octets_max.store(limits.memory_octets_max, Ordering::Relaxed);
        self.in_flight_octets_max.store(limits.in_flight_octets_max, Ordering::Relaxed);
        let per_network = limits.in_flight_octets_per_network_max;
        self.in_flight_octets_per_network_max.store(per_network, Ordering::Relaxed);
        let mut inspection = self.inspection.lock().unwrap_or_else(PoisonError::into_inner);
        if inspection.parts_max != parts(limits.inspection_octets_max) {
            *inspection = Inspection::new(limits.inspection_octets_max);
        }
    }

    /// A larger message goes to a file, in octets.
    pub(super) fn message_memory_octets_max(&self) -> u64 {
        self.message_memory_octets_max.load(Ordering::Relaxed)
    }

    fn inspection(&self) -> Inspection {
        self.inspection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Would a message of this size from this client find room now? Nothing is set aside for it: who declares octets need
    /// not send them.
    pub fn has_room_for(&self, octets: u64, client: IpAddr) -> bool {
        let in_flight = self.in_flight.load(Ordering::Relaxed).saturating_add(octets);
        let of_network = self.networks().get(&client_network(client)).copied().unwrap_or(0).saturating_add(octets);
        octets <= FREE_OCTETS
            || in_flight <= self.in_flight_octets_max.load(Ordering::Relaxed)
                && of_network <= self.in_flight_octets_per_network_max.load(Ordering::Relaxed)
    }

    /// Counts stay right whatever panicked while they were held: no update leaves them half done.
    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many more octets come from a network. `false`: that would be more than one network may have.
    fn take_for(&self, network: IpAddr, octets: u64) -> bool {
        let octets_max = self.in_flight_octets_per_network_max.load(Ordering::Relaxed);
        let mut networks = self.networks();
        let taken = networks.entry(network).or_default();
        match taken.checked_add(octets).filter(|taken| *taken <= octets_max) {
            Some(more) => *taken = more,
            None if *taken == 0 => drop(networks.remove(&network)),
            None => return false,
        }
        networks.contains_key(&network)
    }

    fn give_back_for(&self, network: IpAddr, octets: u64) {
        let mut networks = self.networks();
        if let Entry::Occupied(mut taken) = networks.entry(network) {
            *taken.get_mut() = taken.get().saturating_sub(octets);
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }

    /// Waits until a message of this size may be in memory to be judged. A message that is larger than the whole ration
    /// takes all of it. `None`: it did not come to that in time.
    pub async fn ration(&self, octets: u64) -> Option<Ration> {
        self.ration_within(octets, Duration::from_secs(INSPECTION_SECONDS_MAX)).await
    }

    async fn ration_within(&self, octets: u64, time: Duration) -> Option<Ration> {
        let Inspection { left, parts_max } = self.inspection();
        let wanted = parts(octets.saturating_add(INSPECTION_OVERHEAD_OCTETS)).min(parts_max);
        let permit = left.acquire_many_owned(wanted);
        let waited = tokio::time::timeout(time, permit).await;
        waited.ok()?.ok().map(|permit| Ration { _permit: permit })
    }

    /// Octets in memory and in files now.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (u64, u64, usize) {
        let Inspection { left, parts_max } = self.inspection();
        let parts = parts_max as usize - left.available_permits();
        (self.memory.load(Ordering::Relaxed), self.in_flight.load(Ordering::Relaxed), parts)
    }
}

/// So many octets in parts of the ration, at least one.
fn parts(octets: u64) -> u32 {
    u32::try_from(octets.div_ceil(PART_OCTETS)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4)
}

/// The right to have a large message in memory. Dropping it lets the next one have it.
#[derive(Debug)]
pub struct Ration {
    _permit: OwnedSemaphorePermit,
}

/// What one message takes. Dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    /// The network that it comes from.
    network: IpAddr,
    memory: u64,
    in_flight: u64,
    /// Octets in flight beyond those for which there is always room: they count for the network.
    of_network: u64,
}

impl Share {
    /// Nothing yet.
    pub fn new(budget: &Arc<Budget>, client: IpAddr) -> Self {
        Share { budget: budget.clone(), network: client_network(client), memory: 0, in_flight: 0, of_network: 0 }
    }

    /// The budget.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// So many more octets have arrived. `false`: there is no room for them.
    pub fn receive(&mut self, octets: u64) -> bool {
        let is_free = self.in_flight.saturating_add(octets) <= FREE_OCTETS;
        let octets_max = if is_free { u64::MAX } else { self.budget.in_flight_octets_max.load(Ordering::Relaxed) };
        if octets == 0 || !take(&self.budget.in_flight, octets, octets_max) {
            return octets == 0;
        }
        self.in_flight += octets;
        if is_free || self.budget.take_for(self.network, octets) {
            self.of_network += if is_free { 0 } else { octets };
            return true;
        }
        self.in_flight -= octets;
        self.budget.in_flight.fetch_sub(octets, Ordering::Relaxed);
        false
    }

    /// The message has this much in memory from now on. `false`: that would be too much of all messages together, and
    /// what it had before still counts.
    pub fn hold(&mut self, octets: u64) -> bool {
        let more = octets.saturating_sub(self.memory);
        let memory_octets_max = self.budget.memory_octets_max.load(Ordering::Relaxed);
        if more > 0 && !take(&self.budget.memory, more, memory_octets_max) {
            return false;
        }
        self.budget.memory.fetch_sub(self.memory.saturating_sub(octets), Ordering::Relaxed);
        self.memory = octets;
        true
    }

    /// The same where there is no choice.
    pub fn hold_regardless(&mut self, octets: u64) {
        self.budget.memory.fetch_add(octets.saturating_sub(self.memory), Ordering::Relaxed);
        self.budget.memory.fetch_sub(self.memory.saturating_sub(octets), Ordering::Relaxed);
        self.memory = octets;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.memory.fetch_sub(self.memory, Ordering::Relaxed);
        self.budget.in_flight.fetch_sub(self.in_flight, Ordering::Relaxed);
        if self.of_network > 0 {
            self.budget.give_back_for(self.network, self.of_network);
        }
    }
}

fn take(counter: &AtomicU64, octets: u64, octets_max: u64) -> bool {
    let more = |taken: u64| taken.checked_add(octets).filter(|taken| *taken <= octets_max);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    pub fn limits(memory: u64, in_flight: u64) -> Limits {
        Limits {
            message_octets_max: 1 << 20,
            recipients_max: 1,
            connections_max: 1,
            connections_per_client_max: 1,
            connections_per_network_max: 1,
            bad_commands_max: 1,
            refused_recipients_max: 1,
            messages_max: 1,
            session_seconds_max: 1,
            data_octets_per_second_min: 1,
            message_memory_octets_max: memory / 2,
            memory_octets_max: memory,
            in_flight_octets_max: in_flight,
            in_flight_octets_per_network_max: in_flight,
            inspection_octets_max: 16 << 20,
        }
    }

    #[test]
    fn shares_are_bounded_and_given_back() {
        let budget = Arc::new(Budget::new(&limits(100, 100_000), PathBuf::new()));
        let (mut one, mut other) = (Share::new(&budget, CLIENT), Share::new(&budget, CLIENT));
        assert!(one.receive(60_000) && !other.receive(40_001) && other.receive(40_000));
        assert!(budget.has_room_for(FREE_OCTETS, CLIENT) && !budget.has_room_for(FREE_OCTETS + 1, CLIENT));
        assert!(one.hold(60) && !other.hold(41) && other.hold(40) && one.hold(10) && other.hold(90));
        one.hold_regardless(50);
        assert_eq!(budget.taken(), (140, 100_000, 0));
        assert!(!other.hold(91) && other.hold(0) && !other.receive(u64::MAX));
        drop(one);
        assert_eq!(budget.taken(), (0, 40_000, 0));
        drop(other);
        assert_eq!(budget.taken(), (0, 0, 0));
    }

    #[test]
    fn one_network_cannot_take_all_of_it() {
        let limits = Limits { in_flight_octets_per_network_max: 60_000, ..limits(100, 100_000) };
        let budget = Arc::new(Budget::new(&limits, PathBuf::new()));
        let address = |text: &str| text.parse().expect("an address");
        let (mut one, mut neighbour) =
            (Share::new(&budget, address("192.0.2.1")), Share::new(&budget, address("192.0.2.200")));
        let mut other = Share::new(&budget, address("2001:db8::1"));
        assert!(one.receive(40_000) && !neighbour.receive(20_001) && neighbour.receive(20_000) && !one.receive(1));
        assert!(!budget.has_room_for(FREE_OCTETS + 1, address("192.0.2.9")));
        assert!(budget.has_room_for(FREE_OCTETS + 1, address("2001:db8::2")));
        assert!(other.receive(40_000) && !other.receive(1));
        drop(one);
        assert!(neighbour.receive(40_000), "what was given back can be had again");
        assert_eq!(budget.taken().1, 100_000);
        drop((neighbour, other));
        assert_eq!(budget.taken(), (0, 0, 0));
        assert!(budget.networks().is_empty());
    }

    #[test]
    fn a_small_message_has_room_when_all_is_taken() {
        let budget = Arc::new(Budget::new(&limits(100, 100_000), PathBuf::new()));
        let (mut large, mut small) = (Share::new(&budget, CLIENT), Share::new(&budget, CLIENT));
        assert!(large.receive(100_000) && !large.receive(1));
        assert!(small.receive(FREE_OCTETS - 1) && small.receive(1) && !small.receive(1));
        drop((large, small));
        assert_eq!(budget.taken(), (0, 0, 0));
    }

    #[tokio::test]
    async fn rations_are_waited_for_and_not_for_ever() {
        let budget = Arc::new(Budget::new(&limits(0, 0), PathBuf::new()));
        let one = budget.ration(2 << 20).await.expect("a part");
        let other = budget.ration(6 << 20).await.expect("the rest");
        assert_eq!(budget.taken().2, 16 << 10);
        assert!(budget.ration_within(1, Duration::ZERO).await.is_none(), "it waits until its time is up");
        drop((one, other));
        let all = budget.ration(u64::MAX).await.expect("larger than all of it");
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.ration(1).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(all);
        assert!(waiting.await.expect("no panic"));
        assert_eq!(budget.taken(), (0, 0, 0));
    }
}
