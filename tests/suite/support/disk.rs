//! A small file system that can be filled up: trouble with room, for real.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs of a few megabytes over a directory, for as long as this lives.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it empty over a directory, whose owner keeps it. `None`, and a line that says so, without the right to.
    pub fn mount(at: &Path, octets: u64) -> Option<Self> {
        let owner = fs::metadata(at).expect("the directory is there");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={octets},mode=0700"), "mxkeep-test"]).arg(at);
        if !mount.status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: mounting a small file system takes root (CAP_SYS_ADMIN)");
            return None;
        }
        let disk = SmallDisk(at.into());
        chown(at, Some(owner.uid()), Some(owner.gid())).expect("root may give it away");
        Some(disk)
    }

    /// Fills it up to the last page, then leaves this much room.
    pub fn fill_but(&self, octets: u64) {
        let ballast = self.ballast();
        let mut file = fs::File::create(&ballast).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        let filled = file.metadata().expect("its size").len();
        file.set_len(filled.saturating_sub(octets)).expect("it can be cut");
    }

    /// Makes room again.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Sets a directory's permissions.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

/// Everything below a directory, however deep. Links are not followed.
pub fn everything_below(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files among it.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    everything_below(directory).into_iter().filter(|path| !path.is_dir()).collect()
}
