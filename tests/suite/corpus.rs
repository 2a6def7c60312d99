//! Real mail: thousands of messages of other people go through the running server, and none of them may harm it.
//!
//! *Shows:* the server outlives all of them; each is delivered or refused for a reason that is listed here; what stands in
//! the file is our trace fields and then, octet by octet, what was sent, less the fields that only we may write.
//! *Independent:* what a file must hold is worked out here, from the lines that were sent, with none of our code.
//! *Line ends:* the mails are stored with LF, and a few hold bare CRs. They are sent as an MTA has to send them on: every
//! line end, a bare CR as well, becomes CRLF (RFC 5321 section 2.3.8). How mail data with bare ones is refused, the
//! dialogues show.
//! *Forgeries:* every tenth mail also claims, at the end of its header section, to have been judged by us already.
//! *Never does:* put an address or a text of these mails into any output: it names them by their number.
//! `make corpus` runs it alone and shows the figures.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use mxkeep::rules::OWN;

use crate::support::dialogue::Settings;
use crate::support::maildir::Stored;
use crate::support::server::{Options, Server};
use crate::support::shared;
use crate::support::smtp_client::{Client, stuffed};

/// Connections at a time.
const CONNECTIONS: usize = 8;
/// Mails that one connection brings, before it ends and the next one begins.
const MAILS_PER_CONNECTION: usize = 20;
/// The largest mail that is taken, in octets: none of these is larger.
const MESSAGE_OCTETS_MAX: u64 = 10_000_000;
/// One mail of so many has forged fields added.
const FORGERY: usize = 10;
/// Problems that are shown.
const SHOWN_MAX: usize = 20;

/// What a stranger may not say in our name, in spellings that a careless reader misses.
const FORGED: &str = "X-Spam-Status: No, score=-100\r\n\ttests=none\r\nx-SPAM-flag: NO\r\n\
    Authentication-Results: MX.Example.Test (ours); dmarc=pass\r\nReturn-Path : <forged@client.example>\r\n";

/// Our trace fields, in their order (Authentication-Results is there because the server has a resolver).
const TRACE: [&str; 4] = ["Return-Path", "Delivered-To", "Received", "Authentication-Results"];

/// The replies that a mail of the corpus may get: their beginning, and a name for the count.
const REPLIES: [(&str, &str); 5] = [
    ("250 2.0.0 Message delivered", DELIVERED),
    ("550 5.7.1 Refused as spam", "score"),
    ("550 5.7.1 More than one From field", "several From fields"),
    ("550 5.7.1 From names more than one author domain", "several authors"),
    ("550 5.7.1 The From field is not valid", "malformed From"),
];
const DELIVERED: &str = "delivered";

/// One mail, as it is sent.
struct Mail {
    /// Its place among all mails of the corpus, by which it is named.
    number: usize,
    is_spam: bool,
    /// CRLF line ends, dots not stuffed.
    octets: Vec<u8>,
}

#[test]
fn real_mail_is_delivered_octet_by_octet_or_refused_with_a_reason() {
    let Some(archive) = shared::find("corpus", "corpus/dev.tar.xz") else { return };
    let mails = read(&archive);
    let mut server = Server::start(Options {
        rules: OWN.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n"),
        settings: Settings { message_octets_max: MESSAGE_OCTETS_MAX, ..Settings::default() },
        ..Options::default()
    });
    let started = Instant::now();
    let replies = send_all(&mails, server.address());
    let report = check(&mails, &replies, &server, started.elapsed());
    let problems = [report.problems.clone(), ill_health(&mut server)].concat();
    // Its log says who wrote to whom. A server that is dropped by a failing test would print it.
    drop(server);
    println!("{report}");
    let shown = problems.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
    assert!(problems.is_empty(), "{} problems, among them:\n{shown}", problems.len());
}

/// Unpacks the archive and reads all mails.
fn read(archive: &Path) -> Vec<Mail> {
    let directory = tempfile::tempdir().expect("a directory");
    let tar = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(directory.path()).status();
    assert!(tar.is_ok_and(|status| status.success()), "tar and xz unpack the corpus");
    let mut paths = Vec::new();
    collect(directory.path(), &mut paths);
    paths.sort();
    let mails = paths.iter().enumerate().map(|(number, path)| {
        let stored = fs::read(path).expect("a mail can be read");
        let forged = number.is_multiple_of(FORGERY);
        let octets = if forged { with_forged_fields(&with_crlf(&stored)) } else { with_crlf(&stored) };
        Mail { number, is_spam: path.components().any(|part| part.as_os_str() == "spam"), octets }
    });
    let mails: Vec<Mail> = mails.collect();
    assert!(!mails.is_empty(), "there is mail in the archive");
    mails
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, paths),
            path if path.extension().is_some_and(|extension| extension == "eml") => paths.push(path),
            _ => {}
        }
    }
}

