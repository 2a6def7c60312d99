//! Mail addresses in running text, as FreeMail looks for them.
//!
//! *Does:* finds what looks like `local-part@domain` where the domain ends with a known top-level domain, and takes out what
//! only quotes an address: one in `<>`, one before a word and a colon ("ann@a.example wrote:"), one inside a URI.
//! *Guarantees:* linear time: it looks at most [`LOCAL_PART_OCTETS_MAX`] back from each `@`, and at [`LABELS_MAX`] labels
//! behind it.

use std::collections::HashSet;
use std::ops::Range;

use memchr::{memchr, memmem};

/// The longest local-part.
pub const LOCAL_PART_OCTETS_MAX: usize = 64;
/// The most labels before the top-level domain.
pub const LABELS_MAX: usize = 4;
/// The longest of them.
const LABEL_OCTETS_MAX: usize = 61;
/// How far a URI is looked at before and behind its `@`.
const URI_OCTETS_MAX: usize = 255;
/// The most blanks between an address and the word behind it.
const BLANKS_MAX: usize = 10;

/// The top-level domains that there are, in lower case ASCII.
#[derive(Debug, Clone, Default)]
pub struct TopLevelDomains(HashSet<Box<[u8]>>);

impl TopLevelDomains {
    /// These: the words of `util_rb_tld`.
    pub fn from_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        TopLevelDomains(words.into_iter().map(|word| word.to_ascii_lowercase().into_bytes().into()).collect())
    }

    /// These names.
    pub fn of<'n>(names: impl Iterator<Item = &'n Box<[u8]>>) -> Self {
        TopLevelDomains(names.map(|name| name.to_ascii_lowercase().into()).collect())
    }

    fn has(&self, label: &[u8]) -> bool {
        label.len() <= LABEL_OCTETS_MAX && self.0.contains(&*label.to_ascii_lowercase())
    }
}

/// The addresses in a text, first to last, none twice over the same octets.
pub fn find<'t>(text: &'t [u8], known: &'t TopLevelDomains) -> impl Iterator<Item = Range<usize>> + 't {
    let mut from = 0;
    let mut ats = memchr::memchr_iter(b'@', text);
    std::iter::from_fn(move || {
        loop {
            let at = ats.next()?;
            let Some(start) = starts(text, from, at).last() else { continue };
            if let Some(end) = domain_end(text, at, known) {
                from = end;
                return Some(start..end);
            }
        }
    })
}

/// The text without what only quotes addresses, or none if it is the same.
pub fn without_quoted(text: &[u8], known: &TopLevelDomains) -> Option<Vec<u8>> {
    let bare = without_uris(text);
    let quoted = without_quoted_addresses(bare.as_deref().unwrap_or(text), known);
    quoted.or(bare)
}

/// Where the local-part before this `@` may begin, the nearest first.
fn starts(text: &[u8], from: usize, at: usize) -> impl Iterator<Item = usize> + '_ {
    let lowest = at.saturating_sub(LOCAL_PART_OCTETS_MAX).max(from);
    let mut right = at;
    std::iter::from_fn(move || {
        let before = text.get(..right)?;
        let run = before.iter().rev().take_while(|octet| is_local(**octet)).take(LOCAL_PART_OCTETS_MAX + 1).count();
        let start = right.checked_sub(run).filter(|start| run > 0 && *start >= lowest)?;
        // On to what stands before a dot, if any.
        let dot = start.checked_sub(1).filter(|dot| text.get(*dot) == Some(&b'.'));
        right = dot.unwrap_or(0);
        Some(start)
    })
}

fn is_local(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&octet)
}

/// Where the domain behind this `@` ends, if it is one.
fn domain_end(text: &[u8], at: usize, known: &TopLevelDomains) -> Option<usize> {
    let mut from = at.checked_add(1)?;
    for labels in 0..=LABELS_MAX {
        let rest = text.get(from..)?;
        let length = rest.iter().take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'-').count();
        let (label, rest) = rest.split_at_checked(length)?;
        let goes_on = matches!(rest, [b'.', next, ..] if next.is_ascii_alphanumeric());
        if !goes_on {
            return (labels > 0 && known.has(label)).then_some(from + length);
        }
        let ends = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
        if length > LABEL_OCTETS_MAX || !ends(label.first()) || !ends(label.last()) {
            return None;
        }
        from += length + 1;
    }
    None
}

/// `https://user@host` and its like become a blank.
fn without_uris(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = 0;
    for colon in memmem::find_iter(text, b"://") {
        let Some(start) = scheme_start(text, colon).filter(|start| *start >= from) else { continue };
        let Some(end) = uri_end(text, colon + 3) else { continue };
        out.extend_from_slice(text.get(from..start)?);
        out.push(b' ');
        from = end;
    }
    (from > 0).then(|| [&out, text.get(from..).unwrap_or_default()].concat())
}

/// Where `<https` before this colon begins.
fn scheme_start(text: &[u8], colon: usize) -> Option<usize> {
    let before = text.get(..colon)?;
    let ends = |word: &[u8]| {
        before
            .get(colon.checked_sub(word.len())?..)
            .is_some_and(|end| end.eq_ignore_ascii_case(word))
            .then_some(word.len())
    };
    let start = colon.checked_sub(ends(b"https").or_else(|| ends(b"http"))?)?;
    let bracket = start.checked_sub(1).filter(|at| text.get(*at) == Some(&b'<'));
    Some(bracket.unwrap_or(start))
}

