//! The loop that accepts at one door, and what becomes of a new connection.
//!
//! *Guarantees:* no error of accept(2) ends the service. While descriptors are short clients wait in the kernel, and are
//! served when there are some again. IPv4-mapped IPv6 addresses are unmapped. A door that closes takes those with it who
//! had connected before; one that the service manager keeps open leaves them to the next process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, net};

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::doors::{BACKLOG_CONNECTIONS_MAX, Kind, Listening};
use super::generation::House;
use crate::connection;
use crate::journal::Counters;
use crate::smtp::reply;

/// After a failed accept: the pause before the next one, in milliseconds.
const ACCEPT_RETRY_MILLIS: u64 = 100;
/// A failing accept is logged once in so many seconds.
const TROUBLE_LOG_SECONDS: u64 = 1;

/// Held by each session; when the last of them is dropped, all sessions have ended.
pub(super) type SessionToken = mpsc::Sender<()>;

/// Accepts at a door until it is closed.
pub(super) async fn accept(
    (listening, listener): (Listening, Arc<TcpListener>),
    mut closed: oneshot::Receiver<()>,
    house: Arc<House>,
    sessions: SessionToken,
) {
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut closed => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, listening, &house, &sessions),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                trouble.log(&error);
                let pause = Duration::from_millis(ACCEPT_RETRY_MILLIS);
                if tokio::time::timeout(pause, &mut closed).await.is_ok() {
                    break;
                }
            }
        }
    }
    if !listening.inherited {
        take_the_waiting(&listener, |stream, peer| admit(stream, peer, listening, &house, &sessions));
    }
}

/// Clients that connected before the door is closed: closing it would reset them.
fn take_the_waiting(listener: &TcpListener, mut admit: impl FnMut(TcpStream, SocketAddr)) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No more than could have waited: while the door is open others come.
    for _ in 0..=BACKLOG_CONNECTIONS_MAX {
        // The kernel is asked itself: the runtime may not know yet who is there.
        let Ok((socket, Some(peer))) = rustix::net::acceptfrom_with(listener, flags) else { return };
        let stream = TcpStream::from_std(net::TcpStream::from(socket));
        if let (Ok(stream), Ok(peer)) = (stream, SocketAddr::try_from(peer)) {
            admit(stream, peer);
        }
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2): to be taken like EAGAIN).
fn is_of_one_connection(error: &io::Error) -> bool {
    const GONE: [Errno; 11] = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PERM,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    GONE.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Says that accepting fails, and not ten times a second.
#[derive(Default)]
struct Trouble {
    logged: Option<Instant>,
    held_back: u64,
}

impl Trouble {
    fn log(&mut self, error: &io::Error) {
        let recently = |logged: Instant| logged.elapsed() < Duration::from_secs(TROUBLE_LOG_SECONDS);
        if self.logged.is_some_and(recently) {
            self.held_back += 1;
            return;
        }
        let held_back = std::mem::take(&mut self.held_back);
        self.logged = Some(Instant::now());
        tracing::error!(
            held_back,
            "cannot accept connections: {error}. Clients wait meanwhile; if descriptors ran out, raise LimitNOFILE"
        );
    }
}

/// Serves a client in a task of its own, or refuses it with 421 where a limit is reached.
fn admit(stream: TcpStream, peer: SocketAddr, at: Listening, house: &Arc<House>, sessions: &SessionToken) {
    let shared = house.current().shared.clone();
    // Replies are whole when they are flushed: waiting for more to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let permit = match shared.admit(peer.ip()) {
        Ok(permit) => permit,
        Err(full) => {
            let client = peer.ip().to_canonical();
            tracing::info!(target: "mxkeep::connection", %client, end = full.name(), "refused");
            // Who expects TLS could not read a reply.
            if at.kind == Kind::Smtps {
                return;
            }
            let mut wire = Vec::new();
            reply::too_many_connections(&shared.settings.hostname, full.text()).write_to(&mut wire);
            // Best effort: a fresh socket has room for one line, and nobody waits for a client that is not served. The
            // kernel is asked itself: the runtime does not know yet that the socket takes octets.
            let _ = rustix::net::send(&stream, &wire, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            return;
        }
    };
    let session = sessions.clone();
    tokio::spawn(async move {
        let _open = OpenConnection::count(shared.receiver.counters());
        connection::serve(stream, peer, at.kind == Kind::Smtps, permit, shared).await;
        drop(session);
    });
}

/// Counts a connection as open while it lives, however it ends.
struct OpenConnection(Arc<Counters>);

impl OpenConnection {
    fn count(counters: &Arc<Counters>) -> Self {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        counters.connections_open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(counters.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}
