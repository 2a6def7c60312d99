//! What we remember of senders beyond one message.
//!
//! So far: since when an author domain's DMARC record cannot be looked up ([`deferral`]).

pub mod deferral;
