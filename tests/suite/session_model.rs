//! The session against a naive model of it: whatever octets come, cut wherever, both answer with the same codes and
//! receive the same messages.
//!
//! The model reads the whole stream at once and knows no framing but a search for CRLF and for CRLF.CRLF, and no state but
//! the three of RFC 5321 section 4.1.4. It is what a reviewer can believe by reading it.

use proptest::prelude::*;

use crate::support::dialogue::{Received, Settings};
use crate::support::memory::{self, Event, Outcome};

const SETTINGS: Settings = Settings { message_octets_max: 40, recipients_max: 2, bad_commands_max: 8, starttls: false };

/// Lines with a meaning, and what they mean.
pub const COMMANDS: &[(&str, Meaning)] = &[
    ("EHLO client.example", Meaning::Greeting(true)),
    ("ehlo [192.0.2.1] ", Meaning::Greeting(true)),
    ("HELO client.example", Meaning::Greeting(false)),
    ("EHLO", Meaning::Wrong(501)),
    ("MAIL FROM:<carol@client.example>", Meaning::Mail("carol@client.example", false)),
    ("mail from:<> SIZE=40", Meaning::Mail("", true)),
    ("MAIL FROM:<carol@client.example> SIZE=41", Meaning::TooLarge),
    ("MAIL FROM:<refused@client.example>", Meaning::Mail("refused@client.example", false)),
    ("MAIL FROM:<deferred@client.example>", Meaning::Mail("deferred@client.example", false)),
    ("MAIL FROM:carol", Meaning::Wrong(501)),
    ("RCPT TO:<alice@example.test>", Meaning::Rcpt("alice@example.test", 250)),
    ("rcpt to:<@relay.example:bob@EXAMPLE.test>", Meaning::Rcpt("bob@example.test", 250)),
    ("RCPT TO:<nobody@example.test>", Meaning::Rcpt("nobody@example.test", 550)),
    ("RCPT TO:<>", Meaning::Wrong(501)),
    ("RCPT TO:<alice@example.test> NOTIFY=NEVER", Meaning::RcptParameter),
    ("DATA", Meaning::Data),
    ("data ", Meaning::Data),
    ("DATA x", Meaning::Wrong(501)),
    ("RSET", Meaning::Rset),
    ("NOOP x", Meaning::Always(250)),
    ("VRFY alice", Meaning::Always(252)),
    ("HELP", Meaning::Always(214)),
    ("EXPN staff", Meaning::Always(252)),
    ("STARTTLS", Meaning::Wrong(502)),
    ("QUIT", Meaning::Quit),
];

