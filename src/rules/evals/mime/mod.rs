//! Evals over the parts of a message: what they are called, how they are encoded, and what was odd about them.
//!
//! *Does:* collects [`MimeFacts`] in one pass over the parts, and answers SpamAssassin's MIMEEval from them. [`text`] has
//! those over the text (BodyEval), [`alternative`] the comparison of what is said twice.
//! *Arguments:* all are given as the rule writes them, without quotes. A number that is none is 0, as in Perl.
//! *Never hits:* `check_for_faraway_charset`, `check_for_mime('mime_faraway_charset')`: by default all locales are welcome.
//! `check_for_mime('mimepart_limit_exceeded')` asks SpamAssassin in the wrong place, and has never hit; whether there are
//! too many parts is said by `check_malformed`.
//!
//! | name | function |
//! |---|---|
//! | `check_for_mime(fact)` | [`MimeFacts::fact`] |
//! | `check_for_mime_html()`, `check_for_mime_html_only()` | [`has_html`], [`is_html_only`] |
//! | `check_mime_multipart_ratio(min, max)` | [`MimeFacts::multipart_ratio`]: min <= ratio < max |
//! | `check_msg_parse_flags(flag)` | [`parse_flag`] |
//! | `check_for_ascii_text_illegal()` | [`MimeFacts::ascii_text_illegal`] |
//! | `check_abundant_unicode_ratio(min)` | [`MimeFacts::unicode_ratio`]: min <= ratio |
//! | `check_qp_ratio(min)` | [`MimeFacts::quoted_printable_ratio`]: min <= ratio |
//! | `check_ma_non_text()` | [`has_odd_alternative`] |
//! | `check_base64_length(min[, max])` | [`MimeFacts::base64_line_octets`]: min <= length <= max |
//! | `check_for_uppercase(min, max)` | [`text::uppercase`]: min < percentage <= max |
//! | `tvd_vertical_words(min, max)` | [`text::vertical_words`]: min <= percentage < max, where 100 and more is 101 |
//! | `check_blank_line_ratio(min, max[, lines])` | [`text::blank_lines`] |
//! | `check_body_length(max)` | [`body_octets`]: length <= max |
//! | `plaintext_body_length(min[, max])`, `plaintext_sig_length`, `plaintext_body_sig_ratio` | [`text::signature`] |
//! | `multipart_alternative_difference(min, max)` | [`alternative::Difference::hits`] |
//! | `multipart_alternative_difference_count(ratio, min)` | [`alternative::Difference::count_hits`] |

pub mod alternative;
mod bind;
mod facts;
#[cfg(test)]
mod tests;
pub mod text;

pub use bind::bind;
pub use facts::MimeFacts;

use crate::rules::views::Views;
use crate::rules::views::header::Query;

/// A number as a rule writes it.
pub fn number(argument: &str) -> f64 {
    argument.trim().parse().unwrap_or(0.0)
}

/// `check_msg_parse_flags(flag)`.
pub fn parse_flag(views: &Views<'_>, flag: &str) -> bool {
    let oddities = views.parts().oddities;
    match flag {
        "missing_head_body_separator" => oddities.missing_head_body_separator,
        "missing_mime_head_body_separator" => oddities.missing_mime_head_body_separator,
        "missing_mime_headers" => oddities.missing_mime_headers,
        "mime_epilogue_exists" => oddities.mime_epilogue_exists,
        "mimepart_limit_exceeded" => oddities.mimepart_limit_exceeded,
        "truncated_header" => oddities.truncated_header || views.header().is_cut(),
        _ => false,
    }
}

/// Is the message itself HTML?
fn is_html(views: &Views<'_>) -> bool {
    let kind = views.get(&Query::read("Content-Type"));
    kind.is_some_and(|kind| kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html")))
}

/// `check_for_mime_html()`: there is an HTML part.
pub fn has_html(views: &Views<'_>, facts: &MimeFacts) -> bool {
    is_html(views) || facts.html_parts > 0
}

/// `check_for_mime_html_only()`: there is an HTML part and no other text.
pub fn is_html_only(views: &Views<'_>, facts: &MimeFacts) -> bool {
    is_html(views) || (facts.html_parts > 0 && facts.text_parts == 0)
}

/// `check_ma_non_text()`: a multipart/alternative holds something right below it that is no text, where mail in good faith
/// has none.
pub fn has_odd_alternative(views: &Views<'_>) -> bool {
    let alternatives = views.parts().iter().filter(|part| part.kind() == "multipart/alternative");
    let mut inside = alternatives.flat_map(|part| std::iter::once(part).chain(part.children()));
    inside.any(|part| part.is_leaf() && part.kind() != "application/rtf" && !part.kind().starts_with("text/"))
}

/// `check_body_length(max)`: the octets of the whole undecoded body, line ends counted as one.
pub fn body_octets(views: &Views<'_>) -> usize {
    views.parts().body().len()
}
