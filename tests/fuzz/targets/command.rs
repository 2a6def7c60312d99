//! Command lines: what is accepted means the same when it is spelled again; what is not gets a well-formed refusal.

use mxkeep::envelope::Body;
use mxkeep::smtp::command::{Command, Parameter};

use super::support;

pub fn run(line: &[u8]) {
    let parsed = Command::parse(line);
    // Trailing white space is no part of a command (RFC 5321 section 4.1.1).
    assert_eq!(Command::parse(&[line, b" \t "].concat()), parsed);
    match parsed {
        Err(reply) => support::check_refusal(&reply),
        Ok(command) => {
            let spelled = spell(&command);
            assert!(!spelled.contains(|c: char| c.is_control()), "{spelled:?}");
            assert_eq!(Command::parse(spelled.as_bytes()), Ok(command), "{spelled:?}");
        }
    }
}

/// A command as a careful client would send it.
fn spell(command: &Command) -> String {
    match command {
        Command::Helo(host) => format!("HELO {host}"),
        Command::Ehlo(host) => format!("EHLO {host}"),
        Command::Mail(path, parameters) => format!("MAIL FROM:<{path}>{}", spell_parameters(parameters)),
        Command::Rcpt(path, parameters) => format!("RCPT TO:<{path}>{}", spell_parameters(parameters)),
        Command::Data => "DATA".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Vrfy => "VRFY x".to_owned(),
        Command::Expn => "EXPN x".to_owned(),
        Command::Help => "HELP".to_owned(),
        Command::Quit => "QUIT".to_owned(),
        Command::StartTls => "STARTTLS".to_owned(),
    }
}

fn spell_parameters(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| format!(" {}", spell_parameter(parameter))).collect()
}

fn spell_parameter(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Size(octets) => format!("SIZE={octets}"),
        Parameter::Body(Body::SevenBit) => "BODY=7BIT".to_owned(),
        Parameter::Body(Body::EightBitMime) => "BODY=8BITMIME".to_owned(),
        Parameter::Body(Body::BinaryMime) => "BODY=BINARYMIME".to_owned(),
        Parameter::Unknown(keyword) => keyword.clone(),
    }
}
