//! The statements that define rules.
//!
//! *Does:* takes the parts of a rule apart. Patterns stay as written: only where one must be told from what follows it
//! are its delimiters looked at.

use std::sync::Arc;

use memchr::memmem::{find, rfind};

use super::{NEVER_HITS, Outcome, Parser, Problem, is_rule_name, rule_name};
use crate::rules::definition::{
    EvalCall, EvalKind, Fields, HeaderTest, Host, MimeHeaderTest, Part, Relays, Selector, Test, UriCriterion, UriKey,
    Which, Written,
};
use crate::rules::diagnostic::{Kind, quoted};
use crate::rules::expression::Program;
use crate::rules::replace;
use crate::rules::source::{self, Statement, is_space};

/// The longest argument of an eval, in octets.
const ARGUMENT_OCTETS_MAX: usize = 4 << 10;
/// The most arguments of an eval.
const ARGUMENTS_MAX: usize = 64;
/// The most questions of one line of `uri_detail`.
const CRITERIA_MAX: usize = 64;
/// The most tags in one pattern.
const TAGS_MAX: usize = 64;
/// The longest tag name, in octets.
const TAG_OCTETS_MAX: usize = 64;

impl Parser {
    /// `header NAME ...`.
    pub(super) fn header(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let call = rest.strip_prefix(b"rbleval:").or_else(|| rest.strip_prefix(b"eval:"));
        let test = match call {
            Some(call) => {
                let lookup = call.starts_with(b"check_rbl") || call.starts_with(b"check_dns");
                eval(if lookup { EvalKind::Rbl } else { EvalKind::Head }, call)
            }
            None => header_test(rest),
        };
        self.define(name, &statement.span, test)
    }

    /// `body`, `rawbody`, `full`, `uri`.
    pub(super) fn text(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let (kind, test): (_, fn(Written) -> Test) = match statement.directive.as_str() {
            "body" => (Some(EvalKind::Body), Test::Body),
            "rawbody" => (Some(EvalKind::RawBody), Test::RawBody),
            "full" => (Some(EvalKind::Full), Test::Full),
            _ => (None, Test::Uri),
        };
        let test = match (rest.strip_prefix(b"eval:"), kind) {
            (Some(call), Some(kind)) => eval(kind, call),
            _ => pattern(rest).map(test),
        };
        self.define(name, &statement.span, test)
    }

    /// `meta NAME expression`.
    pub(super) fn meta(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let test = meta(rest).map(Test::Meta).map_err(dead);
        self.define(name, &statement.span, test)
    }

    /// `mimeheader NAME Field =~ /re/`.
    pub(super) fn mime_header(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        self.define(name, &statement.span, mime_header(rest).map(Test::MimeHeader))
    }

    /// `uri_detail NAME key =~ /re/ ...`. Lines of one name add up; the last counts for a key.
    pub(super) fn uri_detail(&mut self, statement: &Statement) -> Outcome {
        let (name, rest) = statement.name_and_rest();
        let shared: Arc<str> = rule_name(name)?.into();
        let test = uri_criteria(rest).map(|criteria| {
            let all = self.uri_details.entry(shared).or_default();
            for criterion in criteria {
                all.retain(|earlier| earlier.key != criterion.key);
                all.push(criterion);
            }
            Test::UriDetail(all.clone())
        });
        self.define(name, &statement.span, test)
    }

    /// `askdns` needs lookups that are not made: the rule is known. `reuse` names a rule that may not be there.
    pub(super) fn known(&mut self, statement: &Statement) -> Outcome {
        let (name, _) = statement.name_and_rest();
        let reuse = statement.directive == "reuse";
        let there = self.definitions.index.contains_key(&*String::from_utf8_lossy(name));
        if reuse && there {
            return Ok(());
        }
        self.define(name, &statement.span, Ok(Test::Never))?;
        match reuse {
            true => Ok(()),
            false => {
                let what = format!("{}: {} asks the DNS", quoted(name), statement.directive);
                Err(Problem { kind: Kind::Eval, what, instead: NEVER_HITS })
            }
        }
    }
}

fn dead(what: impl Into<String>) -> Problem {
    Problem { kind: Kind::Rule, what: what.into(), instead: NEVER_HITS }
}

fn bad_pattern(what: impl Into<String>) -> Problem {
    Problem { kind: Kind::Pattern, ..dead(what) }
}

