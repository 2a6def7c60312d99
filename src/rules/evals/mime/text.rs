//! Evals over the text of a message as body rules see it, and over the lines of its body.

use crate::rules::views::Views;
use crate::rules::views::white::{is_white, lines, trimmed};

/// Text that is shorter says nothing about its capital letters, in octets.
const UPPERCASE_OCTETS_MIN: usize = 200;
/// Lines that are shorter say nothing about their words, in octets.
const VERTICAL_OCTETS_MIN: usize = 6;

/// `check_for_uppercase(min, max)`: the percentage of capital letters among letters and digits. 0 if there is little text,
/// or in a charset of which text is full of them.
pub fn uppercase(views: &Views<'_>, capital_charset: bool) -> f64 {
    if capital_charset {
        return 0.0;
    }
    let (mut octets, mut lower, mut upper) = (0, 0usize, 0usize);
    for line in views.text().lines() {
        if !trimmed(line).iter().any(|b| is_white(*b)) || is_base64(line) {
            continue;
        }
        let (before, after) = without_jis(line);
        for octet in before.iter().chain(after) {
            lower += usize::from(octet.is_ascii_lowercase() || octet.is_ascii_digit());
            upper += usize::from(octet.is_ascii_uppercase());
        }
        octets += before.len() + after.len();
    }
    match upper + lower {
        _ if octets < UPPERCASE_OCTETS_MIN => 0.0,
        0 => 0.0,
        all => upper as f64 / all as f64 * 100.0,
    }
}

/// Two words at its beginning that look like lines of base64.
fn is_base64(line: &[u8]) -> bool {
    let is_word = |word: &[u8]| {
        (60..=76).contains(&word.len()) && word.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b))
    };
    let mut words = line.split(|b| *b == b' ');
    let first_two = [words.next(), words.next()];
    words.next().is_some() && first_two.into_iter().all(|word| word.is_some_and(is_word))
}

/// What stands before and behind Japanese in ISO-2022-JP.
fn without_jis(line: &[u8]) -> (&[u8], &[u8]) {
    let start = memchr::memmem::find(line, b"\x1b$B");
    let end = memchr::memmem::rfind(line, b"\x1b(B");
    match (start, end) {
        (Some(start), Some(end)) if end >= start + 3 => {
            (line.get(..start).unwrap_or_default(), line.get(end + 3..).unwrap_or_default())
        }
        _ => (line, &[]),
    }
}

/// `tvd_vertical_words(min, max)`: spaces by hundred other octets, in the line that has most of them; -1 without lines.
pub fn vertical_words(views: &Views<'_>) -> i64 {
    let of_line = |line: &[u8]| {
        let spaces = memchr::memchr_iter(b' ', line).count();
        match line.len() - spaces {
            others if spaces > others || others == 0 => 100,
            others => 100 * spaces / others,
        }
    };
    let lines = views.text().lines().filter(|line| line.len() >= VERTICAL_OCTETS_MIN).map(of_line);
    lines.max().and_then(|most| i64::try_from(most).ok()).unwrap_or(-1)
}

/// Is a percentage within the bounds of `tvd_vertical_words`?
pub fn vertical_words_hit(percentage: i64, min: f64, max: f64) -> bool {
    let max = if max >= 100.0 { 101.0 } else { max };
    percentage as f64 >= min && (percentage as f64) < max
}

/// `check_blank_line_ratio(min, max, lines)`: the percentage of blank lines in what rawbody rules see; -1 if there are
/// fewer lines.
pub fn blank_lines(views: &Views<'_>, lines_min: usize) -> f64 {
    let (mut all, mut blank) = (0usize, 0usize);
    for chunk in views.raw() {
        for line in lines(chunk) {
            all += 1;
            blank += usize::from(trimmed(line).is_empty());
        }
    }
    if all < lines_min.max(1) { -1.0 } else { 100.0 * blank as f64 / all as f64 }
}

/// Is a percentage within the bounds of `check_blank_line_ratio`?
pub fn blank_lines_hit(percentage: f64, min: f64, max: f64) -> bool {
    (min == 0.0 || percentage > min) && percentage <= max
}

/// The octets of the first plain text before its signature, and of that. None if there is no plain text.
pub fn signature(views: &Views<'_>) -> Option<(usize, usize)> {
    let text = views.parts().iter().find(|part| part.kind().starts_with("text/plain"))?.decoded();
    let (mut found, mut at) = ((text.len(), 0), 0);
    for line in lines(text) {
        let rest = text.len() - at - line.len();
        let ended = line.strip_suffix(b"\n").unwrap_or(line);
        let end = text.len() - at - ended.len();
        // A mark at the very end is a decoy.
        if matches!(ended, b"--" | b"-- " | b"--\r" | b"-- \r") && end > 4 && rest < text.len() {
            found = (at, end);
        }
        at += line.len();
    }
    Some(found)
}

/// `plaintext_body_sig_ratio`: a text without a signature has a ratio of a million.
pub fn signature_ratio((body, signature): (usize, usize)) -> f64 {
    if signature == 0 { 1e6 } else { body as f64 / signature as f64 }
}
