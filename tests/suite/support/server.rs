//! The real server: the binary, with a configuration of its own in a directory of its own, on a free port.
//!
//! *The configuration:* our name is mx.example.test; each of [`DOMAINS`] has the mailboxes alice and bob (postmaster's
//! mail goes to alice); no rules; DNS in which no name exists; a certificate if STARTTLS is asked for.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::dialogue::Settings;
use super::dns::NoNames;
use super::maildir::Maildir;
pub use super::memory::DOMAINS;
use super::owner::Owner;
use super::poll::until;
use super::program::{self, Said};
use super::smtp_client::Client;

/// What is special about a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `[limits]`, and whether there is a certificate.
    pub settings: Settings,
    /// A name server to ask, instead of the one that knows no name.
    pub dns: Option<SocketAddr>,
    /// A name server to ask before that one.
    pub dns_first: Option<SocketAddr>,
    /// Rules, as the text of one `.cf` file.
    pub rules: String,
    /// More of the configuration, as TOML, before all tables: dotted keys (`policy.junk_score = 4.0`) or inline tables.
    pub configuration: String,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
    /// A socket that listens already, as a service manager hands it over; its own configuration's is not used then.
    pub inherited: Option<Arc<TcpListener>>,
    /// The user as whom it runs, and to whom all of its files belong; otherwise whoever runs the tests.
    pub owner: Option<Owner>,
}

/// A running server. It is killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    options: Options,
    directory: TempDir,
    dns: Option<NoNames>,
}

impl Server {
    /// Writes a configuration, starts the server, and waits until it listens.
    pub fn start(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let dns = options.dns.is_none().then(NoNames::start);
        let resolver = options.dns.or(dns.as_ref().map(NoNames::address)).expect("a name server");
        configure(directory.path(), &options, resolver);
        if let Some(owner) = &options.owner {
            program::give(directory.path(), owner);
        }
        let log = Arc::new(Mutex::new(Vec::new()));
        let (child, address) = spawn(directory.path(), &options, &log);
        Server { child, address, log, options, directory, dns }
    }

    /// Where it listens for SMTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that has read the banner.
    pub fn client(&self) -> Client {
        Client::greeted(self.address)
    }

    /// The Maildir of a mailbox at the first domain.
    pub fn maildir(&self, local_part: &str) -> Maildir {
        self.maildir_at(DOMAINS[0], local_part)
    }

    /// A mailbox's Maildir.
    pub fn maildir_at(&self, domain: &str, local_part: &str) -> Maildir {
        Maildir::new(self.directory.path().join("mail").join(domain).join(local_part).join("Maildir"))
    }

    /// The directory that holds mxkeep.toml, mail/, state/ and rules/.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("mxkeep.toml")
    }

    /// Puts a changed text in the configuration file's place.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.configuration()).expect("a configuration");
        fs::write(self.configuration(), change(text)).expect("the configuration can be written");
    }

    /// Runs `mxkeep COMMAND --config FILE` as whoever runs the tests.
    pub fn run(&self, command: &str) -> Said {
        let file = self.configuration();
        program::run(self.directory(), None, &[command, "--config", file.to_str().expect("UTF-8")])
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").join("\n")
    }

    /// Waits until this stands in its log, which may come to us a moment after a reply.
    pub fn await_log(&self, text: &str) {
        until(&format!("{text:?} stands in the log"), || self.log().contains(text));
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM)
    }

    /// Asks it to end (SIGTERM), and does not wait: `stop` does afterwards.
    pub fn ask_to_stop(&mut self) {
        self.send(Signal::TERM);
    }

    /// Asks it to load its configuration again (SIGHUP), and does not wait.
    pub fn hang_up(&mut self) {
        self.send(Signal::HUP);
    }

    /// Kills it (SIGKILL): nothing of it runs on.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL)
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        until("the server ends", || self.child.try_wait().expect("a child can be waited for").is_some());
        self.child.wait().expect("a child can be waited for")
    }

    /// Stops it in its tracks until `resume`: what a client sends meanwhile waits in the kernel.
    pub fn pause(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).expect("a child can be signalled");
        let tasks = format!("/proc/{}/task", self.pid());
        until("the server stands still", || {
            let mut threads = fs::read_dir(&tasks).expect("its threads").flatten();
            threads.all(|thread| fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| stat.contains(") T ")))
        });
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("a child can be signalled");
    }

    /// Starts it again on the same files, after `stop` or `kill`. The port is another one.
    pub fn restart(&mut self) {
        let (child, address) = spawn(self.directory.path(), &self.options, &self.log);
        (self.child, self.address) = (child, address);
    }

    /// One of its processes, by number, and that only while it has not been waited for.
    fn signal(&mut self, signal: Signal) -> ExitStatus {
        self.send(signal);
        self.child.wait().expect("a child can be waited for")
    }

    fn send(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).expect("a child can be signalled");
        }
    }
}

