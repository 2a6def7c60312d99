//! The parser: statements in, [`Definitions`] and [`Diagnostic`]s out.
//!
//! *Does:* follows `if`, `ifplugin`, `else`, `endif`; reads each statement by the one table `DIRECTIVES`.
//! *Guarantees:* a statement that is not understood has no effect but a diagnostic; a rule that cannot run is known by name
//! and never hits. Conditions nest to [`CONDITIONS_MAX`].
//! *Conditions* are answered conservatively: a plugin or feature that we do not have is false, so that the file's own
//! fallback for it is used.

use std::sync::Arc;

use crate::rules::definition::{Definition, Definitions, Fields, HeaderTest, Part, Selector, Settings, Test};
use crate::rules::diagnostic::{Diagnostic, Span};
use crate::rules::evidence;
use crate::rules::expression::Program;
use crate::rules::pattern::{self, PatternError};
use crate::rules::source::{self, Source, Statement};

/// How deep `if` may nest.
pub const CONDITIONS_MAX: usize = 100;
/// The longest rule name, in octets. Names go into a trace field.
pub const NAME_OCTETS_MAX: usize = 128;
/// The most rules.
pub const RULES_MAX: usize = 20_000;
/// The most matches that a rule with `tflags multiple` counts.
pub const HITS_MAX: u32 = 1_000;
/// The most diagnostics that are kept.
pub const DIAGNOSTICS_MAX: usize = 10_000;
/// The version of the language, as `if (version >= ...)` sees it: 4.0.1.
const VERSION: f64 = 4.000_001;
/// What others call plugins and is built in here.
const PLUGINS: [&str; 3] =
    ["Mail::SpamAssassin::Plugin::SPF", "Mail::SpamAssassin::Plugin::DKIM", "Mail::SpamAssassin::Plugin::DMARC"];

const NEVER_HITS: &str = "the rule never hits";
const IGNORED: &str = "the line is ignored";

/// Why a statement has not the effect that was meant.
struct Problem {
    what: String,
    instead: &'static str,
}

type Read = fn(&mut Parser, &Statement) -> Result<(), Problem>;

/// Every directive that is understood. Those that are not are diagnosed by name.
const DIRECTIVES: [(&str, Read); 14] = [
    ("header", Parser::header),
    ("body", Parser::body),
    ("meta", Parser::meta),
    ("score", Parser::score),
    ("describe", Parser::describe),
    ("tflags", Parser::tflags),
    ("rawbody", Parser::unsupported_rule),
    ("full", Parser::unsupported_rule),
    ("uri", Parser::unsupported_rule),
    ("mimeheader", Parser::unsupported_rule),
    ("uri_detail", Parser::unsupported_rule),
    ("askdns", Parser::unsupported_rule),
    // Rules run in the order of what they need, and test texts are for the authors of a rule set: no effect is lost.
    ("priority", |_, _| Ok(())),
    ("test", |_, _| Ok(())),
];

/// Reads any number of sources, in order.
#[derive(Default)]
pub struct Parser {
    /// What was read so far.
    pub definitions: Definitions,
    /// What was wrong with it.
    pub diagnostics: Vec<Diagnostic>,
    conditions: Vec<Condition>,
    /// How many conditions are open beyond [`CONDITIONS_MAX`]. What stands in them is skipped.
    conditions_beyond: usize,
}

struct Condition {
    span: Span,
    holds: bool,
    in_else: bool,
}

impl Parser {
    /// Reads one source. Conditions end with it.
    pub fn read(&mut self, source: &Source) {
        self.conditions.clear();
        self.conditions_beyond = 0;
        for statement in source.statements() {
            match statement {
                Ok(statement) => self.statement(&statement),
                Err(span) => self.diagnose(span, "the line is too long".into(), IGNORED),
            }
        }
        if let Some(open) = self.conditions.pop() {
            self.diagnose(open.span, "no endif follows".into(), "it ends with the file");
        }
    }

