//! The mail path with PRDR, from a transaction to its replies, the Maildirs and the record.

use super::*;
use crate::message::Message;
use std::fs;
use std::path::{Path, PathBuf};

use crate::address::{Domain, Host};
use crate::config::Config;
use crate::delivery::ledger::{Digest, Key, Seen};
use crate::dns::responder::{Behaviour, Record, Responder, Zone};
use crate::reputation::deferral::Doubt;
use crate::verdict::{Applied, Override};

/// A receiver with a world of its own. example.test has the defaults, strict.test refuses from 2 points on, and
/// observe.test only records DMARC.
struct World {
    receiver: Arc<Receiver>,
    _names: Responder,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let zone = Zone::from_iter([("_dmarc.reject.example", Record::txt("v=DMARC1; p=reject"))])
            .behave("_dmarc.broken.example", Behaviour::ServFail)
            .behave("lists.example", Behaviour::ServFail)
            .behave("slow.reject.example", Behaviour::ServFail);
        let names = Responder::start(zone).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let text = format!(
            r#"hostname = "mx.example.test"
storage = {{ mail = "{at}/mail/{{domain}}/{{local_part}}", state = "{at}/state" }}
dns.servers = ["{}"]
rules.paths = ["{at}/rules"]
[domains."example.test"]
mailboxes = ["alice", "bob"]
aliases = {{ both = ["alice", "bob"], mixed = ["bob", "sue@strict.test"] }}
[domains."strict.test"]
mailboxes = ["sue"]
policy = {{ junk_score = 1.0, reject_score = 2.0 }}
[domains."observe.test"]
mailboxes = ["oz"]
policy = {{ dmarc = "observe" }}
[domains."trust.test"]
mailboxes = ["tess"]
policy = {{ trusted_forwarders = ["lists.example", "127.0.0.2"] }}
"#,
            names.address()
        );
        for folder in ["mail", "rules", "state"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        fs::write(directory.path().join("rules/t.cf"), RULES).unwrap();
        let (config, _) = Config::parse(&text, "test", Path::new("/")).unwrap();
        World { receiver: Arc::new(Receiver::set_up(&config).unwrap()), _names: names, directory }
    }

    fn transaction(&self, forward_paths: &[&str], prdr: bool) -> Transaction {
        let recipient = |text: &&str| {
            let path = ForwardPath::parse(&format!("<{text}>")).unwrap();
            match self.receiver.mailboxes.look_up(&path) {
                Lookup::Local(recipients) => (path, recipients),
                _ => panic!("{text} is unknown"),
            }
        };
        Transaction {
            id: journal::new_id(),
            connection: journal::new_id(),
            client: Client { address: [127, 0, 0, 1].into(), port: 1, tls: None },
            is_relay: false,
            helo: Some(Helo { host: Host::parse("client.example").unwrap(), extended: true }),
            reverse_path: ReversePath::parse("<carol@client.example>").unwrap(),
            smtputf8: false,
            prdr,
            started: Instant::now(),
            time: Timestamp::now(),
            iprev: Arc::default(),
            spf: Arc::default(),
            looking_up: None,
            recipients: forward_paths.iter().map(recipient).collect(),
        }
    }

    fn incoming(&self, octets: &[u8]) -> Incoming {
        let mut incoming = Incoming::new(&self.receiver, [127, 0, 0, 1].into());
        incoming.tail().extend_from_slice(octets);
        incoming
    }

    /// Sends a message with PRDR: the replies, how many keys are to be released, the record.
    async fn send(&self, forward_paths: &[&str], octets: &[u8]) -> Sent {
        let transaction = self.transaction(forward_paths, true);
        let (replies, receipt, record) = conclude(&self.receiver, transaction, self.incoming(octets)).await;
        let Some((first, each)) = replies.each.split_first() else { panic!("no reply for each: {replies:?}") };
        assert!(first.code() == 353 && first.enhanced().is_none(), "{first}");
        assert_eq!(each.len(), forward_paths.len());
        for (reply, path) in each.iter().zip(forward_paths) {
            let text = reply.to_string();
            assert!(text.contains(&format!(" <{path}> ")) && text.ends_with(&format!("({})", record.id)), "{text}");
        }
        assert_eq!(record.reply, replies.last.to_string());
        let codes = each.iter().map(Reply::code).collect();
        Sent { codes, last: replies.last.code(), receipts: receipt.len(), record }
    }