#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// EHLO (with extensions) or HELO.
    Greeting(bool),
    /// MAIL, and whether it has a parameter.
    Mail(&'static str, bool),
    /// MAIL that declares more than the limit.
    TooLarge,
    /// RCPT, and what the application would say.
    Rcpt(&'static str, u16),
    /// RCPT with a parameter that was not offered.
    RcptParameter,
    Data,
    Rset,
    /// This code in every state, and nothing changes.
    Always(u16),
    /// The same, and it counts as a bad command.
    Wrong(u16),
    Quit,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Connected,
    Idle {
        extended: bool,
    },
    Transaction {
        extended: bool,
        message: Received,
    },
}

#[derive(Debug, Default)]
struct Model {
    state: State,
    bad_commands: u32,
    codes: Vec<u16>,
    messages: Vec<Received>,
    closed: bool,
}

impl Model {
    fn run(stream: &[u8]) -> Self {
        let mut model = Model { codes: vec![220], ..Model::default() };
        let mut rest = stream;
        while let (false, Some(end)) = (model.closed, find(rest, b"\r\n")) {
            let line = &rest[..end];
            rest = &rest[end + 2..];
            if model.command(line) {
                match model.data(rest) {
                    Some(behind) => rest = behind,
                    None => break,
                }
            }
        }
        model
    }

    /// One line. True if mail data follows.
    fn command(&mut self, line: &[u8]) -> bool {
        let known = COMMANDS.iter().find(|(text, _)| text.trim_end().as_bytes() == trim_spaces(line));
        let meaning = known.map_or(Meaning::Wrong(500), |(_, meaning)| *meaning);
        let (code, bad) = self.answer(meaning);
        self.bad_commands += u32::from(bad);
        self.closed = bad && self.bad_commands > SETTINGS.bad_commands_max || matches!(meaning, Meaning::Quit);
        self.codes.push(if bad && self.closed { 421 } else { code });
        code == 354
    }

    /// The code, and whether the command was malformed, misplaced or unknown.
    fn answer(&mut self, meaning: Meaning) -> (u16, bool) {
        let state = std::mem::take(&mut self.state);
        let (state, code, bad) = match (meaning, state) {
            (Meaning::Always(code), state) => (state, code, false),
            (Meaning::Wrong(code), state) => (state, code, true),
            (Meaning::Quit, state) => (state, 221, false),
            (Meaning::Greeting(extended), _) => (State::Idle { extended }, 250, false),
            (Meaning::Rset, State::Transaction { extended, .. }) => (State::Idle { extended }, 250, false),
            (Meaning::Rset, state) => (state, 250, false),

            (Meaning::TooLarge, State::Idle { extended }) => {
                (State::Idle { extended }, if extended { 552 } else { 555 }, !extended)
            }
            (Meaning::Mail(_, true), State::Idle { extended: false }) => (State::Idle { extended: false }, 555, true),
            (Meaning::Mail("refused@client.example", _), state @ State::Idle { .. }) => (state, 550, false),
            (Meaning::Mail(reverse_path, _), State::Idle { extended }) => {
                let message = Received { reverse_path: reverse_path.to_owned(), ..Received::default() };
                (State::Transaction { extended, message }, 250, false)
            }
            (Meaning::Mail(..) | Meaning::TooLarge, state) => (state, 503, true),

            (Meaning::RcptParameter, state @ State::Transaction { .. }) => (state, 555, true),
            (Meaning::Rcpt(path, code), State::Transaction { extended, mut message }) => {
                let full = message.forward_paths.len() >= SETTINGS.recipients_max;
                if !full && code == 250 {
                    message.forward_paths.push(path.to_owned());
                }
                (State::Transaction { extended, message }, if full { 452 } else { code }, false)
            }
            (Meaning::Data, State::Transaction { extended, message }) => {
                let refused = message.forward_paths.is_empty();
                (State::Transaction { extended, message }, if refused { 554 } else { 354 }, false)
            }
            (Meaning::Rcpt(..) | Meaning::RcptParameter | Meaning::Data, state) => (state, 503, true),
        };
        self.state = state;
        (code, bad)
    }

    /// Mail data: up to CRLF.CRLF, the first CRLF of which may be that of the DATA line. What stands behind it.
    fn data<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let marked = [b"\r\n", rest].concat();
        let end = find(&marked, b"\r\n.\r\n")?;
        let raw = String::from_utf8(marked[2..end + 2].to_vec()).expect("the stream is ASCII");
        let unstuffed: String =
            raw.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
        let State::Transaction { extended, mut message } = std::mem::take(&mut self.state) else {
            panic!("data without a transaction");
        };
        self.codes.push(match () {
            () if raw.replace("\r\n", "").contains(['\r', '\n']) => 550,
            () if unstuffed.len() as u64 > SETTINGS.message_octets_max => 552,
            () if message.reverse_path.starts_with("deferred") => 451,
            () => {
                message.octets = unstuffed.into_bytes();
                self.messages.push(message);
                250
            }
        });
        self.state = State::Idle { extended };
        Some(&rest[end + 3..])
    }
}

