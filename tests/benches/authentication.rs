//! What authenticating a typical message costs once its sender is known, beside what its cryptography alone would.
//!
//! *Does:* (a) `whole`: SPF of the reverse-path and of HELO, iprev, DKIM and DMARC of a message of 12 kB with one RSA-2048
//! signature, every DNS answer cached; (b) `bare`: SHA-256 over that body and over the signed header fields, and one RSA-2048
//! verification. Then it prints the ratio, of medians of rounds that take turns, so that a busy machine slows both.
//! *To count instructions* instead: `MXKEEP_BENCH=whole:200 valgrind --tool=callgrind --toggle-collect='*rounds_of_*'
//! target/release/deps/authentication-*`, or `bare:200`; divide by the rounds.
//! *Never does:* run in `cargo test`, or judge: figures of one machine are no test.

use std::env;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use criterion::Criterion;
use mail_auth::common::crypto::{Algorithm, HashAlgorithm, RsaKey, Sha256, SigningKey as _};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::DkimSigner;
use mxkeep::address::{Domain, Host, ReversePath};
use mxkeep::authentication::{Authentication, Authenticator, MethodResult, Settings};
use mxkeep::dns::Resolver;
use mxkeep::dns::responder::{Record, Responder, Zone, reverse_name};
use mxkeep::message::Message;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::runtime::Runtime;

/// Lines of the body. With the header it makes about 12 kB.
const BODY_LINES: usize = 132;
/// The ratio is made of this many turns of each kind,
const TURNS: usize = 400;
/// of this many rounds.
const ROUNDS_A_TURN: u64 = 10;
const SIGNED: [&str; 7] = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

fn main() {
    let mut bench = Bench::new();
    match env::var("MXKEEP_BENCH") {
        Ok(rounds) => bench.run(&rounds),
        Err(_) => bench.measure(),
    }
}

struct Bench {
    runtime: Runtime,
    world: World,
    bare: Bare,
}

/// All that the checks need. Nothing of it changes, and DNS is asked once.
struct World {
    authenticator: Authenticator,
    message: Message,
    client: IpAddr,
    helo: Host,
    reverse_path: ReversePath,
    _responder: Responder,
}

/// What the cryptography needs.
struct Bare {
    body: Vec<u8>,
    header: Vec<u8>,
    signature: Vec<u8>,
    key: DomainKey,
}

impl Bench {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        let private = || PrivatePkcs8KeyDer::from(pair.serialize_der());
        let key = || RsaKey::<Sha256>::from_key_der(private().into()).expect("a key");
        // A PEM file is base 64 between two lines.
        let public: String = pair.public_key_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let record = format!("v=DKIM1; k=rsa; p={public}");

        let plain = message();
        let signer = DkimSigner::from_key(key()).domain("example.org").selector("s1").headers(SIGNED);
        let field = signer.sign(plain.as_bytes()).expect("a signature").to_header();
        let signed = format!("{field}{plain}");

        let (header, body) = plain.split_once("\r\n\r\n").expect("a header");
        let wanted = |line: &&str| SIGNED.iter().any(|name| line.starts_with(name));
        let header: String = header.lines().filter(wanted).chain(field.lines()).collect();
        let signature = key().sign(header.as_bytes()).expect("a signature");
        let bare = Bare {
            body: body.as_bytes().to_vec(),
            header: header.into_bytes(),
            signature,
            key: DomainKey::parse(record.as_bytes()).expect("a key"),
        };
        // One thread: what is measured is work, not how threads wake each other.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let world = runtime.block_on(World::new(&record, signed));
        Bench { runtime, world, bare }
    }

    fn measure(&mut self) {
        let found = self.runtime.block_on(self.world.authenticate());
        assert_eq!((found.spf.result, found.iprev.result), (MethodResult::Pass, MethodResult::Pass), "{found:?}");
        assert_eq!((found.dkim[0].result, found.dmarc.result), (MethodResult::Pass, MethodResult::Pass), "{found:?}");
        let mut criterion = Criterion::default().configure_from_args();
        criterion.bench_function("authentication: whole", |bencher| {
            bencher.iter_custom(|rounds| self.rounds_of_whole(rounds));
        });
        criterion.bench_function("authentication: bare", |bencher| {
            bencher.iter_custom(|rounds| self.rounds_of_bare(rounds));
        });
        criterion.final_summary();
        self.print_ratio();
    }

    /// The two kinds take turns: whatever slows the machine slows both.
    fn print_ratio(&self) {
        let (mut whole, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            whole.push(self.rounds_of_whole(ROUNDS_A_TURN));
            bare.push(self.rounds_of_bare(ROUNDS_A_TURN));
        }
        let rounds = u32::try_from(ROUNDS_A_TURN).expect("a few");
        let (whole, bare) = (median(whole) / rounds, median(bare) / rounds);
        let ratio = whole.as_secs_f64() / bare.as_secs_f64();
        let octets = self.world.message.octets().len();
        println!("a message of {octets} octets: whole {whole:?}, bare {bare:?}, ratio {ratio:.2}");
    }

    /// `whole:200`: that many rounds of one kind, and nothing else.
    fn run(&self, rounds: &str) {
        let (kind, count) = rounds.split_once(':').expect("MXKEEP_BENCH is whole:ROUNDS or bare:ROUNDS");
        let count = count.parse().expect("MXKEEP_BENCH has a count of rounds");
        // What every message after the first finds in memory.
        self.runtime.block_on(self.world.authenticate());
        match kind {
            "whole" => self.rounds_of_whole(count),
            _ => self.rounds_of_bare(count),
        };
    }

    #[inline(never)]
    fn rounds_of_whole(&self, count: u64) -> Duration {
        self.runtime.block_on(async {
            let begin = Instant::now();
            for _ in 0..count {
                black_box(self.world.authenticate().await);
            }
            begin.elapsed()
        })
    }

    #[inline(never)]
    fn rounds_of_bare(&self, count: u64) -> Duration {
        let begin = Instant::now();
        (0..count).for_each(|_| self.bare.verify());
        begin.elapsed()
    }
}

