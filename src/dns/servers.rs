//! The name servers: who is asked, and who is asked next.
//!
//! *Does:* asks one server, and the next one as soon as that one fails, or has said nothing for [`FAILOVER_MILLIS`]. The
//! first answer counts. A server that let another one answer [`TROUBLES_MAX`] times in a row comes last for
//! [`REST_SECONDS`].
//! *Guarantees:* SERVFAIL, REFUSED, a referral and an illegible packet are no answers: what one server says of its own
//! trouble is never taken for "there is no such record". Each query has a port of its own, a random id and a name in random
//! case (the crate's work, switched on here); what does not match is ignored.
//! *Never does:* keep answers, or bound the time of a lookup: whoever asks does.
//! *RFC:* 1035 section 4.2; 5452 section 9 (ports and ids); 6891 (EDNS); 7766 (TCP where an answer was truncated).

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::JoinSet;

use super::{ANSWER_SECONDS_MAX, LOOKUPS_MAX};

/// How long a server may be silent before the next one is asked too, in milliseconds.
pub const FAILOVER_MILLIS: u64 = 400;
/// Troubles in a row after which a server comes last.
pub const TROUBLES_MAX: u32 = 3;
/// How long such a server comes last, in seconds. Then it has another chance.
pub const REST_SECONDS: u64 = 30;
/// How long a server has for one attempt, in seconds. Over UDP the query is sent up to three times within it.
const ATTEMPT_SECONDS_MAX: u64 = 2;
/// Attempts at one server, for one lookup.
const ATTEMPTS_MAX: usize = 2;
/// The largest answer over UDP, in octets: it passes through any network in one piece.
pub const PAYLOAD_OCTETS: u16 = 1_232;

/// Those that are asked, in the order of the configuration.
pub(super) struct Servers(Vec<Server>);

struct Server {
    address: SocketAddr,
    ways: Ways,
    health: Mutex<Health>,
}

/// The two ways to a server. Had the crate both in one, it would go on over TCP for all names once one got no answer over
/// UDP, and there slow answers may hold up the others.
#[derive(Clone)]
struct Ways {
    udp: TokioResolver,
    /// For what is too large for UDP, or came back in another case.
    tcp: TokioResolver,
}

#[derive(Default)]
struct Health {
    /// Since its last answer.
    troubles: u32,
    last: Option<Instant>,
}

/// The resolvers of `/etc/resolv.conf`.
pub(super) fn system_servers() -> Result<Vec<SocketAddr>, NetError> {
    let (config, _) = read_system_conf()?;
    let address = |server: &NameServerConfig| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    };
    Ok(config.name_servers().iter().map(address).collect())
}

fn build(servers: Vec<NameServerConfig>) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(servers);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options()).build()
}

fn at(address: SocketAddr, mut server: NameServerConfig) -> NameServerConfig {
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(ATTEMPT_SECONDS_MAX);
    options.attempts = 0;
    options.edns0 = true;
    options.edns_payload_len = PAYLOAD_OCTETS;
    options.case_randomization = true;
    options.max_active_requests = LOOKUPS_MAX;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options.negative_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options
}

impl Servers {
    pub fn new(addresses: &[SocketAddr]) -> Result<Self, NetError> {
        let server = |address: &SocketAddr| {
            let way = |server| build(vec![at(*address, server)]);
            let ways =
                Ways { udp: way(NameServerConfig::udp(address.ip()))?, tcp: way(NameServerConfig::tcp(address.ip()))? };
            Ok(Server { address: *address, ways, health: Mutex::default() })
        };
        addresses.iter().map(server).collect::<Result<_, _>>().map(Servers)
    }

    /// Are these the ones, in this order?
    pub fn are(&self, addresses: &[SocketAddr]) -> bool {
        self.0.iter().map(|server| &server.address).eq(addresses)
    }

