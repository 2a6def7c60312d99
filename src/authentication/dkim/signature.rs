//! DKIM-Signature fields (RFC 6376 section 3.5), read as meticulously as section 6.1.1 wants it.
//!
//! *Guarantees:* a [`Signature`] is whole: every tag that has to be there is, and each says something that it may say.
//! *Never does:* judge: old algorithms and part-signed bodies are read, and refused by who asked.

use std::ops::Range;

use mail_auth::common::crypto::Algorithm;

use super::canonical::Canonicalization;
use super::tags::{TIME_DIGITS_MAX, Tags, base64, items, number, to_base64, unquoted};
use crate::address::Domain;
use crate::authentication::results::printable;
use crate::authentication::{Dkim, MethodResult};
use crate::message::Field;

/// The longest field of a signature, in octets.
pub(in crate::authentication) const FIELD_OCTETS_MAX: usize = 16_384;
/// Names that `h=` may list.
const SIGNED_NAMES_MAX: usize = 256;
/// The longest `i=` and `s=` that are kept, in octets.
pub(in crate::authentication) const TAG_OCTETS_MAX: usize = 256;
/// The longest `l=`, in digits (RFC 6376 section 3.5).
const LENGTH_DIGITS_MAX: usize = 76;

/// One DKIM-Signature field.
#[derive(Debug)]
pub(super) struct Signature<'m> {
    /// Where it stands.
    pub field: Field<'m>,
    /// `a=`.
    pub algorithm: Algorithm,
    /// `b=`.
    pub signature: Vec<u8>,
    /// Where the value of `b=` stands in the field's body.
    pub signature_place: Range<usize>,
    /// `bh=`.
    pub body_hash: Vec<u8>,
    /// `c=`: of the header.
    pub header: Canonicalization,
    /// `c=`: of the body.
    pub body: Canonicalization,
    /// `d=`.
    pub domain: Domain,
    /// `s=`.
    pub selector: Domain,
    /// The domain of `i=`, which is `d=` or below it.
    pub identity: Domain,
    /// `h=`, in lower case.
    pub signed: Vec<String>,
    /// `l=`, in octets.
    pub length: Option<u64>,
    /// `x=`, in seconds since 1970.
    pub expires: Option<u64>,
}

/// Reads a field: what can be said of it in any case, and the signature, or why it is none.
pub(super) fn read<'m>(field: Field<'m>) -> (Dkim, Result<Signature<'m>, &'static str>) {
    let mut dkim = Dkim::none(MethodResult::PermError);
    if field.raw.len() > FIELD_OCTETS_MAX {
        return (dkim, Err("the signature is too large"));
    }
    let Some(tags) = Tags::parse(field.body) else { return (dkim, Err("the signature cannot be understood")) };
    describe(&tags, &mut dkim);
    let signature = parse(field, &tags);
    (dkim, signature)
}

fn describe(tags: &Tags, dkim: &mut Dkim) {
    let text = |text: &str| Some(printable(text, TAG_OCTETS_MAX)).filter(|text| !text.is_empty());
    dkim.domain = tags.get("d").and_then(domain);
    dkim.selector = tags.get("s").and_then(text);
    dkim.identity = tags.get("i").and_then(|identity| text(&unquoted(identity)?));
    dkim.algorithm = tags.get("a").and_then(algorithm).map(|algorithm| algorithm.name());
    // Six octets are eight characters.
    let signature = tags.get("b").and_then(base64);
    dkim.signature = signature.map(|octets| to_base64(octets.get(..6).unwrap_or(&octets)));
}

fn parse<'m>(field: Field<'m>, tags: &Tags) -> Result<Signature<'m>, &'static str> {
    if tags.get("v") != Some("1") {
        return Err("v= is not 1");
    }
    let algorithm = algorithm(tags.get("a").ok_or("a= is missing")?).ok_or("a= is not known")?;
    let octets = |tag, missing| tags.get(tag).and_then(base64).ok_or(missing);
    let signature = octets("b", "b= is missing or no base 64")?;
    let body_hash = octets("bh", "bh= is missing or no base 64")?;
    let (header, body) = canonicalization(tags).ok_or("c= is not known")?;
    let domain = tags.get("d").and_then(domain).ok_or("d= is not a domain")?;
    let selector = tags.get("s").and_then(|text| Domain::from_unicode(text).ok()).ok_or("s= is not a selector")?;
    if !is_key_in_dns(tags) {
        return Err("q= is not known");
    }
    Ok(Signature {
        field,
        algorithm,
        signature,
        signature_place: tags.place("b").unwrap_or_default(),
        body_hash,
        header,
        body,
        identity: identity(tags.get("i"), &domain)?,
        domain,
        selector,
        signed: signed_names(tags.get("h").ok_or("h= is missing")?)?,
        length: digits(tags, "l", LENGTH_DIGITS_MAX, "l= is not a length")?,
        expires: expiry(tags)?,
    })
}

