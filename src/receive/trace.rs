//! The trace fields of a stored copy, top to bottom (RFC 5321 section 4.4, RFC 8601).
//!
//! *Guarantees:* each ends with CRLF; nothing from the wire stands in them that was not parsed first.

use jiff::Timestamp;

use crate::address::{ForwardPath, ReversePath};
use crate::envelope::{Client, Helo, Id};

/// `Return-Path`: the reverse-path, by the final delivery only (RFC 5321 section 4.4).
pub fn return_path(reverse_path: &ReversePath) -> String {
    format!("Return-Path: <{reverse_path}>\r\n")
}

/// `Delivered-To`: the final mailbox.
pub fn delivered_to(mailbox: &impl std::fmt::Display) -> String {
    format!("Delivered-To: {mailbox}\r\n")
}

/// What a Received field says beside the recipient.
#[derive(Debug, Clone, Copy)]
pub struct Reception<'a> {
    /// Who was connected.
    pub client: &'a Client,
    /// What they called themselves.
    pub helo: Option<&'a Helo>,
    /// SMTPUTF8 was given with MAIL (RFC 6531 section 3.4).
    pub smtputf8: bool,
    /// The client's verified name (iprev), if it has one.
    pub client_name: Option<&'a str>,
    /// Our name.
    pub hostname: &'a str,
    /// The transaction.
    pub id: &'a Id,
    /// When.
    pub time: Timestamp,
}

/// `Received` (RFC 5321 section 4.4; the protocol's name by RFC 3848 and RFC 6531 section 4.3). Each copy names its own
/// recipient only.
pub fn received(reception: &Reception, forward_path: &ForwardPath) -> String {
    let Reception { client, helo, smtputf8, client_name, hostname, id, time } = reception;
    let name = helo.map_or_else(|| "unknown".to_owned(), |helo| helo.host.to_string());
    let extended = helo.is_some_and(|helo| helo.extended);
    // RFC 3848; RFC 6531 section 4.3.
    let with = match (&client.tls, extended, smtputf8) {
        (Some(_), _, true) => "UTF8SMTPS",
        (None, _, true) => "UTF8SMTP",
        (Some(_), _, false) => "ESMTPS",
        (None, true, false) => "ESMTP",
        (None, false, false) => "SMTP",
    };
    let tls = match &client.tls {
        Some(tls) => format!("\t(using {} with cipher {})\r\n", tls.version, tls.cipher),
        None => String::new(),
    };
    let address = match client.address {
        std::net::IpAddr::V4(address) => format!("[{address}]"),
        std::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    format!(
        "Received: from {name} ({} {address})\r\n{tls}\tby {hostname} (mxkeep) with {with} id {id}\r\n\tfor <{forward_path}>; {}\r\n",
        client_name.unwrap_or("unknown"),
        date_time(time),
    )
}

/// `date-time` of RFC 5322 section 3.3, in UTC.
fn date_time(time: &Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Domain, Host};
    use crate::envelope::Tls;

    #[test]
    fn a_received_field_names_everything_an_operator_looks_for() {
        let client = Client {
            address: [192, 0, 2, 1].into(),
            port: 4711,
            tls: Some(Tls { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into() }),
        };
        let helo = Helo { host: Host::Domain(Domain::parse("out.example.com").unwrap()), extended: true };
        let id = Id::from_bits(1);
        let reception = Reception {
            client: &client,
            helo: Some(&helo),
            smtputf8: false,
            client_name: Some("ptr.example.com"),
            hostname: "mx.example.org",
            id: &id,
            time: Timestamp::from_second(1_795_372_794).unwrap(),
        };
        let path = ForwardPath::parse("<alice@example.org>").unwrap();
        assert_eq!(
            received(&reception, &path),
            "Received: from out.example.com (ptr.example.com [192.0.2.1])\r\n\
             \t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\r\n\
             \tby mx.example.org (mxkeep) with ESMTPS id -----------0\r\n\
             \tfor <alice@example.org>; Sun, 22 Nov 2026 18:39:54 +0000\r\n"
        );
        let international = Reception { smtputf8: true, ..reception };
        assert!(received(&international, &path).contains("(mxkeep) with UTF8SMTPS id"));
        let clear = Client { tls: None, ..client.clone() };
        let field = received(&Reception { client: &clear, ..international }, &path);
        assert!(field.contains("(mxkeep) with UTF8SMTP id"));
        // What we write we can read.
        let field = received(&reception, &path);
        let message = crate::message::Message::new(field.into_bytes());
        let hop = crate::received::parse(&message.fields().next().unwrap()).unwrap();
        assert_eq!(hop.address, Some(client.address));
        let names = (hop.helo.as_deref(), hop.client_name.as_deref(), hop.by.as_str());
        assert_eq!(names, (Some("out.example.com"), Some("ptr.example.com"), "mx.example.org"));
    }
}
