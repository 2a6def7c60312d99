//! Evidence: what the session knows about a message besides its octets, and the evals that ask for it.
//!
//! *Does:* names the results of SPF, DKIM, DMARC and iprev as rules see them, and holds the one table of eval functions.
//! *Never does:* look anything up. Where a check did not run or was late, its evidence is `None`, and no eval about it hits:
//! unknown is neither pass nor fail.
//! *Names:* SpamAssassin's, where it has the same question.

use crate::address::{Host, ReversePath};

/// What was found out about a message while its sender was on the line.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// The argument of MAIL FROM.
    pub reverse_path: Option<&'a ReversePath>,
    /// The argument of HELO or EHLO.
    pub helo: Option<&'a Host>,
    /// Has the client's address a name that has this address (RFC 8601 section 2.7.3)?
    pub iprev: Option<bool>,
    /// SPF of the reverse-path's domain (RFC 7208 section 2.4).
    pub spf: Option<Spf>,
    /// SPF of the HELO identity (RFC 7208 section 2.3).
    pub spf_helo: Option<Spf>,
    /// DKIM.
    pub dkim: Option<Dkim>,
    /// DMARC.
    pub dmarc: Option<Dmarc>,
}

/// A result of SPF (RFC 7208 section 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spf {
    /// Section 2.6.1.
    None,
    /// Section 2.6.2.
    Neutral,
    /// Section 2.6.3.
    Pass,
    /// Section 2.6.4.
    Fail,
    /// Section 2.6.5.
    SoftFail,
    /// Section 2.6.6.
    TempError,
    /// Section 2.6.7.
    PermError,
}

/// What DKIM said of all signatures together (RFC 6376 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dkim {
    /// There is no signature.
    Unsigned,
    /// There are signatures, and none verifies.
    Invalid,
    /// A signature verifies, none of the author domain.
    Valid,
    /// A signature of the author domain itself verifies.
    ValidAuthor,
}

/// What DMARC said of the author domain (RFC 9989).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dmarc {
    /// The author domain has no record.
    Missing,
    /// Aligned SPF or DKIM passed.
    Pass,
    /// Neither did, and this is what the domain's owner asks for.
    Fail(DmarcPolicy),
    /// The record could not be had for now.
    TempError,
    /// The record or the author is malformed.
    PermError,
}

/// What a domain's owner asks for when DMARC fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcPolicy {
    /// `p=none`.
    None,
    /// `p=quarantine`.
    Quarantine,
    /// `p=reject`.
    Reject,
}

/// A question about evidence that a rule asks by `eval:name()`.
pub type Eval = fn(&Evidence) -> bool;

/// Every eval there is. All of them need the session: without evidence none is asked.
const EVALS: [(&str, Eval); 26] = [
    ("check_for_spf_none", |e| e.spf == Some(Spf::None)),
    ("check_for_spf_neutral", |e| e.spf == Some(Spf::Neutral)),
    ("check_for_spf_pass", |e| e.spf == Some(Spf::Pass)),
    ("check_for_spf_fail", |e| e.spf == Some(Spf::Fail)),
    ("check_for_spf_softfail", |e| e.spf == Some(Spf::SoftFail)),
    ("check_for_spf_temperror", |e| e.spf == Some(Spf::TempError)),
    ("check_for_spf_permerror", |e| e.spf == Some(Spf::PermError)),
    ("check_for_spf_helo_none", |e| e.spf_helo == Some(Spf::None)),
    ("check_for_spf_helo_neutral", |e| e.spf_helo == Some(Spf::Neutral)),
    ("check_for_spf_helo_pass", |e| e.spf_helo == Some(Spf::Pass)),
    ("check_for_spf_helo_fail", |e| e.spf_helo == Some(Spf::Fail)),
    ("check_for_spf_helo_softfail", |e| e.spf_helo == Some(Spf::SoftFail)),
    ("check_for_spf_helo_temperror", |e| e.spf_helo == Some(Spf::TempError)),
    ("check_for_spf_helo_permerror", |e| e.spf_helo == Some(Spf::PermError)),
    ("check_dkim_signed", |e| e.dkim.is_some_and(|dkim| dkim != Dkim::Unsigned)),
    ("check_dkim_valid", |e| matches!(e.dkim, Some(Dkim::Valid | Dkim::ValidAuthor))),
    ("check_dkim_valid_author_sig", |e| e.dkim == Some(Dkim::ValidAuthor)),
    ("check_dmarc_pass", |e| e.dmarc == Some(Dmarc::Pass)),
    ("check_dmarc_none", |e| e.dmarc == Some(Dmarc::Fail(DmarcPolicy::None))),
    ("check_dmarc_quarantine", |e| e.dmarc == Some(Dmarc::Fail(DmarcPolicy::Quarantine))),
    ("check_dmarc_reject", |e| e.dmarc == Some(Dmarc::Fail(DmarcPolicy::Reject))),
    ("check_dmarc_missing", |e| e.dmarc == Some(Dmarc::Missing)),
    // Ours: no other filter asks them by these names.
    ("check_iprev_fail", |e| e.iprev == Some(false)),
    ("check_helo_literal", |e| matches!(e.helo, Some(Host::Literal(_)))),
    ("check_dkim_unsigned", |e| e.dkim == Some(Dkim::Unsigned)),
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
        let evidence = Evidence { spf: Some(Spf::SoftFail), dkim: Some(Dkim::ValidAuthor), ..Evidence::default() };
        let hits: Vec<_> = EVALS.iter().filter(|(_, eval)| eval(&evidence)).map(|(name, _)| *name).collect();
        let expected =
            ["check_for_spf_softfail", "check_dkim_signed", "check_dkim_valid", "check_dkim_valid_author_sig"];
        assert_eq!(hits, expected);
        assert!(eval("check_bayes").is_none());
    }
}
