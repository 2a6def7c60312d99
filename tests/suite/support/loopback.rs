//! Many clients with addresses of their own: all of 127.0.0.0/8 is this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// Clients of one address, and addresses of one /24: both well below what the limits allow.
pub const CLIENTS_PER_ADDRESS: usize = 20;
const ADDRESSES_PER_NETWORK: usize = 4;

/// The address of a client, by its number: far from 127.0.0.1, where well-behaved clients live.
pub fn address(client: usize) -> Ipv4Addr {
    let (network, of_network) = (client / (CLIENTS_PER_ADDRESS * ADDRESSES_PER_NETWORK), client / CLIENTS_PER_ADDRESS);
    let octet = |number: usize| u8::try_from(number % 256).expect("it is less");
    Ipv4Addr::new(127, octet(1 + network / 256), octet(network), octet(1 + of_network % ADDRESSES_PER_NETWORK))
}

/// Connects from an address.
pub fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_clients_keep_below_the_limits() {
        let addresses: Vec<_> = (0..10_000).map(address).collect();
        let of_network = |network: [u8; 3]| addresses.iter().filter(|address| address.octets()[..3] == network).count();
        assert_eq!(addresses[0], Ipv4Addr::new(127, 1, 0, 1));
        assert_eq!(addresses[79], Ipv4Addr::new(127, 1, 0, 4));
        assert_eq!(addresses[80], Ipv4Addr::new(127, 1, 1, 1));
        assert_eq!(of_network([127, 1, 5]), CLIENTS_PER_ADDRESS * ADDRESSES_PER_NETWORK);
        assert_eq!(addresses.iter().filter(|address| **address == addresses[40]).count(), CLIENTS_PER_ADDRESS);
    }
}
