//! What the tests share.
#![allow(dead_code, reason = "a toolbox: what one test needs today another one left yesterday")]

pub mod conversation;
pub mod dialogue;
pub mod dns;
pub mod maildir;
pub mod memory;
pub mod rust_source;
pub mod server;
pub mod shared;
pub mod smtp_client;
