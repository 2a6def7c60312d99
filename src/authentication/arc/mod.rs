//! ARC (RFC 8617): whether the chain of sets that a message carries is unbroken. Who of the sealers is believed is policy.
//!
//! *Does:* reads the sets strictly, looks all keys up at once, verifies the newest message signature and every seal
//! (section 5.2), and finds the oldest message signature that still verifies.
//! *Guarantees:* work is bounded whatever a header says: [`SETS_MAX`], [`KEYS_MAX`], octets of fields and header; nothing is
//! looked up for a chain that fails without keys. Tags, canonical forms and what is signed are read and put together as for
//! DKIM, octet by octet, and only the signature itself is the library's to verify. A key that cannot be had makes
//! temperror, never pass.
//! *Stricter than the RFC:* `l=` never counts, nor do keys that their domain is only testing (`t=y`).
//! *Not the library's chain evaluation:* it panics on what it did not expect, asks for one key after the other, and lets
//! pass what RFC 8617 section 5.2 fails: tags that occur twice, `l=`, rsa-sha1, signatures that leave out From.

mod chain;
mod keys;
mod set;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::set::Set;
use super::claims::{self, Claim};
use super::dkim::content::Content;
use super::dkim::signature::TAG_OCTETS_MAX;
use super::results::printable;
use super::{ArcChain, ArcSet, Inner, MethodResult};
use crate::address::Domain;

/// Sets that a chain may have (RFC 8617 section 4.2.1).
const SETS_MAX: usize = 50;
/// Keys of one message that are looked up: one for each set and for the newest message signature; older message signatures
/// hardly ever have others.
const KEYS_MAX: usize = 64;

/// Why a chain is no pass, in words for an operator.
type Reason = &'static str;

/// The chain of a message. Without ARC fields nothing is done.
pub(super) async fn verify(inner: &Arc<Inner>, content: &Content<'_>) -> ArcChain {
    let message = content.message();
    if !message.fields().any(|field| set::is_arc(&field)) {
        return ArcChain::none();
    }
    let failed = |reason| ArcChain { result: MethodResult::Fail, reason: Some(reason), ..ArcChain::none() };
    if content.is_oversized() {
        return failed("the header is too large");
    }
    let sets = match set::read(message) {
        Ok(sets) => sets,
        Err(reason) => return failed(reason),
    };
    let outcome = chain::verify(inner, content, &sets).await;
    let (result, oldest_pass, reason) = match outcome {
        Ok(oldest_pass) => (MethodResult::Pass, Some(oldest_pass), None),
        Err(keys::Trouble::Fails(reason)) => (MethodResult::Fail, None, Some(reason)),
        Err(keys::Trouble::Unknown(reason)) => (MethodResult::TempError, None, Some(reason)),
    };
    ArcChain { result, sets: (1..).zip(&sets).map(describe).collect(), oldest_pass, reason }
}

fn describe((instance, set): (u32, &Set)) -> ArcSet {
    let signature = &set.seal.1.signature;
    ArcSet {
        instance,
        sealer: Some(signature.domain.clone()),
        selector: Some(printable(signature.selector.as_str(), TAG_OCTETS_MAX)),
        dmarc_passed_for: dmarc_passed_for(set.claims),
    }
}

/// The author domain for which a sealer says that DMARC passed: of all that it says of DMARC, and of one domain alone.
fn dmarc_passed_for(body: &[u8]) -> Option<Domain> {
    let claims = claims::parse(body)?.claims;
    let mut domains = claims.iter().filter(|claim| claim.method == "dmarc").map(passed_domain);
    let first = domains.next()??;
    domains.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// `header.from` of a claim that says `pass`, if there is just one.
fn passed_domain(claim: &Claim) -> Option<Domain> {
    let mut authors = claim.properties.iter().filter(|(name, _)| name == "header.from");
    match (claim.result.as_str(), authors.next(), authors.next()) {
        ("pass", Some((_, domain)), None) => Domain::from_unicode(domain).ok(),
        _ => None,
    }
}
