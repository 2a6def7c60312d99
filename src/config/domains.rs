//! `[domains]`: which addresses are ours, and that each of them leads to a Maildir of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use super::aliases::{AliasError, Directory};
use super::section::{Report, Section, Value};
use super::template::{COMPONENT_OCTETS_MAX, is_safe_component};
use super::{Config, DomainConfig, policy};
use crate::address::{Domain, Mailbox};

/// Addresses that every domain has: RFC 5321 section 4.5.1, RFC 2142 section 4.
const EVERY_DOMAIN_HAS: [&str; 2] = ["postmaster", "abuse"];

/// An alias as it stands in the file, to be checked once all domains are known.
struct Placed<'a> {
    alias: Mailbox,
    at: usize,
    name: String,
    targets: Vec<(Value<'a>, Mailbox)>,
}

/// Reads a domain name as people write it.
pub(super) fn domain_name(text: &str) -> Result<Domain, String> {
    let domain = Domain::from_unicode(text).ok();
    // A name whose last label is a number is an IPv4 address, or nothing (RFC 3696 section 2).
    let is_name = |domain: &Domain| {
        domain.as_str().rsplit('.').next().is_some_and(|label| !label.bytes().all(|b| b.is_ascii_digit()))
    };
    domain.filter(is_name).ok_or_else(|| {
        let text = text.escape_debug();
        format!("\"{text}\" is not a domain name. Write one such as \"example.org\".")
    })
}

/// Reads all domains, and checks their aliases once all are known.
pub(super) fn read(report: &mut Report, root: &Section<'_>, policy: &Section<'_>) -> BTreeMap<Domain, DomainConfig> {
    let section = root.section(report, "domains");
    let mut domains = BTreeMap::new();
    let mut aliases = Vec::new();
    let errors_before = report.errors();
    for (name, at, value) in section.entries() {
        let Ok(domain) = domain_name(name).map_err(|message| report.error(at, format!("domains: {message}"))) else {
            continue;
        };
        let own = Section::of(report, &value);
        if !own.is_present() {
            continue;
        }
        let config = read_domain(report, &own, policy, &domain, &mut aliases);
        let earlier = config.and_then(|config| domains.insert(domain.clone(), config));
        if earlier.is_some() {
            let message = format!("{}: {domain} is there already, in another spelling. Keep one of them.", value.name);
            report.error(at, message);
        }
    }
    if !section.is_present() || section.entries().is_empty() {
        report.error(section.at, "there is no domain to receive mail for. Add a section [domains.\"example.org\"].");
    }
    // A mailbox that could not be read is not one that an alias invented.
    if report.errors() == errors_before {
        check_aliases(report, &domains, &aliases);
    }
    domains
}

fn read_domain<'a>(
    report: &mut Report,
    section: &Section<'a>,
    policy: &Section<'a>,
    domain: &Domain,
    placed: &mut Vec<Placed<'a>>,
) -> Option<DomainConfig> {
    let mailboxes = read_mailboxes(report, section, domain);
    let taken: HashSet<&Mailbox> = mailboxes.iter().collect();
    let mut aliases = BTreeMap::new();
    let alias_values = section.value("aliases").map(|value| Section::of(report, &value));
    for (name, at, value) in alias_values.iter().flat_map(Section::entries) {
        let Some(alias) = read_alias(report, domain, (name, at, value)) else { continue };
        let targets = alias.targets.iter().map(|(_, target)| target.clone()).collect();
        if taken.contains(&alias.alias) {
            report
                .error(at, format!("{}: there is a mailbox of that name. Keep the mailbox or the alias.", alias.name));
        } else if aliases.insert(alias.alias.local_part().to_owned(), targets).is_some() {
            report.error(at, format!("{}: it is there already, in other case. Keep one of them.", alias.name));
        }
        placed.push(alias);
    }
    add_role_addresses(report, section, &mailboxes, &mut aliases);
    let own_policy = section.section(report, "policy").inherits(policy);
    Some(DomainConfig { mailboxes, aliases, policy: policy::read(report, &own_policy)? })
}

fn read_mailboxes(report: &mut Report, section: &Section<'_>, domain: &Domain) -> Vec<Mailbox> {
    let mut mailboxes = Vec::new();
    let mut seen = HashSet::new();
    for value in section.value("mailboxes").map(|value| value.list(report)).unwrap_or_default() {
        let Some(mailbox) = value.parsed(report, |text| mailbox_at(text, domain)) else { continue };
        if !seen.insert(mailbox.clone()) {
            value.error(report, format!("{} is there already. Keep one of them.", mailbox.local_part()));
        } else {
            mailboxes.push(mailbox);
        }
    }
    mailboxes
}

fn read_alias<'a>(report: &mut Report, domain: &Domain, entry: (&'a str, usize, Value<'a>)) -> Option<Placed<'a>> {
    let (name, at, value) = entry;
    let alias = address_at(name, domain).map_err(|message| report.error(at, format!("{}: {message}", value.name)));
    let mut targets = Vec::new();
    let errors_before = report.errors();
    for target in value.list(report) {
        if let Some(mailbox) = target.parsed(report, |text| target_at(text, domain)) {
            targets.push((target, mailbox));
        }
    }
    if targets.is_empty() && report.errors() == errors_before {
        value.error(report, "nobody would get this mail. Write at least one mailbox, such as [\"alice\"].");
    }
    Some(Placed { alias: alias.ok()?, at, name: value.name, targets })
}

