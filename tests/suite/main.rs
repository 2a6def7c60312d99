//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod crash;
mod crash_load;
mod demo;
mod dialogues;
mod ledger;
mod readers;
mod readme;
mod rules;
mod session_model;
mod swaks;
mod tidy;
