//! Reading a TOML document section by section, and collecting all that is wrong with it.
//!
//! *Does:* finds a key's value in the operator's section, in the one that it inherits from, or among the defaults;
//! reads it as what it has to be; reports the place and the remedy where it is not.
//! *Never does:* stop at the first error, or report one twice.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys;

/// The largest number that says how many.
const COUNT_MAX: u64 = 1 << 40;

/// How many problems are reported at once.
pub const PROBLEMS_MAX: usize = 100;

/// A place in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the configuration file, if it can be seen there.
    pub place: Option<Place>,
    /// What is wrong and what to do, in sentences.
    pub message: String,
}

/// Something that is allowed, and that the operator should know.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line, column }) = &self.place {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All that keeps a configuration from being used, in the order of the file. Displayed one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// What was found wrong so far, by octet offset in the file.
#[derive(Default)]
pub(super) struct Report {
    errors: Vec<(usize, String)>,
    warnings: Vec<(usize, String)>,
}

impl Report {
    pub fn error(&mut self, at: usize, message: impl Into<String>) {
        self.errors.push((at, message.into()));
    }

    pub fn warning(&mut self, at: usize, message: impl Into<String>) {
        self.warnings.push((at, message.into()));
    }

    /// How many errors there are so far.
    pub fn errors(&self) -> usize {
        self.errors.len()
    }

    /// The errors, or else the warnings, with their places in the file's text.
    pub fn finish(self, file: &str, text: &str) -> Result<Vec<Warning>, ConfigError> {
        match self.errors.is_empty() {
            true => Ok(in_order(self.warnings, file, text)),
            false => Err(ConfigError { problems: in_order(self.errors, file, text) }),
        }
    }
}

fn in_order(mut found: Vec<(usize, String)>, file: &str, text: &str) -> Vec<Problem> {
    found.sort();
    // A value that several domains inherit is wrong once.
    found.dedup();
    found.truncate(PROBLEMS_MAX);
    let place = |at| {
        let before = text.get(..at).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.get(line_start..).unwrap_or("").chars().count();
        Place { file: file.to_owned(), line, column }
    };
    found.into_iter().map(|(at, message)| Problem { place: Some(place(at)), message }).collect()
}

/// A section: the operator's table, and behind it those where a key is looked for that it does not hold.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// Its place.
    pub at: usize,
    /// The first is the section's own.
    layers: Vec<Layer<'a>>,
}

#[derive(Clone)]
struct Layer<'a> {
    name: String,
    table: Option<&'a DeTable<'a>>,
    /// The table of defaults has no place in the operator's file.
    is_default: bool,
}

/// A value, and the name that it was found under.
#[derive(Clone)]
pub(super) struct Value<'a> {
    /// The key's full name, or the element's: that of its list.
    pub name: String,
    /// Its place; none for a default.
    pub at: Option<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(file: &'a DeTable<'a>, defaults: &'a DeTable<'a>) -> Self {
        let layer = |table, is_default| Layer { name: String::new(), table: Some(table), is_default };
        Section { at: 0, layers: vec![layer(file, false), layer(defaults, true)] }
    }

    /// A section of this one, empty if the file does not have it.
    pub fn section(&self, report: &mut Report, name: &str) -> Section<'a> {
        let own = self.layers.first().and_then(|layer| layer.get(name));
        let at = own.and_then(|value| value.at).unwrap_or(self.at);
        let below = |layer: &Layer<'a>| {
            let table = layer.get(name).and_then(|value| value.table(report));
            Layer { name: join(&layer.name, name), table, is_default: layer.is_default }
        };
        Section { at, layers: self.layers.iter().map(below).collect() }
    }

    /// The same section with others behind it, where its missing keys are looked for.
    pub fn inherits(mut self, from: &Section<'a>) -> Section<'a> {
        self.layers.extend(from.layers.iter().cloned());
        self
    }

    /// A value that has to be a section, with no defaults behind it.
    pub fn of(report: &mut Report, value: &Value<'a>) -> Section<'a> {
        let table = value.table(report);
        let layer = Layer { name: value.name.clone(), table, is_default: false };
        Section { at: value.at.unwrap_or(0), layers: vec![layer] }
    }

    /// Its full name.
    pub fn name(&self) -> &str {
        self.layers.first().map_or("", |layer| &layer.name)
    }

    /// Does the operator's file have this section?
    pub fn is_present(&self) -> bool {
        self.layers.first().is_some_and(|layer| layer.table.is_some())
    }

    /// The key's value, wherever it is found first.
    pub fn value(&self, name: &str) -> Option<Value<'a>> {
        self.layers.iter().find_map(|layer| layer.get(name))
    }

    /// The key's value, or an error that says what to write.
    pub fn required(&self, report: &mut Report, name: &str) -> Option<Value<'a>> {
        let value = self.value(name);
        if value.is_none() {
            let full_name = join(self.name(), name);
            let key = keys::find(&full_name);
            let (example, meaning) = key.map_or(("...", ""), |key| (key.preset.text(), key.meaning));
            report.error(self.at, format!("{full_name} is missing. Add {name} = {example} ({meaning})"));
        }
        value
    }

    /// The operator's own keys in the file's order, each with its place and its value.
    pub fn entries(&self) -> Vec<(&'a str, usize, Value<'a>)> {
        let Some(Layer { name, table: Some(table), .. }) = self.layers.first() else { return Vec::new() };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let (name, at) = (join(name, key.get_ref()), Some(value.span().start));
                (key.get_ref().as_ref(), key.span().start, Value { name, at, value: value.get_ref() })
            })
            .collect();
        entries.sort_by_key(|(_, at, _)| *at);
        entries
    }
}

