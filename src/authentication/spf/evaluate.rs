//! `check_host()` (RFC 7208 section 4): one client, one domain, one result.
//!
//! *Guarantees:* at most [`LOOKUP_TERMS_MAX`] terms cause lookups, and at most [`VOID_LOOKUPS_MAX`] of them find nothing
//! (section 4.6.4); names below them are bounded too. What cannot be looked up is temperror, never fail and never pass.
//! *Never does:* judge, keep anything, or do I/O beside the resolver's.
//! *Overlap:* what the terms ahead will ask for is looked up while the first of them is, as far as no macro, no local match
//! and no `all` stands before it: for at most [`AHEAD_MAX`] terms of a whole evaluation, whatever its records hold.

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::macros::{MacroString, Values};
use super::record::{self, Directive, Hosts, Mechanism, Qualifier, Record};
use super::{Matched, Outcome, Problem, Sender};
use crate::address::Domain;
use crate::authentication::MethodResult;
use crate::authentication::results::printable;
use crate::dns::{DnsError, Records, Resolver};

/// Terms that cause lookups (section 4.6.4).
pub const LOOKUP_TERMS_MAX: usize = 10;
/// Of those, terms whose lookup finds nothing (section 4.6.4).
pub const VOID_LOOKUPS_MAX: usize = 2;
/// Exchanges of one `mx` (section 4.6.4).
const EXCHANGES_MAX: usize = 10;
/// Names of the client that `ptr` and `%{p}` look at; the rest is ignored (section 4.6.4).
const CLIENT_NAMES_MAX: usize = 10;
/// How long these may take, in seconds: they are the client's, who must not be able to have the evaluation of another's
/// policy end late.
const CLIENT_NAMES_SECONDS_MAX: u64 = 6;
/// Terms whose lookups are started before their turn. Some are never needed: a sender's records must not have us ask for
/// ten more at each step on the way.
const AHEAD_MAX: usize = LOOKUP_TERMS_MAX;
/// What is kept of a name that is put on record, in octets.
const NAME_OCTETS_MAX: usize = 253;
/// What is kept of an explanation, in octets: it is the sender's text.
const EXPLANATION_OCTETS_MAX: usize = 400;

/// Evaluates the domain's policy for the client; asks for the explanation of a fail only if it is wanted.
pub async fn check_host(resolver: &Resolver, sender: &Sender<'_>, explain: bool) -> Outcome {
    let domain = sender.domain;
    if !is_qualified(domain) {
        return Outcome::of(MethodResult::None, Problem::NoDomain);
    }
    let mut evaluation = Evaluation {
        resolver,
        sender,
        lookups: 0,
        voids: 0,
        client_names: None,
        room_ahead: AHEAD_MAX,
        ahead: JoinSet::new(),
    };
    match evaluation.check(domain).await {
        Ok(Some(decision)) => evaluation.conclude(decision, explain).await,
        Ok(None) => Outcome::of(MethodResult::None, Problem::NoRecord),
        Err(Stop::Temporary) => Outcome::of(MethodResult::TempError, Problem::Lookup),
        Err(Stop::Permanent(problem)) => Outcome::of(MethodResult::PermError, problem),
    }
}

/// At least two labels, each of them possible in DNS (section 4.3).
fn is_qualified(domain: &str) -> bool {
    domain.contains('.') && is_name(domain)
}

fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.is_ascii() && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Why an evaluation ends without a match.
enum Stop {
    Temporary,
    Permanent(Problem),
}

/// What the policy says, and where.
struct Decision {
    result: MethodResult,
    matched: Matched,
    /// Whose record, as it is.
    domain: String,
    /// `exp=` of that record.
    explanation: Option<MacroString>,
}

struct Evaluation<'a> {
    resolver: &'a Resolver,
    sender: &'a Sender<'a>,
    lookups: usize,
    voids: usize,
    /// Validated names of the client, once they are known.
    client_names: Option<Vec<Domain>>,
    /// Terms that may still be asked for before their turn.
    room_ahead: usize,
    /// Lookups whose answers will be wanted; they end with the evaluation.
    ahead: JoinSet<()>,
}

