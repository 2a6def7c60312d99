//! Elements: which names are HTML, and what white space they are worth.
//!
//! *Follows* SpamAssassin: the elements of HTML 4.01 and XHTML 1.0, and some that mail clients knew. Newer ones (`section`)
//! are no elements to its rules.

/// An element of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element(usize);

/// How many there are.
pub const ELEMENTS: usize = NAMES.len();
/// The longest name, in octets.
const NAME_OCTETS_MAX: usize = 10;

impl Element {
    /// Looks up a name in any case.
    pub fn find(name: &str) -> Option<Self> {
        let mut lower = [0; NAME_OCTETS_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        NAMES.binary_search_by(|known| known.as_bytes().cmp(lower)).ok().map(Element)
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
        !matches!(self.name(), "bgsound" | "embed" | "listing" | "plaintext" | "xmp")
    }

    /// The white space that stands for its tags.
    pub fn space(self) -> Option<&'static str> {
        Some(match self.name() {
            "br" | "div" => "\n",
            "li" | "th" | "td" | "dt" | "dd" | "embed" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => " ",
            "p" | "hr" | "blockquote" | "pre" | "listing" | "plaintext" | "xmp" | "title" => "\n\n",
            _ => return None,
        })
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
