//! The configuration: any text is either a consistent configuration or a bounded list of problems, each in its place.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use mxkeep::config::{Config, PROBLEMS_MAX};

pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    match Config::parse(&text, "fuzz.toml", Path::new("/etc/mxkeep")) {
        Ok((config, warnings)) => {
            assert!(warnings.len() <= PROBLEMS_MAX);
            check(&config);
        }
        Err(error) => {
            assert!((1..=PROBLEMS_MAX).contains(&error.problems.len()), "{error}");
            for problem in &error.problems {
                let place = problem.place.as_ref().expect("a place in the text");
                assert!(place.line <= text.matches('\n').count() + 1 && place.column >= 1, "{problem}");
            }
        }
    }
}

/// What a [`Config`] promises.
fn check(config: &Config) {
    assert!(config.storage.mail.root.is_absolute() && config.storage.state.is_absolute());
    let mut maildirs = BTreeSet::new();
    for (name, domain) in &config.domains {
        assert!(domain.policy.junk_score.is_finite() && domain.policy.reject_score.is_finite());
        for mailbox in &domain.mailboxes {
            assert_eq!(mailbox.domain(), Some(name));
            let below = config.storage.mail.expand(mailbox.local_part(), name);
            assert!(below.components().all(|component| matches!(component, Component::Normal(_))), "{below:?}");
            assert!(maildirs.insert(below), "two mailboxes share a Maildir");
        }
        for duty in ["postmaster", "abuse"] {
            let mailbox = domain.mailboxes.iter().any(|mailbox| mailbox.local_part() == duty);
            assert!(mailbox || domain.aliases.contains_key(duty), "{name} has no {duty}");
        }
        for target in domain.aliases.values().flatten() {
            let there = target.domain().and_then(|domain| config.domains.get(domain)).expect("a domain of ours");
            assert!(there.mailboxes.contains(target) || there.aliases.contains_key(target.local_part()), "{target}");
        }
    }
}
