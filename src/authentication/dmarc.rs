//! DMARC (RFC 9989): alignment and policy; the tree walk is the library's.

use std::time::Duration;

use mail_auth::dkim::Signature;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::dmarc::{Policy, Psd};
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcOutput, DmarcResult, DnsError as LibraryDnsError, Error, Parameters,
    SpfOutput, SpfResult, Txt,
};

use super::{Authors, DMARC_SECONDS_MAX, Dkim, Dmarc, DmarcPolicy, Inner, MethodResult, Spf};
use crate::address::Domain;
use crate::dns::DnsError;

/// Labels from which on the tree walk skips some (RFC 9989 section 4.10: at most eight queries).
const WALK_LABELS_MAX: usize = 8;

/// Asks for the policy records ahead of [`evaluate`].
pub(super) async fn prefetch(inner: &Inner, authors: &Authors) {
    if let Authors::One(author) = authors {
        // What fails here fails again there.
        let _ = tokio::time::timeout(Duration::from_secs(DMARC_SECONDS_MAX), load(inner, author)).await;
    }
}

pub(super) async fn evaluate(inner: &Inner, authors: &Authors, spf: &Spf, dkim: &[Dkim]) -> Dmarc {
    let mut dmarc = Dmarc::none(authors.domain().cloned(), None);
    let Authors::One(author) = authors else {
        dmarc.reason = Some("there is not just one author domain");
        return dmarc;
    };
    match tokio::time::timeout(Duration::from_secs(DMARC_SECONDS_MAX), ask(inner, author, spf, dkim)).await {
        Ok(Ok(output)) => conclude(&mut dmarc, &output),
        Ok(Err(_)) => {
            (dmarc.result, dmarc.reason) = (MethodResult::TempError, Some("the policy could not be looked up"))
        }
        Err(_) => (dmarc.result, dmarc.reason) = (MethodResult::TempError, Some("the evaluation took too long")),
    }
    dmarc
}

async fn ask(inner: &Inner, author: &Domain, spf: &Spf, dkim: &[Dkim]) -> Result<DmarcOutput, DnsError> {
    load(inner, author).await?;
    let _turn = inner.resolver.turn().await;
    // The library sees our results, not its own: what we refuse is no pass.
    let message = AuthenticatedMessage { from: vec![format!("author@{author}")], ..Default::default() };
    let spf_domain = spf.domain.as_ref().map_or("", Domain::as_str);
    let spf_output = SpfOutput::new(spf_domain.to_owned()).with_result(spf_result(spf.result));
    let signatures: Vec<(MethodResult, Signature)> = dkim.iter().filter_map(signature).collect();
    let outputs: Vec<DkimOutput> = signatures.iter().filter_map(|(result, s)| dkim_output(*result, s)).collect();
    let parameters = DmarcParameters::new(&message, &outputs, spf_domain, &spf_output);
    Ok(inner.library.verify_dmarc(Parameters::new(parameters).with_txt_cache(&inner.dmarc)).await)
}

/// Reads the records that the tree walk from the author domain asks for (RFC 9989 section 4.10), so that the library finds
/// them as we read them.
async fn load(inner: &Inner, author: &Domain) -> Result<(), DnsError> {
    for name in walk(author.as_str()) {
        let record = inner.dmarc.load(&inner.resolver, &format!("_dmarc.{name}")).await?;
        // Either psd= ends the walk: what is above plays no part, and may fail.
        if matches!(&record, Txt::Dmarc(policy) if policy.psd != Psd::Default) {
            break;
        }
    }
    Ok(())
}

/// The names of the tree walk: the domain, then its last seven labels if it has eight or more, then one label less each
/// time.
fn walk(domain: &str) -> Vec<&str> {
    let starts = domain.match_indices('.').map(|(dot, _)| dot + 1);
    let mut names: Vec<&str> = std::iter::once(0).chain(starts).filter_map(|start| domain.get(start..)).collect();
    if names.len() >= WALK_LABELS_MAX {
        names.drain(1..=names.len() - WALK_LABELS_MAX);
    }
    names
}

fn conclude(dmarc: &mut Dmarc, output: &DmarcOutput) {
    (dmarc.result, dmarc.reason) = match output.result() {
        DmarcResult::Pass => (MethodResult::Pass, None),
        DmarcResult::Fail(_) => (MethodResult::Fail, Some("neither SPF nor DKIM passed for an aligned domain")),
        DmarcResult::TempError(_) => (MethodResult::TempError, Some("a lookup failed")),
        DmarcResult::PermError(_) => (MethodResult::PermError, Some("the policy cannot be understood")),
        DmarcResult::None => (MethodResult::None, Some("no policy record")),
    };
    dmarc.spf_aligned = *output.spf_result() == DmarcResult::Pass;
    dmarc.dkim_aligned = *output.dkim_result() == DmarcResult::Pass;
    dmarc.policy = output.dmarc_record().map(|_| match output.policy() {
        Policy::Reject => DmarcPolicy::Reject,
        Policy::Quarantine => DmarcPolicy::Quarantine,
        Policy::None | Policy::Unspecified => DmarcPolicy::None,
    });
}

fn spf_result(result: MethodResult) -> SpfResult {
    match result {
        MethodResult::Pass => SpfResult::Pass,
        MethodResult::Fail | MethodResult::Policy => SpfResult::Fail,
        MethodResult::SoftFail => SpfResult::SoftFail,
        MethodResult::Neutral => SpfResult::Neutral,
        MethodResult::TempError => SpfResult::TempError,
        MethodResult::PermError => SpfResult::PermError,
        MethodResult::None => SpfResult::None,
    }
}

fn signature(dkim: &Dkim) -> Option<(MethodResult, Signature)> {
    let d = dkim.domain.as_ref()?.as_str().to_owned();
    Some((dkim.result, Signature { d, ..Default::default() }))
}

/// Only these two results count for DMARC (RFC 9989 section 5.3.6 for temperror).
fn dkim_output(result: MethodResult, signature: &Signature) -> Option<DkimOutput<'_>> {
    match result {
        MethodResult::Pass => Some(DkimOutput::pass().with_signature(signature)),
        MethodResult::TempError => {
            let error = Error::Dns(LibraryDnsError::Resolver(String::new()));
            Some(DkimOutput::temp_err(error).with_signature(signature))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_takes_at_most_eight_steps() {
        assert_eq!(walk("a.b.c"), ["a.b.c", "b.c", "c"]);
        assert_eq!(walk("org"), ["org"]);
        let names = walk("1.2.3.4.5.6.7.8");
        assert_eq!((names.len(), names[0], names[1]), (8, "1.2.3.4.5.6.7.8", "2.3.4.5.6.7.8"));
        let names = walk("a.b.1.2.3.4.5.6.7");
        assert_eq!((names.len(), names[0], names[1]), (8, "a.b.1.2.3.4.5.6.7", "1.2.3.4.5.6.7"));
    }
}