    /// Keeps a finding, while there is room.
    pub fn diagnose(&mut self, span: Span, what: String, instead: &'static str) {
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            self.diagnostics.push(Diagnostic { span, what, instead });
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let result = match statement.directive.as_str() {
            "if" => self.open(statement, condition(&statement.argument)),
            "ifplugin" => self.open(statement, Ok(is_plugin(&String::from_utf8_lossy(&statement.argument)))),
            "else" => self.otherwise(),
            "endif" => self.close(),
            _ if self.conditions_beyond > 0 => return,
            _ if self.conditions.iter().any(|condition| !condition.holds) => return,
            "lang" => self.lang(statement),
            directive => self.directive(directive, statement),
        };
        if let Err(Problem { what, instead }) = result {
            self.diagnose(statement.span.clone(), what, instead);
        }
    }

    fn open(&mut self, statement: &Statement, holds: Result<bool, String>) -> Result<(), Problem> {
        if self.conditions.len() >= CONDITIONS_MAX {
            self.conditions_beyond += 1;
            return Err(problem("if nests too deep", "what stands in it is skipped"));
        }
        let value = *holds.as_ref().unwrap_or(&false);
        self.conditions.push(Condition { span: statement.span.clone(), holds: value, in_else: false });
        holds.map(|_| ()).map_err(|what| Problem { what, instead: "the condition does not hold" })
    }

    fn otherwise(&mut self) -> Result<(), Problem> {
        match self.conditions.last_mut() {
            _ if self.conditions_beyond > 0 => Ok(()),
            Some(condition) if !condition.in_else => {
                (condition.holds, condition.in_else) = (!condition.holds, true);
                Ok(())
            }
            _ => Err(problem("else without if", IGNORED)),
        }
    }

    fn close(&mut self) -> Result<(), Problem> {
        match self.conditions_beyond.checked_sub(1) {
            Some(beyond) => self.conditions_beyond = beyond,
            None => {
                self.conditions.pop().ok_or_else(|| problem("endif without if", IGNORED))?;
            }
        }
        Ok(())
    }

    /// `lang xx statement` holds for readers of that language; ours is English.
    fn lang(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (language, rest) = statement.name_and_rest();
        if !language.eq_ignore_ascii_case(b"en") {
            return Ok(());
        }
        let (directive, argument) = source::first_word(rest);
        let directive = String::from_utf8_lossy(directive).to_ascii_lowercase();
        let inner =
            Statement { span: statement.span.clone(), directive: directive.clone(), argument: argument.to_vec() };
        self.directive(&directive, &inner)
    }

    fn directive(&mut self, directive: &str, statement: &Statement) -> Result<(), Problem> {
        match DIRECTIVES.iter().find(|(name, _)| *name == directive) {
            Some((_, read)) => read(self, statement),
            None => Err(problem(format!("\"{directive}\" is not supported"), IGNORED)),
        }
    }

    /// Defines a rule; one whose test is not to be had is known and never hits.
    fn define(&mut self, name: &[u8], span: &Span, test: Result<Test, String>) -> Result<(), Problem> {
        let name: Arc<str> = rule_name(name)?.into();
        if self.definitions.rules.len() >= RULES_MAX {
            return Err(problem("there are too many rules", IGNORED));
        }
        let (test, outcome) = match test {
            Ok(test) => (test, Ok(())),
            Err(what) => (Test::Never, Err(problem(format!("{name}: {what}"), NEVER_HITS))),
        };
        self.definitions.define(Definition { name, span: span.clone(), test });
        outcome
    }

    fn header(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        self.define(name, &statement.span, header_test(rest))
    }

    fn body(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        let test = match eval_call(rest) {
            Some(call) => eval_test(call),
            None => pattern::translate(rest).map(Test::Body).map_err(|error| error.to_string()),
        };
        self.define(name, &statement.span, test)
    }

    fn meta(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        let parsed = std::str::from_utf8(rest).map_err(|_| "the expression is not ASCII".to_owned());
        let test = parsed.and_then(Program::parse).and_then(|program| {
            let call = program.names().find(|name| name.contains('(')).cloned();
            call.map_or(Ok(Test::Meta(program)), |call| Err(format!("{call} is not supported in an expression")))
        });
        self.define(name, &statement.span, test)
    }

    /// Evals of our table may stand in rules of any type; nothing else of these types is there yet.
    fn unsupported_rule(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        let test = match eval_call(rest) {
            Some(call) => eval_test(call),
            None => Err(format!("{} rules are not supported yet", statement.directive)),
        };
        self.define(name, &statement.span, test)
    }

