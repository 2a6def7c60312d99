//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod demo;
mod dialogues;
mod readme;
mod rules;
mod session_model;
mod tidy;
