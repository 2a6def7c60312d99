//! Policy over the real server: who may share a transaction, and that each domain's own thresholds hold at delivery.

use mxkeep::dns::responder::{Record, Zone};

use crate::support::conversation::{self, Pace};
use crate::support::dialogue;
use crate::support::maildir::{Maildir, Stored};
use crate::support::names::Names;
use crate::support::server::{Options, Server};

/// Recipients of two classes share no transaction, whichever comes first; the transaction goes on without the second.
const CLASSES: &str = r#"postmaster and abuse are written to alone
RFC 5321 section 4.5.1, RFC 2142, RFC 3463 (X.5.3)

S: 220 mx.example.test *
C: EHLO client.example
S+ 250 *
C: MAIL FROM:<carol@client.example>
S: 250 2.1.0 *
C: RCPT TO:<alice@example.test>
S: 250 2.1.5 *
C: RCPT TO:<postmaster@example.test>
S: 452 4.5.3 *
C: RCPT TO:<Postmaster>
S: 452 4.5.3 *
C: RCPT TO:<abuse@example.test>
S: 452 4.5.3 *
C: RCPT TO:<bob@example.test>
S: 250 2.1.5 *
C: DATA
S: 354 *
C: Subject: for two
C: .
S: 250 2.0.0 *
C: MAIL FROM:<carol@client.example>
S: 250 2.1.0 *
C: RCPT TO:<postmaster@example.test>
S: 250 2.1.5 *
C: RCPT TO:<alice@example.test>
S: 452 4.5.3 *
C: DATA
S: 354 *
C: Subject: for one
C: .
S: 250 2.0.0 *
C: QUIT
S: 221 2.0.0 *
CLOSED

F: carol@client.example
R: alice@example.test
R: bob@example.test
M: Subject: for two
F: carol@client.example
R: postmaster@example.test
M: Subject: for one
"#;

/// A notification has one recipient, of whatever class.
const NOTIFICATIONS: &str = r#"A message from <> has one recipient
RFC 5321 section 4.5.5, RFC 3463 (X.5.3)

S: 220 mx.example.test *
C: EHLO client.example
S+ 250 *
C: MAIL FROM:<>
S: 250 2.1.0 *
C: RCPT TO:<nobody@example.test>
S: 550 5.1.1 *
C: RCPT TO:<alice@example.test>
S: 250 2.1.5 *
C: RCPT TO:<bob@example.test>
S: 452 4.5.3 *
C: RCPT TO:<postmaster@example.test>
S: 452 4.5.3 *
C: DATA
S: 354 *
C: Subject: a notification
C: .
S: 250 2.0.0 *
C: QUIT
S: 221 2.0.0 *
CLOSED

F:
R: alice@example.test
M: Subject: a notification
"#;

#[test]
fn who_may_share_a_transaction() {
    for (name, text) in [("classes", CLASSES), ("notifications", NOTIFICATIONS)] {
        let dialogue = dialogue::parse(name, text).expect("a dialogue");
        for pace in [Pace::Written, Pace::Pipelined, Pace::Octets] {
            let server = Server::start(Options::default());
            let held = conversation::hold(&server, &dialogue, pace, false);
            held.and_then(|()| conversation::check_mailboxes(&server, &dialogue))
                .unwrap_or_else(|why| panic!("{name}, {pace:?}: {why}"));
        }
    }
}

/// Scores of 3, 6 and 16 for subjects that say so.
const RULES: &str = "header THREE Subject =~ /three/\nscore THREE 3\nheader SIX Subject =~ /six/\nscore SIX 6\n\
                     header SIXTEEN Subject =~ /sixteen/\nscore SIXTEEN 10\n";

/// example.test has the defaults; strict.test is strict, and calls its folder Spam; observe.test only records DMARC.
fn start(names: &Names) -> Server {
    let configuration = r#"
domains."strict.test" = { mailboxes = ["sue"], policy = { junk_score = 2.0, reject_score = 5.5, junk_folder = "Spam" } }
domains."observe.test" = { mailboxes = ["oz"], policy = { dmarc = "observe" } }
"#;
    let options = Options { rules: RULES.to_owned(), configuration: configuration.to_owned(), ..Options::default() };
    Server::start(Options { dns: Some(names.address()), ..options })
}

fn no_names() -> Names {
    Names::start(Zone::default())
}

/// Sends a message with this subject, and gives the reply.
fn send(server: &Server, author: &str, forward_paths: &[&str], subject: &str) -> String {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let octets = format!("From: {author}\r\nSubject: {subject}\r\n\r\nHello!\r\n");
    client.message("carol@client.example", forward_paths, octets.as_bytes())
}

