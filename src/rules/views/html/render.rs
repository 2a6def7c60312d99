//! Tokens become text and facts.
//!
//! *Guarantees:* work for a token is bounded by its own octets, but for styles and literal look-ups, which are paid once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::element::Element;
use super::style::{Invisible, Styles};
use super::token::{Attribute, Token, is_space};
use super::{ANCHORS_MAX, Html, HtmlUri, TextKind, UNKNOWN_NAMES_MAX, URIS_MAX, entity, find, link};

/// What a font face looks like: names, perhaps quoted, separated by commas.
static FACE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = r#"["']?[a-z][a-z -]*[a-z][0-9]?["']?"#;
    Regex::new(&format!(r#"(?i-u)\A\s*["'.]?[a-z ][a-z -]*[a-z][0-9]?["']?(?:,\s*{name})*;?\n?\z"#)).ok()
});

/// What the last piece of text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// There is none.
    None,
    Space,
    Visible,
    Invisible,
}

/// The balance of the elements that text asks for.
#[derive(Debug, Default)]
struct Within {
    anchor: i64,
    title: i64,
    script: i64,
    style: i64,
}

/// Reads tokens into an [`Html`].
pub struct Renderer {
    html: Html,
    /// The source is ASCII; references may stand for more.
    ascii: bool,
    text_octets_max: usize,
    styles: Styles,
    within: Within,
    last: Piece,
    /// Where the last piece begins.
    last_start: usize,
    base: String,
    known: HashMap<String, usize>,
    /// The newest link text may grow.
    anchor_open: bool,
}

impl Renderer {
    /// Nothing read yet of a source, which may be ASCII.
    pub fn new(ascii: bool, text_octets_max: usize) -> Self {
        Renderer {
            ascii,
            html: Html::default(),
            text_octets_max,
            styles: Styles::default(),
            within: Within::default(),
            last: Piece::None,
            last_start: 0,
            base: String::new(),
            known: HashMap::new(),
            anchor_open: false,
        }
    }

    /// Reads one token.
    pub fn token(&mut self, token: &Token<'_, '_>) {
        match token {
            Token::Text(text, verbatim) => {
                let text = if *verbatim { Cow::Borrowed(*text) } else { entity::decode(text, true) };
                self.text(&text);
            }
            Token::Start(name, attributes) => self.tag(name, Some(attributes)),
            Token::End(name) => self.tag(name, None),
            Token::Comment(text) => self.texts(TextKind::Comment, |texts| texts.push(text)),
            Token::Declaration(text) => self.declaration(text),
        }
    }