    /// What an authority says, negative answers included; an error is nobody's answer.
    pub async fn lookup(&self, name: &Name, record_type: RecordType) -> Result<Result<Lookup, NoRecords>, String> {
        let mut order = self.order().into_iter().peekable();
        let (mut asked, mut blamable) = (JoinSet::new(), Vec::new());
        let mut failure = "no name server is known".to_owned();
        loop {
            if let Some(server) = order.next() {
                let (ways, name) = (server.ways.clone(), name.clone());
                blamable.push(server.address);
                let address = server.address;
                asked.spawn(async move { (address, ways.ask(&name, record_type).await) });
            }
            let answered = match order.peek() {
                Some(_) => tokio::time::timeout(Duration::from_millis(FAILOVER_MILLIS), asked.join_next()).await,
                None => Ok(asked.join_next().await),
            };
            match answered {
                // It is slow: the next one is asked beside it.
                Err(_) => {}
                Ok(None) => return Err(failure),
                Ok(Some(Err(_))) => "the lookup broke off".clone_into(&mut failure),
                Ok(Some(Ok((address, answer)))) => match said(answer) {
                    Ok(answer) => {
                        self.note_answer(address, &blamable);
                        return Ok(answer);
                    }
                    Err(error) => {
                        if is_about_the_name(&error) {
                            blamable.retain(|asked| *asked != address);
                        }
                        failure = error.to_string();
                    }
                },
            }
        }
    }

    /// Those in trouble last.
    fn order(&self) -> Vec<&Server> {
        let mut servers: Vec<&Server> = self.0.iter().collect();
        servers.sort_by_cached_key(|server| server.rests());
        servers
    }

    /// To blame are those that were asked before the one that answered. Where nobody answers it is the name's fault.
    fn note_answer(&self, address: SocketAddr, blamable: &[SocketAddr]) {
        for blamed in blamable.iter().take_while(|asked| **asked != address) {
            self.note_trouble(*blamed);
        }
        for server in self.0.iter().filter(|server| server.address == address) {
            *server.health() = Health::default();
        }
    }

    fn note_trouble(&self, address: SocketAddr) {
        for server in self.0.iter().filter(|server| server.address == address) {
            let mut health = server.health();
            *health = Health { troubles: health.troubles.saturating_add(1), last: Some(Instant::now()) };
            if health.troubles == TROUBLES_MAX {
                tracing::warn!(%address, "a name server does not answer: others are asked first for a while");
            }
        }
    }
}

impl Server {
    fn rests(&self) -> bool {
        let health = self.health();
        let recent = |last: Instant| last.elapsed() < Duration::from_secs(REST_SECONDS);
        health.troubles >= TROUBLES_MAX && health.last.is_some_and(recent)
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    async fn ask(&self, name: &Name, record_type: RecordType) -> Result<Lookup, NetError> {
        match ask(&self.udp, name, record_type).await {
            Err(error) if asks_for_tcp(&error) => ask(&self.tcp, name, record_type).await,
            answer => answer,
        }
    }
}

/// Asks again where there was no answer at all: on the way packets get lost.
async fn ask(way: &TokioResolver, name: &Name, record_type: RecordType) -> Result<Lookup, NetError> {
    let mut answer = way.lookup(name.clone(), record_type).await;
    for _ in 1..ATTEMPTS_MAX {
        if !answer.as_ref().is_err_and(is_lost) {
            break;
        }
        answer = way.lookup(name.clone(), record_type).await;
    }
    answer
}

/// An authority's word: records, or that there are none.
fn said(answer: Result<Lookup, NetError>) -> Result<Result<Lookup, NoRecords>, NetError> {
    match answer {
        Ok(lookup) => Ok(Ok(lookup)),
        // A referral is the answer of a server that does not recurse (RFC 2308 section 2.2).
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if none.response_code == ResponseCode::NoError && none.ns.is_some() && none.soa.is_none() =>
        {
            Err(NetError::Message("the name server does not recurse"))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Ok(Err(none)),
        Err(error) => Err(error),
    }
}

/// The server has answered, and that is not to be had over UDP. (Without a connection: in another case. Nothing else makes
/// the crate give up the only one.)
fn asks_for_tcp(error: &NetError) -> bool {
    matches!(error, NetError::Truncated | NetError::QueryCaseMismatch | NetError::NoConnections)
}

fn is_lost(error: &NetError) -> bool {
    !matches!(error, NetError::Dns(_)) && !asks_for_tcp(error)
}

/// SERVFAIL says something of the name; the rest, REFUSED among it, of the server.
fn is_about_the_name(error: &NetError) -> bool {
    matches!(error, NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)))
}
