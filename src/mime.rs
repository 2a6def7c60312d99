//! MIME: the parts of a message, and the encodings around their text.
//!
//! *Does:* finds the leaves of a message (RFC 2046 section 5.1, nested messages of section 5.2.1 included), reads
//! Content-Type parameters (RFC 2045 section 5.1), undoes base64 and quoted-printable (section 6), and says what of a message
//! is beyond limits or can be read in two ways ([`Malformed`]).
//! *Guarantees:* time and memory are linear in the octets, whatever they are; nothing recurses, nothing panics. Past
//! [`DEPTH_MAX`], [`PARTS_MAX`] or [`INSPECTED_OCTETS_MAX`] the walk stops and says so: an incomplete view, never a crash.
//! *Never does:* judge. What is malformed is read as leniently as mail readers do, for that is what the recipient sees.
//! *Why not mail-parser:* its nested messages are dropped recursively, and 40,000 of them overflow the stack.

use memchr::{memchr, memchr_iter, memmem};

use crate::message::{self, HEADER_FIELDS_MAX, HEADER_OCTETS_MAX, Message};

/// How deep entities may nest.
pub const DEPTH_MAX: usize = 50;
/// How many entities are looked at.
pub const PARTS_MAX: usize = 1_000;
/// How much of a message's body is looked at, in octets. Each level of nesting reads its octets once more.
pub const INSPECTED_OCTETS_MAX: usize = 4 << 20;
/// How much of a part's own header is looked at, in octets; of a message within the message it is [`HEADER_OCTETS_MAX`].
pub const PART_HEADER_OCTETS_MAX: usize = 16 << 10;

/// A part that contains no other parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its Content-Type, parsed.
    pub content_type: ContentType,
    /// How its octets are encoded.
    pub encoding: Encoding,
    /// The octets as they stand in the message.
    pub octets: &'a [u8],
}

/// Content-Transfer-Encoding (RFC 2045 section 6.1), as far as it changes octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary, and whatever is unknown.
    Identity,
    /// Section 6.7.
    QuotedPrintable,
    /// Section 6.8.
    Base64,
}

/// The leaves of a message, in order.
#[derive(Debug, Default)]
pub struct Leaves<'a> {
    /// In the order in which they stand.
    pub leaves: Vec<Leaf<'a>>,
    /// A limit was reached: there is more that was not looked at.
    pub truncated: bool,
    /// What is wrong with the message.
    pub malformed: Malformed,
}

/// What of a message is beyond limits that no honest one reaches, or is read in one way by some readers and in another by
/// others: what a filter saw of it is then perhaps not what its reader is shown (CVE-2024-28054 and its kin).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Malformed {
    /// Entities nest deeper than [`DEPTH_MAX`].
    pub depth: bool,
    /// There are more than [`PARTS_MAX`] entities.
    pub parts: bool,
    /// A message's header has more octets than [`HEADER_OCTETS_MAX`], or that of a part more than
    /// [`PART_HEADER_OCTETS_MAX`].
    pub header_octets: bool,
    /// The header has more fields than [`HEADER_FIELDS_MAX`].
    pub header_fields: bool,
    /// There is a NUL in the header (RFC 5322 section 2.2).
    pub header_nul: bool,
    /// There are two Content-Type or Content-Transfer-Encoding fields that differ, two boundaries that differ, or one that
    /// does not end or is in pieces (RFC 2231 section 3).
    pub ambiguous: bool,
}

impl Malformed {
    /// Is anything wrong?
    pub fn any(self) -> bool {
        self != Malformed::default()
    }

    fn of_header(message: &Message) -> Self {
        Malformed {
            header_octets: message.header().len() > HEADER_OCTETS_MAX,
            header_fields: message.fields().nth(HEADER_FIELDS_MAX).is_some(),
            header_nul: memchr(0, message.header()).is_some(),
            ..Malformed::default()
        }
    }
}

struct Entity<'a> {
    content_type: ContentType,
    encoding: Encoding,
    octets: &'a [u8],
    depth: usize,
    /// Its fields can be read in two ways.
    ambiguous: bool,
    /// Not all of its header was looked at.
    header_cut: bool,
}

/// What is wrong with the message. Time is bounded like that of [`leaves`].
pub fn malformed(message: &Message) -> Malformed {
    leaves(message).malformed
}

