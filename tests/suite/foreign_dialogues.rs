//! The SMTP dialogues of other servers' test suites (chasquid, Apache James), held with ours.
//!
//! They stand beside the repository, in `$MXKEEP_SUITES` or `../shared/suites`: nothing of theirs is copied here. Reply
//! codes are compared. Where ours differs, a row of [`DIFFERENCES`] says why; a difference without a row fails, and so
//! does a row without a difference.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::dialogue::Settings;
use crate::support::server::{Options, Server};
use crate::support::shared;
use crate::support::smtp_client::Client;

/// Dialogue, line, our code (`end`: we have closed the connection), their code, the section and why.
type Difference = (&'static str, usize, &'static str, u16, &'static str);

const DIFFERENCES: &[Difference] = &[
    // AUTH is not offered: it is a command like any other that nobody knows (RFC 5321 section 4.2.4).
    (
        "chasquid/t-12-minor_dialogs/auth_not_tls",
        8,
        "500",
        503,
        "RFC 4954 section 4: nothing to say before AUTH is offered",
    ),
    // A line of the header section that is no field.
    (
        "chasquid/t-12-minor_dialogs/bad_data",
        35,
        "250",
        554,
        "RFC 5321 section 3.3: SHOULD NOT reject perceived defects",
    ),
    // Bare LF: both refuse. 521 says that the host takes no mail at all (RFC 7504), and is not for one message.
    ("chasquid/t-12-minor_dialogs/bad_data_dot", 28, "550", 521, "RFC 5321 section 4.2.3, RFC 7504 section 3"),
    ("chasquid/t-12-minor_dialogs/bad_data_dot_2", 28, "550", 521, "RFC 5321 section 4.2.3, RFC 7504 section 3"),
    ("chasquid/t-12-minor_dialogs/bad_data_dot_on_message_too_big", 36, "550", 521, "RFC 7504 section 3"),
    // A known command with a malformed argument.
    ("chasquid/t-12-minor_dialogs/bad_mail_from", 8, "501", 500, "RFC 5321 section 4.1.4: 501 MUST be returned"),
    ("chasquid/t-12-minor_dialogs/bad_mail_from", 11, "501", 500, "RFC 5321 section 4.1.4: 501 MUST be returned"),
    ("chasquid/t-12-minor_dialogs/bad_rcpt_to", 11, "501", 500, "RFC 5321 section 4.1.4: 501 MUST be returned"),
    ("chasquid/t-12-minor_dialogs/bad_rcpt_to", 14, "501", 500, "RFC 5321 section 4.1.4: 501 MUST be returned"),
    // UTF-8 in a recipient, without SMTPUTF8.
    ("chasquid/t-12-minor_dialogs/bad_rcpt_to", 41, "553", 550, "RFC 6531 section 3.5: 553 or 550, with X.6.7"),
    // A name of a thousand octets in HELO: our limit for lines is higher, and it is no domain.
    ("chasquid/t-12-minor_dialogs/line_too_long", 5, "501", 554, "RFC 5321 sections 4.1.1.1 and 4.5.3.1.4"),
    // HTTP: both refuse, and we hang up.
    ("chasquid/t-12-minor_dialogs/wrong_proto", 5, "421", 502, "RFC 5321 section 3.8: the connection ends"),
    ("chasquid/t-12-minor_dialogs/wrong_proto", 10, "421", 502, "RFC 5321 section 3.8: the connection ends"),
    ("chasquid/t-12-minor_dialogs/wrong_proto", 15, "421", 502, "RFC 5321 section 3.8: the connection ends"),
    // Submission: AUTH is not offered, what follows it is no command, and nobody relays here.
    ("james/starttls_session_fixation", 12, "500", 334, "RFC 5321 section 4.2.4; RFC 4954 section 4"),
    ("james/starttls_session_fixation", 14, "500", 334, "RFC 5321 section 4.2.4; RFC 4954 section 4"),
    ("james/starttls_session_fixation", 16, "500", 235, "RFC 5321 section 4.2.4; RFC 4954 section 4"),
    ("james/starttls_session_fixation", 22, "550", 250, "RFC 5321 section 7.9: no relay"),
    // Nothing is fixed: the transaction is forgotten with all that was said before TLS.
    ("james/starttls_session_fixation", 25, "220", 501, "RFC 3207 section 4.2: discard what was said before"),
    // Injected commands: they are never read, and the connection ends; whether 220 is seen before is a matter of timing.
    ("james/starttls_with_injection", 14, "220 or end", 451, "RFC 3207 section 6; CVE-2011-0411"),
];

/// One line of a dialogue.
#[derive(Debug)]
enum Event {
    Connect,
    Send(Vec<u8>),
    Expect(u16),
}

#[derive(Debug)]
struct Dialogue {
    name: String,
    /// With the number of the line.
    events: Vec<(usize, Event)>,
    /// What must have been delivered last, with LF.
    delivered: Option<Vec<u8>>,
}

#[test]
fn chasquid() {
    let Some(folder) = shared::suite("foreign_dialogues::chasquid", "smtp-chasquid-dialogs/data/test") else { return };
    let dialogues: Vec<Dialogue> = files(&folder, "cmy").iter().filter_map(|path| read_chasquid(path)).collect();
    assert!(dialogues.len() >= 14, "the dialogues are there: {}", dialogues.len());
    hold_all("chasquid/", &dialogues);
}

#[test]
fn james() {
    let Some(folder) = shared::suite("foreign_dialogues::james", "smtp-james-mpt/data") else { return };
    let dialogues: Vec<Dialogue> = files(&folder, "test").iter().map(|path| read_james(path)).collect();
    assert!(dialogues.len() >= 5, "the dialogues are there: {}", dialogues.len());
    hold_all("james/", &dialogues);
}

/// Every file below this folder whose name ends like this, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path, extension),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// Lines are `c -> line`, `c ~> 'python' * 2`, `c <- code ...`, `c <~ code`, `c <... last line of a reply`, and
/// `c tcp_connect`. `None` for what is no dialogue with port 25: shell commands, LMTP, submission.
fn read_chasquid(path: &Path) -> Option<Dialogue> {
    let text = fs::read_to_string(path).expect("UTF-8");
    let mut events = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.strip_prefix("c ").unwrap_or(line);
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let event = match mark {
            "tcp_connect" if rest == "localhost:1025" => Event::Connect,
            "tcp_connect" | "tls_connect" | "unix_listen" | "=" => return None,
            "->" => Event::Send(format!("{}\r\n", bracketed(rest)).into_bytes()),
            "~>" => Event::Send(python(&mut rest.as_bytes())),
            "<-" | "<~" | "<..." => Event::Expect(rest[..3].parse().expect("a code")),
            _ => continue,
        };
        events.push((at + 1, event));
    }
    let delivered = fs::read(path.with_extension("cmy.verify")).ok();
    let folder = stem(path.parent().expect("a folder"));
    Some(Dialogue { name: format!("chasquid/{folder}/{}", stem(path)), events, delivered })
}

