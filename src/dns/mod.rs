//! DNS: the resolver, and what its answers mean to mail.
//!
//! *Does:* looks names up at the resolvers of the configuration, or of the system, over UDP, and over TCP where an answer
//! was truncated. Keeps answers for their time to live, at most [`ANSWERS_OCTETS_MAX`] in all and
//! none longer than [`ANSWER_SECONDS_MAX`], and failures for [`FAILURE_SECONDS`].
//! *Guarantees:* "there is no such record" and "nobody could tell" are never the same answer ([`DnsError`]). A lookup ends
//! within [`LOOKUP_SECONDS_MAX`] once it has its turn; [`LOOKUPS_MAX`] have it at a time. Names are asked for as they are:
//! search lists and `/etc/hosts` play no part.
//! *Never does:* validate DNSSEC (the resolver's part; use a local one), or judge what records say.
//! *RFC:* 1035; 2308 for negative answers; 8020 for what NXDOMAIN means.

pub mod responder;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError as HickoryError, NetError, runtime::TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use moka::{future::Cache, sync};
use tokio::sync::{Semaphore, SemaphorePermit};

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
/// Lookups that may be under way. Each query over UDP has a socket of its own, and a lookup asks two servers at most at a
/// time: a flood of senders must not use up the process's file descriptors.
pub const LOOKUPS_MAX: usize = 1_024;
/// Answers that are kept, in octets: what a sender's wildcard records can take of our memory.
pub const ANSWERS_OCTETS_MAX: u64 = 16 << 20;
/// What an answer takes beside its data, in octets.
const ANSWER_OVERHEAD_OCTETS: usize = 512;
/// The largest set of TXT records at one name that is read, in octets.
pub const TEXTS_OCTETS_MAX: usize = 32_768;
/// Answers to the verifying library's own questions (addresses, MX, PTR) that are kept. It keeps whole messages, of up to
/// 64 KiB on the wire: they are few.
const LIBRARY_ANSWERS_MAX: u64 = 64;
/// An answer is kept no longer than this, in seconds, whatever its time to live says.
pub const ANSWER_SECONDS_MAX: u64 = 3_600;
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
    /// There are more than [`TEXTS_OCTETS_MAX`] octets of TXT records at the name.
    #[error("more TXT records than are read")]
    TooLarge,
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
    /// Keeps nothing: `answers` does, by octets.
    hickory: TokioResolver,
    /// For the library, which keeps nothing itself.
    library: TokioResolver,
    answers: Cache<Question, Answer>,
    failures: sync::Cache<Question, String>,
    turns: Arc<Semaphore>,
}

type Question = (Name, RecordType);

/// What an authority said.
#[derive(Debug, Clone)]
struct Answer {
    records: Found,
    valid_until: Instant,
}

#[derive(Debug, Clone)]
enum Found {
    /// All of them of the type that was asked for.
    Records(Arc<[RData]>),
    /// None; do other records stand at or below the name?
    None { name_exists: bool },
    /// More TXT records than are read.
    TooLarge,
}

impl Resolver {
    /// A resolver that asks `servers`, or those of `/etc/resolv.conf` if there are none. To be called within a runtime.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError::Configuration(error.to_string());
        let config = match servers {
            [] => read_system_conf().map_err(failed)?.0,
            servers => ResolverConfig::from_name_servers(servers.iter().map(name_server).collect()),
        };
        let build = |answers_kept| {
            let builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            builder.with_options(options(answers_kept)).build().map_err(failed)
        };
        let octets = |(name, _): &Question, answer: &Answer| {
            u32::try_from(ANSWER_OVERHEAD_OCTETS + name.len() + answer.octets()).unwrap_or(u32::MAX)
        };
        Ok(Resolver {
            hickory: build(0)?,
            library: build(LIBRARY_ANSWERS_MAX)?,
            answers: Cache::builder().max_capacity(ANSWERS_OCTETS_MAX).weigher(octets).build(),
            failures: sync::Cache::builder()
                .max_capacity(FAILURES_MAX)
                .time_to_live(Duration::from_secs(FAILURE_SECONDS))
                .build(),
            turns: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        })
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

