//! XCLIENT: a trusted proxy says for whom it speaks (Postfix's XCLIENT_README; xtext by RFC 3461 section 4).
//!
//! *Does:* reads `XCLIENT name=value ...` into an [`XClient`].
//! *Guarantees:* each attribute at most once and well-formed, or the whole command is refused.
//! *Never does:* believe NAME: a client's name is looked up. LOGIN is refused, we know no users.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Host;
use crate::smtp::reply::{self, Reply};

/// The attributes that EHLO offers.
pub const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO DESTADDR DESTPORT";

/// What a proxy says of the client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XAddress {
    /// Nothing: it is as before, for attributes may come in several commands.
    #[default]
    NotSaid,
    /// The proxy does not know it: it is not that of the client before.
    Unavailable,
    /// The address, unmapped.
    Is(IpAddr),
}

/// Whom the proxy speaks for, as far as it says. But for the address, what is unavailable to it is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XClient {
    /// `ADDR`: the client's address.
    pub address: XAddress,
    /// `PORT`: the client's port.
    pub port: Option<u16>,
    /// `HELO`: what the client called itself.
    pub helo: Option<Host>,
    /// `PROTO=SMTP`: the client said HELO.
    pub plain: bool,
}

impl XClient {
    /// Reads what stands behind the verb.
    pub fn parse(argument: &str) -> Result<Self, Reply> {
        let mut client = XClient::default();
        let mut seen: Vec<String> = Vec::new();
        for attribute in argument.split(' ').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = attribute.split_once('=').ok_or_else(|| reply::argument("NAME=value is needed"))?;
            let name = name.to_ascii_uppercase();
            if seen.contains(&name) {
                return Err(reply::argument(format_args!("{name} stands twice")));
            }
            client.set(&name, value)?;
            seen.push(name);
        }
        match seen.is_empty() {
            true => Err(reply::argument("XCLIENT needs at least one attribute")),
            false => Ok(client),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Reply> {
        if !ATTRIBUTES.split(' ').any(|known| known == name) {
            return Err(reply::argument(format_args!("XCLIENT has no attribute {name}")));
        }
        let wrong = || reply::argument(format_args!("the value of {name} is not valid"));
        let value = xtext(value).filter(|value| !value.is_empty()).ok_or_else(wrong)?;
        if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|word| value.eq_ignore_ascii_case(word)) {
            if name == "ADDR" {
                self.address = XAddress::Unavailable;
            }
            return Ok(());
        }
        match name {
            "ADDR" => self.address = XAddress::Is(address(&value).ok_or_else(wrong)?),
            "PORT" => self.port = Some(port(&value).ok_or_else(wrong)?),
            "HELO" => self.helo = Some(Host::parse(&value).map_err(|_| wrong())?),
            "PROTO" if value.eq_ignore_ascii_case("SMTP") => self.plain = true,
            "PROTO" if value.eq_ignore_ascii_case("ESMTP") => {}
            "PROTO" => return Err(wrong()),
            "DESTADDR" => drop(address(&value).ok_or_else(wrong)?),
            "DESTPORT" => drop(port(&value).ok_or_else(wrong)?),
            // NAME: no evidence.
            _ => {}
        }
        Ok(())
    }
}

/// An IPv4 address, or an IPv6 address behind `IPV6:`.
fn address(value: &str) -> Option<IpAddr> {
    let tag = value.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPV6:"));
    let address = match tag {
        Some(tag) => value[tag.len()..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => value.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    address.map(|address| address.to_canonical())
}

fn port(value: &str) -> Option<u16> {
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok())?
}

/// Undoes xtext: `+` and two upper-case hexadecimal digits stand for an octet (RFC 3461 section 4). What comes out is
/// printable ASCII, or it is nothing that could be said here.
fn xtext(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut octets = value.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'+' => hexadecimal(octets.next()?)? << 4 | hexadecimal(octets.next()?)?,
            b'=' => return None,
            octet => octet,
        };
        if !(b' '..=b'~').contains(&octet) {
            return None;
        }
        text.push(char::from(octet));
    }
    Some(text)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_is_read() {
        let said = "name=spike.example ADDR=IPV6:2001:DB8::1 Port=4711 PROTO=esmtp HELO=[192.0.2.1] \
                    DESTADDR=192.0.2.25 DESTPORT=25";
        let client = XClient::parse(said).unwrap();
        assert_eq!(client.address, XAddress::Is("2001:db8::1".parse().unwrap()));
        assert_eq!((client.port, client.plain), (Some(4711), false));
        assert_eq!(client.helo.unwrap().to_string(), "[192.0.2.1]");
        let client = XClient::parse("HELO=+63lient.example PROTO=SMTP ADDR=+5BUNAVAILABLE+5D").unwrap();
        assert_eq!(client.helo.unwrap().to_string(), "client.example");
        assert_eq!((client.address, client.plain), (XAddress::Unavailable, true));
        assert_eq!(XClient::parse("ADDR=ipv6:::ffff:192.0.2.1").unwrap().address, XAddress::Is([192, 0, 2, 1].into()));
        let nothing = "NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE] PORT=[unavailable] HELO=[UNAVAILABLE] PROTO=[UNAVAILABLE]";
        let unknown = XClient { address: XAddress::Unavailable, ..XClient::default() };
        assert_eq!(XClient::parse(nothing), Ok(unknown));
        assert_eq!(XClient::parse("NAME=[UNAVAILABLE] PORT=[UNAVAILABLE]"), Ok(XClient::default()));
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        for said in [
            "",
            " ",
            "ADDR",
            "ADDR=",
            "=x",
            "LOGIN=alice",
            "FOO=x",
            "ADDR=192.0.2.1 addr=192.0.2.2",
            "ADDR=192.0.2.256",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=IPV6:",
            "PORT=65536",
            "PORT=+31+2",
            "PORT=-1",
            "PROTO=LMTP",
            "HELO=a..b",
            "HELO=a=b",
            "NAME=+0A",
            "NAME=+0a",
            "NAME=+",
            "NAME=+4",
            "NAME=+zz",
            "NAME=+FC",
            "NAME=\u{fc}",
            "\u{fc}\u{fc}\u{fc}=x",
            "ADDR=\u{fc}\u{fc}\u{fc}",
        ] {
            assert_eq!(XClient::parse(said).unwrap_err().code(), 501, "{said:?}");
        }
    }
}
