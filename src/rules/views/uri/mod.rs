//! The URIs of a message: what `uri` rules match, and what URI block lists are asked about.
//!
//! *Does:* finds links in the text lines, takes those of HTML parts and the domains of signatures, adds the forms in which
//! clients read them, and their hosts.
//! *Guarantees:* at most [`URIS_MAX`] URIs and about [`FORMS_OCTETS_MAX`] octets of forms; a form has at most
//! [`URI_CHARS_MAX`] octets. Linear in the text.
//! *Never does:* I/O, or order: rules must not depend on it.
//! *Follows* SpamAssassin 4.0.1. Where it has the IDN library only at choice, we always read hosts as IDNA does.

mod canonical;
pub mod domain;
mod scan;

use std::collections::{HashMap, HashSet};

use crate::rules::definition::UriKey;
use crate::rules::views::html::{Html, HtmlUri, URI_CHARS_MAX};

use canonical::Context;
use domain::Boundaries;
use scan::Shape;

/// How many different URIs of a message are kept.
pub const URIS_MAX: usize = 4_096;
/// How much text all forms of all URIs have, in octets, also of those that were no URIs after all; what follows is left out.
pub const FORMS_OCTETS_MAX: usize = 1 << 20;

/// What the finding of URIs depends on, from the rule files.
pub struct UriOptions<'a> {
    /// Which domains there are.
    pub boundaries: &'a Boundaries,
    /// What the first group of a `redirector_pattern` matches in a URI; none if no pattern does.
    pub redirector: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
}

/// The URIs of a message.
#[derive(Debug, Default)]
pub struct Uris {
    details: Vec<Uri>,
    known: HashMap<Vec<u8>, usize>,
    octets: usize,
    /// One of them was too long and was cut.
    pub truncated: bool,
}

/// A URI and what is known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// As found. What the text says without a scheme has one.
    pub raw: Vec<u8>,
    /// It, and the forms in which clients may read it.
    pub cleaned: Vec<Vec<u8>>,
    /// The HTML elements that name it, and `parsed` (seen in the text), `schemeless`, `unlinked`, `domainkeys`.
    pub types: Vec<&'static str>,
    /// The texts of the links to it, none twice in a part.
    pub anchor_texts: Vec<String>,
    /// The hosts of all forms, each with its registered domain.
    pub hosts: Vec<(String, String)>,
}

impl Uri {
    /// What a `uri_detail` condition matches; it holds if it holds for any of these.
    pub fn values(&self, key: UriKey) -> Vec<&[u8]> {
        match key {
            UriKey::Raw => vec![self.raw.as_slice()],
            UriKey::Type => self.types.iter().map(|name| name.as_bytes()).collect(),
            UriKey::Cleaned => self.cleaned.iter().map(Vec::as_slice).collect(),
            UriKey::Text => self.anchor_texts.iter().map(String::as_bytes).collect(),
            UriKey::Domain => self.domains().into_iter().map(str::as_bytes).collect(),
            UriKey::Host => self.hosts.iter().map(|(host, _)| host.as_bytes()).collect(),
        }
    }

    /// The registered domains, none twice.
    pub fn domains(&self) -> Vec<&str> {
        let mut domains: Vec<&str> = self.hosts.iter().map(|(_, domain)| domain.as_str()).collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// It is only a domain that signed the mail: for block lists, not for rules.
    fn is_signature(&self) -> bool {
        self.types.contains(&"domainkeys")
    }
}

impl Uris {
    /// Those of the lines of the text (the Subject among them) and of the HTML parts.
    pub fn find<'l>(
        lines: impl IntoIterator<Item = &'l [u8]>,
        html: impl IntoIterator<Item = &'l Html>,
        options: &UriOptions<'_>,
    ) -> Self {
        let mut uris = Uris::default();
        let mut seen: HashSet<&[u8]> = HashSet::new();
        for line in lines {
            scan::scan(line, options.boundaries, &mut |link, shape| {
                if seen.insert(link)
                    && let Some((uri, types)) = completed(link, shape, options.boundaries)
                {
                    uris.add(&uri, &types, true, options);
                }
            });
        }
        for part in html {
            uris.truncated |= part.uri_truncated;
            part.uris.iter().for_each(|uri| uris.add_html(part, uri, options));
        }
        uris
    }

    /// Adds the domain of a signature (`d=`), for block lists.
    pub fn add_signature_domain(&mut self, domain: &str, options: &UriOptions<'_>) {
        let domain: String = domain.chars().filter(|c| !c.is_whitespace()).collect();
        let raw = format!("domainkeys:{domain}").into_bytes();
        let host = options.boundaries.of_uri(&raw).filter(|_| self.details.len() < URIS_MAX);
        if let Some(host) = host {
            self.merge(&raw, Vec::new(), vec![host], &["domainkeys"]);
        }
    }

