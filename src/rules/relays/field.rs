//! One Received field: what it tells of a hand-over.
//!
//! *Does:* takes from anywhere in the field what has a name there, then tries the known formats one after the
//! other.
//! *Guarantees:* looks at [`FIELD_OCTETS_MAX`] octets, in no more steps than its caller allows.

use std::sync::LazyLock;

use super::address::is_word;
use super::authentication::authentication;
use super::formats::{self, Format, Meaning};
use super::marks::Mark;
use super::relay::{Read, Relay, bare_path, shown};
use super::shape::{Found, Shape, Slot, Steps};
use super::tidy::{begins, is_local, is_only_names, spaced, tidied, without_date};

/// What stands behind these octets of a field is not looked at.
pub const FIELD_OCTETS_MAX: usize = 8_192;

/// What a field tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// A hand-over.
    Relay(Box<Relay>),
    /// Nothing of use.
    Nothing,
    /// Nothing itself, but the sender of the hand-over that the next field tells of, if it is told.
    Sender(Option<Vec<u8>>),
    /// The message was fetched from a mailbox.
    Fetched,
    /// Not known.
    Unparseable,
}

/// Reads the value of a Received field. Folding does not matter.
pub fn read(value: &[u8], steps: &mut Steps) -> Told {
    let field = tidied(value.get(..FIELD_OCTETS_MAX).unwrap_or(value));
    let known = begins(&field, b"from ") || begins(&field, b"(from ");
    if !known || is_local(&field) || is_only_names(&field) {
        return Told::Nothing;
    }
    let field = spaced(without_date(&field));
    let mut read = named(&field, steps);
    let (rest, meaning) = if let Some(rest) = field.strip_prefix(b"from ") {
        (rest, from(rest, &mut read, steps))
    } else if let Some(rest) = field.strip_prefix(b"FROM ") {
        (rest, first(&formats::CAPITALS, rest, &mut read, steps))
    } else if let Some(rest) = field.strip_prefix(b"(from ") {
        (rest, first(&formats::PARENTHESIS, rest, &mut read, steps))
    } else {
        (&*field, None)
    };
    told(meaning, read, rest, steps)
}

fn told<'t>(meaning: Option<Meaning>, mut read: Read<'t>, rest: &'t [u8], steps: &mut Steps) -> Told {
    static BRACKETED: LazyLock<Shape> = LazyLock::new(|| Shape::new("[{ip}]"));
    match meaning {
        Some(Meaning::Ignored) => return Told::Nothing,
        Some(Meaning::Fetched) => return Told::Fetched,
        Some(Meaning::Scanner) => return Told::Sender(read.envfrom.map(|path| shown(bare_path(&path)))),
        Some(_) => return Told::Relay(Box::new(Relay::from_read(read))),
        None if read.ip.is_empty() => {
            read.ip = BRACKETED.find(rest, steps).and_then(|found| found.get(Slot::Ip)).unwrap_or_default();
        }
        None => {}
    }
    match read.ip.is_empty() || matches!(read.by, b"" | b"0") {
        true => Told::Unparseable,
        false => Told::Relay(Box::new(Relay::from_read(read))),
    }
}

/// What can stand anywhere.
fn named<'t>(field: &'t [u8], steps: &mut Steps) -> Read<'t> {
    Read {
        id: id(field).unwrap_or_default(),
        helo: helo(field).unwrap_or_default().to_vec(),
        by: Mark::By.behind(field).map(word).find(|by| !by.is_empty()).unwrap_or_default(),
        auth: authentication(field, steps),
        ..Read::default()
    }
}

fn word(text: &[u8]) -> &[u8] {
    text.split(|octet| *octet == b' ').next().unwrap_or_default()
}

fn id(field: &[u8]) -> Option<&[u8]> {
    Mark::Id.behind(field).find_map(|text| {
        let text = text.strip_prefix(b"<").unwrap_or(text);
        text.split(|octet| matches!(octet, b' ' | b'<' | b'>' | b';')).next().filter(|id| id.len() >= 3)
    })
}

