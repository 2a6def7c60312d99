//! A message: the mail data as received, and views of its header section.
//!
//! *Guarantees:* the octets never change; authentication, rules and the ledger's digest all see what came.
//! *Never does:* decide anything. Field names and bodies are octets: real mail has 8-bit header fields.

use memchr::memchr;

/// A header section with more octets is malformed: what stands behind them is looked at by nobody but those who must.
pub const HEADER_OCTETS_MAX: usize = 256 << 10;
/// A header section with more fields is malformed. Real mail has some 30, after a long way 100.
pub const HEADER_FIELDS_MAX: usize = 1_000;

/// Mail data as received: CRLF line ends, dots unstuffed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    octets: Vec<u8>,
    body: usize,
}

/// One header field as it stands (RFC 5322 section 2.2), folding included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without trailing white space and colon.
    pub name: &'a [u8],
    /// What stands behind the colon, line ends and folding included.
    pub body: &'a [u8],
    /// The whole field: name, colon, body.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Is this the field's name (in any case)?
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Message {
    /// Takes mail data. The header section ends at the first empty line (RFC 5322 section 2.1). A line before it that is
    /// no field is passed over, and ends nothing: that is how Dovecot reads stored mail, and a From field that its users
    /// are shown must be one that was judged.
    pub fn new(octets: Vec<u8>) -> Self {
        let body = header_end(&octets);
        Message { octets, body }
    }

    /// A stored message: where its line ends are bare LF they become CRLF.
    pub fn from_stored(octets: &[u8]) -> Self {
        let mut out = Vec::with_capacity(octets.len() + octets.len() / 32);
        let mut last = 0;
        for &octet in octets {
            if octet == b'\n' && last != b'\r' {
                out.push(b'\r');
            }
            out.push(octet);
            last = octet;
        }
        Message::new(out)
    }

    /// All of it.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The header section, without the empty line that ends it.
    pub fn header(&self) -> &[u8] {
        &self.octets[..self.body]
    }

    /// What follows the header section, the empty line that separates them included.
    pub fn separator_and_body(&self) -> &[u8] {
        &self.octets[self.body..]
    }

    /// The body, without the empty line before it.
    pub fn body(&self) -> &[u8] {
        let rest = self.separator_and_body();
        rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest)
    }

    /// The header section, entry by entry, top first: a field with its folding, or a line that is none with what would
    /// be its folding. The entries' octets put together are the header section.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], Option<Field<'_>>)> {
        Entries(self.header())
    }

    /// The header fields in order, top first.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        fields(self.header())
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        self.fields().find(|field| field.is(name))
    }
}

/// The fields of a header section, that of a MIME part perhaps, in order.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    Entries(header).filter_map(|(_, field)| field)
}

/// The offset of the first empty line, or of the end.
fn header_end(octets: &[u8]) -> usize {
    let mut at = 0;
    while let line @ [_, ..] = next_line(&octets[at..]) {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        at += line.len();
    }
    at
}

/// The first line with its line end; empty only at the end of the octets.
fn next_line(octets: &[u8]) -> &[u8] {
    &octets[..memchr(b'\n', octets).map_or(octets.len(), |end| end + 1)]
}

struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Option<Field<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut end = next_line(self.0).len();
        let (raw, name) = (self.0, field_name(&self.0[..end]));
        while let Some(b' ' | b'\t') = self.0.get(end) {
            end += next_line(&self.0[end..]).len();
        }
        self.0 = &raw[end..];
        let raw = &raw[..end];
        let field = name.map(|(name, body)| Field { name, body: &raw[body..], raw });
        (end > 0).then_some((raw, field))
    }
}

/// The name of the field that this line begins, and the offset of its body. White space before the colon is obsolete and
/// still read (RFC 5322 section 4.5).
fn field_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let legal = !name.is_empty() && name.iter().all(|b| (33..127).contains(b));
    legal.then_some((name, colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_folding_and_order() {
        let message = Message::new(b"A: 1\r\n 2\r\nb :3\r\n\r\nbody".to_vec());
        let fields: Vec<_> = message.fields().map(|f| (f.name, f.body)).collect();
        assert_eq!(fields, [(&b"A"[..], &b" 1\r\n 2\r\n"[..]), (b"b", b"3\r\n")]);
        assert_eq!(message.body(), b"body");
    }

    #[test]
    fn a_message_without_header_or_body_is_whole() {
        for (octets, header, body) in [
            (&b""[..], &b""[..], &b""[..]),
            (b"\r\nbody\r\n", b"", b"body\r\n"),
            (b"no field\r\n", b"no field\r\n", b""),
            (b"A: 1\r\n", b"A: 1\r\n", b""),
            (b"A: 1", b"A: 1", b""),
            (b"A: 1\r\nno field\r\nB: 2\r\n\r\n", b"A: 1\r\nno field\r\nB: 2\r\n", b""),
        ] {
            let message = Message::new(octets.to_vec());
            assert_eq!((message.header(), message.body()), (header, body));
        }
    }

    #[test]
    fn a_line_that_is_no_field_hides_none_behind_it() {
        let octets = b" x\r\nFrom y Thu Jan 1\r\n folded\r\nFrom: a@b\r\n\r\nTo: c\r\n";
        let message = Message::new(octets.to_vec());
        let names: Vec<_> = message.fields().map(|field| field.name).collect();
        assert_eq!(names, [b"From"]);
        let entries: Vec<_> = message.entries().map(|(raw, _)| raw).collect();
        assert_eq!(entries, [&b" x\r\n"[..], b"From y Thu Jan 1\r\n folded\r\n", b"From: a@b\r\n"]);
        assert_eq!(entries.concat(), message.header());
    }

    #[test]
    fn stored_messages_get_crlf() {
        assert_eq!(Message::from_stored(b"A: 1\n\nb\r\nc\n").octets(), b"A: 1\r\n\r\nb\r\nc\r\n");
    }
}
