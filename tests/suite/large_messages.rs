//! Messages that do not fit into memory: they arrive as they came, and what there is no room for is 4yz and leaves nothing.

use std::fs;
use std::path::PathBuf;

use crate::support::dialogue::Settings;
use crate::support::disk::{SmallDisk, files_below};
use crate::support::poll::until;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::{Client, stuffed};

const MIB: usize = 1 << 20;

/// A server with these limits beside a roomy one for a message.
fn limited(limits: &[&str]) -> Server {
    let settings = Settings { message_octets_max: 16 * MIB as u64, ..Settings::default() };
    let configuration = limits.iter().map(|limit| format!("limits.{limit}\n")).collect();
    Server::start(Options { settings, configuration, ..Options::default() })
}

/// A message of about this many octets, no two lines of which are the same. Some begin with a dot.
fn message(subject: &str, octets: usize) -> Vec<u8> {
    let mut message =
        format!("From: carol@client.example\r\nSubject: {subject}\r\nX-Spam-Flag: NO\r\n\r\n").into_bytes();
    for line in 0..octets / 50 {
        message.extend_from_slice(
            format!("{}line {line:010} of a message that fills the disk\r\n", [".", ""][line % 2]).as_bytes(),
        );
    }
    message
}

/// As it is delivered: without the field that only we may write.
fn delivered(message: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(message).replacen("X-Spam-Flag: NO\r\n", "", 1).into_bytes()
}

fn introduced(server: &Server) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client
}

fn send(server: &Server, octets: &[u8]) -> String {
    introduced(server).message("carol@client.example", &["alice@example.test"], octets)
}

/// A client whose message has begun: these octets of it are sent.
fn begun(server: &Server, octets: &[u8]) -> Client {
    let mut client = introduced(server);
    client.expect("MAIL FROM:<carol@client.example>", "250");
    client.expect("RCPT TO:<alice@example.test>", "250");
    client.expect("DATA", "354");
    client.send(octets).expect("the server reads");
    client
}

/// The temporary files that the server has open.
fn temporary_files(server: &Server) -> Vec<PathBuf> {
    let below = server.directory().join("state/tmp");
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").flatten();
    open.filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|path| path.starts_with(&below)).collect()
}

fn leaves_no_file(server: &Server) {
    until("no temporary file is open", || temporary_files(server).is_empty());
    assert_eq!(files_below(&server.directory().join("state/tmp")), [""; 0].map(PathBuf::from));
}

#[test]
fn a_message_that_does_not_fit_into_memory_arrives_octet_by_octet_and_once() {
    for limit in ["message_memory_octets_max = 65536", "memory_octets_max = 65536"] {
        let server = limited(&[limit]);
        let large = message("large", 5 * MIB);
        let data = stuffed(&large);
        let (first, rest) = data.split_at(2 * MIB);
        let mut client = begun(&server, first);
        until("the message is in a file", || !temporary_files(&server).is_empty());
        assert_eq!(files_below(&server.directory().join("state/tmp")), [""; 0].map(PathBuf::from), "it has no name");
        client.send(rest).expect("the server reads");
        // The reply is lost, and the client sends it again (RFC 1047).
        client.await_more_than(0);
        client.reset();
        let reply = send(&server, &large);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let stored = server.maildir("alice").messages();
        assert_eq!(stored.len(), 1, "{limit}");
        assert!(stored[0].as_received() == delivered(&large), "{limit}: it is another message");
        leaves_no_file(&server);
    }
}

#[test]
fn all_copies_of_a_large_message_are_whole_and_take_turns() {
    let server = limited(&["inspection_octets_max = 1048576", "message_memory_octets_max = 65536"]);
    let messages: Vec<Vec<u8>> = (0..6).map(|n| message(&format!("number {n}"), 2 * MIB + n)).collect();
    std::thread::scope(|scope| {
        for message in &messages {
            let server = &server;
            scope.spawn(move || {
                let to = ["alice@example.test", "bob@example.test"];
                let reply = introduced(server).message("carol@client.example", &to, message);
                assert!(reply.starts_with("250 2.0.0"), "{reply}");
            });
        }
    });
    for who in ["alice", "bob"] {
        let mut stored: Vec<_> = server.maildir(who).messages().iter().map(|stored| stored.as_received()).collect();
        let mut sent: Vec<_> = messages.iter().map(|message| delivered(message)).collect();
        stored.sort();
        sent.sort();
        assert!(stored == sent, "{who} has other messages");
    }
    leaves_no_file(&server);
}

