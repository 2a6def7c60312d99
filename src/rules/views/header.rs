//! The header as header rules see it: values decoded, addresses and names taken apart, pseudo-headers.
//!
//! *Does:* answers what a rule names, `From:addr` or `MESSAGEID`, as SpamAssassin 4.0.1 does.
//! *Guarantees:* a field is decoded and its addresses are read at most once, however many rules ask. Of all fields that
//! are asked for together at most [`ADDRESSES_MAX`] addresses are read.
//! *Never does:* look at relays; what of them is asked for was [`Known`] before.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::rules::definition::{Fields, Host, Part, Relays, Selector, Which};
use crate::rules::views::addresses::{ADDRESSES_MAX, Address, addresses};
use crate::rules::views::hosts;
use crate::rules::views::parts::{FieldView, Parts};
use crate::rules::views::uri::domain::Boundaries;
use crate::rules::views::white;

/// What others found out about the way the message came.
#[derive(Debug, Default, Clone, Copy)]
pub struct Known<'a> {
    /// The reverse-path without brackets, empty for the null one.
    pub envelope_from: Option<&'a [u8]>,
    /// `X-Spam-Relays-Trusted`.
    pub relays_trusted: &'a [u8],
    /// `X-Spam-Relays-Untrusted`.
    pub relays_untrusted: &'a [u8],
    /// `X-Spam-Relays-Internal`.
    pub relays_internal: &'a [u8],
    /// `X-Spam-Relays-External`.
    pub relays_external: &'a [u8],
    /// How many Received fields from the top are those of trusted relays.
    pub trusted_fields: usize,
    /// How many are those of internal relays.
    pub internal_fields: usize,
    /// What of a host's name an organisation registered.
    pub registries: Option<&'a Boundaries>,
}

/// What a rule asks of the header: `Name:modifier:modifier`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    name: String,
    raw: bool,
    only: Option<Only>,
    people: Option<People>,
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Only {
    First,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum People {
    Addresses,
    Names,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Host,
    Domain,
    Ip,
    ReversedIp,
}

impl Query {
    /// Reads `Name:modifier:modifier`. A modifier that is unknown changes nothing.
    pub fn read(text: &str) -> Self {
        let mut pieces = text.split(':');
        let name = pieces.next().unwrap_or_default().to_owned();
        let mut query = Query { name, raw: false, only: None, people: None, place: None };
        for modifier in pieces {
            match modifier {
                "raw" => query.raw = true,
                "addr" => query.people = Some(People::Addresses),
                "name" if query.people.is_none() => query.people = Some(People::Names),
                "host" if query.place != Some(Place::Domain) => query.place = Some(Place::Host),
                "domain" => query.place = Some(Place::Domain),
                "ip" if query.place.is_none() => query.place = Some(Place::Ip),
                "revip" if !matches!(query.place, Some(Place::Host | Place::Domain)) => {
                    query.place = Some(Place::ReversedIp);
                }
                "first" => query.only = Some(Only::First),
                "last" if query.only.is_none() => query.only = Some(Only::Last),
                _ => {}
            }
        }
        query
    }
}

impl From<&Selector> for Query {
    fn from(selector: &Selector) -> Self {
        let section = |relays: &Relays| match relays {
            Relays::Trusted => "Trusted",
            Relays::Untrusted => "Untrusted",
            Relays::Internal => "Internal",
            Relays::External => "External",
        };
        let name = match &selector.fields {
            Fields::Named(name) => name.to_string(),
            Fields::All => "ALL".to_owned(),
            Fields::AllOf(relays) => format!("ALL-{}", section(relays).to_ascii_uppercase()),
            Fields::ToCc => "ToCc".to_owned(),
            Fields::MessageId => "MESSAGEID".to_owned(),
            Fields::EnvelopeFrom => "EnvelopeFrom".to_owned(),
            Fields::RelaysOf(relays) => format!("X-Spam-Relays-{}", section(relays)),
        };
        let people = match selector.part {
            Part::Whole => None,
            Part::Address => Some(People::Addresses),
            Part::Name => Some(People::Names),
        };
        let only = match selector.which {
            Which::All => None,
            Which::First => Some(Only::First),
            Which::Last => Some(Only::Last),
        };
        let place = match selector.host {
            Host::None => None,
            Host::Name => Some(Place::Host),
            Host::Domain => Some(Place::Domain),
            Host::Ip => Some(Place::Ip),
            Host::ReversedIp => Some(Place::ReversedIp),
        };
        Query { name, raw: selector.raw, only, people, place }
    }
}

/// The header of a message.
pub struct Header<'p> {
    parts: &'p Parts,
    known: Known<'p>,
    all: OnceCell<(Vec<u8>, bool)>,
    /// The addresses that were asked for, by what they were asked of.
    addresses: RefCell<HashMap<Query, Rc<[Address]>>>,
}

