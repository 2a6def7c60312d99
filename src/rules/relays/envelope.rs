//! The reverse-path of a message that came without its session: who wrote it down where.
//!
//! *Follows* SpamAssassin's order of fields and its reasons for not believing them.

use super::Relays;
use memchr::memmem;

/// The reverse-path without brackets, empty for the null one; none if nobody wrote it down in a way to be believed.
/// `get` is what rules select: `X-Sender:first:addr`, for example.
pub fn envelope_from(relays: &Relays, get: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let newest = relays.untrusted().first().or(relays.trusted().last());
    if let Some(path) = newest.and_then(|relay| relay.envfrom.as_ref())
        && (path.is_empty() || memchr::memchr(b'@', path).is_some_and(|at| at > 0))
    {
        return Some(path.clone());
    }
    if is_guess_of_fetchmail(get) {
        return None;
    }
    if let Some(path) = get("X-Envelope-From:first:addr") {
        return (!below_received(get, b"X-Envelope-From:")).then_some(path);
    }
    if let Some(path) = get("Envelope-Sender:first:addr").filter(|_| !below_received(get, b"Envelope-Sender:")) {
        return Some(path);
    }
    get("Return-Path:first:addr").filter(|_| !below_received(get, b"Return-Path:"))
}

/// A mailing list notes the sender in X-Sender, and fetchmail takes that for the reverse-path.
fn is_guess_of_fetchmail(get: &dyn Fn(&str) -> Option<Vec<u8>>) -> bool {
    get("X-Sender:first:addr").is_some_and(|sender| sender.contains(&b'@'))
        && get("Received").is_some_and(|received| memmem::find(&received, b"(fetchmail").is_some())
}

/// A field stands below a Received field: the message was relayed since, perhaps with another reverse-path.
fn below_received(get: &dyn Fn(&str) -> Option<Vec<u8>>, name: &[u8]) -> bool {
    let all = get("ALL").unwrap_or_default();
    let is = |line: &[u8], name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let mut lines = all.split(|octet| *octet == b'\n').skip_while(|line| !is(line, b"Received:"));
    lines.any(|line| is(line, name))
}
