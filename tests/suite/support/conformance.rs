//! What a run of somebody else's suite says of itself: the same line for each.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Prints a suite's line, and below it why some of its tests are excluded or judged otherwise.
pub fn report(suite: &str, run: usize, passed: usize, excluded: usize, reasons: impl IntoIterator<Item = String>) {
    println!("{suite}: {run} run, {passed} passed, {excluded} excluded");
    reasons.into_iter().for_each(|reason| println!("    {reason}"));
}

/// A file of a suite.
pub fn json<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("a file of the suite")).expect("JSON")
}
