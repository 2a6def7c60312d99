//! Views: the texts of a message that rules match, each built at most once, and only if a rule asks.
//!
//! *The way:* [`parts`] takes the message apart; [`header`] answers for its fields with [`words`], [`addresses`] and
//! [`hosts`]; [`body`] makes paragraphs of its text with [`charset`] and [`html`]; [`raw_body`] makes chunks.
//! *Guarantees:* building a view takes time linear in the octets that are looked at, and those are bounded
//! ([`crate::message::HEADER_OCTETS_MAX`], [`crate::mime::INSPECTED_OCTETS_MAX`], [`body::TEXT_OCTETS_MAX`]). Views are UTF-8
//! wherever a character set was known or could be guessed; rules match octets. Line ends are one octet, as rules expect.
//! *Follows* SpamAssassin 4.0.1 as it was observed, so that its rules mean the same. Where we differ, the view says so.

pub mod addresses;
pub mod body;
pub mod charset;
pub mod detect;
pub mod header;
pub mod hosts;
pub mod html;
pub mod parts;
pub mod raw_body;
pub mod uri;
pub mod white;
pub mod words;

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::message::Message;
use crate::rules::compile::View;
use crate::rules::environment::Environment;

use body::{Rendered, Text};
use header::{Header, Known, Query};
use parts::Parts;
use uri::{UriOptions, Uris};

/// The views of one message that was taken apart.
pub struct Views<'p> {
    parts: &'p Parts,
    header: Header<'p>,
    rendered: OnceCell<Vec<Option<Rendered<'p>>>>,
    text: OnceCell<Text>,
    raw: OnceCell<Vec<&'p [u8]>>,
    environment: &'p Environment,
    uris: OnceCell<Uris>,
}

impl<'p> Views<'p> {
    /// Nothing is decoded yet.
    pub fn new(parts: &'p Parts, known: Known<'p>, environment: &'p Environment) -> Self {
        Views {
            parts,
            header: Header::new(parts, known),
            rendered: OnceCell::new(),
            text: OnceCell::new(),
            raw: OnceCell::new(),
            environment,
            uris: OnceCell::new(),
        }
    }

    /// The parts.
    pub fn parts(&self) -> &'p Parts {
        self.parts
    }

    /// The header.
    pub fn header(&self) -> &Header<'p> {
        &self.header
    }

    /// What a header rule asks for; none if there is no such field.
    pub fn get(&self, query: &Query) -> Option<Cow<'_, [u8]>> {
        self.header.get(query)
    }

    /// The leaves in order, each with its text if it has one.
    pub fn rendered(&self) -> &[Option<Rendered<'p>>] {
        self.rendered.get_or_init(|| body::rendered(self.parts))
    }

    /// The paragraphs of the text, the Subject first: what `body` rules match, line by line.
    pub fn text(&self) -> &Text {
        self.text.get_or_init(|| Text::new(self.header.subject(), self.rendered()))
    }

    /// What `rawbody` rules match, chunk by chunk.
    pub fn raw(&self) -> &[&'p [u8]] {
        self.raw.get_or_init(|| raw_body::chunks(self.parts))
    }

    /// What `full` rules match.
    pub fn full(&self) -> &'p [u8] {
        self.parts.full()
    }

    /// The links: those of the text, of HTML, and the domains of signatures.
    pub fn uris(&self) -> &Uris {
        self.uris.get_or_init(|| {
            let redirector = |uri: &[u8]| self.environment.redirected(uri);
            let options = UriOptions { boundaries: &self.environment.registries, redirector: &redirector };
            let html = self.rendered().iter().flatten().filter_map(|part| part.html.as_deref());
            let mut uris = Uris::find(self.text().lines(), html, &options);
            for field in self.parts.root().fields() {
                if field.is("DomainKey-Signature") || field.is("DKIM-Signature") {
                    signers(field.line()).for_each(|domain| uris.add_signature_domain(&domain, &options));
                }
            }
            uris
        })
    }

    /// The texts that patterns of a view look at, in order.
    pub fn texts(&self, view: View) -> Vec<&[u8]> {
        match view {
            View::Body => self.text().lines().collect(),
            View::RawBody => self.raw().to_vec(),
            View::Full => vec![self.full()],
            View::Uri => self.uris().list(),
        }
    }

    /// What a `mimeheader` rule asks of each part: the last field of this name, or all fields (`all`).
    pub fn part_fields(&self, name: &str, raw: bool) -> Vec<Option<Cow<'p, [u8]>>> {
        let value = |part: parts::View<'p>| match name {
            "all" | "ALL" => Some(Cow::Owned(part.all(raw).0)),
            _ => part.field(name).map(|field| Cow::Borrowed(if raw { field.raw() } else { field.line() })),
        };
        self.parts.iter().map(value).collect()
    }
}

/// The domains that a signature field names by `d=`, wherever that stands in it.
fn signers(field: &[u8]) -> impl Iterator<Item = String> {
    let is_word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
    memchr::memchr_iter(b'd', field).filter_map(move |at| {
        let begins = at.checked_sub(1).and_then(|before| field.get(before)).is_none_or(|octet| !is_word(octet));
        let value = field.get(at + 1..)?.trim_ascii_start().strip_prefix(b"=")?;
        let value = value.split(|octet| *octet == b';').next()?;
        begins.then(|| String::from_utf8_lossy(value).into_owned())
    })
}

impl Parts {
    /// Takes a stored message apart; for tests and tools.
    pub fn of_stored(octets: &[u8]) -> Self {
        Parts::new(&Message::from_stored(octets))
    }
}