/// Gives postmaster and abuse to the first mailbox where the file names nobody: they must never be refused.
fn add_role_addresses(
    report: &mut Report,
    section: &Section<'_>,
    mailboxes: &[Mailbox],
    aliases: &mut BTreeMap<String, Vec<Mailbox>>,
) {
    let is_named = |role: &str| aliases.contains_key(role) || mailboxes.iter().any(|m| m.local_part() == role);
    let missing: Vec<&str> = EVERY_DOMAIN_HAS.into_iter().filter(|role| !is_named(role)).collect();
    if missing.is_empty() {
        return;
    }
    let (name, roles) = (section.name(), missing.join(" and "));
    // Without a mailbox of its own the domain's postmaster is the one who cares for it.
    let fallback =
        mailboxes.first().map(|mailbox| vec![mailbox.clone()]).or_else(|| aliases.get("postmaster").cloned());
    let Some(fallback) = fallback else {
        report.error(section.at, format!("{name}: nobody would get the mail for {roles}. Add a mailbox or an alias."));
        return;
    };
    let who: Vec<String> = fallback.iter().map(Mailbox::to_string).collect();
    let message = format!("{name}: nobody is named for {roles}; that mail goes to {}. Add an alias.", who.join(", "));
    report.warning(section.at, message);
    for role in missing {
        aliases.insert(role.to_owned(), fallback.clone());
    }
}

/// A mailbox's local-part, which is to be a directory.
fn mailbox_at(text: &str, domain: &Domain) -> Result<Mailbox, String> {
    let mailbox = address_at(text, domain)?;
    match is_safe_component(mailbox.local_part()) {
        true => Ok(mailbox),
        false => Err(format!(
            "\"{}\" can't be a directory's name. Use another mailbox, and an alias for this address.",
            text.escape_debug()
        )),
    }
}

/// A local-part at a domain, in lower case.
fn address_at(text: &str, domain: &Domain) -> Result<Mailbox, String> {
    let wrong = |what: &str| format!("\"{}\" {what}", text.escape_debug());
    if text.contains('@') {
        return Err(wrong("is a whole address. Write only what stands before the @."));
    }
    if !text.is_ascii() {
        return Err(wrong("has a letter that is not ASCII; such addresses (SMTPUTF8) are not supported yet."));
    }
    let mailbox = Mailbox::new(&text.to_ascii_lowercase(), domain);
    mailbox.map_err(|_| wrong("is not a local-part. Write what stands before the @ of an address, without quotes."))
}

/// Where an alias leads: a local-part of the same domain, or a whole address.
fn target_at(text: &str, domain: &Domain) -> Result<Mailbox, String> {
    match text.rsplit_once('@') {
        None => address_at(text, domain),
        Some((local_part, domain)) => address_at(local_part, &domain_name(domain)?),
    }
}

fn check_aliases(report: &mut Report, domains: &BTreeMap<Domain, DomainConfig>, aliases: &[Placed<'_>]) {
    let directory = Directory::new(domains);
    for alias in aliases {
        let mut reachable = true;
        for (value, target) in &alias.targets {
            if let Err(error) = directory.find(target) {
                value.error(report, error);
                reachable = false;
            }
        }
        let expanded = if reachable { directory.expand(&alias.alias).map(drop) } else { Ok(()) };
        match expanded {
            // What stands further down the chain is reported at its own place, and a circle at one of its members.
            Ok(()) | Err(AliasError::Unknown(_) | AliasError::Foreign(_)) => {}
            Err(AliasError::Loop(circle)) if !is_first_of(&alias.alias, &circle) => {}
            Err(error) => report.error(alias.at, format!("{}: {error}", alias.name)),
        }
    }
}

fn is_first_of(alias: &Mailbox, circle: &[Mailbox]) -> bool {
    circle.iter().map(Mailbox::to_string).min() == Some(alias.to_string())
}

/// Checks that each mailbox has a Maildir of its own.
pub(super) fn check_maildirs(report: &mut Report, root: &Section<'_>, config: &Config) {
    let template = &config.storage.mail;
    let storage = root.section(report, "storage");
    let Some(value) = storage.value("mail") else { return };
    if config.domains.len() > 1 && !template.tells_domains_apart() {
        value.error(report, "there is no {domain} in it, so that several domains would share mailboxes. Add {domain}.");
        return;
    }
    let mut owners: HashMap<PathBuf, &Mailbox> = HashMap::new();
    for (domain, mailbox) in config.domains.iter().flat_map(|(d, config)| config.mailboxes.iter().map(move |m| (d, m)))
    {
        let path = template.expand(mailbox.local_part(), domain);
        if path.iter().any(|component| component.len() > COMPONENT_OCTETS_MAX) {
            value.error(
                report,
                format!("the path for {mailbox} has a name of more than {COMPONENT_OCTETS_MAX} octets."),
            );
        }
        if config.storage.state.starts_with(template.root.join(&path)) {
            value.error(report, format!("the Maildir of {mailbox} would hold storage.state. Keep them apart."));
        }
        if let Some(other) = owners.insert(path, mailbox) {
            value
                .error(report, format!("{other} and {mailbox} would share one Maildir. Put a / between placeholders."));
        }
    }
}
