//! Every golden dialogue (`support::dialogue`), in memory and against the running server.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use crate::support::conversation::{self, Pace};
use crate::support::dialogue::{self, Dialogue, Settings, Step, check_replies};
use crate::support::memory::{self, Event, Outcome, UNWANTED};
use crate::support::server::{DOMAINS, Options, Server};
use crate::support::smtp_client::Client;

/// The client's octets between TLS handshakes, as `events` for `memory::run`, cut at these offsets.
fn events<'a>(streams: &'a [Vec<u8>], cuts: &[usize]) -> Vec<Event<'a>> {
    let (mut events, mut base) = (Vec::new(), 0);
    for (at, stream) in streams.iter().enumerate() {
        if at > 0 {
            events.push(Event::Tls);
        }
        let mut start = 0;
        let inside = cuts.iter().filter_map(|cut| cut.checked_sub(base)).filter(|&cut| cut > 0 && cut < stream.len());
        for end in inside.chain([stream.len()]) {
            events.push(Event::Octets(&stream[start..end]));
            start = end;
        }
        base += stream.len();
    }
    events
}

/// What the client sends, one stream between two handshakes.
fn streams(dialogue: &Dialogue) -> Vec<Vec<u8>> {
    let mut streams = vec![Vec::new()];
    for step in &dialogue.steps {
        match step {
            Step::Client(octets) => streams.last_mut().expect("there is one").extend_from_slice(octets),
            Step::Tls => streams.push(Vec::new()),
            Step::Line(_) | Step::Reply(_) | Step::Closed => {}
        }
    }
    streams
}

fn check(dialogue: &Dialogue, outcome: &Outcome, how: &str) -> Result<(), String> {
    let name = &dialogue.name;
    check_replies(&dialogue.steps, &outcome.wire).map_err(|why| format!("{name}, {how}:\n{why}"))?;
    let closed = dialogue.steps.contains(&Step::Closed);
    match &outcome.messages {
        messages if *messages != dialogue.messages => {
            Err(format!("{name}, {how}: received {messages:#?}\nexpected {:#?}", dialogue.messages))
        }
        _ if outcome.closed != closed => Err(format!("{name}, {how}: closed by the server: {}", outcome.closed)),
        _ => Ok(()),
    }
}

/// Octet by octet each reply comes with the last octet of its group at the latest, and not before its group began: the
/// session neither waits for more than a command nor answers what was not yet said.
fn check_timing(dialogue: &Dialogue, outcome: &Outcome) {
    let (mut fed, mut group_start, mut replies) = (0, 0, outcome.fed_at_reply.iter());
    let mut continued = false;
    for (at, step) in dialogue.steps.iter().enumerate() {
        match step {
            Step::Client(octets) => {
                if at > 0 && !matches!(dialogue.steps[at - 1], Step::Client(_)) {
                    group_start = fed;
                }
                fed += octets.len();
            }
            Step::Line(pattern) if pattern.as_bytes().get(3) == Some(&b'-') => continued = true,
            Step::Line(_) | Step::Reply(_) => {
                let when = *replies.next().expect("as many replies as were checked");
                assert!(when <= fed, "{}: the reply to octet {fed} came at {when}", dialogue.name);
                assert!(fed == 0 || continued || when > group_start, "{}: a reply at {when} came early", dialogue.name);
                continued = false;
            }
            Step::Tls | Step::Closed => {}
        }
    }
}

/// Where to cut: everywhere, or, in a long dialogue, near its ends and at steps between that share no factor with lines.
fn cuts(octets: usize) -> Vec<usize> {
    let near_an_end = |cut: &usize| *cut < 2048 || octets - *cut < 2048;
    (1..octets).filter(|cut| octets <= 20_000 || near_an_end(cut) || cut % 997 == 0).collect()
}

#[test]
fn memory() {
    let dialogues = dialogue::all();
    assert!(dialogues.len() >= 300, "the dialogues are there");
    let failures: Vec<String> = dialogues.iter().filter_map(|dialogue| in_memory(dialogue).err()).collect();
    assert!(failures.is_empty(), "{} dialogues failed\n\n{}", failures.len(), failures.join("\n\n"));
}

fn in_memory(dialogue: &Dialogue) -> Result<(), String> {
    let streams = streams(dialogue);
    let octets = streams.iter().map(Vec::len).sum();
    let run = |cuts: &[usize]| memory::run(dialogue.settings, events(&streams, cuts).into_iter());

    check(dialogue, &run(&[]), "in one chunk")?;
    for cut in cuts(octets) {
        check(dialogue, &run(&[cut]), &format!("cut at octet {cut}"))?;
    }
    let octet_by_octet = run(&(1..octets).collect::<Vec<_>>());
    check(dialogue, &octet_by_octet, "octet by octet")?;
    check_timing(dialogue, &octet_by_octet);
    Ok(())
}

