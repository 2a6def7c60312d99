//! The command line: one file a subcommand.
//!
//! *Guarantees:* exit statuses by sysexits(3). Errors go to standard error and say what to do; results go to standard output.

mod check;
pub mod demo;
mod scan;
mod serve;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, LogFormat};

/// Exit statuses of sysexits(3).
pub(crate) mod exit {
    /// A wrong command line.
    pub const USAGE: u8 = 64;
    /// The input is no message, say.
    pub const DATA: u8 = 65;
    /// An input file cannot be read.
    pub const NO_INPUT: u8 = 66;
    /// A service that is needed does not answer.
    pub const UNAVAILABLE: u8 = 69;
    /// The system refused something.
    pub const OS: u8 = 71;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

#[derive(Debug, Parser)]
#[command(name = "mxkeep", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Start with `mxkeep demo`: it needs nothing, and shows everything on 127.0.0.1.\n\
                        Then write a configuration (the README has one to start from), `mxkeep check` it, and `mxkeep serve`.\n\n\
                        Exit status, by sysexits(3): 0 all is well, 64 a wrong command line, 65 and 66 input that is no message or \
                        cannot be read, 69 no server answers, 71 the system refuses something (a port or the state in use, say), \
                        78 the configuration, or a file that it names, must be mended.")]
struct Arguments {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/mxkeep/mxkeep.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive mail: listen, verify, judge, deliver
    Serve,
    /// Say whether the configuration, the rules and the files that it names are right
    Check,
    /// Say what would become of stored messages, and why
    Scan(scan::Arguments),
    /// Show what the running server is doing
    Status(status::Arguments),
    /// Start a throw-away server on 127.0.0.1:2525, send it sample messages, and explain what happened
    Demo(demo::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return if wrong { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Serve => serve::run(&arguments.config),
        Command::Check => check::run(&arguments.config),
        Command::Scan(scan) => scan::run(&arguments.config, &scan),
        Command::Status(status) => status::run(&arguments.config, &status),
        Command::Demo(demo) => demo::run(&demo),
    }
}

/// Loads the configuration, or says what is wrong with it.
fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    match Config::load(path) {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            Ok(config)
        }
        Err(error) => {
            eprintln!("{error}");
            Err(ExitCode::from(exit::CONFIG))
        }
    }
}

/// Log lines go to standard error. `MXKEEP_LOG` filters them, as in `MXKEEP_LOG=debug`.
fn start_log(format: LogFormat, default_filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MXKEEP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default_filter));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that was started before stays as it is.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
