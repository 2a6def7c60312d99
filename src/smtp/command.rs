//! Commands: one line in, one [`Command`] or the [`Reply`] that says what is wrong with it.
//!
//! *Follows:* RFC 5321 sections 4.1.1 and 4.1.2, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 3030 (BDAT), RFC 3207 (STARTTLS),
//! RFC 6531 (SMTPUTF8), RFC 8689 (REQUIRETLS).
//! *Guarantees:* verbs in any case; trailing white space is ignored (section 4.1.1); a closed set of commands; no argument
//! with a control character.
//! *Lenient where real senders are:* spaces behind `FROM:` and `TO:`.

use crate::address::{ForwardPath, Host, ReversePath};
use crate::envelope::Body;
use crate::smtp::chunk::Announced;
use crate::smtp::framing::COMMAND_LINE_OCTETS_MAX;
use crate::smtp::reply::{self, Reply};
use crate::smtp::xclient::XClient;

/// A command that is well-formed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELO`.
    Helo(Host),
    /// `EHLO`.
    Ehlo(Host),
    /// `MAIL FROM`.
    Mail(ReversePath, Vec<Parameter>),
    /// `RCPT TO`.
    Rcpt(Recipient),
    /// `DATA`.
    Data,
    /// `BDAT`, and how much follows it.
    Bdat(Announced),
    /// `BDAT` that does not say how much follows it: nobody can tell mail data from commands behind it.
    MalformedBdat,
    /// `RSET`.
    Rset,
    /// `NOOP`.
    Noop,
    /// `VRFY`.
    Vrfy,
    /// `EXPN`.
    Expn,
    /// `HELP`, all of it or about one command, as it is written.
    Help(Option<&'static str>),
    /// `QUIT`.
    Quit,
    /// `STARTTLS`.
    StartTls,
    /// `XCLIENT`. What is wrong with it concerns only those who may say it at all.
    XClient(Result<XClient, Reply>),
}

/// What RCPT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// `TO:`.
    pub path: ForwardPath,
    /// The path as it came was not ASCII: only where MAIL had SMTPUTF8 (RFC 6531 section 3.4).
    pub international: bool,
    /// Parameters. None is known.
    pub parameters: Vec<Parameter>,
}

/// An ESMTP parameter of MAIL or RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// `SIZE=` in octets (RFC 1870 section 6).
    Size(u64),
    /// `BODY=` (RFC 6152 section 2, RFC 3030 section 3).
    Body(Body),
    /// `SMTPUTF8` (RFC 6531 section 3.4).
    SmtpUtf8,
    /// `REQUIRETLS` (RFC 8689 section 2).
    RequireTls,
    /// `PRDR` (draft-hall-prdr).
    Prdr,
    /// Well-formed, but none that is known here.
    Unknown(String),
}

impl Parameter {
    /// Its keyword.
    pub fn keyword(&self) -> &str {
        match self {
            Parameter::Size(_) => "SIZE",
            Parameter::Body(_) => "BODY",
            Parameter::SmtpUtf8 => "SMTPUTF8",
            Parameter::RequireTls => "REQUIRETLS",
            Parameter::Prdr => "PRDR",
            Parameter::Unknown(keyword) => keyword,
        }
    }
}

impl Command {
    /// Reads a line without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, Reply> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches([' ', '\t']);
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let read: fn(&str) -> Result<Command, Reply> = match verb.to_ascii_uppercase().as_str() {
            "HELO" => |argument| host(argument).map(Command::Helo),
            "EHLO" => |argument| host(argument).map(Command::Ehlo),
            "MAIL" => mail,
            "RCPT" => rcpt,
            // Whatever is wrong with it, it has octets behind it.
            "BDAT" => return Ok(announced(argument).map_or(Command::MalformedBdat, Command::Bdat)),
            verb if is_bdat(verb.as_bytes()) => return Ok(Command::MalformedBdat),
            "NOOP" => |_| Ok(Command::Noop),
            "HELP" => |argument| topic(argument).map(Command::Help),
            "VRFY" => |argument| required(argument).map(|()| Command::Vrfy),
            "EXPN" => |argument| required(argument).map(|()| Command::Expn),
            "DATA" => |argument| alone(argument, Command::Data),
            "RSET" => |argument| alone(argument, Command::Rset),
            "QUIT" => |argument| alone(argument, Command::Quit),
            "STARTTLS" => |argument| alone(argument, Command::StartTls),
            "XCLIENT" => |argument| Ok(Command::XClient(XClient::parse(argument))),
            _ => return Err(reply::unrecognized()),
        };
        // "Invalid character codes" in a command that is known are 501, not 500 (RFC 5321 section 4.1.2).
        let illegal = |c: char| c.is_ascii_control() && c != '\t';
        match argument.contains(illegal) || str::from_utf8(line).is_err() {
            true => Err(reply::illegal_characters()),
            false => read(argument),
        }
    }

    /// What is wrong with a line that is too long, by its first octets.
    pub fn too_long(start: &[u8]) -> Result<Self, Reply> {
        match is_bdat(start) {
            true => Ok(Command::MalformedBdat),
            false => Err(reply::line_too_long(COMMAND_LINE_OCTETS_MAX)),
        }
    }
}

