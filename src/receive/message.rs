//! The end of the mail data: from a whole message to its final verdict.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Receipt, Receiver, Transaction, trace};
use crate::address::{ForwardPath, Mailbox};
use crate::authentication::{self, Authentication, MethodResult};
use crate::delivery::{self, Kind, Mail, Trouble, ledger};
use crate::journal;
use crate::mailbox::Recipient;
use crate::message::{Field, Message};
use crate::receive::Examination;
use crate::rules;
use crate::verdict::{self, Cause, Evidence, Folder, Outcome, Verdict};

/// A message that has arrived whole.
#[derive(Clone)]
pub struct Arrival {
    receiver: Arc<Receiver>,
    transaction: Arc<Transaction>,
    message: Arc<Message>,
    /// Each final mailbox once.
    targets: Arc<[Target]>,
}

/// One copy that may have to be made.
struct Target {
    /// The forward-path that led here: of several the first by its text, so that their order does not matter to the ledger.
    forward_path: ForwardPath,
    recipient: Recipient,
}

impl Target {
    fn also_reached_by(&mut self, path: &ForwardPath) {
        if path.to_string() < self.forward_path.to_string() {
            self.forward_path = path.clone();
        }
    }
}

/// A target that has not got this very message yet, and the right to deliver it.
struct Claimed {
    target: usize,
    claim: ledger::Claim,
}

/// What the ledger says of the targets.
pub struct Known {
    /// One key for each target: what 250 is a receipt for.
    receipt: Receipt,
    claimed: Vec<Claimed>,
}

