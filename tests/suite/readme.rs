//! README.md says what the program does: its tables and examples are held against the code.
//!
//! A table stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. Where one is wrong, the failure shows what the
//! code says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mxkeep::address::Mailbox;
use mxkeep::config::{Config, KEYS, Key, Preset};
use mxkeep::envelope::Id;
use mxkeep::rules::Rules;
use mxkeep::smtp::{Reply, reply};
use mxkeep::verdict::{Cause, Folder, Question, Verdict};

use crate::support::server::{Options, Server};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is a README.md")
}

/// The rows of a table, without its head, as cells without surrounding white space.
fn table(name: &str) -> Vec<Vec<String>> {
    let readme = readme();
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (_, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let (text, _) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

/// The first cells of each row, as a set of lines.
fn first_cells(name: &str, count: usize) -> BTreeSet<String> {
    table(name).iter().map(|row| row[..count].join(" | ")).collect()
}

/// The text blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    let starts = readme.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn check(name: &str, said: &BTreeSet<String>, code: &BTreeSet<String>) {
    let missing: Vec<_> = code.difference(said).collect();
    let wrong: Vec<_> = said.difference(code).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "README.md, table \"{name}\"\nmissing: {missing:#?}\nnot so in the code: {wrong:#?}"
    );
}

/// Code, enhanced status and text of a reply, as the tables have them.
fn shown(reply: &Reply) -> String {
    let text = reply.to_string();
    // The first of several lines has a hyphen behind its code.
    let first = text.split(" / ").next().unwrap_or_default();
    let (code, text) = (&first[..3], &first[4..]);
    match reply.enhanced() {
        Some(enhanced) => {
            let text = text.strip_prefix(&format!("{enhanced} ")).expect("the enhanced status code");
            format!("{code} {enhanced} | {text}")
        }
        None => format!("{code} | {text}"),
    }
}

/// Every cause. The match in it makes the compiler complain when there is a new one.
fn causes() -> Vec<Cause> {
    use Cause::*;
    let domain = || "example.net".to_owned();
    let all = vec![
        NotOurDomain,
        UnknownMailbox,
        NotificationRecipients,
        MixedClasses,
        SeveralFromFields,
        SeveralAuthors,
        MalformedFrom,
        DmarcReject { domain: domain() },
        DmarcOverride { domain: domain() },
        DmarcQuarantine,
        DmarcUnverified,
        DmarcTemporary { domain: domain() },
        ForwarderTemporary { domain: domain() },
        Score { score: 17.2, threshold: 15.0 },
        InFlight,
        NoRoom,
        TooBusy,
        StorageFull,
        StorageFailed,
        Internal,
    ];
    for cause in &all {
        match cause {
            NotOurDomain | UnknownMailbox | NotificationRecipients | MixedClasses | SeveralAuthors => {}
            SeveralFromFields | MalformedFrom | DmarcReject { .. } | DmarcOverride { .. } => {}
            DmarcQuarantine | DmarcUnverified | DmarcTemporary { .. } | ForwarderTemporary { .. } | Score { .. } => {}
            InFlight | NoRoom | TooBusy | StorageFull | StorageFailed | Internal => {}
        }
    }
    all
}

#[test]
fn the_replies_of_policy_are_those_of_the_code() {
    let id = Id::from_bits(1);
    let refusals = causes().into_iter().map(|cause| {
        let name = format!("`{}`", cause.name());
        (Verdict::Reject(cause).reply(Question::Recipient, &id), name)
    });
    let positive = [
        (Verdict::Accept, Question::Sender),
        (Verdict::Accept, Question::Recipient),
        (Verdict::Deliver(Folder::Inbox), Question::Message),
    ];
    let positive = positive.map(|(verdict, question)| (verdict.reply(question, &id), String::new()));
    let suffix = format!(" ({id})");
    let code = positive.into_iter().chain(refusals).map(|(reply, cause)| {
        let shown = shown(&reply);
        let shown = shown.strip_suffix(&suffix).expect("each policy reply carries the id");
        format!("{shown} | {cause}")
    });
    check("replies", &first_cells("replies", 3), &code.collect());
}

