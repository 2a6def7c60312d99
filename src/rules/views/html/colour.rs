//! Colours: what attributes and CSS say of them, and whether text in one can be read on another.
//!
//! *Guarantees:* linear in the value. *Never does:* know alpha, hsl() or CSS variables: those are invalid, as to SpamAssassin.

/// A colour as rules know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Red, green, blue.
    Rgb(u8, u8, u8),
    /// Let the parent shine through; resolved when a style has been read.
    Transparent,
    /// A `#` with no digits behind it.
    Empty,
    /// No colour.
    Invalid,
}

/// Below this distance, text cannot be read.
const DISTANCE_MIN: f64 = 12.0;

impl Colour {
    /// Black.
    pub const BLACK: Colour = Colour::Rgb(0, 0, 0);
    /// White.
    pub const WHITE: Colour = Colour::Rgb(255, 255, 255);

    /// A name, `#rgb`, `#rrggbb`, or `rgb(1, 2, 3)`; the latter also in percent.
    pub fn parse(value: &str) -> Self {
        let lower = value.trim_matches(is_space).to_ascii_lowercase();
        if let Ok(at) = NAMES.binary_search_by(|(known, _)| known.cmp(&lower.as_str())) {
            return NAMES.get(at).map_or(Colour::Invalid, |(_, code)| Self::from_code(*code));
        }
        if lower.contains("rgb(") {
            return rgb_triple(&lower).map_or(Colour::Invalid, |hex| Self::from_hex(&hex));
        }
        let is_hex = lower.strip_prefix('#').filter(|rest| rest.bytes().all(|o| o == b'#' || is_hex_digit(o)));
        is_hex.map_or(Colour::Invalid, Self::from_hex)
    }

    /// `rgb(...)` and `rgba(...)` of CSS: the first three numbers, cut to 255.
    pub fn from_css_rgb(value: &str) -> Self {
        let digits: String = value.chars().filter(|c| c.is_ascii_digit() || *c == ',').collect();
        let mut numbers = digits.split(',').map(|number| match number.parse::<u64>() {
            Ok(number) => u8::try_from(number).unwrap_or(255),
            Err(_) if number.is_empty() => 0,
            Err(_) => 255,
        });
        let mut next = || numbers.next().unwrap_or(0);
        Colour::Rgb(next(), next(), next())
    }

    /// The digits of `#...`: six are taken, four and five are three; one and two are filled up.
    fn from_hex(text: &str) -> Self {
        let mut digits: Vec<u8> = text.bytes().filter(|octet| is_hex_digit(*octet)).take(6).map(hex_value).collect();
        if digits.is_empty() {
            return Colour::Empty;
        }
        if digits.len() < 6 {
            digits.resize(3, 0);
            digits = digits.iter().flat_map(|digit| [*digit, *digit]).collect();
        }
        let mut pairs = digits.chunks(2).map(|pair| pair.iter().fold(0_u8, |value, digit| (value << 4) | digit));
        let mut next = || pairs.next().unwrap_or(0);
        Colour::Rgb(next(), next(), next())
    }

    fn from_code(code: u32) -> Self {
        let [_, red, green, blue] = code.to_be_bytes();
        Colour::Rgb(red, green, blue)
    }

    /// Text of this colour cannot be told from the other: both are (nearly) the same.
    pub fn is_close_to(self, other: Self) -> bool {
        match (self, other) {
            (Colour::Rgb(r1, g1, b1), Colour::Rgb(r2, g2, b2)) => {
                let part = |weight: f64, x: u8, y: u8| (weight * (f64::from(x) - f64::from(y))).powi(2);
                let squares = part(0.2126, r1, r2) + part(0.7152, g1, g2) + part(0.0722, b1, b2);
                squares.sqrt() < DISTANCE_MIN
            }
            (one, other) => one == other,
        }
    }
}

fn is_space(c: char) -> bool {
    c.is_whitespace()
}

fn is_hex_digit(octet: u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'a'..=b'f')
}

fn hex_value(octet: u8) -> u8 {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0)
}

