//! The configuration: one TOML file, loaded and validated once.
//!
//! *Does:* reads the file against the one table of keys ([`KEYS`]), reports all that is wrong with it at once, and
//! writes the commented file with every default ([`reference()`]).
//! *Guarantees:* a [`Config`] in hand is complete and consistent: every alias ends in mailboxes of ours, no two
//! mailboxes share a Maildir, no local-part can leave the mail root, and every domain has a postmaster and an abuse
//! address (RFC 5321 section 4.5.1, RFC 2142). An unknown key is an error: a typing mistake must not silently mean the
//! default.
//! *Never does:* touch the files that it names; [`check_files`] does, and says what is wrong with them.
//! *Fails with:* the file, line, column, what is wrong and what to do ([`ConfigError`]).

mod aliases;
mod domains;
mod files;
mod folder;
mod keys;
mod limits;
mod load;
mod network;
mod policy;
mod section;
mod template;
mod tls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use aliases::{ALIAS_DEPTH_MAX, ALIAS_MAILBOXES_MAX, AliasError, Directory, Target};
pub use files::{Certificate, check_files, check_mail_root, load_certificates};
pub use folder::{FOLDER_NAME_OCTETS_MAX, FolderName};
pub use keys::{KEYS, Key, Preset, reference};
pub use load::{CONFIG_OCTETS_MAX, state_directory};
pub use network::{Network, client_network};
pub use section::{ConfigError, PROBLEMS_MAX, Place, Problem, Warning};
pub use template::MailTemplate;
pub use tls::{Tls, TlsFiles};

use crate::address::{Domain, Mailbox};

/// All that the operator decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `hostname`: our name in the banner, in Received, and as authserv-id.
    pub hostname: Domain,
    /// `[listen]`.
    pub listen: Listen,
    /// `[tls]`; without it there is no STARTTLS.
    pub tls: Option<Tls>,
    /// `[storage]`.
    pub storage: Storage,
    /// `[dns]`.
    pub dns: Dns,
    /// `[authentication]`.
    pub authentication: Authentication,
    /// `[domains."..."]`: the domains that we take mail for.
    pub domains: BTreeMap<Domain, DomainConfig>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[policy]`: for every domain that says nothing else.
    pub policy: Policy,
    /// `[rules]`.
    pub rules: Rules,
    /// `[log]`.
    pub log: Log,
}

/// Where clients connect, and which of them speak for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// `listen.smtp`: addresses and ports. Default `["[::]:25"]`, which falls back to IPv4 where IPv6 is off.
    pub smtp: Vec<SocketAddr>,
    /// `listen.smtps`: the same with TLS from the first octet (RFC 8314 section 3.3). Default: none.
    pub smtps: Vec<SocketAddr>,
    /// `listen.proxy_protocol_from`: peers that speak the PROXY protocol, and must.
    pub proxy_protocol_from: Vec<Network>,
    /// `listen.xclient_from`: peers that may send XCLIENT.
    pub xclient_from: Vec<Network>,
    /// `listen.trusted_relays`: gateways and backup MXs of ours.
    pub trusted_relays: Vec<Network>,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// `storage.mail`: each mailbox's Maildir.
    pub mail: MailTemplate,
    /// `storage.state`: RocksDB and the control socket. Default `/var/lib/mxkeep`.
    pub state: PathBuf,
    /// `storage.line_endings`: how lines end in the Maildir. Default `lf`.
    pub line_endings: LineEndings,
}

/// How lines end on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEndings {
    /// LF, as Postfix, Exim and Dovecot store mail.
    #[default]
    Lf,
    /// CRLF, as mail travels.
    Crlf,
}

/// `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// `dns.servers`: resolvers to ask. Empty (the default): those of the system.
    pub servers: Vec<SocketAddr>,
}

/// `[authentication]`: how senders are checked, whoever the recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Authentication {
    /// `authentication.received_spf`: stored copies have a Received-SPF field (RFC 7208 section 9.1). Default false.
    pub received_spf: bool,
    /// `authentication.count_body_length`: DKIM signatures of a part of the body count. Default false.
    pub count_body_length: bool,
}

