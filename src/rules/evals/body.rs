//! Evals of the plain text: its signature, and words that stock touts use. (What is left of BodyEval; the rest is with
//! [MIME](super) facts.)

use std::collections::HashSet;

use super::arguments::{Arguments, Eval};
use super::mail::Mail;
use super::mailboxes::is_space;
use super::options::Options;

/// A text without a signature has so many times more text.
const RATIO_WITHOUT_SIGNATURE: f64 = 1_000_000.0;
/// A dash line so near to the end is a decoy.
const DECOY_OCTETS: usize = 4;
/// How long a label before a colon is, in characters.
const LABEL_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=30;
/// No label is looked for beyond so many octets of a line.
const LABEL_OCTETS_MAX: usize = 128;

/// Ends of labels in a stock tout, letters only.
const LABELS: [&str; 26] = [
    "company",
    "companyname",
    "target",
    "ticker",
    "openingp",
    "openingprice",
    "currentp",
    "currentprice",
    "projected",
    "position",
    "expectations",
    "weekhigh",
    "weekshigh",
    "marketperformance",
    "sector",
    "recommendation",
    "rating",
    "yeartarget",
    "weektarget",
    "monthtarget",
    "daytarget",
    "pricetarget",
    "yearestimate",
    "weekestimate",
    "monthestimate",
    "dayestimate",
];
/// More of them, in the plural.
const ESTIMATES: [&str; 6] =
    ["priceestimate", "yearestimates", "weekestimates", "monthestimates", "dayestimates", "priceestimates"];
/// Whole labels.
const WHOLE_LABELS: [&str; 2] = ["tradedate", "tradingdate"];
/// Words that are disguised by a letter between any two; the first letter stands alone.
const DISGUISED: [&str; 3] = ["stock", "symbol", "sym"];

/// `check_stock_info(MIN)`: how many different labels of a stock tout does the first plain text have?
pub fn stock_info(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let min = arguments.number(0)?;
    Ok(Eval::new(move |mail| {
        let count = || (mail.plain)().map_or(0, |plain| stock_hits(plain.rendered));
        min == 0.0 || f64::from(*mail.memo.stock_hits.get_or_init(count)) >= min
    }))
}

fn stock_hits(text: &[u8]) -> u32 {
    let mut found = HashSet::new();
    let mut at = 0;
    while let Some((label, next)) = next_label(text, at) {
        found.extend(label.and_then(stock_label));
        at = next;
    }
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

/// The label of the line that begins here, and where the next line to look at begins. Something must follow the colon, on
/// the next lines if need be; the line where it does is not looked at for a label.
fn next_label(text: &[u8], from: usize) -> Option<(Option<&[u8]>, usize)> {
    let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
    let blank = rest.iter().take_while(|octet| is_space(**octet)).count();
    let start = from + blank;
    let line = text.get(start..).filter(|line| !line.is_empty())?;
    let line_end = start + memchr::memchr(b'\n', line).unwrap_or(line.len());
    let next = Some((None, line_end));
    let length = memchr::memchr2(b':', b'\n', line.get(..LABEL_OCTETS_MAX).unwrap_or(line)).unwrap_or(line.len());
    let Some((label, rest)) = line.split_at_checked(length.min(LABEL_OCTETS_MAX)) else { return next };
    let gap = rest.iter().take_while(|octet| is_space(**octet)).count();
    let Some(value) = rest.get(gap..).and_then(|rest| rest.strip_prefix(b":")) else { return next };
    let blanks = value.iter().take_while(|octet| is_space(**octet)).count();
    let characters = |text: &[u8]| text.iter().filter(|octet| **octet & 0xc0 != 0x80).count();
    let trimmed = characters(label.trim_ascii_end());
    if blanks >= value.len() || *LABEL_CHARACTERS.start() > characters(label) || trimmed > *LABEL_CHARACTERS.end() {
        return next;
    }
    let value_start = text.len() - value.len() + blanks;
    let value_line = text.get(value_start..).unwrap_or_default();
    let end = value_start + memchr::memchr(b'\n', value_line).unwrap_or(value_line.len());
    Some((Some(label), end))
}

/// What of a label tells a stock tout.
fn stock_label(label: &[u8]) -> Option<String> {
    let letters: String =
        label.iter().map(u8::to_ascii_lowercase).filter(u8::is_ascii_lowercase).map(char::from).collect();
    let ends = |end: &&&str| letters.ends_with(**end);
    let longest = LABELS.iter().chain(&ESTIMATES).filter(ends).map(|end| end.len()).max();
    let whole = WHOLE_LABELS.contains(&letters.as_str()).then_some(letters.len());
    let disguised = DISGUISED.iter().filter_map(|word| disguised(&letters, word)).max();
    let length = longest.max(whole).max(disguised)?;
    letters.get(letters.len().checked_sub(length)?..).map(str::to_owned)
}

/// The length of the end that is this word with at most one letter between any two of its own.
fn disguised(letters: &str, word: &str) -> Option<usize> {
    // Each place where the rest of the word may end.
    let mut ends: Vec<usize> = vec![letters.len()];
    for (at, letter) in word.bytes().enumerate().rev() {
        let before = |end: &usize| {
            let one = end.checked_sub(1).filter(|at| letters.as_bytes().get(*at) == Some(&letter));
            let skipped = if at + 1 == word.len() { None } else { end.checked_sub(2) };
            [one, skipped.filter(|at| letters.as_bytes().get(*at) == Some(&letter))]
        };
        ends = ends.iter().flat_map(before).flatten().collect();
        ends.dedup();
        ends.truncate(word.len());
    }
    ends.into_iter().min().map(|start| letters.len() - start)
}

/// The lengths of the first plain text and its signature, in octets.
fn text_and_signature(text: &[u8]) -> (usize, usize) {
    let mut at = 0;
    let mut found = (text.len(), 0);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        let end = at + line.len() - usize::from(line.ends_with(b"\n"));
        let after = text.len() - end;
        if (bare == b"--" || bare == b"-- ") && after > DECOY_OCTETS {
            found = (at, after);
        }
        at += line.len();
    }
    found
}

