//! The parts of a message as rules mean them: the tree that SpamAssassin 4.0.1 builds, type by type and field by field.
//!
//! *Does:* reads the header by [`section`], cuts multiparts by [`multipart`], opens attached messages, names types by
//! [`content_type`], and undoes transfer encodings when somebody asks.
//! *Guarantees:* built once in one pass per level, at most [`DEPTH_MAX`] of them and [`PARTS_MAX`] parts, without recursion;
//! what is copied (attached messages that were encoded, broken lines) is at most [`COPIED_OCTETS_MAX`] octets.
//! *Never does:* judge. What is beyond limits or can be read in two ways is [`crate::mime::malformed`]'s matter; this is the
//! reading that rules were written for, where a part's type may come from the wrong place on purpose.

pub mod build;
pub mod content_type;
pub mod multipart;
pub mod section;

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::mime::{self, PARTS_MAX};
use crate::rules::views::{white, words};

/// How deep parts are taken apart. SpamAssassin's number: what is deeper is a leaf of type multipart.
pub const DEPTH_MAX: usize = 20;
/// How many octets are copied while parts are built.
pub const COPIED_OCTETS_MAX: usize = 16 << 20;
/// How many octets all fields of a part come to before the rest is left out of `ALL`.
const ALL_OCTETS_MAX: usize = 64 << 10;

/// A stretch of a buffer: the message, or something that was decoded out of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    buffer: usize,
    start: usize,
    end: usize,
}

/// A header field of a part.
#[derive(Debug)]
pub struct Field {
    name: Slice,
    raw: Slice,
    decoded: OnceCell<Vec<u8>>,
}

/// What was odd about a message (`check_msg_parse_flags`, and the boundaries of `check_for_mime`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Oddities {
    /// `missing_head_body_separator`: no empty line ends the message's header.
    pub missing_head_body_separator: bool,
    /// `truncated_header`: a field's name or body was cut, or all of them together.
    pub truncated_header: bool,
    /// `missing_mime_headers`: a part begins with something that is no field.
    pub missing_mime_headers: bool,
    /// `missing_mime_head_body_separator`: no empty line ends the header of a part.
    pub missing_mime_head_body_separator: bool,
    /// `mime_epilogue_exists`: there is text behind the last part.
    pub mime_epilogue_exists: bool,
    /// `mimepart_limit_exceeded`: there are more than [`PARTS_MAX`] parts.
    pub mimepart_limit_exceeded: bool,
    /// `mime_missing_boundary`: a boundary opens and does not close, or the other way round.
    pub missing_boundary: bool,
}

/// An entity: the message, a part of a multipart, an attached message.
#[derive(Debug)]
pub struct Part {
    /// Its type, lower-case.
    pub kind: String,
    /// As its Content-Type has it; of leaves only.
    pub charset: Option<Vec<u8>>,
    /// Its file name; of leaves only.
    pub name: Option<Vec<u8>>,
    /// It contains no other parts.
    pub is_leaf: bool,
    /// Its fields in order.
    pub fields: Vec<Field>,
    children: Vec<usize>,
    body: Slice,
    /// What its Content-Type says, whatever became of [`Self::kind`].
    content_type: content_type::ContentType,
    decoded: OnceCell<Option<Vec<u8>>>,
}

/// The parts of one message.
#[derive(Debug)]
pub struct Parts {
    buffers: Vec<Vec<u8>>,
    parts: Vec<Part>,
    /// Each part before those that it contains.
    order: Vec<usize>,
    /// What was odd.
    pub oddities: Oddities,
    message: Slice,
    header: Slice,
}

impl Parts {
    /// The octets of a slice.
    fn octets(&self, slice: Slice) -> &[u8] {
        self.buffers.get(slice.buffer).and_then(|buffer| buffer.get(slice.start..slice.end)).unwrap_or_default()
    }

    /// The message as it came, with line ends of one octet: what `full` rules match.
    pub fn full(&self) -> &[u8] {
        self.octets(self.message)
    }

    /// The header section as it came, without the empty line that ends it.
    pub fn header(&self) -> &[u8] {
        self.octets(self.header)
    }

    /// What follows the header section as it came.
    pub fn body(&self) -> &[u8] {
        let skipped = self.header.end.saturating_sub(self.message.start);
        let rest = self.full().get(skipped..).unwrap_or_default();
        if self.oddities.missing_head_body_separator { rest } else { rest.strip_prefix(b"\n").unwrap_or(rest) }
    }

