//! DKIM explained: which key, what became of the signature, and how to sign so that it counts.

use super::super::{Authentication, Authors, Dkim, MethodResult, SIGNATURES_MAX};
use super::Finding;
use crate::address::Domain;

/// RSA keys below this do not count, in bits (RFC 8301 section 3.2).
const RSA_KEY_BITS_MIN: usize = 1_024;

/// What a reason has in it, and the advice: the first row that fits counts. `KEY` stands for the key record's name, `DOMAIN`
/// for `d=`.
const ADVICE: &[(&str, &str)] = &[
    ("sha1 is not", "Sign with rsa-sha256: rsa-sha1 is no longer accepted (RFC 8301)."),
    ("end of the body", "Sign without l=, or with no more than the body has."),
    ("l= is not accepted", "Sign without l=: anybody could add text behind what it covers (RFC 6376 section 8.2)."),
    ("for testing", "Remove t=y from the key at KEY: while DOMAIN tests, its signatures count for nothing."),
    ("too short", "Publish an RSA key of 2048 bits or an Ed25519 key at KEY, and sign with it."),
    ("too long", "Publish an RSA key of 2048 bits or an Ed25519 key at KEY, and sign with it."),
    ("unknown type", "Publish a key with k=rsa or k=ed25519 at KEY, and sign with it."),
    ("x= is not after", "Sign with an x= that is later than t=, or without."),
    ("expired", "Send within the time that x= allows, or sign with a later one."),
    ("body was changed", "Sign after the last change to the body; a mailing list that adds to it has to sign itself."),
    ("does not verify", "Sign after the last change to the signed fields, with the private key of what KEY publishes."),
    ("revoked", "Sign with a selector whose key is published: the one at KEY is empty."),
    ("no such key", "Publish the public key as a TXT record at KEY."),
    ("several keys", "Publish one key at KEY, and each other under a selector of its own."),
    ("not for this algorithm", "Sign with the algorithm of the key at KEY, or publish one for the algorithm in a=."),
    ("not for this", "Let the key at KEY list sha256 in h= and email or * in s=, or leave both out."),
    ("not for mail", "Let the key at KEY list email or * in s=, or leave it out."),
    ("below d=", "Sign with an i= at DOMAIN itself, or take t=s out of the key at KEY."),
    ("key cannot be", "Correct the key record at KEY (RFC 6376 section 3.6.1)."),
    ("From is not", "List From in h= (RFC 6376 section 5.4)."),
    ("i= is not within", "Sign with an i= whose domain is DOMAIN or below it, or without."),
    ("header is too large", "Send a smaller header, with fewer fields."),
    ("too many names", "List each field in h= once or twice."),
    ("d= is not", "Sign with a domain name in d=."),
    ("s= is not", "Sign with a selector in s= that can stand in a DNS name."),
    ("v= is not", "Sign with v=1."),
    // Whatever else is wrong with a tag.
    ("= is ", "Correct the DKIM-Signature field (RFC 6376 section 3.5)."),
    ("= cannot be", "Correct the DKIM-Signature field (RFC 6376 section 3.5)."),
    ("signature cannot be", "Correct the DKIM-Signature field (RFC 6376 section 3.5)."),
    ("signature is too large", "Send a shorter DKIM-Signature field."),
];

/// One for each signature; if there is none, one that says so.
pub(super) fn explain(found: &Authentication) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.dkim.iter().map(explain_signature).collect();
    if findings.is_empty() {
        findings.push(unsigned(&found.authors));
    }
    if found.signatures_ignored > 0 {
        let subject = format!("{} more signatures", found.signatures_ignored);
        let mut finding = Finding::new("dkim", &subject, MethodResult::None);
        finding.say(format!("Not checked: at most {SIGNATURES_MAX} are."));
        finding.advise("Remove signatures that no longer verify before signing.");
        findings.push(finding);
    }
    findings
}

fn unsigned(authors: &Authors) -> Finding {
    let mut finding = Finding::new("dkim", "no signature", MethodResult::None);
    finding.say("The message has no DKIM signature.");
    finding.advise(match authors.domain() {
        Some(author) => format!("Sign with DKIM as d={author}."),
        None => "Sign with DKIM, as the domain of the author.".to_owned(),
    });
    finding
}

fn explain_signature(dkim: &Dkim) -> Finding {
    let domain = dkim.domain.as_ref().map_or("no domain", Domain::as_str);
    let selector = dkim.selector.as_deref().unwrap_or("none");
    let mut finding = Finding::new("dkim", &format!("d={domain} s={selector}"), dkim.result);
    match (dkim.result, dkim.reason) {
        (MethodResult::Pass, _) => finding.say("The signature verifies."),
        (_, Some(reason)) => finding.say(format!("The signature does not count: {reason}.")),
        (_, None) => finding.say("The signature does not count."),
    }
    let mut key = format!("Key {}", key_name(dkim));
    key.extend(dkim.algorithm.map(|algorithm| format!(", {algorithm}")));
    key.extend(dkim.key_bits.map(|bits| format!(", {bits} bits")));
    key.push_str(if dkim.testing { ", t=y: the domain is testing DKIM." } else { "." });
    finding.say(key);
    if let Some(identity) = &dkim.identity {
        finding.say(format!("Signed for i={identity}."));
    }
    if dkim.result != MethodResult::Pass {
        finding.advise(advice(dkim));
    }
    finding
}

/// Where the key stands (RFC 6376 section 3.6.2.1).
fn key_name(dkim: &Dkim) -> String {
    match (&dkim.selector, &dkim.domain) {
        (Some(selector), Some(domain)) => format!("{selector}._domainkey.{domain}"),
        _ => "unknown".to_owned(),
    }
}

fn advice(dkim: &Dkim) -> String {
    let reason = dkim.reason.unwrap_or_default();
    let key = match (&dkim.selector, &dkim.domain) {
        (Some(_), Some(_)) => key_name(dkim),
        _ => "selector._domainkey.domain".to_owned(),
    };
    let domain = dkim.domain.as_ref().map_or("the author's domain", Domain::as_str);
    let row = ADVICE.iter().find(|(part, _)| reason.contains(part));
    match (dkim.result, dkim.key_bits, row) {
        (MethodResult::TempError, ..) => format!("Make sure that the name servers of {domain} answer for {key}."),
        (_, Some(bits @ ..RSA_KEY_BITS_MIN), _) if is_rsa(dkim) => {
            format!("Replace the {bits}-bit key at {key} by one of 2048 bits (RFC 8301), and sign with it.")
        }
        (_, _, Some((_, advice))) => advice.replace("KEY", &key).replace("DOMAIN", domain),
        // However the check words it: what the key says of itself is known.
        _ if dkim.testing => {
            format!("Remove t=y from the key at {key}: while {domain} tests, its signatures count for nothing.")
        }
        (MethodResult::Policy, ..) => "Sign with rsa-sha256 and a key of 2048 bits, without l= (RFC 8301).".to_owned(),
        (MethodResult::Fail, ..) => {
            format!("Sign after the last change to the message, with the private key of what {key} publishes.")
        }
        _ => format!("Correct the DKIM-Signature field and the key at {key} (RFC 6376 sections 3.5 and 3.6.1)."),
    }
}

/// Ed25519 keys have 256 bits, and are strong.
fn is_rsa(dkim: &Dkim) -> bool {
    dkim.algorithm.is_none_or(|algorithm| algorithm.starts_with("rsa"))
}
