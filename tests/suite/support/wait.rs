//! Waiting for another process: a condition is polled, and there is a bound.

use std::thread;
use std::time::{Duration, Instant};

/// Nothing takes longer than this, in seconds, on a machine that is not broken.
const SECONDS_MAX: u64 = 30;
/// Between two looks, in milliseconds.
const PAUSE_MILLIS: u64 = 20;

/// Waits until this holds; fails the test if it never does.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(SECONDS_MAX), "it never came to pass that {what}");
        thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
}