impl Arrival {
    /// Puts the pieces together.
    pub fn new(receiver: &Arc<Receiver>, transaction: Transaction, message: Message) -> Self {
        let mut targets: Vec<Target> = Vec::new();
        let mut known: HashMap<Mailbox, usize> = HashMap::new();
        for (path, recipients) in &transaction.recipients {
            for recipient in recipients {
                match known.entry(recipient.mailbox.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(targets.len());
                        targets.push(Target { forward_path: path.clone(), recipient: recipient.clone() });
                    }
                    Entry::Occupied(entry) => targets[*entry.get()].also_reached_by(path),
                }
            }
        }
        Arrival {
            receiver: receiver.clone(),
            transaction: Arc::new(transaction),
            message: Arc::new(message),
            targets: targets.into(),
        }
    }

    /// Who has this very message already? They take no part in what follows (RFC 1047).
    pub async fn look_up(&self, record: &mut journal::Transaction) -> Result<Known, Verdict> {
        let arrival = self.clone();
        let (receipt, seen) = blocking(move || arrival.look_up_blocking()).await?;
        let mut claimed = Vec::new();
        for (at, (target, seen)) in self.targets.iter().zip(seen).enumerate() {
            let mut recipient = journal::Recipient::of(&target.forward_path, &target.recipient.mailbox);
            recipient.duplicate = matches!(seen, ledger::Seen::Delivered);
            record.recipients.push(recipient);
            match seen {
                ledger::Seen::New(claim) => claimed.push(Claimed { target: at, claim }),
                ledger::Seen::InFlight => return Err(Verdict::Defer(Cause::InFlight)),
                // Targets are distinct mailboxes: nothing is asked twice.
                ledger::Seen::Delivered | ledger::Seen::Repeated => {}
            }
        }
        Ok(Known { receipt, claimed })
    }

    fn look_up_blocking(&self) -> (Receipt, Vec<ledger::Seen>) {
        let digest = ledger::Digest::of(&self.message);
        let reverse_path = &self.transaction.reverse_path;
        let key =
            |target: &Target| ledger::Key::new(reverse_path, &target.forward_path, &target.recipient.mailbox, &digest);
        let keys: Receipt = self.targets.iter().map(key).collect();
        let seen = self.receiver.ledger.look_up(&keys);
        (keys, seen)
    }

    /// Examines the message, judges it for each recipient that has not got it, and delivers it to those that may have it.
    /// 250 is a receipt for those who had it already, too.
    pub async fn judge_and_deliver(&self, known: Known, record: &mut journal::Transaction) -> (Verdict, Receipt) {
        let Known { receipt, claimed } = known;
        if claimed.is_empty() {
            // All have it: the reply got lost the last time.
            return (Verdict::Accept, receipt);
        }
        let examination = self.examine().await;
        examination.put_on(record);
        let verdicts = self.judge(&examination, &claimed).await;
        let somebody_has_it = claimed.len() < self.targets.len();
        let verdict = match verdict::reconcile(&verdicts, somebody_has_it) {
            Outcome::Refused(verdict) => verdict,
            Outcome::Delivered(folders) => self.deliver(claimed, folders, examination, record).await,
        };
        match verdict {
            Verdict::Accept | Verdict::Deliver(_) => (verdict, receipt),
            Verdict::Defer(_) | Verdict::Reject(_) => (verdict, Receipt::new()),
        }
    }

    async fn examine(&self) -> Examination {
        let Transaction { client, iprev, spf, .. } = &*self.transaction;
        let (examiner, sender) = (&self.receiver.examiner, self.transaction.sender());
        let started = Instant::now();
        let spf = spf.get_or_init(|| examiner.spf(&sender)).await.clone();
        let iprev = iprev.get_or_init(|| examiner.iprev(Some(client.address))).await.clone();
        let waited = started.elapsed();
        let mut examination = examiner.examine(&self.message, &sender, spf, iprev).await;
        examination.authentication_time += waited;
        examination
    }

    async fn judge(&self, examination: &Examination, claimed: &[Claimed]) -> Vec<Verdict> {
        let dmarc_may_defer = match &examination.authentication {
            Some(authentication) => self.dmarc_may_defer(authentication).await,
            None => false,
        };
        let evidence = Evidence {
            authentication: examination.authentication.as_ref(),
            dmarc_may_defer,
            score: examination.hits.score(),
        };
        let judge = |claimed: &Claimed| {
            let Recipient { policy, class, .. } = &self.targets[claimed.target].recipient;
            verdict::decide(&evidence, policy, *class)
        };
        claimed.iter().map(judge).collect()
    }

    /// A DMARC record that cannot be looked up defers for some hours from the first failure; where SPF or DKIM passed for
    /// the author domain itself, nothing is in doubt.
    async fn dmarc_may_defer(&self, authentication: &Authentication) -> bool {
        let Some(author) = authentication.dmarc.author_domain.clone() else { return false };
        let (receiver, client) = (self.receiver.clone(), self.transaction.client.address);
        if authentication.dmarc.result != MethodResult::TempError {
            if receiver.deferrals.is_empty() {
                return false;
            }
            // What is not forgotten now is forgotten at the next success; the log has it.
            let _ = blocking(move || receiver.deferrals.on_success(&author, client)).await;
            return false;
        }
        if authentication.passes_for(&author) {
            return false;
        }
        blocking(move || receiver.deferrals.on_failure(&author, client, Timestamp::now())).await.unwrap_or(false)
    }

    async fn deliver(
        &self,
        claimed: Vec<Claimed>,
        folders: Vec<Folder>,
        examination: Examination,
        record: &mut journal::Transaction,
    ) -> Verdict {
        let started = Instant::now();
        let (arrival, to) = (self.clone(), folders.clone());
        let targets: Vec<usize> = claimed.iter().map(|claimed| claimed.target).collect();
        let delivered = blocking(move || arrival.deliver_blocking(claimed, &to, &examination)).await;
        record.durations.delivery = started.elapsed();
        match delivered {
            Ok(Ok(_)) => {
                for (target, folder) in targets.into_iter().zip(&folders) {
                    record.recipients[target].folder = Some(*folder);
                }
                let all_junk = folders.iter().all(|folder| *folder == Folder::Junk);
                Verdict::Deliver(if all_junk { Folder::Junk } else { Folder::Inbox })
            }
            Ok(Err(trouble)) => Verdict::Defer(cause_of(&trouble)),
            Err(verdict) => verdict,
        }
    }

    fn deliver_blocking(
        &self,
        claimed: Vec<Claimed>,
        folders: &[Folder],
        examination: &Examination,
    ) -> Result<delivery::Delivered, Trouble> {
        let Receiver { hostname, line_endings, .. } = &*self.receiver;
        let common = self.common_trace(examination);
        let copies = claimed.into_iter().zip(folders).map(|(claimed, folder)| {
            let target = &self.targets[claimed.target];
            delivery::Copy {
                claim: claimed.claim,
                maildir: target.recipient.maildir.clone(),
                folder: match folder {
                    Folder::Inbox => delivery::Folder::Inbox,
                    Folder::Junk => delivery::Folder::Named(target.recipient.policy.junk_folder.clone()),
                },
                trace: self.trace(target, &common, examination),
            }
        });
        let removed = |field: &Field<'_>| is_removed(field, hostname);
        let mail = Mail { message: &self.message, line_endings: *line_endings, removed: &removed };
        delivery::stage(&mail, copies.collect())?.commit()
    }

    /// The trace fields that say the same for every recipient.
    fn common_trace(&self, examination: &Examination) -> String {
        let authentication = &examination.authentication;
        authentication.as_ref().map(|found| found.field(&self.receiver.hostname)).unwrap_or_default()
    }

    /// All trace fields of one copy (RFC 5321 section 4.4), top to bottom.
    fn trace(&self, target: &Target, common: &str, examination: &Examination) -> Vec<u8> {
        let Transaction { client, helo, smtputf8, id, time, reverse_path, .. } = &*self.transaction;
        let iprev = examination.authentication.as_ref().map(|found| &found.iprev);
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
            trace::received(&reception, &target.forward_path),
            common.to_owned(),
            rules::spam_status_fields(&examination.hits, target.recipient.policy.junk_score),
        ];
        fields.concat().into_bytes()
    }
}

/// Fields of the message that only we may write: they would be taken for our word.
fn is_removed(field: &Field<'_>, hostname: &str) -> bool {
    let spam = field.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"X-Spam-"));
    spam || field.is("Return-Path") || authentication::is_forged(field, hostname)
}

fn cause_of(trouble: &Trouble) -> Cause {
    match trouble.kind() {
        Kind::Full => Cause::StorageFull,
        _ => Cause::StorageFailed,
    }
}

/// How long a sender waits for storage before it is told to try again, in seconds: they wait ten minutes (RFC 5321 section
/// 4.5.3.2.6), and a file system that hangs may hang for ever.
const STORAGE_SECONDS_MAX: u64 = 240;

/// Runs what blocks on a thread that may. A panic there is ours, and defers this message alone. Past the deadline the work
/// goes on, with its claims: the sender's retry finds them in flight, and later the message delivered.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Verdict> {
    let work = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(Duration::from_secs(STORAGE_SECONDS_MAX), work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "a delivery thread failed: the message is deferred");
            Err(Verdict::Defer(Cause::Internal))
        }
        Err(_) => {
            tracing::error!(
                seconds = STORAGE_SECONDS_MAX,
                "storage does not answer: the message is deferred; is a file system hanging?"
            );
            Err(Verdict::Defer(Cause::StorageFailed))
        }
    }
}
