//! Who is really sending: SPF, DKIM, DMARC, ARC and iprev, and the Authentication-Results field that says so.
//!
//! *Does:* [`Authenticator`] runs the checks; [`Authentication`] is what they found, and explains it ([`Finding`]).
//! *Guarantees:* each check has a deadline, and a late one is temperror: never pass, and never none. Work is bounded: at
//! most [`SIGNATURES_MAX`] signatures, those of the author domain first, whatever a message carries. What was found is
//! plain data; texts in it that a sender chose are printable ASCII and bounded.
//! *Never does:* decide what becomes of a message, or change one.
//! *RFC:* 7208 (SPF); 6376, 8301, 8463 (DKIM); 9989 (DMARC); 8617 (ARC); 8601 (results, iprev).
//! *Known gaps:* what `exp=` says is not asked for while a sender waits (RFC 7208
//! section 6.2: it is for the sender, and the sender's text).

mod address_list;
mod arc;
mod authors;
pub mod claims;
pub mod dkim;
pub mod dmarc;
mod explain;
mod field;
mod forged;
mod iprev;
mod records;
mod results;
pub mod sealing;
pub mod signing;
pub mod spf;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Domain, Host, ReversePath};
use crate::config::client_network;
use crate::dns::Resolver;
use crate::message::Message;

pub use authors::read as authors;
use dkim::content::Content;
pub use explain::Finding;
pub use forged::is_forged;
pub use results::{
    ArcChain, ArcSet, Authentication, Authors, Dkim, Dmarc, DmarcPolicy, Iprev, MethodResult, Spf, SpfIdentities,
    SpfIdentity,
};

/// How long iprev may take, in seconds.
pub const IPREV_SECONDS_MAX: u64 = 5;
/// How long SPF may take, in seconds. RFC 7208 section 4.6.4 asks for at least 20; a client that waits for its final
/// reply deserves less, and what is late here is temperror, not fail.
pub const SPF_SECONDS_MAX: u64 = 10;
/// How long all DKIM keys of a message may take, in seconds.
pub const DKIM_SECONDS_MAX: u64 = 10;
/// How long DMARC may take, in seconds.
pub const DMARC_SECONDS_MAX: u64 = 10;
/// DKIM signatures of one message that are looked at.
pub const SIGNATURES_MAX: usize = 10;

/// What the operator decides about the checks themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// A DKIM signature of a part of the body (`l=`, RFC 6376 section 8.2) counts.
    pub count_body_length: bool,
}

/// Runs the checks. Cheap to clone: clones share the resolver and what domains published.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// Our name: `%{r}` in SPF records.
    hostname: Domain,
    settings: Settings,
    resolver: Resolver,
    dkim: records::Records,
}

impl Authenticator {
    /// An authenticator that calls itself `hostname` and asks `resolver`.
    pub fn new(resolver: Resolver, hostname: Domain, settings: Settings) -> Self {
        Authenticator(Arc::new(Inner { hostname, settings, resolver, dkim: records::Records::new() }))
    }

    /// A clone for the checks of this client: its lookups, and those for its neighbours, are bounded
    /// ([`Resolver::of_network`]).
    pub fn of_client(&self, client: IpAddr) -> Self {
        let resolver = self.0.resolver.of_network(client_network(client));
        Authenticator(Arc::new(Inner { resolver, ..Inner::clone(&self.0) }))
    }

    /// What it asks.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.0.resolver
    }

    /// Does the client's address have a name that leads back to it (RFC 8601 section 3)? To be started at connect.
    pub async fn iprev(&self, client: IpAddr) -> Iprev {
        iprev::check(&self.0.resolver.share(), client).await
    }

    /// May this client send for this domain (RFC 7208)? The null reverse-path is checked as the HELO identity (section
    /// 2.4). To be started at MAIL.
    pub async fn spf(&self, client: IpAddr, helo: &Host, reverse_path: &ReversePath) -> Spf {
        spf::check(&self.share(), client, helo, reverse_path).await
    }

    /// The same, and HELO beside it (section 2.3): both at once, and both by the one deadline. Each has its own share of
    /// lookups: HELO may be the forger's own domain, and the reverse-path somebody else's.
    pub async fn spf_identities(&self, client: IpAddr, helo: &Host, reverse_path: &ReversePath) -> SpfIdentities {
        let beside = async {
            match (reverse_path, helo) {
                (ReversePath::Mailbox(_), Host::Domain(_)) => Some(self.spf(client, helo, &ReversePath::Null).await),
                _ => None,
            }
        };
        let (spf, helo) = tokio::join!(self.spf(client, helo, reverse_path), beside);
        SpfIdentities { spf, helo }
    }

    /// DKIM, DMARC and ARC (RFC 6376, RFC 9989, RFC 8617), at end of data.
    pub async fn verify(&self, message: &Message, spf: Spf, iprev: Iprev) -> Authentication {
        let spf_domain = spf.domain.clone();
        let client = std::future::ready((SpfIdentities { spf, helo: None }, iprev));
        self.verify_while(message, spf_domain.as_ref(), client).await
    }

    /// As [`verify`](Self::verify), while SPF, of `spf_domain`, and iprev are still on their way.
    pub async fn verify_while(
        &self,
        message: &Message,
        spf_domain: Option<&Domain>,
        client: impl Future<Output = (SpfIdentities, Iprev)>,
    ) -> Authentication {
        // A share for each: what a forger has looked up for one method must not keep another from its answer.
        let [inner, for_arc, for_dmarc] = [self.share(), self.share(), self.share()];
        let authors = authors::read(message);
        let accepts = inner.settings.into();
        let content = Content::new(message);
        let dkim = dkim::verify(&inner.dkim, &inner.resolver, &content, &authors, &accepts);
        // The policy records are on their way while the keys of DKIM and ARC are.
        let arc = arc::verify(&for_arc, &content);
        let walks = dmarc::prefetch(&for_dmarc, message, &authors, spf_domain);
        let (dkim, arc, walks, (SpfIdentities { spf, helo }, iprev)) = tokio::join!(dkim, arc, walks, client);
        let dmarc = dmarc::evaluate(&for_dmarc, &authors, &spf, &dkim.results, walks).await;
        Authentication {
            spf,
            spf_helo: helo,
            dkim: dkim.results,
            signatures_ignored: dkim.ignored,
            arc,
            dmarc,
            iprev,
            authors,
            from_fields: message.fields().filter(|field| field.is("From")).count(),
        }
    }

    /// For one check: its lookups are bounded ([`Resolver::share`]).
    fn share(&self) -> Arc<Inner> {
        Arc::new(Inner { resolver: self.0.resolver.share(), ..Inner::clone(&self.0) })
    }
}
