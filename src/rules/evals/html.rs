//! `html_*` evals: questions about the HTML parts of a message.
//!
//! *Does:* reads the arguments once, at load; then asks each part: an eval hits if one part says yes.
//! *Never does:* `html_charset_faraway` (it asks for locales that nobody sets), and facts that no part has.

use crate::rules::views::html::{Fact, Html, TextKind};

/// An `html_*` eval with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum HtmlEval {
    /// `html_test(fact)`: it is there and not zero.
    Test(Fact),
    /// `html_range(fact, min, max)`: above the one, up to the other.
    Range(Fact, f64, Option<f64>),
    /// `html_eval(fact, comparison)`.
    Compare(Fact, Comparison),
    /// `html_tag_balance(tag, comparison)`: tags opened and not closed.
    TagBalance(Box<str>, Comparison),
    /// `html_tag_exists(tag)`.
    TagExists(Box<str>),
    /// `html_image_only(min, max)`: an image in so much HTML, in characters.
    ImageOnly(f64, f64),
    /// `html_image_ratio(min, max)`: characters of text for a pixel.
    ImageRatio(f64, f64),
    /// `html_text_match(kind, pattern)`.
    TextMatch(TextKind, Box<str>),
    /// `html_text_not_match(kind, pattern)`: one text does not match.
    TextNotMatch(TextKind, Box<str>),
    /// `html_title_subject_ratio(ratio)`: a title so much longer than the Subject.
    TitleSubjectRatio(f64),
    /// `check_iframe_src()`: a frame shows something from elsewhere.
    IframeSource,
}

/// What evals ask beside the HTML.
pub struct HtmlContext<'a> {
    /// The octets of the decoded Subject, its line end included; zero if there is none.
    pub subject_octets: usize,
    /// Whether a pattern, as written in the rule, matches.
    pub matches: &'a dyn Fn(&str, &[u8]) -> bool,
}

/// `!= 0`, `< 512`: what a rule compares a number with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    operator: Operator,
    number: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Reads an operator and a whole number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let length = text.bytes().take_while(|octet| matches!(octet, b'<' | b'>' | b'=' | b'!')).count();
        let (operator, number) = text.split_at_checked(length)?;
        let operator = match operator {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return None,
        };
        let number = number.trim().parse::<i32>().ok().map(f64::from)?;
        Some(Comparison { operator, number })
    }

    #[expect(clippy::float_cmp, reason = "counts are whole numbers")]
    fn holds(self, value: f64) -> bool {
        match self.operator {
            Operator::Equal => value == self.number,
            Operator::NotEqual => value != self.number,
            Operator::Less => value < self.number,
            Operator::LessOrEqual => value <= self.number,
            Operator::Greater => value > self.number,
            Operator::GreaterOrEqual => value >= self.number,
        }
    }
}

impl HtmlEval {
    /// Reads an eval by name; none if there is none of this name, or its arguments are none that we know.
    pub fn parse(name: &str, arguments: &[&str]) -> Option<Self> {
        let text = |at: usize| arguments.get(at).copied();
        let number = |at: usize| text(at).and_then(number);
        let fact = || text(0).and_then(Fact::parse);
        let kind = || text(0).and_then(TextKind::parse);
        let comparison = || text(1).and_then(Comparison::parse);
        Some(match name {
            "html_test" => HtmlEval::Test(fact()?),
            "html_range" => {
                let max = text(2).filter(|max| *max != "inf");
                let max = if max.is_some() { Some(number(2)?) } else { None };
                HtmlEval::Range(fact()?, number(1)?, max)
            }
            "html_eval" => HtmlEval::Compare(fact()?, comparison()?),
            "html_tag_balance" => HtmlEval::TagBalance(text(0).filter(|tag| is_plain(tag))?.into(), comparison()?),
            "html_tag_exists" => HtmlEval::TagExists(text(0)?.into()),
            "html_image_only" => HtmlEval::ImageOnly(number(0)?, number(1)?),
            "html_image_ratio" => HtmlEval::ImageRatio(number(0)?, number(1)?),
            "html_text_match" => HtmlEval::TextMatch(kind()?, text(1)?.into()),
            "html_text_not_match" => HtmlEval::TextNotMatch(kind()?, text(1)?.into()),
            "html_title_subject_ratio" => HtmlEval::TitleSubjectRatio(number(0)?),
            "check_iframe_src" => HtmlEval::IframeSource,
            _ => return None,
        })
    }

    /// Whether one of the parts says yes.
    pub fn check(&self, parts: &[&Html], context: &HtmlContext<'_>) -> bool {
        parts.iter().any(|html| self.check_part(html, context))
    }