/// A pattern must have delimiters, and its text none of them bare: else the rule is refused, as what was meant is unsure.
fn pattern(written: &[u8]) -> Result<Written, Problem> {
    let missing = "its delimiters are missing; a # that belongs to it must be written \\#";
    let (text, flags) = replace::take_apart(written).ok_or_else(|| bad_pattern(missing))?;
    if let Some(flag) = flags.iter().find(|flag| !b"msixnpadlu".contains(flag)) {
        return Err(bad_pattern(format!("the flag \"{}\" is not allowed", flag.escape_ascii())));
    }
    let closing = written.get(written.len().saturating_sub(flags.len() + 1)).copied().unwrap_or(b'/');
    let paired = matches!(closing, b'}' | b')' | b']');
    match !paired && replace::stands_bare(text, closing) {
        true => Err(bad_pattern("its delimiter stands in it without a backslash")),
        false => Ok(written.into()),
    }
}

/// What stands behind `meta NAME`.
fn meta(text: &[u8]) -> Result<Program<String>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the expression is not ASCII".to_owned())?;
    let program = Program::parse(text)?;
    let legal = |name: &String| is_rule_name(name.as_bytes()) || glob_of(name).is_some();
    if program.divides_by_zero() {
        return Err("it may divide by zero".into());
    }
    let wrong = program.names().find(|name| !legal(name)).cloned();
    wrong.map_or(Ok(program), |wrong| Err(format!("\"{}\" is no rule name", quoted(wrong.as_bytes()))))
}

/// The glob in `rules_matching(glob)`.
pub(super) fn glob_of(name: &str) -> Option<&str> {
    let glob = name.strip_prefix("rules_matching(")?.strip_suffix(')')?;
    let legal = glob.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'*' | b'?'));
    (legal && !glob.is_empty() && !glob.starts_with(|c: char| c.is_ascii_digit())).then_some(glob)
}

/// `name(arguments)`.
fn eval(kind: EvalKind, call: &[u8]) -> Result<Test, Problem> {
    let wrong = || Problem { kind: Kind::Eval, ..dead(format!("\"{}\" is no call", quoted(call))) };
    let open = call.iter().position(|b| *b == b'(').ok_or_else(wrong)?;
    let (name, rest) = call.split_at_checked(open).ok_or_else(wrong)?;
    let inner = rest.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).ok_or_else(wrong)?;
    if !is_rule_name(name) {
        return Err(wrong());
    }
    let arguments = arguments(inner).ok_or_else(wrong)?;
    Ok(Test::Eval(EvalCall { kind, name: String::from_utf8_lossy(name).into(), arguments }))
}

/// Arguments between commas: in quotation marks of either kind, or bare words and numbers.
fn arguments(text: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut arguments = Vec::new();
    let mut rest = source::trim(text);
    while !rest.is_empty() {
        let (argument, after) = argument(rest)?;
        if argument.len() > ARGUMENT_OCTETS_MAX || arguments.len() >= ARGUMENTS_MAX {
            return None;
        }
        arguments.push(argument.into());
        rest = after;
    }
    Some(arguments)
}

/// The first argument, and what follows its comma.
fn argument(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends = |rest: &[u8]| rest.is_empty() || rest.first() == Some(&b',');
    let (value, rest) = match text.split_first()? {
        // A quotation mark ends it where a comma or nothing follows.
        (quote @ (b'"' | b'\''), inner) => {
            let closes = |at: &usize| inner.get(at + 1..).is_some_and(|rest| ends(source::trim(rest)));
            let end = memchr::memchr_iter(*quote, inner).take(ARGUMENTS_MAX).find(closes)?;
            (inner.get(..end)?, inner.get(end + 1..)?)
        }
        _ => {
            let bare = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-');
            text.split_at_checked(text.iter().position(|b| !bare(b)).unwrap_or(text.len()))?
        }
    };
    let rest = source::trim(rest);
    ends(rest).then(|| (value, source::trim(rest.strip_prefix(b",").unwrap_or(rest))))
}

/// `NAME =~ /re/`, `NAME !~ /re/`, `exists:NAME`.
fn header_test(rest: &[u8]) -> Result<Test, Problem> {
    if let Some(field) = rest.strip_prefix(b"exists:") {
        let field = field.strip_suffix(b":").unwrap_or(field);
        if !is_field_name(field) {
            return Err(dead(format!("\"{}\" is no field name", quoted(field))));
        }
        return Ok(Test::Header(selector(field)?, HeaderTest::Exists));
    }
    let (field, negated, written) = comparison(rest).ok_or_else(|| dead("neither =~ nor !~ follows a field name"))?;
    let (written, if_unset) = split_if_unset(written);
    let pattern = pattern(written)?;
    Ok(Test::Header(selector(field)?, HeaderTest::Matches { pattern, negated, if_unset: if_unset.map(Into::into) }))
}

