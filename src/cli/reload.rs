//! `mxkeep reload`: has the running server take its changed configuration, and says what came of it.

use std::path::Path;
use std::process::ExitCode;

use super::{exit, print, state_directory, status};
use crate::control::{self, ReloadAnswer};

/// What `mxkeep reload --help` says below the options.
pub const HELP: &str = "\
The server loads its configuration file again, and with it rules, certificate and resolvers. All of
it comes into force, or nothing: every problem is said, and the server goes on with what it has.
Sessions go on with what they began with. SIGHUP does the same, and says it in the log alone.
--config only says which server is asked (by storage.state): it loads the file that it was started
with.

Only storage.state, log.format and an address that overlaps the one that it replaces need a restart. With socket activation the sockets that the
service manager opened stay as they are.

  mxkeep reload --config /etc/mxkeep/mxkeep.toml
  systemctl reload mxkeep

Exit status: 0 the new configuration is in force, 69 no server answers, 78 it is wrong.";

/// Asks for a reload and prints what came of it.
pub fn run(path: &Path) -> ExitCode {
    // Of the file only storage.state is needed here: what is wrong with the rest is for the server to say, and to log.
    let state = match state_directory(path) {
        Ok(state) => state,
        Err(code) => return code,
    };
    match control::ask_reload(&state) {
        Ok(ReloadAnswer::Reloaded { file, summary, warnings }) => {
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            print(&format!("{file}: in force. {summary}"))
        }
        Ok(ReloadAnswer::NotReloaded { problems }) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            eprintln!("Nothing was reloaded: the server goes on with what it has.");
            ExitCode::from(exit::CONFIG)
        }
        Err(error) => status::no_answer(path, &state, &error),
    }
}
