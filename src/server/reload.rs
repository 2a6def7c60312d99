//! Another configuration without a restart.
//!
//! *Does:* reads the configuration file again, and with it the rules, the certificate and the system's resolvers; binds what
//! it listens on in addition; then puts all of it in force at once.
//! *Guarantees:* what cannot be had as a whole changes nothing ([`ReloadError`] names all that is in the way). New
//! connections get the new, sessions go on with what they began with. Store, ledger and counters are never opened again.
//! *Never does:* touch Maildirs. Deliveries are under way in them: what a crash left under `tmp/` is swept at a start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::doors::{Doors, Kind};
use super::error::{ReloadError, StartError};
use super::generation::{self, Before, Generation};
use crate::config::{self, Config, Listen};
use crate::connection::{Acceptor, Certificates};
use crate::receive::{Receiver, SetUpError};

/// A configuration that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Its file.
    pub file: PathBuf,
    /// Domains, mailboxes and rules, in a few words.
    pub summary: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What is built before anything is swapped.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) receiver: Arc<Receiver>,
    pub(super) certificates: Option<(Arc<Certificates>, Acceptor)>,
    pub(super) reloaded: Reloaded,
}

/// Loads the configuration file, and builds what it asks for. Blocks.
pub(super) fn prepare(file: &Path, current: &Generation) -> Result<Prepared, ReloadError> {
    let (config, warnings) = Config::load(file).map_err(|error| all_of(&error.problems))?;
    let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let mut problems: Vec<String> = Vec::new();
    problems.extend(state_moved(&config, &current.before));
    match (config::check_mail_root(&config), config.storage.mail == current.before.mail) {
        (Ok(()), _) => {}
        // As at the start: mail that cannot be stored is deferred.
        (Err(problem), true) => warnings.push(problem.to_string()),
        (Err(problem), false) => problems.push(problem.to_string()),
    }
    let certificates = generation::certificates(&config).map_err(|error| problems.push(error.to_string())).ok();
    let receiver = current.shared.receiver.reload(&config, |diagnostic| warnings.push(diagnostic.to_owned()));
    let receiver = receiver.map_err(|error| problems.push(error.to_string())).ok();
    warnings.extend(log_format_changed(&config, &current.before));
    match (receiver, certificates) {
        (Some(receiver), Some(certificates)) if problems.is_empty() => {
            let reloaded = Reloaded { file: file.to_owned(), summary: summary(&config, &receiver), warnings };
            Ok(Prepared { config, receiver: Arc::new(receiver), certificates, reloaded })
        }
        _ => Err(ReloadError(problems)),
    }
}

fn all_of(problems: &[config::Problem]) -> ReloadError {
    ReloadError(problems.iter().map(ToString::to_string).collect())
}

fn summary(config: &Config, receiver: &Receiver) -> String {
    let mailboxes: usize = config.domains.values().map(|domain| domain.mailboxes.len()).sum();
    format!("Domains: {}, mailboxes: {mailboxes}, rules: {}.", config.domains.len(), receiver.rules_count())
}

fn state_moved(config: &Config, before: &Before) -> Option<String> {
    let (old, new) = (before.state.display(), config.storage.state.display());
    let moved = config.storage.state != before.state;
    moved.then(|| format!("storage.state: from {old} to {new} needs a restart. Put it back, or restart mxkeep."))
}

fn log_format_changed(config: &Config, before: &Before) -> Option<String> {
    let changed = config.log.format != before.log.format;
    changed.then(|| "log.format: the other format needs a restart; everything else is in force.".into())
}

/// Keys whose sockets the service manager holds, and that say something else now.
pub(super) fn not_used(doors: &Doors, config: &Config, before: &Listen) -> Vec<String> {
    let changed = [(Kind::Smtp, config.listen.smtp != before.smtp), (Kind::Smtps, config.listen.smtps != before.smtps)];
    let unused = changed.into_iter().filter(|(kind, changed)| *changed && doors.inherits(*kind));
    let warning = |(kind, _): (Kind, bool)| {
        format!("{}: not used, as the service manager opens these sockets: change its socket unit.", kind.key())
    };
    unused.map(warning).collect()
}

/// Why an address cannot be listened on; the reason may be an old socket of ours.
pub(super) fn cannot_listen(doors: &Doors, error: StartError) -> String {
    match &error {
        StartError::Listen { address, key, error: system } if system.kind() == io::ErrorKind::AddrInUse => {
            match doors.overlapping(*address) {
                Some(ours) => {
                    format!("{key}: {address} cannot take the place of {ours} while mxkeep runs: it needs a restart.")
                }
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    }
}

/// A bug of ours, as one problem.
pub(super) fn panicked() -> ReloadError {
    ReloadError(vec![SetUpError::Panicked.to_string()])
}
