//! Is the sender, the recipient or the Subject on a list? (SpamAssassin's WLBLEval and WelcomeListSubject.)

use std::sync::Arc;

use super::arguments::{Arguments, Eval};
use super::globs::Globs;
use super::mail::Mail;
use super::options::{Options, Vouched};

/// How a list says that an address may send from anywhere, so that no relay makes it forged.
const ANY_RELAY: &str = "welcomelist_allows_relays";

/// What became of an address that a relay must vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unlisted,
    Forged,
    Listed,
}

/// Is a sender on this list?
fn senders_on(list: Arc<Globs>) -> Eval {
    Eval::new(move |mail| !list.is_empty() && mail.senders().iter().any(|address| list.contains(address)))
}

/// Is a recipient on this list?
fn recipients_on(list: Arc<Globs>) -> Eval {
    Eval::new(move |mail| !list.is_empty() && mail.recipients().iter().any(|address| list.contains(address)))
}

/// The list that the first argument names.
fn named(arguments: &Arguments<'_>, options: &Options) -> Result<Arc<Globs>, String> {
    let name = arguments.text(0)?;
    options.lists.get(name).cloned().ok_or_else(|| format!("there is no list \"{name}\""))
}

/// `check_from_in_blocklist()`
pub fn from_in_blocklist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(senders_on(options.list("blocklist_from")))
}

/// `check_to_in_blocklist()`
pub fn to_in_blocklist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(recipients_on(options.list("blocklist_to")))
}

/// `check_to_in_welcomelist()`
pub fn to_in_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(recipients_on(options.list("welcomelist_to")))
}

/// `check_to_in_more_spam()`
pub fn to_in_more_spam(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(recipients_on(options.list("more_spam_to")))
}

/// `check_to_in_all_spam()`
pub fn to_in_all_spam(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(recipients_on(options.list("all_spam_to")))
}

/// `check_from_in_list(NAME)`
pub fn from_in_list(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    named(arguments, options).map(senders_on)
}

/// `check_to_in_list(NAME)`
pub fn to_in_list(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    named(arguments, options).map(recipients_on)
}

/// `check_replyto_in_list(NAME)`: the first address of Reply-To.
pub fn reply_to_in_list(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let list = named(arguments, options)?;
    Ok(Eval::new(move |mail| {
        let address = mail.first("Reply-To:addr");
        !address.is_empty() && list.contains(&address)
    }))
}

/// `check_subject_in_welcomelist()`
pub fn subject_in_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(subject_on(options.list("welcomelist_subject")))
}

/// `check_subject_in_blocklist()`
pub fn subject_in_blocklist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(subject_on(options.list("blocklist_subject")))
}

fn subject_on(list: Arc<Globs>) -> Eval {
    Eval::new(move |mail| {
        let subject = if list.is_empty() { Vec::new() } else { mail.value("Subject") };
        !subject.is_empty() && list.contains(&subject)
    })
}

/// The lists that a relay must vouch for: the site's own, and those that come with rules.
struct Vouching {
    unconditional: Arc<Globs>,
    own: Arc<Vec<Vouched>>,
    supplied: Arc<Vec<Vouched>>,
    any_relay: Arc<Globs>,
}

impl Vouching {
    fn new(options: &Options) -> Self {
        let vouched = |name: &str| options.vouched.get(name).cloned().unwrap_or_default();
        Vouching {
            unconditional: options.list("welcomelist_from"),
            own: vouched("welcomelist_from_rcvd"),
            supplied: vouched("def_welcomelist_from_rcvd"),
            any_relay: options.list(ANY_RELAY),
        }
    }

    fn own(&self, mail: &Mail<'_>) -> Standing {
        if self.unconditional.is_empty() && self.own.is_empty() {
            return Standing::Unlisted;
        }
        best(mail.senders(), |address| match self.unconditional.contains(address) {
            true => Standing::Listed,
            false => self.standing(&self.own, mail, address),
        })
    }

    fn supplied(&self, mail: &Mail<'_>) -> Standing {
        if self.supplied.is_empty() {
            return Standing::Unlisted;
        }
        best(mail.senders(), |address| self.standing(&self.supplied, mail, address))
    }

    fn standing(&self, list: &[Vouched], mail: &Mail<'_>, address: &[u8]) -> Standing {
        let address = address.to_ascii_lowercase();
        if mail.relays.is_empty() || address.len() > super::globs::TEXT_OCTETS_MAX {
            return Standing::Unlisted;
        }
        let mut found = Standing::Unlisted;
        for entry in list.iter().filter(|entry| entry.address.matches(&address)) {
            if mail.relays.iter().any(|relay| entry.place.has(relay)) {
                return Standing::Listed;
            }
            found = Standing::Forged;
        }
        if found == Standing::Forged && self.any_relay.contains(&address) { Standing::Unlisted } else { found }
    }
}

/// One that is listed is enough; one that is forged counts for more than those that aren't listed.
fn best(addresses: &[Vec<u8>], standing: impl Fn(&[u8]) -> Standing) -> Standing {
    let mut best = Standing::Unlisted;
    for address in addresses {
        match standing(address) {
            Standing::Listed => return Standing::Listed,
            Standing::Forged => best = Standing::Forged,
            Standing::Unlisted => {}
        }
    }
    best
}

