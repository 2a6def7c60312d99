//! The syntax of SPF records, as strict as RFC 7208 section 4.6 has it: "a syntax error anywhere in the record" is
//! permerror. The library is lenient (it takes `ip4:300.1.1.1`, and mechanisms that nobody defined).
//!
//! *Never does:* evaluate anything.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Terms of one record that are looked at.
const TERMS_MAX: usize = 256;

/// Is this an SPF record (RFC 7208 section 4.5)? `v=spf10` is not.
pub(super) fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(6) {
        Some((version, rest)) => version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' ')),
        None => false,
    }
}

/// The includes of a valid record whose qualifier is not `+` (RFC 7208 section 4.6.2), as far as no macro is in them.
pub(super) fn qualified_includes(record: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(record).unwrap_or_default();
    let mechanisms = text.split(' ').filter_map(|term| term.strip_prefix(['-', '?', '~'])?.split_once(':'));
    let includes = mechanisms.filter(|(name, _)| name.eq_ignore_ascii_case("include"));
    includes.map(|(_, target)| target).filter(|target| !target.contains('%')).collect()
}

/// The names that a record refers to by `include:` and `redirect=`, as far as no macro is in them. None: the record is
/// not valid.
pub(super) fn references(record: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(record).ok().filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)))?;
    let (mut names, mut redirects, mut explanations) = (Vec::new(), 0, 0);
    let terms = text.split(' ').skip(1).filter(|term| !term.is_empty());
    for (count, term) in terms.enumerate() {
        if count >= TERMS_MAX {
            return None;
        }
        let name = match term.split_once('=').filter(|(name, _)| is_modifier_name(name)) {
            Some((modifier, value)) => {
                redirects += usize::from(modifier.eq_ignore_ascii_case("redirect"));
                explanations += usize::from(modifier.eq_ignore_ascii_case("exp"));
                modifier_target(modifier, value)?
            }
            None => mechanism_target(term)?,
        };
        names.extend(name.filter(|name| !name.contains('%')));
    }
    // RFC 7208 section 6: each may appear once.
    (redirects <= 1 && explanations <= 1).then_some(names)
}

/// `name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )`
fn is_modifier_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Outer None: not valid. Inner: the name to look up.
fn modifier_target<'r>(name: &str, value: &'r str) -> Option<Option<&'r str>> {
    let is_redirect = name.eq_ignore_ascii_case("redirect");
    if is_redirect || name.eq_ignore_ascii_case("exp") {
        return is_domain_spec(value).then_some(is_redirect.then_some(value));
    }
    // An unknown modifier is a macro-string and ignored (RFC 7208 section 6).
    is_macro_string(value).then_some(None)
}

/// Outer None: not valid. Inner: the name to look up.
fn mechanism_target(term: &str) -> Option<Option<&str>> {
    let term = term.strip_prefix(['+', '-', '?', '~']).unwrap_or(term);
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    let argument = rest.strip_prefix(':');
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty().then_some(None),
        "include" => argument.filter(|spec| is_domain_spec(spec)).map(Some),
        "exists" => argument.filter(|spec| is_domain_spec(spec)).map(|_| None),
        "ptr" => (rest.is_empty() || argument.is_some_and(is_domain_spec)).then_some(None),
        "a" | "mx" => is_domain_and_prefixes(argument, rest).then_some(None),
        "ip4" => is_network::<Ipv4Addr>(argument?, 32).then_some(None),
        "ip6" => is_network::<Ipv6Addr>(argument?, 128).then_some(None),
        _ => None,
    }
}

/// `[ ":" domain-spec ] [ "/" ip4-cidr ] [ "//" ip6-cidr ]`: of `a` and `mx`.
fn is_domain_and_prefixes(argument: Option<&str>, rest: &str) -> bool {
    let text = argument.unwrap_or(rest);
    // A slash may stand in a macro's delimiters: the prefixes begin at the first one behind the last brace.
    let from = text.rfind('}').map_or(0, |brace| brace + 1);
    let (spec, prefixes) = match text[from..].find('/') {
        Some(slash) => text.split_at(from + slash),
        None => (text, ""),
    };
    let (four, six) = match prefixes.split_once("//") {
        Some((four, six)) => (four, Some(six)),
        None => (prefixes, None),
    };
    let four_valid = four.is_empty() || four.strip_prefix('/').is_some_and(|bits| is_prefix(bits, 32));
    let six_valid = six.is_none_or(|bits| is_prefix(bits, 128));
    let spec_valid = if argument.is_some() { is_domain_spec(spec) } else { spec.is_empty() };
    four_valid && six_valid && spec_valid
}

