//! Crashes and failing system calls on the way of a message from the final dot to its 250 (the states D0 to D4).
//!
//! The binary is the real one; strace ends it at the entry of a given system call, or makes that call fail. After each
//! crash the server starts again on the same files, and the client, which saw no 250, sends the same octets again: each
//! recipient must have exactly one copy, whole, and nothing may be left under tmp/.

use crate::support::server::{Options, Server};
use crate::support::server_socket;
use crate::support::smtp_client::{Client, stuffed};
use crate::support::strace::{Call, Strace, write_ahead_log};

const MAILBOXES: [&str; 2] = ["alice", "bob"];

/// Which calls count.
#[derive(Debug, Clone, Copy)]
enum On {
    /// All of that name.
    Anything,
    /// Those on the store's write-ahead log: first the intent, then "done".
    Log,
    /// Those on this mailbox's new/.
    New(&'static str),
    /// Those on the client's connection.
    Client,
}

impl On {
    /// As arguments of strace.
    fn arguments(self, server: &Server, client: &Client) -> Vec<String> {
        let path = match self {
            On::Anything => return Vec::new(),
            On::Log => write_ahead_log(server),
            On::New(mailbox) => server.maildir(mailbox).path().join("new").to_string_lossy().into_owned(),
            On::Client => server_socket::path(server, client),
        };
        vec!["-P".to_owned(), path]
    }
}

/// A system call to come.
#[derive(Debug, Clone, Copy)]
struct Point {
    call: &'static str,
    on: On,
    /// The first one is 1. Each thread counts for itself: what is counted must happen on one, as a delivery does.
    nth: u32,
}

const fn point(call: &'static str, on: On, nth: u32) -> Point {
    Point { call, on, nth }
}

impl Point {
    /// Attaches strace so that this happens there.
    fn inject(self, what: &str, server: &Server, client: &Client) -> Option<Strace> {
        let Point { call, on, nth } = self;
        let mut arguments = on.arguments(server, client);
        for expression in [format!("trace={call}"), format!("inject={call}:{what}:when={nth}")] {
            arguments.extend(["-e".to_owned(), expression]);
        }
        Strace::attach(server, &arguments)
    }
}

/// A server that has delivered to both before, so that their Maildirs are there.
fn start() -> Server {
    let server = Server::start(Options::default());
    send_again(&server, &MAILBOXES, b"Subject: the first\r\n\r\n", "the first");
    server
}

/// A client that has been told to send its mail data, to these mailboxes.
fn at_data(server: &Server, mailboxes: &[&str]) -> Client {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.expect("MAIL FROM:<carol@client.example>", "250");
    for mailbox in mailboxes {
        client.expect(&format!("RCPT TO:<{mailbox}@example.test>"), "250");
    }
    client.expect("DATA", "354");
    client
}

fn message(story: &str) -> Vec<u8> {
    format!("Subject: {story}\r\n\r\n.A line that begins with a dot\r\n").into_bytes()
}

/// Sends the message, whose first 250 got lost or never came; it is accepted now, and the client sees that.
fn send_again(server: &Server, mailboxes: &[&str], octets: &[u8], story: &str) {
    delivered(server, mailboxes, octets, story).expect("QUIT", "221");
}

/// Sends the message and reads its 250. As long as the client says and closes nothing, that is not known.
#[must_use = "a client that is dropped closes its connection, and shows that it saw the 250"]
fn delivered(server: &Server, mailboxes: &[&str], octets: &[u8], story: &str) -> Client {
    let mut client = at_data(server, mailboxes);
    client.send(&stuffed(octets)).expect("the server reads");
    let reply = client.reply().expect("a final reply");
    assert!(reply.starts_with("250 2.0.0 "), "{story}: {reply}");
    client
}

/// Of each mailbox: how many files lie under tmp/, and how many whole copies of the message are there.
fn on_disk(server: &Server, octets: &[u8]) -> [(usize, usize); 2] {
    MAILBOXES.map(|mailbox| {
        let maildir = server.maildir(mailbox);
        let copies = maildir.messages().iter().filter(|stored| stored.as_received() == octets).count();
        (maildir.unfinished().len(), copies)
    })
}

/// Without a message under way nothing but whole messages may be there, of which this test knows two kinds.
fn assert_one_copy_each(server: &Server, mailboxes: &[&str], octets: &[u8], story: &str) {
    let expected = MAILBOXES.map(|mailbox| (0, usize::from(mailboxes.contains(&mailbox))));
    assert_eq!(on_disk(server, octets), expected, "{story}: under tmp/ and new/ of {MAILBOXES:?}");
    for mailbox in MAILBOXES {
        for stored in server.maildir(mailbox).messages() {
            assert!(stored.as_received().ends_with(b"\r\n"), "{story}: {} is cut off", stored.path.display());
        }
    }
}

/// The last call that the process came to, and what lay under tmp/ and new/ of alice and bob when it died there.
type Kill = (Point, [(usize, usize); 2]);

const KILLS_WITH_ONE_RECIPIENT: &[Kill] = &[
    (point("openat", On::Anything, 1), [(0, 0), (0, 0)]),
    (point("writev", On::Anything, 1), [(1, 0), (0, 0)]),
    (point("fsync", On::Anything, 1), [(1, 0), (0, 0)]),
    (point("write", On::Log, 1), [(1, 0), (0, 0)]),
    (point("renameat2", On::Anything, 1), [(1, 0), (0, 0)]),
    (point("fsync", On::New("alice"), 1), [(0, 1), (0, 0)]),
    (point("write", On::Log, 2), [(0, 1), (0, 0)]),
    (point("sendto", On::Client, 1), [(0, 1), (0, 0)]),
];

const KILLS_WITH_TWO_RECIPIENTS: &[Kill] = &[
    (point("writev", On::Anything, 2), [(1, 0), (1, 0)]),
    (point("fsync", On::Anything, 2), [(1, 0), (1, 0)]),
    (point("write", On::Log, 1), [(1, 0), (1, 0)]),
    (point("renameat2", On::Anything, 1), [(1, 0), (1, 0)]),
    (point("renameat2", On::Anything, 2), [(0, 1), (1, 0)]),
    (point("fsync", On::New("alice"), 1), [(0, 1), (0, 1)]),
    (point("fsync", On::New("bob"), 1), [(0, 1), (0, 1)]),
    (point("write", On::Log, 2), [(0, 1), (0, 1)]),
    (point("sendto", On::Client, 1), [(0, 1), (0, 1)]),
];

#[test]
fn killed_between_any_two_steps_for_one_recipient() {
    kill_at_each(KILLS_WITH_ONE_RECIPIENT, &["alice"]);
}

#[test]
fn killed_between_any_two_steps_for_two_recipients() {
    kill_at_each(KILLS_WITH_TWO_RECIPIENTS, &MAILBOXES);
}

fn kill_at_each(kills: &[Kill], mailboxes: &[&str]) {
    let mut server = start();
    for (point, left) in kills {
        let story = format!("killed before {point:?}");
        let octets = message(&story);
        let Some(last) = kill_at(&mut server, *point, mailboxes, &octets) else { return };
        assert!(last.name == point.call && last.returned.is_none(), "{story}: the last call was {last:?}");
        assert_eq!(on_disk(&server, &octets), *left, "{story}: what it left under tmp/ and new/ of {MAILBOXES:?}");
        server.restart();
        assert_eq!(on_disk(&server, &octets).map(|(unfinished, _)| unfinished), [0, 0], "{story}: swept at the start");
        send_again(&server, mailboxes, &octets, &story);
        assert_one_copy_each(&server, mailboxes, &octets, &story);
    }
}

/// Sends a message to a server that dies at this point, and gives the last call that it came to.
fn kill_at(server: &mut Server, point: Point, mailboxes: &[&str], octets: &[u8]) -> Option<Call> {
    let mut client = at_data(server, mailboxes);
    let strace = point.inject("signal=KILL", server, &client)?;
    client.send(&stuffed(octets)).expect("the server reads");
    assert_eq!(client.reply(), None, "{point:?}");
    Some(last_call(server, strace))
}

/// The server dies by itself: the last call that it came to.
fn last_call(server: &mut Server, strace: Strace) -> Call {
    server.wait();
    strace.finish().pop().expect("strace saw the last call")
}

/// The 250 has been said, and the process dies before the client has shown that it saw it, or before that is on record.
#[test]
fn killed_behind_the_reply() {
    let mut server = start();
    let octets = message("killed behind the reply");
    for _ in 0..3 {
        let _silent = delivered(&server, &MAILBOXES, &octets, "killed behind the reply");
        server.kill();
        server.restart();
    }
    let mut client = delivered(&server, &MAILBOXES, &octets, "killed before the release");
    let Some(strace) = point("write", On::Log, 1).inject("signal=KILL", &server, &client) else { return };
    client.send(b"NOOP\r\n").expect("the server reads");
    assert_eq!(client.reply(), None);
    assert_eq!(last_call(&mut server, strace).returned, None);
    server.restart();
    send_again(&server, &MAILBOXES, &octets, "killed before the release");
    assert_one_copy_each(&server, &MAILBOXES, &octets, "killed behind the reply");
}

/// One that begins before the one before it has returned would make the promise hollow, most of all the 250.
#[test]
fn each_step_begins_when_the_one_before_it_has_returned() {
    let mut server = start();
    let octets = message("the steps");
    let mut client = at_data(&server, &MAILBOXES);
    let trace = "trace=writev,write,fsync,fdatasync,renameat2,rename,sendto,unlinkat";
    let Some(strace) = Strace::attach(&server, &["-e".to_owned(), trace.to_owned()]) else { return };
    client.send(&stuffed(&octets)).expect("the server reads");
    assert!(client.reply().is_some_and(|reply| reply.starts_with("250 ")));
    client.expect("NOOP", "250");
    server.kill();
    let steps: Vec<_> = strace.finish().into_iter().filter_map(|call| Some((step(&call)?, call))).collect();
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "writev alice/tmp",
        "fsync alice/tmp",
        "writev bob/tmp",
        "fsync bob/tmp",
        "write log",
        "renameat2 alice/tmp",
        "renameat2 bob/tmp",
        "fsync alice/new",
        "fsync bob/new",
        "write log",
        "sendto 250 2.0.0 Message",
        "write log",
        "sendto 250 2.0.0 OK",
    ];
    assert_eq!(names, expected);
    for pair in steps.windows(2) {
        let ((before, first), (after, second)) = (&pair[0], &pair[1]);
        // The reply's call may still be returning when the client has answered.
        let returned = first.returned.is_some_and(|returned| returned < second.began);
        assert!(returned || before.starts_with("sendto"), "{after} began before {before} had returned");
    }
}

