//! The trace fields that tell what the rules found: `X-Spam-*`, in the shape that mail clients and Sieve scripts know from
//! SpamAssassin.

use std::fmt::Write as _;

use crate::rules::Hits;

/// Lines are folded to stay within so many octets (RFC 5322 section 2.1.1).
const LINE_OCTETS_MAX: usize = 78;
/// The most asterisks in X-Spam-Level.
const LEVEL_MAX: usize = 50;

/// `X-Spam-Flag` (spam only), `X-Spam-Score`, `X-Spam-Level` and `X-Spam-Status`, each with its CRLF. From `threshold` on
/// it is spam.
pub fn spam_status_fields(hits: &Hits, threshold: f64) -> String {
    let score = hits.score();
    let spam = score >= threshold;
    let shown = shown(score, threshold);
    let mut fields = String::new();
    if spam {
        fields.push_str("X-Spam-Flag: YES\r\n");
    }
    // Writing to a String cannot fail.
    let _ = write!(fields, "X-Spam-Score: {shown}\r\n");
    let level = if score >= 1.0 { (score as usize).min(LEVEL_MAX) } else { 0 };
    if level > 0 {
        let _ = write!(fields, "X-Spam-Level: {}\r\n", "*".repeat(level));
    }
    let verdict = if spam { "Yes" } else { "No" };
    fold(&mut fields, &format!("X-Spam-Status: {verdict}, score={shown} required={threshold:.1}"), hits);
    fields
}

/// One decimal; a score below the threshold is never rounded up to it.
fn shown(score: f64, threshold: f64) -> String {
    let rounded = (score * 10.0).round() / 10.0;
    let shown = if score < threshold && rounded >= threshold { (score * 10.0).floor() / 10.0 } else { rounded };
    // No "-0.0".
    format!("{:.1}", shown + 0.0)
}

/// Adds `tests=A,B,C`, folded behind commas.
fn fold(fields: &mut String, start: &str, hits: &Hits) {
    fields.push_str(start);
    let mut column = start.len();
    let names: Vec<&str> = hits.hits.iter().map(|hit| &*hit.name).collect();
    let names = if names.is_empty() { vec!["none"] } else { names };
    for (at, name) in names.iter().enumerate() {
        let comma = if at + 1 < names.len() { "," } else { "" };
        let word = if at == 0 { format!("tests={name}{comma}") } else { format!("{name}{comma}") };
        if column + word.len() + 1 > LINE_OCTETS_MAX {
            fields.push_str("\r\n\t");
            column = 8;
        } else if at == 0 {
            fields.push(' ');
            column += 1;
        }
        fields.push_str(&word);
        column += word.len();
    }
    fields.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Hit;

    fn hits(scores: &[(&str, f64)]) -> Hits {
        let hit = |(name, score): &(&str, f64)| Hit { name: (*name).into(), score: *score, describe: None };
        Hits { hits: scores.iter().map(hit).collect(), ..Hits::default() }
    }

    #[test]
    fn spam_is_flagged() {
        let fields = spam_status_fields(&hits(&[("A", 3.0), ("B", 2.1)]), 5.0);
        let expected = "X-Spam-Flag: YES\r\nX-Spam-Score: 5.1\r\nX-Spam-Level: *****\r\n\
                        X-Spam-Status: Yes, score=5.1 required=5.0 tests=A,B\r\n";
        assert_eq!(fields, expected);
        let none = "X-Spam-Score: 0.0\r\nX-Spam-Status: No, score=0.0 required=5.0 tests=none\r\n";
        assert_eq!(spam_status_fields(&hits(&[]), 5.0), none);
        let nice = "X-Spam-Score: 0.0\r\nX-Spam-Status: No, score=0.0 required=5.0 tests=N\r\n";
        assert_eq!(spam_status_fields(&hits(&[("N", -0.01)]), 5.0), nice);
    }

    #[test]
    fn a_score_is_never_rounded_up_to_spam() {
        assert!(spam_status_fields(&hits(&[("A", 4.99)]), 5.0).contains("No, score=4.9 "));
        assert!(spam_status_fields(&hits(&[("A", 5.04)]), 5.0).contains("Yes, score=5.0 "));
    }

    #[test]
    fn long_lists_are_folded() {
        let names: Vec<String> = (0..40).map(|i| format!("SOME_LONG_RULE_NAME_{i}")).collect();
        let many: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.1)).collect();
        let fields = spam_status_fields(&hits(&many), 5.0);
        assert!(fields.lines().all(|line| line.len() <= LINE_OCTETS_MAX && !line.trim().is_empty()), "{fields}");
        assert_eq!(fields.replace("\r\n\t", "").matches(",SOME_LONG").count(), 39);
    }
}
