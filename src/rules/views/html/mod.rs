//! HTML as text and as facts: what body rules read, and what `html_*` rules ask.
//!
//! *Does:* drops tags, comments, scripts and styles; decodes references; turns block elements into line breaks; counts tags;
//! collects links with their texts; finds text nobody can see.
//! *Guarantees:* one pass, linear in the octets; the text is bounded by the caller, all else by the `*_MAX` below. What is
//! opened and never closed swallows what follows, as in mail clients.
//! *Never does:* drop invisible text: that is text that somebody hid. No tree, so no depth.
//! *Follows* SpamAssassin 4.0.1 over HTML::Parser 3.81, so that its rules mean the same. Where it counts characters of
//! undecodable input as octets, we count characters.
//! *Why not html5ever's tokenizer:* rules were measured on another one, and its attributes are quadratic.

mod colour;
mod element;
mod entity;
mod link;
mod render;
mod style;
mod token;

use std::borrow::Cow;
use std::collections::HashMap;

use memchr::memchr3_iter;

pub use link::URI_CHARS_MAX;

use element::{ELEMENTS, Element};
use token::Attribute;

/// How many different URIs of a part are kept.
pub const URIS_MAX: usize = 4_096;
/// How many link texts of a part are kept.
pub const ANCHORS_MAX: usize = 16_384;
/// How many different names are told apart that are no elements.
pub const UNKNOWN_NAMES_MAX: usize = 4_096;

/// What one HTML part says.
#[derive(Debug, Default)]
pub struct Html {
    /// The text, in the shape that body rules expect before white space is normalised.
    pub text: String,
    /// The URIs, in order of first sight.
    pub uris: Vec<HtmlUri>,
    /// A URI was longer than [`URI_CHARS_MAX`].
    pub uri_truncated: bool,
    /// Texts that are looked at apart from the whole.
    texts: [Texts; 4],
    facts: Facts,
    /// How often each element was opened and not closed; none if it does not occur.
    inside: Inside,
}

/// A URI of an HTML part.
#[derive(Debug, PartialEq, Eq)]
pub struct HtmlUri {
    /// As written, references decoded, resolved against the base. A link's text is also kept under the unresolved URI.
    pub uri: String,
    /// The elements that name it; none if only a link's text does.
    pub kinds: Vec<&'static str>,
    /// The texts of its links: indices into [`TextKind::Anchor`].
    anchors: Vec<usize>,
}

/// Texts that `html_text_match` may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// The texts of links; an image is `<img>`.
    Anchor,
    /// Comments with their marks.
    Comment,
    /// The contents of scripts.
    Script,
    /// The contents of titles.
    Title,
}

impl TextKind {
    /// By the name that rules use.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "anchor" => TextKind::Anchor,
            "comment" => TextKind::Comment,
            "script" => TextKind::Script,
            "title" => TextKind::Title,
            _ => return None,
        })
    }
}

/// Strings in one allocation.
#[derive(Debug, Default)]
struct Texts {
    octets: String,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.octets.push_str(text);
        self.ends.push(self.octets.len());
    }

    /// Adds to the last one.
    fn append(&mut self, text: &str) {
        if let Some(last) = self.ends.last_mut() {
            self.octets.push_str(text);
            *last = self.octets.len();
        }
    }

    fn get(&self, index: usize) -> Option<&str> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.octets.get(start..*self.ends.get(index)?)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }
}

/// Counts and marks.
#[derive(Debug, Default)]
struct Facts {
    characters: usize,
    text_characters: usize,
    text_visible_characters: usize,
    tags: usize,
    elements: usize,
    tags_seen: usize,
    elements_seen: usize,
    closed_extra: usize,
    obfuscation: usize,
    image_area: f64,
    size_min: f64,
    size_max: f64,
    low_contrast: bool,
    invalid_colour: bool,
    face_bad: bool,
    form_mailto: bool,
    embeds: bool,
}

/// A number that `html_test`, `html_range` and `html_eval` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// There is HTML: always 1.
    Html,
    /// The characters of the source.
    Length,
    /// The characters of the text.
    HtmlLength,
    /// Those that are no white space.
    NonSpaceLength,
    /// The area of all images that say how big they are, in pixels.
    ImageArea,
    /// The smallest font size.
    MinSize,
    /// The largest font size.
    MaxSize,
    /// End tags without start tag, of all tags.
    ClosedExtraRatio,
    /// Tags that are no elements, of all tags.
    BadTagRatio,
    /// The same, counting only tags within no other of their name.
    NonElementRatio,
    /// Tags within words, of all tags.
    ObfuscationRatio,
    /// Text with the colour of its background.
    FontLowContrast,
    /// Text with a colour that is none.
    FontInvalidColor,
    /// A font face that looks like none.
    FontFaceBad,
    /// A form that goes to a mailbox.
    FormActionMailto,
    /// There are objects or embeds.
    Embeds,
    /// A URI was cut.
    UriTruncated,
}

impl Fact {
    /// By the name that rules use.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "html" => Fact::Html,
            "length" => Fact::Length,
            "html_length" => Fact::HtmlLength,
            "non_space_len" => Fact::NonSpaceLength,
            "image_area" => Fact::ImageArea,
            "min_size" => Fact::MinSize,
            "max_size" => Fact::MaxSize,
            "closed_extra_ratio" => Fact::ClosedExtraRatio,
            "bad_tag_ratio" => Fact::BadTagRatio,
            "non_element_ratio" => Fact::NonElementRatio,
            "obfuscation_ratio" => Fact::ObfuscationRatio,
            "font_low_contrast" => Fact::FontLowContrast,
            "font_invalid_color" => Fact::FontInvalidColor,
            "font_face_bad" => Fact::FontFaceBad,
            "form_action_mailto" => Fact::FormActionMailto,
            "embeds" => Fact::Embeds,
            "uri_truncated" => Fact::UriTruncated,
            _ => return None,
        })
    }
}

