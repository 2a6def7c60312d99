//! Chains of our own against a real responder over UDP.

use super::super::sealing::Sealer;
use super::super::{Authenticator, Iprev, Settings, Spf, SpfIdentity};
use super::*;
use crate::dns::Resolver;
use crate::dns::responder::{Record, Responder, Zone};

const MESSAGE: &str = concat!(
    "From: Alice <alice@example.org>\r\n",
    "To: list@example.net\r\n",
    "Subject: lunch\r\n",
    "\r\n",
    "Noon?\r\n",
);

/// Three sealers whose keys are published.
struct World {
    _responder: Responder,
    authenticator: Authenticator,
    sealers: Vec<Sealer>,
}

impl World {
    async fn new() -> Self {
        let name = |text: &str| Domain::parse(text).unwrap();
        let sealers = vec![
            Sealer::rsa(&name("list.example"), "r").unwrap(),
            Sealer::ed25519(&name("school.example"), "e").unwrap(),
            Sealer::ed25519(&name("relay.example"), "e").unwrap(),
        ];
        let mut zone = Zone::default();
        for sealer in &sealers {
            zone.add(sealer.dns_name(), Record::txt(sealer.dns_record()));
        }
        let responder = Responder::start(zone).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        let authenticator = Authenticator::new(resolver, name("mx.example.net"), Settings::default());
        World { _responder: responder, authenticator, sealers }
    }

    async fn verify(&self, octets: &[u8]) -> ArcChain {
        let spf = Spf::none(SpfIdentity::MailFrom, None);
        let iprev = Iprev::none([192, 0, 2, 1].into());
        self.authenticator.verify(&Message::new(octets.to_vec()), spf, iprev).await.arc
    }

    /// A message that went through the first `hops` sealers.
    fn sealed(&self, hops: usize) -> Vec<u8> {
        self.sealers.iter().take(hops).fold(MESSAGE.into(), |message, sealer| {
            sealer.seal(&message, "mx.example; dmarc=pass header.from=example.org").unwrap()
        })
    }
}

#[tokio::test]
async fn unbroken_chains_pass() {
    let world = World::new().await;
    assert_eq!(world.verify(MESSAGE.as_bytes()).await, ArcChain::none());
    for hops in 1..=3 {
        let chain = world.verify(&world.sealed(hops)).await;
        assert_eq!((chain.result, chain.oldest_pass, chain.reason), (MethodResult::Pass, Some(0), None), "{hops}");
        let sealers: Vec<_> = chain.sets.iter().map(|set| set.sealer.as_ref().unwrap().as_str()).collect();
        assert_eq!(sealers, ["list.example", "school.example", "relay.example"][..hops]);
    }
}
