//! Rule files as lines: which files, their limits, comments, and where each line stands.
//!
//! *Does:* lists files, reads them whole, splits them into [`Statement`]s: a lower-case directive and its argument.
//! *Guarantees:* a file has at most [`FILE_OCTETS_MAX`] octets and a statement [`LINE_OCTETS_MAX`]. Octets stay octets:
//! rule files are older than UTF-8.
//! *The language has no continuation lines.* `#` begins a comment unless a backslash precedes it. A statement behind
//! `lang xx` counts where `xx` begins `en_US`, as for a process without locale.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rules::diagnostic::{LoadError, Span};

/// The largest rule file, in octets.
pub const FILE_OCTETS_MAX: u64 = 8 << 20;
/// All rule files together, in octets.
pub const FILES_OCTETS_MAX: u64 = 64 << 20;
/// The longest line of a rule file, in octets.
pub const LINE_OCTETS_MAX: usize = 64 << 10;

/// One file, read whole.
#[derive(Debug)]
pub struct Source {
    file: Arc<Path>,
    octets: Vec<u8>,
    on_disk: bool,
}

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where it stands.
    pub span: Span,
    /// Its first word, in lower case, with `-` as `_`.
    pub directive: String,
    /// What follows, comment and surrounding white space removed.
    pub argument: Vec<u8>,
}

/// The files that `paths` name, in order: a file as itself, a directory as its `*.cf` in the order of their names.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for path in paths {
        let read = |error| LoadError::Read { path: path.clone(), error };
        if !fs::metadata(path).map_err(read)?.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(read)?.map(|e| e.map(|e| e.path())).collect();
        let mut entries = entries.map_err(read)?;
        entries.retain(|entry| entry.extension().is_some_and(|extension| extension == "cf"));
        entries.sort();
        found.append(&mut entries);
    }
    Ok(found)
}

impl Source {
    /// Reads a file of at most `octets_max` octets.
    pub fn read(path: &Path, octets_max: u64) -> Result<Self, LoadError> {
        let failed = |error| LoadError::Read { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        // A device or a pipe may never end, and may block.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(Error::new(ErrorKind::InvalidInput, "not a regular file")));
        }
        let mut octets = Vec::new();
        file.take(octets_max + 1).read_to_end(&mut octets).map_err(failed)?;
        match octets.len() as u64 > octets_max {
            true => Err(LoadError::FileTooLarge { path: path.to_owned(), octets_max }),
            false => Ok(Source { file: path.into(), octets, on_disk: true }),
        }
    }

    /// Rules that stand in memory under a name.
    pub fn from_text(name: &str, text: &str) -> Self {
        Self::from_octets(name, text.as_bytes())
    }

    /// The same, of octets.
    pub fn from_octets(name: &str, octets: &[u8]) -> Self {
        Source { file: Path::new(name).into(), octets: octets.to_vec(), on_disk: false }
    }

    /// Its name.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file that it means by `include path`: a relative path begins where it stands itself. Rules that stand in memory
    /// include nothing.
    pub fn included(&self, path: &Path) -> Option<PathBuf> {
        self.on_disk.then(|| self.file.parent().unwrap_or(Path::new("")).join(path))
    }

    /// Its size.
    pub fn octets(&self) -> u64 {
        self.octets.len() as u64
    }

    /// Its statements in order; the place of a line that is too long.
    pub fn statements(&self) -> impl Iterator<Item = Result<Statement, Span>> {
        self.octets.split(|b| *b == b'\n').enumerate().filter_map(|(at, line)| {
            let span = Span { file: self.file.clone(), line: at + 1 };
            match line.len() > LINE_OCTETS_MAX {
                true => Some(Err(span)),
                false => Statement::parse(span, line).map(Ok),
            }
        })
    }
}

impl Statement {
    fn parse(span: Span, line: &[u8]) -> Option<Self> {
        let text = without_comment(line);
        let text = in_our_language(trim(&text))?;
        let (directive, argument) = first_word(text);
        let directive = String::from_utf8_lossy(directive).to_ascii_lowercase().replace('-', "_");
        (!directive.is_empty()).then(|| Statement { span, directive, argument: argument.to_vec() })
    }

    /// The first word of the argument, and the rest.
    pub fn name_and_rest(&self) -> (&[u8], &[u8]) {
        first_word(&self.argument)
    }

    /// The words of the argument.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        words(&self.argument)
    }
}

/// White space as Perl's `\s` has it in octets.
pub fn is_space(octet: &u8) -> bool {
    matches!(octet, b'\t'..=b'\r' | b' ')
}

/// Text without white space around it.
pub fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_space(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_space(b)).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default()
}

/// The words of a text.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// What follows `lang xx`; nothing where that is not for us. Text without it as it is.
fn in_our_language(text: &[u8]) -> Option<&[u8]> {
    const OURS: &[u8] = b"en_US";
    let (b"lang", rest) = first_word(text) else { return Some(text) };
    let (language, rest) = first_word(rest);
    let ours = OURS.get(..language.len()).is_some_and(|start| start.eq_ignore_ascii_case(language));
    (ours && !language.is_empty()).then_some(rest)
}

/// The first word, and what follows it without leading white space.
pub fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(is_space).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let start = rest.iter().position(|b| !is_space(b)).unwrap_or(rest.len());
    (word, rest.get(start..).unwrap_or_default())
}

fn without_comment(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    for &octet in line {
        match (octet, text.last()) {
            (b'#', Some(b'\\')) => {
                text.pop();
                text.push(b'#');
            }
            (b'#', _) => break,
            _ => text.push(octet),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_statements() {
        let text = "# comment\n\n  Score-X  A_RULE 1.0 # why\r\nbody R /a\\#b/\nend";
        let source = Source::from_text("t.cf", text);
        let found: Vec<_> = source.statements().map(|s| s.expect("short lines")).collect();
        let shown: Vec<_> = found.iter().map(|s| (s.span.line, s.directive.as_str(), s.argument.as_slice())).collect();
        let expected = [(3, "score_x", &b"A_RULE 1.0"[..]), (4, "body", b"R /a#b/"), (5, "end", b"")];
        assert_eq!(shown, expected);
    }

    #[test]
    fn languages() {
        let text = "lang en a 1\nlang de a 2\nlang EN_us a 3\nlang en_GB a 4\nlang en_USX a 5\nlang\nlanguage x";
        let source = Source::from_text("t.cf", text);
        let found: Vec<_> = source.statements().map(|s| s.expect("short lines").argument).collect();
        assert_eq!(found, [&b"1"[..], b"3", b"x"]);
    }

    #[test]
    fn lines_and_files_are_bounded() {
        let long = "x".repeat(LINE_OCTETS_MAX + 1);
        let source = Source::from_text("t.cf", &format!("{long}\na b"));
        let lines: Vec<_> = source.statements().map(|s| s.is_ok()).collect();
        assert_eq!(lines, [false, true]);
        let directory = tempfile::tempdir().expect("a directory");
        let large = directory.path().join("large.cf");
        File::create(&large).and_then(|file| file.set_len(FILE_OCTETS_MAX + 1)).expect("a sparse file");
        assert!(matches!(Source::read(&large, FILE_OCTETS_MAX), Err(LoadError::FileTooLarge { .. })));
        assert!(Source::read(Path::new("/dev/zero"), 1).is_err());
        assert!(files(&[directory.path().join("missing.cf")]).is_err());
        assert_eq!(files(&[directory.path().to_owned()]).expect("listed"), [large]);
    }
}
