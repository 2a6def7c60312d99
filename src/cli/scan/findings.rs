//! Findings as text: the method in the left column, what there is to say of it in the right one, wrapped.

use crate::authentication::Finding;

/// Where the right column begins.
const COLUMN: usize = 18;
/// Lines are wrapped before they grow beyond this, in characters, where they can be.
const LINE_MAX: usize = 100;

/// Each finding: result and subject, then what decided it, then the advice.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { method, subject, result, says, advice } = finding;
        wrap(&mut text, method, &format!("{result}: {subject}"));
        says.iter().for_each(|line| wrap(&mut text, "", line));
        if let Some(advice) = advice {
            wrap(&mut text, "", &format!("advice: {advice}"));
        }
    }
    text
}

/// One sentence below the column, its further lines two places further in.
fn wrap(text: &mut String, label: &str, sentence: &str) {
    let indent = COLUMN.saturating_sub(2);
    let mut line = format!("  {label:<indent$}");
    let mut empty = true;
    for word in sentence.split(' ') {
        if !empty && line.len() + 1 + word.len() > LINE_MAX {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(COLUMN + 2);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::MethodResult;

    #[test]
    fn sentences_are_wrapped_into_the_right_column() {
        let finding = Finding {
            method: "spf",
            subject: "MAIL FROM example.org".to_owned(),
            result: MethodResult::SoftFail,
            says: vec!["word ".repeat(20).trim_end().to_owned(), "x".repeat(200)],
            advice: Some("Do it.".to_owned()),
        };
        let expected = format!(
            "  spf             softfail: MAIL FROM example.org\n{}{}\n{}{}\n{}{}\n{}advice: Do it.\n",
            " ".repeat(18),
            "word ".repeat(16).trim_end(),
            " ".repeat(20),
            "word ".repeat(4).trim_end(),
            " ".repeat(18),
            "x".repeat(200),
            " ".repeat(18),
        );
        assert_eq!(text(&[finding]), expected);
    }
}
