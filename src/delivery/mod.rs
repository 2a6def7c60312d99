//! Delivery: from an accepted verdict to files that no crash and no power cut takes away.
//!
//! *Does:* writes each recipient's copy into a Maildir, in two steps. [`stage`] writes all copies where no reader sees them;
//! [`Staged::commit`] makes them appear. On disk a message goes through these states (as qmail has it):
//!
//! ```text
//! D0  -tmp -intent -new   nothing written
//! D1  +tmp -intent -new   every copy written under tmp/ and fsynced        (invisible to readers)
//! D2  +tmp +intent -new   the ledger knows what is about to appear
//! D3  ?tmp +intent ?new   committing: some copies renamed into new/
//! D4  -tmp +done   +new   every copy renamed, every directory fsynced; 250 may be said from here on, and only from here on
//! ```
//!
//! *Guarantees:* a file under `new/` is complete. Once `commit` has returned [`Delivered`] every copy is durable. A failure
//! before D3 leaves nothing behind; one in D3 takes back the copies that failed, and the [`ledger`] keeps the others from
//! being delivered twice when the sender tries again. After D4 nothing fails any more.
//! *Never does:* say that mail is safe before fsync has said so, repeat a failing fsync, follow a symbolic link below the
//! mail root, or change mail that is there. No directory is kept open between messages.
//! *Fails with:* [`Trouble`], which becomes a 4yz reply. *All calls block.*
//! *Follows:* the Maildir convention of qmail, the Maildir++ folders of Courier and Dovecot, RFC 1047 (retries).

mod beneath;
mod content;
mod entry;
pub mod ledger;
mod listing;
mod maildir;
mod name;
mod recovery;
mod subscriptions;
mod trouble;

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use crate::config::LineEndings;
use crate::mailbox::Maildir;
use crate::message::{Field, Message};
use content::Stored;
use entry::Intent;
use ledger::{Claim, Key};
use maildir::Place;

pub use content::Content;
pub use listing::messages;
pub use maildir::Folder;
pub use recovery::{Recovery, TMP_AGE_MAX_S, recover};
pub use trouble::{Kind, LogLimit, Trouble};

/// What is to be stored, the same for all recipients.
pub struct Mail<'a> {
    /// The message as received.
    pub message: &'a Message,
    /// How lines end on disk.
    pub line_endings: LineEndings,
    /// Which of its header fields are forged and go: Return-Path, X-Spam-*, Authentication-Results in our name.
    pub removed: &'a dyn Fn(&Field<'_>) -> bool,
}

/// What is to be stored for one recipient, and where.
#[derive(Debug)]
pub struct Copy {
    /// The right to deliver it: [`ledger::Ledger::look_up`].
    pub claim: Claim,
    /// Whose Maildir.
    pub maildir: Maildir,
    /// Which folder in it.
    pub folder: Folder,
    /// The trace fields on top, each ended by CRLF.
    pub trace: Vec<u8>,
}

/// Writes every copy under `tmp/` and syncs it (D1). If one fails all are removed again. Blocks.
pub fn stage(content: &Content, copies: Vec<Copy>) -> Result<Staged, Trouble> {
    let mut staged = Staged { places: Vec::new(), copies: Vec::with_capacity(copies.len()) };
    for copy in copies {
        let place = staged.place(&copy.maildir, &copy.folder).inspect_err(Trouble::log)?;
        let copy = StagedCopy::write(copy.claim, place, &content.below(&copy.trace)).inspect_err(Trouble::log)?;
        staged.copies.push(copy);
    }
    Ok(staged)
}

/// Every copy is written, and none is visible. Dropping this removes them.
#[must_use = "nothing is delivered until it is committed"]
#[derive(Debug)]
pub struct Staged {
    /// Each folder once, however many copies it gets.
    places: Vec<Arc<Place>>,
    copies: Vec<StagedCopy>,
}

/// Every copy is durable: the sender may hear 250.
#[derive(Debug, Default)]
pub struct Delivered {
    /// What to release once the sender has seen the reply: [`ledger::Ledger::release`].
    pub keys: Vec<Key>,
    /// Where each copy appeared, in the order of the copies.
    pub files: Vec<PathBuf>,
}

