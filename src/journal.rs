//! The decision record: one for each connection and each transaction, filled on the way, logged as one event.
//!
//! *Guarantees:* fixed field names. Says who sent what to whom (addresses), what was seen and decided and why, and how long
//! each part took; never a subject, never text of a message.
//! *Never does:* decide. A record is written when the decision stands and its reply is not sent yet: a log that blocks (a
//! full pipe) holds replies up.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::authentication::{Authentication, Dkim, MethodResult};
use crate::envelope::{Client, Helo, Id};
use crate::smtp::Reply;
use crate::verdict::{Cause, Decision, Disposition, Folder, Override, Verdict};

/// A new id: 44 bits of milliseconds, so that ids sort by time, and 28 bits that nobody can guess.
pub fn new_id() -> Id {
    static SECRET: OnceLock<RandomState> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let millis = jiff::Timestamp::now().as_millisecond().max(0) as u128;
    let mut hasher = SECRET.get_or_init(RandomState::new).build_hasher();
    hasher.write_u64(COUNTER.fetch_add(1, Ordering::Relaxed));
    Id::from_bits(millis << 28 | u128::from(hasher.finish() & 0xfff_ffff))
}

/// What happened to one transaction, from MAIL to its final reply.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Stands in the replies, the trace fields and the log.
    pub id: Id,
    /// The connection's id.
    pub connection: Id,
    /// Who sent it: who was connected, or whom the trusted relay that was connected had it from, if that is known.
    pub client: Client,
    /// The trusted relay of ours that was connected.
    pub relay: Option<IpAddr>,
    /// What the client called itself.
    pub helo: Option<Helo>,
    /// MAIL FROM, without brackets.
    pub reverse_path: String,
    /// The recipients, in order.
    pub recipients: Vec<Recipient>,
    /// Mail data in octets.
    pub octets: u64,
    /// SPF, DKIM, DMARC, iprev, once known.
    pub authentication: Option<Authentication>,
    /// The rules' sum, once known.
    pub score: Option<f64>,
    /// Names and scores of the rules that hit.
    pub hits: Vec<(String, f64)>,
    /// The verdict on the message as a whole.
    pub verdict: &'static str,
    /// Why it was refused or is in Junk.
    pub cause: Option<&'static str>,
    /// The final reply as sent.
    pub reply: String,
    /// How long each part took.
    pub durations: Durations,
}

/// One recipient of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// RCPT TO as given, without brackets.
    pub forward_path: String,
    /// The final mailbox.
    pub mailbox: String,
    /// Where it landed; `None`: refused, or had it already.
    pub folder: Option<Folder>,
    /// The ledger knew this very message for this recipient: no second copy.
    pub duplicate: bool,
    /// The verdict for this recipient as one word; empty: there was none.
    pub verdict: &'static str,
    /// Why it was refused or is in Junk.
    pub cause: Option<&'static str>,
    /// What DMARC asked for, what was done for this recipient, and who overrode it. `None`: it did not fail.
    pub dmarc: Option<Disposition>,
    /// The reply for this recipient alone (PRDR).
    pub reply: Option<String>,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Durations {
    /// MAIL to the end of the mail data.
    pub receive: Duration,
    /// SPF, DKIM, DMARC, as far as it was waited for.
    pub authentication: Duration,
    /// Content rules.
    pub rules: Duration,
    /// Staging, intent, rename, fsyncs.
    pub delivery: Duration,
}

impl Transaction {
    /// Notes the final reply and what it says.
    pub fn conclude(&mut self, verdict: &'static str, cause: Option<&'static str>, reply: &Reply) {
        self.verdict = verdict;
        self.cause = cause;
        self.reply = reply.to_string();
    }

    /// One event, target `mxkeep::transaction`.
    pub fn log(&self) {
        let summary = self.authentication.as_ref().map(summary).unwrap_or_default();
        let hits: Vec<_> = self.hits.iter().map(|(name, score)| format!("{name}={score}")).collect();
        let recipients: Vec<_> = self.recipients.iter().map(Recipient::summary).collect();
        let dmarc = self.authentication.as_ref().map(|found| &found.dmarc);
        tracing::info!(
            target: "mxkeep::transaction",
            id = %self.id,
            connection = %self.connection,
            client = %self.client.address,
            relay = self.relay.map(|relay| relay.to_string()).unwrap_or_default(),
            helo = %self.helo.as_ref().map(|helo| helo.host.to_string()).unwrap_or_default(),
            tls = self.client.tls.as_ref().map(|tls| tls.version.as_str()).unwrap_or_default(),
            from = self.reverse_path.as_str(),
            to = recipients.join(",").as_str(),
            octets = self.octets,
            authentication = summary.as_str(),
            dmarc = dmarc.map(|dmarc| dmarc.result.to_string()).unwrap_or_default().as_str(),
            policy = dmarc.and_then(|dmarc| dmarc.policy).map(|policy| policy.to_string()).unwrap_or_default().as_str(),
            applied = self.of_each(|dmarc| dmarc.applied.to_string()).as_str(),
            "override" = self.of_each(|dmarc| dmarc.by.as_ref().map(Override::to_string).unwrap_or_default()).as_str(),
            score = self.score,
            rules = %hits.join(","),
            verdict = self.verdict,
            cause = self.cause.unwrap_or_default(),
            reply = self.reply.as_str(),
            receive_ms = millis(self.durations.receive),
            authentication_ms = millis(self.durations.authentication),
            rules_ms = millis(self.durations.rules),
            delivery_ms = millis(self.durations.delivery),
        );
    }

