//! The whole policy, pure: evidence and a recipient's policy in, a [`Verdict`] out, and its reply.
//!
//! *Guarantees:* no I/O, no clock, no state. Every [`Cause`] has one row with its code, enhanced status and text, and each
//! reply carries the id under which the decision is on record.
//! Recipients who share a reply are reconciled in [`reconcile()`].
//! *Order of judgement:* who the message claims to be from (RFC 5322 From, DMARC), then what it says (score).

mod reconcile;

use crate::address::ForwardPath;
use crate::authentication::{Authentication, Authors, DmarcPolicy, MethodResult};
use crate::config::{DmarcMode, Policy};
use crate::envelope::Id;
use crate::mailbox::Class;
use crate::smtp::{Enhanced, Reply};

pub use reconcile::{Outcome, reconcile, refusal_for_all, sum_up};

/// The longest forward-path that a reply repeats, in octets: the id behind the text must find room in one line.
const REPEATED_PATH_OCTETS_MAX: usize = 128;

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Sender or recipient: go on.
    Accept,
    /// Message: deliver it there.
    Deliver(Folder),
    /// 4yz: trouble that passes.
    Defer(Cause),
    /// 5yz: refused in the session, so that the sender knows. There is never a bounce.
    Reject(Cause),
}

/// Where in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Folder {
    /// The inbox.
    Inbox,
    /// The folder that the policy names for junk.
    Junk,
}

/// Why. Each has one row in `Cause::row`.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// The recipient's domain is none of ours.
    NotOurDomain,
    /// No such mailbox at a domain of ours.
    UnknownMailbox,
    /// A notification (null reverse-path) has one recipient (RFC 5321 section 4.5.5).
    NotificationRecipients,
    /// postmaster and abuse share a transaction with nobody, so that adding one cannot turn a refusal into a delivery.
    MixedClasses,
    /// More than one author, or authors at several domains: DMARC cannot protect any (RFC 9989 section 5.3.1).
    SeveralAuthors,
    /// The From field cannot be read, so that DMARC cannot protect whoever it shows (RFC 5322 section 3.6.2).
    MalformedFrom,
    /// The author domain asks to refuse what fails DMARC (RFC 9989).
    DmarcReject {
        /// The author domain.
        domain: String,
    },
    /// DMARC could not be evaluated for now: the record, or SPF or DKIM of the author domain under a policy to enforce.
    DmarcTemporary {
        /// The author domain.
        domain: String,
    },
    /// The rules' score reached `policy.reject_score`.
    Score {
        /// The score.
        score: f64,
        /// The threshold that it reached.
        threshold: f64,
    },
    /// The same message for the same recipient is being delivered in another session.
    InFlight,
    /// As many octets of mail are being received as may be (`limits.in_flight_octets_max`).
    NoRoom,
    /// The turn of a large message to be judged did not come in time (`limits.inspection_octets_max`).
    TooBusy,
    /// There is no room to store the message.
    StorageFull,
    /// The message could not be stored.
    StorageFailed,
    /// Something of ours failed.
    Internal,
}

impl Cause {
    /// Code, enhanced status and text.
    fn row(&self) -> (u16, Enhanced, String) {
        use Cause::*;
        match self {
            NotOurDomain => (550, Enhanced(5, 7, 1), "We do not take mail for this domain".into()),
            UnknownMailbox => (550, Enhanced(5, 1, 1), "No such mailbox here".into()),
            NotificationRecipients => {
                (452, Enhanced(4, 5, 3), "A message from <> has one recipient: send the others theirs".into())
            }
            MixedClasses => {
                (452, Enhanced(4, 5, 3), "postmaster and abuse are written to alone: send this one separately".into())
            }
            SeveralAuthors => {
                (550, Enhanced(5, 7, 1), "More than one From field or author domain: cannot tell who wrote this".into())
            }
            MalformedFrom => {
                (550, Enhanced(5, 7, 1), "The From field is not valid (RFC 5322): cannot tell who wrote this".into())
            }
            DmarcReject { domain } => {
                (550, Enhanced(5, 7, 1), format!("Not authenticated as {domain}, whose DMARC policy says to reject"))
            }
            DmarcTemporary { domain } => {
                (451, Enhanced(4, 7, 1), format!("DMARC for {domain} cannot be checked now, DNS fails: try again"))
            }
            Score { score, threshold } => {
                (550, Enhanced(5, 7, 1), format!("Refused as spam: score {score:.1}, limit {threshold:.1}"))
            }
            InFlight => {
                (451, Enhanced(4, 3, 0), "This message is being delivered in another session, try again".into())
            }
            NoRoom => (452, Enhanced(4, 3, 1), "Too much mail is being received at once, try again later".into()),
            TooBusy => (451, Enhanced(4, 3, 2), "Too many large messages at once, try again later".into()),
            StorageFull => (452, Enhanced(4, 3, 1), "Not enough storage, try again later".into()),
            StorageFailed => (451, Enhanced(4, 3, 0), "The message could not be stored, try again later".into()),
            Internal => (451, Enhanced(4, 3, 0), "Internal error, try again later".into()),
        }
    }

