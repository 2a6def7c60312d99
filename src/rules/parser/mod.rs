//! The parser: statements in, [`Definitions`], [`Preferences`] and [`Diagnostic`]s out.
//!
//! *Does:* follows conditions and `include`, and reads each statement by one table of directives; when all is read,
//! [`Parser::finish`] replaces tags and expands globs in metas.
//! *Guarantees:* a statement that is not understood has no effect but a diagnostic. A rule that is not understood leaves an
//! earlier one of its name as it was; without such it is known and never hits. All is bounded: files by [`source`], rules by
//! [`RULES_MAX`], includes by [`INCLUDE_DEPTH_MAX`] and [`INCLUDES_MAX`], each file is read once.
//! *Unlike the original*, a file that is included under a condition that does not hold is not read, and conditions stay
//! open across it.

mod conditions;
mod directives;
mod finish;
mod lists;
mod rules;
mod settings;
mod values;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conditions::Conditions;
pub use directives::Reason;

use crate::rules::definition::{Definition, Definitions, Settings, Test, UriCriterion};
use crate::rules::diagnostic::{Diagnostic, Diagnostics, Kind, Span, quoted};
use crate::rules::preferences::Preferences;
use crate::rules::replace::ReplaceTags;
use crate::rules::source::{self, Source, Statement};

/// The longest rule name, in octets. Names go into a trace field.
pub const NAME_OCTETS_MAX: usize = 100;
/// The most rules.
pub const RULES_MAX: usize = 50_000;
/// The most names that settings are kept for.
pub const SETTINGS_MAX: usize = 100_000;
/// The most matches that a rule with `tflags multiple` counts.
pub const HITS_MAX: u32 = 1_000;
/// How deep files may include files.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// The most files that are included.
pub const INCLUDES_MAX: usize = 1_000;

const NEVER_HITS: &str = "the rule never hits";
const STAYS: &str = "the earlier rule of that name stays";
const IGNORED: &str = "the line is ignored";

/// Why a statement has not the effect that was meant.
#[derive(Debug)]
struct Problem {
    kind: Kind,
    what: String,
    instead: &'static str,
}

impl Problem {
    /// A value that cannot be.
    fn value(what: impl Into<String>) -> Self {
        Problem { kind: Kind::Value, what: what.into(), instead: IGNORED }
    }
}

type Outcome = Result<(), Problem>;

/// Reads any number of sources, in order.
#[derive(Debug, Default)]
pub struct Parser {
    definitions: Definitions,
    preferences: Preferences,
    diagnostics: Diagnostics,
    conditions: Conditions,
    replace: ReplaceTags,
    /// Rules whose tags are to be replaced, and where that was said.
    replace_rules: HashMap<String, Span>,
    /// What `uri_detail` rules ask: it adds up over lines.
    uri_details: HashMap<Arc<str>, Vec<UriCriterion>>,
    files: Files,
    /// How many hosts were removed from lists.
    removals: usize,
    accepted: BTreeMap<Reason, usize>,
    /// The rest of the file is for another version.
    skip_file: bool,
}

/// Which files were read.
#[derive(Debug, Default)]
struct Files {
    seen: HashSet<PathBuf>,
    depth: usize,
    included: usize,
    octets: u64,
}

/// All that was read, and what was wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// Rules and their settings.
    pub definitions: Definitions,
    /// Everything else.
    pub preferences: Preferences,
    /// Findings.
    pub diagnostics: Diagnostics,
    /// How many lines were read that have no meaning here, by why.
    pub accepted: BTreeMap<Reason, usize>,
}

impl Loaded {
    /// The findings, to be shown.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_list()
    }
}

impl Parser {
    /// Reads one source. Conditions end with it.
    pub fn read(&mut self, source: &Source) {
        self.files.seen.insert(real(source.file()));
        self.statements(source);
        if let Some(span) = self.conditions.end_file() {
            self.diagnostics.add(Kind::Condition, &span, "no endif follows", "it ends with the file");
        }
    }

    fn statements(&mut self, source: &Source) {
        let outer = std::mem::replace(&mut self.skip_file, false);
        for statement in source.statements() {
            match statement {
                Ok(_) if self.skip_file => break,
                Ok(statement) => self.statement(source, &statement),
                Err(span) => self.diagnostics.add(Kind::Limit, &span, "the line is too long", IGNORED),
            }
        }
        self.skip_file = outer;
    }