    /// `score NAME n`, or four of them; in parentheses they are added.
    fn score(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        let text = std::str::from_utf8(rest).unwrap_or("?");
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let relative = words.iter().any(|word| word.starts_with('('));
        let numbers = words.iter().map(|word| word.trim_start_matches('(').trim_end_matches(')').parse::<f64>());
        let numbers: Vec<f64> = numbers.map(|number| number.unwrap_or(f64::NAN)).collect();
        let wrong = || problem(format!("\"{text}\" is neither one score nor four"), IGNORED);
        let mut scores = match *numbers.as_slice() {
            [one] => [one; 4],
            [a, b, c, d] => [a, b, c, d],
            _ => return Err(wrong()),
        };
        if !scores.iter().all(|score| score.is_finite() && score.abs() <= 1000.0) {
            return Err(wrong());
        }
        let settings = self.settings(name, &statement.span)?;
        if relative {
            let before = settings.scores.unwrap_or([0.0; 4]);
            scores.iter_mut().zip(before).for_each(|(score, before)| *score += before);
        }
        settings.scores = Some(scores);
        Ok(())
    }

    fn describe(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        self.settings(name, &statement.span)?.describe = Some(String::from_utf8_lossy(rest).into());
        Ok(())
    }

    fn tflags(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (name, rest) = statement.name_and_rest();
        let flags = &mut self.settings(name, &statement.span)?.flags;
        for flag in String::from_utf8_lossy(rest).split_ascii_whitespace() {
            match flag {
                "net" => flags.net = true,
                "nice" => flags.nice = true,
                "multiple" => flags.multiple = true,
                "nosubject" => flags.no_subject = true,
                // The rest concerns learning, publishing and user configuration.
                flag => {
                    if let Some(number) = flag.strip_prefix("maxhits=") {
                        flags.hits_max = number.parse().ok().map(|max: u32| max.clamp(1, HITS_MAX));
                    }
                }
            }
        }
        Ok(())
    }

    fn settings(&mut self, name: &[u8], span: &Span) -> Result<&mut Settings, Problem> {
        let settings = self.definitions.settings.entry(rule_name(name)?).or_default();
        settings.span = Some(span.clone());
        Ok(settings)
    }
}

fn problem(what: impl Into<String>, instead: &'static str) -> Problem {
    Problem { what: what.into(), instead }
}

/// A word of letters, digits and underscores that begins with no digit.
fn rule_name(name: &[u8]) -> Result<String, Problem> {
    let word = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let legal = word && name.len() <= NAME_OCTETS_MAX && !name.first().is_none_or(u8::is_ascii_digit);
    match legal {
        true => Ok(String::from_utf8_lossy(name).into_owned()),
        false => Err(problem(format!("\"{:.40}\" is no rule name", name.escape_ascii().to_string()), IGNORED)),
    }
}

fn is_plugin(name: &str) -> bool {
    PLUGINS.contains(&name.trim())
}

/// What stands behind `if`: an expression over `version`, `plugin(...)` and `can(...)`. No feature can be had by name yet.
fn condition(text: &[u8]) -> Result<bool, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the condition is not ASCII".to_owned())?;
    let program = Program::parse(text)?;
    let known = |name: &String| name == "version" || name.starts_with("plugin(") || name.starts_with("can(");
    if let Some(unknown) = program.names().find(|name| !known(name)) {
        return Err(format!("\"{unknown}\" is not known in a condition"));
    }
    let value = program.evaluate(&mut Vec::new(), |name| match name.strip_prefix("plugin(") {
        _ if name == "version" => VERSION,
        Some(plugin) if is_plugin(plugin.trim_end_matches(')')) => 1.0,
        _ => 0.0,
    });
    Ok(value != 0.0)
}

/// What stands behind `eval:` or `rbleval:`.
fn eval_call(test: &[u8]) -> Option<&[u8]> {
    test.strip_prefix(b"eval:").or_else(|| test.strip_prefix(b"rbleval:"))
}

fn eval_test(call: &[u8]) -> Result<Test, String> {
    let call = String::from_utf8_lossy(call);
    let (name, arguments) = call.split_once('(').unwrap_or((&call, ")"));
    match evidence::eval(name.trim()) {
        Some(eval) if arguments.trim() == ")" => Ok(Test::Eval(eval)),
        Some(_) => Err(format!("eval:{name} takes no arguments")),
        None => Err(format!("eval:{name} is not supported yet")),
    }
}