type Values<'v> = Vec<Cow<'v, [u8]>>;

impl<'p> Header<'p> {
    /// Nothing is decoded yet.
    pub fn new(parts: &'p Parts, known: Known<'p>) -> Self {
        Header { parts, known, all: OnceCell::new(), addresses: RefCell::default() }
    }

    /// What a rule asks for in one text: values that are whole lines one after the other, others with a line end between
    /// them. None if there is no such field.
    pub fn get(&self, query: &Query) -> Option<Cow<'_, [u8]>> {
        let mut values = self.values(query);
        if values.len() < 2 {
            return values.pop();
        }
        let whole_lines = values.first().is_some_and(|first| first.ends_with(b"\n"));
        Some(Cow::Owned(values.join(if whole_lines { &b""[..] } else { b"\n" })))
    }

    /// The same, value by value.
    pub fn values(&self, query: &Query) -> Values<'_> {
        if let Some(values) = self.sections(query) {
            return values;
        }
        let mut values = self.named(query);
        match query.only {
            Some(Only::First) => values.truncate(1),
            Some(Only::Last) => values = values.pop().into_iter().collect(),
            None => {}
        }
        if let Some(people) = query.people {
            let found = self.addresses(query, &values);
            values = found.iter().filter_map(|found| person(found, people, query.raw)).collect();
        }
        match query.place {
            Some(place) => values.iter().filter_map(|value| self.place(value, place, query)).collect(),
            None => values,
        }
    }

    /// The addresses in these values of a query. To read them takes time that the sender of a message chooses.
    fn addresses(&self, query: &Query, values: &[Cow<'_, [u8]>]) -> Rc<[Address]> {
        // Of all names only this one is another in lower case.
        let name = if query.name == "MESSAGEID" { query.name.clone() } else { query.name.to_ascii_lowercase() };
        let key = Query { name, people: None, place: None, ..query.clone() };
        let read = || values.iter().flat_map(|value| addresses(value)).take(ADDRESSES_MAX).collect();
        self.addresses.borrow_mut().entry(key).or_insert_with(read).clone()
    }

    /// `ALL` and its kin, for which other modifiers mean nothing.
    fn sections(&self, query: &Query) -> Option<Values<'_>> {
        let (trusted, internal) = (self.known.trusted_fields, self.known.internal_fields);
        let (from, to) = match query.name.as_str() {
            "ALL" if query.raw => return Some(vec![Cow::Borrowed(self.raw_section())]),
            "ALL" => return Some(vec![Cow::Borrowed(&self.all().0)]),
            "ALL-TRUSTED" => (None, Some(trusted)),
            "ALL-INTERNAL" => (None, Some(internal)),
            "ALL-UNTRUSTED" => (Some(trusted), None),
            "ALL-EXTERNAL" => (Some(internal), None),
            _ => return None,
        };
        Some(between_received(if query.raw { self.raw_section() } else { &self.all().0 }, from, to))
    }

    fn all(&self) -> &(Vec<u8>, bool) {
        self.all.get_or_init(|| self.parts.root().all(false))
    }

    /// Is there more in the header than `ALL` holds?
    pub fn is_cut(&self) -> bool {
        self.all().1
    }

    /// The section as it came, without folding at its very beginning, which belongs to no field.
    fn raw_section(&self) -> &[u8] {
        let section = self.parts.header();
        let folded = white::lines(section).take_while(|line| matches!(line.first(), Some(b' ' | b'\t')));
        section.get(folded.map(<[u8]>::len).sum::<usize>()..).unwrap_or_default()
    }

    fn named(&self, query: &Query) -> Values<'_> {
        let known = |text: &'p [u8]| vec![Cow::Borrowed(text)];
        match query.name.to_ascii_lowercase().as_str() {
            "envelopefrom" => self.known.envelope_from.into_iter().map(Cow::Borrowed).collect(),
            "x-spam-relays-trusted" => known(self.known.relays_trusted),
            "x-spam-relays-untrusted" => known(self.known.relays_untrusted),
            "x-spam-relays-internal" => known(self.known.relays_internal),
            "x-spam-relays-external" => known(self.known.relays_external),
            "tocc" => self.of_names(&["To", "Cc"], query.raw),
            "messageid" if query.name == "MESSAGEID" => {
                self.of_names(&["X-Message-Id", "Resent-Message-Id", "X-Original-Message-ID", "Message-Id"], query.raw)
            }
            _ => {
                let raw = query.raw || query.people.is_some();
                let value = |field: FieldView<'p>| if raw { field.raw() } else { field.line() };
                self.fields(&query.name).map(|field| Cow::Borrowed(value(field))).collect()
            }
        }
    }

    fn fields<'n>(&self, name: &'n str) -> impl Iterator<Item = FieldView<'p>> + use<'n, 'p> {
        self.parts.root().fields().filter(move |field| field.is(name))
    }

    fn of_names(&self, names: &[&str], raw: bool) -> Values<'_> {
        let value = |field: FieldView<'p>| match raw {
            true => Cow::Owned(field.raw_unfolded()),
            false => Cow::Borrowed(field.line()),
        };
        names.iter().flat_map(|name| self.fields(name)).map(value).collect()
    }

    /// The last decoded Subject with its line end; a line end if there is none.
    pub fn subject(&self) -> &'p [u8] {
        self.parts.root().field("Subject").map_or(b"\n", |field| field.line())
    }

    fn place<'v>(&self, value: &[u8], place: Place, query: &Query) -> Option<Cow<'v, [u8]>> {
        let found = match place {
            Place::Ip => hosts::ip(value)?.1.to_owned(),
            Place::ReversedIp => hosts::reversed(hosts::ip(value)?.0),
            Place::Host | Place::Domain => {
                let host = match query.people {
                    Some(People::Addresses) => hosts::behind_at(value)?,
                    _ => hosts::host(value)?,
                };
                let host = String::from_utf8_lossy(host).into_owned();
                match self.known.registries.filter(|_| place == Place::Domain) {
                    Some(registries) => registries.registered(&host.to_ascii_lowercase()).to_owned(),
                    None => host,
                }
            }
        };
        Some(Cow::Owned(found.into_bytes()))
    }
}

fn person<'v>(found: &Address, people: People, raw: bool) -> Option<Cow<'v, [u8]>> {
    match people {
        People::Addresses => found.address.clone().map(Cow::Owned),
        People::Names if raw => found.phrase.clone().map(Cow::Owned),
        People::Names => found.name().map(Cow::Owned),
    }
}

/// The fields from the Received field of this number on, or up to one, which is the last; numbers begin at 0.
fn between_received(section: &[u8], from: Option<usize>, to: Option<usize>) -> Values<'_> {
    let mut found = Vec::new();
    // How many Received fields there were.
    let mut count = 0;
    let mut at = 0;
    while let line @ [_, ..] = white::line_at(section, at) {
        let mut end = at + line.len();
        while matches!(section.get(end), Some(b' ' | b'\t')) {
            end += white::line_at(section, end).len();
        }
        count += usize::from(line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"Received:")));
        if from.is_none_or(|from| count > from) {
            found.extend(section.get(at..end).map(Cow::Borrowed));
        }
        if to.is_some_and(|to| count > to) {
            break;
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests;
