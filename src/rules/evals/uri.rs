//! Evals over URIs, and lists of hosts that they ask.
//!
//! *Guarantees:* linear in the URIs. *Never does:* I/O.

use std::collections::HashMap;

use crate::rules::views::html::Html;
use crate::rules::views::uri::domain::{Boundaries, is_address, to_ascii};
use crate::rules::views::uri::{Uri, Uris};

/// How many redirections within one URI are looked at.
const REDIRECTIONS_MAX: usize = 16;
/// How many of a host's last labels are looked up.
const LABELS_MAX: usize = 11;

/// An eval over URIs with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UriEval {
    /// `check_https_http_mismatch(min, max)`: a link's text names another domain with https, among so many links.
    HttpsMismatch(usize, Option<usize>),
    /// `check_https_ip_mismatch()`: a link to an address has a text with https.
    HttpsAddressMismatch,
    /// `check_for_http_redirector()`: a URI carries another of another domain.
    Redirector,
    /// `check_uri_truncated()`: a URI was too long.
    Truncated,
    /// `check_uri_host_listed(list)`, `check_uri_host_in_blocklist()` and its like.
    HostListed(Box<str>),
}

/// What URI evals look at.
pub struct UriContext<'a> {
    /// All HTML parts.
    pub html: &'a [&'a Html],
    /// All URIs.
    pub uris: &'a Uris,
    /// Which domains there are.
    pub boundaries: &'a Boundaries,
    /// The lists of hosts.
    pub lists: &'a HostLists,
}

impl UriEval {
    /// Reads an eval by name; none if there is none of this name, or its arguments are none that we know.
    pub fn parse(name: &str, arguments: &[&str]) -> Option<Self> {
        let number = |at: usize| arguments.get(at).map(|text| text.trim().parse::<usize>());
        Some(match name {
            "check_https_http_mismatch" => {
                let min = number(0).unwrap_or(Ok(1)).ok()?.max(1);
                UriEval::HttpsMismatch(min, number(1).transpose().ok()?)
            }
            "check_https_ip_mismatch" => UriEval::HttpsAddressMismatch,
            "check_for_http_redirector" => UriEval::Redirector,
            "check_uri_truncated" => UriEval::Truncated,
            "check_uri_host_listed" => UriEval::HostListed((*arguments.first()?).into()),
            "check_uri_host_in_blocklist" | "check_uri_host_in_blacklist" => UriEval::HostListed("BLOCK".into()),
            "check_uri_host_in_welcomelist" | "check_uri_host_in_whitelist" => UriEval::HostListed("WELCOME".into()),
            _ => return None,
        })
    }

    /// Whether it holds.
    pub fn check(&self, context: &UriContext<'_>) -> bool {
        match self {
            UriEval::HttpsMismatch(min, max) => {
                context.html.iter().any(|html| https_mismatch(html, *min, *max, context.boundaries))
            }
            UriEval::HttpsAddressMismatch => context.html.iter().any(|html| https_address_mismatch(html)),
            UriEval::Redirector => context.uris.list().iter().any(|uri| redirects(uri, context.boundaries)),
            UriEval::Truncated => context.uris.truncated,
            UriEval::HostListed(list) => context.lists.has(list, context.uris),
        }
    }
}

/// Lists of hosts by name (`enlist_uri_host` and its like).
#[derive(Debug, Default)]
pub struct HostLists(HashMap<Box<str>, HashMap<Box<str>, bool>>);

impl HostLists {
    /// What was read of rule files.
    pub fn of(read: &HashMap<Box<str>, HashMap<Box<[u8]>, bool>>) -> Self {
        let mut lists = HostLists::default();
        for (name, hosts) in read {
            let hosts = hosts.iter().map(|(host, listed)| (String::from_utf8_lossy(host).into(), *listed));
            lists.0.insert(name.clone(), hosts.collect());
        }
        lists
    }

    /// Whether a host of the URIs, mailboxes aside, is on a list: itself, or the closest domain above it that is there.
    pub fn has(&self, list: &str, uris: &Uris) -> bool {
        let Some(entries) = self.0.get(list).filter(|entries| !entries.is_empty()) else { return false };
        let is_mail = |uri: &Uri| uri.raw.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"mailto:"));
        let mut hosts = uris.details().filter(|uri| !is_mail(uri)).flat_map(|uri| &uri.hosts);
        hosts.any(|(host, _)| verdict(entries, host).unwrap_or(false))
    }
}

