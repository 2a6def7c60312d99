//! The faces of a URI: what a browser or mail client may make of it, beside what was written.
//!
//! *Does:* undoes escapes, completes schemes, drops user names and default ports, reads odd forms of IPv4 addresses, follows
//! redirectors that carry their target in themselves.
//! *Guarantees:* at most [`REDIRECTIONS_MAX`] targets are followed; work is linear in the URI for each.
//! *Never does:* I/O. *Follows* SpamAssassin, which reads host names in more ways than any one browser.

use memchr::{memchr, memmem};

use super::domain::{Boundaries, before, to_ascii};

/// How many targets within targets are followed.
pub const REDIRECTIONS_MAX: usize = 16;
/// How many `<` are tried as the start of a mailbox.
const BRACKETS_MAX: usize = 16;

/// What canonical forms depend on.
pub struct Context<'a> {
    /// Which domains there are.
    pub boundaries: &'a Boundaries,
    /// The target in the URI of a redirector (`redirector_pattern`); none if it is no redirector.
    pub redirector: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    /// The octets are UTF-8 of known characters: what is Latin-1 is escaped as such, the rest stays.
    pub characters: bool,
}

/// All forms of a URI, none twice, the written one first but for white space.
pub fn forms(uri: &[u8], context: &Context<'_>) -> Vec<Vec<u8>> {
    let mut todo = vec![uri.to_vec()];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(uri) = todo.get(at) {
        let uri: Vec<u8> = uri.iter().copied().filter(|octet| *octet != b'\n').collect();
        let uri: Vec<u8> = trim(&uri).iter().copied().filter(|octet| *octet != b'\r').collect();
        if let Some(target) = other_forms(&uri, context, &mut found)
            && todo.len() <= REDIRECTIONS_MAX
        {
            todo.push(target);
        }
        if let Some(slot) = todo.get_mut(at) {
            *slot = uri;
        }
        at += 1;
    }
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(todo.len() + found.len());
    for form in todo.into_iter().chain(found) {
        if !all.contains(&form) {
            all.push(form);
        }
    }
    all
}

/// Collects other forms; what it redirects to, if it does.
fn other_forms(uri: &[u8], context: &Context<'_>, found: &mut Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let local = match uri {
        [] | [_] | [b'#' | b'?' | b'&', ..] => true,
        [b'/', second, ..] => *second != b'/',
        _ => false,
    };
    if local {
        return None;
    }
    let opaque_at = before(uri, b":");
    if starts_with(uri, b"mailto:") || memchr(b'@', opaque_at).is_some() {
        mailboxes(uri, found);
        return None;
    }
    let normal = normal(uri, context.characters);
    if normal != uri {
        found.push(normal.clone());
    }
    let authority = Authority::split(&normal)?;
    authority.forms(context, found)
}

/// The forms of a mailbox: without parameters and escaped blanks, and what stands in brackets.
fn mailboxes(uri: &[u8], found: &mut Vec<Vec<u8>>) {
    let at = memchr(b'@', uri).filter(|at| *at > 0);
    let domain = at.and_then(|at| uri.get(at + 1..)).unwrap_or_default();
    let cut = |marks: &[u8], mark: u8| {
        let kept = before(domain, marks);
        let end = uri.len() - domain.len() + kept.len();
        (at.is_some() && !kept.is_empty() && uri.get(end) == Some(&mark))
            .then(|| uri.get(..end).unwrap_or(uri).to_vec())
    };
    found.extend(cut(b"?", b'?'));
    found.extend(cut(b"?&", b'&'));
    if memmem::find(uri, b"%20").is_some() {
        let mut mailbox = uri.strip_prefix(b"mailto:").unwrap_or(uri);
        // One blank stays where nothing else is the local-part.
        while let Some(rest) = mailbox.strip_prefix(b"%20").filter(|rest| rest.first() != Some(&b'@')) {
            mailbox = rest;
        }
        found.extend(mailbox_at_front(mailbox, b"?&%").map(|mailbox| [b"mailto:", mailbox].concat()));
    }
    let brackets = before(uri, b"?&");
    for open in memchr::memrchr_iter(b'<', brackets).take(BRACKETS_MAX) {
        let rest = uri.get(open + 1..).unwrap_or_default();
        let inner = before(rest, b">");
        if inner.len() < rest.len()
            && let Some(mailbox) = mailbox_at_front(inner, b">")
        {
            found.push([b"mailto:", mailbox].concat());
            return;
        }
    }
}

