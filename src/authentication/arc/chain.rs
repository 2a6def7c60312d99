//! The signatures of a chain (RFC 8617 section 5.2, steps 2 to 7).

use std::sync::Arc;

use super::Reason;
use super::keys::{Keys, Trouble};
use super::set::{ChainValidation, MessageSignature, Set};
use crate::authentication::Inner;
use crate::authentication::dkim::canonical::{Canonicalization, write_field, write_signature_field};
use crate::authentication::dkim::content::Content;

/// Verifies the chain of these sets, the oldest first. What is handed back is the lowest instance whose message signature
/// still verifies; 0 where all do.
pub async fn verify(inner: &Arc<Inner>, content: &Content<'_>, sets: &[Set<'_>]) -> Result<u32, Trouble> {
    let fails = |reason| Err(Trouble::Fails(reason));
    if let Some(reason) = inconsistent(sets) {
        return fails(reason);
    }
    let Some((newest, older)) = sets.split_last() else { return fails("there is no set") };
    let signed = match &newest.message.1 {
        Ok(signed) => signed,
        Err(reason) => return fails(reason),
    };
    if !has_body(content, signed).await {
        return fails("the body was changed since the newest set was added");
    }
    let seals = sets.iter().map(|set| &set.seal.1.signature);
    let of_older = older.iter().rev().filter_map(|set| Some(&set.message.1.as_ref().ok()?.signature));
    let keys = Keys::fetch(inner, seals.chain([&signed.signature]).chain(of_older)).await;
    // What fails is said before what nobody can tell.
    let mut unknown = None;
    for outcome in [check_message(&keys, content, newest), check_seals(&keys, sets).await] {
        match outcome {
            Ok(()) => {}
            Err(Trouble::Unknown(reason)) => unknown = unknown.or(Some(reason)),
            Err(fails) => return Err(fails),
        }
    }
    match unknown {
        Some(reason) => Err(Trouble::Unknown(reason)),
        None => Ok(oldest_pass(&keys, content, sets).await),
    }
}

/// Does what the sealers say of the chain rule out that it is valid (steps 2 and 3C)?
fn inconsistent(sets: &[Set]) -> Option<Reason> {
    let says = |set: &Set| set.seal.1.chain;
    if sets.iter().any(|set| says(set) == ChainValidation::Fail) {
        return Some("a sealer says that the chain was broken (cv=fail)");
    }
    let (first, others) = sets.split_first()?;
    if says(first) != ChainValidation::None {
        return Some("the first seal says that there was a chain before it");
    }
    let pass = others.iter().all(|set| says(set) == ChainValidation::Pass);
    (!pass).then_some("a later seal says that there was no chain before it")
}

/// Verifies every seal, the newest first (step 6): all of them, so that one that fails is found behind one that nobody can
/// tell of.
async fn check_seals(keys: &Keys, sets: &[Set<'_>]) -> Result<(), Trouble> {
    let mut outcome = Ok(());
    let mut below = Vec::new();
    for set in sets {
        tokio::task::yield_now().await;
        let (field, seal) = &set.seal;
        // Section 5.1.1: all sets up to its own, each in this order.
        for field in [set.results, set.message.0] {
            write_field(&field, Canonicalization::Relaxed, &mut below);
        }
        let mut sealed = below.clone();
        write_signature_field(field, seal.signature.range.clone(), Canonicalization::Relaxed, &mut sealed);
        match keys.verify(&seal.signature, &sealed, "a seal does not verify") {
            Ok(()) => {}
            Err(Trouble::Unknown(reason)) => outcome = outcome.and(Err(Trouble::Unknown(reason))),
            Err(fails) => return Err(fails),
        }
        write_field(field, Canonicalization::Relaxed, &mut below);
    }
    outcome
}

/// Verifies the header part of a set's message signature (step 4).
fn check_message(keys: &Keys, content: &Content, set: &Set) -> Result<(), Trouble> {
    let (field, signed) = (set.message.0, set.message.1.as_ref().map_err(|reason| Trouble::Fails(reason))?);
    let octets = content.signed(&signed.names, field, signed.signature.range.clone(), signed.header);
    keys.verify(&signed.signature, &octets, "the newest message signature does not verify: the header was changed")
}

/// How far back message signatures verify (step 5). A broken one does not break the chain.
async fn oldest_pass(keys: &Keys, content: &Content<'_>, sets: &[Set<'_>]) -> u32 {
    let older = sets.len().saturating_sub(1);
    for (instance, set) in (1..).zip(sets.iter().take(older)).collect::<Vec<(u32, _)>>().into_iter().rev() {
        tokio::task::yield_now().await;
        let Ok(signed) = &set.message.1 else { return instance + 1 };
        if !has_body(content, signed).await || check_message(keys, content, set).is_err() {
            return instance + 1;
        }
    }
    0
}

/// Is this the body that was signed?
async fn has_body(content: &Content<'_>, signed: &MessageSignature) -> bool {
    content.body_hash(signed.body, signed.signature.algorithm, None).await.hash == signed.body_hash
}