/// Every line end becomes CRLF, and the last line has one.
fn with_crlf(stored: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(stored.len() + stored.len() / 16);
    let mut rest = stored.iter().peekable();
    while let Some(&octet) = rest.next() {
        if octet == b'\r' {
            rest.next_if_eq(&&b'\n');
        }
        match octet {
            b'\r' | b'\n' => octets.extend_from_slice(b"\r\n"),
            octet => octets.push(octet),
        }
    }
    if !octets.ends_with(b"\r\n") {
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

/// Adds the forged fields below the others.
fn with_forged_fields(octets: &[u8]) -> Vec<u8> {
    match octets.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => [&octets[..end + 2], FORGED.as_bytes(), &octets[end + 2..]].concat(),
        None => octets.to_vec(),
    }
}

/// Sends every mail over several connections, and gives the final replies, in the order of the mails. An error says what
/// went wrong with the connection.
fn send_all(mails: &[Mail], server: SocketAddr) -> Vec<Result<String, String>> {
    let mut replies = vec![Err("was not sent".to_owned()); mails.len()];
    thread::scope(|scope| {
        let sending = |first: usize| {
            scope.spawn(move || {
                let mine: Vec<usize> = (first..mails.len()).step_by(CONNECTIONS).collect();
                mine.chunks(MAILS_PER_CONNECTION).flat_map(|visit| send_some(mails, visit, server)).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(sending).collect();
        for thread in threads {
            // One that panicked has sent nothing, as far as anybody knows.
            for (at, reply) in thread.join().unwrap_or_default() {
                replies[at] = reply;
            }
        }
    });
    replies
}

/// One connection's mails, and what was said to each.
fn send_some(mails: &[Mail], visit: &[usize], server: SocketAddr) -> Vec<(usize, Result<String, String>)> {
    let mut client = Client::greeted(server);
    client.expect("EHLO client.example", "250");
    let replies = visit.iter().map(|&at| (at, send(&mut client, &mails[at]))).collect();
    client.expect("QUIT", "221");
    replies
}

fn send(client: &mut Client, mail: &Mail) -> Result<String, String> {
    // By its reverse-path a mail is found again in the mailbox.
    client.expect(&format!("MAIL FROM:<{}>", reverse_path(mail.number)), "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    client.send(&stuffed(&mail.octets)).map_err(|error| format!("the server stopped reading: {error}"))?;
    client.reply().ok_or_else(|| "the server hung up without a reply".to_owned())
}

fn reverse_path(number: usize) -> String {
    format!("mail-{number}@client.example")
}

/// What became of the mails.
struct Report {
    sent: usize,
    /// By label and fate.
    fates: BTreeMap<(&'static str, &'static str), usize>,
    octets: usize,
    took: Duration,
    problems: Vec<String>,
}

impl Report {
    fn count(&mut self, mail: &Mail, fate: &'static str) {
        *self.fates.entry((if mail.is_spam { "spam" } else { "ham" }, fate)).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let (rate, megabytes) = (self.sent as f64 / seconds, self.octets as f64 / 1e6);
        writeln!(f, "corpus: {} mails ({megabytes:.0} MB) in {seconds:.1} s: {rate:.0} messages a second", self.sent)?;
        self.fates.iter().try_for_each(|((label, fate), count)| writeln!(f, "corpus: {label}: {count} {fate}"))
    }
}

/// Holds every reply and every file against what was sent.
fn check(mails: &[Mail], replies: &[Result<String, String>], server: &Server, took: Duration) -> Report {
    let octets = mails.iter().map(|mail| mail.octets.len()).sum();
    let mut report = Report { sent: mails.len(), fates: BTreeMap::new(), octets, took, problems: Vec::new() };
    let mut stored = by_reverse_path(server.maildir("alice").messages(), &mut report.problems);
    for (mail, reply) in mails.iter().zip(replies) {
        let files = stored.remove(&reverse_path(mail.number)).unwrap_or_default();
        let answered = reply.as_deref().map(fate_of);
        match (answered, files.as_slice()) {
            (Ok(Some(DELIVERED)), [file]) => {
                report.count(mail, if file.folder == "Junk" { "delivered to Junk" } else { "delivered to the inbox" });
                report.problems.extend(differences(mail, file).map(|what| format!("mail {}: {what}", mail.number)));
            }
            (Ok(Some(fate)), []) if fate != DELIVERED => report.count(mail, fate),
            (Ok(Some(fate)), files) => {
                report.problems.push(format!("mail {}: {fate}, but {} files", mail.number, files.len()));
            }
            (Ok(None), _) => {
                // The codes alone: the text may name a domain.
                let codes: String = reply.iter().flat_map(|reply| reply.chars().take(9)).collect();
                report.problems.push(format!("mail {}: a reply that is not listed, {codes}", mail.number));
            }
            (Err(error), _) => report.problems.push(format!("mail {}: {error}", mail.number)),
        }
    }
    report.problems.extend(stored.keys().map(|_| "a file that nobody sent".to_owned()));
    report
}

fn fate_of(reply: &str) -> Option<&'static str> {
    REPLIES.iter().find(|(start, _)| reply.starts_with(start)).map(|(_, fate)| *fate)
}

fn by_reverse_path(files: Vec<Stored>, problems: &mut Vec<String>) -> BTreeMap<String, Vec<Stored>> {
    let mut found: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for file in files {
        let first = file.octets.split(|&octet| octet == b'\n').next().unwrap_or_default();
        let path = first.strip_prefix(b"Return-Path: <").and_then(|rest| rest.strip_suffix(b">"));
        match path {
            Some(path) => found.entry(String::from_utf8_lossy(path).into_owned()).or_default().push(file),
            None => problems.push("a file that does not begin with Return-Path".to_owned()),
        }
    }
    found
}

/// What is wrong with a file, if anything is.
fn differences(mail: &Mail, file: &Stored) -> Option<String> {
    let expected = expected(&mail.octets);
    let Some(trace) = file.octets.strip_suffix(expected.as_slice()) else {
        return Some("what is stored is not what was sent".to_owned());
    };
    if let Some(wrong) = wrong_trace(trace) {
        return Some(wrong);
    }
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lines = file.octets.iter().filter(|&&octet| octet == b'\n').count();
    let sizes = format!(",S={},W={}", file.octets.len(), file.octets.len() + lines);
    (!name.ends_with(&sizes)).then(|| "the sizes in the file's name are wrong".to_owned())
}

/// What must stand below our trace fields: the lines that were sent, with LF, less the fields that only we may write.
fn expected(sent: &[u8]) -> Vec<u8> {
    let (mut kept, mut in_header, mut dropping) = (Vec::new(), true, false);
    for line in sent.split_inclusive(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("every line was made to end in CRLF");
        in_header &= !line.is_empty();
        match line.first() {
            Some(b' ' | b'\t') if in_header => {}
            _ => dropping = in_header && is_reserved(line),
        }
        if !dropping {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    kept
}

/// Does this line begin a field that only we may write?
fn is_reserved(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    let Some((name, value)) = line.split_once(':') else { return false };
    match name.trim_end() {
        "return-path" => true,
        "authentication-results" => value.contains("mx.example.test"),
        name => name.starts_with("x-spam-") && !name.contains(char::is_whitespace),
    }
}

/// Our trace fields must be there once each, in their order, then X-Spam-*, and nothing else.
fn wrong_trace(trace: &[u8]) -> Option<String> {
    let Ok(text) = str::from_utf8(trace) else { return Some("trace fields that are not ASCII".to_owned()) };
    let begins = |line: &&str| !line.starts_with(['\t', ' ']);
    let names: Vec<&str> = text.lines().filter(begins).map(|line| line.split(':').next().unwrap_or_default()).collect();
    match names.split_at_checked(TRACE.len()) {
        Some((first, spam)) if first == TRACE && !spam.is_empty() && spam.iter().all(|n| n.starts_with("X-Spam-")) => {
            None
        }
        _ => Some("the trace fields are not those that they must be".to_owned()),
    }
}

/// Signs that the server did not take it well, and whether it ends in order.
fn ill_health(server: &mut Server) -> Vec<String> {
    let mut signs = Vec::new();
    if !server.maildir("alice").unfinished().is_empty() {
        signs.push("files are left under tmp/".to_owned());
    }
    let status = server.stop();
    if !status.success() {
        signs.push(format!("the server ended with {status}"));
    }
    let log = server.log();
    for sign in ["panicked", "ERROR", "internal_error"] {
        let lines = log.lines().filter(|line| line.contains(sign)).count();
        if lines > 0 {
            signs.push(format!("{lines} lines of the log say {sign}"));
        }
    }
    signs
}
