//! The text of a message as body rules see it: one line per paragraph, the Subject first.
//!
//! *Does:* takes the leaves of text/plain and text/html, decodes them, makes HTML text, joins and normalises.
//! *Guarantees:* a part gives at most about [`PART_CHARS_MAX`] characters, all parts [`TEXT_OCTETS_MAX`] octets, a line
//! about [`LINE_OCTETS_MAX`] octets. Each part is decoded and rendered once, for all who ask.

use std::borrow::Cow;

use crate::rules::views::html::Html;
use crate::rules::views::parts::{Parts, View};
use crate::rules::views::{charset, white};

/// How much text a part gives, in characters, up to the next line or word end.
pub const PART_CHARS_MAX: usize = 50_000;
/// How far to look for that line or word end, in characters.
const CUT_CHARS_MAX: usize = 1_024;
/// How much text all parts give, in octets.
pub const TEXT_OCTETS_MAX: usize = 1 << 20;
/// How much of a part is rendered, in octets; what body rules see of it is less.
const RENDERED_OCTETS_MAX: usize = 512 << 10;
/// The longest line, in octets, but for a last space; a longer paragraph becomes several lines.
pub const LINE_OCTETS_MAX: usize = 2_048;

/// A leaf with text in it, as a reader sees it.
#[derive(Debug)]
pub struct Rendered<'p> {
    /// Which part ([`View::index`]).
    pub part: usize,
    /// It is HTML, and not empty.
    pub is_html: bool,
    /// How long it is in its own charset, without transfer encoding, in octets.
    pub source_octets: usize,
    /// It was not decoded, for its source is ASCII. Perl then holds the text in octets as long as no character needs more,
    /// and rules see octets above 127 that HTML's references stand for.
    pub undecoded: bool,
    /// There is an image in it, if it is HTML.
    pub has_image: bool,
    /// The text.
    pub text: Cow<'p, str>,
    /// What else it says, if it is HTML; its own text is moved out of it.
    pub html: Option<Box<Html>>,
}

impl<'p> Rendered<'p> {
    /// None for what is not text to read.
    fn new(part: View<'p>) -> Option<Self> {
        let kind = part.effective_kind();
        if kind != "text/html" && kind != "text/plain" {
            return None;
        }
        let octets = part.decoded();
        let is_html = kind == "text/html" && !octets.is_empty();
        let source = charset::text(octets, part.charset());
        let undecoded = matches!(&source, Cow::Borrowed(text) if text.is_ascii());
        // The one place where HTML becomes text.
        let html = is_html.then(|| Box::new(Html::parse(&source, RENDERED_OCTETS_MAX)));
        let has_image = is_html && contains_image(&source);
        let (part, source_octets) = (part.index(), octets.len());
        Some(match html {
            Some(mut html) => {
                let text = Cow::Owned(std::mem::take(&mut html.text));
                Rendered { part, is_html, source_octets, undecoded, has_image, text, html: Some(html) }
            }
            None => Rendered { part, is_html, source_octets, undecoded, has_image, text: source, html: None },
        })
    }

    /// Does Perl hold the text in octets?
    pub fn is_octets(&self) -> bool {
        self.undecoded && (self.text.is_ascii() || self.text.chars().all(|c| u8::try_from(c).is_ok()))
    }
}

fn contains_image(html: &str) -> bool {
    let html = html.as_bytes();
    let is_image = |at: usize| html.get(at + 1..at + 4).is_some_and(|name| name.eq_ignore_ascii_case(b"img"));
    memchr::memchr_iter(b'<', html).any(is_image)
}

/// All leaves in order, each with its text if it has one.
pub fn rendered(parts: &Parts) -> Vec<Option<Rendered<'_>>> {
    parts.leaves().map(Rendered::new).collect()
}

