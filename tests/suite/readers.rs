//! What mxkeep delivers, as those read it for whom it is delivered: a real Dovecot over IMAP, and Python's `mailbox`.
//!
//! Octet for octet: what a reader gets is our trace fields, and then what was sent. Dovecot takes the sizes from the file
//! names (`S=`, `W=`), and logs an error where one is wrong: its log must be silent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::dialogue::Settings;
use crate::support::dovecot::Dovecot;
use crate::support::imap::Imap;
use crate::support::owner::Owner;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;
use crate::support::tool;

/// What this sender sends is junk, what others send is not.
const JUNK_SENDER: &str = "junk@client.example";
const SENDER: &str = "sender@client.example";
const JUNK_RULE: &str = "header JUNK EnvelopeFrom =~ /^junk@/\nscore JUNK 6";

/// A server whose files belong to `owner`, with more of a configuration.
fn server(owner: &Owner, configuration: &str) -> Server {
    Server::start(Options {
        settings: Settings { message_octets_max: 4 << 20, ..Settings::default() },
        rules: JUNK_RULE.to_owned(),
        configuration: configuration.to_owned(),
        owner: Some(owner.clone()),
        ..Options::default()
    })
}

/// A Dovecot that serves this server's Maildirs, with more of a configuration.
fn dovecot(server: &Server, owner: &Owner, configuration: &str) -> Option<Dovecot> {
    let location = format!("maildir:{}/mail/%d/%n/Maildir", server.directory().display());
    Dovecot::start(owner, &format!("mail_location = {location}\n{configuration}"))
}

/// Messages in which something is unusual.
fn mails() -> Vec<(&'static str, Vec<u8>)> {
    let head = "Received: from a.example by b.example; Sun, 22 Nov 2026 10:00:00 +0000\r\n\
                From: Sender <sender@client.example>\r\nSubject: a long\r\n one\r\n\r\n";
    let lines = |octets: usize| [b"a".repeat(octets), b"\r\n".to_vec()].concat();
    let with_body = |body: &[u8]| [head.as_bytes(), body].concat();
    let text = "A line of text as there are many, and of a length that is usual.\r\n".repeat(16_000);
    vec![
        ("plain", with_body(b"Hello.\r\n")),
        ("dots", with_body(b".\r\n..\r\n.a\r\n...\r\n \r\n.\r\n")),
        ("long lines", with_body(&[lines(998), lines(999), lines(5_000), lines(100_000)].concat())),
        ("a long header line", [b"Subject: ", &lines(3_000)[..], b"\r\nbody\r\n"].concat()),
        (
            "8-bit",
            [b"Subject: \xfcber \xe2\x82\xac\r\n\r\n", &(0x80..=0xff).collect::<Vec<u8>>()[..], b"\r\n"].concat(),
        ),
        ("control characters", with_body(b"\x01\x07\x08\x0c\x1b[31m\x7f\r\n")),
        ("NUL", with_body(b"a\0b\0\0\r\n\0\r\n")),
        ("an empty body", with_body(b"")),
        ("empty lines", with_body(b"\r\n\r\n\r\n")),
        ("no empty line", b"Subject: a header section and no more\r\nX-Last: field\r\n".to_vec()),
        ("no header", b"\r\nonly a body\r\n".to_vec()),
        ("no header and no empty line", b"Just a line, and no field.\r\nAnd another one.\r\n".to_vec()),
        ("white space first", b" it would continue our trace fields\r\nSubject: x\r\n\r\nbody\r\n".to_vec()),
        ("a From line inside", with_body(b"From x Sun Nov 22 10:00:00 2026\r\n>From y\r\n")),
        ("one octet", b"x\r\n".to_vec()),
        ("one empty line", b"\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("1 MB", with_body(text.as_bytes())),
    ]
}

/// Delivers every mail to alice, once as ordinary mail and once as junk.
fn deliver(server: &Server) {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    for sender in [SENDER, JUNK_SENDER] {
        for (name, octets) in mails() {
            let reply = client.message(sender, &["alice@example.test"], &octets);
            assert!(reply.starts_with("250 "), "{name}: {reply}");
        }
    }
}

/// Are these octets our trace fields, and then what was sent?
#[track_caller]
fn check_octets(name: &str, served: &[u8], sent: &[u8], sender: &str) {
    let Some(trace) = served.strip_suffix(sent) else {
        let end = &served[served.len().saturating_sub(sent.len())..];
        let first = end.iter().zip(sent).position(|(a, b)| a != b);
        panic!("{name}: {} octets end otherwise than the {} sent, at {first:?}", served.len(), sent.len());
    };
    let trace = String::from_utf8(trace.to_vec()).expect("trace fields are ASCII");
    let lines: Vec<&str> = trace.strip_suffix("\r\n").expect("CRLF ends them").split("\r\n").collect();
    assert!(!lines.iter().any(|line| line.contains(['\r', '\n'])), "{name}: {trace:?}");
    let names = lines.iter().filter(|line| !line.starts_with(['\t', ' ']));
    let names: Vec<&str> = names.map(|line| line.split_once(':').expect("a field").0).collect();
    let mut expected = vec!["Return-Path", "Delivered-To", "Received", "Authentication-Results"];
    expected.extend(match sender == JUNK_SENDER {
        true => &["X-Spam-Flag", "X-Spam-Score", "X-Spam-Level", "X-Spam-Status"][..],
        false => &["X-Spam-Score", "X-Spam-Status"],
    });
    if sent.starts_with(b" ") {
        expected.push("X-Mxkeep-Note");
    }
    assert_eq!(names, expected, "{name}: {trace}");
    assert_eq!(lines[..2], [&format!("Return-Path: <{sender}>"), "Delivered-To: alice@example.test"], "{name}");
}

#[test]
fn imap_serves_what_was_sent() {
    check_imap("", "", "Junk");
}

/// With CRLF on disk, Junk in a folder of a folder, and names as Courier's users know them, but for the slash.
#[test]
fn imap_serves_what_was_sent_under_other_settings() {
    let ours = "storage.line_endings = \"crlf\"\npolicy.junk_folder = \"Filtered.Junk\"";
    let dovecots = "namespace inbox {\n  inbox = yes\n  prefix = INBOX/\n  separator = /\n}\n";
    check_imap(ours, dovecots, "INBOX/Filtered/Junk");
}

fn check_imap(ours: &str, dovecots: &str, junk: &str) {
    let owner = Owner::of_mail();
    let server = server(&owner, ours);
    let Some(dovecot) = dovecot(&server, &owner, dovecots) else { return };
    deliver(&server);
    check_sizes_on_disk(&server, ours.contains("crlf"));
    let mut imap = dovecot.client("alice@example.test");
    assert_eq!(imap.names("LSUB"), [junk]);
    let listed = imap.names("LIST");
    assert!(listed.contains(&junk.to_owned()) && listed.contains(&"INBOX".to_owned()), "{listed:?}");
    check_mailbox(&mut imap, "INBOX", SENDER);
    check_mailbox(&mut imap, junk, JUNK_SENDER);
    imap.command(&format!("UNSUBSCRIBE {junk}"));
    assert_eq!(imap.names("LSUB"), [""; 0]);
    imap.command("LOGOUT");
    assert_eq!(dovecot.complaints(), [""; 0]);
}

/// `S=`, which Dovecot only uses for quota and statistics, and how lines end.
fn check_sizes_on_disk(server: &Server, crlf: bool) {
    for stored in server.maildir("alice").messages() {
        let name = stored.path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.contains(&format!(",S={},W=", stored.octets.len())), "{name}: {} octets", stored.octets.len());
        assert_eq!(stored.octets.contains(&b'\r'), crlf, "{name}");
    }
}

