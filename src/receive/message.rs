//! The end of the mail data: from a whole message to the verdict for each recipient.
//!
//! Recipients are judged each by their own policy, and those who share a reply ([`Groups`]) are reconciled. Groups are
//! delivered one after the other, and trouble with one changes nothing for another.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::blocking::blocking;
use super::copies::{Order, cause_of};
use super::groups::Groups;
use super::incoming::{Arrived, Room};
use super::relay::{self, Origin};
use super::{Examination, Receipt, Receiver, Sender, Transaction};
use crate::address::{ForwardPath, Host, Mailbox};
use crate::authentication::{Iprev, MethodResult, SpfIdentities};
use crate::delivery::{Trouble, ledger};
use crate::envelope::Helo;
use crate::journal;
use crate::mailbox::Recipient;
use crate::message::Message;
use crate::reputation::deferral::Doubt;
use crate::smtp::{Reply, reply};
use crate::verdict::{self, Cause, Decision, Evidence, Folder, Outcome, Override, Verdict};

/// A message that has arrived whole.
#[derive(Clone)]
pub struct Arrival {
    pub(super) receiver: Arc<Receiver>,
    pub(super) transaction: Arc<Transaction>,
    pub(super) message: Arc<Message>,
    /// What the message takes of the budget. Behind the message: it goes first.
    _room: Arc<Room>,
    /// Each final mailbox once.
    pub(super) targets: Arc<[Target]>,
    groups: Arc<Groups>,
    /// Behind a trusted relay: its client, if it is known.
    origin: Option<Origin>,
}

/// One copy that may have to be made.
pub struct Target {
    /// The forward-path that led here: of several the first by its text, so that their order does not matter to the ledger.
    pub forward_path: ForwardPath,
    /// Whose copy.
    pub recipient: Recipient,
    /// The first RCPT that led here.
    rcpt: usize,
}

impl Target {
    fn also_reached_by(&mut self, path: &ForwardPath) {
        if path.to_string() < self.forward_path.to_string() {
            self.forward_path = path.clone();
        }
    }
}

/// What the ledger says of the targets: one key and one answer for each.
struct Known {
    keys: Receipt,
    seen: Vec<ledger::Seen>,
}

/// Targets that share a reply, on their way to it.
#[derive(Default)]
struct Group {
    /// Those who have not got this very message yet, the right to deliver it to them, and their verdicts.
    claimed: Vec<(usize, ledger::Claim)>,
    somebody_has_it: bool,
    /// Another session is delivering it to one of them.
    in_flight: bool,
}

