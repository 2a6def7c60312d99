//! `mxkeep serve`: the service, from start to stop.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{exit, load_and_warn, start_log};
use crate::config::{self, Config};
use crate::control::Control;
use crate::server::{Inherited, SHUTDOWN_SECONDS_MAX, Server, manager};

/// What `mxkeep serve --help` says below the options.
pub const HELP: &str = "\
Runs in the foreground until SIGTERM or Ctrl-C, and logs to standard error. When it is asked to
stop, idle sessions end at once, and open transactions have 30 seconds to end; asked again, it ends
at once. SIGHUP or `mxkeep reload` has it take a changed configuration, certificate or rule.

Sockets that a service manager hands over (systemd's socket activation; FileDescriptorName=smtp or
smtps) are used instead of those of listen.smtp or listen.smtps.

The log shows what happens to each connection, recipient and message. MXKEEP_LOG filters it:

  MXKEEP_LOG=warn mxkeep serve --config mxkeep.toml     trouble only
  MXKEEP_LOG=mxkeep=debug mxkeep serve ...              every connection as well

Exit status: 0 stopped as asked, 71 it could not start, 78 the configuration is wrong.";

/// When the service has stopped: how long blocking work that hangs (a disk that does not answer) may hold the process up,
/// in seconds.
const END_SECONDS_MAX: u64 = 5;

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path) -> ExitCode {
    // First of all: see there.
    let inherited = manager::inherited();
    make_files_private();
    give_memory_back();
    let config = match load_and_warn(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    start_log(config.log.format, "info");
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return fail(exit::CONFIG, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::OS, &format_args!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(serve(config, path, inherited));
    runtime.shutdown_timeout(Duration::from_secs(END_SECONDS_MAX));
    code
}

async fn serve(config: Config, path: &Path, inherited: Vec<Inherited>) -> ExitCode {
    let state = config.storage.state.clone();
    // Before anybody is told that we listen: a stop must always be an orderly one.
    let signals = StopSignals::new().and_then(|stop| Ok((stop, signal(SignalKind::hangup())?)));
    let (stop_signals, hangup) = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(exit::OS, &format_args!("cannot handle signals: {error}")),
    };
    if let Err(problem) = config::check_mail_root(&config) {
        tracing::error!("{problem} Mail that cannot be stored is deferred: senders try again.");
    }
    let server = match Server::start(config, path, inherited).await {
        Ok(server) => server,
        Err(error) if error.is_configuration() => return fail(exit::CONFIG, &error),
        Err(error) => return fail(exit::OS, &error),
    };
    let control = match Control::listen(&state) {
        Ok(control) => control,
        Err(error) => {
            let socket = state.join("control");
            return fail(exit::OS, &format_args!("cannot listen on {}: {error}", socket.display()));
        }
    };
    let handle = server.handle();
    handle.listening().iter().for_each(|listening| tracing::info!("listening on {listening}"));
    let control = tokio::spawn(control.run(handle.clone()));
    manager::ready(&handle.status(None));
    let code = run_until_stopped(server, stop_signals, hangup).await;
    control.abort();
    let _ = control.await;
    code
}

/// Serves, reloads at SIGHUP, and stops at SIGTERM or SIGINT: in good order at the first one, at once at a second.
async fn run_until_stopped(server: Server, mut stop_signals: StopSignals, mut hangup: Signal) -> ExitCode {
    let handle = server.handle();
    let (stop, stopped) = watch::channel(false);
    let mut running = tokio::spawn(server.run(stopped, Duration::from_secs(SHUTDOWN_SECONDS_MAX)));
    loop {
        tokio::select! {
            () = stop_signals.wait() => break,
            _ = hangup.recv() => {
                let handle = handle.clone();
                // The server itself says what comes of it.
                tokio::spawn(async move { handle.reload().await });
            }
            _ = &mut running => return fail(exit::OS, &"the service ended by itself: please report the messages above"),
        }
    }
    tracing::info!("stopping: open transactions may end");
    manager::stopping();
    // The receivers live as long as the server runs.
    let _ = stop.send(true);
    tokio::select! {
        _ = &mut running => tracing::info!("stopped"),
        () = stop_signals.wait() => tracing::warn!("stopped at once, as it was asked twice: open transactions are cut off"),
    }
    ExitCode::SUCCESS
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::from(code)
}

/// SIGTERM (systemd) and SIGINT (a terminal). From the moment this exists they no longer end the process by themselves.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Has the C library give large blocks back to the system whenever they are freed. By itself glibc raises the size from which
/// it does so to that of the largest block that was freed: after one large message it keeps what the others leave.
fn give_memory_back() {
    /// Larger blocks are mapped, in octets: glibc's own number at the start.
    #[cfg(target_env = "gnu")]
    const MAPPED_OCTETS_MIN: libc::c_int = 128 << 10;
    // SAFETY: mallopt(3) takes two integers and sets a parameter of the allocator. It must not race with itself, and does
    // not: this is called once, before there is a second thread. What it returns only says whether it had an effect.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_OCTETS_MIN);
    }
}

/// Mail, state and the control socket are for the server's user alone, whatever umask it was started with.
pub(super) fn make_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}
