//! Lists of mail addresses with wildcards, and their fast match.
//!
//! *Does:* keeps patterns in lower case, `*` for any octets and `?` for one, each with a value; finds those that match.
//! *Guarantees:* a pattern that ends in a domain costs nothing for addresses of other domains, whatever the size of the list;
//! matching one is bounded by [`PATTERN_OCTETS_MAX`] times [`ADDRESS_OCTETS_MAX`]. Longer addresses match nothing.

use std::collections::HashMap;

/// The longest pattern, in octets.
pub const PATTERN_OCTETS_MAX: usize = 512;
/// The longest address that is looked up, in octets.
pub const ADDRESS_OCTETS_MAX: usize = 2_048;

/// A list of addresses.
pub type AddressList = GlobMap<()>;

/// A list of addresses, each with domains of relays or signers. An empty domain is the address's own.
pub type PairedList = GlobMap<Vec<Box<[u8]>>>;

/// Patterns with wildcards, and a value for each.
#[derive(Debug, Clone, Default)]
pub struct GlobMap<V> {
    entries: Vec<Option<(Box<[u8]>, V)>>,
    by_pattern: HashMap<Box<[u8]>, usize>,
    /// By what follows the first `@` or `.` behind the last wildcard.
    by_tail: HashMap<Box<[u8]>, Vec<usize>>,
    /// Those without such a tail.
    loose: Vec<usize>,
    /// The most `@` and `.` in a key of `by_tail`.
    separators_max: usize,
}

impl<V: Default> GlobMap<V> {
    /// The value of a pattern, new or not. None for a pattern that is too long.
    pub fn entry(&mut self, pattern: &[u8]) -> Option<&mut V> {
        if pattern.len() > PATTERN_OCTETS_MAX {
            return None;
        }
        let pattern = normal(pattern);
        let at = *self.by_pattern.entry(pattern.clone()).or_insert(self.entries.len());
        if at == self.entries.len() {
            match tail(&pattern) {
                Some(tail) => {
                    self.separators_max = self.separators_max.max(tail.iter().filter(|b| separates(b)).count());
                    self.by_tail.entry(tail.into()).or_default().push(at);
                }
                None => self.loose.push(at),
            }
            self.entries.push(Some((pattern, V::default())));
        }
        Some(&mut self.entries.get_mut(at)?.as_mut()?.1)
    }

    /// Takes a pattern out, by what was put in.
    pub fn remove(&mut self, pattern: &[u8]) {
        let at = self.by_pattern.remove(&normal(pattern));
        at.and_then(|at| self.entries.get_mut(at)).into_iter().for_each(|entry| *entry = None);
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.by_pattern.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }

    /// The patterns, in lower case, in no order.
    pub fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.by_pattern.keys().map(|pattern| &**pattern)
    }

    /// Does a pattern match this address, whole?
    pub fn contains(&self, address: &[u8]) -> bool {
        let mut found = false;
        self.for_each_match(address, |_| found = true);
        found
    }

    /// Calls for the value of each pattern that matches this address, whole.
    pub fn for_each_match<'a>(&'a self, address: &[u8], mut call: impl FnMut(&'a V)) {
        if self.is_empty() || address.len() > ADDRESS_OCTETS_MAX {
            return;
        }
        let address = address.to_ascii_lowercase();
        let mut check = |at: &usize| {
            let entry = self.entries.get(*at).and_then(Option::as_ref);
            entry.filter(|(pattern, _)| glob(pattern, &address)).into_iter().for_each(|(_, value)| call(value));
        };
        self.loose.iter().for_each(&mut check);
        let separators = address.iter().enumerate().rev().filter(|(_, b)| separates(b)).map(|(at, _)| at);
        for at in separators.take(self.separators_max.saturating_add(1)) {
            let tail = address.get(at + 1..).unwrap_or_default();
            self.by_tail.get(tail).into_iter().flatten().for_each(&mut check);
        }
    }

    /// Does a pattern match somewhere in this text?
    pub fn finds_in(&self, text: &[u8]) -> bool {
        let text = text.get(..ADDRESS_OCTETS_MAX).unwrap_or(text).to_ascii_lowercase();
        let anywhere = |pattern: &[u8]| glob(&[b"*", pattern, b"*"].concat(), &text);
        self.entries.iter().flatten().any(|(pattern, _)| anywhere(pattern))
    }
}

impl AddressList {
    /// Adds a pattern. False if it is too long.
    pub fn add(&mut self, pattern: &[u8]) -> bool {
        self.entry(pattern).is_some()
    }
}

impl PairedList {
    /// Adds a domain to a pattern. False if that is too long.
    pub fn add_pair(&mut self, pattern: &[u8], domain: &[u8]) -> bool {
        let domain = domain.to_ascii_lowercase().into();
        self.entry(pattern).map(|domains| domains.push(domain)).is_some()
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = self.entries.iter().flatten();
        entries.flat_map(|(pattern, domains)| domains.iter().map(|domain| (&**pattern, &**domain)))
    }

