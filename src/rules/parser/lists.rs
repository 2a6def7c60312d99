//! The statements that fill lists: addresses, hosts, domains.

use super::{Outcome, Parser, Problem};
use crate::rules::diagnostic::quoted;
use crate::rules::source::{self, Statement};

/// The most named lists of one kind.
const LISTS_MAX: usize = 10_000;
/// The most removals of hosts, counted for each list.
const REMOVALS_MAX: usize = 1_000_000;

fn missing() -> Problem {
    Problem::value("a value is missing")
}

fn too_long(word: &[u8]) -> Problem {
    Problem::value(format!("\"{}\" is too long", quoted(word)))
}

/// `(LIST) rest`.
fn list_and_rest(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = argument.strip_prefix(b"(")?;
    let end = inner.iter().position(|b| *b == b')').filter(|end| *end > 0)?;
    let rest = inner.get(end + 1..)?;
    let spaced = rest.first().is_some_and(source::is_space);
    spaced.then(|| inner.get(..end).map(|list| (list, source::trim(rest))))?
}

fn text(name: &[u8]) -> Box<str> {
    String::from_utf8_lossy(name).into()
}

impl Parser {
    /// `welcomelist_from address ...` and its kin: the directive is the name of the list.
    pub(super) fn addresses(&mut self, statement: &Statement) -> Outcome {
        self.add_addresses(statement.directive.as_bytes(), &statement.argument)
    }

    /// `enlist_addrlist (LIST) address ...`.
    pub(super) fn enlist_addresses(&mut self, statement: &Statement) -> Outcome {
        let (list, rest) = list_and_rest(&statement.argument).ok_or_else(missing)?;
        self.add_addresses(list, rest)
    }

    fn add_addresses(&mut self, list: &[u8], addresses: &[u8]) -> Outcome {
        let lists = &mut self.preferences.addresses;
        if source::trim(addresses).is_empty() || lists.len() >= LISTS_MAX {
            return Err(missing());
        }
        let list = lists.entry(text(list)).or_default();
        source::words(addresses).try_for_each(|word| list.add(word).then_some(()).ok_or_else(|| too_long(word)))
    }

    /// `unwelcomelist_from address ...` and its kin: from the list itself and from the one that came with the rules.
    pub(super) fn remove_addresses(&mut self, statement: &Statement) -> Outcome {
        let list = statement.directive.strip_prefix("un").unwrap_or_default();
        for list in [list.to_owned(), format!("def_{list}")] {
            let plain = self.preferences.addresses.get_mut(&*list);
            plain.into_iter().for_each(|list| statement.words().for_each(|word| list.remove(word)));
            let paired = self.preferences.paired.get_mut(&*list);
            paired.into_iter().for_each(|list| statement.words().for_each(|word| list.remove(word)));
        }
        Ok(())
    }

    /// `welcomelist_from_rcvd address relay`, `welcomelist_from_dkim address [signer]` and their kin.
    pub(super) fn pairs(&mut self, statement: &Statement) -> Outcome {
        let words: Vec<&[u8]> = statement.words().collect();
        let (address, domain) = match *words.as_slice() {
            [address, domain] => (address, domain),
            [address] if statement.directive.ends_with("_dkim") => (address, &b""[..]),
            _ => return Err(Problem::value("an address and a domain belong here")),
        };
        let list = self.preferences.paired.entry(statement.directive.as_str().into()).or_default();
        list.add_pair(address, domain).then_some(()).ok_or_else(|| too_long(address))
    }

    /// `unwelcomelist_from_dkim address [signer]`.
    pub(super) fn remove_pair(&mut self, statement: &Statement) -> Outcome {
        let (address, domain) = statement.name_and_rest();
        let list = statement.directive.strip_prefix("un").unwrap_or_default();
        for list in [list.to_owned(), format!("def_{list}")] {
            let list = self.preferences.paired.get_mut(&*list);
            list.into_iter().for_each(|list| list.remove_pair(address, domain));
        }
        Ok(())
    }

    /// `welcomelist_subject text`, `blocklist_subject text`: the text may have blanks in it.
    pub(super) fn subject(&mut self, statement: &Statement) -> Outcome {
        let list = match statement.directive.as_str() {
            "welcomelist_subject" => &mut self.preferences.welcomelist_subject,
            _ => &mut self.preferences.blocklist_subject,
        };
        list.add(&statement.argument).then_some(()).ok_or_else(|| too_long(&statement.argument))
    }

    /// `enlist_uri_host (LIST) host ...`, and those whose list is in their name.
    pub(super) fn uri_hosts(&mut self, statement: &Statement) -> Outcome {
        let (list, hosts) = match statement.directive.as_str() {
            "blocklist_uri_host" => (&b"BLOCK"[..], &*statement.argument),
            "welcomelist_uri_host" => (&b"WELCOME"[..], &*statement.argument),
            _ => list_and_rest(&statement.argument).ok_or_else(missing)?,
        };
        let lists = &mut self.preferences.uri_hosts;
        if lists.len() >= LISTS_MAX {
            return Err(Problem::value("there are too many lists"));
        }
        let list = lists.entry(text(list)).or_default();
        for word in source::words(hosts) {
            let host = word.strip_prefix(b"!").unwrap_or(word);
            list.insert(host.to_ascii_lowercase().into(), host.len() == word.len());
        }
        Ok(())
    }