impl Arrival {
    /// Puts the pieces together.
    pub fn new(receiver: &Arc<Receiver>, transaction: Transaction, arrived: Arrived) -> Self {
        let mut targets: Vec<Target> = Vec::new();
        let mut known: HashMap<Mailbox, usize> = HashMap::new();
        let mut groups = Groups::new(transaction.recipients.len(), transaction.prdr);
        for (rcpt, (path, recipients)) in transaction.recipients.iter().enumerate() {
            for recipient in recipients {
                match known.entry(recipient.mailbox.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(targets.len());
                        targets.push(Target { forward_path: path.clone(), recipient: recipient.clone(), rcpt });
                    }
                    Entry::Occupied(entry) => {
                        let target = &mut targets[*entry.get()];
                        target.also_reached_by(path);
                        groups.join(target.rcpt, rcpt);
                    }
                }
            }
        }
        let origin = transaction.is_relay.then(|| relay::origin(&arrived.message, &receiver.trusted_relays)).flatten();
        Arrival {
            receiver: receiver.clone(),
            transaction: Arc::new(transaction),
            message: Arc::new(arrived.message),
            _room: Arc::new(arrived.room),
            targets: targets.into(),
            groups: Arc::new(groups),
            origin,
        }
    }

    /// Puts the recipients on record, and who sent it.
    pub fn put_on(&self, record: &mut journal::Transaction) {
        let of = |target: &Target| journal::Recipient::of(&target.forward_path, &target.recipient.mailbox);
        record.recipients = self.targets.iter().map(of).collect();
        if let Some(Origin { address, helo }) = &self.origin {
            record.client.address = *address;
            record.helo = helo.clone().map(|host| Helo { host, extended: true });
        }
    }

    /// Decides what becomes of the message, and does it: a verdict for each RCPT, in their order, and what the positive ones
    /// are a receipt for.
    pub async fn settle(&self, record: &mut journal::Transaction) -> (Vec<Verdict>, Receipt) {
        let known = match self.look_up().await {
            Ok(known) => known,
            Err(verdict) => {
                record.recipients.iter_mut().for_each(|recipient| recipient.conclude(&verdict));
                return (vec![verdict; self.groups.rcpts()], Receipt::new());
            }
        };
        let (keys, groups) = self.group(known, record);
        let by_group = self.judge_and_deliver(groups, record).await;
        let verdict = |rcpt| by_group.get(&self.groups.of(rcpt)).unwrap_or(&Verdict::Defer(Cause::Internal));
        let mut receipt = Receipt::new();
        for ((target, key), recipient) in self.targets.iter().zip(keys).zip(&mut record.recipients) {
            let verdict = verdict(target.rcpt);
            recipient.conclude(verdict);
            receipt.extend(verdict.is_positive().then_some(key));
        }
        ((0..self.groups.rcpts()).map(|rcpt| verdict(rcpt).clone()).collect(), receipt)
    }

    /// With PRDR and several RCPTs: 353, then a reply for each. They go on record.
    pub fn replies(&self, verdicts: &[Verdict], record: &mut journal::Transaction) -> Vec<Reply> {
        let paths = self.transaction.recipients.iter().map(|(path, _)| path);
        if !self.transaction.prdr || verdicts.len() < 2 {
            return Vec::new();
        }
        let id = record.id;
        let each = paths.zip(verdicts).map(|(path, verdict)| verdict.reply_for(path, &id));
        let replies: Vec<Reply> = std::iter::once(reply::reply_for_each()).chain(each).collect();
        for (target, recipient) in self.targets.iter().zip(&mut record.recipients) {
            recipient.reply = replies.get(target.rcpt + 1).map(ToString::to_string);
        }
        replies
    }

    /// Why a message is in Junk, for the first recipient who has it there.
    pub fn junk_cause(&self, verdict: &Verdict, record: &journal::Transaction) -> Option<&'static str> {
        let junk = *verdict == Verdict::Deliver(Folder::Junk);
        record.recipients.iter().filter(|_| junk).find_map(|recipient| recipient.cause)
    }

    /// Who has this very message already? They take no part in what follows (RFC 1047).
    async fn look_up(&self) -> Result<Known, Verdict> {
        let arrival = self.clone();
        blocking(move || {
            let digest = ledger::Digest::of(&arrival.message);
            let from = &arrival.transaction.reverse_path;
            let key = |to: &Target| ledger::Key::new(from, &to.forward_path, &to.recipient.mailbox, &digest);
            let keys: Receipt = arrival.targets.iter().map(key).collect();
            let seen = arrival.receiver.ledger.look_up(&keys);
            Known { keys, seen }
        })
        .await
        .map_err(Verdict::Defer)
    }

    /// Sorts what the ledger said by group.
    fn group(&self, known: Known, record: &mut journal::Transaction) -> (Receipt, BTreeMap<usize, Group>) {
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (at, seen) in known.seen.into_iter().enumerate() {
            let group = groups.entry(self.groups.of(self.targets[at].rcpt)).or_default();
            match seen {
                ledger::Seen::New(claim) => group.claimed.push((at, claim)),
                ledger::Seen::InFlight => group.in_flight = true,
                ledger::Seen::Delivered => {
                    group.somebody_has_it = true;
                    record.recipients[at].duplicate = true;
                }
                // Targets are distinct mailboxes: nothing is asked twice.
                ledger::Seen::Repeated => {}
            }
        }
        (known.keys, groups)
    }

    /// Examines the message, judges it for each recipient that has not got it, and delivers it to those that may have it: a
    /// verdict for each group.
    async fn judge_and_deliver(
        &self,
        groups: BTreeMap<usize, Group>,
        record: &mut journal::Transaction,
    ) -> BTreeMap<usize, Verdict> {
        let mut verdicts = BTreeMap::new();
        let mut open = Vec::new();
        for (number, group) in groups {
            match group {
                Group { in_flight: true, .. } => drop(verdicts.insert(number, Verdict::Defer(Cause::InFlight))),
                // All have it: the reply got lost the last time.
                Group { claimed, .. } if claimed.is_empty() => drop(verdicts.insert(number, Verdict::Accept)),
                group => open.push((number, group)),
            }
        }
        if open.is_empty() {
            return verdicts;
        }
        let examination = self.examine(&open).await;
        examination.put_on(record);
        let judged = self.judge(&examination, &open, record).await;
        let whole = verdict::refusal_for_all(judged.iter().flatten()).cloned();
        let mut orders = Vec::new();
        for ((number, group), judged) in open.into_iter().zip(judged) {
            let outcome = match &whole {
                Some(verdict) => Outcome::Refused(verdict.clone()),
                None => verdict::reconcile(&judged, group.somebody_has_it),
            };
            match outcome {
                Outcome::Refused(verdict) => drop(verdicts.insert(number, verdict)),
                Outcome::Delivered(folders) => {
                    let order = |((target, claim), folder)| Order { target, claim, folder };
                    orders.push((number, group.claimed.into_iter().zip(folders).map(order).collect()));
                }
            }
        }
        verdicts.extend(self.deliver(orders, examination, record).await);
        verdicts
    }

    async fn examine(&self, groups: &[(usize, Group)]) -> Examination {
        let sender = self.sender();
        let policies = groups
            .iter()
            .flat_map(|(_, group)| &group.claimed)
            .map(|(target, _)| &self.targets[*target].recipient.policy);
        let is_overridden =
            |found: &_| policies.clone().all(|policy| verdict::is_overridden(found, sender.address, policy));
        let client = self.look_up_client(&sender);
        self.receiver.examiner.examine(&self.message, &sender, client, is_overridden).await
    }

    /// Who sent it: the client, or behind a trusted relay that relay's client.
    pub(super) fn sender(&self) -> Sender {
        let sender = self.transaction.sender();
        if !self.transaction.is_relay {
            return sender;
        }
        let address = self.origin.as_ref().map(|origin| origin.address);
        let helo = self.origin.as_ref().and_then(|origin| origin.helo.clone());
        Sender { address, helo, is_direct: false, ..sender }
    }

    /// SPF and iprev: begun long ago, but for the client of a relay.
    async fn look_up_client(&self, sender: &Sender) -> (SpfIdentities, Iprev) {
        let Transaction { client, is_relay, iprev, spf, .. } = &*self.transaction;
        let examiner = &self.receiver.examiner;
        match (is_relay, sender.address) {
            (false, _) => {
                let spf = spf.get_or_init(|| examiner.spf(sender)).await.clone();
                (spf, iprev.get_or_init(|| examiner.iprev(Some(client.address))).await.clone())
            }
            (true, Some(address)) => {
                // A client that is known by its address alone is checked by its reverse-path.
                let helo = sender.helo.clone().or(Some(Host::Literal(address)));
                let sender = Sender { helo, ..sender.clone() };
                tokio::join!(examiner.spf(&sender), examiner.iprev(Some(address)))
            }
            (true, None) => {
                let reason = Some("the relay does not say who its client was");
                (SpfIdentities::none(reason), examiner.iprev(None).await)
            }
        }
    }

    /// Everybody's verdict, group by group. What was decided for each goes on record.
    async fn judge(
        &self,
        examination: &Examination,
        groups: &[(usize, Group)],
        record: &mut journal::Transaction,
    ) -> Vec<Vec<Verdict>> {
        let mut evidence = Evidence {
            authentication: examination.authentication.as_ref(),
            client: self.sender().address,
            dmarc_may_defer: true,
            score: examination.hits.score(),
        };
        let mut decisions = self.decide(&evidence, groups);
        if !self.may_wait(&evidence, decisions.iter().flatten().map(|(_, decision)| decision)).await {
            evidence.dmarc_may_defer = false;
            decisions = self.decide(&evidence, groups);
        }
        let mut put_on_record = |(target, decision): (usize, Decision)| {
            record.recipients[target].judged(&decision);
            decision.verdict
        };
        decisions.into_iter().map(|group| group.into_iter().map(&mut put_on_record).collect()).collect()
    }

    /// What each recipient's policy says, and which target that is.
    fn decide(&self, evidence: &Evidence<'_>, groups: &[(usize, Group)]) -> Vec<Vec<(usize, Decision)>> {
        let decide = |(target, _): &(usize, ledger::Claim)| {
            let Recipient { policy, class, .. } = &self.targets[*target].recipient;
            let decision = verdict::decide(evidence, policy, *class);
            (*target, if self.transaction.is_relay { decision.behind_relay() } else { decision })
        };
        groups.iter().map(|(_, group)| group.claimed.iter().map(decide).collect()).collect()
    }

    /// DNS trouble defers what depends on it for some hours from the first failure. What could be answered is forgotten.
    async fn may_wait<'a>(&self, evidence: &Evidence<'_>, decisions: impl Iterator<Item = &'a Decision>) -> bool {
        let Some(dmarc) = evidence.authentication.map(|found| &found.dmarc) else { return true };
        let Some(author) = dmarc.author_domain.clone() else { return true };
        let answers: Vec<Answer> = decisions.filter_map(answer).collect();
        let doubt = answers.iter().find_map(|answer| match answer {
            Answer::Doubt(doubt) => Some(*doubt),
            Answer::NoDoubt(_) => None,
        });
        let client = evidence.client.unwrap_or(self.transaction.client.address);
        let receiver = self.receiver.clone();
        if let Some(doubt) = doubt {
            let failed = move || receiver.deferrals.on_failure(doubt, &author, client, Timestamp::now());
            return blocking(failed).await.unwrap_or(false);
        }
        let dmarc_is_known = (dmarc.result != MethodResult::TempError).then_some(Doubt::Dmarc);
        let known = answers.contains(&Answer::NoDoubt(Doubt::Forwarder)).then_some(Doubt::Forwarder);
        if !receiver.deferrals.is_empty() {
            let known = dmarc_is_known.into_iter().chain(known);
            let forget = move || known.for_each(|doubt| receiver.deferrals.on_success(doubt, &author, client));
            // What is not forgotten now is forgotten at the next success; the log has it.
            let _ = blocking(forget).await;
        }
        true
    }

    /// Delivers to one group after the other: a verdict for each.
    async fn deliver(
        &self,
        groups: Vec<(usize, Vec<Order>)>,
        examination: Examination,
        record: &mut journal::Transaction,
    ) -> Vec<(usize, Verdict)> {
        if groups.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        let (numbers, groups): (Vec<usize>, Vec<Vec<Order>>) = groups.into_iter().unzip();
        let plan = |orders: &Vec<Order>| orders.iter().map(|order| (order.target, order.folder)).collect();
        let plans: Vec<Vec<(usize, Folder)>> = groups.iter().map(plan).collect();
        let arrival = self.clone();
        let delivered = blocking(move || arrival.deliver_blocking(groups, &examination)).await;
        record.durations.delivery = started.elapsed();
        let verdicts: Vec<Verdict> = match delivered {
            Ok(results) => plans.iter().zip(results).map(|(plan, result)| conclude(plan, result, record)).collect(),
            // Nobody knows what was done: the ledger will.
            Err(cause) => vec![Verdict::Defer(cause); plans.len()],
        };
        numbers.into_iter().zip(verdicts).collect()
    }
}