/// chasquid takes a path without brackets, which RFC 5321 section 4.1.2 does not know: they are added, so that the rest of
/// the dialogue has a meaning. That we refuse such paths is held by dialogues of ours (rcpt-syntax, mail-syntax).
fn bracketed(line: &str) -> String {
    match line.strip_prefix("RCPT TO: ") {
        Some(path) if !path.starts_with('<') => format!("RCPT TO:<{path}>"),
        _ => line.to_owned(),
    }
}

/// Lines are `C: line`, with `\r\n` for what is injected, and `S: pattern`: a reply ends with a space behind its code.
fn read_james(path: &Path) -> Dialogue {
    let text = fs::read_to_string(path).expect("UTF-8");
    let mut events = vec![(0, Event::Connect)];
    for (at, line) in text.lines().enumerate() {
        if let Some(line) = line.strip_prefix("C:") {
            let line = line.strip_prefix(' ').unwrap_or(line).replace("\\r\\n", "\r\n");
            let end = if line.ends_with("\r\n") { "" } else { "\r\n" };
            events.push((at + 1, Event::Send(format!("{line}{end}").into_bytes())));
        } else if let Some(reply) = line.strip_prefix("S: ")
            && reply.as_bytes()[3] == b' '
        {
            events.push((at + 1, Event::Expect(reply[..3].parse().expect("a code"))));
        }
    }
    Dialogue { name: format!("james/{}", stem(path)), events, delivered: None }
}