    /// All URIs in detail.
    pub fn details(&self) -> impl Iterator<Item = &Uri> {
        self.details.iter()
    }

    /// All strings that `uri` rules match, none twice.
    pub fn list(&self) -> Vec<&[u8]> {
        let mut seen = HashSet::new();
        let all = self.details.iter().filter(|uri| !uri.is_signature()).flat_map(|uri| &uri.cleaned);
        all.map(Vec::as_slice).filter(|form| seen.insert(*form)).collect()
    }

    fn add_html(&mut self, part: &Html, uri: &HtmlUri, options: &UriOptions<'_>) {
        // One that only has a text counts as seen in the text.
        let types: &[&str] = if uri.kinds.is_empty() { &["parsed"] } else { &uri.kinds };
        let Some(detail) = self.add(uri.uri.as_bytes(), types, false, options) else { return };
        let mut seen = HashSet::new();
        let texts = part.anchor_texts(uri).filter(|text| seen.insert(*text));
        detail.anchor_texts.extend(texts.map(str::to_owned));
    }

    /// Adds a URI with all its forms. One of the text must have a host that can exist.
    fn add(&mut self, uri: &[u8], types: &[&'static str], in_text: bool, options: &UriOptions<'_>) -> Option<&mut Uri> {
        if let Some(index) = self.known.get(uri) {
            let detail = self.details.get_mut(*index)?;
            add_new(&mut detail.types, types.iter().copied());
            return Some(detail);
        }
        if self.details.len() >= URIS_MAX || self.octets >= FORMS_OCTETS_MAX {
            return None;
        }
        let UriOptions { boundaries, redirector } = *options;
        let mut cleaned = canonical::forms(uri, &Context { boundaries, redirector, characters: !in_text });
        for form in &mut cleaned {
            self.truncated |= form.len() > URI_CHARS_MAX;
            form.truncate(URI_CHARS_MAX);
        }
        self.octets += cleaned.iter().map(Vec::len).sum::<usize>();
        let mut hosts = Vec::new();
        add_new(&mut hosts, cleaned.iter().filter_map(|form| boundaries.of_uri(form)));
        if in_text && hosts.is_empty() {
            return None;
        }
        self.merge(uri, cleaned, hosts, types)
    }

    fn merge(
        &mut self,
        raw: &[u8],
        cleaned: Vec<Vec<u8>>,
        hosts: Vec<(String, String)>,
        types: &[&'static str],
    ) -> Option<&mut Uri> {
        if let Some(index) = self.known.get(raw) {
            return self.details.get_mut(*index);
        }
        self.known.insert(raw.to_vec(), self.details.len());
        let (raw, types) = (raw.to_vec(), types.to_vec());
        self.details.push(Uri { raw, cleaned, types, anchor_texts: Vec::new(), hosts });
        self.details.last_mut()
    }
}

/// Adds what is not yet there.
fn add_new<T: PartialEq>(list: &mut Vec<T>, items: impl Iterator<Item = T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// A link of the text with a scheme, and its types; none if it is no link after all.
fn completed(link: &[u8], shape: Shape, boundaries: &Boundaries) -> Option<(Vec<u8>, Vec<&'static str>)> {
    let starts = |prefix: &[u8]| link.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix));
    let at = memchr::memchr(b'@', link);
    let word = link.iter().take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'_').count();
    let rest = link.get(word..).and_then(|rest| rest.strip_prefix(b":")).filter(|_| word > 0);
    let empty = rest.is_some_and(|rest| rest.len() <= 2 && rest.iter().all(|octet| *octet == b'/'));
    if shape == Shape::Mailbox && at.is_none() || empty || starts(b"cid:") || starts(b"mid:") {
        return None;
    }
    let mut types = vec!["parsed"];
    let mut uri = link.to_vec();
    if ![&b"http:"[..], b"https:", b"ftp:", b"mailto:"].into_iter().any(starts) {
        types.push("schemeless");
        let (scheme, linked) = scheme(link)?;
        let mailbox = if scheme == "mailto:" { without_label(link) } else { link };
        uri = [scheme.as_bytes(), mailbox].concat();
        if !linked {
            types.push("unlinked");
        }
    }
    let is_mail = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:"));
    if is_mail {
        if canonical::has_escape(&uri) {
            uri = canonical::unescaped(&uri, false);
        }
        let at = memchr::memchr(b'@', &uri)?;
        let mut host = domain::before(uri.get(at + 1..)?, b"?&>");
        while let Some(rest) = host.strip_suffix(b"%20") {
            host = rest;
        }
        if !boundaries.has_known_end(&domain::to_ascii(host)) {
            return None;
        }
    }
    Some((uri, types))
}

