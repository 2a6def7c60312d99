//! One row for each way in which each method can end: what is said of it, and what the sender is advised to do.

use MethodResult::*;

use super::super::spf::{Matched, Problem};
use super::super::{ArcChain, ArcSet, Dkim, Dmarc, DmarcPolicy, Iprev, Spf, SpfIdentity};
use super::*;

const CLIENT: &str = "192.0.2.1";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn nothing() -> Authentication {
    Authentication { authors: Authors::One(domain("example.org")), ..Authentication::none(CLIENT.parse().unwrap()) }
}

/// The findings of one method.
fn findings(found: &Authentication, method: &str) -> Vec<Finding> {
    found.explain().into_iter().filter(|finding| finding.method == method).collect()
}

/// Has the finding these words, and the advice those?
#[track_caller]
fn check(finding: &Finding, result: MethodResult, says: &[&str], advice: &str) {
    assert_eq!(finding.result, result, "{finding:#?}");
    let text = finding.says.join("\n");
    says.iter().for_each(|part| assert!(text.contains(part), "{part}: {finding:#?}"));
    assert_well_formed(finding);
    match advice {
        "" => assert_eq!(finding.advice, Option::None),
        advice => {
            assert!(finding.advice.as_ref().is_some_and(|given| given.contains(advice)), "{advice}: {finding:#?}")
        }
    }
}

/// What is not well has an advice, unless nothing was checked; and nothing in it can break a terminal or a line.
#[track_caller]
fn assert_well_formed(finding: &Finding) {
    let lines = || finding.says.iter().chain(&finding.advice).chain([&finding.subject]);
    assert!(!finding.says.is_empty(), "{finding:#?}");
    assert!(lines().all(|line| line.len() <= LINE_OCTETS_MAX && line.bytes().all(|b| (b' '..=b'~').contains(&b))));
    assert!(finding.says.len() <= LINES_MAX);
    let unchecked = finding.result == None && finding.says[0].starts_with("Not checked");
    assert!(finding.advice.is_some() || finding.result == Pass || unchecked, "{finding:#?}");
}

fn spf(result: MethodResult, matched: Option<(&str, Option<&str>)>, problem: Option<Problem>) -> Spf {
    let matched =
        matched.map(|(domain, directive)| Matched { domain: domain.into(), directive: directive.map(Into::into) });
    let reason = problem.as_ref().map(Problem::reason);
    Spf {
        result,
        domain: Some(domain("example.org")),
        reason,
        matched,
        problem,
        ..Spf::none(SpfIdentity::MailFrom, reason)
    }
}

#[test]
fn spf_names_the_record_and_the_term() {
    for (result, whose, directive, says, advice) in [
        (
            Pass,
            "example.org",
            Some("ip4:192.0.2.0/24"),
            "ip4:192.0.2.0/24 in the record of example.org matches 192.0.2.1",
            "",
        ),
        (
            Pass,
            "spf.example.net",
            Some("mx"),
            "the record of spf.example.net, to which that of example.org redirects",
            "",
        ),
        (Pass, "example.org", Some("+all"), "Only +all", "lets every address send"),
        (
            Fail,
            "example.org",
            Some("-all"),
            "Only -all in the record of example.org matches 192.0.2.1",
            "add ip4:192.0.2.1 to",
        ),
        (Fail, "example.org", Some("-a:x.example.org"), "-a:x.example.org in", "take -a:x.example.org out of"),
        (SoftFail, "example.org", Some("~ALL"), "Only ~ALL", "add ip4:192.0.2.1 to the SPF record of example.org"),
        (Neutral, "example.org", Some("?all"), "Only ?all", "add ip4:192.0.2.1"),
        (Neutral, "example.org", Option::None, "ends without all", "end it with -all"),
    ] {
        let found = Authentication { spf: spf(result, Some((whose, directive)), Option::None), ..nothing() };
        let [finding] = &findings(&found, "spf")[..] else { panic!("one identity") };
        assert_eq!(finding.subject, "MAIL FROM example.org");
        check(finding, result, &[says], advice);
    }
    let six = Authentication { iprev: Iprev::none("2001:db8::1".parse().unwrap()), ..nothing() };
    let found = Authentication { spf: spf(Fail, Some(("example.org", Some("-all"))), Option::None), ..six };
    check(&findings(&found, "spf")[0], Fail, &["2001:db8::1"], "add ip6:2001:db8::1 to");
}