/// `helo=name`, or else `HELO name`.
fn helo(field: &[u8]) -> Option<&[u8]> {
    let at = |mark: Mark| {
        mark.places(field).find_map(|(start, end)| {
            let inside = start.checked_sub(1).and_then(|before| field.get(before)).is_some_and(|octet| is_word(*octet));
            let rest = field.get(end..).filter(|_| !inside)?;
            let helo = rest.get(..rest.iter().take_while(|octet| is_helo(**octet)).count())?;
            (!helo.is_empty()).then_some((start, helo))
        })
    };
    let spoken = || at(Mark::Helo).into_iter().chain(at(Mark::Ehlo)).min_by_key(|(start, _)| *start);
    at(Mark::HeloIs).or_else(spoken).map(|(_, helo)| helo)
}

fn is_helo(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-.^+_&:=?!@%*$\\/".contains(&octet)
}

/// Behind `from `: the formats by their MTA, then all others.
fn from<'t>(rest: &'t [u8], read: &mut Read<'t>, steps: &mut Steps) -> Option<Meaning> {
    read.envfrom = envelope_from(rest).map(<[u8]>::to_vec);
    if let Some(meaning) = first(&formats::WEB, rest, read, steps) {
        return Some(meaning);
    }
    let family =
        formats::FAMILIES.iter().find(|family| family.marks.iter().any(|mark| mark.find(rest, steps).is_some()));
    let by_mta = family.and_then(|family| first(&family.formats, rest, read, steps));
    let meaning = by_mta.or_else(|| first(&formats::GENERAL, rest, read, steps));
    if meaning.is_none() && matches!(read.helo.as_slice(), b"" | b"0") {
        read.helo = guessed_helo(rest).to_vec();
    }
    meaning
}

/// The first format that a field has, what it tells put where it belongs.
fn first<'t>(formats: &[Format], rest: &'t [u8], read: &mut Read<'t>, steps: &mut Steps) -> Option<Meaning> {
    formats.iter().find_map(|format| {
        if format.needs.as_ref().is_some_and(|needs| needs.find(rest, steps).is_none()) {
            return None;
        }
        let found = match format.anywhere {
            true => format.shape.find(rest, steps)?,
            false => format.shape.matches(rest, steps)?,
        };
        if format.unless.as_ref().is_some_and(|unless| unless.find(rest, steps).is_some()) {
            return None;
        }
        take(&found, read);
        interpret(format.meaning, rest, read, steps).then_some(format.meaning)
    })
}

fn take<'t>(found: &Found<'t>, read: &mut Read<'t>) {
    let both = found.get(Slot::Both);
    read.ip = found.get(Slot::Ip).unwrap_or(read.ip);
    read.by = found.get(Slot::By).unwrap_or(read.by);
    read.id = found.get(Slot::Id).unwrap_or(read.id);
    read.rdns = found.get(Slot::Rdns).or(both).unwrap_or(read.rdns);
    if let Some(helo) = found.get(Slot::Helo).or(both) {
        read.helo = helo.to_vec();
    }
    if let Some(ident) = found.get(Slot::Ident) {
        read.ident = ident.to_vec();
    }
    if let Some(rest) = found.get(Slot::Rest) {
        parameters(rest, read);
    }
}

/// `helo=` and `ident=`. What stands behind the first is not looked through for the second.
fn parameters(rest: &[u8], read: &mut Read) {
    let mut left = rest.to_vec();
    let places =
        |(start, end): (usize, usize)| Some((start, word(rest.get(end..)?))).filter(|(_, helo)| !helo.is_empty());
    if let Some((start, helo)) = Mark::HeloIs.places(rest).find_map(places) {
        let end = start.saturating_add(b"helo=".len()).saturating_add(helo.len());
        left.drain(start..end.min(left.len()));
        read.helo = helo.to_vec();
    }
    if let Some(ident) = Mark::IdentIs.behind(&left).next() {
        read.ident = word(ident).to_vec();
    }
}

