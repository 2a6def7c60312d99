//! Relays: the way of a message as its Received fields tell it, and how much of that is to be believed.
//!
//! *Does:* reads the fields as SpamAssassin 4.0.1 does, draws the boundaries of trust and of our own network, and
//! writes the texts that rules ask for as `X-Spam-Relays-*`. What the session itself saw can be put in front.
//! *Guarantees:* at most [`FIELDS_MAX`] fields of [`field::FIELD_OCTETS_MAX`] octets are looked at, in at most
//! [`STEPS_MAX`] steps together; a field that would need more is unparseable.
//! *Never does:* decide anything by what an untrusted relay tells; that is up to rules.
//! *Not the same as* [`crate::received`]: that asks one strict question of the fields, who handed a message to us.

pub mod address;
mod authentication;
pub mod envelope;
pub mod field;
mod formats;
mod marks;
pub mod networks;
mod relay;
pub mod shape;
#[cfg(test)]
mod tests;
mod tidy;

pub use networks::{Boundaries, NetworkError, Networks};
pub use relay::{Relay, Seen};

use field::Told;
use shape::Steps;

/// How many fields are looked at. Real mail has some 10, after a long way 30.
pub const FIELDS_MAX: usize = 256;
/// How much work all fields of a message may make, in steps of a few nanoseconds. Real mail makes some 10,000.
pub const STEPS_MAX: u32 = 400_000;

/// The trace of a message, as it is handed over to be read.
#[derive(Debug, Clone, Default)]
pub struct Trace<'a> {
    /// What the session saw of its client, if no Received field tells it yet.
    pub seen: Option<Seen<'a>>,
    /// The values of all Received fields, the newest first.
    pub received: Vec<&'a [u8]>,
    /// The last value of each field that `originating_ip_headers` names, in that order: each counts as one more relay,
    /// the oldest of all.
    pub originating: Vec<&'a [u8]>,
}

/// The way of a message, the newest relay first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relays {
    relays: Vec<Relay>,
    /// How many fields tell of a hand-over in a way that is not known.
    pub unparseable: usize,
    /// How many fields, from the newest on, were written by trusted hosts, the one that tells of the first untrusted
    /// client not counted.
    pub trusted_fields: usize,
    /// The same with our own hosts.
    pub internal_fields: usize,
}

impl Relays {
    /// Reads a trace.
    pub fn parse(trace: &Trace, boundaries: &Boundaries) -> Relays {
        let mut way = Way { boundaries, relays: Relays::default(), trusted: true, internal: true, behind_msa: false };
        if let Some(seen) = &trace.seen {
            way.relay(Relay::seen(seen));
        }
        let mut steps = Steps::new(STEPS_MAX);
        let mut sender = None;
        for value in trace.received.iter().take(FIELDS_MAX) {
            sender = way.field(field::read(value, &mut steps), sender);
        }
        for value in trace.originating.iter().take(FIELDS_MAX) {
            if let Some(relay) = originating(value) {
                way.relay(relay);
            }
        }
        way.relays
    }

    /// All of them.
    pub fn all(&self) -> &[Relay] {
        &self.relays
    }

    /// Those up to the last one that is trusted.
    pub fn trusted(&self) -> &[Relay] {
        self.split(|relay| relay.trusted).0
    }

    /// The others: whoever wrote their fields may have lied.
    pub fn untrusted(&self) -> &[Relay] {
        self.split(|relay| relay.trusted).1
    }

    /// Those up to the last one that is ours.
    pub fn internal(&self) -> &[Relay] {
        self.split(|relay| relay.internal).0
    }

    /// The others. The first of them handed the message to us.
    pub fn external(&self) -> &[Relay] {
        self.split(|relay| relay.internal).1
    }

    fn split(&self, inside: fn(&Relay) -> bool) -> (&[Relay], &[Relay]) {
        let at = self.relays.iter().take_while(|relay| inside(relay)).count();
        self.relays.split_at_checked(at).unwrap_or((&self.relays, &[]))
    }
}

/// Relays as `X-Spam-Relays-*` shows them, without line end.
pub fn shown(relays: &[Relay]) -> Vec<u8> {
    let mut out = Vec::with_capacity(relays.len().saturating_mul(160));
    for relay in relays {
        if !out.is_empty() {
            out.push(b' ');
        }
        relay.write(&mut out);
    }
    out
}

/// The way, as far as it is read.
struct Way<'a> {
    boundaries: &'a Boundaries,
    relays: Relays,
    trusted: bool,
    internal: bool,
    behind_msa: bool,
}

impl Way<'_> {
    /// A field. What comes back is the sender of the next field's hand-over, if this one tells it.
    fn field(&mut self, told: Told, sender: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match told {
            Told::Relay(mut relay) => {
                if sender.as_deref().is_some_and(|sender| !matches!(sender, b"" | b"0")) {
                    relay.envfrom = sender;
                }
                self.relay(*relay);
                return None;
            }
            Told::Unparseable => self.relays.unparseable = self.relays.unparseable.saturating_add(1),
            Told::Fetched if self.relays.relays.last().is_none_or(|relay| relay.trusted) => self.relays.relays.clear(),
            Told::Fetched | Told::Nothing | Told::Sender(_) => {}
        }
        self.count();
        if let Told::Sender(sender) = told { sender } else { None }
    }

    fn relay(&mut self, mut relay: Relay) {
        if self.trusted && !self.behind_msa {
            self.cross(&mut relay);
        }
        (relay.trusted, relay.internal) = (self.trusted, self.internal);
        self.count();
        self.relays.relays.push(relay);
    }

    fn count(&mut self) {
        self.relays.trusted_fields = self.relays.trusted_fields.saturating_add(usize::from(self.trusted));
        self.relays.internal_fields = self.relays.internal_fields.saturating_add(usize::from(self.internal));
    }

    /// Whether this relay is the first beyond a boundary.
    fn cross(&mut self, relay: &mut Relay) {
        let authenticated = !matches!(relay.auth.as_slice(), b"" | b"0");
        let lies = |within: fn(&Boundaries, std::net::IpAddr) -> bool| {
            relay.address.is_some_and(|address| within(self.boundaries, address))
        };
        if self.boundaries.inferred() {
            let inside = relay.is_private() || authenticated;
            (self.trusted, self.internal) = (inside, self.internal && inside);
        } else if !authenticated && !lies(Boundaries::trusts) {
            (self.trusted, self.internal) = (false, false);
        } else {
            self.internal &= authenticated || lies(Boundaries::owns);
            self.behind_msa = lies(Boundaries::submits);
            relay.msa = self.behind_msa;
        }
    }
}

/// The relay that an `X-Originating-IP` and its like stand for.
fn originating(value: &[u8]) -> Option<Relay> {
    let value = value.get(..field::FIELD_OCTETS_MAX).unwrap_or(value);
    let (start, end) = address::find(value)?;
    let ip = value.get(start..end)?;
    Some(Relay::from_read(relay::Read { ip, ..relay::Read::default() }))
}
