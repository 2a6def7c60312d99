//! What a rule file says that will not happen as written: where, what, and what happens instead. Nothing is guessed.
//!
//! *Guarantees:* of each [`Kind`] at most [`SAME_KIND_MAX`] findings are kept, and the rest is counted; a directive that is
//! not supported is reported once, with the number of its lines. No rule set can fill memory or a screen.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most findings of one kind that are kept.
pub const SAME_KIND_MAX: usize = 500;
/// The most names of unsupported directives that are told apart.
pub const DIRECTIVE_NAMES_MAX: usize = 500;
/// The longest text of the file that a finding quotes, in characters.
pub const QUOTED_CHARS_MAX: usize = 80;

/// A place in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// What a finding is about, for lists and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A directive that is not supported.
    Directive,
    /// A plugin that was asked for and is not there.
    Plugin,
    /// An eval that is not there.
    Eval,
    /// A pattern that is none, or is not supported.
    Pattern,
    /// A rule that never hits, or is no rule.
    Rule,
    /// A setting with a value that it cannot have.
    Value,
    /// An `if` that is not understood, or does not end.
    Condition,
    /// A setting for a rule that there is not.
    Nameless,
    /// A setting that is understood and does nothing here, where that may surprise.
    NoEffect,
    /// A file that is not included.
    Include,
    /// There is too much of something.
    Limit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Directive => "unsupported directive",
            Kind::Plugin => "unsupported plugin",
            Kind::Eval => "unknown eval",
            Kind::Pattern => "bad pattern",
            Kind::Rule => "dead rule",
            Kind::Value => "bad value",
            Kind::Condition => "bad condition",
            Kind::Nameless => "setting without a rule",
            Kind::NoEffect => "setting without effect",
            Kind::Include => "file not included",
            Kind::Limit => "limit",
        })
    }
}

/// A finding about a rule file. Loading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is about.
    pub kind: Kind,
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

/// So many findings of a kind are listed where nobody asked for all.
pub const LISTED_MAX: usize = 5;

/// The findings in words, kind by kind, at most so many of each, and how many more there are.
pub fn listed(diagnostics: &[Diagnostic], of_each_max: usize) -> Vec<String> {
    let mut kinds: BTreeMap<Kind, Vec<&Diagnostic>> = BTreeMap::new();
    diagnostics.iter().for_each(|diagnostic| kinds.entry(diagnostic.kind).or_default().push(diagnostic));
    let mut lines = Vec::new();
    for (kind, found) in kinds {
        lines.extend(found.iter().take(of_each_max).map(ToString::to_string));
        let more = found.len().saturating_sub(of_each_max);
        if more > 0 {
            lines.push(format!("{kind}: {more} more, which `mxkeep check --rules` lists"));
        }
    }
    lines
}

/// Findings as they come.
#[derive(Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    counts: HashMap<Kind, usize>,
    directives: HashMap<String, (Span, usize)>,
}

impl Diagnostics {
    /// Keeps a finding, while there is room for its kind.
    pub fn add(&mut self, kind: Kind, span: &Span, what: impl Into<String>, instead: &'static str) {
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        if *count <= SAME_KIND_MAX {
            self.kept.push(Diagnostic { kind, span: span.clone(), what: what.into(), instead });
        }
    }

    /// Counts a line whose directive is not supported.
    pub fn add_directive(&mut self, name: &str, span: &Span) {
        if let Some((_, count)) = self.directives.get_mut(name) {
            *count = count.saturating_add(1);
        } else if self.directives.len() < DIRECTIVE_NAMES_MAX {
            self.directives.insert(name.to_owned(), (span.clone(), 1));
        }
        let count = self.counts.entry(Kind::Directive).or_default();
        *count = count.saturating_add(1);
    }

    /// How many findings there were of a kind, kept or not.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// All of them, by place where they came in that order, unsupported directives behind them. Where some of a kind were
    /// not kept, the last that was says how many.
    pub fn into_list(self) -> Vec<Diagnostic> {
        let Diagnostics { kept: mut list, counts, directives } = self;
        for (kind, count) in counts {
            let more = count.saturating_sub(SAME_KIND_MAX);
            let last = list.iter_mut().rev().find(|found| found.kind == kind);
            if let (Some(last), true) = (last, more > 0) {
                last.what = format!("{} (and {more} more like it: {kind})", last.what);
            }
        }
        let mut directives: Vec<_> = directives.into_iter().collect();
        directives.sort_by(|a, b| (&a.1.0.file, a.1.0.line).cmp(&(&b.1.0.file, b.1.0.line)));
        list.extend(directives.into_iter().map(|(name, (span, count))| {
            let lines = if count > 1 { format!(", on {count} lines from here on") } else { String::new() };
            let what = format!("\"{}\" is not supported{lines}", quoted(name.as_bytes()));
            Diagnostic { kind: Kind::Directive, span, what, instead: "ignored" }
        }));
        list
    }
}

/// Text of a file as a finding may show it: printable, and not too long.
pub fn quoted(text: &[u8]) -> String {
    let shown: String = text.escape_ascii().take(QUOTED_CHARS_MAX).map(char::from).collect();
    let cut = text.escape_ascii().nth(QUOTED_CHARS_MAX).is_some();
    if cut { format!("{shown}...") } else { shown }
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

impl LoadError {
    /// What is wrong, for a file that no configuration names.
    pub fn reason(&self) -> String {
        match self {
            LoadError::Read { error, .. } => format!("it cannot be read ({error})"),
            LoadError::FileTooLarge { octets_max, .. } => format!("it has more than {octets_max} octets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_bounded() {
        let span = |line| Span { file: Path::new("t.cf").into(), line };
        let mut found = Diagnostics::default();
        for line in 1..=2_000 {
            found.add(Kind::Value, &span(line), "x", "ignored");
            found.add_directive("odd", &span(line));
            found.add_directive(&format!("name{line}"), &span(line));
        }
        found.add(Kind::Rule, &span(7), "one", "ignored");
        assert_eq!((found.count(Kind::Value), found.count(Kind::Directive)), (2_000, 4_000));
        let list = found.into_list();
        assert_eq!(list.len(), SAME_KIND_MAX + 1 + DIRECTIVE_NAMES_MAX);
        let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
        let has = |text: &str| shown.iter().any(|line| line == text);
        assert!(has("t.cf:500: x (and 1500 more like it: bad value): ignored"));
        assert!(has("t.cf:1: \"odd\" is not supported, on 2000 lines from here on: ignored"));
        assert!(has("t.cf:7: one: ignored"));
    }

    #[test]
    fn quotes_are_printable_and_short() {
        assert_eq!(quoted(b"a\xff\n"), "a\\xff\\n");
        assert_eq!(quoted(&[b'x'; 1_000]).len(), QUOTED_CHARS_MAX + 3);
    }
}
