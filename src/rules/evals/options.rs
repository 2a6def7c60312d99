//! What preferences give to evals: lists and limits, ready to be looked up.
//!
//! *Does:* takes directives as they were read (the name, the words behind it) and builds the lists of them.
//! *Never does:* read files. Directives that aren't about evals are not known here.

use std::collections::HashMap;
use std::sync::Arc;

use super::freemail::FreeMail;
use super::globs::{Glob, Globs};
use super::mailboxes::TopLevelDomains;
use super::places::Place;
use crate::rules::preferences::Preferences;

/// The smallest key, in bits, whose signature counts where it vouches for somebody.
const DKIM_MINIMUM_KEY_BITS: usize = 1_024;

/// All lists and limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// FreeMail's.
    pub freemail: Arc<FreeMail>,
    /// Addresses and other texts, by the directive that lists them or the name that `enlist_addrlist` gives.
    pub lists: HashMap<String, Arc<Globs>>,
    /// Addresses that count only if a relay vouches for them, by directive.
    pub vouched: HashMap<String, Arc<Vec<Vouched>>>,
    /// Addresses that count only if a signer vouches for them, by directive. An empty signer is the address's own domain.
    pub signed: HashMap<String, Arc<Vec<(Glob, String)>>>,
    /// `adsp_override`: what a domain is known to do about signatures.
    pub signing_practices: Arc<HashMap<String, char>>,
    /// `dkim_minimum_key_bits`.
    pub dkim_minimum_key_bits: usize,
    /// `ok_locales`.
    pub locales: Arc<Vec<String>>,
    /// `util_rb_tld`.
    pub top_level_domains: Arc<TopLevelDomains>,
}

/// An address and the relay that must have sent it.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The address.
    pub address: Glob,
    /// The relay.
    pub place: Place,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            freemail: Arc::default(),
            lists: HashMap::new(),
            vouched: HashMap::new(),
            signed: HashMap::new(),
            signing_practices: Arc::default(),
            dkim_minimum_key_bits: DKIM_MINIMUM_KEY_BITS,
            locales: Arc::new(vec!["all".to_owned()]),
            top_level_domains: Arc::default(),
        }
    }
}

