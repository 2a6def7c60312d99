//! The session against a naive model of it: whatever octets come, cut wherever, both answer with the same codes and
//! receive the same messages.
//!
//! The model reads the whole stream at once and knows no framing but a search for CRLF and for CRLF.CRLF and a count, and no
//! state but the three of RFC 5321 section 4.1.4. It is what a reviewer can believe by reading it.

use proptest::prelude::*;

use crate::support::dialogue::{Received, Settings};
use crate::support::memory::{self, Event, Outcome};

const SETTINGS: Settings = Settings {
    message_octets_max: 40,
    recipients_max: 2,
    bad_commands_max: 8,
    refused_recipients_max: 1000,
    messages_max: 1000,
    starttls: false,
    xclient: false,
};

/// Lines with a meaning, and what they mean.
pub const COMMANDS: &[(&str, Meaning)] = &[
    ("EHLO client.example", Meaning::Greeting(true)),
    ("ehlo [192.0.2.1] ", Meaning::Greeting(true)),
    ("HELO client.example", Meaning::Greeting(false)),
    ("EHLO", Meaning::Wrong(501)),
    ("EHLO b\u{fc}cher.example", Meaning::Wrong(501)),
    ("MAIL FROM:<carol@client.example>", Meaning::Mail("carol@client.example", Kind::Plain)),
    ("mail from:<> SIZE=40", Meaning::Mail("", Kind::Parameters)),
    ("MAIL FROM:<carol@client.example> PRDR BODY=8BITMIME", Meaning::Mail("carol@client.example", Kind::Prdr)),
    (
        "MAIL FROM:<j\u{fc}rgen@b\u{fc}cher.example> SMTPUTF8",
        Meaning::Mail("j\u{fc}rgen@xn--bcher-kva.example", Kind::Utf8),
    ),
    ("MAIL FROM:<carol@client.example> BODY=binaryMIME", Meaning::Mail("carol@client.example", Kind::Binary)),
    ("MAIL FROM:<j\u{fc}rgen@client.example>", Meaning::Wrong(553)),
    ("MAIL FROM:<carol@client.example> SMTPUTF8=1", Meaning::Wrong(501)),
    ("MAIL FROM:<carol@client.example> REQUIRETLS", Meaning::MailParameter),
    ("MAIL FROM:<carol@client.example> SIZE=41", Meaning::TooLarge),
    ("MAIL FROM:<refused@client.example>", Meaning::Mail("refused@client.example", Kind::Plain)),
    ("MAIL FROM:<deferred@client.example>", Meaning::Mail("deferred@client.example", Kind::Plain)),
    ("MAIL FROM:carol", Meaning::Wrong(501)),
    ("RCPT TO:<alice@example.test>", Meaning::Rcpt("alice@example.test", 250)),
    ("rcpt to:<@relay.example:bob@EXAMPLE.test>", Meaning::Rcpt("bob@example.test", 250)),
    ("RCPT TO:<nobody@example.test>", Meaning::Rcpt("nobody@example.test", 550)),
    ("RCPT TO:<j\u{fc}rgen@example.test>", Meaning::Rcpt("j\u{fc}rgen@example.test", 550)),
    ("RCPT TO:<>", Meaning::Wrong(501)),
    ("RCPT TO:<alice@example.test> NOTIFY=NEVER", Meaning::RcptParameter),
    ("DATA", Meaning::Data),
    ("data ", Meaning::Data),
    ("DATA x", Meaning::Wrong(501)),
    ("BDAT 0", Meaning::Chunk(0, false)),
    ("BDAT 3", Meaning::Chunk(3, false)),
    ("bdat 9 last ", Meaning::Chunk(9, true)),
    ("BDAT 0 LAST", Meaning::Chunk(0, true)),
    ("BDAT 00000000000000000041", Meaning::Chunk(41, false)),
    ("BDAT 1 FIRST", Meaning::Close(501)),
    ("GET / HTTP/1.1", Meaning::Close(421)),
    ("RSET", Meaning::Rset),
    ("NOOP x", Meaning::Always(250)),
    ("VRFY alice", Meaning::Always(252)),
    ("HELP", Meaning::Always(214)),
    ("HELP bdat", Meaning::Always(214)),
    ("HELP me", Meaning::Wrong(504)),
    ("XCLIENT ADDR=192.0.2.1", Meaning::Wrong(550)),
    ("EXPN staff", Meaning::Always(252)),
    ("STARTTLS", Meaning::Wrong(502)),
    ("QUIT", Meaning::Quit),
];

