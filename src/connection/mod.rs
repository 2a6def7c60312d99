//! One client: drives the [`Session`] with octets from the `Wire`, and asks [`receive`] what the session asks.
//!
//! *Guarantees:* replies queue and are flushed before anything waits (that is PIPELINING, RFC 2920). A final reply is
//! flushed at once, and the ledger hears of it when, and only when, the client has provably seen it
//! ([`crate::delivery::ledger`]). A panic in a session is a 421 for that session alone. Nothing waits without a deadline
//! ([`deadlines`]), and who comes through a proxy is counted, looked up and recorded as who it is ([`proxy`]).
//! *Never does:* parse, or decide.

mod certificates;
mod data;
pub mod deadlines;
mod limits;
mod opening;
pub mod proxy;
mod tls;
mod wire;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::config;
use crate::envelope::Client;
use crate::journal;
use crate::receive::{self, Incoming, Receipt, Receiver, Transaction, Visit};
use crate::smtp::{NewClient, Session, Settings, Start, Step, XAddress, reply};
use opening::{Failed, Opened, open};
use wire::{Stop, Wire};

pub use certificates::Certificates;
pub use limits::{Full, Limiter, Permit};
pub use tls::Acceptor;

/// What all connections share.
#[derive(Clone)]
pub struct Shared {
    /// The mail path.
    pub receiver: Arc<Receiver>,
    /// What sessions announce and enforce.
    pub settings: Arc<Settings>,
    /// For STARTTLS and implicit TLS.
    pub tls: Option<Acceptor>,
    /// `[listen]`: which peers speak for others.
    pub listen: Arc<config::Listen>,
    /// `[limits]`: how long a session and its data may take.
    pub limits: Arc<config::Limits>,
    /// Counts the connections.
    pub limiter: Arc<Limiter>,
    /// How far the service is.
    pub phase: watch::Receiver<Phase>,
}

/// How far the service is. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It stops: sessions without a transaction end.
    Stopping,
    /// All sessions end that wait for their client.
    Over,
}

impl Shared {
    /// May this peer be served? One that speaks for others counts in all only, until it has said for whom.
    pub fn admit(&self, peer: IpAddr) -> Result<Permit, Full> {
        let is_xclient = || self.listen.xclient_from.iter().any(|network| network.contains(peer));
        match self.is_proxy(peer) || is_xclient() {
            true => self.limiter.admit_proxy(),
            false => self.limiter.admit(peer.to_canonical()),
        }
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        self.listen.proxy_protocol_from.iter().any(|network| network.contains(peer))
    }
}

/// Serves one client to its end. `implicit_tls`: TLS begins at once, before the banner (RFC 8314 section 3.3). The permit
/// is what [`Shared::admit`] gave for this peer.
pub async fn serve(stream: TcpStream, peer: SocketAddr, implicit_tls: bool, permit: Permit, shared: Shared) {
    let started = Instant::now();
    let mut phase = shared.phase.clone();
    // In a box: an idle connection does not hold what its beginning needed.
    let opened = Box::pin(async {
        tokio::select! {
            // First: who has to wait for nothing here hears 421 from the session.
            biased;
            opened = open(stream, peer, implicit_tls, permit, &shared) => Some(opened),
            _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => None,
        }
    });
    let (mut wire, mut connection) = match opened.await {
        Some(Ok(Opened { wire, client, permit })) => (wire, Connection::new(client, permit, shared)),
        Some(Err(Failed { client, end })) => return log_unopened(client, end, started),
        None => {
            let client = Client { address: peer.ip().to_canonical(), port: peer.port(), tls: None };
            return log_unopened(client, "shutdown", started);
        }
    };
    // The client that counts: a balancer in this list opens it to nobody behind it.
    let client = connection.visit.client.address;
    connection.speaks_for_another = connection.shared.is_proxy(peer.ip());
    let xclient = connection.shared.listen.xclient_from.iter().any(|network| network.contains(client));
    let tls = connection.visit.client.tls.is_some();
    let mut session = Session::new(connection.shared.settings.clone(), Start { tls, xclient });
    wire.queue(&session.banner());
    let end = loop {
        let conversed = survive(pin!(connection.converse(&mut wire, &mut session))).await;
        match conversed {
            Ok(Ok(acceptor)) => match Box::pin(wire.start_tls(&acceptor)).await {
                Ok((secured, tls)) => {
                    wire = secured;
                    // Who completes the handshake has read the 220 to STARTTLS, and what came before it.
                    connection.unseen.release(&connection.shared.receiver).await;
                    connection.visit.on_tls(tls);
                    session.on_tls();
                }
                Err(_) => {
                    connection.abandon();
                    return connection.log("tls_handshake", started);
                }
            },
            Ok(Err(End::Stopped(Stop::Timeout))) => break connection.time_out(&mut wire).await,
            Ok(Err(End::Stopped(Stop::Over))) => break connection.shut_down(&mut wire).await,
            Ok(Err(end)) => break end,
            Err(Panicked) => break connection.apologise(&mut wire).await,
        }
    };
    // A proxy's acknowledgements and the end of its stream say nothing of what its client has received.
    if end == End::Stopped(Stop::EndOfStream) && !connection.speaks_for_another {
        connection.unseen.on_end(&wire, &connection.shared.receiver).await;
    }
    connection.abandon();
    connection.log(end.name(), started);
    if matches!(end, End::Closed(_)) {
        wire.close().await;
    }
}

