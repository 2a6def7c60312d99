//! Received fields: texts are bounded and clean, and what a client may choose is never taken for its address.

use std::net::{IpAddr, Ipv4Addr};

use mxkeep::message::Message;
use mxkeep::received::{Hop, TEXT_OCTETS_MAX, parse};

/// The address that the writer of the fields below saw.
const SEEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub fn run(octets: &[u8]) {
    read(octets);
    let helo = helo(octets);
    for field in [
        format!(
            "from {helo} (mail.example [192.0.2.1])\r\n\tby mx.example (Postfix) with ESMTPS id 4X; Sat, 1 Jan 2022"
        ),
        format!("from {helo} (unknown [192.0.2.1]) by mx.example (Postfix) with SMTP id 4X"),
        format!("from mail.example ([192.0.2.1] helo={helo})\r\n\tby mx.example with esmtps (Exim 4.96) id 1X"),
        format!("from [192.0.2.1] (helo={helo}) by mx.example with smtp (Exim 4.96) id 1X"),
        format!("from {helo} (mail.example [192.0.2.1] (may be forged)) by mx.example (8.17/8.17) with ESMTP id 1X"),
        format!("from unknown (HELO {helo}) (192.0.2.1) by mx.example with SMTP; 1 Jan 2022"),
        format!("from {helo} (192.0.2.1) by mx.example (10.0.0.1) with Microsoft SMTP Server id 1"),
    ] {
        let hop = read(field.as_bytes());
        let address = hop.and_then(|hop| hop.address);
        assert!(address.is_none_or(|address| address == SEEN), "{address:?} in {field:?}");
    }
}

/// What MTAs let through of what a client calls itself: they neuter white space, parentheses and what else has a meaning.
fn helo(octets: &[u8]) -> String {
    let neuter = |c: char| if c.is_whitespace() || c.is_control() || "<>()\\\";@".contains(c) { '?' } else { c };
    let text = String::from_utf8_lossy(octets).chars().take(300).map(neuter).collect::<String>();
    if text.is_empty() { "x".to_owned() } else { text }
}

fn read(body: &[u8]) -> Option<Hop> {
    let message = Message::new([b"Received: ", body, b"\r\n\r\n"].concat());
    let hop = parse(&message.fields().next()?)?;
    let optional = [&hop.helo, &hop.client_name, &hop.with, &hop.id];
    for text in optional.into_iter().flatten().chain([&hop.by]) {
        assert!((1..=TEXT_OCTETS_MAX).contains(&text.len()), "{text:?}");
        assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control()), "{text:?}");
    }
    assert!(hop.address.is_none_or(|address| address == address.to_canonical()), "{hop:?}");
    Some(hop)
}