/// Against a server the ledger takes a second message with the same octets, sender and recipient for a retry.
#[test]
fn no_two_dialogues_send_the_same_message() {
    let mut seen = HashSet::new();
    for dialogue in dialogue::all().iter().filter(|dialogue| !dialogue.in_memory_only) {
        for message in &dialogue.messages {
            assert!(message.octets.is_empty() || seen.insert(message.octets.clone()), "{}", dialogue.name);
        }
    }
}

#[test]
fn over_tcp() {
    let dialogues: Vec<_> = dialogue::all().into_iter().filter(|dialogue| !dialogue.in_memory_only).collect();
    over_network(&dialogues, false);
}

/// The same under TLS: STARTTLS first, then the dialogue. Those that negotiate themselves ran in `over_tcp`.
#[test]
fn over_tls() {
    let fits = |dialogue: &Dialogue| {
        !dialogue.in_memory_only && !dialogue.clear_text_only && !dialogue.steps.contains(&Step::Tls)
    };
    let dialogues: Vec<_> = dialogue::all()
        .into_iter()
        .filter(|dialogue| fits(dialogue) && !dialogue.settings.starttls)
        .map(|dialogue| Dialogue { settings: Settings { starttls: true, ..dialogue.settings }, ..dialogue })
        .collect();
    over_network(&dialogues, true);
}

/// One server for each pace and each kind of settings: to the ledger, a message of another pace would be a retry.
fn over_network(dialogues: &[Dialogue], tls: bool) {
    let mut kinds: Vec<Settings> = Vec::new();
    for dialogue in dialogues {
        if !kinds.contains(&dialogue.settings) {
            kinds.push(dialogue.settings);
        }
    }
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for pace in [Pace::Written, Pace::Pipelined, Pace::Octets] {
            let (kinds, failures) = (&kinds, &failures);
            scope.spawn(move || {
                for settings in kinds {
                    let dialogues = dialogues.iter().filter(|dialogue| dialogue.settings == *settings);
                    let found = hold_all(*settings, dialogues, pace, tls);
                    failures.lock().expect("nobody panics with it").extend(found);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panicked with it");
    assert!(failures.is_empty(), "{} dialogues failed\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Holds dialogues with one server, at one pace. Gives what failed.
fn hold_all<'a>(
    settings: Settings,
    dialogues: impl Iterator<Item = &'a Dialogue>,
    pace: Pace,
    tls: bool,
) -> Vec<String> {
    let mut server = Server::start(options(settings));
    let mut failures = Vec::new();
    for dialogue in dialogues {
        let held = conversation::hold(&server, dialogue, pace, tls);
        let delivered = conversation::check_mailboxes(&server, dialogue);
        let result = held.and(delivered);
        failures.extend(result.err().map(|why| format!("{}, {pace:?}:\n{why}", dialogue.name)));
    }
    let (status, late) = (server.stop(), conversation::take_all(&server));
    if !status.success() || !late.is_empty() {
        failures.push(format!("at the end: {status}, delivered late: {late:#?}\n{}", server.log()));
    }
    failures
}

/// A server whose second domain refuses what its first puts into Junk.
fn options(settings: Settings) -> Options {
    Options {
        settings,
        rules: format!("header T_UNWANTED Subject =~ /{UNWANTED}/\nscore T_UNWANTED 10\n"),
        configuration: format!("domains.\"{}\".policy.reject_score = 8.0", DOMAINS[1]),
        ..Options::default()
    }
}

/// CVE-2011-0411: commands in clear text behind STARTTLS, in one write with it. The connection ends; whether the 220 is
/// still seen is a matter of timing.
#[test]
fn octets_behind_starttls_end_the_connection() {
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = Server::start(Options { settings, ..Options::default() });
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    client.send(b"STARTTLS\r\nRSET\r\nMAIL FROM:<mallory@client.example>\r\n").expect("the server reads");
    let reply = client.reply();
    assert!(reply.as_ref().is_none_or(|reply| reply.starts_with("220 2.0.0 ")), "{reply:?}");
    assert!(client.at_end(), "more than one reply");

    // The service itself goes on.
    Client::greeted(server.address()).expect("QUIT", "221");
}
