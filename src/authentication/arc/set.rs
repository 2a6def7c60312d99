//! The sets of a message: three fields each, told apart by their instance, and what stands in them (RFC 8617 sections 4 and
//! 5.2). No cryptography.

use std::ops::Range;

use mail_auth::common::crypto::Algorithm;

use super::{Reason, SETS_MAX};
use crate::address::Domain;
use crate::authentication::dkim::canonical::Canonicalization;
use crate::authentication::dkim::clock;
use crate::authentication::dkim::signature::{
    FIELD_OCTETS_MAX, canonicalization, digits, domain, expiry, is_key_in_dns, signed_names,
};
use crate::authentication::dkim::tags::{TIME_DIGITS_MAX, Tags, base64, number};
use crate::message::{Field, Message};

/// One set.
pub struct Set<'m> {
    /// ARC-Authentication-Results.
    pub results: Field<'m>,
    /// What stands in it behind the instance: the body of an Authentication-Results field.
    pub claims: &'m [u8],
    /// ARC-Message-Signature, and why it cannot verify. That of an older set may be broken (section 5.2, step 5).
    pub message: (Field<'m>, Result<MessageSignature, Reason>),
    /// ARC-Seal.
    pub seal: (Field<'m>, Seal),
}

/// Who signed, and with what.
pub struct Signature {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `d=`.
    pub domain: Domain,
    /// `s=`.
    pub selector: Domain,
    /// `b=`.
    pub octets: Vec<u8>,
    /// Where the value of `b=` stands in the field's body.
    pub range: Range<usize>,
}

/// ARC-Message-Signature (section 4.1.2): DKIM-Signature without `v=`, and `i=` is the instance.
pub struct MessageSignature {
    /// Who signed.
    pub signature: Signature,
    /// `bh=`.
    pub body_hash: Vec<u8>,
    /// `h=`, in lower case.
    pub names: Vec<String>,
    /// `c=`, of the header.
    pub header: Canonicalization,
    /// `c=`, of the body.
    pub body: Canonicalization,
}

/// ARC-Seal (section 4.1.3).
pub struct Seal {
    /// Who sealed.
    pub signature: Signature,
    /// `cv=`: what became of the sets below, says the sealer.
    pub chain: ChainValidation,
}

/// `cv=` (section 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainValidation {
    /// There were no sets.
    None,
    /// They were valid.
    Pass,
    /// They were not.
    Fail,
}

/// The parts of a set, as they are found.
#[derive(Default)]
struct Parts<'m> {
    results: Option<(Field<'m>, &'m [u8])>,
    message: Option<(Field<'m>, Result<MessageSignature, Reason>)>,
    seal: Option<(Field<'m>, Result<Seal, Reason>)>,
}

/// The kinds of fields.
#[derive(Clone, Copy)]
enum Kind {
    Results,
    Message,
    Seal,
}

/// Is this one of ARC's three fields?
pub fn is_arc(field: &Field) -> bool {
    kind(field).is_some()
}

fn kind(field: &Field) -> Option<Kind> {
    match field {
        field if field.is("ARC-Authentication-Results") => Some(Kind::Results),
        field if field.is("ARC-Message-Signature") => Some(Kind::Message),
        field if field.is("ARC-Seal") => Some(Kind::Seal),
        _ => None,
    }
}

/// The sets by their instance, 1 first: all of them whole, none twice, none missing (section 5.2, steps 1 and 3). The error
/// is what makes the chain fail.
pub fn read(message: &Message) -> Result<Vec<Set<'_>>, Reason> {
    let fields = || message.fields().filter_map(|field| Some((kind(&field)?, field)));
    if fields().nth(3 * SETS_MAX).is_some() {
        return Err("there are more than 50 sets");
    }
    let mut found = Vec::<Parts>::new();
    for (kind, field) in fields() {
        place(&mut found, kind, field)?;
    }
    found.into_iter().map(whole).collect()
}

/// Puts a field into its set.
fn place<'m>(found: &mut Vec<Parts<'m>>, kind: Kind, field: Field<'m>) -> Result<(), Reason> {
    if field.raw.len() > FIELD_OCTETS_MAX {
        return Err("a field is too long");
    }
    match kind {
        Kind::Results => {
            let (instance, claims) = claims(field.body).ok_or("ARC-Authentication-Results has no valid instance")?;
            fill(&mut parts(found, instance).results, (field, claims))
        }
        Kind::Message => {
            let tags = Tags::parse(field.body).ok_or("ARC-Message-Signature is no list of tags")?;
            let instance = tagged_instance(&tags).ok_or("ARC-Message-Signature has no valid instance")?;
            fill(&mut parts(found, instance).message, (field, message_signature(&tags)))
        }
        Kind::Seal => {
            let tags = Tags::parse(field.body).ok_or("ARC-Seal is no list of tags")?;
            let instance = tagged_instance(&tags).ok_or("ARC-Seal has no valid instance")?;
            fill(&mut parts(found, instance).seal, (field, seal(&tags)))
        }
    }
}

/// The set of this instance, made where it is not there yet.
fn parts<'p, 'm>(found: &'p mut Vec<Parts<'m>>, instance: usize) -> &'p mut Parts<'m> {
    if found.len() < instance {
        found.resize_with(instance, Parts::default);
    }
    &mut found[instance - 1]
}

fn fill<T>(place: &mut Option<T>, part: T) -> Result<(), Reason> {
    match place.replace(part) {
        None => Ok(()),
        Some(_) => Err("a set has the same field twice"),
    }
}