fn algorithm(text: &str) -> Option<Algorithm> {
    [Algorithm::RsaSha256, Algorithm::Ed25519Sha256, Algorithm::RsaSha1]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
}

/// `q=`: is there a way to get the key that is known?
pub(in crate::authentication) fn is_key_in_dns(tags: &Tags) -> bool {
    items(tags.get("q").unwrap_or("dns/txt")).any(|method| method.eq_ignore_ascii_case("dns/txt"))
}

/// `c=`, of the header and of the body; without a second one the body is simple (RFC 6376 section 3.5).
pub(in crate::authentication) fn canonicalization(tags: &Tags) -> Option<(Canonicalization, Canonicalization)> {
    let text = tags.get("c").unwrap_or("simple/simple");
    let one = |text: &str| match text {
        text if text.eq_ignore_ascii_case("simple") => Some(Canonicalization::Simple),
        text if text.eq_ignore_ascii_case("relaxed") => Some(Canonicalization::Relaxed),
        _ => None,
    };
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    Some((one(header)?, one(body)?))
}

/// A domain of at least two labels, without a final dot.
pub(in crate::authentication) fn domain(text: &str) -> Option<Domain> {
    let domain = Domain::from_unicode(text).ok()?;
    (!text.ends_with('.') && domain.as_str().contains('.')).then_some(domain)
}

/// The domain of `i=` has to be `d=` or below it (RFC 6376 section 6.1.1).
fn identity(text: Option<&str>, signer: &Domain) -> Result<Domain, &'static str> {
    let Some(text) = text else { return Ok(signer.clone()) };
    let text = unquoted(text).ok_or("i= cannot be understood")?;
    let (_, host) = text.rsplit_once('@').ok_or("i= cannot be understood")?;
    let identity = domain(host).ok_or("i= cannot be understood")?;
    let front = identity.as_str().strip_suffix(signer.as_str());
    match front.is_some_and(|front| front.is_empty() || front.ends_with('.')) {
        true => Ok(identity),
        false => Err("i= is not within d="),
    }
}

/// The names of `h=` in lower case, From among them (RFC 6376 section 5.4). An empty one, as some list, names no field.
pub(in crate::authentication) fn signed_names(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> = items(text).take(SIGNED_NAMES_MAX + 1).map(str::to_ascii_lowercase).collect();
    let is_name = |name: &str| name.bytes().all(|octet| (33..127).contains(&octet));
    match names {
        names if names.len() > SIGNED_NAMES_MAX => Err("h= lists too many names"),
        names if !names.iter().all(|name| is_name(name)) => Err("h= is not a list of names"),
        names if !names.iter().any(|name| name == "from") => Err("From is not signed"),
        names => Ok(names),
    }
}

/// The number that a tag is, if it is there.
pub(in crate::authentication) fn digits(
    tags: &Tags,
    tag: &str,
    max: usize,
    wrong: &'static str,
) -> Result<Option<u64>, &'static str> {
    tags.get(tag).map(|text| number(text, max).ok_or(wrong)).transpose()
}

/// `x=`. A signature that expires has to expire after it was made (RFC 6376 section 3.5).
pub(in crate::authentication) fn expiry(tags: &Tags) -> Result<Option<u64>, &'static str> {
    let made = digits(tags, "t", TIME_DIGITS_MAX, "t= is not a time")?;
    let expires = digits(tags, "x", TIME_DIGITS_MAX, "x= is not a time")?;
    match (made, expires) {
        (Some(made), Some(expires)) if expires <= made => Err("x= is not after t="),
        _ => Ok(expires),
    }
}