/// Each function of `smtp/reply.rs` that spells a reply, by name, with what the README puts into it.
fn protocol_replies() -> Vec<(&'static str, Reply)> {
    const HOST: &str = "mx.example.org";
    vec![
        ("banner", reply::banner(HOST)),
        ("helo", reply::helo(HOST)),
        ("help", reply::help(None)),
        ("unknown_topic", reply::unknown_topic()),
        ("ok", reply::ok()),
        ("cannot_verify", reply::cannot_verify()),
        ("cannot_expand", reply::cannot_expand()),
        ("start_mail_input", reply::start_mail_input()),
        ("reply_for_each", reply::reply_for_each()),
        ("chunk", reply::chunk(8_192)),
        ("malformed_bdat", reply::malformed_bdat()),
        ("ready_for_tls", reply::ready_for_tls()),
        ("closing", reply::closing(HOST)),
        ("illegal_characters", reply::illegal_characters()),
        ("line_too_long", reply::line_too_long(mxkeep::smtp::framing::COMMAND_LINE_OCTETS_MAX)),
        ("unrecognized", reply::unrecognized()),
        ("not_implemented", reply::not_implemented()),
        ("argument", reply::argument("WHAT")),
        ("bad_reverse_path", reply::bad_reverse_path("WHAT")),
        ("bad_forward_path", reply::bad_forward_path("WHAT")),
        ("not_ascii", reply::not_ascii()),
        ("unknown_parameter", reply::unknown_parameter("WHAT")),
        ("bad_sequence", reply::bad_sequence("WHAT")),
        ("no_valid_recipients", reply::no_valid_recipients()),
        ("too_many_recipients", reply::too_many_recipients(100)),
        ("message_too_large", reply::message_too_large(52_428_800)),
        ("bare_line_end", reply::bare_line_end()),
        ("too_many_errors", reply::too_many_errors(HOST)),
        ("too_many_refused_recipients", reply::too_many_refused_recipients(HOST)),
        ("too_many_messages", reply::too_many_messages(HOST, 1_000)),
        ("not_smtp", reply::not_smtp(HOST)),
        ("xclient_refused", reply::xclient_refused()),
        ("timeout", reply::timeout(HOST)),
        ("shutting_down", reply::shutting_down(HOST)),
        ("too_many_connections", reply::too_many_connections(HOST, "WHAT")),
        ("internal_error", reply::internal_error(HOST)),
    ]
}

#[test]
fn the_replies_of_the_protocol_are_those_of_the_code() {
    let replies = protocol_replies();
    let source = fs::read_to_string(root().join("src/smtp/reply.rs")).expect("the source is there");
    let functions = source.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
    let listed: Vec<&str> = replies.iter().map(|(name, _)| *name).collect();
    assert_eq!(functions.collect::<Vec<_>>(), listed, "every reply of smtp/reply.rs, in its order");
    let code = replies.iter().map(|(_, reply)| shown(reply)).collect();
    check("protocol replies", &first_cells("protocol replies", 2), &code);
}

fn key_row(key: &Key) -> String {
    let preset = match key.preset {
        Preset::Default(text) => format!("`{text}`"),
        Preset::Required(text) => format!("required, such as `{text}`"),
        Preset::Off(text) => format!("off; such as `{text}`"),
    };
    let unit = if key.unit.is_empty() { String::new() } else { format!(" Unit: {}.", key.unit) };
    format!("| `{}` | {preset} | {}{unit} |", key.name, key.meaning)
}

#[test]
fn the_configuration_keys_are_those_of_the_code() {
    let said: Vec<String> = table("keys").iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    let code: Vec<String> = KEYS.iter().map(key_row).collect();
    assert_eq!(said, code, "README.md should have these rows:\n{}\n", code.join("\n"));
}

