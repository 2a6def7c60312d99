//! The mail path: what the protocol asks, in the order in which it asks.
//!
//! ```text
//! client     (connect)       iprev starts
//! sender     (MAIL)          SPF starts, for the reverse-path and for HELO
//! recipient  (RCPT)          does the mailbox exist?
//! Incoming   (DATA)          memory, or a temporary file
//! message    (end of data)   ledger, examination, verdicts, delivery, record
//! seen       (afterwards)    the client has seen our reply: the ledger may forget
//! ```
//!
//! A client in `listen.trusted_relays` is a relay of ours: nothing is looked up for it. At the end of the data the Received
//! field that it wrote says who its client was, and iprev and SPF run for that one.
//!
//! *Guarantees:* 250 at the end of data is said only after every copy and every directory is on disk. Trouble in writing
//! mail is 4yz; trouble with state or DNS refuses nothing. Blocking work stays off the async workers.

mod blocking;
mod budget;
mod copies;
mod evidence;
mod examine;
mod groups;
mod incoming;
mod message;
mod received_spf;
mod relay;
mod set_up;
mod spool;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::address::{ForwardPath, ReversePath};
use crate::authentication::{Iprev, SpfIdentities};
use crate::delivery::ledger;
use crate::envelope::{Client, Helo, Id, Tls};
use crate::journal;
use crate::mailbox::{Class, Lookup, Recipient};
use crate::smtp::{Mail, Rcpt, Reply};
use crate::verdict::{self, Cause, Question, Verdict};

pub use examine::{Examination, Examiner, Sender};
pub use incoming::Incoming;
pub use set_up::{Receiver, SetUpError};

/// One client's visit: what holds for all its transactions.
pub struct Visit {
    /// The connection's id.
    pub id: Id,
    /// Who is connected.
    pub client: Client,
    /// It is a relay of ours, which passes on what others sent.
    is_relay: bool,
    iprev: Arc<OnceCell<Iprev>>,
    _looking_up: Option<Background>,
}

impl Visit {
    /// TLS has been negotiated.
    pub fn on_tls(&mut self, tls: Tls) {
        self.client.tls = Some(tls);
    }
}

/// One transaction, from MAIL on.
pub struct Transaction {
    id: Id,
    connection: Id,
    client: Client,
    is_relay: bool,
    helo: Option<Helo>,
    reverse_path: ReversePath,
    smtputf8: bool,
    prdr: bool,
    started: Instant,
    time: Timestamp,
    iprev: Arc<OnceCell<Iprev>>,
    spf: Arc<OnceCell<SpfIdentities>>,
    looking_up: Option<Background>,
    /// For each accepted RCPT: the path as given, and the mailboxes behind it.
    recipients: Vec<(ForwardPath, Vec<Recipient>)>,
}

/// A check that goes on while the session does, and ends with whoever wanted to know: a client that opens and drops one
/// transaction after the other leaves nothing running behind it.
struct Background(AbortHandle);

