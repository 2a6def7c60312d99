//! A name server on the loopback in whose world no name exists: tests must not depend on the resolvers of a machine.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Answers every query over UDP with NXDOMAIN until it is dropped.
pub struct NoNames {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NoNames {
    /// Starts it on a free port.
    pub fn start() -> Self {
        NoNames::on(UdpSocket::bind("127.0.0.1:0").expect("a UDP port"))
    }

    /// Answers on this socket, beginning with the queries that wait in it.
    pub fn on(socket: UdpSocket) -> Self {
        let address = socket.local_addr().expect("its address");
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = stop.clone();
            move || answer_all(&socket, &stop)
        });
        NoNames { address, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer_all(socket: &UdpSocket, stop: &AtomicBool) {
    let mut packet = [0; 4096];
    while let Ok((octets, from)) = socket.recv_from(&mut packet) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Some(answer) = nxdomain(&packet[..octets]) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The query's header and question, as a response with RCODE 3 and no records (RFC 1035 section 4.1).
fn nxdomain(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut answer = query.get(..end + 5)?.to_vec();
    answer[2] = 0x84 | query[2] & 0x01;
    answer[3] = 0x83;
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(answer)
}

impl Drop for NoNames {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread up.
        let woken = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
