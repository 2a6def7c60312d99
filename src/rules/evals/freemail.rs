//! Mailboxes that anybody can have: the FreeMail evals.
//!
//! *Does:* knows the domains that give mailboxes away, and asks whether senders, the addresses of a header field, or the
//! addresses in the text are at one of them.
//! *Differs:* SpamAssassin 4.0.1 compiles the pattern argument of the first rule and then uses it for all of them, and takes
//! quoted addresses out of the text that body rules see afterwards. Here each rule has its own pattern, and the text stays.

use std::collections::HashSet;
use std::sync::Arc;

use super::arguments::{Arguments, Eval, Pattern};
use super::globs::Globs;
use super::mail::Mail;
use super::mailboxes::{self, TopLevelDomains};
use super::options::Options;
use crate::rules::preferences::{DomainSet, Freemail};

/// The most addresses that HTML anchors give.
const ANCHORS_MAX: usize = 20;
/// The most addresses that the text and the anchors give together.
const MENTIONED_MAX: usize = 40;

/// What is known of free mail.
#[derive(Debug, Clone)]
pub struct FreeMail {
    pub(super) domains: DomainSet,
    exempt: HashSet<Box<[u8]>>,
    exempt_lists: Vec<Arc<Globs>>,
    /// `freemail_max_body_emails`: at so many addresses in the text, it says nothing. 0 is no limit.
    pub body_addresses_max: usize,
    /// `freemail_max_body_freemails`: the same for free ones.
    pub body_free_addresses_max: usize,
    /// `freemail_skip_when_over_max`.
    pub skip_over_max: bool,
    /// `freemail_skip_bulk_envfrom`.
    pub skip_bulk: bool,
}

impl Default for FreeMail {
    fn default() -> Self {
        FreeMail {
            domains: DomainSet::default(),
            exempt: HashSet::new(),
            exempt_lists: Vec::new(),
            body_addresses_max: 5,
            body_free_addresses_max: 3,
            skip_over_max: true,
            skip_bulk: true,
        }
    }
}

/// The free addresses in a text.
#[derive(Debug, Default)]
pub struct Mentioned(Vec<Vec<u8>>);

impl FreeMail {
    /// What was read of rule files.
    pub fn of(read: &Freemail) -> Self {
        let mut known = FreeMail {
            body_addresses_max: usize::try_from(read.body_addresses_max).unwrap_or(usize::MAX),
            body_free_addresses_max: usize::try_from(read.body_freemails_max).unwrap_or(usize::MAX),
            skip_over_max: read.skip_when_over_max,
            skip_bulk: read.skip_bulk_envelope,
            domains: read.domains.clone(),
            ..FreeMail::default()
        };
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        // What is no domain or address was said when it was read.
        read.welcomelist.iter().for_each(|word| drop(known.add_exempt(&text(word))));
        known
    }

    /// Adds a word of `freemail_welcomelist`: an address or a domain that is not free. The error says what is wrong.
    pub fn add_exempt(&mut self, word: &str) -> Result<(), String> {
        let word = word.to_ascii_lowercase().into_bytes();
        let is_word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
        let joined = |w: &[u8]| matches!(w, [a, b'.' | b'@', b] if is_word(a) && is_word(b));
        if !word.windows(3).any(joined) {
            return Err(format!("\"{}\" is no address", word.escape_ascii()));
        }
        self.exempt.insert(word.into());
        Ok(())
    }

    /// Nothing on this list is free: `freemail_import_welcomelist_auth` and `freemail_import_def_welcomelist_auth`.
    pub fn exempt_list(&mut self, list: Arc<Globs>) {
        self.exempt_lists.push(list);
    }

    /// Without domains, no eval of this family hits.
    fn knows(&self) -> bool {
        !self.domains.is_empty()
    }

