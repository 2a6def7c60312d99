//! Evidence: what the session knows about a message besides its octets, and the evals that ask for it.
//!
//! *Does:* names the results of SPF, DKIM, DMARC and iprev as rules see them, and holds the one table of eval functions.
//! *Never does:* look anything up. Where a check did not run or was late, its evidence is `None`, and no eval about it hits:
//! unknown is neither pass nor fail.
//! *Names:* SpamAssassin's, where it has the same question.

use std::net::IpAddr;

use crate::address::{Host, ReversePath};
use crate::authentication::{DmarcPolicy, MethodResult};
use crate::mime::Malformed;

/// What was found out about a message while its sender was on the line.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// The argument of MAIL FROM.
    pub reverse_path: Option<&'a ReversePath>,
    /// The argument of HELO or EHLO.
    pub helo: Option<&'a Host>,
    /// The client's address, if no Received field tells of it yet.
    pub client: Option<IpAddr>,
    /// Its name, if it has one that leads back to its address.
    pub client_name: Option<&'a str>,
    /// Our own name.
    pub hostname: &'a str,
    /// iprev of the client (RFC 8601 section 2.7.3).
    pub iprev: Option<MethodResult>,
    /// SPF of the reverse-path's domain (RFC 7208 section 2.4).
    pub spf: Option<MethodResult>,
    /// SPF of the HELO identity (RFC 7208 section 2.3).
    pub spf_helo: Option<MethodResult>,
    /// DKIM, all signatures together.
    pub dkim: Option<Signatures>,
    /// DKIM, one for each signature that was looked at.
    pub signatures: Vec<Signed>,
    /// The chain of ARC sets (RFC 8617 section 5.2).
    pub arc: Option<MethodResult>,
    /// DMARC (RFC 9989).
    pub dmarc: Option<MethodResult>,
    /// What the author domain asks for where DMARC fails.
    pub dmarc_policy: Option<DmarcPolicy>,
    /// Whoever the message is for takes it in spite of DMARC: by a trusted forwarder or sealer, or by their own policy for
    /// the author domain.
    pub dmarc_overridden: bool,
    /// What is wrong with the message's header and its parts.
    pub malformed: Option<Malformed>,
}

/// What DKIM said of all signatures together (RFC 6376 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// There is none.
    Absent,
    /// There are some, and none verifies.
    Invalid,
    /// One verifies, but none of the author domain itself.
    Valid,
    /// One of the author domain itself verifies.
    ValidAuthor,
}

/// What became of one DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who signed: the domain of `i=`, or that of `d=`.
    pub signer: Box<str>,
    /// Whether it verifies.
    pub result: MethodResult,
    /// The length of an RSA key, in bits, if it was found.
    pub key_bits: Option<usize>,
    /// The key says that its domain is testing DKIM (RFC 6376 section 3.6.1).
    pub testing: bool,
}

impl Evidence<'_> {
    fn dmarc_fails(&self, policy: DmarcPolicy) -> bool {
        self.dmarc == Some(MethodResult::Fail) && self.dmarc_policy == Some(policy)
    }
}

/// A question about evidence that a rule asks by `eval:name()`.
pub type Eval = fn(&Evidence) -> bool;

/// Every eval there is. All of them need the session: without evidence none is asked.
const EVALS: [(&str, Eval); 28] = [
    ("check_for_spf_none", |e| e.spf == Some(MethodResult::None)),
    ("check_for_spf_neutral", |e| e.spf == Some(MethodResult::Neutral)),
    ("check_for_spf_pass", |e| e.spf == Some(MethodResult::Pass)),
    ("check_for_spf_fail", |e| e.spf == Some(MethodResult::Fail)),
    ("check_for_spf_softfail", |e| e.spf == Some(MethodResult::SoftFail)),
    ("check_for_spf_temperror", |e| e.spf == Some(MethodResult::TempError)),
    ("check_for_spf_permerror", |e| e.spf == Some(MethodResult::PermError)),
    ("check_for_spf_helo_none", |e| e.spf_helo == Some(MethodResult::None)),
    ("check_for_spf_helo_neutral", |e| e.spf_helo == Some(MethodResult::Neutral)),
    ("check_for_spf_helo_pass", |e| e.spf_helo == Some(MethodResult::Pass)),
    ("check_for_spf_helo_fail", |e| e.spf_helo == Some(MethodResult::Fail)),
    ("check_for_spf_helo_softfail", |e| e.spf_helo == Some(MethodResult::SoftFail)),
    ("check_for_spf_helo_temperror", |e| e.spf_helo == Some(MethodResult::TempError)),
    ("check_for_spf_helo_permerror", |e| e.spf_helo == Some(MethodResult::PermError)),
    ("check_dkim_signed", |e| e.dkim.is_some_and(|dkim| dkim != Signatures::Absent)),
    ("check_dkim_valid", |e| matches!(e.dkim, Some(Signatures::Valid | Signatures::ValidAuthor))),
    ("check_dkim_valid_author_sig", |e| e.dkim == Some(Signatures::ValidAuthor)),
    ("check_dmarc_pass", |e| e.dmarc == Some(MethodResult::Pass)),
    ("check_dmarc_none", |e| e.dmarc_fails(DmarcPolicy::None)),
    ("check_dmarc_quarantine", |e| e.dmarc_fails(DmarcPolicy::Quarantine)),
    ("check_dmarc_reject", |e| e.dmarc_fails(DmarcPolicy::Reject)),
    ("check_dmarc_missing", |e| e.dmarc == Some(MethodResult::None)),
    // Ours: no other filter asks them by these names.
    ("check_iprev_fail", |e| matches!(e.iprev, Some(MethodResult::Fail | MethodResult::PermError))),
    ("check_dmarc_overridden", |e| e.dmarc_overridden),
    ("check_helo_literal", |e| matches!(e.helo, Some(Host::Literal(_)))),
    ("check_dkim_unsigned", |e| e.dkim == Some(Signatures::Absent)),
    ("check_malformed", |e| e.malformed.is_some_and(Malformed::any)),
    ("check_null_reverse_path", |e| matches!(e.reverse_path, Some(ReversePath::Null))),
];

/// The eval of this name.
pub fn eval(name: &str) -> Option<Eval> {
    EVALS.iter().find(|(found, _)| *found == name).map(|(_, eval)| *eval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_answers_nothing() {
        assert!(EVALS.iter().all(|(_, eval)| !eval(&Evidence::default())));
    }

    #[test]
    fn evals_ask_for_one_result_each() {
        let evidence =
            Evidence { spf: Some(MethodResult::SoftFail), dkim: Some(Signatures::ValidAuthor), ..Evidence::default() };
        let hits: Vec<_> = EVALS.iter().filter(|(_, eval)| eval(&evidence)).map(|(name, _)| *name).collect();
        let expected =
            ["check_for_spf_softfail", "check_dkim_signed", "check_dkim_valid", "check_dkim_valid_author_sig"];
        assert_eq!(hits, expected);
        assert!(eval("check_bayes").is_none());
        let check = eval("check_malformed").expect("it is in the table");
        for (malformed, hits) in [
            (None, false),
            (Some(Malformed::default()), false),
            (Some(Malformed { header_nul: true, ..Malformed::default() }), true),
        ] {
            assert_eq!(check(&Evidence { malformed, ..Evidence::default() }), hits);
        }
    }
}
