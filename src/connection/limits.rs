//! How many connections there may be: in all, from one address, and from one network: an IPv4 /24 or an IPv6 /64, which
//! is what one subscriber has.
//!
//! *Does:* counts a peer at accept, and counts the connection for somebody else when the PROXY protocol or XCLIENT says
//! who is really there.
//! *Guarantees:* a permit counts exactly as long as it lives. Limits can change at any time: who is connected stays.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{self, client_network};

/// Counts the connections.
#[derive(Debug)]
pub struct Limiter {
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    limits: Limits,
    all: usize,
    per_client: HashMap<IpAddr, usize>,
    per_network: HashMap<IpAddr, usize>,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    all: usize,
    per_client: usize,
    per_network: usize,
}

impl From<&config::Limits> for Limits {
    fn from(limits: &config::Limits) -> Self {
        Limits {
            all: limits.connections_max,
            per_client: limits.connections_per_client_max,
            per_network: limits.connections_per_network_max,
        }
    }
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `limits.connections_max`.
    All,
    /// `limits.connections_per_client_max`.
    Client,
    /// `limits.connections_per_network_max`.
    Network,
}

impl Full {
    /// For the reply.
    pub fn text(self) -> &'static str {
        match self {
            Full::All => "open",
            Full::Client => "from your address",
            Full::Network => "from your network",
        }
    }

    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Full::All => "connections_max",
            Full::Client => "connections_per_client_max",
            Full::Network => "connections_per_network_max",
        }
    }
}

/// Leave to be connected.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    /// For whom the connection counts; nobody yet, while a proxy has not said it.
    client: Option<IpAddr>,
}

impl Limiter {
    /// A limiter with nobody connected.
    pub fn new(limits: &config::Limits) -> Self {
        let (per_client, per_network) = (HashMap::new(), HashMap::new());
        Limiter { open: Mutex::new(Open { limits: limits.into(), all: 0, per_client, per_network }) }
    }

    /// Other limits from now on. Nobody is thrown out.
    pub fn set_limits(&self, limits: &config::Limits) {
        self.lock().limits = limits.into();
    }

    /// Counts one more connection, of this client, unless a limit is reached.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Permit, Full> {
        let mut permit = self.admit_proxy()?;
        permit.count_for(client).map(|()| permit)
    }

    /// Counts one more connection, in all only: for whom, [`Permit::count_for`] says later.
    pub fn admit_proxy(self: &Arc<Self>) -> Result<Permit, Full> {
        let mut open = self.lock();
        if open.all >= open.limits.all {
            return Err(Full::All);
        }
        open.all += 1;
        Ok(Permit { limiter: self.clone(), client: None })
    }

    /// Counts stay right whatever panicked while they were held: no update leaves them half done.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The connection is this client's from now on, and no longer whose it was, unless a limit is reached: then nothing
    /// changes, and the connection has to end.
    pub fn count_for(&mut self, client: IpAddr) -> Result<(), Full> {
        let client = client.to_canonical();
        let mut open = self.limiter.lock();
        if let Some(before) = self.client {
            open.forget(before);
        }
        let counted = open.count(client);
        match (counted, self.client) {
            (Ok(()), _) => self.client = Some(client),
            (Err(_), Some(before)) => open.restore(before),
            (Err(_), None) => {}
        }
        counted
    }
}

impl Open {
    fn count(&mut self, client: IpAddr) -> Result<(), Full> {
        if count_of(&self.per_client, client) >= self.limits.per_client {
            return Err(Full::Client);
        }
        if count_of(&self.per_network, client_network(client)) >= self.limits.per_network {
            return Err(Full::Network);
        }
        self.restore(client);
        Ok(())
    }

    fn restore(&mut self, client: IpAddr) {
        *self.per_client.entry(client).or_default() += 1;
        *self.per_network.entry(client_network(client)).or_default() += 1;
    }

    fn forget(&mut self, client: IpAddr) {
        uncount(&mut self.per_client, client);
        uncount(&mut self.per_network, client_network(client));
    }
}