/// Makes an eval that asks whether a number of the plain text is within its two arguments; the second may be missing.
fn within(arguments: &Arguments<'_>, number: fn(usize, usize) -> f64) -> Result<Eval, String> {
    let min = arguments.number(0)?;
    let max = arguments.optional(1).map(|_| arguments.number(1)).transpose()?;
    Ok(Eval::new(move |mail: &Mail<'_>| {
        (mail.plain)().is_some_and(|plain| {
            let (text, signature) = text_and_signature(plain.decoded);
            let found = number(text, signature);
            found >= min && max.is_none_or(|max| found <= max)
        })
    }))
}

/// `plaintext_body_length(MIN, [MAX])`
pub fn text_length(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    within(arguments, |text, _| text as f64)
}

/// `plaintext_sig_length(MIN, [MAX])`
pub fn signature_length(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    within(arguments, |_, signature| signature as f64)
}

/// `plaintext_body_sig_ratio(MIN, [MAX])`
pub fn signature_ratio(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    within(arguments, |text, signature| match signature {
        0 => RATIO_WITHOUT_SIGNATURE,
        _ => text as f64 / signature as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::mail::Plain;
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    #[test]
    fn stock_touts_are_seen() {
        for (text, count) in [
            ("Company: X\nSymbol: Y\nPrice target : 3\n", 3),
            ("Company:\nSymbol: Y\nTarget: 3\n", 2),
            ("Company: X\nCompany: Y", 1),
            ("Company Name: X\nCompany: Y", 2),
            ("Sxtxoxcxk: A\nSYMB0L: B\nS.y.m: C", 2),
            ("stocks: A", 0),
            ("My trading date: A\nTrading date: B", 1),
            ("a:b company: x", 0),
            (": company: x", 0),
            ("the name of the very company is: x", 0),
            ("company\n\n:\n\nx", 1),
            ("company:", 0),
            ("  Rating :\u{fc}", 1),
        ] {
            assert_eq!(stock_hits(text.as_bytes()), count, "{text:?}");
        }
        let began = std::time::Instant::now();
        for part in [":", "a:", "abc:\n", "\n", "abc\n:", "company:x ", " "] {
            stock_hits(part.repeat(300_000).as_bytes());
        }
        assert!(began.elapsed() < std::time::Duration::from_millis(800), "{:?}", began.elapsed());
    }

    #[test]
    fn signatures_are_measured() {
        for (text, expected) in [
            ("abc", (3, 0)),
            ("abc\n-- \nAnn Arbor\n", (4, 11)),
            ("abc\r\n--\r\nAnn Arbor", (5, 10)),
            ("abc\n-- \nAnn\n-- \nBob B", (12, 6)),
            ("abc\n-- \nAnn Arbor\n-- \nB", (4, 16)),
            ("abc\n--  \nAnn", (12, 0)),
        ] {
            let measured = text_and_signature(text.as_bytes());
            assert_eq!(measured, expected, "{text:?}");
        }
        let mut parts = Parts::of(&[]);
        for (call, hit) in [("plaintext_body_length('0')", false), ("check_stock_info('1')", false)] {
            assert_eq!(parts.ask(None, |mail| table::asked(call, &Options::default(), mail) > 0), hit, "{call}");
        }
        parts.plain = Some(Plain { decoded: b"abc\n-- \nAnn Arbor\n", rendered: b"rating: 1" });
        for (call, hit) in [
            ("plaintext_body_length('4','4')", true),
            ("plaintext_body_length('5')", false),
            ("plaintext_sig_length('11','11')", true),
            ("plaintext_body_sig_ratio('0','0.5')", true),
            ("plaintext_body_sig_ratio('1')", false),
            ("check_stock_info('1')", true),
            ("check_stock_info('2')", false),
            ("check_stock_info('0')", true),
        ] {
            assert_eq!(parts.ask(None, |mail| table::asked(call, &Options::default(), mail) > 0), hit, "{call}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r"(?s)([a-c:\n \u{fc}-]|company|-- \n){0,40}") {
            stock_hits(text.as_bytes());
            text_and_signature(text.as_bytes());
        }
    }
}
