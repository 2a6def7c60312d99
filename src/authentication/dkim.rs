//! DKIM (RFC 6376): which signatures are looked at, what is hashed, which keys count; the cryptography is the library's.
//!
//! *Guarantees:* work is bounded whatever the header says: fields, signatures, signed names. A signature passes only if we
//! would have let it pass before the library saw it. Body hashing gives way to other tasks every [`SLICE_OCTETS`].
//! *Works around in the library:* no limit on signatures; rsa-sha1 and signatures that leave out From verified (RFC 8301
//! section 3.1; RFC 6376 section 5.4); a relaxed body that ends in lines of white space failed.

use std::sync::Arc;
use std::time::Duration;

use mail_auth::common::crypto::{Algorithm, HashAlgorithm, HashContext as _, HashImpl as _, Sha256};
use mail_auth::common::headers::Header;
use mail_auth::dkim::canonicalize::BodyHasher;
use mail_auth::dkim::{Canonicalization, DkimError, Signature};
use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, DnsError as LibraryDnsError, Error, Parameters, Txt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::results::printable;
use super::signing::base64;
use super::{Authors, DKIM_SECONDS_MAX, Dkim, Inner, MethodResult, SIGNATURES_MAX};
use crate::address::Domain;
use crate::dns::DnsError;
use crate::message::{Field, Message};

/// DKIM-Signature fields that are parsed at all.
const PARSED_MAX: usize = 100;
/// The longest DKIM-Signature field, in octets.
const FIELD_OCTETS_MAX: usize = 16_384;
/// Names that `h=` may list.
const SIGNED_NAMES_MAX: usize = 256;
/// Header fields of a message whose signatures are verified: each signed name is looked for among them.
const FIELDS_MAX: usize = 2_000;
/// The header of a message whose signatures are verified, in octets: each signature may have all of it hashed.
const HEADER_OCTETS_MAX: usize = 1_048_576;
/// The body is hashed in slices of this size, in octets, with a chance for other tasks in between.
const SLICE_OCTETS: usize = 131_072;
/// The longest `i=` and `s=` that are kept, in octets.
const TAG_OCTETS_MAX: usize = 256;

/// A key that did not come in time.
const TOO_LATE: (MethodResult, &str) = (MethodResult::TempError, "looking the key up took too long");

/// What became of a message's signatures.
pub(super) struct Verified {
    /// One for each signature that was looked at.
    pub results: Vec<Dkim>,
    /// How many were not.
    pub ignored: usize,
}

/// One DKIM-Signature field.
struct Candidate<'m> {
    field: Field<'m>,
    parsed: Result<Signature, Error>,
}

/// A signature that is worth a key, and its place in the results.
struct Signed<'m> {
    at: usize,
    field: Field<'m>,
    signature: Signature,
}

impl<'m> Signed<'m> {
    fn into_header(self) -> Header<'m, Signature> {
        Header { name: self.field.name, value: self.field.body, header: self.signature }
    }
}

pub(super) async fn verify(inner: &Arc<Inner>, message: &Message, authors: &Authors) -> Verified {
    let (candidates, ignored) = select(message, authors);
    let oversized = message.header().len() > HEADER_OCTETS_MAX || message.fields().nth(FIELDS_MAX).is_some();
    let mut results = Vec::with_capacity(candidates.len());
    let mut signed = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let mut dkim = describe(&candidate);
        let refusal = if oversized { Some(permerror("the header is too large")) } else { refusal(&candidate) };
        match (refusal, candidate.parsed) {
            (Some((result, reason)), _) => (dkim.result, dkim.reason) = (result, Some(reason)),
            (None, Ok(signature)) => {
                signed.push(Signed { at: results.len(), field: candidate.field, signature: normal(signature) });
            }
            (None, Err(_)) => {}
        }
        results.push(dkim);
    }
    for (at, (result, reason)) in fetch_keys(inner, &signed).await {
        signed.retain(|signed| signed.at != at);
        if let Some(dkim) = results.get_mut(at) {
            (dkim.result, dkim.reason) = (result, Some(reason));
        }
    }
    check_signatures(inner, message, signed, &mut results).await;
    Verified { results, ignored }
}

/// The signatures to look at, those of the author domain first, and how many are left out.
fn select<'m>(message: &'m Message, authors: &Authors) -> (Vec<Candidate<'m>>, usize) {
    let fields = || message.fields().filter(|field| field.is("DKIM-Signature"));
    let mut candidates: Vec<Candidate> = fields()
        .take(PARSED_MAX)
        .map(|field| {
            let parsed = match field.raw.len() <= FIELD_OCTETS_MAX {
                true => Signature::parse(field.body),
                false => Err(Error::ParseError),
            };
            Candidate { field, parsed }
        })
        .collect();
    candidates.sort_by_key(|candidate| match &candidate.parsed {
        Ok(signature) if authors.domain().is_some_and(|author| are_related(&signature.d, author.as_str())) => 0,
        Ok(_) => 1,
        Err(_) => 2,
    });
    candidates.truncate(SIGNATURES_MAX);
    let ignored = fields().count() - candidates.len();
    (candidates, ignored)
}

