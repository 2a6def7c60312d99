//! Name servers on the loopback with a world of their own: one that answers from a zone, and one that never answers.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use mxkeep::dns::responder::{Responder, Seen, Zone};
use tokio::runtime::Runtime;

/// A name server that knows a zone, and misbehaves where the zone says so.
pub struct Names {
    responder: Responder,
    /// The responder lives in it.
    _runtime: Runtime,
}

impl Names {
    /// Starts it on a free port.
    pub fn start(zone: Zone) -> Self {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.expect("a runtime");
        let responder = runtime.block_on(Responder::start(zone)).expect("a name server");
        Names { responder, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.responder.address()
    }

    /// How many queries there were for this name, or for names below it.
    pub fn queries_below(&self, name: &str) -> usize {
        let below = |seen: &Seen| {
            let asked = seen.name.to_ascii_lowercase();
            asked.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
        };
        self.responder.seen().iter().filter(|seen| below(seen)).count()
    }

    /// How often this name was asked for.
    pub fn queries(&self, name: &str) -> usize {
        self.responder.queries(name)
    }
}

/// A name server that takes every query, over UDP and over TCP, and answers none.
pub struct Silence {
    tcp: TcpListener,
    _udp: UdpSocket,
}

impl Silence {
    /// Starts it on a port that is free for both.
    pub fn start() -> Self {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a TCP port");
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("its address")) {
                return Silence { tcp, _udp: udp };
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("its address")
    }
}