/// `NAME =~ /re/`, `NAME !~ /re/`, `exists:NAME`, `eval:function()`.
fn header_test(rest: &[u8]) -> Result<Test, String> {
    if let Some(call) = eval_call(rest) {
        return eval_test(call);
    }
    if let Some(field) = rest.strip_prefix(b"exists:") {
        return Ok(Test::Header(selector(field)?, HeaderTest::Exists));
    }
    let at = rest.windows(2).position(|pair| pair == b"=~" || pair == b"!~").ok_or("neither =~ nor !~")?;
    let (field, operator) = rest.split_at(at);
    let selector = selector(field.trim_ascii())?;
    let (operator, written) = operator.split_at(2);
    let (written, if_unset) = split_if_unset(written.trim_ascii());
    let pattern = pattern::translate(written).map_err(|error: PatternError| error.to_string())?;
    let if_unset = if_unset.to_vec();
    Ok(Test::Header(selector, HeaderTest::Matches { pattern, negated: operator == b"!~", if_unset }))
}

/// `/re/ [if-unset: text]`.
fn split_if_unset(written: &[u8]) -> (&[u8], &[u8]) {
    const MARK: &[u8] = b"[if-unset:";
    let at = memchr::memmem::rfind(written, MARK).filter(|_| written.ends_with(b"]"));
    let Some((pattern, rest)) = at.and_then(|at| written.split_at_checked(at)) else { return (written, b"") };
    let text = rest.get(MARK.len()..rest.len() - 1).unwrap_or_default();
    (pattern.trim_ascii_end(), text.trim_ascii())
}

