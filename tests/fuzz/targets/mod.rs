//! The fuzz targets: what reads octets from outside, and what must hold of it whatever the octets are.
//!
//! Each target is a function that panics where something does not hold. The fuzzer calls it with what libFuzzer makes up,
//! and the test suite with the seeds and regressions that are committed (`tests/suite/fuzz_seeds.rs`).

mod address;
mod arc;
mod author;
mod bdat;
mod command;
mod configuration;
mod data;
mod dmarc;
mod message;
mod proxy;
mod received;
mod records;
mod results;
mod rules;
mod session;
mod signatures;
mod support;
mod text;
mod world;

/// One target.
pub struct Target {
    /// Its name, and that of its seeds' folder.
    pub name: &'static str,
    /// Panics where a property does not hold.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Every target.
pub const ALL: &[Target] = &[
    target("address", address::run),
    target("arc", arc::run),
    target("author", author::run),
    target("bdat", bdat::run),
    target("command", command::run),
    target("configuration", configuration::run),
    target("data", data::run),
    target("dmarc", dmarc::run),
    target("message", message::run),
    target("proxy", proxy::run),
    target("received", received::run),
    target("records", records::run),
    target("results", results::run),
    target("rules", rules::run),
    target("session", session::run),
    target("signatures", signatures::run),
    target("stream", session::run_raw),
    target("text", text::run),
];
