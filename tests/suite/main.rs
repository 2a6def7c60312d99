//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod dialogues;
mod limits;
mod policy;
mod rules;
mod session_model;
mod tidy;
mod trouble_disk;
mod trouble_dns;
mod trouble_start;
mod trouble_state;