#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// EHLO (with extensions) or HELO.
    Greeting(bool),
    /// MAIL.
    Mail(&'static str, Kind),
    /// MAIL with a parameter that was not offered.
    MailParameter,
    /// MAIL that declares more than the limit.
    TooLarge,
    /// RCPT, and what the application would say.
    Rcpt(&'static str, u16),
    /// RCPT with a parameter that was not offered.
    RcptParameter,
    Data,
    /// So many octets follow; is it the last chunk?
    Chunk(usize, bool),
    /// This code, and the end.
    Close(u16),
    Rset,
    /// This code in every state, and nothing changes.
    Always(u16),
    /// The same, and it counts as a bad command.
    Wrong(u16),
    Quit,
}

/// What MAIL says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Something that needs EHLO.
    Parameters,
    /// PRDR.
    Prdr,
    /// SMTPUTF8.
    Utf8,
    /// BODY=BINARYMIME.
    Binary,
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
        kind: Kind,
        /// BDAT has begun it: its octets are those of the message.
        chunked: bool,
        message: Received,
    },
}

#[derive(Debug, Default)]
struct Model {
    state: State,
    bad_commands: u32,
    /// A MAIL in its place was refused: 503 behind it is not the client's fault.
    mail_refused: bool,
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
            let behind = match meaning(line) {
                Meaning::Chunk(octets, last) => model.chunk(rest, octets, last),
                meaning if model.command(meaning) => model.data(rest),
                _ => Some(rest),
            };
            match behind {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        model
    }

    /// One command. True if mail data follows.
    fn command(&mut self, meaning: Meaning) -> bool {
        let (code, misplaced) = self.answer(meaning);
        let bad = misplaced && !(code == 503 && self.mail_refused);
        let is_mail = matches!(meaning, Meaning::Mail(..) | Meaning::TooLarge);
        self.mail_refused = is_mail && [550, 552].contains(&code) || self.mail_refused && misplaced;
        self.bad_commands += u32::from(bad);
        let last = matches!(meaning, Meaning::Quit | Meaning::Close(_));
        self.closed = bad && self.bad_commands > SETTINGS.bad_commands_max || last;
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
            (Meaning::Close(code), state) => (state, code, false),
            (Meaning::Rset, State::Transaction { extended, .. }) => (State::Idle { extended }, 250, false),
            (Meaning::Rset, state) => (state, 250, false),

            (Meaning::TooLarge, State::Idle { extended }) => {
                (State::Idle { extended }, if extended { 552 } else { 555 }, !extended)
            }
            (Meaning::MailParameter, state @ State::Idle { .. }) => (state, 555, true),
            (Meaning::Mail(_, kind), state @ State::Idle { extended: false }) if kind != Kind::Plain => {
                (state, 555, true)
            }
            (Meaning::Mail("refused@client.example", _), state @ State::Idle { .. }) => (state, 550, false),
            (Meaning::Mail(reverse_path, kind), State::Idle { extended }) => {
                let message = Received { reverse_path: reverse_path.to_owned(), ..Received::default() };
                (State::Transaction { extended, kind, chunked: false, message }, 250, false)
            }
            (Meaning::Mail(..) | Meaning::MailParameter | Meaning::TooLarge, state) => (state, 503, true),

            (_, state @ State::Transaction { chunked: true, .. }) => (state, 503, true),
            (Meaning::RcptParameter, state @ State::Transaction { .. }) => (state, 555, true),
            (Meaning::Rcpt(path, _), state @ State::Transaction { kind, .. })
                if kind != Kind::Utf8 && !path.is_ascii() =>
            {
                (state, 553, true)
            }
            (Meaning::Rcpt(path, code), State::Transaction { extended, kind, chunked, mut message }) => {
                let full = message.forward_paths.len() >= SETTINGS.recipients_max;
                if !full && code == 250 {
                    message.forward_paths.push(path.to_owned());
                }
                (State::Transaction { extended, kind, chunked, message }, if full { 452 } else { code }, false)
            }
            (Meaning::Data, state @ State::Transaction { kind: Kind::Binary, .. }) => (state, 503, true),
            (Meaning::Data, State::Transaction { extended, kind, chunked, message }) => {
                let refused = message.forward_paths.is_empty();
                (State::Transaction { extended, kind, chunked, message }, if refused { 554 } else { 354 }, false)
            }
            (Meaning::Rcpt(..) | Meaning::RcptParameter | Meaning::Data | Meaning::Chunk(..), state) => {
                (state, 503, true)
            }
        };
        self.state = state;
        (code, bad)
    }

    /// Mail data: up to CRLF.CRLF, the first CRLF of which may be that of the DATA line. What stands behind it.
    fn data<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let marked = [b"\r\n", rest].concat();
        let end = find(&marked, b"\r\n.\r\n")?;
        let raw = latin1(&marked[2..end + 2]);
        let unstuffed: String =
            raw.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
        let State::Transaction { extended, kind, message, .. } = std::mem::take(&mut self.state) else {
            panic!("data without a transaction");
        };
        let octets = unstuffed.chars().map(|c| c as u8).collect();
        self.conclude(kind, has_bare_line_end(&raw), Received { octets, ..message });
        self.state = State::Idle { extended };
        Some(&rest[end + 3..])
    }

    /// A chunk: so many octets, whatever becomes of them. What stands behind it.
    fn chunk<'a>(&mut self, rest: &'a [u8], octets: usize, last: bool) -> Option<&'a [u8]> {
        let (octets, behind) = rest.split_at_checked(octets)?;
        self.state = match std::mem::take(&mut self.state) {
            State::Transaction { extended, kind, chunked, message } if message.forward_paths.is_empty() => {
                self.codes.push(554);
                State::Transaction { extended, kind, chunked, message }
            }
            State::Transaction { extended, kind, mut message, .. } => {
                message.octets.extend_from_slice(octets);
                let too_large = message.octets.len() as u64 > SETTINGS.message_octets_max;
                if last || too_large {
                    let bare = kind != Kind::Binary && has_bare_line_end(&latin1(&message.octets));
                    self.conclude(kind, bare && !too_large, message);
                    State::Idle { extended }
                } else {
                    self.codes.push(250);
                    State::Transaction { extended, kind, chunked: true, message }
                }
            }
            state => {
                self.codes.push(503);
                state
            }
        };
        Some(behind)
    }

    /// The end of a message. With PRDR several recipients have a reply each before the last one.
    fn conclude(&mut self, kind: Kind, bare_line_end: bool, message: Received) {
        let too_large = message.octets.len() as u64 > SETTINGS.message_octets_max;
        let last = match () {
            () if bare_line_end => 550,
            () if too_large => 552,
            () if message.reverse_path.starts_with("deferred") => 451,
            () => {
                let recipients = message.forward_paths.len();
                if kind == Kind::Prdr && recipients > 1 {
                    self.codes.push(353);
                    self.codes.extend(vec![250; recipients]);
                }
                self.messages.push(message);
                250
            }
        };
        self.codes.push(last);
    }
}