#[test]
fn past_all_that_may_be_in_flight_is_452_and_the_room_comes_back() {
    let server = limited(&["in_flight_octets_max = 1000000", "message_memory_octets_max = 65536"]);
    let mut client = introduced(&server);
    client.expect("MAIL FROM:<carol@client.example> SIZE=1000001", "452 4.3.1");
    client.expect("RCPT TO:<alice@example.test>", "503");
    let reply = client.message("carol@client.example", &["alice@example.test"], &message("too large", 2 * MIB));
    assert!(reply.starts_with("452 4.3.1 Too much mail"), "{reply}");
    server.await_log("cause=\"no_room\"");
    leaves_no_file(&server);
    client.expect("MAIL FROM:<carol@client.example> SIZE=1000000", "250");
    client.expect("RSET", "250");

    // What others have begun counts, and counts no more when they have gone.
    let others: Vec<Client> = (0..3).map(|n| begun(&server, &message(&format!("begun {n}"), 300_000))).collect();
    until("there is no room", || {
        let reply = client.command("MAIL FROM:<carol@client.example> SIZE=500000");
        client.expect("RSET", "250");
        reply.starts_with("452 4.3.1")
    });
    drop(others);
    until("there is room", || client.command("MAIL FROM:<carol@client.example> SIZE=1000000").starts_with("250 "));
    client.expect("RSET", "250");
    let almost = message("almost", 900_000);
    let reply = client.message("carol@client.example", &["alice@example.test"], &almost);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert!(server.maildir("alice").messages()[0].as_received() == delivered(&almost));
    leaves_no_file(&server);
}

#[test]
fn small_messages_have_room_when_others_have_taken_all() {
    let server = limited(&["in_flight_octets_max = 1"]);
    let mut client = introduced(&server);
    client.expect("MAIL FROM:<carol@client.example> SIZE=20000", "452 4.3.1");
    for (octets, told) in [(20_000, "452 4.3.1 Too much mail"), (15_000, "250 2.0.0")] {
        let reply = client.message("carol@client.example", &["alice@example.test"], &message("one", octets));
        assert!(reply.starts_with(told), "{octets}: {reply}");
    }
    client.expect("MAIL FROM:<carol@client.example> SIZE=15000", "250");
}

#[test]
fn a_disk_too_small_for_temporary_files_is_452_for_large_messages_alone() {
    let server = limited(&["message_memory_octets_max = 65536"]);
    let directory = server.directory().join("state/tmp");
    assert!(!directory.exists(), "no large message has come yet");
    fs::create_dir(&directory).expect("its place");
    let Some(disk) = SmallDisk::mount(&directory, MIB as u64) else { return };
    let (small, large) = (message("small", 1000), message("large", 3 * MIB));
    for _ in 0..2 {
        let mut client = introduced(&server);
        let reply = client.message("carol@client.example", &["alice@example.test"], &large);
        assert!(reply.starts_with("452 4.3.1 Not enough storage"), "{reply}");
        let reply = client.message("carol@client.example", &["alice@example.test"], &small);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    server.await_log("make room in storage.state");
    leaves_no_file(&server);
    drop(disk);
    assert!(send(&server, &large).starts_with("250 2.0.0"));
    assert_eq!(server.maildir("alice").messages().len(), 3);
}

#[test]
fn without_a_directory_for_temporary_files_large_messages_are_451() {
    let mut server = limited(&["message_memory_octets_max = 65536"]);
    server.stop();
    let directory = server.directory().join("state/tmp");
    fs::write(&directory, "no directory").expect("a file");
    server.restart();
    server.await_log("large messages cannot be received");
    let large = message("large", MIB);
    let reply = send(&server, &large);
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    assert!(send(&server, &message("small", 1000)).starts_with("250 2.0.0"));
    // The server has not to be started again when it is mended.
    fs::remove_file(&directory).expect("it is there");
    assert!(send(&server, &large).starts_with("250 2.0.0"));
    leaves_no_file(&server);
}