    fn check_part(&self, html: &Html, context: &HtmlContext<'_>) -> bool {
        let between = |value: f64, min: f64, max: f64| value > min && value <= max;
        let text = |kind: TextKind, pattern: &str, expected: bool| {
            html.texts(kind).any(|text| (context.matches)(pattern, text.as_bytes()) == expected)
        };
        match self {
            HtmlEval::Test(fact) => html.fact(*fact).is_some_and(|value| value != 0.0),
            HtmlEval::Range(fact, min, max) => {
                html.fact(*fact).is_some_and(|value| between(value, *min, max.unwrap_or(f64::INFINITY)))
            }
            HtmlEval::Compare(fact, comparison) => html.fact(*fact).is_some_and(|value| comparison.holds(value)),
            HtmlEval::TagBalance(tag, comparison) => {
                let count = html.open_count(tag).map(|count| i32::try_from(count).unwrap_or(i32::MAX));
                count.is_some_and(|count| comparison.holds(f64::from(count)))
            }
            HtmlEval::TagExists(tag) => html.open_count(tag).is_some(),
            HtmlEval::ImageOnly(min, max) => {
                let length = html.fact(Fact::Length).unwrap_or(0.0);
                html.open_count("img").is_some() && between(length, *min, *max)
            }
            HtmlEval::ImageRatio(min, max) => {
                let area = html.fact(Fact::ImageArea).filter(|area| *area > 0.0);
                let ratio = html.fact(Fact::NonSpaceLength).zip(area).map(|(length, area)| length / area);
                ratio.is_some_and(|ratio| between(ratio, *min, *max))
            }
            HtmlEval::TextMatch(kind, pattern) => text(*kind, pattern, true),
            HtmlEval::TextNotMatch(kind, pattern) => text(*kind, pattern, false),
            HtmlEval::TitleSubjectRatio(ratio) => is_longer(html, *ratio, context.subject_octets),
            HtmlEval::IframeSource => html.uris.iter().any(|uri| uri.kinds.contains(&"iframe")),
        }
    }
}

/// A title is so many times longer than the Subject.
fn is_longer(html: &Html, ratio: f64, subject_octets: usize) -> bool {
    let limit = u32::try_from(subject_octets).map(|octets| f64::from(octets) * ratio);
    let longest = html.texts(TextKind::Title).filter(|title| *title != "0").map(|title| title.chars().count()).max();
    let longest = longest.and_then(|longest| u32::try_from(longest).ok()).map(f64::from);
    subject_octets > 0 && longest.zip(limit.ok()).is_some_and(|(longest, limit)| longest > limit)
}

fn is_plain(tag: &str) -> bool {
    !tag.is_empty() && tag.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

/// A number as rules write it: `0400`, `.05`.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|octet| octet.is_ascii_digit() || matches!(octet, b'.' | b'-' | b'+' | b'e' | b'E'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evals_ask_parts() {
        let html = "<html><body><title>a long title</title><!-- c --><a href=x><img src=a width=10 height=10></a>\
            <font size=6 color=white>hidden</font><iframe src=b></iframe></body></div>";
        let parts = [Html::parse("plain", 100), Html::parse(html, 1_000)];
        for (name, arguments, expected) in [
            ("html_test", &["font_low_contrast"][..], Some(true)),
            ("html_test", &["embeds"], Some(false)),
            ("html_test", &["backhair"], None),
            ("html_range", &["max_size", "5", "6"], Some(true)),
            ("html_range", &["max_size", "6", "inf"], Some(false)),
            ("html_range", &["closed_extra_ratio", ".05", "inf"], Some(true)),
            ("html_range", &["max_size"], None),
            ("html_eval", &["length", "< 6"], Some(true)),
            ("html_eval", &["length", "< 5"], Some(false)),
            ("html_eval", &["length", "5"], None),
            ("html_tag_balance", &["html", "!= 0"], Some(true)),
            ("html_tag_balance", &["body", "!=0"], Some(false)),
            ("html_tag_balance", &["b<", "!= 0"], None),
            ("html_tag_exists", &["iframe"], Some(true)),
            ("html_tag_exists", &["head"], Some(false)),
            ("html_image_only", &["0000", "0400"], Some(true)),
            ("html_image_ratio", &["0.100", "0.2"], Some(true)),
            ("html_image_ratio", &["0.2", "0.3"], Some(false)),
            ("html_text_match", &["comment", "c"], Some(true)),
            ("html_text_match", &["title", "z"], Some(false)),
            ("html_text_not_match", &["anchor", "z"], Some(true)),
            ("html_text_match", &["body", "z"], None),
            ("html_title_subject_ratio", &["1.5"], Some(true)),
            ("html_title_subject_ratio", &["3"], Some(false)),
            ("check_iframe_src", &[], Some(true)),
            ("html_charset_faraway", &[], None),
        ] {
            let matches = |pattern: &str, text: &[u8]| String::from_utf8_lossy(text).contains(pattern);
            let context = HtmlContext { subject_octets: 5, matches: &matches };
            let found = HtmlEval::parse(name, arguments).map(|eval| eval.check(&parts.each_ref(), &context));
            assert_eq!(found, expected, "{name} {arguments:?}");
        }
    }
}
