//! An ARC chain explained: who sealed, what they vouch for, and where it breaks.

use super::super::{ArcChain, ArcSet, MethodResult};
use super::{Finding, sentence};
use crate::address::Domain;

/// Sets that are listed, the newest first.
const SETS_SHOWN_MAX: usize = 10;

/// None where there is no chain: nobody has to seal.
pub(super) fn explain(arc: &ArcChain) -> Option<Finding> {
    if arc.result == MethodResult::None && arc.sets.is_empty() {
        return None;
    }
    let subject = match arc.sets.len() {
        0 => "the chain".to_owned(),
        1 => "1 set".to_owned(),
        count => format!("{count} sets"),
    };
    let mut finding = Finding::new("arc", &subject, arc.result);
    match (arc.result, arc.oldest_pass) {
        (MethodResult::Pass, Some(0)) => finding.say("The chain holds, and every message signature in it verifies."),
        (MethodResult::Pass, Some(oldest)) => {
            finding.say(format!("The chain holds. The message was last changed by the hop of set {oldest}."));
        }
        (MethodResult::Pass, None) => finding.say("The chain holds."),
        (result, _) => finding.say(match (arc.reason, result) {
            (Some(reason), _) => sentence(reason),
            (None, MethodResult::TempError) => "A key of the chain could not be looked up.".to_owned(),
            (None, MethodResult::None) => "The chain was not checked.".to_owned(),
            (None, _) => "The chain is broken.".to_owned(),
        }),
    }
    arc.sets.iter().rev().take(SETS_SHOWN_MAX).for_each(|set| finding.say(explain_set(set)));
    if let Some(more @ 1..) = arc.sets.len().checked_sub(SETS_SHOWN_MAX) {
        finding.say(format!("{more} older sets are not listed."));
    }
    if !matches!(arc.result, MethodResult::Pass | MethodResult::None) {
        finding.advise(advice(arc));
    }
    Some(finding)
}

fn advice(arc: &ArcChain) -> String {
    let newest = arc.sets.last().and_then(|set| set.sealer.as_ref()).map_or("whoever sealed last", Domain::as_str);
    let has = |part| arc.reason.is_some_and(|reason| reason.contains(part));
    match arc.result {
        MethodResult::TempError => "Make sure that the name servers of each sealer answer for its key.".to_owned(),
        _ if has("was changed") => {
            format!("Whoever changes the message behind {newest} has to seal it again, or to leave it as it is.")
        }
        _ if has("was broken") => {
            "Nothing mends a chain once it is broken: the DKIM signature of the author has to last, or SPF has to pass."
                .to_owned()
        }
        _ if has("key") => "Let each sealer publish an RSA key of 2048 bits, without t=y, and seal with it.".to_owned(),
        _ => format!(
            "{newest}, and each hop before it, has to seal after its last change, with rsa-sha256 and as RFC 8617 section \
             5.1 has it."
        ),
    }
}

fn explain_set(set: &ArcSet) -> String {
    let instance = set.instance;
    let sealer = set.sealer.as_ref().map_or("a sealer without a domain", Domain::as_str);
    let key = match (&set.selector, &set.sealer) {
        (Some(selector), Some(sealer)) => format!(" (key {selector}._domainkey.{sealer})"),
        _ => String::new(),
    };
    let says = match &set.dmarc_passed_for {
        Some(author) => format!("says that DMARC passed for {author}"),
        None => "says of no author that DMARC passed".to_owned(),
    };
    format!("Set {instance}: {sealer}{key} {says}.")
}
