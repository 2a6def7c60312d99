//! URIs, mailboxes and bare domains in plain text, where mail clients make links of them.
//!
//! *Guarantees:* linear in the line: what ends a link is looked for once for all places where one may begin.
//! *Never does:* judge what it found. *Follows* SpamAssassin, which joins the habits of Thunderbird and Outlook.

use memchr::{memchr, memchr3_iter, memrchr};

use super::domain::{Boundaries, is_host};

/// The longest tail of a link, in octets.
const TAIL_OCTETS_MAX: usize = 2_048;
/// The longest local-part and the longest domain, in octets.
const SIDE_OCTETS_MAX: usize = 251;

/// What a link looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `http://`, `www.` and the like.
    Scheme,
    /// A mailbox, perhaps behind `mailto:`.
    Mailbox,
    /// A bare domain, perhaps with port and path.
    Bare,
}

/// Hands each link of a line to the sink, without the punctuation that a sentence put behind it.
pub fn scan<'a>(line: &'a [u8], boundaries: &Boundaries, sink: &mut dyn FnMut(&'a [u8], Shape)) {
    let mut done = 0;
    for trigger in memchr3_iter(b'.', b'@', b':', line) {
        if trigger < done {
            continue;
        }
        let start = line
            .get(done..trigger)
            .unwrap_or_default()
            .iter()
            .rposition(|o| ends_link(*o))
            .map_or(done, |at| done + at + 1);
        let end = line
            .get(trigger..)
            .unwrap_or_default()
            .iter()
            .position(|o| ends_link(*o))
            .map_or(line.len(), |at| trigger + at);
        done = end;
        let word = line.get(start..end).unwrap_or_default();
        if may_link(word) {
            Word { line, end, boundaries, mail_end: 0, mail_stop: 0, host_end: 0, bare_end: None }.scan(start, sink);
        }
    }
}

/// A quick look at a word that has one of `.@:` in it: a full stop at its end makes no link.
fn may_link(word: &[u8]) -> bool {
    let inner = word.iter().rposition(|octet| octet.is_ascii_alphanumeric()).and_then(|last| word.get(..last));
    let inner = inner.unwrap_or_default();
    memchr::memchr2(b'.', b'@', inner).is_some()
        || memchr::memmem::find(word, b"://").is_some()
        || memchr(b'@', word).is_some()
}

/// What no link goes beyond.
fn ends_link(octet: u8) -> bool {
    matches!(octet, b'>' | b'<' | b'"' | b'`' | b'}' | b']' | b'{' | b'[' | b'|' | b'\t'..=b'\r' | b' ' | 0x1b | 0xa0)
}

/// What no mailbox goes beyond.
fn ends_mailbox(octet: u8) -> bool {
    ends_link(octet) || matches!(octet, b',' | b'(' | b'\'' | 0x80..)
}

/// What a link may begin behind.
fn begins_link(octet: u8) -> bool {
    matches!(
        octet,
        b'>' | b'<' | b'"' | b'\'' | b'`' | b',' | b'{' | b'[' | b'(' | b'|' | b'\t'..=b'\r' | b' ' | 0x1b | 0xa0
    )
}

/// What a bare domain may begin behind.
fn begins_bare(octet: u8) -> bool {
    let mark = octet.is_ascii_punctuation() && !matches!(octet, b'%' | b'-' | b'.' | b'_');
    mark || matches!(octet, b'\t'..=b'\r' | b' ' | 0x1b | 0xa0)
}

fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-')
}

/// A run of a line between octets that end links. Ends are remembered: all but one place before an end share it.
struct Word<'a, 'b> {
    line: &'a [u8],
    end: usize,
    boundaries: &'b Boundaries,
    /// Where the next octet stands that ends a mailbox, or is `@`.
    mail_stop: usize,
    /// Where the mailbox ends whose `@` that is.
    mail_end: usize,
    /// Where the host octets end.
    host_end: usize,
    /// Where a bare domain ends that runs up there, and the domain itself.
    bare_end: Option<(usize, usize)>,
}

