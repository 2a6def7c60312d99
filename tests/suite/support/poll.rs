//! Waits for what another process does.

use std::thread;
use std::time::{Duration, Instant};

/// What has not happened by then will not happen, in seconds.
const SECONDS_MAX: u64 = 30;
/// Between two looks, in milliseconds.
const PAUSE_MILLIS: u64 = 1;

/// Looks until it is so; fails the test when it takes too long.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(SECONDS_MAX), "waited too long until {what}");
        thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
}