/// What `'a' * 2 + ('b\r\n') * 3` means in Python.
fn python(rest: &mut &[u8]) -> Vec<u8> {
    let mut sum = Vec::new();
    loop {
        let mut product = atom(rest);
        while take(rest, b'*') {
            let digits = rest.iter().skip_while(|b| **b == b' ').take_while(|b| b.is_ascii_digit()).count();
            let number = rest.trim_ascii_start();
            let times = std::str::from_utf8(&number[..digits]).expect("digits").parse().expect("a number");
            product = product.repeat(times);
            *rest = &number[digits..];
        }
        sum.append(&mut product);
        if !take(rest, b'+') {
            return sum;
        }
    }
}

fn atom(rest: &mut &[u8]) -> Vec<u8> {
    if take(rest, b'(') {
        let inner = python(rest);
        assert!(take(rest, b')'), "a bracket is missing");
        return inner;
    }
    assert!(take(rest, b'\''), "a string is missing");
    let end = rest.iter().position(|b| *b == b'\'').expect("the string ends");
    let text = std::str::from_utf8(&rest[..end]).expect("UTF-8").replace("\\r", "\r").replace("\\n", "\n");
    *rest = &rest[end + 1..];
    text.into_bytes()
}

fn take(rest: &mut &[u8], wanted: u8) -> bool {
    *rest = rest.trim_ascii_start();
    let found = rest.first() == Some(&wanted);
    *rest = &rest[usize::from(found)..];
    found
}

/// Holds them with one server, and compares what differs with the rows that begin with this.
fn hold_all(suite: &str, dialogues: &[Dialogue]) {
    let server = Server::start(Options {
        settings: Settings { message_octets_max: 1024 * 1024, starttls: true, ..Settings::default() },
        configuration: "domains.\"testserver\".mailboxes = [\"user\"]\ndomains.\"mydomain.tld\".mailboxes = [\"bob\"]"
            .to_owned(),
        ..Options::default()
    });
    let mut failures = Vec::new();
    let mut rows: Vec<&Difference> = DIFFERENCES.iter().filter(|(name, ..)| name.starts_with(suite)).collect();
    for dialogue in dialogues {
        for (line, ours, theirs) in hold(&server, dialogue) {
            let fits = |row: &&Difference| {
                (row.0, row.1, row.3) == (dialogue.name.as_str(), line, theirs)
                    && row.2.split(" or ").any(|code| code == ours)
            };
            match rows.iter().position(fits) {
                Some(at) => drop(rows.remove(at)),
                None => failures.push(format!("{}:{line}: ours {ours}, theirs {theirs}", dialogue.name)),
            }
        }
        if let Some(expected) = &dialogue.delivered {
            let messages = server.maildir_at("testserver", "user").take_messages();
            let octets =
                messages.last().map(|stored| String::from_utf8_lossy(&stored.as_received()).replace("\r\n", "\n"));
            if octets.as_deref() != Some(&*String::from_utf8_lossy(expected)) {
                failures.push(format!("{}: delivered {octets:#?}", dialogue.name));
            }
        }
    }
    failures.extend(rows.iter().map(|row| format!("{}:{}: a row, and no difference", row.0, row.1)));
    assert!(failures.is_empty(), "{}\n\n{}", failures.join("\n"), server.log());
}

/// Says what they say, and tells where a code differs: line, ours, theirs.
fn hold(server: &Server, dialogue: &Dialogue) -> Vec<(usize, String, u16)> {
    let mut client = None;
    let mut differences = Vec::new();
    for (line, event) in &dialogue.events {
        match event {
            Event::Connect => client = Some(Client::connect(server.address())),
            // Where we have closed the connection this fails, and what is expected next differs.
            Event::Send(octets) => drop(client.as_mut().map(|client| client.send(octets))),
            Event::Expect(theirs) => {
                let reply = client.as_mut().and_then(Client::reply);
                let ours = reply.map_or("end".to_owned(), |reply| reply[..3].to_owned());
                if ours != theirs.to_string() {
                    differences.push((*line, ours, *theirs));
                }
            }
        }
    }
    differences
}