fn is_network<A: std::str::FromStr>(text: &str, bits_max: u32) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    address.parse::<A>().is_ok() && bits.is_none_or(|bits| is_prefix(bits, bits_max))
}

/// A decimal without leading zeros.
fn is_prefix(text: &str, bits_max: u32) -> bool {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0')) && text.parse().is_ok_and(|bits: u32| bits <= bits_max)
}

fn is_domain_spec(text: &str) -> bool {
    !text.is_empty() && is_macro_string(text)
}

/// RFC 7208 section 7.1: a percent sign begins `%{letter digits r delimiters}`, `%%`, `%_` or `%-`.
fn is_macro_string(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('%') {
        rest = match behind.as_bytes().first() {
            Some(b'%' | b'_' | b'-') => &behind[1..],
            Some(b'{') => match behind[1..].split_once('}') {
                Some((expansion, behind)) if is_expansion(expansion) => behind,
                _ => return false,
            },
            _ => return false,
        };
    }
    true
}

fn is_expansion(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(|c: char| "slodiphcrtvSLODIPHCRTV".contains(c)) else { return false };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix(['r', 'R']).unwrap_or(rest);
    rest.bytes().all(|b| b".-+,/_=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_text() {
        for (text, expected) in
            [("v=spf1", true), ("V=SPF1 -all", true), ("v=spf10 -all", false), ("v=spf", false), ("v=DMARC1", false)]
        {
            assert_eq!(is_record(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn valid_records_name_what_they_refer_to() {
        for (text, expected) in [
            ("v=spf1", &[][..]),
            ("v=spf1 include:a.example ?include:%{d}.example redirect=b.example", &["a.example", "b.example"]),
            ("v=spf1 a a:x.example a/24 a//64 a:x/24//64 mx mx:y/0 ptr ptr:z ~all", &[]),
            ("v=spf1  ip4:192.0.2.0/24 IP6:2001:db8::/32 +ip4:192.0.2.1 -ALL", &[]),
            ("v=spf1 exists:%{ir}.%{v}._spf.%{d2} exp=e.%{o} x-unknown=%{s}%_%% -all", &[]),
            ("v=spf1 a:%{d1r/}.x/24 moo.cow=1 -all", &[]),
        ] {
            assert_eq!(references(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn includes_with_a_qualifier_are_found() {
        let record = b"v=spf1 include:a ?include:b +include:c -INCLUDE:d ~include:%{d} ?a:e -all";
        assert_eq!(qualified_includes(record), ["b", "d"]);
    }

    #[test]
    fn a_syntax_error_anywhere_spoils_the_record() {
        for text in [
            "v=spf1 ip4:300.1.1.1",
            "v=spf1 ip4:192.0.2.1/33",
            "v=spf1 ip4:192.0.2.1/024",
            "v=spf1 ip4:192.0.2.1/",
            "v=spf1 ip4",
            "v=spf1 ip6:192.0.2.1",
            "v=spf1 ip6:::1/129",
            "v=spf1 all:x",
            "v=spf1 -all moo",
            "v=spf1 include",
            "v=spf1 include:",
            "v=spf1 exists",
            "v=spf1 a: -all",
            "v=spf1 a/ -all",
            "v=spf1 a/33",
            "v=spf1 mx//129",
            "v=spf1 redirect=a redirect=b",
            "v=spf1 exp=a exp=b",
            "v=spf1 redirect=",
            "v=spf1 include:%x",
            "v=spf1 include:%{z}",
            "v=spf1 include:%{d",
            "v=spf1\t-all",
            "v=spf1 \u{fc}",
        ] {
            assert_eq!(references(text.as_bytes()), None, "{text}");
        }
    }
}
