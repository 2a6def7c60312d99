//! What DMARC comes to for one recipient: what the author domain asks for, what is done, and who overrode it (RFC 9989
//! section 7.4: the receiver decides).
//!
//! *Guarantees:* an override acts only where DMARC fails, or cannot tell under a policy that may be to enforce, and is on
//! record with what matched. What is trusted has been authenticated: an address, or a name by SPF, DKIM, iprev or an ARC
//! chain that holds. No field that anybody can write is looked at. Where DNS trouble hides whether an override would apply,
//! nothing is refused for good.
//! *Order:* `policy.dmarc_overrides` takes the place of the published policy; then a trusted forwarder or sealer lets the
//! message go on; then the policy is applied, or `policy.dmarc = "observe"` only records it.

use std::fmt;
use std::iter;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Cause, Evidence, Objection, Verdict};
use crate::address::Domain;
use crate::authentication::{ArcSet, Authentication, DmarcPolicy, MethodResult};
use crate::config::{DmarcMode, DmarcOverride, Forwarder, Policy};
use crate::mailbox::Class;

/// What DMARC asked for, and what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disposition {
    /// What the author domain publishes for such mail; `None`: it could not be looked up.
    pub published: Option<DmarcPolicy>,
    /// What was done for DMARC's sake.
    pub applied: Applied,
    /// Why that is not what was published.
    pub by: Option<Override>,
}

/// What was done for DMARC's sake: the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applied {
    /// Nothing.
    None,
    /// Put off: DNS may answer later.
    Defer,
    /// It goes to Junk.
    Quarantine,
    /// It is refused.
    Reject,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Applied::None => "none",
            Applied::Defer => "defer",
            Applied::Quarantine => "quarantine",
            Applied::Reject => "reject",
        })
    }
}

/// Why something else was done than the author domain asks for. Displayed as it stands on record, `arc:lists.example.net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Override {
    /// This sealer, which is trusted as are all who sealed after it, says that DMARC passed when it had the message.
    Arc(Domain),
    /// This trusted forwarder passed the message on, as this check shows.
    Forwarder(Check, Forwarder),
    /// `policy.dmarc_overrides` has this entry.
    Policy(Domain),
    /// `policy.dmarc = "observe"`: this would have been done.
    Observe(Applied),
    /// postmaster and abuse get everything: this would have been done.
    Postmaster(Applied),
    /// A trusted relay of ours brought it, which would have bounced it.
    Relay,
}

/// How a forwarder was recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By the client's address.
    Network,
    /// By SPF, of the reverse-path or of HELO.
    Spf,
    /// By a DKIM signature.
    Dkim,
    /// By the client's name.
    Iprev,
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Override::Arc(sealer) => write!(f, "arc:{sealer}"),
            Override::Forwarder(check, forwarder) => write!(f, "forwarder:{check}={forwarder}"),
            Override::Policy(domain) => write!(f, "policy:{domain}"),
            Override::Observe(applied) => write!(f, "observe:{applied}"),
            Override::Postmaster(applied) => write!(f, "postmaster:{applied}"),
            Override::Relay => f.write_str("relay"),
        }
    }
}

impl Serialize for Override {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Network => "network",
            Check::Spf => "spf",
            Check::Dkim => "dkim",
            Check::Iprev => "iprev",
        })
    }
}

impl Disposition {
    pub(super) fn behind_relay(self) -> Self {
        match self.applied {
            Applied::Reject => Disposition { applied: Applied::Quarantine, by: Some(Override::Relay), ..self },
            _ => self,
        }
    }

    /// What became of the message in the end, together with those who share a reply.
    pub fn settle(&mut self, verdict: &Verdict) {
        let applied = match verdict {
            Verdict::Reject(Cause::DmarcReject { .. }) => Applied::Reject,
            Verdict::Defer(Cause::DmarcTemporary { .. } | Cause::ForwarderTemporary { .. }) => Applied::Defer,
            // Others take it: nobody is told that it was refused.
            Verdict::Deliver(_) if self.applied == Applied::Reject => Applied::Quarantine,
            _ => return,
        };
        // For another recipient's sake nobody's override stands.
        if self.applied < applied {
            self.by = None;
        }
        self.applied = applied;
    }

    /// Nothing is done, for this reason, where something would have been.
    fn waived(self, by: impl FnOnce(Applied) -> Override) -> Self {
        match self.applied {
            Applied::None => self,
            applied => Disposition { applied: Applied::None, by: Some(by(applied)), ..self },
        }
    }
}