    /// What became of DMARC's policy, as one word where it is the same for all whom it was decided for; else a word for each
    /// recipient, in their order.
    fn of_each(&self, word: impl Fn(&Disposition) -> String) -> String {
        let words: Vec<Option<String>> = self.recipients.iter().map(|r| r.dmarc.as_ref().map(&word)).collect();
        let mut decided = words.iter().flatten();
        match decided.next() {
            None => String::new(),
            Some(first) if decided.all(|word| word == first) => first.clone(),
            Some(_) => words.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(","),
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// `spf=pass helo=none dkim=pass/example.org dmarc=pass iprev=fail`; `helo` is SPF of HELO beside the reverse-path, and there
/// is `arc=pass` where there is a chain.
fn summary(found: &Authentication) -> String {
    let domain = |dkim: &Dkim| dkim.domain.as_ref().map(|domain| format!("/{domain}")).unwrap_or_default();
    let dkim: String = match found.dkim.as_slice() {
        [] => " dkim=none".into(),
        signatures => signatures.iter().map(|dkim| format!(" dkim={}{}", dkim.result, domain(dkim))).collect(),
    };
    let helo = found.spf_helo.as_ref().map(|spf| format!(" helo={}", spf.result)).unwrap_or_default();
    let arc = match found.arc.result {
        MethodResult::None => String::new(),
        result => format!(" arc={result}"),
    };
    format!("spf={}{helo}{dkim}{arc} dmarc={} iprev={}", found.spf.result, found.dmarc.result, found.iprev.result)
}

impl Recipient {
    /// One that nothing has been decided of.
    pub fn of(forward_path: &impl ToString, mailbox: &impl ToString) -> Self {
        let (forward_path, mailbox) = (forward_path.to_string(), mailbox.to_string());
        Recipient {
            forward_path,
            mailbox,
            folder: None,
            duplicate: false,
            verdict: "",
            cause: None,
            dmarc: None,
            reply: None,
        }
    }

    fn summary(&self) -> String {
        let landed = match (self.duplicate, self.folder) {
            (true, _) => "duplicate",
            (false, Some(Folder::Inbox)) => "inbox",
            (false, Some(Folder::Junk)) => "junk",
            (false, None) => "none",
        };
        let why = self.cause.map(|cause| format!("/{cause}")).unwrap_or_default();
        match self.forward_path == self.mailbox {
            true => format!("{}:{landed}{why}", self.mailbox),
            false => format!("{}>{}:{landed}{why}", self.forward_path, self.mailbox),
        }
    }

    /// Notes what was decided for this recipient alone.
    pub fn judged(&mut self, decision: &Decision) {
        self.cause = decision.cause.as_ref().map(Cause::name);
        self.dmarc = decision.dmarc.clone();
    }

    /// Notes the verdict on this recipient: where the message has been put if it was delivered, and why else not.
    pub fn conclude(&mut self, verdict: &Verdict) {
        if let Some(dmarc) = &mut self.dmarc {
            dmarc.settle(&self.folder.map_or_else(|| verdict.clone(), Verdict::Deliver));
        }
        self.verdict = match (self.duplicate, self.folder) {
            (true, _) => "accept",
            (false, Some(folder)) => Verdict::Deliver(folder).name(),
            (false, None) => verdict.name(),
        };
        if let Some(cause) = verdict.cause().filter(|_| !self.duplicate) {
            self.cause = Some(cause.name());
        }
    }
}

/// What happened to one connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its id.
    pub id: Id,
    /// Who was connected.
    pub client: Client,
    /// Commands answered.
    pub commands: u64,
    /// Transactions that reached a final reply.
    pub transactions: u64,
    /// Why it ended: `quit`, `end_of_stream`, `timeout`, `reset`, ...
    pub end: &'static str,
    /// From accept to end.
    pub duration: Duration,
}

impl Connection {
    /// One event, target `mxkeep::connection`: at info where no transaction tells the story, else at debug.
    pub fn log(&self) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "mxkeep::connection",
                    id = %self.id,
                    client = %self.client.address,
                    port = self.client.port,
                    commands = self.commands,
                    transactions = self.transactions,
                    end = self.end,
                    duration_ms = millis(self.duration),
                )
            };
        }
        if self.transactions == 0 { event!(info) } else { event!(debug) }
    }
}

/// Counts of what was decided since the start, for `mxkeep status`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Messages answered 250.
    pub accepted: AtomicU64,
    /// Copies put into inboxes.
    pub copies_inbox: AtomicU64,
    /// Copies put into Junk.
    pub copies_junk: AtomicU64,
    /// Copies that the ledger knew already.
    pub copies_duplicate: AtomicU64,
    /// Messages answered 5yz.
    pub rejected: AtomicU64,
    /// Messages answered 4yz.
    pub deferred: AtomicU64,
}

impl Counters {
    /// Counts a transaction that is concluded.
    pub fn count(&self, transaction: &Transaction) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match transaction.verdict {
            "defer" => add(&self.deferred),
            "reject" => add(&self.rejected),
            _ => add(&self.accepted),
        };
        for recipient in &transaction.recipients {
            match (recipient.duplicate, recipient.folder) {
                (true, _) => add(&self.copies_duplicate),
                (false, Some(Folder::Inbox)) => add(&self.copies_inbox),
                (false, Some(Folder::Junk)) => add(&self.copies_junk),
                (false, None) => 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_legal_distinct_and_sort_by_time() {
        let ids: Vec<_> = (0..1000).map(|_| new_id()).collect();
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(ids.iter().all(|id| id.as_str().len() == 12 && id.as_str().bytes().all(legal)));
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        let early = Id::from_bits(1 << 28);
        assert!(early.as_str() < ids[0].as_str());
    }
}
