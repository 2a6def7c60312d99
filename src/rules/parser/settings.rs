//! The statements that say something about a rule.

use std::sync::Arc;

use super::{HITS_MAX, Outcome, Parser, Problem, is_rule_name};
use crate::rules::definition::Flags;
use crate::rules::diagnostic::{Kind, quoted};
use crate::rules::source::{self, Statement};

/// The largest score, of either sign.
const SCORE_MAX: f64 = 1_000_000.0;
/// The longest description or subject prefix, in octets.
const TEXT_OCTETS_MAX: usize = 1_024;

impl Parser {
    /// `score NAME n`, or four of them; in parentheses they are added to what was set before.
    pub(super) fn score(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let wrong = || Problem::value(format!("\"{}\" is neither one score nor four", quoted(rest)));
        let mut relative = false;
        let mut numbers = Vec::new();
        for word in source::words(rest).take(5) {
            let inner = word.strip_prefix(b"(").and_then(|word| word.strip_suffix(b")"));
            relative |= inner.is_some();
            numbers.push(score(inner.unwrap_or(word)).ok_or_else(wrong)?);
        }
        let mut scores = match *numbers.as_slice() {
            [one] => [one; 4],
            [a, b, c, d] => [a, b, c, d],
            _ => return Err(wrong()),
        };
        let settings = self.settings(name, &statement.span)?;
        if relative {
            let before =
                settings.scores.ok_or_else(|| Problem::value("there is no score before that it could add to"))?;
            scores.iter_mut().zip(before).for_each(|(score, before)| *score += before);
        }
        settings.scores = Some(scores);
        Ok(())
    }

    /// `describe NAME text`.
    pub(super) fn describe(&mut self, statement: &Statement) -> Outcome {
        let (name, text) = named_text(statement)?;
        self.settings(name, &statement.span)?.describe = Some(text);
        Ok(())
    }

    /// `subjprefix NAME text`: kept.
    pub(super) fn subject_prefix(&mut self, statement: &Statement) -> Outcome {
        let (name, text) = named_text(statement)?;
        self.settings(name, &statement.span)?.subject_prefix = Some(text);
        Ok(())
    }

    /// `shortcircuit NAME how`: kept, and said to do nothing where it would.
    pub(super) fn short_circuit(&mut self, statement: &Statement) -> Outcome {
        let (name, text) = named_text(statement)?;
        self.settings(name, &statement.span)?.shortcircuit = Some((*text).into());
        if &*text == "off" {
            return Ok(());
        }
        let what = format!("shortcircuit {}", quoted(name));
        Err(Problem { kind: Kind::NoEffect, what, instead: "all rules run for every message" })
    }

    /// `tflags NAME flag ...`: the last line counts.
    pub(super) fn tflags(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        if rest.is_empty() {
            return Err(Problem::value("no flags"));
        }
        self.settings(name, &statement.span)?.flags = flags(rest);
        Ok(())
    }

    /// `priority NAME n`.
    pub(super) fn priority(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| Problem::value(format!("\"{}\" is no priority", quoted(rest))))?;
        self.settings(name, &statement.span)?.priority = number;
        Ok(())
    }

    /// `replace_rules NAME ...`.
    pub(super) fn replace_rules(&mut self, statement: &Statement) -> Outcome {
        for name in statement.words().filter(|name| is_rule_name(name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            self.replace_rules.entry(name).or_insert_with(|| statement.span.clone());
        }
        Ok(())
    }

    /// `replace_tag NAME text` and its kin.
    pub(super) fn replace_tag(&mut self, statement: &Statement) -> Outcome {
        let (name, text) = statement.name_and_rest();
        if text.is_empty() {
            return Err(Problem::value("a name and a text belong here"));
        }
        let named = match statement.directive.as_str() {
            "replace_pre" => &mut self.replace.before,
            "replace_inter" => &mut self.replace.between,
            "replace_post" => &mut self.replace.after,
            _ => &mut self.replace.tags,
        };
        named.insert(name.into(), text.into());
        Ok(())
    }

    /// `replace_start`, `replace_end`.
    pub(super) fn replace_mark(&mut self, statement: &Statement) -> Outcome {
        let mark = match statement.directive.as_str() {
            "replace_start" => &mut self.replace.start,
            _ => &mut self.replace.end,
        };
        if statement.argument.is_empty() || statement.argument.len() > 16 {
            return Err(Problem::value("one to 16 octets belong here"));
        }
        mark.clone_from(&statement.argument);
        Ok(())
    }
}

/// A number as the language writes it: digits, maybe a sign and a fraction.
fn score(word: &[u8]) -> Option<f64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let legal = digits.first().is_some_and(u8::is_ascii_digit)
        && digits.last().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let number: f64 = std::str::from_utf8(word).ok().filter(|_| legal)?.parse().ok()?;
    (number.abs() <= SCORE_MAX).then_some(number)
}

fn named_text(statement: &Statement) -> Result<(&[u8], Arc<str>), Problem> {
    let (name, rest) = statement.name_and_rest();
    if rest.is_empty() {
        return Err(Problem::value("a rule and a text belong here"));
    }
    let text = String::from_utf8_lossy(rest.get(..TEXT_OCTETS_MAX).unwrap_or(rest));
    Ok((name, text.into()))
}

/// Flags that change nothing here, as `publish`, are passed over.
fn flags(text: &[u8]) -> Flags {
    let mut flags = Flags::default();
    for flag in String::from_utf8_lossy(text).split(|c: char| c.is_ascii_whitespace() || c == ',') {
        match flag {
            "net" => flags.net = true,
            "nice" => flags.nice = true,
            "learn" => flags.learn = true,
            "userconf" => flags.user_config = true,
            "multiple" => flags.multiple = true,
            "nosubject" => flags.no_subject = true,
            "noautolearn" => flags.no_autolearn = true,
            "domains_only" => flags.domains_only = true,
            "ips_only" => flags.ips_only = true,
            "notrim" => flags.no_trim = true,
            "concat" => flags.concatenated = true,
            flag => {
                let hits = flag.strip_prefix("maxhits=").and_then(|number| number.parse::<u32>().ok());
                flags.hits_max = hits.filter(|hits| *hits > 0).map(|hits| hits.min(HITS_MAX)).or(flags.hits_max);
                flags.parts = flag.strip_prefix("range=").and_then(parts).or(flags.parts);
            }
        }
    }
    flags
}

/// `2`, `2-`, `-3` or `2-3`.
fn parts(range: &str) -> Option<(u32, u32)> {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str, none| if text.is_empty() { Some(none) } else { text.parse().ok() };
    (!range.trim_matches('-').is_empty()).then(|| Some((number(from, 0)?, number(to, u32::MAX)?)))?
}