    /// Takes a domain from a pattern, and the pattern with its last.
    pub fn remove_pair(&mut self, pattern: &[u8], domain: &[u8]) {
        let at = self.by_pattern.get(&normal(pattern));
        let Some(Some((_, domains))) = at.and_then(|at| self.entries.get_mut(*at)) else { return };
        domains.retain(|found| !found.eq_ignore_ascii_case(domain));
        if domains.is_empty() {
            self.remove(pattern);
        }
    }
}

/// In lower case. Three octets never match as themselves, as in the language.
pub fn normal(pattern: &[u8]) -> Box<[u8]> {
    let safe = |b: &u8| if matches!(b, 0 | b'\\' | b'(') { b'_' } else { b.to_ascii_lowercase() };
    pattern.iter().map(safe).collect()
}

fn separates(octet: &u8) -> bool {
    matches!(octet, b'@' | b'.')
}

/// What follows the first separator behind the last wildcard.
fn tail(pattern: &[u8]) -> Option<&[u8]> {
    let literal = pattern.rsplit(|b| matches!(b, b'*' | b'?')).next()?;
    let at = literal.iter().position(separates)?;
    literal.get(at + 1..)
}

/// Does the pattern match the whole text? `*` is any octets, `?` one.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while let Some(octet) = text.get(t) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(wanted), _) if wanted == octet || *wanted == b'?' => {
                p += 1;
                t += 1;
            }
            (_, Some((at, reach))) => {
                star = Some((at, reach + 1));
                p = at + 1;
                t = reach + 1;
            }
            _ => return false,
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> AddressList {
        let mut list = AddressList::default();
        patterns.iter().for_each(|pattern| assert!(list.add(pattern.as_bytes())));
        list
    }

    #[test]
    fn addresses_match() {
        let patterns = [
            "joe@one.example",
            "*@two.example",
            "*@*.three.example",
            "ann?@*",
            "*.four.example",
            "X(y@five.example",
            "*six.example",
            "noat*",
        ];
        let list = list(&patterns);
        assert_eq!(list.len(), patterns.len());
        for (address, expected) in [
            ("joe@one.example", true),
            ("JOE@One.example", true),
            ("jo@one.example", false),
            ("joe@one.example.org", false),
            ("x@two.example", true),
            ("@two.example", true),
            ("x@a.two.example", false),
            ("x@a.three.example", true),
            ("x@three.example", false),
            ("anna@b", true),
            ("ann@b", false),
            ("a@b.four.example", true),
            ("x(y@five.example", false),
            ("x_y@five.example", true),
            ("a@forty-six.example", true),
            ("noat", true),
            ("", false),
        ] {
            assert_eq!(list.contains(address.as_bytes()), expected, "{address}");
        }
        assert!(!list.contains(&[b"a.".repeat(100_000), b"x@two.example".to_vec()].concat()));
        assert!(list.contains(&[b"a.".repeat(500), b"x@two.example".to_vec()].concat()));
    }

    #[test]
    fn entries_come_and_go() {
        let mut list = list(&["*@a.example", "*@A.example"]);
        assert_eq!(list.len(), 1);
        list.remove(b"*@A.EXAMPLE");
        assert!(list.is_empty() && !list.contains(b"x@a.example"));
        assert!(list.add(b"*@a.example") && list.contains(b"x@a.example"));
        assert!(!list.add(&[b'x'; PATTERN_OCTETS_MAX + 1]));
        let mut pairs = PairedList::default();
        assert!(pairs.add_pair(b"*@a.example", b"One.example") && pairs.add_pair(b"*@a.example", b"two.example"));
        let mut found = Vec::new();
        pairs.for_each_match(b"x@a.example", |domains| found.extend(domains.iter().map(|d| d.to_vec())));
        assert_eq!(found, [b"one.example", b"two.example"]);
        pairs.remove_pair(b"*@a.example", b"ONE.example");
        assert_eq!(pairs.len(), 1);
        pairs.remove_pair(b"*@a.example", b"two.example");
        assert!(pairs.is_empty());
    }

    #[test]
    fn subjects_are_searched() {
        let mut subjects = AddressList::default();
        assert!(subjects.add(b"Weekly *port"));
        assert!(subjects.finds_in(b"Re: weekly sales REPORT of may") && !subjects.finds_in(b"weekly"));
    }

    #[test]
    fn hostile_globs_end() {
        let pattern = b"*a".repeat(PATTERN_OCTETS_MAX / 2);
        assert!(!glob(&pattern, &[vec![b'a'; ADDRESS_OCTETS_MAX], b"b".to_vec()].concat()));
        assert!(glob(&pattern, &[b'a'; 256]));
    }

    proptest::proptest! {
        #[test]
        fn the_index_finds_what_each_glob_matches(
            patterns in proptest::collection::vec("[ab.@*?]{0,6}", 1..6),
            address in "[ab.@]{0,10}",
        ) {
            let list = list(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
            let expected = patterns.iter().any(|pattern| glob(pattern.as_bytes(), address.as_bytes()));
            proptest::prop_assert_eq!(list.contains(address.as_bytes()), expected);
        }
    }
}
