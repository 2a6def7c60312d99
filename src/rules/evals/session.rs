//! What the session found out about who sent a message: the evals of SPF, DKIM, ARC and ADSP that take arguments or lists.
//! Those that ask for one result stand in [`evidence`](crate::rules::evidence).
//!
//! *Guarantees:* without evidence none of them hits. A signer is the domain of `i=`, as SpamAssassin has it: that of `d=` or
//! below it (RFC 6376 section 3.5).
//! *Never does:* look up ADSP records, which are history (RFC 5617): only `adsp_override` counts.

use std::collections::HashSet;

use super::arguments::{Arguments, Eval};
use super::mail::Mail;
use super::options::Options;
use crate::authentication::MethodResult;
use crate::rules::evidence::{Evidence, Signatures, Signed};

/// Stands for every practice that asks for a signature.
const ANY_PRACTICE: &str = "NAD123";

/// Makes an eval of a question to the session.
fn asked(question: impl Fn(&Mail<'_>, &Evidence<'_>) -> bool + Send + Sync + 'static) -> Eval {
    Eval::new(move |mail| mail.evidence.is_some_and(|evidence| question(mail, evidence)))
}

/// Does this signature verify?
fn passes(signed: &Signed) -> bool {
    signed.result == MethodResult::Pass
}

/// Does it, with a key that is long enough to vouch for anybody?
fn vouches(signed: &Signed, bits_min: usize) -> bool {
    passes(signed) && signed.key_bits.is_none_or(|bits| bits >= bits_min)
}

/// Is this domain one of those in the arguments? `.a.example` and `*.a.example` mean a.example and all below it.
fn is_one_of(domain: &str, accepted: &[String]) -> bool {
    accepted.iter().any(|word| match word.strip_prefix("*.").or_else(|| word.strip_prefix('.')) {
        Some(parent) => domain.eq_ignore_ascii_case(parent) || is_below(domain, parent),
        None => domain.eq_ignore_ascii_case(word),
    })
}

fn is_below(domain: &str, parent: &str) -> bool {
    let at = domain.len().checked_sub(parent.len());
    let ends = at.and_then(|at| domain.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(parent));
    ends && at.and_then(|at| domain.get(..at)).is_some_and(|start| start.ends_with('.'))
}

/// The domains of the addresses in From, in lower case.
fn author_domains(mail: &Mail<'_>) -> HashSet<String> {
    let domain = |address: &Vec<u8>| domain_of(address.trim_ascii_end());
    mail.values("From:addr").iter().filter_map(domain).collect()
}

/// The domain of an address, in lower case.
fn domain_of(address: &[u8]) -> Option<String> {
    let at = address.iter().rposition(|octet| *octet == b'@')?;
    let domain = address.get(at.checked_add(1)?..).filter(|domain| !domain.is_empty())?;
    Some(String::from_utf8_lossy(domain).to_ascii_lowercase())
}

/// `check_dkim_signed([DOMAIN...])`: is there a signature, by one of these?
pub fn dkim_signed(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let accepted = arguments.rest(0);
    Ok(asked(move |_, evidence| match accepted.is_empty() {
        true => evidence.dkim.is_some_and(|found| found != Signatures::Absent),
        false => evidence.signatures.iter().any(|signed| is_one_of(&signed.signer, &accepted)),
    }))
}

/// `check_dkim_valid([DOMAIN...])`: does a signature verify, by one of these? A named signer needs a long key.
pub fn dkim_valid(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (accepted, bits_min) = (arguments.rest(0), options.dkim_minimum_key_bits);
    Ok(asked(move |_, evidence| match accepted.is_empty() {
        true => evidence.signatures.iter().any(passes),
        false => evidence.signatures.iter().any(|s| vouches(s, bits_min) && is_one_of(&s.signer, &accepted)),
    }))
}

/// `check_dkim_valid_author_sig([DOMAIN...])`: does an author domain's own signature verify?
pub fn dkim_valid_author(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let (accepted, bits_min) = (arguments.rest(0), options.dkim_minimum_key_bits);
    Ok(asked(move |mail, evidence| {
        let authors = if evidence.signatures.is_empty() { HashSet::new() } else { author_domains(mail) };
        evidence.signatures.iter().any(|signed| {
            let named = accepted.is_empty() || is_one_of(&signed.signer, &accepted);
            vouches(signed, bits_min) && authors.contains(&*signed.signer.to_ascii_lowercase()) && named
        })
    }))
}

