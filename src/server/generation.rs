//! What one configuration makes of the service, and the one in force.
//!
//! *Guarantees:* a session keeps the generation that it began with, and a generation lives as long as one of its sessions.
//! Store, ledger, deferrals, counters and connection limits belong to the service, and all generations share them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::doors::Listening;
use super::error::StartError;
use crate::config::{Config, Log, MailTemplate};
use crate::connection::{Acceptor, Certificates, Limiter, Phase, Shared};
use crate::receive::Receiver;
use crate::smtp::Settings;

/// What one configuration makes of the service.
pub(super) struct Generation {
    /// What sessions begin with.
    pub(super) shared: Shared,
    /// What TLS shows, to be read again when the files change.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// Where clients come in.
    pub(super) listening: Vec<Listening>,
    /// What the next configuration is compared with.
    pub(super) before: Before,
    /// When it came into force.
    pub(super) since: Instant,
}

/// What a reload cannot change, or looks at twice.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) state: PathBuf,
    pub(super) mail: MailTemplate,
    pub(super) log: Log,
}

impl Before {
    pub(super) fn of(config: &Config) -> Self {
        Before { state: config.storage.state.clone(), mail: config.storage.mail.clone(), log: config.log }
    }
}

/// What outlives all generations, and the one in force.
pub(super) struct House {
    current: Mutex<Arc<Generation>>,
    /// When the service began.
    pub(super) started: Instant,
}

impl House {
    pub(super) fn new(generation: Generation) -> Self {
        House { current: Mutex::new(Arc::new(generation)), started: Instant::now() }
    }

    /// The generation in force.
    pub(super) fn current(&self) -> Arc<Generation> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in force.
    pub(super) fn replace(&self, generation: Generation) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::new(generation));
        drop(current);
        // Perhaps the last of its sessions has ended: what it held is freed outside the lock.
        drop(before);
    }
}

/// What sessions share under a configuration.
pub(super) fn shared(
    config: &Config,
    receiver: Arc<Receiver>,
    certificates: Option<&(Arc<Certificates>, Acceptor)>,
    service: &Service,
) -> Shared {
    let settings = Settings {
        hostname: config.hostname.to_string(),
        message_octets_max: config.limits.message_octets_max,
        recipients_max: config.limits.recipients_max,
        messages_max: config.limits.messages_max,
        refused_recipients_max: config.limits.refused_recipients_max,
        starttls: certificates.is_some(),
        bad_commands_max: config.limits.bad_commands_max,
    };
    Shared {
        receiver,
        settings: Arc::new(settings),
        tls: certificates.map(|(_, acceptor)| acceptor.clone()),
        listen: Arc::new(config.listen.clone()),
        limits: Arc::new(config.limits.clone()),
        limiter: service.limiter.clone(),
        phase: service.phase.subscribe(),
    }
}

/// What belongs to the service, and to every generation.
pub(super) struct Service {
    /// Counts the connections.
    pub(super) limiter: Arc<Limiter>,
    /// Tells the sessions how far the service is.
    pub(super) phase: watch::Sender<Phase>,
}

/// The certificates of a configuration, if it names any, and what shows them. Blocks.
pub(super) fn certificates(config: &Config) -> Result<Option<(Arc<Certificates>, Acceptor)>, StartError> {
    let load = |tls| {
        let certificates = Certificates::load(tls).map_err(StartError::Certificate)?;
        let acceptor = Acceptor::new(certificates.clone()).map_err(StartError::Tls)?;
        Ok((certificates, acceptor))
    };
    config.tls.as_ref().map(load).transpose()
}
