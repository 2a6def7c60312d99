//! A message: the mail data as received, and views of its header section.
//!
//! *Guarantees:* the octets never change; authentication, rules and the ledger's digest all see what came.
//! *Never does:* decide anything. Field names and bodies are octets: real mail has 8-bit header fields.

use memchr::memchr;

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
    /// Takes mail data. The header section ends at the first empty line, or before the first line that is no field and
    /// no continuation (RFC 5322 section 2.1; what follows is body, as Postfix and Dovecot read it).
    pub fn new(octets: Vec<u8>) -> Self {
        let body = Lines(&octets).header_end();
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

    /// The header fields in order, top first.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        Fields(self.header())
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        self.fields().find(|field| field.is(name))
    }
}

struct Lines<'a>(&'a [u8]);

impl Lines<'_> {
    /// The offset at which the header section ends.
    fn header_end(&self) -> usize {
        let mut at = 0;
        while at < self.0.len() {
            let line = next_line(&self.0[at..]);
            let continuation = at > 0 && matches!(line[0], b' ' | b'\t');
            if !continuation && field_name(line).is_none() {
                break;
            }
            at += line.len();
        }
        at
    }
}

/// The first line with its line end; never empty for octets that are not.
fn next_line(octets: &[u8]) -> &[u8] {
    &octets[..memchr(b'\n', octets).map_or(octets.len(), |end| end + 1)]
}

/// The name of the field that this line begins, and the length of what stands before its body.
fn field_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let legal = !name.is_empty() && name.iter().all(|b| (33..127).contains(b));
    legal.then_some((name, colon + 1))
}

struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let mut end = next_line(self.0).len();
        let (name, body) = field_name(&self.0[..end])?;
        while let Some(b' ' | b'\t') = self.0.get(end) {
            end += next_line(&self.0[end..]).len();
        }
        let (raw, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(Field { name, body: &raw[body..], raw })
    }
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
            (b"no field\r\n", b"", b"no field\r\n"),
            (b"A: 1\r\n", b"A: 1\r\n", b""),
            (b"A: 1\r\nno field\r\nB: 2\r\n", b"A: 1\r\n", b"no field\r\nB: 2\r\n"),
            (b" A: 1\r\n", b"", b" A: 1\r\n"),
        ] {
            let message = Message::new(octets.to_vec());
            assert_eq!((message.header(), message.body()), (header, body));
        }
    }

    #[test]
    fn stored_messages_get_crlf() {
        assert_eq!(Message::from_stored(b"A: 1\n\nb\r\nc\n").octets(), b"A: 1\r\n\r\nb\r\nc\r\n");
    }
}
