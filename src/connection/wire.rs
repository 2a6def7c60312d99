//! The wire: one client's socket, in clear or under TLS, with its deadlines and queues.
//!
//! *Does:* queues replies and flushes them before it waits; reads octets into the session's [`Input`]; negotiates TLS; and
//! finds out whether the client has seen what was flushed ([`crate::delivery::ledger`]).
//! *Guarantees:* nothing waits without a deadline. Octets that came before STARTTLS never reach the session under TLS.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::Phase;
use super::deadlines::{Deadlines, Due, Progress};
use super::tls::{Acceptor, Records};
use crate::envelope::Tls;
use crate::smtp::{Input, Reply};

/// After the last reply: how long, in milliseconds, the client's remaining octets are read away, so that no reset
/// overtakes that reply.
pub const LINGER_MILLIS_MAX: u64 = 2_000;
/// How long, in milliseconds, a client may take to end its TCP stream after it has ended TLS.
pub const END_MILLIS_MAX: u64 = 5_000;
/// Octets that a client may send ahead of a final reply before that reply stops counting as provably seen.
pub const AHEAD_OCTETS_MAX: usize = 65_536;
/// Replies that wait for the next flush, in octets, before they are sent at once: a client that pipelines commands and
/// reads nothing gets no more of our memory.
const QUEUE_OCTETS_MAX: usize = 16_384;
/// Reads before a final reply: empty TLS records, say, could go on for ever.
const DRAIN_READS_MAX: usize = 64;
/// Octets read at once.
const CHUNK_OCTETS: usize = 32_768;

/// A socket in clear or under TLS.
#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<Records>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0.tcp(),
        }
    }

    /// Has a TLS record arrived in part?
    fn within_record(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.get_ref().0.within_record(),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.write_all(octets).await,
            Transport::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.shutdown().await,
            Transport::Tls(stream) => stream.shutdown().await,
        }
    }
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The client ended its stream.
    EndOfStream,
    /// The connection broke.
    Reset,
    /// A deadline passed, and the client has not sent what it owes: it may be told.
    Timeout,
    /// The client does not read what we send.
    Deaf,
    /// The service ends: the client may be told.
    Over,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Under TLS: an end of stream without close_notify, as many clients end.
            io::ErrorKind::UnexpectedEof => Stop::EndOfStream,
            _ => Stop::Reset,
        }
    }
}

/// When mail data began, and how many octets had arrived before it.
#[derive(Debug, Clone, Copy)]
pub struct DataBegin {
    since: Instant,
    received: u64,
}

/// One client's octets, both ways.
#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    queue: Vec<u8>,
    deadlines: Deadlines,
    phase: watch::Receiver<Phase>,
    /// The limit that the last [`Stop::Timeout`] was about.
    overdue: &'static str,
    /// What arrived and waits for the session.
    pub input: Input,
}

impl Wire {
    /// Takes over a connection in clear.
    pub(super) fn new(stream: TcpStream, deadlines: Deadlines, phase: watch::Receiver<Phase>) -> Self {
        Wire::over(Transport::Plain(stream), deadlines, phase)
    }

    fn over(transport: Transport, deadlines: Deadlines, phase: watch::Receiver<Phase>) -> Self {
        Wire { transport, queue: Vec::new(), deadlines, phase, overdue: "timeout", input: Input::default() }
    }

    /// Queues a reply. It goes out with the next [`Wire::flush`].
    pub fn queue(&mut self, reply: &Reply) {
        reply.write_to(&mut self.queue);
    }

