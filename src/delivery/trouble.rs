//! Trouble with the disk: what the sender is told (always 4yz) and what the operator is told.
//!
//! *Guarantees:* local trouble is never the sender's fault: no 5yz comes from here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

/// Why a delivery did not happen: the sender keeps the message and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} {}: {errno}. {}", path.display(), advice(*errno))]
pub struct Trouble {
    doing: &'static str,
    path: PathBuf,
    errno: Errno,
}

/// What the sender is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The disk or the quota is full: 452 4.3.1, insufficient system storage.
    Full,
    /// Anything else: 451 4.3.0, local error in processing.
    Local,
}

impl Trouble {
    /// `doing` completes "cannot ...", with what `path` is at its end.
    pub(super) fn new(doing: &'static str, path: &Path, errno: Errno) -> Self {
        Trouble { doing, path: path.into(), errno }
    }

    /// What the sender is told of it.
    pub fn kind(&self) -> Kind {
        match self.errno {
            Errno::NOSPC | Errno::DQUOT => Kind::Full,
            _ => Kind::Local,
        }
    }

    /// Tells the operator. A full disk meets every message: see [`LogLimit`].
    pub(super) fn log(&self) {
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(held_back) = LIMIT.pass() {
            let (path, errno) = (self.path.display(), self.errno.raw_os_error());
            tracing::error!(%path, errno, held_back, "{self}");
        }
    }
}

/// What to do about it.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "The disk is full: make room; senders try again until then",
        Errno::DQUOT => "The disk quota is used up: raise it or make room; senders try again until then",
        Errno::ACCESS | Errno::PERM => {
            "mxkeep's user must own this Maildir and may need it in the unit's ReadWritePaths"
        }
        Errno::NOENT => "Does the mail root exist, and is its file system mounted? It is never made here",
        Errno::ROFS => "The file system is read-only: the kernel's log may say why",
        Errno::LOOP | Errno::XDEV => {
            "No symbolic link is followed below the mail root: give the real path in storage.mail, or mount it there"
        }
        Errno::NOTDIR => "A file or a symbolic link stands where a directory of the Maildir should be: move it away",
        Errno::IO => "The disk reports errors: look at the kernel's log",
        Errno::MFILE | Errno::NFILE => "Too many open files: raise LimitNOFILE",
        Errno::INVAL => "The file system may be unable to sync directories: it is not fit for mail then",
        _ => "The message was not accepted; senders try again",
    }
}

/// Lets one line a second into the log and counts the rest.
#[derive(Debug, Default)]
pub struct LogLimit {
    last_s: AtomicU64,
    held_back: AtomicU64,
}

impl LogLimit {
    /// For a `static`, one for each kind of line.
    pub const fn new() -> Self {
        LogLimit { last_s: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// How many lines were held back since the last one, if this one may pass.
    pub fn pass(&self) -> Option<u64> {
        let now_s = unix_time_s();
        if self.last_s.swap(now_s, Ordering::Relaxed) == now_s {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.held_back.swap(0, Ordering::Relaxed))
    }
}

/// Seconds since 1970.
pub(super) fn unix_time_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_and_the_operator_knows_what_to_do() {
        let full = Trouble::new("write", Path::new("/m/tmp/x"), Errno::NOSPC);
        assert_eq!(full.kind(), Kind::Full);
        assert!(full.to_string().starts_with("cannot write /m/tmp/x: No space left on device (os error 28). The disk"));
        assert_eq!(Trouble::new("write", Path::new("x"), Errno::DQUOT).kind(), Kind::Full);
        assert_eq!(Trouble::new("write", Path::new("x"), Errno::IO).kind(), Kind::Local);
    }
}
