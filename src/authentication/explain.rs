//! What the checks found, in sentences: what decided, and what the sender would have to change.
//!
//! *Does:* turns [`Authentication`] into one [`Finding`] for each identity: SPF of the reverse-path and of HELO, each DKIM
//! signature, the ARC chain, the author, DMARC, iprev.
//! *Guarantees:* pure. Whatever a sender chose is printable ASCII, a line of at most [`LINE_OCTETS_MAX`]; there are at most
//! [`LINES_MAX`] of them. Whatever is wrong and could be mended has an advice.
//! *Never does:* judge, or tell more than [`Authentication`] holds.

mod arc;
mod dkim;
mod dmarc;
mod spf;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::results::printable;
use super::{Authentication, Authors, Iprev, MethodResult};
use crate::address::Domain;

/// The longest line of a finding, in octets.
const LINE_OCTETS_MAX: usize = 800;
/// Lines of one finding.
const LINES_MAX: usize = 24;

/// What one check found, what decided it, and what would have to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `spf`, `dkim`, `arc`, `from`, `dmarc` or `iprev`.
    pub method: &'static str,
    /// What was checked: a domain, a signature, an address.
    pub subject: String,
    /// As in Authentication-Results (RFC 8601 section 2.7). For `from`, which is no method there: permerror if there is not
    /// one author domain, none if there is no author.
    pub result: MethodResult,
    /// What decided it, one sentence a line: record, mechanism, key, alignment.
    pub says: Vec<String>,
    /// What the sender would have to change; none where all is well, or where nothing is expected.
    pub advice: Option<String>,
}

impl Finding {
    fn new(method: &'static str, subject: &str, result: MethodResult) -> Self {
        Finding { method, subject: printable(subject, LINE_OCTETS_MAX), result, says: Vec::new(), advice: None }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        if self.says.len() < LINES_MAX {
            self.says.push(printable(line.as_ref(), LINE_OCTETS_MAX));
        }
    }

    fn advise(&mut self, advice: impl AsRef<str>) {
        self.advice = Some(printable(advice.as_ref(), LINE_OCTETS_MAX));
    }
}

impl Authentication {
    /// What was found and why, one finding for each identity, in the order in which they are checked.
    pub fn explain(&self) -> Vec<Finding> {
        let client = (!self.iprev.address.is_unspecified()).then_some(self.iprev.address);
        let mut findings = vec![spf::explain(&self.spf, client)];
        findings.extend(self.spf_helo.as_ref().map(|spf| spf::explain(spf, client)));
        findings.extend(dkim::explain(self));
        findings.extend(arc::explain(&self.arc));
        findings.extend(author(&self.authors));
        findings.push(dmarc::explain(self));
        findings.extend(client.map(|_| iprev(&self.iprev)));
        findings
    }
}

/// Nothing to say of one author domain.
fn author(authors: &Authors) -> Option<Finding> {
    let (result, says, advice) = match authors {
        Authors::One(_) => return None,
        Authors::None => (
            MethodResult::None,
            "The message names no author: DMARC has nothing to protect.",
            "Write one From field with the author's address (RFC 5322 section 3.6.2).",
        ),
        Authors::Several => (
            MethodResult::PermError,
            "There is more than one From field, or it names more than one domain: nobody can tell whom DMARC should \
             protect.",
            "Write one From field, with authors of one domain.",
        ),
        Authors::Malformed => (
            MethodResult::PermError,
            "The From field cannot be read to one domain, or not by all readers to the same.",
            "Write the From field as RFC 5322 section 3.6.2 has it: a quoted name, and one address in angle brackets.",
        ),
    };
    let mut finding = Finding::new("from", "RFC5322.From", result);
    finding.say(says);
    finding.advise(advice);
    Some(finding)
}

fn iprev(iprev: &Iprev) -> Finding {
    let address = iprev.address;
    let mut finding = Finding::new("iprev", &address.to_string(), iprev.result);
    let reason = iprev.reason.map(sentence);
    let mut say = |otherwise: &str| finding.say(reason.as_deref().unwrap_or(otherwise));
    let advice = match (&iprev.result, &iprev.name) {
        (MethodResult::Pass, name) => {
            let name = name.as_ref().map_or_else(|| "a name".to_owned(), |name| format!("the name {name}"));
            say(&format!("The address has {name}, which leads back to it."));
            return finding;
        }
        (MethodResult::None, _) => {
            say("Not checked.");
            return finding;
        }
        (MethodResult::TempError, _) => {
            say("The names of the address could not be looked up.");
            format!("Make sure that the name servers answer for the PTR record of {address} and for its name.")
        }
        (MethodResult::PermError, _) => {
            say("The address has no name.");
            format!("Publish a PTR record for {address}, with a name whose address is {address}.")
        }
        _ => {
            say("No name of the address leads back to it.");
            format!("Give the name in the PTR record of {address} the address {address}.")
        }
    };
    finding.advise(advice);
    finding
}

/// A check's own words as a sentence.
fn sentence(reason: &str) -> String {
    let (first, rest) = reason.split_at_checked(1).unwrap_or((reason, ""));
    format!("{}{rest}.", first.to_ascii_uppercase())
}

/// Is this domain the other one, or below it?
fn is_within(domain: &Domain, above: &Domain) -> bool {
    let front = domain.as_str().strip_suffix(above.as_str());
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}
