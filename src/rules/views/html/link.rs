//! Links in HTML: an attribute's value as a URI (RFC 3986 section 5), with the base it stands under.
//!
//! *Guarantees:* linear; a URI has at most [`URI_CHARS_MAX`] characters. *Follows* SpamAssassin where it follows no RFC: a
//! scheme like the base's is ignored, `//www.` and `//ftp.` get a scheme.

/// The longest URI, in characters; the rest is cut off.
pub const URI_CHARS_MAX: usize = 8_192;

/// Cuts white space around a URI and what is too long; whether something was too long.
pub fn trimmed(uri: &str) -> (&str, bool) {
    let uri = uri.trim();
    match uri.char_indices().nth(URI_CHARS_MAX) {
        Some((end, _)) => (uri.get(..end).unwrap_or(uri), true),
        None => (uri, false),
    }
}

/// The parts of a reference (RFC 3986 appendix B).
#[derive(Debug, Default)]
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

fn parts(uri: &str) -> Parts<'_> {
    let mut parts = Parts::default();
    let mut rest = uri;
    if let Some(end) =
        rest.find([':', '/', '?', '#']).filter(|end| *end > 0 && rest.get(*end..).is_some_and(|r| r.starts_with(':')))
    {
        parts.scheme = rest.get(..end);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    if let Some(authority) = rest.strip_prefix("//") {
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        let (authority, after) = authority.split_at_checked(end).unwrap_or((authority, ""));
        (parts.authority, rest) = (Some(authority), after);
    }
    if let Some((before, fragment)) = rest.split_once('#') {
        // It ends with its line.
        parts.fragment = fragment.split('\n').next();
        rest = before;
    }
    if let Some((before, query)) = rest.split_once('?') {
        parts.query = Some(query);
        rest = before;
    }
    parts.path = rest;
    parts
}

/// Resolves a reference against a base, which may be empty.
pub fn resolve(base: &str, reference: &str) -> String {
    let mut r = parts(reference);
    let base = parts(base);
    if r.scheme.is_some() && r.scheme == base.scheme {
        r.scheme = None;
    }
    let whole = r.scheme.is_some() || r.authority.is_some();
    let path = if whole {
        without_dots(r.path)
    } else if r.path.is_empty() {
        base.path.to_owned()
    } else if r.path.starts_with('/') {
        without_dots(r.path)
    } else {
        without_dots(&merged(&base, r.path))
    };
    let query = if !whole && r.path.is_empty() { r.query.or(base.query) } else { r.query };
    let authority = if whole { r.authority } else { base.authority };
    let mut out = String::with_capacity(reference.len() + 8);
    scheme(&mut out, r.scheme.or(base.scheme), authority);
    for (mark, part) in [("//", authority), ("", Some(path.as_str())), ("?", query), ("#", r.fragment)] {
        if let Some(part) = part {
            out.push_str(mark);
            out.push_str(part);
        }
    }
    out
}

fn scheme(out: &mut String, scheme: Option<&str>, authority: Option<&str>) {
    if let Some(scheme) = scheme {
        out.push_str(scheme);
        out.push(':');
        return;
    }
    let lower: String = authority.unwrap_or_default().chars().take(16).map(|c| c.to_ascii_lowercase()).collect();
    let names = |prefix: &str| {
        lower
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('.'))
    };
    if names("www") {
        out.push_str("http:");
    } else if names("ftp") {
        out.push_str("ftp:");
    }
}

/// A relative path in the folder of the base (RFC 3986 section 5.2.3).
fn merged(base: &Parts<'_>, path: &str) -> String {
    if base.authority.is_some() && base.path.is_empty() {
        return format!("/{path}");
    }
    let folder = base.path.rfind('/').and_then(|at| base.path.get(..=at)).unwrap_or_default();
    format!("{folder}{path}")
}

/// Without `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    if !path.contains("/.") && !path.starts_with('.') {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    for dots in ["../", "./"] {
        if rest.starts_with(dots) {
            rest = rest.get(dots.len() - 1..).unwrap_or_default();
            break;
        }
    }
    while !rest.is_empty() {
        let length = rest.char_indices().skip(1).find(|(_, c)| *c == '/').map_or(rest.len(), |(at, _)| at);
        let (segment, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let after = match segment {
            "/." | "/.." if after.is_empty() => "/",
            _ => after,
        };
        match segment {
            "/." => {}
            "/.." => out.truncate(out.rfind('/').unwrap_or(0)),
            segment => out.push_str(segment),
        }
        rest = after;
    }
    out
}

/// What `<base href>` makes the base of later references: an absolute URI without its file name, if it is one.
pub fn base(uri: &str) -> Option<String> {
    let (scheme, _) = uri.split_once(':')?;
    ["http", "https", "ftp"].iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
    let mut base = uri.to_owned();
    let after = uri.get(scheme.len() + 1..)?;
    let host = after.strip_prefix("//").or_else(|| after.strip_prefix('/')).unwrap_or(after);
    let path_at = host.find('/').filter(|at| *at > 0);
    if let Some((folder, name)) = path_at.and_then(|_| uri.rsplit_once('/'))
        && let Some((stem, extension)) = name.rsplit_once('.')
        && (2..=4).contains(&extension.chars().count())
    {
        let kept = stem.rfind('.').map_or(0, |dot| dot + 1);
        if kept < stem.len() {
            base.truncate(folder.len() + 1 + kept);
        }
    }
    if !base.ends_with('/') {
        base.push('/');
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            ("", "http://a.example/b/../c?d=../e#f", "http://a.example/c?d=../e#f"),
            ("", "a/./b.html", "a/b.html"),
            ("", "//www2.a.example/", "http://www2.a.example/"),
            ("", "//FTP.a.example/", "ftp://FTP.a.example/"),
            ("", "//a.example/", "//a.example/"),
            ("", "../a", "/a"),
            ("", "#x", "#x"),
            ("http://a.example/b/", "c", "http://a.example/b/c"),
            ("http://a.example/b/", "/c/.", "http://a.example/c/"),
            ("http://a.example/b/", "../../c", "http://a.example/c"),
            ("http://a.example/b/", "?q", "http://a.example/b/?q"),
            ("http://a.example/b/", "http:c", "http://a.example/b/c"),
            ("http://a.example/b/", "https:c", "https:c"),
            ("http://a.example", "c", "http://a.example/c"),
            ("", "/..", "/"),
        ] {
            assert_eq!(resolve(base, reference), expected, "{reference} at {base}");
        }
    }

    #[test]
    fn bases() {
        for (uri, expected) in [
            ("http://a.example", Some("http://a.example/")),
            ("HTTP://a.example/b/index.html", Some("HTTP://a.example/b/")),
            ("http://a.example/b.c.htm", Some("http://a.example/b./")),
            ("http://a.example/b", Some("http://a.example/b/")),
            ("http:a.example/b.html", Some("http:a.example/")),
            ("b/c.html", None),
            ("mailto:a@b.example", None),
        ] {
            assert_eq!(base(uri).as_deref(), expected, "{uri}");
        }
        assert_eq!(trimmed("\u{a0} a \n"), ("a", false));
        assert!(trimmed(&"ü".repeat(9_000)).1);
    }

    #[test]
    fn long_paths_are_quick() {
        for unit in ["/..", "/.", "../", "a/../", "//"] {
            resolve("http://a.example/", &unit.repeat(200_000));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_uri_panics(one in r"(http:|[/.?#:a\n-]|é|\PC){0,30}", other in r"(http:|[/.?#:a\n-]|é|\PC){0,30}") {
            resolve(&one, &other);
            base(&one);
        }
    }
}
