//! `mxkeep scan`: what would become of stored messages, and why.
//!
//! Examines and judges through the code that `serve` uses; only the session is made up from the options.

mod findings;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;

use super::{exit, load};
use crate::address::{ForwardPath, Host, ReversePath};
use crate::authentication::{Authentication, Finding};
use crate::config::{Config, Policy};
use crate::mailbox::{Class, Lookup, Mailboxes, Recipient};
use crate::message::Message;
use crate::receive::{Examination, Examiner, Sender};
use crate::rules::{Diagnostic, Rules};
use crate::verdict::{self, Disposition, Evidence};

/// The largest message that is read, in octets.
const MESSAGE_OCTETS_MAX: u64 = 256 << 20;

/// What `mxkeep scan --help` says below the options.
pub const HELP: &str = "\
Examines a message through the code that `serve` uses, and prints the verdict, the reply that the
sender would get, the rules that hit and their scores; then what each check found, what decided it,
and, as advice, what the sender would have to change. Delivers nothing.

  mxkeep scan message.eml
  mxkeep scan --ip 192.0.2.1 --helo mx.example.net --from ann@example.net message.eml
  mxkeep scan --rcpt alice@example.org message.eml      by the policy of alice's domain
  mxkeep scan --local --json Maildir/cur/*              no DNS; one JSON object a line
  cat message.eml | mxkeep scan -

Without --ip (and --from) there is no SPF, no iprev, and no forwarder that is known by them: verdict,
reply, score and advice can be others than they were when the message came. A message
that was delivered has trace fields on top which were not there when it was judged: some rules may
see that. DKIM keys may have changed since. listen.trusted_relays plays no part: for a message that
came through one, --ip and --helo are those of the relay's client. The id in the reply is in no log.

Exit status: 0 all were read (whatever the verdicts), 65 wrong input, 66 a file cannot be read,
78 the configuration is wrong.";

/// `mxkeep scan`.
#[derive(Debug, clap::Args)]
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
    /// Messages as stored; `-` is standard input
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

/// What is printed of one message.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    score: f64,
    /// `policy.junk_score` and `policy.reject_score` as they apply to the recipient.
    junk_score: f64,
    reject_score: f64,
    verdict: &'static str,
    cause: Option<&'static str>,
    /// What DMARC asks for, what is done, and who overrides it; null where it does not fail.
    dmarc: Option<Disposition>,
    reply: String,
    rules: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Authentication>,
    findings: Vec<Finding>,
}

/// Scans each file.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let scan = || -> anyhow::Result<bool> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let whose = whose(&config, arguments)?;
        let examiner = examiner(&config, arguments.local)?;
        let mut all_read = true;
        for file in &arguments.files {
            match read(file) {
                Ok(message) => {
                    let report = runtime.block_on(scan_one(&examiner, &whose, arguments, file, message));
                    print(&report, arguments.json)?;
                }
                Err(error) => {
                    eprintln!("mxkeep scan: {error:#}");
                    all_read = false;
                }
            }
        }
        Ok(all_read)
    };
    match scan() {
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
    let warn = |diagnostic: &Diagnostic| eprintln!("warning: {diagnostic}");
    if !local {
        return Ok(Examiner::from_config(config, warn)?);
    }
    let (rules, diagnostics) = Rules::load(&config.rules.paths)?;
    diagnostics.iter().for_each(warn);
    Ok(Examiner::new(None, rules))
}

fn read(file: &Path) -> anyhow::Result<Message> {
    let mut octets = Vec::new();
    let input: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?),
    };
    input.take(MESSAGE_OCTETS_MAX + 1).read_to_end(&mut octets).with_context(|| file.display().to_string())?;
    anyhow::ensure!(octets.len() as u64 <= MESSAGE_OCTETS_MAX, "{}: too large to be a message", file.display());
    Ok(Message::from_stored(&octets))
}

async fn scan_one(examiner: &Examiner, whose: &Whose, arguments: &Arguments, file: &Path, message: Message) -> Report {
    let message = Arc::new(message);
    let examination = examine(examiner, &whose.policy, arguments, &message).await;
    let evidence = Evidence {
        authentication: examination.authentication.as_ref(),
        client: arguments.ip,
        // As for a first try.
        dmarc_may_defer: true,
        score: examination.hits.score(),
    };
    let decision = verdict::decide(&evidence, &whose.policy, whose.class);
    let id = crate::journal::new_id();
    Report {
        file: file.display().to_string(),
        score: examination.hits.score(),
        junk_score: whose.policy.junk_score,
        reject_score: whose.policy.reject_score,
        verdict: decision.verdict.name(),
        cause: decision.cause.as_ref().map(|cause| cause.name()),
        dmarc: decision.dmarc,
        reply: decision.verdict.reply(verdict::Question::Message, &id).to_string(),
        rules: examination.hits.hits.iter().map(|hit| (hit.name.to_string(), hit.score)).collect(),
        findings: examination.authentication.as_ref().map(Authentication::explain).unwrap_or_default(),
        authentication: examination.authentication,
    }
}

async fn examine(examiner: &Examiner, policy: &Policy, arguments: &Arguments, message: &Arc<Message>) -> Examination {
    let from_message = || {
        let path = message.field("Return-Path").and_then(|field| std::str::from_utf8(field.body).ok());
        path.and_then(|path| ReversePath::parse(path.trim()).ok()).unwrap_or(ReversePath::Null)
    };
    let sender = Sender {
        address: arguments.ip,
        // A client that is known by its address alone is checked by its reverse-path.
        helo: arguments.helo.clone().or(arguments.ip.map(Host::Literal)),
        reverse_path: arguments.from.clone().unwrap_or_else(from_message),
    };
    let client = async { tokio::join!(examiner.spf(&sender), examiner.iprev(sender.address)) };
    let is_overridden = |found: &_| verdict::is_overridden(found, sender.address, policy);
    examiner.examine(message, &sender, client, is_overridden).await
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    writeln!(out, "{}: {} ({})", report.file, report.verdict, report.reply)?;
    if let Some(cause) = report.cause {
        writeln!(out, "  cause           {cause}")?;
    }
    if let Some(Disposition { applied, by: Some(by), .. }) = &report.dmarc {
        writeln!(out, "  override        {by} (applied: {applied})")?;
    }
    let Report { score, junk_score, reject_score, .. } = report;
    writeln!(
        out,
        "  score           {score:.3} (Junk from policy.junk_score {junk_score}, refused from policy.reject_score {reject_score})"
    )?;
    for (name, score) in &report.rules {
        writeln!(out, "  rule            {score:>6.2}  {name}")?;
    }
    if let Some(found) = &report.authentication {
        writeln!(out, "  authentication")?;
        for line in found.field("scan").lines().skip(1) {
            writeln!(out, "    {}", line.trim())?;
        }
    }
    out.write_all(findings::text(&report.findings).as_bytes())?;
    Ok(())
}
