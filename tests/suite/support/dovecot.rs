//! A real Dovecot that serves Maildirs over IMAP on a loopback port.
//!
//! It runs in the foreground, as the owner of the mail, on a configuration of its own in a directory of its own: it touches
//! nothing of a Dovecot that the machine may have. Every user's password is `secret`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::imap::Imap;
use super::owner::Owner;
use super::tool;

/// The longest that it may take to start, and to stop.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Another program may take the port between our finding it free and Dovecot's taking it.
const STARTS_MAX: usize = 5;

/// A running Dovecot. It is stopped when dropped.
pub struct Dovecot {
    child: Child,
    address: SocketAddr,
    /// Its log, line by line; at its end all of its processes have ended.
    lines: Receiver<String>,
    log: Vec<String>,
    _directory: TempDir,
}

impl Dovecot {
    /// Serves what `settings` say in Dovecot's own words: `mail_location` at least. `None` where it is not installed.
    pub fn start(owner: &Owner, settings: &str) -> Option<Self> {
        let program = tool::find("dovecot")?;
        let mut refusals = Vec::new();
        for _ in 0..STARTS_MAX {
            match Dovecot::start_once(&program, owner, settings) {
                Ok(dovecot) => return Some(dovecot),
                Err(refusal) => refusals.push(refusal),
            }
        }
        panic!("Dovecot does not start:\n{}", refusals.join("\n"))
    }

    fn start_once(program: &Path, owner: &Owner, settings: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let file = directory.path().join("dovecot.conf");
        fs::write(&file, configuration(directory.path(), owner, settings, address.port())).expect("a file");
        owner.own(directory.path());
        let mut command = owner.command(program);
        command.arg("-F").arg("-c").arg(&file).current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be run");
        let lines = follow(BufReader::new(child.stderr.take().expect("it is piped")));
        let mut dovecot = Dovecot { child, address, lines, log: Vec::new(), _directory: directory };
        match dovecot.read_log_until("starting up") {
            true => Ok(dovecot),
            false => Err(dovecot.log.join("\n")),
        }
    }

    /// A client that has logged in, as `alice@example.test` for instance.
    pub fn client(&self, user: &str) -> Imap {
        Imap::login(self.address, user)
    }

    /// Stops it, and gives what it complained about while it ran.
    pub fn complaints(mut self) -> Vec<String> {
        self.stop();
        let is_complaint = |line: &&String| {
            let grave = ["Warning:", "Error:", "Panic:", "Fatal:", "orrupt"].iter().any(|word| line.contains(word));
            // That is how it says that we asked it to stop.
            grave && !["Killed with signal 15", "Shutting down logging"].iter().any(|words| line.contains(words))
        };
        self.log.iter().filter(is_complaint).cloned().collect()
    }

    /// SIGTERM; it ends its other processes itself.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        if self.read_log_until_end().is_err() {
            self.signal(Signal::KILL);
        }
        self.child.wait().expect("a child can be waited for");
    }

    fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).expect("a child can be signalled");
        }
    }

    /// Has these words come before the log's end, and in time?
    fn read_log_until(&mut self, words: &str) -> bool {
        while let Ok(line) = self.lines.recv_timeout(SILENCE_MAX) {
            let found = line.contains(words);
            self.log.push(line);
            if found {
                return true;
            }
        }
        false
    }

    fn read_log_until_end(&mut self) -> Result<(), RecvTimeoutError> {
        loop {
            match self.lines.recv_timeout(SILENCE_MAX) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(timeout) => return Err(timeout),
            }
        }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!("Dovecot's log:\n{}", self.log.join("\n"));
        }
    }
}

/// The lines of a stream, until it ends.
fn follow(stream: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || stream.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Without root: no chroot, and one user for all of its processes.
fn configuration(directory: &Path, owner: &Owner, settings: &str, port: u16) -> String {
    let (at, Owner { user, group, .. }) = (directory.display(), owner);
    format!(
        "base_dir = {at}/run
state_dir = {at}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
auth_mechanisms = plain
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={at}/home/%u allow_all_users=yes
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
{settings}
"
    )
}