fn verdict(entries: &HashMap<Box<str>, bool>, host: &str) -> Option<bool> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return entries.get(address).copied();
    }
    if is_address(host) {
        return entries.get(host).copied();
    }
    let starts = std::iter::once(0).chain(host.match_indices('.').map(|(at, _)| at + 1));
    let skipped = starts.clone().count().saturating_sub(LABELS_MAX);
    starts.skip(skipped).find_map(|start| entries.get(host.get(start..)?).copied())
}

/// The host of an http or https URI at the front, and what follows it.
fn http_host<'a>(uri: &'a str, ends: &[char]) -> Option<(&'a str, &'a str)> {
    let rest =
        strip_word(uri, "http").map(|rest| rest.strip_prefix(['s', 'S']).unwrap_or(rest))?.strip_prefix("://")?;
    let end = rest.find(ends).unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|(host, _)| !host.is_empty())
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(word.len())?;
    front.eq_ignore_ascii_case(word).then_some(rest)
}

/// What follows the first word, in any case.
fn behind<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.match_indices(':').find_map(|(colon, _)| {
        let start = (colon + 1).checked_sub(word.find(':')? + 1)?;
        strip_word(text.get(start..)?, word)
    })
}

fn https_mismatch(html: &Html, min: usize, max: Option<usize>, boundaries: &Boundaries) -> bool {
    let (mut hit, mut links) = (false, 0);
    for uri in &html.uris {
        let mut texts = html.anchor_texts(uri).peekable();
        let host = http_host(&uri.uri, &['/', ':', '?', '#']).map(|(host, _)| host);
        let Some(host) = host.filter(|host| texts.peek().is_some() && !is_address(host)) else { continue };
        let host = to_ascii(host.as_bytes());
        let domain = boundaries.registered(&host);
        if boundaries.of_uri(domain.as_bytes()).is_none_or(|(_, domain)| !boundaries.has_known_end(&domain)) {
            continue;
        }
        links += 1;
        hit |= texts.any(|text| https_domain(text, boundaries).is_some_and(|named| named != domain));
    }
    hit && links >= min && max.is_none_or(|max| links < max)
}

/// The registered domain, or the address, of the first https URI in a text.
fn https_domain(text: &str, boundaries: &Boundaries) -> Option<String> {
    let mut rest = text;
    loop {
        rest = behind(rest, "https://")?;
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | '?' | '#')).unwrap_or(rest.len());
        let host = rest.get(..end)?;
        if host.is_empty() {
            continue;
        }
        if is_address(host) {
            return Some(host.to_owned());
        }
        let host = to_ascii(host.as_bytes());
        let domain = boundaries.registered(&host);
        return boundaries.has_known_end(domain).then(|| domain.to_owned());
    }
}

fn https_address_mismatch(html: &Html) -> bool {
    let mut links = html.uris.iter().filter(|uri| names_address(&uri.uri, true));
    links.any(|uri| html.anchor_texts(uri).any(|text| !names_address(text, false) && behind(text, "https:").is_some()))
}

/// `https://192.0.2.1` at the front, perhaps with a user; http counts too if it may.
fn names_address(text: &str, with_http: bool) -> bool {
    let https = strip_word(text, "https:");
    let Some(rest) = https.or_else(|| strip_word(text, "http:").filter(|_| with_http)) else { return false };
    let rest = rest.trim_start_matches('/');
    let behind_user = rest.find(['@', '/']).filter(|at| *at > 0).and_then(|at| rest.get(at..)?.strip_prefix('@'));
    is_dotted_quad(rest) || behind_user.is_some_and(is_dotted_quad)
}

fn is_dotted_quad(text: &str) -> bool {
    let mut parts = text.splitn(4, '.');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
    parts.by_ref().take(3).filter(|part| digits(part)).count() == 3
        && parts.next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()))
}

/// Within a URI stands another one of another domain.
fn redirects(uri: &[u8], boundaries: &Boundaries) -> bool {
    let uri = String::from_utf8_lossy(uri);
    let mut rest: &str = &uri;
    let domain = |host: &str| boundaries.of_uri(host.as_bytes()).map_or_else(|| host.to_owned(), |(_, domain)| domain);
    for _ in 0..REDIRECTIONS_MAX {
        let ends = ['/', ':', '?'];
        let Some((host, after)) = http_host(rest, &ends) else { return false };
        let Some((target, target_host)) = after.get(1..).and_then(embedded) else { return false };
        if domain(host) != domain(target_host) {
            return true;
        }
        rest = target;
    }
    false
}

