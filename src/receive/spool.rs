//! Temporary files for large messages while they are received.
//!
//! *Guarantees:* a file has no name: it is gone with the process, whatever ends that. Only we may read it. What could not be
//! written or read back is an error, never a shorter message.
//! *Never does:* sync. Such a file holds nothing that anybody was promised. *All calls block.*

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::delivery::LogLimit;

/// Begins the names of files that have one for a moment.
const PREFIX: &str = "incoming.";

/// Removes what a crash left in the directory, if there is one: the first large message makes it. Nobody else uses it: the
/// store beside it is locked.
pub fn set_up(directory: &Path) {
    match sweep(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let path = directory.display();
            tracing::error!(%path, %error, "large messages cannot be received: their senders are told to try again");
        }
        _ => {}
    }
}

/// Makes the directory, in a storage.state that is there: one that has gone is not ours to make.
fn make_directory(directory: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        // Two large messages came at once.
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn sweep(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes an empty file without a name, and the directory where there is none.
pub fn create(directory: &Path) -> Result<File, Errno> {
    match create_unnamed(directory) {
        Err(Errno::NOENT) => {
            make_directory(directory)?;
            create_unnamed(directory)
        }
        created => created,
    }
}

fn create_unnamed(directory: &Path) -> Result<File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        // A file system that has no such files, in each way in which that is said.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => create_and_unlink(directory),
        opened => opened.map(File::from),
    }
}

fn create_and_unlink(directory: &Path) -> Result<File, Errno> {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let path = directory.join(format!("{PREFIX}{}.{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed)));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::unlink(&path)?;
    Ok(File::from(file))
}

/// Writes octets at an offset.
pub fn write(file: &File, octets: &[u8], offset: u64) -> Result<(), Errno> {
    file.write_all_at(octets, offset).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Reads the whole file, which has this many octets.
pub fn read(file: File, octets: u64) -> Result<Vec<u8>, Errno> {
    let mut read = Vec::new();
    // Not mapped: a disk that fails must be an error here, and no signal.
    read.try_reserve_exact(usize::try_from(octets).map_err(|_| Errno::NOMEM)?).map_err(|_| Errno::NOMEM)?;
    match file.take(octets).read_to_end(&mut read) {
        Ok(_) if read.len() as u64 == octets => Ok(read),
        Ok(_) => Err(Errno::IO),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Tells the operator of trouble, once a second at most.
pub fn log(doing: &str, directory: &Path, errno: Errno) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(held_back) = LIMIT.pass() {
        let (path, number) = (directory.display(), errno.raw_os_error());
        tracing::error!(%path, errno = number, held_back, "cannot {doing} a temporary file for a large message: {errno}. Its sender is told to try again; {}", advice(errno));
    }
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC | Errno::DQUOT => "make room in storage.state",
        Errno::ACCESS | Errno::PERM | Errno::ROFS => "mxkeep's user must be able to write below storage.state",
        Errno::MFILE | Errno::NFILE => "raise LimitNOFILE",
        Errno::NOMEM => "lower limits.inspection_octets_max",
        _ => "look at the kernel's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_have_no_name_and_are_read_back_whole() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("tmp");
        set_up(&directory);
        assert!(!directory.exists(), "a start makes nothing");
        type Create = fn(&Path) -> Result<File, Errno>;
        assert_eq!(create(&directory.join("tmp")).map(drop), Err(Errno::NOENT), "its parent is not made");
        for create in [create as Create, create_and_unlink as Create] {
            let file = create(&directory).expect("a file");
            assert_eq!(fs::read_dir(&directory).expect("the directory").count(), 0);
            assert_eq!(file.metadata().expect("its mode").permissions().mode() & 0o777, 0o600);
            write(&file, b"one ", 0).and_then(|()| write(&file, b"two", 4)).expect("written");
            assert_eq!(read(file.try_clone().expect("a clone"), 8), Err(Errno::IO), "shorter than it should be");
            let again = create(&directory).expect("a file");
            write(&again, b"one two", 0).expect("written");
            assert_eq!(read(again, 7).expect("read"), b"one two");
        }
        fs::remove_dir(&directory).expect("it is empty");
        create(&directory).expect("the directory is made again");
        assert_eq!(fs::metadata(&directory).expect("it is there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let put = |name| fs::write(directory.path().join(name), "x").expect("written");
        put("incoming.1.2");
        put("other");
        set_up(directory.path());
        let left: Vec<_> = fs::read_dir(directory.path()).expect("listed").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["other"]);
    }
}
