//! A share of the lookups: no message takes them all.
//!
//! *Does:* lets one check have so many lookups under way, and so many in all. Its own further ones wait, those of others do
//! not.
//! *Guarantees:* whoever waits here holds no turn and no question that others ask too.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lookups that one check of a message may have under way.
pub const CHECK_LOOKUPS_MAX: usize = 16;
/// Lookups that one check of a message may cause in all. What RFC 7208 and RFC 9989 allow, with ten signatures and a chain of
/// fifty ARC sets, stays below.
pub const CHECK_LOOKUPS_TOTAL_MAX: usize = 400;

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
