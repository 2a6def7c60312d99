//! `mxkeep status`: what the running server is doing, asked over its control socket.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::{exit, load};
use crate::control;

/// What `mxkeep status --help` says below the options.
pub const HELP: &str = "\
Asks the server over its socket, `control` in the directory storage.state. Only root and the user
that the server runs as may ask. Numbers count from the server's start.

  mxkeep status --config /etc/mxkeep/mxkeep.toml
  mxkeep status --json | jq .rejected

Exit status: 0 it answered, 69 no server answers, 78 the configuration is wrong.";

/// `mxkeep status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the status, or that nothing runs.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let status = match control::ask_status(&config.storage.state) {
        Ok(status) => status,
        Err(error) => return no_answer(path, &config.storage.state, &error),
    };
    match (arguments.json, serde_json::to_string(&status)) {
        (true, Ok(json)) => println!("{json}"),
        _ => print_table(&status),
    }
    ExitCode::SUCCESS
}

/// Nobody answers at the control socket.
pub(super) fn no_answer(path: &Path, state: &Path, error: &io::Error) -> ExitCode {
    eprintln!("mxkeep: no server answers at {}: {error}", control::path(state).display());
    eprintln!("Start it with `mxkeep serve --config {}`, or run this as the server's user.", path.display());
    ExitCode::from(exit::UNAVAILABLE)
}

fn print_table(status: &control::Status) {
    println!("mxkeep {}, process {}, up {} s", status.version, status.pid, status.uptime_seconds);
    println!("loaded       {} s ago", status.configuration_seconds);
    println!("listening    {}", status.listening.join(", "));
    println!("connections  {} open, {} since start", status.connections_open, status.connections);
    println!("messages     {} accepted, {} rejected, {} deferred", status.accepted, status.rejected, status.deferred);
    println!(
        "copies       {} inbox, {} junk, {} already delivered",
        status.copies_inbox, status.copies_junk, status.copies_duplicate
    );
    println!("ledger       {} entries", status.ledger_entries);
    println!("rules        {}", status.rules);
}
