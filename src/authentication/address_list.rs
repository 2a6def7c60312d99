//! The address list of a From field (RFC 5322 section 3.4, RFC 6854 for groups): the domain of each address.
//!
//! *Guarantees:* [`domains`] reads by the grammar or not at all. What the grammar allows and mail readers are known to take
//! apart differently is refused too: white space or comments within an address, source routes (all of them obsolete,
//! section 4.4), encoded words within an address (RFC 2047 section 5 forbids them), quoted local-parts that look like
//! an address, and angle brackets in comments. Obsolete and allowed, for nobody is misled: dots in names, empty list elements.
//! *Never does:* recurse; nesting is a counter. Address literals have no domain and are not read.
//! *RFC:* 5322 sections 3.2, 3.4 and 4.4; 6532 for UTF-8.

use crate::address::Domain;

/// What stands between white space and comments.
#[derive(Debug, PartialEq)]
enum Token<'a> {
    /// `atext`, dots, and anything beyond ASCII (RFC 6532 section 3.2).
    Word(&'a str),
    /// What a quoted string has between its quotes, backslashes included.
    Quoted(&'a str),
    /// One of `<>@,;:[]\)`.
    Mark(char),
}

/// A token in its place.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    token: Token<'a>,
    /// No white space, comment or beginning of the field stands before it.
    glued: bool,
}

impl Piece<'_> {
    fn is(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    fn is_word(&self) -> bool {
        matches!(self.token, Token::Word(_) | Token::Quoted(_))
    }
}

/// Takes a field body apart. None: quotes or comments do not match, a comment has angle brackets, or there is a control
/// character outside of them.
pub(super) fn scan(body: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest, mut glued) = (Vec::new(), body, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => comment_octets(rest)?,
            '"' => quoted_octets(rest)?,
            ' ' | '\t' | '\r' | '\n' => 1,
            c if c.is_ascii_control() => return None,
            c if is_mark(c) => 1,
            _ => rest.find(ends_word).unwrap_or(rest.len()),
        };
        let (text, behind) = rest.split_at(length);
        let token = match first {
            '(' if text.contains('<') => return None,
            '(' | ' ' | '\t' | '\r' | '\n' => None,
            '"' => text.get(1..length - 1).map(Token::Quoted),
            c if is_mark(c) => Some(Token::Mark(c)),
            _ => Some(Token::Word(text)),
        };
        let solid = token.is_some();
        pieces.extend(token.map(|token| Piece { token, glued }));
        (rest, glued) = (behind, solid);
    }
    Some(pieces)
}

fn is_mark(c: char) -> bool {
    "<>@,;:[]\\)".contains(c)
}

fn ends_word(c: char) -> bool {
    is_mark(c) || c == '(' || c == '"' || c == ' ' || c.is_ascii_control()
}

/// The length of the comment at the beginning, comments in it included (RFC 5322 section 3.2.2).
fn comment_octets(text: &str) -> Option<usize> {
    let (mut depth, mut octets) = (0_usize, text.bytes().enumerate());
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()?),
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The length of the quoted string at the beginning, with its quotes (RFC 5322 section 3.2.4).
fn quoted_octets(text: &str) -> Option<usize> {
    let mut octets = text.bytes().enumerate().skip(1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()?),
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The domain of each address of a mailbox list or address list. None: it is neither.
pub(super) fn domains(pieces: &[Piece<'_>]) -> Option<Vec<Domain>> {
    let (mut found, mut rest, mut in_group) = (Vec::new(), pieces, false);
    while let Some((first, behind)) = rest.split_first() {
        rest = match group_name(rest) {
            _ if first.is(',') => behind,
            _ if first.is(';') && in_group => {
                in_group = false;
                behind
            }
            Some(behind) if !in_group => {
                in_group = true;
                behind
            }
            _ => {
                let (domain, behind) = mailbox(rest)?;
                found.push(domain);
                behind.first().is_none_or(|next| next.is(',') || next.is(';')).then_some(behind)?
            }
        };
    }
    (!in_group).then_some(found)
}

/// `display-name ":"`: what follows it.
fn group_name<'p, 'a>(pieces: &'p [Piece<'a>]) -> Option<&'p [Piece<'a>]> {
    let words = pieces.iter().take_while(|piece| piece.is_word()).count();
    let (colon, behind) = pieces.get(words..)?.split_first()?;
    (words > 0 && colon.is(':')).then_some(behind)
}

