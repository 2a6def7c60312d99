//! Another configuration without a restart: all of it or nothing, and no session and no message pays for it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::support::dialogue::Settings;
use crate::support::load::{self, Sessions, while_sending};
use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::service;
use crate::support::smtp_client::Client;

/// How often the configuration changes under load.
const ROUNDS: usize = 6;
/// Messages between two changes.
const ROUND_MESSAGES: u64 = 30;

/// The reply to a recipient, in a session of its own.
fn told_of(server: &Server, recipient: &str) -> String {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    ask(&mut client, recipient)
}

fn ask(client: &mut Client, recipient: &str) -> String {
    client.expect("MAIL FROM:<carol@client.example>", "250");
    let reply = client.command(&format!("RCPT TO:<{recipient}>"));
    client.expect("RSET", "250");
    reply
}

fn add_domain(server: &Server, name: &str) {
    server.edit(|text| format!("{text}domains.\"{name}\".mailboxes = [\"carol\"]\n"));
}

/// `mxkeep reload` is content.
fn reload(server: &Server) -> String {
    let said = server.run("reload");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("mxkeep.toml: in force. Domains: "), "{said:?}");
    format!("{}{}", said.out, said.err)
}

/// `mxkeep reload` says this, and that nothing has changed.
fn refused(server: &Server, texts: &[&str]) {
    let said = server.run("reload");
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.out.is_empty() && said.err.contains("Nothing was reloaded"), "{said:?}");
    for text in texts {
        assert!(said.err.contains(text), "it does not say {text:?}: {said:?}");
    }
}

fn listening(server: &Server) -> Vec<String> {
    let said = server.run("status");
    let line = said.out.lines().find_map(|line| line.strip_prefix("listening")).expect("a line");
    line.split(", ").map(|address| address.trim().to_owned()).collect()
}

#[test]
fn under_load_no_session_and_no_message_is_lost() {
    let mut server = Server::start(Options::default());
    let kinds = [Sessions::One, Sessions::One, Sessions::One, Sessions::Many, Sessions::Many, Sessions::Many];
    let address = server.address();
    let sent = while_sending(address, &kinds, |load| {
        for round in 0..ROUNDS {
            load.await_messages(ROUND_MESSAGES);
            let name = format!("round{round}.test");
            add_domain(&server, &name);
            reload(&server);
            assert!(told_of(&server, &format!("carol@{name}")).starts_with("250"));
            load.await_messages(ROUND_MESSAGES);
            let sound = fs::read_to_string(server.configuration()).expect("a configuration");
            let line = sound.lines().count() + 1;
            server.edit(|text| format!("{text}limits.session_seconds_max = \"many\"\n"));
            let failed = server.log().matches("not reloaded").count();
            refused(&server, &[&format!("mxkeep.toml:{line}:"), "limits.session_seconds_max"]);
            until("the server has it in its log", || server.log().matches("not reloaded").count() > failed);
            assert_eq!(server.run("status").code, Some(0), "a running server can be asked all the same");
            let failed = failed + 1;
            server.hang_up();
            until("the server says so in its log, too", || server.log().matches("not reloaded").count() > failed);
            assert!(told_of(&server, &format!("carol@{name}")).starts_with("250"), "the old one stays");
            fs::write(server.configuration(), sound).expect("it can be mended");
        }
        reload(&server);
    });
    assert!(sent.len() as u64 > ROUND_MESSAGES * ROUNDS as u64);
    load::check(&server, &sent);
    assert_eq!(listening(&server), [address.to_string()]);
}

#[test]
fn a_session_keeps_what_it_began_with() {
    let mut server = Server::start(Options::default());
    let mut old = server.client();
    old.expect("EHLO client.example", "250");
    add_domain(&server, "new.test");
    server.edit(|text| text.replace("limits.message_octets_max = 65536", "limits.message_octets_max = 70000"));
    let begun = server.log().matches("reloaded ").count();
    server.hang_up();
    until("it is reloaded", || server.log().matches("reloaded ").count() > begun);
    assert!(ask(&mut old, "carol@new.test").starts_with("550 5.7.1"));
    assert!(old.expect("EHLO client.example", "250").contains("SIZE 65536"));
    assert!(told_of(&server, "carol@new.test").starts_with("250"));
    assert!(server.client().expect("EHLO client.example", "250").contains("SIZE 70000"));
    // The ledger, too, is the service's: what the old session delivered the new one knows.
    let message = b"Subject: once\r\n\r\nHello!\r\n";
    assert!(old.message("carol@client.example", &["alice@example.test"], message).starts_with("250 2.0.0"));
    assert_eq!(server.maildir("alice").messages().len(), 1);
}

#[test]
fn rules_are_read_again_and_their_mistakes_are_said() {
    let server = Server::start(Options::default());
    let rules = server.directory().join("rules/test.cf");
    fs::write(&rules, "header GREETING Subject =~ /hello/\nscore GREETING 20\nfrobnicate x\n").expect("a rule file");
    let said = reload(&server);
    assert!(said.contains("test.cf:3: \"frobnicate\"") && said.contains("rules: 1"), "{said}");
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let told = client.message("carol@client.example", &["alice@example.test"], b"Subject: hello\r\n\r\nx\r\n");
    assert!(told.starts_with("550 5.7.1 Refused as spam"), "{told}");
}

