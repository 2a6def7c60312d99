//! Directories below the mail root, without ever leaving it.
//!
//! *Guarantees:* the mail root itself is the operator's and may be reached through symbolic links; below it none is
//! followed and no `..` taken, whoever owns the mailbox and whatever they planted there (the family of CVE-2008-2936).
//! A directory that was made is durable before anything is put into it.
//! *How:* openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; where the kernel or a filter of system calls lacks it, a
//! walk from one open directory to the next.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// Opens the mail root for lookups.
pub(super) fn open_root(root: &Path) -> Result<OwnedFd> {
    rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the directory at `path` below `root`: with `OFlags::PATH` for lookups, with `OFlags::RDONLY` for fsync and listing.
/// An empty path means `root` itself.
pub(super) fn open_directory(root: &OwnedFd, path: &Path, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if path.as_os_str().is_empty() {
        return rustix::fs::openat(root, ".", flags, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // No such call, a filter that says so in its own way, or a rename that raced with the lookup.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => walk(root, path, flags),
        result => result,
    }
}

/// What openat2 does, one component at a time.
fn walk(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let mut names = path.components().peekable();
    let mut at = rustix::io::dup(root)?;
    while let Some(component) = names.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let access = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
        at = rustix::fs::openat(&at, name, access | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

/// Makes the directories of `path` that are missing below `root`, and opens the last one for fsync. A root that is not there
/// is an error: it may be a file system that is not mounted, and would hide what was put in its place.
/// When this returns all of them are durable, also those that another thread or program made a moment ago.
pub(super) fn make_directories(root: &Path, path: &Path) -> Result<OwnedFd> {
    let for_sync = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, for_sync, Mode::empty())?;
    for component in path.components() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        at = make_directory(&at, name)?;
    }
    Ok(at)
}

/// Makes one directory, unless it is there, syncs its parent, and opens it for fsync.
pub(super) fn make_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(parent)?,
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn both_ways_stay_beneath_and_follow_no_link() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("tmp")).unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/tmp")).unwrap();
        fs::write(root.path().join("a/file"), "x").unwrap();
        symlink(outside.path(), root.path().join("a/link")).unwrap();
        symlink("b", root.path().join("a/inner")).unwrap();
        let opened = open_root(root.path()).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        type Opener = fn(&OwnedFd, &Path, OFlags) -> Result<OwnedFd>;
        for open in [open_directory as Opener, walk as Opener] {
            assert!(open(&opened, Path::new("a/b/tmp"), flags).is_ok());
            assert_eq!(open(&opened, Path::new("a/c/tmp"), flags).unwrap_err(), Errno::NOENT);
            for path in ["a/link/tmp", "a/link", "a/inner/tmp", "a/inner", "a/file", "..", "a/../..", "/tmp"] {
                let errno = open(&opened, Path::new(path), flags).unwrap_err();
                assert!(matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::XDEV), "{path}: {errno}");
            }
        }
    }

    #[test]
    fn directories_are_made_private_and_never_through_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        assert_eq!(make_directories(&root, Path::new("example.org/alice")).err(), Some(Errno::NOENT));
        fs::create_dir(&root).unwrap();
        make_directories(&root, Path::new("example.org/alice")).unwrap();
        make_directories(&root, Path::new("example.org/alice")).unwrap();
        for path in ["example.org", "example.org/alice"] {
            assert_eq!(fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777, 0o700);
        }
        symlink(parent.path(), root.join("link")).unwrap();
        assert!(make_directories(&root, Path::new("link/x")).is_err());
        assert!(!parent.path().join("x").exists());
    }
}
