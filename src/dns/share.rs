//! A share of the lookups: no message takes them all, and no network.
//!
//! *Does:* lets one check have so many lookups under way, and so many in all, and all checks for the clients of one network
//! together so many. Their own further ones wait, those of others do not.
//! *Guarantees:* whoever waits here holds no turn and no question that others ask too.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lookups that one check of a message may have under way.
pub const CHECK_LOOKUPS_MAX: usize = 16;
/// Lookups that one check of a message may cause in all. What RFC 7208 and RFC 9989 allow, with ten signatures and a chain of
/// fifty ARC sets, stays below.
pub const CHECK_LOOKUPS_TOTAL_MAX: usize = 400;
/// Lookups that the clients of one network may have under way, together: with slow names, and many connections, they would
/// take all turns.
pub const NETWORK_LOOKUPS_MAX: usize = 256;
/// Networks that are remembered before those that ask nothing any more are forgotten.
const NETWORKS_MAX: usize = 1_024;

/// The networks whose clients are checked now.
#[derive(Default)]
pub(super) struct Networks(Mutex<HashMap<IpAddr, Weak<Semaphore>>>);

impl Networks {
    /// The places of one network, the same for all who ask while anybody has them.
    pub fn places(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = known.get(&network).and_then(Weak::upgrade) {
            return places;
        }
        if known.len() >= NETWORKS_MAX {
            known.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(NETWORK_LOOKUPS_MAX));
        known.insert(network, Arc::downgrade(&places));
        places
    }
}

/// What a check has left.
pub(super) struct Share {
    places: Semaphore,
    left: AtomicUsize,
}

impl Share {
    pub fn new() -> Self {
        Share { places: Semaphore::new(CHECK_LOOKUPS_MAX), left: AtomicUsize::new(CHECK_LOOKUPS_TOTAL_MAX) }
    }

    /// Waits for a place, which is free again when it is dropped. None: the check has asked enough.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let take = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        // The semaphore is never closed.
        self.places.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_share_their_places_and_are_forgotten() {
        let networks = Networks::default();
        let network = |at: u32| IpAddr::V4((at << 8).into());
        let kept = networks.places(network(0));
        for at in 1..3 * NETWORKS_MAX as u32 {
            assert_eq!(networks.places(network(at)).available_permits(), NETWORK_LOOKUPS_MAX);
        }
        let known = networks.0.lock().unwrap().len();
        assert!(known <= NETWORKS_MAX, "{known}");
        assert!(Arc::ptr_eq(&kept, &networks.places(network(0))));
    }
}
