//! How many connections there may be: in all, and from one client: an IPv4 address or an IPv6 /64, which is what one
//! subscriber has.
//!
//! *Guarantees:* a permit counts exactly as long as it lives.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections.
#[derive(Debug)]
pub struct Limiter {
    connections_max: usize,
    per_client_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    per_client: HashMap<IpAddr, usize>,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `limits.connections_max`.
    All,
    /// `limits.connections_per_client_max`.
    Client,
}

impl Full {
    /// For the reply.
    pub fn text(self) -> &'static str {
        match self {
            Full::All => "open",
            Full::Client => "from your address",
        }
    }

    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Full::All => "connections_max",
            Full::Client => "connections_per_client_max",
        }
    }
}

/// Leave to be connected.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    client: IpAddr,
}

impl Limiter {
    /// A limiter with nobody connected.
    pub fn new(connections_max: usize, per_client_max: usize) -> Self {
        Limiter { connections_max, per_client_max, open: Mutex::default() }
    }

    /// Counts one more connection, unless a limit is reached.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Permit, Full> {
        let client = network(client);
        let mut open = self.lock();
        if open.all >= self.connections_max {
            return Err(Full::All);
        }
        let of_client = open.per_client.entry(client).or_default();
        if *of_client >= self.per_client_max {
            return Err(Full::Client);
        }
        *of_client += 1;
        open.all += 1;
        Ok(Permit { limiter: self.clone(), client })
    }

    /// Counts stay right whatever panicked while they were held: no update leaves them half done.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limiter.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(of_client) = open.per_client.get_mut(&self.client) {
            *of_client = of_client.saturating_sub(1);
            if *of_client == 0 {
                open.per_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_permits_come_back() {
        let limiter = Arc::new(Limiter::new(3, 2));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = limiter.admit(a).unwrap();
        let _second = limiter.admit(a).unwrap();
        assert_eq!(limiter.admit(a).unwrap_err(), Full::Client);
        let _third = limiter.admit(b).unwrap();
        assert_eq!(limiter.admit(b).unwrap_err(), Full::All);
        drop(first);
        assert!(limiter.admit(a).is_ok());
        assert_eq!(limiter.lock().all, 3 - 1);
    }

    #[test]
    fn a_64_is_one_client() {
        let limiter = Arc::new(Limiter::new(3, 1));
        let address = |text: &str| text.parse().unwrap();
        let _first = limiter.admit(address("2001:db8::1")).unwrap();
        assert_eq!(limiter.admit(address("2001:db8::2")).unwrap_err(), Full::Client);
        assert!(limiter.admit(address("2001:db8:0:1::1")).is_ok());
    }
}
