//! The session: the sequence of commands, as a state machine without I/O (RFC 5321 section 4.1.4).
//!
//! *Does:* takes lines from an [`Input`] and answers each with one [`Step`].
//! *Guarantees:* state is an enum whose variants own their data, so leaving a variant is the reset. A question
//! ([`Mail`], [`Rcpt`], [`Data`]) borrows the session until it is answered: no second command can be read meanwhile. A
//! question that is dropped changes nothing. A 2yz answer is the acceptance, anything else is not.
//! *Never does:* I/O, time, policy.

use std::sync::Arc;

use crate::address::{ForwardPath, ReversePath};
use crate::envelope::{Body, Envelope, Helo};
use crate::smtp::command::{Command, Parameter};
use crate::smtp::framing::{COMMAND_LINE_OCTETS_MAX, DataError, Decoder, Input, Line};
use crate::smtp::reply::{self, Reply};

/// What a session announces and enforces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name, in the banner and elsewhere.
    pub hostname: String,
    /// The largest message, in octets, announced by SIZE (RFC 1870).
    pub message_octets_max: u64,
    /// Recipients a transaction may have.
    pub recipients_max: usize,
    /// STARTTLS is on offer (there is a certificate).
    pub starttls: bool,
    /// Malformed, unknown or misplaced commands before 421.
    pub bad_commands_max: u32,
}

#[derive(Debug)]
enum State {
    /// No HELO yet, or TLS has just begun and all that was said before is forgotten (RFC 3207 section 4.2).
    Connected,
    /// Greeted.
    Idle(Helo),
    /// MAIL was accepted.
    Transaction(Helo, Envelope),
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    state: State,
    tls: bool,
    bad_commands: u32,
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
    /// Send, close.
    Close(Reply),
}

impl Session {
    /// A session that has just begun; `tls` if it began under TLS.
    pub fn new(settings: Arc<Settings>, tls: bool) -> Self {
        Session { settings, state: State::Connected, tls, bad_commands: 0 }
    }

    /// The banner to send first.
    pub fn banner(&self) -> Reply {
        reply::banner(&self.settings.hostname)
    }

    /// TLS has been negotiated: what was said before does not count (RFC 3207 section 4.2).
    pub fn on_tls(&mut self) {
        self.state = State::Connected;
        self.tls = true;
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        match &self.state {
            State::Connected => None,
            State::Idle(helo) | State::Transaction(helo, _) => Some(helo),
        }
    }

