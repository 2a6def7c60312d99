//! Replies (RFC 5321 section 4.2) with enhanced status codes (RFC 2034, RFC 3463).
//!
//! *Guarantees:* a reply's text is one printable ASCII line a line, without CR or LF, and no line is longer than
//! [`LINE_OCTETS_MAX`]; the code of each line is the same.
//! The replies of the protocol itself stand here, in one place; those of policy stand in `verdict`.

use std::borrow::Cow;
use std::fmt;

use crate::envelope::Id;

/// The longest reply line in octets, CRLF included (RFC 5321 section 4.5.3.1.5).
pub const LINE_OCTETS_MAX: usize = 512;

/// An enhanced status code, `class.subject.detail` (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One reply: a code, an enhanced status code where one belongs, and one or more lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply of one line with an enhanced status code.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<Cow<'static, str>>) -> Self {
        debug_assert_eq!(code / 100, u16::from(enhanced.0), "RFC 2034 section 4: the classes must agree");
        Reply { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// A reply that has no enhanced status code: the banner, HELO and EHLO, 3yz (RFC 2034 section 4).
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply { code, enhanced: None, lines: vec![text.into()] }
    }

    /// The same reply with one more line.
    pub fn line(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.lines.push(text.into());
        self
    }

    /// The same reply with the id under which it is on record, behind its last line.
    pub fn cite(mut self, id: &Id) -> Self {
        if let Some(last) = self.lines.last_mut() {
            *last = format!("{last} ({id})").into();
        }
        self
    }

    /// The three-digit code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// 2yz: what was asked is done, and on us from now on.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Appends the reply as it goes over the wire.
    pub fn write_to(&self, wire: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (at, text) in self.lines.iter().enumerate() {
            let start = wire.len();
            wire.extend_from_slice(format!("{}{}", self.code, if at == last { ' ' } else { '-' }).as_bytes());
            if let Some(enhanced) = self.enhanced {
                wire.extend_from_slice(format!("{enhanced} ").as_bytes());
            }
            let room = LINE_OCTETS_MAX - 2 - (wire.len() - start);
            let printable = |b: u8| if (b' '..=b'~').contains(&b) { b } else { b'?' };
            wire.extend(text.bytes().take(room).map(printable));
            wire.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// As on the wire, lines separated by ` / `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut wire = Vec::new();
        self.write_to(&mut wire);
        f.write_str(&String::from_utf8_lossy(&wire).trim_end().replace("\r\n", " / "))
    }
}

/// The banner (RFC 5321 section 4.3.1).
pub fn banner(hostname: &str) -> Reply {
    Reply::plain(220, format!("{hostname} ESMTP mxkeep"))
}

/// HELO accepted (RFC 5321 section 4.1.1.1).
pub fn helo(hostname: &str) -> Reply {
    Reply::plain(250, hostname.to_owned())
}

/// The commands, as they are written: what HELP knows.
const COMMANDS: [&str; 14] = [
    "EHLO domain or [address]",
    "HELO domain or [address]",
    "MAIL FROM:<reverse-path> [SIZE=octets] [BODY=7BIT|8BITMIME|BINARYMIME] [SMTPUTF8] [REQUIRETLS] [PRDR]",
    "RCPT TO:<forward-path>",
    "DATA",
    "BDAT octets [LAST]",
    "RSET",
    "NOOP",
    "VRFY string",
    "EXPN string",
    "HELP [command]",
    "QUIT",
    "STARTTLS",
    "XCLIENT NAME=value ... (from configured peers)",
];

/// How a command is written, if there is one of this name, in any case.
pub(super) fn usage(verb: &str) -> Option<&'static str> {
    COMMANDS.into_iter().find(|usage| usage.split(' ').next().is_some_and(|known| known.eq_ignore_ascii_case(verb)))
}

/// `HELP` (RFC 5321 section 4.1.1.8), all of it or how one command is written.
pub fn help(topic: Option<&'static str>) -> Reply {
    let verbs = || COMMANDS.iter().filter_map(|usage| usage.split(' ').next()).collect::<Vec<_>>().join(" ");
    let text = topic.map_or_else(|| Cow::Owned(verbs()), Cow::Borrowed);
    Reply::new(214, Enhanced(2, 0, 0), text).line("RFC 5321; ask postmaster for help")
}