    /// The hosts that take mail for a domain (RFC 5321 section 5.1), in the order of the answer. A null MX (RFC 7505) is no
    /// host.
    pub async fn mx(&self, name: &str) -> Result<Records<String>, DnsError> {
        let found = self.lookup(text_name(name)?, RecordType::MX, |data| match data {
            RData::MX(mx) => Some(name_text(&mx.exchange)),
            _ => None,
        });
        found.await.map(|found| Records {
            records: found.records.into_iter().filter(|name| !name.is_empty()).collect(),
            valid_until: found.valid_until,
        })
    }

    /// The names of an address. PTR records that are no legal domain are left out.
    pub async fn ptr(&self, address: IpAddr) -> Result<Records<Domain>, DnsError> {
        self.lookup(Name::from(address), RecordType::PTR, |data| match data {
            RData::PTR(name) => Domain::parse(name.to_ascii().trim_end_matches('.')).ok(),
            _ => None,
        })
        .await
    }

    /// A resolver for the library that verifies mail. It shares neither answers nor failures with this one. Whoever lets
    /// the library look something up holds a [`turn`](Self::turn) meanwhile.
    pub(crate) fn hickory(&self) -> TokioResolver {
        self.library.clone()
    }

    /// Waits until a lookup may be under way; it may be until the turn is dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }

