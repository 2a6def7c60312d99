//! A multipart cut at its boundary, as SpamAssassin cuts it.
//!
//! *Does:* finds delimiter lines (RFC 2046 section 5.1.1), reads the header of each part, and notes what is odd.
//! *Guarantees:* one pass over the lines; at most `max` parts. A missing last delimiter is made good by the end.
//! *Odd, and wanted:* of a part whose last line before the delimiter is still header, that field is lost; a part whose last
//! header field is a Content-Type with the boundary of the multipart around it swallows delimiters up to the closing one;
//! lines are broken at [`LINE_OCTETS_MAX`].

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::content_type::ContentType;
use super::section::{VALUE_OCTETS_MAX, begins_field};
use crate::message::HEADER_FIELDS_MAX;
use crate::rules::views::white::{is_white, line_at, lines, trimmed_start};
use crate::rules::views::words;

/// The longest line of a part, in octets; a longer one becomes several.
pub const LINE_OCTETS_MAX: usize = 2_048;

/// A part, as offsets into the multipart's text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Names and bodies of its fields.
    pub fields: Vec<(Range<usize>, Range<usize>)>,
    /// What follows its header.
    pub body: Range<usize>,
    /// The line end that belongs to the delimiter is still part of the body.
    pub delimited: bool,
}

/// What was found in a multipart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// In order.
    pub pieces: Vec<Piece>,
    /// There is a delimiter before the first part.
    pub opened: bool,
    /// There is a closing one.
    pub closed: bool,
    /// A part begins with something that is no field.
    pub headerless: bool,
    /// The header of a part ends without an empty line.
    pub unseparated: bool,
    /// There is text behind the closing delimiter.
    pub epilogue: bool,
    /// There are more parts than were wanted.
    pub too_many: bool,
}

/// Cuts. `headless` says that there can be no field before the first delimiter.
pub fn cut(text: &[u8], boundary: &[u8], headless: bool, max: usize) -> Pieces {
    let mut found = Pieces::default();
    let start = found.skip_preamble(text, boundary);
    let mut cutter = Cutter {
        text,
        boundary,
        nested: false,
        in_body: headless && !found.opened,
        field: None,
        body: None,
        fields: Vec::new(),
    };
    let mut at = start;
    while at < text.len() {
        let line = line_at(text, at);
        let next = at + line.len();
        let delimiter = cutter.delimiter(line);
        let ends = delimiter.is_some() && !cutter.nested;
        if cutter.nested && delimiter == Some(true) {
            cutter.nested = false;
        }
        if !ends && next < text.len() {
            found.unseparated |= cutter.take(line, at);
            at = next;
            continue;
        }
        found.pieces.push(cutter.piece(if ends { None } else { Some(next) }, at));
        at = next;
        if delimiter == Some(true) {
            found.closed = true;
            found.epilogue = rest_is_text(text, at);
            break;
        }
        found.headerless |= at < text.len() && !is_field(line_at(text, at));
        if found.pieces.len() >= max {
            found.too_many = true;
            break;
        }
    }
    found
}

impl Pieces {
    /// Where the first part begins: behind the first delimiter, or at the beginning if there is none.
    fn skip_preamble(&mut self, text: &[u8], boundary: &[u8]) -> usize {
        let mut at = 0;
        for line in lines(text) {
            at += line.len();
            if delimiter(line, boundary) == Some(false) {
                self.opened = true;
                self.headerless = at < text.len() && !is_field(line_at(text, at));
                return at;
            }
        }
        0
    }
}

/// A field's first line, without white space before the colon.
fn is_field(line: &[u8]) -> bool {
    let name = memchr(b':', line).and_then(|colon| line.get(..colon));
    name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

/// A few dots and blanks are no text.
fn rest_is_text(text: &[u8], at: usize) -> bool {
    text.get(at..).unwrap_or_default().iter().any(|b| !is_white(*b) && *b != b'.')
}

/// Is it a delimiter line, and the closing one?
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.strip_prefix(b"--") {
        Some(rest) => trimmed_start(rest).is_empty().then_some(true),
        None => trimmed_start(rest).is_empty().then_some(false),
    }
}

struct Cutter<'t> {
    text: &'t [u8],
    boundary: &'t [u8],
    /// In a part that uses the same boundary.
    nested: bool,
    in_body: bool,
    /// Where the field that is being read begins.
    field: Option<usize>,
    body: Option<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Cutter<'_> {
    fn delimiter(&self, line: &[u8]) -> Option<bool> {
        delimiter(line, self.boundary)
    }

    /// Takes a line that ends nothing. True if it is body and stands right behind a field.
    fn take(&mut self, line: &[u8], at: usize) -> bool {
        if self.in_body {
            self.body.get_or_insert(at);
            return false;
        }
        if begins_field(line) {
            self.end_field(at);
            self.field = Some(at);
            return false;
        }
        if self.field.is_some() && matches!(line.first(), Some(b' ' | b'\t')) {
            return false;
        }
        if self.end_field(at) {
            self.nested |= self.inner_boundary().as_deref() == Some(self.boundary);
        }
        self.in_body = true;
        let separates = matches!(line, b"\n" | b"\r\n");
        if !separates {
            self.body.get_or_insert(at);
        }
        !separates
    }

    /// Ends the field that is being read. True if it is a Content-Type.
    fn end_field(&mut self, at: usize) -> bool {
        let Some(start) = self.field.take() else { return false };
        let field = self.text.get(start..at).unwrap_or_default();
        let Some((name, rest)) = memchr(b':', field).and_then(|colon| field.split_at_checked(colon)) else {
            return false;
        };
        let value = at - trimmed_start(rest.get(1..).unwrap_or_default()).len();
        if self.fields.len() < HEADER_FIELDS_MAX {
            self.fields.push((start..start + name.len(), value..at.min(value + VALUE_OCTETS_MAX)));
        }
        name.eq_ignore_ascii_case(b"content-type")
    }

    fn inner_boundary(&self) -> Option<Vec<u8>> {
        let (name, value) = self.fields.last()?;
        let value = words::value(self.text.get(name.clone())?, self.text.get(value.clone())?);
        ContentType::read(Some(&value)).boundary
    }

    /// Ends a part at a delimiter, or at the end of the text, whose last line is body.
    fn piece(&mut self, end: Option<usize>, at: usize) -> Piece {
        if end.is_some() {
            self.body.get_or_insert(at);
        }
        let end_of_body = end.unwrap_or(at);
        let body = self.body.take().unwrap_or(end_of_body)..end_of_body;
        self.field = None;
        self.in_body = false;
        Piece { fields: std::mem::take(&mut self.fields), body, delimited: end.is_none() }
    }
}