/// What a decision says of DNS.
#[derive(PartialEq)]
enum Answer {
    /// It could not tell.
    Doubt(Doubt),
    /// It could.
    NoDoubt(Doubt),
}

fn answer(decision: &Decision) -> Option<Answer> {
    match (&decision.verdict, decision.dmarc.as_ref().and_then(|dmarc| dmarc.by.as_ref())) {
        (Verdict::Defer(Cause::DmarcTemporary { .. }), _) => Some(Answer::Doubt(Doubt::Dmarc)),
        (Verdict::Defer(Cause::ForwarderTemporary { .. }), _) => Some(Answer::Doubt(Doubt::Forwarder)),
        // One who was not found may not have been looked for: that proves nothing.
        (_, Some(Override::Arc(_) | Override::Forwarder(..))) => Some(Answer::NoDoubt(Doubt::Forwarder)),
        _ => None,
    }
}

/// How the delivery to one group ended. Where its copies are goes on record.
fn conclude(plan: &[(usize, Folder)], result: Result<(), Trouble>, record: &mut journal::Transaction) -> Verdict {
    if let Err(trouble) = result {
        return Verdict::Defer(cause_of(&trouble));
    }
    for (target, folder) in plan {
        record.recipients[*target].folder = Some(*folder);
    }
    let all_junk = plan.iter().all(|(_, folder)| *folder == Folder::Junk);
    Verdict::Deliver(if all_junk { Folder::Junk } else { Folder::Inbox })
}
