//! The look of text: which colours and size hold at a place, so that rules can ask for text nobody can see.
//!
//! *Guarantees:* constant time for a tag but for what it closes; at most [`DEPTH_MAX`] open styles.
//! *Never does:* read style sheets or classes. *Follows* SpamAssassin also where it is wrong: `bgcolor` attributes mean
//! nothing, a `p` that is never closed keeps its style.

use super::colour::Colour;
use super::token::Attribute;
use super::{entity, find};

/// How many styles are open at most; a deeper one replaces the innermost.
pub const DEPTH_MAX: usize = 10_000;

/// Elements that have a style, `th` is `td`. The first is the document itself.
const STYLED: [&str; 13] =
    ["", "body", "font", "table", "tr", "td", "big", "small", "basefont", "span", "p", "div", "a"];
const FONT: usize = 2;
const TR: usize = 4;
const TD: usize = 5;

/// How text looks.
#[derive(Debug, Clone, Copy)]
struct Style {
    /// Whose it is, in [`STYLED`].
    element: usize,
    text: Colour,
    background: Colour,
    size: f64,
    not_displayed: bool,
    not_visible: bool,
}

/// Why text is invisible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invisible {
    /// Too little contrast.
    Contrast,
    /// One of its colours is none.
    Colour,
    /// Too small, or hidden by CSS.
    Hidden,
}

/// The open styles.
pub struct Styles {
    open: Vec<Style>,
    /// How many of each element are open.
    counts: [usize; STYLED.len()],
    base_size: f64,
    /// The smallest font size that was asked for.
    pub size_min: f64,
    /// The largest.
    pub size_max: f64,
}

/// The size of text that says nothing.
const SIZE_DEFAULT: f64 = 3.0;
const ROOT: Style = Style {
    element: 0,
    text: Colour::BLACK,
    background: Colour::WHITE,
    size: SIZE_DEFAULT,
    not_displayed: false,
    not_visible: false,
};

impl Default for Styles {
    fn default() -> Self {
        let counts = [0; STYLED.len()];
        Styles { open: Vec::new(), counts, base_size: SIZE_DEFAULT, size_min: SIZE_DEFAULT, size_max: SIZE_DEFAULT }
    }
}

/// The place of an element in [`STYLED`], if it has a style.
fn styled(name: &str) -> Option<usize> {
    let name = if name == "th" { "td" } else { name };
    STYLED.iter().skip(1).position(|known| *known == name).map(|at| at + 1)
}

impl Styles {
    fn current(&self) -> Style {
        self.open.last().copied().unwrap_or(ROOT)
    }

    fn pop(&mut self) -> Option<usize> {
        let element = self.open.pop()?.element;
        if let Some(count) = self.counts.get_mut(element) {
            *count = count.saturating_sub(1);
        }
        Some(element)
    }

    fn push(&mut self, style: Style) {
        if self.open.len() >= DEPTH_MAX {
            self.pop();
        }
        if let Some(count) = self.counts.get_mut(style.element) {
            *count += 1;
        }
        self.open.push(style);
    }

    fn is_open(&self, element: usize) -> bool {
        self.counts.get(element).is_some_and(|count| *count > 0)
    }

    /// An end tag: closes all up to the innermost of its kind. A body stays open, as in browsers.
    pub fn close(&mut self, name: &str) {
        let Some(element) = styled(name).filter(|element| *element != 1 && self.is_open(*element)) else { return };
        while self.pop().is_some_and(|closed| closed != element) {}
    }

