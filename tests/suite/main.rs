//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod corpus;
mod dialogues;
mod rules;
mod session_model;
mod tidy;
