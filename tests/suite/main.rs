//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod dialogues;
mod from_field;
mod rules;
mod session_model;
mod tidy;