    /// Sends what is queued. The next command line has all of its time then.
    pub async fn flush(&mut self) -> Result<(), Stop> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let queue = std::mem::take(&mut self.queue);
        let due = self.deadlines.flush(Instant::now());
        let written = timeout_at(due, self.transport.write_all(&queue)).await;
        written.map_err(|_| Stop::Deaf)??;
        self.deadlines.on_reply(Instant::now());
        Ok(())
    }

    /// Sends what is queued if it is much.
    pub async fn flush_if_much(&mut self) -> Result<(), Stop> {
        match self.queue.len() > QUEUE_OCTETS_MAX {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Waits for octets of a command line, and adds them to the input. All of the line has to come in the time of one.
    /// A service that is so far waits no longer.
    pub async fn read_command(&mut self, end: Phase) -> Result<(), Stop> {
        self.read_until(self.deadlines.command(), end).await
    }

    /// Mail data is to come now. See [`Wire::read_data`].
    pub fn expect_data(&self) -> DataBegin {
        DataBegin { since: Instant::now(), received: self.input.received() }
    }

    /// Waits for octets of mail data, and adds them to the input. They may neither fail to come, nor come too slowly on
    /// average since the beginning.
    pub async fn read_data(&mut self, begin: &DataBegin) -> Result<(), Stop> {
        let octets = self.input.received().saturating_sub(begin.received);
        let progress = Progress { since: begin.since, octets };
        self.read_until(self.deadlines.data(Instant::now(), progress), Phase::Over).await
    }

    /// The limit that [`Stop::Timeout`] was about, for the log.
    pub fn overdue(&self) -> &'static str {
        self.overdue
    }

    /// Reads until then, or until the service is so far.
    async fn read_until(&mut self, due: Due, end: Phase) -> Result<(), Stop> {
        let Wire { transport, input, phase, .. } = self;
        if *phase.borrow() >= end {
            return Err(Stop::Over);
        }
        let read = tokio::select! {
            // First: where octets wait nobody has to wait for the service.
            biased;
            read = timeout_at(due.at, poll_fn(|cx| poll_into(transport, input, cx))) => read,
            _ = phase.wait_for(|phase| *phase >= end) => return Err(Stop::Over),
        };
        match read {
            Ok(Ok(0)) => Err(Stop::EndOfStream),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.overdue = due.limit;
                Err(Stop::Timeout)
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        let Wire { transport, input, .. } = self;
        poll_fn(|cx| poll_into(transport, input, cx)).await
    }

    /// Reads what is there until the socket would block, before a final reply is flushed: what arrives later, a command or
    /// the end of the stream, can be an answer to that reply. False if it never can: the stream has ended already, very
    /// much was sent ahead, or a TLS record has arrived in part.
    pub async fn drain(&mut self) -> bool {
        for _ in 0..DRAIN_READS_MAX {
            let Wire { transport, input, .. } = self;
            // Unconstrained: a spent scheduling budget must not look like an empty socket.
            let read = tokio::task::unconstrained(poll_fn(|cx| Poll::Ready(poll_into(transport, input, cx))));
            match read.await {
                Poll::Ready(Ok(1..)) if input.pending().len() < AHEAD_OCTETS_MAX => continue,
                Poll::Ready(_) => return false,
                // TLS has nothing left in its buffers. The kernel is asked itself: the runtime may not know yet that
                // octets have arrived.
                Poll::Pending => {}
            }
            match peek(transport.tcp()) {
                Err(Errno::AGAIN) => return !transport.within_record(),
                Ok(1..) if transport.tcp().readable().await.is_ok() => {}
                Ok(_) | Err(_) => return false,
            }
        }
        false
    }

    /// The client's end of stream has been read: had it received every octet that was flushed?
    pub async fn all_acknowledged(&self) -> bool {
        let tcp = self.transport.tcp();
        // A close_notify alone is not the end of the TCP stream, which follows it; a reset is an error here.
        let end = timeout(Duration::from_millis(END_MILLIS_MAX), tcp.peek(&mut [0])).await;
        let ended = matches!(end, Ok(Ok(0)));
        let intact = socket2::SockRef::from(tcp).take_error().is_ok_and(|error| error.is_none());
        ended && intact && unacknowledged_octets(tcp).is_ok_and(|octets| octets == 0)
    }

    /// Negotiates TLS. Octets that already wait end the connection: they were sent in clear (CVE-2011-0411).
    pub async fn start_tls(self, acceptor: &Acceptor) -> Result<(Wire, Tls), Stop> {
        let Transport::Plain(stream) = self.transport else { return Err(Stop::Reset) };
        if !self.input.is_empty() {
            return Err(Stop::Reset);
        }
        let handshake = timeout_at(self.deadlines.handshake(Instant::now()), acceptor.accept(stream)).await;
        let stream = handshake.map_err(|_| Stop::Timeout)??;
        let session = stream.get_ref().1;
        let tls = Tls {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
                other => format!("{other:?}"),
            },
            cipher: session.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite())).unwrap_or_default(),
        };
        Ok((Wire::over(Transport::Tls(Box::new(stream)), self.deadlines, self.phase), tls))
    }

    /// Ends the connection from our side. What the client still sends is read away for a moment: a reset, which closing
    /// with unread octets would cause, could overtake the last reply.
    pub async fn close(mut self) {
        let end = async {
            if self.transport.shutdown().await.is_err() {
                return;
            }
            while matches!(self.read_some().await, Ok(1..)) {
                self.input = Input::default();
            }
        };
        // Out of time or not: the socket is closed now.
        let _ = timeout(Duration::from_millis(LINGER_MILLIS_MAX), end).await;
    }
}

/// How many octets wait in the kernel (one, if there are more); 0 at the end of the stream.
fn peek(socket: &TcpStream) -> rustix::io::Result<usize> {
    let mut peeked = [0];
    rustix::net::recv(socket, &mut peeked[..], RecvFlags::PEEK | RecvFlags::DONTWAIT).map(|(_, octets)| octets)
}

/// Reads once, through a buffer on the stack: a connection that waits holds none, in the middle of mail data neither.
fn poll_into(transport: &mut Transport, input: &mut Input, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut chunk = [MaybeUninit::uninit(); CHUNK_OCTETS];
    let mut buf = ReadBuf::uninit(&mut chunk);
    let read = transport.poll_read(cx, &mut buf);
    if read.is_pending() {
        input.release_memory();
    }
    read.map_ok(|()| {
        input.extend(buf.filled());
        buf.filled().len()
    })
}

/// Octets that were written to the socket and that the peer has not acknowledged.
fn unacknowledged_octets(socket: impl AsFd) -> io::Result<i32> {
    /// `SIOCOUTQ` of tcp(7), which is `TIOCOUTQ`.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: SIOCOUTQ (tcp(7)) stores one C int through its argument and does nothing else, which is what `Getter` with
    // an `i32` output declares; the descriptor is borrowed for the call.
    let octets = unsafe {
        let getter = rustix::ioctl::Getter::<SIOCOUTQ, i32>::new();
        rustix::ioctl::ioctl(socket, getter)
    };
    octets.map_err(io::Error::from)
}
