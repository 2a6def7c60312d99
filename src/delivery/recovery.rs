//! What a start does about deliveries that a crash or a power cut interrupted.
//!
//! *Does:* settles the ledger's intents, then sweeps `tmp/`. An intent counts as done only if its file is found under `new/`
//! or `cur/`, and only after that directory has been synced; any other is dropped, and its file under `tmp/` removed. From
//! `tmp/` go the files that an mxkeep on this host named, and all older than [`TMP_AGE_MAX_S`]: the rest are the deliveries
//! of other programs, under way.
//! *Guarantees:* no proof, no suppression: what cannot be read is dropped, and will be delivered again.
//! *Never does:* refuse to start. It must run before the first delivery, by the one process that delivers.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::{Errno, Result};

use super::beneath;
use super::ledger::{Key, Ledger};
use super::name;
use super::trouble::unix_time_s;
use crate::mailbox::Maildir;

/// The age in seconds past which a file under `tmp/` belongs to nobody any more: 36 hours, as the Maildir convention has it.
pub const TMP_AGE_MAX_S: u64 = 36 * 3600;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Deliveries that had happened: a retry will not repeat them.
    pub done: usize,
    /// Deliveries that had not, or not provably.
    pub dropped: usize,
    /// Files removed from `tmp/`.
    pub swept: usize,
}

/// Settles what the last run left behind in the ledger and in these Maildirs, all of their folders included. Blocks.
pub fn recover(ledger: &Ledger, maildirs: &[Maildir]) -> Recovery {
    let (done, dropped) = settle_intents(ledger);
    let swept = maildirs.iter().map(sweep_maildir).sum();
    let recovery = Recovery { done, dropped, swept };
    if recovery != Recovery::default() {
        tracing::info!(done, dropped, swept, "deliveries that had been interrupted were settled");
    }
    recovery
}

/// Root and directory -> the deliveries that were to appear there.
type Intents = BTreeMap<(PathBuf, PathBuf), Vec<(Key, String)>>;

fn settle_intents(ledger: &Ledger) -> (usize, usize) {
    let mut intents = Intents::new();
    for (key, intent) in ledger.intents() {
        intents.entry((intent.root, intent.directory)).or_default().push((key, intent.name));
    }
    let (mut done, mut dropped, mut leftovers) = (Vec::new(), Vec::new(), Vec::new());
    for ((root, directory), expected) in &intents {
        let found = delivered(root, directory, expected).unwrap_or_else(|errno| {
            let path = root.join(directory);
            tracing::warn!(path = %path.display(), %errno, "cannot tell whether mail was delivered here: a retry may double it");
            vec![false; expected.len()]
        });
        for ((key, name), found) in expected.iter().zip(found) {
            if found {
                done.push(*key);
            } else {
                dropped.push(*key);
                leftovers.push((root, directory, name));
            }
        }
    }
    // The ledger first: an intent without its file is dropped by the next start too, a file without its intent is swept.
    ledger.settle(&done, &dropped);
    for (root, directory, name) in leftovers {
        remove_tmp(root, directory, name);
    }
    (done.len(), dropped.len())
}

/// Which of these files are in `new/` or `cur/`. Both are synced before anything found in them counts.
fn delivered(root: &Path, directory: &Path, expected: &[(Key, String)]) -> Result<Vec<bool>> {
    let root = beneath::open_root(root)?;
    let mut found = vec![false; expected.len()];
    // `new/` first: a reader moves files from there to `cur/`, never back.
    for sub in ["new", "cur"] {
        let opened = match beneath::open_directory(&root, &directory.join(sub), OFlags::RDONLY) {
            Err(Errno::NOENT) => continue,
            opened => opened?,
        };
        rustix::fs::fsync(&opened)?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            for ((_, name), found) in expected.iter().zip(&mut found) {
                *found |= is_file_of(entry.file_name(), name);
            }
        }
    }
    Ok(found)
}

/// Is this the file of that name, with or without flags (`:2,S`)?
fn is_file_of(file: &CStr, name: &str) -> bool {
    let flags = file.to_bytes().strip_prefix(name.as_bytes());
    flags.is_some_and(|flags| flags.is_empty() || flags.starts_with(b":"))
}

fn remove_tmp(root: &Path, directory: &Path, name: &str) {
    let removed = beneath::open_root(root)
        .and_then(|root| beneath::open_directory(&root, &directory.join("tmp"), OFlags::PATH))
        .and_then(|tmp| rustix::fs::unlinkat(tmp, name, AtFlags::empty()));
    match removed {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => tracing::warn!(name, %errno, "cannot remove an interrupted delivery from tmp/"),
    }
}

/// Sweeps `tmp/` of a Maildir and of all its folders.
fn sweep_maildir(maildir: &Maildir) -> usize {
    let swept = folders(maildir).map(|folders| folders.iter().map(|folder| sweep_tmp(maildir, folder)).sum());
    swept.unwrap_or_else(|errno| {
        // A mailbox that never got mail is not there yet.
        if errno != Errno::NOENT {
            let path = maildir.root().join(maildir.path());
            tracing::warn!(path = %path.display(), %errno, "cannot look for interrupted deliveries");
        }
        0
    })
}

/// The directories, below the root, of the Maildir and its folders.
fn folders(maildir: &Maildir) -> Result<Vec<PathBuf>> {
    let root = beneath::open_root(maildir.root())?;
    let mut folders = vec![maildir.path().to_path_buf()];
    let opened = beneath::open_directory(&root, maildir.path(), OFlags::RDONLY)?;
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") && name != b"." && name != b".." {
            folders.push(maildir.path().join(OsStr::from_bytes(name)));
        }
    }
    Ok(folders)
}

fn sweep_tmp(maildir: &Maildir, folder: &Path) -> usize {
    let tmp = beneath::open_root(maildir.root())
        .and_then(|root| beneath::open_directory(&root, &folder.join("tmp"), OFlags::RDONLY));
    let Ok(tmp) = tmp else { return 0 };
    let Ok(files) = Dir::read_from(&tmp) else { return 0 };
    let now_s = unix_time_s();
    let orphans = files.flatten().filter(|file| is_orphan(&tmp, file.file_name(), now_s));
    orphans.filter(|file| rustix::fs::unlinkat(&tmp, file.file_name(), AtFlags::empty()).is_ok()).count()
}

pub(super) fn is_orphan(tmp: &OwnedFd, file: &CStr, now_s: u64) -> bool {
    let Ok(status) = rustix::fs::statat(tmp, file, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return false;
    }
    // The newer of the two: a program may set an old modification time on a file that it has just made.
    let changed_s = u64::try_from(status.st_mtime.max(status.st_ctime)).unwrap_or(0);
    let ours = file.to_str().is_ok_and(name::is_ours);
    ours || now_s.saturating_sub(changed_s) > TMP_AGE_MAX_S
}