/// A name, whether `!~` stands behind it, and what follows.
fn comparison(text: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let end = text.iter().position(|b| is_space(b) || matches!(b, b'=' | b'!'))?;
    let (name, rest) = text.split_at_checked(end)?;
    let rest = source::trim(rest);
    let (negated, rest) = match (rest.strip_prefix(b"=~"), rest.strip_prefix(b"!~")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = source::trim(rest);
    (!name.is_empty() && !rest.is_empty()).then_some((name, negated, rest))
}

/// `/re/ [if-unset: text]`.
fn split_if_unset(written: &[u8]) -> (&[u8], Option<&[u8]>) {
    const MARK: &[u8] = b"[if-unset:";
    let split = || {
        let (pattern, rest) = written.split_at_checked(rfind(written, MARK)?)?;
        let text = rest.strip_prefix(MARK)?.strip_suffix(b"]")?;
        let spaced = pattern.last().is_some_and(is_space) && text.first().is_some_and(is_space);
        let text = text.get(text.iter().position(|b| !is_space(b))?..)?;
        spaced.then(|| (source::trim(pattern), Some(text)))
    };
    split().unwrap_or((written, None))
}

fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `Name`, `Name:modifier:modifier`, or a pseudo-header.
fn selector(written: &[u8]) -> Result<Selector, Problem> {
    let mut words = written.strip_suffix(b":").unwrap_or(written).split(|b| *b == b':');
    let name = words.next().filter(|name| is_field_name(name));
    let name = name.ok_or_else(|| dead(format!("\"{}\" is no field name", quoted(written))))?;
    let mut selector = Selector {
        fields: fields(&String::from_utf8_lossy(name)),
        raw: false,
        which: Which::All,
        part: Part::Whole,
        host: Host::None,
    };
    for (at, modifier) in words.enumerate() {
        if at >= 2 || !modify(&mut selector, modifier) {
            return Err(dead(format!("\"{}\" has a modifier that there is not, or too many", quoted(written))));
        }
    }
    Ok(selector)
}

fn modify(selector: &mut Selector, modifier: &[u8]) -> bool {
    match modifier {
        b"raw" => selector.raw = true,
        b"first" => selector.which = Which::First,
        // The first is stronger.
        b"last" if selector.which == Which::All => selector.which = Which::Last,
        b"last" => {}
        b"addr" => selector.part = Part::Address,
        b"name" if selector.part == Part::Whole => selector.part = Part::Name,
        b"name" => {}
        b"host" if selector.host != Host::Domain => selector.host = Host::Name,
        b"host" => {}
        b"domain" => selector.host = Host::Domain,
        // Hosts are stronger than addresses.
        b"ip" if selector.host == Host::None => selector.host = Host::Ip,
        b"revip" if matches!(selector.host, Host::None | Host::Ip) => selector.host = Host::ReversedIp,
        b"ip" | b"revip" => {}
        _ => return false,
    }
    true
}

/// Some names stand for more than a field of that name. Three of them only as they are written here.
fn fields(name: &str) -> Fields {
    match name {
        "ALL" => return Fields::All,
        "ALL-TRUSTED" => return Fields::AllOf(Relays::Trusted),
        "ALL-UNTRUSTED" => return Fields::AllOf(Relays::Untrusted),
        "ALL-INTERNAL" => return Fields::AllOf(Relays::Internal),
        "ALL-EXTERNAL" => return Fields::AllOf(Relays::External),
        "MESSAGEID" => return Fields::MessageId,
        _ => {}
    }
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "tocc" => Fields::ToCc,
        "envelopefrom" => Fields::EnvelopeFrom,
        "x-spam-relays-trusted" => Fields::RelaysOf(Relays::Trusted),
        "x-spam-relays-untrusted" => Fields::RelaysOf(Relays::Untrusted),
        "x-spam-relays-internal" => Fields::RelaysOf(Relays::Internal),
        "x-spam-relays-external" => Fields::RelaysOf(Relays::External),
        _ => Fields::Named(name.into()),
    }
}

fn mime_header(rest: &[u8]) -> Result<MimeHeaderTest, Problem> {
    let (field, negated, written) = comparison(rest).ok_or_else(|| dead("neither =~ nor !~ follows a field name"))?;
    let bare = field.strip_suffix(b":raw");
    let raw = bare.is_some();
    let field = bare.or_else(|| field.strip_suffix(b":")).unwrap_or(field);
    if field.is_empty() || field.contains(&b':') || !field.is_ascii() {
        return Err(dead(format!("\"{}\" is no field name", quoted(field))));
    }
    let (written, if_unset) = split_if_unset(written);
    let pattern = pattern(written)?;
    let field = String::from_utf8_lossy(field).to_ascii_lowercase().into();
    Ok(MimeHeaderTest { field, raw, pattern, negated, if_unset: if_unset.unwrap_or_default().into() })
}