impl Background {
    fn start(check: impl Future<Output = ()> + Send + 'static) -> Self {
        Background(tokio::spawn(check).abort_handle())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ledger entries whose reply is on its way: to be released when the client has seen it.
pub type Receipt = Vec<ledger::Key>;

/// A client has connected: what can be found out about it starts now, and is waited for at the end of data.
pub fn client(receiver: &Arc<Receiver>, id: Id, client: Client) -> Visit {
    let is_relay = relay::is_trusted(client.address, &receiver.trusted_relays);
    let iprev = Arc::new(OnceCell::new());
    let (examiner, cell, address) = (receiver.examiner.clone(), iprev.clone(), client.address);
    let look_up = async move {
        cell.get_or_init(|| examiner.iprev(Some(address))).await;
    };
    let looking_up = (!is_relay).then(|| Background::start(look_up));
    Visit { id, client, is_relay, iprev, _looking_up: looking_up }
}

/// MAIL: may this sender open a transaction? Everybody may while there is room: refusals are spoken at RCPT and later, so
/// that sender and recipient are on record. SPF starts.
pub fn sender(receiver: &Arc<Receiver>, visit: &Visit, mail: &Mail<'_>) -> (Transaction, Reply) {
    let mut transaction = Transaction {
        id: journal::new_id(),
        connection: visit.id,
        client: visit.client.clone(),
        is_relay: visit.is_relay,
        helo: mail.helo().cloned(),
        reverse_path: mail.envelope().reverse_path.clone(),
        smtputf8: mail.envelope().smtputf8,
        prdr: mail.envelope().prdr,
        started: Instant::now(),
        time: Timestamp::now(),
        iprev: visit.iprev.clone(),
        spf: Arc::default(),
        looking_up: None,
        recipients: Vec::new(),
    };
    // RFC 1870 section 6.1: what cannot be taken now is better refused before it is sent.
    if mail.envelope().size_octets.is_some_and(|octets| !receiver.budget.has_room_for(octets, visit.client.address)) {
        let reply = Verdict::Defer(Cause::NoRoom).reply(Question::Sender, &transaction.id);
        transaction.log_refused_sender(&Cause::NoRoom, &reply);
        return (transaction, reply);
    }
    let (examiner, cell, sender) = (receiver.examiner.clone(), transaction.spf.clone(), transaction.sender());
    let look_up = async move {
        cell.get_or_init(|| examiner.spf(&sender)).await;
    };
    transaction.looking_up = (!visit.is_relay).then(|| Background::start(look_up));
    let reply = Verdict::Accept.reply(Question::Sender, &transaction.id);
    (transaction, reply)
}

/// RCPT: do we take responsibility for this recipient?
pub fn recipient(receiver: &Receiver, transaction: &mut Transaction, rcpt: &Rcpt<'_>) -> Reply {
    let path = rcpt.forward_path();
    let verdict = match receiver.mailboxes.look_up(path) {
        Lookup::NotOurs => Verdict::Reject(Cause::NotOurDomain),
        Lookup::UnknownUser => Verdict::Reject(Cause::UnknownMailbox),
        Lookup::Local(recipients) => transaction.admit(path, recipients),
    };
    let reply = verdict.reply(Question::Recipient, &transaction.id);
    if let Some(cause) = verdict.cause() {
        transaction.log_refused_recipient(path, cause, &reply);
    }
    reply
}

/// What the client is told at the end of the mail data.
#[derive(Debug)]
pub struct Replies {
    /// With PRDR and several recipients: 353, then a reply for each accepted RCPT, in order. Otherwise nothing.
    pub each: Vec<Reply>,
    /// The final reply.
    pub last: Reply,
}

/// The end of the mail data: what becomes of the message? Hands back the replies, and what to release once they are seen.
pub async fn message(receiver: &Arc<Receiver>, transaction: Transaction, incoming: Incoming) -> (Replies, Receipt) {
    let (replies, receipt, record) = conclude(receiver, transaction, incoming).await;
    receiver.counters.count(&record);
    record.log();
    (replies, receipt)
}

async fn conclude(
    receiver: &Arc<Receiver>,
    transaction: Transaction,
    incoming: Incoming,
) -> (Replies, Receipt, journal::Transaction) {
    let mut record = transaction.record(incoming.octets());
    let arrived = match incoming.arrive().await {
        Ok(arrived) => arrived,
        Err(cause) => return not_arrived(transaction, record, cause),
    };
    let arrival = message::Arrival::new(receiver, transaction, arrived);
    arrival.put_on(&mut record);
    let (verdicts, receipt) = arrival.settle(&mut record).await;
    let last = verdict::sum_up(&verdicts);
    let each = arrival.replies(&verdicts, &mut record);
    let replies = Replies { each, last: last.reply(Question::Message, &record.id) };
    let cause = last.cause().map(Cause::name).or_else(|| arrival.junk_cause(&last, &record));
    record.conclude(last.name(), cause, &replies.last);
    (replies, receipt, record)
}

/// There was no room for the message, or no disk that would keep it: nobody gets it now.
fn not_arrived(
    transaction: Transaction,
    mut record: journal::Transaction,
    cause: Cause,
) -> (Replies, Receipt, journal::Transaction) {
    record.recipients = transaction.recipients_on_record();
    let verdict = Verdict::Defer(cause);
    record.recipients.iter_mut().for_each(|recipient| recipient.conclude(&verdict));
    let last = verdict.reply(Question::Message, &record.id);
    record.conclude(verdict.name(), verdict.cause().map(Cause::name), &last);
    (Replies { each: Vec::new(), last }, Receipt::new(), record)
}

/// Mail data that broke the protocol is refused by this reply: it goes on record as well. Hands it back with its id.
pub fn refused(receiver: &Receiver, transaction: Transaction, octets: u64, reply: Reply) -> Replies {
    let mut record = transaction.record(octets);
    record.recipients = transaction.recipients_on_record();
    let reply = reply.cite(&record.id);
    record.conclude("reject", Some("protocol"), &reply);
    receiver.counters.count(&record);
    record.log();
    Replies { each: Vec::new(), last: reply }
}

/// A transaction was given up before its end, by RSET or with the connection: it goes on record as well.
pub fn abandoned(transaction: Transaction) {
    let mut record = transaction.record(0);
    record.recipients = transaction.recipients_on_record();
    record.verdict = "abandoned";
    record.log();
}

/// The client has provably seen the reply: the same octets sent again are a new message from now on.
pub async fn seen(receiver: &Arc<Receiver>, receipt: Receipt) {
    let receiver = receiver.clone();
    // A release that fails costs at most a second try that is taken for the first.
    let _ = tokio::task::spawn_blocking(move || receiver.ledger.release(&receipt)).await;
}

impl Transaction {
    fn sender(&self) -> Sender {
        Sender {
            address: Some(self.client.address),
            helo: self.helo.as_ref().map(|helo| helo.host.clone()),
            reverse_path: self.reverse_path.clone(),
            is_direct: true,
        }
    }

    /// Takes a recipient that exists, if it may share the transaction with those before it.
    fn admit(&mut self, path: &ForwardPath, recipients: Vec<Recipient>) -> Verdict {
        let class = |recipients: &[Recipient]| recipients.first().map_or(Class::Ordinary, |recipient| recipient.class);
        match self.recipients.first() {
            // A notification has one recipient (RFC 5321 section 4.5.5).
            Some(_) if self.reverse_path == ReversePath::Null => Verdict::Defer(Cause::NotificationRecipients),
            Some((_, first)) if class(first) != class(&recipients) => Verdict::Defer(Cause::MixedClasses),
            _ => {
                self.recipients.push((path.clone(), recipients));
                Verdict::Accept
            }
        }
    }

    /// The decision record, as far as it is known before the message is judged.
    fn record(&self, octets: u64) -> journal::Transaction {
        journal::Transaction {
            id: self.id,
            connection: self.connection,
            client: self.client.clone(),
            relay: self.is_relay.then_some(self.client.address),
            helo: self.helo.clone(),
            reverse_path: self.reverse_path.to_string(),
            recipients: Vec::new(),
            octets,
            authentication: None,
            score: None,
            hits: Vec::new(),
            verdict: "",
            cause: None,
            reply: String::new(),
            durations: journal::Durations { receive: self.started.elapsed(), ..Default::default() },
        }
    }

    /// The recipients, before anything became of them.
    fn recipients_on_record(&self) -> Vec<journal::Recipient> {
        let recipients =
            self.recipients.iter().flat_map(|(path, recipients)| recipients.iter().map(move |r| (path, r)));
        recipients.map(|(path, recipient)| journal::Recipient::of(path, &recipient.mailbox)).collect()
    }

    fn log_refused_sender(&self, cause: &Cause, reply: &Reply) {
        tracing::info!(
            target: "mxkeep::sender",
            id = %self.id,
            connection = %self.connection,
            client = %self.client.address,
            from = self.reverse_path.to_string().as_str(),
            cause = cause.name(),
            reply = reply.to_string().as_str(),
        );
    }

    fn log_refused_recipient(&self, path: &ForwardPath, cause: &Cause, reply: &Reply) {
        tracing::info!(
            target: "mxkeep::recipient",
            id = %self.id,
            connection = %self.connection,
            client = %self.client.address,
            from = self.reverse_path.to_string().as_str(),
            to = path.to_string().as_str(),
            cause = cause.name(),
            reply = reply.to_string().as_str(),
        );
    }
}
