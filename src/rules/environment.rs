//! What rule files say besides rules, made ready for views and evals: networks, lists, registries, patterns of links.
//!
//! *Does:* reads what [`Preferences`] hold as written; what is wrong is a finding with its place.
//! *Never does:* change once it is made. One is shared by all messages.

use crate::rules::diagnostic::{Diagnostics, Kind};
use crate::rules::evals::options::Options;
use crate::rules::evals::uri::HostLists;
use crate::rules::pattern::{Budget, Pattern};
use crate::rules::preferences::{Placed, Preferences};
use crate::rules::relays::{Boundaries, NetworkError};
use crate::rules::views::header::Query;
use crate::rules::views::uri::domain;

/// Fields of `add_header` that mxkeep writes itself, or that would say that SpamAssassin was there.
const OWN_FIELDS: [&str; 5] = ["Flag", "Score", "Level", "Status", "Checker-Version"];
/// The steps that finding a redirector in one link may take.
const REDIRECTOR_STEPS_MAX: u64 = 50_000;

/// Shared by all messages.
#[derive(Debug, Default)]
pub struct Environment {
    /// Which hosts are trusted, and which are ours.
    pub boundaries: Boundaries,
    /// Which domains there are, and which part of a host was registered.
    pub registries: domain::Boundaries,
    /// Where links lead that lead somewhere else: the first group of these.
    pub redirectors: Vec<Pattern>,
    /// Fields that tell where a message began.
    pub originating: Vec<Query>,
    /// Lists and limits of evals.
    pub options: Options,
    /// Hosts of links, by list.
    pub uri_hosts: HostLists,
    /// As they were read.
    pub preferences: Preferences,
}

impl Environment {
    /// Makes it of what was read.
    pub fn new(mut preferences: Preferences, diagnostics: &mut Diagnostics) -> Self {
        for name in OWN_FIELDS {
            // It is in its form: it is ours.
            let _ = preferences.fields.remove(&format!("all {name}"));
        }
        let originating = preferences.originating_ip_headers.iter().map(|name| Query::read(&format!("{name}:last")));
        Environment {
            boundaries: boundaries(&preferences, diagnostics),
            registries: registries(&preferences),
            redirectors: redirectors(&preferences, diagnostics),
            originating: originating.collect(),
            options: Options::of(&preferences),
            uri_hosts: HostLists::of(&preferences.uri_hosts),
            preferences,
        }
    }

    /// Where a link leads, if it is one that leads somewhere else.
    pub fn redirected(&self, uri: &[u8]) -> Option<Vec<u8>> {
        let mut budget = Budget::new(REDIRECTOR_STEPS_MAX);
        self.redirectors.iter().find_map(|pattern| pattern.first_group(uri, &mut budget)).map(<[u8]>::to_vec)
    }
}

type AddNetwork = fn(&mut Boundaries, &str) -> Result<(), NetworkError>;

fn boundaries(preferences: &Preferences, diagnostics: &mut Diagnostics) -> Boundaries {
    let mut boundaries = Boundaries::default();
    let lists: [(&[Placed], AddNetwork); 3] = [
        (&preferences.trusted_networks, Boundaries::trust),
        (&preferences.internal_networks, Boundaries::own),
        (&preferences.msa_networks, Boundaries::submission),
    ];
    for (list, add) in lists {
        for Placed { text, span } in list {
            let word = String::from_utf8_lossy(text);
            if let Err(error) = add(&mut boundaries, &word) {
                diagnostics.add(Kind::Value, span, format!("{word}: {error}"), "the network is left out");
            }
        }
    }
    boundaries
}

fn registries(preferences: &Preferences) -> domain::Boundaries {
    let mut registries = domain::Boundaries::default();
    for (directive, names) in ["util_rb_tld", "util_rb_2tld", "util_rb_3tld"].iter().zip(&preferences.suffixes) {
        for name in names {
            registries.add(directive, &String::from_utf8_lossy(name));
        }
    }
    registries
}

fn redirectors(preferences: &Preferences, diagnostics: &mut Diagnostics) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for Placed { text, span } in &preferences.redirectors {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => diagnostics.add(Kind::Pattern, span, error.to_string(), "the redirector is not looked for"),
        }
    }
    patterns
}
