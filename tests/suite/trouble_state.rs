//! Garbage in the store's files: it is moved aside, loudly, and mail flows.

use std::fs;
use std::path::PathBuf;

use crate::support::server::{Options, Server};
use crate::support::smtp_client::stuffed;

/// The store's files whose names contain this.
fn files(server: &Server, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.directory().join("state/db")).expect("the store");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(kind))).collect()
}

/// How often a store was moved aside.
fn moved_aside(server: &Server) -> usize {
    let entries = fs::read_dir(server.directory().join("state")).expect("the state");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("db.damaged-")).count()
}

/// Delivers a message so that its entry stays in the ledger: QUIT comes with the final dot, which proves nothing.
fn deliver(server: &Server, subject: &str) {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<carol@client.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    let octets = format!("From: carol@client.example\r\nSubject: {subject}\r\n\r\nHello!\r\n");
    client.send(&[stuffed(octets.as_bytes()), b"QUIT\r\n".to_vec()].concat()).expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert!(client.reply().is_some_and(|reply| reply.starts_with("221 ")));
}

#[test]
fn garbage_in_the_store_is_moved_aside_and_mail_flows() {
    let mut server = Server::start(Options::default());
    let (mut moved, mut delivered) = (0, 0);
    for (kind, must_move) in [("CURRENT", true), ("MANIFEST-", true), (".log", false), (".sst", true)] {
        deliver(&server, &format!("before {kind}"));
        // What stands in the log is written to a table when the log is read back.
        server.stop();
        server.restart();
        deliver(&server, &format!("again before {kind}"));
        assert!(server.stop().success());
        let found = files(&server, kind);
        assert!(!found.is_empty(), "a file {kind}");
        for file in found {
            fs::write(file, [0xa5; 3000]).expect("a file can be overwritten");
        }
        server.restart();
        let now = moved_aside(&server);
        assert!(now > moved || !must_move, "{kind} was not moved aside:\n{}", server.log());
        moved = now;
        deliver(&server, &format!("after {kind}"));
        delivered += 3;
        assert_eq!(server.maildir("alice").messages().len(), delivered, "{kind}");
    }
    let log = server.log();
    assert!(log.contains("the store is damaged: it was moved aside and a new one begun; no mail is lost"), "{log}");
    // The new store works: the same message again, and there is no second copy.
    deliver(&server, "after .sst");
    assert_eq!(server.maildir("alice").messages().len(), delivered);
}
