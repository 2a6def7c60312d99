//! HTML as text: what a reader may see, in the shape that body rules expect.
//!
//! *Does:* drops tags, comments, scripts and styles; decodes entities; turns block elements into line breaks.
//! *Guarantees:* one pass, linear in the octets, nothing kept but the text. What is opened and never closed (a comment, a
//! quote, a script, a tag) hides nothing, where a browser would drop the rest: no mail is blank to rules.
//! *Never does:* judge visibility: invisible text is text that somebody hid. No tree, so no depth.
//! *Why not html5ever's tokenizer:* it compares each attribute of a tag with all others, so a tag with a hundred thousand
//! of them takes minutes. Its table of entities is used.

use html5ever::data::NAMED_ENTITIES;
use memchr::{memchr, memchr2, memmem};

/// The longest entity name that is looked up, in octets; the longest there is has 31.
const ENTITY_OCTETS_MAX: usize = 32;

/// The text of an HTML part; little more than `octets_max` octets of it.
pub fn text(html: &str, octets_max: usize) -> String {
    let mut out = Out { text: String::with_capacity(html.len().min(octets_max) / 2), space: false, at_break: true };
    let mut unclosed = Unclosed::default();
    let mut rest = html;
    while !rest.is_empty() && out.text.len() < octets_max {
        let end = memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
        let (run, markup) = rest.split_at(end);
        out.run(run);
        rest = if markup.is_empty() { markup } else { unclosed.skip_markup(markup, &mut out) };
    }
    out.text
}

/// What is known to have no end in the rest of the text. It is looked for once, so that the whole stays linear.
#[derive(Default)]
struct Unclosed {
    comment: bool,
    script: bool,
    style: bool,
    double_quote: bool,
    single_quote: bool,
}

impl Unclosed {
    /// Takes one tag, comment or lone `<` off the front.
    fn skip_markup<'a>(&mut self, markup: &'a str, out: &mut Out) -> &'a str {
        let inner = &markup[1..];
        let closing = inner.starts_with('/');
        let named = inner.strip_prefix('/').unwrap_or(inner);
        let rest = match inner.as_bytes().first() {
            Some(b'!') if inner.starts_with("!--") => self.comment_end(&inner[3..]),
            Some(b'!' | b'?') => behind(inner, ">"),
            _ if named.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let length = named.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(named.len());
                let name = named[..length].to_ascii_lowercase();
                let rest = self.tag_end(&named[length..]);
                rest.map(|rest| {
                    out.element(&name);
                    if closing { rest } else { self.raw_text_end(rest, &name) }
                })
            }
            _ if closing => behind(inner, ">"),
            _ => {
                out.run("<");
                Some(inner)
            }
        };
        // No `>` comes any more: no tag, but text.
        rest.unwrap_or_else(|| {
            out.run(markup);
            ""
        })
    }

    /// What follows a comment that was opened. `<!-->` and `<!--->` are whole; one without end ends at the next `>`.
    fn comment_end<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix('>').or_else(|| text.strip_prefix("->")) {
            return Some(rest);
        }
        let end = if self.comment { None } else { behind(text, "-->") };
        self.comment |= end.is_none();
        end.or_else(|| behind(text, ">"))
    }

    /// What follows the `>` of a tag; one within a quoted attribute value is none. A quote without end quotes nothing.
    fn tag_end<'a>(&mut self, attributes: &'a str) -> Option<&'a str> {
        let mut rest = attributes;
        loop {
            let at = memchr2(b'>', b'=', rest.as_bytes())?;
            let ends = rest.as_bytes().get(at) == Some(&b'>');
            rest = &rest[at + 1..];
            if ends {
                return Some(rest);
            }
            let value = rest.trim_ascii_start();
            rest = match value.as_bytes().first() {
                Some(b'"') => quoted_end(value, "\"", &mut self.double_quote),
                Some(b'\'') => quoted_end(value, "'", &mut self.single_quote),
                _ => value,
            };
        }
    }

    /// What begins with the end tag of a script or style. One without end hides nothing.
    fn raw_text_end<'a>(&mut self, text: &'a str, name: &str) -> &'a str {
        let unclosed = match name {
            "script" => &mut self.script,
            "style" => &mut self.style,
            _ => return text,
        };
        let starts = if *unclosed { None } else { Some(memmem::find_iter(text.as_bytes(), b"</")) };
        let is_end = |at: &usize| {
            let tag = text.as_bytes().get(at + 2..at + 2 + name.len());
            tag.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        };
        let end = starts.and_then(|mut starts| starts.find(is_end));
        *unclosed |= end.is_none();
        &text[end.unwrap_or(0)..]
    }
}

/// What follows the first `mark`.
fn behind<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    memmem::find(text.as_bytes(), mark.as_bytes()).map(|at| &text[at + mark.len()..])
}

/// What follows a quoted value.
fn quoted_end<'a>(value: &'a str, quote: &str, unclosed: &mut bool) -> &'a str {
    let end = if *unclosed { None } else { behind(&value[1..], quote) };
    *unclosed |= end.is_none();
    end.unwrap_or(value)
}

/// The text so far. White space waits until it is known that something follows in the same line.
struct Out {
    text: String,
    space: bool,
    at_break: bool,
}

