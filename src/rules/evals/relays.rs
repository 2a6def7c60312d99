//! Evals over relays.

use crate::rules::relays::{Relay, address};

use super::facts::Facts;

/// `check_all_trusted()`: the message came by trusted hosts only, and every field could be read.
pub fn all_trusted(facts: &Facts) -> bool {
    let relays = facts.relays;
    !relays.trusted().is_empty() && relays.untrusted().is_empty() && relays.unparseable == 0
}

/// `check_no_relays()`: there is no trace at all.
pub fn no_relays(facts: &Facts) -> bool {
    facts.relays.all().is_empty() && facts.relays.unparseable == 0
}

/// `check_relays_unparseable()`: a Received field could not be read.
pub fn relays_unparseable(facts: &Facts) -> bool {
    facts.relays.unparseable > 0
}

/// `check_for_numeric_helo()`: an untrusted client says an IPv4 address, without brackets, for its name. SpamAssassin
/// means to leave out private ones, but does not.
pub fn numeric_helo(facts: &Facts) -> bool {
    let bare = |relay: &Relay| {
        let helo = relay.helo.split(|octet| *octet <= b' ' || b",;".contains(octet)).next()?;
        address::parse_ipv4(helo)
    };
    facts.relays.untrusted().iter().find_map(bare).is_some()
}

/// `helo_ip_mismatch()`: an untrusted client says an address of another /24 than its own for its name.
pub fn helo_ip_mismatch(facts: &Facts) -> bool {
    facts.relays.untrusted().iter().any(|relay| {
        let public = |text: &[u8]| address::parse_ipv4(text).filter(|address| !address::is_private_ipv4(*address));
        let net = |address: std::net::Ipv4Addr| address.to_bits() >> 8;
        public(&relay.helo).zip(public(&relay.ip)).is_some_and(|(helo, ip)| net(helo) != net(ip))
    })
}

/// `check_for_sender_no_reverse()`: the oldest untrusted relay is public, and a name with a dot stands with it. (The
/// name of the eval says otherwise.)
pub fn sender_no_reverse(facts: &Facts) -> bool {
    facts.relays.untrusted().last().is_some_and(|relay| relay.rdns.contains(&b'.') && !relay.is_private())
}

/// `check_for_no_rdns_dotcom_helo()`: the oldest public untrusted relay says the name of a great provider, and has
/// none.
pub fn no_rdns_dotcom_helo(facts: &Facts) -> bool {
    const GREAT: [&[u8]; 11] = [
        b"lycos.com",
        b"lycos.co.uk",
        b"hotmail.com",
        b"localhost.com",
        b"excite.com",
        b"caramail.com",
        b"cs.com",
        b"aol.com",
        b"msn.com",
        b"yahoo.com",
        b"drizzle.com",
    ];
    let oldest = facts.relays.untrusted().iter().rfind(|relay| !relay.is_private());
    oldest.is_some_and(|relay| relay.no_reverse_dns && GREAT.iter().any(|domain| is_within(&relay.helo, domain)))
}

fn is_within(name: &[u8], domain: &[u8]) -> bool {
    let split = name.len().checked_sub(domain.len()).and_then(|at| name.split_at_checked(at));
    split.is_some_and(|(before, end)| end.eq_ignore_ascii_case(domain) && matches!(before.last(), None | Some(b'.')))
}

/// `check_for_from_domain_in_received_headers(domain, desired)`: From names the domain, and a relay of the domain
/// handed the message to another of it: or not, if that is desired.
pub fn from_domain_in_received(facts: &Facts, domain: &str, desired: bool) -> bool {
    let domain = domain.as_bytes();
    let from = facts.text("From:addr").to_ascii_lowercase();
    let wanted = domain.to_ascii_lowercase();
    let names = memchr::memmem::find_iter(&from, &wanted).any(|at| starts_word(&from, at));
    let within = |name: &[u8]| name.strip_suffix(domain).is_some_and(|before| starts_word(name, before.len()));
    names && desired == facts.relays.all().iter().any(|relay| within(&relay.rdns) && within(&relay.by))
}

fn starts_word(text: &[u8], at: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|octet| address::is_word(*octet));
    word(at.checked_sub(1)) != word(Some(at))
}

