//! How the service ends when its clients do not: patience, a last 421, and a second signal.

use std::time::Duration;

use tokio::sync::watch;

use crate::support::server::{Options, Server};
use crate::support::service;
use crate::support::smtp_client::Client;

/// How long transactions may go on in this test.
const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let mut server = Server::start(Options::default());
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<carol@client.example>", "250");
    server.ask_to_stop();
    server.await_log("stopping: open transactions may end");
    assert_eq!(server.stop().code(), Some(0));
    server.await_log("open transactions are cut off");
    assert!(client.at_end());
}

/// The 30 seconds of `mxkeep serve` are an argument here.
#[test]
fn transactions_that_do_not_end_are_told_421() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (stop, stopped) = watch::channel(false);
    let service = runtime.block_on(service::start(directory.path()));
    let address = service.handle().listening()[0].address;
    let running = runtime.spawn(service.run(stopped, PATIENCE));
    let mut early = Client::greeted(address);
    early.expect("EHLO client.example", "250");
    early.expect("MAIL FROM:<carol@client.example>", "250");
    let mut late = Client::greeted(address);
    late.expect("EHLO client.example", "250");
    late.expect("MAIL FROM:<carol@client.example>", "250");
    late.expect("RCPT TO:<alice@example.test>", "250");
    late.expect("DATA", "354");
    late.send(b"Subject: hello\r\n\r\nHel").expect("the server reads");
    stop.send(true).expect("it runs");
    for client in [&mut early, &mut late] {
        let reply = client.reply().expect("a last reply");
        assert!(reply.starts_with("421 4.3.2 "), "{reply}");
        assert!(client.at_end());
    }
    drop((early, late));
    runtime.block_on(running).expect("it ends");
}
