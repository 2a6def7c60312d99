//! The running server's own socket, `state/control`: one line asks, one JSON object answers.
//!
//! *Does:* answers `status` and `reload`.
//! *Guarantees:* mode 0600, so only the server's user and root may ask. Requests are bounded in length and time. A stale
//! socket is replaced: whoever holds the store's lock is the one server.
//! *Never does:* touch mail.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::server::{Handle, ReloadError};

/// How long one request may take, in seconds.
const REQUEST_SECONDS_MAX: u32 = 10;
/// The same for a reload: it reads all rules, and waits for its turn.
const RELOAD_SECONDS_MAX: u32 = 120;
const SECOND: Duration = Duration::from_secs(1);
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
    /// Seconds since it loaded the configuration in force.
    pub configuration_seconds: u64,
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

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReloadAnswer {
    /// The configuration is in force.
    Reloaded {
        /// Its file.
        file: String,
        /// Domains, mailboxes and rules, in a few words.
        summary: String,
        /// What the operator should know.
        warnings: Vec<String>,
    },
    /// Nothing was changed.
    NotReloaded {
        /// All that is in the way.
        problems: Vec<String>,
    },
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
    pub async fn run(self, server: Handle) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(SECOND).await;
                continue;
            };
            tokio::spawn(answer(stream, server.clone()));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that stays behind is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, server: Handle) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut request = String::new();
    let mut read = tokio::io::BufReader::new(read.take(REQUEST_OCTETS_MAX));
    timeout(SECOND * REQUEST_SECONDS_MAX, read.read_line(&mut request)).await??;
    let answer = match request.trim() {
        "status" => serde_json::to_string(&status(&server))?,
        "reload" => serde_json::to_string(&timeout(SECOND * RELOAD_SECONDS_MAX, reload(&server)).await?)?,
        _ => serde_json::json!({ "error": "unknown request" }).to_string(),
    };
    timeout(SECOND * REQUEST_SECONDS_MAX, write.write_all(format!("{answer}\n").as_bytes())).await?
}

fn status(server: &Handle) -> Status {
    let receiver = server.receiver();
    let counters = receiver.counters();
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (uptime, configuration) = server.ages();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: uptime.as_secs(),
        configuration_seconds: configuration.as_secs(),
        listening: server.listening().iter().map(ToString::to_string).collect(),
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

async fn reload(server: &Handle) -> ReloadAnswer {
    match server.reload().await {
        Ok(reloaded) => ReloadAnswer::Reloaded {
            file: reloaded.file.display().to_string(),
            summary: reloaded.summary,
            warnings: reloaded.warnings,
        },
        Err(ReloadError(problems)) => ReloadAnswer::NotReloaded { problems },
    }
}

/// Asks the running server what it does. Blocks.
pub fn ask_status(state: &Path) -> io::Result<Status> {
    ask(state, "status", REQUEST_SECONDS_MAX)
}

/// Has the running server load its configuration again. Blocks.
pub fn ask_reload(state: &Path) -> io::Result<ReloadAnswer> {
    ask(state, "reload", RELOAD_SECONDS_MAX)
}

fn ask<T: for<'de> Deserialize<'de>>(state: &Path, request: &str, seconds_max: u32) -> io::Result<T> {
    let mut stream = BlockingStream::connect(path(state))?;
    let limit = Some(SECOND * seconds_max);
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