/// Every problem. The match in it makes the compiler complain when there is a new one.
fn problems() -> Vec<(Problem, MethodResult, &'static str, &'static str)> {
    use Problem::*;
    let at = || "spf.example.net".into();
    let none = MethodResult::None;
    let all = vec![
        (NoDomain, none, "no domain that could have", "at least two labels"),
        (
            NoRecord,
            none,
            "example.org has no SPF record",
            "Publish an SPF record at example.org that has 192.0.2.1 in it",
        ),
        (
            NoRecordAt { domain: at() },
            PermError,
            "leads to spf.example.net",
            "Publish an SPF record at spf.example.net",
        ),
        (
            SeveralRecords { domain: at() },
            PermError,
            "spf.example.net has more than one",
            "Merge the SPF records of spf.example.net",
        ),
        (Syntax { domain: at(), term: "ip4:300.1.1.1".into() }, PermError, "ip4:300.1.1.1", "Correct ip4:300.1.1.1 in"),
        (TooLarge, PermError, "more TXT records", "Remove TXT records"),
        (TooManyLookups, PermError, "more than 10 terms", "by ip4 and ip6"),
        (TooManyVoidLookups, PermError, "More than 2 terms", "Remove terms"),
        (TooManyExchanges { domain: at() }, PermError, "spf.example.net", "Replace mx for spf.example.net"),
        (Lookup, TempError, "failed", "name servers answer for example.org"),
        (Deadline, TempError, "too long", "answer quickly"),
    ];
    for (problem, ..) in &all {
        match problem {
            NoDomain | NoRecord | NoRecordAt { .. } | SeveralRecords { .. } | Syntax { .. } | TooLarge => {}
            TooManyLookups | TooManyVoidLookups | TooManyExchanges { .. } | Lookup | Deadline => {}
        }
    }
    all
}

#[test]
fn spf_names_what_is_wrong_with_a_policy() {
    for (problem, result, says, advice) in problems() {
        let helo = Spf { identity: SpfIdentity::Helo, ..spf(result, Option::None, Some(problem)) };
        let found = Authentication { spf_helo: Some(helo), ..nothing() };
        let [_, finding] = &findings(&found, "spf")[..] else { panic!("two identities") };
        assert_eq!(finding.subject, "HELO example.org");
        check(finding, result, &[says], advice);
    }
}

#[test]
fn spf_that_was_not_checked_says_so() {
    let literal = Spf::none(SpfIdentity::Helo, Some("an address literal has no SPF record"));
    for (spf, says) in [
        (Spf::none(SpfIdentity::MailFrom, Option::None), "Not checked."),
        (literal, "Not checked: an address literal has no SPF record."),
    ] {
        check(&findings(&Authentication { spf, ..nothing() }, "spf")[0], None, &[says], "");
    }
    let bare = Spf { result: Fail, ..Spf::none(SpfIdentity::MailFrom, Option::None) };
    check(&findings(&Authentication { spf: bare, ..nothing() }, "spf")[0], Fail, &[], "Check the SPF record");
}

fn dkim(result: MethodResult, reason: Option<&'static str>) -> Dkim {
    Dkim {
        result,
        domain: Some(domain("example.org")),
        selector: Some("s1".to_owned()),
        identity: Option::None,
        algorithm: Some("rsa-sha256"),
        signature: Some("abcdefgh".to_owned()),
        reason,
        testing: false,
        key_bits: Some(2_048),
    }
}