#[test]
fn the_example_configuration_loads() {
    let complete: Vec<_> = blocks("toml").into_iter().filter(|text| text.contains("hostname =")).collect();
    assert_eq!(complete.len(), 1);
    let (config, warnings) = Config::parse(&complete[0], "README.md", Path::new("/etc/mxkeep")).expect("it loads");
    assert_eq!(warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    let domain = config.domains.values().next().expect("a domain");
    assert_eq!(domain.mailboxes.iter().map(Mailbox::local_part).collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn the_example_rule_loads() {
    let example = blocks("cf").concat();
    let own: Vec<(String, String)> = ["authentication.cf", "headers.cf", "phrases.cf"]
        .map(|name| (name.to_owned(), fs::read_to_string(root().join("rules").join(name)).expect("a rule file")))
        .into();
    let mut texts: Vec<(&str, &str)> = own.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    texts.push(("README.md", &example));
    let (rules, diagnostics) = Rules::from_texts(&texts);
    assert_eq!(diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert!(rules.scored().any(|name| name == "LOCAL_INVOICE"));
    assert!(!rules.scored().any(|name| name == "MX_SUBJECT_SHOUTS"), "a score of 0 switches a rule off");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let rows = table("limits");
    assert!(rows.len() > 10);
    for row in rows {
        let limit = row[1].split(' ').next().and_then(|number| number.parse().ok());
        let mut place = row[2].split('`').filter(|part| !part.trim().is_empty());
        let (file, name) = (place.next().expect("a file"), place.next().expect("a name"));
        assert_eq!(constant(file, name), limit, "{}: {name} in src/{file}", row[0]);
    }
}

/// The value of a constant, as its source spells it: a number, or numbers with `*` or `<<` between them.
fn constant(file: &str, name: &str) -> Option<u64> {
    let source = fs::read_to_string(root().join("src").join(file)).ok()?;
    let (_, rest) = source.split_once(&format!("const {name}: "))?;
    let (_, value) = rest.split_once(';')?.0.split_once(" = ")?;
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    match value.split_once("<<") {
        Some((value, bits)) => Some(number(value)? << number(bits)?),
        None => value.split('*').map(number).product(),
    }
}

#[test]
fn constants_are_read_as_the_compiler_reads_them() {
    assert_eq!(constant("delivery/ledger.rs", "ENTRY_AGE_MAX_S"), Some(mxkeep::delivery::ledger::ENTRY_AGE_MAX_S));
    assert_eq!(constant("mime.rs", "INSPECTED_OCTETS_MAX"), Some(mxkeep::mime::INSPECTED_OCTETS_MAX as u64));
    assert_eq!(constant("mime.rs", "NO_SUCH_NAME"), None);
}

#[test]
fn the_fields_of_a_transaction_are_those_of_the_log() {
    let server = Server::start(Options { configuration: "log.format = \"json\"".into(), ..Options::default() });
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let told = client.message("ann@example.net", &["alice@example.test"], b"From: ann@example.net\r\n\r\nHello.\r\n");
    assert!(told.starts_with("250 2.0.0"), "{told}");
    let event = event(&server, "mxkeep::transaction");
    let event: serde_json::Value = serde_json::from_str(&event).expect("a line is one JSON object");
    let of_every_event = ["timestamp", "level", "target"];
    let fields = event.as_object().expect("an object").keys().filter(|key| !of_every_event.contains(&key.as_str()));
    let code = fields.map(|key| format!("`{key}`")).collect();
    check("transaction fields", &first_cells("transaction fields", 1), &code);
}

/// The first event of a target. The log is read by a thread: it may be a moment behind the reply.
fn event(server: &Server, target: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.contains(target)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no event of {target} in the log:\n{log}");
        std::thread::yield_now();
    }
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = readme();
    for command in ["serve", "check", "reload", "scan", "status", "demo"] {
        assert!(readme.contains(&format!("mxkeep {command}")), "{command}");
    }
}
