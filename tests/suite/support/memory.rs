//! The session without a network: the smallest driver there can be, and an application with fixed answers.
//!
//! *The application:* takes mail from anybody but `refused@client.example`; knows alice, bob and postmaster at
//! each of [`DOMAINS`], in any case; accepts every message but those of `deferred@client.example`, and, at the second of
//! the domains, those that are [`UNWANTED`] there.

use std::sync::Arc;

use mxkeep::address::{ForwardPath, Mailbox};
use mxkeep::envelope::Envelope;
use mxkeep::smtp::{Chunk, ChunkEnd, Data, DataError, Enhanced, Input, Mail, Rcpt, Reply, Session, Start, Step};

use super::dialogue::{Received, Settings};

/// The domains, here and of a real server: the second is b\u{fc}cher.example, as A-labels.
pub const DOMAINS: [&str; 2] = ["example.test", "xn--bcher-kva.example"];
/// What stands in messages that the second domain refuses, here and in the rules of a server (`dialogues`).
pub const UNWANTED: &str = "unwanted at the second domain";

/// What the client's side of a connection brings next.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Octets.
    Octets(&'a [u8]),
    /// A TLS handshake that succeeds.
    Tls,
}

/// What became of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The octets of all replies.
    pub wire: Vec<u8>,
    /// For each reply, how many octets of the client had been fed when it was given.
    pub fed_at_reply: Vec<usize>,
    /// The messages that were accepted.
    pub messages: Vec<Received>,
    /// The server closed the connection.
    pub closed: bool,
}

/// A client that never waits.
struct Client<'a, I: Iterator<Item = Event<'a>>> {
    events: I,
    input: Input,
    fed: usize,
    /// The chunks of the open transaction.
    chunks: Vec<u8>,
    outcome: Outcome,
}

/// Runs a session over what the client does.
pub fn run<'a>(settings: Settings, events: impl Iterator<Item = Event<'a>>) -> Outcome {
    let mut session =
        Session::new(Arc::new(session_settings(settings)), Start { tls: false, xclient: settings.xclient });
    let mut client =
        Client { events, input: Input::default(), fed: 0, chunks: Vec::new(), outcome: Outcome::default() };
    client.send(&session.banner());
    loop {
        if session.envelope().is_none() {
            client.chunks.clear();
        }
        let step = session.step(&mut client.input);
        match step {
            None if client.receive() => {}
            None => break,
            Some(Step::Reply(reply)) => client.send(&reply),
            Some(Step::Mail(mail)) => client.send(&answer_mail(mail)),
            Some(Step::Rcpt(rcpt)) => client.send(&answer_rcpt(rcpt)),
            Some(Step::Data(data)) => client.data(data),
            Some(Step::Chunk(chunk)) => match client.chunk(chunk) {
                true => {}
                false => break,
            },
            Some(Step::Client(new)) => {
                let banner = new.banner();
                client.send(&new.answer(banner));
            }
            Some(Step::StartTls(reply)) => {
                client.send(&reply);
                match client.handshake() {
                    Some(true) => session.on_tls(),
                    Some(false) => return client.close(),
                    None => break,
                }
            }
            Some(Step::Close(reply, _)) => {
                client.send(&reply);
                return client.close();
            }
        }
    }
    client.outcome
}

fn session_settings(settings: Settings) -> mxkeep::smtp::Settings {
    mxkeep::smtp::Settings {
        hostname: "mx.example.test".to_owned(),
        message_octets_max: settings.message_octets_max,
        recipients_max: settings.recipients_max,
        messages_max: settings.messages_max,
        refused_recipients_max: settings.refused_recipients_max,
        starttls: settings.starttls,
        bad_commands_max: settings.bad_commands_max,
    }
}