/// What a format means beyond what stands in its holes. False: it told not enough, others are to be tried.
fn interpret<'t>(meaning: Meaning, rest: &'t [u8], read: &mut Read<'t>, steps: &mut Steps) -> bool {
    match meaning {
        Meaning::Looked => read.looked_up = true,
        Meaning::LookedIdent => {
            read.looked_up = true;
            ident_before_name(read);
        }
        Meaning::Qmail => {
            if let Some(found) = formats::QMAIL.iter().find_map(|shape| shape.matches(rest, steps)) {
                take(&found, read);
            }
            read.looked_up = read.rdns != b"unknown";
        }
        Meaning::Xmail => {
            let bracketed =
                |mark: Mark| mark.behind(rest).map(word).find_map(|word| word.get(..memchr::memrchr(b'>', word)?));
            read.id = bracketed(Mark::XmailId).filter(|id| !id.is_empty()).unwrap_or(read.id);
            let path = bracketed(Mark::XmailFrom).filter(|path| !path.is_empty());
            read.envfrom = path.map(<[u8]>::to_vec).or(read.envfrom.take());
        }
        Meaning::Odd => return odd(rest, read, steps),
        Meaning::Hotmail => hotmail(rest, read, steps),
        Meaning::Relay | Meaning::Ignored | Meaning::Scanner | Meaning::Fetched => {}
    }
    true
}

/// `IDENT:user@name`, or `user@name`.
fn ident_before_name(read: &mut Read) {
    for tag in [&b"IDENT:"[..], b""] {
        let Some(rest) = read.rdns.strip_prefix(tag) else { continue };
        if let Some((user, name)) = memchr::memchr(b'@', rest).and_then(|at| rest.split_at_checked(at)) {
            read.ident = user.to_vec();
            read.rdns = name.get(1..).unwrap_or_default();
        }
    }
}

/// Exim, as someone configured it: whatever can be found.
fn odd<'t>(rest: &'t [u8], read: &mut Read<'t>, steps: &mut Steps) -> bool {
    static PIECES: LazyLock<[Shape; 3]> =
        LazyLock::new(|| [" ({helo}) ", " [{ip}{.{_#}|}] ", "by {by} "].map(Shape::new));
    read.rdns = Some(word(rest)).filter(|name| !name.is_empty() && name.len() < rest.len()).unwrap_or(read.rdns);
    let [helo, ip, by] = &*PIECES;
    for shape in [helo, ip] {
        if let Some(found) = shape.find(rest, steps) {
            take(&found, read);
        }
    }
    let by = by.find(rest, steps);
    by.as_ref().inspect(|found| take(found, read)).is_some() && !read.ip.is_empty()
}

fn hotmail<'t>(rest: &'t [u8], read: &mut Read<'t>, steps: &mut Steps) {
    static ADDRESS: LazyLock<Shape> = LazyLock::new(|| Shape::new("{ip} "));
    read.ip = ADDRESS.matches(rest, steps).and_then(|found| found.get(Slot::Ip)).unwrap_or(read.ip);
}

/// The sender, as some MTAs note it: up to the last edge of a word.
fn envelope_from(rest: &[u8]) -> Option<&[u8]> {
    memchr::memchr_iter(b'-', rest).find_map(|hyphen| {
        let (before, after) = rest.split_at_checked(hyphen)?;
        let ends = |with: &[u8]| {
            let start = before.len().checked_sub(with.len());
            start.and_then(|start| before.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
        };
        let marks: &[&[u8]] = match () {
            () if ends(b"return") => &[b"-path: ", b"-path "],
            () if ends(b"envelope") => &[b"-from ", b"-from=", b"-sender ", b"-sender="],
            () => return None,
        };
        let mark = marks.iter().find(|mark| begins(after, mark))?;
        to_last_edge(word(after.get(mark.len()..)?))
    })
}

fn to_last_edge(word: &[u8]) -> Option<&[u8]> {
    let is = |at: Option<&u8>| at.is_some_and(|octet| is_word(*octet));
    let edge = |end: &usize| is(word.get(end.saturating_sub(1))) != is(word.get(*end));
    (1..=word.len()).rev().find(edge).and_then(|end| word.get(..end))
}

/// The first word, whatever it is; without what ends it, if nothing follows.
fn guessed_helo(rest: &[u8]) -> &[u8] {
    let first = word(rest);
    if first.len() < rest.len() {
        return first;
    }
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    let end = first.iter().rposition(|octet| !plain(octet)).unwrap_or_default();
    first.get(..end).unwrap_or_default()
}
