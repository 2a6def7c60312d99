//! What the rules get to know of authentication.

use super::Sender;
use crate::address::Domain;
use crate::authentication::{Authentication, Dkim, MethodResult, SpfIdentity};
use crate::message::Message;
use crate::mime;
use crate::rules::{Evidence, Signatures, Signed};

/// The evidence of one message. Walks its parts, in bounded time. What depends on a client that is not known is unknown.
/// Rules run once for all recipients: DMARC is overridden if it is for each of them.
pub fn evidence<'a>(
    found: &'a Authentication,
    dmarc_overridden: bool,
    sender: &'a Sender,
    message: &Message,
    hostname: &'a str,
) -> Evidence<'a> {
    let checked = [Some(&found.spf), found.spf_helo.as_ref()];
    let spf = |identity| {
        let spf = checked.iter().flatten().find(|spf| spf.identity == identity && sender.address.is_some());
        spf.map(|spf| spf.result)
    };
    Evidence {
        reverse_path: Some(&sender.reverse_path),
        helo: sender.helo.as_ref(),
        client: sender.address.filter(|_| sender.is_direct),
        client_name: found.iprev.name.as_ref().map(Domain::as_str),
        hostname,
        iprev: sender.address.map(|_| found.iprev.result),
        spf: spf(SpfIdentity::MailFrom),
        spf_helo: spf(SpfIdentity::Helo),
        dkim: Some(signatures(found)),
        signatures: found.dkim.iter().filter_map(signed).collect(),
        arc: Some(found.arc.result),
        dmarc: Some(found.dmarc.result),
        dmarc_policy: found.dmarc.policy,
        dmarc_overridden,
        malformed: Some(mime::malformed(message)),
    }
}

fn signatures(found: &Authentication) -> Signatures {
    let author = found.authors.domain();
    let mut passed = found.dkim.iter().filter(|dkim| dkim.result == MethodResult::Pass).peekable();
    match (found.dkim.is_empty(), passed.peek().is_some()) {
        (true, _) => Signatures::Absent,
        (false, false) => Signatures::Invalid,
        (false, true) if author.is_some() && passed.any(|dkim| dkim.domain.as_ref() == author) => {
            Signatures::ValidAuthor
        }
        (false, true) => Signatures::Valid,
    }
}

/// One signature, if it says by whom it is.
fn signed(dkim: &Dkim) -> Option<Signed> {
    let domain = || dkim.domain.as_ref().map(|domain| domain.as_str());
    let identity = dkim.identity.as_deref().and_then(|identity| identity.rsplit_once('@'));
    let signer = identity.map(|(_, domain)| domain).or_else(domain)?.into();
    Some(Signed { signer, result: dkim.result, key_bits: dkim.key_bits, testing: dkim.testing })
}
