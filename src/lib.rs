//! mxkeep: an MX and delivery agent. (This page becomes the architecture document.)
#![deny(missing_docs)]

pub mod address;
pub mod message;
pub mod store;
pub mod config;
pub mod envelope;
pub mod smtp;
pub mod delivery;
