//! `mxkeep scan` on stored messages: the same verdict as the server's, explained, for people and for programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use mxkeep::dns::responder::{Record, Zone};
use serde_json::Value;

use crate::support::names::Names;
use crate::support::program::{self, Said};
use crate::support::server::{Options, Server};

const SPAM: &str = "From: a@client.example\nTo: b@example.test\nSubject: x\n\nbuy this now\n";
const RULES: &str = "body BUY /buy this/\nscore BUY 6.5\nheader SOFT eval:check_for_spf_none()\nscore SOFT 0.5\n";

fn server() -> Server {
    let server = Server::start(Options { rules: RULES.to_owned(), ..Options::default() });
    fs::write(server.directory().join("spam.eml"), SPAM).expect("a message");
    server
}

fn scan(server: &Server, arguments: &[&str]) -> Said {
    let file = server.configuration();
    let all = [&["scan", "--config", file.to_str().expect("UTF-8")], arguments].concat();
    program::run(server.directory(), None, &all)
}

fn report(server: &Server, arguments: &[&str]) -> Value {
    let said = scan(server, &[&["--json"], arguments].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).expect("one JSON object")
}

#[test]
fn json_has_what_programs_need() {
    let server = server();
    let report = report(&server, &["--local", "spam.eml"]);
    assert_eq!(report["file"], "spam.eml");
    assert_eq!(report["score"], 6.5);
    assert_eq!(report["verdict"], "junk");
    let rules: BTreeMap<String, f64> = serde_json::from_value(report["rules"].clone()).expect("a map");
    assert_eq!(rules, BTreeMap::from([("BUY".to_owned(), 6.5)]), "no rule that needs DNS");
    assert!(report.get("authentication").is_none(), "without DNS");
}

#[test]
fn the_session_is_made_up_from_the_options() {
    let server = server();
    let known = report(
        &server,
        &["--ip", "127.0.0.1", "--helo", "mail.client.example", "--from", "a@client.example", "spam.eml"],
    );
    assert_eq!(known["score"], 7.0, "SPF found no record: {known}");
    assert_eq!(known["authentication"]["spf"]["domain"], "client.example");
    let unknown = report(&server, &["spam.eml"]);
    assert_eq!(unknown["score"], 6.5, "what depends on an unknown client is unknown: {unknown}");
}

#[test]
fn a_recipient_brings_their_policy() {
    let server = server();
    assert_eq!(report(&server, &["--local", "--rcpt", "alice@example.test", "spam.eml"])["verdict"], "junk");
    let postmaster = report(&server, &["--local", "--rcpt", "postmaster@example.test", "spam.eml"]);
    assert_eq!(postmaster["verdict"], "inbox", "never filtered");
    let said = scan(&server, &["--local", "--rcpt", "nobody@example.test", "spam.eml"]);
    assert!(said.code == Some(65) && said.err.contains("nobody@example.test is no address"), "{said:?}");
}

/// Who tries an override out sees whether it acts, in the words of the log.
#[test]
fn an_override_is_said() {
    let names = Names::start(Zone::from_iter([("_dmarc.client.example", Record::txt("v=DMARC1; p=reject"))]));
    let configuration = "policy.trusted_forwarders = [\"192.0.2.0/24\"]\n".to_owned();
    let server = Server::start(Options { dns: Some(names.address()), configuration, ..Options::default() });
    fs::write(server.directory().join("spam.eml"), SPAM).expect("a message");
    let forwarded = ["--ip", "192.0.2.1", "spam.eml"];
    let found = report(&server, &forwarded);
    assert_eq!((&found["verdict"], &found["cause"]), (&"inbox".into(), &Value::Null), "{found}");
    let by = "forwarder:network=192.0.2.0/24";
    assert_eq!(found["dmarc"], serde_json::json!({ "published": "reject", "applied": "none", "by": by }));
    let said = scan(&server, &forwarded);
    assert!(said.out.contains(&format!("\n  override        {by} (applied: none)\n")), "{said:?}");
    let stranger = report(&server, &["--ip", "198.51.100.1", "spam.eml"]);
    assert_eq!(stranger["dmarc"], serde_json::json!({ "published": "reject", "applied": "reject", "by": null }));
}

#[test]
fn several_files_and_one_that_is_not_there() {
    let server = server();
    let said = scan(&server, &["--local", "spam.eml", "not-there.eml", "spam.eml"]);
    assert_eq!(said.code, Some(66), "{said:?}");
    assert_eq!(said.out.matches("spam.eml: junk").count(), 2, "{said:?}");
    assert!(said.err.contains("not-there.eml"), "{said:?}");
}

