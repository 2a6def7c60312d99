//! Shapes: how a trace field may be put together, written as text with holes, and matched without a regex engine.
//!
//! *Notation:* octets stand for themselves. `{name}` is one word (no blank) that goes into a [`Slot`], `{_}` one that
//! goes nowhere. After the name may follow how many octets (`*` none or more, `+` one or more, `3-9`; `?` makes it
//! lazy) and which (`.` any, `#` digits, `%` what words are made of, `^xyz` all but these). `{name=shape}` takes a
//! whole shape, `{a|b|}` one of several. `{ip}` is an address, `{_ip}` one that goes nowhere, `{local}` a way of saying
//! localhost, `{b}` the edge of a word, `{$}` the end, `{!text}` what must not follow, `{~}` anything and `{?}` as
//! little as possible of it.
//! *Guarantees:* leftmost and greedy as Perl has it, in at most as many steps as the caller's [`Steps`] has left.
//! Recursion goes as deep as the shape is long, whatever the text is.

use memchr::memmem::Finder;

use super::address;
use super::marks::overlapping;

/// What is left of a limit on work, in steps of a few nanoseconds.
#[derive(Debug)]
pub struct Steps(u32);

impl Steps {
    /// As many.
    pub fn new(steps: u32) -> Self {
        Steps(steps)
    }

    fn spend(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

/// What a hole in a shape is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The client's address.
    Ip,
    /// The HELO argument.
    Helo,
    /// The client's name by its address.
    Rdns,
    /// Both of these: where an MTA leaves HELO out if it is the same.
    Both,
    /// What RFC 1413 said.
    Ident,
    /// The host that wrote the field.
    By,
    /// Its identifier of the message.
    Id,
    /// `helo=` and `ident=` stand here.
    Rest,
    /// The first thing to note about authentication.
    First,
    /// The second.
    Second,
}

const SLOTS: [(&str, Slot); 10] = [
    ("ip", Slot::Ip),
    ("helo", Slot::Helo),
    ("rdns", Slot::Rdns),
    ("both", Slot::Both),
    ("ident", Slot::Ident),
    ("by", Slot::By),
    ("id", Slot::Id),
    ("rest", Slot::Rest),
    ("first", Slot::First),
    ("second", Slot::Second),
];

/// What filled the holes.
#[derive(Debug)]
pub struct Found<'t> {
    text: &'t [u8],
    spans: [Option<(usize, usize)>; SLOTS.len()],
}

impl<'t> Found<'t> {
    fn new(text: &'t [u8]) -> Self {
        Found { text, spans: [None; SLOTS.len()] }
    }

