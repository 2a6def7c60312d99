//! iprev: a name for the client's address, and the way back (RFC 8601 section 3).

use std::net::IpAddr;
use std::time::Duration;

use super::{IPREV_SECONDS_MAX, Iprev, MethodResult};
use crate::address::Domain;
use crate::dns::{DnsError, Resolver};

/// Names of one address that are tried (RFC 8601 section 3 lets the receiver limit them).
const NAMES_MAX: usize = 5;

pub(super) async fn check(resolver: &Resolver, address: IpAddr) -> Iprev {
    let found = tokio::time::timeout(Duration::from_secs(IPREV_SECONDS_MAX), find(resolver, address)).await;
    let (result, name) = found.unwrap_or((MethodResult::TempError, None));
    Iprev { result, address, name, reason: None }
}

async fn find(resolver: &Resolver, address: IpAddr) -> (MethodResult, Option<Domain>) {
    let names = match resolver.ptr(address).await {
        Ok(names) => names.records,
        Err(error) if error.is_temporary() => return (MethodResult::TempError, None),
        Err(_) => return (MethodResult::PermError, None),
    };
    let mut result = MethodResult::Fail;
    for name in names.into_iter().take(NAMES_MAX) {
        match leads_back(resolver, &name, address).await {
            Ok(true) => return (MethodResult::Pass, Some(name)),
            Err(error) if error.is_temporary() => result = MethodResult::TempError,
            Ok(false) | Err(_) => {}
        }
    }
    (result, None)
}

async fn leads_back(resolver: &Resolver, name: &Domain, address: IpAddr) -> Result<bool, DnsError> {
    Ok(match address {
        IpAddr::V4(address) => resolver.ipv4(name.as_str()).await?.records.contains(&address),
        IpAddr::V6(address) => resolver.ipv6(name.as_str()).await?.records.contains(&address),
    })
}
