//! Every verdict with its cause; and that each cause has one row.

use std::collections::HashSet;

use super::*;
use crate::address::Domain;
use crate::authentication::{Dmarc, DmarcPolicy, MethodResult};
use crate::config::FolderName;

const INBOX: Verdict = Verdict::Deliver(Folder::Inbox);
const JUNK: Verdict = Verdict::Deliver(Folder::Junk);

pub(super) fn policy(dmarc: DmarcMode) -> Policy {
    Policy {
        junk_score: 5.0,
        reject_score: 15.0,
        dmarc,
        junk_folder: FolderName::default(),
        trusted_sealers: Vec::new(),
        trusted_forwarders: Vec::new(),
        dmarc_overrides: Default::default(),
    }
}

/// What authentication says of a message by somebody at author.example.
pub(super) fn found(result: MethodResult, policy: Option<DmarcPolicy>) -> Authentication {
    let author = Domain::parse("author.example").unwrap();
    let dmarc = Dmarc { result, policy, ..Dmarc::none(Some(author.clone()), None) };
    Authentication { dmarc, authors: Authors::One(author), ..Authentication::none([192, 0, 2, 1].into()) }
}

/// By somebody whose address nobody knows.
pub(super) fn evidence(authentication: Option<&Authentication>, dmarc_may_defer: bool, score: f64) -> Evidence<'_> {
    Evidence { authentication, client: None, dmarc_may_defer, score }
}

fn judge(authentication: Option<&Authentication>, may_defer: bool, score: f64, dmarc: DmarcMode) -> Verdict {
    let decision = decide(&evidence(authentication, may_defer, score), &policy(dmarc), Class::Ordinary);
    // Whatever is refused or in Junk has a cause, the same one; and nothing else has.
    assert_eq!(decision.cause.is_some(), decision.verdict != INBOX);
    assert!(decision.verdict.cause().is_none_or(|cause| Some(cause) == decision.cause.as_ref()));
    decision.verdict
}

/// Why it is in Junk.
fn junk_cause(authentication: Option<&Authentication>, score: f64) -> Option<Cause> {
    let decision = decide(&evidence(authentication, false, score), &policy(DmarcMode::Enforce), Class::Ordinary);
    assert_eq!(decision.verdict, JUNK);
    decision.cause
}

fn author() -> String {
    "author.example".into()
}

fn too_much(score: f64) -> Verdict {
    Verdict::Reject(Cause::Score { score, threshold: 15.0 })
}

#[test]
fn scores_and_thresholds() {
    let passes = found(MethodResult::Pass, Some(DmarcPolicy::Reject));
    let table = [
        (f64::NEG_INFINITY, INBOX),
        (-3.0, INBOX),
        (4.999, INBOX),
        (5.0, JUNK),
        (14.999, JUNK),
        (15.0, too_much(15.0)),
        (f64::INFINITY, too_much(f64::INFINITY)),
    ];
    for (score, expected) in table {
        // A pass saves no message from its score, and neither does its absence.
        for found in [None, Some(&passes)] {
            for mode in [DmarcMode::Enforce, DmarcMode::Observe] {
                assert_eq!(judge(found, true, score, mode), expected, "{score}");
            }
        }
    }
    assert_eq!(junk_cause(None, 5.5), Some(Cause::Score { score: 5.5, threshold: 5.0 }));
    // A score that is no number says nothing against anybody.
    assert_eq!(judge(None, true, f64::NAN, DmarcMode::Enforce), INBOX);
}

#[test]
fn the_worse_of_author_and_score_counts() {
    let fails = |policy| found(MethodResult::Fail, Some(policy));
    let (quarantine, reject) = (fails(DmarcPolicy::Quarantine), fails(DmarcPolicy::Reject));
    assert_eq!(judge(Some(&quarantine), true, 6.0, DmarcMode::Enforce), JUNK);
    assert_eq!(junk_cause(Some(&quarantine), 6.0), Some(Cause::DmarcQuarantine));
    assert_eq!(junk_cause(Some(&fails(DmarcPolicy::None)), 6.0), Some(Cause::Score { score: 6.0, threshold: 5.0 }));
    assert_eq!(judge(Some(&quarantine), true, 20.0, DmarcMode::Enforce), too_much(20.0));
    assert_eq!(judge(Some(&quarantine), true, -20.0, DmarcMode::Enforce), JUNK);
    // Who it claims to be from is judged first: that is the cause which the sender is told.
    let refused = Verdict::Reject(Cause::DmarcReject { domain: author() });
    assert_eq!(judge(Some(&reject), true, 20.0, DmarcMode::Enforce), refused);
    assert_eq!(judge(Some(&reject), true, -20.0, DmarcMode::Enforce), refused);
    assert_eq!(judge(Some(&reject), true, 20.0, DmarcMode::Observe), too_much(20.0));
}

