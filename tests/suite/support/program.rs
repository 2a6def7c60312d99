//! The binary as a command, run to its end: as whoever runs the tests, or as a user without rights.

use std::fs;
use std::io::Read;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::wait;

/// A user (and group) with no rights on any system: `nobody` on Debian.
pub const NOBODY: u32 = 65_534;

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

/// Gives a server's directory, all in it, and a copy of the binary to a user, who may not look at where ours is.
pub fn give(directory: &Path, user: u32) {
    // By another process: a file that any process has open for writing cannot be run, and tests fork all the time.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_mxkeep")).arg(copy(directory)).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the binary");
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        chown(&path, Some(user), Some(user)).expect("root may give files away");
        if path.is_dir() {
            left.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        }
    }
}

fn copy(directory: &Path) -> PathBuf {
    directory.join("mxkeep")
}

/// The binary, without arguments yet, as this user.
pub fn command(directory: &Path, user: Option<u32>) -> Command {
    let Some(user) = user else { return Command::new(env!("CARGO_BIN_EXE_mxkeep")) };
    let mut command = Command::new(copy(directory));
    command.uid(user).gid(user);
    command
}

/// Runs the binary in a server's directory to its end. One that does not end by itself is killed, and fails the test.
pub fn run(directory: &Path, user: Option<u32>, arguments: &[&str]) -> Said {
    let mut command = command(directory, user);
    command.args(arguments).current_dir(directory);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.expect("the binary starts"));
    let (out, err) = (read(running.0.stdout.take()), read(running.0.stderr.take()));
    wait::until(&format!("mxkeep {} ends", arguments.join(" ")), || running.0.try_wait().expect("a child").is_some());
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