    /// A short name that stays the same, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::NotOurDomain => "not_our_domain",
            Cause::UnknownMailbox => "unknown_mailbox",
            Cause::NotificationRecipients => "notification_recipients",
            Cause::MixedClasses => "mixed_classes",
            Cause::SeveralAuthors => "several_authors",
            Cause::MalformedFrom => "malformed_from",
            Cause::DmarcReject { .. } => "dmarc_reject",
            Cause::DmarcTemporary { .. } => "dmarc_temporary",
            Cause::Score { .. } => "score",
            Cause::InFlight => "in_flight",
            Cause::NoRoom => "no_room",
            Cause::TooBusy => "too_busy",
            Cause::StorageFull => "storage_full",
            Cause::StorageFailed => "storage_failed",
            Cause::Internal => "internal",
        }
    }

    /// Does it concern the message as a whole, whoever the recipient is?
    fn concerns_message(&self) -> bool {
        matches!(self, Cause::SeveralAuthors | Cause::MalformedFrom | Cause::DmarcReject { .. })
    }
}

/// What a verdict answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// The end of the mail data.
    Message,
}

impl Verdict {
    /// The reply, with the id of the transaction.
    pub fn reply(&self, question: Question, id: &Id) -> Reply {
        let (code, enhanced, text) = self.row(question);
        Reply::new(code, enhanced, text).cite(id)
    }

    /// The reply to the message for one recipient of several (PRDR), which names it.
    pub fn reply_for(&self, forward_path: &ForwardPath, id: &Id) -> Reply {
        let (code, enhanced, text) = self.row(Question::Message);
        let path = forward_path.to_string();
        let text = match path.len() <= REPEATED_PATH_OCTETS_MAX {
            true => format!("<{path}> {text}"),
            false => text,
        };
        Reply::new(code, enhanced, text).cite(id)
    }

    fn row(&self, question: Question) -> (u16, Enhanced, String) {
        match (self, question) {
            (Verdict::Defer(cause) | Verdict::Reject(cause), _) => cause.row(),
            (_, Question::Sender) => (250, Enhanced(2, 1, 0), "Sender OK".into()),
            (_, Question::Recipient) => (250, Enhanced(2, 1, 5), "Recipient OK".into()),
            (_, Question::Message) => (250, Enhanced(2, 0, 0), "Message delivered".into()),
        }
    }

    /// The verdict on mail that a trusted relay of ours passes on. A 5yz would reach the relay, not the sender, and the
    /// relay would send a bounce to whoever the reverse-path names: what would be refused goes to Junk.
    pub fn behind_relay(self) -> Self {
        match self {
            Verdict::Reject(_) => Verdict::Deliver(Folder::Junk),
            verdict => verdict,
        }
    }

    /// Is it 2yz: has the recipient got the message?
    pub fn is_positive(&self) -> bool {
        matches!(self, Verdict::Accept | Verdict::Deliver(_))
    }

    /// The verdict as one word, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Accept => "accept",
            Verdict::Deliver(Folder::Inbox) => "inbox",
            Verdict::Deliver(Folder::Junk) => "junk",
            Verdict::Defer(_) => "defer",
            Verdict::Reject(_) => "reject",
        }
    }

    /// Why, unless it was accepted.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Verdict::Defer(cause) | Verdict::Reject(cause) => Some(cause),
            Verdict::Accept | Verdict::Deliver(_) => None,
        }
    }
}

