//! How the tree of parts is built: a queue of parts to take apart, the message first.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::content_type::ContentType;
use super::multipart::{self, Piece};
use super::section::Section;
use super::{COPIED_OCTETS_MAX, DEPTH_MAX, Field, Oddities, PARTS_MAX, Part, Parts, Slice, View, transfer_decoded};
use crate::message::{HEADER_OCTETS_MAX, Message};
use crate::mime::INSPECTED_OCTETS_MAX;
use crate::rules::views::white::{is_white, line_at, lines, trimmed_start};

/// How many blank lines in a row are kept.
const BLANK_LINES_MAX: usize = 20;

/// A part that is not yet taken apart.
struct Waiting {
    index: usize,
    /// Its own, or that of the multipart around it.
    boundary: Option<Vec<u8>>,
    body: Slice,
    /// How many levels may be below it.
    levels: usize,
    /// It is a message, not a part of a multipart.
    is_message: bool,
}

struct Builder {
    parts: Parts,
    waiting: VecDeque<Waiting>,
    /// For each boundary, whether it was opened and not closed: zero is well.
    boundaries: HashMap<Vec<u8>, i32>,
    copied: usize,
}

impl Parts {
    /// Takes a message apart.
    pub fn new(message: &Message) -> Self {
        let octets = message.octets();
        let octets = octets.get(..HEADER_OCTETS_MAX + INSPECTED_OCTETS_MAX).unwrap_or(octets);
        let text = super::unix_lines(octets);
        let empty = Parts {
            buffers: vec![text],
            parts: Vec::new(),
            order: Vec::new(),
            oddities: Oddities::default(),
            message: Slice::default(),
            header: Slice::default(),
        };
        let mut builder = Builder { parts: empty, waiting: VecDeque::new(), boundaries: HashMap::new(), copied: 0 };
        builder.build();
        builder.parts
    }
}

impl Builder {
    fn build(&mut self) {
        let end = self.parts.buffers.first().map_or(0, |text| text.len());
        let (section, start) = self.message(Slice { buffer: 0, start: 0, end }, DEPTH_MAX);
        let empty_line = usize::from(!section.unseparated);
        self.parts.message = Slice { buffer: 0, start, end };
        self.parts.header = Slice { buffer: 0, start, end: section.end.saturating_sub(empty_line) };
        self.parts.oddities.missing_head_body_separator = section.unseparated;
        self.parts.oddities.truncated_header = section.cut;
        while let Some(next) = self.waiting.pop_front() {
            match next.boundary.clone().filter(|_| self.kind(next.index).starts_with("multipart/") && next.levels > 0) {
                Some(boundary) => self.multipart(&next, &boundary),
                None => self.leaf(&next),
            }
        }
        self.parts.oddities.missing_boundary = self.boundaries.values().any(|state| *state != 0);
        self.parts.order = self.parts.root().tree().iter().map(View::index).collect();
    }

    fn kind(&self, index: usize) -> &str {
        self.parts.parts.get(index).map_or("", |part| &part.kind)
    }

    /// Adds a message: the one that came, or one attached to it. Returns its header and where it begins.
    fn message(&mut self, text: Slice, levels: usize) -> (Section, usize) {
        let octets = self.parts.octets(text);
        let first = line_at(octets, 0);
        let skipped = if is_mbox_separator(first) { first.len() } else { 0 };
        let section = Section::read(octets, skipped);
        let offset = text.start;
        let slice =
            |range: &Range<usize>| Slice { buffer: text.buffer, start: offset + range.start, end: offset + range.end };
        let fields = section.fields.iter().map(|(name, value)| (slice(name), slice(value))).collect();
        let body = slice(&(section.end..octets.len()));
        let body = self.with_few_blank_lines(body);
        let index = self.add(fields, false);
        let boundary = self.parts.parts.get(index).and_then(|part| part.content_type.boundary.clone());
        self.waiting.push_back(Waiting { index, boundary, body, levels, is_message: true });
        (section, offset + skipped)
    }

