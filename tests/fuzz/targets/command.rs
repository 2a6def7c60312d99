//! Command lines: what is accepted means the same when it is spelled again; what is not gets a well-formed refusal.

use std::net::IpAddr;

use mxkeep::envelope::Body;
use mxkeep::smtp::command::{Command, Parameter, Recipient};
use mxkeep::smtp::xclient::{XAddress, XClient};

use super::support;

pub fn run(line: &[u8]) {
    let parsed = Command::parse(line);
    // Trailing white space is no part of a command (RFC 5321 section 4.1.1).
    assert_eq!(Command::parse(&[line, b" \t "].concat()), parsed);
    match parsed {
        Err(reply) | Ok(Command::XClient(Err(reply))) => support::check_refusal(&reply),
        Ok(command) => {
            let spelled = spell(&command);
            assert!(!spelled.contains(|c: char| c.is_control()), "{spelled:?}");
            assert_eq!(Command::parse(spelled.as_bytes()), Ok(as_spelled(command)), "{spelled:?}");
        }
    }
}

/// U-labels are spelled as A-labels: a recipient may be ASCII now.
fn as_spelled(command: Command) -> Command {
    match command {
        Command::Rcpt(recipient) => {
            let international = !recipient.path.to_string().is_ascii();
            Command::Rcpt(Recipient { international, ..recipient })
        }
        command => command,
    }
}

/// A command as a careful client would send it.
fn spell(command: &Command) -> String {
    match command {
        Command::Helo(host) => format!("HELO {host}"),
        Command::Ehlo(host) => format!("EHLO {host}"),
        Command::Mail(path, parameters) => format!("MAIL FROM:<{path}>{}", spell_parameters(parameters)),
        Command::Rcpt(Recipient { path, parameters, .. }) => {
            format!("RCPT TO:<{path}>{}", spell_parameters(parameters))
        }
        Command::Data => "DATA".to_owned(),
        Command::Bdat(announced) => {
            format!("BDAT {}{}", announced.octets, if announced.last { " LAST" } else { "" })
        }
        Command::MalformedBdat => "BDAT".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Vrfy => "VRFY x".to_owned(),
        Command::Expn => "EXPN x".to_owned(),
        // What is kept is how the command is written: the command stands first.
        Command::Help(usage) => format!("HELP {}", usage.and_then(|usage| usage.split(' ').next()).unwrap_or_default()),
        Command::Quit => "QUIT".to_owned(),
        Command::StartTls => "STARTTLS".to_owned(),
        Command::XClient(client) => client.as_ref().map_or_else(|_| "XCLIENT".to_owned(), spell_client),
    }
}

fn spell_client(client: &XClient) -> String {
    let mut text = "XCLIENT NAME=[UNAVAILABLE]".to_owned();
    match client.address {
        XAddress::NotSaid => {}
        XAddress::Unavailable => text += " ADDR=[UNAVAILABLE]",
        XAddress::Is(IpAddr::V4(address)) => text += &format!(" ADDR={address}"),
        XAddress::Is(IpAddr::V6(address)) => text += &format!(" ADDR=IPV6:{address}"),
    }
    text += &client.port.map_or_else(String::new, |port| format!(" PORT={port}"));
    text += &client.helo.as_ref().map_or_else(String::new, |helo| format!(" HELO={helo}"));
    text + if client.plain { " PROTO=SMTP" } else { "" }
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
        known => known.keyword().to_owned(),
    }
}