/// `Name`, `Name:modifier`, or a pseudo-header.
fn selector(written: &[u8]) -> Result<Selector, String> {
    let written = std::str::from_utf8(written).map_err(|_| "the field name is not ASCII".to_owned())?;
    let (name, modifier) = written.split_once(':').unwrap_or((written, ""));
    if name.is_empty() || !name.bytes().all(|b| (33..127).contains(&b)) {
        return Err(format!("\"{name}\" is no field name"));
    }
    let part = match modifier {
        "" => Part::Decoded,
        "raw" => Part::Raw,
        "addr" => Part::Address,
        "name" => Part::Name,
        other => return Err(format!("the modifier :{other} is not supported yet")),
    };
    let fields = match name {
        "ALL" => Fields::All,
        "ToCc" => Fields::ToCc,
        "MESSAGEID" => Fields::MessageId,
        "EnvelopeFrom" => Fields::EnvelopeFrom,
        name if name.starts_with("X-Spam-Relays-") || name.starts_with("ALL-") => {
            return Err(format!("the pseudo-header {name} is not supported yet"));
        }
        name => Fields::Named(name.to_ascii_lowercase().into()),
    };
    Ok(Selector { fields, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Parser, Vec<String>) {
        let mut parser = Parser::default();
        parser.read(&Source::from_text("t.cf", text));
        let shown = parser.diagnostics.iter().map(ToString::to_string).collect();
        (parser, shown)
    }

    fn names(parser: &Parser) -> Vec<&str> {
        parser.definitions.rules.iter().map(|rule| &*rule.name).collect()
    }

    #[test]
    fn conditions_choose_lines() {
        let (parser, shown) = read(
            "ifplugin Mail::SpamAssassin::Plugin::Razor2\nheader A exists:A\nelse\nheader B exists:B\nendif\n\
             if (version >= 3.004002)\nif !plugin(X)\nheader C exists:C\nendif\nelse\nif can(Y)\nheader D exists:D\nendif\n\
             nonsense\nendif\nif plugin(Mail::SpamAssassin::Plugin::SPF) && version < 5\nheader E exists:E\nendif\n",
        );
        assert_eq!(names(&parser), ["B", "C", "E"]);
        assert_eq!(shown, [""; 0]);
        let (parser, shown) = read("else\nendif\nif (what)\nheader A exists:A\nendif\nif 1\nheader B exists:B\n");
        assert_eq!(names(&parser), ["B"]);
        let expected = [
            "t.cf:1: else without if: the line is ignored",
            "t.cf:2: endif without if: the line is ignored",
            "t.cf:3: \"what\" is not known in a condition: the condition does not hold",
            "t.cf:6: no endif follows: it ends with the file",
        ];
        assert_eq!(shown, expected);
        let (_, shown) = read(&"if 1\n".repeat(200));
        assert_eq!(shown.len(), 101);
        let deep = format!(
            "if 0\n{}header A exists:A\n{}endif\nheader B exists:B",
            "if 1\n".repeat(150),
            "endif\n".repeat(150)
        );
        assert_eq!(names(&read(&deep).0), ["B"]);
        let (parser, shown) = read("if 0\nelse\nelse\nheader A exists:A\nendif");
        assert_eq!((names(&parser), shown.len()), (vec!["A"], 1));
    }

    #[test]
    fn settings_and_languages() {
        let (parser, shown) = read(
            "describe A first\nlang de describe A zwei\nlang en describe A second\nscore A 1 2 3 4\nscore A (0.5)\n\
             tflags A net multiple maxhits=7 publish\nscore B 1 2\nscore B x\nscore B nan\nscore 1B 1\n",
        );
        let a = parser.definitions.settings.get("A").expect("settings");
        assert_eq!(a.describe.as_deref(), Some("second"));
        assert_eq!(a.scores, Some([1.5, 2.5, 3.5, 4.5]));
        assert!(a.flags.net && a.flags.multiple && a.flags.hits_max == Some(7));
        assert_eq!(shown.len(), 4, "{shown:?}");
    }

    #[test]
    fn header_rules() {
        for (text, fields, part) in [
            ("header A Subject =~ /a/", Fields::Named("subject".into()), Part::Decoded),
            ("header A From:addr!~/a/i", Fields::Named("from".into()), Part::Address),
            ("header A  X-A:raw =~ m{=~}  [if-unset: no one]", Fields::Named("x-a".into()), Part::Raw),
            ("header A ToCc:name =~ /a/", Fields::ToCc, Part::Name),
            ("header A exists:ALL", Fields::All, Part::Decoded),
        ] {
            let (parser, shown) = read(text);
            assert_eq!(shown, [""; 0]);
            let Some(Test::Header(selector, test)) = parser.definitions.rules.first().map(|rule| &rule.test) else {
                panic!("{text}");
            };
            assert_eq!((&selector.fields, selector.part), (&fields, part));
            if let HeaderTest::Matches { if_unset, negated, .. } = test {
                assert_eq!(if_unset == b"no one", text.contains("unset"));
                assert_eq!(*negated, text.contains("!~"));
            }
        }
    }

    #[test]
    fn what_is_not_supported_is_named_and_never_hits() {
        for (text, what) in [
            ("rawbody R /x/", "R: rawbody rules are not supported yet: the rule never hits"),
            ("uri R /x/", "R: uri rules are not supported yet: the rule never hits"),
            ("body R eval:check_bayes('1','2')", "R: eval:check_bayes is not supported yet: the rule never hits"),
            ("full R eval:check_dkim_valid(1)", "R: eval:check_dkim_valid takes no arguments: the rule never hits"),
            ("body R /a(?!b)/", "R: look-ahead needs backtracking, which is not supported yet: the rule never hits"),
            ("header R To:host =~ /x/", "R: the modifier :host is not supported yet: the rule never hits"),
            ("header R To", "R: neither =~ nor !~: the rule never hits"),
            ("meta R A +", "R: a value is missing at the end: the rule never hits"),
            ("meta R f(A)", "R: f(A) is not supported in an expression: the rule never hits"),
            ("include /etc/passwd", "\"include\" is not supported: the line is ignored"),
            ("body bad-name /x/", "\"bad-name\" is no rule name: the line is ignored"),
        ] {
            let (parser, shown) = read(text);
            assert_eq!(shown, [format!("t.cf:1: {what}")]);
            assert!(parser.definitions.rules.iter().all(|rule| matches!(rule.test, Test::Never)));
        }
        assert!(read("full R eval:check_dkim_valid()").1.is_empty());
    }

    #[test]
    fn later_definitions_replace_earlier_ones() {
        let (parser, _) = read("header A exists:A\nheader B exists:B\nmeta A B");
        assert_eq!(names(&parser), ["A", "B"]);
        assert!(matches!(parser.definitions.rules.first().map(|rule| &rule.test), Some(Test::Meta(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in r"(if|else|endif|header|body|meta|score|tflags|lang en|x)?[ -~\n]{0,60}") {
            read(&text);
        }
    }
}
