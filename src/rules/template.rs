//! Trace fields of the operator's own: `add_header` and its templates.
//!
//! *Does:* parses `add_header spam|ham|all Name text with _TAGS_`, keeps the fields in order, renders them as `X-Spam-Name`.
//! *Guarantees:* a rendered field is ASCII, has no line end but its folds, no control character, lines of at most
//! [`LINE_OCTETS_MAX`] where its words allow it and never more than [`WORD_OCTETS_MAX`] in one piece, and at most
//! [`FIELD_OCTETS_MAX`]: whatever a message puts into a tag.
//! *Tags answered here:* YESNO YESNOCAPS (with texts for both), SCORE HITS (with padding), REQD, STARS, TESTS TESTSSCORES
//! SUBTESTS SUBTESTSCOLLAPSED (with a separator), VERSION, SUBVERSION, HOSTNAME, CONTACTADDRESS, AUTOLEARN, AUTOLEARNSCORE,
//! BAYES; all others by name from what the caller knows. An unknown tag stays as text.
//! *Unlike the original*, a field whose value is empty is left out, and there is no Checker-Version by default.

use std::borrow::Cow;

/// The most fields for one outcome.
pub const FIELDS_MAX: usize = 64;
/// The longest rendered value, in octets.
pub const FIELD_OCTETS_MAX: usize = 8 << 10;
/// The longest template, in octets.
pub const TEMPLATE_OCTETS_MAX: usize = 4 << 10;
/// Lines are folded to stay within so many octets.
pub const LINE_OCTETS_MAX: usize = 78;
/// The longest piece without a fold, in octets (RFC 5322 section 2.1.1).
pub const WORD_OCTETS_MAX: usize = 900;
/// The most stars.
const STARS_MAX: usize = 50;

/// The fields that are added to spam and to other mail.
#[derive(Debug, Default)]
pub struct AddedFields {
    spam: Vec<Field>,
    ham: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: Box<str>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// As written between the underscores: name and argument.
    Tag(Box<str>, Option<Box<str>>),
}

/// What the tags of a message stand for.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a> {
    /// Is it spam?
    pub spam: bool,
    /// Its score.
    pub score: f64,
    /// From where on it is spam.
    pub required: f64,
    /// The rules that hit, with their scores.
    pub tests: &'a [(&'a str, f64)],
    /// The sub-rules that hit.
    pub subtests: &'a [&'a str],
    /// This host.
    pub hostname: &'a str,
    /// `report_contact`.
    pub contact: &'a str,
    /// Other tags: names in upper case, as `RELAYSTRUSTED` or `DKIMDOMAIN`, and values as they came.
    pub others: &'a [(&'a str, &'a [u8])],
}

impl AddedFields {
    /// Reads what follows `add_header`. None where it is not in its form.
    pub fn add(&mut self, argument: &str) -> Option<()> {
        let (outcome, rest) = argument.split_once(|c: char| c.is_ascii_whitespace())?;
        let (name, text) = rest.trim_ascii().split_once(|c: char| c.is_ascii_whitespace())?;
        let lists = self.lists(outcome)?;
        let text = Some(text.trim_ascii()).filter(|text| text.len() <= TEMPLATE_OCTETS_MAX)?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let field = Field { name: field_name(name)?.into(), pieces: pieces(&unescape(text)) };
        for list in lists {
            list.retain(|earlier| !earlier.name.eq_ignore_ascii_case(name));
            if list.len() < FIELDS_MAX {
                list.push(field.clone());
            }
        }
        Some(())
    }

    /// Reads what follows `remove_header`. None where it is not in its form.
    pub fn remove(&mut self, argument: &str) -> Option<()> {
        let (outcome, name) = argument.split_once(|c: char| c.is_ascii_whitespace())?;
        let name = field_name(name.trim_ascii())?;
        for list in self.lists(outcome)? {
            list.retain(|field| !field.name.eq_ignore_ascii_case(name));
        }
        Some(())
    }

    /// `clear_headers`.
    pub fn clear(&mut self) {
        *self = AddedFields::default();
    }

    fn lists(&mut self, outcome: &str) -> Option<Vec<&mut Vec<Field>>> {
        Some(match outcome {
            "spam" => vec![&mut self.spam],
            "ham" => vec![&mut self.ham],
            "all" => vec![&mut self.spam, &mut self.ham],
            _ => return None,
        })
    }

    /// The names of the fields that spam, or other mail, gets: without `X-Spam-`.
    pub fn names(&self, spam: bool) -> impl Iterator<Item = &str> {
        (if spam { &self.spam } else { &self.ham }).iter().map(|field| &*field.name)
    }

