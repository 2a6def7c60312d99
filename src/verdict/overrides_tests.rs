//! Every DMARC result with every policy, override, mode and class: what is done, why, and what is on record.

use std::net::IpAddr;

use super::tests::{evidence, found, policy};
use super::*;
use crate::address::Domain;
use crate::authentication::{ArcChain, ArcSet, Dkim, DmarcPolicy, MethodResult, Spf, SpfIdentity};
use crate::config::{DmarcOverride, Forwarder};

const INBOX: Verdict = Verdict::Deliver(Folder::Inbox);
const JUNK: Verdict = Verdict::Deliver(Folder::Junk);
const AUTHOR: &str = "author.example";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn policies() -> [Option<DmarcPolicy>; 4] {
    [None, Some(DmarcPolicy::None), Some(DmarcPolicy::Quarantine), Some(DmarcPolicy::Reject)]
}

fn results() -> [MethodResult; 5] {
    [MethodResult::None, MethodResult::Pass, MethodResult::Fail, MethodResult::TempError, MethodResult::PermError]
}

/// Who may speak for the message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speaks {
    Nobody,
    Forwarder,
    Arc,
    /// A forwarder, perhaps.
    HiddenForwarder,
    HiddenArc,
}

const SPEAKS: [Speaks; 5] =
    [Speaks::Nobody, Speaks::Forwarder, Speaks::Arc, Speaks::HiddenForwarder, Speaks::HiddenArc];

fn speaks(found: &mut Authentication, who: Speaks) {
    let list = Some(domain("mx.lists.example"));
    match who {
        Speaks::Nobody => {}
        Speaks::Forwarder => found.spf = spf(MethodResult::Pass, "mx.lists.example"),
        Speaks::HiddenForwarder => found.spf = spf(MethodResult::TempError, "mx.lists.example"),
        Speaks::Arc => found.arc = chain(MethodResult::Pass, &[(list, Some(AUTHOR))]),
        Speaks::HiddenArc => found.arc = chain(MethodResult::TempError, &[(list, Some(AUTHOR))]),
    }
}

fn spf(result: MethodResult, name: &str) -> Spf {
    Spf { result, domain: Some(domain(name)), ..Spf::none(SpfIdentity::MailFrom, None) }
}

/// The oldest set first: who sealed, and for whom DMARC passed there.
fn chain(result: MethodResult, sets: &[(Option<Domain>, Option<&str>)]) -> ArcChain {
    let set = |(at, (sealer, author)): (usize, &(Option<Domain>, Option<&str>))| ArcSet {
        instance: at as u32 + 1,
        sealer: sealer.clone(),
        selector: None,
        dmarc_passed_for: author.map(domain),
    };
    ArcChain { result, sets: sets.iter().enumerate().map(set).collect(), ..ArcChain::none() }
}

fn trusting(mode: DmarcMode, word: Option<DmarcOverride>) -> Policy {
    Policy {
        trusted_sealers: vec![domain("lists.example")],
        trusted_forwarders: vec![Forwarder::Domain(domain("lists.example"))],
        dmarc_overrides: word.map(|word| (domain("example"), word)).into_iter().collect(),
        ..policy(mode)
    }
}

/// One combination, and what has to come of it.
#[derive(Debug, Clone, Copy)]
struct Case {
    result: MethodResult,
    published: Option<DmarcPolicy>,
    word: Option<DmarcOverride>,
    speaks: Speaks,
    may_defer: bool,
}

