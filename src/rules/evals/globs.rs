//! Lists of addresses written with `*` and `?`, as `welcomelist_from` and its like have them.
//!
//! *Does:* tells whether a text is on a list. `*` is any run of octets, `?` is one; everything else is itself, in either case
//! of letters. A text that is written exactly as its entry is on the list too.
//! *Guarantees:* what most entries look like (`a@b.example`, `*@b.example`, `*@*.b.example`) is found by hash; the others are
//! tried one by one, each in at most [`GLOB_OCTETS_MAX`] times the text. Texts over [`TEXT_OCTETS_MAX`] are on no list.

use std::collections::HashSet;

use memchr::{memchr, memrchr};

/// The longest entry.
pub const GLOB_OCTETS_MAX: usize = 512;
/// The longest text that is looked up: longer ones are no addresses (RFC 5321 section 4.5.3.1.3).
pub const TEXT_OCTETS_MAX: usize = 2_048;
/// The most entries of one list.
pub const ENTRIES_MAX: usize = 100_000;

/// One entry: literal octets between wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<[Step]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Octet(u8),
    One,
    /// Any run; if it is set, one without dots.
    Run {
        label: bool,
    },
}

impl Glob {
    /// Reads an entry; none if it is longer than [`GLOB_OCTETS_MAX`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::of(text, false)
    }

    /// Reads an entry whose `*` doesn't match dots.
    pub fn of_labels(text: &[u8]) -> Option<Self> {
        Self::of(text, true)
    }

    fn of(text: &[u8], label: bool) -> Option<Self> {
        let step = |octet: &u8| match octet {
            b'*' => Step::Run { label },
            b'?' => Step::One,
            b'\0' | b'\\' | b'(' => Step::Octet(b'_'),
            other => Step::Octet(other.to_ascii_lowercase()),
        };
        let mut steps: Vec<Step> = text.iter().map(step).collect();
        steps.dedup_by(|a, b| matches!((a, b), (Step::Run { .. }, Step::Run { .. })));
        (text.len() <= GLOB_OCTETS_MAX).then(|| Glob(steps.into()))
    }

    /// Does all of the text, in lower case, look like it? Falls back to the last `*` only, which is enough where it matches
    /// everything; a run of one label may have to be tried at each place.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut step, mut at) = (0, 0);
        let mut back: Option<(usize, usize, bool)> = None;
        loop {
            let octet = text.get(at).copied();
            let advance = match (self.0.get(step), octet) {
                (None, None) => return true,
                (Some(Step::Run { label }), _) => {
                    back = Some((step + 1, at, *label));
                    step += 1;
                    continue;
                }
                (Some(Step::One), Some(_)) => true,
                (Some(Step::Octet(expected)), Some(found)) => *expected == found,
                _ => false,
            };
            if advance {
                (step, at) = (step + 1, at + 1);
                continue;
            }
            match back {
                Some((after, from, label)) if text.get(from).is_some_and(|octet| !label || *octet != b'.') => {
                    back = Some((after, from + 1, label));
                    (step, at) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

/// A list of entries.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    exact: HashSet<Box<[u8]>>,
    /// `*@domain`.
    domains: HashSet<Box<[u8]>>,
    /// `*@*.domain`.
    parents: HashSet<Box<[u8]>>,
    parent_octets: usize,
    others: Vec<Glob>,
    entries: usize,
}

impl Globs {
    /// A list of these entries.
    pub fn from_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut list = Globs::default();
        words.into_iter().for_each(|word| list.add(word));
        list
    }

    /// Adds an entry. Entries that are too long or too many are left out.
    pub fn add(&mut self, entry: &str) {
        let text = entry.to_ascii_lowercase().into_bytes();
        if self.entries >= ENTRIES_MAX {
            return;
        }
        let Some(glob) = Glob::parse(&text) else { return };
        self.entries += 1;
        let plain = |part: &[u8]| !part.is_empty() && part.iter().all(|octet| !b"*?@\0\\(".contains(octet));
        let parent = text.strip_prefix(b"*@*.").filter(|domain| plain(domain));
        let domain = text.strip_prefix(b"*@").filter(|domain| plain(domain));
        if let Some(parent) = parent {
            self.parent_octets = self.parent_octets.max(parent.len());
            self.parents.insert(parent.into());
        } else if let Some(domain) = domain {
            self.domains.insert(domain.into());
        } else if !plain(&text) && text.iter().any(|octet| b"*?\0\\(".contains(octet)) {
            self.others.push(glob);
        }
        self.exact.insert(text.into());
    }

    /// Adds what matches anywhere in a text: `welcomelist_subject` and its like.
    pub fn add_anywhere(&mut self, entry: &str) {
        self.add(&format!("*{entry}*"));
        self.exact.insert(entry.to_ascii_lowercase().into_bytes().into());
    }

    /// Is nothing on the list?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Is this text on the list?
    pub fn contains(&self, text: &[u8]) -> bool {
        if self.is_empty() || text.len() > TEXT_OCTETS_MAX {
            return false;
        }
        let text = text.to_ascii_lowercase();
        self.exact.contains(&*text)
            || (!self.domains.is_empty()
                && after(&text, memrchr(b'@', &text)).is_some_and(|d| self.domains.contains(d)))
            || self.has_parent(&text)
            || self.others.iter().any(|glob| glob.matches(&text))
    }

    fn has_parent(&self, text: &[u8]) -> bool {
        let Some(mut domain) = after(text, memchr(b'@', text)).filter(|_| !self.parents.is_empty()) else {
            return false;
        };
        while let Some(parent) = after(domain, memchr(b'.', domain)) {
            if parent.len() <= self.parent_octets && self.parents.contains(parent) {
                return true;
            }
            domain = parent;
        }
        false
    }
}

/// What stands behind that place.
fn after(text: &[u8], at: Option<usize>) -> Option<&[u8]> {
    text.get(at?.checked_add(1)?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_what_they_look_like() {
        for (entry, text, on) in [
            ("ann@a.example", "Ann@A.example", true),
            ("ann@a.example", "joann@a.example", false),
            ("*@a.example", "x@a.example", true),
            ("*@a.example", "x@b.a.example", false),
            ("*@*.a.example", "x@b.a.example", true),
            ("*@*.a.example", "x@c.b.a.example", true),
            ("*@*.a.example", "x@a.example", false),
            ("*@*.a.example", "b.a.example", false),
            ("*.br", "x@y.com.br", true),
            ("*.br", "x@y.com.bra", false),
            ("j??@*", "joe@x", true),
            ("j??@*", "john@x", false),
            ("*a*b*c*", "xxaxbxcx", true),
            ("*a*b*c*", "xxaxcxbx", false),
            ("a(b@x", "a_b@x", true),
            ("a(b@x", "a(b@x", true),
            ("a**b", "ab", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Globs::from_words([entry]).contains(text.as_bytes()), on, "{entry} {text}");
        }
        assert!(!Globs::default().contains(b""));
        let mut subjects = Globs::default();
        subjects.add_anywhere("free *money");
        assert!(subjects.contains(b"Get FREE or not so free Money now\n"));
    }

    #[test]
    fn label_runs_stop_at_dots() {
        for (entry, text, matches) in [
            ("yahoo.*", "yahoo.com", true),
            ("yahoo.*", "yahoo.co.uk", false),
            ("yahoo.co*.*", "yahoo.com.br", true),
            ("*.att.example", "x.y.att.example", false),
            ("mail2*.com", "mail2you.com", true),
        ] {
            assert_eq!(
                Glob::of_labels(entry.as_bytes()).is_some_and(|g| g.matches(text.as_bytes())),
                matches,
                "{entry}"
            );
        }
    }

    #[test]
    fn hostile_texts_are_bounded() {
        let began = std::time::Instant::now();
        let list = Globs::from_words([&*"*a".repeat(250), "*@*.x.example"]);
        for text in ["a".repeat(2_000) + "b", ".".repeat(2_000_000), "@.".repeat(1_000)] {
            assert!(!list.contains(text.as_bytes()));
        }
        assert!(began.elapsed() < std::time::Duration::from_millis(500));
    }
}