#[test]
fn dkim_says_why_a_signature_does_not_count() {
    const KEY: &str = "s1._domainkey.example.org";
    for (result, reason, advice) in [
        (Policy, "rsa-sha1 is not accepted", "Sign with rsa-sha256"),
        (Policy, "l= is not accepted", "Sign without l="),
        (Fail, "l= is beyond the end of the body", "no more than the body has"),
        (Policy, "the key is for testing: t=y", "Remove t=y from the key at s1._domainkey.example.org"),
        (
            PermError,
            "the key is of an unknown type or too short",
            "RSA key of 2048 bits or an Ed25519 key at s1._domainkey",
        ),
        (PermError, "x= is not after t=", "later than t="),
        (Fail, "the signature has expired", "x= allows"),
        (Fail, "the body was changed", "a mailing list that adds to it has to sign itself"),
        (Fail, "the signature does not verify", "with the private key of what s1._domainkey.example.org publishes"),
        (PermError, "the key was revoked", "the one at s1._domainkey.example.org is empty"),
        (PermError, "no such key", "Publish the public key as a TXT record at s1._domainkey.example.org"),
        (PermError, "the key is not for this use", "list sha256 in h= and email or * in s="),
        (PermError, "the key cannot be understood", "Correct the key record at s1._domainkey.example.org"),
        (PermError, "From is not signed", "List From in h="),
        (PermError, "i= is not within d=", "whose domain is example.org or below it, or without"),
        (PermError, "the header is too large", "smaller header"),
        (PermError, "h= lists too many names", "once or twice"),
        (PermError, "d= is not a domain", "a domain name in d="),
        (PermError, "s= is not a selector", "a selector in s="),
        (PermError, "v= is not 1", "v=1"),
        (Policy, "the key is too short", "RSA key of 2048 bits"),
        (Policy, "the key is too long", "RSA key of 2048 bits"),
        (PermError, "the key is of an unknown type", "k=rsa or k=ed25519 at s1._domainkey.example.org"),
        (PermError, "there are several keys", "Publish one key at s1._domainkey.example.org"),
        (PermError, "the key is not for this algorithm", "Sign with the algorithm of the key at s1._domainkey"),
        (PermError, "the key is not for this hash", "list sha256 in h="),
        (PermError, "the key is not for mail", "list email or * in s="),
        (PermError, "the key is not for domains below d=, and i= is one", "i= at example.org itself"),
        (PermError, "the signature is too large", "shorter DKIM-Signature field"),
        (PermError, "a= is missing", "RFC 6376 section 3.5"),
        (PermError, "bh= is missing or no base 64", "RFC 6376 section 3.5"),
        (PermError, "i= cannot be understood", "RFC 6376 section 3.5"),
        (PermError, "x= is not a time", "RFC 6376 section 3.5"),
        (PermError, "the signature cannot be understood", "RFC 6376 section 3.5"),
        (
            TempError,
            "the key could not be looked up",
            "name servers of example.org answer for s1._domainkey.example.org",
        ),
        (TempError, "looking the key up took too long", "name servers of example.org"),
        (
            PermError,
            "words of another day",
            "Correct the DKIM-Signature field and the key at s1._domainkey.example.org",
        ),
        (Policy, "words of another day", "Sign with rsa-sha256 and a key of 2048 bits"),
        (Fail, "words of another day", "after the last change"),
    ] {
        let found = Authentication { dkim: vec![dkim(result, Some(reason))], ..nothing() };
        let [finding] = &findings(&found, "dkim")[..] else { panic!("one signature") };
        assert_eq!(finding.subject, "d=example.org s=s1");
        check(finding, result, &[reason, KEY, "rsa-sha256, 2048 bits"], advice);
    }
}

