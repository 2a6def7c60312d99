//! The command line: one file a subcommand.
//!
//! *Guarantees:* exit statuses by sysexits(3), and 1 for a demo that went another way. Errors go to standard error and
//! say what to do; results go to standard output.

mod check;
pub mod demo;
mod reload;
mod scan;
mod serve;
mod status;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, LogFormat, Warning};

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
    /// What was to be written could not be.
    pub const IO: u8 = 74;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// What `mxkeep --help` says below the list of commands.
const HELP: &str = "\
Start with `mxkeep demo`: it needs nothing, and shows everything on 127.0.0.1.
Then write a configuration (the README has one to start from), and say:

  mxkeep check --config mxkeep.toml    is everything right that the server would need?
  mxkeep serve --config mxkeep.toml    receive mail, until Ctrl-C or SIGTERM
  mxkeep reload --config mxkeep.toml   take the changed configuration, without a restart
  mxkeep status --config mxkeep.toml   what is it doing?
  mxkeep scan --config mxkeep.toml message.eml
                                       what would become of this message, and why?

Exit status: 0 good, 64 wrong command line, 66 a file cannot be read, 69 no server answers,
71 the system refused something, 78 wrong configuration.";

#[derive(Debug, Parser)]
#[command(name = "mxkeep", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = HELP)]
struct Arguments {
    /// The configuration file; `demo` makes its own
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/mxkeep/mxkeep.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive mail: listen, verify, judge, deliver
    #[command(after_help = serve::HELP)]
    Serve,
    /// Say whether the configuration, the rules and the files that it names are right
    #[command(after_help = check::HELP)]
    Check(check::Arguments),
    /// Say what would become of stored messages, and why
    #[command(after_help = scan::HELP)]
    Scan(scan::Arguments),
    /// Have the running server take its changed configuration
    #[command(after_help = reload::HELP)]
    Reload,
    /// Show what the running server is doing
    #[command(after_help = status::HELP)]
    Status(status::Arguments),
    /// Start a throw-away server on 127.0.0.1:2525, send it sample messages, and explain what happened
    #[command(after_help = demo::HELP)]
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
        Command::Check(check) => check::run(&arguments.config, &check),
        Command::Scan(scan) => scan::run(&arguments.config, &scan),
        Command::Reload => reload::run(&arguments.config),
        Command::Status(status) => status::run(&arguments.config, &status),
        Command::Demo(demo) => demo::run(&demo),
    }
}

/// Loads the configuration, or says what is wrong with it. For commands that only look: its warnings were given to whoever
/// started the server.
fn load(path: &Path) -> Result<Config, ExitCode> {
    load_with(path, |_| ())
}

/// Loads the configuration, says what is doubtful in it, or what is wrong with it.
fn load_and_warn(path: &Path) -> Result<Config, ExitCode> {
    load_with(path, |warning| eprintln!("warning: {warning}"))
}

fn load_with(path: &Path, warn: impl Fn(&Warning)) -> Result<Config, ExitCode> {
    match Config::load(path) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(warn);
            Ok(config)
        }
        Err(error) => {
            eprintln!("{error}");
            Err(ExitCode::from(exit::CONFIG))
        }
    }
}

/// Where the server of this configuration file keeps its state: to be asked even if the file was broken since it started.
/// Otherwise what is wrong with the file was said.
fn state_directory(path: &Path) -> Result<PathBuf, ExitCode> {
    config::state_directory(path).map_or_else(|| load(path).map(|config| config.storage.state), Ok)
}

/// Prints results on standard output. Whoever reads them may have seen enough, as in `mxkeep status | head`.
fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("mxkeep: cannot write to standard output: {error}");
            ExitCode::from(exit::IO)
        }
        _ => ExitCode::SUCCESS,
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
