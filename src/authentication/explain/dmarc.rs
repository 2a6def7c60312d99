//! DMARC explained: which record speaks for the author domain, and who was aligned with it, or why not.

use super::super::{Authentication, Authors, Dmarc, MethodResult, SpfIdentity};
use super::{Finding, is_within, sentence};
use crate::address::Domain;

/// Signatures of one result that are listed: others say the same.
const SIGNATURES_SHOWN_MAX: usize = 10;

pub(super) fn explain(found: &Authentication) -> Finding {
    let dmarc = &found.dmarc;
    let author = dmarc.author_domain.as_ref().or(found.authors.domain());
    let subject = author.map_or("no author domain", Domain::as_str);
    let mut finding = Finding::new("dmarc", subject, dmarc.result);
    match (dmarc.result, dmarc.reason) {
        // What was aligned, and why other things were not, comes below.
        (MethodResult::Pass | MethodResult::Fail, _) => {}
        (_, Some(reason)) => finding.say(sentence(reason)),
        (MethodResult::None, None) => finding.say("Not checked."),
        (_, None) => {}
    }
    explain_policy(&mut finding, dmarc);
    if let Some(author) = author
        && dmarc.result != MethodResult::None
    {
        let view = View { found, author };
        view.explain_spf(&mut finding);
        view.explain_dkim(&mut finding);
    }
    // Without an author domain it is the From field that has to change: a finding of its own.
    if let (Some(author), true) = (author, matches!(found.authors, Authors::One(_))) {
        advise(&mut finding, found, author);
    } else if !matches!(dmarc.result, MethodResult::None | MethodResult::Pass) {
        finding.advise("Write one From field, with authors of one domain.");
    }
    finding
}

/// The record, and what it asks for here.
fn explain_policy(finding: &mut Finding, dmarc: &Dmarc) {
    match (&dmarc.policy_domain, &dmarc.record) {
        (Some(at), Some(record)) => finding.say(format!("Record at _dmarc.{at}: {record}")),
        (Some(at), None) => finding.say(format!("Record at _dmarc.{at}.")),
        (None, Some(record)) => finding.say(format!("Record: {record}")),
        (None, None) => {}
    }
    if let Some(policy) = dmarc.policy {
        let by = match dmarc.tag {
            Some("np") => ", by np=: the author domain does not exist",
            Some("sp") => ", by sp=: the author domain is below the record's",
            Some("p") => ", by p=",
            _ => "",
        };
        let testing = if dmarc.testing { ", one step milder than written: t=y" } else { "" };
        finding.say(format!("Policy: {policy}{by}{testing}."));
    }
    if let Some(organization) = &dmarc.organizational_domain {
        finding.say(format!("Organizational domain: {organization}."));
    }
}

/// One author domain, and what was found.
struct View<'a> {
    found: &'a Authentication,
    author: &'a Domain,
}

