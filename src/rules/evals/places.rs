//! Where mail came from, as the second word of `welcomelist_from_rcvd` says it.
//!
//! *Means:* `a.example` is a relay whose name is that or ends with `.a.example`; `[192.0.2.1]` is that address,
//! `[192.0.2]` all that begin with it, `[192.0.2.0/24]`, `[192.0.2.0]/24` and `[2001:db8::]/32` are networks.

use std::net::IpAddr;

use super::mail::Relay;

/// A relay or some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All whose name is this or ends with it behind a dot.
    Name(Box<[u8]>),
    /// All whose IPv4 address begins with this text, which ends with a dot.
    Prefix(Box<str>),
    /// All in this network.
    Network(IpAddr, u8),
}

impl Place {
    /// Reads it; none if it is nothing of that.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let Some((address, after)) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) else {
            return (!text.is_empty()).then(|| Place::Name(text.into_bytes().into()));
        };
        let whole = format!("{address}{after}");
        let (address, bits) = whole.split_once('/').map_or((&*whole, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
            return (bits <= most).then_some(Place::Network(address, bits));
        }
        let dotted = !address.is_empty() && address.bytes().all(|octet| octet == b'.' || octet.is_ascii_digit());
        (dotted && bits.is_none()).then(|| Place::Prefix(format!("{}.", address.trim_end_matches('.')).into()))
    }

    /// Is this relay meant?
    pub fn has(&self, relay: &Relay<'_>) -> bool {
        match self {
            Place::Name(name) => relay.name.strip_suffix(&**name).is_some_and(|r| r.is_empty() || r.ends_with(b".")),
            Place::Prefix(prefix) => relay.address.is_some_and(|address| address.to_string().starts_with(&**prefix)),
            Place::Network(network, bits) => relay.address.is_some_and(|address| within(address, *network, *bits)),
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (all, differing) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (32, u128::from(a.to_bits() ^ b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, a.to_bits() ^ b.to_bits()),
        _ => return false,
    };
    differing.checked_shr(u32::saturating_sub(all, u32::from(bits))).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_hold_relays() {
        for (place, address, name, holds) in [
            ("a.example", "192.0.2.1", "a.example", true),
            ("a.example", "192.0.2.1", "mx.a.example", true),
            ("A.example", "192.0.2.1", "mx.a.example", true),
            ("a.example", "192.0.2.1", "mxa.example", false),
            ("[192.0.2.1]", "192.0.2.1", "", true),
            ("[192.0.2.1]", "192.0.2.11", "", false),
            ("[192.0]", "192.0.2.1", "", true),
            ("[192.0.]", "192.01.2.1", "", false),
            ("[192.0.2.0/24]", "192.0.2.77", "", true),
            ("[192.0.2.0]/24", "192.0.3.77", "", false),
            ("[0.0.0.0/0]", "192.0.3.77", "", true),
            ("[2001:db8::]/32", "2001:db8:1::2", "", true),
            ("[2001:db8::/32]", "2001:db9:1::2", "", false),
            ("[::/0]", "192.0.2.1", "", false),
        ] {
            let relay = Relay { address: address.parse().ok(), name: name.as_bytes() };
            assert_eq!(Place::parse(place).map(|place| place.has(&relay)), Some(holds), "{place} {address} {name}");
        }
        for place in ["", "[]", "[x]", "[192.0.2.0/33]", "[::]/129", "[192.0.2/24]"] {
            assert_eq!(Place::parse(place), None, "{place}");
        }
    }
}