    fn maildir(&self, mailbox: &str) -> PathBuf {
        let (local_part, domain) = mailbox.split_once('@').unwrap();
        self.directory.path().join("mail").join(domain).join(local_part)
    }

    /// Messages in the inbox and in Junk.
    fn count(&self, mailbox: &str) -> (usize, usize) {
        let files = |folder: &str| fs::read_dir(self.maildir(mailbox).join(folder)).map_or(0, Iterator::count);
        (files("new"), files(".Junk/new"))
    }
}

struct Sent {
    codes: Vec<u16>,
    last: u16,
    receipts: usize,
    record: journal::Transaction,
}

impl Sent {
    fn codes(&self) -> (&[u16], u16) {
        (&self.codes, self.last)
    }

    /// Verdict and cause of each target.
    fn verdicts(&self) -> Vec<(&'static str, Option<&'static str>)> {
        self.record.recipients.iter().map(|recipient| (recipient.verdict, recipient.cause)).collect()
    }
}

const RULES: &str = "header THREE Subject =~ /three/\nscore THREE 3\nheader LOTS Subject =~ /lots/\nscore LOTS 20\n";
const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
const SUE: &str = "sue@strict.test";
const OZ: &str = "oz@observe.test";
const TESS: &str = "tess@trust.test";

fn message(author: &str, subject: &str) -> Vec<u8> {
    format!("From: someone@{author}\r\nSubject: {subject}\r\n\r\nHello!\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_decides_for_themselves() {
    let world = World::new().await;
    let sent = world.send(&[ALICE, SUE, BOB], &message("client.example", "three")).await;
    assert_eq!(sent.codes(), (&[250, 550, 250][..], 250));
    assert_eq!((world.count(ALICE), world.count(SUE), world.count(BOB)), ((1, 0), (0, 0), (1, 0)));
    assert_eq!(sent.receipts, 2);
    assert_eq!(sent.verdicts(), [("inbox", None), ("reject", Some("score")), ("inbox", None)]);
    assert_eq!((sent.record.verdict, sent.record.cause), ("inbox", None));
    let reply = sent.record.recipients[1].reply.as_deref().unwrap_or_default();
    assert!(reply.starts_with("550 5.7.1 <sue@strict.test> Refused as spam: score 3.0, limit 2.0 ("), "{reply}");

    // Nobody takes it: the last reply says so.
    let sent = world.send(&[ALICE, SUE], &message("client.example", "lots")).await;
    assert_eq!(sent.codes(), (&[550, 550][..], 550));
    assert_eq!((sent.record.verdict, sent.record.cause, sent.receipts), ("reject", Some("score"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_defers_only_those_whom_it_concerns() {
    let world = World::new().await;
    let sent = world.send(&[OZ, ALICE], &message("broken.example", "x")).await;
    assert_eq!(sent.codes(), (&[250, 451][..], 250));
    assert_eq!((world.count(OZ), world.count(ALICE)), ((1, 0), (0, 0)));
    assert_eq!(sent.verdicts(), [("inbox", None), ("defer", Some("dmarc_temporary"))]);
    // It may still come to Alice: the last reply is 4yz, whatever Sue says.
    let sent = world.send(&[ALICE, SUE], &message("broken.example", "three, lots")).await;
    assert_eq!(sent.codes(), (&[451, 451][..], 451));
    assert_eq!(sent.receipts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_message_is_refuses_it_for_all() {
    let world = World::new().await;
    let sent = world.send(&[OZ, ALICE], &message("reject.example", "x")).await;
    assert_eq!(sent.codes(), (&[550, 550][..], 550));
    assert_eq!(sent.verdicts(), [("reject", Some("dmarc_reject")); 2]);
    assert_eq!((world.count(OZ), world.count(ALICE), sent.receipts), ((0, 0), (0, 0), 0));
}

/// What cannot be told of a forwarder holds a message up for four hours, and then it goes to Junk: DNS never refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_whose_dns_fails_is_waited_for_and_then_not_believed() {
    let world = World::new().await;
    let send_from = async |client: [u8; 4], to| {
        let mut transaction = world.transaction(&[to], false);
        transaction.client.address = client.into();
        transaction.reverse_path = ReversePath::parse("<bounce@lists.example>").unwrap();
        let incoming = world.incoming(&message("reject.example", &format!("from {client:?}")));
        conclude(&world.receiver, transaction, incoming).await.2
    };
    let send = async |to| send_from([127, 0, 0, 1], to).await;
    let shown = |record: &journal::Transaction| {
        let dmarc = record.recipients[0].dmarc.clone().unwrap();
        (record.verdict, record.cause, dmarc.applied, dmarc.by)
    };
    // Twice: a moment later nothing is different. Who trusts nobody asks nothing, and who only watches gets it.
    for _ in 0..2 {
        let expected = ("defer", Some("forwarder_temporary"), Applied::Defer, None);
        assert_eq!(shown(&send(TESS).await), expected);
    }
    let expected = ("reject", Some("dmarc_reject"), Applied::Reject, None);
    assert_eq!(shown(&send(ALICE).await), expected);
    let expected = ("inbox", None, Applied::None, Some(Override::Observe(Applied::Reject)));
    assert_eq!(shown(&send(OZ).await), expected);

    let hours_ago = |hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    let fails_since = |hours| {
        let (author, client) = (Domain::parse("reject.example").unwrap(), [127, 0, 0, 1].into());
        world.receiver.deferrals.on_success(Doubt::Forwarder, &author, client);
        world.receiver.deferrals.on_failure(Doubt::Forwarder, &author, client, hours_ago(hours));
    };
    fails_since(3);
    assert_eq!(send(TESS).await.verdict, "defer");
    // One who is found ends the trouble, for its neighbours as well.
    fails_since(5);
    assert!(matches!(shown(&send_from([127, 0, 0, 2], TESS).await), ("inbox", None, _, Some(Override::Forwarder(..)))));
    assert_eq!((send(TESS).await.verdict, world.count(TESS)), ("defer", (1, 0)));
    // What is refused for somebody who trusts nobody ends nothing.
    fails_since(5);
    assert_eq!(send(ALICE).await.verdict, "reject");
    let record = send(TESS).await;
    assert_eq!(shown(&record), ("junk", Some("dmarc_unverified"), Applied::Quarantine, None));
    assert_eq!((record.reply.starts_with("250 2.0.0"), world.count(TESS)), (true, (1, 1)));
}

/// The same where DMARC itself could not be evaluated, under a policy that is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_for_hours_goes_to_junk() {
    let world = World::new().await;
    let send = async |author: &str| {
        let mut transaction = world.transaction(&[ALICE], false);
        transaction.reverse_path = ReversePath::parse("<someone@slow.reject.example>").unwrap();
        conclude(&world.receiver, transaction, world.incoming(&message(author, "x"))).await.2
    };
    let fails_since = |author: &str, hours| {
        let (author, at) = (Domain::parse(author).unwrap(), Timestamp::now() - jiff::SignedDuration::from_hours(hours));
        world.receiver.deferrals.on_success(Doubt::Dmarc, &author, [127, 0, 0, 1].into());
        world.receiver.deferrals.on_failure(Doubt::Dmarc, &author, [127, 0, 0, 1].into(), at);
    };
    assert_eq!(send("reject.example").await.cause, Some("dmarc_temporary"));
    fails_since("reject.example", 5);
    let record = send("reject.example").await;
    assert_eq!((record.verdict, record.cause), ("junk", Some("dmarc_unverified")));
    // Where the record itself is not known nobody asked for anything.
    fails_since("broken.example", 3);
    assert_eq!(send("broken.example").await.cause, Some("dmarc_temporary"));
    fails_since("broken.example", 5);
    let record = send("broken.example").await;
    assert_eq!((record.verdict, record.cause), ("inbox", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_that_share_a_recipient_share_its_reply() {
    let world = World::new().await;
    // Bob takes it and Sue would not: behind one alias she gets it in Junk, and so she does where she is named as well.
    let sent = world.send(&["mixed@example.test", ALICE, SUE], &message("client.example", "three")).await;
    assert_eq!(sent.codes(), (&[250, 250, 250][..], 250));
    assert_eq!((world.count(BOB), world.count(SUE), world.count(ALICE)), ((1, 0), (0, 1), (1, 0)));
    assert_eq!(sent.verdicts(), [("inbox", None), ("junk", Some("score")), ("inbox", None)]);
    assert_eq!(sent.receipts, 3);
    // The same recipient twice: one copy, two replies.
    let sent = world.send(&[ALICE, "Alice@example.test"], &message("client.example", "twice")).await;
    assert_eq!((sent.codes(), world.count(ALICE)), ((&[250, 250][..], 250), (2, 0)));
}

/// The copy of one recipient fails: the others have theirs, and a retry makes no second one.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_one_maildir_is_nobody_elses() {
    let world = World::new().await;
    let in_the_way = world.maildir(BOB);
    fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    fs::write(&in_the_way, "a file where the Maildir should be").unwrap();
    let octets = message("client.example", "x");
    let to = ["both@example.test", SUE, OZ];
    let sent = world.send(&to, &octets).await;
    assert_eq!(sent.codes(), (&[451, 250, 250][..], 250));
    assert_eq!(sent.verdicts()[1], ("defer", Some("storage_failed")));
    assert_eq!((world.count(ALICE), world.count(SUE), world.count(OZ)), ((0, 0), (1, 0), (1, 0)));
    assert_eq!(sent.receipts, 2, "only for those who were told 250");
    fs::remove_file(&in_the_way).unwrap();
    let sent = world.send(&to, &octets).await;
    assert_eq!(sent.codes(), (&[250, 250, 250][..], 250));
    let counts = [ALICE, BOB, SUE, OZ].map(|mailbox| world.count(mailbox));
    assert_eq!(counts, [(1, 0); 4]);
    assert_eq!((sent.record.recipients[2].duplicate, sent.receipts), (true, 4));
    // All have it: also then one reply each.
    let sent = world.send(&to, &octets).await;
    assert_eq!((sent.codes(), sent.record.verdict), ((&[250, 250, 250][..], 250), "accept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_under_way_defers_its_recipient_alone() {
    let world = World::new().await;
    let octets = message("client.example", "x");
    let transaction = world.transaction(&[ALICE], true);
    let (path, recipients) = &transaction.recipients[0];
    let digest = Digest::of(&Message::new(octets.clone()));
    let key = Key::new(&transaction.reverse_path, path, &recipients[0].mailbox, &digest);
    let seen = world.receiver.ledger.look_up(&[key]);
    assert!(matches!(seen.as_slice(), [Seen::New(_)]));
    let sent = world.send(&[ALICE, BOB], &octets).await;
    assert_eq!(sent.codes(), (&[451, 250][..], 250));
    assert_eq!(sent.verdicts(), [("defer", Some("in_flight")), ("inbox", None)]);
    assert_eq!((world.count(ALICE), world.count(BOB)), ((0, 0), (1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_or_no_prdr_is_one_reply() {
    let world = World::new().await;
    for (to, prdr, code) in
        [(&[ALICE][..], true, 250), (&[ALICE, SUE], false, 250), (&["both@example.test"], true, 250)]
    {
        let transaction = world.transaction(to, prdr);
        let octets = message("client.example", &format!("three {to:?} {prdr}"));
        let (replies, _, record) = conclude(&world.receiver, transaction, world.incoming(&octets)).await;
        assert!(replies.each.is_empty() && replies.last.code() == code, "{replies:?}");
        assert!(record.recipients.iter().all(|recipient| recipient.reply.is_none()));
    }
    // Without it those who would refuse get it in Junk.
    assert_eq!(world.count(SUE), (0, 1));
}
