//! A message as evals see it.
//!
//! *Does:* hands out header values and texts, which others build, and remembers what several evals need: who sent it and
//! who gets it by all fields that tell.
//! *Guarantees:* what is costly is computed at most once a message; at most [`ADDRESSES_MAX`] addresses of a field count.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::IpAddr;

use memchr::memmem;

use super::freemail::Mentioned;
use super::mailboxes::is_space;
use super::recipients::Recipients;
use crate::rules::evidence::Evidence;

/// The most addresses that are taken from one field.
pub const ADDRESSES_MAX: usize = 1_000;
/// The fields that tell senders, each read whole.
const SENDER_FIELDS: [&str; 5] =
    ["From:addr", "Envelope-Sender:addr", "Resent-Sender:addr", "X-Envelope-From:addr", "EnvelopeFrom:addr"];
/// The fields that tell recipients, beside Received.
const RECIPIENT_FIELDS: [&str; 12] = [
    "To:addr",
    "Apparently-To:addr",
    "Delivered-To:addr",
    "Envelope-Recipients:addr",
    "Apparently-Resent-To:addr",
    "X-Envelope-To:addr",
    "Envelope-To:addr",
    "X-Delivered-To:addr",
    "X-Original-To:addr",
    "X-Rcpt-To:addr",
    "X-Real-To:addr",
    "Cc:addr",
];
/// How many Received fields, newest first, are asked for a recipient.
const RECEIVED_MAX: usize = 3;

/// A host that handed the message on.
#[derive(Debug, Clone, Copy)]
pub struct Relay<'a> {
    /// Its address, as far as it is known.
    pub address: Option<IpAddr>,
    /// Its name by reverse lookup, in lower case; empty if it has none.
    pub name: &'a [u8],
}

/// The first text/plain part.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    /// As it was sent, transfer encoding undone.
    pub decoded: &'a [u8],
    /// As it is shown, in UTF-8.
    pub rendered: &'a [u8],
}

/// What of a message evals ask for.
pub struct Mail<'a> {
    /// The value of a header selector ("From:addr", "ToCc"): each field, or each address of `:addr`, on its line. None if
    /// there is no such field.
    pub header: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The paragraphs of the text, the Subject first.
    pub body: &'a dyn Fn() -> Vec<&'a [u8]>,
    /// URIs that HTML anchors link to and that don't stand in the text themselves.
    pub anchors: &'a dyn Fn() -> Vec<&'a [u8]>,
    /// The message's octets behind the header.
    pub undecoded_body: &'a dyn Fn() -> &'a [u8],
    /// The first text/plain part.
    pub plain: &'a dyn Fn() -> Option<Plain<'a>>,
    /// The newest untrusted relay; if there is none, all trusted ones.
    pub relays: &'a [Relay<'a>],
    /// What the session found out.
    pub evidence: Option<&'a Evidence<'a>>,
    /// Filled as evals ask.
    pub memo: Memo,
}

/// What several evals need.
#[derive(Default)]
pub struct Memo {
    senders: OnceCell<Vec<Vec<u8>>>,
    recipients: OnceCell<Vec<Vec<u8>>>,
    pub(super) likeness: OnceCell<Recipients>,
    pub(super) mentioned: OnceCell<Mentioned>,
    pub(super) stock_hits: OnceCell<u32>,
}

impl Mail<'_> {
    /// The value of a selector; empty if there is no such field.
    pub fn value(&self, selector: &str) -> Vec<u8> {
        (self.header)(selector).unwrap_or_default()
    }

    /// All values of a selector: addresses, or fields.
    pub fn values(&self, selector: &str) -> Vec<Vec<u8>> {
        let value = self.value(selector);
        let value = value.strip_suffix(b"\n").unwrap_or(&value);
        let lines = value.split(|octet| *octet == b'\n').take(ADDRESSES_MAX);
        if value.is_empty() { Vec::new() } else { lines.map(<[u8]>::to_vec).collect() }
    }

    /// The first value of a selector: what SpamAssassin's own evals see of `:addr`.
    pub fn first(&self, selector: &str) -> Vec<u8> {
        self.values(selector).into_iter().next().unwrap_or_default()
    }

    /// Everybody who is named as a sender; whoever resent it first of all.
    pub fn senders(&self) -> &[Vec<u8>] {
        self.memo.senders.get_or_init(|| {
            let resent = self.values("Resent-From:first:addr");
            if !resent.is_empty() {
                return distinct(resent);
            }
            let all = SENDER_FIELDS.iter().flat_map(|field| self.values(field));
            distinct(all.filter(|address| !address.is_empty()).map(one_dot).collect())
        })
    }

    /// Everybody who is named as a recipient; whom it was resent to first of all.
    pub fn recipients(&self) -> &[Vec<u8>] {
        self.memo.recipients.get_or_init(|| {
            let resent = ["Resent-To:first:addr", "Resent-Cc:first:addr"];
            let resent: Vec<_> = resent.iter().flat_map(|field| self.values(field)).collect();
            if !resent.is_empty() {
                return distinct(resent);
            }
            let received = self.values("Received");
            let mut all: Vec<_> = received.iter().take(RECEIVED_MAX).filter_map(|field| received_for(field)).collect();
            all.extend(RECIPIENT_FIELDS.iter().flat_map(|field| self.values(field)));
            distinct(all)
        })
    }
}

fn distinct(addresses: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    addresses.into_iter().filter(|address| seen.insert(address.clone())).collect()
}