/// The balance of tags by name.
#[derive(Debug)]
struct Inside {
    elements: [Option<i64>; ELEMENTS],
    others: HashMap<Box<str>, i64>,
}

impl Default for Inside {
    fn default() -> Self {
        Inside { elements: [None; ELEMENTS], others: HashMap::new() }
    }
}

impl Html {
    /// Reads one part. At most about `text_octets_max` octets of text are kept; facts and URIs cover the whole.
    pub fn parse(html: &str, text_octets_max: usize) -> Html {
        let prepared = prepared(html);
        let mut renderer = render::Renderer::new(html.is_ascii(), text_octets_max);
        token::tokenize(&prepared, |token| renderer.token(token));
        renderer.finish(html)
    }

    /// The value of a fact; none if the part does not have it.
    pub fn fact(&self, fact: Fact) -> Option<f64> {
        let facts = &self.facts;
        let flag = |set: bool| set.then_some(1.0);
        match fact {
            Fact::Html => Some(1.0),
            Fact::Length => Some(real(facts.characters)),
            Fact::HtmlLength => Some(real(facts.text_characters)),
            Fact::NonSpaceLength => Some(real(facts.text_visible_characters)),
            Fact::ImageArea => Some(facts.image_area),
            Fact::MinSize => Some(facts.size_min),
            Fact::MaxSize => Some(facts.size_max),
            Fact::ClosedExtraRatio => ratio(facts.closed_extra, facts.tags),
            Fact::BadTagRatio => missing_ratio(facts.elements, facts.tags),
            Fact::NonElementRatio => missing_ratio(facts.elements_seen, facts.tags_seen),
            Fact::ObfuscationRatio => ratio(facts.obfuscation, facts.tags).filter(|_| facts.obfuscation > 0),
            Fact::FontLowContrast => flag(facts.low_contrast),
            Fact::FontInvalidColor => flag(facts.invalid_colour),
            Fact::FontFaceBad => flag(facts.face_bad),
            Fact::FormActionMailto => flag(facts.form_mailto),
            Fact::Embeds => flag(facts.embeds),
            Fact::UriTruncated => flag(self.uri_truncated),
        }
    }

    /// How many elements of a name (in lower case) are open at the end; none if there is none.
    pub fn open_count(&self, name: &str) -> Option<i64> {
        if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return None;
        }
        match Element::find(name) {
            Some(element) => self.inside.elements.get(element.index()).copied().flatten(),
            None => self.inside.others.get(name).copied(),
        }
    }

    /// All texts of a kind.
    pub fn texts(&self, kind: TextKind) -> impl Iterator<Item = &str> {
        self.texts.get(kind as usize).into_iter().flat_map(Texts::iter)
    }

    /// The texts of the links to one of its URIs, in order, repeated ones too.
    pub fn anchor_texts<'a>(&'a self, uri: &'a HtmlUri) -> impl Iterator<Item = &'a str> {
        let texts = self.texts.get(TextKind::Anchor as usize);
        uri.anchors.iter().filter_map(move |index| texts?.get(*index))
    }
}

/// A count as a number. Counts stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| real(part) / real(whole))
}

/// The share that is not counted; none if nothing is counted.
fn missing_ratio(counted: usize, whole: usize) -> Option<f64> {
    ratio(whole.saturating_sub(counted), whole).filter(|_| counted > 0)
}

/// The first attribute of a name in lower case.
fn find<'a, 't>(attributes: &'t [Attribute<'a>], name: &str) -> Option<&'t Attribute<'a>> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// What is mended before reading: `&nbsp;` is a space, `<br/>` is `<br>`, curly quotes are quotes.
fn prepared(html: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    for at in memchr3_iter(b'&', b'<', 0xe2, html.as_bytes()) {
        let Some(rest) = html.get(at..).filter(|_| at >= done) else { continue };
        let (replaced, text) = match rest.as_bytes().first() {
            Some(b'&') if rest.starts_with("&nbsp;") => (6, " "),
            Some(b'<') => match empty_tag(rest) {
                Some((name, length)) => (length, name),
                None => continue,
            },
            Some(0xe2) if rest.starts_with(['\u{201c}', '\u{201d}']) => (3, "\""),
            _ => continue,
        };
        out.push_str(html.get(done..at).unwrap_or_default());
        out.push_str(text);
        if text.starts_with('<') {
            out.push('>');
        }
        done = at + replaced;
    }
    if done == 0 {
        return Cow::Borrowed(html);
    }
    out.push_str(html.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// `<name` of `<name />`, and the octets of the whole.
fn empty_tag(tag: &str) -> Option<(&str, usize)> {
    let name = tag.get(1..)?;
    let length = name.find(|c: char| !c.is_alphanumeric() && c != '_').filter(|length| *length > 0)?;
    let mut rest = name.get(length..)?;
    loop {
        let trimmed = rest.trim_start();
        let trimmed = trimmed.strip_prefix("&nbsp;").unwrap_or(trimmed);
        if trimmed.len() == rest.len() {
            break;
        }
        rest = trimmed;
    }
    let after = rest.strip_prefix("/>")?;
    Some((tag.get(..=length)?, tag.len() - after.len()))
}

#[cfg(test)]
mod tests;