/// Walks the message.
pub fn leaves(message: &Message) -> Leaves<'_> {
    let body = message.body();
    let inspected = &body[..body.len().min(INSPECTED_OCTETS_MAX)];
    let header = cut(message.header(), HEADER_OCTETS_MAX);
    let (truncated, malformed) = (inspected.len() < body.len(), Malformed::of_header(message));
    let mut found = Leaves { truncated, malformed, leaves: Vec::new() };
    let mut waiting = vec![Entity::new(header, inspected, 0, "text/plain")];
    let mut seen = 1;
    while let Some(entity) = waiting.pop() {
        let mut children = if entity.depth < DEPTH_MAX { entity.children(PARTS_MAX - seen) } else { Vec::new() };
        seen += children.len();
        found.malformed.parts |= seen >= PARTS_MAX;
        found.malformed.depth |= entity.depth >= DEPTH_MAX;
        found.malformed.ambiguous |= entity.ambiguous;
        found.malformed.header_octets |= entity.header_cut;
        match children.is_empty() {
            true => found.leaves.push(entity.into_leaf()),
            false => waiting.extend(children.drain(..).rev()),
        }
    }
    found.truncated |= found.malformed.parts || found.malformed.depth;
    found
}

impl<'a> Entity<'a> {
    fn new(header: &[u8], octets: &'a [u8], depth: usize, default_type: &str) -> Self {
        let (content_type, types_differ) = first(header, "content-type", ContentType::parse);
        let (encoding, encodings_differ) = first(header, "content-transfer-encoding", Encoding::parse);
        let content_type = content_type.unwrap_or_else(|| ContentType::parse(default_type.as_bytes()));
        let ambiguous = types_differ || encodings_differ || content_type.has_ambiguous_boundary();
        let encoding = encoding.unwrap_or(Encoding::Identity);
        Entity { content_type, encoding, octets, depth, ambiguous, header_cut: false }
    }

    fn into_leaf(self) -> Leaf<'a> {
        Leaf { content_type: self.content_type, encoding: self.encoding, octets: self.octets }
    }

    /// The entities in this one, at most `max`; none in a leaf.
    fn children(&self, max: usize) -> Vec<Entity<'a>> {
        let kind = self.content_type.kind.as_str();
        if matches!(kind, "message/rfc822" | "message/global") && self.encoding == Encoding::Identity && max > 0 {
            return vec![self.child(self.octets, "text/plain", HEADER_OCTETS_MAX)];
        }
        let default_type = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        let child = |part| self.child(part, default_type, PART_HEADER_OCTETS_MAX);
        match self.content_type.parameter("boundary").filter(|b| kind.starts_with("multipart/") && !b.is_empty()) {
            Some(boundary) => sections(self.octets, boundary, max).map(child).collect(),
            None => Vec::new(),
        }
    }

    fn child(&self, octets: &'a [u8], default_type: &str, header_octets_max: usize) -> Self {
        let (header, body) = split_entity(octets);
        let entity = Entity::new(cut(header, header_octets_max), body, self.depth + 1, default_type);
        Entity { header_cut: header.len() > header_octets_max, ..entity }
    }
}

impl Encoding {
    fn parse(value: &[u8]) -> Self {
        let name = value.split(|b| b";( \t\r\n".contains(b)).find(|word| !word.is_empty()).unwrap_or_default();
        match name {
            name if name.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
            name if name.eq_ignore_ascii_case(b"quoted-printable") => Encoding::QuotedPrintable,
            _ => Encoding::Identity,
        }
    }
}

/// What stands between delimiter lines (RFC 2046 section 5.1.1), without preamble and epilogue. A missing last delimiter is
/// made good by the end.
fn sections<'a>(octets: &'a [u8], boundary: &[u8], max: usize) -> impl Iterator<Item = &'a [u8]> {
    let mut delimiter = b"--".to_vec();
    delimiter.extend_from_slice(boundary);
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    let mut closed = false;
    for at in memmem::find_iter(octets, &delimiter) {
        // First, so that a hit in the middle of a long line costs nothing.
        if at > 0 && octets.get(at - 1) != Some(&b'\n') {
            continue;
        }
        let rest = octets.get(at + delimiter.len()..).unwrap_or_default();
        let line_end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let tail = rest.get(..line_end).unwrap_or_default().trim_ascii();
        if !matches!(tail, b"" | b"--") {
            continue;
        }
        cuts.push((line_start_before(octets, at), at + delimiter.len() + line_end));
        closed = tail == b"--";
        if closed || cuts.len() > max {
            break;
        }
    }
    if !closed && !cuts.is_empty() && cuts.len() <= max {
        cuts.push((octets.len(), octets.len()));
    }
    (1..cuts.len()).map(move |i| octets.get(cuts[i - 1].1..cuts[i].0).unwrap_or_default())
}