impl Case {
    /// What is done under `enforce`, why, and by which override: the policy as the documentation words it, written down a
    /// second time.
    fn expected(&self) -> Option<(Applied, Option<&'static str>, &'static str)> {
        use Speaks::*;
        let by_word = if self.word.is_some() { "policy:example" } else { "" };
        let wanted = match self.word {
            None => self.published,
            Some(DmarcOverride::None) => Some(DmarcPolicy::None),
            Some(DmarcOverride::Quarantine) => Some(DmarcPolicy::Quarantine),
            Some(DmarcOverride::Reject) => Some(DmarcPolicy::Reject),
        };
        let enforceable = matches!(wanted, Some(DmarcPolicy::Quarantine | DmarcPolicy::Reject));
        Some(match (self.result, self.speaks) {
            (MethodResult::None | MethodResult::Pass | MethodResult::PermError, _) => return None,
            _ if wanted == Some(DmarcPolicy::None) => (Applied::None, None, by_word),
            (_, Forwarder) => (Applied::None, None, "forwarder:spf=lists.example"),
            (_, Arc) => (Applied::None, None, "arc:mx.lists.example"),
            (MethodResult::TempError, _) if self.may_defer => (Applied::Defer, Some("dmarc_temporary"), by_word),
            (_, HiddenForwarder | HiddenArc) if self.may_defer => {
                (Applied::Defer, Some("forwarder_temporary"), by_word)
            }
            (MethodResult::TempError, _) | (_, HiddenForwarder | HiddenArc) if enforceable => {
                (Applied::Quarantine, Some("dmarc_unverified"), by_word)
            }
            _ if !enforceable => (Applied::None, None, by_word),
            _ if wanted == Some(DmarcPolicy::Quarantine) => (Applied::Quarantine, Some("dmarc_quarantine"), by_word),
            _ if self.published == wanted => (Applied::Reject, Some("dmarc_reject"), by_word),
            _ => (Applied::Reject, Some("dmarc_override"), by_word),
        })
    }

    fn decide(&self, mode: DmarcMode, class: Class) -> Decision {
        let mut found = found(self.result, self.published);
        speaks(&mut found, self.speaks);
        decide(&evidence(Some(&found), self.may_defer, 0.0), &trusting(mode, self.word), class)
    }

    fn check(&self) {
        let expected = self.expected();
        let enforced = self.decide(DmarcMode::Enforce, Class::Ordinary);
        assert_eq!(enforced.dmarc.is_some(), expected.is_some(), "{self:?}");
        let (applied, cause, by) = expected.unwrap_or((Applied::None, None, ""));
        assert_eq!(enforced.cause.as_ref().map(Cause::name), cause, "{self:?}");
        match (applied, &enforced.verdict) {
            (Applied::None, verdict) => assert_eq!(*verdict, INBOX, "{self:?}"),
            (Applied::Quarantine, verdict) => assert_eq!(*verdict, JUNK, "{self:?}"),
            (Applied::Defer, verdict) => assert!(matches!(verdict, Verdict::Defer(_)), "{self:?}"),
            (Applied::Reject, verdict) => assert!(matches!(verdict, Verdict::Reject(_)), "{self:?}"),
        }
        let shown = |decision: &Decision| decision.dmarc.clone().map(|d| (d.published, d.applied, on_record(&d)));
        assert_eq!(shown(&enforced), expected.map(|_| (self.published, applied, by.to_owned())), "{self:?}");
        // Who only watches, and who gets everything, has what would have been done on record, and nothing is done.
        for (mode, class, waiver) in [
            (DmarcMode::Observe, Class::Ordinary, "observe"),
            (DmarcMode::Observe, Class::Postmaster, "postmaster"),
            (DmarcMode::Enforce, Class::Postmaster, "postmaster"),
        ] {
            let decision = self.decide(mode, class);
            assert_eq!((&decision.verdict, &decision.cause), (&INBOX, &None), "{self:?} {waiver}");
            let by = if applied == Applied::None { by.to_owned() } else { format!("{waiver}:{applied}") };
            assert_eq!(shown(&decision), expected.map(|_| (self.published, Applied::None, by)), "{self:?} {waiver}");
        }
    }
}

fn on_record(disposition: &Disposition) -> String {
    disposition.by.as_ref().map(Override::to_string).unwrap_or_default()
}

