//! Every seed and every regression of the fuzzer, through the same targets: what once was found stays fixed, without a
//! fuzzer, and each target is known to be one that its seeds pass.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use targets::ALL;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The files of a folder, in order; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    files
}

#[test]
fn seeds_and_regressions_hold() {
    let mut broken = Vec::new();
    for target in ALL {
        let seeds = files(&fuzz().join("seeds").join(target.name));
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for file in seeds.into_iter().chain(files(&fuzz().join("regressions").join(target.name))) {
            let octets = fs::read(&file).expect("a seed");
            // Whole, and cut anywhere: a parser's edges are where its input ends.
            for end in (0..=octets.len().min(200)).chain([octets.len()]) {
                if catch_unwind(AssertUnwindSafe(|| (target.run)(&octets[..end.min(octets.len())]))).is_err() {
                    broken.push(format!("{}, the first {end} octets", file.display()));
                    break;
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A folder without a target would be run by nobody.
#[test]
fn every_folder_is_a_target() {
    for kind in ["seeds", "regressions", "dictionaries"] {
        for file in files(&fuzz().join(kind)) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(ALL.iter().any(|target| target.name == name), "{kind}/{name}");
        }
    }
}