    /// Adds a part. Its type may yet change.
    fn add(&mut self, fields: Vec<(Slice, Slice)>, digested: bool) -> usize {
        let index = self.parts.parts.len();
        let field = |(name, raw)| Field { name, raw, decoded: OnceCell::new() };
        self.parts.parts.push(Part {
            kind: String::new(),
            charset: None,
            name: None,
            is_leaf: true,
            fields: fields.into_iter().map(field).collect(),
            children: Vec::new(),
            body: Slice::default(),
            content_type: ContentType::default(),
            decoded: OnceCell::new(),
        });
        let view = View { parts: &self.parts, index };
        let content_type = ContentType::read(view.field("Content-Type").map(|field| field.text()));
        if let Some(part) = self.parts.parts.get_mut(index) {
            let attached = content_type.missing && digested;
            part.kind = if attached { "message/rfc822".to_owned() } else { content_type.kind.clone() };
            part.content_type = content_type;
        }
        index
    }

    fn multipart(&mut self, multipart: &Waiting, boundary: &[u8]) {
        let text = self.parts.octets(multipart.body);
        // SpamAssassin puts an empty line before a message's body that begins with neither one nor the boundary.
        let first = line_at(text, 0);
        let begins = first.strip_prefix(b"--").is_some_and(|rest| rest.starts_with(boundary));
        let headless = multipart.is_message && first.len() < text.len() && !trimmed_start(first).is_empty() && !begins;
        let left = PARTS_MAX.saturating_sub(self.parts.parts.len());
        let found = multipart::cut(text, boundary, headless, left);
        if found.opened {
            self.boundaries.insert(boundary.to_vec(), 1);
        }
        if found.closed {
            *self.boundaries.entry(boundary.to_vec()).or_default() -= 1;
        }
        let oddities = &mut self.parts.oddities;
        oddities.missing_mime_headers |= found.headerless;
        oddities.missing_mime_head_body_separator |= found.unseparated;
        oddities.mime_epilogue_exists |= found.epilogue;
        oddities.mimepart_limit_exceeded |= found.too_many;
        let children = found.pieces.into_iter().map(|piece| self.piece(multipart, boundary, piece)).collect();
        if let Some(part) = self.parts.parts.get_mut(multipart.index) {
            part.is_leaf = false;
            part.children = children;
        }
    }

    fn piece(&mut self, multipart: &Waiting, boundary: &[u8], piece: Piece) -> usize {
        let Slice { buffer, start, .. } = multipart.body;
        let slice = |range: &Range<usize>| Slice { buffer, start: start + range.start, end: start + range.end };
        let fields = piece.fields.iter().map(|(name, value)| (slice(name), slice(value))).collect();
        let body = self.broken(slice(&piece.body), piece.delimited);
        let index = self.add(fields, self.kind(multipart.index) == "multipart/digest");
        let own = self.parts.parts.get(index).and_then(|part| part.content_type.boundary.clone());
        let boundary = own.filter(|own| !matches!(&own[..], b"" | b"0")).unwrap_or_else(|| boundary.to_vec());
        let levels = multipart.levels.saturating_sub(1);
        self.waiting.push_back(Waiting { index, boundary: Some(boundary), body, levels, is_message: false });
        index
    }

    fn leaf(&mut self, leaf: &Waiting) {
        let view = View { parts: &self.parts, index: leaf.index };
        let disposition = view.field("Content-Disposition").and_then(|field| file_name(field.text()));
        let Some(part) = self.parts.parts.get_mut(leaf.index) else { return };
        if !part.content_type.missing {
            let whole = leaf.boundary.is_some() || !part.content_type.kind.starts_with("multipart/");
            part.kind = if whole { part.content_type.kind.clone() } else { "text/plain".to_owned() };
        }
        part.charset = part.content_type.charset.clone();
        part.name = disposition.or_else(|| part.content_type.name.clone().filter(|name| !name.is_empty()));
        part.body = leaf.body;
        let attached = matches!(&part.kind[..], "message/rfc822" | "message/global");
        if attached && leaf.levels > 0 && self.parts.parts.len() < PARTS_MAX {
            self.attached(leaf);
        }
    }

