//! SPF (RFC 7208): which record, which identity, how long; the evaluation is the library's.

use std::net::IpAddr;
use std::time::Duration;

use mail_auth::spf::verify::SpfParameters;
use mail_auth::{Parameters, SpfOutput, SpfResult};

use super::{Inner, MethodResult, SPF_SECONDS_MAX, Spf, SpfIdentity};
use crate::address::{Domain, Host, ReversePath};
use crate::dns::DnsError;

/// Records that one evaluation may reach, the first one included (RFC 7208 section 4.6.4).
const RECORDS_MAX: usize = 11;

pub(super) async fn check(inner: &Inner, client: IpAddr, helo: &Host, reverse_path: &ReversePath) -> Spf {
    // RFC 7208 section 2.4: postmaster at the HELO name stands in for the null reverse-path.
    let (identity, domain, sender) = match reverse_path {
        ReversePath::Null => (SpfIdentity::Helo, helo.domain(), format!("postmaster@{helo}")),
        ReversePath::Mailbox(mailbox) => (SpfIdentity::MailFrom, mailbox.domain(), mailbox.to_string()),
    };
    let mut spf = Spf { result: MethodResult::None, identity, domain: domain.cloned(), reason: None };
    let Some(domain) = domain else {
        spf.reason = Some("an address literal has no SPF record");
        return spf;
    };
    let evaluation = evaluate(inner, client, helo, domain, &sender);
    match tokio::time::timeout(Duration::from_secs(SPF_SECONDS_MAX), evaluation).await {
        Ok(Ok(output)) => {
            spf.result = method_result(output.result());
            spf.reason = reason(spf.result);
        }
        Ok(Err(_)) => (spf.result, spf.reason) = (MethodResult::TempError, Some("the record could not be looked up")),
        Err(_) => (spf.result, spf.reason) = (MethodResult::TempError, Some("the evaluation took too long")),
    }
    spf
}

async fn evaluate(
    inner: &Inner,
    client: IpAddr,
    helo: &Host,
    domain: &Domain,
    sender: &str,
) -> Result<SpfOutput, DnsError> {
    let qualified = load(inner, domain).await?;
    let _turn = inner.resolver.turn().await;
    let (helo, host) = (helo.to_string(), inner.hostname.as_str());
    let check = |domain| {
        let parameters = SpfParameters::new(client, domain, &helo, host, sender);
        inner.library.check_host(Parameters::new(parameters).with_txt_cache(&inner.spf))
    };
    let output = check(domain.as_str()).await;
    if output.result() != SpfResult::Pass {
        return Ok(output);
    }
    // An include within a qualified include makes the library forget the qualifier: `?include:` then passes. A pass stands
    // only if no qualified include can have made it.
    for name in &qualified {
        if check(name).await.result() == SpfResult::Pass {
            return Ok(output.with_result(SpfResult::Neutral));
        }
    }
    Ok(output)
}

/// Reads the domain's record, and those it refers to, so that the library finds them as we read them. Only the first one
/// has to be there: whether the others are needed is for the evaluation to say. Hands back the qualified includes.
async fn load(inner: &Inner, domain: &Domain) -> Result<Vec<Box<str>>, DnsError> {
    let mut names: Vec<Box<str>> = vec![domain.as_str().into()];
    let mut qualified = Vec::new();
    let mut at = 0;
    while let Some(name) = names.get(at).filter(|_| at < RECORDS_MAX) {
        match inner.spf.load(&inner.resolver, name).await {
            Ok(record) => {
                let new: Vec<_> = record.refers_to.iter().filter(|name| !names.contains(name)).cloned().collect();
                names.extend(new);
                qualified.extend(record.qualified.iter().take(RECORDS_MAX - qualified.len()).cloned());
            }
            Err(error) if at == 0 => return Err(error),
            // The evaluation will meet it again, if it comes that far.
            Err(_) => break,
        }
        at += 1;
    }
    Ok(qualified)
}

fn method_result(result: SpfResult) -> MethodResult {
    match result {
        SpfResult::Pass => MethodResult::Pass,
        SpfResult::Fail => MethodResult::Fail,
        SpfResult::SoftFail => MethodResult::SoftFail,
        SpfResult::Neutral => MethodResult::Neutral,
        SpfResult::TempError => MethodResult::TempError,
        SpfResult::PermError => MethodResult::PermError,
        SpfResult::None => MethodResult::None,
    }
}

fn reason(result: MethodResult) -> Option<&'static str> {
    match result {
        MethodResult::None => Some("no record"),
        MethodResult::TempError => Some("a lookup failed"),
        MethodResult::PermError => Some("the record, or one that it refers to, is not valid"),
        _ => None,
    }
}
