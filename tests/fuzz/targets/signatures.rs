//! DKIM: a message of any octets that was signed verifies, and one that was changed afterwards does not. Whatever else a
//! message carries as signatures fails.

use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::{Authentication, MethodResult, SIGNATURES_MAX};
use mxkeep::message::Message;

use super::records::check_field;
use super::support::first;
use super::world::{self, World};

pub fn run(octets: &[u8]) {
    let (place, octets) = first(octets);
    world::with(|world, _| {
        let message = Message::from_stored(octets);
        let found = verify(world, &message);
        assert!(found.dkim.iter().all(|dkim| dkim.result != MethodResult::Pass), "nobody signed this");
        check_signed(world, &message, place);
    });
}

fn check_signed(world: &World, message: &Message, place: usize) {
    let mut head = b"From: a@signer.example\r\n".to_vec();
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(message.octets());
    let Ok(signed) = world.signer.sign(&head) else { return };
    let found = verify(world, &Message::new(signed.clone()));
    assert_eq!(found.dkim.len(), 1);
    assert_eq!(found.dkim[0].result, MethodResult::Pass, "{:?}", found.dkim[0]);
    for (from, to) in [("v=1; ", "v=1; v=1; "), ("v=1; ", ""), ("From", "To"), ("d=signer.", "d=s.")] {
        let twisted = String::from_utf8_lossy(&signed).replacen(from, to, 1).into_bytes();
        let found = verify(world, &Message::new(twisted));
        assert!(found.dkim.iter().all(|dkim| dkim.result != MethodResult::Pass), "the signature is another");
    }
    let mut changed = signed;
    let at = changed.len() - 1 - place % changed.len().min(message.octets().len().max(1));
    // White space may change its amount.
    if !changed[at].is_ascii_whitespace() && !message.octets().is_empty() {
        changed[at] ^= 0x80;
        let found = verify(world, &Message::new(changed));
        assert_ne!(found.dkim[0].result, MethodResult::Pass, "an octet of the body was changed");
    }
}

fn verify(world: &World, message: &Message) -> Authentication {
    let helo = Host::Domain(Domain::parse("pass.example").expect("a domain"));
    let found = world.verify(message, &helo, &ReversePath::Null);
    assert!(found.dkim.len() <= SIGNATURES_MAX);
    check_field(&found);
    found
}