#[test]
fn every_result_policy_override_mode_and_class() {
    let words = [None, Some(DmarcOverride::None), Some(DmarcOverride::Quarantine), Some(DmarcOverride::Reject)];
    let mut count = 0;
    for result in results() {
        for published in policies() {
            for word in words {
                for speaks in SPEAKS {
                    for may_defer in [true, false] {
                        Case { result, published, word, speaks, may_defer }.check();
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 5 * 4 * 4 * 5 * 2);
}

#[test]
fn dns_trouble_refuses_nothing_for_good() {
    for result in [MethodResult::Fail, MethodResult::TempError] {
        for speaks in [Speaks::HiddenForwarder, Speaks::HiddenArc] {
            for published in policies() {
                for may_defer in [true, false] {
                    let case = Case { result, published, word: None, speaks, may_defer };
                    let verdict = case.decide(DmarcMode::Enforce, Class::Ordinary).verdict;
                    assert!(!matches!(verdict, Verdict::Reject(_)), "{case:?}");
                }
            }
        }
    }
}

/// What is on record of a message that fails under p=reject.
fn by(found: &Authentication, client: Option<IpAddr>, policy: &Policy) -> String {
    let evidence = Evidence { client, ..evidence(Some(found), true, 0.0) };
    let decision = decide(&evidence, policy, Class::Ordinary);
    match decision.dmarc {
        Some(Disposition { applied: Applied::None, by: Some(by), .. }) => by.to_string(),
        Some(Disposition { applied, by: None, .. }) => applied.to_string(),
        other => panic!("{other:?}"),
    }
}

fn forged() -> Authentication {
    found(MethodResult::Fail, Some(DmarcPolicy::Reject))
}

#[test]
fn a_forwarder_is_known_by_what_was_checked() {
    let networks = ["192.0.2.0/24", "2001:db8::/32"].map(|network| Forwarder::Network(network.parse().unwrap()));
    let mut policy = trusting(DmarcMode::Enforce, None);
    policy.trusted_forwarders.extend(networks);
    for (client, expected) in [
        (Some("192.0.2.7"), "forwarder:network=192.0.2.0/24"),
        (Some("2001:db8::7"), "forwarder:network=2001:db8::/32"),
        (Some("192.0.3.7"), "reject"),
        (None, "reject"),
    ] {
        let client = client.map(|client: &str| client.parse().unwrap());
        assert_eq!(by(&forged(), client, &policy), expected, "{client:?}");
    }
    use MethodResult::{Fail, Neutral, Pass, PermError, SoftFail, TempError};
    for result in [MethodResult::None, Neutral, Pass, MethodResult::Policy, Fail, SoftFail, TempError, PermError] {
        for (name, is_listed) in [
            ("lists.example", true),
            ("a.b.lists.example", true),
            ("badlists.example", false),
            ("example", false),
            ("lists.example.evil.example", false),
        ] {
            let expected = |check: &str| match (result, is_listed) {
                (Pass, true) => format!("forwarder:{check}=lists.example"),
                (TempError, true) => "defer".to_owned(),
                _ => "reject".to_owned(),
            };
            let spf = spf(result, name);
            let by_spf = Authentication { spf: spf.clone(), ..forged() };
            assert_eq!(by(&by_spf, None, &policy), expected("spf"), "{result} {name}");
            let by_helo = Authentication { spf_helo: Some(spf), ..forged() };
            assert_eq!(by(&by_helo, None, &policy), expected("spf"), "{result} {name}");
            let by_dkim = Authentication { dkim: vec![signature(result, name)], ..forged() };
            assert_eq!(by(&by_dkim, None, &policy), expected("dkim"), "{result} {name}");
            let mut by_name = forged();
            (by_name.iprev.result, by_name.iprev.name) = (result, Some(domain(name)));
            assert_eq!(by(&by_name, None, &policy), expected("iprev"), "{result} {name}");
        }
    }
}

fn signature(result: MethodResult, name: &str) -> Dkim {
    Dkim { domain: Some(domain(name)), ..Dkim::none(result) }
}

#[test]
fn a_client_whose_name_cannot_be_looked_up_may_be_a_forwarder() {
    let mut unnamed = forged();
    (unnamed.iprev.result, unnamed.iprev.name) = (MethodResult::TempError, None);
    assert_eq!(by(&unnamed, None, &trusting(DmarcMode::Enforce, None)), "defer");
    // Networks are known without DNS, and so it is known that nobody is trusted.
    let network = vec![Forwarder::Network("192.0.2.0/24".parse().unwrap())];
    for trusted_forwarders in [network, Vec::new()] {
        assert_eq!(by(&unnamed, None, &Policy { trusted_forwarders, ..policy(DmarcMode::Enforce) }), "reject");
    }
    // One who is known waits for nobody.
    unnamed.dkim =
        vec![signature(MethodResult::TempError, "lists.example"), signature(MethodResult::Pass, "lists.example")];
    assert_eq!(by(&unnamed, None, &trusting(DmarcMode::Enforce, None)), "forwarder:dkim=lists.example");
}

#[test]
fn a_chain_speaks_only_through_an_unbroken_run_of_trusted_sealers() {
    let policy = trusting(DmarcMode::Enforce, None);
    let sealer = |name: &str| Some(domain(name));
    let (list, other, evil) = (sealer("lists.example"), sealer("b.lists.example"), sealer("evil.example"));
    // Each chain from its oldest set on, and who is believed if it holds.
    let table = [
        (vec![(list.clone(), Some(AUTHOR))], Some("lists.example")),
        (vec![(other.clone(), Some(AUTHOR)), (list.clone(), None)], Some("b.lists.example")),
        // Whoever is at the end of the run, it is the newest that says so who is named.
        (vec![(other.clone(), Some(AUTHOR)), (list.clone(), Some(AUTHOR))], Some("lists.example")),
        // Before the run anybody may have sealed.
        (vec![(evil.clone(), None), (list.clone(), Some(AUTHOR))], Some("lists.example")),
        // Another author, above, below or elsewhere.
        (vec![(list.clone(), Some("example"))], None),
        (vec![(list.clone(), Some("sub.author.example"))], None),
        (vec![(list.clone(), Some("other.example"))], None),
        (vec![(list.clone(), None)], None),
        // Nobody trusted, or the trusted one is not in the run.
        (vec![(evil.clone(), Some(AUTHOR))], None),
        (vec![(evil.clone(), Some(AUTHOR)), (list.clone(), None)], None),
        (vec![(list.clone(), Some(AUTHOR)), (evil.clone(), None)], None),
        (vec![(list.clone(), Some(AUTHOR)), (evil, Some(AUTHOR)), (other, None)], None),
        (vec![(None, Some(AUTHOR))], None),
        (vec![(list.clone(), Some(AUTHOR)), (None, None), (list, None)], None),
        (vec![], None),
    ];
    for (sets, believed) in table {
        use MethodResult::{Fail, Pass, PermError, TempError};
        for result in [Pass, Fail, TempError, MethodResult::None, PermError] {
            let found = Authentication { arc: chain(result, &sets), ..forged() };
            let expected = match (result, believed) {
                (Pass, Some(sealer)) => format!("arc:{sealer}"),
                (TempError, Some(_)) => "defer".to_owned(),
                _ => "reject".to_owned(),
            };
            assert_eq!(by(&found, None, &policy), expected, "{result} {sets:?}");
        }
        let found = Authentication { arc: chain(Pass, &sets), ..forged() };
        assert_eq!(by(&found, None, &super::tests::policy(DmarcMode::Enforce)), "reject", "nobody is trusted");
    }
}

#[test]
fn the_nearest_entry_for_an_author_counts() {
    let mut policy = policy(DmarcMode::Enforce);
    let decided = |policy: &Policy| {
        let decision = decide(&evidence(Some(&forged()), true, 0.0), policy, Class::Ordinary);
        (decision.verdict, on_record(&decision.dmarc.unwrap()))
    };
    policy.dmarc_overrides.insert(domain("example"), DmarcOverride::Quarantine);
    assert_eq!(decided(&policy), (JUNK, "policy:example".to_owned()));
    policy.dmarc_overrides.insert(domain(AUTHOR), DmarcOverride::None);
    assert_eq!(decided(&policy), (INBOX, "policy:author.example".to_owned()));
    policy.dmarc_overrides.insert(domain("sub.author.example"), DmarcOverride::Reject);
    assert_eq!(decided(&policy), (INBOX, "policy:author.example".to_owned()));
}

/// Where SPF or DKIM passed for the author domain itself there is no doubt, whatever else fails.
#[test]
fn what_passed_for_the_author_itself_waits_for_nothing() {
    for word in [None, Some(DmarcOverride::Reject)] {
        let found = Authentication { spf: spf(MethodResult::Pass, AUTHOR), ..found(MethodResult::TempError, None) };
        let decision = decide(&evidence(Some(&found), true, 0.0), &trusting(DmarcMode::Enforce, word), Class::Ordinary);
        assert_eq!((decision.verdict, decision.dmarc.unwrap().applied), (INBOX, Applied::None), "{word:?}");
    }
}

#[test]
fn rules_are_told_of_what_is_taken_all_the_same() {
    let mut forwarded = forged();
    speaks(&mut forwarded, Speaks::Forwarder);
    let none = trusting(DmarcMode::Enforce, Some(DmarcOverride::None));
    for (found, policy, expected) in [
        (&forwarded, trusting(DmarcMode::Enforce, None), true),
        (&forwarded, policy(DmarcMode::Enforce), false),
        (&forged(), trusting(DmarcMode::Enforce, None), false),
        (&forged(), none, true),
        // Nor is it to be enforced by way of the score.
        (&forged(), policy(DmarcMode::Observe), true),
        (&found(MethodResult::Pass, Some(DmarcPolicy::Reject)), policy(DmarcMode::Observe), false),
        (&found(MethodResult::Fail, Some(DmarcPolicy::None)), policy(DmarcMode::Enforce), false),
        (&found(MethodResult::Pass, Some(DmarcPolicy::Reject)), trusting(DmarcMode::Enforce, None), false),
    ] {
        assert_eq!(is_overridden(found, None, &policy), expected);
    }
}

#[test]
fn what_the_others_had_done_is_settled() {
    let published = Some(DmarcPolicy::Reject);
    let settled = |applied, by: Option<Override>, verdict: Verdict| {
        let mut disposition = Disposition { published, applied, by };
        disposition.settle(&verdict);
        (disposition.applied, on_record(&disposition))
    };
    let refused = || Verdict::Reject(Cause::DmarcReject { domain: AUTHOR.into() });
    let later = || Verdict::Defer(Cause::DmarcTemporary { domain: AUTHOR.into() });
    let observe = || Some(Override::Observe(Applied::Reject));
    let entry = || Some(Override::Policy(domain(AUTHOR)));
    assert_eq!(settled(Applied::None, observe(), refused()), (Applied::Reject, String::new()));
    assert_eq!(settled(Applied::None, observe(), later()), (Applied::Defer, String::new()));
    assert_eq!(settled(Applied::None, observe(), INBOX), (Applied::None, "observe:reject".into()));
    assert_eq!(settled(Applied::Reject, entry(), JUNK), (Applied::Quarantine, "policy:author.example".into()));
    assert_eq!(settled(Applied::Quarantine, None, JUNK), (Applied::Quarantine, String::new()));
    let full = Verdict::Defer(Cause::StorageFull);
    assert_eq!(settled(Applied::None, entry(), full), (Applied::None, "policy:author.example".into()));
}
