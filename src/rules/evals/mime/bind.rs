//! The evals over parts and text, by their names.

use super::{body_octets, has_html, has_odd_alternative, is_html_only, number, parse_flag, text};
use crate::rules::evals::arguments::Arguments;
use crate::rules::evals::bind::{Bound, Function};
use crate::rules::evals::context::Context;

/// The function of a name, with its arguments; none if it is of another family.
pub fn bind(name: &str, arguments: &Arguments<'_>) -> Bound {
    let at = |at: usize| arguments.optional(at).map_or(0.0, number);
    let (min, max) = (at(0), at(1));
    let limit = arguments.optional(1).filter(|text| *text != "undef").map(number);
    let word = arguments.optional(0).unwrap_or_default().to_owned();
    Some(Ok(match name {
        "check_for_mime" => Function::new(move |c| c.mime().fact(&word)),
        "check_msg_parse_flags" => Function::new(move |c| parse_flag(c.views, &word)),
        "check_for_mime_html" => Function::new(|c| has_html(c.views, c.mime())),
        "check_for_mime_html_only" => Function::new(|c| is_html_only(c.views, c.mime())),
        "check_mime_multipart_ratio" => {
            between(move |c| c.mime().multipart_ratio, move |ratio| ratio >= min && ratio < max)
        }
        "check_for_ascii_text_illegal" => Function::new(|c| c.mime().ascii_text_illegal),
        "check_abundant_unicode_ratio" => between(|c| c.mime().unicode_ratio(), move |ratio| ratio >= min),
        "check_qp_ratio" => between(|c| c.mime().quoted_printable_ratio(), move |ratio| ratio >= min),
        "check_ma_non_text" => Function::new(|c| has_odd_alternative(c.views)),
        "check_base64_length" => {
            let fits = move |octets: f64| octets >= min && limit.is_none_or(|max| octets <= max);
            between(|c| c.mime().base64_line_octets as f64, fits)
        }
        "check_for_uppercase" => {
            let percentage = |c: &Context<'_, '_>| text::uppercase(c.views, c.mime().capital_charset);
            between(percentage, move |percentage| percentage > min && percentage <= max)
        }
        "tvd_vertical_words" => {
            Function::new(move |c| text::vertical_words_hit(text::vertical_words(c.views), min, max))
        }
        "check_blank_line_ratio" => {
            let lines_min = at(2).max(1.0) as usize;
            between(move |c| text::blank_lines(c.views, lines_min), move |found| text::blank_lines_hit(found, min, max))
        }
        "check_body_length" => Function::new(move |c| body_octets(c.views) as f64 <= min),
        "multipart_alternative_difference" => Function::new(move |c| c.difference().hits(min, limit)),
        "multipart_alternative_difference_count" => Function::new(move |c| c.difference().count_hits(min, max)),
        "check_for_faraway_charset" => Function::new(|_| false),
        _ => return None,
    }))
}

/// Something measured, and whether it is within bounds.
fn between(
    measured: impl Fn(&Context<'_, '_>) -> f64 + Send + Sync + 'static,
    fits: impl Fn(f64) -> bool + Send + Sync + 'static,
) -> Function {
    Function::new(move |context| fits(measured(context)))
}
