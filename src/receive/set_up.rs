//! What the mail path needs, opened in order: resolver, rules, store, ledger, recovery, temporary files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::budget::Budget;
use super::{Examiner, spool};
use crate::authentication::{Authenticator, Settings};
use crate::config::{Config, Limits, LineEndings, Network};
use crate::delivery::{self, ledger::Ledger};
use crate::dns::{DnsError, Resolver};
use crate::journal::Counters;
use crate::mailbox::Mailboxes;
use crate::reputation::deferral::Deferrals;
use crate::rules::{self, Rules};
use crate::store::{Store, StoreError};

/// Everything that the mail path needs, open.
pub struct Receiver {
    pub(super) hostname: String,
    pub(super) line_endings: LineEndings,
    /// Stored copies have a Received-SPF field.
    pub(super) received_spf: bool,
    pub(super) trusted_relays: Vec<Network>,
    pub(super) mailboxes: Mailboxes,
    pub(super) examiner: Examiner,
    pub(super) ledger: Ledger,
    pub(super) deferrals: Arc<Deferrals>,
    pub(super) counters: Arc<Counters>,
    pub(super) budget: Arc<Budget>,
}

/// Why the mail path cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The state cannot be opened, and is not damaged: who else has it, or what is in the way?
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A rules path cannot be read.
    #[error(transparent)]
    Rules(#[from] rules::LoadError),
    /// The resolver cannot be set up.
    #[error("cannot set up DNS: {0}. Name resolvers in dns.servers, or mend /etc/resolv.conf.")]
    Dns(#[from] DnsError),
    /// A bug of ours.
    #[error("set-up failed; the log says where")]
    Panicked,
}

impl Receiver {
    /// Opens everything, and settles what the last run left behind. Blocks.
    pub fn set_up(config: &Config) -> Result<Self, SetUpError> {
        let examiner = Examiner::from_config(config, log_diagnostic)?;
        let store = open_store(&store_directory(config))?;
        let mailboxes = Mailboxes::new(config);
        let ledger = Ledger::new(store.clone());
        delivery::recover(&ledger, &mailboxes.all_maildirs());
        let spool_directory = config.storage.state.join("tmp");
        spool::set_up(&spool_directory);
        Ok(Receiver {
            hostname: config.hostname.to_string(),
            line_endings: config.storage.line_endings,
            received_spf: config.authentication.received_spf,
            trusted_relays: config.listen.trusted_relays.clone(),
            mailboxes,
            examiner,
            ledger,
            deferrals: Arc::new(Deferrals::open(store, Timestamp::now())),
            counters: Arc::default(),
            budget: Arc::new(Budget::new(&config.limits, spool_directory)),
        })
    }

    /// The mail path of another configuration, over the same store, ledger and counters. What is doubtful in the rules goes
    /// to `diagnose`. What DNS has said is kept if the same resolvers are asked. Nothing is recovered: intents in the ledger and files under `tmp/` are deliveries that are under way,
    /// in the Maildirs of new mailboxes as well, for these may have had another name until now. Blocks.
    pub fn reload(&self, config: &Config, diagnose: impl FnMut(&str)) -> Result<Self, SetUpError> {
        let resolver = match self.examiner.resolver() {
            Some(resolver) => resolver.reload(&config.dns.servers)?,
            None => Resolver::new(&config.dns.servers)?,
        };
        let examiner = Examiner::asking(resolver, config, diagnose)?;
        Ok(Receiver {
            hostname: config.hostname.to_string(),
            line_endings: config.storage.line_endings,
            received_spf: config.authentication.received_spf,
            mailboxes: Mailboxes::new(config),
            examiner,
            trusted_relays: config.listen.trusted_relays.clone(),
            ledger: self.ledger.clone(),
            deferrals: self.deferrals.clone(),
            counters: self.counters.clone(),
            budget: self.budget.clone(),
        })
    }

    /// The limits of a configuration that is in force from now on.
    pub fn set_limits(&self, limits: &Limits) {
        self.budget.set_limits(limits);
    }

    /// What was decided since the start.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Entries in the ledger.
    pub fn ledger_entries(&self) -> u64 {
        self.ledger.entries() as u64
    }

    /// Rules in force.
    pub fn rules_count(&self) -> usize {
        self.examiner.rules_count()
    }

    /// Forgets what is old. Run it hourly. Blocks.
    pub fn sweep(&self) {
        self.ledger.sweep();
        if let Err(error) = self.deferrals.sweep(Timestamp::now()) {
            tracing::error!(%error, "the state cannot be swept");
        }
    }
}

impl Examiner {
    /// The checks that a configuration asks for. What is wrong with single rules goes to `diagnose`, and costs no mail.
    pub fn from_config(config: &Config, diagnose: impl FnMut(&str)) -> Result<Self, SetUpError> {
        Self::asking(Resolver::new(&config.dns.servers)?, config, diagnose)
    }

    /// The same, by a resolver that is there already.
    fn asking(resolver: Resolver, config: &Config, diagnose: impl FnMut(&str)) -> Result<Self, SetUpError> {
        let (rules, diagnostics) = Rules::load(&config.rules.paths)?;
        rules::listed(&diagnostics, rules::LISTED_MAX).iter().map(String::as_str).for_each(diagnose);
        let settings = Settings { count_body_length: config.authentication.count_body_length };
        let authenticator = Authenticator::new(resolver, config.hostname.clone(), settings);
        Ok(Examiner::new(Some(authenticator), rules, config.hostname.as_str()))
    }
}

/// Puts what is wrong with a rule on record.
pub fn log_diagnostic(diagnostic: &str) {
    tracing::warn!("{diagnostic}");
}

/// Opens the store, or one in memory where the disk is full: trouble with state refuses no mail.
fn open_store(dir: &Path) -> Result<Store, StoreError> {
    match Store::open(dir) {
        Err(error) if error.is_disk_full() => {
            tracing::error!(
                "{error}. Mail is taken all the same, with the state in memory: make room, then start mxkeep again"
            );
            Store::in_memory(dir)
        }
        opened => opened.map(|(store, _moved_aside)| store),
    }
}

/// RocksDB's directory below `storage.state`, beside the control socket.
fn store_directory(config: &Config) -> PathBuf {
    config.storage.state.join("db")
}
