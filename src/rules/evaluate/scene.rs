//! What is known of a message before any rule runs: the way it came, and what evals may ask for.

use crate::address::ReversePath;
use crate::rules::environment::Environment;
use crate::rules::evals::Context;
use crate::rules::evals::facts::Facts;
use crate::rules::evals::mail::{self, Mail, Memo, Plain};
use crate::rules::evidence::Evidence;
use crate::rules::relays::{self, Relays, Seen, Trace, envelope};
use crate::rules::views::Views;
use crate::rules::views::header::{Header, Known, Query};
use crate::rules::views::parts::Parts;

/// The way a message came, in the shapes in which rules ask for it.
pub struct Way {
    relays: Relays,
    /// Trusted, untrusted, internal, external.
    shown: [Vec<u8>; 4],
    envelope_from: Option<Vec<u8>>,
}

impl Way {
    /// Reads it from the Received fields; what the session saw itself comes first.
    pub fn of(parts: &Parts, evidence: Option<&Evidence>, environment: &Environment) -> Self {
        let header = Header::new(parts, Known::default());
        let received = header.values(&Query::read("Received"));
        let originating: Vec<_> = environment.originating.iter().filter_map(|query| header.get(query)).collect();
        let helo = evidence.and_then(|evidence| evidence.helo).map(ToString::to_string).unwrap_or_default();
        let reverse_path = evidence.and_then(|evidence| evidence.reverse_path).map(without_brackets);
        let trace = Trace {
            seen: evidence.and_then(|evidence| seen(evidence, &helo, reverse_path.as_deref())),
            received: received.iter().map(|value| &**value).collect(),
            originating: originating.iter().map(|value| &**value).collect(),
        };
        let relays = Relays::parse(&trace, &environment.boundaries);
        let shown = [relays.trusted(), relays.untrusted(), relays.internal(), relays.external()].map(relays::shown);
        let get = |name: &str| header.get(&Query::read(name)).map(std::borrow::Cow::into_owned);
        let envelope_from = reverse_path.or_else(|| envelope::envelope_from(&relays, &get));
        Way { relays, shown, envelope_from }
    }

    /// What header rules may ask of it.
    pub fn known<'a>(&'a self, environment: &'a Environment) -> Known<'a> {
        let [trusted, untrusted, internal, external] = &self.shown;
        Known {
            envelope_from: self.envelope_from.as_deref(),
            relays_trusted: trusted,
            relays_untrusted: untrusted,
            relays_internal: internal,
            relays_external: external,
            trusted_fields: self.relays.trusted_fields,
            internal_fields: self.relays.internal_fields,
            registries: Some(&environment.registries),
        }
    }
}

/// The reverse-path without brackets, empty for the null one.
fn without_brackets(reverse_path: &ReversePath) -> Vec<u8> {
    match reverse_path {
        ReversePath::Null => Vec::new(),
        ReversePath::Mailbox(mailbox) => mailbox.to_string().into_bytes(),
    }
}

/// The client that the session spoke with, if it is known.
fn seen<'a>(evidence: &Evidence<'a>, helo: &'a str, envfrom: Option<&'a [u8]>) -> Option<Seen<'a>> {
    Some(Seen {
        ip: evidence.client?,
        rdns: evidence.client_name.map(str::as_bytes),
        helo: helo.as_bytes(),
        by: evidence.hostname.as_bytes(),
        envfrom,
        id: b"",
        auth: b"",
    })
}

/// Calls with what evals may ask of a message.
pub fn with_context<R>(
    views: &Views<'_>,
    way: &Way,
    evidence: Option<&Evidence>,
    environment: &Environment,
    run: impl FnOnce(&Context<'_, '_>) -> R,
) -> R {
    let registries = &environment.registries;
    let header = |name: &str| views.get(&Query::read(name)).map(std::borrow::Cow::into_owned);
    // What SpamAssassin's own evals see of addresses: the first.
    let first = |name: &str| {
        let mut value = header(name)?;
        if name.contains(":addr") {
            let end = memchr::memchr(b'\n', &value).unwrap_or(value.len());
            value.truncate(end);
        }
        Some(value)
    };
    let registered = |host: &[u8]| registries.registered(&String::from_utf8_lossy(host)).as_bytes().to_vec();
    let is_domain = |host: &[u8]| registries.has_known_end(&String::from_utf8_lossy(host).to_ascii_lowercase());
    let newest = way.relays.untrusted().get(..1).unwrap_or(way.relays.trusted());
    let names: Vec<Vec<u8>> = newest.iter().map(|relay| relay.rdns.to_ascii_lowercase()).collect();
    let newest: Vec<mail::Relay> =
        newest.iter().zip(&names).map(|(relay, name)| mail::Relay { address: relay.address, name }).collect();
    let body = || views.text().lines().collect();
    let anchors = || {
        let linked = |types: &[&str]| types.contains(&"a") && !types.contains(&"parsed");
        views.uris().details().filter(|uri| linked(&uri.types)).map(|uri| uri.raw.as_slice()).collect()
    };
    let undecoded_body = || views.parts().body();
    let mail = Mail {
        header: &header,
        body: &body,
        anchors: &anchors,
        undecoded_body: &undecoded_body,
        plain: &|| plain(views),
        relays: &newest,
        evidence,
        memo: Memo::default(),
    };
    let now = jiff::Timestamp::now().as_second();
    let facts = Facts { relays: &way.relays, get: &first, registered: &registered, is_domain: &is_domain, now };
    run(&Context::new(views, mail, facts, environment))
}

/// The first text/plain part.
fn plain<'v>(views: &'v Views<'_>) -> Option<Plain<'v>> {
    let part = views.parts().leaves().find(|part| part.kind().starts_with("text/plain"))?;
    let rendered = views.rendered().iter().flatten().find(|rendered| rendered.part == part.index());
    let rendered = rendered.map_or(&b""[..], |rendered| rendered.text.as_bytes());
    Some(Plain { decoded: part.decoded(), rendered })
}