#[test]
fn dkim_goes_by_the_key_however_the_reason_is_worded() {
    let short = Dkim { key_bits: Some(768), ..dkim(Policy, Some("words of another day")) };
    let testing = Dkim { testing: true, ..dkim(Policy, Some("words of another day")) };
    let broken = Dkim { testing: true, ..dkim(Fail, Some("the body was changed")) };
    let nameless =
        Dkim { domain: Option::None, selector: Option::None, algorithm: Option::None, ..dkim(PermError, Option::None) };
    let ed25519 =
        Dkim { key_bits: Some(256), algorithm: Some("ed25519-sha256"), ..dkim(Fail, Some("the body was changed")) };
    for (dkim, says, advice) in [
        (short, "768 bits", "Replace the 768-bit key at s1._domainkey.example.org by one of 2048 bits"),
        (testing, "t=y: the domain is testing", "Remove t=y from the key at s1._domainkey.example.org"),
        (broken, "t=y: the domain is testing", "last change to the body"),
        (nameless, "Key unknown", "selector._domainkey.domain"),
        (ed25519, "ed25519-sha256, 256 bits", "last change to the body"),
    ] {
        let result = dkim.result;
        check(&findings(&Authentication { dkim: vec![dkim], ..nothing() }, "dkim")[0], result, &[says], advice);
    }
}

#[test]
fn dkim_that_passes_and_dkim_that_is_not_there() {
    let passed = Dkim { identity: Some("@mail.example.org".to_owned()), ..dkim(Pass, Option::None) };
    let found = Authentication { dkim: vec![passed], signatures_ignored: 3, ..nothing() };
    let [passed, ignored] = &findings(&found, "dkim")[..] else { panic!("the signature, and the rest") };
    check(passed, Pass, &["The signature verifies.", "Signed for i=@mail.example.org."], "");
    check(ignored, None, &["at most 10"], "Remove signatures");
    assert_eq!(ignored.subject, "3 more signatures");
    check(&findings(&nothing(), "dkim")[0], None, &["no DKIM signature"], "Sign with DKIM as d=example.org.");
    let nobody = Authentication { authors: Authors::Several, ..nothing() };
    check(&findings(&nobody, "dkim")[0], None, &["no DKIM signature"], "domain of the author");
}

fn set(instance: u32, sealer: &str, author: Option<&str>) -> ArcSet {
    ArcSet {
        instance,
        sealer: Some(domain(sealer)),
        selector: Some("arc".to_owned()),
        dmarc_passed_for: author.map(domain),
    }
}

#[test]
fn arc_says_who_sealed_what() {
    assert_eq!(findings(&nothing(), "arc"), [], "nobody has to seal");
    let sets = vec![set(1, "example.net", Some("example.org")), set(2, "list.example.com", Option::None)];
    let first = "Set 1: example.net (key arc._domainkey.example.net) says that DMARC passed for example.org.";
    let second = "Set 2: list.example.com (key arc._domainkey.list.example.com) says of no author that DMARC passed.";
    for (result, oldest_pass, reason, says, advice) in [
        (Pass, Some(0), Option::None, "every message signature in it verifies", ""),
        (Pass, Some(2), Option::None, "last changed by the hop of set 2", ""),
        (Pass, Option::None, Option::None, "The chain holds.", ""),
        (
            Fail,
            Option::None,
            Some("a seal does not verify"),
            "A seal does not verify.",
            "list.example.com, and each hop before it, has to seal",
        ),
        (
            Fail,
            Option::None,
            Some("the body was changed since the newest set was added"),
            "The body was changed since",
            "Whoever changes the message behind list.example.com has to seal it again",
        ),
        (Fail, Option::None, Some("a key is too short"), "A key is too short.", "RSA key of 2048 bits"),
        (
            Fail,
            Option::None,
            Some("a sealer says that the chain was broken (cv=fail)"),
            "(cv=fail).",
            "DKIM signature of the author",
        ),
        (
            TempError,
            Option::None,
            Some("a key could not be looked up"),
            "A key could not be looked up",
            "name servers of each sealer",
        ),
        (PermError, Option::None, Option::None, "broken", "list.example.com, and each hop"),
    ] {
        let arc = ArcChain { result, sets: sets.clone(), oldest_pass, reason };
        let [finding] = &findings(&Authentication { arc, ..nothing() }, "arc")[..] else { panic!("one chain") };
        assert_eq!(finding.subject, "2 sets");
        check(finding, result, &[says, first, second], advice);
    }
    let many = (1..=50).map(|instance| set(instance, "example.net", Option::None)).collect();
    let arc = ArcChain { result: Pass, sets: many, ..ArcChain::none() };
    let many = Authentication { arc, ..nothing() };
    check(&findings(&many, "arc")[0], Pass, &["Set 50: ", "Set 41: ", "40 older sets are not listed"], "");
    let untold = ArcChain { result: Fail, ..ArcChain::none() };
    check(&findings(&Authentication { arc: untold, ..nothing() }, "arc")[0], Fail, &["broken"], "whoever sealed last");
}