    /// Is this address, in lower case, free?
    fn is_free(&self, address: &[u8]) -> bool {
        let Some(domain) = address.rsplit(|octet| *octet == b'@').next().filter(|_| !address.is_empty()) else {
            return false;
        };
        // A bare domain is none that only looks like one on the list.
        let is_address = domain.len() < address.len();
        let listed = if is_address { self.domains.contains(domain) } else { self.domains.contains_exactly(domain) };
        listed
            && !self.exempt.contains(address)
            && !self.exempt.contains(domain)
            && !is_role(address)
            && !self.exempt_lists.iter().any(|list| list.contains(address))
    }
}

/// Nobody's own address: a function's, a notification's, or one that a forwarder made up.
fn is_role(address: &[u8]) -> bool {
    let Some(at) = address.iter().position(|octet| *octet == b'@') else { return false };
    let (local, _) = address.split_at_checked(at).unwrap_or_default();
    let hex = |text: &[u8], length: usize| text.len() == length && text.iter().all(u8::is_ascii_hexdigit);
    let roles = [&b"abuse"[..], b"support", b"sales", b"info", b"helpdesk", b"contact", b"kontakt"];
    roles.contains(&local)
        || is_master(local)
        || local.starts_with(b"undisclosed")
        || local.strip_prefix(b"request-").is_some_and(|id| hex(id, 16))
        || local == b"bounce-"
        || local == b"bounced-"
        || local.split_at_checked(8).is_some_and(|(start, rest)| hex(start, 8) && is_id_rest(rest))
        || is_rewritten(address, 2)
}

/// What follows the first eight digits of an identifier: `.`, and as many again; or groups of 4, 4, 4 and 12.
fn is_id_rest(rest: &[u8]) -> bool {
    let hex = |text: &[u8], length: usize| text.len() == length && text.iter().all(u8::is_ascii_hexdigit);
    let mut groups = rest.split(|octet| *octet == b'-');
    rest.strip_prefix(b".").is_some_and(|id| hex(id, 8))
        || (groups.next() == Some(b"")
            && [4, 4, 4, 12].iter().all(|length| groups.next().is_some_and(|g| hex(g, *length))))
            && groups.next().is_none()
}

fn is_master(local: &[u8]) -> bool {
    local.strip_suffix(b"master").is_some_and(|kind| [&b"post"[..], b"host", b"domain"].contains(&kind))
}

/// An address within an address: so many `=` before the last `@`, something around each.
fn is_rewritten(address: &[u8], signs: usize) -> bool {
    let before = address.iter().rposition(|octet| *octet == b'@').and_then(|at| address.get(..at)).unwrap_or_default();
    let mut from = 0;
    for _ in 0..signs {
        let sign = before.iter().enumerate().skip(from + 1).find(|(_, octet)| **octet == b'=').map(|(at, _)| at);
        let Some(at) = sign else { return false };
        from = at + 1;
    }
    from < before.len()
}

/// Does a machine send from this address? Replies to those don't tell anything.
fn is_bulk(sender: &[u8]) -> bool {
    let sender = sender.to_ascii_lowercase();
    let ats = sender.iter().enumerate().filter(|(_, octet)| **octet == b'@').map(|(at, _)| at).take(4);
    let mut locals = ats.filter_map(|at| sender.get(..at));
    locals.any(|local| {
        let ends = [&b"-request"[..], b"-bounce", b"-bounces", b"-admin", b"-owner"];
        let lists = [&b"sentto-"[..], b"owner-", b"return-", b"bounce-", b"bounced-", b"grbounce-", b"grbounced-"];
        is_master(local)
            || local == b"double-bounce"
            || ends.iter().any(|end| local.ends_with(end))
            || lists.iter().any(|start| local.strip_prefix(*start).is_some_and(|rest| !rest.is_empty()))
            || is_no_reply(local)
    }) || is_rewritten(&sender, 1)
}

