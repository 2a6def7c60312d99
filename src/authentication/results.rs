//! What the checks found: plain data, in the words of RFC 8601.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::spf::{Matched, Problem};
use crate::address::Domain;

/// The outcome of one method (RFC 8601 section 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodResult {
    /// There was nothing to check.
    None,
    /// The domain says neither yes nor no.
    Neutral,
    /// It holds.
    Pass,
    /// It may hold, but in a form that we do not accept.
    Policy,
    /// It does not hold.
    Fail,
    /// It probably does not hold (SPF only).
    SoftFail,
    /// Nobody could tell; later perhaps.
    TempError,
    /// What was published or signed cannot be understood.
    PermError,
}

impl fmt::Display for MethodResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MethodResult::None => "none",
            MethodResult::Neutral => "neutral",
            MethodResult::Pass => "pass",
            MethodResult::Policy => "policy",
            MethodResult::Fail => "fail",
            MethodResult::SoftFail => "softfail",
            MethodResult::TempError => "temperror",
            MethodResult::PermError => "permerror",
        })
    }
}

/// Which name SPF was checked for (RFC 7208 sections 2.3 and 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpfIdentity {
    /// The domain of the reverse-path.
    MailFrom,
    /// What the client called itself: the null reverse-path has no domain of its own.
    Helo,
}

/// What SPF found (RFC 7208 section 2.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spf {
    /// One of none, neutral, pass, fail, softfail, temperror, permerror.
    pub result: MethodResult,
    /// Which name was checked.
    pub identity: SpfIdentity,
    /// The domain that was checked; none for an address literal.
    #[serde(serialize_with = "text_or_null")]
    pub domain: Option<Domain>,
    /// Why there is no other result.
    pub reason: Option<&'static str>,
    /// Which record decided, and what in it.
    pub matched: Option<Matched>,
    /// Why the policy could not be evaluated, with names.
    pub problem: Option<Problem>,
}

impl Spf {
    /// No check was made.
    pub fn none(identity: SpfIdentity, reason: Option<&'static str>) -> Self {
        Spf { result: MethodResult::None, identity, domain: None, reason, matched: None, problem: None }
    }
}

/// SPF of a sender's identities (RFC 7208 sections 2.3 and 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpfIdentities {
    /// The reverse-path, or HELO where that is null: what DMARC goes by.
    pub spf: Spf,
    /// HELO beside a reverse-path that is not null, if it is a domain name.
    pub helo: Option<Spf>,
}

impl SpfIdentities {
    /// No check was made.
    pub fn none(reason: Option<&'static str>) -> Self {
        SpfIdentities { spf: Spf::none(SpfIdentity::MailFrom, reason), helo: None }
    }
}

/// What became of one DKIM signature (RFC 6376; RFC 8601 section 2.7.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dkim {
    /// One of pass, fail, policy, neutral, temperror, permerror.
    pub result: MethodResult,
    /// `d=`: who signed.
    #[serde(serialize_with = "text_or_null")]
    pub domain: Option<Domain>,
    /// `s=`, printable ASCII.
    pub selector: Option<String>,
    /// `i=`, if it was given, printable ASCII.
    pub identity: Option<String>,
    /// `a=`.
    pub algorithm: Option<&'static str>,
    /// The first eight characters of `b=`, which tell signatures apart (RFC 6008).
    pub signature: Option<String>,
    /// Why it is not a pass.
    pub reason: Option<&'static str>,
    /// The key says `t=y`: its domain is testing DKIM (RFC 6376 section 3.6.1).
    pub testing: bool,
    /// The length of an RSA key, if it was found, in bits.
    pub key_bits: Option<usize>,
}

impl Dkim {
    /// A signature of which nothing is known yet.
    pub fn none(result: MethodResult) -> Self {
        Dkim {
            result,
            domain: None,
            selector: None,
            identity: None,
            algorithm: None,
            signature: None,
            reason: None,
            testing: false,
            key_bits: None,
        }
    }
}

/// What the author domain wants done with mail that fails (RFC 9989 section 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    /// Nothing.
    None,
    /// Treat it as suspicious.
    Quarantine,
    /// Refuse it.
    Reject,
}

impl fmt::Display for DmarcPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmarcPolicy::None => "none",
            DmarcPolicy::Quarantine => "quarantine",
            DmarcPolicy::Reject => "reject",
        })
    }
}

/// What DMARC found (RFC 9989).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dmarc {
    /// One of none, pass, fail, temperror, permerror.
    pub result: MethodResult,
    /// The domain of RFC5322.From, if there is just one.
    #[serde(serialize_with = "text_or_null")]
    pub author_domain: Option<Domain>,
    /// The policy for this very domain: `p=`, `sp=` or `np=`, one step milder with `t=y`. None without a record.
    pub policy: Option<DmarcPolicy>,
    /// SPF passed for a domain aligned with the author domain.
    pub spf_aligned: bool,
    /// A DKIM signature passed for a domain aligned with the author domain.
    pub dkim_aligned: bool,
    /// Why there is no other result.
    pub reason: Option<&'static str>,
    /// Where the policy record stands (RFC 9989 section 4.10.1), without `_dmarc`.
    #[serde(serialize_with = "text_or_null")]
    pub policy_domain: Option<Domain>,
    /// The author domain's organizational domain (RFC 9989 section 4.10.2), once the walk found it.
    #[serde(serialize_with = "text_or_null")]
    pub organizational_domain: Option<Domain>,
    /// The policy record, printable ASCII.
    pub record: Option<String>,
    /// The tag that the policy comes from: `p`, `sp` or `np`.
    pub tag: Option<&'static str>,
    /// The record says `t=y`: the policy is applied one step milder.
    pub testing: bool,
    /// `aspf=s`: only the author domain itself is aligned for SPF.
    pub spf_strict: bool,
    /// `adkim=s`: only the author domain itself is aligned for DKIM.
    pub dkim_strict: bool,
}