fn dmarc(result: MethodResult) -> Dmarc {
    Dmarc {
        result,
        policy: Some(DmarcPolicy::Reject),
        policy_domain: Some(domain("example.org")),
        organizational_domain: Some(domain("example.org")),
        record: Some("v=DMARC1; p=reject".to_owned()),
        tag: Some("p"),
        ..Dmarc::none(Some(domain("example.org")), Option::None)
    }
}

/// SPF for one domain, DKIM for another; empty: none.
fn authenticated(spf_domain: &str, dkim_domain: &str, dmarc: Dmarc) -> Authentication {
    let mut found = Authentication { dmarc, ..nothing() };
    if !spf_domain.is_empty() {
        found.spf = Spf { domain: Some(domain(spf_domain)), ..spf(Pass, Some((spf_domain, Some("mx"))), Option::None) };
    }
    if !dkim_domain.is_empty() {
        found.dkim = vec![Dkim { domain: Some(domain(dkim_domain)), ..dkim(Pass, Option::None) }];
    }
    found
}

#[test]
fn dmarc_says_who_was_aligned() {
    let (spf_aligned, dkim_aligned) =
        (|| Dmarc { spf_aligned: true, ..dmarc(Pass) }, || Dmarc { dkim_aligned: true, ..dmarc(Pass) });
    let strict = || Dmarc { spf_strict: true, dkim_strict: true, ..dmarc(Fail) };
    for (spf, dkim, dmarc, says, advice) in [
        ("example.org", "", spf_aligned(), "SPF passed for example.org, which is the author domain: aligned.", ""),
        (
            "b.example.org",
            "",
            spf_aligned(),
            "SPF passed for b.example.org, which is aligned (relaxed): within example.org",
            "",
        ),
        ("", "example.org", dkim_aligned(), "DKIM passed for example.org, which is the author domain: aligned.", ""),
        ("", "m.example.org", dkim_aligned(), "DKIM passed for m.example.org, which is aligned (relaxed)", ""),
        (
            "b.example.net",
            "",
            dmarc(Fail),
            "SPF passed for b.example.net, which is not within the organizational domain example.org",
            "Sign with DKIM as d=example.org, or send with a reverse-path at example.org or below it",
        ),
        (
            "",
            "example.net",
            dmarc(Fail),
            "DKIM passed for example.net, which is not within the organizational domain",
            "Sign with DKIM as d=example.org",
        ),
        (
            "b.example.org",
            "",
            dmarc(Fail),
            "within example.org, but has an organizational domain of its own",
            "d=example.org",
        ),
        (
            "b.example.org",
            "",
            strict(),
            "is not example.org itself, as strict alignment (aspf=s) wants it",
            "at example.org itself",
        ),
        (
            "",
            "m.example.org",
            strict(),
            "is not example.org itself, as strict alignment (adkim=s) wants it",
            "Sign with DKIM as d=example.org",
        ),
        ("", "", dmarc(Fail), "SPF did not pass: none.\nNo DKIM signature.", "Sign with DKIM as d=example.org"),
    ] {
        let found = authenticated(spf, dkim, dmarc);
        let [finding] = &findings(&found, "dmarc")[..] else { panic!("one author domain") };
        let record = "Record at _dmarc.example.org: v=DMARC1; p=reject\nPolicy: reject, by p=.\nOrganizational domain: example.org.";
        check(finding, found.dmarc.result, &[record, says], advice);
        assert_eq!(finding.subject, "example.org");
    }
}

