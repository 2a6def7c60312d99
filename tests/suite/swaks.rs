//! A sender that people use: swaks, over STARTTLS, with and without pipelining.

use std::process::{Command, Output};

use crate::support::dialogue::Settings;
use crate::support::server::{Options, Server};
use crate::support::tool;

/// What swaks ends with where no recipient was accepted.
const NO_RECIPIENT: i32 = 24;

fn server() -> Server {
    Server::start(Options { settings: Settings { starttls: true, ..Settings::default() }, ..Options::default() })
}

/// Runs swaks, which gives up after 30 silent seconds. `None` where it is not installed.
fn swaks(server: &Server, recipients: &str, more: &[&str]) -> Option<Output> {
    let address = server.address();
    let mut command = Command::new(tool::find("swaks")?);
    command.args(["--server", &address.ip().to_string(), "--port", &address.port().to_string(), "--timeout", "30"]);
    command.args(["--ehlo", "client.example", "--from", "sender@client.example", "--to", recipients]);
    Some(command.args(more).output().expect("it runs"))
}

fn transcript(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn starttls_with_and_without_pipelining() {
    let server = server();
    for (subject, more) in [("one by one", &["--tls"][..]), ("pipelined", &["--tls", "--pipeline"])] {
        let header = format!("Subject: {subject}");
        let message = ["--header", &header, "--body", "first line\n.a dot\n..two dots\n.\nlast line"];
        let Some(output) = swaks(&server, "alice@example.test", &[more, &message].concat()) else { return };
        let transcript = transcript(&output);
        assert!(output.status.success(), "{transcript}");
        assert!(transcript.contains("TLS started with cipher"), "{transcript}");
        assert_eq!(is_pipelined(&transcript), more.contains(&"--pipeline"), "{transcript}");

        let mut messages = server.maildir("alice").take_messages();
        assert_eq!(messages.len(), 1, "{transcript}");
        let stored = messages.remove(0);
        let text = String::from_utf8(stored.as_received()).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        assert!(head.lines().any(|line| line == header), "{text}");
        assert_eq!(body.trim_end(), "first line\r\n.a dot\r\n..two dots\r\n.\r\nlast line");
        assert_eq!(stored.trace_field("Return-Path").as_deref(), Some("<sender@client.example>"));
        let received = stored.trace_field("Received").expect("a Received field");
        assert!(received.contains("with ESMTPS") && received.contains("(using TLSv1.3 with cipher "), "{received}");
    }
}

/// Did RCPT go out before MAIL was answered? swaks writes ` ~> ` for what it sends within TLS, and ` <~  ` for replies.
fn is_pipelined(transcript: &str) -> bool {
    let mut lines = transcript.lines().skip_while(|line| !line.contains("MAIL FROM:"));
    lines.nth(1).is_some_and(|line| line.contains("RCPT TO:"))
}

#[test]
fn an_unknown_user_is_refused_and_a_known_one_beside_them_is_not() {
    let server = server();
    let Some(output) = swaks(&server, "nobody@example.test", &["--tls"]) else { return };
    let unknown = transcript(&output);
    assert_eq!(output.status.code(), Some(NO_RECIPIENT), "{unknown}");
    assert!(unknown.contains("550 5.1.1 "), "{unknown}");
    for local_part in ["alice", "bob", "nobody"] {
        assert!(server.maildir(local_part).messages().is_empty(), "{local_part}");
    }
    let recipients = "nobody@example.test,bob@example.test";
    let Some(output) = swaks(&server, recipients, &["--tls", "--pipeline"]) else { return };
    let both = transcript(&output);
    assert!(output.status.success() && both.contains("550 5.1.1 "), "{both}");
    assert_eq!(server.maildir("bob").messages().len(), 1, "{both}");
    assert!(!server.maildir("nobody").path().exists());
}