impl<'a, I: Iterator<Item = Event<'a>>> Client<'a, I> {
    fn send(&mut self, reply: &Reply) {
        reply.write_to(&mut self.outcome.wire);
        self.outcome.fed_at_reply.push(self.fed);
    }

    /// More octets; `false` at the end of the stream. As a connection does before it waits, gives the buffer back.
    fn receive(&mut self) -> bool {
        self.input.release_memory();
        match self.events.next() {
            Some(Event::Octets(octets)) => {
                self.input.extend(octets);
                self.fed += octets.len();
                true
            }
            Some(Event::Tls) => panic!("a TLS handshake that nobody asked for"),
            None => false,
        }
    }

    /// Was it a handshake that came? Anything in clear text ends the connection (RFC 3207 section 6).
    fn handshake(&mut self) -> Option<bool> {
        match self.input.is_empty() {
            false => Some(false),
            true => self.events.next().map(|event| matches!(event, Event::Tls)),
        }
    }

    /// Reads mail data, answers, and keeps the message if the answer accepts it.
    fn data(&mut self, data: Data<'_>) {
        self.send(&data.go_ahead());
        let (mut decoder, mut octets) = (data.decoder(), Vec::new());
        let end = loop {
            match decoder.push(&mut self.input, &mut octets) {
                Some(end) => break end,
                None if self.receive() => {}
                None => return,
            }
        };
        self.conclude(data, end, octets);
    }

    /// Reads a chunk, and at the end of the message answers as after DATA; `false` if the stream ends in it.
    fn chunk(&mut self, mut chunk: Chunk<'_>) -> bool {
        let end = loop {
            match chunk.push(&mut self.input, &mut self.chunks) {
                Some(end) => break end,
                None if self.receive() => {}
                None => return false,
            }
        };
        match end {
            ChunkEnd::Part => self.send(&chunk.received()),
            ChunkEnd::Whole(end) => {
                let octets = std::mem::take(&mut self.chunks);
                self.conclude(chunk.whole(), end, octets);
            }
        }
        true
    }

    /// With PRDR and several recipients each has a reply of its own, between 353 and the last one.
    fn conclude(&mut self, data: Data<'_>, end: Result<(), DataError>, octets: Vec<u8>) {
        let Some(envelope) = data.envelope().cloned() else { return };
        let verdicts = match end {
            Ok(()) => verdicts(&envelope, &octets),
            Err(error) => vec![data.refusal(error)],
        };
        let Some(last) = verdicts.iter().find(|verdict| verdict.is_positive()).or(verdicts.first()) else { return };
        let each = envelope.prdr && verdicts.len() > 1;
        if last.is_positive() {
            let paths = envelope.forward_paths.iter().zip(&verdicts);
            let got = paths.filter(|(_, verdict)| !each || verdict.is_positive());
            self.outcome.messages.push(Received {
                reverse_path: envelope.reverse_path.to_string(),
                forward_paths: got.map(|(path, _)| path.to_string()).collect(),
                octets,
            });
        }
        if each {
            self.send(&Reply::plain(353, "One by one"));
            verdicts.iter().for_each(|verdict| self.send(verdict));
        }
        self.send(&data.answer(last.clone()));
    }

    fn close(mut self) -> Outcome {
        self.outcome.closed = true;
        self.outcome
    }
}

fn answer_mail(mail: Mail<'_>) -> Reply {
    let refused = mail.envelope().reverse_path.to_string() == "refused@client.example";
    mail.answer(match refused {
        true => Reply::new(550, Enhanced(5, 7, 1), "Not from you"),
        false => Reply::new(250, Enhanced(2, 1, 0), "Originator ok"),
    })
}

fn answer_rcpt(rcpt: Rcpt<'_>) -> Reply {
    let known = |mailbox: &Mailbox| {
        ["alice", "bob", "postmaster"].iter().any(|name| name.eq_ignore_ascii_case(mailbox.local_part()))
    };
    let ours = |mailbox: &Mailbox| mailbox.domain().is_some_and(|domain| DOMAINS.contains(&domain.as_str()));
    let reply = match rcpt.forward_path() {
        ForwardPath::Mailbox(mailbox) if !ours(mailbox) => Reply::new(550, Enhanced(5, 7, 1), "We do not relay"),
        ForwardPath::Mailbox(mailbox) if !known(mailbox) => Reply::new(550, Enhanced(5, 1, 1), "No such mailbox"),
        ForwardPath::Mailbox(_) | ForwardPath::Postmaster => Reply::new(250, Enhanced(2, 1, 5), "Recipient ok"),
    };
    rcpt.answer(reply)
}

/// What each recipient would say to this message.
fn verdicts(envelope: &Envelope, octets: &[u8]) -> Vec<Reply> {
    let deferred = envelope.reverse_path.mailbox().is_some_and(|mailbox| mailbox.local_part() == "deferred");
    let unwanted = String::from_utf8_lossy(octets).contains(UNWANTED);
    let refuses = |path: &ForwardPath| match path {
        ForwardPath::Mailbox(mailbox) => {
            unwanted && mailbox.domain().is_some_and(|domain| domain.as_str() == DOMAINS[1])
        }
        ForwardPath::Postmaster => false,
    };
    let verdict = |path: &ForwardPath| match () {
        () if deferred => Reply::new(451, Enhanced(4, 3, 0), "Try again later"),
        () if refuses(path) => Reply::new(550, Enhanced(5, 7, 1), "Not wanted"),
        () => Reply::new(250, Enhanced(2, 0, 0), "Accepted"),
    };
    envelope.forward_paths.iter().map(verdict).collect()
}
