//! A dialogue with a real server, at three paces, and what must lie in the mailboxes after it.

use std::mem;

use super::dialogue::{Dialogue, Step, check_replies, matches};
use super::server::{DOMAINS, Server};
use super::smtp_client::Client;

/// How the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As the dialogue is written: what stands between two replies in one write.
    Written,
    /// As much at once as RFC 2920 section 3.1 allows.
    Pipelined,
    /// One octet a write (in long dialogues, 997).
    Octets,
}

/// Holds the dialogue with the server, within TLS if asked to. `Err` says where they part.
pub fn hold(server: &Server, dialogue: &Dialogue, pace: Pace, tls: bool) -> Result<(), String> {
    let steps = match pace {
        Pace::Pipelined => pipelined(&dialogue.steps),
        Pace::Written | Pace::Octets => dialogue.steps.clone(),
    };
    let mut client = Client::connect(server.address());
    // After the handshake there is no banner (RFC 3207 section 4.2: the state after it).
    let steps = match tls {
        true => {
            secure(&mut client);
            &steps[1..]
        }
        false => &steps[..],
    };
    let (mut wire, mut unsent) = (String::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        if let Step::Client(octets) = step {
            unsent.extend_from_slice(octets);
            continue;
        }
        send(&mut client, &mem::take(&mut unsent), pace)?;
        let fine = match step {
            Step::Line(pattern) => read(&mut client, &mut wire, |client| client.line(), pattern),
            Step::Reply(pattern) => read(&mut client, &mut wire, Client::reply, pattern),
            Step::Tls => client.start_tls().is_ok(),
            Step::Closed => client.at_end(),
            Step::Client(_) => true,
        };
        if !fine {
            let why = check_replies(&steps[..=at], wire.as_bytes()).err();
            return Err(why.unwrap_or_else(|| format!("{step:?} did not come to pass after\n{wire}")));
        }
    }
    send(&mut client, &unsent, pace)
}

fn secure(client: &mut Client) {
    assert!(client.reply().is_some_and(|banner| banner.starts_with("220 ")), "a banner");
    client.expect("EHLO client.example", "250");
    client.expect("STARTTLS", "220 2.0.0");
    client.start_tls().expect("a handshake");
}

fn send(client: &mut Client, octets: &[u8], pace: Pace) -> Result<(), String> {
    let size = match pace {
        Pace::Octets if octets.len() > 10_000 => 997,
        Pace::Octets => 1,
        Pace::Written | Pace::Pipelined => octets.len().max(1),
    };
    octets.chunks(size).try_for_each(|chunk| client.send(chunk)).map_err(|error| format!("the server is gone: {error}"))
}

/// Reads a line or a reply, keeps it, and compares its last line.
fn read(client: &mut Client, wire: &mut String, read: impl Fn(&mut Client) -> Option<String>, pattern: &str) -> bool {
    let Some(reply) = read(client) else { return false };
    wire.push_str(&reply);
    wire.push_str("\r\n");
    matches(pattern, reply.rsplit("\r\n").next().unwrap_or_default())
}

/// Moves the client's octets before replies that it need not wait for: those to RSET, MAIL, RCPT, BDAT (RFC 3030 section
/// 4.2) and the final dot.
fn pipelined(steps: &[Step]) -> Vec<Step> {
    let (mut moved, mut replies, mut must_wait) = (Vec::new(), Vec::new(), true);
    for step in steps {
        match step {
            Step::Client(octets) => {
                if must_wait {
                    moved.append(&mut replies);
                }
                must_wait = !may_go_on(octets);
                moved.push(step.clone());
            }
            Step::Line(_) | Step::Reply(_) => replies.push(step.clone()),
            Step::Tls | Step::Closed => {
                moved.append(&mut replies);
                moved.push(step.clone());
            }
        }
    }
    moved.append(&mut replies);
    moved
}

fn may_go_on(octets: &[u8]) -> bool {
    let line = String::from_utf8_lossy(octets).to_ascii_uppercase();
    line == ".\r\n" || ["RSET", "MAIL", "RCPT", "BDAT"].iter().any(|verb| line.starts_with(verb))
}

/// Takes what lies in the mailboxes, and holds it against what the dialogue says must have been received.
pub fn check_mailboxes(server: &Server, dialogue: &Dialogue) -> Result<(), String> {
    let mut expected = Vec::new();
    for message in &dialogue.messages {
        for forward_path in &message.forward_paths {
            let path = format!("<{}>", message.reverse_path);
            expected.push((mailbox(forward_path), path, message.octets.clone()));
        }
    }
    let mut found = take_all(server);
    expected.sort();
    found.sort();
    match expected == found {
        true => Ok(()),
        false => Err(format!("in the mailboxes: {:#?}\nexpected: {:#?}", shown(&found), shown(&expected))),
    }
}

fn shown(messages: &[(String, String, Vec<u8>)]) -> Vec<String> {
    let line =
        |(mailbox, path, octets): &(String, String, Vec<u8>)| format!("{mailbox} {path} {}", octets.escape_ascii());
    messages.iter().map(line).collect()
}

/// Every message in the mailboxes: the mailbox, the reverse-path in brackets, the message as it came. Removes them.
pub fn take_all(server: &Server) -> Vec<(String, String, Vec<u8>)> {
    let mut found = Vec::new();
    for domain in DOMAINS {
        for local_part in ["alice", "bob"] {
            for stored in server.maildir_at(domain, local_part).take_messages() {
                let reverse_path = stored.trace_field("Return-Path").unwrap_or_default();
                found.push((format!("{local_part}@{domain}"), reverse_path, stored.as_received()));
            }
        }
    }
    found
}

/// Whose Maildir gets this recipient's mail.
fn mailbox(forward_path: &str) -> String {
    let (local_part, domain) = forward_path.split_once('@').unwrap_or((forward_path, DOMAINS[0]));
    let local_part = local_part.to_ascii_lowercase();
    format!("{}@{domain}", if local_part == "postmaster" { "alice" } else { &local_part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelining_stops_where_rfc_2920_says() {
        let c = |line: &str| Step::Client(format!("{line}\r\n").into_bytes());
        let s = |text: &str| Step::Line(text.to_owned());
        let written =
            [s("220"), c("EHLO x"), s("e"), c("MAIL"), s("m"), c("RCPT"), s("r"), c("DATA"), s("354"), c("x")];
        let expected =
            [s("220"), c("EHLO x"), s("e"), c("MAIL"), c("RCPT"), c("DATA"), s("m"), s("r"), s("354"), c("x")];
        assert_eq!(pipelined(&written), expected);
    }
}