    fn attached(&mut self, leaf: &Waiting) {
        let view = View { parts: &self.parts, index: leaf.index };
        let encoding = view.field("Content-Transfer-Encoding").map(|field| field.text().to_ascii_lowercase());
        let decoded = transfer_decoded(&encoding.unwrap_or_default(), "message/rfc822", view.raw());
        let text = match decoded {
            Some(decoded) => self.copy(decoded).unwrap_or_default(),
            None => leaf.body,
        };
        if text.start == text.end {
            return;
        }
        let child = self.parts.parts.len();
        if let Some(part) = self.parts.parts.get_mut(leaf.index) {
            part.is_leaf = false;
            part.children = vec![child];
        }
        self.message(text, leaf.levels.saturating_sub(1));
    }

    /// Takes octets over, unless there are too many of them.
    fn copy(&mut self, octets: Vec<u8>) -> Option<Slice> {
        self.copied += octets.len();
        if self.copied > COPIED_OCTETS_MAX {
            return None;
        }
        let slice = Slice { buffer: self.parts.buffers.len(), start: 0, end: octets.len() };
        self.parts.buffers.push(octets);
        Some(slice)
    }

    fn broken(&mut self, body: Slice, delimited: bool) -> Slice {
        match multipart::broken(self.parts.octets(body), delimited) {
            Cow::Borrowed(text) => Slice { end: body.start + text.len(), ..body },
            Cow::Owned(text) => self.copy(text).unwrap_or(body),
        }
    }

    fn with_few_blank_lines(&mut self, body: Slice) -> Slice {
        match few_blank_lines(self.parts.octets(body)) {
            None => body,
            Some(text) => self.copy(text).unwrap_or(body),
        }
    }
}

/// `From `, and no field with white space before its colon. (Two blanks before the colon count as one name too many.)
fn is_mbox_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From") else { return false };
    let blanks = rest.iter().take_while(|b| is_white(**b)).count();
    blanks > 1 || (blanks == 1 && rest.get(1) != Some(&b':'))
}

/// A name in a Content-Disposition: any parameter whose name ends so.
fn file_name(value: &[u8]) -> Option<Vec<u8>> {
    let lower = value.to_ascii_lowercase();
    memchr::memmem::find_iter(&lower, b"name=").find_map(|at| {
        let rest = value.get(at + 5..)?;
        let trimmed = trimmed_start(rest);
        let inner = trimmed.strip_prefix(b"\"").unwrap_or(trimmed);
        let name = inner.split(|b| b"\";".contains(b)).next().unwrap_or_default();
        match rest.len() - trimmed.len() {
            _ if !name.is_empty() => Some(name.to_vec()),
            // White space before nothing is itself a name.
            0 => None,
            _ => rest.first().map(|blank| vec![*blank]),
        }
    })
}

/// None if there are nowhere more than [`BLANK_LINES_MAX`] blank lines in a row. Of a longer run the first line is kept and
/// the last ones; at the very beginning one more, as SpamAssassin does it.
fn few_blank_lines(text: &[u8]) -> Option<Vec<u8>> {
    let is_blank = |line: &[u8]| line.first().is_none_or(|b| is_white(*b)) && trimmed_start(line).is_empty();
    let (mut run, mut longest) = (0, 0);
    for line in lines(text) {
        run = if is_blank(line) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest <= BLANK_LINES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut first: Vec<&[u8]> = Vec::new();
    let mut last: VecDeque<&[u8]> = VecDeque::with_capacity(BLANK_LINES_MAX);
    for line in lines(text).map(Some).chain([None]) {
        if let Some(blank) = line.filter(|line| is_blank(line)) {
            if first.len() < if out.is_empty() { 2 } else { 1 } {
                first.push(blank);
                continue;
            }
            if last.len() == BLANK_LINES_MAX - 1 {
                last.pop_front();
            }
            last.push_back(blank);
            continue;
        }
        out.extend(first.drain(..).chain(last.drain(..)).flatten());
        out.extend_from_slice(line.unwrap_or_default());
    }
    Some(out)
}