/// What is to be done for this author domain: what the operator says, or else what it publishes.
struct Wanted {
    published: Option<DmarcPolicy>,
    policy: Option<DmarcPolicy>,
    entry: Option<Domain>,
}

impl Wanted {
    fn of(author: &Domain, published: Option<DmarcPolicy>, policy: &Policy) -> Self {
        match policy.dmarc_override(author) {
            Some((entry, word)) => Wanted { published, policy: Some(of_word(word)), entry: Some(entry.clone()) },
            None => Wanted { published, policy: published, entry: None },
        }
    }

    /// This is done because it is wanted.
    fn done(self, applied: Applied) -> Disposition {
        Disposition { published: self.published, applied, by: self.entry.map(Override::Policy) }
    }

    /// Nothing is done, whatever is wanted.
    fn overridden(self, by: Override) -> Disposition {
        Disposition { published: self.published, applied: Applied::None, by: Some(by) }
    }
}

fn of_word(word: DmarcOverride) -> DmarcPolicy {
    match word {
        DmarcOverride::None => DmarcPolicy::None,
        DmarcOverride::Quarantine => DmarcPolicy::Quarantine,
        DmarcOverride::Reject => DmarcPolicy::Reject,
    }
}

/// What DMARC comes to, and what it has against the message. `None`: it passed, or there is no policy.
pub(super) fn judge(evidence: &Evidence, policy: &Policy, class: Class) -> Option<(Disposition, Option<Objection>)> {
    let (disposition, objection) = judge_strictly(evidence, policy)?;
    Some(match (class, policy.dmarc) {
        (Class::Postmaster, _) => (disposition.waived(Override::Postmaster), None),
        (_, DmarcMode::Observe) => (disposition.waived(Override::Observe), None),
        (_, DmarcMode::Enforce) => (disposition, objection),
    })
}

/// As if every recipient had DMARC enforced.
fn judge_strictly(evidence: &Evidence, policy: &Policy) -> Option<(Disposition, Option<Objection>)> {
    let found = evidence.authentication?;
    let author = found.dmarc.author_domain.as_ref()?;
    let fails = match found.dmarc.result {
        MethodResult::Fail => true,
        MethodResult::TempError => false,
        _ => return None,
    };
    let wanted = Wanted::of(author, found.dmarc.policy, policy);
    // Where SPF or DKIM passed for the author domain itself, its record could only confirm it.
    if wanted.policy == Some(DmarcPolicy::None) || !fails && found.passes_for(author) {
        return Some((wanted.done(Applied::None), None));
    }
    let domain = author.to_string();
    Some(match (trust(evidence, found, author, policy), fails) {
        (Trust::Given(by), _) => (wanted.overridden(by), None),
        (_, false) => unverified(wanted, evidence.dmarc_may_defer.then_some(Cause::DmarcTemporary { domain })),
        (Trust::Hidden, true) => {
            unverified(wanted, evidence.dmarc_may_defer.then_some(Cause::ForwarderTemporary { domain }))
        }
        (Trust::None, true) => apply(wanted, domain),
    })
}

/// DNS kept the answer from us: later perhaps, if there is a cause to wait. Once we have waited, whoever keeps it from
/// answering under a policy to enforce gains no inbox; and where that is not known, nobody asked for anything.
fn unverified(wanted: Wanted, later: Option<Cause>) -> (Disposition, Option<Objection>) {
    match (later, wanted.policy) {
        (Some(cause), _) => {
            let verdict = Verdict::Defer(cause.clone());
            (wanted.done(Applied::Defer), Some(Objection { verdict, cause }))
        }
        (None, None | Some(DmarcPolicy::None)) => (wanted.done(Applied::None), None),
        (None, Some(DmarcPolicy::Quarantine | DmarcPolicy::Reject)) => {
            (wanted.done(Applied::Quarantine), Some(Objection::junk(Cause::DmarcUnverified)))
        }
    }
}

/// DMARC fails, and nobody speaks for the message.
fn apply(wanted: Wanted, domain: String) -> (Disposition, Option<Objection>) {
    match (wanted.policy, wanted.published) {
        (None | Some(DmarcPolicy::None), _) => (wanted.done(Applied::None), None),
        (Some(DmarcPolicy::Quarantine), _) => {
            (wanted.done(Applied::Quarantine), Some(Objection::junk(Cause::DmarcQuarantine)))
        }
        (Some(DmarcPolicy::Reject), Some(DmarcPolicy::Reject)) => {
            (wanted.done(Applied::Reject), Some(Objection::reject(Cause::DmarcReject { domain })))
        }
        (Some(DmarcPolicy::Reject), _) => {
            (wanted.done(Applied::Reject), Some(Objection::reject(Cause::DmarcOverride { domain })))
        }
    }
}

