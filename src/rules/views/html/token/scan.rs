//! Where the parts of HTML end. Offsets are of the whole text.
//!
//! *Guarantees:* linear in what is passed over.

use memchr::{memchr, memmem};

/// White space between the parts of a tag.
pub fn is_space(octet: u8) -> bool {
    matches!(octet, b'\t'..=b'\r' | b' ')
}

/// What a tag name begins with.
pub fn is_name_first(octet: u8) -> bool {
    octet.is_ascii_alphabetic() || matches!(octet, b'_' | b':')
}

/// What names of sections and declarations consist of.
pub fn is_name_octet(octet: u8) -> bool {
    is_name_first(octet) || octet.is_ascii_digit() || matches!(octet, b'-' | b'.')
}

/// What follows `<` in markup.
pub fn begins_markup(octet: u8) -> bool {
    is_name_first(octet) || matches!(octet, b'/' | b'!' | b'?')
}

/// Octets up to white space or `>`.
pub fn name_length(text: &str) -> usize {
    text.bytes().take_while(|octet| !is_space(*octet) && *octet != b'>').count()
}

/// Behind the first mark.
pub fn behind(html: &str, from: usize, mark: &str) -> Option<usize> {
    let found = memmem::find(html.get(from..)?.as_bytes(), mark.as_bytes())?;
    Some(from + found + mark.len())
}

/// Behind the first `-->`; white space may stand before its `>`.
pub fn comment_end(html: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at = behind(html, at, "--")?;
        let rest = html.get(at..)?.as_bytes();
        // Of three dashes and more, the last two count.
        let dashes = rest.iter().take_while(|octet| **octet == b'-').count();
        let spaces = rest.iter().skip(dashes).take_while(|octet| is_space(**octet)).count();
        at += dashes + spaces;
        if rest.get(dashes + spaces) == Some(&b'>') {
            return Some(at + 1);
        }
    }
}

/// The `>` that ends an end tag; one in quotes does not. Quotes begin behind a space or `=`.
pub fn tag_end(html: &str, from: usize) -> Option<usize> {
    let text = html.as_bytes();
    let (mut quote, mut previous) = (None, b' ');
    for (at, octet) in text.iter().copied().enumerate().skip(from) {
        match (octet, quote) {
            (b'>', None) => return Some(at),
            (b'"' | b'\'', Some(open)) if open == octet => quote = None,
            (b'"' | b'\'', None) if matches!(previous, b' ' | b'=') => quote = Some(octet),
            _ => {}
        }
        previous = octet;
    }
    None
}

/// Where the end tag of a literal element begins, and what follows it.
pub fn literal_end(html: &str, from: usize, name: &str) -> Option<(usize, usize)> {
    let text = html.get(from..)?.as_bytes();
    memmem::find_iter(text, b"</").find_map(|found| {
        let rest = text.get(found + 2..)?;
        let (tag, rest) = rest.split_at_checked(name.len())?;
        let spaces = rest.iter().take_while(|octet| is_space(**octet)).count();
        let ends = tag.eq_ignore_ascii_case(name.as_bytes()) && rest.get(spaces) == Some(&b'>');
        ends.then_some((from + found, from + found + 2 + name.len() + spaces + 1))
    })
}

/// Behind the `>` of a declaration, or none if it does not come; or where it turned out to be no declaration.
pub fn declaration_end(html: &str, name: usize) -> Result<Option<usize>, usize> {
    let octet = |at: usize| html.as_bytes().get(at).copied();
    let rest = |at: usize| html.as_bytes().get(at..).unwrap_or_default();
    let length = rest(name).iter().take_while(|octet| is_name_octet(**octet)).count();
    let mut at = name + length;
    let word = html.get(name..at).unwrap_or_default();
    if octet(at).is_none() {
        return Ok(None);
    }
    if !word.eq_ignore_ascii_case("doctype") && !word.eq_ignore_ascii_case("entity") {
        return Err(at);
    }
    loop {
        at += rest(at).iter().take_while(|octet| is_space(**octet)).count();
        let next = match octet(at) {
            None => None,
            Some(b'>') => return Ok(Some(at + 1)),
            Some(quote @ (b'"' | b'\'')) => memchr(quote, rest(at + 1)).map(|length| at + length + 2),
            Some(b'-') if octet(at + 1).is_some_and(|second| second != b'-') => return Err(at + 1),
            Some(b'-') => behind(html, at + 2, "--"),
            Some(_) => Some(at + 1 + rest(at + 1).iter().take_while(|o| !is_space(**o) && **o != b'>').count()),
        };
        match next {
            Some(next) if next < html.len() => at = next,
            _ => return Ok(None),
        }
    }
}