    /// What filled this one.
    pub fn get(&self, slot: Slot) -> Option<&'t [u8]> {
        let (start, end) = (*self.spans.get(slot as usize)?)?;
        self.text.get(start..end)
    }

    fn set(&mut self, slot: Option<Slot>, start: usize, end: usize) {
        if let Some(span) = slot.and_then(|slot| self.spans.get_mut(slot as usize)) {
            *span = Some((start, end));
        }
    }

    /// A span is complete when its end, which is met last, is known first: matches are noted on the way back.
    fn set_end(&mut self, slot: Slot, end: usize) {
        self.set(Some(slot), end, end);
    }

    fn set_start(&mut self, slot: Slot, start: usize) {
        if let Some(Some(span)) = self.spans.get_mut(slot as usize) {
            span.0 = start;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    NotBlank,
    Any,
    Digit,
    NotDigit,
    Letter,
    Zone,
    Word,
    Not(&'static [u8]),
}

impl Class {
    fn has(self, octet: u8) -> bool {
        match self {
            Class::NotBlank => !matches!(octet, b' ' | 9..=13),
            Class::Any => true,
            Class::Digit => octet.is_ascii_digit(),
            Class::NotDigit => !octet.is_ascii_digit(),
            Class::Letter => octet.is_ascii_alphabetic(),
            Class::Zone => octet.is_ascii_uppercase() || octet.is_ascii_digit() || b"._~-".contains(&octet),
            Class::Word => address::is_word(octet),
            Class::Not(octets) => !octets.contains(&octet),
        }
    }

    /// How many octets of this class stand at the front.
    fn extent(self, text: &[u8]) -> usize {
        match self {
            Class::Any => text.len(),
            class => text.iter().take_while(|octet| class.has(**octet)).count(),
        }
    }
}

#[derive(Debug)]
struct Run {
    slot: Option<Slot>,
    class: Class,
    least: usize,
    most: usize,
    lazy: bool,
}

#[derive(Debug)]
enum Step {
    Literal(&'static [u8]),
    Not(&'static [u8]),
    Run(Run),
    Address(Option<Slot>),
    Localhost,
    Edge,
    End,
    OneOf(Vec<Vec<Step>>),
    Start(Slot),
    Stop(Slot),
}

/// How a text may be put together.
#[derive(Debug)]
pub struct Shape {
    steps: Vec<Step>,
    /// Where to look first, if the shape begins with a literal.
    begins: Option<Finder<'static>>,
}

impl Shape {
    /// Reads the notation. Shapes are written by us: what is no notation is taken as a literal, and tests look for
    /// that.
    pub fn new(text: &'static str) -> Self {
        let steps = steps(text);
        let begins = match steps.iter().find(|step| !matches!(step, Step::Edge | Step::Start(_))) {
            Some(Step::Literal(literal)) => Some(Finder::new(*literal)),
            _ => None,
        };
        Shape { steps, begins }
    }

    /// Matches from the front on; more may follow.
    pub fn matches<'t>(&self, text: &'t [u8], steps: &mut Steps) -> Option<Found<'t>> {
        self.matches_at(text, 0, steps)
    }

    /// Matches from wherever it first does.
    pub fn find<'t>(&self, text: &'t [u8], steps: &mut Steps) -> Option<Found<'t>> {
        match &self.begins {
            Some(finder) => overlapping(finder, text).find_map(|at| self.matches_at(text, at, steps)),
            None => (0..=text.len()).find_map(|at| self.matches_at(text, at, steps)),
        }
    }

    fn matches_at<'t>(&self, text: &'t [u8], at: usize, steps: &mut Steps) -> Option<Found<'t>> {
        let mut matcher = Matcher { text, found: Found::new(text), steps };
        matcher.go(&self.steps, None, at).then_some(matcher.found)
    }
}

/// What is to be matched after the steps at hand.
struct Then<'s> {
    steps: &'s [Step],
    then: Option<&'s Then<'s>>,
}

struct Matcher<'t, 'l> {
    text: &'t [u8],
    found: Found<'t>,
    steps: &'l mut Steps,
}

impl Matcher<'_, '_> {
    fn go(&mut self, steps: &[Step], then: Option<&Then>, at: usize) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            return then.is_none_or(|then| self.go(then.steps, then.then, at));
        };
        if !self.steps.spend() {
            return false;
        }
        match step {
            Step::Literal(literal) => {
                self.follows(at, literal) && self.go(rest, then, at.saturating_add(literal.len()))
            }
            Step::Not(literal) => !self.follows(at, literal) && self.go(rest, then, at),
            Step::Run(run) => self.run(run, rest, then, at),
            Step::Address(slot) => self.ends(address::ends(self.text, at), *slot, (rest, then, at)),
            Step::Localhost => self.ends(address::localhost_ends(self.text, at), None, (rest, then, at)),
            Step::Edge => self.is_edge(at) && self.go(rest, then, at),
            Step::End => at == self.text.len() && self.go(rest, then, at),
            Step::OneOf(shapes) => {
                let after = Then { steps: rest, then };
                shapes.iter().any(|shape| self.go(shape, Some(&after), at))
            }
            Step::Start(slot) => {
                self.go(rest, then, at) && {
                    self.found.set_start(*slot, at);
                    true
                }
            }
            Step::Stop(slot) => {
                self.go(rest, then, at) && {
                    self.found.set_end(*slot, at);
                    true
                }
            }
        }
    }

    fn follows(&self, at: usize, literal: &[u8]) -> bool {
        self.text.get(at..).is_some_and(|text| text.starts_with(literal))
    }

    fn is_edge(&self, at: usize) -> bool {
        let word =
            |at: Option<usize>| at.and_then(|at| self.text.get(at)).is_some_and(|octet| address::is_word(*octet));
        word(at.checked_sub(1)) != word(Some(at))
    }

    fn ends(&mut self, ends: [Option<usize>; 2], slot: Option<Slot>, next: (&[Step], Option<&Then>, usize)) -> bool {
        let (rest, then, at) = next;
        ends.into_iter().flatten().any(|end| {
            self.go(rest, then, end) && {
                self.found.set(slot, at, end);
                true
            }
        })
    }

    fn run(&mut self, run: &Run, rest: &[Step], then: Option<&Then>, at: usize) -> bool {
        let text = self.text.get(at..).unwrap_or_default();
        let most = run.class.extent(text).min(run.most);
        let Some(span) = most.checked_sub(run.least) else { return false };
        let literal = match rest.first() {
            Some(Step::Literal(literal)) => literal.first(),
            _ => None,
        };
        for tried in 0..=span {
            let length = if run.lazy { run.least.saturating_add(tried) } else { most.saturating_sub(tried) };
            let end = at.saturating_add(length);
            if literal.is_some_and(|octet| self.text.get(end) != Some(octet)) && self.steps.spend() {
                continue;
            }
            if self.go(rest, then, end) {
                self.found.set(run.slot, at, end);
                return true;
            }
            if !self.steps.spend() {
                return false;
            }
        }
        false
    }
}