/// Paragraphs, each with its `\n`.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    octets: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Text {
    /// The text of leaves under the decoded Subject with its line end. A message without a leaf has no text at all.
    pub fn new(subject: &[u8], leaves: &[Option<Rendered<'_>>]) -> Self {
        let mut text = Text { octets: Vec::new(), ends: Vec::new() };
        if leaves.is_empty() {
            return text;
        }
        let joined = joined(leaves);
        text.octets.reserve(subject.len() + joined.len());
        text.octets.extend_from_slice(subject);
        let undecoded = leaves.iter().flatten().all(|leaf| leaf.undecoded) && !joined.is_ascii();
        match undecoded.then(|| latin1(&joined)).flatten() {
            Some(octets) => normalise(&octets, ascii_white, &mut text.octets),
            None => normalise(joined.as_bytes(), white::unicode_white, &mut text.octets),
        }
        text.end_lines();
        text
    }

    /// The lines, the Subject first.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.octets.get(start..*end).unwrap_or_default())
    }

    /// All lines in one piece.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Lines end behind each `\n`, and long ones behind the last space within the limit.
    fn end_lines(&mut self) {
        let mut start = 0;
        while let line @ [_, ..] = white::line_at(&self.octets, start) {
            let end = start + line.len();
            while end - start > LINE_OCTETS_MAX {
                let window = self.octets.get(start..=start + LINE_OCTETS_MAX).unwrap_or_default();
                start += memchr::memrchr(b' ', window).map_or(LINE_OCTETS_MAX, |space| space + 1);
                self.ends.push(start);
            }
            self.ends.push(end);
            start = end;
        }
    }
}

/// The text of all leaves. Once there is any, each further leaf begins with a line end, even without text.
fn joined<'t>(leaves: &'t [Option<Rendered<'_>>]) -> Cow<'t, str> {
    if let [Some(only)] = leaves {
        return Cow::Borrowed(cut(&only.text));
    }
    let mut text = String::new();
    for leaf in leaves {
        if !text.is_empty() {
            text.push('\n');
        }
        let part = leaf.as_ref().map_or("", |leaf| cut(&leaf.text));
        if text.len() + part.len() > TEXT_OCTETS_MAX {
            break;
        }
        text.push_str(part);
    }
    Cow::Owned(text)
}

/// The text in octets, if each character is one.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

fn ascii_white(text: &[u8]) -> usize {
    usize::from(text.first().is_some_and(|b| white::is_white(*b)))
}

/// The beginning of a part, up to a line or word end.
fn cut(text: &str) -> &str {
    if text.len() <= PART_CHARS_MAX {
        return text;
    }
    let Some((_, rest)) = text.char_indices().nth(PART_CHARS_MAX).and_then(|(at, _)| text.split_at_checked(at)) else {
        return text;
    };
    let within = |end: char| rest.chars().take(CUT_CHARS_MAX + 1).any(|c| c == end).then(|| rest.find(end)).flatten();
    let more = within('\n').or_else(|| within(' ')).map_or(0, |end| end + 1);
    text.get(..text.len() - rest.len() + more).unwrap_or(text)
}

/// White space becomes one space, or a line end where it holds an empty line: then what stands before its first `\n` and
/// behind its last is a space each. So does a NUL, of which SpamAssassin makes line ends.
fn normalise(text: &[u8], white: fn(&[u8]) -> usize, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.iter().position(|b| ENDS_WORD.get(usize::from(*b)) == Some(&true)).unwrap_or(rest.len());
        let (plain, after) = rest.split_at_checked(word).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        rest = match after {
            [0, after @ ..] => {
                out.push(b'\n');
                after
            }
            // Most white space is one space.
            [b' ', b'!'..=b'~', ..] => {
                out.push(b' ');
                after.get(1..).unwrap_or_default()
            }
            [first, ..] => match white_run(after, white) {
                0 => {
                    out.push(*first);
                    after.get(1..).unwrap_or_default()
                }
                end => {
                    let (space, after) = after.split_at_checked(end).unwrap_or((after, &[]));
                    push_white(space, out);
                    after
                }
            },
            [] => after,
        };
    }
}

/// What may begin white space, and NUL.
const ENDS_WORD: [bool; 256] = {
    let mut ends = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        ends[octet] = matches!(octet, 0 | 9..=13 | 32 | 0xc2 | 0xe1 | 0xe2 | 0xe3);
        octet += 1;
    }
    ends
};