    /// The message itself.
    pub fn root(&self) -> View<'_> {
        View { parts: self, index: 0 }
    }

    /// All parts, the message first, each before those that it contains. A part without a type is none.
    pub fn iter(&self) -> impl Iterator<Item = View<'_>> {
        let view = |index: &usize| View { parts: self, index: *index };
        self.order.iter().map(view).filter(|view| view.part().is_some_and(|part| !part.kind.is_empty()))
    }

    /// All parts that contain no others.
    pub fn leaves(&self) -> impl Iterator<Item = View<'_>> {
        self.iter().filter(View::is_leaf)
    }
}

/// A part with its octets.
#[derive(Debug, Clone, Copy)]
pub struct View<'p> {
    parts: &'p Parts,
    index: usize,
}

impl<'p> View<'p> {
    fn part(&self) -> Option<&'p Part> {
        self.parts.parts.get(self.index)
    }

    /// Which part it is, in the order in which they were found; 0 is the message.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its type.
    pub fn kind(&self) -> &'p str {
        self.part().map_or("", |part| &part.kind)
    }

    /// Its type, as far as its text is concerned: a file that is named as HTML is HTML.
    pub fn effective_kind(&self) -> &'p str {
        let names_html = |name: &Vec<u8>| {
            let name = name.strip_suffix(b"\n").unwrap_or(name).to_ascii_lowercase();
            [&b".htm"[..], b".html", b".shtm", b".shtml"].iter().any(|extension| name.ends_with(extension))
        };
        let html = self.part().and_then(|part| part.name.as_ref()).is_some_and(names_html);
        if html { "text/html" } else { self.kind() }
    }

    /// Its charset as it was written.
    pub fn charset(&self) -> Option<&'p [u8]> {
        self.part()?.charset.as_deref()
    }

    /// Its file name.
    pub fn name(&self) -> Option<&'p [u8]> {
        self.part()?.name.as_deref()
    }

    /// What its Content-Type field says, for those who do not ask what the part was taken for.
    pub fn content_type(&self) -> Option<&'p content_type::ContentType> {
        self.part().map(|part| &part.content_type)
    }

    /// Does it contain no other parts?
    pub fn is_leaf(&self) -> bool {
        self.part().is_some_and(|part| part.is_leaf)
    }

    /// The parts right below it.
    pub fn children(self) -> impl Iterator<Item = View<'p>> {
        let parts = self.parts;
        self.part().into_iter().flat_map(|part| &part.children).map(move |index| View { parts, index: *index })
    }

    /// It and all parts below it, each before those that it contains.
    pub fn tree(self) -> Vec<View<'p>> {
        let (mut found, mut waiting) = (Vec::new(), vec![self]);
        while let Some(view) = waiting.pop() {
            found.push(view);
            let mut children: Vec<_> = view.children().collect();
            children.reverse();
            waiting.extend(children);
        }
        found
    }

    /// Its fields in order: name and value, decoded and with a line end.
    pub fn fields(self) -> impl Iterator<Item = FieldView<'p>> {
        let parts = self.parts;
        self.part().into_iter().flat_map(|part| &part.fields).map(move |field| FieldView { parts, field })
    }

    /// The last field of this name.
    pub fn field(&self, name: &str) -> Option<FieldView<'p>> {
        let fields = self.part()?.fields.iter().rev();
        let mut views = fields.map(|field| FieldView { parts: self.parts, field });
        views.find(|field| field.is(name))
    }

    /// The body as it stands, transfer encoding and all; nothing if it contains other parts.
    pub fn raw(&self) -> &'p [u8] {
        self.part().filter(|part| part.is_leaf).map_or(&[], |part| self.parts.octets(part.body))
    }

    /// The body with its transfer encoding undone.
    pub fn decoded(&self) -> &'p [u8] {
        let Some(part) = self.part() else { return &[] };
        let decoded = part.decoded.get_or_init(|| {
            let encoding = self.field("Content-Transfer-Encoding")?.text().to_ascii_lowercase();
            transfer_decoded(&encoding, &part.kind, self.raw())
        });
        decoded.as_deref().unwrap_or_else(|| self.raw())
    }
}

