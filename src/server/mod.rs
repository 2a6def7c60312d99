//! The service: listeners, limits, start and stop.
//!
//! *Does:* opens what the mail path needs (store, ledger, rules, resolver, certificate), listens, accepts, and hands each
//! client to [`connection::serve`].
//! *Guarantees:* a server alone opens the store. Recovery is finished before the first client is served. IPv4-mapped IPv6
//! addresses are unmapped at accept. An accept error (no descriptors left, say) never ends the service. When it stops,
//! idle sessions get 421 and transactions have [`SHUTDOWN_SECONDS_MAX`] to end.
//! *Fails with:* [`StartError`], which says what to do, before anybody was answered.

mod limits;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::{Domain as Family, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{self, Config};
use crate::connection::{self, Acceptor, Shared};
use crate::envelope::Client;
use crate::receive::{Receiver, SetUpError};
use crate::smtp::{Settings, reply};
use limits::Limiter;

/// How long transactions may go on when the service stops, in seconds.
pub const SHUTDOWN_SECONDS_MAX: u64 = 30;
/// Connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// How often the state is swept, in seconds.
const SWEEP_SECONDS: u64 = 3600;
/// After a failed accept: the pause before the next one, in milliseconds.
const ACCEPT_RETRY_MILLIS: u64 = 100;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}. {}", listen_hint(.error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Certificate or key.
    #[error("{0}")]
    Certificate(config::Problem),
    /// The TLS library refuses the certificate or its own settings.
    #[error("cannot set up TLS: {0}. See tls.certificate and tls.key.")]
    Tls(rustls::Error),
    /// What the mail path needs.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
}

impl StartError {
    /// Is it the configuration, or a file that it names, that has to be mended first?
    pub fn is_configuration(&self) -> bool {
        match self {
            StartError::Certificate(_) | StartError::Tls(_) => true,
            StartError::SetUp(error) => matches!(error, SetUpError::Rules(_) | SetUpError::Dns(_)),
            StartError::Listen { .. } => false,
        }
    }
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need root or the capability CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep, or AmbientCapabilities in the systemd unit)."
        }
        io::ErrorKind::AddrInUse => "Another program listens there (see `ss -ltnp`): stop it, or change listen.smtp.",
        io::ErrorKind::AddrNotAvailable => "This host does not have that address: change listen.smtp.",
        _ => "See listen.smtp.",
    }
}

/// A service that listens and does not accept yet.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    receiver: Arc<Receiver>,
    settings: Arc<Settings>,
    tls: Option<Acceptor>,
    xclient_from: Arc<[config::Network]>,
    limiter: Arc<Limiter>,
}

impl Server {
    /// Opens everything and listens. Blocks on recovery: nobody is served before it is done.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        let listeners = config.listen.smtp.iter().map(|address| listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let settings = Arc::new(Settings {
            hostname: config.hostname.to_string(),
            message_octets_max: config.limits.message_octets_max,
            recipients_max: config.limits.recipients_max,
            messages_max: config.limits.messages_max,
            refused_recipients_max: config.limits.refused_recipients_max,
            starttls: tls.is_some(),
            bad_commands_max: config.limits.bad_commands_max,
        });
        let xclient_from = config.listen.xclient_from.as_slice().into();
        let limiter = Arc::new(Limiter::new(config.limits.connections_max, config.limits.connections_per_client_max));
        let set_up = tokio::task::spawn_blocking(move || Receiver::set_up(config));
        let receiver = Arc::new(set_up.await.map_err(|_| SetUpError::Panicked)??);
        Ok(Server { listeners, addresses, receiver, settings, tls, xclient_from, limiter })
    }

    /// Where it listens, ports chosen by the system included.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The mail path, for the control socket.
    pub fn receiver(&self) -> &Arc<Receiver> {
        &self.receiver
    }

    /// Serves until `stop` becomes true, and lets transactions end.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let mut accepting = JoinSet::new();
        let (sessions, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        for listener in self.listeners {
            let shared = Shared {
                receiver: self.receiver.clone(),
                settings: self.settings.clone(),
                tls: self.tls.clone(),
                xclient_from: self.xclient_from.clone(),
                shutdown: stop.clone(),
            };
            accepting.spawn(accept(listener, shared, self.limiter.clone(), sessions.clone()));
        }
        drop(sessions);
        let sweeping = tokio::spawn(sweep(self.receiver));
        while accepting.join_next().await.is_some() {}
        // Every session holds a sender: the channel ends when the last of them does.
        let all_ended = ended.recv();
        if tokio::time::timeout(Duration::from_secs(SHUTDOWN_SECONDS_MAX), all_ended).await.is_err() {
            tracing::warn!(seconds = SHUTDOWN_SECONDS_MAX, "stopping although transactions are still open");
        }
        sweeping.abort();
    }
}

fn tls_acceptor(files: &config::TlsFiles) -> Result<Acceptor, StartError> {
    let certified = config::load_certificate(files).map_err(StartError::Certificate)?;
    Acceptor::new(certified).map_err(StartError::Tls)
}

/// Accepts until the service stops.
async fn accept(listener: TcpListener, shared: Shared, limiter: Arc<Limiter>, sessions: tokio::sync::mpsc::Sender<()>) {
    let mut stop = shared.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &shared, &limiter, &sessions),
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection; if descriptors ran out, raise LimitNOFILE");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MILLIS)).await;
            }
        }
    }
}

/// Has the state forget what is old, every hour.
async fn sweep(receiver: Arc<Receiver>) {
    loop {
        tokio::time::sleep(Duration::from_secs(SWEEP_SECONDS)).await;
        let receiver = receiver.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || receiver.sweep()).await {
            tracing::error!(%error, "the state was not swept");
        }
    }
}

/// Serves a client in a task of its own, or refuses it with 421 where a limit is reached.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
    limiter: &Arc<Limiter>,
    sessions: &tokio::sync::mpsc::Sender<()>,
) {
    let client = Client { address: peer.ip().to_canonical(), port: peer.port(), tls: None };
    // Replies are whole when they are flushed: waiting for more to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let permit = match limiter.admit(client.address) {
        Ok(permit) => permit,
        Err(full) => {
            tracing::info!(target: "mxkeep::connection", client = %client.address, end = full.name(), "refused");
            let mut wire = Vec::new();
            reply::too_many_connections(&shared.settings.hostname, full.text()).write_to(&mut wire);
            // Best effort: a fresh socket has room for one line, and nobody waits for a client that is not served. The
            // kernel is asked itself: the runtime does not know yet that the socket takes octets.
            let _ = rustix::net::send(&stream, &wire, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            return;
        }
    };
    let (shared, session) = (shared.clone(), sessions.clone());
    tokio::spawn(async move {
        let counters = shared.receiver.counters().clone();
        counters.connections.fetch_add(1, Ordering::Relaxed);
        counters.connections_open.fetch_add(1, Ordering::Relaxed);
        let _open = OpenConnection(counters);
        connection::serve(stream, client, shared).await;
        drop((permit, session));
    });
}

/// Counts a connection as open while it lives, however it ends.
struct OpenConnection(Arc<crate::journal::Counters>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens. `[::]` takes IPv4 as well, and falls back to it where IPv6 is off.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = bind(address).or_else(|error| match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() && is_ipv6_off(&error) => {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        _ => Err(error),
    });
    bound.map_err(|error| StartError::Listen { address, error })
}

fn is_ipv6_off(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Family::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
