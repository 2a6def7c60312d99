//! The running server's own socket, `state/control`: one line asks, one JSON object answers.
//!
//! *Guarantees:* mode 0600, so only the server's user and root may ask. Requests are bounded in length and time. A stale
//! socket is replaced: whoever holds the store's lock is the one server.
//! *Never does:* touch mail.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::receive::Receiver;

/// How long one request may take, in seconds.
const REQUEST_SECONDS_MAX: u64 = 10;
/// The longest request line, in octets.
const REQUEST_OCTETS_MAX: u64 = 4096;

/// What `mxkeep status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The running version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Where it listens.
    pub listening: Vec<String>,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted since the start.
    pub connections: u64,
    /// Messages answered 250.
    pub accepted: u64,
    /// Messages answered 5yz.
    pub rejected: u64,
    /// Messages answered 4yz.
    pub deferred: u64,
    /// Copies put into inboxes.
    pub copies_inbox: u64,
    /// Copies put into Junk.
    pub copies_junk: u64,
    /// Copies that the ledger knew already.
    pub copies_duplicate: u64,
    /// Entries in the ledger: replies that were not provably seen.
    pub ledger_entries: u64,
    /// Rules in force.
    pub rules: u64,
}

/// Where the socket of this state directory is.
pub fn path(state: &Path) -> PathBuf {
    state.join("control")
}

/// The server's end.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens. Only for a process that has opened the store of this state directory.
    pub fn listen(state: &Path) -> io::Result<Self> {
        let path = path(state);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Control { listener, path })
    }

    /// Answers until dropped.
    pub async fn run(self, receiver: Arc<Receiver>, listening: Vec<String>) {
        let started = Instant::now();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let (receiver, listening) = (receiver.clone(), listening.clone());
            let answer = async move { answer(stream, &receiver, &listening, started).await };
            tokio::spawn(tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), answer));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that stays behind is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, receiver: &Receiver, listening: &[String], started: Instant) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut request = String::new();
    tokio::io::BufReader::new(read.take(REQUEST_OCTETS_MAX)).read_line(&mut request).await?;
    let answer = match request.trim() {
        "status" => serde_json::to_string(&status(receiver, listening, started))?,
        _ => serde_json::json!({ "error": "unknown request" }).to_string(),
    };
    write.write_all(answer.as_bytes()).await?;
    write.write_all(b"\n").await
}

fn status(receiver: &Receiver, listening: &[String], started: Instant) -> Status {
    let counters = receiver.counters();
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: started.elapsed().as_secs(),
        listening: listening.to_vec(),
        connections_open: get(&counters.connections_open),
        connections: get(&counters.connections),
        accepted: get(&counters.accepted),
        rejected: get(&counters.rejected),
        deferred: get(&counters.deferred),
        copies_inbox: get(&counters.copies_inbox),
        copies_junk: get(&counters.copies_junk),
        copies_duplicate: get(&counters.copies_duplicate),
        ledger_entries: receiver.ledger_entries(),
        rules: receiver.rules_count() as u64,
    }
}

/// Asks the running server. Blocks.
pub fn ask_status(state: &Path) -> io::Result<Status> {
    let mut stream = BlockingStream::connect(path(state))?;
    let limit = Some(Duration::from_secs(REQUEST_SECONDS_MAX));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    stream.write_all(b"status\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