impl<'a> Word<'a, '_> {
    fn octet(&self, at: usize) -> Option<u8> {
        self.line.get(at).copied()
    }

    fn run(&self, from: usize, ends: impl Fn(u8) -> bool) -> usize {
        let rest = self.line.get(from..self.end).unwrap_or_default();
        rest.iter().position(|octet| ends(*octet)).map_or(self.end, |length| from + length)
    }

    fn scan(mut self, start: usize, sink: &mut dyn FnMut(&'a [u8], Shape)) {
        let mut at = start;
        while at < self.end {
            let found = if self.may_begin(at) { self.link(at) } else { None };
            let Some((end, shape, host)) = found else {
                at += 1;
                continue;
            };
            let host = host.and_then(|host| self.line.get(at..host));
            if let Some(link) = self.line.get(at..end)
                && host
                    .is_none_or(|host| std::str::from_utf8(host).is_ok_and(|host| is_host(&host.to_ascii_lowercase())))
            {
                sink(without_punctuation(link), shape);
            }
            at = end;
        }
    }

    fn may_begin(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.octet(before));
        let here = self.octet(at).is_some_and(is_word);
        let shifted = || at >= 3 && self.line.get(at - 3..at - 1) == Some(b"\x1b(");
        before.is_some_and(is_word) != here || before.is_some_and(begins_link) || shifted()
    }

    /// The link that begins here: its end, and that of its host if it is bare.
    fn link(&mut self, at: usize) -> Option<(usize, Shape, Option<usize>)> {
        let rest = self.line.get(at..self.end)?;
        if let Some(prefix) = scheme_octets(rest)
            && (1..=TAIL_OCTETS_MAX).contains(&rest.len().saturating_sub(prefix))
        {
            return Some((self.end, Shape::Scheme, None));
        }
        if let Some(end) = self.mailto(at, rest).or_else(|| self.mailbox(at)) {
            return Some((end, Shape::Mailbox, None));
        }
        let before = at.checked_sub(1).and_then(|before| self.octet(before));
        if before.is_none_or(begins_bare) && rest.first().is_some_and(u8::is_ascii_alphanumeric) {
            let (end, host) = self.bare(at)?;
            return Some((end, Shape::Bare, Some(host)));
        }
        None
    }

    fn mailto(&self, at: usize, rest: &[u8]) -> Option<usize> {
        const MAILTO: &[u8] = b"mailto:";
        rest.get(..MAILTO.len()).filter(|scheme| scheme.eq_ignore_ascii_case(MAILTO))?;
        let end = self.run(at + MAILTO.len(), ends_mailbox);
        (1..=TAIL_OCTETS_MAX).contains(&(end - at - MAILTO.len())).then_some(end)
    }

    /// `x@y`, both sides neither empty nor too long.
    fn mailbox(&mut self, at: usize) -> Option<usize> {
        if self.mail_stop <= at {
            self.mail_stop = self.run(at, |octet| ends_mailbox(octet) || octet == b'@');
        }
        if self.mail_stop == at || self.octet(self.mail_stop) != Some(b'@') {
            return None;
        }
        if self.mail_end <= self.mail_stop {
            self.mail_end = self.run(self.mail_stop, ends_mailbox);
        }
        let domain = self.mail_end.saturating_sub(self.mail_stop).saturating_sub(1);
        let both = [self.mail_stop.saturating_sub(at), domain];
        both.iter().all(|side| (1..=SIDE_OCTETS_MAX).contains(side)).then_some(self.mail_end)
    }

    /// A bare domain with port and path, and where its host ends.
    fn bare(&mut self, at: usize) -> Option<(usize, usize)> {
        if self.host_end <= at {
            self.host_end = self.run(at, |octet| !is_host_octet(octet));
            self.bare_end = self.bare_tail();
        }
        let (end, host_end) = self.bare_end?;
        let host = self.line.get(at..host_end)?;
        let dot = memrchr(b'.', host).filter(|dot| (1..=SIDE_OCTETS_MAX + 1).contains(dot))?;
        self.boundaries.is_top(host.get(dot + 1..)?).then_some((end, host_end))
    }

    /// What may follow a host up to the end of the word: a full stop, a port, a path.
    fn bare_tail(&self) -> Option<(usize, usize)> {
        let dotted = self.octet(self.host_end.checked_sub(1)?) == Some(b'.');
        let host_end = self.host_end - usize::from(dotted);
        let mut at = self.host_end;
        if self.octet(at) == Some(b':') && at < self.end {
            let digits = self.run(at + 1, |octet| !octet.is_ascii_digit()) - at - 1;
            if !(1..=5).contains(&digits) {
                return None;
            }
            at += 1 + digits;
        }
        let path = self.end - at;
        let is_path = self.octet(at) == Some(b'/') && (2..=TAIL_OCTETS_MAX + 1).contains(&path);
        (path == 0 || is_path).then_some((self.end, host_end))
    }
}