    fn statement(&mut self, source: &Source, statement: &Statement) {
        let outcome = match statement.directive.as_str() {
            "if" | "ifplugin" | "else" | "endif" => self.conditions.statement(statement),
            _ if !self.conditions.hold() => Ok(()),
            "include" => self.include(source, statement),
            "require_version" => self.require_version(statement),
            _ => directives::read(self, statement),
        };
        if let Err(Problem { kind, what, instead }) = outcome {
            self.diagnostics.add(kind, &statement.span, what, instead);
        }
    }

    /// `require_version n`: a file for another version is not read on.
    fn require_version(&mut self, statement: &Statement) -> Outcome {
        let version: &[u8] = &statement.argument;
        if version == conditions::VERSION_TEXT || version == b"@@VERSION@@" {
            return Ok(());
        }
        self.skip_file = true;
        let what = format!("the file is for version \"{}\" of the language", quoted(version));
        Err(Problem { kind: Kind::Condition, what, instead: "the rest of the file is skipped" })
    }

    fn include(&mut self, source: &Source, statement: &Statement) -> Outcome {
        let named = String::from_utf8_lossy(&statement.argument).into_owned();
        let refused = |why: String| Problem {
            kind: Kind::Include,
            what: format!("{}: {why}", quoted(named.as_bytes())),
            instead: "the file is not included",
        };
        let path =
            source.included(Path::new(&named)).ok_or_else(|| refused("rules in memory include nothing".into()))?;
        if self.files.depth >= INCLUDE_DEPTH_MAX || self.files.included >= INCLUDES_MAX {
            return Err(refused("too many includes, or too deep".into()));
        }
        if named.is_empty() {
            return Err(refused("it names no file".into()));
        }
        let paths = source::files(&[path]).map_err(|error| refused(error.reason()))?;
        for path in paths {
            self.include_file(&path).map_err(refused)?;
        }
        Ok(())
    }

    /// Each file is read once: so includes make no circles.
    fn include_file(&mut self, path: &Path) -> Result<(), String> {
        if !self.files.seen.insert(real(path)) {
            return Err("it was read before".into());
        }
        let octets_left = source::FILES_OCTETS_MAX.saturating_sub(self.files.octets);
        let included = Source::read(path, octets_left.min(source::FILE_OCTETS_MAX)).map_err(|error| error.reason())?;
        self.files.octets = self.files.octets.saturating_add(included.octets());
        self.files.included += 1;
        self.files.depth += 1;
        self.statements(&included);
        self.files.depth -= 1;
        Ok(())
    }

    /// Defines a rule. One whose test is not to be had replaces none.
    fn define(&mut self, name: &[u8], span: &Span, test: Result<Test, Problem>) -> Outcome {
        let name: Arc<str> = rule_name(name)?.into();
        let known = self.definitions.index.contains_key(&name);
        if !known && self.definitions.rules.len() >= RULES_MAX {
            return Err(Problem { kind: Kind::Limit, what: "there are too many rules".into(), instead: IGNORED });
        }
        let name_it = |problem: Problem| Problem { what: format!("{name}: {}", problem.what), ..problem };
        let (test, outcome) = match test {
            Ok(test) => (test, Ok(())),
            Err(problem) if known => return Err(Problem { instead: STAYS, ..name_it(problem) }),
            Err(problem) => (Test::Never, Err(name_it(problem))),
        };
        let (uses_tags, sets_tags) = rules::tags(&test);
        self.definitions.define(Definition { name, span: span.clone(), test, uses_tags, sets_tags });
        outcome
    }

    /// The settings of the rule of this name, made where there are none.
    fn settings(&mut self, name: &[u8], span: &Span) -> Result<&mut Settings, Problem> {
        let name = rule_name(name)?;
        let settings = &mut self.definitions.settings;
        if settings.len() >= SETTINGS_MAX && !settings.contains_key(&name) {
            return Err(Problem { kind: Kind::Limit, what: "there are too many names".into(), instead: IGNORED });
        }
        let settings = settings.entry(name).or_default();
        settings.span = Some(span.clone());
        Ok(settings)
    }
}

/// Files are told apart by what they are, not by how they are called.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// A word of letters, digits and underscores that begins with no digit.
fn rule_name(name: &[u8]) -> Result<String, Problem> {
    if is_rule_name(name) {
        return Ok(String::from_utf8_lossy(name).into_owned());
    }
    Err(Problem { kind: Kind::Rule, what: format!("\"{}\" is no rule name", quoted(name)), instead: IGNORED })
}

fn is_rule_name(name: &[u8]) -> bool {
    let word = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    word && name.len() <= NAME_OCTETS_MAX && !name.first().is_none_or(u8::is_ascii_digit)
}
