//! `mxkeep check`: is everything right that `serve` would need?

use std::path::Path;
use std::process::ExitCode;

use super::{exit, load_and_warn, print};
use crate::config::{self, Config};
use crate::rules::{self, LISTED_MAX, Rules};

/// What `mxkeep check --help` says below the options.
pub const HELP: &str = "\
Loads the configuration as `serve` would, reads the certificate and its key, writes and removes a
file in the mail root and the state directory, and loads the rules. Changes nothing. Run it as the
user that the server runs as, or permissions are not tested:

  runuser -u vmail -- mxkeep check --config /etc/mxkeep/mxkeep.toml
  mxkeep check --rules          list all that the rule files ask for and will not get

Exit status: 0 good (there may be warnings), 78 something must be mended first.";

/// `mxkeep check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// List every finding in the rule files: unsupported directives, unknown evals, bad patterns, dead rules
    #[arg(long)]
    rules: bool,
}

/// Loads the configuration, looks at every file that it names, and loads the rules.
pub fn run(path: &Path, arguments: &Arguments) -> ExitCode {
    let config = match load_and_warn(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let problems = config::check_files(&config);
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    match (check_rules(&config, problems.is_empty(), arguments.rules), problems.is_empty()) {
        (Some(rules), true) => {
            let mailboxes: usize = config.domains.values().map(|domain| domain.mailboxes.len()).sum();
            let domains = config.domains.len();
            print(&format!("{}: good. Domains: {domains}, mailboxes: {mailboxes}, rules: {rules}.", path.display()))
        }
        _ => ExitCode::from(exit::CONFIG),
    }
}

/// How many rules there are; `None` if they cannot be loaded. What is wrong with single ones is said, and is no error:
/// operators have rules that were written for other programs. A path that cannot be read was named with the other files.
fn check_rules(config: &Config, all_files_are_there: bool, all_findings: bool) -> Option<usize> {
    match Rules::load(&config.rules.paths) {
        Ok((rules, diagnostics)) => {
            for line in rules::listed(&diagnostics, if all_findings { usize::MAX } else { LISTED_MAX }) {
                eprintln!("warning: {line}");
            }
            let scored = rules.scored().count();
            if scored == 0 {
                eprintln!(
                    "warning: rules.paths: no rule is loaded. Only files named *.cf, directly in a directory, are read."
                );
            }
            Some(scored)
        }
        Err(error) => {
            if all_files_are_there {
                eprintln!("error: {error}");
            }
            None
        }
    }
}
