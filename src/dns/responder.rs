//! A small authoritative DNS responder on the loopback interface, for the demonstration and for tests.
//!
//! *Does:* answers from a [`Zone`] in memory, over UDP and TCP on one port, and misbehaves where it is told to: SERVFAIL,
//! silence, truncation, delay. Counts what it was asked.
//! *Guarantees:* binds 127.0.0.1 only; a malformed packet is ignored; stops when dropped.
//! *Never does:* recurse, or serve anything but class IN queries.
//! *RFC:* 1035 section 4 (messages, TCP framing), 2308 section 2 (negative answers), 6891 (EDNS payload size).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record as WireRecord, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// The time to live of every record, in seconds.
const TTL_SECONDS: u32 = 300;
/// How long a negative answer may be kept, in seconds.
const NEGATIVE_TTL_SECONDS: u32 = 1;
/// The largest UDP answer without EDNS, in octets (RFC 1035 section 4.2.1).
const UDP_OCTETS: u16 = 512;
/// The largest UDP answer with EDNS, in octets.
const UDP_OCTETS_MAX: u16 = 4_096;
/// CNAME records that are followed for one answer.
const CNAMES_MAX: usize = 8;
/// Strings of TXT data hold this many octets (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;
/// Ports that are tried until one is free for both UDP and TCP.
const BIND_ATTEMPTS_MAX: usize = 16;

/// One record's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// TXT, string by string; each is cut at 255 octets.
    Txt(Vec<String>),
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// MX: preference and exchange.
    Mx(u16, String),
    /// PTR.
    Ptr(String),
    /// CNAME.
    Cname(String),
}

impl Record {
    /// A TXT record of any length: as many strings as it takes.
    pub fn txt(text: &str) -> Self {
        let strings = text.as_bytes().chunks(STRING_OCTETS_MAX);
        Record::Txt(strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect())
    }

    fn data(&self) -> Option<RData> {
        Some(match self {
            Record::Txt(strings) => {
                let cut = |string: &'_ String| string.as_bytes()[..string.len().min(STRING_OCTETS_MAX)].to_vec();
                let strings: Vec<Vec<u8>> = strings.iter().map(cut).collect();
                RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
            }
            Record::A(address) => RData::A(A(*address)),
            Record::Aaaa(address) => RData::AAAA(AAAA(*address)),
            Record::Mx(preference, exchange) => RData::MX(MX::new(*preference, wire_name(exchange)?)),
            Record::Ptr(name) => RData::PTR(PTR(wire_name(name)?)),
            Record::Cname(name) => RData::CNAME(CNAME(wire_name(name)?)),
        })
    }
}

/// What a name's queries get instead of a plain answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Response code 2.
    ServFail,
    /// No answer at all.
    Silent,
    /// Over UDP an empty answer with the TC bit; over TCP the whole one.
    Truncated,
    /// The answer, this much later.
    Delay(Duration),
}

/// Names and what stands at them. Every name that is not in it does not exist.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    records: BTreeMap<String, Vec<Record>>,
    behaviours: HashMap<String, Behaviour>,
}

impl Zone {
    /// Adds a record.
    pub fn add(&mut self, name: &str, record: Record) {
        self.records.entry(key(name)).or_default().push(record);
    }

    /// Makes a name misbehave.
    pub fn behave(mut self, name: &str, behaviour: Behaviour) -> Self {
        self.behaviours.insert(key(name), behaviour);
        self
    }

    fn at(&self, name: &str) -> &[Record] {
        self.records.get(name).map_or(&[], Vec::as_slice)
    }