impl Evaluation<'_> {
    /// None: the domain has no record.
    async fn check(&mut self, domain: &str) -> Result<Option<Decision>, Stop> {
        let Some(record) = self.record(domain).await? else { return Ok(None) };
        let mut looked_ahead = false;
        for (at, directive) in record.directives.iter().enumerate() {
            if !looked_ahead && directive.mechanism.question(domain).is_some() {
                self.look_ahead(record.directives.get(at..).unwrap_or_default(), domain);
                looked_ahead = true;
            }
            if self.matches(&directive.mechanism, domain).await? {
                return Ok(Some(Decision::by(directive, domain, record.explanation)));
            }
        }
        match &record.redirect {
            Some(target) => self.redirect(target, domain).await.map(Some),
            None => Ok(Some(Decision::by_default(domain))),
        }
    }

    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.resolver.txt(domain).await {
            Ok(texts) => texts.records,
            Err(DnsError::TooLarge) => return Err(Stop::Permanent(Problem::TooLarge)),
            Err(error) if error.is_temporary() => return Err(Stop::Temporary),
            Err(_) => return Ok(None),
        };
        let mut records = texts.iter().filter(|text| record::is_record(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Stop::Permanent(Problem::SeveralRecords { domain: shown(domain) })),
            (Some(text), None) => match Record::parse(text) {
                Ok(record) => Ok(Some(record)),
                Err(error) => Err(Stop::Permanent(Problem::Syntax { domain: shown(domain), term: error.0 })),
            },
        }
    }

    /// Section 6.1. Boxed: a record may redirect to another, and that one again.
    async fn redirect(&mut self, target: &MacroString, domain: &str) -> Result<Decision, Stop> {
        self.count_lookup()?;
        let name = self.name(Some(target), domain).await;
        match Box::pin(self.check(&name)).await? {
            Some(decision) => Ok(decision),
            None => Err(Stop::Permanent(Problem::NoRecordAt { domain: shown(&name) })),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let client = self.sender.client;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, bits) => Ok(is_within(client, (*network).into(), *bits)),
            Mechanism::Ip6(network, bits) => Ok(is_within(client, (*network).into(), *bits)),
            Mechanism::Include(target) => {
                self.count_lookup()?;
                // RFC 8616 section 4: such a term does not match anything.
                if target.has_local_part() && !self.sender.local_part.is_ascii() {
                    return Ok(false);
                }
                let name = self.name(Some(target), domain).await;
                match Box::pin(self.check(&name)).await? {
                    Some(decision) => Ok(decision.result == MethodResult::Pass),
                    None => Err(Stop::Permanent(Problem::NoRecordAt { domain: shown(&name) })),
                }
            }
            Mechanism::A(hosts) => {
                self.count_lookup()?;
                let name = self.name(hosts.name.as_ref(), domain).await;
                let found = self.addresses(&name).await;
                let addresses = self.count_void(found)?;
                Ok(hosts.contain(client, &addresses))
            }
            Mechanism::Mx(hosts) => self.matches_mx(hosts, domain).await,
            Mechanism::Ptr(name) => {
                self.count_lookup()?;
                let target = self.name(name.as_ref(), domain).await;
                let names = self.client_names().await;
                Ok(names.iter().any(|name| is_at_or_below(name.as_str(), &target)))
            }
            Mechanism::Exists(name) => {
                self.count_lookup()?;
                let name = self.name(Some(name), domain).await;
                let found = if is_name(&name) { self.resolver.ipv4(&name).await } else { Err(DnsError::Name) };
                Ok(!self.count_void(found.map(|found| found.records))?.is_empty())
            }
        }
    }

    async fn matches_mx(&mut self, hosts: &Hosts, domain: &str) -> Result<bool, Stop> {
        self.count_lookup()?;
        let name = self.name(hosts.name.as_ref(), domain).await;
        let found = if is_name(&name) { self.resolver.mx(&name).await } else { Err(DnsError::Name) };
        let exchanges = self.count_void(found.map(|found| found.records))?;
        if exchanges.len() > EXCHANGES_MAX {
            return Err(Stop::Permanent(Problem::TooManyExchanges { domain: shown(&name) }));
        }
        for exchange in &exchanges {
            self.spawn(Question::Addresses(exchange.clone()));
        }
        for exchange in &exchanges {
            match self.addresses(exchange).await {
                Ok(addresses) if hosts.contain(self.sender.client, &addresses) => return Ok(true),
                Err(error) if error.is_temporary() => return Err(Stop::Temporary),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(false)
    }

    /// The addresses of a name, of the client's family (section 5).
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.sender.client {
            _ if !is_name(name) => Err(DnsError::Name),
            IpAddr::V4(_) => self.resolver.ipv4(name).await.map(addresses),
            IpAddr::V6(_) => self.resolver.ipv6(name).await.map(addresses),
        }
    }

    /// The name that a term means.
    async fn name(&mut self, name: Option<&MacroString>, domain: &str) -> String {
        match name {
            None => domain.to_owned(),
            Some(name) => {
                let client_name = match name.needs_client_name() {
                    true => self.client_name(domain).await,
                    false => None,
                };
                name.expand_to_name(&Values { sender: self.sender, domain, client_name: client_name.as_deref() })
            }
        }
    }

    /// `%{p}` (section 7.3): the domain's own name if it is one of the client's, else one below it, else any.
    async fn client_name(&mut self, domain: &str) -> Option<String> {
        let names = self.client_names().await;
        let own = names.iter().find(|name| name.as_str().eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_at_or_below(name.as_str(), domain));
        own.or_else(below).or_else(|| names.first()).map(|name| name.as_str().to_owned())
    }

    /// The client's names that lead back to it (section 5.5). What cannot be looked up in time is no name.
    async fn client_names(&mut self) -> &[Domain] {
        if self.client_names.is_none() {
            self.client_names = Some(Vec::new());
            let limit = Duration::from_secs(CLIENT_NAMES_SECONDS_MAX);
            // Those that were found before it count.
            let _ = timeout(limit, self.find_client_names()).await;
        }
        self.client_names.as_deref().unwrap_or_default()
    }

    async fn find_client_names(&mut self) {
        let names = self.resolver.ptr(self.sender.client).await.map(|names| names.records).unwrap_or_default();
        let names: Vec<Domain> = names.into_iter().take(CLIENT_NAMES_MAX).collect();
        names.iter().for_each(|name| self.spawn(Question::Addresses(name.as_str().to_owned())));
        for name in names {
            let addresses = self.addresses(name.as_str()).await.unwrap_or_default();
            if addresses.contains(&self.sender.client) {
                self.client_names.get_or_insert_default().push(name);
            }
        }
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        match self.lookups > LOOKUP_TERMS_MAX {
            true => Err(Stop::Permanent(Problem::TooManyLookups)),
            false => Ok(()),
        }
    }

    /// What a term's lookup found. Nothing at all is counted, unless the name cannot be in DNS: then nothing was asked.
    fn count_void<T>(&mut self, found: Result<Vec<T>, DnsError>) -> Result<Vec<T>, Stop> {
        match found {
            Ok(found) => return Ok(found),
            Err(error) if error.is_temporary() => return Err(Stop::Temporary),
            Err(DnsError::NoRecords { .. }) => self.voids += 1,
            Err(_) => {}
        }
        match self.voids > VOID_LOOKUPS_MAX {
            true => Err(Stop::Permanent(Problem::TooManyVoidLookups)),
            false => Ok(Vec::new()),
        }
    }

    /// Starts the lookups of these terms, up to the first that matches without one.
    fn look_ahead(&mut self, directives: &[Directive], domain: &str) {
        let room = LOOKUP_TERMS_MAX.saturating_sub(self.lookups).min(self.room_ahead);
        let client = self.sender.client;
        let certain = |directive: &&Directive| match &directive.mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(network, bits) => is_within(client, (*network).into(), *bits),
            Mechanism::Ip6(network, bits) => is_within(client, (*network).into(), *bits),
            _ => false,
        };
        let ahead = directives.iter().take_while(|directive| !certain(directive));
        let questions: Vec<Question> = ahead.filter_map(|ahead| ahead.mechanism.question(domain)).take(room).collect();
        // A single one is asked for at once anyway.
        if questions.len() > 1 {
            self.room_ahead = self.room_ahead.saturating_sub(questions.len());
            questions.into_iter().for_each(|question| self.spawn(question));
        }
    }

    /// The resolver keeps the answer, and shares the question with whoever asks it meanwhile.
    fn spawn(&mut self, question: Question) {
        let (resolver, client) = (self.resolver.clone(), self.sender.client);
        self.ahead.spawn(async move {
            // Whatever comes of it will be found when it is needed.
            match question {
                Question::Record(name) => drop(resolver.txt(&name).await),
                Question::Exchanges(name) => drop(resolver.mx(&name).await),
                Question::Addresses(name) if client.is_ipv4() => drop(resolver.ipv4(&name).await),
                Question::Addresses(name) => drop(resolver.ipv6(&name).await),
            }
        });
    }

    async fn conclude(&mut self, decision: Decision, explain: bool) -> Outcome {
        let Decision { result, matched, domain, explanation } = decision;
        let explanation = match explanation.filter(|_| explain && result == MethodResult::Fail) {
            Some(target) => self.explanation(&target, &domain).await,
            None => None,
        };
        Outcome { result, matched: Some(matched), problem: None, explanation }
    }

    /// Section 6.2: whatever goes wrong here, there is no explanation. The text is the sender's: printable ASCII, bounded.
    async fn explanation(&mut self, target: &MacroString, domain: &str) -> Option<String> {
        let name = self.name(Some(target), domain).await;
        let texts = self.resolver.txt(&name).await.ok()?.records;
        let [text] = texts.as_slice() else { return None };
        let text = MacroString::explanation(std::str::from_utf8(text).ok()?)?;
        let client_name = match text.needs_client_name() {
            true => self.client_name(domain).await,
            false => None,
        };
        let values = Values { sender: self.sender, domain, client_name: client_name.as_deref() };
        Some(printable(&text.expand(&values), EXPLANATION_OCTETS_MAX))
    }
}