/// None if the octets stand for themselves.
fn transfer_decoded(encoding: &[u8], kind: &str, raw: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        b"quoted-printable" => Some(unix_lines(&mime::quoted_printable(raw))),
        b"base64" if kind.starts_with("text/") || kind.starts_with("message/") => Some(unix_lines(&mime::base64(raw))),
        b"base64" => Some(mime::base64(raw)),
        _ => None,
    }
}

/// CRLF becomes LF.
pub fn unix_lines(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((before, after)) = memchr::memchr(b'\r', rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        rest = after.get(1..).unwrap_or_default();
        if rest.first() != Some(&b'\n') {
            out.push(b'\r');
        }
    }
    out.extend_from_slice(rest);
    out
}

/// A field with its octets.
#[derive(Debug, Clone, Copy)]
pub struct FieldView<'p> {
    parts: &'p Parts,
    field: &'p Field,
}

impl<'p> FieldView<'p> {
    /// Its name as it was written.
    pub fn name(&self) -> &'p [u8] {
        self.parts.octets(self.field.name)
    }

    /// Is this its name, in any case?
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// What follows the colon, folding and line end included; of a part, without white space before it.
    pub fn raw(&self) -> &'p [u8] {
        self.parts.octets(self.field.raw)
    }

    /// The same in one line: folding is one space.
    pub fn raw_unfolded(&self) -> Vec<u8> {
        let raw = self.raw();
        let mut out = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = memchr::memchr(b'\n', rest).and_then(|at| rest.split_at_checked(at)) {
            let folded = white::trimmed_start(after);
            if after.len() - folded.len() > 1 {
                out.extend_from_slice(before.strip_suffix(b"\r").unwrap_or(before));
                out.push(b' ');
            } else {
                out.extend_from_slice(before);
                out.push(b'\n');
            }
            rest = folded;
        }
        out.extend_from_slice(rest);
        out
    }

    /// The decoded value with a line end.
    pub fn line(&self) -> &'p [u8] {
        self.field.decoded.get_or_init(|| {
            let mut value = words::value(self.name(), self.raw());
            value.push(b'\n');
            value
        })
    }

    /// The decoded value.
    pub fn text(&self) -> &'p [u8] {
        self.line().strip_suffix(b"\n").unwrap_or_default()
    }
}

impl View<'_> {
    /// All fields as `Name: value`, decoded or as they came but in one line each. True: there were too many octets, and
    /// what is left out are those of the later names.
    pub fn all(&self, raw: bool) -> (Vec<u8>, bool) {
        let values: Vec<(FieldView<'_>, Cow<'_, [u8]>)> = self
            .fields()
            .map(|field| (field, if raw { Cow::Owned(field.raw_unfolded()) } else { Cow::Borrowed(field.line()) }))
            .collect();
        let octets = |(field, value): &(FieldView<'_>, Cow<'_, [u8]>)| field.name().len() + value.len() + 2;
        let fits = values.iter().map(octets).sum::<usize>() <= ALL_OCTETS_MAX;
        let kept = if fits { vec![true; values.len()] } else { kept(&values) };
        let mut all = Vec::new();
        for ((field, value), _) in values.iter().zip(kept).filter(|(_, kept)| *kept) {
            all.extend_from_slice(field.name());
            all.extend_from_slice(b": ");
            all.extend_from_slice(value);
        }
        (all, !fits)
    }
}

/// Which fields fit, all of one name before those of the next.
fn kept(values: &[(FieldView<'_>, Cow<'_, [u8]>)]) -> Vec<bool> {
    let mut names: std::collections::HashMap<Vec<u8>, usize> = std::collections::HashMap::new();
    let rank = |(at, (field, _)): (usize, &(FieldView<'_>, Cow<'_, [u8]>))| {
        (*names.entry(field.name().to_ascii_lowercase()).or_insert(at), at)
    };
    let mut order: Vec<(usize, usize)> = values.iter().enumerate().map(rank).collect();
    order.sort_unstable();
    let mut kept = vec![false; values.len()];
    let mut octets = 0;
    for (_, at) in order {
        let Some((field, value)) = values.get(at) else { continue };
        octets += field.name().len() + value.len() + 2;
        if octets > ALL_OCTETS_MAX {
            break;
        }
        if let Some(slot) = kept.get_mut(at) {
            *slot = true;
        }
    }
    kept
}

#[cfg(test)]
mod tests;
