//! What is scanned: files, mboxes, Maildirs and directories, as messages one by one.
//!
//! *Does:* lists the files that the arguments name, and reads messages from them: a file that begins with `From ` is an
//! mbox (RFC 4155), a directory with `cur` and `new` a Maildir with its folders, any other directory is walked.
//! *Guarantees:* one message at a time in memory, at most [`MESSAGE_OCTETS_MAX`]; symbolic links to directories are not
//! followed; at most [`FILES_MAX`] files and [`DEPTH_MAX`] levels.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::message::Message;

/// The largest message that is read, in octets.
pub const MESSAGE_OCTETS_MAX: u64 = 256 << 20;
/// The most files that directories may hold together.
pub const FILES_MAX: usize = 10_000_000;
/// So many files are reported one by one, each whole.
const FEW_MAX: usize = 10;
/// How deep directories may nest.
pub const DEPTH_MAX: usize = 32;

/// The files that the arguments name, in order, and what of them could not be listed.
pub struct Files {
    /// Each with its size in octets.
    pub files: Vec<(PathBuf, u64)>,
    /// Why something could not be listed.
    pub errors: Vec<anyhow::Error>,
    /// A directory was among the arguments.
    walked: bool,
}

impl Files {
    /// Lists them. `-` is standard input.
    pub fn list(arguments: &[PathBuf]) -> Self {
        let mut found = Files { files: Vec::new(), errors: Vec::new(), walked: false };
        for path in arguments {
            match path == Path::new("-") {
                true => found.files.push((path.clone(), 0)),
                false => found.add(path, 0),
            }
        }
        found
    }

    /// All their octets; what is read from standard input is not known.
    pub fn octets(&self) -> u64 {
        self.files.iter().fold(0, |sum, (_, octets)| sum.saturating_add(*octets))
    }

    /// Are there more messages to expect than anybody reads one by one?
    pub fn may_be_many(&self) -> bool {
        self.walked || self.files.len() > FEW_MAX || self.files.iter().any(|(path, _)| is_mbox(path))
    }

    fn add(&mut self, path: &Path, depth: usize) {
        // What an argument names may be a symbolic link; what a directory holds may be one to a file.
        let metadata = match fs::metadata(path).with_context(|| path.display().to_string()) {
            Ok(metadata) => metadata,
            Err(error) => return self.errors.push(error),
        };
        match () {
            () if self.files.len() >= FILES_MAX => {
                if self.errors.len() < FILES_MAX {
                    self.errors.push(anyhow::anyhow!("{}: more than {FILES_MAX} files", path.display()));
                }
            }
            () if !metadata.is_dir() => self.files.push((path.to_owned(), metadata.len())),
            () if depth > 0 && path.is_symlink() => {}
            () if depth >= DEPTH_MAX => {
                self.errors.push(anyhow::anyhow!("{}: more than {DEPTH_MAX} directories deep", path.display()));
            }
            () => self.add_directory(path, depth),
        }
    }

    fn add_directory(&mut self, directory: &Path, depth: usize) {
        self.walked = true;
        let entries = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>())
            .with_context(|| directory.display().to_string());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(error),
        };
        if ["cur", "new"].iter().all(|name| directory.join(name).is_dir()) {
            // What lies under tmp/ is no mail yet, and files beside the folders are the IMAP server's.
            entries.retain(|entry| entry.is_dir() && !entry.ends_with("tmp"));
        }
        entries.sort();
        entries.iter().for_each(|entry| self.add(entry, depth + 1));
    }
}

fn is_mbox(path: &Path) -> bool {
    let mut start = [0; 5];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"From "
}

/// The messages of one file, in order.
pub struct Messages {
    name: String,
    input: Box<dyn BufRead + Send>,
    /// How many messages were read, and whether the file holds many.
    read: usize,
    is_mbox: bool,
    ended: bool,
}

/// A message and its name: that of the file, and for an mbox the message's number in it.
pub struct Read {
    /// `file`, or `file:3`.
    pub name: String,
    /// How many octets it had in the file.
    pub octets: u64,
    /// The message.
    pub message: Message,
}

