//! DNS: the resolver, and what its answers mean to mail.
//!
//! *Does:* looks names up at the resolvers of the configuration, or of the system, over UDP, and over TCP where an answer
//! was truncated. Where one fails or is silent the next is asked ([`FAILOVER_MILLIS`]). Keeps answers for their time to live,
//! at most [`ANSWERS_OCTETS_MAX`] in all and none longer than [`ANSWER_SECONDS_MAX`], and failures for [`FAILURE_SECONDS`].
//! *Guarantees:* "there is no such record" and "nobody could tell" are never the same answer ([`DnsError`]). A lookup ends
//! within [`LOOKUP_SECONDS_MAX`] once it has its turn; [`LOOKUPS_MAX`] have it at a time, [`CHECK_LOOKUPS_MAX`] of one
//! message's check ([`Resolver::share`]), and [`NETWORK_LOOKUPS_MAX`] of one network's clients ([`Resolver::of_network`]).
//! The same question is asked once at a time, and who asks it may go away. Names are asked for as they are: search lists and
//! `/etc/hosts` play no part, and only records that stand at the name, or where its CNAME records lead, are an answer.
//! *Never does:* validate DNSSEC (the resolver's part; use a local one), or judge what records say.
//! *RFC:* 1035; 2308 for negative answers; 8020 for what NXDOMAIN means.

pub mod responder;
mod servers;
mod share;
#[cfg(test)]
mod tests;
mod zone;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use moka::{future::Cache, sync};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::servers::Servers;
use self::share::{Networks, Share};
use crate::address::Domain;

pub use self::servers::{FAILOVER_MILLIS, PAYLOAD_OCTETS, REST_SECONDS, TROUBLES_MAX};
pub use self::share::{CHECK_LOOKUPS_MAX, CHECK_LOOKUPS_TOTAL_MAX, NETWORK_LOOKUPS_MAX};

