//! A small authoritative DNS responder on the loopback interface, for the demonstration and for tests.
//!
//! *Does:* answers from a [`Zone`] in memory, over UDP and TCP on one port, and misbehaves where it is told to
//! ([`Behaviour`]). Remembers what it was asked.
//! *Guarantees:* binds 127.0.0.1 only; a malformed packet is ignored; stops when dropped.
//! *Never does:* recurse, or serve anything but class IN queries.
//! *RFC:* 1035 section 4 (messages, TCP framing), 2308 section 2 (negative answers), 6891 (EDNS payload size).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record as WireRecord};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

pub use super::zone::{Behaviour, Record, Zone, reverse_name};
use super::zone::{key, wire_name};

/// The largest UDP answer without EDNS, in octets (RFC 1035 section 4.2.1).
const UDP_OCTETS: u16 = 512;
/// The largest UDP answer with EDNS, in octets.
const UDP_OCTETS_MAX: u16 = 4_096;
/// Ports that are tried until one is free for both UDP and TCP.
const BIND_ATTEMPTS_MAX: usize = 16;
/// Queries that are remembered one by one; then the oldest are forgotten.
const SEEN_MAX: usize = 4_096;
/// Where nothing stands, and records come from that nobody asked for.
const ELSEWHERE: &str = "elsewhere.example";
/// The time to live of such records, in seconds.
const UNASKED_TTL_SECONDS: u32 = 300;

/// A query as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The name, letter by letter, without the final dot.
    pub name: String,
    /// The type, as in a zone file: `TXT`.
    pub record_type: String,
    /// Over UDP, not over TCP.
    pub over_udp: bool,
    /// The payload that the client takes over UDP by its OPT record, in octets (RFC 6891).
    pub payload_octets: Option<u16>,
    /// From where.
    pub client: SocketAddr,
    /// The query's id.
    pub id: u16,
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
        let shared = Arc::new(Shared { zone: Mutex::new(zone), queries: Mutex::default(), seen: Mutex::default() });
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

    /// The latest queries, the oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).iter().cloned().collect()
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
    seen: Mutex<VecDeque<Seen>>,
}

/// An answer, what is sent before it, and how long to wait before sending it.
struct Answer {
    forged: Vec<Vec<u8>>,
    octets: Vec<u8>,
    delay: Duration,
}

