//! How often octets are found in mail, roughly. It chooses what to look for, and decides nothing.

use super::octets::Octets;

/// The share of one octet.
pub fn of(octet: u8) -> f64 {
    match octet.to_ascii_lowercase() {
        b' ' => 0.15,
        b'e' => 0.075,
        b't' | b'a' | b'o' | b'i' | b'n' => 0.05,
        b's' | b'r' | b'h' | b'l' | b'd' => 0.035,
        b'c' | b'u' | b'm' | b'p' | b'g' => 0.02,
        b'f' | b'w' | b'y' | b'b' | b'v' => 0.012,
        b'k' | b'x' | b'j' | b'q' | b'z' => 0.003,
        b'0'..=b'9' => 0.008,
        b'.' | b',' | b'/' | b'-' | b'=' | b'"' | b':' | b'<' | b'>' | b'\n' => 0.006,
        b'!'..=b'~' => 0.001,
        _ => 0.000_3,
    }
}

/// The share of a set. Both cases of a letter together have the letter's.
pub fn of_set(set: &Octets) -> f64 {
    let lower_too = |octet: &u8| octet.is_ascii_uppercase() && set.contains(octet.to_ascii_lowercase());
    let sum: f64 = set.iter().filter(|octet| !lower_too(octet)).map(of).sum();
    sum.min(1.0)
}