/// One client's state beside its session and its wire.
struct Connection {
    shared: Shared,
    visit: Visit,
    /// Who is at the other end, or what its proxy said by the PROXY protocol; XCLIENT does not change it.
    first: SocketAddr,
    /// The other end is a proxy, and the client somewhere behind it.
    speaks_for_another: bool,
    permit: Permit,
    transaction: Option<Transaction>,
    /// The chunks of the open transaction.
    incoming: Option<Incoming>,
    unseen: Unseen,
    commands: u64,
    transactions: u64,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By us, after a last reply.
    Closed(&'static str),
    /// By the client, or by time.
    Stopped(Stop),
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Closed(why) => why,
            End::Stopped(Stop::EndOfStream) => "end_of_stream",
            End::Stopped(Stop::Reset) => "reset",
            End::Stopped(Stop::Timeout) => "timeout",
            End::Stopped(Stop::Over) => "shutdown",
            End::Stopped(Stop::Deaf) => "reply_not_read",
        }
    }
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        End::Stopped(stop)
    }
}

impl Connection {
    fn new(client: Client, permit: Permit, shared: Shared) -> Self {
        let first = SocketAddr::new(client.address, client.port);
        let visit = receive::client(&shared.receiver, journal::new_id(), client);
        Connection {
            shared,
            visit,
            first,
            speaks_for_another: false,
            permit,
            transaction: None,
            incoming: None,
            unseen: Unseen::default(),
            commands: 0,
            transactions: 0,
        }
    }

    /// The client is another one from here on (XCLIENT): it is counted, looked up, judged and recorded as that one. Where
    /// a limit of its address or network is reached, it hears 421, and the connection ends.
    async fn turn_into(&mut self, wire: &mut Wire, client: SocketAddr) -> Result<(), End> {
        let address = client.ip().to_canonical();
        if let Err(full) = self.permit.count_for(address) {
            wire.queue(&reply::too_many_connections(&self.shared.settings.hostname, full.text()));
            wire.flush().await?;
            return Err(End::Closed(full.name()));
        }
        let client = Client { address, port: client.port(), tls: self.visit.client.tls.clone() };
        self.visit = receive::client(&self.shared.receiver, self.visit.id, client);
        Ok(())
    }

    /// Commands and replies, until TLS is to begin (`Ok`) or the connection ends.
    async fn converse(&mut self, wire: &mut Wire, session: &mut Session) -> Result<Acceptor, End> {
        let mut begun = None;
        loop {
            if session.envelope().is_none() {
                self.abandon();
            }
            wire.flush_if_much().await?;
            // Where the command begins, though its answer may have to wait for the end of a refused chunk.
            let from = *begun.get_or_insert(wire.input.position());
            let Some(step) = session.step(&mut wire.input) else {
                self.wait(wire, session).await?;
                continue;
            };
            begun = None;
            self.commands += 1;
            self.unseen.on_command(from, &self.shared.receiver).await;
            match step {
                Step::Reply(reply) => wire.queue(&reply),
                Step::Mail(mail) => {
                    let (transaction, reply) = receive::sender(&self.shared.receiver, &self.visit, &mail);
                    let opened = reply.is_positive().then_some(transaction);
                    wire.queue(&mail.answer(reply));
                    self.abandon();
                    self.transaction = opened;
                }
                Step::Rcpt(rcpt) => {
                    let transaction = self.transaction.as_mut().ok_or(End::Closed("internal_error"))?;
                    let reply = receive::recipient(&self.shared.receiver, transaction, &rcpt);
                    wire.queue(&rcpt.answer(reply));
                }
                Step::Data(data) => self.data(wire, data).await?,
                Step::Chunk(chunk) => self.chunk(wire, chunk).await?,
                Step::Client(client) => self.start_over(wire, client).await?,
                Step::StartTls(reply) => {
                    wire.queue(&reply);
                    wire.flush().await?;
                    return self.shared.tls.clone().ok_or(End::Closed("no_tls"));
                }
                Step::Close(reply, why) => {
                    wire.queue(&reply);
                    wire.flush().await?;
                    return Err(End::Closed(why));
                }
            }
        }
    }

    /// Flushes, then waits for octets. A service that stops ends a session that has no transaction open.
    async fn wait(&mut self, wire: &mut Wire, session: &mut Session) -> Result<(), End> {
        wire.flush().await?;
        if session.drain(&mut wire.input) {
            return Ok(data::read_away(wire, session).await?);
        }
        let end = if session.envelope().is_none() { Phase::Stopping } else { Phase::Over };
        Ok(wire.read_command(end).await?)
    }

