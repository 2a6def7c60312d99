//! The PROXY protocol, against a naive reading of both versions: no octet of the client's is taken for the header's, and
//! none of the header's for the client's, wherever what arrived so far ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mxkeep::connection::proxy::{HEADER_OCTETS_MAX, Parsed, V1_OCTETS_MAX, parse};

use super::support::find;

pub fn run(octets: &[u8]) {
    check(octets);
    // Most of what is made up has no signature.
    check(&[b"\r\n\r\n\0\r\nQUIT\n", octets].concat());
    check(&[b"PROXY TCP4 ", octets, b"\r\n"].concat());
}

fn check(octets: &[u8]) {
    let whole = parse(octets);
    let header = match whole {
        Parsed::Header { client, octets: length } => {
            assert!(length <= octets.len() && length <= HEADER_OCTETS_MAX);
            assert!(client.is_none_or(|client| client.ip() == client.ip().to_canonical()), "{client:?}");
            Some((client, length))
        }
        Parsed::Incomplete(_) | Parsed::Invalid => None,
    };
    assert_eq!(header, naive(octets));
    for end in 0..octets.len() {
        match (parse(&octets[..end]), header) {
            (Parsed::Header { .. }, None) => panic!("a header that more octets spoil"),
            (found @ Parsed::Header { .. }, Some((_, length))) => assert!(end >= length && found == whole),
            (Parsed::Invalid, _) => assert_eq!(whole, Parsed::Invalid, "what is no header became one"),
            (Parsed::Incomplete(more), Some((_, length))) => assert!(more >= 1 && end + more <= length),
            (Parsed::Incomplete(more), None) => assert!(more >= 1),
        }
    }
}

/// The client, and the header's length.
type Header = (Option<SocketAddr>, usize);

fn naive(octets: &[u8]) -> Option<Header> {
    naive_v1(octets).or_else(|| naive_v2(octets))
}

fn naive_v1(octets: &[u8]) -> Option<Header> {
    let end = find(octets, b"\r\n").filter(|end| end + 2 <= V1_OCTETS_MAX)?;
    let line = octets.strip_prefix(b"PROXY ")?.get(..end.checked_sub(6)?)?;
    if line.contains(&b'\r') || line.contains(&b'\n') {
        return None;
    }
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some((None, end + 2));
    }
    let line = std::str::from_utf8(line).ok()?;
    let [family, source, destination, source_port, destination_port] =
        line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    // A number in its only spelling.
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    let client = SocketAddr::new(ip(source)?.to_canonical(), port(source_port)?);
    ip(destination).zip(port(destination_port)).map(|_| (Some(client), end + 2))
}

fn naive_v2(octets: &[u8]) -> Option<Header> {
    let rest = octets.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let (&[command, family, high, low], rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let addresses = rest.get(..length)?;
    let needed = match (family >> 4, family & 15) {
        (_, 3..) | (4.., _) => return None,
        (0, _) => 0,
        (1, _) => 12,
        (2, _) => 36,
        (_, _) => 216,
    };
    let client = match command {
        0x20 => None,
        0x21 if length < needed => return None,
        0x21 => match family {
            0x11 => Some((IpAddr::from(<[u8; 4]>::try_from(&addresses[..4]).ok()?), &addresses[8..10])),
            0x21 => Some((IpAddr::from(<[u8; 16]>::try_from(&addresses[..16]).ok()?), &addresses[32..34])),
            _ => None,
        },
        _ => return None,
    };
    let client = client.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), u16::from_be_bytes([port[0], port[1]])));
    Some((client, 16 + length))
}
