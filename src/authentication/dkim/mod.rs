//! DKIM (RFC 6376): which signatures are looked at, what is hashed, which keys count; the cryptography is the library's.
//!
//! *Guarantees:* work is bounded whatever the header says: fields, signatures, signed names. A signature passes only if it
//! and its key say what RFC 6376 has them say, and [`Accepts`] lets it. The body is hashed once for each canonicalization,
//! hash and length.
//! *Never does:* let the library parse a message or a record, or ask DNS. It verifies octets.
//! *RFC:* 6376; 8301 (rsa-sha1 and short keys); 8463 (Ed25519); 8616 (U-labels).

pub(super) mod canonical;
pub(super) mod content;
pub(super) mod key;
pub(super) mod signature;
pub(super) mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mail_auth::common::crypto::Algorithm;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::content::Content;
use self::key::{Key, RSA_BITS_MAX, RSA_BITS_MIN};
use self::signature::Signature;
use super::records::{KeyRecord, Records};
use super::{Authors, DKIM_SECONDS_MAX, Dkim, MethodResult, SIGNATURES_MAX, Settings};
use crate::dns::{DnsError, Resolver};
use crate::message::{Field, Message};

/// DKIM-Signature fields that are parsed at all.
const PARSED_MAX: usize = 100;

/// Which signatures may pass. The default is strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// rsa-sha1 (RFC 8301 section 3.1: must not verify).
    pub rsa_sha1: bool,
    /// RSA keys of at least this length, in bits (RFC 8301 section 3.2: 1,024). Keys below 1,024 bits cannot be verified
    /// with at all; where they are accepted, all the rest is checked.
    pub rsa_key_bits_min: usize,
    /// A part of the body (`l=`): anybody may add to it (RFC 6376 section 8.2).
    pub body_length: bool,
    /// Keys of domains that are testing (`t=y`), whose signatures are to be treated as none (RFC 6376 section 3.6.1).
    pub testing_keys: bool,
    /// What time it is, in seconds since 1970; none for the clock's time.
    pub now: Option<u64>,
}

impl Default for Accepts {
    fn default() -> Self {
        Accepts { rsa_sha1: false, rsa_key_bits_min: RSA_BITS_MIN, body_length: false, testing_keys: false, now: None }
    }
}

impl From<Settings> for Accepts {
    fn from(settings: Settings) -> Self {
        Accepts { body_length: settings.count_body_length, ..Accepts::default() }
    }
}

impl Accepts {
    fn seconds(&self) -> u64 {
        self.now.unwrap_or_else(clock)
    }
}

/// The clock's time, in seconds since 1970.
pub(super) fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What became of a message's signatures.
pub(super) struct Verified {
    /// One for each signature that was looked at.
    pub results: Vec<Dkim>,
    /// How many were not.
    pub ignored: usize,
}

type Verdict = (MethodResult, &'static str);

/// A key that did not come in time.
const TOO_LATE: Verdict = (MethodResult::TempError, "looking the key up took too long");

/// One DKIM-Signature field: what is said of it, and the signature if it is worth a key.
struct Candidate<'m> {
    dkim: Dkim,
    signature: Result<Signature<'m>, Verdict>,
}

/// A DKIM key, or why there is none.
type KeyFound = Result<Arc<Key>, Verdict>;

/// Verifies the signatures of a message: one result for each that is looked at, those of `authors` first.
pub async fn check(resolver: &Resolver, message: &Message, authors: &Authors, accepts: &Accepts) -> Vec<Dkim> {
    verify(&Records::new(), resolver, &Content::new(message), authors, accepts).await.results
}

/// What a DKIM-Signature field signs: the canonical header and itself (RFC 6376 section 3.7), and `b=`. None where the field
/// cannot be understood. For who verifies with other cryptography.
pub fn signed_octets(message: &Message, field: Field<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let signature = signature::read(field).1.ok()?;
    Some((signed_header(&Content::new(message), &signature), signature.signature))
}

pub(super) async fn verify(
    records: &Records,
    resolver: &Resolver,
    content: &Content<'_>,
    authors: &Authors,
    accepts: &Accepts,
) -> Verified {
    let (mut candidates, ignored) = select(content.message(), authors, accepts);
    if content.is_oversized() {
        for candidate in &mut candidates {
            candidate.signature = Err((MethodResult::PermError, "the header is too large"));
        }
    }
    let keys = fetch_keys(records, resolver, &candidates).await;
    for (at, (candidate, key)) in candidates.iter_mut().zip(keys).enumerate() {
        if at > 0 {
            // Others get their turn.
            tokio::task::yield_now().await;
        }
        let Candidate { dkim, signature } = candidate;
        let verdict = match (&*signature, key) {
            (Err(verdict), _) => Err(*verdict),
            (_, Err(verdict)) => Err(verdict),
            (Ok(signature), Ok(key)) => {
                (dkim.testing, dkim.key_bits) = (key.testing, key.bits);
                check_signature(content, signature, &key, accepts).await
            }
        };
        (dkim.result, dkim.reason) = match verdict {
            Ok(()) => (MethodResult::Pass, None),
            Err((result, reason)) => (result, Some(reason)),
        };
    }
    Verified { results: candidates.into_iter().map(|candidate| candidate.dkim).collect(), ignored }
}

