//! Where registries end: which top-level domains there are, and what part of a host its owner registered.
//!
//! *Does:* knows the domains that rule files list (`util_rb_tld`, `util_rb_2tld`, `util_rb_3tld`).
//! *Guarantees:* linear in the host. *Never does:* look anything up.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::address::Domain;

/// The longest host, in octets (RFC 1035 section 2.3.4).
const HOST_OCTETS_MAX: usize = 253;
/// The longest label, in octets.
const LABEL_OCTETS_MAX: usize = 63;

/// The lists. All names are kept as A-labels in lower case.
#[derive(Debug, Default)]
pub struct Boundaries {
    top: HashSet<Box<str>>,
    two: HashSet<Box<str>>,
    three: HashSet<Box<str>>,
}

impl Boundaries {
    /// Adds the values of a `util_rb_tld`, `util_rb_2tld` or `util_rb_3tld` directive; whether it knows the directive.
    pub fn add(&mut self, directive: &str, values: &str) -> bool {
        let list = match directive {
            "util_rb_tld" => &mut self.top,
            "util_rb_2tld" => &mut self.two,
            "util_rb_3tld" => &mut self.three,
            _ => return false,
        };
        list.extend(values.split_ascii_whitespace().map(|name| to_ascii(name.as_bytes()).into()));
        true
    }

    /// Forgets all, as `clear_util_rb` does.
    pub fn clear(&mut self) {
        *self = Boundaries::default();
    }

    /// A domain whose last label is a known top-level domain, and not the only one. The host is in lower case.
    pub fn has_known_end(&self, host: &str) -> bool {
        let known = host.rsplit_once('.').is_some_and(|(_, top)| self.top.contains(top));
        known && !host.contains(|c: char| c.is_ascii_whitespace() || c == '\x0b')
    }

    /// A top-level domain, in any case.
    pub fn is_top(&self, label: &[u8]) -> bool {
        let label = std::str::from_utf8(label).unwrap_or_default();
        self.top.contains(label) || self.top.contains(label.to_ascii_lowercase().as_str())
    }

    /// The part of a host that was registered: `example.co.uk` of `www.example.co.uk`. The host is in lower case.
    pub fn registered<'a>(&self, host: &'a str) -> &'a str {
        let host = host.trim_matches('.');
        // No registry lies deeper than four labels.
        let last_labels =
            |dots: usize| host.rmatch_indices('.').nth(dots).and_then(|(at, _)| host.get(at + 1..)).unwrap_or(host);
        let (mut before, mut rest) = (last_labels(4), last_labels(3));
        while let Some((_, after)) = rest.split_once('.') {
            if self.is_registry(rest) {
                return before;
            }
            (before, rest) = (rest, after);
        }
        before
    }

    /// A domain of two labels and more below which others register.
    fn is_registry(&self, domain: &str) -> bool {
        let labels: Vec<&str> = domain.split('.').collect();
        match labels.as_slice() {
            [_, _] => self.two.contains(domain),
            [_, state, "us"] => US_STATES.binary_search(state).is_ok(),
            [_, _, _] => self.three.contains(domain),
            [first, second, state, "us"] => {
                let is_public = (*first, *second) == ("pvt", "k12") || matches!(*first, "ci" | "co");
                is_public && US_STATES.binary_search(state).is_ok()
            }
            _ => false,
        }
    }

    /// The host of a URI, and what of it was registered; none if it has no host that can be.
    pub fn of_uri(&self, uri: &[u8]) -> Option<(String, String)> {
        let uri = uri.to_ascii_lowercase();
        let host = to_ascii(uri_host(&uri)?);
        if is_address(&host) {
            return Some((host.clone(), host));
        }
        let registered =
            Some(&host).filter(|host| is_host(host) && self.has_known_end(host)).map(|host| self.registered(host));
        registered.map(|domain| (host.clone(), domain.to_owned()))
    }
}

/// States of the U.S., where registries lie deeper (RFC 1480). In order.
const US_STATES: &[&str] = &[
    "ak", "al", "ar", "az", "ca", "co", "ct", "dc", "de", "fl", "ga", "gu", "hi", "ia", "id", "il", "in", "ks", "ky",
    "la", "ma", "md", "me", "mi", "mn", "mo", "ms", "mt", "nc", "nd", "ne", "nh", "nj", "nm", "nv", "ny", "oh", "ok",
    "or", "pa", "pr", "ri", "sc", "sd", "tn", "tx", "ut", "va", "vi", "vt", "wa", "wi", "wv", "wy",
];

/// An IPv4 or IPv6 address, bare.
pub fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix("ipv6:").unwrap_or(host);
    host.parse::<Ipv4Addr>().is_ok() || bare.contains(':') && bare.parse::<IpAddr>().is_ok()
}

/// A host of two labels and more (RFC 1123), underscores allowed before the last two. It is in lower case.
pub fn is_host(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let mut labels = host.rsplit('.');
    let is_label = |label: &str, underscore: bool| {
        let allowed = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_' && underscore;
        let ends = label.bytes().next().is_some_and(allowed) && label.bytes().next_back().is_some_and(allowed);
        ends && label.len() <= LABEL_OCTETS_MAX && label.bytes().all(|octet| allowed(octet) || octet == b'-')
    };
    let last = [labels.next(), labels.next()];
    host.len() <= HOST_OCTETS_MAX
        && last.into_iter().all(|label| label.is_some_and(|label| is_label(label, false)))
        && labels.all(|label| is_label(label, true))
}

