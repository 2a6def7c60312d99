//! The service: listeners, limits, start, reload and stop.
//!
//! *Does:* opens what the mail path needs (store, ledger, rules, resolver, certificate), listens, accepts, and hands each
//! client to [`crate::connection::serve`]. Takes another configuration without a restart ([`reload`]), and shows renewed
//! certificates by itself.
//! *Guarantees:* a server alone opens the store. Recovery is finished before the first client is served. An accept error
//! (no descriptors left, say) never ends the service. Reloads come one after the other. When it stops, idle sessions get
//! 421 and transactions have [`SHUTDOWN_SECONDS_MAX`] to end; those that have not then get 421 too.
//! *Fails with:* [`StartError`], which says what to do, before anybody was answered.

mod accept;
mod doors;
mod error;
mod generation;
pub mod manager;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::Config;
use crate::connection::{Limiter, Phase};
use crate::receive::{Receiver, SetUpError};
use accept::{SessionToken, accept};
use doors::Doors;
use generation::{Before, Generation, House, Service};

pub use doors::{BACKLOG_CONNECTIONS_MAX, Inherited, Kind, Listening};
pub use error::{ReloadError, StartError};
pub use reload::Reloaded;

/// How long transactions may go on when the service stops, in seconds.
pub const SHUTDOWN_SECONDS_MAX: u64 = 30;
/// After that: how long the rest may take to read their last reply, in seconds.
pub const LAST_REPLIES_SECONDS_MAX: u64 = 5;
/// How often the certificates' files are looked at, in seconds.
pub const CERTIFICATES_SECONDS: u64 = 30;
/// How often the state is swept, in seconds.
const SWEEP_SECONDS: u64 = 3600;
/// Reloads that may be asked for while one is under way.
const RELOADS_WAITING_MAX: usize = 16;

/// A service that listens and does not accept yet.
pub struct Server {
    doors: Doors,
    house: Arc<House>,
    file: PathBuf,
    reloads: mpsc::Receiver<Asked>,
    handle: Handle,
    service: Service,
}

/// Somebody asked for a reload and waits for what comes of it.
type Asked = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// What can be asked of a running service. Clones are cheap.
#[derive(Clone)]
pub struct Handle {
    house: Arc<House>,
    reloads: mpsc::Sender<Asked>,
}

impl Handle {
    /// The mail path in force.
    pub fn receiver(&self) -> Arc<Receiver> {
        self.house.current().shared.receiver.clone()
    }

    /// Where the service listens.
    pub fn listening(&self) -> Vec<Listening> {
        self.house.current().listening.clone()
    }

    /// How long it runs, and how long the configuration in force has been.
    pub fn ages(&self) -> (Duration, Duration) {
        (self.house.started.elapsed(), self.house.current().since.elapsed())
    }

    /// For the service manager: what the service does, and what went wrong with the latest reload.
    pub fn status(&self, failed: Option<&ReloadError>) -> String {
        let listening: Vec<_> = self.listening().iter().map(ToString::to_string).collect();
        let first = failed.and_then(|ReloadError(problems)| problems.first());
        let failed = first.map(|problem| format!("; not reloaded: {problem}")).unwrap_or_default();
        format!("Listening on {}{failed}", listening.join(", "))
    }

    /// Has the service load its configuration again, and says what came of it.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (asked, answer) = oneshot::channel();
        // A service that is gone drops the question.
        let _ = self.reloads.send(asked).await;
        answer.await.unwrap_or_else(|_| Err(ReloadError(vec!["the service is stopping: nothing was reloaded".into()])))
    }
}

