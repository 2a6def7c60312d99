//! Image evals: how many images a message carries, and how big they are.
//!
//! *Does:* reads the size from the head of GIF, PNG and JPEG.
//! *Guarantees:* linear in the octets of an image. *Never does:* decode one.

use super::html::number;

/// The kinds of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gif,
    Png,
    Jpeg,
}

/// What is known of one image.
#[derive(Debug)]
struct Image {
    kind: Kind,
    name: Option<String>,
    /// Height and width, if it is what it says it is.
    size: Option<(u32, u32)>,
}

/// The images of a message.
#[derive(Debug, Default)]
pub struct Images(Vec<Image>);

impl Images {
    /// Adds a decoded part whose transfer encoding was base64. Parts of other types do not count.
    pub fn add(&mut self, content_type: &str, name: Option<&str>, octets: &[u8]) {
        let (kind, size) = match content_type.to_ascii_lowercase().as_str() {
            "image/gif" => (Kind::Gif, gif_size(octets)),
            "image/png" => (Kind::Png, png_size(octets)),
            "image/jpeg" | "image/jpg" => (Kind::Jpeg, jpeg_size(octets)),
            _ => return,
        };
        let size = size.filter(|(height, width)| *height > 0 && *width > 0);
        self.0.push(Image { kind, name: name.map(str::to_owned), size });
    }

    fn of(&self, kind: Option<Kind>) -> impl Iterator<Item = &Image> {
        self.0.iter().filter(move |image| kind.is_none_or(|kind| kind == image.kind))
    }

    fn area(&self, kind: Option<Kind>) -> f64 {
        self.of(kind).filter_map(|image| image.size).map(|(height, width)| f64::from(height) * f64::from(width)).sum()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|image| image.size.is_some())
            .filter_map(|image| image.name.as_deref())
            .filter(|name| !name.is_empty())
    }
}

fn little(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes(*octets.get(at..)?.first_chunk()?)))
}

fn big(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?)))
}

fn big_long(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}

fn gif_size(octets: &[u8]) -> Option<(u32, u32)> {
    let rest = octets.strip_prefix(b"GIF87a").or_else(|| octets.strip_prefix(b"GIF89a"))?;
    Some((little(rest, 2)?, little(rest, 0)?))
}

fn png_size(octets: &[u8]) -> Option<(u32, u32)> {
    let rest = octets.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    // The header comes first; what does not is looked for in steps, as rules were measured.
    let at =
        rest.chunks(8).take_while(|chunk| !chunk.ends_with(b"IEND")).position(|chunk| chunk == b"\0\0\0\x0dIHDR")?;
    let header = rest.chunks(8).skip(at + 1).take(1).next()?;
    Some((big_long(header, 4)?, big_long(header, 0)?))
}

fn jpeg_size(octets: &[u8]) -> Option<(u32, u32)> {
    let mut rest = octets.strip_prefix(b"\xff\xd8")?;
    loop {
        let [0xff, marker, ..] = rest else { return None };
        let length = usize::try_from(big(rest, 2)?).ok()?;
        match marker {
            0xda | 0xd9 => return None,
            _ if length < 2 => return None,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Some((big(rest, 5)?, big(rest, 7)?)),
            _ => rest = rest.get(2 + length..)?,
        }
    }
}

/// An image eval with its arguments; no kind means all.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageEval {
    /// `image_count(kind, min, max)`.
    Count(ImageKind, f64, Option<f64>),
    /// `pixel_coverage(kind, min, max)`: the area of all.
    Coverage(ImageKind, f64, Option<f64>),
    /// `image_to_text_ratio(kind, min, max)`: octets of text for a pixel, less than the maximum.
    TextRatio(ImageKind, f64, f64),
    /// `image_size_exact(kind, height, width)`.
    SizeExact(ImageKind, f64, f64),
    /// `image_size_range(kind, height min, width min, height max, width max)`.
    SizeRange(ImageKind, [f64; 2], [Option<f64>; 2]),
    /// `image_named(name)`.
    Named(Box<str>),
    /// `image_name_regex(pattern)`.
    NameMatches(Box<str>),
}

/// One kind of images, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageKind(Option<Kind>);

/// What image evals ask beside the images.
pub struct ImageContext<'a> {
    /// The octets of all lines of the text.
    pub text_octets: usize,
    /// Whether a pattern, as written in the rule, matches.
    pub matches: &'a dyn Fn(&str, &[u8]) -> bool,
}

