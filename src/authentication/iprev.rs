//! iprev: a name for the client's address, and the way back (RFC 8601 sections 2.7.3 and 3).
//!
//! *Guarantees:* at most [`NAMES_MAX`] names are tried, all at once; the first that leads back decides. No name that is left
//! out, slow or broken turns another one's pass into something else.

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{IPREV_SECONDS_MAX, Iprev, MethodResult};
use crate::address::Domain;
use crate::dns::{DnsError, Resolver};

/// Names of one address that are tried, as in SPF (RFC 8601 section 3 lets the receiver limit them).
const NAMES_MAX: usize = 10;

/// What RFC 8601 section 2.7.3 calls it, and why.
type Judgement = (MethodResult, Option<&'static str>);

/// The address has no name, or none that is one.
const NO_NAME: Judgement = (MethodResult::PermError, Some("the address has no name"));
/// It has names, and all of them are somebody else's.
const ASTRAY: Judgement = (MethodResult::Fail, Some("no name of the address leads back to it"));
const FAILED: Judgement = (MethodResult::TempError, Some("a lookup failed"));
const LATE: Judgement = (MethodResult::TempError, Some("the lookups took too long"));

pub(super) async fn check(resolver: &Resolver, address: IpAddr) -> Iprev {
    let found = tokio::time::timeout(Duration::from_secs(IPREV_SECONDS_MAX), find(resolver, address)).await;
    let ((result, reason), name) = match found {
        Ok(Ok(name)) => ((MethodResult::Pass, None), Some(name)),
        Ok(Err(judgement)) => (judgement, None),
        Err(_) => (LATE, None),
    };
    Iprev { result, address, name, reason }
}

/// The name that leads back.
async fn find(resolver: &Resolver, address: IpAddr) -> Result<Domain, Judgement> {
    let names = match resolver.ptr(address).await {
        Ok(names) => names.records,
        Err(error) if error.is_temporary() => return Err(FAILED),
        Err(_) => return Err(NO_NAME),
    };
    let mut tried = JoinSet::new();
    for name in names.into_iter().take(NAMES_MAX) {
        let resolver = resolver.clone();
        tried.spawn(async move { (leads_back(&resolver, &name, address).await, name) });
    }
    let mut judgement = ASTRAY;
    while let Some(tried) = tried.join_next().await {
        match tried {
            Ok((Ok(true), name)) => return Ok(name),
            Ok((Err(error), _)) if error.is_temporary() => judgement = FAILED,
            Ok((Ok(false) | Err(_), _)) => {}
            Err(_) => judgement = FAILED,
        }
    }
    Err(judgement)
}

async fn leads_back(resolver: &Resolver, name: &Domain, address: IpAddr) -> Result<bool, DnsError> {
    Ok(match address {
        IpAddr::V4(address) => resolver.ipv4(name.as_str()).await?.records.contains(&address),
        IpAddr::V6(address) => resolver.ipv6(name.as_str()).await?.records.contains(&address),
    })
}