fn whole(parts: Parts<'_>) -> Result<Set<'_>, Reason> {
    let (Some((results, claims)), Some(message), Some((field, seal))) = (parts.results, parts.message, parts.seal)
    else {
        return Err("a set is missing or lacks a field");
    };
    Ok(Set { results, claims, message, seal: (field, seal?) })
}

/// `1` to `50`, in one or two digits (section 4.2.1).
fn instance(text: &str) -> Option<usize> {
    number(text, 2).map(|number| number as usize).filter(|at| (1..=SETS_MAX).contains(at))
}

fn tagged_instance(tags: &Tags) -> Option<usize> {
    tags.get("i").and_then(instance)
}

/// `i=`, and what stands behind its semicolon (section 4.1.1).
fn claims(body: &[u8]) -> Option<(usize, &[u8])> {
    let rest = skip(skip(body)?.strip_prefix(b"i")?)?;
    let rest = skip(rest.strip_prefix(b"=")?)?;
    let end = rest.iter().position(|octet| !octet.is_ascii_digit())?;
    let (digits, rest) = rest.split_at(end);
    let found = str::from_utf8(digits).ok().and_then(instance)?;
    Some((found, skip(rest)?.strip_prefix(b";")?))
}

/// What follows white space and comments (CFWS, RFC 5322 section 3.2.2). None: a comment does not end.
fn skip(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    loop {
        text = match text {
            [b'(', rest @ ..] => {
                depth += 1;
                rest
            }
            [b')', rest @ ..] if depth > 0 => {
                depth -= 1;
                rest
            }
            [b'\\', _, rest @ ..] if depth > 0 => rest,
            [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] => rest,
            [_, rest @ ..] if depth > 0 => rest,
            rest => return (depth == 0).then_some(rest),
        };
    }
}

/// What both signatures have (RFC 6376 section 3.5).
fn signature(tags: &Tags) -> Result<Signature, Reason> {
    let algorithm = match tags.get("a") {
        Some("rsa-sha256") => Algorithm::RsaSha256,
        Some("ed25519-sha256") => Algorithm::Ed25519Sha256,
        // RFC 8301 section 3.1.
        Some("rsa-sha1") => return Err("rsa-sha1 is not accepted"),
        _ => return Err("the signing algorithm is not known"),
    };
    digits(tags, "t", TIME_DIGITS_MAX, "t= is not a time")?;
    Ok(Signature {
        algorithm,
        domain: tags.get("d").and_then(domain).ok_or("d= is not a domain")?,
        selector: tags.get("s").and_then(|text| Domain::from_unicode(text).ok()).ok_or("s= is not a selector")?,
        octets: tags.get("b").and_then(base64).ok_or("b= is not base64")?,
        range: tags.place("b").ok_or("b= is missing")?,
    })
}

fn seal(tags: &Tags) -> Result<Seal, Reason> {
    // Section 4.1.3: what it signs is fixed.
    if tags.get("h").is_some() {
        return Err("a seal has h=, which must not be there");
    }
    let chain = match tags.get("cv") {
        Some("none") => ChainValidation::None,
        Some("pass") => ChainValidation::Pass,
        Some("fail") => ChainValidation::Fail,
        _ => return Err("a seal says nothing valid about the chain below it (cv=)"),
    };
    Ok(Seal { signature: signature(tags)?, chain })
}

fn message_signature(tags: &Tags) -> Result<MessageSignature, Reason> {
    let (header, body) = canonicalization(tags).ok_or("the canonicalization is not known")?;
    // RFC 6376 section 8.2: text could be added behind what was signed.
    if tags.get("l").is_some() {
        return Err("l= is not accepted");
    }
    if !is_key_in_dns(tags) {
        return Err("the key is not in DNS");
    }
    Ok(MessageSignature {
        signature: unexpired(tags)?,
        body_hash: tags.get("bh").and_then(base64).ok_or("bh= is not base64")?,
        names: names(tags.get("h").ok_or("h= is missing")?)?,
        header,
        body,
    })
}

/// The signature, if `x=` is not in the past.
fn unexpired(tags: &Tags) -> Result<Signature, Reason> {
    match expiry(tags)? {
        Some(until) if until <= clock() => Err("the message signature has expired"),
        _ => signature(tags),
    }
}

/// The signed names, in lower case. A seal must not be among them (section 4.1.2).
fn names(list: &str) -> Result<Vec<String>, Reason> {
    let names = signed_names(list)?;
    match names.iter().any(|name| name == "arc-seal") {
        true => Err("the message signature signs a seal"),
        false => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_comes_before_the_claims() {
        for (body, expected) in [
            (" i=1; a; none\r\n", Some((1, " a; none\r\n"))),
            ("i=50;a;none", Some((50, "a;none"))),
            ("i=07;", Some((7, ""))),
            ("(i=2;) i (a\\)(b)) = \r\n 3 (;) ; a", Some((3, " a"))),
            ("a; i=1;", None),
            ("i=1 a; none", None),
            ("i=1", None),
            ("i=; a", None),
            ("i=0; a", None),
            ("i=51; a", None),
            ("i=001; a", None),
            ("i=+1; a", None),
            ("I=1; a", None),
            ("ii=1; a", None),
            ("(i=1; a", None),
            ("", None),
        ] {
            let expected = expected.map(|(instance, rest)| (instance, rest.as_bytes()));
            assert_eq!(claims(body.as_bytes()), expected, "{body}");
        }
    }
}
