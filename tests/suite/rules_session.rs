//! What rules see of a running session, and what a stored copy says of them.

use crate::support::server::{Options, Server};

const RULES: &str = "\
header   SEEN    X-Spam-Relays-Trusted =~ /^\\[ ip=127\\.0\\.0\\.1 rdns=\\S* helo=mail\\.client\\.example by=mx\\.example\\.test ident= envfrom=ann\\@client\\.example /
header   BEHIND  X-Spam-Relays-Untrusted =~ /^\\[ ip=198\\.51\\.100\\.7 /
header   FROM    EnvelopeFrom =~ /^ann\\@client\\.example$/
header   FORGED  X-Spam-Relays-Trusted =~ /forged/
body     TWO     /two\\s(?!three)/
score    SEEN    1.25
score    BEHIND  1.5
add_header all Why _TESTSSCORES(;)_
";

/// The client that the server spoke with is the newest relay, in front of what the message's own fields tell; what a
/// message says about relays itself is a field like any other, and does not reach the copy.
#[test]
fn the_client_is_the_newest_relay() {
    let server = Server::start(Options { rules: RULES.to_owned(), ..Options::default() });
    let mut client = server.client();
    client.expect("EHLO mail.client.example", "250");
    let mail = b"Received: from a.example (b.example [198.51.100.7]) by mail.client.example with ESMTP id 1; \
        Mon, 1 Jan 2024 00:00:00 +0000\r\nX-Spam-Relays-Trusted: forged\r\nFrom: ann@client.example\r\n\
        Subject: one\r\n\r\none two two\r\n";
    let reply = client.message("ann@client.example", &["alice@example.test"], mail);
    assert!(reply.starts_with("250 "), "{reply}");
    let stored = server.maildir("alice").messages();
    let [copy] = stored.as_slice() else { panic!("{} copies", stored.len()) };
    let why = copy.trace_field("X-Spam-Why");
    assert_eq!(why.as_deref().map(str::trim), Some("BEHIND=1.5;FROM=1;SEEN=1.25;TWO=1"));
}