/// The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
fn line_start_before(octets: &[u8], at: usize) -> usize {
    let before = octets.get(..at).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// Header and body of an entity: split at the first empty line, or before the first line that is no field.
fn split_entity(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for end in memchr_iter(b'\n', octets).map(|at| at + 1).chain([octets.len()]) {
        let line = octets.get(start..end).unwrap_or_default();
        let (header, rest) = octets.split_at(start);
        match line.first() {
            Some(b' ' | b'\t') if start > 0 && !line.trim_ascii().is_empty() => {}
            _ if line.trim_ascii_end().is_empty() => return (header, rest.get(line.len()..).unwrap_or_default()),
            _ if memchr(b':', line).is_some() => {}
            _ => return (header, rest),
        }
        start = end;
    }
    (octets, &[])
}

/// What the first field of this name says, and whether another one says something else.
fn first<T: PartialEq>(header: &[u8], name: &str, read: fn(&[u8]) -> T) -> (Option<T>, bool) {
    let mut values = message::fields(header).filter(|field| field.is(name)).map(|field| {
        let unfolded: Vec<u8> = field.body.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        read(&unfolded)
    });
    let first = values.next();
    let differs = values.any(|value| Some(&value) != first.as_ref());
    (first, differs)
}

/// A Content-Type field (RFC 2045 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentType {
    /// `type/subtype`, lower-case. What is no such thing is `text/plain` (RFC 2045 section 5.2).
    pub kind: String,
    parameters: Vec<(String, Vec<u8>)>,
    /// A quoted string did not end.
    unterminated: bool,
}

impl ContentType {
    /// Reads a field body. Of parameters that occur twice the first one counts.
    pub fn parse(value: &[u8]) -> Self {
        let end = value.iter().position(|b| b";(".contains(b)).unwrap_or(value.len());
        let (kind, rest) = value.split_at(end);
        let kind: String = kind.trim_ascii().iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
        let legal = kind.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        let kind = if legal { kind } else { "text/plain".to_owned() };
        let (parameters, unterminated) = parameters(rest);
        ContentType { kind, parameters, unterminated }
    }

    /// Do readers find different boundaries here?
    fn has_ambiguous_boundary(&self) -> bool {
        let first = self.parameter("boundary");
        let other = |(name, value): &(String, Vec<u8>)| match name.strip_prefix("boundary") {
            Some("") => Some(value.as_slice()) != first,
            Some(rest) => rest.starts_with('*'),
            None => false,
        };
        self.kind.starts_with("multipart/") && (self.unterminated || self.parameters.iter().any(other))
    }

    /// A parameter's value, by its lower-case name.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }
}

/// `;name=value;name="value"`, comments skipped, and whether a quoted string did not end.
fn parameters(mut rest: &[u8]) -> (Vec<(String, Vec<u8>)>, bool) {
    let (mut found, mut unterminated) = (Vec::new(), false);
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'(' => after.get(memchr(b')', after).map_or(after.len(), |end| end + 1)..).unwrap_or_default(),
            b';' | b' ' | b'\t' => after,
            _ => {
                let end = rest.iter().position(|b| b"=;".contains(b)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                let (value, after) = match after.strip_prefix(b"=") {
                    Some(after) => parameter_value(after.trim_ascii_start()).unwrap_or_else(|value| {
                        unterminated = true;
                        (value, &[])
                    }),
                    None => (Vec::new(), after),
                };
                let name = name.trim_ascii().iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
                found.push((name, value));
                after
            }
        };
    }
    (found, unterminated)
}

