//! HTML cut into tags, text, comments and declarations, at the places where Perl's HTML::Parser 3.81 cuts it: rules were
//! measured on its view of mail. It is no HTML 5 tokenizer.
//!
//! *Guarantees:* linear in the octets, also where the original is not: what is known to be unclosed is not looked for again.
//! What is opened and never closed (a quote, a comment, a tag) swallows the rest as a comment, as mail clients do.
//! *Never does:* decode references, or keep a tree.

mod scan;

use memchr::{memchr, memchr2, memmem};

pub use scan::is_space;
use scan::{
    begins_markup, behind, comment_end, declaration_end, is_name_first, is_name_octet, literal_end, name_length,
    tag_end,
};

/// How many attributes of a tag are kept.
pub const ATTRIBUTES_MAX: usize = 512;

/// An attribute as written: quotes removed, references undecoded. One without value has its name as value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// In the case as written.
    pub name: &'a str,
    /// Undecoded.
    pub value: &'a str,
}

/// A piece of HTML.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a, 't> {
    /// A start tag; the name in the case as written.
    Start(&'a str, &'t [Attribute<'a>]),
    /// An end tag; the name in the case as written.
    End(&'a str),
    /// Text, and whether references in it mean nothing.
    Text(&'a str, bool),
    /// With its `<!--` and `-->`.
    Comment(&'a str),
    /// `<!DOCTYPE ...>` or `<!ENTITY ...>`.
    Declaration(&'a str),
}

/// Hands all tokens to the sink, in order.
pub fn tokenize<'a>(html: &'a str, sink: impl FnMut(&Token<'a, '_>)) {
    let mut tokenizer = Tokenizer {
        html,
        at: 0,
        literal: None,
        verbatim: false,
        sections: Vec::new(),
        again: false,
        bracket_ends_comments: false,
        unclosed: Vec::new(),
        pending_end: false,
        attributes: Vec::new(),
        sink,
    };
    tokenizer.run();
}

/// Elements whose content is text up to their end tag.
const LITERAL: [&str; 7] = ["script", "style", "xmp", "iframe", "plaintext", "title", "textarea"];

/// Marked sections, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    None,
    Include,
    Rcdata,
    Cdata,
    Ignore,
}

/// What became of markup at a `<`.
enum Markup {
    /// It ends before this offset.
    Ends(usize),
    /// It is text.
    None,
    /// Its end does not come.
    Unclosed,
}

struct Tokenizer<'a, S> {
    html: &'a str,
    at: usize,
    literal: Option<&'static str>,
    /// References mean nothing.
    verbatim: bool,
    /// For each open marked section, the strongest so far.
    sections: Vec<Section>,
    /// Something is unclosed: what follows was read before, in vain.
    again: bool,
    /// Markup is unclosed: a `>` ends comments now, and the next unclosed markup is the rest.
    bracket_ends_comments: bool,
    /// Literal elements of which no end tag follows.
    unclosed: Vec<&'static str>,
    /// An end tag of title is due before the next tag.
    pending_end: bool,
    attributes: Vec<Attribute<'a>>,
    sink: S,
}

impl<'a, S: FnMut(&Token<'a, '_>)> Tokenizer<'a, S> {
    fn run(&mut self) {
        while self.at < self.html.len() {
            if let Some(name) = self.literal {
                self.literal_text(name);
                continue;
            }
            if matches!(self.section(), Section::Cdata | Section::Rcdata) {
                self.section_text();
                continue;
            }
            self.text(0);
            if self.at < self.html.len() && self.octet(self.at) == b'<' {
                self.markup();
            }
        }
        if let Some(name @ ("script" | "style")) = self.literal.filter(|_| !self.again) {
            self.emit(&Token::End(name));
        }
        self.end_title();
    }

    fn octet(&self, at: usize) -> u8 {
        self.html.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn rest(&self, from: usize) -> &'a str {
        self.html.get(from..).unwrap_or_default()
    }

    fn between(&self, from: usize, to: usize) -> &'a str {
        self.html.get(from..to).unwrap_or_default()
    }

    fn section(&self) -> Section {
        self.sections.last().copied().unwrap_or(Section::None)
    }

    fn emit(&mut self, token: &Token<'a, '_>) {
        if !matches!(token, Token::Text(..) | Token::Comment(_)) {
            self.end_title();
        }
        if self.section() != Section::Ignore {
            (self.sink)(token);
        }
    }

    fn end_title(&mut self) {
        if std::mem::take(&mut self.pending_end) && self.section() != Section::Ignore {
            (self.sink)(&Token::End("title"));
        }
    }

    fn emit_text(&mut self, to: usize) {
        if self.at < to {
            let text = Token::Text(self.between(self.at, to), self.verbatim);
            self.emit(&text);
        }
        self.at = to;
    }

    /// Text up to the next `<`, or the end of a marked section; so many octets at its front are text in any case.
    fn text(&mut self, sure: usize) {
        let mut from = self.at + sure;
        if self.section() == Section::None {
            return match memchr(b'<', self.rest(from).as_bytes()) {
                Some(found) => self.emit_text(from + found),
                None => self.last_text(),
            };
        }
        loop {
            let Some(found) = memchr2(b'<', b']', self.rest(from).as_bytes()) else {
                return self.last_text();
            };
            let at = from + found;
            if self.octet(at) == b'<' {
                return self.emit_text(at);
            }
            if self.rest(at).starts_with("]]>") {
                self.emit_text(at);
                return self.end_section();
            }
            // The octet that made it no end is passed over, whatever it is.
            from = at + if self.octet(at + 1) == b']' { 2 } else { 1 };
            from += self.rest(from).chars().next().map_or(0, char::len_utf8);
            from = from.min(self.html.len());
        }
    }

    /// Text up to the end. White space at the end is a text of its own.
    fn last_text(&mut self) {
        let blank = self.rest(self.at).bytes().rev().take_while(|octet| is_space(*octet)).count();
        self.emit_text(self.html.len() - blank);
        self.emit_text(self.html.len());
    }

    /// Text up to `]]>`, whatever stands in it.
    fn section_text(&mut self) {
        match memmem::find(self.rest(self.at).as_bytes(), b"]]>") {
            Some(found) => {
                self.emit_text(self.at + found);
                self.end_section();
            }
            None if self.octet(self.at) == b'<' && begins_markup(self.octet(self.at + 1)) => self.comment_rest(),
            None => self.emit_text(self.html.len()),
        }
    }

    fn end_section(&mut self) {
        self.end_title();
        self.at += 3;
        self.sections.pop();
        self.verbatim = self.section() == Section::Cdata;
    }

    fn comment_rest(&mut self) {
        let rest = Token::Comment(self.rest(self.at));
        self.emit(&rest);
        self.at = self.html.len();
    }

    /// The content of a literal element and its end tag.
    fn literal_text(&mut self, name: &'static str) {
        let unclosed = name == "plaintext" || self.unclosed.contains(&name);
        if let Some((end, next)) = if unclosed { None } else { literal_end(self.html, self.at, name) } {
            self.emit_text(end);
            let tag = Token::End(self.between(end + 2, end + 2 + name.len()));
            self.emit(&tag);
            (self.literal, self.verbatim, self.at) = (None, false, next);
            return;
        }
        match name {
            // The rest is read as if the title had ended, though its end tag comes late.
            "title" => self.pending_end = true,
            // Its content is read as markup, though references mean nothing in it.
            "script" | "style" if self.again => self.emit(&Token::End(name)),
            _ => return self.emit_text(self.html.len()),
        }
        self.unclosed.push(name);
        (self.literal, self.again) = (None, true);
    }

    /// A `<` and what it begins.
    fn markup(&mut self) {
        let start = self.at;
        let found = match self.octet(start + 1) {
            _ if self.html.len() - start < 3 => Markup::Unclosed,
            first if is_name_first(first) => self.start_tag(start),
            b'/' => self.end_tag(start),
            b'!' => self.declaration(start),
            b'?' => match memchr(b'>', self.rest(start).as_bytes()) {
                Some(end) => {
                    self.end_title();
                    Markup::Ends(start + end + 1)
                }
                None => Markup::Unclosed,
            },
            _ => Markup::None,
        };
        match found {
            Markup::Ends(end) => self.at = end,
            // With the text that follows it.
            Markup::None => self.text(1),
            Markup::Unclosed if !self.bracket_ends_comments => (self.again, self.bracket_ends_comments) = (true, true),
            Markup::Unclosed if begins_markup(self.octet(start + 1)) || start + 1 == self.html.len() => {
                self.comment_rest()
            }
            Markup::Unclosed => self.emit_text(self.html.len()),
        }
    }

    fn end_tag(&mut self, start: usize) -> Markup {
        let name = start + 2;
        let named = !matches!(self.octet(name), b'>') && !is_space(self.octet(name));
        let name_end = if named { name + name_length(self.rest(name)) } else { name };
        let Some(end) = tag_end(self.html, name_end) else { return Markup::Unclosed };
        let token = match named {
            true => Token::End(self.between(name, name_end)),
            false => Token::Comment(self.between(start, end + 1)),
        };
        self.emit(&token);
        Markup::Ends(end + 1)
    }

    fn start_tag(&mut self, start: usize) -> Markup {
        self.attributes.clear();
        let name_end = start + 2 + name_length(self.rest(start + 2));
        let Some(end) = self.read_attributes(name_end) else { return Markup::Unclosed };
        let name = self.between(start + 1, name_end);
        let attributes = std::mem::take(&mut self.attributes);
        self.emit(&Token::Start(name, &attributes));
        self.attributes = attributes;
        if let Some(literal) = LITERAL.into_iter().find(|literal| literal.eq_ignore_ascii_case(name)) {
            self.literal = Some(literal);
            self.verbatim = !matches!(literal, "title" | "textarea");
        }
        Markup::Ends(end)
    }

    /// Reads attributes up to behind the `>`.
    fn read_attributes(&mut self, name_end: usize) -> Option<usize> {
        let mut at = self.skip_space(name_end)?;
        while self.octet(at) != b'>' {
            let first = self.rest(at).chars().next()?.len_utf8();
            let length =
                self.rest(at + first).bytes().take_while(|o| !is_space(*o) && !matches!(o, b'=' | b'>')).count();
            let name = self.between(at, at + first + length);
            at = self.skip_space(at + first + length)?;
            let mut value = name;
            if self.octet(at) == b'=' {
                at = self.skip_space(at + 1)?;
                let (found, next) = self.attribute_value(at)?;
                (value, at) = (found, self.skip_space(next)?);
            }
            if self.attributes.len() < ATTRIBUTES_MAX {
                self.attributes.push(Attribute { name, value });
            }
        }
        Some(at + 1)
    }

    /// A value without its quotes, and where it ends.
    fn attribute_value(&self, at: usize) -> Option<(&'a str, usize)> {
        let quote = self.octet(at);
        if quote == b'"' || quote == b'\'' {
            let length = memchr(quote, self.rest(at + 1).as_bytes())?;
            return Some((self.between(at + 1, at + 1 + length), at + length + 2));
        }
        let end = at + name_length(self.rest(at));
        Some((self.between(at, end), end))
    }

    /// Where something follows that is no white space, if anything does.
    fn skip_space(&self, from: usize) -> Option<usize> {
        let at = from + self.rest(from).bytes().take_while(|octet| is_space(*octet)).count();
        (at < self.html.len()).then_some(at)
    }

    /// `<!...`: a comment, a marked section, a declaration; anything else is a comment up to the next `>`.
    fn declaration(&mut self, start: usize) -> Markup {
        let inner = start + 2;
        match self.octet(inner) {
            b'-' if inner + 1 == self.html.len() => Markup::Unclosed,
            b'-' if self.octet(inner + 1) == b'-' => {
                let end = if self.bracket_ends_comments {
                    behind(self.html, inner + 2, ">")
                } else {
                    comment_end(self.html, inner + 2)
                };
                self.comment(start, end)
            }
            b'[' => match self.marked_section(start) {
                Markup::None => self.comment(start, behind(self.html, inner, ">")),
                found => found,
            },
            first if first.is_ascii_alphabetic() => match declaration_end(self.html, inner) {
                Ok(end) => {
                    let end = end.filter(|end| *end <= self.html.len());
                    let Some(end) = end else { return Markup::Unclosed };
                    let token = Token::Declaration(self.between(start, end));
                    self.emit(&token);
                    Markup::Ends(end)
                }
                Err(stopped) => self.comment(start, behind(self.html, stopped, ">")),
            },
            _ => self.comment(start, behind(self.html, inner, ">")),
        }
    }

    fn comment(&mut self, start: usize, end: Option<usize>) -> Markup {
        let Some(end) = end else { return Markup::Unclosed };
        let token = Token::Comment(self.between(start, end));
        self.emit(&token);
        Markup::Ends(end)
    }

    /// `<![ names [`.
    fn marked_section(&mut self, start: usize) -> Markup {
        let (mut at, mut kind, mut named) = (start + 3, Section::None, false);
        loop {
            at += self.rest(at).bytes().take_while(|octet| is_space(*octet)).count();
            while is_name_first(self.octet(at)) {
                let length = self.rest(at).bytes().take_while(|octet| is_name_octet(*octet)).count();
                kind = kind.max(section_kind(self.between(at, at + length)));
                named = true;
                let Some(next) = self.skip_space(at + length) else { return Markup::Unclosed };
                at = next;
            }
            if !self.rest(at).starts_with("--") {
                break;
            }
            let Some(end) = behind(self.html, at + 2, "--") else { return Markup::Unclosed };
            at = end;
        }
        if self.octet(at) != b'[' {
            return Markup::None;
        }
        self.end_title();
        let kind = if named { kind } else { Section::Include };
        self.sections.push(kind.max(self.section()));
        self.verbatim = self.section() == Section::Cdata;
        Markup::Ends(at + 1)
    }
}

fn section_kind(name: &str) -> Section {
    let kinds = [Section::Include, Section::Rcdata, Section::Cdata, Section::Ignore];
    let names = ["include", "rcdata", "cdata", "ignore"];
    names.iter().zip(kinds).find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(Section::None, |(_, kind)| kind)
}

#[cfg(test)]
mod tests;