impl Shared {
    /// The answer to a query; `None` where there shall be none.
    fn respond(&self, octets: &[u8], client: SocketAddr, over_udp: bool) -> Option<Answer> {
        let query = Message::from_vec(octets).ok()?;
        let [question] = query.queries.as_slice() else { return None };
        if query.metadata.message_type != MessageType::Query || query.metadata.op_code != OpCode::Query {
            return None;
        }
        let written = super::name_text(question.name());
        let name = key(&written);
        let asked = self.note(&query, written, client, over_udp);
        let zone = lock(&self.zone);
        let behaviour = zone.behaviour(&name);
        let response = match behaviour {
            Some(Behaviour::Silent) => return None,
            Some(Behaviour::DropFirst(count)) if asked <= count => return None,
            Some(Behaviour::ServFail) => fail(&query, ResponseCode::ServFail),
            Some(Behaviour::Refused) => fail(&query, ResponseCode::Refused),
            Some(Behaviour::NxDomain) => negative(&query, zone.negative_ttl(&name), true),
            Some(Behaviour::NoData) => negative(&query, zone.negative_ttl(&name), false),
            Some(Behaviour::Referral) => referral(&query),
            Some(Behaviour::Truncated) if over_udp => truncated(&query),
            _ => reply(&zone, &query, question, &name),
        };
        drop(zone);
        let octets = mistreated(response, behaviour, over_udp).to_vec().ok()?;
        let octets = match behaviour {
            Some(Behaviour::Garbage) => [&query.metadata.id.to_be_bytes()[..], &[0xFF; 40]].concat(),
            _ if over_udp && octets.len() > usize::from(payload_octets(&query)) => truncated(&query).to_vec().ok()?,
            _ => octets,
        };
        let forged = match behaviour {
            Some(Behaviour::Forged) if over_udp => forgeries(&query, question),
            _ => Vec::new(),
        };
        let delay = match behaviour {
            Some(Behaviour::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        Some(Answer { forged, octets, delay })
    }

    /// Remembers a query. How often has this name been asked for?
    fn note(&self, query: &Message, name: String, client: SocketAddr, over_udp: bool) -> usize {
        let mut queries = lock(&self.queries);
        let asked = queries.entry(key(&name)).or_default();
        *asked = asked.saturating_add(1);
        let mut seen = lock(&self.seen);
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        let record_type = query.queries.first().map(|question| question.query_type().to_string()).unwrap_or_default();
        let payload_octets = query.edns.as_ref().map(Edns::max_payload);
        seen.push_back(Seen { name, record_type, over_udp, payload_octets, client, id: query.metadata.id });
        *asked
    }
}

/// The response, bent in ways that leave it legible.
fn mistreated(mut response: Message, behaviour: Option<Behaviour>, over_udp: bool) -> Message {
    match behaviour {
        Some(Behaviour::NoSoa) => response.authorities.clear(),
        Some(Behaviour::CaseFolded) if over_udp => {
            for question in &mut response.queries {
                question.set_name(question.name().to_lowercase());
            }
        }
        Some(Behaviour::Unasked) => {
            response.add_answers(unasked());
        }
        _ => {}
    }
    response
}

/// A record of another name, of the type that is asked for most.
fn unasked() -> Option<WireRecord> {
    let data = RData::TXT(TXT::from_bytes(vec![b"forged"]));
    Some(WireRecord::from_rdata(wire_name(ELSEWHERE)?, UNASKED_TTL_SECONDS, data))
}

/// What somebody sends who cannot see the query: another id, and another question.
fn forgeries(query: &Message, question: &Query) -> Vec<Vec<u8>> {
    let data = || RData::TXT(TXT::from_bytes(vec![b"forged"]));
    let mut other_id = header(query);
    other_id.metadata.id = query.metadata.id.wrapping_add(1);
    other_id.add_answer(WireRecord::from_rdata(question.name().clone(), UNASKED_TTL_SECONDS, data()));
    let mut other_question = header(query);
    if let Some(name) = wire_name(ELSEWHERE) {
        other_question.queries = vec![Query::query(name, question.query_type())];
    }
    other_question.add_answer(WireRecord::from_rdata(question.name().clone(), UNASKED_TTL_SECONDS, data()));
    [other_id, other_question].iter().filter_map(|message| message.to_vec().ok()).collect()
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

fn fail(query: &Message, code: ResponseCode) -> Message {
    let mut response = header(query);
    response.metadata.response_code = code;
    response
}

/// RFC 2308 section 2.
fn negative(query: &Message, ttl_seconds: u32, name_error: bool) -> Message {
    let mut response = header(query);
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl_seconds);
    response.add_authority(WireRecord::from_rdata(Name::root(), ttl_seconds, RData::SOA(soa)));
    if name_error {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    response
}

/// RFC 1034 section 4.3.2, step 3b.
fn referral(query: &Message) -> Message {
    let mut response = header(query);
    response.metadata.authoritative = false;
    if let Some(name) = wire_name(ELSEWHERE) {
        response.add_authority(WireRecord::from_rdata(Name::root(), UNASKED_TTL_SECONDS, RData::NS(NS(name))));
    }
    response
}

fn truncated(query: &Message) -> Message {
    let mut response = header(query);
    response.metadata.truncation = true;
    response
}

fn reply(zone: &Zone, query: &Message, question: &Query, name: &str) -> Message {
    let (answers, exists) = zone.answer(name, question.query_type());
    let found = answers.iter().any(|record| record.record_type() == question.query_type());
    let mut response = match found {
        true => header(query),
        false => negative(query, zone.negative_ttl(name), !exists),
    };
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
        let Some(answer) = shared.respond(&buffer[..octets], client, true) else { continue };
        for forged in &answer.forged {
            let _ = socket.send_to(forged, client).await;
        }
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
        let Ok((stream, client)) = listener.accept().await else { return };
        clients.spawn(serve_stream(stream, client, shared.clone()));
    }
}

/// Each message has its length before it, in two octets (RFC 1035 section 4.2.2).
async fn serve_stream(mut stream: TcpStream, client: SocketAddr, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(answer) = shared.respond(&query, client, false) else { continue };
        tokio::time::sleep(answer.delay).await;
        stream.write_u16(u16::try_from(answer.octets.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&answer.octets).await?;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;

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
}