/// The scheme that a link without one has, and whether clients make a link of it.
fn scheme(link: &[u8]) -> Option<(&'static str, bool)> {
    let lower: Vec<u8> = link.iter().take(8).map(u8::to_ascii_lowercase).collect();
    let digits = lower.iter().skip(3).take(2).take_while(|octet| octet.is_ascii_digit()).count();
    if lower.starts_with(b"ftp.") {
        return Some(("ftp://", true));
    }
    if lower.starts_with(b"www") && lower.get(3 + digits) == Some(&b'.') {
        return Some(("http://", true));
    }
    let Some(at) = memchr::memchr(b'@', link) else {
        // Only block lists care for these.
        return memchr::memchr(b'.', link).map(|_| ("http://", false));
    };
    let last_at = memchr::memrchr(b'@', link).unwrap_or(at);
    if memchr::memchr(b'/', link).is_some_and(|slash| slash + 1 < last_at) {
        return Some(("http://", true));
    }
    let domain = link.get(at + 2..).unwrap_or_default();
    let is_mailbox = memchr::memchr(b'.', domain).is_some() && memchr::memmem::find(link, b"&nbsp;").is_none();
    is_mailbox.then_some(("mailto:", true))
}

/// Without a label before it: `e-mail:x@y`.
fn without_label(link: &[u8]) -> &[u8] {
    let labels = [&b"skype"[..], b"email", b"e-mail", b"-mail", b"mail", b""];
    let starts = |label: &[u8]| link.get(..label.len()).is_some_and(|front| front.eq_ignore_ascii_case(label));
    let behind = |label: &&[u8]| starts(label).then(|| link.get(label.len()..)).flatten();
    let colons = labels.iter().find_map(|label| behind(label).filter(|rest| rest.starts_with(b":"))).unwrap_or(link);
    let count = colons.iter().take_while(|octet| **octet == b':').count();
    if colons.len() < link.len() || count > 0 { colons.get(count..).unwrap_or(link) } else { link }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lines: &[&str], html: &str) -> Vec<String> {
        let mut boundaries = Boundaries::default();
        boundaries.add("util_rb_tld", "example com");
        let options = UriOptions { boundaries: &boundaries, redirector: &|_| None };
        let html = Html::parse(html, 10_000);
        let mut uris = Uris::find(lines.iter().map(|line| line.as_bytes()), &[html], &options);
        uris.add_signature_domain(" a. example", &options);
        uris.details()
            .map(|uri| [UriKey::Raw, UriKey::Type, UriKey::Text, UriKey::Domain].map(|key| joined(uri, key)).join(" "))
            .collect()
    }

    fn joined(uri: &Uri, key: UriKey) -> String {
        String::from_utf8_lossy(&uri.values(key).join(&b","[..])).into_owned()
    }

    #[test]
    fn uris_are_found() {
        for (line, expected) in [
            ("http://www.a.example/ b.nowhere http://c.nowhere/", &["http://www.a.example/ parsed  a.example"][..]),
            ("www.a.example", &["http://www.a.example parsed,schemeless  a.example"]),
            ("ftp.a.example", &["ftp://ftp.a.example parsed,schemeless  a.example"]),
            ("a.example a.example", &["http://a.example parsed,schemeless,unlinked  a.example"]),
            ("Mail:x@a.example x@a.nowhere", &["mailto:x@a.example parsed,schemeless  a.example"]),
            ("mailto:%41@a.example?b", &["mailto:A@a.example?b parsed  a.example"]),
            ("a/b@c.example", &["http://a/b@c.example parsed,schemeless  a.com"]),
            ("cid:a@b.example http://", &[]),
        ] {
            let mut expected: Vec<String> = expected.iter().map(|uri| (*uri).to_owned()).collect();
            expected.push("domainkeys:a.example domainkeys  a.example".into());
            assert_eq!(find(&[line], ""), expected, "{line}");
        }
        let html =
            "<a href=http://a.example/>x</a><a href='http://a.example/'>x</a><a href=#b>y</a><img src=//www.c.com/>";
        let expected = [
            "http://a.example/ a x a.example",
            "#b a y ",
            "http://www.c.com/ img  c.com",
            "domainkeys:a.example domainkeys  a.example",
        ];
        assert_eq!(find(&[], html), expected);
    }

    #[test]
    fn lists_are_bounded() {
        let boundaries = Boundaries::default();
        let options = UriOptions { boundaries: &boundaries, redirector: &|_| None };
        let html: String = (0..200_000).map(|n| format!("<img src=http://{n}.example/>")).collect();
        let uris = Uris::find([], &[Html::parse(&html, 10), Html::parse("<a href=x.y>", 10)], &options);
        assert_eq!(uris.list().len(), URIS_MAX);
        let long = format!("<img src=http://a.example/{}>", "x".repeat(9_000));
        let uris = Uris::find([], &[Html::parse(&long, 10)], &options);
        assert!(uris.truncated);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(line in r"(mailto:|https?://|www\.|[/@.%0-9a-fx?#&;<>:]|\.com|é|\PC){0,30}") {
            find(&[&line], &format!("<a href='{line}'>"));
        }
    }
}