    /// All fields for a message, each with its CRLF.
    pub fn render(&self, tags: &Tags) -> String {
        let mut out = String::new();
        for field in if tags.spam { &self.spam } else { &self.ham } {
            let value = field.value(tags);
            if !value.trim_ascii().is_empty() {
                fold(&mut out, &field.name, &value);
            }
        }
        out
    }
}

fn field_name(name: &str) -> Option<&str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(legal)).then_some(name)
}

/// `\t` and `\n` are what they are in C, a doubled backslash is one, other escapes vanish.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('\\') => out.push('\\'),
                _ => {}
            },
            other => out.push(other),
        }
    }
    out
}

/// Takes a text apart at its tags.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut plain, mut rest) = (String::new(), text);
    // Looked for once: the search for the end of an argument would else be repeated for each that has none.
    let last_end = text.rfind(")_");
    while let Some(at) = rest.find('_') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        match tag(from, last_end >= Some(text.len() - from.len())) {
            Some((tag, after)) => {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                pieces.push(tag);
                rest = after;
            }
            None => {
                plain.push('_');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain.into()));
    pieces.retain(|piece| *piece != Piece::Text("".into()));
    pieces
}

/// `_NAME_` or, where arguments may end, `_NAME(argument)_`, and what follows.
fn tag(text: &str, arguments: bool) -> Option<(Piece, &str)> {
    let inner = text.strip_prefix('_')?;
    let run = inner.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap_or(inner.len());
    let (run, rest) = inner.split_at(run);
    let legal =
        |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains("__") && !name.ends_with('_');
    let argument = rest.strip_prefix('(').filter(|_| arguments).and_then(|rest| rest.split_once(")_"));
    if let Some((argument, rest)) = argument.filter(|_| legal(run)) {
        return Some((Piece::Tag(run.into(), Some(argument.into())), rest));
    }
    // The longest name that an underscore follows: none in it is doubled.
    let end = run.find("__").unwrap_or_else(|| run.rfind('_').unwrap_or(0));
    let (name, _) = run.split_at(end);
    let rest = inner.get(end + 1..).filter(|_| legal(name))?;
    Some((Piece::Tag(name.into(), None), rest))
}

impl Field {
    fn value(&self, tags: &Tags) -> String {
        let mut value = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Tag(name, argument) => match tags.value(name, argument.as_deref()) {
                    // What comes from a message brings no line ends.
                    Some(found) => value.extend(found.chars().map(|c| if c.is_control() { ' ' } else { c })),
                    None => value.push_str(&as_written(name, argument.as_deref())),
                },
            }
            if value.len() > FIELD_OCTETS_MAX {
                break;
            }
        }
        clean(&value)
    }
}

fn as_written(name: &str, argument: Option<&str>) -> String {
    argument.map_or_else(|| format!("_{name}_"), |argument| format!("_{name}({argument})_"))
}

/// ASCII, line ends as they were meant, no other controls, not too long.
fn clean(value: &str) -> String {
    let value: String = value
        .chars()
        .map(|c| match c {
            '\n' => '\n',
            c if c.is_ascii_control() => ' ',
            c if c.is_ascii() => c,
            _ => '?',
        })
        .take(FIELD_OCTETS_MAX)
        .collect();
    value.trim_ascii().to_owned()
}

impl Tags<'_> {
    fn value(&self, name: &str, argument: Option<&str>) -> Option<Cow<'_, str>> {
        let separator = argument.filter(|argument| !argument.is_empty() && *argument != "0").unwrap_or(",");
        Some(match name {
            "YESNO" => self.yes_or_no(argument).into(),
            "YESNOCAPS" => self.yes_or_no(argument).to_ascii_uppercase().into(),
            "SCORE" | "HITS" => padded(shown_score(self.score, self.required), argument).into(),
            "REQD" => format!("{:.1}", self.required).into(),
            "STARS" => self.stars(argument).into(),
            "TESTS" => joined(self.tests.iter().map(|(name, _)| (*name).to_owned()).collect(), separator).into(),
            "TESTSSCORES" => {
                joined(self.tests.iter().map(|(name, score)| format!("{name}={score}")).collect(), separator).into()
            }
            "SUBTESTS" => joined(self.subtests.iter().map(|name| (*name).to_owned()).collect(), separator).into(),
            "SUBTESTSCOLLAPSED" => joined(self.collapsed(), separator).into(),
            "VERSION" => env!("CARGO_PKG_VERSION").into(),
            "SUBVERSION" => "mxkeep".into(),
            "HOSTNAME" => self.hostname.into(),
            "CONTACTADDRESS" => self.contact.into(),
            other => match (self.others.iter().find(|(name, _)| *name == other), other) {
                (Some((_, value)), _) => {
                    String::from_utf8_lossy(value.get(..FIELD_OCTETS_MAX).unwrap_or(value)).into_owned().into()
                }
                (None, "AUTOLEARN") => "no".into(),
                (None, "AUTOLEARNSCORE") => "0".into(),
                (None, "BAYES") => "0.5".into(),
                _ => return None,
            },
        })
    }

    /// `Yes` or `No`, or the texts that stand for them.
    fn yes_or_no(&self, argument: Option<&str>) -> String {
        let texts = argument.map(|argument| argument.split_once(',').unwrap_or((argument, "No")));
        let (yes, no) = texts.unwrap_or(("Yes", "No"));
        if self.spam { yes.to_owned() } else { no.to_owned() }
    }

    fn stars(&self, argument: Option<&str>) -> String {
        let star = argument.filter(|argument| !argument.is_empty() && *argument != "0").unwrap_or("*");
        let count = if self.score >= 1.0 { (self.score as usize).min(STARS_MAX) } else { 0 };
        star.chars().take(FIELD_OCTETS_MAX / STARS_MAX).collect::<String>().repeat(count)
    }

    /// Sub-rules by name, with how often each hit.
    fn collapsed(&self) -> Vec<String> {
        let mut names = self.subtests.to_vec();
        names.sort_unstable();
        let times = |group: &[&str]| {
            let name = group.first().copied().unwrap_or_default();
            if group.len() > 1 { format!("{name}({})", group.len()) } else { name.to_owned() }
        };
        names.chunk_by(|a, b| a == b).map(times).collect()
    }
}