/// `HELP` about what is no command here (RFC 5321 section 4.2.2).
pub fn unknown_topic() -> Reply {
    Reply::new(504, Enhanced(5, 5, 4), "There is no help on that: HELP alone lists the commands")
}

/// `RSET` and `NOOP` (RFC 5321 sections 4.1.1.5 and 4.1.1.9).
pub fn ok() -> Reply {
    Reply::new(250, Enhanced(2, 0, 0), "OK")
}

/// `VRFY`: not told here, but RCPT answers honestly (RFC 5321 sections 3.5.3 and 7.3).
pub fn cannot_verify() -> Reply {
    Reply::new(252, Enhanced(2, 5, 2), "Cannot VRFY user; RCPT TO tells")
}

/// `EXPN`: no list is shown (RFC 5321 section 7.3: 252, as if it were on).
pub fn cannot_expand() -> Reply {
    Reply::new(252, Enhanced(2, 5, 2), "Cannot EXPN a list; RCPT TO tells")
}

/// `DATA` may go on (RFC 5321 section 4.1.1.4).
pub fn start_mail_input() -> Reply {
    Reply::plain(354, "Start mail input; end with <CRLF>.<CRLF>")
}

/// The end of the mail data with PRDR: a reply for each recipient follows, and a last one.
pub fn reply_for_each() -> Reply {
    Reply::plain(353, "One reply for each recipient follows, then the last one")
}

/// A chunk is here, and the message goes on (RFC 3030 section 2).
pub fn chunk(octets: u64) -> Reply {
    Reply::new(250, Enhanced(2, 0, 0), format!("{octets} octets received"))
}

/// `BDAT` that does not say how much follows it: the last reply.
pub fn malformed_bdat() -> Reply {
    Reply::new(
        501,
        Enhanced(5, 5, 4),
        "BDAT <octets> [LAST] is needed: cannot tell mail data from commands, closing connection",
    )
}

/// `STARTTLS` may go on (RFC 3207 section 4).
pub fn ready_for_tls() -> Reply {
    Reply::new(220, Enhanced(2, 0, 0), "Ready to start TLS")
}

/// `QUIT` (RFC 5321 section 4.1.1.10).
pub fn closing(hostname: &str) -> Reply {
    Reply::new(221, Enhanced(2, 0, 0), format!("{hostname} closing connection"))
}

/// A command with control characters or octets that are no text in its argument (RFC 5321 section 4.1.2).
pub fn illegal_characters() -> Reply {
    Reply::new(501, Enhanced(5, 5, 2), "Syntax error: control characters, or octets that are no text")
}

/// A line over its limit (RFC 5321 section 4.5.3.1.4, 4.5.3.1.9).
pub fn line_too_long(octets_max: usize) -> Reply {
    Reply::new(500, Enhanced(5, 5, 2), format!("Line too long: a command has at most {octets_max} octets"))
}

/// A command nobody knows (RFC 5321 section 4.2.4).
pub fn unrecognized() -> Reply {
    Reply::new(500, Enhanced(5, 5, 1), "Command unrecognized")
}

/// A known command that is not offered (RFC 5321 section 4.2.4).
pub fn not_implemented() -> Reply {
    Reply::new(502, Enhanced(5, 5, 1), "Command not implemented")
}

/// Arguments that are missing, malformed or not allowed (RFC 5321 section 4.2.2).
pub fn argument(what: impl fmt::Display) -> Reply {
    Reply::new(501, Enhanced(5, 5, 4), format!("Syntax error in arguments: {what}"))
}

/// The reverse-path is malformed (RFC 3463 section 3.2: X.1.7).
pub fn bad_reverse_path(why: impl fmt::Display) -> Reply {
    Reply::new(501, Enhanced(5, 1, 7), format!("Syntax error in the reverse-path: {why}"))
}

/// The forward-path is malformed (RFC 3463 section 3.2: X.1.3).
pub fn bad_forward_path(why: impl fmt::Display) -> Reply {
    Reply::new(501, Enhanced(5, 1, 3), format!("Syntax error in the forward-path: {why}"))
}