impl World {
    async fn new(key: &str, signed: String) -> Self {
        let client: IpAddr = [192, 0, 2, 1].into();
        let zone = Zone::from_iter([
            ("example.org".to_owned(), Record::txt("v=spf1 include:_spf.example.org -all")),
            ("_spf.example.org".to_owned(), Record::txt("v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 -all")),
            ("mail.example.org".to_owned(), Record::txt("v=spf1 a -all")),
            ("mail.example.org".to_owned(), Record::A([192, 0, 2, 1].into())),
            (reverse_name(client), Record::Ptr("mail.example.org".to_owned())),
            ("s1._domainkey.example.org".to_owned(), Record::txt(key)),
            ("_dmarc.example.org".to_owned(), Record::txt("v=DMARC1; p=reject; rua=mailto:dmarc@example.org")),
            // That there is none is forgotten sooner than that there is one, and would be asked for again.
            ("_dmarc.org".to_owned(), Record::txt("v=DMARC1; p=none; psd=y")),
        ]);
        let responder = Responder::start(zone).await.expect("a responder");
        let resolver = Resolver::new(&[responder.address()]).expect("a resolver");
        let hostname = Domain::parse("mx.example.net").expect("a domain");
        World {
            authenticator: Authenticator::new(resolver, hostname, Settings::default()),
            message: Message::new(signed.into_bytes()),
            client,
            helo: Host::parse("mail.example.org").expect("a name"),
            reverse_path: ReversePath::parse("<ann@example.org>").expect("a path"),
            _responder: responder,
        }
    }

    async fn authenticate(&self) -> Authentication {
        let World { authenticator, client, helo, .. } = self;
        let (spf, spf_helo, iprev) = tokio::join!(
            authenticator.spf(*client, helo, &self.reverse_path),
            authenticator.spf(*client, helo, &ReversePath::Null),
            authenticator.iprev(*client),
        );
        let found = authenticator.verify(&self.message, spf, iprev).await;
        Authentication { spf_helo: Some(spf_helo), ..found }
    }
}

impl Bare {
    fn verify(&self) {
        black_box(HashAlgorithm::Sha256.hash(self.body.as_slice()));
        let verified = self.key.p.verify_bytes(&self.header, &self.signature, Algorithm::RsaSha256);
        assert!(black_box(verified).is_ok());
    }
}

/// As mail of people looks when it has come through two hops.
fn message() -> String {
    let mut header = String::new();
    for hop in 1..3 {
        header += &format!(
            "Received: from mail{hop}.example.org (mail{hop}.example.org [192.0.2.{hop}])\r\n\tby relay{hop}.example.org \
             (Postfix) with ESMTPS id 4XyZ{hop}\r\n\tfor <bob@example.net>; Mon, 23 Nov 2026 10:00:0{hop} +0000\r\n"
        );
    }
    header += "From: Ann Example <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: minutes of the meeting\r\n\
               Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <20261123100000.1@example.org>\r\nMIME-Version: 1.0\r\n\
               Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
               User-Agent: Example 1.0\r\nX-Mailer: Example\r\nList-Unsubscribe: <mailto:leave@example.org>\r\n";
    let line = "This is a line of text, of the length that people write, or their programs wrap.\r\n";
    header + "\r\n" + &line.repeat(BODY_LINES)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
