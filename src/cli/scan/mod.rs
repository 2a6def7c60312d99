//! `mxkeep scan`: what would become of stored messages, and why.
//!
//! Examines and judges through the code that `serve` uses; only the session is made up from the options.

mod findings;
mod inputs;
mod progress;
mod report;
mod summary;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::{exit, load};
use crate::address::{ForwardPath, Host, ReversePath};
use crate::config::{Config, Policy};
use crate::mailbox::{Class, Lookup, Mailboxes, Recipient};
use crate::message::Message;
use crate::receive::{Examination, Examiner, Sender};
use crate::received;
use crate::rules::Rules;
use crate::verdict;
use inputs::{Files, Messages, Read};
use progress::Progress;
use report::{Format, Report};
use summary::Summary;

/// So many messages are examined at a time: most of it is waiting for DNS.
const CONCURRENT_MAX: usize = 16;

/// What `mxkeep scan --help` says below the options.
pub const HELP: &str = "\
Examines messages through the code that `serve` uses. Of one message it prints the verdict, the reply
that the sender would get, the rules that hit and their scores; then what each check found, what
decided it, and, as advice, what the sender would have to change. Of many it prints a table, and a
summary at the end. Delivers nothing.

  mxkeep scan message.eml
  mxkeep scan --ip 192.0.2.1 --helo mx.example.net --from ann@example.net message.eml
  mxkeep scan --rcpt alice@example.org message.eml      by the policy of alice's domain
  mxkeep scan --local ~/Maildir old.mbox                no DNS; Maildirs, mboxes and directories
  mxkeep scan --local --explain message.eml             what each rule matched, and what it means
  mxkeep scan --local --json ~/Maildir                  one JSON object a line
  cat message.eml | mxkeep scan -

A directory with `cur` and `new` is a Maildir; of any other all files are read, with those of its
directories. A file that begins with `From ` is an mbox.

Without --ip (and --from) there is no SPF, no iprev, and no forwarder that is known by them: verdict,
reply, score and advice can be others than they were when the message came. A message
that was delivered has trace fields on top which were not there when it was judged: some rules may
see that. DKIM keys may have changed since. listen.trusted_relays plays no part: for a message that
came through one, --ip and --helo are those of the relay's client. The id in the reply is in no log.

Exit status: 0 all were read (whatever the verdicts), 65 wrong input, 66 a file cannot be read,
78 the configuration is wrong.";

/// `mxkeep scan`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The client's address; without it SPF and iprev are not checked
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    ip: Option<IpAddr>,
    /// What the client called itself; without it its address, if --ip is given
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    helo: Option<Host>,
    /// MAIL FROM; without it the message's Return-Path, if it has one
    #[arg(long, value_name = "ADDRESS", value_parser = parse_reverse_path)]
    from: Option<ReversePath>,
    /// RCPT TO: whose policy applies; without it the server's
    #[arg(long, value_name = "ADDRESS", value_parser = parse_forward_path)]
    rcpt: Option<ForwardPath>,
    /// Ask no DNS: no SPF, DKIM, DMARC, iprev, nor any rule that needs them
    #[arg(long)]
    local: bool,
    /// Print one JSON object a message and line
    #[arg(long)]
    json: bool,
    /// Say of each rule that hit what it matched and what it means
    #[arg(long)]
    explain: bool,
    /// Messages as stored, mboxes, Maildirs, directories; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// IPv4-mapped addresses are the IPv4 addresses that they stand for, as at accept.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "not an IP address".to_owned())?;
    Ok(address.to_canonical())
}

fn parse_host(text: &str) -> Result<Host, String> {
    Host::parse(text).map_err(|error| error.to_string())
}

fn parse_reverse_path(text: &str) -> Result<ReversePath, String> {
    ReversePath::parse(&bracketed(text)).map_err(|error| error.to_string())
}

fn parse_forward_path(text: &str) -> Result<ForwardPath, String> {
    ForwardPath::parse(&bracketed(text)).map_err(|error| error.to_string())
}

fn bracketed(text: &str) -> String {
    if text.starts_with('<') { text.to_owned() } else { format!("<{text}>") }
}

/// Scans everything that is named.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match Scan::new(&config, arguments).and_then(Scan::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit::NO_INPUT),
        // Whoever reads what we print has seen enough, as in `mxkeep scan ... | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mxkeep scan: {error:#}");
            ExitCode::from(exit::DATA)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whose policy applies, and are they filtered at all?
#[derive(Clone)]
struct Whose {
    policy: Arc<Policy>,
    class: Class,
}

fn whose(config: &Config, arguments: &Arguments) -> anyhow::Result<Whose> {
    let Some(path) = &arguments.rcpt else {
        return Ok(Whose { policy: Arc::new(config.policy.clone()), class: Class::Ordinary });
    };
    let recipient = match Mailboxes::new(config).look_up(path) {
        Lookup::Local(recipients) => recipients.into_iter().next(),
        Lookup::UnknownUser | Lookup::NotOurs => None,
    };
    let Recipient { policy, class, .. } =
        recipient.with_context(|| format!("--rcpt {path} is no address of the configuration"))?;
    Ok(Whose { policy, class })
}

