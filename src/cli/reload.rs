//! `mxkeep reload`: has the running server take its changed configuration, and says what came of it.

use std::path::Path;
use std::process::ExitCode;

use super::{exit, load, status};
use crate::control::{self, ReloadAnswer};

/// What `mxkeep reload --help` says below the options.
pub const HELP: &str = "\
The server loads its configuration file again, and with it rules, certificate and resolvers. All of
it comes into force, or nothing: every problem is said, and the server goes on with what it has.
Sessions go on with what they began with. SIGHUP does the same, and says it in the log alone.

Only storage.state and log.format need a restart. With socket activation the sockets that the
service manager opened stay as they are.

  mxkeep reload --config /etc/mxkeep/mxkeep.toml
  systemctl reload mxkeep

Exit status: 0 the new configuration is in force, 69 no server answers, 78 it is wrong.";

/// Asks for a reload and prints what came of it.
pub fn run(path: &Path) -> ExitCode {
    // Where the server listens for us stands in the file: one that cannot be read is not to be loaded anyway.
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => {
            eprintln!("Nothing was reloaded: a running server goes on with what it has.");
            return code;
        }
    };
    match control::ask_reload(&config.storage.state) {
        Ok(ReloadAnswer::Reloaded { file, summary, warnings }) => {
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            println!("{file}: in force. {summary}");
            ExitCode::SUCCESS
        }
        Ok(ReloadAnswer::NotReloaded { problems }) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            eprintln!("Nothing was reloaded: the server goes on with what it has.");
            ExitCode::from(exit::CONFIG)
        }
        Err(error) => {
            let code = status::no_answer(path, &config.storage.state, &error);
            eprintln!("If storage.state was changed, the running server still has the old one: restart it.");
            code
        }
    }
}