    /// XCLIENT: a trusted proxy speaks for this client from now on. Its record is kept under the same id.
    async fn start_over(&mut self, wire: &mut Wire, new: NewClient<'_>) -> Result<(), End> {
        let before = &self.visit.client;
        let (address, port) = match new.address() {
            XAddress::NotSaid => (before.address, before.port),
            XAddress::Unavailable => (self.first.ip(), self.first.port()),
            XAddress::Is(address) => (address, 0),
        };
        let client = SocketAddr::new(address, new.port().unwrap_or(port));
        tracing::info!(target: "mxkeep::connection", id = %self.visit.id, proxy = %self.first.ip(), client = %address, "xclient");
        self.abandon();
        self.speaks_for_another = true;
        self.turn_into(wire, client).await?;
        let banner = new.banner();
        wire.queue(&new.answer(banner));
        Ok(())
    }

    /// A transaction that is open never came to its end.
    fn abandon(&mut self) {
        self.incoming = None;
        if let Some(transaction) = self.transaction.take() {
            receive::abandoned(transaction);
        }
    }

    /// A deadline passed: 421. Who does not read that either is not waited for.
    async fn time_out(&self, wire: &mut Wire) -> End {
        wire.queue(&reply::timeout(&self.shared.settings.hostname));
        match wire.flush().await {
            Ok(()) => End::Closed(wire.overdue()),
            Err(stop) => stop.into(),
        }
    }

    /// The service stops: 421.
    async fn shut_down(&self, wire: &mut Wire) -> End {
        wire.queue(&reply::shutting_down(&self.shared.settings.hostname));
        match wire.flush().await {
            Ok(()) => End::Closed("shutdown"),
            Err(stop) => stop.into(),
        }
    }

    /// Something of ours broke: 421, for this session alone. Nothing was accepted that was not answered before.
    async fn apologise(&self, wire: &mut Wire) -> End {
        tracing::error!(connection = %self.visit.id, client = %self.visit.client.address, "a session panicked: please report the message above");
        wire.queue(&reply::internal_error(&self.shared.settings.hostname));
        match wire.flush().await {
            Ok(()) => End::Closed("panic"),
            Err(stop) => stop.into(),
        }
    }

    fn log(&self, end: &'static str, started: Instant) {
        let record = journal::Connection {
            id: self.visit.id,
            client: self.visit.client.clone(),
            commands: self.commands,
            transactions: self.transactions,
            end,
            duration: started.elapsed(),
        };
        record.log();
    }
}

/// A connection ended before its session began.
fn log_unopened(client: Client, end: &'static str, started: Instant) {
    let (id, duration) = (journal::new_id(), started.elapsed());
    journal::Connection { id, client, commands: 0, transactions: 0, end, duration }.log();
}

/// A future that panicked instead of ending.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

/// Runs a future to its end, or to its panic: that must not take along what the caller still holds.
/// By reference: a future that is passed by value takes its room twice, in each idle connection.
async fn survive<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    // What a panic leaves half done in session and transaction is never looked at again.
    poll_fn(|cx| match panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Deliveries whose reply was flushed, but is not provably seen yet.
#[derive(Default)]
struct Unseen {
    receipt: Receipt,
    /// What the client sends at this octet of the input, or behind it, it sent after the reply had gone out: a command, or
    /// the end of its stream. `None` if that cannot be told, since it had ended its stream, or sent very much, before.
    from: Option<u64>,
}

impl Unseen {
    /// A reply without deliveries leaves what is known of those before it as it is.
    fn add(&mut self, receipt: Receipt, from: Option<u64>) {
        if !receipt.is_empty() {
            self.receipt.extend(receipt);
            self.from = from;
        }
    }

    /// A command began at this octet of the input.
    async fn on_command(&mut self, at: u64, receiver: &Arc<Receiver>) {
        if self.from.is_some_and(|from| at >= from) {
            self.release(receiver).await;
        }
    }

    /// The client ended its stream: after the reply, and having received all of it?
    async fn on_end(&mut self, wire: &Wire, receiver: &Arc<Receiver>) {
        if self.from.is_some() && wire.all_acknowledged().await {
            self.release(receiver).await;
        }
    }

    async fn release(&mut self, receiver: &Arc<Receiver>) {
        let Unseen { receipt, .. } = std::mem::take(self);
        if !receipt.is_empty() {
            receive::seen(receiver, receipt).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_future_and_nothing_else() {
        let waiting = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(survive(pin!(waiting)).await, Ok(7));
        let mut queued = vec!["250"];
        let broken = async {
            tokio::task::yield_now().await;
            queued.clear();
            assert!(!queued.is_empty(), "on purpose: this message belongs to a test");
        };
        assert_eq!(survive(pin!(broken)).await, Err::<(), _>(Panicked));
        queued.push("421");
        assert_eq!(queued, ["421"]);
    }
}
