//! DMARC (RFC 9989): does a domain that SPF or DKIM vouches for belong to the author's organization, and what is to be done
//! where none does?
//!
//! *Does:* [`prefetch`] walks the DNS tree while DKIM keys are looked up; [`evaluate`] judges when SPF and DKIM are through;
//! [`Record`] reads what domains publish; [`organizational_domain`] is the walk alone.
//! *Guarantees:* pass only for an aligned domain that passed. A lookup that failed and could change the outcome is temperror:
//! never none, never pass, never fail. The domains that are walked for a message are bounded by those that SPF and DKIM
//! speak for, each walk by eight queries.
//! *Never does:* decide what becomes of a message, send reports, or consult a list of public suffixes.

mod record;
#[cfg(test)]
mod tests;
mod walk;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::results::printable;
use super::{Authors, DMARC_SECONDS_MAX, Dkim, Dmarc, DmarcPolicy, Inner, MethodResult, SIGNATURES_MAX, Spf};
use crate::address::Domain;
use crate::dns::{DnsError, Resolver};
use crate::message::Message;

pub use record::{Psd, Record, Requests, Subject, is_record};
use walk::{Alignment, Discovery, Published, Walk, alignment, walk, walk_all};

/// DKIM-Signature fields that are looked at for domains to walk from ahead of time.
const SIGNATURES_AHEAD_MAX: usize = 100;
/// What is kept of a record, in octets.
const RECORD_OCTETS_MAX: usize = 512;

/// What was looked up ahead of [`evaluate`].
#[derive(Default)]
pub(super) struct Walks {
    author: Option<Author>,
    /// Of domains that may turn out to be aligned with the author domain.
    others: Vec<Walk>,
}

struct Author {
    walk: Walk,
    /// Looked up only where the policy depends on it.
    existence: Existence,
}

/// Section 3.2.13: is it NXDOMAIN that DNS says?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Exists,
    Missing,
    Unknown,
}

/// A domain for which SPF or a signature passed, or might have if DNS had answered.
struct Identifier<'a> {
    domain: &'a Domain,
    passed: bool,
    strict: bool,
    method: Method,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Spf,
    Dkim,
}

/// The organizational domain of a domain (RFC 9989 section 4.10.2). The error is always a temporary one: a lookup failed
/// that could have changed it.
pub async fn organizational_domain(resolver: &Resolver, domain: &Domain) -> Result<Domain, DnsError> {
    let walk = walk(resolver, domain, deadline()).await;
    let found = walk.organizational_domain().and_then(|name| Domain::parse(name).ok());
    found.ok_or_else(|| DnsError::Unavailable("a step of the DNS tree walk".to_owned()))
}

/// Walks from the author domain, and from what SPF and signatures are likely to vouch for.
pub(super) async fn prefetch(
    inner: &Inner,
    message: &Message,
    authors: &Authors,
    spf_domain: Option<&Domain>,
) -> Walks {
    let Authors::One(author) = authors else { return Walks::default() };
    let (resolver, deadline) = (&inner.resolver, deadline());
    let likely = likely_domains(message, author, spf_domain);
    // Whoever names the others must not be able to hold up what the author domain says.
    let own_share = resolver.share();
    let (author, others) =
        tokio::join!(look_up_author(&own_share, author, deadline), walk_all(resolver, &likely, deadline));
    Walks { author: Some(author), others }
}

pub(super) async fn evaluate(inner: &Inner, authors: &Authors, spf: &Spf, dkim: &[Dkim], walks: Walks) -> Dmarc {
    let mut dmarc = Dmarc::none(authors.domain().cloned(), None);
    let Walks { author: Some(author), mut others } = walks else {
        dmarc.reason = Some("there is not just one author domain");
        return dmarc;
    };
    dmarc.organizational_domain = author.walk.organizational_domain().and_then(|name| Domain::parse(name).ok());
    let (name, published) = match author.walk.discover() {
        Discovery::Record(name, published) => (name, published),
        Discovery::Absent => {
            dmarc.reason = Some("no policy record");
            return dmarc;
        }
        Discovery::Unknown => {
            (dmarc.result, dmarc.reason) = (MethodResult::TempError, Some("the policy could not be looked up"));
            return dmarc;
        }
    };
    let policy_is_known = describe(&mut dmarc, &author, name, published);
    if let Some((result, reason)) = not_applicable(&published.record) {
        (dmarc.result, dmarc.reason) = (result, Some(reason));
        return dmarc;
    }
    let identifiers = identifiers(spf, dkim, &published.record);
    let missing = missing_walks(&author.walk, &others, &identifiers);
    others.extend(walk_all(&inner.resolver, missing, deadline()).await);
    conclude(&mut dmarc, &author.walk, &others, &identifiers);
    if dmarc.result == MethodResult::Fail && !policy_is_known {
        (dmarc.result, dmarc.reason) =
            (MethodResult::TempError, Some("whether the author domain exists could not be looked up"));
    }
    dmarc
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(DMARC_SECONDS_MAX)
}