/// `noreply`, `no.reply`, `donotreply`, at the end and not within a word. One letter up to t, `.`, `_` or a backquote may
/// stand between, but not `-`.
fn is_no_reply(local: &[u8]) -> bool {
    let Some(before) = local.strip_suffix(b"reply").or_else(|| local.strip_suffix(b"replies")) else { return false };
    let word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
    let bounded = |text: &[u8]| !text.last().is_some_and(word);
    joined(before, b"no").flatten().any(|rest| bounded(rest) || joined(rest, b"do").flatten().any(bounded))
}

/// What stands before this word at the end, if one octet may follow the word.
fn joined<'t>(text: &'t [u8], word: &'t [u8]) -> impl Iterator<Item = Option<&'t [u8]>> {
    let between = |octet: &u8| *octet == b'.' || (b'_'..=b't').contains(octet);
    let shorter = text.split_last().filter(|(last, _)| between(last)).map(|(_, rest)| rest);
    [text.strip_suffix(word), shorter.and_then(|text| text.strip_suffix(word))].into_iter()
}

/// `check_freemail_from([PATTERN])`: is a sender's address free?
pub fn from(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (list, pattern) = (options.freemail.clone(), arguments.pattern(0)?);
    Ok(Eval::new(move |mail| list.knows() && mail.senders().iter().any(|a| hits(&list, pattern.as_ref(), a))))
}

/// `check_freemail_header(FIELD, [PATTERN])`: is an address in that field free?
pub fn header(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (list, pattern) = (options.freemail.clone(), arguments.pattern(1)?);
    let field = arguments.text(0)?;
    let selector = if field.ends_with(":addr") { field.to_owned() } else { format!("{field}:addr") };
    Ok(Eval::new(move |mail| list.knows() && mail.values(&selector).iter().any(|a| hits(&list, pattern.as_ref(), a))))
}

fn hits(list: &FreeMail, pattern: Option<&Pattern>, address: &[u8]) -> bool {
    let address = address.to_ascii_lowercase();
    list.is_free(&address) && pattern.is_none_or(|pattern| pattern.is_match(&address))
}

/// `check_freemail_body([PATTERN])`: is an address in the text free?
pub fn body(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (list, known) = (options.freemail.clone(), options.top_level_domains.clone());
    let pattern = arguments.pattern(0)?;
    Ok(Eval::new(move |mail| {
        let matches = |address: &Vec<u8>| pattern.as_ref().is_none_or(|pattern| pattern.is_match(address));
        list.knows() && mentioned(mail, &list, &known).0.iter().any(matches)
    }))
}

/// `check_freemail_replyto('replyto' | 'reply')`: do replies go to a free address that is another one than the author's, or
/// than one in the text? With "reply", From must be free too, and counts where there is no Reply-To.
pub fn reply_to(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (list, known) = (options.freemail.clone(), options.top_level_domains.clone());
    let from_counts = match arguments.optional(0) {
        None | Some("replyto") => false,
        Some("reply") => true,
        Some(other) => return Err(format!("\"{other}\" is neither \"replyto\" nor \"reply\"")),
    };
    Ok(Eval::new(move |mail| list.knows() && replies_elsewhere(mail, &list, &known, from_counts)))
}

fn replies_elsewhere(mail: &Mail<'_>, list: &FreeMail, known: &TopLevelDomains, from_counts: bool) -> bool {
    if list.skip_bulk && mail.values("EnvelopeFrom").first().is_some_and(|sender| is_bulk(sender)) {
        return false;
    }
    let lower = |field| mail.values(field).iter().map(|a| a.to_ascii_lowercase()).collect::<Vec<_>>();
    let (from, reply_to) = (lower("From:addr"), lower("Reply-To:addr"));
    let is_free = |addresses: &[Vec<u8>]| addresses.iter().any(|address| list.is_free(address));
    let (from_is_free, reply_is_free) = (is_free(&from), is_free(&reply_to));
    let replies: HashSet<&Vec<u8>> = reply_to.iter().collect();
    if from_is_free && reply_is_free && !from.iter().any(|address| replies.contains(address)) {
        return true;
    }
    let asked = if reply_is_free { &reply_to } else { &from };
    let counts = if from_counts { from_is_free && (reply_to.is_empty() || reply_is_free) } else { reply_is_free };
    counts && mentioned(mail, list, known).0.iter().any(|found| asked.iter().any(|address| address != found))
}

