//! Evals, and how their arguments are read when rules are loaded.

use std::fmt;

use super::mail::Mail;
use super::options::Options;
use crate::rules::pattern::{self, Budget};

/// The steps that one search for an argument's pattern may take.
const STEPS_MAX: u64 = 200_000;

/// A pattern that an argument gives.
#[derive(Debug)]
pub struct Pattern(pattern::Pattern);

impl Pattern {
    /// Reads one: with delimiters, as rules write it, or without.
    pub fn of_argument(text: &str) -> Result<Self, String> {
        let delimited =
            text.starts_with('/') || text.starts_with("m") && text.get(1..2).is_some_and(|c| "{!,|~%".contains(c));
        // NUL stands in no rule file, and so delimits any pattern.
        let written = if delimited { text.as_bytes().to_vec() } else { [b"m\0", text.as_bytes(), b"\0"].concat() };
        let compiled = pattern::Pattern::parse(&written).map_err(|error| format!("\"{text}\": {error}"))?;
        Ok(Pattern(compiled))
    }

    /// Does it match? One that takes too many steps does not.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text, &mut Budget::new(STEPS_MAX))
    }
}

type Question = dyn Fn(&Mail<'_>) -> u32 + Send + Sync;

/// A question about a message, ready to be asked: its arguments are read, its lists looked up.
pub struct Eval(Box<Question>);

impl fmt::Debug for Eval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Eval")
    }
}

impl Eval {
    /// A question that is answered with yes or no.
    pub fn new(question: impl Fn(&Mail<'_>) -> bool + Send + Sync + 'static) -> Self {
        Eval(Box::new(move |mail| u32::from(question(mail))))
    }

    /// How often it hits this message; 0 is no hit.
    pub fn hits(&self, mail: &Mail<'_>) -> u32 {
        (self.0)(mail)
    }
}

/// Makes an eval of the arguments in a rule. The error says what is wrong with them.
pub type Reader = fn(&Arguments<'_>, &Options) -> Result<Eval, String>;

/// The arguments between the parentheses, without their quotes. Whatever stands behind those that an eval knows is ignored,
/// as SpamAssassin ignores it.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a>(pub &'a [String]);

impl<'a> Arguments<'a> {
    /// An argument that may be missing, counted from 0.
    pub fn optional(&self, at: usize) -> Option<&'a str> {
        self.0.get(at).map(String::as_str)
    }

    /// An argument that must be there.
    pub fn text(&self, at: usize) -> Result<&'a str, String> {
        self.optional(at).ok_or_else(|| format!("argument {} is missing", at.saturating_add(1)))
    }

    /// A number.
    pub fn number(&self, at: usize) -> Result<f64, String> {
        let text = self.text(at)?;
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("\"{text}\" is no number"))
    }

    /// A number, or "undef" for no limit.
    pub fn limit(&self, at: usize) -> Result<Option<f64>, String> {
        if self.optional(at) == Some("undef") { Ok(None) } else { self.number(at).map(Some) }
    }

    /// A pattern without delimiters.
    pub fn pattern(&self, at: usize) -> Result<Option<Pattern>, String> {
        self.optional(at).map(Pattern::of_argument).transpose()
    }

    /// All arguments from one on.
    pub fn rest(&self, from: usize) -> Vec<String> {
        self.0.get(from..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        let words = ["1.5", "undef", "x", "(", "inf"].map(str::to_owned);
        let arguments = Arguments(&words);
        assert_eq!(arguments.number(0), Ok(1.5));
        assert_eq!(arguments.limit(0), Ok(Some(1.5)));
        assert_eq!(arguments.limit(1), Ok(None));
        assert_eq!(arguments.number(2), Err("\"x\" is no number".to_owned()));
        assert_eq!(arguments.number(4), Err("\"inf\" is no number".to_owned()));
        assert_eq!(arguments.number(5), Err("argument 6 is missing".to_owned()));
        assert!(arguments.pattern(3).is_err());
        assert!(arguments.pattern(2).is_ok_and(|pattern| pattern.is_some()));
        assert!(arguments.pattern(9).is_ok_and(|pattern| pattern.is_none()));
        assert_eq!(arguments.rest(4), ["inf"]);
    }
}