/// What lies in a mailbox, taken out: the folder and the X-Spam-Status of each message.
fn take(server: &Server, address: &str) -> Vec<(String, String)> {
    let (local_part, domain) = address.split_once('@').expect("an address");
    let maildir = Maildir::new(server.directory().join("mail").join(domain).join(local_part).join("Maildir"));
    let status = |stored: &Stored| stored.trace_field("X-Spam-Status").unwrap_or_default();
    maildir.take_messages().iter().map(|stored| (stored.folder.clone(), status(stored))).collect()
}

fn folders(server: &Server, address: &str) -> Vec<String> {
    take(server, address).into_iter().map(|(folder, _)| folder).collect()
}

const AUTHOR: &str = "carol@client.example";
const ALICE: &str = "alice@example.test";
const SUE: &str = "sue@strict.test";
const OZ: &str = "oz@observe.test";

#[test]
fn each_domain_has_its_own_thresholds_and_its_own_folder() {
    let names = no_names();
    let server = start(&names);
    // 3 points: Alice's inbox, Sue's folder; and each copy tells its own threshold.
    let reply = send(&server, AUTHOR, &[ALICE, SUE], "three");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let (alice, sue) = (take(&server, ALICE), take(&server, SUE));
    assert!(alice.len() == 1 && sue.len() == 1, "{alice:?} {sue:?}");
    assert_eq!((alice[0].0.as_str(), sue[0].0.as_str()), ("", "Spam"));
    assert!(alice[0].1.starts_with("No,") && alice[0].1.contains("required=5"), "{alice:?}");
    assert!(sue[0].1.starts_with("Yes,") && sue[0].1.contains("required=2"), "{sue:?}");

    // 6 points: Sue alone refuses; beside Alice, who takes it as junk, she gets it as junk too. Never a bounce.
    let reply = send(&server, AUTHOR, &[SUE], "six");
    assert!(reply.starts_with("550 5.7.1 Refused as spam: score 6.0, limit 5.5"), "{reply}");
    let reply = send(&server, AUTHOR, &[ALICE, SUE], "six");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!((folders(&server, ALICE), folders(&server, SUE)), (vec!["Junk".to_owned()], vec!["Spam".to_owned()]));

    // 16 points: both refuse, with one reply; postmaster takes it.
    let reply = send(&server, AUTHOR, &[ALICE, SUE], "three, six, sixteen");
    assert!(reply.starts_with("550 5.7.1 Refused as spam: score 19.0"), "{reply}");
    assert!(folders(&server, ALICE).is_empty() && folders(&server, SUE).is_empty());
    let reply = send(&server, AUTHOR, &["postmaster@strict.test"], "three, six, sixteen");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!(folders(&server, SUE), [""]);
}

#[test]
fn dmarc_is_enforced_where_the_domain_says_so() {
    let names = Names::start(Zone::from_iter([
        ("_dmarc.reject.example", Record::txt("v=DMARC1; p=reject")),
        ("_dmarc.quarantine.example", Record::txt("v=DMARC1; p=quarantine")),
        ("_dmarc.none.example", Record::txt("v=DMARC1; p=none")),
    ]));
    let server = start(&names);
    let table = [
        ("reject.example", Err("550 5.7.1 Not authenticated as reject.example"), ""),
        ("quarantine.example", Ok("Junk"), ""),
        ("none.example", Ok(""), ""),
        ("silent.example", Ok(""), ""),
    ];
    for (domain, enforced, observed) in table {
        let author = format!("someone@{domain}");
        let reply = send(&server, &author, &[ALICE], domain);
        match enforced {
            Err(refusal) => assert!(reply.starts_with(refusal), "{domain}: {reply}"),
            Ok(_) => assert!(reply.starts_with("250 2.0.0"), "{domain}: {reply}"),
        }
        let landed: Vec<String> = enforced.into_iter().map(str::to_owned).collect();
        assert_eq!(folders(&server, ALICE), landed, "{domain}");
        let reply = send(&server, &author, &[OZ], domain);
        assert!(reply.starts_with("250 2.0.0"), "{domain} observed: {reply}");
        assert_eq!(folders(&server, OZ), [observed], "{domain} observed");
    }
    // What concerns the message as a whole refuses it for all, Oz included.
    let reply = send(&server, "someone@reject.example", &[OZ, ALICE], "both");
    assert!(reply.starts_with("550 5.7.1 Not authenticated"), "{reply}");
    // Two author domains: nobody can be protected (RFC 9989 section 5.3.1).
    let reply = send(&server, "a@none.example, b@silent.example", &[ALICE], "two authors");
    assert!(reply.starts_with("550 5.7.1 From names more than one author domain"), "{reply}");
    assert!(folders(&server, OZ).is_empty() && folders(&server, ALICE).is_empty());
}