#[test]
fn several_authors_are_refused_where_dmarc_is_enforced() {
    let mut several = found(MethodResult::None, None);
    (several.authors, several.dmarc.author_domain) = (Authors::Several, None);
    assert_eq!(judge(Some(&several), true, 0.0, DmarcMode::Enforce), Verdict::Reject(Cause::SeveralAuthors));
    let fields = Authentication { from_fields: 2, ..several.clone() };
    assert_eq!(judge(Some(&fields), true, 0.0, DmarcMode::Enforce), Verdict::Reject(Cause::SeveralFromFields));
    assert_eq!(judge(Some(&fields), true, 0.0, DmarcMode::Observe), INBOX);
    let malformed = Authentication { authors: Authors::Malformed, ..several.clone() };
    assert_eq!(judge(Some(&malformed), true, 0.0, DmarcMode::Enforce), Verdict::Reject(Cause::MalformedFrom));
    assert_eq!(judge(Some(&several), true, 0.0, DmarcMode::Observe), INBOX);
    assert_eq!(judge(Some(&several), true, 6.0, DmarcMode::Observe), JUNK);
    let mut nobody = found(MethodResult::None, None);
    (nobody.authors, nobody.dmarc.author_domain) = (Authors::None, None);
    assert_eq!(judge(Some(&nobody), true, 0.0, DmarcMode::Enforce), INBOX);
}

#[test]
fn postmaster_gets_everything() {
    let forged = found(MethodResult::Fail, Some(DmarcPolicy::Reject));
    let decision = decide(&evidence(Some(&forged), true, 99.0), &policy(DmarcMode::Enforce), Class::Postmaster);
    assert_eq!((decision.verdict, decision.cause), (INBOX, None));
    let by = Some(Override::Postmaster(Applied::Reject));
    let dmarc = Disposition { published: Some(DmarcPolicy::Reject), applied: Applied::None, by };
    assert_eq!(decision.dmarc, Some(dmarc));
    let several = Authentication { authors: Authors::Several, ..found(MethodResult::None, None) };
    let decision = decide(&evidence(Some(&several), true, 99.0), &policy(DmarcMode::Enforce), Class::Postmaster);
    assert_eq!((decision.verdict, decision.dmarc), (INBOX, None));
}

#[test]
fn behind_a_relay_nothing_is_refused_for_good() {
    let decide = |found: &Authentication, may_defer, score| {
        decide(&evidence(Some(found), may_defer, score), &policy(DmarcMode::Enforce), Class::Ordinary).behind_relay()
    };
    let forged = found(MethodResult::Fail, Some(DmarcPolicy::Reject));
    let decision = decide(&forged, true, 0.0);
    assert_eq!((decision.verdict, decision.cause), (JUNK, Some(Cause::DmarcReject { domain: author() })));
    let dmarc = decision.dmarc.unwrap();
    assert_eq!((dmarc.applied, dmarc.by), (Applied::Quarantine, Some(Override::Relay)));
    let passes = found(MethodResult::Pass, Some(DmarcPolicy::Reject));
    assert_eq!(decide(&passes, true, 16.0).verdict, JUNK);
    let several = Authentication { authors: Authors::Several, ..found(MethodResult::None, None) };
    assert_eq!(decide(&several, true, 0.0).cause, Some(Cause::SeveralAuthors));
    // A relay keeps what is deferred.
    let unknown = found(MethodResult::TempError, Some(DmarcPolicy::Reject));
    assert!(matches!(decide(&unknown, true, 0.0).verdict, Verdict::Defer(Cause::DmarcTemporary { .. })));
    assert_eq!(decide(&passes, true, 0.0).verdict, INBOX);
}

