//! The integration tests, one binary: a second one would link RocksDB and aws-lc again.

mod support;

mod accepting;
mod activation;
mod corpus;
mod crash;
mod crash_load;
mod deadlines;
mod demo;
mod dialogues;
mod foreign_dialogues;
mod from_field;
mod hostile;
mod large_messages;
mod ledger;
mod limits;
mod policy;
mod prdr;
mod proxy;
mod readers;
mod readme;
mod relay;
mod reload;
mod rules;
mod scan;
mod session_model;
mod stop;
mod swaks;
mod systemd;
mod tidy;
mod tls;
mod trouble_disk;
mod trouble_dns;
mod trouble_start;
mod trouble_state;