/// `x@y` up to one of the marks, if neither side is empty.
fn mailbox_at_front<'a>(text: &'a [u8], marks: &[u8]) -> Option<&'a [u8]> {
    let at = memchr(b'@', text).filter(|at| *at > 0)?;
    let domain = before(text.get(at + 1..)?, marks);
    text.get(..=at + domain.len()).filter(|_| !domain.is_empty())
}

/// With a scheme, slashes and no escapes, as browsers read it.
fn normal(uri: &[u8], characters: bool) -> Vec<u8> {
    let mut uri: Vec<u8> = uri.iter().map(|octet| if *octet == b'\\' { b'/' } else { *octet }).collect();
    if let Some(length) = http_scheme(&uri) {
        let slashes = uri.iter().skip(length).take(2).take_while(|octet| **octet == b'/').count();
        uri.splice(length..length + slashes, *b"//");
    }
    if has_escape(&uri) {
        uri = unescaped(&uri, characters);
    }
    let scheme = uri.iter().take_while(|o| o.is_ascii_alphanumeric() || matches!(o, b'-' | b'_')).count();
    if scheme == 0 || uri.get(scheme) != Some(&b':') {
        let scheme: &[u8] = if uri.starts_with(b"ftp.") { b"ftp://" } else { b"http://" };
        uri.splice(..0, scheme.iter().copied());
    }
    if let Some(length) =
        http_scheme(&uri).filter(|length| uri.get(*length..).is_some_and(|rest| rest.starts_with(b"//")))
    {
        let authority = before(uri.get(length + 2..).unwrap_or_default(), b"/?#");
        let end = length + 2 + authority.len();
        if !authority.is_empty() && matches!(uri.get(end), Some(b'?' | b'#')) {
            uri.insert(end, b'/');
        }
    }
    if memmem::find(&uri, b"&#").is_some() { without_references(&uri) } else { uri }
}

/// The octets of `http:` or `https:` at the front.
fn http_scheme(uri: &[u8]) -> Option<usize> {
    [&b"http:"[..], b"https:"].into_iter().find(|scheme| starts_with(uri, scheme)).map(<[u8]>::len)
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix))
}

/// Whether there is `%` and two hexadecimal digits.
pub fn has_escape(uri: &[u8]) -> bool {
    uri.windows(3).any(|window| escape(window).is_some())
}

/// The octet that `%xx` at the front stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4) | digit(low)?)
}

/// Escapes of printable ASCII undone, and what should have been escaped escaped (RFC 3986 section 2.1).
pub fn unescaped(uri: &[u8], characters: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len());
    let mut rest = uri;
    while let Some((first, after)) = rest.split_first() {
        if let Some(octet) = escape(rest) {
            let (kept, after) = rest.split_at_checked(3).unwrap_or((rest, &[]));
            out.extend_from_slice(if octet.is_ascii_graphic() { std::slice::from_ref(&octet) } else { kept });
            rest = after;
            continue;
        }
        rest = after;
        match (*first, after) {
            (lead @ (0xc2 | 0xc3), [trail, after @ ..]) if characters => {
                push_escaped(&mut out, ((lead & 1) << 6) | (trail & 0x3f) | 0x80);
                rest = after;
            }
            (0..=b' ' | 0x7f | b'"' | b'%' | b'<' | b'>', _) => push_escaped(&mut out, *first),
            (0x80.., _) if !characters => push_escaped(&mut out, *first),
            _ => out.push(*first),
        }
    }
    out
}