/// What a call does for the delivery, if anything.
fn step(call: &Call) -> Option<String> {
    let on = ["alice/Maildir/tmp", "alice/Maildir/new", "bob/Maildir/tmp", "bob/Maildir/new"];
    let place = on.iter().filter_map(|place| Some((call.arguments.find(place)?, place))).min();
    let what = match (call.name.as_str(), place) {
        (_, Some((_, place))) => place.replace("/Maildir", ""),
        ("write" | "fsync" | "fdatasync", None) if call.arguments.contains(".log>") => "log".to_owned(),
        ("sendto", None) if call.arguments.contains("\"250 2.0.0 Message") => "250 2.0.0 Message".to_owned(),
        ("sendto", None) if call.arguments.contains("\"250 2.0.0 OK") => "250 2.0.0 OK".to_owned(),
        _ => return None,
    };
    Some(format!("{} {what}", call.name))
}

/// A call that fails, how, the reply to it, and how many copies alice and bob have then.
type Fault = (Point, &'static str, &'static str, [usize; 2]);

const FAULTS: &[Fault] = &[
    (point("openat", On::Anything, 1), "EDQUOT", "452 4.3.1 ", [0, 0]),
    (point("writev", On::Anything, 1), "ENOSPC", "452 4.3.1 ", [0, 0]),
    (point("writev", On::Anything, 2), "EIO", "451 4.3.0 ", [0, 0]),
    (point("fsync", On::Anything, 1), "EIO", "451 4.3.0 ", [0, 0]),
    (point("fsync", On::Anything, 2), "ENOSPC", "452 4.3.1 ", [0, 0]),
    (point("renameat2", On::Anything, 1), "EIO", "451 4.3.0 ", [0, 1]),
    (point("renameat2", On::Anything, 2), "EIO", "451 4.3.0 ", [1, 0]),
    (point("fsync", On::New("alice"), 1), "EIO", "451 4.3.0 ", [0, 1]),
    (point("fsync", On::New("bob"), 1), "EIO", "451 4.3.0 ", [1, 0]),
];