/// What is known of a message at the end of its data.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What SPF, DKIM and DMARC say.
    /// `None`: not asked.
    pub authentication: Option<&'a Authentication>,
    /// A temporary failure of the author domain's DMARC record still counts as passing trouble: less than four hours
    /// have gone by since the first one.
    pub dmarc_may_defer: bool,
    /// The sum of the rules' scores.
    pub score: f64,
}

/// Judges a message for one recipient. postmaster and abuse get everything, whoever sends it and whatever it says (RFC 5321
/// section 4.5.1, RFC 2142).
pub fn decide(evidence: &Evidence, policy: &Policy, class: Class) -> Verdict {
    if class == Class::Postmaster {
        return Verdict::Deliver(Folder::Inbox);
    }
    match judge_author(evidence, policy) {
        Some(verdict @ (Verdict::Reject(_) | Verdict::Defer(_))) => verdict,
        judged => match judge_score(evidence.score, policy) {
            Verdict::Deliver(Folder::Inbox) => judged.unwrap_or(Verdict::Deliver(Folder::Inbox)),
            verdict => verdict,
        },
    }
}

/// DMARC (RFC 9989): is the author who they claim to be? `None`: nothing against it.
fn judge_author(evidence: &Evidence, policy: &Policy) -> Option<Verdict> {
    if policy.dmarc == DmarcMode::Observe {
        return None;
    }
    let authentication = evidence.authentication?;
    match authentication.authors {
        Authors::Several => return Some(Verdict::Reject(Cause::SeveralAuthors)),
        Authors::Malformed => return Some(Verdict::Reject(Cause::MalformedFrom)),
        Authors::One(_) | Authors::None => {}
    }
    let dmarc = &authentication.dmarc;
    let domain = dmarc.author_domain.as_ref()?.to_string();
    match (dmarc.result, dmarc.policy) {
        (MethodResult::Fail, Some(DmarcPolicy::Reject)) => Some(Verdict::Reject(Cause::DmarcReject { domain })),
        (MethodResult::Fail, Some(DmarcPolicy::Quarantine)) => Some(Verdict::Deliver(Folder::Junk)),
        // With p=none nothing depends on how it would end.
        (MethodResult::TempError, policy) if evidence.dmarc_may_defer && policy != Some(DmarcPolicy::None) => {
            Some(Verdict::Defer(Cause::DmarcTemporary { domain }))
        }
        // The record is known and asks for more than nothing: whoever keeps SPF or DKIM from answering gains no inbox.
        (MethodResult::TempError, Some(DmarcPolicy::Reject | DmarcPolicy::Quarantine)) => {
            Some(Verdict::Deliver(Folder::Junk))
        }
        _ => None,
    }
}