/// `check_dkim_valid_envelopefrom()`: does a signature by the reverse-path's own domain verify?
pub fn dkim_valid_envelope_from(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let bits_min = options.dkim_minimum_key_bits;
    Ok(asked(move |mail, evidence| {
        let domain = if evidence.signatures.is_empty() { None } else { domain_of(&mail.first("EnvelopeFrom:addr")) };
        let by =
            |domain: &str, signed: &Signed| vouches(signed, bits_min) && signed.signer.eq_ignore_ascii_case(domain);
        domain.is_some_and(|domain| evidence.signatures.iter().any(|signed| by(&domain, signed)))
    }))
}

/// `check_dkim_testing()`: does the key of a signature that verifies say `t=y`?
pub fn dkim_testing(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(asked(|_, evidence| evidence.signatures.iter().any(|signed| passes(signed) && signed.testing)))
}

/// `check_dkim_dependable()`: was the whole message looked at? It always is, where DKIM was checked.
pub fn dkim_dependable(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(asked(|_, evidence| evidence.dkim.is_some()))
}

/// `check_dkim_adsp(PRACTICES, [DOMAIN...])`: is an author domain known for one of these practices, and doesn't its own
/// signature verify?
pub fn dkim_adsp(arguments: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    let wanted = match arguments.text(0)? {
        "*" => ANY_PRACTICE,
        letters => letters,
    };
    let (wanted, accepted, options) = (wanted.to_owned(), arguments.rest(1), options.clone());
    Ok(asked(move |mail, evidence| evidence.dkim.is_some() && unsigned(mail, evidence, &options, (&wanted, &accepted))))
}

/// `check_dkim_signall()`: `check_dkim_adsp('A')`.
pub fn dkim_signall(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    dkim_adsp(&Arguments(&["A".to_owned()]), options)
}

fn unsigned(mail: &Mail<'_>, evidence: &Evidence<'_>, options: &Options, asked: (&str, &[String])) -> bool {
    let (wanted, accepted) = asked;
    let authors = author_domains(mail);
    let practice = |domain: &String| {
        let excused = |signed: &Signed| {
            let known = vouches(signed, options.dkim_minimum_key_bits) || signed.result == MethodResult::TempError;
            known && signed.signer.eq_ignore_ascii_case(domain)
        };
        let qualified = domain.rsplit_once('.').is_some_and(|(rest, last)| !rest.is_empty() && is_top_level(last));
        if qualified && !evidence.signatures.iter().any(excused) { options.signing_practice(domain) } else { None }
    };
    let named = || authors.iter().any(|domain| is_one_of(domain, accepted));
    authors.iter().filter_map(practice).any(|letter| wanted.contains(letter)) && (accepted.is_empty() || named())
}

/// A letter or a hyphen each, two or more.
fn is_top_level(label: &str) -> bool {
    label.len() >= 2 && label.bytes().all(|octet| octet.is_ascii_alphabetic() || octet == b'-')
}

/// `check_arc_signed()`
pub fn arc_signed(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(asked(|_, evidence| evidence.arc.is_some_and(|result| result != MethodResult::None)))
}

/// `check_arc_valid()`
pub fn arc_valid(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(asked(|_, evidence| evidence.arc == Some(MethodResult::Pass)))
}

/// `check_spf_skipped_noenvfrom()`: is there no reverse-path for SPF?
pub fn spf_skipped(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(asked(|mail, _| mail.first("EnvelopeFrom:addr").is_empty()))
}

/// Is the reverse-path on one of these lists, and SPF a pass?
fn spf_listed(options: &Options, names: [&str; 2]) -> Eval {
    let lists = names.map(|name| options.list(name));
    asked(move |mail, evidence| {
        evidence.spf == Some(MethodResult::Pass) && lists.iter().any(|list| !list.is_empty()) && {
            let sender = mail.first("EnvelopeFrom:addr");
            !sender.is_empty() && lists.iter().any(|list| list.contains(&sender))
        }
    })
}