    /// `delist_uri_host [(LIST)] host ...`.
    pub(super) fn delist_uri_hosts(&mut self, statement: &Statement) -> Outcome {
        let (list, hosts) = match list_and_rest(&statement.argument) {
            Some((list, hosts)) => (Some(text(list)), hosts),
            None => (None, &*statement.argument),
        };
        let lists = self.preferences.uri_hosts.iter_mut();
        for (_, hosts_of) in lists.filter(|(name, _)| list.as_ref().is_none_or(|list| list == *name)) {
            for word in source::words(hosts) {
                self.removals = self.removals.saturating_add(1);
                if self.removals > REMOVALS_MAX {
                    return Err(Problem::value("too many hosts are removed"));
                }
                let host = word.strip_prefix(b"!").unwrap_or(word).to_ascii_lowercase();
                hosts_of.remove(&*host);
            }
        }
        Ok(())
    }

    /// `freemail_domains domain ...`.
    pub(super) fn freemail_domains(&mut self, statement: &Statement) -> Outcome {
        let domains = &mut self.preferences.freemail.domains;
        let mut wrong = statement.words().filter(|word| !domains.add(word));
        let first = wrong.next().map(quoted);
        wrong.for_each(drop);
        first.map_or(Ok(()), |word| Err(Problem::value(format!("\"{word}\" is no domain"))))
    }

    /// `freemail_welcomelist address|domain ...`.
    pub(super) fn freemail_welcomelist(&mut self, statement: &Statement) -> Outcome {
        let names = statement.words().map(|word| word.to_ascii_lowercase().into());
        self.preferences.freemail.welcomelist.extend(names);
        Ok(())
    }

    /// `util_rb_tld name ...` to `util_rb_4tld a.b.c.d ...`.
    pub(super) fn suffixes(&mut self, statement: &Statement) -> Outcome {
        let labels = match statement.directive.as_str() {
            "util_rb_tld" => 1,
            "util_rb_2tld" => 2,
            "util_rb_3tld" => 3,
            _ => 4,
        };
        let legal = |word: &[u8]| {
            let mut parts = word.split(|b| *b == b'.');
            word.is_ascii() && parts.clone().count() == labels && parts.all(|part| !part.is_empty())
        };
        if let Some(word) = statement.words().find(|word| !legal(word)) {
            let what = format!("\"{}\" has not {labels} labels of ASCII characters", quoted(word));
            return Err(Problem::value(what));
        }
        if let Some(list) = self.preferences.suffixes.get_mut(labels - 1) {
            list.extend(statement.words().map(|word| Box::<[u8]>::from(word.to_ascii_lowercase())));
        }
        Ok(())
    }

    /// `uridnsbl_skip_domain domain ...`, `url_shortener host ...`.
    pub(super) fn names(&mut self, statement: &Statement) -> Outcome {
        let list = match statement.directive.as_str() {
            "uridnsbl_skip_domain" => &mut self.preferences.uri_skip_domains,
            _ => &mut self.preferences.url_shorteners,
        };
        list.extend(statement.words().map(|word| Box::<[u8]>::from(word.to_ascii_lowercase())));
        Ok(())
    }

    /// `clear_uridnsbl_skip_domain [domain ...]`, `clear_url_shortener [host ...]`.
    pub(super) fn clear_names(&mut self, statement: &Statement) -> Outcome {
        let list = match statement.directive.as_str() {
            "clear_uridnsbl_skip_domain" => &mut self.preferences.uri_skip_domains,
            _ => &mut self.preferences.url_shorteners,
        };
        match statement.argument.is_empty() {
            true => list.clear(),
            false => statement.words().for_each(|word| _ = list.remove(&*word.to_ascii_lowercase())),
        }
        Ok(())
    }

    /// `adsp_override domain [practice]`.
    pub(super) fn adsp_override(&mut self, statement: &Statement) -> Outcome {
        let (domain, practice) = statement.name_and_rest();
        let practice = match &*practice.to_ascii_lowercase() {
            b"" | b"discardable" => b'D',
            b"nxdomain" => b'N',
            b"unknown" => b'U',
            b"all" => b'A',
            b"custom_low" => b'1',
            b"custom_med" => b'2',
            b"custom_high" => b'3',
            other => return Err(Problem::value(format!("\"{}\" is no practice", quoted(other)))),
        };
        let domain = domain.strip_prefix(b"@").unwrap_or(domain).to_ascii_lowercase();
        self.preferences.adsp_override.insert(domain.into(), practice);
        Ok(())
    }
}
