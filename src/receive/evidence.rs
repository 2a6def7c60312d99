//! What the rules get to know of authentication: [`Authentication`] in the words of the rule language.

use super::Sender;
use crate::authentication::{self, Authentication, Authors, MethodResult, SpfIdentity};
use crate::rules::{Dkim, Dmarc, DmarcPolicy, Evidence, Spf};

/// The evidence of one message.
pub fn evidence<'a>(found: &Authentication, sender: &'a Sender) -> Evidence<'a> {
    let (spf, spf_helo) = match found.spf.identity {
        SpfIdentity::MailFrom => (spf(found.spf.result), None),
        SpfIdentity::Helo => (None, spf(found.spf.result)),
    };
    Evidence {
        reverse_path: Some(&sender.reverse_path),
        helo: sender.helo.as_ref(),
        iprev: match found.iprev.result {
            MethodResult::Pass => Some(true),
            MethodResult::Fail | MethodResult::PermError => Some(false),
            _ => None,
        },
        spf,
        spf_helo,
        dkim: Some(dkim(found)),
        dmarc: dmarc(&found.dmarc),
    }
}

fn spf(result: MethodResult) -> Option<Spf> {
    Some(match result {
        MethodResult::None => Spf::None,
        MethodResult::Neutral => Spf::Neutral,
        MethodResult::Pass => Spf::Pass,
        MethodResult::Fail => Spf::Fail,
        MethodResult::SoftFail => Spf::SoftFail,
        MethodResult::TempError => Spf::TempError,
        MethodResult::PermError => Spf::PermError,
        MethodResult::Policy => return None,
    })
}

fn dkim(found: &Authentication) -> Dkim {
    let author = match &found.authors {
        Authors::One(domain) => Some(domain),
        Authors::None | Authors::Several => None,
    };
    let mut passed = found.dkim.iter().filter(|dkim| dkim.result == MethodResult::Pass).peekable();
    match (found.dkim.is_empty(), passed.peek().is_some()) {
        (true, _) => Dkim::Unsigned,
        (false, false) => Dkim::Invalid,
        (false, true) if passed.any(|dkim| dkim.domain.is_some() && dkim.domain.as_ref() == author) => {
            Dkim::ValidAuthor
        }
        (false, true) => Dkim::Valid,
    }
}

fn dmarc(found: &authentication::Dmarc) -> Option<Dmarc> {
    let policy = match found.policy {
        Some(authentication::DmarcPolicy::Reject) => DmarcPolicy::Reject,
        Some(authentication::DmarcPolicy::Quarantine) => DmarcPolicy::Quarantine,
        Some(authentication::DmarcPolicy::None) | None => DmarcPolicy::None,
    };
    match found.result {
        MethodResult::None => Some(Dmarc::Missing),
        MethodResult::Pass => Some(Dmarc::Pass),
        MethodResult::Fail => Some(Dmarc::Fail(policy)),
        MethodResult::TempError => Some(Dmarc::TempError),
        MethodResult::PermError => Some(Dmarc::PermError),
        _ => None,
    }
}