/// What a term will ask the resolver.
enum Question {
    Record(String),
    Exchanges(String),
    Addresses(String),
}

impl Mechanism {
    /// As far as it can be told without a macro.
    fn question(&self, domain: &str) -> Option<Question> {
        let fixed = |name: &MacroString| Some(name.written().to_owned()).filter(|name| !name.contains('%'));
        let of = |hosts: &Hosts| match &hosts.name {
            Some(name) => fixed(name),
            None => Some(domain.to_owned()),
        };
        match self {
            Mechanism::Include(name) => fixed(name).map(Question::Record),
            Mechanism::A(hosts) => of(hosts).map(Question::Addresses),
            Mechanism::Mx(hosts) => of(hosts).map(Question::Exchanges),
            _ => None,
        }
    }
}

impl Hosts {
    fn contain(&self, client: IpAddr, addresses: &[IpAddr]) -> bool {
        let bits = if client.is_ipv4() { self.ip4_bits } else { self.ip6_bits };
        addresses.iter().any(|address| is_within(client, *address, bits))
    }
}

impl Decision {
    fn by(directive: &Directive, domain: &str, explanation: Option<MacroString>) -> Self {
        let result = match directive.qualifier {
            Qualifier::Pass => MethodResult::Pass,
            Qualifier::Fail => MethodResult::Fail,
            Qualifier::SoftFail => MethodResult::SoftFail,
            Qualifier::Neutral => MethodResult::Neutral,
        };
        let matched = Matched { domain: shown(domain), directive: Some(directive.written.clone()) };
        Decision { result, matched, domain: domain.to_owned(), explanation }
    }

    /// Section 4.7.
    fn by_default(domain: &str) -> Self {
        let matched = Matched { domain: shown(domain), directive: None };
        Decision { result: MethodResult::Neutral, matched, domain: domain.to_owned(), explanation: None }
    }
}

fn addresses<A: Into<IpAddr>>(found: Records<A>) -> Vec<IpAddr> {
    found.records.into_iter().map(Into::into).collect()
}

/// A name as it is put on record: an expanded macro may hold anything.
fn shown(name: &str) -> Box<str> {
    printable(name, NAME_OCTETS_MAX).into()
}

/// Do the first bits agree? Addresses of different families never do.
fn is_within(client: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (client, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits.min(32)).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits.min(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    let front = name.len().checked_sub(domain.len()).and_then(|at| name.split_at_checked(at));
    front.is_some_and(|(front, end)| end.eq_ignore_ascii_case(domain) && (front.is_empty() || front.ends_with('.')))
}
