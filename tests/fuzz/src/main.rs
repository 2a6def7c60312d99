//! The fuzzer: libFuzzer around the target that the environment variable `MXKEEP_FUZZ_TARGET` names.
//!
//! One program for all targets, since each would link RocksDB and aws-lc again. `tests/fuzz/run` starts it.
#![no_main]

#[path = "../../suite/session_model.rs"]
#[allow(unused, reason = "its tests are the suite's")]
mod session_model;
mod support;
#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&'static targets::Target> = LazyLock::new(|| {
    let name = std::env::var("MXKEEP_FUZZ_TARGET").unwrap_or_default();
    targets::ALL.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        panic!("MXKEEP_FUZZ_TARGET has to be one of: {}", names.join(" "))
    })
});

fuzz_target!(init: { LazyLock::force(&TARGET); }, |octets: &[u8]| (TARGET.run)(octets));
