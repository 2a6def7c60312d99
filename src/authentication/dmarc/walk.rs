//! The DNS tree walk (RFC 9989 section 4.10): what stands where, and what follows from it.
//!
//! *Does:* [`walk`] asks for all names of a walk at once and reads the answers from the longest name up, so a walk takes as
//! long as its slowest lookup. From walks, and without further lookups: the policy record of a domain, its organizational
//! domain, whether two domains have the same one.
//! *Guarantees:* at most [`NAMES_MAX`] queries, whatever the domain. `psd=n` and `psd=y` end a walk: nobody waits for what
//! is above, and it may fail. More than one record at a name are none, a name too long for DNS has none.
//! *What could not be looked up* may be anything: an answer that depends on it is `Unknown`, never "no".

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

use super::record::{Psd, Record, is_record};
use crate::address::Domain;
use crate::dns::{DnsError, Resolver};

/// Names of a walk (section 4.10: at most eight queries).
pub(super) const NAMES_MAX: usize = 8;

/// The walk from one domain.
#[derive(Debug)]
pub(super) struct Walk {
    domain: Domain,
    /// From the domain itself to the shortest name that was looked at.
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// Where the name begins in the domain.
    start: usize,
    stands: Stands,
}

/// What stands at `_dmarc` below a name.
#[derive(Debug)]
enum Stands {
    /// No policy record.
    Nothing {
        /// DNS knows the name, or one below it.
        name_exists: bool,
    },
    Record(Published),
    /// Nobody could tell.
    Unknown,
}

/// A record, and its text.
#[derive(Debug)]
pub(super) struct Published {
    pub record: Record,
    pub text: Vec<u8>,
}

/// Where the policy of a walk's domain comes from.
#[derive(Debug)]
pub(super) enum Discovery<'w> {
    /// The name, and the record there.
    Record(&'w str, &'w Published),
    /// There is none.
    Absent,
    /// A lookup that matters failed.
    Unknown,
}

/// Relaxed alignment (section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alignment {
    /// One organizational domain.
    Aligned,
    /// Two.
    Unaligned,
    /// A lookup that matters failed.
    Unknown,
}

impl Walk {
    /// A walk of which nothing is known.
    fn unknown(domain: &Domain) -> Self {
        let steps = starts(domain.as_str()).into_iter().map(|start| Step { start, stands: Stands::Unknown });
        Walk { domain: domain.clone(), steps: steps.collect() }
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Section 4.10.1: the domain's own record, or that of its organizational domain, or that of its public suffix.
    pub fn discover(&self) -> Discovery<'_> {
        let Some((own, above)) = self.steps.split_first() else { return Discovery::Absent };
        match &own.stands {
            Stands::Record(published) => return Discovery::Record(self.name(own), published),
            Stands::Unknown => return Discovery::Unknown,
            Stands::Nothing { .. } => {}
        }
        if above.iter().any(|step| step.is_unknown()) {
            return Discovery::Unknown;
        }
        let organization = self.organization(None);
        let suffix = |published: &Published| published.record.psd == Psd::Yes;
        let found = above.iter().filter_map(|step| step.published().map(|published| (self.name(step), published)));
        found
            .filter(|(name, published)| *name == organization || suffix(published))
            .map(|(name, published)| Discovery::Record(name, published))
            .next()
            .unwrap_or(Discovery::Absent)
    }

    /// Section 4.10.2. None: a lookup failed that could have changed it.
    pub fn organizational_domain(&self) -> Option<&str> {
        self.steps.iter().all(|step| !step.is_unknown()).then(|| self.organization(None))
    }

    /// Does the name itself exist, as far as the walk has seen by the way?
    pub fn has_seen_domain(&self) -> bool {
        matches!(
            self.steps.first(),
            Some(Step { stands: Stands::Nothing { name_exists: true } | Stands::Record(_), .. })
        )
    }

    /// The organizational domain if what is not known is nothing, but for one name where such a record may be assumed.
    fn organization(&self, assumed: Option<(&str, Psd)>) -> &str {
        let mut shortest = self.domain.as_str();
        for step in &self.steps {
            let name = self.name(step);
            let psd = match &step.stands {
                Stands::Record(published) => Some(published.record.psd),
                Stands::Unknown => assumed.filter(|(at, _)| *at == name).map(|(_, psd)| psd),
                Stands::Nothing { .. } => None,
            };
            match psd {
                None => {}
                Some(Psd::No) => return name,
                Some(Psd::Yes) => return self.below(step),
                Some(Psd::Default) => shortest = name,
            }
        }
        shortest
    }

    fn name(&self, step: &Step) -> &str {
        self.domain.as_str().get(step.start..).unwrap_or_default()
    }