    async fn lookup<T>(
        &self,
        name: Name,
        record_type: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Records<T>, DnsError> {
        let Answer { records, valid_until } = self.answer((name, record_type)).await?;
        let records = match records {
            Found::Records(data) => data.iter().filter_map(read).collect::<Vec<T>>(),
            Found::None { name_exists } => return Err(DnsError::NoRecords { name_exists, valid_until }),
            Found::TooLarge => return Err(DnsError::TooLarge),
        };
        match records.is_empty() {
            true => Err(DnsError::NoRecords { name_exists: true, valid_until }),
            false => Ok(Records { records, valid_until }),
        }
    }

    /// From memory or from the resolvers. Who asks what somebody else is just asking gets that answer.
    async fn answer(&self, question: Question) -> Result<Answer, DnsError> {
        match self.answers.get(&question).await {
            Some(answer) if answer.valid_until > Instant::now() => return Ok(answer),
            Some(_) => self.answers.invalidate(&question).await,
            None => {}
        }
        if let Some(failure) = self.failures.get(&question) {
            return Err(DnsError::Unavailable(failure));
        }
        let asked = self.answers.try_get_with_by_ref(&question, self.ask(&question));
        asked.await.map_err(|failure: Arc<String>| {
            self.failures.insert(question, failure.to_string());
            DnsError::Unavailable(failure.to_string())
        })
    }

    async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let _turn = self.turn().await;
        let lookup = self.hickory.lookup(question.0.clone(), question.1);
        match tokio::time::timeout(Duration::from_secs(LOOKUP_SECONDS_MAX), lookup).await {
            Ok(answer) => understand(answer, question.1),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

impl Answer {
    /// What its records take, in octets.
    fn octets(&self) -> usize {
        match &self.records {
            Found::Records(data) => data.iter().map(|data| size_of::<RData>() + octets_beside(data)).sum(),
            Found::None { .. } | Found::TooLarge => 0,
        }
    }
}

/// What a record takes beside its own size, in octets.
fn octets_beside(data: &RData) -> usize {
    match data {
        RData::TXT(txt) => txt.txt_data.iter().map(|text| size_of_val(text) + text.len()).sum(),
        RData::PTR(name) => name.len(),
        RData::MX(mx) => mx.exchange.len(),
        _ => 0,
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn options(answers_kept: u64) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(ATTEMPT_SECONDS_MAX);
    options.attempts = RETRIES_MAX;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = answers_kept;
    options.positive_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options.negative_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options
}

/// A name as [`text_name`] reads it.
fn name_text(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(String::from_utf8_lossy).collect();
    labels.join(".")
}

/// The name as it is, from the root: without its final dot a resolver would try its search list. A label may hold any
/// octets but a dot (RFC 2181 section 11): an expanded SPF macro does.
fn text_name(name: &str) -> Result<Name, DnsError> {
    let labels = name.strip_suffix('.').unwrap_or(name).split('.');
    if labels.clone().any(str::is_empty) {
        return Err(DnsError::Name);
    }
    let mut name = Name::from_labels(labels.map(str::as_bytes)).map_err(|_| DnsError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

/// What the answer to a question about such records says, or why it says nothing.
fn understand(answer: Result<Lookup, NetError>, record_type: RecordType) -> Result<Answer, String> {
    let now = Instant::now();
    let (records, valid_until) = match answer {
        Ok(lookup) => {
            let data = lookup.answers().iter().map(|record| &record.data);
            let data: Arc<[RData]> = data.filter(|data| data.record_type() == record_type).cloned().collect();
            let octets: usize = data.iter().map(octets_of_text).sum();
            let found = if octets > TEXTS_OCTETS_MAX { Found::TooLarge } else { Found::Records(data) };
            (found, lookup.valid_until())
        }
        Err(NetError::Dns(HickoryError::NoRecordsFound(none))) => {
            let seconds = none.negative_ttl.unwrap_or(NEGATIVE_SECONDS_DEFAULT);
            let name_exists = none.response_code != ResponseCode::NXDomain;
            (Found::None { name_exists }, now + Duration::from_secs(seconds.into()))
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(Answer { records, valid_until: valid_until.min(now + Duration::from_secs(ANSWER_SECONDS_MAX)) })
}

fn octets_of_text(data: &RData) -> usize {
    match data {
        RData::TXT(txt) => txt.txt_data.iter().map(|text| text.len()).sum(),
        _ => 0,
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

    #[tokio::test]
    async fn answers_are_kept_by_octets() {
        let zone = Zone::from_iter([("large.example", Record::txt(&"x".repeat(30_000)))]);
        let (_responder, resolver) = start(zone).await;
        let question = |name: &str| (text_name(name).unwrap(), RecordType::TXT);
        resolver.txt("large.example").await.unwrap();
        let answer = resolver.answers.get(&question("large.example")).await.unwrap();
        for at in 0..1_000 {
            resolver.answers.insert(question(&format!("n{at}.example")), answer.clone()).await;
        }
        resolver.answers.run_pending_tasks().await;
        let (octets, count) = (resolver.answers.weighted_size(), resolver.answers.entry_count());
        assert!(octets <= ANSWERS_OCTETS_MAX && octets >= count * 30_000, "{octets} octets, {count} answers");
        assert!(count > 400, "{count} answers");
    }

    #[tokio::test]
    async fn too_much_text_is_no_record_and_no_failure() {
        let (responder, resolver) = start(Zone::default()).await;
        let text = "x".repeat(TEXTS_OCTETS_MAX / 2);
        responder.add("large.example", Record::txt(&text));
        responder.add("large.example", Record::txt(&text));
        assert_eq!(resolver.txt("large.example").await.unwrap().records.len(), 2);
        for text in [&*text, &text, "x"] {
            responder.add("larger.example", Record::txt(text));
        }
        for _ in 0..2 {
            assert_eq!(resolver.txt("larger.example").await.unwrap_err(), DnsError::TooLarge);
        }
        assert!(!DnsError::TooLarge.is_temporary());
    }

    #[tokio::test]
    async fn lookups_wait_for_their_turn() {
        let (responder, resolver) = start(Zone::from_iter([("example.org", Record::txt("x"))])).await;
        let all = resolver.turns.clone().acquire_many_owned(LOOKUPS_MAX as u32).await.unwrap();
        let waiting = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.txt("example.org").await }
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), resolver.txt("example.org")).await.is_err());
        assert_eq!(responder.queries("example.org"), 0);
        drop(all);
        assert_eq!(waiting.await.unwrap().unwrap().records, [b"x"], "to wait is no failure");
        assert_eq!(resolver.turns.available_permits(), LOOKUPS_MAX);
    }
}