fn alone(argument: &str, command: Command) -> Result<Command, Reply> {
    match argument.is_empty() {
        true => Ok(command),
        false => Err(reply::argument("this command takes none")),
    }
}

fn required(argument: &str) -> Result<(), Reply> {
    match argument.is_empty() {
        true => Err(reply::argument("a string is missing")),
        false => Ok(()),
    }
}

fn host(argument: &str) -> Result<Host, Reply> {
    Host::parse(argument.trim_start()).map_err(|_| reply::argument("a domain or address literal is needed"))
}

/// BDAT and anything but a letter: mail data may stand behind that line.
fn is_bdat(start: &[u8]) -> bool {
    let (verb, rest) = start.split_at_checked(4).unwrap_or_default();
    verb.eq_ignore_ascii_case(b"BDAT") && !rest.first().is_some_and(u8::is_ascii_alphabetic)
}

/// `chunk-size [SP end-marker]` of RFC 3030 section 2.
fn announced(argument: &str) -> Option<Announced> {
    let (digits, marker) = argument.split_once(' ').map_or((argument, None), |(digits, marker)| (digits, Some(marker)));
    let legal = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let octets = digits.parse().ok().filter(|_| legal)?;
    match marker {
        None => Some(Announced { octets, last: false }),
        Some(marker) if marker.eq_ignore_ascii_case("LAST") => Some(Announced { octets, last: true }),
        Some(_) => None,
    }
}

/// What HELP is asked about.
fn topic(argument: &str) -> Result<Option<&'static str>, Reply> {
    let argument = argument.trim_start_matches(' ');
    if argument.is_empty() {
        return Ok(None);
    }
    reply::usage(argument).map(Some).ok_or_else(reply::unknown_topic)
}

fn mail(argument: &str) -> Result<Command, Reply> {
    let (path, parameters) = path_and_parameters(argument, "FROM:")?;
    let reverse_path = ReversePath::parse(path).map_err(reply::bad_reverse_path)?;
    let parameters = parse_parameters(parameters)?;
    match path.is_ascii() || parameters.contains(&Parameter::SmtpUtf8) {
        true => Ok(Command::Mail(reverse_path, parameters)),
        false => Err(reply::not_ascii()),
    }
}

fn rcpt(argument: &str) -> Result<Command, Reply> {
    let (path, parameters) = path_and_parameters(argument, "TO:")?;
    Ok(Command::Rcpt(Recipient {
        path: ForwardPath::parse(path).map_err(reply::bad_forward_path)?,
        international: !path.is_ascii(),
        parameters: parse_parameters(parameters)?,
    }))
}

/// Splits `FROM:<path> parameters` behind its keyword. The path ends at the first space outside of quotes.
fn path_and_parameters<'a>(argument: &'a str, keyword: &'static str) -> Result<(&'a str, &'a str), Reply> {
    let argument = argument.trim_start_matches(' ');
    let rest = match argument.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => argument[keyword.len()..].trim_start_matches(' '),
        _ => return Err(reply::argument(format_args!("{keyword}<path> is needed"))),
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => return true,
            _ => {}
        }
        false
    });
    Ok(end.map_or((rest, ""), |end| (&rest[..end], rest[end..].trim_start_matches(' '))))
}

/// `esmtp-param` of RFC 5321 section 4.1.2, each keyword at most once (section 4.1.1.11 knows no repetition).
fn parse_parameters(text: &str) -> Result<Vec<Parameter>, Reply> {
    let mut seen: Vec<String> = Vec::new();
    let mut parameters = Vec::new();
    for parameter in text.split(' ').filter(|p| !p.is_empty()) {
        let (keyword, value) = parameter.split_once('=').map_or((parameter, None), |(k, v)| (k, Some(v)));
        let keyword = keyword.to_ascii_uppercase();
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if keyword.is_empty() || keyword.starts_with('-') || !keyword.bytes().all(legal) {
            return Err(reply::argument("a parameter is KEYWORD or KEYWORD=value"));
        }
        if seen.contains(&keyword) {
            return Err(reply::argument(format_args!("{keyword} stands twice")));
        }
        // `esmtp-value`, with what RFC 6531 section 3.3 adds to it.
        if value.is_some_and(|value| value.is_empty() || value.contains(|c: char| c == '=' || c.is_control())) {
            return Err(reply::argument(format_args!("the value of {keyword} is not valid")));
        }
        parameters.push(parse_parameter(&keyword, value)?);
        seen.push(keyword);
    }
    Ok(parameters)
}

