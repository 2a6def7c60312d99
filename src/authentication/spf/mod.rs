//! SPF (RFC 7208): may this client send for this domain?
//!
//! *Does:* reads records ([`record`]), expands macros ([`macros`]), evaluates ([`evaluate`]); says which identity is checked
//! and how long that may take.
//! *Guarantees:* what the modules below guarantee; a late evaluation is temperror.
//! *Never does:* I/O beside the resolver's.

pub mod evaluate;
pub mod macros;
pub mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Inner, MethodResult, SPF_SECONDS_MAX, Spf, SpfIdentity};
use crate::address::{Host, ReversePath};

pub use evaluate::check_host;

/// Who sends, in the words of section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender<'a> {
    /// `<ip>`.
    pub client: IpAddr,
    /// HELO: for `%{h}` only.
    pub helo: &'a str,
    /// The local-part of `<sender>`.
    pub local_part: &'a str,
    /// The domain of `<sender>`, whose policy is evaluated.
    pub domain: &'a str,
    /// Our own name: for `%{r}` only.
    pub receiver: &'a str,
    /// Now, in seconds since 1970: for `%{t}` only.
    pub seconds: u64,
}

/// What `check_host` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One of none, neutral, pass, fail, softfail, temperror, permerror.
    pub result: MethodResult,
    /// Which record decided, and what in it.
    pub matched: Option<Matched>,
    /// Why there is no other result.
    pub problem: Option<Problem>,
    /// `exp=`: the sender's text, printable ASCII.
    pub explanation: Option<String>,
}

/// Where an evaluation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Whose record; printable ASCII, for macros can make anything of a name.
    pub domain: Box<str>,
    /// The directive as written; none: the default result (section 4.7).
    pub directive: Option<Box<str>>,
}

/// Why a policy could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// An address literal, a single label, or no possible name.
    NoDomain,
    /// The domain has none.
    NoRecord,
    /// A domain that another record refers to has none.
    NoRecordAt {
        /// That domain.
        domain: Box<str>,
    },
    /// Section 4.5.
    SeveralRecords {
        /// Whose.
        domain: Box<str>,
    },
    /// Section 4.6.
    Syntax {
        /// Whose record.
        domain: Box<str>,
        /// The term.
        term: Box<str>,
    },
    /// More TXT records at a name than are read.
    TooLarge,
    /// Section 4.6.4.
    TooManyLookups,
    /// Section 4.6.4.
    TooManyVoidLookups,
    /// Section 4.6.4.
    TooManyExchanges {
        /// Whose MX records.
        domain: Box<str>,
    },
    /// Nobody could tell.
    Lookup,
    /// Nobody could tell in time.
    Deadline,
}

impl Problem {
    /// In few words, without names.
    pub fn reason(&self) -> &'static str {
        match self {
            Problem::NoDomain => "no domain that could have a record",
            Problem::NoRecord => "no record",
            Problem::NoRecordAt { .. } => "a domain that the record refers to has none",
            Problem::SeveralRecords { .. } => "more than one record",
            Problem::Syntax { .. } => "the record, or one that it refers to, is not valid",
            Problem::TooLarge => "more TXT records than are read",
            Problem::TooManyLookups => "more than 10 terms cause lookups",
            Problem::TooManyVoidLookups => "more than 2 lookups found nothing",
            Problem::TooManyExchanges { .. } => "more than 10 MX records",
            Problem::Lookup => "a lookup failed",
            Problem::Deadline => "the evaluation took too long",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Problem::NoRecordAt { domain }
            | Problem::SeveralRecords { domain }
            | Problem::TooManyExchanges { domain } => write!(f, " ({domain})"),
            Problem::Syntax { domain, term } => write!(f, " ({term} of {domain})"),
            _ => Ok(()),
        }
    }
}

impl Outcome {
    fn of(result: MethodResult, problem: Problem) -> Self {
        Outcome { result, matched: None, problem: Some(problem), explanation: None }
    }
}

/// Checks the reverse-path, or for the null reverse-path the HELO identity: postmaster there stands in (section 2.4).
pub(super) async fn check(inner: &Inner, client: IpAddr, helo: &Host, reverse_path: &ReversePath) -> Spf {
    let helo_text = helo.to_string();
    let (identity, domain, local_part) = match reverse_path {
        ReversePath::Null => (SpfIdentity::Helo, helo.domain(), "postmaster"),
        ReversePath::Mailbox(mailbox) => (SpfIdentity::MailFrom, mailbox.domain(), mailbox.local_part()),
    };
    let mut spf = Spf { domain: domain.cloned(), ..Spf::none(identity, None) };
    let Some(domain) = domain else {
        spf.reason = Some("an address literal has no SPF record");
        return spf;
    };
    let sender = Sender {
        client,
        helo: &helo_text,
        local_part,
        domain: domain.as_str(),
        receiver: inner.hostname.as_str(),
        seconds: jiff::Timestamp::now().as_second().max(0).unsigned_abs(),
    };
    let evaluation = check_host(&inner.resolver, &sender, false);
    let outcome = tokio::time::timeout(Duration::from_secs(SPF_SECONDS_MAX), evaluation).await;
    let outcome = outcome.unwrap_or_else(|_| Outcome::of(MethodResult::TempError, Problem::Deadline));
    spf.result = outcome.result;
    spf.reason = outcome.problem.as_ref().map(Problem::reason);
    (spf.matched, spf.problem) = (outcome.matched, outcome.problem);
    spf
}