/// May these two be aligned, as far as can be told without DNS?
fn are_related(one: &str, other: &str) -> bool {
    let below = |name: &str, above: &str| {
        let front = name.len().checked_sub(above.len()).and_then(|at| name.split_at_checked(at));
        front.is_some_and(|(front, end)| end.eq_ignore_ascii_case(above) && (front.is_empty() || front.ends_with('.')))
    };
    below(one, other) || below(other, one)
}

fn describe(candidate: &Candidate) -> Dkim {
    let signature = candidate.parsed.as_ref().ok();
    let text = |text: &String| Some(printable(text, TAG_OCTETS_MAX)).filter(|text| !text.is_empty());
    Dkim {
        result: MethodResult::PermError,
        domain: signature.and_then(|s| Domain::from_unicode(&s.d).ok()),
        selector: signature.and_then(|s| text(&s.s)),
        identity: signature.and_then(|s| text(&s.i)),
        algorithm: signature.map(|s| match s.a {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::RsaSha1 => "rsa-sha1",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }),
        // Six octets are eight characters.
        signature: signature.map(|s| base64(s.b.get(..6).unwrap_or(&s.b))),
        reason: Some("the signature cannot be understood"),
        testing: false,
        key_bits: None,
    }
}

fn permerror(reason: &'static str) -> (MethodResult, &'static str) {
    (MethodResult::PermError, reason)
}

/// Why this signature is not even tried.
fn refusal(candidate: &Candidate) -> Option<(MethodResult, &'static str)> {
    let Ok(signature) = &candidate.parsed else { return Some(permerror("the signature cannot be understood")) };
    let signs_from = signature.h.iter().any(|name| name.trim().eq_ignore_ascii_case("from"));
    Some(match signature {
        s if s.v != 1 => permerror("v= is not 1"),
        // RFC 8301 section 3.1.
        s if s.a == Algorithm::RsaSha1 => (MethodResult::Policy, "rsa-sha1 is not accepted"),
        // RFC 6376 section 8.2: text could be added behind what was signed.
        s if s.l != 0 => (MethodResult::Policy, "l= is not accepted"),
        // RFC 6376 section 5.4.
        _ if !signs_from => permerror("From is not signed"),
        s if s.h.len() > SIGNED_NAMES_MAX => permerror("h= lists too many names"),
        s if Domain::from_unicode(&s.d).is_err() => permerror("d= is not a domain"),
        s if Domain::from_unicode(&s.s).is_err() => permerror("s= is not a selector"),
        _ => return None,
    })
}

/// The signature as the library shall see it: names in A-label form, and nothing that makes it ask for more than the key
/// (RFC 6541 authorities, RFC 6651 report addresses).
fn normal(mut signature: Signature) -> Signature {
    for name in [&mut signature.d, &mut signature.s] {
        if let Ok(domain) = Domain::from_unicode(name) {
            *name = domain.as_str().to_owned();
        }
    }
    (signature.r, signature.atps) = (false, None);
    signature
}

/// Reads the keys, all at once, so that the library finds them. What is wrong with some, by the signature's place.
async fn fetch_keys(inner: &Arc<Inner>, signed: &[Signed<'_>]) -> Vec<(usize, (MethodResult, &'static str))> {
    let deadline = Instant::now() + Duration::from_secs(DKIM_SECONDS_MAX);
    let mut lookups = JoinSet::new();
    for Signed { at, signature, .. } in signed {
        let (inner, at) = (inner.clone(), *at);
        let name = format!("{}._domainkey.{}", signature.s, signature.d);
        lookups.spawn(async move {
            let key = timeout_at(deadline, inner.dkim.load(&inner.resolver, &name)).await;
            (at, key.map_or(Some(TOO_LATE), key_trouble))
        });
    }
    let mut troubles = Vec::new();
    while let Some(lookup) = lookups.join_next().await {
        if let Ok((at, Some(trouble))) = lookup {
            troubles.push((at, trouble));
        }
    }
    troubles
}

fn key_trouble(key: Result<Txt, DnsError>) -> Option<(MethodResult, &'static str)> {
    match key {
        Ok(Txt::Error(error)) => Some(permerror(reason(&error))),
        Ok(_) => None,
        Err(_) => Some((MethodResult::TempError, "the key could not be looked up")),
    }
}

/// Has the library check these signatures.
async fn check_signatures(inner: &Inner, message: &Message, signed: Vec<Signed<'_>>, results: &mut [Dkim]) {
    if signed.is_empty() {
        return;
    }
    let mut view = AuthenticatedMessage { raw_message: message.octets(), ..Default::default() };
    let is_signed = |field: &Field| signed.iter().any(|one| one.signature.h.iter().any(|name| field.is(name)));
    view.headers = message.fields().filter(is_signed).map(|field| (field.name, field.body)).collect();
    for canonicalization in [Canonicalization::Relaxed, Canonicalization::Simple] {
        if signed.iter().any(|one| one.signature.cb == canonicalization) {
            let hash = hash_body(message.body(), canonicalization).await;
            view.body_hashes.push((canonicalization, HashAlgorithm::Sha256, 0, hash));
        }
    }
    let places: Vec<usize> = signed.iter().map(|one| one.at).collect();
    view.dkim_headers = signed.into_iter().map(Signed::into_header).collect();
    let outputs = inner.library.verify_dkim(Parameters::new(&view).with_txt_cache(&inner.dkim)).await;
    for (at, output) in places.into_iter().zip(&outputs) {
        if let Some(dkim) = results.get_mut(at) {
            (dkim.result, dkim.reason) = conclude(output);
        }
    }
}

