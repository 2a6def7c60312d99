//! The session: the sequence of commands, as a state machine without I/O (RFC 5321 section 4.1.4).
//!
//! *Does:* takes lines from an [`Input`] and answers each with one [`Step`].
//! *Guarantees:* state is an enum whose variants own their data, so leaving a variant is the reset. A question
//! ([`super::question`]) borrows the session until it is answered: no second command can be read meanwhile. A question that
//! is dropped changes nothing. A chunk that is refused is read away to its end, in constant memory, before its reply is
//! given: its octets are never taken for commands.
//! *Never does:* I/O, time, policy.

use std::sync::Arc;

use crate::address::{ForwardPath, ReversePath};
use crate::envelope::{Body, Envelope, Helo};
use crate::smtp::chunk::{Announced, Chunks};
use crate::smtp::command::{Command, Parameter, Recipient};
use crate::smtp::foreign::Foreign;
use crate::smtp::framing::{Input, Line};
use crate::smtp::question::{Chunk, Data, Mail, NewClient, Rcpt};
use crate::smtp::reply::{self, Reply};
use crate::smtp::xclient::{self, XClient};

/// What a session announces and enforces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name, in the banner and elsewhere.
    pub hostname: String,
    /// The largest message, in octets, announced by SIZE (RFC 1870).
    pub message_octets_max: u64,
    /// Recipients a transaction may have, announced by LIMITS (RFC 9422).
    pub recipients_max: usize,
    /// Transactions a session may open, announced by LIMITS (RFC 9422).
    pub messages_max: u32,
    /// Recipients a session may have refused before the next one gets 421.
    pub refused_recipients_max: u32,
    /// STARTTLS is on offer (there is a certificate).
    pub starttls: bool,
    /// Malformed, unknown or misplaced commands before 421.
    pub bad_commands_max: u32,
}

/// How a session begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// Under TLS.
    pub tls: bool,
    /// With a peer that may say XCLIENT.
    pub xclient: bool,
}

#[derive(Debug)]
enum State {
    /// No HELO yet, or TLS has just begun and all that was said before is forgotten (RFC 3207 section 4.2).
    Connected,
    /// Greeted.
    Idle(Helo),
    /// MAIL was accepted.
    Transaction(Helo, Envelope),
    /// BDAT has begun the mail data.
    Chunking(Helo, Envelope, Chunks),
}

/// A chunk that nobody takes: so many octets to drop, and then this reply.
#[derive(Debug)]
struct Refused {
    octets_left: u64,
    reply: Reply,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    state: State,
    start: Start,
    counts: Counts,
    /// MAIL was refused: what stands behind it in one group of commands is refused with it, and none of it is wrong
    /// (RFC 2920 section 3.1).
    mail_refused: bool,
    draining: Option<Refused>,
}

/// What a session is limited in.
#[derive(Debug, Default)]
struct Counts {
    bad_commands: u32,
    messages: u32,
    refused_recipients: u32,
}

