//! Where clients come in: listening sockets, bound here or inherited from the service manager.
//!
//! *Guarantees:* a socket that two configurations have in common is never closed between them: no client is refused for a
//! reload. What is new is bound before anything old is given up. Inherited sockets are never bound, closed or changed.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain as Family, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::error::StartError;
use crate::config::{Config, Listen};

/// Connections that may wait in the kernel to be accepted. net.core.somaxconn is a bound too.
pub const BACKLOG_CONNECTIONS_MAX: i32 = 4096;

/// A listening socket that the service manager opened, and keeps when we end.
#[derive(Debug)]
pub struct Inherited {
    pub(super) kind: Kind,
    pub(super) socket: std::net::TcpListener,
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our banner in clear text; STARTTLS may follow.
    Smtp,
    /// A TLS handshake (RFC 8314 section 3.3).
    Smtps,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Smtp, Kind::Smtps];

    /// The key that says where.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Smtp => "listen.smtp",
            Kind::Smtps => "listen.smtps",
        }
    }

    fn addresses(self, listen: &Listen) -> &[SocketAddr] {
        match self {
            Kind::Smtp => &listen.smtp,
            Kind::Smtps => &listen.smtps,
        }
    }
}

/// A place where the service listens. Displayed as in `[::]:465 (smtps)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Address and port, chosen by the system if the configuration says 0.
    pub address: SocketAddr,
    /// What begins there.
    pub kind: Kind,
    /// The service manager opened it.
    pub inherited: bool,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match (self.kind, self.inherited) {
            (Kind::Smtp, false) => Ok(()),
            (Kind::Smtp, true) => f.write_str(" (from the service manager)"),
            (Kind::Smtps, false) => f.write_str(" (smtps)"),
            (Kind::Smtps, true) => f.write_str(" (smtps, from the service manager)"),
        }
    }
}

/// One listening socket. Dropping it ends the accepting at it.
pub(super) struct Door {
    pub(super) listening: Listening,
    pub(super) listener: Arc<TcpListener>,
    /// As the configuration has it: the port may be 0.
    configured: Option<SocketAddr>,
    /// Held while the door is open; its other end is with whoever accepts there.
    _open: oneshot::Sender<()>,
    pub(super) closed: Option<oneshot::Receiver<()>>,
}

impl Door {
    fn new(kind: Kind, configured: Option<SocketAddr>, listener: TcpListener) -> io::Result<Self> {
        let listening = Listening { address: listener.local_addr()?, kind, inherited: configured.is_none() };
        let (open, closed) = oneshot::channel();
        Ok(Door { listening, listener: Arc::new(listener), configured, _open: open, closed: Some(closed) })
    }

    fn inherit(inherited: Inherited) -> io::Result<Self> {
        inherited.socket.set_nonblocking(true)?;
        Door::new(inherited.kind, None, TcpListener::from_std(inherited.socket)?)
    }

    fn bind(kind: Kind, address: SocketAddr) -> Result<Self, StartError> {
        let bound = listen(address).and_then(|listener| Door::new(kind, Some(address), listener));
        bound.map_err(|error| StartError::Listen { address, key: kind.key(), error })
    }
}

/// All doors, in the order of the configuration.
#[derive(Default)]
pub(super) struct Doors(Vec<Door>);

/// What another configuration changes in the doors.
pub(super) struct Change {
    /// The doors that stay, by place.
    kept: Vec<usize>,
    new: Vec<Door>,
}

impl Doors {
    /// Opens what the service manager handed over, and of a kind that it did not, what the configuration says.
    pub(super) fn open(inherited: Vec<Inherited>, config: &Config) -> Result<Self, StartError> {
        let doors = inherited.into_iter().map(Door::inherit).collect::<io::Result<Vec<_>>>();
        let mut doors = Doors(doors.map_err(|error| StartError::Inherited(error.to_string()))?);
        if let Some(why) = doors.unusable(config) {
            return Err(StartError::Inherited(why.into()));
        }
        match doors.change(&config.listen) {
            Ok(change) => {
                doors.carry_out(change);
                Ok(doors)
            }
            Err(mut errors) => Err(errors.swap_remove(0)),
        }
    }

    /// Binds what a configuration has and we do not. Changes nothing yet. Without success: at least one error.
    pub(super) fn change(&self, listen: &Listen) -> Result<Change, Vec<StartError>> {
        let mut kept: Vec<usize> = (0..self.0.len()).filter(|at| self.0[*at].listening.inherited).collect();
        let (mut new, mut errors) = (Vec::new(), Vec::new());
        for kind in Kind::ALL.into_iter().filter(|kind| !self.inherits(*kind)) {
            for address in kind.addresses(listen) {
                let known = |door: &Door| door.listening.kind == kind && door.configured == Some(*address);
                let place = self.0.iter().enumerate().find(|(at, door)| known(door) && !kept.contains(at));
                match place {
                    Some((at, _)) => kept.push(at),
                    None => match Door::bind(kind, *address) {
                        Ok(door) => new.push(door),
                        Err(error) => errors.push(error),
                    },
                }
            }
        }
        if errors.is_empty() { Ok(Change { kept, new }) } else { Err(errors) }
    }

    /// Gives up the doors that are no longer wanted, and adds the new ones.
    pub(super) fn carry_out(&mut self, change: Change) {
        let doors = std::mem::take(&mut self.0).into_iter().enumerate();
        self.0 = doors.filter(|(at, _)| change.kept.contains(at)).map(|(_, door)| door).chain(change.new).collect();
    }

    /// Did the service manager hand over sockets of this kind? Then the configuration's are not used.
    pub(super) fn inherits(&self, kind: Kind) -> bool {
        self.0.iter().any(|door| door.listening.inherited && door.listening.kind == kind)
    }

    /// What the service manager handed over and a configuration cannot serve.
    pub(super) fn unusable(&self, config: &Config) -> Option<&'static str> {
        let unusable = self.inherits(Kind::Smtps) && config.tls.is_none();
        unusable
            .then_some("TLS begins at once at \"smtps\", and there is no [tls] section to say with which certificate.")
    }

    /// Is one of ours in the way of this address, as `[::]:25` is of `192.0.2.1:25`?
    pub(super) fn overlapping(&self, address: SocketAddr) -> Option<Listening> {
        let any = |address: SocketAddr| address.ip().is_unspecified();
        let overlaps =
            |ours: SocketAddr| ours.port() == address.port() && (any(ours) || any(address) || ours == address);
        self.listening().find(|listening| overlaps(listening.address))
    }

    pub(super) fn listening(&self) -> impl Iterator<Item = Listening> {
        self.0.iter().map(|door| door.listening)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Door> {
        self.0.iter_mut()
    }
}

/// Listens. `[::]` takes IPv4 as well, and falls back to it where IPv6 is off.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address).or_else(|error| match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() && is_ipv6_off(&error) => {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        _ => Err(error),
    })
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
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    TcpListener::from_std(socket.into())
}