    /// The open transaction.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.state {
            State::Transaction(_, envelope) => Some(envelope),
            _ => None,
        }
    }

    /// Takes the next command from `input`; `None` while no whole line is there.
    pub fn step(&mut self, input: &mut Input) -> Option<Step<'_>> {
        let command = match input.line()? {
            Line::Complete(line) => Command::parse(line),
            Line::TooLong => Err(reply::line_too_long(COMMAND_LINE_OCTETS_MAX)),
        };
        Some(match command.and_then(|command| self.admit(command)) {
            Ok(command) => self.on_command(command),
            Err(reply) => self.refuse(reply),
        })
    }

    /// Refuses. Malformed, unknown and misplaced commands are counted; past the limit the session ends.
    fn refuse(&mut self, reply: Reply) -> Step<'static> {
        self.bad_commands = self.bad_commands.saturating_add(u32::from(!honest_clients_get(&reply)));
        match self.bad_commands > self.settings.bad_commands_max {
            true => Step::Close(reply::too_many_errors(&self.settings.hostname)),
            false => Step::Reply(reply),
        }
    }

    /// Is this command in order here (RFC 5321 section 4.1.4)? What is not changes nothing.
    fn admit(&self, command: Command) -> Result<Command, Reply> {
        match (&command, &self.state) {
            (Command::Mail(..), State::Connected) => Err(reply::bad_sequence("HELO or EHLO first")),
            (Command::Mail(..), State::Transaction(..)) => Err(reply::bad_sequence("a transaction is open")),
            (Command::Mail(_, parameters), State::Idle(helo)) => {
                self.admit_parameters(helo, parameters).map(|()| command)
            }
            (Command::Rcpt(_, parameters), State::Transaction(_, envelope)) => {
                match parameters.first().map(parameter_keyword) {
                    Some(keyword) => Err(reply::unknown_parameter(keyword)),
                    None if envelope.forward_paths.len() >= self.settings.recipients_max => {
                        Err(reply::too_many_recipients(self.settings.recipients_max))
                    }
                    None => Ok(command),
                }
            }
            (Command::Data, State::Transaction(_, envelope)) if envelope.forward_paths.is_empty() => {
                Err(reply::no_valid_recipients())
            }
            (Command::Rcpt(..) | Command::Data, State::Connected | State::Idle(_)) => {
                Err(reply::bad_sequence("MAIL first"))
            }
            (Command::StartTls, _) if self.tls => Err(reply::bad_sequence("TLS is active")),
            (Command::StartTls, _) if !self.settings.starttls => Err(reply::not_implemented()),
            (Command::Expn, _) => Err(reply::not_implemented()),
            _ => Ok(command),
        }
    }

    /// Parameters belong to EHLO, and only what was offered may be used (RFC 5321 section 4.1.1.11).
    fn admit_parameters(&self, helo: &Helo, parameters: &[Parameter]) -> Result<(), Reply> {
        for parameter in parameters {
            match parameter {
                Parameter::Unknown(keyword) => return Err(reply::unknown_parameter(keyword)),
                known if !helo.extended => return Err(reply::unknown_parameter(parameter_keyword(known))),
                Parameter::Size(octets) if *octets > self.settings.message_octets_max => {
                    return Err(reply::message_too_large(self.settings.message_octets_max));
                }
                Parameter::Size(_) | Parameter::Body(_) => {}
            }
        }
        Ok(())
    }

    fn on_command(&mut self, command: Command) -> Step<'_> {
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
                let envelope = open(reverse_path, &parameters);
                Step::Mail(Mail { session: self, envelope })
            }
            Command::Rcpt(forward_path, _) => Step::Rcpt(Rcpt { session: self, forward_path }),
            Command::Data => Step::Data(Data { session: self }),
            Command::Rset => {
                self.reset();
                Step::Reply(reply::ok())
            }
            Command::Noop => Step::Reply(reply::ok()),
            Command::Help => Step::Reply(reply::help()),
            Command::Vrfy => Step::Reply(reply::cannot_verify()),
            Command::Expn => Step::Reply(reply::not_implemented()),
            Command::Quit => Step::Close(reply::closing(&self.settings.hostname)),
            Command::StartTls => Step::StartTls(reply::ready_for_tls()),
        }
    }

    /// The extensions on offer (RFC 5321 section 4.1.1.1).
    fn ehlo(&self) -> Reply {
        let reply = Reply::plain(250, self.settings.hostname.clone())
            .line("PIPELINING")
            .line(format!("SIZE {}", self.settings.message_octets_max))
            .line("8BITMIME")
            .line("ENHANCEDSTATUSCODES");
        let reply = if self.settings.starttls && !self.tls { reply.line("STARTTLS") } else { reply };
        reply.line("HELP")
    }

    fn reset(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Connected) {
            State::Transaction(helo, _) => State::Idle(helo),
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

fn parameter_keyword(parameter: &Parameter) -> &str {
    match parameter {
        Parameter::Size(_) => "SIZE",
        Parameter::Body(_) => "BODY",
        Parameter::Unknown(keyword) => keyword,
    }
}

fn open(reverse_path: ReversePath, parameters: &[Parameter]) -> Envelope {
    let (mut size_octets, mut body) = (None, Body::default());
    for parameter in parameters {
        match parameter {
            Parameter::Size(octets) => size_octets = Some(*octets),
            Parameter::Body(declared) => body = *declared,
            Parameter::Unknown(_) => {}
        }
    }
    Envelope {
        reverse_path,
        size_octets,
        body,
        smtputf8: false,
        requiretls: false,
        prdr: false,
        forward_paths: Vec::new(),
    }
}

/// May this sender open a transaction?
#[derive(Debug)]
#[must_use]
pub struct Mail<'s> {
    session: &'s mut Session,
    envelope: Envelope,
}

impl Mail<'_> {
    /// The transaction as it would be.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        self.session.helo()
    }

    /// 2yz opens the transaction. Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        if reply.is_positive()
            && let State::Idle(helo) = std::mem::replace(&mut self.session.state, State::Connected)
        {
            self.session.state = State::Transaction(helo, self.envelope);
        }
        reply
    }
}

/// Do we take responsibility for this recipient?
#[derive(Debug)]
#[must_use]
pub struct Rcpt<'s> {
    session: &'s mut Session,
    forward_path: ForwardPath,
}

impl Rcpt<'_> {
    /// The recipient as given.
    pub fn forward_path(&self) -> &ForwardPath {
        &self.forward_path
    }

    /// The transaction so far.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.session.envelope()
    }

    /// 2yz adds the recipient. Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        if let (true, State::Transaction(_, envelope)) = (reply.is_positive(), &mut self.session.state) {
            envelope.forward_paths.push(self.forward_path);
        }
        reply
    }
}

/// The client has mail data for an open transaction with recipients.
#[derive(Debug)]
#[must_use]
pub struct Data<'s> {
    session: &'s mut Session,
}

impl Data<'_> {
    /// 354, to send before the mail data is read.
    pub fn go_ahead(&self) -> Reply {
        reply::start_mail_input()
    }

    /// A decoder for the mail data.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.session.settings.message_octets_max)
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        self.session.helo()
    }

    /// The transaction.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.session.envelope()
    }

    /// Mail data that broke the protocol: the reply that refuses it.
    pub fn refusal(&self, error: DataError) -> Reply {
        match error {
            DataError::BareLineEnd => reply::bare_line_end(),
            DataError::TooLarge => reply::message_too_large(self.session.settings.message_octets_max),
        }
    }

    /// Ends the transaction, whatever the reply says (RFC 5321 section 4.1.1.4). Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        self.session.reset();
        reply
    }
}