#[test]
fn dmarc_names_the_tag_and_the_signature_to_mend() {
    let author = || Some(domain("mail.example.org"));
    for (spf, spf_aligned, says) in [
        (
            "b.example.org",
            true,
            "b.example.org, which is aligned (relaxed): within example.org, as mail.example.org is.",
        ),
        ("b.example.net", false, "which is not within example.org, the organizational domain of mail.example.org: not"),
    ] {
        let result = if spf_aligned { Pass } else { Fail };
        let found = authenticated(spf, "", Dmarc { author_domain: author(), spf_aligned, ..dmarc(result) });
        let advice = if spf_aligned { "" } else { "Sign with DKIM as d=mail.example.org" };
        check(&findings(&found, "dmarc")[0], result, &[says], advice);
    }
    let broken =
        Authentication { dkim: vec![dkim(Fail, Some("the body was changed"))], dmarc: dmarc(Fail), ..nothing() };
    check(
        &findings(&broken, "dmarc")[0],
        Fail,
        &["DKIM did not pass for example.org: fail."],
        "Mend the DKIM signature of example.org",
    );
    for (tag, testing, says) in [
        ("np", false, "Policy: reject, by np=: the author domain does not exist."),
        ("sp", false, "Policy: reject, by sp=: the author domain is below the record's."),
        ("p", true, "Policy: reject, by p=, one step milder than written: t=y."),
    ] {
        let found = Authentication { dmarc: Dmarc { tag: Some(tag), testing, ..dmarc(Fail) }, ..nothing() };
        check(&findings(&found, "dmarc")[0], Fail, &[says], "d=example.org");
    }
    let untold = Dmarc { policy_domain: Option::None, organizational_domain: Option::None, ..dmarc(Fail) };
    let found = authenticated("b.example.net", "example.net", untold);
    let says = ["Record: v=DMARC1", "b.example.net, which is not within the organizational domain of example.org"];
    check(&findings(&found, "dmarc")[0], Fail, &says, "a reverse-path at example.org or below it");
}

#[test]
fn dmarc_that_ends_otherwise() {
    let author = || Some(domain("example.org"));
    let no_record = Dmarc::none(author(), Some("no policy record"));
    check(
        &findings(&Authentication { dmarc: no_record, ..nothing() }, "dmarc")[0],
        None,
        &["No policy record."],
        "Publish one DMARC record at _dmarc.example.org",
    );
    let lookup = Dmarc { result: TempError, ..Dmarc::none(author(), Some("the policy could not be looked up")) };
    check(
        &findings(&Authentication { dmarc: lookup, ..nothing() }, "dmarc")[0],
        TempError,
        &["The policy could not be looked up."],
        "_dmarc.example.org and for _dmarc of the domains above it",
    );
    let key = Authentication { dkim: vec![dkim(TempError, Option::None)], dmarc: dmarc(TempError), ..nothing() };
    check(&findings(&key, "dmarc")[0], TempError, &["Record at"], "the SPF record and the DKIM keys");
    let doubt = Some("whether the author domain exists could not be looked up");
    let walk = Authentication { dmarc: Dmarc { reason: doubt, ..dmarc(TempError) }, ..nothing() };
    let says = ["Whether the author domain exists could not be looked up."];
    check(&findings(&walk, "dmarc")[0], TempError, &says, "answer for example.org, and for _dmarc of each domain");
    let wrong = Authentication { dmarc: dmarc(PermError), ..nothing() };
    check(&findings(&wrong, "dmarc")[0], PermError, &["Record at"], "Correct the DMARC record at _dmarc.example.org");
}

