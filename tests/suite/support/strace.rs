//! strace on a running server: which system calls it makes in which order, and what happens when one of them fails or is
//! the last one that the process comes to.
//!
//! *Where it works:* with strace installed and ptrace permitted. Elsewhere [`Strace::attach`] says why not, and the test
//! is skipped; in continuous integration (`CI` is set) that is a failure.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::server::Server;

/// Attached to a server. It is detached when dropped.
pub struct Strace {
    child: Child,
    /// Kept open: strace may still complain.
    _stderr: BufReader<ChildStderr>,
    log: PathBuf,
}

/// One system call. Events are numbered in the order in which they happened.
#[derive(Debug, Clone)]
pub struct Call {
    /// `fsync`
    pub name: String,
    /// As strace prints them: descriptors with what they stand for in angle brackets.
    pub arguments: String,
    /// The event at which it began.
    pub began: usize,
    /// The event at which it returned; `None` if the process did not live to see it.
    pub returned: Option<usize>,
}

impl Strace {
    /// Attaches to all threads of the server, with these arguments (`-e trace=...`). `None` where that is impossible.
    pub fn attach(server: &Server, arguments: &[String]) -> Option<Strace> {
        let log = server.directory().join("strace.log");
        let spawned = Command::new("strace")
            .args(["-f", "-yy", "-s", "80", "-p", &server.pid().to_string(), "-o"])
            .arg(&log)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return skip(&format!("strace does not run: {error}")),
        };
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        loop {
            match stderr.read_line(&mut said) {
                Ok(1..) if said.ends_with("threads\n") || said.ends_with("attached\n") => {
                    return Some(Strace { child, _stderr: stderr, log });
                }
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    child.wait().expect("a child can be waited for");
                    return skip(&format!("strace cannot attach: {said}"));
                }
            }
        }
    }

    /// Leaves the server alone again, and gives what was seen.
    pub fn detach(mut self) -> Vec<Call> {
        self.end();
        self.calls()
    }

    /// The traced process has ended, and strace with it: what was seen.
    pub fn finish(mut self) -> Vec<Call> {
        self.child.wait().expect("a child can be waited for");
        self.calls()
    }

    fn end(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child can be signalled");
        }
        self.child.wait().expect("a child can be waited for");
    }

    fn calls(&self) -> Vec<Call> {
        parse(BufReader::new(File::open(&self.log).expect("strace's log")).lines().map_while(Result::ok))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.end();
    }
}

fn skip(why: &str) -> Option<Strace> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

/// Reads a log of `strace -f`.
fn parse(lines: impl Iterator<Item = String>) -> Vec<Call> {
    let mut calls: Vec<(String, Call)> = Vec::new();
    for (at, line) in lines.enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if text.starts_with("<... ") {
            let pending = calls.iter_mut().rev().find(|(by, call)| by == thread && call.returned.is_none());
            if let Some((_, call)) = pending {
                call.returned = (!text.ends_with("= ?")).then_some(at);
            }
            continue;
        }
        let Some((name, arguments)) = text.split_once('(') else { continue };
        let unfinished = text.ends_with("<unfinished ...>") || text.ends_with("= ?");
        let returned = (!unfinished).then_some(at);
        let call = Call { name: name.to_owned(), arguments: arguments.to_owned(), began: at, returned };
        calls.push((thread.to_owned(), call));
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

/// The server's write-ahead log, as `-P` wants it.
pub fn write_ahead_log(server: &Server) -> String {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors");
    let mut files = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let log = files.find(|path| path.extension().is_some_and(|extension| extension == "log"));
    log.expect("RocksDB has a log open").to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_though_threads_interrupt_each_other() {
        let log = "\
11  fsync(5</m/new> <unfinished ...>
12  write(3</s/1.log>, \"x\", 1) = 1
11  <... fsync resumed>) = 0
12  sendto(9<TCP:[a->b]>, \"250\", 3) = ?
12  +++ killed by SIGKILL +++";
        let calls = parse(log.lines().map(str::to_owned));
        let seen: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.began, call.returned)).collect();
        assert_eq!(seen, [("fsync", 0, Some(2)), ("write", 1, Some(1)), ("sendto", 3, None)]);
    }
}