fn examiner(config: &Config, local: bool) -> anyhow::Result<Examiner> {
    let mut findings = 0;
    let examiner = match local {
        true => {
            let (rules, diagnostics) = Rules::load(&config.rules.paths)?;
            findings = diagnostics.len();
            Examiner::new(None, rules, config.hostname.as_str())
        }
        false => Examiner::from_config(config, |_| findings += 1)?,
    };
    if findings > 0 {
        eprintln!("warning: rule files ask for things that they do not get: `mxkeep check --rules` lists them");
    }
    Ok(examiner.traced())
}

/// What examines a message, wherever that happens.
#[derive(Clone)]
struct Judge {
    examiner: Examiner,
    whose: Whose,
    arguments: Arc<Arguments>,
}

/// A message that is being examined.
type Pending = JoinHandle<Report>;

struct Scan {
    runtime: Runtime,
    judge: Judge,
    format: Format,
    files: Files,
    /// In the order in which they will be printed.
    pending: VecDeque<(Pending, u64)>,
    progress: Progress,
    summary: Summary,
}

impl Scan {
    fn new(config: &Config, arguments: &Arguments) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (whose, examiner) =
            (whose(config, arguments)?, runtime.block_on(async { examiner(config, arguments.local) })?);
        let files = Files::list(&arguments.files);
        let many = files.may_be_many();
        let format = Format::of(arguments.json, arguments.explain, many);
        let progress = if many { Progress::new(files.octets()) } else { Progress::none() };
        let judge = Judge { examiner, whose, arguments: Arc::new(arguments.clone()) };
        Ok(Scan { runtime, judge, format, files, pending: VecDeque::new(), progress, summary: Summary::default() })
    }

    /// Were all read?
    fn run(mut self) -> anyhow::Result<bool> {
        for error in std::mem::take(&mut self.files.errors) {
            self.unreadable(&error);
        }
        for (path, _) in std::mem::take(&mut self.files.files) {
            match Messages::open(&path) {
                Err(error) => self.unreadable(&error),
                Ok(messages) => {
                    for read in messages {
                        self.push(read)?;
                    }
                }
            }
        }
        while self.print_first()? {}
        self.progress.finish();
        if self.format.is_many() {
            let text = self.summary.text();
            // Programs read objects on standard output, and nothing else.
            if self.format.is_json() { eprint!("{text}") } else { write_out(&text)? }
        }
        Ok(self.summary.unreadable == 0)
    }

    fn unreadable(&mut self, error: &anyhow::Error) {
        self.summary.unreadable += 1;
        self.progress.above(|| eprintln!("mxkeep scan: {error:#}"));
    }

    fn push(&mut self, read: anyhow::Result<Read>) -> anyhow::Result<()> {
        match read {
            Err(error) => self.unreadable(&error),
            Ok(Read { name, octets, message }) => {
                let judge = self.judge.clone();
                let pending = self.runtime.spawn(async move { judge.report(name, message).await });
                self.pending.push_back((pending, octets));
            }
        }
        while self.pending.len() >= CONCURRENT_MAX {
            self.print_first()?;
        }
        Ok(())
    }

    fn print_first(&mut self) -> anyhow::Result<bool> {
        let Some((pending, octets)) = self.pending.pop_front() else { return Ok(false) };
        let report = self.runtime.block_on(pending)?;
        let text = report.text(self.format, self.summary.messages == 0);
        self.progress.above(|| write_out(&text))?;
        self.summary.add(&report, octets);
        self.progress.advance(octets, self.summary.messages);
        Ok(true)
    }
}

fn write_out(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

impl Judge {
    async fn report(self, name: String, message: Message) -> Report {
        let message = Arc::new(message);
        let examination = self.examine(&message).await;
        let evidence = verdict::Evidence {
            authentication: examination.authentication.as_ref(),
            client: self.arguments.ip,
            // As for a first try.
            dmarc_may_defer: true,
            score: examination.hits.score(),
        };
        let decision = verdict::decide(&evidence, &self.whose.policy, self.whose.class);
        Report::new(name, examination, decision, &self.whose.policy)
    }

    async fn examine(&self, message: &Arc<Message>) -> Examination {
        let from_message = || {
            let path = message.field("Return-Path").and_then(|field| std::str::from_utf8(field.body).ok());
            path.and_then(|path| ReversePath::parse(path.trim()).ok()).unwrap_or(ReversePath::Null)
        };
        let Arguments { ip, helo, from, .. } = &*self.arguments;
        let sender = Sender {
            address: *ip,
            // A client that is known by its address alone is checked by its reverse-path.
            helo: helo.clone().or(ip.map(Host::Literal)),
            reverse_path: from.clone().unwrap_or_else(from_message),
            is_direct: ip.is_some_and(|ip| !tells_of(message, ip)),
        };
        let client = async { tokio::join!(self.examiner.spf(&sender), self.examiner.iprev(sender.address)) };
        let is_overridden = |found: &_| verdict::is_overridden(found, sender.address, &self.whose.policy);
        self.examiner.examine(message, &sender, client, is_overridden).await
    }
}

/// Does the newest Received field tell of this client? Ours does, once a message was delivered.
fn tells_of(message: &Message, client: IpAddr) -> bool {
    let newest = message.field("Received").and_then(|field| received::parse(&field));
    newest.and_then(|hop| hop.address) == Some(client)
}