impl Staged {
    /// Makes the copies appear (D2, D3, D4). On trouble those that could not be made durable are gone; the others stay, and
    /// a retry of the sender gets only what is missing. Blocks.
    pub fn commit(self) -> Result<Delivered, Trouble> {
        let Some(ledger) = self.copies.first().map(|copy| copy.claim.ledger().clone()) else {
            return Ok(Delivered::default());
        };
        ledger.intend(self.copies.iter().map(StagedCopy::intent));
        let Committed { kept, failed, trouble } = self.appear();
        let keys = |copies: &[StagedCopy]| copies.iter().map(|copy| copy.claim.key()).collect::<Vec<_>>();
        let delivered = Delivered { keys: keys(&kept), files: kept.iter().map(StagedCopy::path).collect() };
        ledger.settle(&delivered.keys, &keys(&failed));
        trouble.map_or(Ok(delivered), Err)
    }

    /// Renames every copy into `new/`, then syncs each directory once (D3).
    fn appear(self) -> Committed {
        let mut committed = Committed::default();
        for mut copy in self.copies {
            match copy.appear() {
                Ok(()) => committed.kept.push(copy),
                Err(trouble) => committed.fail([copy], trouble),
            }
        }
        for place in &self.places {
            if let Err(trouble) = place.sync() {
                let unsynced =
                    committed.kept.extract_if(.., |copy| Arc::ptr_eq(&copy.place, place)).collect::<Vec<_>>();
                committed.fail(unsynced, trouble);
            }
        }
        committed
    }

    /// The folder, opened once.
    fn place(&mut self, maildir: &Maildir, folder: &Folder) -> Result<Arc<Place>, Trouble> {
        let directory = folder.directory(maildir);
        let open = self.places.iter().find(|place| place.root == maildir.root() && place.directory == directory);
        if let Some(place) = open {
            return Ok(Arc::clone(place));
        }
        let place = Arc::new(Place::open(maildir, folder)?);
        self.places.push(Arc::clone(&place));
        Ok(place)
    }
}

/// How a commit went.
#[derive(Default)]
struct Committed {
    kept: Vec<StagedCopy>,
    failed: Vec<StagedCopy>,
    /// The first thing that went wrong.
    trouble: Option<Trouble>,
}

impl Committed {
    fn fail(&mut self, copies: impl IntoIterator<Item = StagedCopy>, trouble: Trouble) {
        trouble.log();
        self.trouble.get_or_insert(trouble);
        self.failed.extend(copies.into_iter().map(StagedCopy::withdraw));
    }
}

/// One file of ours, under `tmp/` until it appears. Dropping it there removes it; the claim ends after that.
#[derive(Debug)]
struct StagedCopy {
    temporary: bool,
    name: String,
    place: Arc<Place>,
    claim: Claim,
}

impl StagedCopy {
    fn write(claim: Claim, place: Arc<Place>, stored: &Stored<'_>) -> Result<Self, Trouble> {
        let name = name::unique(stored.size_octets, stored.wire_octets);
        let file = place.create_tmp(&name)?;
        // From here on a failure removes the file.
        let copy = StagedCopy { temporary: true, name, place, claim };
        let trouble = |doing, errno| copy.place.trouble(doing, "tmp", &copy.name, errno);
        stored.write(|slices| write_all(&file, slices)).map_err(|errno| trouble("write", errno))?;
        // Final when it fails: the kernel may have dropped what it could not write.
        rustix::fs::fsync(&file).map_err(|errno| trouble("sync", errno))?;
        Ok(copy)
    }

    fn intent(&self) -> (Key, Intent<'_>) {
        let Place { root, directory, .. } = &*self.place;
        (self.claim.key(), Intent { root, directory, name: &self.name })
    }

    fn appear(&mut self) -> Result<(), Trouble> {
        self.place.rename(&self.name)?;
        self.temporary = false;
        Ok(())
    }

    /// Takes back what appeared, or may have: a rename over NFS can fail in the reply only.
    fn withdraw(self) -> Self {
        self.place.unlink_new(&self.name);
        self
    }

    fn path(&self) -> PathBuf {
        self.place.path("new", &self.name)
    }
}

impl Drop for StagedCopy {
    fn drop(&mut self) {
        if self.temporary {
            self.place.unlink_tmp(&self.name);
        }
    }
}

fn write_all(file: &OwnedFd, mut slices: &mut [IoSlice<'_>]) -> rustix::io::Result<()> {
    // Drops leading slices that are empty.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::writev(file, slices))? {
            0 => return Err(Errno::IO),
            written => IoSlice::advance_slices(&mut slices, written),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
