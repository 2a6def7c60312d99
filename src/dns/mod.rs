//! DNS: the resolver, and what its answers mean to mail.
//!
//! *Does:* looks names up at the resolvers of the configuration, or of the system, over UDP, and over TCP where an answer
//! was truncated. Keeps answers for their time to live, and failures for [`FAILURE_SECONDS`].
//! *Guarantees:* "there is no such record" and "nobody could tell" are never the same answer ([`DnsError`]). A lookup ends
//! within [`LOOKUP_SECONDS_MAX`]. Names are asked for as they are: search lists and `/etc/hosts` play no part.
//! *Never does:* validate DNSSEC (the resolver's part; use a local one), or judge what records say.
//! *RFC:* 1035; 2308 for negative answers; 8020 for what NXDOMAIN means.

pub mod responder;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::{DnsError as HickoryError, NetError, runtime::TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use moka::sync::Cache;

use crate::address::Domain;

/// How long one attempt waits for an answer, in seconds.
const ATTEMPT_SECONDS_MAX: u64 = 2;
/// Attempts after the first one.
const RETRIES_MAX: usize = 1;
/// How long a lookup may take in all, in seconds: what a dead resolver costs.
pub const LOOKUP_SECONDS_MAX: u64 = 5;
/// How long a failed lookup is answered from memory, in seconds (RFC 2308 section 7 allows five minutes).
pub const FAILURE_SECONDS: u64 = 10;
/// Failed lookups that are remembered.
const FAILURES_MAX: u64 = 4_096;
/// Queries that may be under way to one server.
const ACTIVE_REQUESTS_MAX: usize = 1_024;
/// Answers that are kept.
const CACHED_ANSWERS_MAX: u64 = 65_536;
/// An answer is kept no longer than this, in seconds, whatever its time to live says.
const ANSWER_SECONDS_MAX: u64 = 86_400;
/// How long a negative answer without SOA holds, in seconds (RFC 2308 section 5 leaves such answers uncached).
const NEGATIVE_SECONDS_DEFAULT: u32 = 5;

/// Why there are no records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The authority says that there are none: NXDOMAIN, or an empty answer.
    #[error("no such record")]
    NoRecords {
        /// Other records stand at or below the name: it was not NXDOMAIN (RFC 8020).
        name_exists: bool,
        /// Until when that holds.
        valid_until: Instant,
    },
    /// Nobody could tell: no answer in time, SERVFAIL, REFUSED, an illegible answer.
    #[error("the lookup failed: {0}")]
    Unavailable(String),
    /// The text is no DNS name: there can be no records.
    #[error("not a DNS name")]
    Name,
    /// The resolver could not be set up.
    #[error("the resolver cannot be set up: {0}")]
    Configuration(String),
}

impl DnsError {
    /// Was this no answer at all, rather than a negative one?
    pub fn is_temporary(&self) -> bool {
        matches!(self, DnsError::Unavailable(_) | DnsError::Configuration(_))
    }
}

/// What stands at a name: at least one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<T> {
    /// The records, in the order of the answer.
    pub records: Vec<T>,
    /// Until when they hold.
    pub valid_until: Instant,
}

/// Asks the resolvers. Cheap to clone: clones share connections and memory.
#[derive(Clone)]
pub struct Resolver {
    hickory: TokioResolver,
    failures: Cache<(Name, RecordType), String>,
}

