//! Where each mailbox's Maildir is: a path with placeholders.
//!
//! *Guarantees:* what [`MailTemplate::expand`] makes is relative, and stays below the mail root for any local-part that
//! [`is_safe_component`] allows; domains are safe by their grammar (no `/`, no leading dot).

use std::path::PathBuf;
use std::str::FromStr;

use crate::address::Domain;

/// The longest path component in octets: NAME_MAX of Linux's file systems.
pub const COMPONENT_OCTETS_MAX: usize = 255;
const DOMAIN: &str = "{domain}";
const LOCAL_PART: &str = "{local_part}";

/// A path with `{domain}` and `{local_part}` in it. The part before the first placeholder is the mail root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTemplate {
    /// The mail root: an absolute path without placeholders.
    pub root: PathBuf,
    /// What follows below the root, with placeholders, one string a path component.
    pub components: Vec<String>,
}

impl MailTemplate {
    /// The path of one mailbox's Maildir, relative to the root.
    pub fn expand(&self, local_part: &str, domain: &Domain) -> PathBuf {
        self.components.iter().map(|component| fill(component, local_part, domain.as_str())).collect()
    }

    /// Do mailboxes of different domains get different paths?
    pub fn tells_domains_apart(&self) -> bool {
        self.components.iter().any(|component| component.contains(DOMAIN))
    }
}

impl FromStr for MailTemplate {
    type Err = String;

    /// Reads an absolute path. The error says what is wrong and what to do.
    fn from_str(text: &str) -> Result<Self, String> {
        let example = "Write a path such as \"/var/mail/{domain}/{local_part}/Maildir\".";
        let wrong = |what: &str| Err(format!("\"{}\" {what}. {example}", text.escape_debug()));
        if !text.starts_with('/') {
            return wrong("is not an absolute path");
        }
        if text.chars().any(char::is_control) {
            return wrong("has a control character in it");
        }
        let components: Vec<&str> = text.split('/').filter(|component| !component.is_empty()).collect();
        if components.iter().any(|component| matches!(*component, "." | "..")) {
            return wrong("has \".\" or \"..\" in it, which could lead out of the mail root");
        }
        if let Some(component) = components.iter().find(|component| fill(component, "", "").contains(['{', '}'])) {
            return wrong(&format!(
                "has an unknown placeholder in \"{component}\"; there are {DOMAIN} and {LOCAL_PART}"
            ));
        }
        if !components.iter().any(|component| component.contains(LOCAL_PART)) {
            return wrong(&format!("has no {LOCAL_PART}, so that all mailboxes would be one"));
        }
        let first = components.iter().position(|component| component.contains('{')).unwrap_or(0);
        let (root, below) = components.split_at(first);
        if root.is_empty() {
            return wrong("has no directory before its first placeholder, where all mail could be kept");
        }
        let root = PathBuf::from(format!("/{}", root.join("/")));
        Ok(MailTemplate { root, components: below.iter().map(ToString::to_string).collect() })
    }
}

/// Puts the values in, each placeholder once: braces in a value mean nothing.
fn fill(component: &str, local_part: &str, domain: &str) -> String {
    let local_parts = component.split(LOCAL_PART).map(|piece| piece.replace(DOMAIN, domain));
    local_parts.collect::<Vec<_>>().join(local_part)
}

/// May this local-part become (part of) a path component? No separator, no NUL or other control character, nothing that
/// is `.` or `..` or hidden (Maildir++ keeps folders under names with a leading dot), and not too long.
pub fn is_safe_component(local_part: &str) -> bool {
    let legal = |c: char| c.is_ascii() && !c.is_ascii_control() && c != '/';
    (1..=COMPONENT_OCTETS_MAX).contains(&local_part.len())
        && !local_part.starts_with('.')
        && local_part.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, local_part: &str) -> String {
        let template: MailTemplate = template.parse().unwrap();
        let below = template.expand(local_part, &Domain::parse("example.org").unwrap());
        format!("{} {}", template.root.display(), below.display())
    }

    #[test]
    fn a_template_has_a_root_and_a_path_for_each_mailbox() {
        assert_eq!(expand("/var/mail/{domain}/{local_part}/Maildir", "alice"), "/var/mail example.org/alice/Maildir");
        assert_eq!(expand("/m//{local_part}/", "alice"), "/m alice");
        assert_eq!(expand("/m/u-{local_part}/{domain}", "a"), "/m u-a/example.org");
        assert_eq!(expand("/m/{local_part}", "{domain}{local_part}"), "/m {domain}{local_part}");
    }

    #[test]
    fn what_could_mix_or_lose_mailboxes_is_refused() {
        for text in [
            "",
            "mail/{local_part}",
            "/{local_part}",
            "/mail",
            "/mail/{domain}",
            "/mail/{user}/{local_part}",
            "/mail/{local_part",
            "/mail/../{local_part}",
            "/mail/./{local_part}",
            "/mail/{local_part}/\0",
        ] {
            assert!(text.parse::<MailTemplate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn local_parts_that_are_not_file_names_are_known() {
        for unsafe_one in ["", ".", "..", ".hidden", "a/b", "/", "a\0", "a\n", "\u{7f}", "\u{fc}", &"a".repeat(256)] {
            assert!(!is_safe_component(unsafe_one), "{unsafe_one:?}");
        }
        for safe in ["a", "a..b", "a b", "a:b", "-", &"a".repeat(255)] {
            assert!(is_safe_component(safe), "{safe:?}");
        }
    }
}