fn trim_spaces(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
    &line[..end]
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

/// The codes of the replies, of a reply of several lines only once.
fn codes(wire: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(wire);
    let last_lines = text.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last_lines.map(|line| line[..3].parse().expect("a code")).collect()
}

/// A whole transaction's beginning, so that random streams often get to mail data; a command; or a piece of anything.
fn piece() -> impl Strategy<Value = String> {
    let command = (0..COMMANDS.len()).prop_map(|at| format!("{}\r\n", COMMANDS[at].0));
    let opening = "EHLO client.example\r\nMAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n";
    let text = prop::collection::vec(prop::sample::select(vec!["\r", "\n", "\r\n", ".", "a", "\0", "\r\n."]), 0..12);
    prop_oneof![
        8 => command,
        2 => Just(opening.to_owned()),
        4 => text.prop_map(|pieces| pieces.concat()),
        3 => Just("\r\n.\r\n".to_owned()),
        1 => Just("Subject: x\r\n".to_owned()),
    ]
}

/// Panics where session and model disagree. The fuzzer asks it too.
pub fn check_agreement(stream: &[u8], sizes: &[usize]) {
    let (model, outcome) = (Model::run(stream), session(stream, sizes));
    assert_eq!(codes(&outcome.wire), model.codes);
    assert_eq!(outcome.messages, model.messages);
    assert_eq!(outcome.closed, model.closed);
    assert_eq!(session(stream, &[stream.len().max(1)]).wire, outcome.wire);
}

/// Runs the session over the stream, cut after every so many octets, the sizes taken in turn.
pub fn session(stream: &[u8], sizes: &[usize]) -> Outcome {
    let (mut rest, mut events, mut sizes) = (stream, Vec::new(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((*sizes.next().expect("endless")).min(rest.len()));
        events.push(Event::Octets(chunk));
        rest = behind;
    }
    memory::run(SETTINGS, events.into_iter())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(
        pieces in prop::collection::vec(piece(), 0..25),
        sizes in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let stream = pieces.concat().into_bytes();
        check_agreement(&stream, &sizes);
    }

    /// Octets of any kind: the session answers, in replies that are well-formed, and does not panic.
    #[test]
    fn survives_anything(
        pieces in prop::collection::vec(prop_oneof![
            piece().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..30),
            (1_usize..3000).prop_map(|octets| vec![b'x'; octets]),
        ], 0..15),
        sizes in prop::collection::vec(1_usize..200, 1..6),
    ) {
        let stream = pieces.concat();
        let outcome = session(&stream, &sizes);
        for line in outcome.wire.split_inclusive(|&b| b == b'\n') {
            prop_assert!(line.ends_with(b"\r\n") && line.len() <= 512);
            prop_assert!(line[..3].iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&line[0]));
            prop_assert!(line[3..line.len() - 2].iter().all(|b| (b' '..=b'~').contains(b)));
        }
        prop_assert_eq!(session(&stream, &[stream.len().max(1)]).wire, outcome.wire);
        prop_assert_eq!(session(&stream, &[1]).messages, outcome.messages);
    }
}

/// A model that never reaches mail data, a refusal or a limit proves little.
#[test]
fn the_model_reaches_every_code() {
    let stream = "FOO\r\nMAIL FROM:carol\r\nDATA\r\nEHLO client.example\r\nEXPN staff\r\nSTARTTLS\r\nVRFY alice\r\nHELP\r\n\
        MAIL FROM:<refused@client.example>\r\nMAIL FROM:<carol@client.example> SIZE=41\r\nmail from:<> SIZE=40\r\n\
        DATA\r\nRCPT TO:<alice@example.test> NOTIFY=NEVER\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n.\n..\r\n.\r\n\
        MAIL FROM:<deferred@client.example>\r\nRCPT TO:<alice@example.test>\r\n\
        rcpt to:<@relay.example:bob@EXAMPLE.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\na\r\n.\r\n";
    let stream = format!("{stream}{}", "FOO\r\n".repeat(9));
    let model = Model::run(stream.as_bytes());
    assert_eq!(model.codes, codes(&session(stream.as_bytes(), &[7]).wire));
    for code in [220, 250, 252, 214, 354, 421, 451, 452, 500, 501, 502, 503, 550, 552, 554, 555] {
        assert!(model.codes.contains(&code), "{code} in {:?}", model.codes);
    }
}