/// The signatures to look at: those that may pass first, those of the author domain before others; and how many are left
/// out.
fn select<'m>(message: &'m Message, authors: &Authors, accepts: &Accepts) -> (Vec<Candidate<'m>>, usize) {
    let signatures = || message.fields().filter(|field| field.is("DKIM-Signature"));
    let mut candidates: Vec<Candidate> = signatures()
        .take(PARSED_MAX)
        .map(|field| {
            let (dkim, signature) = signature::read(field);
            let signature = signature.map_err(|reason| (MethodResult::PermError, reason));
            Candidate { dkim, signature: signature.and_then(|signature| refuse(signature, accepts)) }
        })
        .collect();
    let author = authors.domain().map(|author| author.as_str());
    candidates.sort_by_key(|candidate| {
        let signer = candidate.signature.as_ref().ok().map(|signature| signature.domain.as_str());
        match (signer, author) {
            (Some(signer), Some(author)) if are_related(signer, author) => 0,
            (Some(_), _) => 1,
            (None, _) => 2,
        }
    });
    candidates.truncate(SIGNATURES_MAX);
    let ignored = signatures().count() - candidates.len();
    (candidates, ignored)
}

/// Some signatures are not even tried.
fn refuse<'m>(signature: Signature<'m>, accepts: &Accepts) -> Result<Signature<'m>, Verdict> {
    if signature.algorithm == Algorithm::RsaSha1 && !accepts.rsa_sha1 {
        return Err((MethodResult::Policy, "rsa-sha1 is not accepted"));
    }
    if signature.length.is_some() && !accepts.body_length {
        return Err((MethodResult::Policy, "l= is not accepted"));
    }
    if signature.expires.is_some_and(|expires| expires <= accepts.seconds()) {
        return Err((MethodResult::Fail, "the signature has expired"));
    }
    Ok(signature)
}

/// May these two be aligned, as far as can be told without DNS?
fn are_related(one: &str, other: &str) -> bool {
    let below = |name: &str, above: &str| {
        let front = name.len().checked_sub(above.len()).and_then(|at| name.split_at_checked(at));
        front.is_some_and(|(front, end)| end.eq_ignore_ascii_case(above) && (front.is_empty() || front.ends_with('.')))
    };
    below(one, other) || below(other, one)
}

/// Gets the keys, all at once: one answer for each candidate.
async fn fetch_keys(records: &Records, resolver: &Resolver, candidates: &[Candidate<'_>]) -> Vec<KeyFound> {
    let deadline = Instant::now() + Duration::from_secs(DKIM_SECONDS_MAX);
    let mut keys = vec![Err(TOO_LATE); candidates.len()];
    let mut lookups = JoinSet::new();
    for (at, (candidate, found)) in candidates.iter().zip(&mut keys).enumerate() {
        let Ok(signature) = &candidate.signature else { continue };
        let name = key::dns_name(signature.selector.as_str(), &signature.domain);
        if let Some(known) = records.known_key(&name) {
            *found = conclude_lookup(Ok(known));
            continue;
        }
        let (records, resolver) = (records.clone(), resolver.clone());
        lookups.spawn(async move { (at, timeout_at(deadline, records.key(&resolver, &name)).await) });
    }
    while let Some(lookup) = lookups.join_next().await {
        if let Ok((at, Ok(key))) = lookup
            && let Some(found) = keys.get_mut(at)
        {
            *found = conclude_lookup(key);
        }
    }
    keys
}

fn conclude_lookup(key: Result<KeyRecord, DnsError>) -> KeyFound {
    match key {
        Ok(key) => key.map_err(|reason| (MethodResult::PermError, reason)),
        Err(_) => Err((MethodResult::TempError, "the key could not be looked up")),
    }
}

/// RFC 6376 sections 6.1.2 and 6.1.3. What is not accepted comes before what is costly.
async fn check_signature(
    content: &Content<'_>,
    signature: &Signature<'_>,
    key: &Key,
    accepts: &Accepts,
) -> Result<(), Verdict> {
    check_key(signature, key, accepts)?;
    let body = content.body_hash(signature.body, signature.algorithm, signature.length).await;
    if signature.length.is_some_and(|length| length > body.octets) {
        return Err((MethodResult::Fail, "l= is beyond the end of the body"));
    }
    if body.hash != signature.body_hash {
        return Err((MethodResult::Fail, "the body was changed"));
    }
    if key.bits.is_some_and(|bits| bits < RSA_BITS_MIN) {
        return Err((MethodResult::Policy, "the key is too short to verify with"));
    }
    let octets = signed_header(content, signature);
    if key.library.p.verify_bytes(&octets, &signature.signature, signature.algorithm).is_err() {
        return Err((MethodResult::Fail, "the signature does not verify"));
    }
    match key.testing && !accepts.testing_keys {
        true => Err((MethodResult::Policy, "the key is for testing: t=y")),
        false => Ok(()),
    }
}

fn check_key(signature: &Signature<'_>, key: &Key, accepts: &Accepts) -> Result<(), Verdict> {
    if let Some(reason) = key.refuses(signature.algorithm) {
        return Err((MethodResult::PermError, reason));
    }
    if key.strict && signature.identity != signature.domain {
        return Err((MethodResult::PermError, "the key is not for domains below d=, and i= is one"));
    }
    match key.bits {
        Some(bits) if bits < accepts.rsa_key_bits_min => Err((MethodResult::Policy, "the key is too short")),
        Some(bits) if bits > RSA_BITS_MAX => Err((MethodResult::Policy, "the key is too long")),
        _ => Ok(()),
    }
}

fn signed_header(content: &Content, signature: &Signature) -> Vec<u8> {
    content.signed(&signature.signed, signature.field, signature.signature_place.clone(), signature.header)
}