fn judge_score(score: f64, policy: &Policy) -> Verdict {
    match score {
        score if score >= policy.reject_score => {
            Verdict::Reject(Cause::Score { score, threshold: policy.reject_score })
        }
        score if score >= policy.junk_score => Verdict::Deliver(Folder::Junk),
        _ => Verdict::Deliver(Folder::Inbox),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::address::Domain;
    use crate::authentication::Dmarc;
    use crate::config::FolderName;

    const INBOX: Verdict = Verdict::Deliver(Folder::Inbox);
    const JUNK: Verdict = Verdict::Deliver(Folder::Junk);

    fn policy(dmarc: DmarcMode) -> Policy {
        Policy { junk_score: 5.0, reject_score: 15.0, dmarc, junk_folder: FolderName::default() }
    }

    /// What authentication says of a message by somebody at author.example.
    fn found(result: MethodResult, policy: Option<DmarcPolicy>) -> Authentication {
        let author = Domain::parse("author.example").unwrap();
        let dmarc = Dmarc { result, policy, ..Dmarc::none(Some(author.clone()), None) };
        Authentication { dmarc, authors: Authors::One(author), ..Authentication::none([192, 0, 2, 1].into()) }
    }

    fn judge(authentication: Option<&Authentication>, may_defer: bool, score: f64, dmarc: DmarcMode) -> Verdict {
        let evidence = Evidence { authentication, dmarc_may_defer: may_defer, score };
        decide(&evidence, &policy(dmarc), Class::Ordinary)
    }

    fn author() -> String {
        "author.example".into()
    }

    fn too_much(score: f64) -> Verdict {
        Verdict::Reject(Cause::Score { score, threshold: 15.0 })
    }

    #[test]
    fn every_dmarc_result_with_every_policy_and_mode() {
        use MethodResult::{Fail, Pass, PermError, TempError};
        let policies = [None, Some(DmarcPolicy::None), Some(DmarcPolicy::Quarantine), Some(DmarcPolicy::Reject)];
        for policy in policies {
            for result in [MethodResult::None, Pass, Fail, TempError, PermError] {
                let found = found(result, policy);
                let expected = match (result, policy) {
                    (Fail, Some(DmarcPolicy::Reject)) => Verdict::Reject(Cause::DmarcReject { domain: author() }),
                    (Fail, Some(DmarcPolicy::Quarantine)) => JUNK,
                    (TempError, Some(DmarcPolicy::None)) => INBOX,
                    (TempError, _) => Verdict::Defer(Cause::DmarcTemporary { domain: author() }),
                    _ => INBOX,
                };
                assert_eq!(judge(Some(&found), true, 0.0, DmarcMode::Enforce), expected, "{result} {policy:?}");
                // Past the hours for which it may be deferred it goes on like mail without a record, if that is not known.
                if result == TempError {
                    let known = matches!(policy, Some(DmarcPolicy::Quarantine | DmarcPolicy::Reject));
                    let expected = if known { JUNK } else { INBOX };
                    assert_eq!(judge(Some(&found), false, 0.0, DmarcMode::Enforce), expected, "{policy:?}");
                    assert_eq!(judge(Some(&found), false, 7.0, DmarcMode::Enforce), JUNK, "{policy:?}");
                }
                for may_defer in [true, false] {
                    assert_eq!(judge(Some(&found), may_defer, 0.0, DmarcMode::Observe), INBOX, "{result} {policy:?}");
                }
            }
        }
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
        // A score that is no number says nothing against anybody.
        assert_eq!(judge(None, true, f64::NAN, DmarcMode::Enforce), INBOX);
    }

    #[test]
    fn the_worse_of_author_and_score_counts() {
        let fails = |policy| found(MethodResult::Fail, Some(policy));
        let (quarantine, reject) = (fails(DmarcPolicy::Quarantine), fails(DmarcPolicy::Reject));
        assert_eq!(judge(Some(&quarantine), true, 6.0, DmarcMode::Enforce), JUNK);
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
        assert_eq!(judge(Some(&several), true, 0.0, DmarcMode::Observe), INBOX);
        assert_eq!(judge(Some(&several), true, 6.0, DmarcMode::Observe), JUNK);
        let mut nobody = found(MethodResult::None, None);
        (nobody.authors, nobody.dmarc.author_domain) = (Authors::None, None);
        assert_eq!(judge(Some(&nobody), true, 0.0, DmarcMode::Enforce), INBOX);
    }

    #[test]
    fn postmaster_gets_everything() {
        let forged = found(MethodResult::Fail, Some(DmarcPolicy::Reject));
        let evidence = Evidence { authentication: Some(&forged), dmarc_may_defer: true, score: 99.0 };
        assert_eq!(decide(&evidence, &policy(DmarcMode::Enforce), Class::Postmaster), INBOX);
    }

    #[test]
    fn behind_a_relay_nothing_is_refused_for_good() {
        assert_eq!(too_much(16.0).behind_relay(), JUNK);
        assert_eq!(Verdict::Reject(Cause::SeveralAuthors).behind_relay(), JUNK);
        for verdict in [INBOX, JUNK, Verdict::Accept, Verdict::Defer(Cause::StorageFull)] {
            assert_eq!(verdict.clone().behind_relay(), verdict);
        }
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
            SeveralAuthors,
            MalformedFrom,
            DmarcReject { domain: domain.clone() },
            DmarcTemporary { domain },
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
            MalformedFrom | DmarcReject { .. } | DmarcTemporary { .. } | Score { .. } | InFlight => true,
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
            assert!([451, 452, 550].contains(&code) && enhanced.1 <= 7, "{cause:?}");
            assert!(names.insert(cause.name()) && texts.insert(text.clone()), "{cause:?} is not unique");
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
            for (question, start) in [
                (Question::Sender, "250 2.1.0 "),
                (Question::Recipient, "250 2.1.5 "),
                (Question::Message, "250 2.0.0 "),
            ] {
                let reply = verdict.reply(question, &id).to_string();
                assert!(reply.starts_with(start) && reply.ends_with(&format!("({id})")), "{reply}");
            }
            assert_eq!(verdict.cause(), None);
        }
    }
}