/// Runs of dots become one.
fn one_dot(mut address: Vec<u8>) -> Vec<u8> {
    address.dedup_by(|a, b| *a == b'.' && *b == b'.');
    address
}

/// The address in `for <ann@a.example>;` of a Received field.
fn received_for(field: &[u8]) -> Option<Vec<u8>> {
    memmem::find_iter(field, b" for ").find_map(|at| {
        let word = field.get(at + 5..)?;
        let word = word.strip_prefix(b"<").unwrap_or(word);
        let word = word.split(|octet| is_space(*octet)).next()?;
        let last = word.iter().rposition(|octet| *octet == b';')?;
        let at = word.get(..last)?.iter().rposition(|octet| *octet == b'@').filter(|at| *at > 0)?;
        let end = at + 2 + word.get(at + 2..)?.iter().position(|octet| *octet == b';')?;
        let end = if end > at + 2 && word.get(end - 1) == Some(&b'>') { end - 1 } else { end };
        let domain = word.get(at + 1..end)?;
        is_host_name(domain).then(|| word.get(..end).map(<[u8]>::to_vec))?
    })
}

/// Two labels or more, as DNS allows them; underscores only left of the last two.
fn is_host_name(name: &[u8]) -> bool {
    let end = name.iter().rposition(|octet| *octet != b'.').map_or(0, |at| at + 1);
    let labels: Vec<&[u8]> = name.get(..end).unwrap_or_default().split(|octet| *octet == b'.').collect();
    let edge = |octet: Option<&u8>| octet.is_some_and(|o| o.is_ascii_alphanumeric() || *o == b'_');
    let inner = |octet: &u8| octet.is_ascii_alphanumeric() || b"_-".contains(octet);
    let last_two = labels.len().saturating_sub(2);
    (2..=127).contains(&labels.len())
        && end <= 253
        && labels.iter().enumerate().all(|(at, label)| {
            (1..=63).contains(&label.len())
                && edge(label.first())
                && edge(label.last())
                && label.iter().all(inner)
                && (at < last_two || !label.contains(&b'_'))
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message of which only this header, these paragraphs and anchors are known.
    pub(crate) struct Parts {
        pub header: Vec<(&'static str, Vec<u8>)>,
        pub body: Vec<&'static [u8]>,
        pub anchors: Vec<&'static [u8]>,
        pub undecoded: &'static [u8],
        pub plain: Option<Plain<'static>>,
        pub relays: Vec<Relay<'static>>,
    }

    impl Parts {
        pub(crate) fn of(header: &[(&'static str, &str)]) -> Self {
            let header = header.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
            Parts { header, body: vec![], anchors: vec![], undecoded: b"", plain: None, relays: vec![] }
        }

        pub(crate) fn ask<T>(&self, evidence: Option<&Evidence<'_>>, question: impl FnOnce(&Mail<'_>) -> T) -> T {
            let header = |name: &str| {
                let fields: Vec<&[u8]> =
                    self.header.iter().filter(|(found, _)| *found == name).map(|(_, value)| &**value).collect();
                (!fields.is_empty()).then(|| fields.iter().flat_map(|field| [*field, b"\n"].concat()).collect())
            };
            let mail = Mail {
                header: &header,
                body: &|| self.body.clone(),
                anchors: &|| self.anchors.clone(),
                undecoded_body: &|| self.undecoded,
                plain: &|| self.plain,
                relays: &self.relays,
                evidence,
                memo: Memo::default(),
            };
            question(&mail)
        }
    }

    fn shown(addresses: &[Vec<u8>]) -> Vec<String> {
        addresses.iter().map(|address| String::from_utf8_lossy(address).into_owned()).collect()
    }

    #[test]
    fn senders_come_from_several_fields() {
        let parts = Parts::of(&[
            ("From:addr", "a@b..c\nd@e.f"),
            ("X-Envelope-From:addr", "g@h.i"),
            ("EnvelopeFrom:addr", "d@e.f"),
        ]);
        assert_eq!(parts.ask(None, |mail| shown(mail.senders())), ["a@b.c", "d@e.f", "g@h.i"]);
        let parts = Parts::of(&[("From:addr", "a@b.c"), ("Resent-From:first:addr", "r@s..t")]);
        assert_eq!(parts.ask(None, |mail| shown(mail.senders())), ["r@s..t"]);
        assert!(Parts::of(&[]).ask(None, |mail| mail.senders().is_empty()));
    }

    #[test]
    fn recipients_come_from_received_fields_too() {
        for (received, expected) in [
            ("from a by b for <x@y.example>; Mon", &["x@y.example", "t@o.example"][..]),
            ("from a by b for x@y.example; Mon", &["x@y.example", "t@o.example"]),
            ("from a by b for <x@y>; Mon", &["t@o.example"]),
            ("from a by b for <@y.example>; Mon", &["t@o.example"]),
            ("from a by b for <x@y_z.example>; Mon", &["t@o.example"]),
            ("from a by b for <x@y.example> Mon;", &["t@o.example"]),
            ("1\n2\n3\nby b for <x@y.example>; Mon", &["t@o.example"]),
        ] {
            let parts = Parts::of(&[("Received", received), ("To:addr", "t@o.example"), ("Cc:addr", "t@o.example")]);
            assert_eq!(parts.ask(None, |mail| shown(mail.recipients())), expected, "{received}");
        }
    }
}