    /// The whole, once all tokens are read. `source` is the HTML before anything was mended.
    pub fn finish(self, source: &str) -> Html {
        let mut html = self.html;
        let facts = &mut html.facts;
        (facts.size_min, facts.size_max) = (self.styles.size_min, self.styles.size_max);
        facts.characters = source.chars().count();
        // Of what could be Latin-1, SpamAssassin takes only ASCII for white space.
        let narrow = self.ascii && is_latin1(&html.text);
        let is_blank =
            |c: char| if narrow { matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b') } else { c.is_whitespace() };
        for c in html.text.chars() {
            facts.text_characters += 1;
            facts.text_visible_characters += usize::from(!is_blank(c));
        }
        html
    }

    fn texts(&mut self, kind: TextKind, change: impl FnOnce(&mut super::Texts)) {
        if let Some(texts) = self.html.texts.get_mut(kind as usize) {
            change(texts);
        }
    }

    fn declaration(&mut self, text: &str) {
        if text.get(..9).is_some_and(|front| front.eq_ignore_ascii_case("<!doctype")) {
            self.html.facts.tags += 1;
            self.html.facts.elements += 1;
            self.html.inside.others.insert("!doctype".into(), 0);
        }
    }

    /// A start tag with its attributes, or an end tag.
    fn tag(&mut self, name: &str, attributes: Option<&[Attribute<'_>]>) {
        let element = Element::find(name);
        let foreign = element.is_none() && is_office_name(name);
        let legal = foreign || element.is_some_and(Element::is_legal);
        let new = self.count(element, name, attributes.is_some());
        let facts = &mut self.html.facts;
        facts.tags += 1;
        facts.tags_seen += usize::from(new);
        facts.elements += usize::from(legal);
        facts.elements_seen += usize::from(legal && new);
        let Some(element) = element else { return };
        if element.is_styled() {
            match attributes {
                Some(attributes) => self.styles.open(element.name(), attributes),
                None => self.styles.close(element.name()),
            }
        }
        if let Some(space) = element.space() {
            self.space(space);
        }
        if let Some(attributes) = attributes {
            self.start(element.name(), attributes);
        }
    }

    /// Keeps the balance; whether the name is new.
    fn count(&mut self, element: Option<Element>, name: &str, opens: bool) -> bool {
        let inside = &mut self.html.inside;
        let (new, count) = match element {
            Some(element) => match inside.elements.get_mut(element.index()) {
                Some(count) => (count.is_none(), count.get_or_insert(0)),
                None => return false,
            },
            None => {
                let name = name.to_ascii_lowercase();
                let full = inside.others.len() >= UNKNOWN_NAMES_MAX;
                match inside.others.get(name.as_str()) {
                    None if full => return true,
                    known => (known.is_none(), inside.others.entry(name.into()).or_insert(0)),
                }
            }
        };
        *count += if opens { 1 } else { -1 };
        if *count < 0 {
            *count = 0;
            self.html.facts.closed_extra += 1;
        }
        let count = *count;
        match element.map(Element::name) {
            Some("a") => self.within.anchor = count,
            Some("title") => self.within.title = count,
            Some("script") => self.within.script = count,
            Some("style") => self.within.style = count,
            _ => {}
        }
        new
    }

    /// What a start tag says besides its look.
    fn start(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        let value = |name: &str| find(attributes, name).map(|found| entity::decode(found.value, false));
        match name {
            "body" | "table" | "tr" | "td" => self.push_uri(name, value("background").as_deref()),
            "a" | "area" | "link" => self.link(name, attributes),
            "frame" | "iframe" | "script" | "bgsound" => self.push_uri(name, hidden_or(attributes, "src").as_deref()),
            "img" => self.image(attributes),
            "embed" => {
                self.push_uri(name, hidden_or(attributes, "src").as_deref());
                self.html.facts.embeds = true;
            }
            "object" => self.html.facts.embeds = true,
            "form" => {
                let action = value("action");
                self.push_uri(name, action.as_deref());
                self.html.facts.form_mailto |= action.is_some_and(|a| a.to_ascii_lowercase().contains("mailto:"));
            }
            "base" => self.base(value("href").as_deref()),
            "meta" => self.meta(value("http-equiv").as_deref(), value("content").as_deref()),
            "font" => {
                let face = value("face").filter(|_| !self.html.facts.face_bad);
                let is_face = |face: &str| FACE.as_ref().is_none_or(|pattern| pattern.is_match(face));
                self.html.facts.face_bad |= face.is_some_and(|face| !is_face(&face));
            }
            "title" => self.texts(TextKind::Title, |texts| texts.push("")),
            _ => {}
        }
    }

    fn link(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        let href = hidden_or(attributes, "href").map(|href| href.replace('\u{feff}', ""));
        self.push_uri(name, href.as_deref());
        let redirect = find(attributes, "data-saferedirecturl").map(|found| entity::decode(found.value, false));
        self.push_uri(name, redirect.as_deref());
        if name == "a" {
            let uri = self.trimmed(href.as_deref().unwrap_or_default()).to_owned();
            self.open_anchor(uri);
        }
    }

    /// Begins a link's text, which is kept under its URI.
    fn open_anchor(&mut self, uri: String) {
        let index = self.html.texts.get(TextKind::Anchor as usize).map_or(0, |texts| texts.ends.len());
        self.anchor_open = index < ANCHORS_MAX;
        if !self.anchor_open {
            return;
        }
        self.texts(TextKind::Anchor, |texts| texts.push(""));
        if let Some(uri) = self.uri(uri) {
            uri.anchors.push(index);
        }
    }

    fn anchor_text(&mut self, text: &str) {
        if self.within.anchor > 0 && self.anchor_open {
            self.texts(TextKind::Anchor, |texts| texts.append(text));
        }
    }

    fn image(&mut self, attributes: &[Attribute<'_>]) {
        self.push_uri("img", hidden_or(attributes, "src").as_deref());
        self.anchor_text("<img>\n");
        let measure = |name, screen| find(attributes, name).map(|found| pixels(found.value, screen));
        if let (Some(width), Some(height)) = (measure("width", 8.0), measure("height", 6.0)) {
            self.html.facts.image_area += width * height;
        }
    }

    fn base(&mut self, href: Option<&str>) {
        let uri = self.trimmed(href.unwrap_or_default()).to_owned();
        self.push_uri("base", Some(&uri));
        if let Some(base) = link::base(&uri) {
            self.base = base;
        }
    }

    /// `<meta http-equiv=refresh content="0; url=...">`.
    fn meta(&mut self, equivalent: Option<&str>, content: Option<&str>) {
        let is_refresh = equivalent.is_some_and(|name| name.to_ascii_lowercase().contains("refresh"));
        let uri = content.filter(|_| is_refresh).and_then(refresh_uri);
        self.push_uri("meta", uri);
    }

    fn trimmed<'u>(&mut self, uri: &'u str) -> &'u str {
        let (uri, cut) = link::trimmed(uri);
        self.html.uri_truncated |= cut;
        uri
    }

    fn push_uri(&mut self, kind: &'static str, uri: Option<&str>) {
        let uri = self.trimmed(uri.unwrap_or_default());
        if uri.is_empty() {
            return;
        }
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        let opaque = ["data", "mailto", "file", "cid", "tel"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        let target = if opaque { uri.to_owned() } else { link::resolve(&self.base, uri) };
        if target.is_empty() {
            return;
        }
        if let Some(uri) = self.uri(target)
            && !uri.kinds.contains(&kind)
        {
            uri.kinds.push(kind);
        }
    }

    fn uri(&mut self, uri: String) -> Option<&mut HtmlUri> {
        if let Some(index) = self.known.get(&uri) {
            return self.html.uris.get_mut(*index);
        }
        if self.html.uris.len() >= URIS_MAX {
            return None;
        }
        self.known.insert(uri.clone(), self.html.uris.len());
        self.html.uris.push(HtmlUri { uri, kinds: Vec::new(), anchors: Vec::new() });
        self.html.uris.last_mut()
    }

    /// Text between tags, references decoded.
    fn text(&mut self, text: &str) {
        if self.within.script > 0 {
            return self.texts(TextKind::Script, |texts| texts.push(text));
        }
        if self.within.style > 0 {
            return;
        }
        self.anchor_text(text);
        if self.within.title > 0 {
            self.texts(TextKind::Title, |texts| texts.append(text));
        }
        let blank = text.bytes().all(is_space);
        let invisible = if blank { None } else { self.styles.invisible() };
        let facts = &mut self.html.facts;
        facts.low_contrast |= invisible == Some(Invisible::Contrast);
        facts.invalid_colour |= invisible == Some(Invisible::Colour);
        let last = self.html.text.get(self.last_start..).unwrap_or_default();
        let wordy = |c: Option<char>, piece: &str| c.is_some_and(|c| is_wordy(c, || self.ascii && is_latin1(piece)));
        let within_word = wordy(last.chars().next_back(), last) && wordy(text.chars().next(), text);
        facts.obfuscation += usize::from(within_word);
        self.display(text, invisible.is_some());
    }

    /// Adds text, each run of white space as one space.
    fn display(&mut self, text: &str, invisible: bool) {
        let cut = self.last == Piece::Space && !invisible;
        self.begin(if invisible { Piece::Invisible } else { Piece::Visible });
        let mut rest =
            if cut { text.strip_prefix(MOJIBAKE).unwrap_or(text.trim_start_matches(is_blank)) } else { text };
        // Behind a space of the original, one that is Latin-1 for a hard space stays.
        while !rest.is_empty() && self.html.text.len() < self.text_octets_max {
            let end = rest.bytes().position(|octet| is_space(octet) || octet == 0xc3).unwrap_or(rest.len());
            let (run, blank) = rest.split_at_checked(end).unwrap_or((rest, ""));
            self.html.text.push_str(run);
            rest = if let Some(rest) = blank.strip_prefix(MOJIBAKE) {
                self.html.text.push(' ');
                rest
            } else if blank.starts_with(is_blank) {
                self.html.text.push(' ');
                blank.trim_start_matches(is_blank)
            } else if let Some(c) = blank.chars().next() {
                self.html.text.push(c);
                blank.get(c.len_utf8()..).unwrap_or_default()
            } else {
                blank
            };
        }
    }

    /// White space that stands for a tag. It swallows a space before it, unless that is invisible.
    fn space(&mut self, space: &str) {
        if self.last == Piece::Visible && self.html.text.len() > self.last_start && self.html.text.ends_with(' ') {
            self.html.text.pop();
        }
        self.begin(Piece::Space);
        if self.html.text.len() < self.text_octets_max {
            self.html.text.push_str(space);
        }
    }

    fn begin(&mut self, piece: Piece) {
        (self.last, self.last_start) = (piece, self.html.text.len());
    }
}

/// A hard space in UTF-8 that was read as Latin-1.
const MOJIBAKE: &str = "\u{c2}\u{a0}";

fn is_blank(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_space)
}

/// Neither white space nor ASCII punctuation. In what SpamAssassin holds as octets, only ASCII is white space.
fn is_wordy(c: char, in_octets: impl Fn() -> bool) -> bool {
    !c.is_ascii_punctuation() && (!c.is_whitespace() || matches!(c, '\u{85}' | '\u{a0}') && in_octets())
}

fn is_latin1(text: &str) -> bool {
    text.chars().all(|c| c <= '\u{ff}')
}

/// Names that Microsoft Office writes: `o:p`, `st1:place`.
fn is_office_name(name: &str) -> bool {
    let Some((space, name)) = name.split_once(':') else { return false };
    let space = space.as_bytes();
    let known = match space {
        [b'o' | b'O'] => true,
        [b's' | b'S', b't' | b'T', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    let name = name.strip_suffix('/').unwrap_or(name);
    known && !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

/// The value of an attribute, or of one that lost its space to a tag before it (`<a/href=...>`).
fn hidden_or<'a>(attributes: &[Attribute<'a>], name: &str) -> Option<Cow<'a, str>> {
    let hidden = attributes.iter().rev().find(|attribute| {
        let at = attribute.name.find('/').filter(|at| *at > 0 && attribute.name.len() > at + name.len());
        at.is_some() && is_behind_slash(&attribute.name.to_ascii_lowercase(), name)
    });
    hidden.or_else(|| find(attributes, name)).map(|found| entity::decode(found.value, false))
}

/// Whether `/name` stands behind a word anywhere.
fn is_behind_slash(attribute: &str, name: &str) -> bool {
    attribute.match_indices('/').any(|(at, _)| {
        let word =
            attribute.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        word && attribute.get(at + 1..).is_some_and(|after| after.starts_with(name))
    })
}

/// A length in pixels; percents are of a small screen, what is none is a guess.
fn pixels(value: &str, screen: f64) -> f64 {
    const GUESS: f64 = 200.0;
    let value = value.strip_suffix('\n').unwrap_or(value);
    let (digits, factor) = value.strip_suffix('%').map_or((value, 1.0), |digits| (digits, screen));
    let number = if digits.bytes().all(|octet| octet.is_ascii_digit()) { digits.parse::<f64>().ok() } else { None };
    number.map(|number| number * factor).filter(|pixels| *pixels > 0.0).unwrap_or(GUESS)
}

/// The URI of `0; url=...`.
fn refresh_uri(content: &str) -> Option<&str> {
    let lower = content.to_ascii_lowercase();
    let uri = lower.rmatch_indices("url").find_map(|(at, _)| {
        let word = lower.get(..at)?.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = content.get(at + 3..)?.trim_start().strip_prefix('=')?;
        word.then(|| rest.trim_start())
    })?;
    uri.split(';').next().map(str::trim_end)
}