/// The free addresses in the text and in its links; none if there are too many addresses to mean anything.
fn mentioned<'m>(mail: &'m Mail<'_>, list: &FreeMail, known: &TopLevelDomains) -> &'m Mentioned {
    mail.memo.mentioned.get_or_init(|| {
        let all = all_mentioned(mail, known);
        let free: Vec<Vec<u8>> = all.iter().filter(|address| list.is_free(address)).cloned().collect();
        let over = |count: usize, max: usize| max > 0 && count >= max;
        let too_many = over(all.len(), list.body_addresses_max) || over(free.len(), list.body_free_addresses_max);
        if list.skip_over_max && too_many { Mentioned::default() } else { Mentioned(free) }
    })
}

/// The addresses in the text and in its links, in lower case, each once.
fn all_mentioned(mail: &Mail<'_>, known: &TopLevelDomains) -> HashSet<Vec<u8>> {
    let mut all = HashSet::new();
    for anchor in (mail.anchors)() {
        let Some((scheme, rest)) = anchor.split_at_checked(7) else { continue };
        let found = mailboxes::find(rest, known).next().filter(|at| at.start == 0);
        if let Some(address) = found.and_then(|at| rest.get(at)).filter(|_| scheme.eq_ignore_ascii_case(b"mailto:")) {
            all.insert(address.to_ascii_lowercase());
        }
        if all.len() >= ANCHORS_MAX {
            break;
        }
    }
    for line in (mail.body)() {
        if memchr::memchr(b'@', line).is_none() {
            continue;
        }
        let bare = mailboxes::without_quoted(line, known);
        let line = bare.as_deref().unwrap_or(line);
        for at in mailboxes::find(line, known) {
            all.extend(line.get(at).map(<[u8]>::to_ascii_lowercase));
            if all.len() >= MENTIONED_MAX {
                return all;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn options() -> Options {
        let mut list = FreeMail::default();
        for word in ["free.example", "gratis.*"] {
            assert!(list.domains.add(word.as_bytes()));
        }
        assert_eq!(list.add_exempt("boss@free.example"), Ok(()));
        let top_level_domains = Arc::new(TopLevelDomains::from_words(["example", "com"]));
        Options { freemail: Arc::new(list), top_level_domains, ..Options::default() }
    }

    fn ask(call: &str, header: &[(&'static str, &'static str)], body: &'static str) -> bool {
        let mut parts = Parts::of(header);
        parts.body = vec![body.as_bytes()];
        parts.anchors = vec![b"MailTo:link@free.example?subject=x", b"mailto:(x@free.example"];
        if body.is_empty() {
            parts.anchors.clear();
        }
        parts.ask(None, |mail| table::asked(call, &options(), mail) > 0)
    }

    #[test]
    fn free_addresses_are_known() {
        let list = options().freemail;
        for (address, free) in [
            ("ann@free.example", true),
            ("ann@gratis.com", true),
            ("ann@gratis.co.uk", false),
            ("ann@x.free.example", false),
            ("boss@free.example", false),
            ("info@free.example", false),
            ("postmaster@free.example", false),
            ("master@free.example", true),
            ("undisclosed-recipients@free.example", false),
            ("request-0123456789abcdef@free.example", false),
            ("request-0123@free.example", true),
            ("bounce-@free.example", false),
            ("01234567.89abcdef@free.example", false),
            ("01234567-89ab-cdef-0123-456789abcdef@free.example", false),
            ("01234567-89ab-cdef-0123-456789abcdef-0@free.example", true),
            ("a+caf_=b=c@free.example", false),
            ("a=b@free.example", true),
            ("free.example", true),
            ("gratis.com", false),
            ("", false),
        ] {
            assert_eq!(list.is_free(address.as_bytes()), free, "{address}");
        }
        assert!(FreeMail::default().add_exempt("ab").is_err());
    }

    #[test]
    fn bulk_senders_are_known() {
        for (sender, bulk) in [
            ("ann@a.example", false),
            ("double-bounce@a.example", true),
            ("owner-x@a.example", true),
            ("owner-@a.example", false),
            ("x-owner@a.example", true),
            ("noreply@a.example", true),
            ("NoReply@a.example", true),
            ("x.noreply@a.example", true),
            ("xnoreply@a.example", false),
            ("no.reply@a.example", true),
            ("no-reply@a.example", false),
            ("donotreply@a.example", true),
            ("do_not_reply@a.example", false),
            ("do.notreplies@a.example", true),
            ("bounce+x=b.example@a.example", true),
            ("=x@a.example", false),
            ("", false),
        ] {
            assert_eq!(is_bulk(sender.as_bytes()), bulk, "{sender}");
        }
    }

    #[test]
    fn evals_ask_senders_fields_and_text() {
        let from = |address| [("From:addr", address)];
        for (call, header, body, hit) in [
            ("check_freemail_from()", &from("Ann@Free.example")[..], "", true),
            ("check_freemail_from('\\d@')", &from("ann@free.example"), "", false),
            ("check_freemail_from('\\d@')", &from("ann@a.example\nann7@free.example"), "", true),
            ("check_freemail_header('From')", &from("ann@free.example"), "", true),
            ("check_freemail_header('From:addr','^ann')", &from("ann@free.example"), "", true),
            ("check_freemail_header('To')", &from("ann@free.example"), "", false),
            ("check_freemail_body()", &[], "mail eve@free.example", true),
            ("check_freemail_body('^link')", &[], "no address", true),
            ("check_freemail_body('^eve')", &[], "no address", false),
            ("check_freemail_body()", &[], "a@a.com b@a.com c@a.com d@a.com", false),
            ("check_freemail_body()", &[], "a@free.example b@free.example", false),
            (
                "check_freemail_replyto()",
                &[("From:addr", "a@free.example"), ("Reply-To:addr", "b@free.example")],
                "",
                true,
            ),
            (
                "check_freemail_replyto()",
                &[("From:addr", "a@free.example"), ("Reply-To:addr", "a@free.example")],
                "",
                false,
            ),
            (
                "check_freemail_replyto()",
                &[("From:addr", "a@free.example"), ("Reply-To:addr", "a@free.example")],
                "x",
                true,
            ),
            ("check_freemail_replyto()", &from("a@free.example"), "x", false),
            (
                "check_freemail_replyto('reply')",
                &[("From:addr", "a@b.c"), ("Reply-To:addr", "b@free.example")],
                "x",
                false,
            ),
            ("check_freemail_replyto()", &[("From:addr", "a@b.c"), ("Reply-To:addr", "b@free.example")], "x", true),
            ("check_freemail_replyto('reply')", &from("a@free.example"), "x", true),
            ("check_freemail_replyto('reply')", &from("link@free.example"), "x", false),
            (
                "check_freemail_replyto('reply')",
                &[("From:addr", "a@free.example"), ("Reply-To:addr", "a@b.c")],
                "x",
                false,
            ),
            (
                "check_freemail_replyto('reply')",
                &[("From:addr", "a@free.example"), ("EnvelopeFrom", "noreply@b.c")],
                "x",
                false,
            ),
        ] {
            assert_eq!(ask(call, header, body), hit, "{call} {header:?} {body}");
        }
        assert!(table::read("check_freemail_replyto", &["x".to_owned()], &options()).is_some_and(|eval| eval.is_err()));
        let nothing = Parts::of(&from("ann@free.example"));
        assert_eq!(nothing.ask(None, |mail| table::asked("check_freemail_from()", &Options::default(), mail)), 0);
    }
}
