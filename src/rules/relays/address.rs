//! Addresses as they stand in trace fields: where one begins and ends, and which are private.
//!
//! *Guarantees:* looks at no more than [`ADDRESS_OCTETS_MAX`] octets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No address is longer, be it written out with an IPv4 address at its end.
pub const ADDRESS_OCTETS_MAX: usize = 45;

const TAG: &[u8] = b"ipv6:";

/// Where an address that begins here may end. There are two answers for `::1.2.3.4`: with the dotted quad first, then
/// without it.
pub fn ends(text: &[u8], at: usize) -> [Option<usize>; 2] {
    let before = at.checked_sub(1).and_then(|before| text.get(before)).copied().unwrap_or(b' ');
    let here = text.get(at).copied().unwrap_or(b' ');
    if !is_hex_or_colon(here) && !here.eq_ignore_ascii_case(&b'i') {
        return [None; 2];
    }
    if here.is_ascii_digit() && !is_word(before) && before != b':' {
        let end = quad_end(text, at).filter(|end| !text.get(*end).is_some_and(|after| is_word(*after)));
        if end.is_some() {
            return [end, None];
        }
    }
    let tagged = text.get(at..at.saturating_add(TAG.len())).is_some_and(|tag| tag.eq_ignore_ascii_case(TAG));
    match tagged {
        true => ipv6_ends(text, at.saturating_add(TAG.len())),
        false if is_hex_or_colon(before) => [None; 2],
        false => ipv6_ends(text, at),
    }
}

/// Where an address begins first, and where it ends.
pub fn find(text: &[u8]) -> Option<(usize, usize)> {
    (0..text.len()).find_map(|at| ends(text, at).into_iter().flatten().next().map(|end| (at, end)))
}

/// The whole text as an address, IPv4 in IPv6 taken out.
pub fn parse(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// The whole text as an IPv4 address, as SpamAssassin wants it: no leading zeros.
pub fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Loopback, link-local, private use and carrier-grade NAT; of IPv6 loopback and link-local only.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_ipv4(address),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

/// The same of IPv4: RFC 1122, 1918, 3927 and 6598.
pub fn is_private_ipv4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (first == 100 && (64..128).contains(&second))
}

/// The ways of saying localhost that begin here: where they end, the longest first.
pub fn localhost_ends(text: &[u8], at: usize) -> [Option<usize>; 2] {
    let starts = |name: &[u8]| {
        let end = at.saturating_add(name.len());
        text.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(name)).then_some(end)
    };
    if let Some(short) = starts(b"localhost") {
        return match starts(b"localhost.localdomain") {
            None => [Some(short), None],
            long => [long, Some(short)],
        };
    }
    ends(text, at).map(|end| end.filter(|end| text.get(at..*end).is_some_and(is_local)))
}

fn is_local(text: &[u8]) -> bool {
    let untagged = match text.split_at_checked(TAG.len()) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case(TAG) => rest,
        _ => text,
    };
    let address = parse(untagged);
    address == Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) || address == Some(IpAddr::V6(Ipv6Addr::LOCALHOST))
}

fn ipv6_ends(text: &[u8], at: usize) -> [Option<usize>; 2] {
    let rest = text.get(at..).unwrap_or_default();
    let run: &[u8] = rest.split(|octet| !is_hex_or_colon(*octet)).next().unwrap_or_default();
    if run.len() > ADDRESS_OCTETS_MAX || !run.contains(&b':') {
        return [None; 2];
    }
    let is_ipv6 = |end: &usize| {
        let text = text.get(at..*end).and_then(|text| std::str::from_utf8(text).ok());
        text.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
    };
    let quad = memchr::memrchr(b':', run).map(|colon| at.saturating_add(colon).saturating_add(1));
    let mapped = quad.and_then(|quad| quad_end(text, quad));
    let mapped = mapped.filter(|end| !text.get(*end).is_some_and(|after| is_hex_or_colon(*after)));
    [mapped.filter(is_ipv6), Some(at.saturating_add(run.len())).filter(is_ipv6)]
}

/// Where a dotted quad that begins here ends. Its last number is taken whole.
fn quad_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    for part in 0..4 {
        if part > 0 {
            (text.get(at) == Some(&b'.')).then_some(())?;
            at = at.saturating_add(1);
        }
        let rest = text.get(at..)?;
        let digits = rest.iter().take(4).take_while(|octet| octet.is_ascii_digit()).count();
        let number = rest.get(..digits)?;
        let legal = match number {
            [] => false,
            [_] => true,
            [b'0', ..] => false,
            _ => number.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0')) < 256,
        };
        legal.then_some(())?;
        at = at.saturating_add(digits);
    }
    Some(at)
}

fn is_hex_or_colon(octet: u8) -> bool {
    octet.is_ascii_hexdigit() || octet == b':'
}

/// What Perl's `\w` takes.
pub fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_they_end() {
        let cases: [(&str, usize, [Option<usize>; 2]); 16] = [
            ("192.0.2.1", 0, [Some(9), None]),
            ("192.0.2.1.25", 0, [Some(9), None]),
            ("192.0.2.256", 0, [None, None]),
            ("192.0.2.01", 0, [None, None]),
            ("192.0.2.1a", 0, [None, None]),
            ("x192.0.2.1", 1, [None, None]),
            (":192.0.2.1", 1, [None, None]),
            ("[192.0.2.1]", 1, [Some(10), None]),
            ("2001:db8::1]", 0, [None, Some(11)]),
            ("IPv6:2001:db8::1]", 0, [None, Some(16)]),
            ("2001:db8::1::", 0, [None, None]),
            ("::ffff:192.0.2.1", 0, [Some(16), Some(10)]),
            ("::", 0, [None, Some(2)]),
            ("cafe", 0, [None, None]),
            ("", 0, [None, None]),
            ("1:2:3:4:5:6:7:8", 0, [None, Some(15)]),
        ];
        for (text, at, expected) in cases {
            assert_eq!(ends(text.as_bytes(), at), expected, "{text}");
        }
        assert_eq!(find(b"by host [198.51.100.7] id"), Some((9, 21)));
        assert_eq!(find(b"no address at all"), None);
    }

    #[test]
    fn private_and_local() {
        for (text, private) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("169.254.7.7", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("fe80::7", true),
            ("fc00::7", false),
            ("::ffff:192.168.3.4", true),
            ("198.51.100.7", false),
        ] {
            assert_eq!(parse(text.as_bytes()).map(is_private), Some(private), "{text}");
        }
        for (text, ends) in [
            ("localhost.localdomain", [Some(21), Some(9)]),
            ("LOCALHOST)", [Some(9), None]),
            ("127.0.0.1", [Some(9), None]),
            ("127.0.0.2", [None, None]),
            ("ipv6:::1", [None, Some(8)]),
            ("local", [None, None]),
        ] {
            assert_eq!(localhost_ends(text.as_bytes(), 0), ends, "{text}");
        }
    }
}