#[test]
fn a_reply_for_one_recipient_names_it_and_keeps_its_id() {
    let id = Id::from_bits(1);
    let path = |text: &str| ForwardPath::parse(text).unwrap();
    let reply = INBOX.reply_for(&path("<alice@example.org>"), &id).to_string();
    assert_eq!(reply, format!("250 2.0.0 <alice@example.org> Message delivered ({id})"));
    let domain = format!("{}.example", "d".repeat(63));
    let refused = Verdict::Reject(Cause::DmarcReject { domain: format!("{domain}.{domain}.{domain}") });
    for local_part in [10, 110, 250] {
        let path = path(&format!("<{}@example.org>", "l".repeat(local_part)));
        let reply = refused.reply_for(&path, &id).to_string();
        assert!(reply.starts_with("550 5.7.1 ") && reply.ends_with(&format!("({id})")), "{reply}");
    }
}

/// One of each. The match makes the compiler ask for a new one here.
fn all_causes() -> Vec<Cause> {
    use Cause::*;
    let domain = author();
    let causes = vec![
        NotOurDomain,
        UnknownMailbox,
        NotificationRecipients,
        MixedClasses,
        SeveralFromFields,
        SeveralAuthors,
        MalformedFrom,
        DmarcReject { domain: domain.clone() },
        DmarcOverride { domain: domain.clone() },
        DmarcQuarantine,
        DmarcUnverified,
        DmarcTemporary { domain: domain.clone() },
        ForwarderTemporary { domain },
        Score { score: 15.0, threshold: 15.0 },
        InFlight,
        NoRoom,
        TooBusy,
        StorageFull,
        StorageFailed,
        Internal,
    ];
    let listed = |cause: &Cause| match cause {
        NotOurDomain | UnknownMailbox | NotificationRecipients | MixedClasses | SeveralAuthors => true,
        SeveralFromFields | MalformedFrom | DmarcReject { .. } | DmarcOverride { .. } => true,
        DmarcQuarantine | DmarcUnverified => true,
        DmarcTemporary { .. } | ForwarderTemporary { .. } | Score { .. } | InFlight => true,
        NoRoom | TooBusy | StorageFull | StorageFailed | Internal => true,
    };
    assert!(causes.iter().all(listed));
    causes
}

#[test]
fn every_cause_has_a_consistent_row_and_a_name_of_its_own() {
    let id = Id::from_bits(1);
    let (mut names, mut texts) = (HashSet::new(), HashSet::new());
    for cause in all_causes() {
        let (code, enhanced, text) = cause.row();
        // RFC 2034 section 4: the classes agree; RFC 3463 sections 3.1 to 3.8: subjects 0 to 7.
        assert_eq!(code / 100, u16::from(enhanced.0), "{cause:?}");
        assert!([250, 451, 452, 550].contains(&code) && enhanced.1 <= 7, "{cause:?}");
        // What is in Junk has been delivered.
        assert!(names.insert(cause.name()) && (texts.insert(text.clone()) || code == 250), "{cause:?} is not unique");
        assert!(cause.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{cause:?}");
        assert!(text.is_ascii() && text.len() < 200 && !text.ends_with('.'), "{text}");
        let verdict = if code < 500 { Verdict::Defer(cause) } else { Verdict::Reject(cause) };
        let reply = verdict.reply(Question::Message, &id).to_string();
        assert_eq!(reply, format!("{code} {enhanced} {text} ({id})"));
    }
}

#[test]
fn acceptance_is_a_250_with_the_id() {
    let id = Id::from_bits(1);
    for verdict in [Verdict::Accept, INBOX, JUNK] {
        for (question, start) in
            [(Question::Sender, "250 2.1.0 "), (Question::Recipient, "250 2.1.5 "), (Question::Message, "250 2.0.0 ")]
        {
            let reply = verdict.reply(question, &id).to_string();
            assert!(reply.starts_with(start) && reply.ends_with(&format!("({id})")), "{reply}");
        }
        assert_eq!(verdict.cause(), None);
    }
}