/// Where a URI with an `@` in it ends.
fn uri_end(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let solid = |octets: &[u8]| octets.iter().take(URI_OCTETS_MAX).take_while(|octet| !is_space(**octet)).count();
    let seen = rest.get(..rest.len().min(solid(rest) + 3))?;
    let at = (0..=solid(rest)).rev().find_map(|at| {
        let here = seen.get(at..)?;
        let length = if here.first() == Some(&b'@') { 1 } else { 3 };
        (length == 1 || here.starts_with(b"%40")).then_some(at + length)
    })?;
    Some(from + at + solid(rest.get(at..)?))
}

/// `<ann@a.example>` and `ann@a.example wrote:` become a blank.
fn without_quoted_addresses(text: &[u8], known: &TopLevelDomains) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'@', text) {
        let allowed = |start: &usize| !before(text, *start, 7).eq_ignore_ascii_case(b"mailto:");
        let Some(start) = starts(text, from, at).filter(allowed).last() else { continue };
        let end = domain_end(text, at, known).and_then(|end| Some(end + quote_octets(text.get(end..)?)?));
        let Some(end) = end else { continue };
        let bracket = start.checked_sub(1).filter(|at| *at >= from && text.get(*at) == Some(&b'<'));
        out.extend_from_slice(text.get(from..bracket.unwrap_or(start))?);
        out.push(b' ');
        from = end;
    }
    (from > 0).then(|| [&out, text.get(from..).unwrap_or_default()].concat())
}

/// The last so many octets before a place.
fn before(text: &[u8], at: usize, octets: usize) -> &[u8] {
    at.checked_sub(octets).and_then(|from| text.get(from..at)).unwrap_or_default()
}

/// How many octets behind an address tell that it is only quoted: `>`, or blanks, a word and a colon. A telephone number or
/// a further address may follow an address that is meant.
fn quote_octets(rest: &[u8]) -> Option<usize> {
    if rest.first() == Some(&b'>') {
        return Some(1);
    }
    let blanks = rest.iter().take_while(|octet| is_space(**octet)).count();
    let word = rest.get(blanks..).filter(|_| (1..=BLANKS_MAX).contains(&blanks))?;
    let letters = memchr(b':', word.get(..12).unwrap_or(word))?;
    let (word, _) = word.split_at_checked(letters)?;
    let contact = [&b"fax"[..], b"facsi", b"tel", b"phone", b"email", b"mail"];
    let meant = contact.iter().any(|start| word.get(..start.len()).is_some_and(|w| w.eq_ignore_ascii_case(start)));
    (letters >= 2 && word.iter().all(u8::is_ascii_alphabetic) && !meant).then_some(blanks + letters + 1)
}

/// Perl's `\s`.
pub fn is_space(octet: u8) -> bool {
    octet == b' ' || (b'\t'..=b'\r').contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let known = TopLevelDomains::from_words(["com", "example", "uk"]);
        let text = without_quoted(text.as_bytes(), &known).unwrap_or(text.into());
        find(&text, &known).map(|at| String::from_utf8_lossy(&text[at]).into_owned()).collect()
    }

    #[test]
    fn addresses_are_found() {
        let long = "a".repeat(65) + "@b.com";
        for (text, expected) in [
            ("write to ann.b+c@a.example.", &["ann.b+c@a.example"][..]),
            ("..ann@a.com", &["ann@a.com"]),
            ("x..ann@a.com", &["ann@a.com"]),
            ("ann.@a.com", &[]),
            ("@a.com", &[]),
            ("ann@com", &[]),
            ("ann@a.b.c.d.com", &["ann@a.b.c.d.com"]),
            ("ann@a.b.c.d.e.com", &[]),
            ("ann@a.com.", &["ann@a.com"]),
            ("ann@a.com-", &[]),
            ("ann@a.comm", &[]),
            ("ann@-a.com", &[]),
            ("ann@a.COM_x", &["ann@a.COM"]),
            ("a@b.com@c.com", &["a@b.com"]),
            ("a@b.com, c@d.uk", &["a@b.com", "c@d.uk"]),
            (&long, &[]),
            ("<ann@a.com>", &[]),
            ("ann@a.com wrote: bob@b.com", &["bob@b.com"]),
            ("ann@a.com  Fax: 1", &["ann@a.com"]),
            ("ann@a.com E-Mail: 1", &["ann@a.com"]),
            ("mailto:ann@a.com>", &["ann@a.com"]),
            ("mailto:ann.b@a.com> x", &[]),
            ("see <https://ann@a.com/x?y> now", &[]),
            ("see http://a.com/%40bob@b.com/ and eve@e.com", &["eve@e.com"]),
            ("see http://a.com/ bob@b.com", &["bob@b.com"]),
            ("http://http://x ann@a.com", &["ann@a.com"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn hostile_texts_are_bounded() {
        let began = std::time::Instant::now();
        for part in ["@", "a@", "a.", "http://", "http://@", "<a@b.com>", "a@b.com ", "a@a.a.a.a.a", "a.a@a.com x:"] {
            found(&part.repeat(100_000));
        }
        assert!(began.elapsed() < std::time::Duration::from_millis(1500), "{:?}", began.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r"[a@.:/< >%40htpscomail-]{0,80}") {
            found(&text);
        }
    }
}