impl Options {
    /// What was read of rule files.
    pub fn of(preferences: &Preferences) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let mut options = Options {
            dkim_minimum_key_bits: usize::try_from(preferences.dkim_key_bits_min).unwrap_or(DKIM_MINIMUM_KEY_BITS),
            locales: Arc::new(preferences.ok_locales.iter().map(|locale| locale.to_string()).collect()),
            top_level_domains: Arc::new(TopLevelDomains::of(preferences.suffixes.iter().take(1).flatten())),
            ..Options::default()
        };
        for (name, list) in &preferences.addresses {
            list.patterns().for_each(|pattern| options.enlist(name, [text(pattern).as_str()]));
        }
        let subjects = [
            ("welcomelist_subject", &preferences.welcomelist_subject),
            ("blocklist_subject", &preferences.blocklist_subject),
        ];
        for (name, list) in subjects {
            list.patterns().for_each(|pattern| options.enlist_subject(name, &text(pattern)));
        }
        for (name, list) in &preferences.paired {
            list.pairs().for_each(|(address, second)| options.enlist_pair(name, &text(address), &text(second)));
        }
        let practices = preferences.adsp_override.iter();
        options.signing_practices =
            Arc::new(practices.map(|(domain, letter)| (text(domain), char::from(*letter))).collect());
        let mut freemail = FreeMail::of(&preferences.freemail);
        for (imported, name) in [
            (preferences.freemail.import_welcomelist_auth, "welcomelist_auth"),
            (preferences.freemail.import_def_welcomelist_auth, "def_welcomelist_auth"),
        ] {
            if imported {
                freemail.exempt_list(options.list(name));
            }
        }
        options.freemail = Arc::new(freemail);
        options
    }

    fn enlist_pair(&mut self, name: &str, address: &str, second: &str) {
        // What is neither a name nor an address vouches for nobody.
        let enlisted = match name.ends_with("_dkim") {
            true => self.enlist_signed(name, address, Some(second)),
            false => self.enlist_vouched(name, address, second),
        };
        drop(enlisted);
    }

    /// The list of this directive or name; empty if nothing was ever put on it.
    pub fn list(&self, name: &str) -> Arc<Globs> {
        self.lists.get(name).cloned().unwrap_or_default()
    }

    /// Puts words on a list of addresses: `welcomelist_from` and its like, and `enlist_addrlist` by the name in parentheses.
    pub fn enlist<'w>(&mut self, name: &str, words: impl IntoIterator<Item = &'w str>) {
        let list = Arc::make_mut(self.lists.entry(name.to_owned()).or_default());
        words.into_iter().for_each(|word| list.add(word));
    }

    /// Puts a phrase on a list of subjects: `welcomelist_subject`, `blocklist_subject`.
    pub fn enlist_subject(&mut self, name: &str, phrase: &str) {
        Arc::make_mut(self.lists.entry(name.to_owned()).or_default()).add_anywhere(phrase);
    }

    /// `welcomelist_from_rcvd ADDRESS RELAY` and `def_welcomelist_from_rcvd`. The error says what is wrong.
    pub fn enlist_vouched(&mut self, name: &str, address: &str, relay: &str) -> Result<(), String> {
        let address = Glob::parse(address.as_bytes()).ok_or("the address is too long")?;
        let place = Place::parse(relay).ok_or_else(|| format!("\"{relay}\" is neither a name nor an address"))?;
        Arc::make_mut(self.vouched.entry(name.to_owned()).or_default()).push(Vouched { address, place });
        Ok(())
    }

    /// `welcomelist_from_dkim ADDRESS [SIGNER]` and `def_welcomelist_from_dkim`. The error says what is wrong.
    pub fn enlist_signed(&mut self, name: &str, address: &str, signer: Option<&str>) -> Result<(), String> {
        let address = Glob::parse(address.as_bytes()).ok_or("the address is too long")?;
        let signer = signer.unwrap_or_default().to_ascii_lowercase();
        Arc::make_mut(self.signed.entry(name.to_owned()).or_default()).push((address, signer));
        Ok(())
    }

    /// `adsp_override DOMAIN [PRACTICE]`. The error says what is wrong.
    pub fn override_signing_practices(&mut self, domain: &str, practice: Option<&str>) -> Result<(), String> {
        let practice = practice.unwrap_or("discardable").to_ascii_lowercase();
        let letter = match practice.as_str() {
            "nxdomain" => 'N',
            "unknown" => 'U',
            "all" => 'A',
            "discardable" => 'D',
            "custom_low" => '1',
            "custom_med" => '2',
            "custom_high" => '3',
            _ => return Err(format!("\"{practice}\" is no signing practice")),
        };
        let domain = domain.strip_prefix('@').unwrap_or(domain).to_ascii_lowercase();
        Arc::make_mut(&mut self.signing_practices).insert(domain, letter);
        Ok(())
    }

    /// What a domain is known to do about signatures: its own entry, or that of the nearest parent, or of all.
    pub fn signing_practice(&self, domain: &str) -> Option<char> {
        if let Some(practice) = self.signing_practices.get(domain) {
            return Some(*practice);
        }
        let mut rest = domain;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(practice) = self.signing_practices.get(&format!("*.{parent}")) {
                return Some(*practice);
            }
            rest = parent;
        }
        self.signing_practices.get("*").copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_practices_are_inherited() {
        let mut options = Options::default();
        for (domain, practice) in [("a.example", None), ("*.a.example", Some("ALL")), ("b.example", Some("custom_med"))]
        {
            assert_eq!(options.override_signing_practices(domain, practice), Ok(()));
        }
        assert!(options.override_signing_practices("c.example", Some("some")).is_err());
        for (domain, practice) in
            [("a.example", Some('D')), ("x.y.a.example", Some('A')), ("b.example", Some('2')), ("x.b.example", None)]
        {
            assert_eq!(options.signing_practice(domain), practice, "{domain}");
        }
        assert_eq!(options.override_signing_practices("*", Some("unknown")), Ok(()));
        assert_eq!(options.signing_practice("com"), Some('U'));
    }

    #[test]
    fn lists_grow_by_name() {
        let mut options = Options::default();
        options.enlist("blocklist_from", ["*@a.example"]);
        options.enlist("blocklist_from", ["*@b.example"]);
        assert!(options.list("blocklist_from").contains(b"x@a.example"));
        assert!(options.list("blocklist_from").contains(b"x@b.example"));
        assert!(options.list("other").is_empty());
        assert!(options.enlist_vouched("welcomelist_from_rcvd", "*@a", "[1.2.3.4").is_ok());
        assert!(options.enlist_vouched("welcomelist_from_rcvd", "*@a", "[x/300]").is_err());
    }
}