/// `rgb(1, 2, 3)` anywhere in a value, as hexadecimal digits. A number over 255 takes more than two of them.
fn rgb_triple(value: &str) -> Option<String> {
    let inner = value.split("rgb(").nth(1)?.split(')').next()?;
    let mut hex = String::new();
    let mut count = 0;
    for part in inner.split(',') {
        let part = part.trim_matches(is_space);
        let number = match part.strip_suffix('%') {
            Some(percent) => percent.parse::<u64>().ok()?.saturating_mul(255) / 100,
            None => part.parse::<u64>().ok()?,
        };
        hex.push_str(&format!("{number:02x}"));
        count += 1;
    }
    (count == 3).then_some(hex)
}

/// CSS3's names, in order of octets.
#[rustfmt::skip]
const NAMES: &[(&str, u32)] = &[
    ("aliceblue", 0xf0f8ff), ("antiquewhite", 0xfaebd7), ("aqua", 0x00ffff), ("aquamarine", 0x7fffd4),
    ("azure", 0xf0ffff), ("beige", 0xf5f5dc), ("bisque", 0xffe4c4), ("black", 0x000000), ("blanchedalmond", 0xffebcd),
    ("blue", 0x0000ff), ("blueviolet", 0x8a2be2), ("brown", 0xa52a2a), ("burlywood", 0xdeb887),
    ("cadetblue", 0x5f9ea0), ("chartreuse", 0x7fff00), ("chocolate", 0xd2691e), ("coral", 0xff7f50),
    ("cornflowerblue", 0x6495ed), ("cornsilk", 0xfff8dc), ("crimson", 0xdc143c), ("cyan", 0x00ffff),
    ("darkblue", 0x00008b), ("darkcyan", 0x008b8b), ("darkgoldenrod", 0xb8860b), ("darkgray", 0xa9a9a9),
    ("darkgreen", 0x006400), ("darkgrey", 0xa9a9a9), ("darkkhaki", 0xbdb76b), ("darkmagenta", 0x8b008b),
    ("darkolivegreen", 0x556b2f), ("darkorange", 0xff8c00), ("darkorchid", 0x9932cc), ("darkred", 0x8b0000),
    ("darksalmon", 0xe9967a), ("darkseagreen", 0x8fbc8f), ("darkslateblue", 0x483d8b), ("darkslategray", 0x2f4f4f),
    ("darkslategrey", 0x2f4f4f), ("darkturquoise", 0x00ced1), ("darkviolet", 0x9400d3), ("deeppink", 0xff1493),
    ("deepskyblue", 0x00bfff), ("dimgray", 0x696969), ("dimgrey", 0x696969), ("dodgerblue", 0x1e90ff),
    ("firebrick", 0xb22222), ("floralwhite", 0xfffaf0), ("forestgreen", 0x228b22), ("fuchsia", 0xff00ff),
    ("gainsboro", 0xdcdcdc), ("ghostwhite", 0xf8f8ff), ("gold", 0xffd700), ("goldenrod", 0xdaa520),
    ("gray", 0x808080), ("green", 0x008000), ("greenyellow", 0xadff2f), ("grey", 0x808080), ("honeydew", 0xf0fff0),
    ("hotpink", 0xff69b4), ("indianred", 0xcd5c5c), ("indigo", 0x4b0082), ("ivory", 0xfffff0), ("khaki", 0xf0e68c),
    ("lavender", 0xe6e6fa), ("lavenderblush", 0xfff0f5), ("lawngreen", 0x7cfc00), ("lemonchiffon", 0xfffacd),
    ("lightblue", 0xadd8e6), ("lightcoral", 0xf08080), ("lightcyan", 0xe0ffff), ("lightgoldenrodyellow", 0xfafad2),
    ("lightgray", 0xd3d3d3), ("lightgreen", 0x90ee90), ("lightgrey", 0xd3d3d3), ("lightpink", 0xffb6c1),
    ("lightsalmon", 0xffa07a), ("lightseagreen", 0x20b2aa), ("lightskyblue", 0x87cefa), ("lightslategray", 0x778899),
    ("lightslategrey", 0x778899), ("lightsteelblue", 0xb0c4de), ("lightyellow", 0xffffe0), ("lime", 0x00ff00),
    ("limegreen", 0x32cd32), ("linen", 0xfaf0e6), ("magenta", 0xff00ff), ("maroon", 0x800000),
    ("mediumaquamarine", 0x66cdaa), ("mediumblue", 0x0000cd), ("mediumorchid", 0xba55d3), ("mediumpurple", 0x9370db),
    ("mediumseagreen", 0x3cb371), ("mediumslateblue", 0x7b68ee), ("mediumspringgreen", 0x00fa9a),
    ("mediumturquoise", 0x48d1cc), ("mediumvioletred", 0xc71585), ("midnightblue", 0x191970), ("mintcream", 0xf5fffa),
    ("mistyrose", 0xffe4e1), ("moccasin", 0xffe4b5), ("navajowhite", 0xffdead), ("navy", 0x000080),
    ("oldlace", 0xfdf5e6), ("olive", 0x808000), ("olivedrab", 0x6b8e23), ("orange", 0xffa500),
    ("orangered", 0xff4500), ("orchid", 0xda70d6), ("palegoldenrod", 0xeee8aa), ("palegreen", 0x98fb98),
    ("paleturquoise", 0xafeeee), ("palevioletred", 0xdb7093), ("papayawhip", 0xffefd5), ("peachpuff", 0xffdab9),
    ("peru", 0xcd853f), ("pink", 0xffc0cb), ("plum", 0xdda0dd), ("powderblue", 0xb0e0e6), ("purple", 0x800080),
    ("red", 0xff0000), ("rosybrown", 0xbc8f8f), ("royalblue", 0x4169e1), ("saddlebrown", 0x8b4513),
    ("salmon", 0xfa8072), ("sandybrown", 0xf4a460), ("seagreen", 0x2e8b57), ("seashell", 0xfff5ee),
    ("sienna", 0xa0522d), ("silver", 0xc0c0c0), ("skyblue", 0x87ceeb), ("slateblue", 0x6a5acd),
    ("slategray", 0x708090), ("slategrey", 0x708090), ("snow", 0xfffafa), ("springgreen", 0x00ff7f),
    ("steelblue", 0x4682b4), ("tan", 0xd2b48c), ("teal", 0x008080), ("thistle", 0xd8bfd8), ("tomato", 0xff6347),
    ("turquoise", 0x40e0d0), ("violet", 0xee82ee), ("wheat", 0xf5deb3), ("white", 0xffffff), ("whitesmoke", 0xf5f5f5),
    ("yellow", 0xffff00), ("yellowgreen", 0x9acd32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, expected) in [
            ("red", Colour::Rgb(255, 0, 0)),
            (" White ", Colour::WHITE),
            ("#fff", Colour::WHITE),
            ("#FFFF", Colour::WHITE),
            ("#12345678", Colour::Rgb(0x12, 0x34, 0x56)),
            ("#1", Colour::Rgb(0x11, 0, 0)),
            ("#", Colour::Empty),
            ("ffffff", Colour::Invalid),
            ("", Colour::Invalid),
            ("#ggg", Colour::Invalid),
            ("rgb(255, 0,16)", Colour::Rgb(255, 0, 16)),
            ("rgb(100%,0%,50%)", Colour::Rgb(255, 0, 127)),
            ("rgb(1,2)", Colour::Invalid),
            ("windowtext", Colour::Invalid),
        ] {
            assert_eq!(Colour::parse(value), expected, "{value}");
        }
        assert_eq!(Colour::from_css_rgb("rgba(0, 300,7, 0.5)"), Colour::Rgb(0, 255, 7));
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn contrast() {
        for (one, other, close) in [
            (Colour::BLACK, Colour::WHITE, false),
            (Colour::WHITE, Colour::Rgb(250, 250, 250), true),
            (Colour::BLACK, Colour::Rgb(0, 0, 160), true),
            (Colour::BLACK, Colour::Rgb(0, 0, 170), false),
            (Colour::Invalid, Colour::Invalid, true),
            (Colour::Invalid, Colour::BLACK, false),
        ] {
            assert_eq!(one.is_close_to(other), close, "{one:?} {other:?}");
        }
    }
}
