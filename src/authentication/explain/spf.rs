//! SPF explained: whose record decided, by which term, or why no record could.

use std::net::IpAddr;

use super::super::spf::{Matched, Problem};
use super::super::{MethodResult, Spf, SpfIdentity};
use super::Finding;
use crate::address::Domain;

pub(super) fn explain(spf: &Spf, client: Option<IpAddr>) -> Finding {
    let name = match spf.identity {
        SpfIdentity::MailFrom => "MAIL FROM",
        SpfIdentity::Helo => "HELO",
    };
    let subject = spf.domain.as_ref().map_or_else(|| name.to_owned(), |domain| format!("{name} {domain}"));
    let mut finding = Finding::new("spf", &subject, spf.result);
    let client = client.map_or_else(|| "the client".to_owned(), |client| client.to_string());
    match (&spf.problem, &spf.matched, &spf.domain) {
        (Some(problem), _, domain) => explain_problem(&mut finding, problem, domain.as_ref(), &client),
        (None, Some(matched), Some(domain)) => explain_match(&mut finding, matched, domain, &client),
        _ => {
            finding.say(match spf.reason {
                Some(reason) => format!("Not checked: {reason}."),
                None => "Not checked.".to_owned(),
            });
            // Nobody hands in a result without what decided it; but if so, a sender is not left alone with it.
            if !matches!(spf.result, MethodResult::None | MethodResult::Pass) {
                finding.advise(format!("Check the SPF record of {subject}."));
            }
        }
    }
    finding
}

fn explain_match(finding: &mut Finding, matched: &Matched, domain: &Domain, client: &str) {
    let record = match &*matched.domain {
        whose if whose == domain.as_str() => format!("the record of {domain}"),
        whose => format!("the record of {whose}, to which that of {domain} redirects,"),
    };
    let all = |directive: &str| directive.trim_start_matches(['+', '-', '~', '?']).eq_ignore_ascii_case("all");
    finding.say(match &matched.directive {
        Some(directive) if all(directive) => format!("Only {directive} in {record} matches {client}."),
        Some(directive) => format!("{directive} in {record} matches {client}."),
        None => format!("Nothing in {record} matches {client}, and it ends without all."),
    });
    let whose = &matched.domain;
    match (finding.result, &matched.directive) {
        (MethodResult::Pass, Some(directive)) if all(directive) => {
            finding.advise(format!("End the SPF record of {whose} with -all: {directive} lets every address send."));
        }
        (MethodResult::Pass, _) => {}
        (_, Some(directive)) if !all(directive) => finding.advise(format!(
            "If {client} may send for {domain}, take {directive} out of the SPF record of {whose}, or put a term that \
             passes before it."
        )),
        (_, Some(_)) => finding.advise(format!(
            "If {client} may send for {domain}, add {} to the SPF record of {whose}; if it forwards, let it use a \
             reverse-path of its own.",
            term(client)
        )),
        (_, None) => {
            finding.advise(format!("Add {} to the SPF record of {whose}, and end it with -all.", term(client)));
        }
    }
}

/// The term that lets a client send.
fn term(client: &str) -> String {
    match client.parse() {
        Ok(IpAddr::V4(address)) => format!("ip4:{address}"),
        Ok(IpAddr::V6(address)) => format!("ip6:{address}"),
        Err(_) => "a term for the client's address".to_owned(),
    }
}

fn explain_problem(finding: &mut Finding, problem: &Problem, domain: Option<&Domain>, client: &str) {
    let own = domain.map_or("the domain", Domain::as_str);
    let (says, advice) = match problem {
        Problem::NoDomain => (
            format!("{own} is no domain that could have an SPF record."),
            "Use a domain name of at least two labels, and publish an SPF record there.".to_owned(),
        ),
        Problem::NoRecord => (
            format!("{own} has no SPF record."),
            format!(
                "Publish an SPF record at {own} that has {client} in it, such as \"v=spf1 {} -all\".",
                term(client)
            ),
        ),
        Problem::NoRecordAt { domain } => (
            format!("The record of {own} leads to {domain}, which has no SPF record."),
            format!("Publish an SPF record at {domain}, or take what refers to it out of the record of {own}."),
        ),
        Problem::SeveralRecords { domain } => (
            format!("{domain} has more than one SPF record: none of them counts (RFC 7208 section 4.5)."),
            format!("Merge the SPF records of {domain} into one."),
        ),
        Problem::Syntax { domain, term } => (
            format!("{term} in the record of {domain} is not valid (RFC 7208 section 4.6)."),
            format!("Correct {term} in the SPF record of {domain}."),
        ),
        Problem::TooLarge => (
            format!("There are more TXT records than are read, at {own} or where its record leads."),
            format!("Remove TXT records beside the SPF record of {own}, or give it a name of its own by redirect=."),
        ),
        Problem::TooManyLookups => (
            format!("The record of {own} needs more than 10 terms that cause lookups (RFC 7208 section 4.6.4)."),
            format!("Replace some include, a and mx in the SPF record of {own} by ip4 and ip6."),
        ),
        Problem::TooManyVoidLookups => (
            format!("More than 2 terms of the record of {own} look up what is not there (RFC 7208 section 4.6.4)."),
            format!("Remove terms from the SPF record of {own} whose names no longer exist."),
        ),
        Problem::TooManyExchanges { domain } => (
            format!("{domain}, which an mx of the record of {own} asks for, has more than 10 MX records."),
            format!("Replace mx for {domain} in the SPF record of {own} by ip4 and ip6."),
        ),
        Problem::Lookup => (
            format!("A lookup for the SPF record of {own} failed."),
            format!("Make sure that the name servers answer for {own} and each name in its SPF record."),
        ),
        Problem::Deadline => (
            format!("The evaluation of the SPF record of {own} took too long."),
            format!("Make sure that the name servers answer quickly for {own} and each name in its SPF record."),
        ),
    };
    finding.say(says);
    finding.advise(advice);
}