fn count_of(counts: &HashMap<IpAddr, usize>, key: IpAddr) -> usize {
    counts.get(&key).copied().unwrap_or_default()
}

/// Counts of nothing are not kept: the tables are never larger than the number of connections.
fn uncount(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limiter.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(client) = self.client {
            open.forget(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn limits(all: usize, per_client: usize, per_network: usize) -> config::Limits {
        let text = "hostname = \"mx.example.org\"\n[domains.\"example.org\"]\nmailboxes = [\"alice\"]\n";
        let (config, _) = config::Config::parse(text, "mxkeep.toml", Path::new("/etc")).unwrap();
        config::Limits {
            connections_max: all,
            connections_per_client_max: per_client,
            connections_per_network_max: per_network,
            ..config.limits
        }
    }

    fn limiter(all: usize, per_client: usize, per_network: usize) -> Arc<Limiter> {
        Arc::new(Limiter::new(&limits(all, per_client, per_network)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[track_caller]
    fn assert_empty(limiter: &Limiter) {
        let open = limiter.lock();
        assert_eq!((open.all, open.per_client.len(), open.per_network.len()), (0, 0, 0));
    }

    #[test]
    fn all_limits_hold_and_permits_come_back() {
        let limiter = limiter(4, 2, 3);
        let (a, b, far) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("198.51.100.1"));
        let first = limiter.admit(a).unwrap();
        let second = limiter.admit(a).unwrap();
        assert_eq!(limiter.admit(a).unwrap_err(), Full::Client);
        let third = limiter.admit(b).unwrap();
        assert_eq!(limiter.admit(b).unwrap_err(), Full::Network);
        let fourth = limiter.admit(far).unwrap();
        assert_eq!(limiter.admit(far).unwrap_err(), Full::All);
        drop(first);
        let fifth = limiter.admit(a).unwrap();
        assert_eq!(limiter.lock().all, 4);
        drop((second, third, fourth, fifth));
        assert_empty(&limiter);
    }

    #[test]
    fn a_64_is_one_network_and_a_mapped_address_is_the_ipv4_one() {
        let limiter = limiter(9, 1, 2);
        let _first = limiter.admit(ip("2001:db8::1")).unwrap();
        let _second = limiter.admit(ip("2001:db8::2")).unwrap();
        assert_eq!(limiter.admit(ip("2001:db8::3")).unwrap_err(), Full::Network);
        let _third = limiter.admit(ip("2001:db8:0:1::1")).unwrap();
        let _fourth = limiter.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(limiter.admit(ip("192.0.2.1")).unwrap_err(), Full::Client);
    }

    #[test]
    fn a_proxys_connection_counts_for_its_client_once_that_is_known() {
        let limiter = limiter(3, 1, 2);
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let mut first = limiter.admit_proxy().unwrap();
        let mut second = limiter.admit_proxy().unwrap();
        first.count_for(a).unwrap();
        assert_eq!(second.count_for(a), Err(Full::Client));
        second.count_for(b).unwrap();
        // It may stay who it is even where the limit is reached, and a refusal changes nothing.
        first.count_for(a).unwrap();
        assert_eq!(first.count_for(b), Err(Full::Client));
        assert_eq!(limiter.admit(a).unwrap_err(), Full::Client);
        first.count_for(ip("198.51.100.1")).unwrap();
        let third = limiter.admit(a).unwrap();
        drop((first, second, third));
        assert_empty(&limiter);
    }

    #[test]
    fn limits_change_while_clients_are_connected() {
        let limiter = limiter(9, 1, 9);
        let a = ip("192.0.2.1");
        let first = limiter.admit(a).unwrap();
        limiter.set_limits(&limits(9, 2, 9));
        let second = limiter.admit(a).unwrap();
        limiter.set_limits(&limits(1, 1, 1));
        assert_eq!(limiter.admit(ip("198.51.100.1")).unwrap_err(), Full::All);
        drop((first, second));
        assert!(limiter.admit(a).is_ok());
    }
}
