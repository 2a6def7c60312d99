//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod corpus;
mod crash;
mod crash_load;
mod demo;
mod dialogues;
mod from_field;
mod ledger;
mod limits;
mod policy;
mod readers;
mod readme;
mod rules;
mod scan;
mod session_model;
mod spf_suites;
mod swaks;
mod tidy;
mod trouble_disk;
mod trouble_dns;
mod trouble_start;
mod trouble_state;
