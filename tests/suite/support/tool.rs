//! Programs that a test runs and that a machine may lack.

use std::env;
use std::path::PathBuf;

/// Where a program is. `None`, and a line that says so, where it is not installed: the test has nothing to do then. In CI
/// (`CI=true`) that is a failure: `.ci/setup` installs every program that is asked for here.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH is often without the directories of services.
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = directories.map(|directory| directory.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "{name} is not installed: see .ci/setup");
        println!("skipped: {name} is not installed");
    }
    found
}
