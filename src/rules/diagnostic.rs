//! What a rule file says that will not happen as written: where, what, and what happens instead. Nothing is guessed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// A finding about a rule file. Loading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// What is wrong or not supported.
    pub what: String,
    /// What happens instead.
    pub instead: &'static str,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.span.file.display(), self.span.line, self.what, self.instead)
    }
}

/// Why rules could not be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or directory that was named could not be read.
    #[error("rules.paths: {path} cannot be read ({error}). Correct the path or the permissions.")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is larger than the limit, or than what the limit for all files leaves.
    #[error(
        "rules.paths: {path} has more than the {octets_max} octets that are allowed. Leave it out, or have fewer rules."
    )]
    FileTooLarge {
        /// Which.
        path: PathBuf,
        /// The limit in octets.
        octets_max: u64,
    },
}