    /// A name exists where a record stands at it or below it (RFC 8020 section 2).
    fn has(&self, name: &str) -> bool {
        self.records
            .keys()
            .any(|other| other.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.')))
    }

    /// The records that answer a question, CNAME records on the way included, and whether the last name exists.
    fn answer(&self, name: &str, record_type: RecordType) -> (Vec<WireRecord>, bool) {
        let (mut answers, mut name) = (Vec::new(), name.to_owned());
        for _ in 0..CNAMES_MAX {
            let Some(owner) = wire_name(&name) else { break };
            let records = self.at(&name);
            let data = records.iter().filter_map(Record::data).filter(|data| data.record_type() == record_type);
            let before = answers.len();
            answers.extend(data.map(|data| WireRecord::from_rdata(owner.clone(), TTL_SECONDS, data)));
            let alias = records.iter().find(|record| matches!(record, Record::Cname(_)));
            match alias {
                Some(alias @ Record::Cname(target)) if answers.len() == before => {
                    answers.extend(alias.data().map(|data| WireRecord::from_rdata(owner, TTL_SECONDS, data)));
                    name = key(target);
                }
                _ => break,
            }
        }
        (answers, self.has(&name))
    }
}

impl<N: AsRef<str>> FromIterator<(N, Record)> for Zone {
    fn from_iter<I: IntoIterator<Item = (N, Record)>>(records: I) -> Self {
        let mut zone = Zone::default();
        for (name, record) in records {
            zone.add(name.as_ref(), record);
        }
        zone
    }
}

/// The name under which PTR records for an address stand (RFC 1035 section 3.5; RFC 3596 section 2.5).
pub fn reverse_name(address: IpAddr) -> String {
    key(&Name::from(address).to_ascii())
}

/// A running responder.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Responder {
    /// Starts on a free port of 127.0.0.1. To be called within a runtime.
    pub async fn start(zone: Zone) -> io::Result<Self> {
        let (udp, tcp) = bind().await?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared { zone: Mutex::new(zone), queries: Mutex::default() });
        let tasks = [tokio::spawn(serve_udp(udp, shared.clone())), tokio::spawn(serve_tcp(tcp, shared.clone()))];
        Ok(Responder { address, shared, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many queries named this, of any type.
    pub fn queries(&self, name: &str) -> usize {
        lock(&self.shared.queries).get(&key(name)).copied().unwrap_or(0)
    }

    /// Adds a record while it runs. Resolvers may have kept an earlier answer.
    pub fn add(&self, name: &str, record: Record) {
        lock(&self.shared.zone).add(name, record);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Shared {
    zone: Mutex<Zone>,
    queries: Mutex<HashMap<String, usize>>,
}

/// An answer, and how long to wait before sending it.
struct Answer {
    octets: Vec<u8>,
    delay: Duration,
}

impl Shared {
    /// The answer to a query; `None` where there shall be none.
    fn respond(&self, octets: &[u8], over_udp: bool) -> Option<Answer> {
        let query = Message::from_vec(octets).ok()?;
        let [question] = query.queries.as_slice() else { return None };
        if query.metadata.message_type != MessageType::Query || query.metadata.op_code != OpCode::Query {
            return None;
        }
        let name = key(&super::name_text(question.name()));
        let count = |queries: &mut HashMap<String, usize>| {
            let asked = queries.entry(name.clone()).or_default();
            *asked = asked.saturating_add(1);
        };
        count(&mut lock(&self.queries));

        let zone = lock(&self.zone);
        let behaviour = zone.behaviours.get(&name).copied();
        let mut response = match behaviour {
            Some(Behaviour::Silent) => return None,
            Some(Behaviour::ServFail) => fail(&query),
            Some(Behaviour::Truncated) if over_udp => truncated(&query),
            _ => reply(&zone, &query, question, &name),
        };
        drop(zone);
        let mut octets = response.to_vec().ok()?;
        if over_udp && octets.len() > usize::from(payload_octets(&query)) {
            response = truncated(&query);
            octets = response.to_vec().ok()?;
        }
        let delay = match behaviour {
            Some(Behaviour::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        Some(Answer { octets, delay })
    }
}

fn header(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_OCTETS_MAX);
        response.set_edns(edns);
    }
    response
}

fn fail(query: &Message) -> Message {
    let mut response = header(query);
    response.metadata.response_code = ResponseCode::ServFail;
    response
}

fn truncated(query: &Message) -> Message {
    let mut response = header(query);
    response.metadata.truncation = true;
    response
}

fn reply(zone: &Zone, query: &Message, question: &Query, name: &str) -> Message {
    let mut response = header(query);
    let (answers, exists) = zone.answer(name, question.query_type());
    if !answers.iter().any(|record| record.record_type() == question.query_type()) {
        let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, NEGATIVE_TTL_SECONDS);
        response.add_authority(WireRecord::from_rdata(Name::root(), NEGATIVE_TTL_SECONDS, RData::SOA(soa)));
        if !exists {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
    }
    response.add_answers(answers);
    response
}

/// What the client takes over UDP.
fn payload_octets(query: &Message) -> u16 {
    query.edns.as_ref().map_or(UDP_OCTETS, |edns| edns.max_payload().clamp(UDP_OCTETS, UDP_OCTETS_MAX))
}

/// Binds UDP and TCP at one port: the system picks one for TCP, and it may be taken for UDP.
async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = 0;
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if attempts >= BIND_ATTEMPTS_MAX => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut late = JoinSet::new();
    let mut buffer = [0; UDP_OCTETS_MAX as usize];
    loop {
        while late.try_join_next().is_some() {}
        let Ok((octets, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(answer) = shared.respond(&buffer[..octets], true) else { continue };
        if answer.delay.is_zero() {
            let _ = socket.send_to(&answer.octets, client).await;
            continue;
        }
        let socket = socket.clone();
        late.spawn(async move {
            tokio::time::sleep(answer.delay).await;
            let _ = socket.send_to(&answer.octets, client).await;
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { return };
        clients.spawn(serve_stream(stream, shared.clone()));
    }
}

/// Each message has its length before it, in two octets (RFC 1035 section 4.2.2).
async fn serve_stream(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(answer) = shared.respond(&query, false) else { continue };
        tokio::time::sleep(answer.delay).await;
        stream.write_u16(u16::try_from(answer.octets.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&answer.octets).await?;
    }
}

/// Lower-case, without the final dot.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn wire_name(name: &str) -> Option<Name> {
    let labels = name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn malformed_packets_are_ignored() {
        let responder = Responder::start(Zone::from_iter([("x.example", Record::txt("x"))])).await.unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(wire_name("x.example").unwrap(), RecordType::TXT));
        let good = query.to_vec().unwrap();
        for cut in 0..good.len() {
            socket.send_to(&good[..cut], responder.address()).await.unwrap();
            let mut bent = good.clone();
            bent[cut] ^= 0xFF;
            socket.send_to(&bent, responder.address()).await.unwrap();
        }
        socket.send_to(&good, responder.address()).await.unwrap();
        let answered = async {
            loop {
                let mut buffer = [0; 512];
                let octets = socket.recv(&mut buffer).await.unwrap();
                let answer = Message::from_vec(&buffer[..octets]).unwrap();
                if answer.metadata.id == query.metadata.id && !answer.answers.is_empty() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), answered).await.unwrap();
    }

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name([192, 0, 2, 1].into()), "1.2.0.192.in-addr.arpa");
        assert!(reverse_name("2001:db8::1".parse().unwrap()).ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"));
    }
}
