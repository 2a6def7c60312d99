//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt, 2020-03-05): who is really connected, in the first
//! octets of a connection from a load balancer.
//!
//! *Does:* reads one header, [`parse`] from octets and [`receive`] from a socket.
//! *Guarantees:* [`parse`] is total and bounded by [`HEADER_OCTETS_MAX`]. [`receive`] takes exactly the header from the
//! socket: what stands behind it, a TLS hello or a command, stays there. An IPv4-mapped IPv6 address is unmapped.
//! *Never does:* guess. A header that is not exactly one is none, and whoever sent it gets no session.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header of version 1, in octets, CRLF included (section 2.1).
pub const V1_OCTETS_MAX: usize = 107;
/// The longest header of version 2, in octets: its length field has 16 bits (section 2.2).
pub const HEADER_OCTETS_MAX: usize = V2_FIXED_OCTETS + u16::MAX as usize;

/// How every header of version 1 begins.
const V1_PREFIX: &[u8] = b"PROXY ";
/// The shortest header of version 1: `PROXY UNKNOWN` and CRLF.
const V1_OCTETS_MIN: usize = 15;
/// How every header of version 2 begins.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What stands in a header of version 2 before the addresses: signature, version and command, family, length.
const V2_FIXED_OCTETS: usize = 16;

/// What octets from the beginning of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header. At least so many more octets belong to it.
    Incomplete(usize),
    /// A header.
    Header {
        /// The client; `None` if the proxy speaks for itself (`LOCAL`), or does not know or cannot say (`UNKNOWN`, other
        /// address families): then the connection's own address is the client's.
        client: Option<SocketAddr>,
        /// The header's length. What stands behind it is the client's.
        octets: usize,
    },
    /// Not a header.
    Invalid,
}

