//! Networks as `trusted_networks`, `internal_networks` and `msa_networks` name them.
//!
//! *Does:* reads `192.0.2.1`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `192.0.2.`, `192.0.2.1-192.0.2.9`, IPv6 with
//! or without brackets and length, and `!` before any of these.
//! *Guarantees:* the first network that has an address decides, and one that lies within an earlier one never counts:
//! as SpamAssassin without its optional trie. Loopback is trusted and internal. An IPv4 address and the same in IPv6
//! are one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many networks a list takes.
pub const NETWORKS_MAX: usize = 10_000;

/// What is wrong with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is no network.
    #[error("no network: write 192.0.2.0/24, 192.0.2. or 2001:db8::/32, with ! before it to leave it out")]
    Syntax,
    /// It lies within a network that was named before.
    #[error("lies within a network named before it, which decides: name the smaller network first")]
    Covered,
    /// There are too many.
    #[error("more than {NETWORKS_MAX} networks in one list")]
    TooMany,
}

/// A list of networks.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    nets: Vec<Net>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Net {
    first: u128,
    last: u128,
    excluded: bool,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (Ipv6Addr::from_bits(self.first), Ipv6Addr::from_bits(self.last));
        write!(f, "{}{first}-{last}", if self.excluded { "!" } else { "" })
    }
}

impl Networks {
    fn loopback() -> Self {
        let net =
            |first: Ipv6Addr, last: Ipv6Addr| Net { first: first.to_bits(), last: last.to_bits(), excluded: false };
        let first = Ipv4Addr::new(127, 0, 0, 0).to_ipv6_mapped();
        let last = Ipv4Addr::new(127, 255, 255, 255).to_ipv6_mapped();
        Networks { nets: vec![net(first, last), net(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)] }
    }

    /// Adds a network, as one word of the directive.
    pub fn add(&mut self, word: &str) -> Result<(), NetworkError> {
        let net = net(word.trim()).ok_or(NetworkError::Syntax)?;
        if self.nets.len() >= NETWORKS_MAX {
            return Err(NetworkError::TooMany);
        }
        if self.nets.iter().any(|known| known.first <= net.first && net.last <= known.last) {
            return Err(NetworkError::Covered);
        }
        self.nets.push(net);
        Ok(())
    }

    /// An address lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        let net = self.nets.iter().find(|net| net.first <= bits && bits <= net.last);
        net.is_some_and(|net| !net.excluded)
    }
}

/// Whom we believe what they tell of others, and who is us.
#[derive(Debug, Clone)]
pub struct Boundaries {
    trusted: Networks,
    internal: Networks,
    msa: Networks,
    trusted_named: bool,
    internal_named: bool,
}

impl Default for Boundaries {
    fn default() -> Self {
        Boundaries {
            trusted: Networks::loopback(),
            internal: Networks::loopback(),
            msa: Networks::default(),
            trusted_named: false,
            internal_named: false,
        }
    }
}

impl Boundaries {
    /// A word of `trusted_networks`: hosts that write true Received fields.
    pub fn trust(&mut self, word: &str) -> Result<(), NetworkError> {
        self.trusted_named = true;
        self.trusted.add(word)
    }

    /// A word of `internal_networks`: our own hosts, MX included.
    pub fn own(&mut self, word: &str) -> Result<(), NetworkError> {
        self.internal_named = true;
        self.internal.add(word)
    }

    /// A word of `msa_networks`: hosts that take mail from authenticated users only.
    pub fn submission(&mut self, word: &str) -> Result<(), NetworkError> {
        self.msa.add(word)
    }

    /// `clear_trusted_networks`.
    pub fn clear_trusted(&mut self) {
        (self.trusted, self.trusted_named) = (Networks::loopback(), false);
    }

    /// `clear_internal_networks`.
    pub fn clear_internal(&mut self) {
        (self.internal, self.internal_named) = (Networks::loopback(), false);
    }

    /// `clear_msa_networks`.
    pub fn clear_submission(&mut self) {
        self.msa = Networks::default();
    }

    /// Neither list was named: trust is inferred from private addresses and authentication.
    pub fn inferred(&self) -> bool {
        !self.trusted_named && !self.internal_named
    }

    /// Where only one list was named, it serves for both.
    pub fn trusts(&self, address: IpAddr) -> bool {
        if self.trusted_named { self.trusted.contains(address) } else { self.internal.contains(address) }
    }

    /// The same for our own.
    pub fn owns(&self, address: IpAddr) -> bool {
        if self.internal_named { self.internal.contains(address) } else { self.trusted.contains(address) }
    }

