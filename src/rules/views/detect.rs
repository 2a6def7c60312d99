//! A guess at the charset of octets whose label is missing or wrong.
//!
//! *Guarantees:* linear, without allocation.

/// The name of the charset that the octets are probably in.
pub fn detect(_octets: &[u8]) -> Option<&'static str> {
    None
}
