//! What is said twice, as plain text and as HTML, and not the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::rules::views::Views;
use crate::rules::views::parts::View;
use crate::rules::views::white::is_white;

/// How the words of HTML and of plain text differ in multipart/alternative.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The percentage of words of HTML that the plain text lacks, where it is highest.
    pub percentage: f64,
    /// Different words of the last HTML with any.
    pub html_words: usize,
    /// Different words of the plain text beside it.
    pub text_words: usize,
}

type Words<'t> = HashMap<&'t str, usize>;

impl Difference {
    /// Compares all multipart/alternative parts.
    pub fn new(views: &Views<'_>) -> Self {
        let mut found = Difference::default();
        if is_invitation(views) {
            return found;
        }
        for part in views.parts().iter().filter(|part| is_alternative(part.kind())) {
            found.compare(views, part);
        }
        found
    }

    fn compare(&mut self, views: &Views<'_>, alternative: View<'_>) {
        let (mut html, mut text) = (Words::new(), Words::new());
        for part in alternative.tree().into_iter().filter(|part| is_text(part.kind())) {
            let rendered = views.rendered().iter().flatten().find(|rendered| rendered.part == part.index());
            let Some(rendered) = rendered else { continue };
            let words = if part.effective_kind() == "text/html" { &mut html } else { &mut text };
            match rendered.is_octets() {
                true => count_octets(&rendered.text, words),
                false => count(&rendered.text, words),
            }
            if html.is_empty() && rendered.has_image {
                // No word: words hold no line end.
                html.insert("\n", 1);
            }
        }
        if html.is_empty() {
            return;
        }
        let lacks = |(word, count): &(&&str, &usize)| text.get(**word).is_none_or(|there| there < *count);
        let lacking = html.iter().filter(lacks).count();
        self.html_words = html.len();
        self.text_words = text.len();
        self.percentage = self.percentage.max(lacking as f64 / html.len() as f64 * 100.0);
    }

    /// `multipart_alternative_difference(min, max)`; a `max` of `undef` is none.
    pub fn hits(&self, min: f64, max: Option<f64>) -> bool {
        (min == 0.0 || self.percentage > min) && max.is_none_or(|max| self.percentage <= max)
    }

    /// `multipart_alternative_difference_count(ratio, html_words_min)`.
    pub fn count_hits(&self, ratio: f64, html_words_min: f64) -> bool {
        let html = self.html_words as f64;
        html > html_words_min && self.text_words as f64 / html > ratio
    }
}

fn is_alternative(kind: &str) -> bool {
    begins_with_word(kind, "multipart/alternative")
}

fn is_text(kind: &str) -> bool {
    begins_with_word(kind, "text")
}

fn begins_with_word(kind: &str, word: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    kind.strip_prefix(word).is_some_and(|rest| !rest.bytes().next().is_some_and(is_word))
}

/// An invitation has HTML and a calendar in a multipart/alternative, and no plain text.
fn is_invitation(views: &Views<'_>) -> bool {
    let root = views.parts().root();
    let children: Vec<_> = root.children().collect();
    let is = |at: usize, kind| {
        children.get(at).is_some_and(|part: &View<'_>| part.kind() == kind && part.children().next().is_none())
    };
    root.kind() == "multipart/alternative" && children.len() == 2 && is(0, "text/html") && is(1, "text/calendar")
}

/// Marks and joiners belong to words too (UTS 18, annex C).
static RARE_WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\w").ok());

/// Counts words: what stands between white space and has a letter or a digit in it.
fn count<'t>(text: &'t str, words: &mut Words<'t>) {
    let rare = |word: &str| !word.is_ascii() && RARE_WORD.as_ref().is_some_and(|pattern| pattern.is_match(word));
    let is_word = |word: &&str| word.chars().any(|c| c.is_alphanumeric() || c == '_') || rare(word);
    for word in text.split_whitespace().filter(is_word) {
        *words.entry(word).or_default() += 1;
    }
}

/// The same in text that is octets: there only those of ASCII are letters and white space.
fn count_octets<'t>(text: &'t str, words: &mut Words<'t>) {
    let is_word = |word: &&str| word.bytes().any(|b| b.is_ascii_alphanumeric() || b == b'_');
    for word in text.split(|c: char| c.is_ascii() && is_white(c as u8)).filter(is_word) {
        *words.entry(word).or_default() += 1;
    }
}
