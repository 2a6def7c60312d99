//! What the tests share.
#![allow(dead_code, reason = "a toolbox: what one test needs today another one left yesterday")]

pub mod conformance;
pub mod conversation;
pub mod dialogue;
pub mod disk;
pub mod dns;
pub mod dovecot;
pub mod exchange;
pub mod imap;
pub mod load;
pub mod loopback;
pub mod maildir;
pub mod memory;
pub mod names;
pub mod owner;
pub mod poll;
pub mod process;
pub mod program;
pub mod rsa;
pub mod rust_source;
pub mod server;
pub mod server_socket;
pub mod service;
pub mod shared;
pub mod smtp_client;
pub mod spf_suite;
pub mod strace;
pub mod tool;
