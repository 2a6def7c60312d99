//! The Maildir's `subscriptions` file, so that a new folder shows up in the user's mail program.
//!
//! *Does:* adds one folder, once, when it is made: who unsubscribes later stays unsubscribed.
//! *Guarantees:* the file is whole at any time: the new one is written beside it, under the name that is Dovecot's lock
//! (`subscriptions.lock`), and takes its place by a rename. If Dovecot holds the lock nothing is done.
//! *Format:* Dovecot's. Version 1 is a line for each folder; version 2 begins with `V<TAB>2` and an empty line, and
//! separates a folder's levels by tabs.
//! *Failure:* the caller logs it; a subscription is never worth a refusal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::config::FolderName;

/// The longest `subscriptions` that is read, in octets. It would hold some ten thousand folders.
const SUBSCRIPTIONS_OCTETS_MAX: u64 = 1 << 20;
const FILE: &str = "subscriptions";
const LOCK: &str = "subscriptions.lock";
const VERSION_2: &[u8] = b"V\t2\n";

/// Adds the folder to the Maildir's subscriptions, unless it is there.
pub(super) fn add(maildir: &OwnedFd, folder: &FolderName) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(maildir, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    let replaced = replace(maildir, lock, folder);
    if !matches!(replaced, Ok(true)) {
        rustix::fs::unlinkat(maildir, LOCK, AtFlags::empty())?;
    }
    replaced.map(drop)
}

/// Whether a new file has taken the place of the old one.
fn replace(maildir: &OwnedFd, lock: OwnedFd, folder: &FolderName) -> Result<bool, Errno> {
    let old = read(maildir)?;
    let Some(new) = with_folder(&old, folder) else { return Ok(false) };
    let mut lock = File::from(lock);
    lock.write_all(&new).and_then(|()| lock.sync_all()).map_err(errno)?;
    rustix::fs::renameat(maildir, LOCK, maildir, FILE)?;
    Ok(true)
}

fn read(maildir: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(maildir, FILE, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        file => File::from(file?),
    };
    let mut octets = Vec::new();
    file.take(SUBSCRIPTIONS_OCTETS_MAX + 1).read_to_end(&mut octets).map_err(errno)?;
    // Part of a list must not replace the list.
    if octets.len() as u64 > SUBSCRIPTIONS_OCTETS_MAX { Err(Errno::FBIG) } else { Ok(octets) }
}

/// The list with the folder in it; `None` if it is there already.
fn with_folder(old: &[u8], folder: &FolderName) -> Option<Vec<u8>> {
    let separator = if old.starts_with(VERSION_2) { "\t" } else { "." };
    let line = folder.levels().collect::<Vec<_>>().join(separator);
    if old.split(|&b| b == b'\n').any(|present| present == line.as_bytes()) {
        return None;
    }
    let mut new = old.to_vec();
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    new.extend_from_slice(line.as_bytes());
    new.push(b'\n');
    Some(new)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn subscribe(dir: &Path, name: &str) -> Result<(), Errno> {
        let fd = File::open(dir).unwrap().into();
        add(&fd, &name.parse().unwrap())
    }

    #[test]
    fn a_folder_is_added_once_in_either_format() {
        for (old, new) in [
            (None, "Junk\nA.B\n"),
            (Some(""), "Junk\nA.B\n"),
            (Some("Sent\n"), "Sent\nJunk\nA.B\n"),
            (Some("Sent"), "Sent\nJunk\nA.B\n"),
            (Some("Junk\nSent\n"), "Junk\nSent\nA.B\n"),
            (Some("V\t2\n\nSent\nA\tB\n"), "V\t2\n\nSent\nA\tB\nJunk\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(FILE);
            old.into_iter().for_each(|old| fs::write(&file, old).unwrap());
            subscribe(dir.path(), "Junk").unwrap();
            subscribe(dir.path(), "A/B").unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), new);
            assert!(!dir.path().join(LOCK).exists());
        }
    }

    #[test]
    fn a_lock_a_link_or_a_giant_leaves_everything_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (file, lock) = (dir.path().join(FILE), dir.path().join(LOCK));
        fs::write(&lock, "someone").unwrap();
        assert_eq!(subscribe(dir.path(), "Junk"), Err(Errno::EXIST));
        assert_eq!(fs::read_to_string(&lock).unwrap(), "someone");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert_eq!(subscribe(dir.path(), "Junk"), Err(Errno::LOOP));
        fs::remove_file(&file).unwrap();
        fs::write(&file, vec![b'a'; 2 << 20]).unwrap();
        assert_eq!(subscribe(dir.path(), "Junk"), Err(Errno::FBIG));
        assert_eq!(fs::metadata(&file).unwrap().len(), 2 << 20);
        assert!(!lock.exists());
    }
}