/// The first URI with a host within a text, and the host.
fn embedded(text: &str) -> Option<(&str, &str)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let before = text.get(..colon)?;
        let start = ["https", "http"].iter().find_map(|scheme| {
            let start = before.len().checked_sub(scheme.len())?;
            before.get(start..)?.eq_ignore_ascii_case(scheme).then_some(start)
        })?;
        let rest = text.get(colon + 1..)?;
        let host = rest.strip_prefix("//").or_else(|| rest.strip_prefix('/')).unwrap_or(rest);
        let end = host.find(['/', ':', '?']).unwrap_or(host.len());
        Some((text.get(start..)?, host.get(..end).filter(|host| !host.is_empty())?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::views::uri::UriOptions;

    fn check(name: &str, arguments: &[&str], html: &str) -> Option<bool> {
        let mut boundaries = Boundaries::default();
        boundaries.add("util_rb_tld", "example com");
        let hosts =
            |hosts: &[(&str, bool)]| hosts.iter().map(|(host, listed)| (host.as_bytes().into(), *listed)).collect();
        let lists = HostLists::of(&HashMap::from([
            ("L".into(), hosts(&[("a.example", true), ("good.a.example", false), ("192.0.2.1", true)])),
            ("BLOCK".into(), hosts(&[("b.com", true)])),
        ]));
        let html = Html::parse(html, 10_000);
        let html = [&html];
        let uris = Uris::find([], html, &UriOptions { boundaries: &boundaries, redirector: &|_| None });
        let context = UriContext { html: &html, uris: &uris, boundaries: &boundaries, lists: &lists };
        UriEval::parse(name, arguments).map(|eval| eval.check(&context))
    }

    #[test]
    fn links_that_name_others() {
        let other = "<a href=http://www.a.example/>https://b.example/</a>";
        for (arguments, html, expected) in [
            (&["1", "10"][..], other, true),
            (&[], "<a href=http://www.a.example/>see HTTPS://x.a.example:1</a>", false),
            (&[], "<a href=http://www.a.example/>http://b.example/</a>", false),
            (&[], "<a href=http://192.0.2.1/>https://b.example/</a>", false),
            (&[], "<a href=http://www.a.nowhere/>https://b.example/</a>", false),
            (&[], "<a href=http://www.a.example/>https://b.nowhere/</a>", false),
            (&["2"], other, false),
            (&["1", "1"], other, false),
        ] {
            assert_eq!(check("check_https_http_mismatch", arguments, html), Some(expected), "{html}");
        }
        for (html, expected) in [
            ("<a href=http://192.0.2.1/>https://b.example/</a>", true),
            ("<a href=http://u@192.0.2.1/>x https: y</a>", true),
            ("<a href=http://192.0.2.1/>https://192.0.2.1</a>", false),
            ("<a href=http://a.example/>https://b.example</a>", false),
            ("<a href=http://192.0.2.1/>http://b.example</a>", false),
        ] {
            assert_eq!(check("check_https_ip_mismatch", &[], html), Some(expected), "{html}");
        }
        assert_eq!(check("check_https_http_mismatch", &["x"], ""), None);
    }

    #[test]
    fn listed_hosts_and_redirectors() {
        for (name, arguments, uri, expected) in [
            ("check_uri_host_listed", &["L"][..], "http://www.A.example/", true),
            ("check_uri_host_listed", &["L"], "http://x.good.a.example/", false),
            ("check_uri_host_listed", &["L"], "http://192.0.2.1/", true),
            ("check_uri_host_listed", &["L"], "http://gone.com/", false),
            ("check_uri_host_listed", &["L"], "mailto:x@a.example", false),
            ("check_uri_host_in_blocklist", &[], "http://b.com/", true),
            ("check_uri_host_in_welcomelist", &[], "http://b.com/", false),
            ("check_for_http_redirector", &[], "http://a.example/?http://b.com/", true),
            ("check_for_http_redirector", &[], "http://a.example/?https:/www.a.example/", false),
            ("check_for_http_redirector", &[], "http://a.example/?http://w.a.example/?http:b.com", true),
            ("check_uri_truncated", &[], "http://a.example/", false),
        ] {
            assert_eq!(check(name, arguments, &format!("<a href='{uri}'>")), Some(expected), "{name} {uri}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_uri_panics(text in r"(https?://?|[/@.:?0-9a é~=!m])\PC{0,30}") {
            for name in ["check_https_http_mismatch", "check_https_ip_mismatch", "check_for_http_redirector"] {
                check(name, &[], &format!("<a href='{text}'>{text}</a>"));
            }
        }
    }
}