/// Are all mails in this mailbox, in the order in which they were sent, and of the sizes that Dovecot was told?
fn check_mailbox(imap: &mut Imap, mailbox: &str, sender: &str) {
    let status = imap.command(&format!("STATUS {mailbox} (MESSAGES SIZE)"));
    let told = |words| status[0].number_after(words).unwrap_or_else(|| panic!("{}", status[0].line));
    let (messages, size) = (told("MESSAGES "), told("SIZE "));
    imap.select(mailbox);
    let (mails, sizes) = (mails(), imap.sizes());
    assert_eq!((messages, sizes.len(), size), (mails.len() as u64, mails.len(), sizes.iter().sum::<u64>()));
    for (at, (name, sent)) in mails.iter().enumerate() {
        let served = imap.octets(at + 1, "BODY.PEEK[]");
        assert_eq!(served.len() as u64, sizes[at], "{name}: RFC822.SIZE");
        // A literal has no NUL (RFC 9051 section 4.3), and Dovecot serves 0x80 for it; only BINARY (RFC 3516) has it.
        let visible: Vec<u8> = sent.iter().map(|&octet| if octet == 0 { 0x80 } else { octet }).collect();
        check_octets(name, &served, &visible, sender);
        if sent.contains(&0) {
            check_octets(name, &imap.octets(at + 1, "BINARY.PEEK[]"), sent, sender);
        }
    }
}