/// A token or a quoted string, and what follows it; of a string that does not end, the string.
fn parameter_value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Vec<u8>> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|b| b"; \t(".contains(b)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Ok((value.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut octets = quoted.iter().enumerate();
    while let Some((at, &octet)) = octets.next() {
        match octet {
            b'"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            b'\\' => value.extend(octets.next().map(|(_, octet)| octet)),
            octet => value.push(octet),
        }
    }
    Err(value)
}

impl Leaf<'_> {
    /// The octets with the transfer encoding undone.
    pub fn decoded(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Identity => self.octets.to_vec(),
            Encoding::QuotedPrintable => quoted_printable(self.octets),
            Encoding::Base64 => base64(self.octets),
        }
    }
}

/// Undoes base64 (RFC 2045 section 6.8). What is not in the alphabet is skipped. Some senders join encoded pieces, padding
/// and all: it pads there too, with zeros where everything else is well, else with ones, as SpamAssassin reads it.
pub fn base64(octets: &[u8]) -> Vec<u8> {
    let letters = octets.iter().filter(|b| base64_value(**b).is_some() || **b == b'=').count();
    let foreign = octets.len() - letters - octets.iter().filter(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let end = octets.iter().rposition(|b| base64_value(*b).is_some()).map_or(0, |last| last + 1);
    let padding = if foreign == 0 && letters.is_multiple_of(4) { 0 } else { 63 };
    let mut decoded = Vec::with_capacity(octets.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for &octet in octets.get(..end).unwrap_or_default() {
        let value = match octet {
            b'=' => padding,
            octet => match base64_value(octet) {
                Some(value) => value,
                None => continue,
            },
        };
        bits = (bits << 6 | value) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count & 0xff) as u8);
        }
    }
    decoded
}