/// How long a lookup may take in all, in seconds: what a dead resolver costs.
pub const LOOKUP_SECONDS_MAX: u64 = 5;
/// How long a failed lookup is answered from memory, in seconds (RFC 2308 section 7 allows five minutes).
pub const FAILURE_SECONDS: u64 = 10;
/// Failed lookups that are remembered.
const FAILURES_MAX: u64 = 4_096;
/// Lookups that may be under way. A query over UDP has a socket of its own, and a silent server gets it three times: with
/// two servers that is six. A flood of senders must not use up the process's file descriptors.
pub const LOOKUPS_MAX: usize = 1_024;
/// Answers that are kept, in octets: what a sender's wildcard records can take of our memory.
pub const ANSWERS_OCTETS_MAX: u64 = 16 << 20;
/// What an answer takes beside its data, in octets.
const ANSWER_OVERHEAD_OCTETS: usize = 512;
/// The largest set of TXT records at one name that is read, in octets.
pub const TEXTS_OCTETS_MAX: usize = 32_768;
/// An answer is kept no longer than this, in seconds, whatever its time to live says.
pub const ANSWER_SECONDS_MAX: u64 = 3_600;
/// How long a negative answer without SOA holds, in seconds (RFC 2308 section 5 leaves such answers uncached).
const NEGATIVE_SECONDS_DEFAULT: u32 = 5;
/// CNAME records that are followed within an answer.
const CNAMES_MAX: usize = 16;

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
    /// They keep nothing: `answers` does, by octets.
    servers: Arc<Servers>,
    answers: Cache<Question, Answer>,
    failures: sync::Cache<Question, String>,
    turns: Arc<Semaphore>,
    /// Of the message that is checked.
    share: Option<Arc<Share>>,
    networks: Arc<Networks>,
    /// Of the network that the client is in.
    network: Option<Arc<Semaphore>>,
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
        Self::ask_these(&configured(servers)?)
    }

    /// The resolver of another configuration: this one, and all that it has learned, if it asks the same servers.
    pub fn reload(&self, servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let servers = configured(servers)?;
        if self.servers.are(&servers) { Ok(self.clone()) } else { Self::ask_these(&servers) }
    }

    fn ask_these(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let octets = |(name, _): &Question, answer: &Answer| {
            u32::try_from(ANSWER_OVERHEAD_OCTETS + name.len() + answer.octets()).unwrap_or(u32::MAX)
        };
        Ok(Resolver {
            servers: Arc::new(Servers::new(servers).map_err(unusable)?),
            answers: Cache::builder().max_capacity(ANSWERS_OCTETS_MAX).weigher(octets).build(),
            failures: sync::Cache::builder()
                .max_capacity(FAILURES_MAX)
                .time_to_live(Duration::from_secs(FAILURE_SECONDS))
                .build(),
            turns: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            share: None,
            networks: Arc::default(),
            network: None,
        })
    }

    /// A clone for one check of one message: it, and its clones together, may have [`CHECK_LOOKUPS_MAX`] lookups under way, and
    /// [`CHECK_LOOKUPS_TOTAL_MAX`] in all; further ones fail. What is in memory costs nothing.
    pub fn share(&self) -> Self {
        Resolver { share: Some(Arc::new(Share::new())), ..self.clone() }
    }

    /// The same for what a client must not be able to hold up by its own lookups elsewhere: its network plays no part.
    pub fn share_apart(&self) -> Self {
        Resolver { network: None, ..self.share() }
    }

    /// A clone for the checks of a client in this network: they, and those for its neighbours, may have
    /// [`NETWORK_LOOKUPS_MAX`] lookups under way. What is in memory costs nothing.
    pub fn of_network(&self, network: IpAddr) -> Self {
        Resolver { network: Some(self.networks.places(network)), ..self.clone() }
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

    /// Waits until a lookup may be under way; it may be until the turn is dropped.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
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
        if let Some(answer) = self.remembered(&question).await {
            return answer;
        }
        // Before the question, which others may wait for too: they shall not wait for a share that is not theirs.
        let _place = match &self.share {
            Some(share) => Some(share.place().await.ok_or_else(asked_enough)?),
            None => None,
        };
        let _network = match &self.network {
            // The semaphore is never closed.
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        if let Some(answer) = self.remembered(&question).await {
            return answer;
        }
        let asked = self.answers.try_get_with_by_ref(&question, self.ask(&question));
        asked.await.map_err(|failure: Arc<String>| {
            self.failures.insert(question, failure.to_string());
            DnsError::Unavailable(failure.to_string())
        })
    }

    async fn remembered(&self, question: &Question) -> Option<Result<Answer, DnsError>> {
        match self.answers.get(question).await {
            Some(answer) if answer.valid_until > Instant::now() => return Some(Ok(answer)),
            Some(_) => self.answers.invalidate(question).await,
            None => {}
        }
        self.failures.get(question).map(|failure| Err(DnsError::Unavailable(failure)))
    }

    async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let _turn = self.turn().await;
        let lookup = self.servers.lookup(&question.0, question.1);
        match tokio::time::timeout(Duration::from_secs(LOOKUP_SECONDS_MAX), lookup).await {
            Ok(answer) => answer.map(|answer| understand(answer, question)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

/// The servers that a configuration means, each once.
fn configured(servers: &[SocketAddr]) -> Result<Vec<SocketAddr>, DnsError> {
    let system = if servers.is_empty() { servers::system_servers().map_err(unusable)? } else { Vec::new() };
    let mut addresses = Vec::new();
    for server in servers.iter().chain(&system) {
        if !addresses.contains(server) {
            addresses.push(*server);
        }
    }
    Ok(addresses)
}

fn unusable(error: NetError) -> DnsError {
    DnsError::Configuration(error.to_string())
}

fn asked_enough() -> DnsError {
    DnsError::Unavailable(format!("more than {CHECK_LOOKUPS_TOTAL_MAX} lookups for one message"))
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

/// What an authority's answer says.
fn understand(answer: Result<Lookup, NoRecords>, question: &Question) -> Answer {
    let (records, seconds) = match answer {
        Ok(lookup) => {
            let (data, seconds) = belonging(lookup.answers(), question);
            let octets: usize = data.iter().map(octets_of_text).sum();
            match data.is_empty() {
                true => (Found::None { name_exists: true }, NEGATIVE_SECONDS_DEFAULT),
                false if octets > TEXTS_OCTETS_MAX => (Found::TooLarge, seconds),
                false => (Found::Records(data.into()), seconds),
            }
        }
        Err(none) => {
            let name_exists = none.response_code != ResponseCode::NXDomain;
            (Found::None { name_exists }, none.negative_ttl.unwrap_or(NEGATIVE_SECONDS_DEFAULT))
        }
    };
    let seconds = u64::from(seconds).min(ANSWER_SECONDS_MAX);
    Answer { records, valid_until: Instant::now() + Duration::from_secs(seconds) }
}

/// The records of the type that was asked for, at the name or where its CNAME records lead, and how long all of these hold,
/// in seconds. What else an answer brings nobody asked for (RFC 5452 section 6).
fn belonging(records: &[Record], (name, record_type): &Question) -> (Vec<RData>, u32) {
    let (mut names, mut seconds) = (vec![name], u32::MAX);
    while let Some(name) = names.last().filter(|_| names.len() <= CNAMES_MAX) {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == **name && !names.contains(&&target.0) => {
                Some((record.ttl, &target.0))
            }
            _ => None,
        });
        let Some((ttl, target)) = alias else { break };
        seconds = seconds.min(ttl);
        names.push(target);
    }
    let found = records.iter().filter(|record| record.record_type() == *record_type && names.contains(&&record.name));
    let found: Vec<&Record> = found.collect();
    let seconds = found.iter().map(|record| record.ttl).fold(seconds, u32::min);
    (found.into_iter().map(|record| record.data.clone()).collect(), seconds)
}

fn octets_of_text(data: &RData) -> usize {
    match data {
        RData::TXT(txt) => txt.txt_data.iter().map(|text| text.len()).sum(),
        _ => 0,
    }
}