/// Reads a header of either version.
pub fn parse(octets: &[u8]) -> Parsed {
    match octets.first() {
        None => Parsed::Incomplete(V1_OCTETS_MIN),
        Some(b'P') => parse_v1(octets),
        Some(_) => parse_v2(octets).unwrap_or(Parsed::Invalid),
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25` and CRLF (section 2.1).
fn parse_v1(octets: &[u8]) -> Parsed {
    if !agrees(octets, V1_PREFIX) {
        return Parsed::Invalid;
    }
    let within = octets.get(..V1_OCTETS_MAX).unwrap_or(octets);
    match within.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => match within.get(..end).map(parse_v1_line) {
            Some(Some(client)) => Parsed::Header { client, octets: end + 2 },
            _ => Parsed::Invalid,
        },
        // A line end of another kind, or a line too long.
        None if is_malformed(within) || octets.len() >= V1_OCTETS_MAX => Parsed::Invalid,
        None => {
            let line_end = if octets.ends_with(b"\r") { 1 } else { 2 };
            Parsed::Incomplete(V1_OCTETS_MIN.saturating_sub(octets.len()).max(line_end))
        }
    }
}

/// Does it begin like this, as far as it goes?
fn agrees(octets: &[u8], prefix: &[u8]) -> bool {
    octets.iter().zip(prefix).all(|(octet, expected)| octet == expected)
}

/// A CR or LF that is not part of the CRLF at the end; the last octet may be the CR of one that is on its way.
fn is_malformed(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.iter().any(|octet| matches!(octet, b'\r' | b'\n'))
}

/// The line without its CRLF. `None`: not a header. `Some(None)`: one that does not say who it is.
fn parse_v1_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = line.strip_prefix(V1_PREFIX)?;
    if is_malformed(line) || line.ends_with(b"\r") {
        return None;
    }
    // Whatever stands behind UNKNOWN is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (source, destination) = match words.next()? {
        "TCP4" => (ip::<Ipv4Addr>(words.next()?)?, ip::<Ipv4Addr>(words.next()?)),
        "TCP6" => (ip::<Ipv6Addr>(words.next()?)?, ip::<Ipv6Addr>(words.next()?)),
        _ => return None,
    };
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?));
    let is_whole = destination.is_some() && destination_port.is_some() && words.next().is_none();
    is_whole.then_some(Some(SocketAddr::new(source, source_port)))
}

fn ip<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    let address: A = text.parse().ok()?;
    Some(address.into().to_canonical())
}

/// Digits without leading zeros or sign, up to 65535.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// The binary form (section 2.2). `None`: not a header.
fn parse_v2(octets: &[u8]) -> Option<Parsed> {
    if !agrees(octets, V2_SIGNATURE) {
        return None;
    }
    let command = match octets.get(12) {
        Some(0x20) => Some(Command::Local),
        Some(0x21) => Some(Command::Proxy),
        Some(_) => return None,
        None => None,
    };
    let family = match octets.get(13) {
        Some(octet) => Some(Family::of(*octet)?),
        None => None,
    };
    let (Some(command), Some(family), Some(length)) = (command, family, octets.get(14..V2_FIXED_OCTETS)) else {
        return Some(Parsed::Incomplete(V2_FIXED_OCTETS.saturating_sub(octets.len())));
    };
    let length = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    // LOCAL says nothing of addresses, and what stands in their place is to be ignored.
    if command == Command::Proxy && length < family.addresses_octets() {
        return None;
    }
    let whole = V2_FIXED_OCTETS + length;
    let Some(rest) = octets.get(V2_FIXED_OCTETS..whole) else {
        return Some(Parsed::Incomplete(whole.saturating_sub(octets.len())));
    };
    let client = match command {
        Command::Local => None,
        Command::Proxy => family.client(rest),
    };
    Some(Parsed::Header { client, octets: whole })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy's own connection, a health check, say.
    Local,
    /// A client's.
    Proxy,
}

/// Address family and transport, as far as they concern us: only TCP has clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Tcp4,
    Tcp6,
    /// Known, and without a client's address for us; so many octets of addresses.
    Other(usize),
}

impl Family {
    /// Values that nobody may send are `None`.
    fn of(octet: u8) -> Option<Family> {
        match octet {
            0x11 => Some(Family::Tcp4),
            0x21 => Some(Family::Tcp6),
            0x00..=0x02 => Some(Family::Other(0)),
            0x10 | 0x12 => Some(Family::Other(12)),
            0x20 | 0x22 => Some(Family::Other(36)),
            0x30..=0x32 => Some(Family::Other(216)),
            _ => None,
        }
    }

    fn addresses_octets(self) -> usize {
        match self {
            Family::Tcp4 => 12,
            Family::Tcp6 => 36,
            Family::Other(octets) => octets,
        }
    }

    /// Source address, destination address, source port, destination port; TLVs behind them are skipped.
    fn client(self, octets: &[u8]) -> Option<SocketAddr> {
        let (address, port): (IpAddr, &[u8]) = match self {
            Family::Tcp4 => (Ipv4Addr::from(*octets.first_chunk::<4>()?).into(), octets.get(8..)?),
            Family::Tcp6 => (Ipv6Addr::from(*octets.first_chunk::<16>()?).into(), octets.get(32..)?),
            Family::Other(_) => return None,
        };
        Some(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(*port.first_chunk()?)))
    }
}

/// Receives a header, and not one octet more. `None`: what came was none, or the stream ended before its end. Mind the
/// time.
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Option<SocketAddr>> {
    let mut header = Vec::new();
    loop {
        match parse(&header) {
            Parsed::Header { client, .. } => return Some(client),
            Parsed::Invalid => return None,
            Parsed::Incomplete(octets) => {
                // So many belong to the header: never more are asked for.
                let mut rest = (&mut *stream).take(octets as u64);
                if !matches!(rest.read_buf(&mut header).await, Ok(1..)) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn tcp4(tlvs: &[u8]) -> Vec<u8> {
        v2(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0, 25], tlvs].concat())
    }

    fn tcp6(source: &str) -> Vec<u8> {
        let (source, ours): (Ipv6Addr, Ipv6Addr) = (source.parse().unwrap(), "2001:db8::25".parse().unwrap());
        v2(0x21, 0x21, &[&source.octets()[..], &ours.octets(), &[0xdc, 0x04, 0, 25]].concat())
    }

    fn header(client: Option<&str>, octets: usize) -> Parsed {
        Parsed::Header { client: client.map(|client| client.parse().unwrap()), octets }
    }

    /// Every header that is one, and its client.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let text = |text: &str| text.as_bytes().to_vec();
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        vec![
            (text("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"), Some("192.0.2.1:56324")),
            (text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n"), Some("255.255.255.255:65535")),
            (text("PROXY TCP6 2001:db8::1 2001:db8::25 56324 25\r\n"), Some("[2001:db8::1]:56324")),
            (text("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 56324 25\r\n"), Some("192.0.2.1:56324")),
            (
                text(&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n")),
                Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            (text("PROXY UNKNOWN\r\n"), None),
            (text("PROXY UNKNOWN \r\n"), None),
            (text(&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n")), None),
            (tcp4(b""), Some("192.0.2.1:56324")),
            // A checksum (PP2_TYPE_CRC32C) that is wrong, NOOP, and one whose length is not right: TLVs are skipped.
            (tcp4(&[3, 0, 4, 0, 0, 0, 0, 4, 0, 0, 1, 0xff, 0xff]), Some("192.0.2.1:56324")),
            (tcp4(&[0; 65_523]), Some("192.0.2.1:56324")),
            (tcp6("2001:db8::1"), Some("[2001:db8::1]:56324")),
            (tcp6("::ffff:192.0.2.1"), Some("192.0.2.1:56324")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0, 25]), None),
            (v2(0x20, 0x11, b"short"), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x00, b"to be ignored"), None),
            (v2(0x21, 0x12, &[1; 12]), None),
            (v2(0x21, 0x22, &[1; 36]), None),
            (v2(0x21, 0x31, &[1; 216]), None),
            (v2(0x21, 0x32, &[1; 217]), None),
        ]
    }

    #[test]
    fn every_header_is_read_however_it_is_cut_and_whatever_follows() {
        for (octets, client) in good() {
            let whole = header(client, octets.len());
            assert_eq!(parse(&octets), whole, "{:?}", String::from_utf8_lossy(&octets));
            let followed = [&octets[..], b"EHLO client.example\r\n"].concat();
            assert_eq!(parse(&followed), whole, "{:?}", String::from_utf8_lossy(&octets));
            for cut in 0..octets.len().min(300) {
                match parse(&octets[..cut]) {
                    Parsed::Incomplete(more) => assert!((1..=octets.len() - cut).contains(&more), "{cut}: {more}"),
                    other => panic!("{cut} octets of {:?}: {other:?}", String::from_utf8_lossy(&octets)),
                }
            }
        }
    }

    #[test]
    fn the_longest_headers_are_as_long_as_the_limits() {
        let good = good();
        let v1 = good.iter().filter(|(octets, _)| octets.starts_with(b"PROXY"));
        assert_eq!(v1.map(|(octets, _)| octets.len()).max(), Some(V1_OCTETS_MAX));
        assert_eq!(good.iter().map(|(octets, _)| octets.len()).max(), Some(HEADER_OCTETS_MAX));
    }

    #[test]
    fn what_is_no_header_is_invalid() {
        let lines = [
            "EHLO client.example\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "proxy UNKNOWN\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 56324 25\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 56324 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 26\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1  25\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 56324 25\r\n",
            "PROXY TCP4 192.0.2.1 mx.example.org 56324 25\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::25 56324 25\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 56324 25\r\n",
            "PROXY TCP6 fe80::1%eth0 2001:db8::25 56324 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\nEHLO a\r\n",
            "PROXY UNKNOWN \n\r\n",
            "PROXY UNKNOWN\r\r\n",
            "PROXY UNKNOWN a\rb\r\n",
        ];
        for line in lines {
            assert_eq!(parse(line.as_bytes()), Parsed::Invalid, "{line:?}");
        }
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_OCTETS_MAX - 15));
        assert_eq!(parse(too_long.as_bytes()), Parsed::Invalid);
        assert_eq!(parse(&too_long.as_bytes()[..V1_OCTETS_MAX]), Parsed::Invalid, "without waiting for its end");
        assert_eq!(parse(b"PROXY \n"), Parsed::Invalid, "without waiting for its end");
        assert_eq!(parse(b"QUIT\r\n"), Parsed::Invalid, "without waiting for more");
        for (command, family, octets) in [
            (0x11, 0x11, 12),
            (0x01, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
            (0x21, 0x12, 11),
            (0x21, 0x31, 215),
            (0x21, 0x13, 12),
            (0x21, 0x41, 255),
            (0x20, 0xff, 0),
        ] {
            let octets = v2(command, family, &vec![0; octets]);
            assert_eq!(parse(&octets), Parsed::Invalid, "{octets:?}");
        }
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\r\n"), Parsed::Invalid);
        assert_eq!(parse(b"\0"), Parsed::Invalid);
    }

    #[tokio::test]
    async fn exactly_the_header_is_taken_from_the_stream() {
        for (octets, client) in good() {
            let mut stream: &[u8] = &[&octets[..], b"EHLO client.example\r\n"].concat();
            let client: Option<SocketAddr> = client.map(|client| client.parse().unwrap());
            assert_eq!(receive(&mut stream).await, Some(client));
            assert_eq!(stream, b"EHLO client.example\r\n");
            let mut cut: &[u8] = &octets[..octets.len() - 1];
            assert_eq!(receive(&mut cut).await, None);
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_too_odd(octets in prop::collection::vec(any::<u8>(), 0..300), kind in 0..4) {
            let start: &[u8] = match kind {
                0 => b"",
                1 => b"PROXY ",
                2 => b"PROXY TCP4 ",
                _ => V2_SIGNATURE,
            };
            let octets = [start, &octets].concat();
            match parse(&octets) {
                Parsed::Header { octets: length, .. } => prop_assert!(length <= octets.len()),
                Parsed::Incomplete(more) => prop_assert!(more > 0 && octets.len() + more <= HEADER_OCTETS_MAX),
                Parsed::Invalid => {}
            }
        }
    }
}