/// One decimal; a score below what is required is never rounded up to it.
fn shown_score(score: f64, required: f64) -> String {
    let rounded = (score * 10.0).round() / 10.0;
    let shown = if score < required && rounded >= required { (score * 10.0).floor() / 10.0 } else { rounded };
    // No "-0.0".
    format!("{:.1}", shown + 0.0)
}

/// Made as wide as the padding, of zeros or spaces, and three more.
fn padded(score: String, padding: Option<&str>) -> String {
    let Some(padding) =
        padding.filter(|p| !p.is_empty() && (p.bytes().all(|b| b == b'0') || p.bytes().all(|b| b == b' ')))
    else {
        return score;
    };
    let missing = (padding.len() + 3).saturating_sub(score.len());
    format!("{}{score}", padding.get(..missing.min(padding.len())).unwrap_or_default())
}

fn joined(mut names: Vec<String>, separator: &str) -> String {
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(separator) }
}

/// Writes a field. Where the template has line ends it is folded there, elsewhere behind spaces and commas.
fn fold(out: &mut String, name: &str, value: &str) {
    let start = out.len();
    out.push_str("X-Spam-");
    out.push_str(name);
    out.push_str(": ");
    let mut column = out.len() - start;
    for (at, line) in value.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty()).enumerate() {
        if at > 0 {
            column = new_line(out);
        }
        for word in line.split_inclusive([' ', ',', '\t']) {
            if column + word.trim_ascii_end().len() > LINE_OCTETS_MAX && column > 8 && at_word_start(out) {
                column = new_line(out);
            }
            for piece in word.as_bytes().chunks(WORD_OCTETS_MAX) {
                if column > LINE_OCTETS_MAX && column + piece.len() > WORD_OCTETS_MAX {
                    column = new_line(out);
                }
                out.extend(piece.iter().map(|b| char::from(*b)));
                column += piece.len();
            }
        }
    }
    out.truncate(out.trim_ascii_end().len());
    out.push_str("\r\n");
}

fn at_word_start(out: &str) -> bool {
    out.ends_with([' ', ',', '\t'])
}