fn parse_parameter(keyword: &str, value: Option<&str>) -> Result<Parameter, Reply> {
    match (keyword, value) {
        ("SIZE", Some(digits)) => size(digits).map(Parameter::Size),
        ("SIZE", None) => Err(reply::argument("SIZE needs a number of octets")),
        ("BODY", Some(body)) => parse_body(body).map(Parameter::Body),
        ("BODY", None) => parse_body("").map(Parameter::Body),
        ("SMTPUTF8", None) => Ok(Parameter::SmtpUtf8),
        ("REQUIRETLS", None) => Ok(Parameter::RequireTls),
        ("PRDR", None) => Ok(Parameter::Prdr),
        ("SMTPUTF8" | "REQUIRETLS" | "PRDR", Some(_)) => Err(reply::argument(format_args!("{keyword} takes no value"))),
        _ => Ok(Parameter::Unknown(keyword.to_owned())),
    }
}

fn parse_body(value: &str) -> Result<Body, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" => Ok(Body::EightBitMime),
        "BINARYMIME" => Ok(Body::BinaryMime),
        _ => Err(reply::argument("BODY is 7BIT, 8BITMIME or BINARYMIME")),
    }
}

/// `size-value` is 1 to 20 digits (RFC 1870 section 4): more than 64 bits can be said, and is then too large for us.
fn size(digits: &str) -> Result<u64, Reply> {
    let legal = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    match legal {
        true => Ok(digits.parse().unwrap_or(u64::MAX)),
        false => Err(reply::argument("SIZE needs a number of octets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> u16 {
        Command::parse(line.as_bytes()).map_or_else(|reply| reply.code(), |_| 0)
    }

    #[test]
    fn paths_may_hold_quoted_spaces_and_brackets() {
        let Ok(Command::Mail(path, parameters)) =
            Command::parse(br#"mail from:<"a >b\" c"@x.y> SIZE=10 body=8bitmime"#)
        else {
            panic!("not a MAIL command")
        };
        assert_eq!(path.to_string(), r#""a >b\" c"@x.y"#);
        assert_eq!(parameters, [Parameter::Size(10), Parameter::Body(Body::EightBitMime)]);
    }

    #[test]
    fn parameters_are_read_strictly() {
        assert_eq!(code("MAIL FROM:<> SIZE=18446744073709551616"), 0);
        for line in [
            "SIZE=",
            "SIZE",
            "SIZE=-1",
            "SIZE=1 size=1",
            "BODY",
            "BODY=x",
            "=1",
            "A=",
            "A=b=c",
            "A=1 A=2",
            "-A",
            "SMTPUTF8=yes",
            "SMTPUTF8=",
            "PRDR=1",
            "REQUIRETLS=1",
            "smtputf8 SMTPUTF8",
        ] {
            assert_eq!(code(&format!("MAIL FROM:<> {line}")), 501, "{line}");
        }
        let Ok(Command::Mail(_, parameters)) =
            Command::parse(b"MAIL FROM:<> prdr RequireTLS SMTPUTF8 BODY=binarymime FOO=a+b")
        else {
            panic!("not a MAIL command")
        };
        use Parameter::*;
        assert_eq!(parameters, [Prdr, RequireTls, SmtpUtf8, Body(super::Body::BinaryMime), Unknown("FOO".into())]);
    }

    #[test]
    fn bdat_says_how_much_follows_or_it_is_malformed() {
        let bdat = |octets, last| Command::Bdat(Announced { octets, last });
        for (line, command) in [
            ("BDAT 0", bdat(0, false)),
            ("bdat 86 last  ", bdat(86, true)),
            ("BDAT 00000000000000000007", bdat(7, false)),
            ("BDAT 18446744073709551615 LAST", bdat(u64::MAX, true)),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line}");
        }
        for line in [
            "BDAT",
            "BDAT ",
            "BDAT LAST",
            "BDAT x",
            "BDAT -1",
            "BDAT +1",
            "BDAT 1.0",
            "BDAT 1 FIRST",
            "BDAT 1 LAST LAST",
            "BDAT 1LAST",
            "BDAT 18446744073709551616",
            "BDAT 000000000000000000007",
            "BDAT \u{661}",
            "BDAT 1\0",
            "BDAT  1",
            "BDAT\t1",
            "BDAT1",
            "bdat:1 LAST",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(Command::MalformedBdat), "{line}");
        }
    }

    #[test]
    fn utf8_in_a_path_needs_its_parameter() {
        assert_eq!(code("MAIL FROM:<j\u{fc}rgen@x>"), 553);
        assert_eq!(code("MAIL FROM:<a@b\u{fc}cher.example>"), 553);
        assert_eq!(code("MAIL FROM:<j\u{fc}rgen@b\u{fc}cher.example> SMTPUTF8"), 0);
        let international = |line: &str| match Command::parse(line.as_bytes()) {
            Ok(Command::Rcpt(recipient)) => recipient.international,
            other => panic!("{other:?}"),
        };
        assert!(international("RCPT TO:<a@b\u{fc}cher.example>"));
        assert!(!international("RCPT TO:<a@xn--bcher-kva.example>"));
        assert_eq!(Command::parse(b"VRFY caf\xe9").unwrap_err().code(), 501);
        assert_eq!(code("VRFY caf\u{e9} SMTPUTF8"), 0);
        assert_eq!(code("BDATX 1"), 500);
    }
}
