//! What is in a Maildir, for those who only read.

use std::path::{Path, PathBuf};

/// The messages in `new/` and `cur/` of a Maildir or Maildir++ folder. One that is not there has none.
pub fn messages(maildir: &Path) -> impl Iterator<Item = PathBuf> {
    let maildir = maildir::Maildir::from(maildir.to_owned());
    let entries = maildir.list_new().chain(maildir.list_cur());
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path().clone()))
}