    /// A start tag, its name in lower case.
    pub fn open(&mut self, name: &str, attributes: &[Attribute<'_>]) {
        let Some(element) = styled(name) else { return };
        if name == "basefont"
            && let Some(size) = find(attributes, "size").and_then(|size| leading_number(size.value))
        {
            self.base_size = size;
            return;
        }
        if matches!(element, TD | TR) && self.is_open(element) {
            self.close_cells(element);
        }
        let mut style = Style { element, ..self.current() };
        match name {
            "big" => style.size += 1.0,
            "small" => style.size -= 1.0,
            _ => attributes.iter().filter(|a| is_allowed(name, a.name)).for_each(|a| self.attribute(&mut style, a)),
        }
        self.push(style);
    }

    /// Closes what a new cell or row ends.
    fn close_cells(&mut self, element: usize) {
        let ends = |top: usize| matches!(top, FONT | TD) || element == TR && top == TR;
        while self.open.last().is_some_and(|top| ends(top.element)) {
            self.pop();
        }
    }

    fn attribute(&mut self, style: &mut Style, attribute: &Attribute<'_>) {
        let value = entity::decode(attribute.value, false);
        let is = |name: &str| attribute.name.eq_ignore_ascii_case(name);
        if is("style") {
            self.css(style, &value);
        } else if is("size") {
            self.font_size(style, &value);
        } else if is("color") || is("text") {
            style.text = Colour::parse(&value);
        }
        if style.size > self.size_max {
            self.size_max = style.size;
        } else if style.size < self.size_min {
            self.size_min = style.size;
        }
    }

    fn font_size(&self, style: &mut Style, value: &str) {
        let value = value.trim_start();
        let signed = value.strip_prefix('+').map(|rest| (1.0, rest));
        match signed.or_else(|| value.strip_prefix('-').map(|rest| (-1.0, rest))) {
            Some((sign, rest)) => {
                if let Some(step) = leading_number(rest).filter(|_| rest.starts_with(|c: char| c.is_ascii_digit())) {
                    style.size = self.base_size + sign * step;
                }
            }
            None => style.size = leading_number(value).unwrap_or(style.size),
        }
    }

    fn css(&self, style: &mut Style, css: &str) {
        for declaration in css.split(';') {
            css_declaration(style, declaration.trim_start());
        }
        if style.background == Colour::Transparent {
            style.background = self.current().background;
        }
        if style.text == Colour::Transparent {
            style.text = style.background;
        }
    }

    /// Why text at this place is invisible, if it is.
    pub fn invisible(&self) -> Option<Invisible> {
        let style = self.current();
        if style.text.is_close_to(style.background) {
            Some(Invisible::Contrast)
        } else if style.text == Colour::Invalid || style.background == Colour::Invalid {
            Some(Invisible::Colour)
        } else {
            (style.size <= 1.0 || style.not_displayed || style.not_visible).then_some(Invisible::Hidden)
        }
    }
}

/// Whether an attribute may change the style of an element.
fn is_allowed(element: &str, attribute: &str) -> bool {
    let is = |name: &str| attribute.eq_ignore_ascii_case(name);
    match element {
        "basefont" | "font" => is("color") || is("face") || is("size"),
        "body" => ["text", "bgcolor", "link", "alink", "vlink", "background"].into_iter().any(is),
        "table" | "td" | "th" | "tr" => is("bgcolor") || is("style"),
        "span" | "p" | "div" | "a" => is("style"),
        _ => false,
    }
}

/// The digits at the front, white space before them.
fn leading_number(value: &str) -> Option<f64> {
    let value = value.trim_start();
    let length = value.bytes().take_while(u8::is_ascii_digit).count();
    value.get(..length)?.parse().ok()
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(word.len())?;
    front.eq_ignore_ascii_case(word).then_some(rest)
}

/// One CSS declaration, without white space before it.
fn css_declaration(style: &mut Style, declaration: &str) {
    let background = strip_word(declaration, "background-color:");
    if let Some(value) = background.or_else(|| strip_word(declaration, "color:")) {
        // A blank is a value, though no colour; a line end within a value makes it none.
        if value.is_empty() || value.ends_with('\n') && value.trim().is_empty() || value.trim().contains('\n') {
            return;
        }
        let place = if background.is_some() { &mut style.background } else { &mut style.text };
        *place = css_colour(&value.trim().to_ascii_lowercase()).unwrap_or(*place);
    } else if let Some(value) = declaration.strip_prefix("background:") {
        if let Some(colour) = bottom_layer_colour(&value.trim().to_ascii_lowercase()) {
            style.background = colour;
        }
    } else if let Some((property, value)) = declaration.split_once(':') {
        match property.trim_end() {
            "display" => style.not_displayed = value.trim().eq_ignore_ascii_case("none"),
            "visibility" => style.not_visible = value.trim().eq_ignore_ascii_case("hidden"),
            _ => {}
        }
    }
}

/// The colour of a value in lower case; none if it is inherited.
fn css_colour(value: &str) -> Option<Colour> {
    let value = value
        .strip_suffix("important")
        .map_or(value, |rest| rest.trim_end().strip_suffix('!').map_or(value, str::trim_end));
    match value {
        "inherit" => None,
        "transparent" => Some(Colour::Transparent),
        _ if value.contains("rgb") => Some(Colour::from_css_rgb(value)),
        _ => Some(Colour::parse(value)),
    }
}

/// The first colour in the last layer of a CSS background.
fn bottom_layer_colour(value: &str) -> Option<Colour> {
    let (mut layer, mut start) = (Vec::new(), 0);
    let mut previous = Vec::new();
    let (mut in_brackets, mut quote) = (false, None);
    let push = |layer: &mut Vec<Colour>, from: usize, to: usize| {
        let token = value.get(from..to).unwrap_or_default();
        let colour = if token.is_empty() { Colour::Invalid } else { Colour::parse(token) };
        layer.extend(Some(colour).filter(|colour| *colour != Colour::Invalid && layer.is_empty()));
        !token.is_empty()
    };
    let mut any = false;
    for (at, c) in value.char_indices() {
        match (c, quote) {
            (_, Some(open)) => quote = Some(open).filter(|open| *open != c),
            ('"' | '\'', None) => quote = Some(c),
            (')', None) if in_brackets => {
                in_brackets = false;
                any |= push(&mut layer, start, at + 1);
                start = at + 1;
            }
            (_, None) if in_brackets => {}
            ('(', None) => in_brackets = true,
            (' ' | ',', None) => {
                any |= push(&mut layer, start, at);
                start = at + 1;
                if c == ',' {
                    previous = std::mem::take(&mut layer);
                    any = false;
                }
            }
            _ => {}
        }
    }
    any |= push(&mut layer, start, value.len());
    if any { layer.first().copied() } else { previous.first().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invisible(tags: &[(&str, &str, &str)]) -> Option<Invisible> {
        let mut styles = Styles::default();
        for (tag, name, value) in tags {
            match tag.strip_prefix('/') {
                Some(tag) => styles.close(tag),
                None => styles.open(tag, &[Attribute { name, value }]),
            }
        }
        styles.invisible()
    }

    #[test]
    fn invisible_text() {
        let contrast = Some(Invisible::Contrast);
        let hidden = Some(Invisible::Hidden);
        for (tags, expected) in [
            (&[("p", "", "")][..], None),
            (&[("font", "COLOR", "white")], contrast),
            (&[("font", "color", "#fefefe")], contrast),
            (&[("font", "color", "none")], Some(Invisible::Colour)),
            (&[("font", "color", "white"), ("/font", "", "")], None),
            (&[("font", "color", "white"), ("/p", "", "")], contrast),
            (&[("td", "style", "background-color:#000"), ("td", "", "")], None),
            (&[("div", "style", "Color: WHITE ! important")], contrast),
            (&[("div", "style", "background: url(a.png) no-repeat black")], contrast),
            (&[("div", "style", "background: black, url(a b)")], None),
            (&[("div", "style", "color:transparent")], contrast),
            (&[("div", "style", "color: ; x:y")], Some(Invisible::Colour)),
            (&[("div", "style", "color:; x:y")], None),
            (&[("div", "style", "color:inherit; x")], None),
            (&[("div", "style", "display :NONE")], hidden),
            (&[("div", "style", "display: none"), ("p", "style", "display:block")], None),
            (&[("div", "style", "visibility:hidden")], hidden),
            (&[("font", "size", "1")], hidden),
            (&[("font", "size", "-2")], hidden),
            (&[("basefont", "size", "5"), ("font", "size", "-2")], None),
            (&[("small", "", ""), ("small", "", "")], hidden),
            (&[("table", "bgcolor", "black")], None),
            (&[("body", "text", "white"), ("/body", "", "")], contrast),
        ] {
            assert_eq!(invisible(tags), expected, "{tags:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut styles = Styles::default();
        (0..1_000_000).for_each(|_| {
            styles.open("font", &[]);
            styles.close("p");
        });
        assert_eq!(styles.open.len(), DEPTH_MAX);
        styles.close("font");
        assert_eq!(styles.open.len(), DEPTH_MAX - 1);
    }

    proptest::proptest! {
        #[test]
        fn no_style_panics(css in r"((color|background|display)[ :]|rgb\(|[#;,()'\x220-9a-f% -]|\PC){0,40}") {
            let mut styles = Styles::default();
            styles.open("p", &[Attribute { name: "style", value: &css }]);
            styles.invisible();
        }
    }
}
