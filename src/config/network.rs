//! Address prefixes: which peers are meant.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address prefix, `192.0.2.0/24`; a plain address is a prefix of its full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The address; no bit beyond the prefix is set.
    pub address: IpAddr,
    /// How many of its bits count.
    pub prefix_bits: u8,
}

impl Network {
    /// Is this address one of the network's? An IPv4-mapped IPv6 address counts as the IPv4 address that it carries.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && keep_bits(address, self.prefix_bits) == self.address
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads `address` or `address/bits`. The error says what is wrong and what to do.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let wrong = || format!("\"{text}\" is not a network. Write an address or a prefix such as \"192.0.2.0/24\".");
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if address.to_canonical() != address {
            let plain = address.to_canonical();
            return Err(format!("\"{text}\" is an IPv4 address in IPv6 form. Write the IPv4 form, \"{plain}\"."));
        }
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => bits_max,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(wrong)?,
        };
        let network = Network { address: keep_bits(address, prefix_bits), prefix_bits };
        match network.address == address {
            true => Ok(network),
            // A slip of the pen here would trust other machines than those that are meant.
            false => Err(format!("\"{text}\" has bits beyond its prefix. Write \"{network}\".")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The network that a client's share is counted for: its IPv4 /24, or its IPv6 /64, which is what one subscriber has.
pub fn client_network(client: IpAddr) -> IpAddr {
    keep_bits(client, if client.is_ipv4() { 24 } else { 64 })
}

/// The address with every bit beyond the prefix cleared.
fn keep_bits(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "x", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "::/129", "192.0.2.0/24/1", "[::1]"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
        assert!("192.0.2.1/24".parse::<Network>().unwrap_err().ends_with("Write \"192.0.2.0/24\"."));
        assert!("::ffff:192.0.2.1".parse::<Network>().unwrap_err().ends_with("\"192.0.2.1\"."));
    }
}
