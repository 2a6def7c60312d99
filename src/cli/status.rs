//! `mxkeep status`: what the running server is doing, asked over its control socket.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::{exit, print, state_directory};
use crate::control;

/// What `mxkeep status --help` says below the options.
pub const HELP: &str = "\
Asks the server over its socket, `control` in the directory storage.state. Only root and the user
that the server runs as may ask. Numbers count from the server's start.

  mxkeep status --config /etc/mxkeep/mxkeep.toml
  mxkeep status --json | jq .rejected

Of the configuration only storage.state is needed. Exit status: 0 it answered, 69 no server answers,
78 the configuration cannot be read.";

/// `mxkeep status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the status, or that nothing runs.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let state = match state_directory(path) {
        Ok(state) => state,
        Err(code) => return code,
    };
    let status = match control::ask_status(&state) {
        Ok(status) => status,
        Err(error) => return no_answer(path, &state, &error),
    };
    match (arguments.json, serde_json::to_string(&status)) {
        (true, Ok(json)) => print(&json),
        _ => print(&table(&status)),
    }
}

/// Nobody answers at the control socket.
pub(super) fn no_answer(path: &Path, state: &Path, error: &io::Error) -> ExitCode {
    let socket = control::path(state);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            eprintln!(
                "mxkeep: the server's socket {} is not for you: run this as root or as its user",
                socket.display()
            );
        }
        _ => {
            eprintln!("mxkeep: no server answers at {}: {error}", socket.display());
            eprintln!("Start it with `mxkeep serve --config {}`.", path.display());
            eprintln!("If storage.state was changed, a running server still has the old one: restart it.");
        }
    }
    ExitCode::from(exit::UNAVAILABLE)
}

fn table(status: &control::Status) -> String {
    let rows = [
        format!("mxkeep {}, process {}, up {} s", status.version, status.pid, status.uptime_seconds),
        format!("loaded       {} s ago", status.configuration_seconds),
        format!("listening    {}", status.listening.join(", ")),
        format!("connections  {} open, {} since start", status.connections_open, status.connections),
        format!(
            "messages     {} accepted, {} rejected, {} deferred",
            status.accepted, status.rejected, status.deferred
        ),
        format!(
            "copies       {} inbox, {} junk, {} already delivered",
            status.copies_inbox, status.copies_junk, status.copies_duplicate
        ),
        format!("ledger       {} entries", status.ledger_entries),
        format!("rules        {}", status.rules),
    ];
    rows.join("\n")
}