impl ImageEval {
    /// Reads an eval by name; none if there is none of this name, or its arguments are none that we know.
    pub fn parse(name: &str, arguments: &[&str]) -> Option<Self> {
        let text = |at: usize| arguments.get(at).copied();
        let numeric = |at: usize| text(at).and_then(number);
        let kind = || {
            Some(ImageKind(match text(0)? {
                "all" => None,
                "gif" => Some(Kind::Gif),
                "png" => Some(Kind::Png),
                "jpeg" => Some(Kind::Jpeg),
                _ => return None,
            }))
        };
        Some(match name {
            "image_count" => ImageEval::Count(kind()?, numeric(1)?, numeric(2)),
            "pixel_coverage" => ImageEval::Coverage(kind()?, numeric(1)?, numeric(2)),
            "image_to_text_ratio" => ImageEval::TextRatio(kind()?, numeric(1)?, numeric(2)?),
            "image_size_exact" => ImageEval::SizeExact(kind()?, numeric(1)?, numeric(2)?),
            "image_size_range" => ImageEval::SizeRange(kind()?, [numeric(1)?, numeric(2)?], [numeric(3), numeric(4)]),
            "image_named" => ImageEval::Named(text(0)?.into()),
            "image_name_regex" => ImageEval::NameMatches(text(0)?.into()),
            _ => return None,
        })
    }

    /// Whether it holds.
    #[expect(clippy::float_cmp, reason = "sizes are whole numbers")]
    pub fn check(&self, images: &Images, context: &ImageContext<'_>) -> bool {
        let within = |value: f64, min: f64, max: Option<f64>| value >= min && max.is_none_or(|max| value <= max);
        let sizes = |kind: ImageKind| images.of(kind.0).filter_map(|image| image.size);
        let count = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
        match self {
            ImageEval::Count(kind, min, max) => within(count(images.of(kind.0).count()), *min, *max),
            ImageEval::Coverage(kind, min, max) => within(images.area(kind.0), *min, *max),
            ImageEval::TextRatio(kind, min, max) => {
                let (area, text) = (images.area(kind.0), count(context.text_octets));
                area > 0.0 && text > 0.0 && text / area >= *min && text / area < *max
            }
            ImageEval::SizeExact(kind, height, width) => {
                sizes(*kind).any(|(h, w)| f64::from(h) == *height && f64::from(w) == *width)
            }
            ImageEval::SizeRange(kind, [height, width], [height_max, width_max]) => sizes(*kind)
                .any(|(h, w)| within(f64::from(h), *height, *height_max) && within(f64::from(w), *width, *width_max)),
            ImageEval::Named(name) => images.names().any(|known| known == &**name),
            ImageEval::NameMatches(pattern) => images.names().any(|name| (context.matches)(pattern, name.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIF: &[u8] = b"GIF89a\x0a\0\x14\0\0\0\0";
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x0a\0\0\x01\0\x08\0";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x14\0\x0a\x01";

    #[test]
    fn images_are_measured() {
        let mut images = Images::default();
        images.add("image/gif", Some("a.gif"), GIF);
        images.add("Image/PNG", None, PNG);
        images.add("image/jpg", Some(""), JPEG);
        images.add("image/gif", Some("broken.gif"), b"GIF");
        images.add("image/webp", Some("b"), GIF);
        for (name, arguments, expected) in [
            ("image_count", &["all", "4", "4"][..], Some(true)),
            ("image_count", &["gif", "3"], Some(false)),
            ("image_count", &["bmp", "3"], None),
            ("pixel_coverage", &["all", "2960", "2960"], Some(true)),
            ("pixel_coverage", &["gif", "200", "200"], Some(true)),
            ("pixel_coverage", &["jpeg", "201"], Some(false)),
            ("image_size_exact", &["png", "256", "10"], Some(true)),
            ("image_size_exact", &["jpeg", "20", "10"], Some(true)),
            ("image_size_range", &["all", "200", "5", "300", "10"], Some(true)),
            ("image_size_range", &["all", "200", "11"], Some(false)),
            ("image_to_text_ratio", &["gif", "0.1", "0.5"], Some(false)),
            ("image_to_text_ratio", &["gif", "0.5", "0.6"], Some(true)),
            ("image_named", &["a.gif"], Some(true)),
            ("image_named", &["broken.gif"], Some(false)),
            ("image_name_regex", &["a"], Some(true)),
        ] {
            let matches = |pattern: &str, text: &[u8]| String::from_utf8_lossy(text).contains(pattern);
            let context = ImageContext { text_octets: 100, matches: &matches };
            let found = ImageEval::parse(name, arguments).map(|eval| eval.check(&images, &context));
            assert_eq!(found, expected, "{name} {arguments:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_octets_panic(head in 0_usize..3, tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            for image in [GIF, PNG, JPEG] {
                let octets = [image.get(..image.len() - head * 4).unwrap_or_default(), &tail].concat();
                gif_size(&octets);
                png_size(&octets);
                jpeg_size(&octets);
            }
        }
    }
}