/// `check_mailfrom_matches_rcvd()`: the reverse-path and the name of the first untrusted relay have the same registered
/// domain. Where all are trusted, any of them will do.
pub fn mailfrom_matches_rcvd(facts: &Facts) -> bool {
    let sender = facts.text("EnvelopeFrom:addr").to_ascii_lowercase();
    let Some((_, domain)) = memchr::memrchr(b'@', &sender).and_then(|at| sender.split_at_checked(at)) else {
        return false;
    };
    let domain = domain.get(1..).unwrap_or_default();
    let inner = domain.get(1..domain.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains(&b'.') {
        return false;
    }
    let relays = match facts.relays.untrusted() {
        [] => facts.relays.trusted(),
        [newest, ..] => std::slice::from_ref(newest),
    };
    let mut sender = None;
    relays.iter().filter(|relay| !relay.rdns.is_empty()).any(|relay| {
        let sender = sender.get_or_insert_with(|| (facts.registered)(domain));
        (facts.registered)(&relay.rdns.to_ascii_lowercase()) == *sender
    })
}

/// What does not fit together in the fields of untrusted relays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mismatches {
    /// A client is not the host that wrote the field below.
    pub from: u32,
    /// A client says an address of another /16 for its name.
    pub ip_helo: u32,
}

/// `check_for_forged_received_trail()` is more than one `from`, `check_for_forged_received_ip_helo()` any `ip_helo`.
pub fn mismatches(facts: &Facts) -> Mismatches {
    let mut found = Mismatches::default();
    let mut newer: Option<Vec<u8>> = None;
    for relay in facts.relays.untrusted() {
        let by = domain_of(&relay.by.to_ascii_lowercase());
        let from = domain_of(&relay.rdns.to_ascii_lowercase());
        let local = matches!(from.as_slice(), b"localhost" | b"localhost.localdomain") && relay.ip == b"127.0.0.1";
        let previous = newer.take();
        newer = Some(from);
        if !is_host(&by) {
            continue;
        }
        if local {
            newer = None;
        }
        found.ip_helo = found.ip_helo.saturating_add(u32::from(is_far_helo(relay)));
        let forged =
            previous.is_some_and(|name| is_host(&name) && by != name && !(by == b"msn.com" && name == b"hotmail.com"));
        found.from = found.from.saturating_add(u32::from(forged));
    }
    found
}

/// Two or three labels of a host's name, by a rule of thumb.
fn domain_of(host: &[u8]) -> Vec<u8> {
    if !host.iter().any(u8::is_ascii_alphabetic) {
        return host.to_vec();
    }
    let trailing = host.iter().rev().take_while(|octet| **octet == b'.').count();
    let labels: Vec<&[u8]> =
        host.get(..host.len().saturating_sub(trailing)).unwrap_or_default().split(|octet| *octet == b'.').collect();
    let last = labels.last().copied().unwrap_or_default();
    let short = |country: &[u8]| memchr::memmem::find(last, country).is_some();
    let generic = last.len() >= 3 || short(b"ie") || short(b"fr") || short(b"de");
    let count = match labels.len() {
        2.. if generic => 2,
        3.. => 3,
        _ => return host.to_vec(),
    };
    labels.get(labels.len().saturating_sub(count)..).unwrap_or_default().join(&b'.')
}

/// A name with a dot not at its edge, and nothing but what names are made of.
fn is_host(name: &[u8]) -> bool {
    let Some((before, last)) = memchr::memrchr(b'.', name).and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    let last = last.get(1..).unwrap_or_default();
    let word = |octet: &u8| address::is_word(*octet);
    before.len() >= 2
        && before.first().is_some_and(word)
        && before.iter().all(|octet| word(octet) || matches!(octet, b'.' | b'-'))
        && !last.is_empty()
        && last.iter().all(word)
}

fn is_far_helo(relay: &Relay) -> bool {
    let helo = domain_of(&relay.helo.to_ascii_lowercase());
    let (Some(said), Some(is)) = (quad(&helo), quad(&relay.ip)) else { return false };
    said.get(..2) != is.get(..2) && !is_private_quad(&said)
}

/// Four numbers, however large.
fn quad(text: &[u8]) -> Option<Vec<&[u8]>> {
    let parts: Vec<&[u8]> = text.split(|octet| *octet == b'.').collect();
    let number = |part: &&[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    (parts.len() == 4 && parts.iter().all(number)).then_some(parts)
}

/// Private by its first two numbers.
fn is_private_quad(parts: &[&[u8]]) -> bool {
    let number = |at: usize| parts.get(at).and_then(|part| std::str::from_utf8(part).ok()?.parse::<u8>().ok());
    let (Some(first), Some(second)) = (number(0), number(1).or(Some(0))) else { return false };
    address::is_private_ipv4([first, second, 0, 1].into())
}