    /// The name one label longer. The walk's own domain stays what it is: a public suffix that sends mail is its own
    /// organization.
    fn below(&self, step: &Step) -> &str {
        let domain = self.domain.as_str();
        let front = domain.get(..step.start.saturating_sub(1)).unwrap_or_default();
        let start = front.rfind('.').map_or(0, |dot| dot + 1);
        domain.get(start..).unwrap_or_default()
    }

    fn unknown_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.is_unknown()).map(|step| self.name(step))
    }
}

impl Step {
    fn is_unknown(&self) -> bool {
        matches!(self.stands, Stands::Unknown)
    }

    fn published(&self) -> Option<&Published> {
        match &self.stands {
            Stands::Record(published) => Some(published),
            Stands::Nothing { .. } | Stands::Unknown => None,
        }
    }
}

impl Stands {
    fn ends_walk(&self) -> bool {
        matches!(self, Stands::Record(published) if published.record.psd != Psd::Default)
    }
}

/// Have the two the same organizational domain? What is unknown may be nothing or any record: one name at a time is enough
/// to see whether it matters, for only one record decides where a walk ends.
pub(super) fn alignment(one: &Walk, other: &Walk) -> Alignment {
    let same = |assumed| one.organization(assumed) == other.organization(assumed);
    let (mut always, mut never) = (true, true);
    let mut weigh = |same: bool| (always, never) = (always && same, never && !same);
    weigh(same(None));
    for name in one.unknown_names().chain(other.unknown_names()) {
        for psd in [Psd::Yes, Psd::No, Psd::Default] {
            weigh(same(Some((name, psd))));
        }
    }
    match (always, never) {
        (true, _) => Alignment::Aligned,
        (_, true) => Alignment::Unaligned,
        _ => Alignment::Unknown,
    }
}

/// Walks from a domain. What did not come before the deadline is unknown.
pub(super) async fn walk(resolver: &Resolver, domain: &Domain, deadline: Instant) -> Walk {
    let starts = starts(domain.as_str());
    let names = starts.iter().map(|start| domain.as_str().get(*start..).unwrap_or_default());
    let lookups = gather(names.map(|name| look_up(resolver, name)), Stands::ends_walk);
    match timeout_at(deadline, lookups).await {
        Ok(found) => {
            let steps = starts.into_iter().zip(found).map(|(start, stands)| Step { start, stands });
            Walk { domain: domain.clone(), steps: steps.collect() }
        }
        Err(_) => Walk::unknown(domain),
    }
}

/// Walks from all of them at once.
pub(super) async fn walk_all(
    resolver: &Resolver,
    domains: impl IntoIterator<Item = &Domain>,
    deadline: Instant,
) -> Vec<Walk> {
    gather(domains.into_iter().map(|domain| walk(resolver, domain, deadline)), |_| false).await
}

/// Where the names of a walk begin: the domain, then its last seven labels if it has eight or more, then one label less
/// each time.
fn starts(domain: &str) -> Vec<usize> {
    let mut starts: Vec<usize> = std::iter::once(0).chain(domain.match_indices('.').map(|(dot, _)| dot + 1)).collect();
    if starts.len() > NAMES_MAX {
        starts.drain(1..=starts.len() - NAMES_MAX);
    }
    starts
}

async fn look_up(resolver: &Resolver, name: &str) -> Stands {
    match resolver.txt(&format!("_dmarc.{name}")).await {
        Ok(texts) => read(texts.records),
        Err(DnsError::NoRecords { name_exists, .. }) => Stands::Nothing { name_exists },
        Err(error) if error.is_temporary() => Stands::Unknown,
        Err(error) => Stands::Nothing { name_exists: error == DnsError::TooLarge },
    }
}

/// Section 4.10, steps 2 and 6: other texts do not count, and more than one record are none.
fn read(texts: Vec<Vec<u8>>) -> Stands {
    let mut records = texts.into_iter().filter(|text| is_record(text));
    let only = records.next().filter(|_| records.next().is_none());
    let published = only.and_then(|text| Some(Published { record: Record::parse(&text)?, text }));
    published.map_or(Stands::Nothing { name_exists: true }, Stands::Record)
}

/// Polls all futures together, and hands back what they come to, in order, up to the first that ends it: what is behind
/// that one is not waited for.
async fn gather<F: Future>(futures: impl Iterator<Item = F>, ends: impl Fn(&F::Output) -> bool) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut found: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut found).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *output = Some(value);
            }
        }
        match found.iter().find(|output| output.as_ref().is_none_or(&ends)) {
            Some(None) => Poll::Pending,
            Some(Some(_)) | None => Poll::Ready(()),
        }
    })
    .await;
    let mut in_order = Vec::with_capacity(found.len());
    for output in found.into_iter().map_while(|output| output) {
        let last = ends(&output);
        in_order.push(output);
        if last {
            break;
        }
    }
    in_order
}