/// `check_for_spf_welcomelist_from()`
pub fn spf_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(spf_listed(options, ["welcomelist_from_spf", "welcomelist_auth"]))
}

/// `check_for_def_spf_welcomelist_from()`
pub fn spf_default_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(spf_listed(options, ["def_welcomelist_from_spf", "def_welcomelist_auth"]))
}

/// Is an author on one of these lists, and does a signature verify that the list accepts? The first list says by whom; the
/// second accepts the author's own domain.
fn dkim_listed(options: &Options, by_signer: &str, by_author: &str) -> Eval {
    let signers = options.signed.get(by_signer).cloned().unwrap_or_default();
    let (authors, bits_min) = (options.list(by_author), options.dkim_minimum_key_bits);
    asked(move |mail, evidence| {
        let good: Vec<&str> =
            evidence.signatures.iter().filter(|s| vouches(s, bits_min)).map(|signed| &*signed.signer).collect();
        let listed = |author: &Vec<u8>| {
            let author = author.to_ascii_lowercase();
            let own = domain_of(&author).unwrap_or_default();
            let is_own = |signer: &&str| signer.eq_ignore_ascii_case(&own);
            let by = |wanted: &str| {
                good.iter().any(|signer| if wanted.is_empty() { is_own(signer) } else { accepts(wanted, signer) })
            };
            (good.iter().any(is_own) && authors.contains(&author))
                || signers.iter().any(|(address, wanted)| by(wanted) && address.matches(&author))
        };
        !good.is_empty() && mail.values("From:addr").iter().any(listed)
    })
}

/// Does `welcomelist_from_dkim`'s second word accept this signer? `*.a.example` accepts all below a.example, not itself.
fn accepts(wanted: &str, signer: &str) -> bool {
    let wanted = wanted.rsplit_once('@').map_or(wanted, |(_, domain)| domain);
    match wanted.strip_prefix("*.").or_else(|| wanted.strip_prefix('.')) {
        Some(parent) => is_below(signer, parent),
        None => signer.eq_ignore_ascii_case(wanted),
    }
}

/// `check_for_dkim_welcomelist_from()`
pub fn dkim_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(dkim_listed(options, "welcomelist_from_dkim", "welcomelist_auth"))
}