/// That Dovecot's log is silent says something only if it speaks where a name is wrong. (A `W=` that is too small cuts the
/// message short without a word: that is what `check_octets` finds.)
#[test]
fn dovecot_complains_of_a_wrong_size() {
    let owner = Owner::of_mail();
    let server = server(&owner, "");
    let Some(dovecot) = dovecot(&server, &owner, "") else { return };
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.message(SENDER, &["alice@example.test"], b"Subject: x\r\n\r\nbody\r\n");
    let path = server.maildir("alice").messages().remove(0).path;
    let (name, octets) = path.to_str().and_then(|path| path.rsplit_once("W=")).expect("W= comes last");
    let wrong = octets.parse::<u64>().expect("a number") + 1;
    fs::rename(&path, format!("{name}W={wrong}")).expect("it can be renamed");
    let mut imap = dovecot.client("alice@example.test");
    imap.select("INBOX");
    assert_eq!(imap.sizes(), [wrong]);
    // It has promised a literal of that length, finds no more octets, and can only hang up.
    imap.last_command("FETCH 1 BODY.PEEK[]");
    let complaints = dovecot.complaints();
    assert!(complaints.iter().any(|line| line.contains("wrong W value")), "{complaints:?}");
}

/// How many messages are delivered to bob while his mail program works; every fourth is junk.
const BUSY_MESSAGES: usize = 60;
/// The longest that all of this may take.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// What users see between a folder's levels.
const SLASH: &str = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";

#[test]
fn a_maildir_that_dovecot_made_and_uses_gets_more_mail() {
    let owner = Owner::of_mail();
    let server = server(&owner, "policy.junk_folder = \"Filtered.Junk\"");
    let Some(dovecot) = dovecot(&server, &owner, SLASH) else { return };
    let mut imap = dovecot.client("bob@example.test");
    for command in ["CREATE Sent", "SUBSCRIBE Sent", "CREATE Drafts"] {
        imap.command(command);
    }
    imap.append("INBOX", "\\Seen", b"Subject: by Dovecot\r\n\r\nhis own\r\n");
    let uid_validity = imap.select("INBOX");

    let first = || deliver_to_bob(&server, 0..1, SENDER);
    imap.idle(first, "* 2 EXISTS");
    let flags = &imap.command("FETCH 2 FLAGS")[0];
    assert!(flags.line.contains("(\\Recent)"), "{}", flags.line);
    check_name_in_cur(&server);

    let found = thread::scope(|scope| {
        let sending = scope.spawn(|| deliver_to_bob(&server, 1..BUSY_MESSAGES, SENDER));
        let junk = scope.spawn(|| deliver_to_bob(&server, 0..BUSY_MESSAGES / 4, JUNK_SENDER));
        let found = read_and_expunge(&mut imap);
        sending.join().and_then(|()| junk.join()).expect("they deliver");
        found
    });
    // Each of them whole, and once; and the one that Dovecot itself put there.
    let expected = (0..BUSY_MESSAGES).map(|number| (Some(number), 1)).chain([(None, 1)]).collect();
    assert_eq!(found, expected);
    assert_eq!(imap.select("INBOX"), uid_validity);
    // No other message was ever there.
    let uid_next = imap.command("STATUS INBOX (UIDNEXT)")[0].number_after("UIDNEXT ");
    assert_eq!(uid_next, Some(BUSY_MESSAGES as u64 + 2));
    imap.select("Filtered/Junk");
    assert_eq!(imap.sizes().len(), BUSY_MESSAGES / 4);
    check_subscriptions(&mut imap, &server.maildir("bob").path().join("subscriptions"));
    let listed = imap.names("LIST");
    assert!(
        ["Drafts", "Filtered/Junk", "INBOX", "Sent"].iter().all(|name| listed.iter().any(|n| n == name)),
        "{listed:?}"
    );
    imap.command("LOGOUT");
    assert!(server.maildir("bob").unfinished().is_empty());
    check_flags(&server);
    assert_eq!(dovecot.complaints(), [""; 0]);
}

fn deliver_to_bob(server: &Server, numbers: std::ops::Range<usize>, sender: &str) {
    let mut client = Client::greeted(server.address());
    client.expect("EHLO client.example", "250");
    for number in numbers {
        let reply = client.message(sender, &["bob@example.test"], numbered(number).as_bytes());
        assert!(reply.starts_with("250 "), "{reply}");
    }
}

fn numbered(number: usize) -> String {
    format!("Subject: number {number}\r\n\r\n{}", "text \r\n".repeat(number))
}

/// Dovecot has taken the message from new/ to cur/, under the name that we gave it.
fn check_name_in_cur(server: &Server) {
    let messages = server.maildir("bob").messages();
    let ours = messages.iter().find(|message| message.trace_field("Return-Path").is_some()).expect("it is there");
    let path = ours.path.to_string_lossy();
    assert!(path.contains("/cur/") && path.contains(&format!(",S={},W=", ours.octets.len())), "{path}");
}

