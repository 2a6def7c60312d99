//! `[policy]`, the server's and a domain's own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::domains::domain_name;
use super::section::{Report, Section, Value};
use super::{DmarcMode, DmarcOverride, FolderName, Forwarder, Network, Policy};
use crate::address::Domain;

/// Reads the server's policy, or a domain's, which inherits from it, each key as a whole.
pub(super) fn read(report: &mut Report, section: &Section<'_>) -> Option<Policy> {
    const DMARC: &[(&str, DmarcMode)] = &[("enforce", DmarcMode::Enforce), ("observe", DmarcMode::Observe)];
    let (junk, reject) = (section.value("junk_score"), section.value("reject_score"));
    let junk_score = junk.as_ref().and_then(|value| value.number(report));
    let reject_score = reject.as_ref().and_then(|value| value.number(report));
    let dmarc = section.value("dmarc").and_then(|value| value.choice(report, DMARC));
    let junk_folder = section.value("junk_folder").and_then(|value| value.parsed(report, folder_name));
    let trusted_sealers = read_sealers(report, section);
    let trusted_forwarders = read_forwarders(report, section);
    let dmarc_overrides = read_overrides(report, section);
    let policy = Policy {
        junk_score: junk_score?,
        reject_score: reject_score?,
        dmarc: dmarc?,
        junk_folder: junk_folder?,
        trusted_sealers,
        trusted_forwarders,
        dmarc_overrides,
    };
    if let (true, Some(junk), Some(reject)) = (policy.junk_score > policy.reject_score, junk, reject) {
        let Policy { junk_score, reject_score, .. } = policy;
        let message = format!(
            "{}: {junk_score} is more than {}, {reject_score}: nothing would ever go to the Junk folder. \
             Write a junk_score of at most the reject_score.",
            junk.name, reject.name
        );
        let own = [&reject, &junk].into_iter().find(|value| value.name.starts_with(section.name()));
        report.error(own.and_then(|value| value.at).or(junk.at).unwrap_or(section.at), message);
    }
    Some(policy)
}

fn folder_name(text: &str) -> Result<FolderName, String> {
    let advise = |wrong| format!("\"{}\" {wrong}. Write a folder name such as \"Junk\".", text.escape_debug());
    text.parse().map_err(advise)
}

fn elements<'a>(report: &mut Report, section: &Section<'a>, name: &str) -> Vec<Value<'a>> {
    section.value(name).map(|value| value.list(report)).unwrap_or_default()
}

fn read_sealers(report: &mut Report, section: &Section<'_>) -> Vec<Domain> {
    let mut sealers = Vec::new();
    for value in elements(report, section, "trusted_sealers") {
        let Some(domain) = value.parsed(report, domain_name) else { continue };
        warn_of_domain(report, &value, &domain);
        sealers.push(domain);
    }
    sealers
}

fn read_forwarders(report: &mut Report, section: &Section<'_>) -> Vec<Forwarder> {
    let mut forwarders = Vec::new();
    for value in elements(report, section, "trusted_forwarders") {
        let Some(forwarder) = value.parsed(report, forwarder) else { continue };
        match &forwarder {
            Forwarder::Domain(domain) => warn_of_domain(report, &value, domain),
            Forwarder::Network(network) if network.prefix_bits == 0 => {
                warn(report, &value, format!("{network} is everybody. Write the networks that you mean."));
            }
            Forwarder::Network(_) => {}
        }
        forwarders.push(forwarder);
    }
    forwarders
}

/// A domain name as people write it, or a network.
fn forwarder(text: &str) -> Result<Forwarder, String> {
    let address = text.split('/').next().unwrap_or_default();
    if text.contains(['/', ':']) || address.parse::<IpAddr>().is_ok() {
        return text.parse::<Network>().map(Forwarder::Network);
    }
    domain_name(text).map(Forwarder::Domain).map_err(|_| {
        let text = text.escape_debug();
        format!(
            "\"{text}\" is neither a domain name nor a network. Write one such as \"example.org\" or \"192.0.2.0/24\"."
        )
    })
}

/// The operator's own judgement of author domains. A name may stand there once, however it is spelled.
fn read_overrides(report: &mut Report, section: &Section<'_>) -> BTreeMap<Domain, DmarcOverride> {
    const POLICIES: &[(&str, DmarcOverride)] =
        &[("none", DmarcOverride::None), ("quarantine", DmarcOverride::Quarantine), ("reject", DmarcOverride::Reject)];
    let mut overrides = BTreeMap::new();
    let table = section.value("dmarc_overrides").map(|value| (Section::of(report, &value), value));
    let Some((table, whole)) = table else { return overrides };
    for (name, at, value) in table.entries() {
        // `example.net = "none"` without quotes is a table in a table.
        if value.is_section() {
            value.error(report, "a domain name stands in double quotes. Write { \"example.net\" = \"none\" }.");
            continue;
        }
        let domain = domain_name(name).map_err(|message| report.error(at, format!("{}: {message}", whole.name)));
        let policy = value.choice(report, POLICIES);
        let (Ok(domain), Some(policy)) = (domain, policy) else { continue };
        if policy == DmarcOverride::None {
            warn_of_domain(report, &value, &domain);
        }
        if overrides.insert(domain.clone(), policy).is_some() {
            let message = format!("{}: {domain} is there already, in another spelling. Keep one of them.", value.name);
            report.error(at, message);
        }
    }
    overrides
}

/// Trust reaches below a name: of a top-level domain that is half the world.
fn warn_of_domain(report: &mut Report, value: &Value<'_>, domain: &Domain) {
    if !domain.as_str().contains('.') {
        let message = format!("\"{domain}\" stands for every domain below it. Write the domains that you mean.");
        warn(report, value, message);
    }
}

fn warn(report: &mut Report, value: &Value<'_>, message: String) {
    report.warning(value.at.unwrap_or(0), format!("{}: {message}", value.name));
}
