//! Reads what was delivered into a Maildir.

use std::fs;
use std::path::{Path, PathBuf};

/// A Maildir, which need not exist yet.
#[derive(Debug, Clone)]
pub struct Maildir(PathBuf);

/// A message in it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The file.
    pub path: PathBuf,
    /// The folder it lies in, without the leading dot; empty for the inbox.
    pub folder: String,
    /// The file's octets.
    pub octets: Vec<u8>,
}

impl Maildir {
    /// The Maildir at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Maildir(path.into())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every message under new/ and cur/, of the inbox and of each folder, in the order of the file names.
    pub fn messages(&self) -> Vec<Stored> {
        let folders = names(&self.0).into_iter().filter_map(|name| Some(name.strip_prefix('.')?.to_owned()));
        let mut messages = Vec::new();
        for folder in folders.chain([String::new()]) {
            let root = if folder.is_empty() { self.0.clone() } else { self.0.join(format!(".{folder}")) };
            for path in ["new", "cur"].into_iter().flat_map(|state| files(&root.join(state))) {
                let octets = fs::read(&path).expect("a message can be read");
                messages.push(Stored { path, folder: folder.clone(), octets });
            }
        }
        messages.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        messages
    }

    /// The same, and removes them.
    pub fn take_messages(&self) -> Vec<Stored> {
        let messages = self.messages();
        for message in &messages {
            fs::remove_file(&message.path).expect("a message can be removed");
        }
        messages
    }

    /// The files under tmp/ of the inbox: deliveries that have not ended.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        files(&self.0.join("tmp"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    names(folder).into_iter().map(|name| folder.join(name)).collect()
}

impl Stored {
    /// The message as it came, with CRLF, without the trace fields that were put on top of it.
    pub fn as_received(&self) -> Vec<u8> {
        let (_, rest) = self.split();
        // Only where lines are stored with LF (`storage.line_endings`) is there something to undo.
        match self.octets.windows(2).any(|pair| pair == b"\r\n") {
            true => rest.to_vec(),
            false => rest.iter().flat_map(|&b| if b == b'\n' { vec![b'\r', b'\n'] } else { vec![b] }).collect(),
        }
    }

    /// The value of a trace field on top of the message, folded lines included.
    pub fn trace_field(&self, name: &str) -> Option<String> {
        let (trace, _) = self.split();
        let trace = String::from_utf8_lossy(trace).replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ");
        let mut fields = trace.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    /// Our trace fields, and the message. Of Received only the first is ours.
    fn split(&self) -> (&[u8], &[u8]) {
        let (mut at, mut received, mut ours) = (0, 0, true);
        for line in self.octets.split_inclusive(|&b| b == b'\n') {
            let text = String::from_utf8_lossy(line).to_ascii_lowercase();
            if !text.starts_with([' ', '\t']) {
                received += usize::from(text.starts_with("received:"));
                let names = ["return-path:", "delivered-to:", "received:", "authentication-results:", "x-spam-"];
                let above_received = received == 0 && text.starts_with("received-spf:");
                ours = above_received || received <= 1 && names.iter().any(|name| text.starts_with(name));
            }
            if !ours {
                break;
            }
            at += line.len();
        }
        self.octets.split_at(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Stored {
        Stored { path: PathBuf::new(), folder: String::new(), octets: text.as_bytes().to_vec() }
    }

    #[test]
    fn trace_fields_are_told_from_the_message() {
        let stored =
            stored("Return-Path: <a@b>\nReceived: from x\n\tby y\nX-Spam-Score: 1\nReceived: older\nA: b\n\nc\n");
        assert_eq!(stored.as_received(), b"Received: older\r\nA: b\r\n\r\nc\r\n");
        assert_eq!(stored.trace_field("return-path").as_deref(), Some("<a@b>"));
        assert_eq!(stored.trace_field("Received").as_deref(), Some("from x by y"));
        assert_eq!(stored.trace_field("A"), None);
    }

    #[test]
    fn received_spf_is_ours_only_above_received() {
        let stored = stored("Received-SPF: pass\nReceived: from x\nReceived-SPF: forged\nA: b\n\nc\n");
        assert_eq!(stored.as_received(), b"Received-SPF: forged\r\nA: b\r\n\r\nc\r\n");
        assert_eq!(stored.trace_field("Received-SPF").as_deref(), Some("pass"));
    }

    #[test]
    fn a_message_without_header_section_loses_nothing() {
        assert_eq!(stored("Return-Path: <>\n\n body\n").as_received(), b"\r\n body\r\n");
        assert_eq!(stored("Return-Path: <>\n").as_received(), b"");
    }
}
