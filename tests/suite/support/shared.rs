//! Data that is not part of the repository: real mail and the like, in a directory beside it.

use std::env;
use std::path::{Path, PathBuf};

/// A file below `$MXKEEP_SHARED`, or else below `../shared` of the repository. Where there is none it says that the test
/// is skipped.
pub fn find(test: &str, path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let found = env::var_os("MXKEEP_SHARED").map_or_else(beside, PathBuf::from).join(path);
    if !found.exists() {
        println!("{test}: skipped, as there is no {path} below $MXKEEP_SHARED or ../shared");
        return None;
    }
    Some(found)
}

/// The same for conformance suites of others: below `$MXKEEP_SUITES`, or else below `suites` of the above.
pub fn suite(test: &str, path: &str) -> Option<PathBuf> {
    match env::var_os("MXKEEP_SUITES").map(|folder| PathBuf::from(folder).join(path)) {
        Some(found) if found.exists() => Some(found),
        Some(_) => {
            println!("{test}: skipped, as there is no {path} below $MXKEEP_SUITES");
            None
        }
        None => find(test, &format!("suites/{path}")),
    }
}