/// `key =~ /re/ key !~ m,re, ...`. What is not of this form between them is passed over, as in the language: there a
/// pattern in brackets is none.
fn uri_criteria(text: &[u8]) -> Result<Vec<UriCriterion>, Problem> {
    let mut criteria = Vec::new();
    let mut rest = text;
    for _ in 0..CRITERIA_MAX {
        let Some(at) = memchr::memchr(b'~', rest) else { break };
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, b""));
        rest = after.get(1..).unwrap_or_default();
        let Some((operator @ (b'=' | b'!'), key)) = before.split_last() else { continue };
        let key = source::trim(key).rsplit(|b| !(b.is_ascii_alphanumeric() || *b == b'_')).next().unwrap_or_default();
        let written = rest.get(rest.iter().position(|b| !is_space(b)).unwrap_or(rest.len())..).unwrap_or_default();
        let Some(end) = pattern_end(written).filter(|_| !key.is_empty()) else { continue };
        let key = uri_key(key).ok_or_else(|| dead(format!("\"{}\" is nothing that a URI has", quoted(key))))?;
        let (written, after) = written.split_at_checked(end).unwrap_or((written, b""));
        criteria.push(UriCriterion { key, negated: *operator == b'!', pattern: pattern(written)? });
        rest = after;
    }
    if criteria.is_empty() { Err(dead("it asks for nothing")) } else { Ok(criteria) }
}

fn uri_key(key: &[u8]) -> Option<UriKey> {
    Some(match key {
        b"raw" => UriKey::Raw,
        b"type" => UriKey::Type,
        b"cleaned" => UriKey::Cleaned,
        b"text" => UriKey::Text,
        b"domain" => UriKey::Domain,
        b"host" => UriKey::Host,
        _ => return None,
    })
}

/// Where the pattern at the head of a text ends: behind the first closing delimiter, with its flags, that white space
/// or nothing follows.
fn pattern_end(text: &[u8]) -> Option<usize> {
    let (delimiter, start) = match text {
        [b'/', ..] => (b'/', 1),
        [b'm', delimiter, ..] => (*delimiter, 2),
        _ => return None,
    };
    let closes = |at: usize| {
        let rest = text.get(at + 1..)?;
        let flags = rest.iter().position(|b| !b"imsx".contains(b)).unwrap_or(rest.len());
        rest.get(flags).is_none_or(is_space).then_some(at + 1 + flags)
    };
    memchr::memchr_iter(delimiter, text.get(start..)?).find_map(|at| closes(start + at))
}

/// The tags that a test's pattern has in it, and whether it sets such.
pub(super) fn tags(test: &Test) -> (Vec<Box<str>>, bool) {
    let pattern = match test {
        Test::Header(_, HeaderTest::Matches { pattern, .. }) => pattern,
        Test::MimeHeader(test) => &test.pattern,
        Test::Body(pattern) | Test::RawBody(pattern) | Test::Full(pattern) | Test::Uri(pattern) => pattern,
        _ => return (Vec::new(), false),
    };
    let mut uses: Vec<Box<str>> = Vec::new();
    for at in memchr::memmem::find_iter(pattern, b"%{") {
        let escaped = at > 0 && pattern.get(at - 1) == Some(&b'\\');
        let rest = pattern.get(at + 2..).unwrap_or_default();
        let tag = rest.iter().take(TAG_OCTETS_MAX).position(|b| *b == b'}').and_then(|end| rest.get(..end));
        let tag = tag.filter(|tag| !escaped && is_tag(tag)).map(|tag| String::from_utf8_lossy(tag).into());
        uses.extend(tag.filter(|tag| uses.len() < TAGS_MAX && !uses.contains(tag)));
    }
    (uses, names_tag(pattern))
}

/// `NAME`, `SOME_NAME` or `NAME(argument)`.
fn is_tag(text: &[u8]) -> bool {
    let open = text.iter().position(|b| *b == b'(').unwrap_or(text.len());
    let (name, argument) = text.split_at_checked(open).unwrap_or((text, b""));
    let legal = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
    let closed = argument.is_empty() || argument.iter().position(|b| *b == b')') == Some(argument.len() - 1);
    let begins = name.first().is_some_and(u8::is_ascii_uppercase);
    begins && name.iter().all(legal) && name.last() != Some(&b'_') && find(name, b"__").is_none() && closed
}

/// Is there a group with a name that begins like a tag's?
fn names_tag(pattern: &[u8]) -> bool {
    memchr::memmem::find_iter(pattern, b"(?").any(|at| {
        let rest = pattern.get(at + 2..).unwrap_or_default();
        let rest = rest.strip_prefix(b"P").unwrap_or(rest);
        matches!(rest, [b'<' | b'\'', b'A'..=b'Z', ..])
    })
}