/// Junk was added to what Dovecot wrote, just as Dovecot itself would have done it.
fn check_subscriptions(imap: &mut Imap, file: &Path) {
    let read = || fs::read_to_string(file).expect("the file is there");
    let ours = read();
    assert_eq!(imap.names("LSUB"), ["Filtered/Junk", "Sent"], "{ours:?}");
    imap.command("UNSUBSCRIBE Filtered/Junk");
    assert_eq!(imap.names("LSUB"), ["Sent"], "{ours:?}");
    imap.command("SUBSCRIBE Filtered/Junk");
    assert_eq!(ours, read());
}

/// The flags that were set over IMAP stand behind the names that we gave, where other programs find them.
fn check_flags(server: &Server) {
    let Some(found) = read_with_python(server.maildir("bob").path()) else { return };
    let (inbox, junk): (Vec<_>, Vec<_>) = found.iter().partition(|seen| seen.folder.is_empty());
    assert!(inbox.len() > BUSY_MESSAGES / 3 && junk.len() == BUSY_MESSAGES / 4, "{} {}", inbox.len(), junk.len());
    assert!(inbox.iter().all(|seen| seen.directory == "cur" && seen.flags == "S"));
    assert!(junk.iter().all(|seen| seen.directory == "cur" && seen.flags.is_empty()));
}

/// As a mail program does: reads what is new, marks it, and expunges every second message. How often each number came.
fn read_and_expunge(imap: &mut Imap) -> BTreeMap<Option<usize>, usize> {
    let (started, mut seen, mut next_uid) = (Instant::now(), BTreeMap::new(), 1);
    while seen.len() < BUSY_MESSAGES + 1 {
        assert!(started.elapsed() < BUSY_MAX, "only these came: {seen:?}");
        imap.command("NOOP");
        for response in imap.command(&format!("UID FETCH {next_uid}:* (UID RFC822.SIZE BODY.PEEK[])")) {
            // `n:*` always has the last message in it, even one before n.
            let Some(uid) = response.number_after("UID ").filter(|&uid| uid >= next_uid) else { continue };
            assert_eq!(response.number_after("RFC822.SIZE "), Some(response.literals[0].len() as u64));
            *seen.entry(number_of(&response.literals[0])).or_default() += 1;
            next_uid = uid + 1;
            imap.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Seen)"));
            if uid % 2 == 0 {
                imap.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
                imap.command("EXPUNGE");
            }
        }
    }
    seen
}

/// Which of the numbered messages is this?
fn number_of(octets: &[u8]) -> Option<usize> {
    let is_it = |number: &usize| octets.ends_with(format!("\r\n{}", numbered(*number)).as_bytes());
    (0..BUSY_MESSAGES).find(is_it)
}

/// `storage.line_endings = "lf"`: Python, as most programs on the machine itself, sees the file as it is.
#[test]
fn pythons_mailbox_reads_what_was_sent() {
    let server = server(&Owner::of_mail(), "");
    deliver(&server);
    let Some(found) = read_with_python(server.maildir("alice").path()) else { return };
    assert_eq!(found.len(), 2 * mails().len());
    for (folder, sender) in [("", SENDER), ("Junk", JUNK_SENDER)] {
        let in_folder = found.iter().filter(|seen| seen.folder == folder);
        for ((name, sent), seen) in mails().iter().zip(in_folder) {
            check_octets(name, &seen.octets, sent, sender);
            assert_eq!((seen.directory.as_str(), seen.flags.as_str()), ("new", ""), "{name}");
            assert_eq!(seen.field("Return-Path"), Some(format!("<{sender}>").as_str()), "{name}");
            if *name == "plain" {
                assert_eq!(seen.field("Subject"), Some("a long\n one"));
            }
        }
    }
}

/// The messages of each folder in the order in which they were delivered. `None` where there is no Python.
fn read_with_python(maildir: &Path) -> Option<Vec<Seen>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support/read_maildir.py");
    let output = Command::new(tool::find("python3")?).arg(script).arg(maildir).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(Seen::parse).collect())
}

/// A message as Python sees it.
struct Seen {
    folder: String,
    directory: String,
    flags: String,
    fields: Vec<(String, String)>,
    /// With CRLF again.
    octets: Vec<u8>,
}

impl Seen {
    fn parse(line: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| value[key].as_str().expect("a string").to_owned();
        let fields = serde_json::from_value(value["fields"].clone()).expect("pairs of strings");
        let hex = text("octets");
        let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        let with_crlf = octets.flat_map(|octet| if octet == b'\n' { vec![b'\r', b'\n'] } else { vec![octet] });
        Seen {
            folder: text("folder"),
            directory: text("directory"),
            flags: text("flags"),
            fields,
            octets: with_crlf.collect(),
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
