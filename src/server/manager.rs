//! The service manager (systemd): what it hands over at the start, and what it is told.
//!
//! *Does:* takes over listening sockets (sd_listen_fds(3)), and says when the service is ready, reloads and stops
//! (sd_notify(3)). Without a service manager all of this does nothing.
//! *Guarantees:* what is taken over is checked: a listening TCP socket of a name that we know, or a clear error.

use std::fmt::Display;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};
use sd_notify::NotifyState;

use super::doors::{Inherited, Kind};
use super::error::StartError;

/// The sockets that the service manager hands over. To be called once, before this process opens any file: a second call
/// finds nothing.
pub fn inherited() -> Result<Vec<Inherited>, StartError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names().map_err(|error| {
        StartError::Inherited(format!("LISTEN_FDS and LISTEN_FDNAMES do not say what was handed over ({error})"))
    })?;
    let mut sockets = Vec::new();
    for (descriptor, name) in passed {
        // SAFETY: the descriptor is open, and this is its only owner. LISTEN_PID is ours, so it is the number of a
        // descriptor that the service manager passed to this process; `listen_fds` has just set a flag on it, which fails
        // for one that is not open. Nothing else in this process owns it: it was open when the process began, the
        // caller opens nothing before, so that no number of ours can be among these, and TAKEN lets nobody ask twice.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let socket = check(&descriptor, &name).map_err(|why| StartError::Inherited(format!("\"{name}\" {why}")))?;
        sockets.push(Inherited { kind: socket, socket: descriptor.into() });
    }
    Ok(sockets)
}

/// Is this a listening TCP socket, and whose kind is it?
fn check(descriptor: &OwnedFd, name: &str) -> Result<Kind, String> {
    let is_tcp = sockopt::socket_type(descriptor).is_ok_and(|kind| kind == SocketType::STREAM)
        && sockopt::socket_domain(descriptor).is_ok_and(|f| f == AddressFamily::INET || f == AddressFamily::INET6);
    if !is_tcp {
        return Err("is no TCP socket. Write ListenStream= with a port into the socket unit.".into());
    }
    if !sockopt::socket_acceptconn(descriptor).is_ok_and(|listens| listens) {
        return Err("does not listen. Write ListenStream= and Accept=no into the socket unit.".into());
    }
    match name {
        "smtps" => Ok(Kind::Smtps),
        // A unit's own name, or none, where the socket unit has no FileDescriptorName=.
        "smtp" | "" | "unknown" => Ok(Kind::Smtp),
        name if name.ends_with(".socket") => Ok(Kind::Smtp),
        _ => Err("is no name that we know. Write FileDescriptorName=smtp or smtps into the socket unit.".into()),
    }
}

/// The service answers, with this configuration.
pub fn ready(status: &dyn Display) {
    // A line of its own would be another message to the service manager.
    let status: String = status.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// A new configuration is being loaded; [`ready`] follows, whatever comes of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now, NotifyState::Status("Reloading")]),
        Err(error) => tracing::warn!(%error, "no monotonic clock"),
    }
}

/// The service stops.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("Stopping: open transactions may end")]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
