//! ARC: a message of any octets that was sealed verifies, and one of whose sets an octet was changed does not. Whatever else
//! a message carries as sets fails.

use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::{ArcChain, MethodResult};
use mxkeep::message::Message;

use super::records::check_field;
use super::support::first;
use super::world::{self, World};

pub fn run(octets: &[u8]) {
    let (place, octets) = first(octets);
    world::with(|world, _| {
        let message = Message::from_stored(octets);
        let found = verify(world, &message);
        assert_ne!(found.result, MethodResult::Pass, "nobody sealed this");
        check_made_up(world, message.octets());
        check_sealed(world, message.octets(), place);
    });
}

/// A whole set, of pieces of the input.
fn check_made_up(world: &World, octets: &[u8]) {
    let mut pieces = octets.split(|octet| *octet == b'|');
    let mut message = Vec::new();
    for name in ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] {
        message.extend_from_slice(format!("{name}: i=1; ").as_bytes());
        message.extend_from_slice(pieces.next().unwrap_or_default());
        message.extend_from_slice(b"\r\n");
    }
    let found = verify(world, &Message::new(message));
    assert_eq!(found.result, MethodResult::Fail, "nobody sealed this");
}

/// Two sets over a body, claims and all; one octet of them is changed.
fn check_sealed(world: &World, body: &[u8], place: usize) {
    let message = [b"From: a@example.org\r\n\r\n", body].concat();
    let claims: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_ascii_control()).take(200).collect();
    let once = world.sealer.seal(&message, "mx.example; none").expect("a set");
    let sealed = world.sealer.seal(&once, &claims).expect("a set");
    let found = verify(world, &Message::new(sealed.clone()));
    assert_eq!((found.result, found.oldest_pass, found.sets.len()), (MethodResult::Pass, Some(0), 2), "{found:?}");
    let mut changed = sealed;
    let at = (place * 13) % (changed.len() - message.len());
    // White space may change its amount.
    if !changed[at].is_ascii_whitespace() {
        changed[at] ^= 0x80;
        assert_eq!(verify(world, &Message::new(changed)).result, MethodResult::Fail, "octet {at} was changed");
    }
}

fn verify(world: &World, message: &Message) -> ArcChain {
    let helo = Host::Domain(Domain::parse("pass.example").expect("a domain"));
    let found = world.verify(message, &helo, &ReversePath::Null);
    check_field(&found);
    let arc = found.arc;
    assert!(arc.sets.len() <= 50 && arc.sets.iter().zip(1..).all(|(set, instance)| set.instance == instance));
    assert_eq!(arc.oldest_pass.is_some(), arc.result == MethodResult::Pass);
    assert!(arc.oldest_pass.is_none_or(|oldest| oldest <= arc.sets.len() as u32));
    assert_eq!(arc.reason.is_none(), matches!(arc.result, MethodResult::None | MethodResult::Pass));
    arc
}
