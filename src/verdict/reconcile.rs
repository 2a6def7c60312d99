//! One message, several recipients: what they are told together, and what becomes of it where they differ.
//!
//! *Guarantees:* whoever is told 250 gets the message, or has it; and there is never a bounce.

use super::{Folder, Verdict};

/// One message, several recipients, one reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The same answer for all: 4yz or 5yz.
    Refused(Verdict),
    /// 250: where each recipient gets it, in their order.
    Delivered(Vec<Folder>),
}

/// The verdict that refuses the message for everybody, for what it is, whoever else would take it.
pub fn refusal_for_all<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Option<&'a Verdict> {
    verdicts.into_iter().find(|v| matches!(v, Verdict::Reject(cause) if cause.concerns_message()))
}

/// Reconciles the verdicts of recipients who share a reply (RFC 5321 section 4.2.5: without PRDR all do). There is never a
/// bounce.
///
/// One who cannot take it now defers it for all: nobody has got it yet. What concerns the message as a whole refuses it
/// for all, also for who overrides it or only observes: what its author domain asks for is the same for all, and nobody is
/// to be told 250 for a message that was refused as forged. So does everybody refusing it. Where some would refuse and others take it, those who would refuse get it in
/// Junk; and so it is where `somebody_has_it` from an earlier try, for the sender must not be told that nobody does.
pub fn reconcile(verdicts: &[Verdict], somebody_has_it: bool) -> Outcome {
    let defers = verdicts.iter().find(|v| matches!(v, Verdict::Defer(_)));
    let all_reject = !somebody_has_it && verdicts.iter().all(|v| matches!(v, Verdict::Reject(_)));
    let refusal = refusal_for_all(verdicts).or(defers).or(verdicts.first().filter(|_| all_reject));
    if let Some(verdict) = refusal {
        return Outcome::Refused(verdict.clone());
    }
    let folder = |verdict: &Verdict| match verdict {
        Verdict::Deliver(folder) => *folder,
        Verdict::Accept => Folder::Inbox,
        Verdict::Defer(_) | Verdict::Reject(_) => Folder::Junk,
    };
    Outcome::Delivered(verdicts.iter().map(folder).collect())
}

/// The last word on a message whose recipients were answered each by their own verdict (PRDR): 250 if anybody has it, since
/// clients take a last refusal for everybody's; else 4yz if it may still come to anybody, else 5yz.
pub fn sum_up(verdicts: &[Verdict]) -> Verdict {
    let weight = |verdict: &&Verdict| match verdict {
        Verdict::Deliver(Folder::Inbox) => 0,
        Verdict::Deliver(Folder::Junk) => 1,
        Verdict::Accept => 2,
        Verdict::Defer(_) => 3,
        Verdict::Reject(_) => 4,
    };
    // Of equal ones the first.
    verdicts.iter().min_by_key(weight).cloned().unwrap_or(Verdict::Accept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Cause;

    const INBOX: Verdict = Verdict::Deliver(Folder::Inbox);
    const JUNK: Verdict = Verdict::Deliver(Folder::Junk);

    fn author() -> String {
        "author.example".into()
    }

    fn too_much(score: f64) -> Verdict {
        Verdict::Reject(Cause::Score { score, threshold: 15.0 })
    }

    #[test]
    fn one_reply_for_all_recipients() {
        use Folder::{Inbox, Junk};
        let dmarc = || Verdict::Reject(Cause::DmarcReject { domain: author() });
        let several = || Verdict::Reject(Cause::SeveralAuthors);
        let local = || Verdict::Reject(Cause::DmarcOverride { domain: author() });
        let later = || Verdict::Defer(Cause::DmarcTemporary { domain: author() });
        let (spam, worse) = (|| too_much(16.0), || too_much(17.0));
        let delivered = |folders: &[Folder]| Outcome::Delivered(folders.to_vec());
        let table = [
            (vec![], delivered(&[])),
            (vec![INBOX], delivered(&[Inbox])),
            (vec![Verdict::Accept, JUNK, INBOX], delivered(&[Inbox, Junk, Inbox])),
            // Who would refuse it gets it in Junk when others take it; all refusing is a refusal, by the first cause.
            (vec![spam(), INBOX, JUNK], delivered(&[Junk, Inbox, Junk])),
            (vec![spam(), worse()], Outcome::Refused(spam())),
            (vec![spam()], Outcome::Refused(spam())),
            // What concerns the message as a whole refuses it for all, also those who only observe.
            (vec![INBOX, dmarc()], Outcome::Refused(dmarc())),
            (vec![JUNK, spam(), several()], Outcome::Refused(several())),
            (vec![later(), dmarc()], Outcome::Refused(dmarc())),
            // What one domain of ours asks for in its place does not: others take it.
            (vec![INBOX, local()], delivered(&[Inbox, Junk])),
            (vec![local(), local()], Outcome::Refused(local())),
            // One who cannot tell now defers it for all.
            (vec![INBOX, later()], Outcome::Refused(later())),
            (vec![spam(), later()], Outcome::Refused(later())),
        ];
        for (verdicts, expected) in table {
            assert_eq!(reconcile(&verdicts, false), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn a_retry_is_not_refused_by_score_when_somebody_has_the_message() {
        assert_eq!(reconcile(&[too_much(16.0)], true), Outcome::Delivered(vec![Folder::Junk]));
        let dmarc = Verdict::Reject(Cause::DmarcReject { domain: author() });
        assert_eq!(reconcile(std::slice::from_ref(&dmarc), true), Outcome::Refused(dmarc));
    }

    #[test]
    fn the_last_reply_is_2yz_if_anybody_has_it() {
        let (later, spam) = (|| Verdict::Defer(Cause::InFlight), || too_much(16.0));
        let table = [
            (vec![spam(), later(), JUNK, INBOX], INBOX),
            (vec![spam(), JUNK, Verdict::Accept], JUNK),
            (vec![spam(), later(), Verdict::Accept], Verdict::Accept),
            (vec![spam(), later(), Verdict::Defer(Cause::StorageFull)], later()),
            (vec![spam(), too_much(17.0)], spam()),
        ];
        for (verdicts, expected) in table {
            assert_eq!(sum_up(&verdicts), expected, "{verdicts:?}");
        }
    }
}