/// The body of a part with long lines broken, and without the line end that belongs to the delimiter behind it.
pub fn broken(body: &[u8], delimited: bool) -> Cow<'_, [u8]> {
    let text = match lines(body).any(|line| line.len() > LINE_OCTETS_MAX) {
        false => Cow::Borrowed(body),
        true => {
            let mut text = Vec::with_capacity(body.len() + body.len() / LINE_OCTETS_MAX + 1);
            for mut line in lines(body) {
                while let Some((start, rest)) = line.split_at_checked(LINE_OCTETS_MAX).filter(|(_, r)| !r.is_empty()) {
                    text.extend_from_slice(start);
                    text.push(b'\n');
                    line = rest;
                }
                text.extend_from_slice(line);
            }
            Cow::Owned(text)
        }
    };
    match text {
        Cow::Borrowed(text) if delimited => Cow::Borrowed(text.strip_suffix(b"\n").unwrap_or(text)),
        Cow::Owned(mut text) if delimited && text.last() == Some(&b'\n') => {
            text.pop();
            Cow::Owned(text)
        }
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, found: &Pieces) -> Vec<String> {
        let piece = |piece: &Piece| {
            let fields =
                piece.fields.iter().map(|(n, v)| format!("{}={}|", &text[n.clone()], text[v.clone()].trim_end()));
            let body = broken(text[piece.body.clone()].as_bytes(), piece.delimited).into_owned();
            fields.collect::<String>() + &String::from_utf8(body).unwrap()
        };
        found.pieces.iter().map(piece).collect()
    }

    #[test]
    fn parts_are_cut() {
        for (text, expected) in [
            ("pre\n--b\nA: 1\n 2\nB :3\n\none\n--b \n\ntwo\n\n--b--\nend\n", &["A=1\n 2|B =3|one", "two\n"][..]),
            ("--b\n\none", &["one"]),
            ("--b\n\none\n", &["one\n"]),
            ("--b\nA: 1\nno field\n--b--\n", &["A=1|no field"]),
            ("--b\nA: 1\n--b\n\nx\n--b--\n", &["", "x"]),
            ("--b\n--b--\n", &[""]),
            ("--bb\nA: 1\n\nx\n", &["--bb\nA: 1\n\nx\n"]),
            ("A: 1\n\nx\n", &["A=1|x\n"]),
            ("--b--\n\nx\n", &[""]),
            (
                "--b\nContent-Type: m/x; boundary=b\n\n--b\n\nx\n--b--\ny\n--b--\n",
                &["Content-Type=m/x; boundary=b|--b\n\nx\n--b--\ny"],
            ),
            ("", &[]),
        ] {
            assert_eq!(shown(text, &cut(text.as_bytes(), b"b", false, 100)), expected, "{text:?}");
        }
        let text = "A: 1\n\nx\n";
        assert_eq!(shown(text, &cut(text.as_bytes(), b"b", true, 100)), [text]);
    }

    #[test]
    fn oddities_are_noted() {
        let of = |text: &str| cut(text.as_bytes(), b"b", false, 2);
        let flags = |f: &Pieces| (f.opened, f.closed, f.headerless, f.unseparated, f.epilogue, f.too_many);
        for (text, expected) in [
            ("--b\nA: 1\n\nx\n--b--\n.\n \n", (true, true, false, false, false, false)),
            ("--b\nA: 1\n\nx\n--b--\nx\n", (true, true, false, false, true, false)),
            ("--b\n\nx\n--b--\n", (true, true, true, false, false, false)),
            ("--b\nA: 1\nx\n--b--\n", (true, true, false, true, false, false)),
            ("--b\nA: 1\n\nx\n--b\nno\n", (true, false, true, false, false, true)),
            ("--b\nA: 1\n\nx\n", (true, false, false, false, false, false)),
            ("A: 1\n\nx\n--b--\n", (false, true, false, false, false, false)),
        ] {
            assert_eq!(flags(&of(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_broken() {
        let text = format!("{}\nb\n", "x".repeat(4_096));
        let found = broken(text.as_bytes(), true);
        assert_eq!(lines(&found).map(<[u8]>::len).collect::<Vec<_>>(), [2_049, 2_049, 1, 1]);
        assert_eq!(broken(b"x\n", false), &b"x\n"[..]);
    }
}