async fn look_up_author(resolver: &Resolver, domain: &Domain, deadline: Instant) -> Author {
    let walk = walk(resolver, domain, deadline).await;
    let existence = match depends_on_existence(&walk) {
        true => timeout_at(deadline, exists(resolver, domain)).await.unwrap_or(Existence::Unknown),
        false => Existence::Exists,
    };
    Author { walk, existence }
}

/// `np=` asks for something else than would hold for the domain if it exists, and the walk has not shown that it does.
fn depends_on_existence(walk: &Walk) -> bool {
    let Discovery::Record(name, Published { record, .. }) = walk.discover() else { return false };
    let below = name != walk.domain().as_str();
    below && !walk.has_seen_domain() && record.policy(Subject::Missing) != record.policy(Subject::Below)
}

/// Any type of record will do: NXDOMAIN is said of all of them (RFC 8020).
async fn exists(resolver: &Resolver, domain: &Domain) -> Existence {
    match resolver.ipv4(domain.as_str()).await {
        Err(DnsError::NoRecords { name_exists: false, .. }) => Existence::Missing,
        Err(error) if error.is_temporary() => Existence::Unknown,
        Ok(_) | Err(_) => Existence::Exists,
    }
}

/// Domains of which only their organizational domain tells whether they are aligned with the author's: those that have
/// their last two labels in common, as nearly all have that are.
fn likely_domains(message: &Message, author: &Domain, spf_domain: Option<&Domain>) -> Vec<Domain> {
    let fields = message.fields().filter(|field| field.is("DKIM-Signature")).take(SIGNATURES_AHEAD_MAX);
    let mut likely: Vec<Domain> = Vec::new();
    for domain in spf_domain.cloned().into_iter().chain(fields.filter_map(|field| signing_domain(field.body))) {
        let related = domain != *author && last_labels(&domain, 2) == last_labels(author, 2);
        if related && !likely.contains(&domain) {
            likely.push(domain);
        }
        if likely.len() > SIGNATURES_MAX {
            break;
        }
    }
    likely
}

/// `d=`, as far as this can be told at a glance. What is wrong with the signature is found elsewhere.
fn signing_domain(field: &[u8]) -> Option<Domain> {
    let mut tags = field.split(|octet| *octet == b';').filter_map(|tag| {
        let (name, value) = tag.split_at_checked(tag.iter().position(|octet| *octet == b'=')?)?;
        (name.trim_ascii() == b"d").then_some(value.get(1..)?.trim_ascii())
    });
    Domain::from_unicode(std::str::from_utf8(tags.next()?).ok()?).ok()
}

/// The end of a domain, of at most so many labels.
fn last_labels(domain: &Domain, count: usize) -> &str {
    let domain = domain.as_str();
    let start = domain.rmatch_indices('.').nth(count - 1).map_or(0, |(dot, _)| dot + 1);
    domain.get(start..).unwrap_or_default()
}