/// The body hash (RFC 6376 section 3.7).
async fn hash_body(body: &[u8], canonicalization: Canonicalization) -> Vec<u8> {
    let body = match canonicalization {
        Canonicalization::Relaxed => without_trailing_space(body),
        Canonicalization::Simple => body,
    };
    let mut hasher = BodyHasher::new(Sha256::hasher(), canonicalization, 0);
    for (count, slice) in body.chunks(SLICE_OCTETS).enumerate() {
        if count > 0 {
            tokio::task::yield_now().await;
        }
        hasher.write(slice);
    }
    hasher.finish().0.complete().as_ref().to_vec()
}

/// Relaxed canonicalization drops white space at line ends and empty lines at the end of the body (RFC 6376 section 3.4.4):
/// nothing behind the last other octet counts but one line end, which the library adds.
fn without_trailing_space(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|octet| !b" \t\r\n".contains(octet)).map_or(0, |last| last + 1);
    &body[..end]
}

/// RFC 6376 section 6.1 and RFC 8601 section 2.7.1: what does not verify is a fail, expiry and a wrong hash included.
fn conclude(output: &DkimOutput) -> (MethodResult, Option<&'static str>) {
    match output.result() {
        DkimResult::Pass => (MethodResult::Pass, None),
        DkimResult::Neutral(error) | DkimResult::Fail(error) => (MethodResult::Fail, Some(reason(error))),
        DkimResult::TempError(error) => (MethodResult::TempError, Some(reason(error))),
        DkimResult::PermError(error) => (MethodResult::PermError, Some(reason(error))),
        DkimResult::None => (MethodResult::PermError, Some("the signature was not checked")),
    }
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::Dkim(DkimError::FailedBodyHashMatch) => "the body was changed",
        Error::Dkim(DkimError::SignatureExpired) => "the signature has expired",
        Error::Dkim(DkimError::FailedAuidMatch) => "i= is not within d=",
        Error::Dkim(DkimError::RevokedPublicKey) => "the key was revoked",
        Error::Dkim(DkimError::UnsupportedKeyType) => "the key is of an unknown type or too short",
        Error::Dkim(DkimError::UnsupportedAlgorithm) => "the key is not for this use",
        Error::Dns(LibraryDnsError::Resolver(_)) => "the key could not be looked up",
        Error::Dns(_) => "no such key",
        Error::Crypto(_) => "the signature does not verify",
        _ => "the key cannot be understood",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn related_domains_are_above_or_below_each_other() {
        for (one, other, expected) in [
            ("example.org", "example.org", true),
            ("Example.ORG", "mail.example.org", true),
            ("mail.example.org", "example.org", true),
            ("badexample.org", "example.org", false),
            ("a.example.org", "b.example.org", false),
            ("", "example.org", false),
            ("\u{fc}\u{fc}", "abc", false),
        ] {
            assert_eq!(are_related(one, other), expected, "{one} {other}");
        }
    }

    #[tokio::test]
    async fn slices_do_not_change_the_hash() {
        let mut body = Vec::new();
        for line in 0..20_000 {
            body.extend_from_slice(format!("line  {line}\t \r\n \r\n").as_bytes());
        }
        for canonicalization in [Canonicalization::Relaxed, Canonicalization::Simple] {
            let whole = HashAlgorithm::Sha256.hash(canonicalization.canonical_body(without_trailing_space(&body), 0));
            let trimmed = hash_body(without_trailing_space(&body), canonicalization).await;
            assert_eq!(trimmed, whole.as_ref());
        }
    }

    #[tokio::test]
    async fn white_space_at_the_end_of_a_relaxed_body_does_not_count() {
        let plain = hash_body(b"text\r\n", Canonicalization::Relaxed).await;
        for body in [&b"text"[..], b"text\r\n\r\n", b"text \r\n \r\n\t\r\n", b"text\r\n  "] {
            assert_eq!(hash_body(body, Canonicalization::Relaxed).await, plain);
        }
        let empty = hash_body(b"", Canonicalization::Relaxed).await;
        assert_eq!(hash_body(b" \r\n\t\r\n", Canonicalization::Relaxed).await, empty);
        // RFC 6376 section 3.4.4: the SHA-256 hash of an empty relaxed body.
        assert_eq!(base64(&empty), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        // Section 3.4.3: and of an empty simple one.
        let simple = hash_body(b"", Canonicalization::Simple).await;
        assert_eq!(base64(&simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
    }
}