impl Server {
    /// Opens everything and listens, on what the service manager handed over or else where the configuration says. Blocks
    /// on recovery: nobody is served before it is done. The file is the one that a reload reads.
    pub async fn start(config: Config, file: &Path, inherited: Vec<Inherited>) -> Result<Self, StartError> {
        let certificates = generation::certificates(&config)?;
        let doors = Doors::open(inherited, &config)?;
        let config = Arc::new(config);
        let set_up = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Receiver::set_up(&config)
        });
        let receiver = Arc::new(set_up.await.map_err(|_| SetUpError::Panicked)??);
        let limiter = Arc::new(Limiter::new(&config.limits));
        let service = Service { limiter, phase: watch::Sender::new(Phase::Serving) };
        let generation = Generation {
            shared: generation::shared(&config, receiver, certificates.as_ref(), &service),
            certificates: certificates.map(|(certificates, _)| certificates),
            listening: doors.listening().collect(),
            before: Before::of(&config),
            since: Instant::now(),
        };
        let house = Arc::new(House::new(generation));
        let (ask, reloads) = mpsc::channel(RELOADS_WAITING_MAX);
        let handle = Handle { house: house.clone(), reloads: ask };
        // Relative to where the service was started, wherever that is.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Ok(Server { doors, house, file, reloads, handle, service })
    }

    /// To ask it things while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `stop` becomes true, and lets transactions end, for so long at most.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, patience: Duration) {
        let mut accepting = JoinSet::new();
        let (sessions, ended) = mpsc::channel::<()>(1);
        self.open_doors(&mut accepting, &sessions);
        let chores = [tokio::spawn(sweep(self.house.clone())), tokio::spawn(refresh(self.house.clone()))];
        loop {
            let asked = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(asked) = self.reloads.recv() => asked,
                Some(_) = accepting.join_next() => continue,
            };
            // Dropped half-way it has changed nothing.
            let result = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                result = self.reload(&mut accepting, &sessions) => result,
            };
            // Who asked may have gone.
            let _ = asked.send(result);
        }
        chores.iter().for_each(JoinHandle::abort);
        self.stop(accepting, sessions, ended, patience).await;
    }

    /// Begins to accept at every door where nobody does.
    fn open_doors(&mut self, accepting: &mut JoinSet<()>, sessions: &SessionToken) {
        for door in self.doors.iter_mut() {
            if let Some(closed) = door.closed.take() {
                let at = (door.listening, door.listener.clone());
                accepting.spawn(accept(at, closed, self.house.clone(), sessions.clone()));
            }
        }
    }

    /// Loads the configuration again. Serves on meanwhile; what cannot be had as a whole changes nothing.
    async fn reload(&mut self, accepting: &mut JoinSet<()>, sessions: &SessionToken) -> Result<Reloaded, ReloadError> {
        manager::reloading();
        let (file, current) = (self.file.clone(), self.house.current());
        let prepared = tokio::task::spawn_blocking(move || reload::prepare(&file, &current)).await;
        let swapped = prepared.unwrap_or_else(|_| Err(reload::panicked())).and_then(|prepared| self.swap(prepared));
        match &swapped {
            Ok(reloaded) => {
                self.open_doors(accepting, sessions);
                reloaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!("reloaded {}. {}", reloaded.file.display(), reloaded.summary);
            }
            Err(ReloadError(problems)) => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                tracing::error!("not reloaded: the configuration in force stays as it is");
            }
        }
        manager::ready(&self.handle.status(swapped.as_ref().err()));
        swapped
    }

    /// Puts in force what was built, at once.
    fn swap(&mut self, prepared: reload::Prepared) -> Result<Reloaded, ReloadError> {
        let reload::Prepared { config, receiver, certificates, mut reloaded } = prepared;
        let before = self.house.current();
        if let Some(why) = self.doors.unusable(&config) {
            return Err(ReloadError(vec![why.into()]));
        }
        let cannot = |error| reload::cannot_listen(&self.doors, error);
        let change = self.doors.change(&config.listen);
        let change = change.map_err(|errors| ReloadError(errors.into_iter().map(cannot).collect()))?;
        reloaded.warnings.extend(reload::not_used(&self.doors, &config, &before.shared.listen));
        self.doors.carry_out(change);
        self.service.limiter.set_limits(&config.limits);
        receiver.set_limits(&config.limits);
        self.house.replace(Generation {
            shared: generation::shared(&config, receiver, certificates.as_ref(), &self.service),
            certificates: certificates.map(|(certificates, _)| certificates),
            listening: self.doors.listening().collect(),
            // The log stays as it was begun.
            before: Before { log: before.before.log, ..Before::of(&config) },
            since: Instant::now(),
        });
        Ok(reloaded)
    }

    /// Closes the doors, gives transactions their time, then ends those that are left.
    async fn stop(
        self,
        mut accepting: JoinSet<()>,
        sessions: SessionToken,
        mut ended: mpsc::Receiver<()>,
        patience: Duration,
    ) {
        let phase = &self.service.phase;
        phase.send_replace(Phase::Stopping);
        // Who asks for a reload now hears that it is too late.
        drop((self.doors, self.reloads, sessions));
        while accepting.join_next().await.is_some() {}
        // Every session holds a token: the channel ends when the last of them does.
        if tokio::time::timeout(patience, ended.recv()).await.is_ok() {
            return;
        }
        tracing::warn!(seconds = patience.as_secs(), "stopping although transactions are still open");
        phase.send_replace(Phase::Over);
        let last_replies = Duration::from_secs(LAST_REPLIES_SECONDS_MAX);
        if tokio::time::timeout(last_replies, ended.recv()).await.is_err() {
            tracing::warn!("some clients did not read their last reply");
        }
    }
}

/// Has the state forget what is old, every hour.
async fn sweep(house: Arc<House>) {
    loop {
        tokio::time::sleep(Duration::from_secs(SWEEP_SECONDS)).await;
        let receiver = house.current().shared.receiver.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || receiver.sweep()).await {
            tracing::error!(%error, "the state was not swept");
        }
    }
}

/// Shows renewed certificates when their files have changed. Those that cannot be used change nothing.
async fn refresh(house: Arc<House>) {
    loop {
        tokio::time::sleep(Duration::from_secs(CERTIFICATES_SECONDS)).await;
        let Some(certificates) = house.current().certificates.clone() else { continue };
        match tokio::task::spawn_blocking(move || certificates.refresh()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!("the certificates were read again"),
            Ok(Err(problem)) => tracing::error!("{problem}"),
            Err(error) => tracing::error!(%error, "the certificates were not looked at"),
        }
    }
}