/// A tab counts for eight columns.
fn new_line(out: &mut String) -> usize {
    out.truncate(out.trim_ascii_end().len());
    out.push_str("\r\n\t");
    8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags<'a>(others: &'a [(&'a str, &'a [u8])]) -> Tags<'a> {
        Tags {
            spam: true,
            score: 7.26,
            required: 5.0,
            tests: &[("B_TWO", 4.26), ("A_ONE", 3.0)],
            subtests: &["__Y", "__X", "__Y"],
            hostname: "mx.example",
            contact: "postmaster",
            others,
        }
    }

    fn rendered(text: &str, others: &[(&str, &[u8])]) -> String {
        let mut fields = AddedFields::default();
        fields.add(&format!("all T {text}")).expect("in form");
        fields.render(&tags(others))
    }

    #[test]
    fn tags_are_answered() {
        for (text, expected) in [
            ("_YESNO_, score=_SCORE_ required=_REQD_", "Yes, score=7.3 required=5.0"),
            ("_YESNOCAPS_ _YESNO(bad,good)_ _YESNO(x)_", "YES bad x"),
            ("[_SCORE(0000)_] [_SCORE( )_] _HITS_", "[00007.3] [ 7.3] 7.3"),
            ("_STARS(*)_ _STARS(+-)_ _STARS_", "******* +-+-+-+-+-+-+- *******"),
            ("_TESTS_ _TESTS(;)_ _TESTSSCORES_", "A_ONE,B_TWO A_ONE;B_TWO A_ONE=3,B_TWO=4.26"),
            ("_SUBTESTS_ _SUBTESTSCOLLAPSED_", "__X,__Y,__Y __X,__Y(2)"),
            ("_HOSTNAME_ _AUTOLEARN_ _BAYES_ _CONTACTADDRESS_", "mx.example no 0.5 postmaster"),
            ("_DKIMDOMAIN_ _UNKNOWN_ _UNKNOWN(a)_ _x_ __ _ _REQD", "d.example _UNKNOWN_ _UNKNOWN(a)_ _x_ __ _ _REQD"),
            ("\"quoted _REQD_\"", "quoted 5.0"),
            ("a\\tb \\\\n \\x c", "a b \\n  c"),
            ("SCORE_REQD_REQD", "SCORE5.0REQD"),
        ] {
            let expected = format!("X-Spam-T: {expected}\r\n");
            assert_eq!(rendered(text, &[("DKIMDOMAIN", b"d.example")]), expected, "{text}");
        }
    }

    #[test]
    fn fields_come_and_go() {
        let mut fields = AddedFields::default();
        for (argument, legal) in [
            ("spam A one", true),
            ("all B two", true),
            ("ham  C   three", true),
            ("all a again", true),
            ("none A one", false),
            ("all A", false),
            ("all A: x", false),
            ("", false),
        ] {
            assert_eq!(fields.add(argument).is_some(), legal, "{argument}");
        }
        assert_eq!(fields.names(true).collect::<Vec<_>>(), ["B", "a"]);
        assert_eq!(fields.names(false).collect::<Vec<_>>(), ["B", "C", "a"]);
        assert_eq!(fields.remove("ham b"), Some(()));
        assert_eq!(fields.names(false).count(), 2);
        assert!((0..2 * FIELDS_MAX).all(|n| fields.add(&format!("all F{n} x")).is_some()));
        assert_eq!(fields.names(true).count(), FIELDS_MAX);
        fields.clear();
        assert_eq!(fields.render(&tags(&[])), "");
    }

    #[test]
    fn messages_cannot_break_out_of_a_field() {
        let hostile = b"a\r\nBcc: all@victim.example\r\n\r\nbody\0\xc3\xa4".as_slice();
        let field = rendered("x _RELAYSTRUSTED_", &[("RELAYSTRUSTED", hostile)]);
        assert_eq!(field, "X-Spam-T: x a  Bcc: all@victim.example    body ?\r\n");
        for octet in [b'x', b',', b' ', b'\n'] {
            let long = vec![octet; 1 << 20];
            let field = rendered("a\\nb _RELAYSTRUSTED_ _RELAYSTRUSTED_", &[("RELAYSTRUSTED", &long)]);
            assert!(field.len() <= 2 * FIELD_OCTETS_MAX, "{}", field.len());
            assert!(field.starts_with("X-Spam-T: a\r\n\tb"), "{field:.40}");
            let lines: Vec<&str> = field.split_terminator("\r\n").collect();
            assert!(lines.iter().all(|line| line.len() <= 998 && !line.trim().is_empty()));
        }
    }

    #[test]
    fn long_values_are_folded() {
        let names: Vec<String> = (0..40).map(|i| format!("SOME_RULE_NAME_{i}")).collect();
        let tests: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.1)).collect();
        let mut fields = AddedFields::default();
        fields.add("all Status _YESNO_, tests=_TESTS_ end").expect("in form");
        let text = fields.render(&Tags { tests: &tests, ..tags(&[]) });
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.len() <= LINE_OCTETS_MAX), "{text}");
        assert_eq!(text.replace("\r\n\t", "").matches(",SOME").count(), 39);
    }

    proptest::proptest! {
        #[test]
        fn fields_stay_one_field(text in r"([_A-Z()a\\n]|_TESTS_|_STARS\(.\)_|.){0,40}", value in "(?s).{0,40}") {
            let mut fields = AddedFields::default();
            fields.add(&format!("all T {text}"));
            let out = fields.render(&tags(&[("A", value.as_bytes())]));
            let lines = out.split_terminator("\r\n").skip(1);
            proptest::prop_assert!(lines.clone().all(|line| line.starts_with('\t') && !line.trim().is_empty()));
            proptest::prop_assert!(out.is_empty() || out.ends_with("\r\n"));
            proptest::prop_assert!(!out.replace("\r\n", "").contains(['\r', '\n']));
        }
    }
}
