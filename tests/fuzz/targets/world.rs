//! A world for authentication: DNS on the loopback interface, and the authenticator that asks it, all in one thread.
//!
//! Answers are kept by name, and so each input gets a domain of its own.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::sealing::Sealer;
use mxkeep::authentication::signing::Signer;
use mxkeep::authentication::{Authentication, Authenticator, Settings};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Record, Responder, Zone};
use mxkeep::message::Message;
use tokio::runtime::{Builder, Runtime};

/// A world is replaced after so many inputs: the responder counts what it is asked.
const INPUTS_MAX: usize = 5_000;
/// The client, in all inputs.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// DNS, and who asks it.
pub struct World {
    runtime: Runtime,
    responder: Responder,
    authenticator: Authenticator,
    /// Signs for signer.example. Its key is published.
    pub signer: Signer,
    /// Seals as sealer.example. Its key is published.
    pub sealer: Sealer,
    inputs: usize,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Runs with the world, and with the domain that is this input's own.
pub fn with(run: impl FnOnce(&World, &Domain)) {
    WORLD.with_borrow_mut(|world| {
        let world = match world {
            Some(world) if world.inputs < INPUTS_MAX => world,
            world => world.insert(World::new()),
        };
        world.inputs += 1;
        let domain = Domain::parse(&format!("x{}.example", world.inputs)).expect("a domain");
        run(world, &domain);
    });
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut zone = Zone::default();
        zone.add("pass.example", Record::txt("v=spf1 ip4:192.0.2.1 -all"));
        zone.add("fail.example", Record::txt("v=spf1 -all"));
        zone.add("loop.example", Record::txt("v=spf1 include:loop.example -all"));
        zone.add("pass.example", Record::A(Ipv4Addr::new(192, 0, 2, 1)));
        zone.add("pass.example", Record::Mx(10, "pass.example".to_owned()));
        let signer = Signer::ed25519(&Domain::parse("signer.example").expect("a domain"), "s").expect("a key");
        zone.add(signer.dns_name(), Record::txt(signer.dns_record()));
        let sealer = Sealer::ed25519(&Domain::parse("sealer.example").expect("a domain"), "s").expect("a key");
        zone.add(sealer.dns_name(), Record::txt(sealer.dns_record()));
        zone.add("1.2.0.192.in-addr.arpa", Record::Ptr("pass.example".to_owned()));
        let (responder, authenticator) = runtime.block_on(async {
            let responder = Responder::start(zone).await.expect("a responder");
            let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
            let hostname = Domain::parse("mx.example.org").expect("a domain");
            (responder, Authenticator::new(resolver, hostname, Settings::default()))
        });
        World { runtime, responder, authenticator, signer, sealer, inputs: 0 }
    }

    /// Publishes a record.
    pub fn publish(&self, name: &str, text: &str) {
        self.responder.add(name, Record::txt(text));
    }

    /// All checks of a message from this sender.
    pub fn verify(&self, message: &Message, helo: &Host, sender: &ReversePath) -> Authentication {
        self.runtime.block_on(async {
            let iprev = self.authenticator.iprev(CLIENT).await;
            let spf = self.authenticator.spf(CLIENT, helo, sender).await;
            self.authenticator.verify(message, spf, iprev).await
        })
    }
}