#[test]
fn a_from_field_that_names_no_one_domain_is_a_finding() {
    for (authors, result, advice) in [
        (Authors::None, None, "Write one From field with"),
        (Authors::Several, PermError, "Write one From field, with authors of one domain"),
        (Authors::Malformed, PermError, "RFC 5322 section 3.6.2"),
    ] {
        let dmarc = Dmarc::none(Option::None, Some("there is not just one author domain"));
        let found = Authentication { authors, dmarc, ..nothing() };
        check(&findings(&found, "from")[0], result, &[], advice);
        let finding = &findings(&found, "dmarc")[0];
        assert_eq!((finding.subject.as_str(), &finding.advice), ("no author domain", &Option::None));
        assert!(finding.says[0] == "There is not just one author domain.");
    }
    assert_eq!(findings(&nothing(), "from"), []);
}

#[test]
fn iprev_says_where_the_address_leads() {
    let name = || Some(domain("mail.example.org"));
    for (result, name, reason, says, advice) in [
        (Pass, name(), Option::None, "The address has the name mail.example.org, which leads back to it.", ""),
        (Pass, Option::None, Option::None, "The address has a name, which leads", ""),
        (Fail, Option::None, Option::None, "No name of the address leads back to it.", "the address 192.0.2.1"),
        (None, Option::None, Option::None, "Not checked.", ""),
        (
            Fail,
            Option::None,
            Some("its name has another address"),
            "Its name has another address.",
            "the address 192.0.2.1",
        ),
        (TempError, Option::None, Option::None, "could not be looked up", "PTR record of 192.0.2.1"),
        (PermError, Option::None, Option::None, "has no name", "Publish a PTR record for 192.0.2.1"),
    ] {
        let iprev = Iprev { result, address: CLIENT.parse().unwrap(), name, reason };
        check(&findings(&Authentication { iprev, ..nothing() }, "iprev")[0], result, &[says], advice);
    }
    let unknown = Authentication::none("0.0.0.0".parse().unwrap());
    assert_eq!(findings(&unknown, "iprev"), [], "nothing to say of a client that is not known");
}

/// Whatever comes together: what is wrong has an advice, and what a sender chose stays in its line.
#[test]
fn nothing_that_is_wrong_is_left_without_advice() {
    let hostile = "x\r\n\u{1b}[31m\u{fc}\0".repeat(400);
    for result in [None, Neutral, Pass, Policy, Fail, SoftFail, TempError, PermError] {
        for problem in
            [Option::None, Some(Problem::Syntax { domain: hostile.as_str().into(), term: hostile.as_str().into() })]
        {
            let mut found =
                authenticated("example.net", "example.org", Dmarc { record: Some(hostile.clone()), ..dmarc(result) });
            found.spf = Spf { result, ..spf(result, Some((&hostile, Some(&hostile))), problem) };
            found.spf_helo = Some(Spf { identity: SpfIdentity::Helo, ..found.spf.clone() });
            let selector = Some(hostile.clone());
            let signature =
                Dkim { selector: selector.clone(), identity: selector.clone(), ..dkim(result, Option::None) };
            found.dkim = vec![signature; 10];
            found.arc = ArcChain {
                result,
                sets: vec![ArcSet { selector, ..set(1, "example.net", Option::None) }; 50],
                ..ArcChain::none()
            };
            found.iprev.result = result;
            for authors in [Authors::One(domain("example.org")), Authors::None, Authors::Several, Authors::Malformed] {
                found.authors = authors;
                let findings = found.explain();
                assert!(findings.len() > 10, "{findings:#?}");
                let nothing_expected = |finding: &&Finding| finding.result == None;
                findings.iter().filter(|finding| !nothing_expected(finding)).for_each(assert_well_formed);
                for line in findings.iter().flat_map(|finding| &finding.says) {
                    assert!(
                        line.len() <= LINE_OCTETS_MAX && line.bytes().all(|b| (b' '..=b'~').contains(&b)),
                        "{line}"
                    );
                }
            }
        }
    }
}

#[test]
fn findings_serialize_in_the_words_of_rfc_8601() {
    let json = serde_json::to_value(nothing().explain()).unwrap();
    assert_eq!((&json[0]["method"], &json[0]["result"]), (&"spf".into(), &"none".into()));
    assert_eq!(json[1]["advice"], "Sign with DKIM as d=example.org.");
}