/// An address with octets over 127 and no SMTPUTF8 on MAIL (RFC 6531 section 3.5).
pub fn not_ascii() -> Reply {
    Reply::new(553, Enhanced(5, 6, 7), "The address is not ASCII: MAIL needs SMTPUTF8")
}

/// An ESMTP parameter that was not offered (RFC 5321 section 4.1.1.11).
pub fn unknown_parameter(keyword: &str) -> Reply {
    Reply::new(555, Enhanced(5, 5, 4), format!("Parameter not offered: {keyword}"))
}

/// A command out of order (RFC 5321 section 4.1.4).
pub fn bad_sequence(why: &'static str) -> Reply {
    Reply::new(503, Enhanced(5, 5, 1), format!("Bad sequence of commands: {why}"))
}

/// `DATA` while no recipient was accepted (RFC 5321 section 3.3).
pub fn no_valid_recipients() -> Reply {
    Reply::new(554, Enhanced(5, 5, 1), "No valid recipients")
}

/// More recipients than a transaction may have (RFC 5321 section 4.5.3.1.10).
pub fn too_many_recipients(recipients_max: usize) -> Reply {
    Reply::new(
        452,
        Enhanced(4, 5, 3),
        format!("Too many recipients: at most {recipients_max} a message, send the rest in another"),
    )
}

/// The declared or real size is over the limit (RFC 1870 section 6).
pub fn message_too_large(octets_max: u64) -> Reply {
    Reply::new(552, Enhanced(5, 3, 4), format!("Message too large: at most {octets_max} octets"))
}

/// A bare CR or LF in mail data (RFC 5321 section 2.3.8): refused, so that nobody downstream can read it in another way.
pub fn bare_line_end() -> Reply {
    Reply::new(550, Enhanced(5, 6, 11), "Bare CR or LF in mail data: only CRLF ends a line")
}

/// More malformed or refused commands than one session may send.
pub fn too_many_errors(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 7, 0), format!("{hostname} too many errors, closing connection"))
}

/// More recipients refused than one session may have: somebody guesses names.
pub fn too_many_refused_recipients(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 7, 0), format!("{hostname} too many refused recipients, closing connection"))
}

/// More messages than LIMITS announced (RFC 9422 section 4.1).
pub fn too_many_messages(hostname: &str, messages_max: u32) -> Reply {
    Reply::new(421, Enhanced(4, 7, 0), format!("{hostname} at most {messages_max} messages a session, connect again"))
}

/// HTTP, or TLS where STARTTLS is needed first.
pub fn not_smtp(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 7, 0), format!("{hostname} speaks SMTP, closing connection"))
}

/// XCLIENT from a peer that may not say it.
pub fn xclient_refused() -> Reply {
    Reply::new(550, Enhanced(5, 7, 0), "XCLIENT is not for you")
}

/// Nothing came in time (RFC 5321 section 4.5.3.2).
pub fn timeout(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 4, 2), format!("{hostname} timeout, closing connection"))
}

/// The service stops (RFC 5321 section 3.8).
pub fn shutting_down(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 3, 2), format!("{hostname} shutting down, try again soon"))
}

/// The service has no room for this connection now.
pub fn too_many_connections(hostname: &str, what: &str) -> Reply {
    Reply::new(421, Enhanced(4, 7, 0), format!("{hostname} too many connections {what}, try again later"))
}

/// Something of ours broke in this session alone.
pub fn internal_error(hostname: &str) -> Reply {
    Reply::new(421, Enhanced(4, 3, 0), format!("{hostname} internal error, try again later"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_code_and_stays_within_its_limit() {
        let reply = Reply::new(550, Enhanced(5, 7, 1), "a\r\nb\u{fc}").line("x".repeat(600));
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        let text = String::from_utf8(wire).unwrap();
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert_eq!(lines[0], "550-5.7.1 a??b??");
        assert_eq!(lines[1].len(), LINE_OCTETS_MAX - 2);
        assert!(lines[1].starts_with("550 5.7.1 xx"));
        assert_eq!(lines.len(), 2);
    }
}