/// One character an octet.
fn latin1(octets: &[u8]) -> String {
    octets.iter().map(|&octet| char::from(octet)).collect()
}

fn has_bare_line_end(text: &str) -> bool {
    text.replace("\r\n", "").contains(['\r', '\n'])
}

/// A chunk of any size is no table's business.
fn meaning(line: &[u8]) -> Meaning {
    let line = trim_spaces(line);
    let known = COMMANDS.iter().find(|(text, _)| text.trim_end().as_bytes() == line);
    let chunk = || {
        let size = str::from_utf8(line).ok()?.strip_prefix("BDAT ")?;
        let (size, last) = size.strip_suffix(" LAST").map_or((size, false), |size| (size, true));
        Some(Meaning::Chunk(size.parse().ok()?, last))
    };
    known.map(|(_, meaning)| *meaning).or_else(chunk).unwrap_or(Meaning::Wrong(500))
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
    let opening = "EHLO client.example\r\nMAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\n";
    let binary =
        "EHLO client.example\r\nMAIL FROM:<carol@client.example> BODY=binaryMIME\r\nRCPT TO:<alice@example.test>\r\n";
    let chunk = ("[a\r\n.]{0,12}|(a|\r\n){0,6}", any::<bool>());
    let text = prop::collection::vec(prop::sample::select(vec!["\r", "\n", "\r\n", ".", "a", "\0", "\r\n."]), 0..12);
    prop_oneof![
        8 => command,
        2 => Just(format!("{opening}DATA\r\n")),
        2 => Just(opening.to_owned()),
        1 => Just(binary.to_owned()),
        4 => chunk.prop_map(|(text, last)| format!("BDAT {}{}\r\n{text}", text.len(), if last { " LAST" } else { "" })),
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
    let opening = "MAIL FROM:<carol@client.example>\r\nRCPT TO:<alice@example.test>\r\n";
    let stream = format!(
        "FOO\r\nMAIL FROM:carol\r\nDATA\r\nBDAT 4\r\nQUITEHLO client.example\r\nEXPN staff\r\nSTARTTLS\r\nHELP\r\n\
        MAIL FROM:<refused@client.example>\r\nMAIL FROM:<carol@client.example> SIZE=41\r\nmail from:<> SIZE=40\r\n\
        DATA\r\nRCPT TO:<alice@example.test> NOTIFY=NEVER\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n.\n..\r\n.\r\n\
        MAIL FROM:<deferred@client.example>\r\nRCPT TO:<alice@example.test>\r\n\
        rcpt to:<@relay.example:bob@EXAMPLE.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\na\r\n.\r\n\
        {opening}BDAT 2\r\na\rBDAT 3 LAST\r\n\nb\r\
        {opening}BDAT 30\r\n{0}BDAT 30\r\n{0}BDAT 30 LAST\r\n{0}\
        {opening}BDAT 1\r\na\r\nRSET\r\nRSET\r\nHELP me\r\nMAIL FROM:<j\u{fc}rgen@client.example>\r\n{1}",
        "x".repeat(30),
        "FOO\r\n".repeat(9),
    );
    let model = Model::run(stream.as_bytes());
    assert_eq!(model.codes, codes(&session(stream.as_bytes(), &[7]).wire));
    for code in [220, 250, 252, 214, 354, 421, 451, 452, 500, 501, 502, 503, 504, 550, 552, 553, 554, 555] {
        assert!(model.codes.contains(&code), "{code} in {:?}", model.codes);
    }
}