fn push_escaped(out: &mut Vec<u8>, octet: u8) {
    out.extend_from_slice(format!("%{octet:02x}").as_bytes());
}

/// Numeric references to printable ASCII, and to the full stops of other scripts, undone.
fn without_references(uri: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = memmem::find(rest, b"&#") {
        let (front, reference) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(front);
        match reference.get(2..).and_then(numeric_reference) {
            Some((octet, after)) => {
                out.push(octet);
                rest = after;
            }
            None => {
                out.extend_from_slice(b"&#");
                rest = reference.get(2..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The octet of `46;` or `x2e;`, and what follows.
fn numeric_reference(text: &[u8]) -> Option<(u8, &[u8])> {
    let end = memchr(b';', text.get(..text.len().min(40))?)?;
    let number = std::str::from_utf8(text.get(..end)?).ok()?;
    let rest = text.get(end + 1..)?;
    let lower = number.to_ascii_lowercase();
    if matches!(lower.as_str(), "x2e" | "12290" | "x3002" | "65294" | "xff0e" | "65377" | "xff61") {
        return Some((b'.', rest));
    }
    let value = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    u8::try_from(value).ok().filter(u8::is_ascii_graphic).map(|octet| (octet, rest))
}

/// The parts of a URI of http or https.
struct Authority<'a> {
    /// With its `://`.
    scheme: &'a [u8],
    has_user: bool,
    host: &'a [u8],
    /// From the port on.
    rest: &'a [u8],
    port: &'a [u8],
}

impl<'a> Authority<'a> {
    fn split(uri: &'a [u8]) -> Option<Self> {
        let length = http_scheme(uri)? + 2;
        let (scheme, after) = uri.split_at_checked(length).filter(|(scheme, _)| scheme.ends_with(b"//"))?;
        let host_of = |text: &'a [u8]| Some(before(text, b"/?#:")).filter(|host| !host.is_empty());
        let user = memchr(b'@', before(after, b"/?#")).map(|at| at + 1);
        let behind_user = user.and_then(|user| after.get(user..)).filter(|text| host_of(text).is_some());
        let text = behind_user.unwrap_or(after);
        let host = host_of(text)?;
        let rest = text.get(host.len()..)?;
        let port = rest.strip_prefix(b":").unwrap_or_default();
        let digits = port.iter().take_while(|octet| octet.is_ascii_digit()).count();
        Some(Authority { scheme, has_user: behind_user.is_some(), host, rest, port: port.get(..digits)? })
    }

    fn with_host(&self, host: &[u8]) -> Vec<u8> {
        [self.scheme, host, self.rest].concat()
    }

    /// Collects forms; the target, if there is one.
    fn forms(&self, context: &Context<'_>, found: &mut Vec<Vec<u8>>) -> Option<Vec<u8>> {
        let default: &[u8] = if self.scheme == b"http://" { b"80" } else { b"443" };
        let without_port = self.rest.get(1 + self.port.len()..).filter(|after| {
            let word = after.first().is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
            self.port == default && !word
        });
        found.extend(without_port.map(|rest| [self.scheme, self.host, rest].concat()));
        let ascii = to_ascii(self.host);
        let mut host = self.host.to_vec();
        if !self.host.is_ascii() && ascii.is_ascii() {
            found.push(self.with_host(ascii.as_bytes()));
            let rest = without_port.or(Some(self.rest).filter(|_| !self.port.is_empty()));
            found.extend(rest.map(|rest| [self.scheme, ascii.as_bytes(), rest].concat()));
            host = ascii.clone().into_bytes();
        }
        if host.iter().any(|octet| *octet <= b' ') {
            host.retain(|octet| *octet > b' ');
            found.push(self.with_host(&host));
        }
        let target = self.target(&host, context);
        if let Some(at) = memchr(b'@', &host).filter(|at| *at > 0) {
            host.drain(..=at);
            found.push(self.with_host(&host));
        }
        let end = host.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |at| at + 1);
        if end < host.len() {
            host.truncate(end);
            found.push(self.with_host(&host));
        }
        found.extend(self.address_or_word(&host, &ascii, context.boundaries));
        target
    }

    /// What a redirector's URI redirects to.
    fn target(&self, host: &[u8], context: &Context<'_>) -> Option<Vec<u8>> {
        let has_dot = |target: &Vec<u8>| memchr(b'.', target).is_some();
        let known = (context.redirector)(&self.with_host(host)).filter(has_dot);
        known.or_else(|| self.embedded().map(<[u8]>::to_vec).filter(has_dot))
    }

    /// The first URI of http or https within the rest.
    fn embedded(&self) -> Option<&'a [u8]> {
        let starts = memchr::memchr2_iter(b'h', b'H', self.rest);
        starts.filter_map(|at| self.rest.get(at..)).find_map(|target| {
            let scheme = http_scheme(target)?;
            let end = before(target.get(scheme..)?, b"&#").len();
            Some(target.get(..scheme + end)?).filter(|_| end > 0)
        })
    }

    /// An address in odd digits as usual ones, or the domain that a browser makes of a word.
    fn address_or_word(&self, host: &[u8], ascii: &str, boundaries: &Boundaries) -> Option<Vec<u8>> {
        if let Some(address) = odd_address(host) {
            return Some(self.with_host(address.as_bytes()));
        }
        let word = ascii.strip_prefix("www.").filter(|rest| !rest.is_empty()).unwrap_or(ascii);
        let plain = self.scheme == b"http://" && !self.has_user && matches!(self.port, b"" | b"80");
        let completed = plain && ascii != "localhost" && !word.contains('.') && !boundaries.has_known_end(ascii);
        completed.then(|| self.with_host(format!("www.{word}.com").as_bytes()))
    }
}

/// A dotted address in hexadecimal, octal or decimal, or an address in one number, as dotted decimal.
fn odd_address(host: &[u8]) -> Option<String> {
    let host = std::str::from_utf8(host).ok()?.to_ascii_lowercase();
    let is_number = |text: &str| {
        let hexadecimal =
            text.strip_prefix("0x").is_some_and(|d| !d.is_empty() && d.bytes().all(|o| o.is_ascii_hexdigit()));
        hexadecimal || !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
    };
    let parts: Vec<&str> = host.split('.').take(5).collect();
    if !parts.iter().all(|part| is_number(part)) {
        return None;
    }
    match parts.as_slice() {
        [_, _, _, _] => Some(parts.iter().map(|part| decimal_octet(part)).collect::<Vec<_>>().join(".")),
        [number] => Some(match number.strip_prefix("0x") {
            Some(digits) => dotted(u128::from_str_radix(digits.get(digits.len().saturating_sub(8)..)?, 16).ok()?),
            None => dotted(number.parse::<u64>().map_or(u128::from(u64::MAX), u128::from)),
        }),
        _ => None,
    }
}

/// One part of a dotted address. Leading zeros go, and with them all of a zero.
fn decimal_octet(part: &str) -> String {
    let decimal = match part.strip_prefix("0x") {
        Some(digits) => {
            let significant = digits.trim_start_matches('0');
            u64::from_str_radix(if significant.is_empty() { "0" } else { significant }, 16)
                .unwrap_or(u64::MAX)
                .to_string()
        }
        None => part.to_owned(),
    };
    let digits = decimal.trim_start_matches('0');
    let is_octal = digits.len() < decimal.len()
        && digits.bytes().all(|octet| matches!(octet, b'0'..=b'7'))
        && match digits.bytes().next() {
            Some(b'1'..=b'3') => digits.len() <= 3,
            Some(_) => digits.len() <= 2,
            None => false,
        };
    let octal = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
    octal.map_or(digits.to_owned(), |value| value.to_string())
}

/// The first four octets of a number, which has at least four.
fn dotted(number: u128) -> String {
    let mut digits = format!("{number:08x}");
    if digits.len() % 2 == 1 {
        digits.push('0');
    }
    let octet = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    format!("{}.{}.{}.{}", octet(0), octet(2), octet(4), octet(6))
}

/// Without white space at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let is_space = |octet: &u8| matches!(octet, b'\t'..=b'\r' | b' ');
    let start = text.iter().position(|octet| !is_space(octet)).unwrap_or(text.len());
    let end = text.iter().rposition(|octet| !is_space(octet)).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(uri: &str) -> Vec<String> {
        let mut boundaries = Boundaries::default();
        boundaries.add("util_rb_tld", "example com");
        let redirector = |uri: &[u8]| uri.strip_prefix(b"http://r.example/").map(<[u8]>::to_vec);
        let context = Context { boundaries: &boundaries, redirector: &redirector, characters: true };
        forms(uri.as_bytes(), &context).into_iter().map(|form| String::from_utf8_lossy(&form).into_owned()).collect()
    }

    #[test]
    fn uris_have_forms() {
        for (uri, others) in [
            ("http://a.example/", &[][..]),
            ("http:a.example", &["http://a.example"]),
            ("HTTP:\\\\a.example\\b", &["HTTP://a.example/b"]),
            ("a.example?x", &["http://a.example/?x"]),
            ("ftp.a.example", &["ftp://ftp.a.example"]),
            ("#a", &[]),
            ("/a", &[]),
            ("//a.example", &["http:////a.example"]),
            ("http://%61.example/&#97;&#x2e;&#x3002;&#33%20 é", &["http://a.example/a..&#33%20%20%e9"]),
            ("http://u:p@a.example:80/x", &["http://a.example/x"]),
            ("https://a.example:443/x", &["https://a.example/x"]),
            ("http://a.example:8080/", &[]),
            ("http://u@v@a.example/", &["http://a.example/"]),
            ("http://u@@a.example/", &[]),
            ("http://bücher.example:81/", &["http://xn--bcher-kva.example:81/"]),
            ("http://a.example/?u=http:/b.example&c", &["http:/b.example", "http://b.example"]),
            ("http://r.example/a.b", &["a.b", "http://a.b"]),
            ("http://a.example!!/", &["http://a.example/"]),
            ("http://word", &["http://www.word.com"]),
            ("http://www.word/x", &["http://www.word.com/x"]),
            ("http://localhost/", &[]),
            ("http://0x7f.0.010.0300/", &["http://127..8.192/"]),
            ("http://3221225985/", &["http://192.0.2.1/"]),
            ("http://0xc0000201/", &["http://192.0.2.1/"]),
            ("http://123456789012/", &["http://28.190.153.26/"]),
            ("mailto:a@b.example?c&d", &["mailto:a@b.example"]),
            ("mailto:a@b.example&c?d", &["mailto:a@b.example&c", "mailto:a@b.example"]),
            ("mailto:%20a@b.example%20", &["mailto:a@b.example"]),
            ("%20%20@b", &["mailto:%20@b"]),
            ("mailto:\"A\" <a@b.example>", &["mailto:a@b.example"]),
        ] {
            let mut expected = vec![uri.to_owned()];
            expected.extend(others.iter().map(|other| (*other).to_owned()));
            let (mut found, mut expected) = (all(uri), expected);
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
        assert_eq!(all(" \r\nhttp://a.example/b\r\nc "), ["http://a.example/bc"]);
    }

    #[test]
    fn work_is_bounded() {
        let chain = "http://a.example/".repeat(400);
        assert!(all(&chain).len() <= REDIRECTIONS_MAX + 1);
        for unit in ["<", "@", "%41", "&#", "&#x2e;", "http:", ":", "é"] {
            all(&unit.repeat(2_000));
            all(&format!("mailto:{}", unit.repeat(2_000)));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_uri_panics(uri in r"(mailto:|https?:|//|[/@.%0-9a-fx?#&;<>:]|&#|é|\PC){0,30}") {
            all(&uri);
        }
    }
}