/// What a line asks for.
#[derive(Debug)]
#[must_use]
pub enum Step<'s> {
    /// Send, read on.
    Reply(Reply),
    /// Send, negotiate TLS, then [`Session::on_tls`]. Octets that wait behind it end the connection (RFC 3207 section 6;
    /// CVE-2011-0411).
    StartTls(Reply),
    /// May this sender open a transaction?
    Mail(Mail<'s>),
    /// Do we take responsibility for this recipient?
    Rcpt(Rcpt<'s>),
    /// Send 354, decode, decide.
    Data(Data<'s>),
    /// Decode; at the end of the message decide.
    Chunk(Chunk<'s>),
    /// Start over as this client.
    Client(NewClient<'s>),
    /// Send, close. The word says why, for the log.
    Close(Reply, &'static str),
}

impl Session {
    /// A session that has just begun.
    pub fn new(settings: Arc<Settings>, start: Start) -> Self {
        let (state, counts) = (State::Connected, Counts::default());
        Session { settings, state, start, counts, mail_refused: false, draining: None }
    }

    /// The banner to send first.
    pub fn banner(&self) -> Reply {
        reply::banner(&self.settings.hostname)
    }

    /// TLS has been negotiated: what was said before does not count (RFC 3207 section 4.2).
    pub fn on_tls(&mut self) {
        self.state = State::Connected;
        self.start.tls = true;
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        match &self.state {
            State::Connected => None,
            State::Idle(helo) | State::Transaction(helo, _) | State::Chunking(helo, ..) => Some(helo),
        }
    }

    /// The open transaction.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.state {
            State::Transaction(_, envelope) | State::Chunking(_, envelope, _) => Some(envelope),
            State::Connected | State::Idle(_) => None,
        }
    }

    /// Drops what has come of a chunk that is refused, in constant memory. True while more of it is to come: that is mail
    /// data, and no command.
    pub fn drain(&mut self, input: &mut Input) -> bool {
        let Some(refused) = &mut self.draining else { return false };
        let octets = input.front(refused.octets_left).len();
        input.consume(octets);
        refused.octets_left = refused.octets_left.saturating_sub(octets as u64);
        refused.octets_left > 0
    }

    /// Takes the next command from `input`; `None` while no whole line, or not the whole of a refused chunk, is there.
    pub fn step(&mut self, input: &mut Input) -> Option<Step<'_>> {
        if self.draining.is_some() {
            return self.drained(input);
        }
        if self.chunks().is_some_and(|chunks| chunks.current().is_some()) {
            return Some(Step::Chunk(Chunk { session: self }));
        }
        if let Some(foreign) = input.line_start().and_then(Foreign::begins)
            && !(self.start.tls && foreign == Foreign::Tls)
        {
            return Some(Step::Close(reply::not_smtp(&self.settings.hostname), foreign.name()));
        }
        let command = match input.line()? {
            Line::Complete(line) => Command::parse(line),
            Line::TooLong(start) => Command::too_long(&start),
        };
        if let Ok(Command::Bdat(announced)) = command {
            return self.on_chunk(announced, input);
        }
        Some(match command.and_then(|command| self.admit(command)) {
            Ok(command) => self.within_limits(command),
            Err(reply) => self.refuse(reply),
        })
    }

    /// BDAT: its octets come whatever we say to it.
    fn on_chunk(&mut self, announced: Announced, input: &mut Input) -> Option<Step<'_>> {
        match self.admit_chunk() {
            Ok(()) => {
                self.begin_chunk(announced);
                Some(Step::Chunk(Chunk { session: self }))
            }
            Err(reply) => {
                self.draining = Some(Refused { octets_left: announced.octets, reply });
                self.drained(input)
            }
        }
    }

    /// Refuses a chunk when all of its octets are gone. This does not count as a bad command: a client that pipelines sends
    /// one chunk after the other before it reads the first refusal.
    fn drained(&mut self, input: &mut Input) -> Option<Step<'_>> {
        match self.drain(input) {
            true => None,
            false => self.draining.take().map(|refused| Step::Reply(refused.reply)),
        }
    }

    /// Refuses. Malformed, unknown and misplaced commands are counted; past the limit the session ends.
    fn refuse(&mut self, reply: Reply) -> Step<'static> {
        let honest = honest_clients_get(&reply) || self.mail_refused && reply.code() == 503;
        // Only MAIL is told that the message is too large before there is one.
        self.mail_refused |= reply.code() == 552;
        let bad_commands = &mut self.counts.bad_commands;
        *bad_commands = bad_commands.saturating_add(u32::from(!honest));
        match *bad_commands > self.settings.bad_commands_max {
            true => Step::Close(reply::too_many_errors(&self.settings.hostname), "too_many_errors"),
            false => Step::Reply(reply),
        }
    }

    /// Is this command in order here (RFC 5321 section 4.1.4)? What is not changes nothing.
    fn admit(&self, command: Command) -> Result<Command, Reply> {
        match (&command, &self.state) {
            (Command::Mail(..), State::Connected) => Err(reply::bad_sequence("HELO or EHLO first")),
            (Command::Mail(_, parameters), State::Idle(helo)) => {
                self.admit_parameters(helo, parameters).map(|()| command)
            }
            (Command::Mail(..), _) => Err(reply::bad_sequence("a transaction is open")),
            (Command::Rcpt(recipient), State::Transaction(_, envelope)) => {
                self.admit_recipient(envelope, recipient).map(|()| command)
            }
            (Command::Data, State::Transaction(_, envelope)) => match () {
                () if envelope.body == Body::BinaryMime => Err(reply::bad_sequence("BINARYMIME is sent by BDAT")),
                () if envelope.forward_paths.is_empty() => Err(reply::no_valid_recipients()),
                () => Ok(command),
            },
            (Command::Rcpt(_) | Command::Data, State::Chunking(..)) => {
                Err(reply::bad_sequence("the message goes on with BDAT"))
            }
            (Command::Rcpt(_) | Command::Data, State::Connected | State::Idle(_)) => {
                Err(reply::bad_sequence("MAIL first"))
            }
            (Command::StartTls, _) if self.start.tls => Err(reply::bad_sequence("TLS is active")),
            (Command::StartTls, _) if !self.settings.starttls => Err(reply::not_implemented()),
            (Command::XClient(_), _) if !self.start.xclient => Err(reply::xclient_refused()),
            (Command::XClient(Err(reply)), _) => Err(reply.clone()),
            (Command::XClient(Ok(_)), State::Transaction(..) | State::Chunking(..)) => {
                Err(reply::bad_sequence("a transaction is open"))
            }
            _ => Ok(command),
        }
    }

    /// Parameters belong to EHLO, and only what was offered may be used (RFC 5321 section 4.1.1.11).
    fn admit_parameters(&self, helo: &Helo, parameters: &[Parameter]) -> Result<(), Reply> {
        let is_offered = |parameter: &Parameter| match parameter {
            Parameter::Unknown(_) => false,
            Parameter::RequireTls => helo.extended && self.start.tls,
            _ => helo.extended,
        };
        if let Some(parameter) = parameters.iter().find(|parameter| !is_offered(parameter)) {
            return Err(reply::unknown_parameter(parameter.keyword()));
        }
        let octets_max = self.settings.message_octets_max;
        match parameters.iter().any(|parameter| matches!(parameter, Parameter::Size(octets) if *octets > octets_max)) {
            true => Err(reply::message_too_large(octets_max)),
            false => Ok(()),
        }
    }

    fn admit_recipient(&self, envelope: &Envelope, recipient: &Recipient) -> Result<(), Reply> {
        match recipient.parameters.first() {
            Some(parameter) => Err(reply::unknown_parameter(parameter.keyword())),
            None if recipient.international && !envelope.smtputf8 => Err(reply::not_ascii()),
            None if envelope.forward_paths.len() >= self.settings.recipients_max => {
                Err(reply::too_many_recipients(self.settings.recipients_max))
            }
            None => Ok(()),
        }
    }

    fn admit_chunk(&self) -> Result<(), Reply> {
        match &self.state {
            State::Connected | State::Idle(_) => Err(reply::bad_sequence("MAIL first")),
            State::Transaction(_, envelope) if envelope.forward_paths.is_empty() => Err(reply::no_valid_recipients()),
            State::Transaction(..) | State::Chunking(..) => Ok(()),
        }
    }

    /// A command that is in order ends the session where it would pass one of its limits.
    fn within_limits(&mut self, command: Command) -> Step<'_> {
        let Settings { hostname, messages_max, refused_recipients_max, .. } = &*self.settings;
        match command {
            Command::Mail(..) if self.counts.messages >= *messages_max => {
                Step::Close(reply::too_many_messages(hostname, *messages_max), "too_many_messages")
            }
            Command::Rcpt(_) if self.counts.refused_recipients > *refused_recipients_max => {
                Step::Close(reply::too_many_refused_recipients(hostname), "too_many_refused_recipients")
            }
            command => self.on_command(command),
        }
    }

    fn on_command(&mut self, command: Command) -> Step<'_> {
        self.mail_refused = false;
        match command {
            Command::Helo(host) => {
                self.state = State::Idle(Helo { host, extended: false });
                Step::Reply(reply::helo(&self.settings.hostname))
            }
            Command::Ehlo(host) => {
                self.state = State::Idle(Helo { host, extended: true });
                Step::Reply(self.ehlo())
            }
            Command::Mail(reverse_path, parameters) => {
                let envelope = envelope(reverse_path, &parameters);
                Step::Mail(Mail { session: self, envelope })
            }
            Command::Rcpt(Recipient { path, .. }) => Step::Rcpt(Rcpt { session: self, forward_path: path }),
            Command::Data => Step::Data(Data { session: self }),
            Command::Rset => {
                self.reset();
                Step::Reply(reply::ok())
            }
            Command::Noop => Step::Reply(reply::ok()),
            Command::Help(topic) => Step::Reply(reply::help(topic)),
            Command::Vrfy => Step::Reply(reply::cannot_verify()),
            Command::Expn => Step::Reply(reply::cannot_expand()),
            Command::Quit => Step::Close(reply::closing(&self.settings.hostname), "quit"),
            Command::StartTls => Step::StartTls(reply::ready_for_tls()),
            Command::XClient(Ok(client)) => Step::Client(NewClient { session: self, client }),
            Command::XClient(Err(reply)) => self.refuse(reply),
            Command::Bdat(_) | Command::MalformedBdat => Step::Close(reply::malformed_bdat(), "malformed_bdat"),
        }
    }

    /// The extensions on offer (RFC 5321 section 4.1.1.1).
    fn ehlo(&self) -> Reply {
        let Settings { hostname, message_octets_max, recipients_max, messages_max, starttls, .. } = &*self.settings;
        let when = |condition: bool, extension: &str| condition.then(|| extension.to_owned());
        let extensions = [
            Some("PIPELINING".to_owned()),
            Some(format!("SIZE {message_octets_max}")),
            Some("8BITMIME".to_owned()),
            Some("ENHANCEDSTATUSCODES".to_owned()),
            Some("SMTPUTF8".to_owned()),
            Some("CHUNKING".to_owned()),
            Some("BINARYMIME".to_owned()),
            Some(format!("LIMITS RCPTMAX={recipients_max} MAILMAX={messages_max}")),
            Some("PRDR".to_owned()),
            when(*starttls && !self.start.tls, "STARTTLS"),
            when(self.start.tls, "REQUIRETLS"),
            self.start.xclient.then(|| format!("XCLIENT {}", xclient::ATTRIBUTES)),
            Some("HELP".to_owned()),
        ];
        extensions.into_iter().flatten().fold(Reply::plain(250, hostname.clone()), Reply::line)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The chunks of the open transaction, if BDAT has begun it.
    pub(super) fn chunks(&mut self) -> Option<&mut Chunks> {
        match &mut self.state {
            State::Chunking(_, _, chunks) => Some(chunks),
            _ => None,
        }
    }

    /// The octets of mail data that BDAT has announced in this transaction.
    pub(super) fn octets_announced(&self) -> u64 {
        match &self.state {
            State::Chunking(_, _, chunks) => chunks.octets(),
            _ => 0,
        }
    }

    fn begin_chunk(&mut self, announced: Announced) {
        self.state = match std::mem::replace(&mut self.state, State::Connected) {
            State::Transaction(helo, envelope) => {
                let binary = envelope.body == Body::BinaryMime;
                State::Chunking(helo, envelope, Chunks::new(self.settings.message_octets_max, binary))
            }
            state => state,
        };
        if let Some(chunks) = self.chunks() {
            chunks.begin(announced);
        }
    }

    /// A chunk is read, and the message goes on: its octets.
    pub(super) fn finish_chunk(&mut self) -> u64 {
        let Some(chunks) = self.chunks() else { return 0 };
        let octets = chunks.current().map_or(0, |announced| announced.octets);
        chunks.finish();
        octets
    }

    /// MAIL was accepted.
    pub(super) fn open(&mut self, envelope: Envelope) {
        self.counts.messages = self.counts.messages.saturating_add(1);
        self.state = match std::mem::replace(&mut self.state, State::Connected) {
            State::Idle(helo) => State::Transaction(helo, envelope),
            state => state,
        };
    }

    /// MAIL was refused.
    pub(super) fn refuse_mail(&mut self) {
        self.mail_refused = true;
    }

    /// RCPT was answered.
    pub(super) fn conclude_recipient(&mut self, forward_path: ForwardPath, reply: &Reply) {
        match &mut self.state {
            State::Transaction(_, envelope) if reply.is_positive() => envelope.forward_paths.push(forward_path),
            // Send it in another transaction: nobody guesses names with those.
            _ if reply.code() == 452 => {}
            _ => self.counts.refused_recipients = self.counts.refused_recipients.saturating_add(1),
        }
    }

    /// XCLIENT was accepted.
    pub(super) fn start_over(&mut self, client: XClient) {
        self.counts = Counts::default();
        self.state = match client.helo {
            Some(host) => State::Idle(Helo { host, extended: !client.plain }),
            None => State::Connected,
        };
    }

    /// Ends the transaction.
    pub(super) fn reset(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Connected) {
            State::Transaction(helo, _) | State::Chunking(helo, ..) => State::Idle(helo),
            state => state,
        };
    }
}

/// Refusals of commands that are well-formed and in their place: more recipients than we take (RFC 5321 section
/// 4.5.3.1.10: the client sends the rest later, and cut off it never could), more octets than we take (RFC 1870 section
/// 6.1), DATA in one group with recipients that were all refused (RFC 2920 section 3.1).
fn honest_clients_get(reply: &Reply) -> bool {
    matches!(reply.code(), 452 | 552 | 554)
}

fn envelope(reverse_path: ReversePath, parameters: &[Parameter]) -> Envelope {
    let mut envelope = Envelope {
        reverse_path,
        size_octets: None,
        body: Body::default(),
        smtputf8: false,
        requiretls: false,
        prdr: false,
        forward_paths: Vec::new(),
    };
    for parameter in parameters {
        match parameter {
            Parameter::Size(octets) => envelope.size_octets = Some(*octets),
            Parameter::Body(declared) => envelope.body = *declared,
            Parameter::SmtpUtf8 => envelope.smtputf8 = true,
            Parameter::RequireTls => envelope.requiretls = true,
            Parameter::Prdr => envelope.prdr = true,
            Parameter::Unknown(_) => {}
        }
    }
    envelope
}