impl Resolver {
    /// A resolver that asks `servers`, or those of `/etc/resolv.conf` if there are none. To be called within a runtime.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError::Configuration(error.to_string());
        let config = match servers {
            [] => read_system_conf().map_err(failed)?.0,
            servers => ResolverConfig::from_name_servers(servers.iter().map(name_server).collect()),
        };
        let hickory = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options())
            .build()
            .map_err(failed)?;
        let failures =
            Cache::builder().max_capacity(FAILURES_MAX).time_to_live(Duration::from_secs(FAILURE_SECONDS)).build();
        Ok(Resolver { hickory, failures })
    }

    /// The TXT records at a name. The strings of one record are joined (RFC 7208 section 3.3; RFC 6376 section 3.6.2.2).
    pub async fn txt(&self, name: &str) -> Result<Records<Vec<u8>>, DnsError> {
        self.lookup(text_name(name)?, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// The A records at a name.
    pub async fn ipv4(&self, name: &str) -> Result<Records<Ipv4Addr>, DnsError> {
        self.lookup(text_name(name)?, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The AAAA records at a name.
    pub async fn ipv6(&self, name: &str) -> Result<Records<Ipv6Addr>, DnsError> {
        self.lookup(text_name(name)?, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The names of an address. PTR records that are no legal domain are left out.
    pub async fn ptr(&self, address: IpAddr) -> Result<Records<Domain>, DnsError> {
        self.lookup(Name::from(address), RecordType::PTR, |data| match data {
            RData::PTR(name) => Domain::parse(name.to_ascii().trim_end_matches('.')).ok(),
            _ => None,
        })
        .await
    }

    /// The resolver itself, for the library that verifies mail. It shares this one's answers, but not its failures.
    pub(crate) fn hickory(&self) -> TokioResolver {
        self.hickory.clone()
    }

    async fn lookup<T>(
        &self,
        name: Name,
        record_type: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Records<T>, DnsError> {
        let key = (name, record_type);
        if let Some(failure) = self.failures.get(&key) {
            return Err(DnsError::Unavailable(failure));
        }
        let lookup = self.hickory.lookup(key.0.clone(), record_type);
        let answer = match tokio::time::timeout(Duration::from_secs(LOOKUP_SECONDS_MAX), lookup).await {
            Ok(answer) => answer.map_err(understand),
            Err(_) => Err(DnsError::Unavailable("no answer in time".to_owned())),
        };
        if let Err(DnsError::Unavailable(failure)) = &answer {
            self.failures.insert(key, failure.clone());
        }
        let answer = answer?;
        let valid_until = answer.valid_until();
        let records: Vec<T> = answer.answers().iter().filter_map(|record| read(&record.data)).collect();
        match records.is_empty() {
            true => Err(DnsError::NoRecords { name_exists: true, valid_until }),
            false => Ok(Records { records, valid_until }),
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(ATTEMPT_SECONDS_MAX);
    options.attempts = RETRIES_MAX;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = ACTIVE_REQUESTS_MAX;
    options.cache_size = CACHED_ANSWERS_MAX;
    options.positive_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options.negative_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options
}

/// The name as it is, from the root: without its final dot a resolver would try its search list.
fn text_name(name: &str) -> Result<Name, DnsError> {
    let mut name = Name::from_ascii(name).map_err(|_| DnsError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

fn understand(error: NetError) -> DnsError {
    match error {
        NetError::Dns(HickoryError::NoRecordsFound(none)) => {
            let seconds = none.negative_ttl.unwrap_or(NEGATIVE_SECONDS_DEFAULT);
            DnsError::NoRecords {
                name_exists: none.response_code != ResponseCode::NXDomain,
                valid_until: Instant::now() + Duration::from_secs(u64::from(seconds).min(ANSWER_SECONDS_MAX)),
            }
        }
        error => DnsError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::responder::{Behaviour, Record, Responder, Zone};
    use super::*;

    async fn start(zone: Zone) -> (Responder, Resolver) {
        let responder = Responder::start(zone).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        (responder, resolver)
    }

    fn absent<T: std::fmt::Debug>(answer: Result<Records<T>, DnsError>) -> bool {
        match answer.unwrap_err() {
            DnsError::NoRecords { name_exists, .. } => !name_exists,
            error => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn records_are_found_and_kept() {
        let zone = Zone::from_iter([
            ("example.org", Record::Txt(vec!["one ".into(), "record".into()])),
            ("example.org", Record::txt("another")),
            ("www.example.org", Record::Cname("host.example.org".into())),
            ("host.example.org", Record::A([192, 0, 2, 1].into())),
            ("host.example.org", Record::Aaaa("2001:db8::1".parse().unwrap())),
        ]);
        let (responder, resolver) = start(zone).await;
        responder.add(&responder::reverse_name([192, 0, 2, 1].into()), Record::Ptr("host.example.org".into()));
        for _ in 0..3 {
            let mut texts = resolver.txt("Example.ORG").await.unwrap().records;
            texts.sort();
            assert_eq!(texts, [&b"another"[..], b"one record"]);
        }
        assert_eq!(responder.queries("example.org"), 1);
        assert_eq!(resolver.ipv4("www.example.org").await.unwrap().records, [Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(resolver.ipv6("host.example.org.").await.unwrap().records.len(), 1);
        let names = resolver.ptr([192, 0, 2, 1].into()).await.unwrap().records;
        assert_eq!(names, [Domain::parse("host.example.org").unwrap()]);
    }

    #[tokio::test]
    async fn nothing_there_and_nobody_knows_are_two_answers() {
        let zone =
            Zone::from_iter([("a.b.example.org", Record::txt("x"))]).behave("fails.example", Behaviour::ServFail);
        let (responder, resolver) = start(zone).await;
        assert!(!absent(resolver.ipv4("a.b.example.org").await));
        assert!(!absent(resolver.txt("b.example.org").await));
        assert!(absent(resolver.txt("c.example.org").await));
        assert!(resolver.txt("fails.example").await.unwrap_err().is_temporary());
        let queries = responder.queries("fails.example");
        assert!(resolver.txt("fails.example").await.unwrap_err().is_temporary());
        assert_eq!(responder.queries("fails.example"), queries, "a failure is kept");
        assert_eq!(resolver.txt("a..b").await.unwrap_err(), DnsError::Name);
    }

    #[tokio::test]
    async fn truncated_answers_come_over_tcp() {
        let zone = Zone::from_iter([("example.org", Record::txt("x"))]).behave("example.org", Behaviour::Truncated);
        let (_responder, resolver) = start(zone).await;
        assert_eq!(resolver.txt("example.org").await.unwrap().records, [b"x"]);
        let long = "x".repeat(6_000);
        let (_responder, resolver) = start(Zone::from_iter([("example.org", Record::txt(&long))])).await;
        assert_eq!(resolver.txt("example.org").await.unwrap().records, [long.as_bytes()]);
    }

    #[tokio::test]
    async fn a_silent_resolver_costs_a_bounded_time() {
        let (_responder, resolver) = start(Zone::default().behave("silent.example", Behaviour::Silent)).await;
        let begin = Instant::now();
        assert!(resolver.txt("silent.example").await.unwrap_err().is_temporary());
        assert!(begin.elapsed() <= Duration::from_secs(LOOKUP_SECONDS_MAX + 1), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_resolver_that_is_down_is_no_answer() {
        let (responder, resolver) = start(Zone::default()).await;
        drop(responder);
        assert!(resolver.txt("example.org").await.unwrap_err().is_temporary());
    }

    #[tokio::test]
    async fn a_slow_answer_is_an_answer() {
        let slow = Behaviour::Delay(Duration::from_millis(300));
        let zone = Zone::from_iter([("slow.example", Record::txt("x"))]).behave("slow.example", slow);
        let (_responder, resolver) = start(zone).await;
        assert_eq!(resolver.txt("slow.example").await.unwrap().records, [b"x"]);
    }
}
