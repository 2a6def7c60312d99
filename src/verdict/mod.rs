//! The whole policy, pure: evidence and a recipient's policy in, a [`Decision`] out, and its reply.
//!
//! *Guarantees:* no I/O, no clock, no state. Every [`Cause`] has one row with its code, enhanced status and text, and each
//! reply carries the id under which the decision is on record. What an author domain asks for by DMARC and what was done
//! are on record together ([`Disposition`]), and so is every [`Override`].
//! Recipients who share a reply are reconciled in [`reconcile()`].
//! *Order of judgement:* who the message claims to be from (RFC 5322 From, DMARC), then what it says (score).

mod cause;
mod dmarc;
mod reconcile;
#[cfg(test)]
mod overrides_tests;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::address::ForwardPath;
use crate::authentication::{Authentication, Authors};
use crate::config::{DmarcMode, Policy};
use crate::envelope::Id;
use crate::mailbox::Class;
use crate::smtp::{Enhanced, Reply};

pub use cause::Cause;
pub use dmarc::{Applied, Check, Disposition, Override, is_overridden};
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

    /// Why it was refused. Why a message is in Junk is for [`Decision::cause`] to say.
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
    /// The client's address, behind a trusted relay of ours that of the relay's client, if it is known.
    pub client: Option<IpAddr>,
    /// DNS trouble that keeps DMARC or an override of it from being evaluated still counts as passing: less than four
    /// hours have gone by since the first failure.
    pub dmarc_may_defer: bool,
    /// The sum of the rules' scores.
    pub score: f64,
}

/// What was decided for one recipient, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What becomes of the message.
    pub verdict: Verdict,
    /// Why it was refused or goes to Junk. `None`: it goes to the inbox.
    pub cause: Option<Cause>,
    /// What DMARC asked for, and what was done. `None`: it passed, or there is no policy.
    pub dmarc: Option<Disposition>,
}

impl Decision {
    /// The decision on mail that a trusted relay of ours passes on. A 5yz would reach the relay, not the sender, and the
    /// relay would send a bounce to whoever the reverse-path names: what would be refused goes to Junk.
    pub fn behind_relay(self) -> Self {
        match self.verdict {
            Verdict::Reject(_) => Decision {
                verdict: Verdict::Deliver(Folder::Junk),
                dmarc: self.dmarc.map(Disposition::behind_relay),
                ..self
            },
            _ => self,
        }
    }
}

/// Something against a message: what it leads to, and why.
struct Objection {
    verdict: Verdict,
    cause: Cause,
}

impl Objection {
    fn reject(cause: Cause) -> Self {
        Objection { verdict: Verdict::Reject(cause.clone()), cause }
    }

    fn junk(cause: Cause) -> Self {
        Objection { verdict: Verdict::Deliver(Folder::Junk), cause }
    }

    fn ends_it(&self) -> bool {
        matches!(self.verdict, Verdict::Reject(_) | Verdict::Defer(_))
    }
}

/// Judges a message for one recipient. postmaster and abuse get everything, whoever sends it and whatever it says (RFC 5321
/// section 4.5.1, RFC 2142).
pub fn decide(evidence: &Evidence, policy: &Policy, class: Class) -> Decision {
    let (dmarc, forged) = dmarc::judge(evidence, policy, class).unzip();
    if class == Class::Postmaster {
        return Decision { verdict: Verdict::Deliver(Folder::Inbox), cause: None, dmarc };
    }
    let author = judge_from_field(evidence, policy).or(forged.flatten());
    let content = judge_score(evidence.score, policy);
    let objection = match (author, content) {
        (Some(author), _) if author.ends_it() => Some(author),
        (_, Some(content)) if content.ends_it() => Some(content),
        (author, content) => author.or(content),
    };
    match objection {
        Some(Objection { verdict, cause }) => Decision { verdict, cause: Some(cause), dmarc },
        None => Decision { verdict: Verdict::Deliver(Folder::Inbox), cause: None, dmarc },
    }
}

/// A From field in which DMARC can protect nobody (RFC 9989 section 5.3.1).
fn judge_from_field(evidence: &Evidence, policy: &Policy) -> Option<Objection> {
    let found = evidence.authentication.filter(|_| policy.dmarc == DmarcMode::Enforce)?;
    match found.authors {
        Authors::Several if found.from_fields > 1 => Some(Objection::reject(Cause::SeveralFromFields)),
        Authors::Several => Some(Objection::reject(Cause::SeveralAuthors)),
        Authors::Malformed => Some(Objection::reject(Cause::MalformedFrom)),
        Authors::One(_) | Authors::None => None,
    }
}

fn judge_score(score: f64, policy: &Policy) -> Option<Objection> {
    match score {
        score if score >= policy.reject_score => {
            Some(Objection::reject(Cause::Score { score, threshold: policy.reject_score }))
        }
        score if score >= policy.junk_score => {
            Some(Objection::junk(Cause::Score { score, threshold: policy.junk_score }))
        }
        _ => None,
    }
}
