//! Trouble in writing mail is 4yz, and nothing of it stays; trouble with the state's disk refuses nothing.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::dialogue::Settings;
use crate::support::disk::{SmallDisk, everything_below, files_below, set_mode};
use crate::support::owner::Owner;
use crate::support::program;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

const MIB: u64 = 1 << 20;

/// A message of this many octets or a few more.
fn message(subject: &str, octets: usize) -> Vec<u8> {
    let head = format!("From: carol@client.example\r\nSubject: {subject}\r\n\r\n");
    [head.into_bytes(), "It fills a line and says no more than that.\r\n".repeat(octets / 45).into_bytes()].concat()
}

fn roomy() -> Options {
    let settings = Settings { message_octets_max: 4 * MIB, ..Settings::default() };
    Options { settings, ..Options::default() }
}

fn introduced(server: &Server) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client
}

/// Sends a message to alice.
fn send(server: &Server, octets: &[u8]) -> String {
    introduced(server).message("carol@client.example", &["alice@example.test"], octets)
}

fn count(server: &Server) -> usize {
    ["alice", "bob"].map(|name| server.maildir(name).messages().len()).iter().sum()
}

#[test]
fn a_disk_that_fills_up_during_a_delivery_is_452_and_leaves_nothing() {
    let mut server = Server::start(roomy());
    server.stop();
    let mail = server.directory().join("mail");
    let Some(disk) = SmallDisk::mount(&mail, 4 * MIB) else { return };
    server.restart();
    assert!(send(&server, &message("first", 1000)).starts_with("250 "));

    // The second of two copies does not fit: the first one goes as well.
    disk.fill_but(MIB);
    let large = message("large", 700_000);
    let reply = introduced(&server).message("c@client.example", &["alice@example.test", "bob@example.test"], &large);
    assert!(reply.starts_with("452 4.3.1 Not enough storage"), "{reply}");
    let files = files_below(&mail);
    assert_eq!(files.len(), 2, "the ballast and the first message: {files:?}");
    server.await_log("No space left on device (os error 28). The disk is full: make room");
    server.await_log("cause=\"storage_full\"");

    // What fits is taken all the same; then there is no room for anything.
    assert!(send(&server, &message("small", 1000)).starts_with("250 "));
    disk.make_room();
    disk.fill_but(0);
    for subject in ["none", "none at all"] {
        let reply = send(&server, &message(subject, 1000));
        assert!(reply.starts_with("452 4.3.1"), "{reply}");
    }
    assert_eq!(count(&server), 2);
    let file = server.configuration();
    let said = program::run(server.directory(), None, &["check", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.err.contains("mail cannot be written to (No space left on device") && said.err.contains("Make room."));
    disk.make_room();
    let reply = introduced(&server).message("c@client.example", &["alice@example.test", "bob@example.test"], &large);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!((count(&server), files_below(&mail).len()), (4, 4));
    assert_eq!(server.maildir("bob").messages()[0].as_received(), large);
}

#[test]
fn a_full_state_disk_refuses_no_mail() {
    let mut server = Server::start(Options::default());
    server.stop();
    let state = server.directory().join("state");
    let Some(disk) = SmallDisk::mount(&state, MIB) else { return };
    server.restart();
    assert!(send(&server, &message("before", 1000)).starts_with("250 "));
    disk.fill_but(0);
    // The first ones may still fit into the last page of RocksDB's log.
    for n in 0..40 {
        let reply = send(&server, &message(&format!("number {n}"), 1000));
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    assert_eq!(count(&server), 41);
    assert!(server.maildir("alice").unfinished().is_empty());
    server.await_log("ledger trouble: no mail is lost");
    server.await_log("No space left on device");
    // Nor does it keep a server from starting.
    assert!(server.stop().success());
    server.restart();
    server.await_log("Mail is taken all the same, with the state in memory: make room");
    let again = message("after the restart", 1000);
    assert!(send(&server, &again).starts_with("250 2.0.0"));
    assert_eq!(count(&server), 42);
    assert!(server.stop().success());
    disk.make_room();
    server.restart();
    assert!(!server.log().contains("damaged"), "{}", server.log());
    assert!(send(&server, &message("with room", 1000)).starts_with("250 2.0.0"));
}

#[test]
fn a_link_or_a_file_in_place_of_a_maildir_is_451_and_nothing_is_written_outside() {
    let server = Server::start(Options::default());
    let outside = tempfile::tempdir().expect("a directory");
    for folder in ["Maildir/tmp", "Maildir/new", "Maildir/cur", "tmp", "new", "cur"] {
        fs::create_dir_all(outside.path().join(folder)).expect("a directory");
    }
    let before = everything_below(outside.path());
    let domain = server.directory().join("mail/example.test");
    let alice = domain.join("alice");
    let plant: [(&str, &dyn Fn()); 4] = [
        ("the mailbox is a link", &(|| symlink(outside.path(), &alice).expect("a link"))),
        (
            "the Maildir is a link",
            &(|| {
                fs::create_dir(&alice).expect("a directory");
                symlink(outside.path(), alice.join("Maildir")).expect("a link");
            }),
        ),
        (
            "new/ is a link",
            &(|| {
                fs::create_dir_all(alice.join("Maildir/tmp")).expect("a directory");
                symlink(outside.path().join("new"), alice.join("Maildir/new")).expect("a link");
            }),
        ),
        (
            "the Maildir is a file",
            &(|| {
                fs::create_dir(&alice).expect("a directory");
                fs::write(alice.join("Maildir"), "no directory").expect("a file");
            }),
        ),
    ];
    fs::create_dir(&domain).expect("a directory");
    for (what, plant) in plant {
        plant();
        let reply = send(&server, &message(what, 100));
        assert!(reply.starts_with("451 4.3.0"), "{what}: {reply}");
        assert_eq!(everything_below(outside.path()), before, "{what}");
        match alice.is_symlink() {
            true => fs::remove_file(&alice).expect("a link"),
            false => fs::remove_dir_all(&alice).expect("a directory"),
        }
    }
    // One line a second: which of them it is depends on the clock.
    server.await_log("symbolic link");
    assert!(send(&server, &message("after all that", 100)).starts_with("250 "));
    assert_eq!(count(&server), 1);
}

#[test]
fn a_mail_root_without_permission_is_451_and_said_at_once() {
    if !program::can_change_user() {
        return;
    }
    let mut server = Server::start(Options { owner: Some(Owner::of_mail()), ..Options::default() });
    assert!(!server.log().contains("storage.mail"), "{}", server.log());
    server.stop();
    let mail = server.directory().join("mail");
    set_mode(&mail, 0o500);

    let file = server.configuration();
    let arguments = ["check", "--config", file.to_str().expect("UTF-8")];
    let said = program::run(server.directory(), Some(&Owner::of_mail()), &arguments);
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.err.contains("mail cannot be written to (Permission denied"), "{said:?}");
    assert!(said.err.contains("Give it to the user that mxkeep runs as"), "{said:?}");

    server.restart();
    assert!(server.log().contains("mail cannot be written to (Permission denied"), "it is said at the start");
    let first = message("first", 100);
    let reply = send(&server, &first);
    assert!(reply.starts_with("451 4.3.0 The message could not be stored, try again later"), "{reply}");
    server.await_log("mxkeep's user must own this Maildir");
    // The server has not to be started again when it is mended.
    set_mode(&mail, 0o700);
    assert!(send(&server, &first).starts_with("250 2.0.0"));
    assert_eq!(server.maildir("alice").messages().len(), 1);
}
