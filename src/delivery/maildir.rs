//! Maildirs and their folders (Maildir++): where they are, how they are opened, and how they come to be.
//!
//! *Guarantees:* a [`Maildir`] in hand lies below its mail root, and a [`FolderName`] is one directory in it. All opens go
//! through [`super::beneath`]. What is missing is made at the first delivery, and is durable before mail is.
//! *Never does:* take a path from the wire, keep a directory open between messages (a mailbox may be removed and made anew
//! at any time; two opens are cheap beside one fsync), or touch mail that is there.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::beneath;
use super::subscriptions;
use super::trouble::Trouble;
use crate::config::FolderName;
use crate::mailbox::Maildir;

/// Where in a Maildir.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Folder {
    /// The Maildir itself.
    Inbox,
    /// A Maildir++ folder: `Junk` is the directory `.Junk`.
    Named(FolderName),
}

impl Folder {
    /// Its directory, below the mail root.
    pub(super) fn directory(&self, maildir: &Maildir) -> PathBuf {
        match self {
            Folder::Inbox => maildir.path().to_owned(),
            Folder::Named(name) => maildir.path().join(name.directory()),
        }
    }
}

/// A folder that is open for one delivery.
#[derive(Debug)]
pub(super) struct Place {
    /// The mail root.
    pub(super) root: PathBuf,
    /// The folder's directory, below the root.
    pub(super) directory: PathBuf,
    tmp: OwnedFd,
    new: OwnedFd,
}

impl Place {
    /// Opens `tmp/` and `new/`, and makes the folder first if it is not there.
    pub(super) fn open(maildir: &Maildir, folder: &Folder) -> Result<Place, Trouble> {
        match Self::open_existing(maildir, folder) {
            Err(Errno::NOENT) => {
                create(maildir, folder)?;
                Self::open_existing(maildir, folder)
            }
            result => result,
        }
        .map_err(|errno| Trouble::new("open", &maildir.root().join(folder.directory(maildir)), errno))
    }

    fn open_existing(maildir: &Maildir, folder: &Folder) -> Result<Place, Errno> {
        let directory = folder.directory(maildir);
        let root = beneath::open_root(maildir.root())?;
        let tmp = beneath::open_directory(&root, &directory.join("tmp"), OFlags::PATH)?;
        let new = beneath::open_directory(&root, &directory.join("new"), OFlags::RDONLY)?;
        Ok(Place { root: maildir.root().to_owned(), directory, tmp, new })
    }

    /// Makes an empty file under `tmp/` that only we may read.
    pub(super) fn create_tmp(&self, name: &str) -> Result<OwnedFd, Trouble> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.tmp, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.trouble("create", "tmp", name, errno))
    }

    /// Makes the file visible to readers: from `tmp/` to `new/`.
    pub(super) fn rename(&self, name: &str) -> Result<(), Trouble> {
        match rustix::fs::renameat_with(&self.tmp, name, &self.new, name, RenameFlags::NOREPLACE) {
            // NFS and old kernels know no NOREPLACE. The name is unique: there is nothing to replace.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&self.tmp, name, &self.new, name),
            result => result,
        }
        .map_err(|errno| self.trouble("rename into place", "new", name, errno))
    }

    /// Makes the names in `new/` durable. A failing fsync is final: it must not be tried again, as the kernel may have
    /// dropped what it could not write, and would report success.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        rustix::fs::fsync(&self.new).map_err(|errno| self.trouble("sync", "new", "", errno))
    }

    /// Removes a file from `tmp/`.
    pub(super) fn unlink_tmp(&self, name: &str) {
        unlink(&self.tmp, name, &self.path("tmp", name));
    }

    /// Removes a file from `new/`.
    pub(super) fn unlink_new(&self, name: &str) {
        unlink(&self.new, name, &self.path("new", name));
    }

    /// Where a file of ours is.
    pub(super) fn path(&self, sub: &str, name: &str) -> PathBuf {
        let mut path = self.root.join(&self.directory);
        path.extend([sub, name].into_iter().filter(|part| !part.is_empty()));
        path
    }

    pub(super) fn trouble(&self, doing: &'static str, sub: &str, name: &str, errno: Errno) -> Trouble {
        Trouble::new(doing, &self.path(sub, name), errno)
    }

    /// A place in which files can appear, but whose `new/` cannot be synced.
    #[cfg(test)]
    pub(super) fn open_unsyncable(maildir: &Maildir) -> Place {
        let place = Self::open_existing(maildir, &Folder::Inbox).unwrap();
        let root = beneath::open_root(maildir.root()).unwrap();
        let new = beneath::open_directory(&root, &maildir.path().join("new"), OFlags::PATH).unwrap();
        Place { new, ..place }
    }
}

fn unlink(directory: &OwnedFd, name: &str, path: &Path) {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => tracing::warn!(path = %path.display(), %errno, "cannot remove a delivery that failed"),
    }
}

/// Makes a Maildir, and the folder in it. Each step syncs its parent, and `tmp/` comes last: who finds `tmp/` knows that
/// all the rest is durable, even if whoever made it has died since.
fn create(maildir: &Maildir, folder: &Folder) -> Result<(), Trouble> {
    let trouble = |errno| Trouble::new("make the Maildir", &maildir.root().join(folder.directory(maildir)), errno);
    let inbox = beneath::make_directories(maildir.root(), maildir.path()).map_err(trouble)?;
    fill(&inbox).map_err(trouble)?;
    let Folder::Named(name) = folder else { return Ok(()) };
    let made = beneath::make_directory(&inbox, OsStr::new(&name.directory())).map_err(trouble)?;
    mark_as_folder(&made).map_err(trouble)?;
    fill(&made).map_err(trouble)?;
    subscriptions::add(&inbox, name).unwrap_or_else(|errno| {
        let maildir = maildir.root().join(maildir.path());
        tracing::warn!(maildir = %maildir.display(), folder = %name, %errno,
            "cannot subscribe the mailbox to its new folder: the user may have to do it");
    });
    Ok(())
}

fn fill(maildir: &OwnedFd) -> Result<(), Errno> {
    for sub in ["cur", "new", "tmp"] {
        beneath::make_directory(maildir, OsStr::new(sub))?;
    }
    rustix::fs::fsync(maildir)
}

/// The empty file by which Maildir++ programs tell a folder from a Maildir of its own.
fn mark_as_folder(folder: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(folder, "maildirfolder", flags, Mode::RUSR | Mode::WUSR).map(drop)
}