impl<'a> Layer<'a> {
    fn get(&self, key: &str) -> Option<Value<'a>> {
        let value = self.table?.get(key)?;
        let at = (!self.is_default).then_some(value.span().start);
        Some(Value { name: join(&self.name, key), at, value: value.get_ref() })
    }
}

impl<'a> Value<'a> {
    /// Reports what is wrong with this value.
    pub fn error(&self, report: &mut Report, message: impl fmt::Display) {
        report.error(self.at.unwrap_or(0), format!("{}: {message}", self.name));
    }

    /// Is it a section, or an inline table?
    pub fn is_section(&self) -> bool {
        self.value.is_table()
    }

    fn table(&self, report: &mut Report) -> Option<&'a DeTable<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            let message = format!("{} is not a section. Write [{}] and its keys below.", self.shown(), self.name);
            self.error(report, message);
        }
        table
    }

    /// A string.
    pub fn text(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.error(report, format!("{} is not a text. Write it in double quotes.", self.shown()));
        }
        text
    }

    /// A string that is something else in writing. The reader's error says what is wrong and what to do.
    pub fn parsed<T>(&self, report: &mut Report, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = read(self.text(report)?);
        parsed.map_err(|message| self.error(report, message)).ok()
    }

    /// A finite number; an integer is one.
    pub fn number(&self, report: &mut Report) -> Option<f64> {
        let number = match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.error(report, format!("{} is not a number. Write a number such as 5.0.", self.shown()));
        }
        number
    }

    /// How many of something: at least one, as zero would switch the server off; at most [`COUNT_MAX`], so that sums of
    /// such numbers don't overflow anywhere.
    pub fn count<T: TryFrom<u64>>(&self, report: &mut Report) -> Option<T> {
        let DeValue::Integer(integer) = self.value else {
            self.error(report, format!("{} is not a whole number. Write a number such as 100.", self.shown()));
            return None;
        };
        let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let count_max = if T::try_from(COUNT_MAX).is_ok() { COUNT_MAX } else { u64::from(u32::MAX) };
        let count = count.filter(|count| (1..=count_max).contains(count)).and_then(|count| T::try_from(count).ok());
        if count.is_none() {
            let shown = self.shown();
            self.error(report, format!("{shown} is out of range. Write a whole number from 1 to {count_max}."));
        }
        count
    }

    /// True or false.
    pub fn switch(&self, report: &mut Report) -> Option<bool> {
        let found = self.value.as_bool();
        if found.is_none() {
            self.error(report, format!("{} is not true or false. Write one of them, without quotes.", self.shown()));
        }
        found
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(report)?;
        let choice = choices.iter().find(|(word, _)| *word == text);
        if choice.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.error(report, format!("\"{}\" is unknown. Write {}.", text.escape_debug(), words.join(" or ")));
        }
        choice.map(|(_, meaning)| *meaning)
    }

    /// The elements of a list.
    pub fn list(&self, report: &mut Report) -> Vec<Value<'a>> {
        let Some(array) = self.value.as_array() else {
            self.error(report, format!("{0} is not a list. Write it in brackets: [{0}].", self.shown()));
            return Vec::new();
        };
        let at = |element: usize| self.at.map(|_| element);
        let element = |e: &'a toml::Spanned<DeValue<'a>>| Value {
            name: self.name.clone(),
            at: at(e.span().start),
            value: e.get_ref(),
        };
        array.iter().map(element).collect()
    }

    /// The value as an error quotes it: short, and without control characters.
    pub fn shown(&self) -> String {
        const SHOWN_CHARS_MAX: usize = 60;
        match self.value {
            DeValue::String(text) => {
                let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                format!("\"{}\"", short.escape_debug())
            }
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Datetime(datetime) => datetime.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a section".to_owned(),
        }
    }
}

/// A path; a relative one is relative to the directory that the file is in.
pub(super) fn path(text: &str, base_dir: &Path) -> Result<PathBuf, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err(format!("\"{}\" is not a path. Write the path of a file or directory.", text.escape_debug())),
        false => Ok(base_dir.join(text)),
    }
}

/// The full name of a key, quoted where TOML needs it.
fn join(section: &str, key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let key = match !key.is_empty() && key.bytes().all(is_bare) {
        true => key.to_owned(),
        false => format!("\"{}\"", key.escape_debug()),
    };
    if section.is_empty() { key } else { format!("{section}.{key}") }
}
