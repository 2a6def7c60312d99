//! Behind a trusted relay: who was the client of the last relay of ours?
//!
//! *Guarantees:* only fields that our own relays wrote count. Each MTA puts its Received field on top (RFC 5321 section 4.4):
//! the topmost is that of the relay that is connected, and the one below it was written by a relay of ours if the one above
//! says that the message came from one. The first client that is none of ours ends the search; what stands below is its
//! word. Where a field cannot be read the client is unknown: never somebody else.
//! *Never does:* ask DNS. Whether the relays write the field is for the operator to know who lists them.

use std::net::IpAddr;

use crate::address::Host;
use crate::config::Network;
use crate::message::Message;
use crate::received;

/// Received fields that are looked at: relays of ours, and content filters on them, one behind the other.
const RELAY_FIELDS_MAX: usize = 20;

/// The client that the outermost relay of ours had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its address.
    pub address: IpAddr,
    /// What it called itself, if that is a name or an address literal.
    pub helo: Option<Host>,
}

/// Finds the client in the Received fields. `None`: it is not known. A user of the relay's who has authenticated there
/// (RFC 3848) is none: SPF has nothing to say of users' addresses.
pub fn origin(message: &Message, trusted: &[Network]) -> Option<Origin> {
    for field in message.fields().filter(|field| field.is("Received")).take(RELAY_FIELDS_MAX) {
        if received::is_queued_from_network(&field) {
            continue;
        }
        let hop = received::parse(&field)?;
        let address = hop.address.filter(|_| !hop.is_authenticated())?;
        if !is_ours(address, trusted) {
            let helo = hop.helo.and_then(|helo| Host::parse(&helo).ok());
            return Some(Origin { address, helo });
        }
    }
    None
}

/// Is this a relay of ours, or a program on one (a content filter hands mail back to its MTA over the loopback)?
fn is_ours(address: IpAddr, trusted: &[Network]) -> bool {
    address.is_loopback() || is_trusted(address, trusted)
}

/// Is this one of `listen.trusted_relays`?
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str = "from h.example (n.example [192.0.2.1]) by relay.example with ESMTPS id 1";
    const FORGED: &str = "from bank.example (bank.example [198.51.100.1]) by relay.example with ESMTPS id 2";

    fn find(fields: &[&str]) -> Option<String> {
        let trusted = ["203.0.113.0/24", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        let header: String = fields.iter().map(|field| format!("Received: {field}\r\n")).collect();
        let message = Message::new(format!("X-First: 1\r\n{header}Subject: x\r\n\r\nReceived: {FORGED}\r\n").into());
        let origin = origin(&message, &trusted)?;
        Some(format!("{} {}", origin.address, origin.helo.map_or("-".into(), |helo| helo.to_string())))
    }

    #[test]
    fn the_first_client_that_is_none_of_ours_counts() {
        let client = Some("192.0.2.1 h.example".to_owned());
        let outer = "from mx2.example (mx2.example [203.0.113.7]) by mx1.example with ESMTP id 3";
        let filter = "from localhost (localhost [127.0.0.1]) by mx2.example (Postfix) with ESMTP id 4";
        let inner = "from mx2.example ([IPv6:::1]) by localhost (filter) with ESMTP id 5";
        let scanner = "from scan.example (unknown [10.1.2.3]) by mx2.example with ESMTP id 6";
        assert_eq!(find(&[RELAY]), client);
        assert_eq!(find(&[RELAY, FORGED]), client, "what the client wrote is never reached");
        assert_eq!(find(&[outer, RELAY, FORGED]), client);
        assert_eq!(find(&[outer, filter, inner, RELAY, FORGED]), client);
        assert_eq!(find(&[scanner, RELAY, FORGED]), client);
        // A private address that is not listed is a client like any other.
        let private = "from h (unknown [192.168.0.1]) by relay.example with ESMTP id 7";
        assert_eq!(find(&[private, FORGED]).as_deref(), Some("192.168.0.1 h"));
        // qmail writes two fields.
        let queued = "(qmail 4711 invoked from network); 22 Nov 2026 18:39:54 -0000";
        let qmail =
            "from n.example (HELO h.example) (192.0.2.1)\r\n  by relay.example with SMTP; 22 Nov 2026 18:39:54 -0000";
        assert_eq!(find(&[queued, qmail, FORGED]), client);
        let junk = "from _?! (unknown [192.0.2.1]) by relay.example with ESMTP id 8";
        assert_eq!(find(&[junk, FORGED]).as_deref(), Some("192.0.2.1 -"));
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let table = [
            vec![],
            vec!["by relay.example (Postfix, from userid 0) id 1", FORGED],
            vec!["from [192.0.2.1] by relay.example with ESMTP id 1", FORGED],
            vec!["from h (unknown [unknown]) by relay.example with ESMTP id 1", FORGED],
            vec!["garbage", FORGED],
            vec!["(qmail 4711 invoked by uid 1001); 22 Nov 2026 18:39:54 -0000", FORGED],
            vec!["(qmail 4711 invoked from network) by x", FORGED],
            vec!["from laptop (n.example [192.0.2.1]) by relay.example with ESMTPSA id 1", FORGED],
            vec!["from mx2.example (mx2.example [203.0.113.7]) by mx1.example with ESMTP id 1"],
        ];
        for fields in table {
            assert_eq!(find(&fields), None, "{fields:?}");
        }
    }

    #[test]
    fn a_long_chain_ends() {
        let own = "from localhost (localhost [127.0.0.1]) by relay.example with ESMTP id 1";
        let chain = |own_fields: usize| find(&[vec![own; own_fields], vec![RELAY]].concat());
        assert!(chain(RELAY_FIELDS_MAX - 1).is_some());
        assert_eq!(chain(RELAY_FIELDS_MAX), None);
    }
}
