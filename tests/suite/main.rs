//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod crash;
mod crash_load;
mod dialogues;
mod readers;
mod ledger;
mod rules;
mod session_model;
mod swaks;
mod tidy;