fn white_run(text: &[u8], white: fn(&[u8]) -> usize) -> usize {
    let mut end = 0;
    loop {
        match white(text.get(end..).unwrap_or_default()) {
            0 => return end,
            octets => end += octets,
        }
    }
}

fn push_white(space: &[u8], out: &mut Vec<u8>) {
    match (memchr::memchr(b'\n', space), memchr::memrchr(b'\n', space)) {
        (Some(first), Some(last)) if first < last => {
            if first > 0 {
                out.push(b' ');
            }
            out.push(b'\n');
            if last + 1 < space.len() {
                out.push(b' ');
            }
        }
        _ => out.push(b' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::rules::views::parts::Parts;
    use proptest::prelude::*;

    fn lines(mail: &str) -> Vec<String> {
        let parts = Parts::new(&Message::from_stored(mail.as_bytes()));
        let text = Text::new(b"s\n", &rendered(&parts));
        text.lines().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn paragraphs_become_lines() {
        for (mail, expected) in [
            ("A: 1\n\n", &["s\n"][..]),
            ("A: 1\n\na\nb\n\nc\td \n \n\n e", &["s\n", "a b\n", "c d \n", " e"]),
            ("A: 1\n\na\n", &["s\n", "a "]),
            ("A: 1\n\na\0b\n\0\nc\u{a0}\u{2003}d", &["s\n", "a\n", "b \n", " c d"]),
            ("Content-Type: text/html\n\n<p>a<br>b</p><p>c", &["s\n", "\n", "a b\n", "c"]),
            ("Content-Type: text/html\n\nna&iuml;ve &#8364;", &["s\n", "naïve €"]),
            ("Content-Type: application/pdf\n\na\n", &["s\n"]),
            ("Content-Type: application/x; name=a.HTML\n\n<b>a", &["s\n", "a"]),
            (
                "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n8NLJ18XU\n",
                &["s\n", "Привет"],
            ),
            ("Content-Type: multipart/mixed; boundary=b\n\n", &[]),
        ] {
            assert_eq!(lines(mail), expected, "{mail:?}");
        }
    }

    #[test]
    fn references_in_ascii_are_octets() {
        let parts = Parts::of_stored(b"Content-Type: text/html\n\nna&iuml;ve");
        let text = Text::new(b"s\n", &rendered(&parts));
        assert_eq!(text.lines().nth(1), Some(&b"na\xefve"[..]));
    }

    #[test]
    fn parts_are_joined() {
        let mail = "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n\n--b\nContent-Type: text/html\n\n\
                    <i>html</i>\n--b\nContent-Type: image/png\n\nx\n--b--\n";
        assert_eq!(lines(mail), ["s\n", "plain\n", "html "]);
    }

    #[test]
    fn lines_and_parts_are_cut() {
        let words = "word ".repeat(1_000);
        let found = lines(&format!("\n{words}"));
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [2, 2045, 2045, 910]);
        let solid = lines(&format!("\n{}", "x".repeat(5_000)));
        assert_eq!(solid.iter().map(String::len).collect::<Vec<_>>(), [2, 2048, 2048, 904]);
        let near = lines(&format!("\n{} {}", "x".repeat(2_048), "y".repeat(9)));
        assert_eq!(near.iter().map(String::len).collect::<Vec<_>>(), [2, 2049, 9]);
        let long = lines(&format!("\n{}", "éé ".repeat(100_000)));
        let chars: usize = long.iter().skip(1).map(|line| line.chars().count()).sum();
        assert!((PART_CHARS_MAX..PART_CHARS_MAX + 4).contains(&chars), "{chars}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a\\n\\t \u{0}\u{a0}\u{3000}é]{0,60}") {
            let parts = Parts::new(&Message::from_stored(format!("\n{text}").as_bytes()));
            let found = Text::new(b"s\n", &rendered(&parts));
            prop_assert_eq!(found.lines().map(<[u8]>::len).sum::<usize>(), found.octets().len());
        }
    }
}
