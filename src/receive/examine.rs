//! Examination: what can be found out about a message, whoever its recipients are.
//!
//! *Never does:* judge. `mxkeep scan` examines stored messages through the same code.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::{Domain, Host, ReversePath};
use crate::authentication::{Authentication, Authenticator, Iprev, SpfIdentities};
use crate::dns::Resolver;
use crate::journal;
use crate::message::Message;
use crate::receive::evidence::evidence;
use crate::rules::{Hits, Rules};

/// Messages up to this size are searched by the rules on the worker that has them; larger ones elsewhere, in octets.
const INLINE_OCTETS_MAX: usize = 65_536;
/// So many rules that took too many steps on a message are named in the log: a message can make many do so.
const GIVEN_UP_NAMED_MAX: usize = 10;

/// Runs the checks. Clones are cheap.
#[derive(Clone)]
pub struct Examiner {
    /// SPF, DKIM, DMARC, iprev; `None`: without DNS.
    authenticator: Option<Authenticator>,
    rules: Rules,
    /// Our own name, where rules ask which host took the message.
    hostname: Arc<str>,
}

/// Who sends: what SPF and the rules need to know of the session.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// What it called itself.
    pub helo: Option<Host>,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// No Received field tells of this client yet: we spoke with it ourselves, and our field is written at delivery.
    pub is_direct: bool,
}

impl Sender {
    /// The domain that SPF is about: the reverse-path's, or HELO where that is null (RFC 7208 section 2.4).
    fn spf_domain(&self) -> Option<&Domain> {
        match &self.reverse_path {
            ReversePath::Mailbox(mailbox) => mailbox.domain(),
            ReversePath::Null => self.helo.as_ref().and_then(Host::domain),
        }
    }
}

/// What was found out.
pub struct Examination {
    /// SPF, DKIM, DMARC, iprev; `None`: without DNS.
    pub authentication: Option<Authentication>,
    /// The rules that hit.
    pub hits: Hits,
    /// How long authentication was waited for.
    pub authentication_time: Duration,
    /// How long the rules took.
    pub rules_time: Duration,
}

impl Examiner {
    /// An examiner; without an authenticator it asks no DNS, and rules that need it do not run.
    pub fn new(authenticator: Option<Authenticator>, rules: Rules, hostname: &str) -> Self {
        Examiner { authenticator, rules, hostname: hostname.into() }
    }

    /// The same, with rules that tell what they match and what they take.
    pub fn traced(self) -> Self {
        Examiner { rules: self.rules.traced(), ..self }
    }

    /// How many rules there are.
    pub fn rules_count(&self) -> usize {
        self.rules.scored().count()
    }

    /// The trace fields that tell what the rules found. From `threshold` on it is spam.
    pub(super) fn status_fields(&self, hits: &Hits, threshold: f64) -> String {
        self.rules.status_fields(hits, threshold, &self.hostname)
    }

    /// iprev of the client (RFC 8601 section 2.7.3).
    pub async fn iprev(&self, client: Option<IpAddr>) -> Iprev {
        match (&self.authenticator, client) {
            (Some(authenticator), Some(client)) => authenticator.of_client(client).iprev(client).await,
            (_, client) => Iprev::none(client.unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
        }
    }

    /// SPF of the sender's reverse-path and HELO (RFC 7208 section 2.3); of a null reverse-path's HELO alone (section 2.4).
    pub async fn spf(&self, sender: &Sender) -> SpfIdentities {
        match (&self.authenticator, sender.address, &sender.helo) {
            (Some(authenticator), Some(address), Some(helo)) => {
                authenticator.of_client(address).spf_identities(address, helo, &sender.reverse_path).await
            }
            _ => SpfIdentities::none(None),
        }
    }

    /// What DNS is asked by.
    pub(super) fn resolver(&self) -> Option<&Resolver> {
        self.authenticator.as_ref().map(Authenticator::resolver)
    }

    /// DKIM, DMARC and the rules. SPF and iprev, `client`, may still be on their way: DKIM keys and policy records are
    /// looked up meanwhile. The rules get to know whether those that the message is for override what DMARC says.
    pub async fn examine(
        &self,
        message: &Arc<Message>,
        sender: &Sender,
        client: impl Future<Output = (SpfIdentities, Iprev)>,
        is_overridden: impl Fn(&Authentication) -> bool,
    ) -> Examination {
        let started = Instant::now();
        let authenticator = self.authenticator.as_ref().map(|authenticator| match sender.address {
            Some(address) => authenticator.of_client(address),
            None => authenticator.clone(),
        });
        let authentication = match &authenticator {
            Some(authenticator) => Some(authenticator.verify_while(message, sender.spf_domain(), client).await),
            None => None,
        };
        let authentication_time = started.elapsed();
        let started = Instant::now();
        let found = authentication.as_ref().map(|found| (found, is_overridden(found)));
        let hits = self.evaluate(message, found, sender).await;
        Examination { authentication, hits, authentication_time, rules_time: started.elapsed() }
    }

    /// The rules' hits, with what was found and whether DMARC is overridden. A rule set that fails on a message finds nothing
    /// in it: that is logged, and costs no mail.
    async fn evaluate(&self, message: &Arc<Message>, found: Option<(&Authentication, bool)>, sender: &Sender) -> Hits {
        let hits = self.evaluate_somewhere(message, found, sender).await;
        if !hits.given_up.is_empty() {
            let named: Vec<&str> = hits.given_up.iter().take(GIVEN_UP_NAMED_MAX).map(|rule| &**rule).collect();
            let (count, rules) = (hits.given_up.len(), named.join(" "));
            tracing::warn!(count, %rules, "patterns took too many steps on a message: there these rules do not hit");
        }
        hits
    }

    async fn evaluate_somewhere(
        &self,
        message: &Arc<Message>,
        found: Option<(&Authentication, bool)>,
        sender: &Sender,
    ) -> Hits {
        if message.octets().len() <= INLINE_OCTETS_MAX {
            let evidence =
                found.map(|(found, is_overridden)| evidence(found, is_overridden, sender, message, &self.hostname));
            let evaluated = catch_unwind(AssertUnwindSafe(|| self.rules.evaluate(message, evidence.as_ref())));
            return evaluated.unwrap_or_else(|_| without_score("panic"));
        }
        let (rules, message, hostname) = (self.rules.clone(), message.clone(), self.hostname.clone());
        let (found, sender) = (found.map(|(found, is_overridden)| (found.clone(), is_overridden)), sender.clone());
        let evaluated = tokio::task::spawn_blocking(move || {
            let evidence = found.as_ref().map(|(found, over)| evidence(found, *over, &sender, &message, &hostname));
            rules.evaluate(&message, evidence.as_ref())
        });
        evaluated.await.unwrap_or_else(|error| without_score(&error.to_string()))
    }
}

/// What a failure of the rules comes to: it costs no mail.
fn without_score(error: &str) -> Hits {
    tracing::error!(%error, "the rules failed on a message: it goes on without a score");
    Hits::default()
}

impl Examination {
    /// Puts what was found on record.
    pub fn put_on(&self, record: &mut journal::Transaction) {
        record.authentication = self.authentication.clone();
        record.score = Some(self.hits.score());
        record.hits = self.hits.hits.iter().map(|hit| (hit.name.to_string(), hit.score)).collect();
        record.durations.authentication = self.authentication_time;
        record.durations.rules = self.rules_time;
    }
}
