//! Elements: which names are HTML, and what white space they are worth.
//!
//! *Follows* SpamAssassin: the elements of HTML 4.01 and XHTML 1.0, and some that mail clients knew. Newer ones (`section`)
//! are no elements to its rules.

use std::sync::LazyLock;

/// An element of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element(usize);

/// How many there are.
pub const ELEMENTS: usize = NAMES.len();
/// The longest name, in octets.
const NAME_OCTETS_MAX: usize = 10;

/// Names as numbers of the same order: they are looked up for each tag.
static NUMBERS: LazyLock<Vec<u128>> = LazyLock::new(|| NAMES.iter().map(|name| as_number(name)).collect());
/// What is known of each.
static TRAITS: LazyLock<Vec<Traits>> = LazyLock::new(|| NAMES.iter().map(|name| Traits::of(name)).collect());

/// What an element is worth.
#[derive(Debug, Clone, Copy)]
struct Traits {
    legal: bool,
    styled: bool,
    space: Option<&'static str>,
}

impl Traits {
    fn of(name: &str) -> Self {
        let legal = !matches!(name, "bgsound" | "embed" | "listing" | "plaintext" | "xmp");
        let styled = matches!(
            name,
            "body" | "font" | "table" | "tr" | "th" | "td" | "big" | "small" | "basefont" | "span" | "p" | "div" | "a"
        );
        let space = match name {
            "br" | "div" => Some("\n"),
            "li" | "th" | "td" | "dt" | "dd" | "embed" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Some(" "),
            "p" | "hr" | "blockquote" | "pre" | "listing" | "plaintext" | "xmp" | "title" => Some("\n\n"),
            _ => None,
        };
        Traits { legal, styled, space }
    }
}

/// The octets of a name in lower case, the first the highest.
fn as_number(name: &str) -> u128 {
    let octets = name.bytes().chain(std::iter::repeat(0)).take(size_of::<u128>());
    octets.fold(0, |number, octet| (number << 8) | u128::from(octet.to_ascii_lowercase()))
}

impl Element {
    /// Looks up a name in any case.
    pub fn find(name: &str) -> Option<Self> {
        if name.len() > NAME_OCTETS_MAX {
            return None;
        }
        NUMBERS.binary_search(&as_number(name)).ok().map(Element)
    }

    /// In lower case.
    pub fn name(self) -> &'static str {
        NAMES.get(self.0).copied().unwrap_or_default()
    }

    /// Its place in the table.
    pub fn index(self) -> usize {
        self.0
    }

    /// A legal one; the others are only rendered.
    pub fn is_legal(self) -> bool {
        TRAITS.get(self.0).is_some_and(|traits| traits.legal)
    }

    /// One whose tags may change the look of text.
    pub fn is_styled(self) -> bool {
        TRAITS.get(self.0).is_some_and(|traits| traits.styled)
    }

    /// The white space that stands for its tags.
    pub fn space(self) -> Option<&'static str> {
        TRAITS.get(self.0).and_then(|traits| traits.space)
    }
}

/// In order of octets. (`marquee` is missing with intent: rules see it as no element.)
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "a", "abbr", "acronym", "address", "applet", "area", "b", "base", "basefont", "bdo", "bgsound", "big",
    "blockquote", "body", "br", "button", "caption", "center", "cite", "code", "col", "colgroup", "dd", "del", "dfn",
    "dir", "div", "dl", "dt", "em", "embed", "fieldset", "font", "form", "frame", "frameset", "h1", "h2", "h3", "h4",
    "h5", "h6", "head", "hr", "html", "i", "iframe", "img", "input", "ins", "isindex", "kbd", "label", "legend", "li",
    "link", "listing", "map", "menu", "meta", "nobr", "noframes", "noscript", "object", "ol", "optgroup", "option",
    "p", "param", "plaintext", "pre", "q", "s", "samp", "script", "select", "small", "span", "strike", "strong",
    "style", "sub", "sup", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr", "tt", "u", "ul",
    "var", "x-sigsep", "x-tab", "xmp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for (name, found) in [("a", Some("a")), ("BLOCKQUOTE", Some("blockquote")), ("x-sigsep", Some("x-sigsep"))] {
            assert_eq!(Element::find(name).map(Element::name), found);
        }
        for name in ["", "section", "marquee", "é", "blockquotes", "blockquotesandmore"] {
            assert_eq!(Element::find(name), None, "{name}");
        }
        assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(NAMES.iter().map(|name| name.len()).max(), Some(NAME_OCTETS_MAX));
    }
}