/// The event of the transaction that ended with this reply, of a server that logs JSON.
pub fn transaction(server: &Server, reply: &str) -> serde_json::Value {
    let (_, id) = reply.rsplit_once('(').expect("an id");
    let id = id.trim_end_matches(')');
    server.await_log(&format!("\"id\":\"{id}\""));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("mxkeep::transaction") && line.contains(id)).expect("an event");
    serde_json::from_str(line).expect("a line is one JSON object")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        drop(self.dns.take());
        if thread::panicking() {
            eprintln!("The server's log:\n{}", self.log());
        }
    }
}

fn configure(directory: &Path, options: &Options, resolver: SocketAddr) {
    for folder in ["mail", "state", "rules"] {
        fs::create_dir(directory.join(folder)).expect("a folder");
    }
    fs::write(directory.join("rules/test.cf"), &options.rules).expect("a rule file");
    fs::write(directory.join("mxkeep.toml"), configuration(directory, options, resolver)).expect("a configuration");
}

fn configuration(directory: &Path, options: &Options, resolver: SocketAddr) -> String {
    let (at, settings) = (directory.display(), options.settings);
    let resolvers: Vec<_> = options.dns_first.into_iter().chain([resolver]).map(|at| format!("\"{at}\"")).collect();
    let resolvers = resolvers.join(", ");
    let mut text = format!(
        r#"{}
hostname = "mx.example.test"
listen.smtp = ["127.0.0.1:0"]
storage.mail = "{at}/mail/{{domain}}/{{local_part}}/Maildir"
storage.state = "{at}/state"
dns.servers = [{resolvers}]
rules.paths = ["{at}/rules"]
limits.message_octets_max = {}
limits.recipients_max = {}
limits.bad_commands_max = {}
limits.refused_recipients_max = {}
limits.messages_max = {}
"#,
        options.configuration,
        settings.message_octets_max,
        settings.recipients_max,
        settings.bad_commands_max,
        settings.refused_recipients_max,
        settings.messages_max,
    );
    for domain in DOMAINS {
        let _ = writeln!(text, "domains.\"{domain}\".mailboxes = [\"alice\", \"bob\"]");
    }
    if settings.xclient {
        text.push_str("listen.xclient_from = [\"127.0.0.0/8\"]\n");
    }
    if settings.starttls {
        let made = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
        fs::write(directory.join("certificate.pem"), made.cert.pem()).expect("a certificate file");
        fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("a key file");
        let _ = writeln!(text, "tls.certificate = \"{at}/certificate.pem\"\ntls.key = \"{at}/key.pem\"");
    }
    text
}

/// Starts the binary, and waits for the line that says where it listens.
fn spawn(directory: &Path, options: &Options, log: &Arc<Mutex<Vec<String>>>) -> (Child, SocketAddr) {
    let mut command = match &options.inherited {
        Some(socket) => program::activated(socket.try_clone().expect("a descriptor").into(), "smtp"),
        None => program::command(directory, options.owner.as_ref()),
    };
    if options.inherited.is_none() {
        command.stdin(Stdio::null());
    }
    let mut child = command
        .args(["serve", "--config"])
        .arg(directory.join("mxkeep.toml"))
        .envs(options.environment.iter().cloned())
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let (sender, addresses) = mpsc::channel();
    let lines = log.clone();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if let Some(address) = listening(&line) {
                let _ = sender.send(address);
            }
            lines.lock().expect("no writer panics").push(line);
        }
    });
    match addresses.recv() {
        Ok(address) => (child, address),
        Err(_) => {
            let status = child.wait().expect("a child can be waited for");
            let log = log.lock().map(|lines| lines.join("\n")).unwrap_or_default();
            panic!("the server did not start ({status}):\n{log}")
        }
    }
}

/// The address in `... listening on 127.0.0.1:2525 ...`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !"[]:.".contains(c)).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_log_line() {
        let address = |line| listening(line).map(|address| address.to_string());
        assert_eq!(address("INFO listening on 127.0.0.1:2525\u{1b}[0m").as_deref(), Some("127.0.0.1:2525"));
        assert_eq!(address("listening on [::1]:25 (smtp)").as_deref(), Some("[::1]:25"));
        assert_eq!(address("listening to nobody"), None);
    }
}