/// Cuts the notation into literals and holes.
fn steps(text: &'static str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        if !literal.is_empty() {
            steps.push(Step::Literal(literal.as_bytes()));
        }
        let end = cuts(after, '}').next().unwrap_or(after.len());
        hole(after.get(..end).unwrap_or_default(), &mut steps);
        rest = after.get(end.saturating_add(1)..).unwrap_or_default();
    }
    if !rest.is_empty() {
        steps.push(Step::Literal(rest.as_bytes()));
    }
    steps
}

/// Where this letter stands outside of inner holes.
fn cuts(text: &'static str, letter: char) -> impl Iterator<Item = usize> {
    let mut depth = 0_i32;
    text.char_indices().filter_map(move |(at, found)| {
        let cut = depth == 0 && found == letter;
        depth += i32::from(found == '{') - i32::from(found == '}');
        cut.then_some(at)
    })
}

fn hole(text: &'static str, steps: &mut Vec<Step>) {
    if cuts(text, '|').next().is_some() {
        return steps.push(Step::OneOf(alternatives(text)));
    }
    let run = |class, least, most| Step::Run(Run { slot: None, class, least, most, lazy: false });
    steps.push(match text {
        "ip" => Step::Address(Some(Slot::Ip)),
        "_ip" => Step::Address(None),
        "local" => Step::Localhost,
        "b" => Step::Edge,
        "$" => Step::End,
        "~" => run(Class::Any, 0, usize::MAX),
        "?" => Step::Run(Run { slot: None, class: Class::Any, least: 0, most: usize::MAX, lazy: true }),
        "letter" => run(Class::Letter, 1, 1),
        "nodigit" => run(Class::NotDigit, 1, 1),
        "zone" => run(Class::Zone, 0, usize::MAX),
        _ => return named(text, steps),
    });
}

fn alternatives(text: &'static str) -> Vec<Vec<Step>> {
    let ends = cuts(text, '|').chain([text.len()]);
    let starts = [0].into_iter().chain(cuts(text, '|').map(|cut| cut.saturating_add(1)));
    starts.zip(ends).map(|(start, end)| self::steps(text.get(start..end).unwrap_or_default())).collect()
}

fn named(text: &'static str, steps: &mut Vec<Step>) {
    if let Some(literal) = text.strip_prefix('!') {
        return steps.push(Step::Not(literal.as_bytes()));
    }
    let name_end = text.find(|letter: char| !letter.is_ascii_alphabetic() && letter != '_').unwrap_or(text.len());
    let (name, kind) = text.split_at_checked(name_end).unwrap_or((text, ""));
    let slot = SLOTS.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot);
    match (kind.strip_prefix('='), slot) {
        (Some(shape), Some(slot)) => {
            steps.push(Step::Start(slot));
            steps.extend(self::steps(shape));
            steps.push(Step::Stop(slot));
        }
        (None, _) if slot.is_some() || name == "_" => steps.push(Step::Run(run(slot, kind))),
        _ => steps.push(Step::Literal(text.as_bytes())),
    }
}