fn is_at_or_below(domain: &str, above: &str) -> bool {
    domain.strip_suffix(above).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Writes down the record and the policy. Is the policy known?
fn describe(dmarc: &mut Dmarc, author: &Author, name: &str, published: &Published) -> bool {
    let record = &published.record;
    dmarc.policy_domain = Domain::parse(name).ok();
    dmarc.record = Some(printable(&String::from_utf8_lossy(&published.text), RECORD_OCTETS_MAX));
    (dmarc.testing, dmarc.spf_strict, dmarc.dkim_strict) = (record.testing, record.spf_strict, record.dkim_strict);
    let policy = |subject| record.policy(subject).map(|(policy, tag)| (milder(policy, record.testing), tag));
    let found = match author.existence {
        _ if name == author.walk.domain().as_str() => policy(Subject::Own),
        Existence::Exists => policy(Subject::Below),
        Existence::Missing => policy(Subject::Missing),
        Existence::Unknown => {
            let [below, missing] =
                [Subject::Below, Subject::Missing].map(|subject| policy(subject).map(|found| found.0));
            // The milder one holds in any case; but that nothing is asked for has to be known.
            dmarc.policy = below.min(missing).filter(|policy| below == missing || *policy > DmarcPolicy::None);
            return below == missing;
        }
    };
    (dmarc.policy, dmarc.tag) = found.map_or((None, None), |(policy, tag)| (Some(policy), tag));
    true
}

/// `t=y`: "one level below the specified policy" (section 4.7).
fn milder(policy: DmarcPolicy, testing: bool) -> DmarcPolicy {
    match policy {
        policy if !testing => policy,
        DmarcPolicy::Reject => DmarcPolicy::Quarantine,
        DmarcPolicy::Quarantine | DmarcPolicy::None => DmarcPolicy::None,
    }
}

/// Section 4.10.1, at its end: records without a valid policy, and without anybody to report to.
fn not_applicable(record: &Record) -> Option<(MethodResult, &'static str)> {
    match record.requests {
        Requests::Stated { .. } | Requests::Monitor => None,
        Requests::Absent => Some((MethodResult::None, "the policy record asks for nothing")),
        Requests::Invalid => Some((MethodResult::PermError, "p=, sp= or np= in the policy record is not valid")),
    }
}

/// Passes count, and what may still become one.
fn may_count(result: MethodResult) -> bool {
    matches!(result, MethodResult::Pass | MethodResult::TempError)
}

fn identifiers<'a>(spf: &'a Spf, dkim: &'a [Dkim], record: &Record) -> Vec<Identifier<'a>> {
    let of = |result, domain: &'a Option<Domain>, method, strict| {
        let domain = domain.as_ref().filter(|_| may_count(result))?;
        Some(Identifier { domain, passed: result == MethodResult::Pass, strict, method })
    };
    let signed = dkim.iter().filter(|dkim| !dkim.testing);
    let signed = signed.filter_map(|dkim| of(dkim.result, &dkim.domain, Method::Dkim, record.dkim_strict));
    of(spf.result, &spf.domain, Method::Spf, record.spf_strict).into_iter().chain(signed).collect()
}

/// The domains of identifiers that may be aligned, and from which nobody has walked so far.
fn missing_walks<'a>(author: &Walk, others: &[Walk], identifiers: &[Identifier<'a>]) -> Vec<&'a Domain> {
    let own = author.domain();
    let mut missing: Vec<&Domain> = Vec::new();
    for identifier in identifiers.iter().filter(|identifier| !identifier.strict && identifier.domain != own) {
        let domain = identifier.domain;
        let possible = match author.organizational_domain() {
            Some(organization) => is_at_or_below(domain.as_str(), organization),
            None => last_labels(domain, 1) == last_labels(own, 1),
        };
        if possible && !others.iter().any(|walk| walk.domain() == domain) && !missing.contains(&domain) {
            missing.push(domain);
        }
    }
    missing
}

impl Identifier<'_> {
    fn alignment(&self, author: &Walk, others: &[Walk]) -> Alignment {
        if self.domain == author.domain() {
            return Alignment::Aligned;
        }
        match others.iter().find(|walk| walk.domain() == self.domain) {
            Some(walk) if !self.strict => alignment(author, walk),
            _ => Alignment::Unaligned,
        }
    }
}

fn conclude(dmarc: &mut Dmarc, author: &Walk, others: &[Walk], identifiers: &[Identifier]) {
    let mut doubt = None;
    for identifier in identifiers {
        match (identifier.alignment(author, others), identifier.passed) {
            (Alignment::Unaligned, _) => {}
            (Alignment::Aligned, true) if identifier.method == Method::Spf => dmarc.spf_aligned = true,
            (Alignment::Aligned, true) => dmarc.dkim_aligned = true,
            (Alignment::Aligned | Alignment::Unknown, false) if identifier.method == Method::Spf => {
                doubt = Some("SPF could not be checked for lack of an answer");
            }
            (Alignment::Aligned | Alignment::Unknown, false) => {
                doubt = Some("a DKIM key could not be looked up");
            }
            (Alignment::Unknown, true) => doubt = Some("whose organization passed could not be looked up"),
        }
    }
    (dmarc.result, dmarc.reason) = match doubt {
        _ if dmarc.spf_aligned || dmarc.dkim_aligned => (MethodResult::Pass, None),
        Some(reason) => (MethodResult::TempError, Some(reason)),
        None => (MethodResult::Fail, Some("neither SPF nor DKIM passed for an aligned domain")),
    };
}