/// A host as A-labels in lower case. What is no domain stays as it is, in lower case.
pub fn to_ascii(host: &[u8]) -> String {
    let text = String::from_utf8_lossy(host);
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    Domain::from_unicode(&text).map_or_else(|_| text.to_ascii_lowercase(), |domain| domain.as_str().to_owned())
}

/// Where the host stands in a URI in lower case; none in those that have none, or hide it behind needless `%`.
fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    if [&b"javascript:"[..], b"cid:", b"file:"].iter().any(|scheme| uri.starts_with(scheme)) {
        return None;
    }
    let host = match uri.strip_prefix(b"mailto:") {
        Some(mailbox) => {
            let mailbox = before(mailbox, b"?");
            let at = memchr::memrchr(b'@', mailbox)?;
            let (local_part, _) = mailbox.split_at_checked(at)?;
            if memchr::memchr(b'@', local_part).is_some() {
                return None;
            }
            mailbox.get(at + 1..)?
        }
        None => {
            let scheme = uri.iter().take_while(|octet| octet.is_ascii_lowercase()).count();
            let has_scheme = scheme > 0 && uri.get(scheme) == Some(&b':');
            let rest = if has_scheme { uri.get(scheme + 1..)? } else { uri };
            let slashes = if has_scheme { rest.iter().take(2).take_while(|octet| **octet == b'/').count() } else { 0 };
            let authority = before(rest.get(slashes..)?, b"/?#");
            let host = memchr::memrchr(b'@', authority).map_or(Some(authority), |at| authority.get(at + 1..))?;
            let digits = host.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
            let (front, _) = host.split_at_checked(host.len() - digits)?;
            front.strip_suffix(b":").unwrap_or(host)
        }
    };
    let hidden = |escape: &[u8]| {
        matches!(escape, [b'%', b'2', b'1'..=b'9' | b'a'..=b'f']
        | [b'%', b'3'..=b'6', b'0'..=b'9' | b'a'..=b'f'] | [b'%', b'7', b'0'..=b'9' | b'a'..=b'e'])
    };
    (!host.windows(3).any(hidden)).then_some(host)
}

/// What stands before the first of the marks.
pub fn before<'a>(text: &'a [u8], marks: &[u8]) -> &'a [u8] {
    let end = text.iter().position(|octet| marks.contains(octet)).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries() -> Boundaries {
        let mut boundaries = Boundaries::default();
        assert!(boundaries.add("util_rb_tld", "com uk us xn--p1ai\tde"));
        assert!(boundaries.add("util_rb_2tld", "co.uk"));
        assert!(boundaries.add("util_rb_3tld", "demon.co.uk"));
        assert!(!boundaries.add("util_rb", "x"));
        boundaries
    }

    #[test]
    fn hosts_have_owners() {
        for (host, expected) in [
            ("www.example.com", "example.com"),
            ("example.com", "example.com"),
            ("com", "com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("x.y.demon.co.uk", "y.demon.co.uk"),
            ("a.b.ca.us", "a.b.ca.us"),
            ("x.a.b.ca.us", "a.b.ca.us"),
            ("www.ci.town.ca.us", "www.ci.town.ca.us"),
            ("a.b.zz.us", "zz.us"),
            (".a.example.com.", "example.com"),
            ("a.b.c.d.e.f.example.com", "example.com"),
            ("d.pvt.k12.ca.us", "d.pvt.k12.ca.us"),
            ("b.c.d.pvt.k12.ca.us", "d.pvt.k12.ca.us"),
        ] {
            assert_eq!(boundaries().registered(host), expected, "{host}");
        }
    }

    #[test]
    fn uris_have_hosts() {
        for (uri, expected) in [
            ("http://WWW.example.com:80/x", Some(("www.example.com", "example.com"))),
            ("http://u@v:p@a.example.com?x@y.de", Some(("a.example.com", "example.com"))),
            ("https:example.com#x", Some(("example.com", "example.com"))),
            ("http://192.0.2.1/", Some(("192.0.2.1", "192.0.2.1"))),
            ("http://192.0.2.01/", None),
            ("http://xn--e1afmkfd.xn--p1ai/", Some(("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"))),
            ("mailto:a@b.example.com?subject=c@d.de", Some(("b.example.com", "example.com"))),
            ("mailto:a@b@example.com", None),
            ("javascript:a.com", None),
            ("http://ex%61mple.com/", None),
            ("http://a_b.example.com/", Some(("a_b.example.com", "example.com"))),
            ("http://a_b.com/", None),
            ("http://example.nowhere/", None),
            ("http://-a.com/", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, domain)| (host.to_owned(), domain.to_owned()));

            assert_eq!(boundaries().of_uri(uri.as_bytes()), expected, "{uri}");
        }
        assert!(is_address("2001:db8::1") && is_address("ipv6:::1") && !is_address("1.2.3") && !is_address("a:b"));
        assert!(boundaries().is_top(b"COM") && !boundaries().is_top(b"\xff"));
    }

    proptest::proptest! {
        #[test]
        fn no_uri_panics(uri in proptest::collection::vec(proptest::sample::select(b"htp:/@.%2a?#c\xe9\xc3\xa9-_".to_vec()), 0..40)) {
            boundaries().of_uri(&uri);
        }
    }
}