fn run(slot: Option<Slot>, kind: &'static str) -> Run {
    let class_at = kind.find(['.', '#', '%', '^']).unwrap_or(kind.len());
    let (count, class) = kind.split_at_checked(class_at).unwrap_or((kind, ""));
    let (count, lazy) = count.strip_suffix('?').map_or((count, false), |count| (count, true));
    let (least, most) = match count.split_once('-') {
        Some((least, most)) => (least.parse().unwrap_or(0), most.parse().unwrap_or(usize::MAX)),
        None if count == "*" => (0, usize::MAX),
        None => (1, usize::MAX),
    };
    let class = match class.as_bytes() {
        [] => Class::NotBlank,
        [b'.'] => Class::Any,
        [b'#'] => Class::Digit,
        [b'%'] => Class::Word,
        [_, octets @ ..] => Class::Not(octets),
    };
    Run { slot, class, least, most, lazy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shape: &'static str, text: &str, anywhere: bool) -> Option<String> {
        let shape = Shape::new(shape);
        let mut steps = Steps::new(10_000);
        let found = match anywhere {
            true => shape.find(text.as_bytes(), &mut steps),
            false => shape.matches(text.as_bytes(), &mut steps),
        }?;
        let filled = SLOTS.iter().filter_map(|(name, slot)| Some((name, found.get(*slot)?)));
        Some(filled.map(|(name, value)| format!("{name}={};", String::from_utf8_lossy(value))).collect())
    }

    #[test]
    fn shapes_match_as_written() {
        let cases = [
            ("{helo} ({rdns} [{ip}])", "a (b [192.0.2.1]) more", false, Some("ip=192.0.2.1;helo=a;rdns=b;")),
            ("{helo} ({rdns} [{ip}])", "a (b c [192.0.2.1])", false, None),
            ("{helo}({ip})", "a(b(192.0.2.1)", false, Some("ip=192.0.2.1;helo=a(b;")),
            ("x{helo*}y", "xy", false, Some("helo=;")),
            ("x{helo*.}y", "x y y z", false, Some("helo= y ;")),
            ("x{helo*?.}y", "x y y z", false, Some("helo= ;")),
            ("by {by}{b}", "by host.example)) x", false, Some("by=host.example;")),
            ("by {by={_}.example} ", "by a.example.example z", false, Some("by=a.example.example;")),
            ("{HELO|EHLO} {helo^)}", "EHLO a b) c", false, Some("helo=a b;")),
            ("{[|}{ip}{]|}{$}", "192.0.2.1", false, Some("ip=192.0.2.1;")),
            ("{[|}{ip}{]|}{$}", "[192.0.2.1]x", false, None),
            ("with {id3-5#}{! id}", "with 1234 id", false, Some("id=123;")),
            ("with {id3-5#}{$}", "say with 1234", true, Some("id=1234;")),
            ("{b}with", "herewith with", true, Some("")),
            ("{b}with", "herewith", true, None),
            ("({id=}{local})", "(localhost)", false, Some("id=;")),
            ("[{ip}{{.|:}{_#}|}] by", "[::1.2.3.4.25] by", false, Some("ip=::1.2.3.4;")),
        ];
        for (shape, text, anywhere, expected) in cases {
            assert_eq!(shown(shape, text, anywhere).as_deref(), expected, "{shape} on {text}");
        }
    }

    #[test]
    fn work_is_limited() {
        let shape = Shape::new("{?}a{?}a{?}a{?}b");
        let text = vec![b'a'; 8_192];
        let mut steps = Steps::new(5_000);
        assert!(shape.matches(&text, &mut steps).is_none());
        assert_eq!(steps.0, 0);
        assert!(Shape::new("{?}").matches(b"x", &mut steps).is_none(), "nothing is left");
    }
}
