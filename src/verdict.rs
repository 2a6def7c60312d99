//! The whole policy, pure: evidence and a recipient's policy in, a [`Verdict`] out, and its reply.
//!
//! *Guarantees:* no I/O, no clock, no state. Every [`Cause`] has one row with its code, enhanced status and text, and each
//! reply carries the id under which the decision is on record.
//! *Order of judgement:* who the message claims to be from (RFC 5322 From, DMARC), then what it says (score).

use crate::authentication::{Authentication, Authors, DmarcPolicy, MethodResult};
use crate::config::{DmarcMode, Policy};
use crate::envelope::Id;
use crate::smtp::{Enhanced, Reply};

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

/// Why. Each has one row in [`Cause::row`].
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
    /// The author domain's DMARC record could not be had for now.
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
                (451, Enhanced(4, 7, 1), format!("The DMARC record of {domain} cannot be looked up now, try again"))
            }
            Score { score, threshold } => {
                (550, Enhanced(5, 7, 1), format!("Refused as spam: score {score:.1}, limit {threshold:.1}"))
            }
            InFlight => {
                (451, Enhanced(4, 3, 0), "This message is being delivered in another session, try again".into())
            }
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
        let accepted = |enhanced, text: &str| Reply::new(250, enhanced, format!("{text} ({id})"));
        match (self, question) {
            (Verdict::Defer(cause) | Verdict::Reject(cause), _) => {
                let (code, enhanced, text) = cause.row();
                Reply::new(code, enhanced, format!("{text} ({id})"))
            }
            (_, Question::Sender) => accepted(Enhanced(2, 1, 0), "Sender OK"),
            (_, Question::Recipient) => accepted(Enhanced(2, 1, 5), "Recipient OK"),
            (_, Question::Message) => accepted(Enhanced(2, 0, 0), "Message delivered"),
        }
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

/// Judges a message for one recipient.
pub fn decide(evidence: &Evidence, policy: &Policy) -> Verdict {
    match judge_author(evidence, policy) {
        Some(verdict @ (Verdict::Reject(_) | Verdict::Defer(_))) => verdict,
        judged => match judge_score(evidence.score, policy) {
            Verdict::Deliver(Folder::Inbox) => judged.unwrap_or(Verdict::Deliver(Folder::Inbox)),
            verdict => verdict,
        },
    }
}

/// postmaster and abuse get everything, whoever sends it and whatever it says (RFC 5321 section 4.5.1, RFC 2142).
pub fn decide_unfiltered() -> Verdict {
    Verdict::Deliver(Folder::Inbox)
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
        (MethodResult::TempError, _) if evidence.dmarc_may_defer => {
            Some(Verdict::Defer(Cause::DmarcTemporary { domain }))
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

/// One message, several recipients, one reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The same answer for all: 4yz or 5yz.
    Refused(Verdict),
    /// 250: where each recipient gets it, in their order.
    Delivered(Vec<Folder>),
}

/// Reconciles the recipients' verdicts: there is one reply for all of them (RFC 5321 section 4.2.5) and never a bounce.
///
/// One who cannot take it now defers it for all: nobody has got it yet. What concerns the message as a whole refuses it
/// for all; so does everybody refusing it. Where some would refuse and others take it, those who would refuse get it in
/// Junk.
pub fn reconcile(verdicts: &[Verdict]) -> Outcome {
    let defers = verdicts.iter().find(|v| matches!(v, Verdict::Defer(_)));
    let whole = verdicts.iter().find(|v| matches!(v, Verdict::Reject(cause) if cause.concerns_message()));
    let all_reject = verdicts.iter().all(|v| matches!(v, Verdict::Reject(_)));
    if let Some(verdict) = whole.or(defers).or(verdicts.first().filter(|_| all_reject)) {
        return Outcome::Refused(verdict.clone());
    }
    let folder = |verdict: &Verdict| match verdict {
        Verdict::Deliver(folder) => *folder,
        Verdict::Accept => Folder::Inbox,
        Verdict::Defer(_) | Verdict::Reject(_) => Folder::Junk,
    };
    Outcome::Delivered(verdicts.iter().map(folder).collect())
}