/// `check_from_in_welcomelist()`
pub fn from_in_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let lists = Vouching::new(options);
    Ok(Eval::new(move |mail| lists.own(mail) == Standing::Listed))
}

/// `check_from_in_default_welcomelist()`
pub fn from_in_default_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let lists = Vouching::new(options);
    Ok(Eval::new(move |mail| lists.supplied(mail) == Standing::Listed))
}

/// `check_forged_in_welcomelist()`: listed, but sent by another relay.
pub fn forged_in_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let lists = Vouching::new(options);
    Ok(Eval::new(move |mail| lists.own(mail) == Standing::Forged && lists.supplied(mail) == Standing::Unlisted))
}

/// `check_forged_in_default_welcomelist()`
pub fn forged_in_default_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let lists = Vouching::new(options);
    Ok(Eval::new(move |mail| lists.supplied(mail) == Standing::Forged && lists.own(mail) == Standing::Unlisted))
}

#[cfg(test)]
mod tests {
    use super::super::mail::Relay;
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn options() -> Options {
        let mut options = Options::default();
        for (name, words) in [
            ("blocklist_from", "*@bad.example"),
            ("welcomelist_from", "ann@a.example"),
            ("welcomelist_to", "me@b.example"),
            ("BANKS", "*@*.bank.example"),
            (ANY_RELAY, "free@v.example"),
        ] {
            options.enlist(name, words.split(' '));
        }
        options.enlist_subject("blocklist_subject", "cheap *pills");
        for (name, address, relay) in [
            ("welcomelist_from_rcvd", "*@v.example", "[192.0.2]"),
            ("welcomelist_from_rcvd", "*@w.example", "w.example"),
            ("def_welcomelist_from_rcvd", "x@w.example", "elsewhere.example"),
        ] {
            assert_eq!(options.enlist_vouched(name, address, relay), Ok(()));
        }
        options
    }

    #[test]
    fn lists_are_asked() {
        for (call, from, hit) in [
            ("check_from_in_blocklist()", "x@bad.example", true),
            ("check_from_in_blacklist()", "x@BAD.example", true),
            ("check_from_in_blocklist()", "x@good.example", false),
            ("check_to_in_welcomelist()", "", true),
            ("check_to_in_blocklist()", "", false),
            ("check_to_in_more_spam()", "", false),
            ("check_to_in_all_spam()", "", false),
            ("check_from_in_list('BANKS')", "x@my.bank.example", true),
            ("check_from_in_list('BANKS')", "x@bank.example", false),
            ("check_to_in_list('welcomelist_to')", "", true),
            ("check_replyto_in_list('BANKS')", "", true),
            ("check_subject_in_blocklist()", "", true),
            ("check_subject_in_welcomelist()", "", false),
            ("check_from_in_welcomelist()", "x@a.example\nann@a.example", true),
            ("check_from_in_welcomelist()", "x@v.example", true),
            ("check_from_in_whitelist()", "x@w.example", false),
            ("check_forged_in_welcomelist()", "y@w.example", true),
            ("check_forged_in_welcomelist()", "x@w.example", false),
            ("check_forged_in_welcomelist()", "y@w.example\nx@v.example", false),
            ("check_forged_in_default_welcomelist()", "x@w.example", false),
            ("check_from_in_default_welcomelist()", "x@w.example", false),
        ] {
            let subject = ("Subject", "Very cheap blue PILLS");
            let header =
                [("From:addr", from), ("To:addr", "me@b.example"), ("Reply-To:addr", "x@y.bank.example"), subject];
            let mut parts = Parts::of(&header);
            parts.relays = vec![Relay { address: "192.0.2.1".parse().ok(), name: b"mx.v.example" }];
            assert_eq!(parts.ask(None, |mail| table::asked(call, &options(), mail) > 0), hit, "{call} {from}");
        }
        assert!(table::read("check_from_in_list", &["x".to_owned()], &options()).is_some_and(|eval| eval.is_err()));
        assert!(table::read("check_from_in_list", &[], &options()).is_some_and(|eval| eval.is_err()));
    }

    #[test]
    fn a_default_list_vouches_and_some_may_send_from_anywhere() {
        let mut options = options();
        assert_eq!(options.enlist_vouched("welcomelist_from_rcvd", "free@v.example", "[203.0.113.9]"), Ok(()));
        for (call, from, name, hit) in [
            ("check_from_in_default_welcomelist()", "x@w.example", "elsewhere.example", true),
            ("check_forged_in_welcomelist()", "x@v.example", "elsewhere.example", true),
            ("check_forged_in_welcomelist()", "free@v.example", "elsewhere.example", false),
            ("check_forged_in_default_welcomelist()", "x@w.example", "mx.w.example", false),
        ] {
            let mut parts = Parts::of(&[("From:addr", from)]);
            parts.relays = vec![Relay { address: "198.51.100.1".parse().ok(), name: name.as_bytes() }];
            assert_eq!(parts.ask(None, |mail| table::asked(call, &options, mail) > 0), hit, "{call} {from}");
        }
    }
}
