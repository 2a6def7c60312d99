//! The ledger's entries as octets.
//!
//! *Format:* a version octet, then `D` and the time of the delivery, or `I` and where the file will appear: the mail root
//! and the directory below it, each behind its length, then the file's name. Numbers are big-endian.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const VERSION: u8 = 1;
const DONE: u8 = b'D';
const INTENT: u8 = b'I';

/// What the ledger says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// Delivered then, in seconds since 1970.
    Done { time_s: u64 },
    /// About to be delivered.
    Intent(Intent<'a>),
}

/// Where a file is about to appear.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Intent<'a> {
    /// The mail root.
    pub(super) root: &'a Path,
    /// The folder's directory below it.
    pub(super) directory: &'a Path,
    /// The file's name, under `tmp/` now, under `new/` then.
    pub(super) name: &'a str,
}

impl Entry<'_> {
    pub(super) fn done(time_s: u64) -> Vec<u8> {
        [&[VERSION, DONE], &time_s.to_be_bytes()[..]].concat()
    }

    /// `None` for an entry that this version did not write.
    pub(super) fn decode(octets: &[u8]) -> Option<Entry<'_>> {
        match octets {
            [VERSION, DONE, time @ ..] => Some(Entry::Done { time_s: u64::from_be_bytes(time.try_into().ok()?) }),
            [VERSION, INTENT, rest @ ..] => {
                let (root, rest) = split_part(rest)?;
                let (directory, name) = split_part(rest)?;
                Some(Entry::Intent(Intent { root, directory, name: std::str::from_utf8(name).ok()? }))
            }
            _ => None,
        }
    }
}

impl Intent<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = vec![VERSION, INTENT];
        for part in [self.root, self.directory] {
            let part = part.as_os_str().as_bytes();
            octets.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            octets.extend_from_slice(part);
        }
        octets.extend_from_slice(self.name.as_bytes());
        octets
    }
}

fn split_part(octets: &[u8]) -> Option<(&Path, &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((Path::new(OsStr::from_bytes(part)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_and_garbage_does_not() {
        let intent = Intent { root: Path::new("/m"), directory: Path::new("a/\u{e9}"), name: "1.x" };
        let octets = intent.encode();
        assert_eq!(Entry::decode(&octets), Some(Entry::Intent(intent)));
        assert_eq!(Entry::decode(&Entry::done(7)), Some(Entry::Done { time_s: 7 }));
        for cut in 0..octets.len() - 3 {
            assert_eq!(Entry::decode(&octets[..cut]), None);
        }
        for garbage in [&b""[..], b"\x01", b"\x02D\0\0\0\0\0\0\0\0", b"\x01D\0", b"\x01I\xff\xff\xff\xffx"] {
            assert_eq!(Entry::decode(garbage), None);
        }
    }
}
