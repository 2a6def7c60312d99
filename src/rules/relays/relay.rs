//! A relay: one hand-over from a client to an MTA, as that MTA tells it.

use std::net::IpAddr;

use super::address;

/// One hand-over. Texts are as in the field but for blanks, brackets, `#`, `|` and NUL, which are `!`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relay {
    /// The client's address as text. Empty where there is none.
    pub ip: Vec<u8>,
    /// The same as an address; none if the text is none.
    pub address: Option<IpAddr>,
    /// The client's name by its address. Empty if it has none or nothing is said.
    pub rdns: Vec<u8>,
    /// The HELO argument.
    pub helo: Vec<u8>,
    /// The MTA.
    pub by: Vec<u8>,
    /// What RFC 1413 said.
    pub ident: Vec<u8>,
    /// The reverse-path, if it is told. Empty for the null reverse-path.
    pub envfrom: Option<Vec<u8>>,
    /// The MTA's identifier of the message.
    pub id: Vec<u8>,
    /// How the client was authenticated. Empty if it was not.
    pub auth: Vec<u8>,
    /// The MTA looked for the client's name, and it has none.
    pub no_reverse_dns: bool,
    /// Every relay up to this one is trusted.
    pub trusted: bool,
    /// Every relay up to this one is ours.
    pub internal: bool,
    /// The MTA behind it takes submissions: what went before is trusted too.
    pub msa: bool,
}

/// What a session knows of its client: the relay that no field tells of yet.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// Its name, if it has one that leads back to the address.
    pub rdns: Option<&'a [u8]>,
    /// The argument of HELO or EHLO.
    pub helo: &'a [u8],
    /// Our own name.
    pub by: &'a [u8],
    /// The reverse-path without brackets; empty for the null reverse-path.
    pub envfrom: Option<&'a [u8]>,
    /// Our identifier of the message.
    pub id: &'a [u8],
    /// How the client was authenticated. Empty if it was not.
    pub auth: &'a [u8],
}

/// What was read from a field, before it is made fit to be shown.
#[derive(Debug, Default)]
pub(super) struct Read<'t> {
    pub ip: &'t [u8],
    pub rdns: &'t [u8],
    pub helo: Vec<u8>,
    pub by: &'t [u8],
    pub ident: Vec<u8>,
    pub envfrom: Option<Vec<u8>>,
    pub id: &'t [u8],
    pub auth: Vec<u8>,
    pub looked_up: bool,
}

impl Relay {
    /// The relay that a session knows itself.
    pub fn seen(seen: &Seen) -> Relay {
        let ip = seen.ip.to_canonical().to_string();
        let read = Read {
            ip: ip.as_bytes(),
            rdns: seen.rdns.unwrap_or_default(),
            helo: seen.helo.to_vec(),
            by: seen.by,
            ident: Vec::new(),
            envfrom: seen.envfrom.map(<[u8]>::to_vec),
            id: seen.id,
            auth: seen.auth.to_vec(),
            looked_up: true,
        };
        Relay::from_read(read)
    }

    pub(super) fn from_read(read: Read) -> Relay {
        let rdns = read.rdns.trim_ascii_end();
        let dots = rdns.iter().rev().take_while(|octet| **octet == b'.').count();
        let rdns = rdns.get(..rdns.len().saturating_sub(dots)).unwrap_or_default();
        let unknown = rdns.eq_ignore_ascii_case(b"unknown") || rdns.first() == Some(&b'[');
        let rdns = if unknown { b"" } else { rdns };
        let ip = bare_ip(read.ip);
        Relay {
            address: address::parse(&ip),
            ip: shown(&ip),
            rdns: shown(rdns),
            helo: shown(&read.helo),
            by: shown(read.by.strip_suffix(b";").unwrap_or(read.by)),
            ident: shown(&read.ident),
            envfrom: read.envfrom.map(|path| shown(bare_path(&path))),
            id: read.id.to_vec(),
            auth: read.auth,
            no_reverse_dns: rdns.is_empty() && read.looked_up,
            ..Relay::default()
        }
    }

    /// The client's address is private: no host of the public Internet.
    pub fn is_private(&self) -> bool {
        self.address.is_some_and(address::is_private)
    }

    /// As in `X-Spam-Relays-*`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |flag: bool| if flag { &b"1"[..] } else { b"0" };
        for (name, value) in [
            (&b"[ ip="[..], &self.ip[..]),
            (b" rdns=", &self.rdns),
            (b" helo=", &self.helo),
            (b" by=", &self.by),
            (b" ident=", &self.ident),
            (b" envfrom=", self.envfrom.as_deref().filter(|path| *path != b"0").unwrap_or_default()),
            (b" intl=", flag(self.internal)),
            (b" id=", &self.id),
            (b" auth=", &self.auth),
            (b" msa=", flag(self.msa)),
        ] {
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
        out.extend_from_slice(b" ]");
    }
}

/// Without tag, brackets and zone, and an IPv4 address not as an IPv6 one.
fn bare_ip(ip: &[u8]) -> Vec<u8> {
    let ip = match ip.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case(b"ipv6:") => rest,
        _ => ip,
    };
    let ip = ip.strip_prefix(b"[").unwrap_or(ip);
    let ip = ip.strip_suffix(b"]").unwrap_or(ip);
    let ip = ip.split(|octet| *octet == b'%').next().unwrap_or_default();
    let mapped = memchr::memrchr(b':', ip).and_then(|colon| ip.get(colon.saturating_add(1)..));
    match (mapped, address::parse(ip)) {
        (Some(quad), Some(IpAddr::V4(_))) if address::parse_ipv4(quad).is_some() => quad.to_vec(),
        _ => ip.to_vec(),
    }
}

/// Without angle brackets and blanks around it.
pub(super) fn bare_path(path: &[u8]) -> &[u8] {
    let start = path.trim_ascii_start();
    let opened = start.iter().take_while(|octet| **octet == b'<').count();
    let path = start.get(opened..).unwrap_or_default().trim_ascii_end();
    let closed = path.iter().rev().take_while(|octet| **octet == b'>').count();
    path.get(..path.len().saturating_sub(closed)).unwrap_or_default()
}

/// Fit to stand between brackets and blanks.
pub(super) fn shown(text: &[u8]) -> Vec<u8> {
    let strange =
        |octet: u8| matches!(octet, 0 | 9..=13 | b' ' | b'#' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b'|');
    text.iter().map(|octet| if strange(*octet) { b'!' } else { *octet }).collect()
}