/// `check_for_def_dkim_welcomelist_from()`
pub fn dkim_default_welcomelist(_: &Arguments<'_>, options: &Options) -> Result<Eval, String> {
    Ok(dkim_listed(options, "def_welcomelist_from_dkim", "def_welcomelist_auth"))
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    fn options() -> Options {
        let mut options = Options::default();
        options.enlist("welcomelist_from_spf", ["*@a.example"]);
        options.enlist("def_welcomelist_auth", ["*@*.a.example"]);
        for (address, signer) in [("*@a.example", Some("*.list.example")), ("ann@b.example", None)] {
            assert_eq!(options.enlist_signed("welcomelist_from_dkim", address, signer), Ok(()));
        }
        for (domain, practice) in [("a.example", "all"), ("*.b.example", "custom_low")] {
            assert_eq!(options.override_signing_practices(domain, Some(practice)), Ok(()));
        }
        options
    }

    fn signed(signer: &str, result: MethodResult, key_bits: usize) -> Signed {
        Signed { signer: signer.into(), result, key_bits: Some(key_bits), testing: key_bits == 4096 }
    }

    fn ask(call: &str, author: &'static str, signatures: Vec<Signed>) -> bool {
        let parts = Parts::of(&[("From:addr", author), ("EnvelopeFrom:addr", "x@a.example")]);
        let dkim = Some(if signatures.is_empty() { Signatures::Absent } else { Signatures::Invalid });
        let (spf, arc) = (Some(MethodResult::Pass), Some(MethodResult::Fail));
        let evidence = Evidence { dkim, signatures, spf, arc, ..Evidence::default() };
        assert_eq!(parts.ask(None, |mail| table::asked(call, &options(), mail)), 0, "{call} without a session");
        parts.ask(Some(&evidence), |mail| table::asked(call, &options(), mail) > 0)
    }

    #[test]
    fn signatures_are_asked() {
        use MethodResult::{Fail, Pass, TempError};
        for (call, author, signer, result, bits, hit) in [
            ("check_dkim_signed()", "x@a.example", "c.example", Fail, 2048, true),
            ("check_dkim_signed('C.example')", "x@a.example", "c.example", Fail, 2048, true),
            ("check_dkim_signed('b.example','d.example')", "x@a.example", "c.example", Fail, 2048, false),
            ("check_dkim_valid()", "x@a.example", "c.example", Pass, 512, true),
            ("check_dkim_verified()", "x@a.example", "c.example", Fail, 2048, false),
            ("check_dkim_valid('c.example')", "x@a.example", "c.example", Pass, 512, false),
            ("check_dkim_valid('*.c.example')", "x@a.example", "c.example", Pass, 2048, true),
            ("check_dkim_valid('.c.example')", "x@a.example", "x.c.example", Pass, 2048, true),
            ("check_dkim_valid('c.example')", "x@a.example", "x.c.example", Pass, 2048, false),
            ("check_dkim_valid_author_sig()", "y@b.example\nx@A.example", "a.example", Pass, 2048, true),
            ("check_dkim_valid_author_sig()", "x@a.example", "a.example", Pass, 512, false),
            ("check_dkim_valid_author_sig()", "x@a.example", "c.example", Pass, 2048, false),
            ("check_dkim_valid_author_sig('b.example')", "x@a.example", "a.example", Pass, 2048, false),
            ("check_dkim_valid_envelopefrom()", "x@b.example", "a.example", Pass, 2048, true),
            ("check_dkim_valid_envelopefrom()", "x@b.example", "b.example", Pass, 2048, false),
            ("check_dkim_testing()", "x@b.example", "b.example", Pass, 4096, true),
            ("check_dkim_testing()", "x@b.example", "b.example", Fail, 4096, false),
            ("check_dkim_dependable()", "x@b.example", "b.example", Fail, 4096, true),
            ("check_dkim_adsp('A')", "x@a.example", "a.example", Fail, 2048, true),
            ("check_dkim_adsp('A')", "x@a.example", "a.example", TempError, 2048, false),
            ("check_dkim_signall()", "x@a.example", "a.example", Pass, 2048, false),
            ("check_dkim_adsp('D')", "x@a.example", "c.example", Pass, 2048, false),
            ("check_dkim_adsp('*','.example')", "x@y.b.example", "c.example", Pass, 2048, true),
            ("check_dkim_adsp('*','c.example')", "x@y.b.example", "c.example", Pass, 2048, false),
            ("check_dkim_adsp('1')", "x@b.example", "c.example", Pass, 2048, false),
            ("check_for_dkim_welcomelist_from()", "x@a.example", "x.list.example", Pass, 2048, true),
            ("check_for_dkim_whitelist_from()", "x@a.example", "list.example", Pass, 2048, false),
            ("check_for_dkim_welcomelist_from()", "x@a.example", "x.list.example", Fail, 2048, false),
            ("check_for_dkim_welcomelist_from()", "ann@b.example", "b.example", Pass, 2048, true),
            ("check_for_dkim_welcomelist_from()", "bob@b.example", "b.example", Pass, 2048, false),
            ("check_for_def_dkim_welcomelist_from()", "x@y.a.example", "y.a.example", Pass, 2048, true),
            ("check_for_def_dkim_welcomelist_from()", "x@y.a.example", "a.example", Pass, 2048, false),
            ("check_for_spf_welcomelist_from()", "x@y.example", "c.example", Fail, 0, true),
            ("check_for_def_spf_welcomelist_from()", "x@y.example", "c.example", Fail, 0, false),
            ("check_spf_skipped_noenvfrom()", "x@y.example", "c.example", Fail, 0, false),
            ("check_arc_signed()", "x@y.example", "c.example", Fail, 0, true),
            ("check_arc_valid()", "x@y.example", "c.example", Fail, 0, false),
        ] {
            assert_eq!(ask(call, author, vec![signed(signer, result, bits)]), hit, "{call} {author} {signer}");
        }
        assert!(!ask("check_dkim_signed()", "x@a.example", vec![]));
        assert!(ask("check_dkim_adsp('A')", "x@a.example", vec![]));
        assert!(table::read("check_dkim_adsp", &[], &options()).is_some_and(|eval| eval.is_err()));
    }
}