/// Does DMARC fail, or not tell, and is a message from this client taken all the same by this policy? Who only observes takes
/// it: were the failure counted in the score, it would be enforced after all.
pub fn is_overridden(authentication: &Authentication, client: Option<IpAddr>, policy: &Policy) -> bool {
    let authentication = Some(authentication);
    let evidence = Evidence { authentication, client, dmarc_may_defer: false, score: 0.0 };
    let judged = judge_strictly(&evidence, policy).map(|(disposition, _)| (disposition.applied, disposition.by));
    match judged {
        Some((Applied::None, by)) => by.is_some() || policy.dmarc == DmarcMode::Observe,
        Some(_) => policy.dmarc == DmarcMode::Observe,
        None => false,
    }
}

/// Does somebody who is trusted speak for the message?
enum Trust {
    Given(Override),
    /// Perhaps: DNS trouble hides it.
    Hidden,
    None,
}

fn trust(evidence: &Evidence, found: &Authentication, author: &Domain, policy: &Policy) -> Trust {
    let by_network = policy.trusted_forwarders.iter().find(|forwarder| match forwarder {
        Forwarder::Network(network) => evidence.client.is_some_and(|client| network.contains(client)),
        Forwarder::Domain(_) => false,
    });
    if let Some(forwarder) = by_network {
        return Trust::Given(Override::Forwarder(Check::Network, forwarder.clone()));
    }
    match (forwarder(found, policy), sealer(found, author, policy)) {
        (given @ Trust::Given(_), _) | (_, given @ Trust::Given(_)) => given,
        (Trust::Hidden, _) | (_, Trust::Hidden) => Trust::Hidden,
        (Trust::None, Trust::None) => Trust::None,
    }
}

/// A trusted forwarder that is known by its name.
fn forwarder(found: &Authentication, policy: &Policy) -> Trust {
    let mut trust = Trust::None;
    for forwarder in &policy.trusted_forwarders {
        let Forwarder::Domain(trusted) = forwarder else { continue };
        for (check, result, name) in names(found) {
            match (result, name) {
                (MethodResult::Pass, Some(name)) if name.is_at_or_below(trusted) => {
                    return Trust::Given(Override::Forwarder(check, forwarder.clone()));
                }
                // The client's name itself is what could not be looked up.
                (MethodResult::TempError, None) if check == Check::Iprev => trust = Trust::Hidden,
                (MethodResult::TempError, Some(name)) if name.is_at_or_below(trusted) => trust = Trust::Hidden,
                _ => {}
            }
        }
    }
    trust
}

/// Every name that a check was made for: whoever passed is who it says.
fn names(found: &Authentication) -> impl Iterator<Item = (Check, MethodResult, Option<&Domain>)> {
    let spf = iter::once(&found.spf).chain(&found.spf_helo);
    let spf = spf.map(|spf| (Check::Spf, spf.result, spf.domain.as_ref()));
    let dkim = found.dkim.iter().map(|dkim| (Check::Dkim, dkim.result, dkim.domain.as_ref()));
    let iprev = &found.iprev;
    spf.chain(dkim).chain(iter::once((Check::Iprev, iprev.result, iprev.name.as_ref())))
}

/// The unbroken run of trusted sealers from the newest set back: whoever is behind one who is not trusted may have written
/// anything, and so may have those before. One of the run has to say that DMARC passed for this very author domain.
fn sealer(found: &Authentication, author: &Domain, policy: &Policy) -> Trust {
    let is_trusted = |set: &&ArcSet| {
        let listed = |sealer: &Domain| policy.trusted_sealers.iter().any(|trusted| sealer.is_at_or_below(trusted));
        set.sealer.as_ref().is_some_and(listed)
    };
    let mut run = found.arc.sets.iter().rev().take_while(is_trusted);
    let witness = run.find(|set| set.dmarc_passed_for.as_ref() == Some(author)).and_then(|set| set.sealer.clone());
    match (found.arc.result, witness) {
        (MethodResult::Pass, Some(sealer)) => Trust::Given(Override::Arc(sealer)),
        (MethodResult::TempError, Some(_)) => Trust::Hidden,
        _ => Trust::None,
    }
}
