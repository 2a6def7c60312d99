//! Hosts and IP addresses in a field, for the modifiers `:host`, `:domain`, `:ip` and `:revip`.
//!
//! *Guarantees:* linear. *Unlike* SpamAssassin no list of top-level domains is asked: what could be a host by its letters
//! is one. No rule of the published sets uses these modifiers.

use std::net::IpAddr;

use memchr::memrchr;

use crate::rules::views::addresses::could_be_host;
use crate::rules::views::white::is_white;

/// How long a word that may be an IP address can be, in octets.
const IP_OCTETS_MAX: usize = 50;

/// What follows the last `@`, up to white space.
pub fn behind_at(value: &[u8]) -> Option<&[u8]> {
    let host = value.get(memrchr(b'@', value)? + 1..)?;
    host.split(|b| is_white(*b)).next().filter(|host| !host.is_empty())
}

/// The host behind the last `@`, or the first that stands anywhere.
pub fn host(value: &[u8]) -> Option<&[u8]> {
    let belongs = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let behind = behind_at(value).and_then(|host| host.split(|b| !belongs(b)).next());
    let mut words = value.split(|b| !belongs(b));
    let is_host = |host: &&[u8]| could_be_host(host) && !host.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    behind.filter(is_host).or_else(|| words.find(is_host))
}

/// The first IP address, with the `IPv6:` that stands before it in literals (RFC 5321 section 4.1.3), as rules expect it.
pub fn ip(value: &[u8]) -> Option<(IpAddr, &str)> {
    let belongs = |b: &u8| b.is_ascii_alphanumeric() || b".:".contains(b);
    value.split(|b| !belongs(b)).filter(|word| (2..=IP_OCTETS_MAX).contains(&word.len())).find_map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        let tagged = word.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("ipv6:"));
        Some((tagged.map_or(word, |(_, ip)| ip).parse().ok()?, word))
    })
}

/// As it stands in names of reverse zones.
pub fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let text = |found: Option<&[u8]>| found.map(|host| String::from_utf8_lossy(host).into_owned());
        assert_eq!(text(host(b"<1.2@mx.example.org>\n")).as_deref(), Some("mx.example.org"));
        assert_eq!(text(host(b"from a (b.example [192.0.2.1])")).as_deref(), Some("b.example"));
        assert_eq!(text(host(b"none")), None);
        assert_eq!(text(behind_at(b"a@b@c.example x")).as_deref(), Some("c.example"));
        assert_eq!(ip(b"x [192.0.2.1]").map(|(ip, _)| reversed(ip)).as_deref(), Some("1.2.0.192"));
        assert!(
            ip(b"[IPv6:2001:db8::1]")
                .is_some_and(|(ip, text)| text.starts_with("IPv6:") && reversed(ip).starts_with("1.0.0.0."))
        );
        assert_eq!(ip(b"1.2.3 a:"), None);
    }
}