impl Out {
    /// Text between tags.
    fn run(&mut self, run: &str) {
        let mut rest = run;
        while let Some(at) = memchr(b'&', rest.as_bytes()) {
            self.plain(&rest[..at]);
            let entity = &rest[at..];
            rest = match entity_text(entity) {
                Some((decoded, after)) => {
                    decoded.into_iter().flatten().for_each(|c| self.character(c));
                    after
                }
                None => {
                    self.character('&');
                    &entity[1..]
                }
            };
        }
        self.plain(rest);
    }

    fn plain(&mut self, text: &str) {
        text.chars().for_each(|c| self.character(c));
    }

    fn character(&mut self, c: char) {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\u{a0}' => self.space = true,
            c => {
                if self.space && !self.at_break {
                    self.text.push(' ');
                }
                (self.space, self.at_break) = (false, false);
                self.text.push(if matches!(c, '\u{201c}' | '\u{201d}') { '"' } else { c });
            }
        }
    }

    /// White space for an element, at its start and at its end.
    fn element(&mut self, name: &str) {
        let space = match name {
            "br" | "div" => "\n",
            "li" | "th" | "td" | "dt" | "dd" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "embed" => " ",
            "p" | "hr" | "blockquote" | "pre" | "listing" | "plaintext" | "xmp" | "title" => "\n\n",
            _ => return,
        };
        self.text.push_str(space);
        (self.space, self.at_break) = (false, true);
    }
}

/// What a reference at the front stands for, and what follows it (HTML section 13.2.5.72). Legacy names need no semicolon.
fn entity_text(text: &str) -> Option<([Option<char>; 2], &str)> {
    let name = &text[1..];
    if let Some(number) = name.strip_prefix('#') {
        return numeric_entity(number);
    }
    let end = name.bytes().take(ENTITY_OCTETS_MAX).take_while(u8::is_ascii_alphanumeric).count();
    let with_semicolon = end + usize::from(name.as_bytes().get(end) == Some(&b';'));
    (2..=with_semicolon).rev().find_map(|length| match NAMED_ENTITIES.get(&name[..length]) {
        None | Some((0, _)) => None,
        Some((first, second)) => {
            let second = char::from_u32(*second).filter(|c| *c != '\0');
            Some(([char::from_u32(*first), second], &name[length..]))
        }
    })
}

/// `&#8364;` or `&#x20ac;`, behind its `#`.
fn numeric_entity(text: &str) -> Option<([Option<char>; 2], &str)> {
    let hexadecimal = text.strip_prefix(['x', 'X']);
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let value = if number.is_empty() { return None } else { u32::from_str_radix(number, radix).unwrap_or(0) };
    // Browsers read the C1 range as Windows-1252.
    let decoded = match u8::try_from(value) {
        Ok(octet @ 0x80..=0x9f) => encoding_rs::WINDOWS_1252.decode(&[octet]).0.chars().next(),
        _ => char::from_u32(value).filter(|c| *c != '\0'),
    };
    Some(([decoded.or(Some('\u{fffd}')), None], rest.strip_prefix(';').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_text() {
        for (html, expected) in [
            ("a  <b>b</b>\n c", "a b c"),
            ("<p>a</p><p>b", "\n\na\n\n\n\nb"),
            ("a <br/> b", "a\nb"),
            ("<td>a</td><td>b</td>", " a  b "),
            ("<title>t</title>x", "\n\nt\n\nx"),
            ("a<script>if (a<b) '</p>'</script>b<STYLE>x</STYLE>c", "abc"),
            ("a<script>never<br>closed", "anever\nclosed"),
            ("a<!-- <p> -->b<!-->c<!--->d<!x>e<?y>f", "abcdef"),
            ("a<!-- open", "a<!-- open"),
            ("a<!-- open<p>b<!--c>d", "abd"),
            ("<a title='>' href=\"x>y\" >t</a >", "t"),
            ("<a href=\"open>t</a>", "t"),
            ("a <b c", "a <b c"),
            ("1 < 2 <3", "1 < 2 <3"),
            ("a</>b</ x>c", "abc"),
            ("&lt;b&gt;&amp;amp;&nbsp;&eacute;&eacute &copy2 &unknown; &", "<b>&amp; éé ©2 &unknown; &"),
            ("&#65;&#x42;&#67 &#147;&#0;&#99999999999;&#;", "ABC \"\u{fffd}\u{fffd}&#;"),
            ("v&shy;i&zwnj;a", "v\u{ad}i\u{200c}a"),
            ("\u{201c}q\u{201d}\u{a0}x", "\"q\" x"),
        ] {
            assert_eq!(text(html, 1000), expected, "{html}");
        }
    }

    #[test]
    fn output_is_bounded() {
        assert!(text(&"<p>x".repeat(100_000), 1000).len() < 1010);
        for unit in ["<b", "<!--", "<!-->", "<style>", "<a b='", "<a b=\">", "</", "<", "&", "<a ="] {
            text(&unit.repeat(1_000_000), usize::MAX);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_html_panics(html in r"([<>/!&;#x='a-c -]|é|<script|&lt|\PC){0,40}") {
            text(&html, 100);
        }
    }
}