    /// This host takes submissions.
    pub fn submits(&self, address: IpAddr) -> bool {
        self.msa.contains(address)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn net(word: &str) -> Option<Net> {
    let (excluded, word) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest.trim_start()));
    if let Some((first, last)) = word.split_once('-') {
        let (first, last) = (bits(first.parse().ok()?), bits(last.parse().ok()?));
        return (first <= last).then_some(Net { first, last, excluded });
    }
    let (address, length) = word.split_once('/').map_or((word, None), |(address, length)| (address, Some(length)));
    let address = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let (address, implied) = match ipv4(address) {
        Some((address, implied)) => (address.to_ipv6_mapped().to_bits(), Some(implied)),
        None => (address.split('%').next()?.parse::<Ipv6Addr>().ok()?.to_bits(), None),
    };
    let length = match (length, implied) {
        (None, implied) => implied.map_or(128, |implied| implied.saturating_add(96)),
        (Some(length), Some(_)) => ipv4_length(length)?.saturating_add(96),
        (Some(length), None) => length.parse().ok()?,
    };
    let host = u128::MAX.checked_shr(length).filter(|_| length <= 128).or((length == 128).then_some(0))?;
    Some(Net { first: address & !host, last: address | host, excluded })
}

/// One to four numbers, and the prefix length that as many imply.
fn ipv4(text: &str) -> Option<(Ipv4Addr, u32)> {
    let numbers = text.strip_suffix('.').filter(|rest| rest.matches('.').count() < 3).unwrap_or(text);
    let mut octets = [0_u8; 4];
    let mut length = 0;
    for (at, number) in numbers.split('.').enumerate() {
        let plain = !number.is_empty() && number.len() <= 10 && number.bytes().all(|octet| octet.is_ascii_digit());
        *octets.get_mut(at).filter(|_| plain)? = number.parse::<u64>().ok()?.try_into().ok()?;
        length += 8;
    }
    Some((octets.into(), length))
}

/// A length, or a mask.
fn ipv4_length(text: &str) -> Option<u32> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = mask.to_bits();
        return (bits.leading_ones() == bits.count_ones()).then_some(bits.count_ones());
    }
    text.parse().ok().filter(|length| *length <= 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_looked_up() {
        let cases: [(&[&str], &[&str], &[&str]); 8] = [
            (&["192.0.2.1"], &["192.0.2.1", "::ffff:192.0.2.1"], &["192.0.2.2", "::1"]),
            (&["192.0.2.77/24"], &["192.0.2.1"], &["192.0.3.1"]),
            (&["10.1."], &["10.1.255.3"], &["10.2.0.1"]),
            (&["10"], &["10.255.255.3"], &["11.0.0.1"]),
            (&["172.16.0.0/255.240.0.0"], &["172.31.0.1"], &["172.32.0.1"]),
            (&["2001:db8::/32", "[fe80::1%eth0]"], &["2001:db8:1::7", "fe80::1"], &["2001:db9::", "fe80::2"]),
            (&["!10.0.1.5", "10.0.1/24"], &["10.0.1.4"], &["10.0.1.5"]),
            (&["192.0.2.3-192.0.2.9", "!0/0"], &["192.0.2.3", "192.0.2.9"], &["192.0.2.10", "1.2.3.4"]),
        ];
        for (words, inside, outside) in cases {
            let mut networks = Networks::default();
            words.iter().for_each(|word| assert_eq!(networks.add(word), Ok(()), "{word}"));
            inside
                .iter()
                .for_each(|text| assert!(networks.contains(text.parse().expect("address")), "{text} {words:?}"));
            outside
                .iter()
                .for_each(|text| assert!(!networks.contains(text.parse().expect("address")), "{text} {words:?}"));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for word in
            ["", "!", "example.org", "256.1.1.1", "10.0.0.0/33", "::/129", "1.2.3.4.5", "10.0.0.0/0.255.0.0", "9-8"]
        {
            assert_eq!(Networks::default().add(word), Err(NetworkError::Syntax), "{word}");
        }
        let mut networks = Networks::loopback();
        assert_eq!(networks.add("127.0.0.1"), Err(NetworkError::Covered));
        assert_eq!(networks.add("!127.0.0.1"), Err(NetworkError::Covered));
    }

    #[test]
    fn one_list_serves_for_both() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let mut boundaries = Boundaries::default();
        assert!(boundaries.inferred() && !boundaries.trusts(address));
        assert_eq!(boundaries.own("192.0.2.1"), Ok(()));
        assert!(!boundaries.inferred() && boundaries.trusts(address) && boundaries.owns(address));
        assert_eq!(boundaries.trust("198.51.100.0/24"), Ok(()));
        assert!(!boundaries.trusts(address) && boundaries.owns(address));
        boundaries.clear_internal();
        assert!(boundaries.owns([198, 51, 100, 7].into()));
        assert!(boundaries.owns([127, 0, 0, 1].into()) && boundaries.trusts(Ipv6Addr::LOCALHOST.into()));
    }

    proptest::proptest! {
        #[test]
        fn any_word_is_read_or_refused(word in "[!\\[\\]0-9a-f:./% -]{0,40}|.{0,40}") {
            let _ = Networks::default().add(&word);
        }
    }
}