/// One domain of ours. Local-parts are lower-case here: ours are compared without regard to case.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainConfig {
    /// `mailboxes`: the addresses that have a Maildir, in the file's order.
    pub mailboxes: Vec<Mailbox>,
    /// `aliases`: other local-parts, and the mailboxes or aliases of ours that get their mail. Where the file names no
    /// `postmaster` or `abuse`, they are here all the same, and go to the domain's first mailbox.
    pub aliases: BTreeMap<String, Vec<Mailbox>>,
    /// `policy`: what this domain decides for itself, already merged over the server's.
    pub policy: Policy,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `limits.message_octets_max`. Default 52,428,800.
    pub message_octets_max: u64,
    /// `limits.recipients_max` a transaction. Default 100.
    pub recipients_max: usize,
    /// `limits.connections_max` in all. Default 2,000.
    pub connections_max: usize,
    /// `limits.connections_per_client_max` for one address. Default 50.
    pub connections_per_client_max: usize,
    /// `limits.connections_per_network_max` for one IPv4 /24 or IPv6 /64. Default 100.
    pub connections_per_network_max: usize,
    /// `limits.bad_commands_max` a session. Default 20.
    pub bad_commands_max: u32,
    /// `limits.refused_recipients_max` a session. Default 50.
    pub refused_recipients_max: u32,
    /// `limits.messages_max` a session. Default 1,000.
    pub messages_max: u32,
    /// `limits.session_seconds_max`. Default 7,200.
    pub session_seconds_max: u64,
    /// `limits.data_octets_per_second_min`, on average, after the first five minutes. Default 100.
    pub data_octets_per_second_min: u64,
    /// `limits.message_memory_octets_max`: a larger message lives in a temporary file. Default 1,048,576.
    pub message_memory_octets_max: u64,
    /// `limits.memory_octets_max`: all messages in memory together. Default 134,217,728.
    pub memory_octets_max: u64,
    /// `limits.in_flight_octets_max`: all messages that are being received together. Default 4,294,967,296.
    pub in_flight_octets_max: u64,
    /// `limits.in_flight_octets_per_network_max`: those from one IPv4 /24 or IPv6 /64. Default 1,073,741,824.
    pub in_flight_octets_per_network_max: u64,
    /// `limits.inspection_octets_max`: large messages that are judged at a time. Default 67,108,864.
    pub inspection_octets_max: u64,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `junk_score`: from here on the Junk folder. Default 5.0.
    pub junk_score: f64,
    /// `reject_score`: from here on refused in the session. Default 15.0.
    pub reject_score: f64,
    /// `dmarc`. Default `enforce`.
    pub dmarc: DmarcMode,
    /// `junk_folder`: the name of the folder, as the IMAP user sees it. Default `Junk`.
    pub junk_folder: FolderName,
    /// `trusted_sealers`: whose word counts, and that of all below them, that DMARC passed before a message came to them
    /// (ARC). Default: nobody's.
    pub trusted_sealers: Vec<Domain>,
    /// `trusted_forwarders`: what comes from them is not held to DMARC. Default: nobody.
    pub trusted_forwarders: Vec<Forwarder>,
    /// `dmarc_overrides`: what is done instead of what an author domain publishes, and all domains below it that are not
    /// named themselves. Default: nothing.
    pub dmarc_overrides: BTreeMap<Domain, DmarcOverride>,
}

impl Policy {
    /// What is to be done for this author domain instead of what it publishes, and the entry that says so: its own, or that
    /// of the nearest domain above.
    pub fn dmarc_override(&self, author: &Domain) -> Option<(&Domain, DmarcOverride)> {
        let above = self.dmarc_overrides.iter().filter(|(domain, _)| author.is_at_or_below(domain));
        above.max_by_key(|(domain, _)| domain.as_str().len()).map(|(domain, policy)| (domain, *policy))
    }
}

/// A forwarder or a mailing list that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarder {
    /// Whoever proves to be this domain, or one below it.
    Domain(Domain),
    /// Whoever connects from there.
    Network(Network),
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forwarder::Domain(domain) => domain.fmt(f),
            Forwarder::Network(network) => network.fmt(f),
        }
    }
}

/// What is done where DMARC fails, in place of the published policy (RFC 9989 section 7.4: the receiver decides).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcOverride {
    /// Nothing.
    None,
    /// It goes to Junk.
    Quarantine,
    /// It is refused.
    Reject,
}

/// What a DMARC failure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DmarcMode {
    /// `p=reject` is refused, `p=quarantine` goes to Junk.
    #[default]
    Enforce,
    /// It is recorded, and changes nothing.
    Observe,
}

/// `[rules]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `rules.paths`: `.cf` files, or directories of them. Default `["rules"]`; relative to the configuration file.
    pub paths: Vec<PathBuf>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// `log.format`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