impl Dmarc {
    /// No policy was looked for, or none was found.
    pub fn none(author_domain: Option<Domain>, reason: Option<&'static str>) -> Self {
        Dmarc {
            result: MethodResult::None,
            author_domain,
            policy: None,
            spf_aligned: false,
            dkim_aligned: false,
            reason,
            policy_domain: None,
            organizational_domain: None,
            record: None,
            tag: None,
            testing: false,
            spf_strict: false,
            dkim_strict: false,
        }
    }
}

/// What became of a chain of ARC sets (RFC 8617 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArcChain {
    /// One of none, pass, fail; temperror where a key could not be looked up.
    pub result: MethodResult,
    /// The sets by their instance, 1 first; empty where they cannot be told apart.
    pub sets: Vec<ArcSet>,
    /// The lowest instance whose message signature still verifies; 0: all do (RFC 8617 section 5.2). None without a pass.
    pub oldest_pass: Option<u32>,
    /// Why it is not a pass.
    pub reason: Option<&'static str>,
}

/// One set of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArcSet {
    /// `i=`.
    pub instance: u32,
    /// `d=` of the seal: who vouches.
    #[serde(serialize_with = "text_or_null")]
    pub sealer: Option<Domain>,
    /// `s=` of the seal, printable ASCII.
    pub selector: Option<String>,
    /// The author domain for which the sealer says that DMARC passed when it got the message.
    #[serde(serialize_with = "text_or_null")]
    pub dmarc_passed_for: Option<Domain>,
}

impl ArcChain {
    /// There is no chain, or nobody looked.
    pub fn none() -> Self {
        ArcChain { result: MethodResult::None, sets: Vec::new(), oldest_pass: None, reason: None }
    }
}

/// Whether the client's address has a name that leads back to it (RFC 8601 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Iprev {
    /// One of pass, fail, temperror, permerror (no name at all).
    pub result: MethodResult,
    /// The client's address.
    pub address: IpAddr,
    /// The name, if one led back.
    #[serde(serialize_with = "text_or_null")]
    pub name: Option<Domain>,
    /// Why it is not a pass.
    pub reason: Option<&'static str>,
}

impl Iprev {
    /// No check was made.
    pub fn none(address: IpAddr) -> Self {
        Iprev { result: MethodResult::None, address, name: None, reason: None }
    }
}

/// Who the message says wrote it: the domains in RFC5322.From.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Authors {
    /// One From field, one domain.
    One(#[serde(serialize_with = "text")] Domain),
    /// No From field.
    None,
    /// More than one From field, more than one domain, or one domain beside text that another reader may take for one.
    Several,
    /// A From field that cannot be read to a domain, or not by all readers to the same one.
    Malformed,
}

impl Authors {
    /// The one author domain.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Authors::One(domain) => Some(domain),
            Authors::None | Authors::Several | Authors::Malformed => None,
        }
    }
}

/// All that is known of who really sent a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// SPF of the identity that DMARC goes by: the reverse-path, or HELO where that is null.
    pub spf: Spf,
    /// SPF of the HELO identity beside it (RFC 7208 section 2.3).
    pub spf_helo: Option<Spf>,
    /// DKIM: one for each signature that was looked at, those of the author domain first. Empty if there was none.
    pub dkim: Vec<Dkim>,
    /// DKIM-Signature fields beyond [`SIGNATURES_MAX`](super::SIGNATURES_MAX), which were not looked at.
    pub signatures_ignored: usize,
    /// ARC.
    pub arc: ArcChain,
    /// DMARC.
    pub dmarc: Dmarc,
    /// iprev.
    pub iprev: Iprev,
    /// Who the message says wrote it. DMARC says nothing about [`Authors::Several`] and
    /// [`Authors::Malformed`]: policy must.
    pub authors: Authors,
    /// How many From fields there are: one, in a message as it should be (RFC 5322 section 3.6).
    pub from_fields: usize,
}

impl Authentication {
    /// Nothing was checked.
    pub fn none(address: IpAddr) -> Self {
        Authentication {
            spf: Spf::none(SpfIdentity::MailFrom, None),
            spf_helo: None,
            dkim: Vec::new(),
            signatures_ignored: 0,
            arc: ArcChain::none(),
            dmarc: Dmarc::none(None, None),
            iprev: Iprev::none(address),
            authors: Authors::None,
            from_fields: 0,
        }
    }

    /// Did SPF or a DKIM signature pass for this very domain? Then its DMARC record could only confirm it.
    pub fn passes_for(&self, domain: &Domain) -> bool {
        let spf = self.spf.identity == SpfIdentity::MailFrom && self.spf.result == MethodResult::Pass;
        let signed = |dkim: &Dkim| dkim.result == MethodResult::Pass && dkim.domain.as_ref() == Some(domain);
        spf && self.spf.domain.as_ref() == Some(domain) || self.dkim.iter().any(signed)
    }
}

fn text<S: Serializer>(domain: &Domain, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(domain.as_str())
}

fn text_or_null<S: Serializer>(domain: &Option<Domain>, serializer: S) -> Result<S::Ok, S::Error> {
    match domain {
        Some(domain) => serializer.serialize_str(domain.as_str()),
        None => serializer.serialize_none(),
    }
}

/// Printable ASCII of at most `octets_max`; anything else becomes `?`.
pub(super) fn printable(text: &str, octets_max: usize) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(octets_max).collect()
}
