//! The copies of a message: what is put on top of each, and where it goes.

use super::message::{Arrival, Target};
use super::received_spf::received_spf;
use super::{Receiver, Transaction, trace};
use crate::authentication;
use crate::delivery::{self, Content, Kind, Mail, Trouble, ledger::Claim};
use crate::message::Field;
use crate::receive::Examination;
use crate::verdict::{Cause, Folder};

/// A target that is to get the message, the right to deliver it, and the folder.
pub struct Order {
    /// Which target.
    pub target: usize,
    /// What keeps other sessions from delivering the same.
    pub claim: Claim,
    /// Where to.
    pub folder: Folder,
}

/// Trace fields that are the same on every copy.
struct CommonTrace {
    /// Received-SPF, if it is wanted: above Received.
    received_spf: String,
    /// Authentication-Results: below it.
    results: String,
}

impl Arrival {
    /// Delivers to one group after the other: how each went. Blocks.
    pub fn deliver_blocking(&self, groups: Vec<Vec<Order>>, examination: &Examination) -> Vec<Result<(), Trouble>> {
        let Receiver { hostname, line_endings, .. } = &*self.receiver;
        let removed = |field: &Field<'_>| is_removed(field, hostname);
        let mail = Mail { message: &self.message, line_endings: *line_endings, removed: &removed };
        let (content, common) = (Content::new(&mail), self.common_trace(examination));
        let copy = |order: Order| {
            let target = &self.targets[order.target];
            delivery::Copy {
                claim: order.claim,
                maildir: target.recipient.maildir.clone(),
                folder: match order.folder {
                    Folder::Inbox => delivery::Folder::Inbox,
                    Folder::Junk => delivery::Folder::Named(target.recipient.policy.junk_folder.clone()),
                },
                trace: self.trace(target, &common, examination),
            }
        };
        let deliver = |orders: Vec<Order>| {
            let copies = orders.into_iter().map(copy).collect();
            delivery::stage(&content, copies)?.commit().map(|_delivered| ())
        };
        groups.into_iter().map(deliver).collect()
    }

    /// The trace fields that say the same for every recipient.
    fn common_trace(&self, examination: &Examination) -> CommonTrace {
        let (found, hostname) = (&examination.authentication, &self.receiver.hostname);
        let wanted = found.as_ref().filter(|_| self.receiver.received_spf);
        CommonTrace {
            received_spf: wanted.map(|found| received_spf(found, &self.sender(), hostname)).unwrap_or_default(),
            results: found.as_ref().map(|found| found.field(hostname)).unwrap_or_default(),
        }
    }

    /// All trace fields of one copy (RFC 5321 section 4.4), top to bottom.
    fn trace(&self, target: &Target, common: &CommonTrace, examination: &Examination) -> Vec<u8> {
        let Transaction { client, is_relay, helo, smtputf8, id, time, reverse_path, .. } = &*self.transaction;
        // What was looked up behind a relay is the name of the relay's client.
        let iprev = examination.authentication.as_ref().filter(|_| !is_relay).map(|found| &found.iprev);
        let reception = trace::Reception {
            client,
            helo: helo.as_ref(),
            smtputf8: *smtputf8,
            client_name: iprev.and_then(|iprev| iprev.name.as_ref()).map(|name| name.as_str()),
            hostname: &self.receiver.hostname,
            id,
            time: *time,
        };
        let fields = [
            trace::return_path(reverse_path),
            trace::delivered_to(&target.recipient.mailbox),
            common.received_spf.clone(),
            trace::received(&reception, &target.forward_path),
            common.results.clone(),
            self.receiver.examiner.status_fields(&examination.hits, target.recipient.policy.junk_score),
        ];
        fields.concat().into_bytes()
    }
}

/// Fields of the message that only we may write: they would be taken for our word.
fn is_removed(field: &Field<'_>, hostname: &str) -> bool {
    let spam = field.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"X-Spam-"));
    spam || field.is("Return-Path") || authentication::is_forged(field, hostname)
}

/// What the sender is told of trouble.
pub fn cause_of(trouble: &Trouble) -> Cause {
    match trouble.kind() {
        Kind::Full => Cause::StorageFull,
        _ => Cause::StorageFailed,
    }
}