fn base64_value(octet: u8) -> Option<u32> {
    Some(u32::from(match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Undoes quoted-printable (RFC 2045 section 6.7). Blanks before a line end are not data (rule 3). A `=` that begins nothing
/// stands for itself. Soft line breaks go first: some senders break a code in two.
pub fn quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((text, after)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
        rest = after.get(1..).unwrap_or_default();
        let (text, line_end): (_, &[u8]) = match text.strip_suffix(b"\r") {
            Some(text) => (text, b"\r\n"),
            None => (text, b"\n"),
        };
        let blanks = text.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let text = text.get(..text.len() - blanks).unwrap_or(text);
        match text.strip_suffix(b"=") {
            Some(text) => joined.extend_from_slice(text),
            None => {
                joined.extend_from_slice(text);
                joined.extend_from_slice(line_end);
            }
        }
    }
    joined.extend_from_slice(rest);
    unquoted(&joined)
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = memchr(b'=', rest).and_then(|at| rest.split_at_checked(at)) {
        decoded.extend_from_slice(before);
        rest = match from {
            [_, high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                after
            }
            _ => {
                decoded.push(b'=');
                from.get(1..).unwrap_or_default()
            }
        };
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |value| value as u8)
}

fn cut(octets: &[u8], octets_max: usize) -> &[u8] {
    octets.get(..octets_max).unwrap_or(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(mail: &str) -> Vec<(String, String)> {
        let message = Message::from_stored(mail.as_bytes());
        let text = |leaf: &Leaf<'_>| String::from_utf8_lossy(&leaf.decoded()).replace("\r\n", "|");
        leaves(&message).leaves.iter().map(|leaf| (leaf.content_type.kind.clone(), text(leaf))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn leaves_in_order() {
        let mail = "Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\n\none\n--a b \n\
                    Content-Type: multipart/alternative;\n boundary=in\n\n--in\nContent-Type: TEXT/HTML\n\n<b>\n--in--\n\
                    --a b\nContent-Type: message/rfc822\n\nSubject: s\n\nnested\n--a b--\nepilogue\n--a b\n\nno\n";
        assert_eq!(walk(mail), pairs(&[("text/plain", "one"), ("text/html", "<b>"), ("text/plain", "nested")]));
    }

    #[test]
    fn what_is_malformed_is_read_leniently() {
        for (mail, expected) in [
            ("\nplain", &[("text/plain", "plain")][..]),
            ("Content-Type: nonsense\n\nx", &[("text/plain", "x")]),
            ("Content-Type: multipart/mixed\n\nx", &[("multipart/mixed", "x")]),
            ("Content-Type: multipart/mixed; boundary=b\n\n--b\nno field\n", &[("text/plain", "no field|")]),
            ("Content-Type: multipart/mixed; boundary=b\n\n--bb\nx\n", &[("multipart/mixed", "--bb|x|")]),
            ("Content-Transfer-Encoding: BASE64 (x)\n\naGVs\nbG8=IQ==", &[("text/plain", "hello\0!")]),
            ("Content-Transfer-Encoding: quoted-printable\n\n=41=\nb=zz= \nc=", &[("text/plain", "Ab=zzc=")]),
        ] {
            assert_eq!(walk(mail), pairs(expected), "{mail:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        let boundary = |parameters: &str| format!("Content-Type: multipart/mixed; {parameters}\n\n--b\n\nx\n--b--\n");
        let part = |header: &str| format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{header}\n\nx\n--b--\n");
        let attached = |octets| format!("Content-Type: message/rfc822\n\nA: {}\n\nx\n", "x".repeat(octets));
        let repeated = |count| "A: 1\n".repeat(count);
        for (mail, same, field) in [
            (boundary("boundary=b; boundary=c"), boundary("boundary=b; boundary=\"b\""), "ambiguous"),
            (boundary("boundary=b; BOUNDARY=c"), boundary("boundary=b; bound=c"), "ambiguous"),
            (boundary("boundary*0=b; boundary*1=c"), boundary("boundary=b; name*0=b; name*1=c"), "ambiguous"),
            (boundary("boundary=\"b"), boundary("boundary=\"b\""), "ambiguous"),
            (part("Content-Type: text/html\ncontent-type: text/plain"), part("Content-Type: text/html"), "ambiguous"),
            (
                "Content-Type: multipart/mixed; boundary=b\nContent-Type: multipart/mixed; boundary=B\n\n--b\n"
                    .to_owned(),
                "Content-Type: multipart/mixed; boundary=b\nContent-Type: MULTIPART/mixed;\n boundary=\"b\"\n\n--b\n"
                    .to_owned(),
                "ambiguous",
            ),
            (
                part("Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit"),
                part("Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: BASE64 "),
                "ambiguous",
            ),
            ("A: \0\n\n".to_owned(), "A: 0\n\n\0".to_owned(), "header_nul"),
            (repeated(HEADER_FIELDS_MAX + 1), repeated(HEADER_FIELDS_MAX), "header_fields"),
            (
                format!("A: {}\n", "x".repeat(HEADER_OCTETS_MAX)),
                format!("\n{}", "x".repeat(HEADER_OCTETS_MAX)),
                "header_octets",
            ),
            (part(&format!("A: {}", "x".repeat(PART_HEADER_OCTETS_MAX))), part("A: x"), "header_octets"),
            (attached(HEADER_OCTETS_MAX), attached(HEADER_OCTETS_MAX / 2), "header_octets"),
            (
                "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX + 1),
                "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX - 1),
                "depth",
            ),
        ] {
            let (shown, found) = (&mail[..mail.len().min(100)], malformed(&Message::from_stored(mail.as_bytes())));
            let expected = Malformed {
                depth: field == "depth",
                parts: field == "parts",
                header_octets: field == "header_octets",
                header_fields: field == "header_fields",
                header_nul: field == "header_nul",
                ambiguous: field == "ambiguous",
            };
            assert_eq!(found, expected, "{shown}");
            assert!(
                !malformed(&Message::from_stored(same.as_bytes())).any(),
                "not {field}: {}",
                &same[..same.len().min(100)]
            );
        }
    }

    #[test]
    fn deep_and_wide_mail_is_cut_in_linear_time() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(40_000);
        let found = Message::new(deep.into_bytes());
        assert!(leaves(&found).truncated);
        let mut wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        wide.extend(b"--b\r\n\r\nx\r\n".repeat(10_000));
        let found = Message::new(wide);
        let found = leaves(&found);
        assert!(
            found.truncated
                && found.malformed.parts
                && found.leaves.len() <= PARTS_MAX
                && found.leaves.len() > PARTS_MAX / 2
        );
        let mut nested = Vec::new();
        for i in 0..10_000 {
            nested.extend(format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n").into_bytes());
        }
        assert!(leaves(&Message::new(nested)).truncated);
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut mail = b"Content-Type: multipart/mixed; boundary=\"\0\"\r\n\r\n".to_vec();
            mail.extend_from_slice(&octets);
            leaves(&Message::new(mail));
            base64(&octets);
            quoted_printable(&octets);
            ContentType::parse(&octets);
        }
    }
}