#[test]
fn all_that_is_in_the_way_is_said_at_once() {
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = Server::start(Options { settings, ..Options::default() });
    fs::remove_file(server.directory().join("key.pem")).expect("it is there");
    server.edit(|text| text.replace("/rules\"]", "/rulez\"]").replace("/mail/", "/elsewhere/"));
    refused(&server, &["tls.key: ", "rules.paths: ", "rulez", "storage.mail: ", "elsewhere does not exist"]);
    for text in ["key.pem cannot be read", "rulez", "elsewhere does not exist", "not reloaded"] {
        server.await_log(text);
    }
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("STARTTLS", "220");
    client.start_tls().expect("the certificate that was read at the start");
}

#[test]
fn another_state_directory_needs_a_restart() {
    let mut server = Server::start(Options::default());
    server.edit(|text| text.replace("/state\"", "/state2\""));
    let said = server.run("reload");
    assert_eq!(said.code, Some(69), "nobody answers there: {said:?}");
    assert!(said.err.contains("restart it"), "{said:?}");
    server.hang_up();
    server.await_log("state2 needs a restart");
    server.await_log("not reloaded");
    assert!(!server.directory().join("state2").exists());
}

#[test]
fn another_log_format_is_said_to_need_a_restart() {
    let server = Server::start(Options::default());
    server.edit(|text| format!("log.format = \"json\"\n{text}"));
    let warning = "log.format: the other format needs a restart";
    assert!(reload(&server).contains(warning));
    add_domain(&server, "new.test");
    assert!(reload(&server).contains(warning), "as long as it is so");
    assert!(told_of(&server, "carol@new.test").starts_with("250"));
    server.edit(|text| text.replace("log.format = \"json\"\n", ""));
    assert!(!reload(&server).contains(warning), "it is as it was");
}

#[test]
fn listeners_come_and_go_and_those_that_stay_are_not_touched() {
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = Server::start(Options { settings, ..Options::default() });
    let first = server.address();
    server.edit(|text| {
        text.replace(
            "listen.smtp = [\"127.0.0.1:0\"]",
            "listen.smtp = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nlisten.smtps = [\"127.0.0.3:0\"]",
        )
    });
    reload(&server);
    let addresses = listening(&server);
    assert!(addresses.len() == 3 && addresses[0] == first.to_string(), "{addresses:?}");
    let second: SocketAddr = addresses[1].parse().expect("an address");
    let third: SocketAddr = addresses[2].strip_suffix(" (smtps)").expect("its kind").parse().expect("an address");
    let mut client = Client::greeted(second);
    client.expect("EHLO client.example", "250");
    let mut secured = Client::connect(third);
    secured.start_tls().expect("TLS from the first octet");
    assert!(secured.reply().expect("a banner").starts_with("220 "));
    assert!(!secured.expect("EHLO client.example", "250").contains("STARTTLS"));

    server.edit(|text| text.replace(", \"127.0.0.2:0\"", "").replace("listen.smtps = [\"127.0.0.3:0\"]", ""));
    reload(&server);
    assert_eq!(listening(&server), [first.to_string()]);
    for address in [second, third] {
        until("nobody listens there", || TcpStream::connect(address).is_err());
    }
    client.expect("NOOP", "250");
    secured.expect("NOOP", "250");
    Client::greeted(first);
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let server = Server::start(Options::default());
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    // Of its own port the server knows only that the system chose it: named, it is another one.
    let wanted = format!("listen.smtp = [\"127.0.0.2:0\", \"{taken}\", \"{}\"]", server.address());
    server.edit(|text| text.replace("listen.smtp = [\"127.0.0.1:0\"]", &wanted));
    let theirs = format!("cannot listen on {taken}: Address already in use");
    let ours = format!("listen.smtp: {} cannot take the place of", server.address());
    refused(&server, &[&theirs, "change listen.smtp", &ours, "needs a restart"]);
    assert_eq!(listening(&server), [server.address().to_string()]);
    server.client();
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload() {
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = Server::start(Options { settings, ..Options::default() });
    let shown = || {
        let mut client = server.client();
        client.expect("EHLO client.example", "250");
        client.expect("STARTTLS", "220");
        client.start_tls().expect("a handshake");
        client.peer_certificate()
    };
    let before = shown();
    assert_eq!(shown(), before);
    let made = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
    fs::write(server.directory().join("certificate.pem"), made.cert.pem()).expect("a certificate file");
    fs::write(server.directory().join("key.pem"), made.signing_key.serialize_pem()).expect("a key file");
    reload(&server);
    assert_ne!(shown(), before);
}

/// What a configuration took is given back when the last session ends that began with it, and not before.
#[test]
fn the_last_session_takes_its_configuration_along() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (stop, stopped) = watch::channel(false);
    let service = runtime.block_on(service::start(directory.path()));
    let handle = service.handle();
    let running = runtime.spawn(service.run(stopped, Duration::ZERO));
    let generation = || Arc::downgrade(&handle.receiver());
    let mut client = Client::greeted(handle.listening()[0].address);
    let first = generation();
    runtime.block_on(handle.reload()).expect("it is reloaded");
    let second = generation();
    runtime.block_on(handle.reload()).expect("it is reloaded");
    until("nobody has the second one", || second.upgrade().is_none());
    assert!(first.upgrade().is_some());
    client.expect("EHLO client.example", "250");
    client.expect("QUIT", "221");
    drop(client);
    until("nobody has the first one", || first.upgrade().is_none());
    stop.send(true).expect("it runs");
    runtime.block_on(running).expect("it ends");
}

#[test]
fn without_a_server_reload_is_69() {
    let mut server = Server::start(Options::default());
    assert!(server.stop().success());
    let said = server.run("reload");
    assert!(said.code == Some(69) && said.err.contains("no server answers at"), "{said:?}");
}