impl Messages {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let mut input: Box<dyn BufRead + Send> = match path == Path::new("-") {
            true => Box::new(BufReader::new(io::stdin())),
            false => {
                let file = File::open(path).with_context(|| name.clone())?;
                ensure!(!file.metadata().with_context(|| name.clone())?.is_dir(), "{name}: a directory");
                Box::new(BufReader::with_capacity(1 << 16, file))
            }
        };
        let is_mbox = input.fill_buf().with_context(|| name.clone())?.starts_with(b"From ");
        let mut messages = Messages { name, input, read: 0, is_mbox, ended: false };
        if is_mbox {
            messages.line(&mut Vec::new())?;
        }
        Ok(messages)
    }

    /// The next message.
    fn read_next(&mut self) -> anyhow::Result<Read> {
        let mut octets = Vec::new();
        let size = match self.is_mbox {
            // What cannot be read once is not tried again.
            true => self.one_of_mbox(&mut octets).inspect_err(|_| self.ended = true)?,
            false => {
                self.ended = true;
                let size = self.input.by_ref().take(MESSAGE_OCTETS_MAX + 1).read_to_end(&mut octets);
                size.with_context(|| self.name.clone())? as u64
            }
        };
        self.read += 1;
        let name = if self.is_mbox { format!("{}:{}", self.name, self.read) } else { self.name.clone() };
        ensure!(size <= MESSAGE_OCTETS_MAX, "{name}: too large to be a message");
        Ok(Read { name, octets: size, message: Message::from_stored(&octets) })
    }

    /// Up to the next line that begins with `From ` behind an empty line. Of quoted ones (`>From `) a `>` is taken off.
    fn one_of_mbox(&mut self, octets: &mut Vec<u8>) -> anyhow::Result<u64> {
        let (mut size, mut line, mut behind_empty) = (0_u64, Vec::new(), false);
        loop {
            line.clear();
            if self.line(&mut line)? == 0 {
                self.ended = true;
                break;
            }
            if behind_empty && line.starts_with(b"From ") {
                break;
            }
            size = size.saturating_add(line.len() as u64);
            behind_empty = matches!(line.as_slice(), b"\n" | b"\r\n");
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            let quoted = quotes > 0 && line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "));
            if size <= MESSAGE_OCTETS_MAX {
                octets.extend_from_slice(line.get(usize::from(quoted)..).unwrap_or_default());
            }
        }
        Ok(size)
    }

    /// One line with its line end; of an endless one a piece.
    fn line(&mut self, line: &mut Vec<u8>) -> anyhow::Result<usize> {
        let mut limited = self.input.by_ref().take(1 << 20);
        limited.read_until(b'\n', line).with_context(|| self.name.clone())
    }
}

impl Iterator for Messages {
    type Item = anyhow::Result<Read>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.ended).then(|| self.read_next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(octets: &[u8]) -> Vec<(String, Vec<u8>)> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("box");
        fs::write(&path, octets).expect("written");
        let messages = Messages::open(&path).expect("opened");
        let name = |name: &str| name.rsplit_once('/').map_or(name, |(_, name)| name).to_owned();
        messages
            .map(|read| read.expect("read"))
            .map(|read| (name(&read.name), read.message.octets().to_vec()))
            .collect()
    }

    #[test]
    fn a_file_is_a_message_or_many() {
        assert_eq!(read_all(b"A: 1\n\nb\n"), [("box".to_owned(), b"A: 1\r\n\r\nb\r\n".to_vec())]);
        let mbox = b"From a Thu Jan 1\nA: 1\n\n>From b\n>>From c\nFrom d\n\nFrom e Thu Jan 1\nA: 2\n\nc";
        let expected = [
            ("box:1".to_owned(), b"A: 1\r\n\r\nFrom b\r\n>From c\r\nFrom d\r\n\r\n".to_vec()),
            ("box:2".to_owned(), b"A: 2\r\n\r\nc".to_vec()),
        ];
        assert_eq!(read_all(mbox), expected);
        assert_eq!(read_all(b""), [("box".to_owned(), Vec::new())]);
        assert_eq!(read_all(b"From a\n"), [("box:1".to_owned(), Vec::new())]);
    }

    #[test]
    fn directories_are_walked_and_maildirs_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        for name in ["box/cur/1", "box/new/2", "box/tmp/3", "box/.Junk/cur/4", "box/.Junk/new/5", "box/uidlist", "b/6"]
        {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, name).expect("written");
        }
        std::os::unix::fs::symlink(root, root.join("b/loop")).expect("linked");
        let found = Files::list(&[root.to_owned(), root.join("none")]);
        let names: Vec<_> = found.files.iter().filter_map(|(path, _)| path.strip_prefix(root).ok()?.to_str()).collect();
        assert_eq!(names, ["b/6", "box/.Junk/cur/4", "box/.Junk/new/5", "box/cur/1", "box/new/2"]);
        assert_eq!((found.errors.len(), found.octets()), (1, 51));
    }
}
