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
    let newest = arc.sets.last().and_then(|set| set.sealer.as_ref()).map_or("whoever sealed last", Domain::as_str);
    match arc.result {
        MethodResult::Pass | MethodResult::None => {}
        MethodResult::TempError => {
            finding.advise("Make sure that the name servers of each sealer answer for its key.");
        }
        _ => finding.advise(format!(
            "Hops behind {newest} must not change the message; {newest} must sign with a published key of at least 1024 \
             bits and rsa-sha256, after its last change, and seal no chain as passed that is broken."
        )),
    }
    Some(finding)
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