/// How many octets at the front say that a link follows.
fn scheme_octets(text: &[u8]) -> Option<usize> {
    if !matches!(text.first()?.to_ascii_lowercase(), b'h' | b'w' | b'f') {
        return None;
    }
    let starts = |prefix: &[u8]| text.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix));
    let scheme = [&b"http://"[..], b"https://", b"ftp://", b"ftp."].into_iter().find(|scheme| starts(scheme));
    scheme.map(<[u8]>::len).or_else(|| {
        let digits = text.iter().skip(3).take(2).take_while(|octet| octet.is_ascii_digit()).count();
        (starts(b"www") && text.get(3 + digits) == Some(&b'.')).then_some(4 + digits)
    })
}

/// Cut at a `)` that nothing opened, and without what a sentence puts at its end.
fn without_punctuation(link: &[u8]) -> &[u8] {
    let unopened = memchr(b'(', link).map_or(link, |open| link.get(..open).unwrap_or(link));
    let link = memrchr(b')', unopened).and_then(|close| link.get(..close)).unwrap_or(link);
    let is_mark = |octet: &u8| b"-~!@#^&*()_+=:;'?,.".contains(octet);
    let end = link.iter().rposition(|octet| !is_mark(octet)).map_or(0, |last| last + 1);
    link.get(..end).unwrap_or(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &[u8]) -> Vec<String> {
        let mut boundaries = Boundaries::default();
        boundaries.add("util_rb_tld", "example com");
        let mut found = Vec::new();
        scan(line, &boundaries, &mut |link, shape| found.push(format!("{shape:?} {}", String::from_utf8_lossy(link))));
        found
    }

    #[test]
    fn links_in_text() {
        for (line, expected) in [
            ("see http://a.example/b. And", &["Scheme http://a.example/b"][..]),
            ("(http://a.example/b(c))", &["Scheme http://a.example/b(c"]),
            ("(see http://a.example/b).", &["Scheme http://a.example/b"]),
            ("<HTTPS://a.example>", &["Scheme HTTPS://a.example"]),
            ("www.a.b www12.a www123.a ftp.x xwww.a", &["Scheme www.a.b", "Scheme www12.a", "Scheme ftp.x"]),
            ("x@y.example, mailto:z@y", &["Mailbox x@y.example", "Mailbox mailto:z@y"]),
            ("'x@y.example'", &["Mailbox x@y.example"]),
            ("x@@y @z x@", &["Mailbox x@@y"]),
            ("a.example b.nowhere c.COM:25/d e.com: f.com/", &["Bare a.example", "Bare c.COM:25/d"]),
            ("=a.example! -b.com c_d.com e.example. f..com", &["Bare e.example"]),
            ("x,a.example", &["Bare a.example"]),
            ("end of a sentence. And: one", &[]),
            ("a.com:123456 a.com:x", &[]),
            ("{a.com} [b.com] \u{a0}c.com", &["Bare a.com", "Bare b.com", "Bare c.com"]),
        ] {
            assert_eq!(found(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn long_lines_are_quick() {
        for unit in ["a@", "a.", "a@b,", "a'", "http:", "www.", "mailto:", ":", ".com/", "a.com:", "@", "a(b", "(www."]
        {
            found(unit.repeat(200_000).as_bytes());
        }
        assert_eq!(found(&[&[b'a'; 300][..], b"@b.com"].concat()), ["Bare b.com"]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(proptest::sample::select(b"htpw:/@.%2acom?#(),' \xa0\x1b\xc3-_".to_vec()), 0..40)) {
            found(&line);
        }
    }
}