/// Trouble with the disk is 4yz, and a retry brings each recipient what is missing, no more.
#[test]
fn a_call_that_fails_is_4yz_and_a_retry_brings_what_is_missing() {
    let server = start();
    for (point, error, expected, copies) in FAULTS {
        let story = format!("{error} from {point:?}");
        let octets = message(&story);
        let mut client = at_data(&server, &MAILBOXES);
        let Some(strace) = point.inject(&format!("error={error}"), &server, &client) else { return };
        client.send(&stuffed(&octets)).expect("the server reads");
        let reply = client.reply().expect("a final reply");
        assert!(reply.starts_with(expected), "{story}: {reply}");
        let calls = strace.detach();
        let injected = calls.iter().filter(|call| call.arguments.contains("(INJECTED)")).count();
        assert_eq!(injected, 1, "{story}: a failing call is not repeated: {calls:?}");
        assert_eq!(on_disk(&server, &octets), copies.map(|copies| (0, copies)), "{story}");
        client.expect("NOOP", "250");
        send_again(&server, &MAILBOXES, &octets, &story);
        assert_one_copy_each(&server, &MAILBOXES, &octets, &story);
    }
}

/// State that cannot be written refuses no mail.
#[test]
fn a_ledger_that_cannot_be_written_refuses_no_mail() {
    let server = start();
    let octets = message("no ledger");
    let mut client = at_data(&server, &MAILBOXES);
    let Some(strace) = point("write", On::Log, 1).inject("error=EIO", &server, &client) else { return };
    client.send(&stuffed(&octets)).expect("the server reads");
    assert!(client.reply().is_some_and(|reply| reply.starts_with("250 2.0.0 ")));
    strace.detach();
    assert_one_copy_each(&server, &MAILBOXES, &octets, "no ledger");
    let octets = message("after the ledger's trouble");
    send_again(&server, &MAILBOXES, &octets, "after the ledger's trouble");
    assert_one_copy_each(&server, &MAILBOXES, &octets, "after the ledger's trouble");
}
