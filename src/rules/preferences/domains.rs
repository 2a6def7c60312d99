//! Sets of domains, some with wildcards inside a label.

use std::collections::HashSet;

/// The longest domain that is looked up, in octets.
pub const DOMAIN_OCTETS_MAX: usize = 255;

/// The most domains with wildcards.
pub const WILD_MAX: usize = 1_000;

/// Names in lower case.
pub type Names = HashSet<Box<[u8]>>;

/// Domains, hashed; those with `*` or `?` in a list. `*` stands for octets of one label, `?` for any octet.
#[derive(Debug, Clone, Default)]
pub struct DomainSet {
    exact: Names,
    wild: Vec<Box<[u8]>>,
}

impl DomainSet {
    /// Adds a domain. False if it has other characters than a domain and wildcards
    /// have, or there are too many with wildcards.
    pub fn add(&mut self, domain: &[u8]) -> bool {
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'*' | b'?');
        if domain.is_empty() || domain.len() > DOMAIN_OCTETS_MAX || !domain.iter().all(legal) {
            return false;
        }
        let domain: Box<[u8]> = domain.to_ascii_lowercase().into();
        if !domain.iter().any(|b| matches!(b, b'*' | b'?')) {
            self.exact.insert(domain);
        } else if !self.wild.contains(&domain) {
            if self.wild.len() >= WILD_MAX {
                return false;
            }
            self.wild.push(domain);
        }
        true
    }

    /// Is this domain, in lower case, in the set?
    pub fn contains(&self, domain: &[u8]) -> bool {
        let short = domain.len() <= DOMAIN_OCTETS_MAX;
        short && (self.exact.contains(domain) || self.wild.iter().any(|pattern| matches(pattern, domain)))
    }

    /// Is it in the set as it is, and not only by a wildcard?
    pub fn contains_exactly(&self, domain: &[u8]) -> bool {
        self.exact.contains(domain)
    }

    /// How many there are: without and with wildcards.
    pub fn len(&self) -> (usize, usize) {
        (self.exact.len(), self.wild.len())
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

fn matches(pattern: &[u8], domain: &[u8]) -> bool {
    let (mut p, mut d) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(octet) = domain.get(d) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, d));
                p += 1;
            }
            (Some(wanted), _) if wanted == octet || *wanted == b'?' => {
                p += 1;
                d += 1;
            }
            (_, Some((at, reach))) if domain.get(reach) != Some(&b'.') => {
                star = Some((at, reach + 1));
                p = at + 1;
                d = reach + 1;
            }
            _ => return false,
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match() {
        let mut set = DomainSet::default();
        for domain in ["Mail.example", "mail.example", "post.*", "p?st.example", "a*b.example", "*.tail.example"] {
            assert!(set.add(domain.as_bytes()));
        }
        assert_eq!(set.len(), (1, 4));
        for (domain, expected) in [
            ("mail.example", true),
            ("x.mail.example", false),
            ("post.example", true),
            ("post.co.example", false),
            ("past.example", true),
            ("ab.example", true),
            ("axxb.example", true),
            ("ax.b.example", false),
            ("x.tail.example", true),
            ("x.y.tail.example", false),
            ("", false),
        ] {
            assert_eq!(set.contains(domain.as_bytes()), expected, "{domain}");
        }
        for bad in ["", "a_b", "a b", "ä"] {
            assert!(!set.add(bad.as_bytes()), "{bad}");
        }
        assert!(!set.contains(&b"a.".repeat(200)));
    }
}