#[test]
fn standard_input_and_a_reader_that_has_seen_enough() {
    let server = server();
    let scan = |output: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mxkeep"));
        command.arg("scan").arg("--config").arg(server.configuration()).args(["--local", "-"]);
        command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped()).spawn().expect("the binary starts")
    };
    let mut child = scan(Stdio::piped());
    child.stdin.take().expect("piped").write_all(SPAM.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("-: junk"), "{output:?}");

    let mut child = scan(Stdio::piped());
    drop(child.stdout.take());
    child.stdin.take().expect("piped").write_all(SPAM.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// A Maildir, an mbox and a directory, each with messages that score and messages that don't.
fn boxes(server: &Server) {
    let root = server.directory();
    for (path, text) in [
        ("Maildir/cur/1:2,S", SPAM),
        ("Maildir/new/2", "Subject: hello\n\nx\n"),
        ("Maildir/tmp/3", SPAM),
        ("Maildir/.Lists/cur/4", SPAM),
        ("plain/deep/5.eml", SPAM),
    ] {
        fs::create_dir_all(root.join(path).parent().expect("a parent")).expect("made");
        fs::write(root.join(path), text).expect("written");
    }
    for folder in ["Maildir/new", "Maildir/.Lists/new", "Maildir/.Lists/tmp"] {
        fs::create_dir_all(root.join(folder)).expect("made");
    }
    let from = "From carol@client.example Thu Jan  1 00:00:00 2026\n";
    let mbox = format!("{from}{SPAM}\n>From here on\n\n{from}Subject: two\n\nx\n\n{from}{SPAM}");
    fs::write(root.join("old.mbox"), mbox).expect("written");
}

#[test]
fn maildirs_mboxes_and_directories_are_read_whole() {
    let server = server();
    boxes(&server);
    let said = scan(&server, &["--local", "--json", "Maildir", "old.mbox", "plain"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let reports: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let shown: Vec<(&str, f64)> = reports
        .iter()
        .map(|report| (report["file"].as_str().unwrap_or("?"), report["score"].as_f64().unwrap_or(-1.0)))
        .collect();
    let expected = [
        ("Maildir/.Lists/cur/4", 6.5),
        ("Maildir/cur/1:2,S", 6.5),
        ("Maildir/new/2", 0.0),
        ("old.mbox:1", 6.5),
        ("old.mbox:2", 0.0),
        ("old.mbox:3", 6.5),
        ("plain/deep/5.eml", 6.5),
    ];
    assert_eq!(shown, expected);
    assert!(said.err.contains("7 messages") && said.err.contains("costliest rules"), "the summary: {said:?}");
}

#[test]
fn many_messages_are_a_table_with_a_summary() {
    let server = server();
    boxes(&server);
    let said = scan(&server, &["--local", "Maildir", "old.mbox", "missing"]);
    assert_eq!(said.code, Some(66), "one is not there: {said:?}");
    let head = said.out.lines().next().unwrap_or_default();
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["score", "verdict", "rules", "message:", "rules"]);
    assert!(said.out.contains("   6.50  junk         1  Maildir/cur/1:2,S: BUY=6.5\n"), "{said:?}");
    for line in [
        "6 messages",
        "unreadable: 1",
        "  inbox                   2   33.33 %",
        "  junk                    4   66.67 %",
        "   66.67 %         4  BUY",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    assert!(said.err.contains("missing"), "{said:?}");
    assert!(!said.err.contains('\r') && !said.out.contains('\r'), "no progress bar where there is no terminal");
}

#[test]
fn a_hit_is_explained_by_what_it_matched() {
    let rules = "body BUY /buy\\s+(this|that)/\ndescribe BUY Sells something\nscore BUY 2\nheader __TO exists:To\n\
                 meta BOTH __TO && BUY\nscore BOTH 1.5\n";
    let server = Server::start(Options { rules: rules.to_owned(), ..Options::default() });
    fs::write(server.directory().join("spam.eml"), SPAM).expect("a message");
    let said = scan(&server, &["--local", "--explain", "spam.eml"]);
    let indent = " ".repeat(26);
    for line in [
        "  rule              2.00  BUY\n".to_owned(),
        format!("{indent}Sells something\n"),
        format!("{indent}matched: \"buy this\"\n"),
        format!("{indent}matched: BUY, __TO\n"),
    ] {
        assert!(said.out.contains(&line), "{line}: {said:?}");
    }
    let found = report(&server, &["--local", "--explain", "spam.eml"]);
    let expected = serde_json::json!([
        { "rule": "BUY", "score": 2.0, "describe": "Sells something", "matched": "\"buy this\"" },
        { "rule": "BOTH", "score": 1.5, "describe": null, "matched": "BUY, __TO" },
    ]);
    assert_eq!(found["explained"], expected);
    assert!(report(&server, &["--local", "spam.eml"]).get("explained").is_none());
}
