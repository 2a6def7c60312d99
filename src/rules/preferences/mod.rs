//! Preferences: what rule files say besides rules, as plain data for the evals.
//!
//! *Does:* holds lists and settings under the names that the files use, in the new spelling (`welcomelist`, `blocklist`).
//! *Guarantees:* every default is that of the language. Nothing here is larger than the files that were read.
//! *Never does:* interpret networks or patterns: they stand as written, with their place, for those who make them.

pub mod addresses;
pub mod domains;

use std::collections::HashMap;

pub use addresses::{AddressList, PairedList};
pub use domains::{DomainSet, Names};

use crate::rules::diagnostic::Span;
use crate::rules::template::AddedFields;

/// Text of a file that is read further elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The text.
    pub text: Box<[u8]>,
    /// Where it stands.
    pub span: Span,
}

/// Everything that is set.
#[derive(Debug)]
pub struct Preferences {
    /// `trusted_networks`: each an address or network, a leading `!` excludes. Empty: not configured.
    pub trusted_networks: Vec<Placed>,
    /// `internal_networks`.
    pub internal_networks: Vec<Placed>,
    /// `msa_networks`.
    pub msa_networks: Vec<Placed>,
    /// By name: `welcomelist_from`, `blocklist_from`, `welcomelist_to`, `more_spam_to`, `all_spam_to`, `blocklist_to`,
    /// `welcomelist_auth`, `def_welcomelist_auth`, `welcomelist_from_spf`, `def_welcomelist_from_spf`,
    /// `welcomelist_allows_relays`, `welcomelist_bounce_relays`, and those of `enlist_addrlist`.
    pub addresses: HashMap<Box<str>, AddressList>,
    /// By name: `welcomelist_from_rcvd`, `def_welcomelist_from_rcvd`, `welcomelist_from_dkim`, `def_welcomelist_from_dkim`.
    pub paired: HashMap<Box<str>, PairedList>,
    /// `welcomelist_subject`.
    pub welcomelist_subject: AddressList,
    /// `blocklist_subject`.
    pub blocklist_subject: AddressList,
    /// By name, `BLOCK`, `WELCOME` and those of `enlist_uri_host`: hosts in lower case; false excludes.
    pub uri_hosts: HashMap<Box<str>, HashMap<Box<[u8]>, bool>>,
    /// Providers of free mail.
    pub freemail: Freemail,
    /// `util_rb_tld`, `util_rb_2tld`, `util_rb_3tld`, `util_rb_4tld`: public suffixes of so many labels, ASCII.
    pub suffixes: [Names; 4],
    /// `uridnsbl_skip_domain`.
    pub uri_skip_domains: Names,
    /// `url_shortener`.
    pub url_shorteners: Names,
    /// `redirector_pattern`, as written.
    pub redirectors: Vec<Placed>,
    /// `originating_ip_headers`: fields that tell where the message began, as written.
    pub originating_ip_headers: Vec<Box<str>>,
    /// `envelope_sender_header`: the field that holds the reverse-path.
    pub envelope_sender_header: Option<Box<str>>,
    /// `always_trust_envelope_sender`.
    pub always_trust_envelope_sender: bool,
    /// `normalize_charset`.
    pub normalize_charset: bool,
    /// `parse_dkim_uris`.
    pub parse_dkim_uris: bool,
    /// `uridnsbl_skip_mailto`.
    pub uri_skip_mailto: bool,
    /// `uridnsbl_max_domains`.
    pub uri_domains_max: u32,
    /// `ok_locales`: two letters each, or `all`.
    pub ok_locales: Vec<Box<str>>,
    /// `ok_languages`.
    pub ok_languages: Vec<Box<str>>,
    /// `adsp_override`: what an author domain is said to practise: one of `N`, `U`, `A`, `D`, `1`, `2`, `3`.
    pub adsp_override: HashMap<Box<[u8]>, u8>,
    /// `dkim_minimum_key_bits`.
    pub dkim_key_bits_min: u32,
    /// `body_part_scan_size`, in characters; 0 is no limit of its own.
    pub body_part_chars_max: u32,
    /// `rawbody_part_scan_size`, in octets; 0 is no limit of its own.
    pub rawbody_part_octets_max: u32,
    /// `required_score`: from here on it is spam.
    pub required_score: f64,
    /// `report_hostname`.
    pub report_hostname: Option<Box<str>>,
    /// `report_contact`.
    pub report_contact: Box<str>,
    /// `version_tag`.
    pub version_tags: Vec<Box<str>>,
    /// `add_header` and its kin.
    pub fields: AddedFields,
}

/// Providers of free mail.
#[derive(Debug)]
pub struct Freemail {
    /// `freemail_domains`.
    pub domains: DomainSet,
    /// `freemail_welcomelist`: addresses and domains.
    pub welcomelist: Names,
    /// `freemail_max_body_emails`: the most addresses of the body that are looked at.
    pub body_addresses_max: u32,
    /// `freemail_max_body_freemails`: the most of them that may be free mail.
    pub body_freemails_max: u32,
    /// `freemail_skip_when_over_max`: with more, none is looked at.
    pub skip_when_over_max: bool,
    /// `freemail_skip_bulk_envfrom`.
    pub skip_bulk_envelope: bool,
    /// `freemail_import_welcomelist_auth`.
    pub import_welcomelist_auth: bool,
    /// `freemail_import_def_welcomelist_auth`.
    pub import_def_welcomelist_auth: bool,
}

impl Default for Freemail {
    fn default() -> Self {
        Freemail {
            domains: DomainSet::default(),
            welcomelist: Names::new(),
            body_addresses_max: 5,
            body_freemails_max: 3,
            skip_when_over_max: true,
            skip_bulk_envelope: true,
            import_welcomelist_auth: false,
            import_def_welcomelist_auth: false,
        }
    }
}

impl Default for Preferences {
    fn default() -> Self {
        Preferences {
            trusted_networks: Vec::new(),
            internal_networks: Vec::new(),
            msa_networks: Vec::new(),
            addresses: HashMap::new(),
            paired: HashMap::new(),
            welcomelist_subject: AddressList::default(),
            blocklist_subject: AddressList::default(),
            uri_hosts: HashMap::new(),
            freemail: Freemail::default(),
            suffixes: Default::default(),
            uri_skip_domains: Names::new(),
            url_shorteners: Names::new(),
            redirectors: Vec::new(),
            originating_ip_headers: Vec::new(),
            envelope_sender_header: None,
            always_trust_envelope_sender: false,
            normalize_charset: true,
            parse_dkim_uris: true,
            uri_skip_mailto: true,
            uri_domains_max: 20,
            ok_locales: vec!["all".into()],
            ok_languages: vec!["all".into()],
            adsp_override: HashMap::new(),
            dkim_key_bits_min: 1_024,
            body_part_chars_max: 50_000,
            rawbody_part_octets_max: 500_000,
            required_score: 5.0,
            report_hostname: None,
            report_contact: "the administrator of that system".into(),
            version_tags: Vec::new(),
            fields: AddedFields::default(),
        }
    }
}

impl Preferences {
    /// Is this address on the list of this name? No list has none.
    pub fn is_listed(&self, list: &str, address: &[u8]) -> bool {
        self.addresses.get(list).is_some_and(|list| list.contains(address))
    }

    /// What a list of URI hosts says about exactly this host, in lower case: enlisted, excluded, or nothing.
    pub fn uri_host(&self, list: &str, host: &[u8]) -> Option<bool> {
        self.uri_hosts.get(list)?.get(host).copied()
    }
}