impl View<'_> {
    fn explain_spf(&self, finding: &mut Finding) {
        let (spf, dmarc) = (&self.found.spf, &self.found.dmarc);
        let identity = match spf.identity {
            SpfIdentity::MailFrom => "",
            SpfIdentity::Helo => " (HELO)",
        };
        finding.say(match (&spf.domain, spf.result) {
            (Some(domain), MethodResult::Pass) => {
                let relation = self.relation(domain, dmarc.spf_aligned, dmarc.spf_strict, "aspf=s");
                format!("SPF passed for {domain}{identity}, which {relation}.")
            }
            (Some(domain), result) => format!("SPF did not pass for {domain}{identity}: {result}."),
            (None, result) => format!("SPF did not pass: {result}."),
        });
    }

    fn explain_dkim(&self, finding: &mut Finding) {
        let dmarc = &self.found.dmarc;
        if self.found.dkim.is_empty() {
            finding.say("No DKIM signature.");
        }
        for dkim in self.found.dkim.iter().take(SIGNATURES_SHOWN_MAX) {
            let domain = dkim.domain.as_ref();
            finding.say(match (domain, dkim.result) {
                (Some(domain), MethodResult::Pass) => {
                    let aligned = dmarc.dkim_aligned && self.looks_aligned(domain, dmarc.dkim_strict);
                    let relation = self.relation(domain, aligned, dmarc.dkim_strict, "adkim=s");
                    format!("DKIM passed for {domain}, which {relation}.")
                }
                (Some(domain), result) => format!("DKIM did not pass for {domain}: {result}."),
                (None, result) => format!("A DKIM signature did not pass: {result}."),
            });
        }
    }

    /// How an authenticated domain stands to the author domain.
    fn relation(&self, domain: &Domain, aligned: bool, strict: bool, tag: &str) -> String {
        let author = self.author;
        let organization = self.found.dmarc.organizational_domain.as_ref();
        let own = organization.is_some_and(|organization| organization == author);
        match (aligned, organization) {
            (true, _) if domain == author => "is the author domain: aligned".to_owned(),
            (true, Some(organization)) if own => format!("is aligned (relaxed): within {organization}"),
            (true, Some(organization)) => format!("is aligned (relaxed): within {organization}, as {author} is"),
            (true, None) => format!("is aligned (relaxed) with {author}"),
            (false, _) if strict => {
                format!("is not {author} itself, as strict alignment ({tag}) wants it: not aligned")
            }
            (false, Some(organization)) if is_within(domain, organization) => {
                format!("is within {organization}, but has an organizational domain of its own: not aligned")
            }
            (false, Some(organization)) if own => {
                format!("is not within the organizational domain {organization}: not aligned")
            }
            (false, Some(organization)) => {
                format!("is not within {organization}, the organizational domain of {author}: not aligned")
            }
            (false, None) => format!("is not within the organizational domain of {author}: not aligned"),
        }
    }

    /// DMARC says only that some signature was aligned: which, as far as it can be told without DNS.
    fn looks_aligned(&self, domain: &Domain, strict: bool) -> bool {
        match &self.found.dmarc.organizational_domain {
            _ if strict => domain == self.author,
            Some(organization) => is_within(domain, organization),
            None => is_within(domain, self.author) || is_within(self.author, domain),
        }
    }
}

fn advise(finding: &mut Finding, found: &Authentication, author: &Domain) {
    let dmarc = &found.dmarc;
    let at = dmarc.policy_domain.as_ref().or(dmarc.organizational_domain.as_ref()).unwrap_or(author);
    let uncertain = found.spf.result == MethodResult::TempError
        || found.dkim.iter().any(|dkim| dkim.result == MethodResult::TempError);
    match dmarc.result {
        MethodResult::Pass => {}
        MethodResult::None => finding.advise(format!(
            "Publish one DMARC record at _dmarc.{at}, such as \"v=DMARC1; p=none\" to begin with: without it anybody may \
             write as {author}."
        )),
        MethodResult::TempError if dmarc.record.is_some() && uncertain => {
            finding.advise("Make sure that the name servers answer for the SPF record and the DKIM keys.");
        }
        MethodResult::TempError if dmarc.record.is_some() => finding.advise(format!(
            "Make sure that the name servers answer for {author}, and for _dmarc of each domain that SPF or DKIM passed for."
        )),
        MethodResult::TempError => finding.advise(format!(
            "Make sure that the name servers answer for _dmarc.{author} and for _dmarc of the domains above it."
        )),
        MethodResult::PermError => {
            finding.advise(format!("Correct the DMARC record at _dmarc.{at} (RFC 9989 section 4.7)."));
        }
        _ => finding.advise(advice_to_align(found, author)),
    }
}

fn advice_to_align(found: &Authentication, author: &Domain) -> String {
    let dmarc = &found.dmarc;
    let within = match (&dmarc.organizational_domain, dmarc.spf_strict) {
        (_, true) => format!("at {author} itself"),
        (Some(organization), false) => format!("at {organization} or below it"),
        (None, false) => format!("at {author} or below it"),
    };
    let own = |domain: &Domain| domain == author || !dmarc.dkim_strict && is_within(author, domain);
    let broken = found.dkim.iter().filter(|dkim| dkim.result != MethodResult::Pass);
    let broken = broken.filter_map(|dkim| dkim.domain.as_ref()).find(|domain| own(domain));
    match broken {
        Some(domain) => format!(
            "Mend the DKIM signature of {domain} (see there), or send with a reverse-path {within} for which SPF passes."
        ),
        None => format!("Sign with DKIM as d={author}, or send with a reverse-path {within} for which SPF passes."),
    }
}
