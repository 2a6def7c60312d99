//! The binary as a command, run to its end: as whoever runs the tests, or as the owner of the mail.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::owner::Owner;
use super::poll::until;

const BINARY: &str = env!("CARGO_BIN_EXE_mxkeep");

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    /// The exit status; `None`: killed by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Only root may run something as somebody else. Says so where a test is skipped for it.
pub fn can_change_user() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: running the server as another user takes root");
    }
    root
}

/// Gives a server's directory, all in it, and a copy of the binary to an owner, who may not look at where ours is.
pub fn give(directory: &Path, owner: &Owner) {
    // By another process: a file that any process has open for writing cannot be run, and tests fork all the time.
    let copied = Command::new("cp").arg(BINARY).arg(copy(directory)).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the binary");
    owner.own(directory);
}

fn copy(directory: &Path) -> PathBuf {
    directory.join("mxkeep")
}

/// The binary, without arguments yet, as this owner of the directory.
pub fn command(directory: &Path, owner: Option<&Owner>) -> Command {
    owner.map_or_else(|| Command::new(BINARY), |owner| owner.command(&copy(directory)))
}

/// The binary, started as a service manager does that listens for it (sd_listen_fds(3)): with this descriptor as its third,
/// under this name, and without standard input.
pub fn activated(descriptor: OwnedFd, name: &str) -> Command {
    let mut command = Command::new("sh");
    // The shell becomes the binary: LISTEN_PID is the number that it has itself.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 0</dev/null"#;
    command.args(["-c", script, BINARY]).env("LISTEN_FDNAMES", name).stdin(descriptor);
    command
}

/// Runs the binary in a server's directory to its end. One that does not end by itself is killed, and fails the test.
pub fn run(directory: &Path, owner: Option<&Owner>, arguments: &[&str]) -> Said {
    let mut command = command(directory, owner);
    command.stdin(Stdio::null());
    run_command(command, directory, arguments)
}

/// The same for a command that knows its standard input.
pub fn run_command(mut command: Command, directory: &Path, arguments: &[&str]) -> Said {
    command.args(arguments).current_dir(directory);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.expect("the binary starts"));
    let (out, err) = (read(running.0.stdout.take()), read(running.0.stderr.take()));
    until(&format!("mxkeep {} ends", arguments.join(" ")), || running.0.try_wait().expect("a child").is_some());
    let code = running.0.wait().expect("it has ended").code();
    Said { code, out: out.join().expect("no panic"), err: err.join().expect("no panic") }
}

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or the test has failed: then there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    let mut stream = stream.expect("it is piped");
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("UTF-8");
        text
    })
}
