//! Commands: one line in, one [`Command`] or the [`Reply`] that says what is wrong with it.
//!
//! *Follows:* RFC 5321 sections 4.1.1 and 4.1.2, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 3207 (STARTTLS).
//! *Guarantees:* verbs in any case; trailing white space is ignored (section 4.1.1); a closed set of commands; no argument
//! with a control character.
//! *Lenient where real senders are:* spaces behind `FROM:` and `TO:`.

use crate::address::{ForwardPath, Host, ReversePath};
use crate::envelope::Body;
use crate::smtp::reply::{self, Reply};

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
    Rcpt(ForwardPath, Vec<Parameter>),
    /// `DATA`.
    Data,
    /// `RSET`.
    Rset,
    /// `NOOP`.
    Noop,
    /// `VRFY`.
    Vrfy,
    /// `EXPN`.
    Expn,
    /// `HELP`.
    Help,
    /// `QUIT`.
    Quit,
    /// `STARTTLS`.
    StartTls,
}

/// An ESMTP parameter of MAIL or RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// `SIZE=` in octets (RFC 1870 section 6).
    Size(u64),
    /// `BODY=` (RFC 6152 section 2).
    Body(Body),
    /// Well-formed, but none that is known here.
    Unknown(String),
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
            "NOOP" => |_| Ok(Command::Noop),
            "HELP" => |_| Ok(Command::Help),
            "VRFY" => |argument| required(argument).map(|()| Command::Vrfy),
            "EXPN" => |argument| required(argument).map(|()| Command::Expn),
            "DATA" => |argument| alone(argument, Command::Data),
            "RSET" => |argument| alone(argument, Command::Rset),
            "QUIT" => |argument| alone(argument, Command::Quit),
            "STARTTLS" => |argument| alone(argument, Command::StartTls),
            _ => return Err(reply::unrecognized()),
        };
        // "Invalid character codes" in a command that is known are 501, not 500 (RFC 5321 section 4.1.2).
        let illegal = |c: char| c.is_ascii_control() && c != '\t' || c == char::REPLACEMENT_CHARACTER;
        match argument.contains(illegal) {
            true => Err(reply::illegal_characters()),
            false => read(argument),
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

fn mail(argument: &str) -> Result<Command, Reply> {
    let (path, parameters) = path_and_parameters(argument, "FROM:")?;
    let path = ReversePath::parse(path).map_err(reply::bad_reverse_path)?;
    Ok(Command::Mail(path, parse_parameters(parameters)?))
}

fn rcpt(argument: &str) -> Result<Command, Reply> {
    let (path, parameters) = path_and_parameters(argument, "TO:")?;
    let path = ForwardPath::parse(path).map_err(reply::bad_forward_path)?;
    Ok(Command::Rcpt(path, parse_parameters(parameters)?))
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
        parameters.push(parse_parameter(&keyword, value)?);
        seen.push(keyword);
    }
    Ok(parameters)
}

fn parse_parameter(keyword: &str, value: Option<&str>) -> Result<Parameter, Reply> {
    match (keyword, value) {
        ("SIZE", Some(digits)) => size(digits).map(Parameter::Size),
        ("SIZE", None) => Err(reply::argument("SIZE needs a number of octets")),
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => Ok(Parameter::Body(Body::SevenBit)),
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => Ok(Parameter::Body(Body::EightBitMime)),
        ("BODY", _) => Err(reply::argument("BODY is 7BIT or 8BITMIME")),
        _ => Ok(Parameter::Unknown(keyword.to_owned())),
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
        for line in ["SIZE=", "SIZE", "SIZE=-1", "SIZE=1 size=1", "BODY=x", "=1", "A=1 A=2", "-A"] {
            assert_eq!(code(&format!("MAIL FROM:<> {line}")), 501, "{line}");
        }
    }
}
