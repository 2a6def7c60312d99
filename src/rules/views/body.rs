//! The text of a message as body rules see it: one line per paragraph, the Subject first.
//!
//! *Does:* takes the leaves of text/plain and text/html, decodes them, makes HTML text, joins and normalises.
//! *Guarantees:* a part gives at most about [`PART_CHARS_MAX`] characters, all parts [`TEXT_OCTETS_MAX`] octets, a line
//! [`LINE_OCTETS_MAX`] octets.

use crate::message::Message;
use crate::mime::{self, Leaf};
use crate::rules::views::{charset, html};

/// How much text a part gives, in characters, up to the next line or word end.
pub const PART_CHARS_MAX: usize = 50_000;
/// How far to look for that line or word end, in octets.
const CUT_OCTETS_MAX: usize = 1_024;
/// How much text all parts give, in octets.
pub const TEXT_OCTETS_MAX: usize = 1 << 20;
/// The longest line, in octets; a longer paragraph becomes several lines.
pub const LINE_OCTETS_MAX: usize = 2_048;

/// Paragraphs, each with its `\n`.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    octets: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Text {
    /// The text of a message under its decoded Subject.
    pub fn new(subject: Vec<u8>, message: &Message) -> Self {
        let mut text = Text { ends: vec![subject.len() + 1], octets: subject };
        text.octets.push(b'\n');
        text.push_paragraphs(&normalised(&joined(message)));
        text
    }

    /// The lines, the Subject first.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.octets.get(start..*end).unwrap_or_default())
    }

    /// Splits after each `\n`, and long lines after the last space within the limit.
    fn push_paragraphs(&mut self, text: &str) {
        for paragraph in text.split_inclusive('\n') {
            let mut rest = paragraph.as_bytes();
            while rest.len() > LINE_OCTETS_MAX {
                let window = rest.get(..LINE_OCTETS_MAX).unwrap_or(rest);
                let cut = memchr::memrchr(b' ', window).map_or(window.len(), |space| space + 1);
                let (line, after) = rest.split_at(cut);
                self.push_line(line);
                rest = after;
            }
            self.push_line(rest);
        }
    }

    fn push_line(&mut self, line: &[u8]) {
        self.octets.extend_from_slice(line);
        self.ends.push(self.octets.len());
    }
}

/// The text of all parts, a line end between them.
fn joined(message: &Message) -> String {
    let mut text = String::new();
    for leaf in &mime::leaves(message).leaves {
        if text.len() >= TEXT_OCTETS_MAX {
            break;
        }
        if let Some(part) = part_text(leaf) {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(cut(&part));
        }
    }
    text
}

/// None for what is not text to read.
fn part_text(leaf: &Leaf<'_>) -> Option<String> {
    let html = leaf.content_type.kind == "text/html" || leaf.content_type.parameter("name").is_some_and(names_html);
    if !html && leaf.content_type.kind != "text/plain" {
        return None;
    }
    let decoded = charset::decode(&leaf.decoded(), leaf.content_type.parameter("charset"));
    // A character has up to four octets.
    Some(if html { html::Html::parse(&decoded, PART_CHARS_MAX * 4 + CUT_OCTETS_MAX).text } else { decoded })
}

fn names_html(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [&b".htm"[..], b".html", b".shtml"].iter().any(|extension| name.ends_with(extension))
}

/// The beginning of a part, up to a line or word end.
fn cut(text: &str) -> &str {
    let Some((at, _)) = text.char_indices().nth(PART_CHARS_MAX) else { return text };
    let window = text.as_bytes().iter().skip(at).take(CUT_OCTETS_MAX);
    let end = window.clone().position(|b| *b == b'\n').or_else(|| window.clone().position(|b| *b == b' '));
    text.get(..at + end.unwrap_or(0)).unwrap_or(text)
}

/// White space becomes one space, or a line end where it holds an empty line.
fn normalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.push_str(word);
        let next = after.find(|c: char| !c.is_whitespace()).unwrap_or(after.len());
        let (space, after) = after.split_at(next);
        push_space(&mut out, space);
        rest = after;
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// What remains of white space: what stands before its first `\n` and behind its last is a space each.
fn push_space(out: &mut String, space: &str) {
    let outside = |part: &str| if part.trim_end_matches('\r').is_empty() { "" } else { " " };
    match (space.find('\n'), space.rfind('\n')) {
        _ if space.is_empty() => {}
        (Some(first), Some(last)) if first < last => {
            out.extend([outside(&space[..first]), "\n", outside(&space[last + 1..])]);
        }
        _ => out.push(' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mail: &str) -> Vec<String> {
        let text = Text::new(b"s".to_vec(), &Message::from_stored(mail.as_bytes()));
        text.lines().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn paragraphs_become_lines() {
        for (mail, expected) in [
            ("A: 1\n\n", &["s\n"][..]),
            ("A: 1\n\na\nb\n\nc\td \n \n\n e\n", &["s\n", "a b\n", "c d \n", " e \n"]),
            ("Content-Type: text/html\n\n<p>a<br>b</p><p>c", &["s\n", "\n", "a b\n", "c\n"]),
            ("Content-Type: application/pdf\n\na\n", &["s\n"]),
            ("Content-Type: application/x; name=a.HTML\n\n<b>a\n", &["s\n", "a \n"]),
            (
                "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n8NLJ18XU\n",
                &["s\n", "Привет\n"],
            ),
        ] {
            assert_eq!(lines(mail), expected, "{mail:?}");
        }
    }

    #[test]
    fn parts_are_joined() {
        let mail = "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n\n--b\nContent-Type: text/html\n\n\
                    <i>html</i>\n--b\nContent-Type: image/png\n\nx\n--b--\n";
        assert_eq!(lines(mail), ["s\n", "plain\n", "html\n"]);
    }

    #[test]
    fn lines_and_parts_are_cut() {
        let words = "word ".repeat(1_000);
        let found = lines(&format!("\n{words}"));
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [2, 2045, 2045, 911]);
        let solid = lines(&format!("\n{}", "x".repeat(5_000)));
        assert_eq!(solid.iter().map(String::len).collect::<Vec<_>>(), [2, 2048, 2048, 905]);
        let long = lines(&format!("\n{}", "éé ".repeat(100_000)));
        let chars: usize = long.iter().skip(1).map(|line| line.chars().count()).sum();
        assert!((PART_CHARS_MAX..PART_CHARS_MAX + 3).contains(&chars), "{chars}");
    }
}