/// `name-addr / addr-spec`: its domain, and what follows it.
fn mailbox<'p, 'a>(pieces: &'p [Piece<'a>]) -> Option<(Domain, &'p [Piece<'a>])> {
    let words = pieces.iter().take_while(|piece| piece.is_word()).count();
    match pieces.get(words..) {
        Some(angle @ [open, ..]) if open.is('<') => angle_address(angle),
        _ => address(pieces),
    }
}

/// `angle-addr`: its domain, and what follows it.
fn angle_address<'p, 'a>(pieces: &'p [Piece<'a>]) -> Option<(Domain, &'p [Piece<'a>])> {
    let (_, inner) = pieces.split_first().filter(|(open, _)| open.is('<'))?;
    let (domain, behind) = address(inner)?;
    let (_, behind) = behind.split_first().filter(|(close, _)| close.is('>'))?;
    Some((domain, behind))
}

/// `addr-spec`, in one piece: its domain, and what follows it.
fn address<'p, 'a>(pieces: &'p [Piece<'a>]) -> Option<(Domain, &'p [Piece<'a>])> {
    let [local_part, at, host, behind @ ..] = pieces else { return None };
    let local_part_is_plain = match local_part.token {
        Token::Word(text) => is_dot_atom(text) && !text.contains("=?"),
        Token::Quoted(text) => !text.contains(['@', '<', '>']),
        Token::Mark(_) => false,
    };
    match host.token {
        Token::Word(text) if local_part_is_plain && at.is('@') && at.glued && host.glued && is_dot_atom(text) => {
            Some((Domain::from_unicode(text).ok()?, behind))
        }
        _ => None,
    }
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty())
}

/// Reads `text <addr-spec>` with a text that needed quotes and has none: every reader takes the angle brackets at the end
/// for the address, unless the text has some of its own. Domains of what looks like an address in the text come first.
pub(super) fn careless_domains(pieces: &[Piece<'_>]) -> Option<Vec<Domain>> {
    let (text, angle) = pieces.split_at(pieces.iter().rposition(|piece| piece.is('<'))?);
    let (author, behind) = angle_address(angle)?;
    let plain = behind.is_empty() && !text.iter().any(|piece| piece.is('<') || piece.is('>'));
    let mut domains = domains_in_text(text)?;
    domains.push(author);
    plain.then_some(domains)
}

/// What stands behind each `@`, if it can be a domain: it has a dot, or no white space is around the `@`. None if one is no
/// legal domain.
fn domains_in_text(text: &[Piece<'_>]) -> Option<Vec<Domain>> {
    let mut domains = Vec::new();
    for (at, _) in text.iter().enumerate().filter(|(_, piece)| piece.is('@')) {
        let (host, in_one_piece) = host_in_text(text.get(at + 1..)?)?;
        let host = host.trim_matches(|c: char| !c.is_alphanumeric());
        if host.contains('.') || in_one_piece && text.get(at)?.glued {
            domains.push(Domain::from_unicode(host).ok()?);
        }
    }
    Some(domains)
}

/// The host behind an `@`, with the parts that some readers join: they pass over white space around dots. And is it
/// glued to the `@`?
fn host_in_text(behind: &[Piece<'_>]) -> Option<(String, bool)> {
    let (Piece { token: Token::Word(first), glued }, rest) = behind.split_first()? else { return None };
    let mut host = (*first).to_owned();
    for piece in rest {
        match piece.token {
            Token::Word(part) if host.ends_with('.') || part.starts_with('.') => host.push_str(part),
            _ => break,
        }
    }
    Some((host, *glued))
}

/// Reads `text <addr-spec>` where quotes or comments do not match in the text: there must be no `@`, `<` or `>` in it.
pub(super) fn domain_behind_unmatched(body: &str) -> Option<Vec<Domain>> {
    let (text, angle) = body.split_at(body.rfind('<')?);
    let pieces = scan(angle)?;
    let (author, behind) = angle_address(&pieces)?;
    (behind.is_empty() && !text.contains(['>', '<', '@'])).then(|| vec![author])
}
