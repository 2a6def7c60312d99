//! The resolver against responders on the loopback.

use tokio::task::JoinSet;

use super::responder::{Behaviour, Record, Responder, Zone};
use super::*;

const FAILOVER: Duration = Duration::from_millis(FAILOVER_MILLIS);

async fn start(zone: Zone) -> (Responder, Resolver) {
    let responder = Responder::start(zone).await.unwrap();
    let resolver = Resolver::new(&[responder.address()]).unwrap();
    (responder, resolver)
}

fn absent<T: std::fmt::Debug>(answer: Result<Records<T>, DnsError>) -> bool {
    match answer.unwrap_err() {
        DnsError::NoRecords { name_exists, .. } => !name_exists,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn records_are_found_and_kept() {
    let zone = Zone::from_iter([
        ("example.org", Record::Txt(vec!["one ".into(), "record".into()])),
        ("example.org", Record::txt("another")),
        ("www.example.org", Record::Cname("host.example.org".into())),
        ("host.example.org", Record::A([192, 0, 2, 1].into())),
        ("host.example.org", Record::Aaaa("2001:db8::1".parse().unwrap())),
    ]);
    let (responder, resolver) = start(zone).await;
    responder.add(&responder::reverse_name([192, 0, 2, 1].into()), Record::Ptr("host.example.org".into()));
    for _ in 0..3 {
        let mut texts = resolver.txt("Example.ORG").await.unwrap().records;
        texts.sort();
        assert_eq!(texts, [&b"another"[..], b"one record"]);
    }
    assert_eq!(responder.queries("example.org"), 1);
    assert_eq!(resolver.ipv4("www.example.org").await.unwrap().records, [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(resolver.ipv6("host.example.org.").await.unwrap().records.len(), 1);
    let names = resolver.ptr([192, 0, 2, 1].into()).await.unwrap().records;
    assert_eq!(names, [Domain::parse("host.example.org").unwrap()]);
}

#[tokio::test]
async fn nothing_there_and_nobody_knows_are_two_answers() {
    let zone = Zone::from_iter([("a.b.example.org", Record::txt("x"))]).behave("fails.example", Behaviour::ServFail);
    let (responder, resolver) = start(zone).await;
    assert!(!absent(resolver.ipv4("a.b.example.org").await));
    assert!(!absent(resolver.txt("b.example.org").await));
    assert!(absent(resolver.txt("c.example.org").await));
    assert!(resolver.txt("fails.example").await.unwrap_err().is_temporary());
    let queries = responder.queries("fails.example");
    assert!(resolver.txt("fails.example").await.unwrap_err().is_temporary());
    assert_eq!(responder.queries("fails.example"), queries, "a failure is kept");
    assert_eq!(resolver.txt("a..b").await.unwrap_err(), DnsError::Name);
}

#[tokio::test]
async fn truncated_answers_come_over_tcp() {
    let zone = Zone::from_iter([("example.org", Record::txt("x"))]).behave("example.org", Behaviour::Truncated);
    let (_responder, resolver) = start(zone).await;
    assert_eq!(resolver.txt("example.org").await.unwrap().records, [b"x"]);
    let long = "x".repeat(6_000);
    let (_responder, resolver) = start(Zone::from_iter([("example.org", Record::txt(&long))])).await;
    assert_eq!(resolver.txt("example.org").await.unwrap().records, [long.as_bytes()]);
}

#[tokio::test]
async fn a_silent_resolver_costs_a_bounded_time() {
    let (_responder, resolver) = start(Zone::default().behave("silent.example", Behaviour::Silent)).await;
    let begin = Instant::now();
    assert!(resolver.txt("silent.example").await.unwrap_err().is_temporary());
    assert!(begin.elapsed() <= Duration::from_secs(LOOKUP_SECONDS_MAX + 1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_resolver_that_is_down_is_no_answer() {
    let (responder, resolver) = start(Zone::default()).await;
    drop(responder);
    assert!(resolver.txt("example.org").await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    let slow = Behaviour::Delay(Duration::from_millis(300));
    let zone = Zone::from_iter([("slow.example", Record::txt("x"))]).behave("slow.example", slow);
    let (_responder, resolver) = start(zone).await;
    assert_eq!(resolver.txt("slow.example").await.unwrap().records, [b"x"]);
}

#[tokio::test]
async fn answers_are_kept_by_octets() {
    let zone = Zone::from_iter([("large.example", Record::txt(&"x".repeat(30_000)))]);
    let (_responder, resolver) = start(zone).await;
    let question = |name: &str| (text_name(name).unwrap(), RecordType::TXT);
    resolver.txt("large.example").await.unwrap();
    let answer = resolver.answers.get(&question("large.example")).await.unwrap();
    for at in 0..1_000 {
        resolver.answers.insert(question(&format!("n{at}.example")), answer.clone()).await;
    }
    resolver.answers.run_pending_tasks().await;
    let (octets, count) = (resolver.answers.weighted_size(), resolver.answers.entry_count());
    assert!(octets <= ANSWERS_OCTETS_MAX && octets >= count * 30_000, "{octets} octets, {count} answers");
    assert!(count > 400, "{count} answers");
}

#[tokio::test]
async fn too_much_text_is_no_record_and_no_failure() {
    let (responder, resolver) = start(Zone::default()).await;
    let text = "x".repeat(TEXTS_OCTETS_MAX / 2);
    responder.add("large.example", Record::txt(&text));
    responder.add("large.example", Record::txt(&text));
    assert_eq!(resolver.txt("large.example").await.unwrap().records.len(), 2);
    for text in [&*text, &text, "x"] {
        responder.add("larger.example", Record::txt(text));
    }
    for _ in 0..2 {
        assert_eq!(resolver.txt("larger.example").await.unwrap_err(), DnsError::TooLarge);
    }
    assert!(!DnsError::TooLarge.is_temporary());
}

#[tokio::test]
async fn lookups_wait_for_their_turn() {
    let (responder, resolver) = start(Zone::from_iter([("example.org", Record::txt("x"))])).await;
    let all = resolver.turns.clone().acquire_many_owned(LOOKUPS_MAX as u32).await.unwrap();
    let waiting = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.txt("example.org").await }
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), resolver.txt("example.org")).await.is_err());
    assert_eq!(responder.queries("example.org"), 0);
    drop(all);
    assert_eq!(waiting.await.unwrap().unwrap().records, [b"x"], "to wait is no failure");
    assert_eq!(resolver.turns.available_permits(), LOOKUPS_MAX);
}

/// RFC 2308 sections 3 and 5; RFC 1035 section 3.2.1: a time to live of zero is for the transaction in progress.
#[tokio::test]
async fn answers_are_kept_for_their_time_to_live_and_no_longer() {
    let zone = Zone::from_iter([
        ("now.example", Record::txt("x")),
        ("soon.example", Record::txt("x")),
        ("alias.example", Record::Cname("host.example".into())),
        ("host.example", Record::A([192, 0, 2, 1].into())),
    ]);
    let zone = zone.keep("now.example", 0).keep("soon.example", 1).keep("alias.example", 0);
    let zone = zone.keep("none.example", 0).keep("later.example", 300).behave("bare.example", Behaviour::NoSoa);
    let (responder, resolver) = start(zone).await;
    for _ in 0..3 {
        assert!(resolver.txt("now.example").await.is_ok() && resolver.txt("soon.example").await.is_ok());
        assert!(resolver.ipv4("alias.example").await.is_ok());
        for name in ["none.example", "later.example", "bare.example"] {
            assert!(absent(resolver.txt(name).await), "{name}");
        }
    }
    let asked = |name| responder.queries(name);
    assert_eq!((asked("now.example"), asked("alias.example"), asked("none.example")), (3, 3, 3));
    assert_eq!((asked("soon.example"), asked("later.example"), asked("bare.example")), (1, 1, 1));
    let valid_until = resolver.txt("soon.example").await.unwrap().valid_until;
    tokio::time::sleep_until(valid_until.into()).await;
    resolver.txt("soon.example").await.unwrap();
    assert_eq!(asked("soon.example"), 2, "after a second it is asked again");
}

#[tokio::test]
async fn one_question_for_all_who_ask_it() {
    let slow = Behaviour::Delay(Duration::from_millis(100));
    let (responder, resolver) =
        start(Zone::from_iter([("slow.example", Record::txt("x"))]).behave_below("", slow)).await;
    let mut asking: JoinSet<_> = (0..100).map(|_| ask(&resolver, "slow.example")).collect();
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap().records, [b"x"]);
    }
    assert_eq!(responder.queries("slow.example"), 1);
}

/// Who asks first may be a message whose deadline has come: the others are answered all the same.
#[tokio::test]
async fn the_first_who_asks_may_go_away() {
    let slow = Behaviour::Delay(Duration::from_millis(200));
    let (responder, resolver) =
        start(Zone::from_iter([("slow.example", Record::txt("x"))]).behave_below("", slow)).await;
    let first = tokio::spawn(ask(&resolver, "slow.example"));
    while responder.queries("slow.example") == 0 {
        tokio::task::yield_now().await;
    }
    let mut others: JoinSet<_> = (0..10).map(|_| ask(&resolver, "slow.example")).collect();
    tokio::task::yield_now().await;
    first.abort();
    while let Some(answer) = others.join_next().await {
        assert_eq!(answer.unwrap().unwrap().records, [b"x"]);
    }
    assert_eq!(responder.queries("slow.example"), 2, "one of them asked for all");
    assert_eq!(resolver.turns.available_permits(), LOOKUPS_MAX);
}

fn ask(
    resolver: &Resolver,
    name: &str,
) -> impl Future<Output = Result<Records<Vec<u8>>, DnsError>> + Send + 'static + use<> {
    let (resolver, name) = (resolver.clone(), name.to_owned());
    async move { resolver.txt(&name).await }
}

async fn flood(resolver: &Resolver, count: usize) -> (usize, Duration) {
    let begin = Instant::now();
    let mut asking: JoinSet<_> = (0..count).map(|at| ask(resolver, &format!("n{at}.example"))).collect();
    let mut answered = 0;
    while let Some(answer) = asking.join_next().await {
        answered += usize::from(answer.unwrap().is_ok());
    }
    (answered, begin.elapsed())
}

/// By the crate's own limits 32 queries may be under way over one TCP connection. A busy machine may have three tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_lookups_are_under_way_at_once() {
    for over_tcp in [false, true] {
        let mut answers = Vec::new();
        while answers.len() < 3 && !answers.contains(&LOOKUPS_MAX) {
            answers.push(answers_to_all_at_once(over_tcp).await);
        }
        assert!(answers.contains(&LOOKUPS_MAX), "over TCP: {over_tcp}: {answers:?}");
    }
}

/// Asks as many names as may be asked at once: how many were answered?
async fn answers_to_all_at_once(over_tcp: bool) -> usize {
    let names = (0..LOOKUPS_MAX).map(|at| (format!("n{at}.example"), Record::txt("x")));
    let behaviour = if over_tcp { Behaviour::Truncated } else { Behaviour::Delay(Duration::from_millis(300)) };
    let (_responder, resolver) = start(Zone::from_iter(names).behave_below("", behaviour)).await;
    let (answered, took) = flood(&resolver, LOOKUPS_MAX).await;
    println!("{LOOKUPS_MAX} lookups, over TCP: {over_tcp}: {answered} answered in {took:?}");
    answered
}

/// RFC 6891 section 6.2.5; RFC 5452 section 9.
#[tokio::test]
async fn queries_have_edns_and_cannot_be_guessed() {
    let (responder, resolver) = start(Zone::default()).await;
    let (_, _) = flood(&resolver, 200).await;
    let seen = responder.seen();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|query| query.payload_octets == Some(PAYLOAD_OCTETS) && query.over_udp));
    let different =
        |of: fn(&responder::Seen) -> u16| seen.iter().map(of).collect::<std::collections::BTreeSet<_>>().len();
    let (ids, ports) = (different(|query| query.id), different(|query| query.client.port()));
    assert!(ids > 190 && ports > 190, "{ids} ids, {ports} ports");
    let cased = seen.iter().filter(|query| query.name != query.name.to_ascii_lowercase()).count();
    assert!(cased > 190, "{cased} names in mixed case");
}

#[tokio::test]
async fn what_does_not_belong_to_the_query_is_ignored() {
    let zone = ["forged.example", "folded.example", "more.example"].map(|name| (name, Record::txt("genuine")));
    let zone = Zone::from_iter(zone)
        .behave("forged.example", Behaviour::Forged)
        .behave("folded.example", Behaviour::CaseFolded)
        .behave("more.example", Behaviour::Unasked)
        .behave("nothing.example", Behaviour::Unasked)
        .behave("garbage.example", Behaviour::Garbage);
    let (responder, resolver) = start(zone).await;
    for name in ["forged.example", "folded.example", "more.example"] {
        assert_eq!(resolver.txt(name).await.unwrap().records, [b"genuine"], "{name}");
    }
    assert!(matches!(resolver.txt("nothing.example").await, Err(DnsError::NoRecords { .. })));
    let folded = responder.seen().into_iter().filter(|query| query.name.eq_ignore_ascii_case("folded.example"));
    assert_eq!(folded.map(|query| query.over_udp).collect::<Vec<_>>(), [true, false], "then over TCP");
    assert!(resolver.txt("garbage.example").await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn cname_chains_are_followed_and_end() {
    let mut zone =
        Zone::from_iter([("c7.example", Record::txt("x")), ("to-nowhere.example", Record::Cname("no.example".into()))]);
    for at in 0..7 {
        zone.add(&format!("c{at}.example"), Record::Cname(format!("c{}.example", at + 1)));
        zone.add(&format!("loop{at}.example"), Record::Cname(format!("loop{}.example", (at + 1) % 7)));
    }
    let (_responder, resolver) = start(zone).await;
    assert_eq!(resolver.txt("c0.example").await.unwrap().records, [b"x"]);
    assert!(absent(resolver.txt("to-nowhere.example").await));
    let begin = Instant::now();
    assert!(resolver.txt("loop0.example").await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(LOOKUP_SECONDS_MAX));
}

#[tokio::test]
async fn huge_answers_are_read_or_refused_whole() {
    let mut zone = Zone::default();
    for at in 0..500u16 {
        zone.add("many.example", Record::txt(&format!("record {at}")));
        zone.add("hosts.example", Record::A(Ipv4Addr::from(0xC000_0200 + u32::from(at))));
    }
    zone.add("long.example", Record::txt(&"x".repeat(TEXTS_OCTETS_MAX)));
    zone.add("longest.example", Record::txt(&"x".repeat(64_000)));
    let (responder, resolver) = start(zone).await;
    assert_eq!(resolver.txt("many.example").await.unwrap().records.len(), 500);
    assert_eq!(resolver.ipv4("hosts.example").await.unwrap().records.len(), 500);
    assert_eq!(resolver.txt("long.example").await.unwrap().records[0].len(), TEXTS_OCTETS_MAX);
    assert_eq!(resolver.txt("longest.example").await.unwrap_err(), DnsError::TooLarge);
    assert_eq!(responder.seen().iter().filter(|query| !query.over_udp).count(), 4);
}

#[tokio::test]
async fn lost_packets_are_sent_again() {
    let zone =
        Zone::from_iter([("lossy.example", Record::txt("x")), ("long.example", Record::txt(&"x".repeat(6_000)))])
            .behave("lossy.example", Behaviour::DropFirst(2))
            .behave("garbage.example", Behaviour::Garbage);
    let (_responder, resolver) = start(zone).await;
    // A connection over TCP stands, and an answer over UDP was none: UDP it is for the next name all the same.
    resolver.txt("long.example").await.unwrap();
    assert!(resolver.txt("garbage.example").await.unwrap_err().is_temporary());
    let begin = Instant::now();
    assert_eq!(resolver.txt("lossy.example").await.unwrap().records, [b"x"]);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// One server's trouble is no answer, and costs a bounded time; a server in trouble is soon asked last.
#[tokio::test]
async fn another_server_answers_where_one_is_in_trouble() {
    let names = || (0..20).map(|at| (format!("n{at}.example"), Record::txt("x")));
    let good = Responder::start(Zone::from_iter(names())).await.unwrap();
    let dead = Responder::start(Zone::default()).await.unwrap().address();
    for (behaviour, first_max) in [
        (Some(Behaviour::ServFail), FAILOVER),
        (Some(Behaviour::Refused), FAILOVER),
        (Some(Behaviour::Referral), FAILOVER),
        (Some(Behaviour::Garbage), FAILOVER),
        (Some(Behaviour::Silent), 2 * FAILOVER),
        (None, 2 * FAILOVER),
    ] {
        let bad = match behaviour {
            Some(behaviour) => {
                Some(Responder::start(Zone::from_iter(names()).behave_below("", behaviour)).await.unwrap())
            }
            None => None,
        };
        let first = bad.as_ref().map_or(dead, Responder::address);
        let resolver = Resolver::new(&[first, good.address()]).unwrap();
        let mut times = Vec::new();
        for at in 0..6 {
            let begin = Instant::now();
            assert_eq!(resolver.txt(&format!("n{at}.example")).await.unwrap().records, [b"x"], "{behaviour:?}");
            times.push(begin.elapsed());
        }
        println!("{behaviour:?}: the first lookup took {:?}, the sixth {:?}", times[0], times[5]);
        assert!(times[0] < first_max, "{behaviour:?}: {times:?}");
        let waited = times.iter().filter(|took| **took >= FAILOVER).count();
        assert!(waited <= TROUBLES_MAX as usize, "{behaviour:?}: {times:?}");
    }
}

#[tokio::test]
async fn negative_answers_come_from_the_first_server_alone() {
    let first = Responder::start(Zone::default()).await.unwrap();
    let second = Responder::start(Zone::from_iter([("a.example", Record::txt("x"))])).await.unwrap();
    let resolver = Resolver::new(&[first.address(), second.address()]).unwrap();
    assert!(absent(resolver.txt("a.example").await));
    assert_eq!(second.queries("a.example"), 0);
}

/// Whoever has a thousand slow names looked up waits for them alone.
#[tokio::test]
async fn one_message_cannot_take_all_turns() {
    let zone = Zone::from_iter([("good.example", Record::txt("x"))]).behave_below("slow.example", Behaviour::Silent);
    let (responder, resolver) = start(zone).await;
    let (greedy, other) = (resolver.share(), resolver.share());
    let names = 2 * LOOKUPS_MAX;
    let mut asking: JoinSet<_> = (0..names).map(|at| ask(&greedy, &format!("n{at}.slow.example"))).collect();
    while responder.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_eq!(other.txt("good.example").await.unwrap().records, [b"x"]);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(resolver.turns.available_permits(), LOOKUPS_MAX - CHECK_LOOKUPS_MAX);
    // A question that the greedy one waits with is nobody else's wait.
    let begin = Instant::now();
    greedy.answers.invalidate_all();
    let late = tokio::spawn(ask(&greedy, "good.example"));
    tokio::task::yield_now().await;
    assert_eq!(other.txt("good.example").await.unwrap().records, [b"x"]);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    late.abort();
    // Beyond the total it is told so at once.
    let mut refused = 0;
    while refused < names - CHECK_LOOKUPS_TOTAL_MAX {
        let answer = asking.join_next().await.unwrap().unwrap();
        assert!(answer.unwrap_err().to_string().contains("for one message"));
        refused += 1;
    }
}

/// Nor can many messages from one network.
#[tokio::test]
async fn one_network_cannot_take_all_turns() {
    let zone = Zone::from_iter([("good.example", Record::txt("x"))]).behave_below("slow.example", Behaviour::Silent);
    let (_responder, resolver) = start(zone).await;
    let network = |last| resolver.of_network(IpAddr::from([192, 0, last, 0]));
    let mut asking = JoinSet::new();
    for check in 0..LOOKUPS_MAX / CHECK_LOOKUPS_MAX {
        // Each of them may have as much as one message.
        let greedy = network(2).share();
        for at in 0..CHECK_LOOKUPS_MAX {
            asking.spawn(ask(&greedy, &format!("n{check}-{at}.slow.example")));
        }
    }
    let taken = || LOOKUPS_MAX - resolver.turns.available_permits();
    while taken() < NETWORK_LOOKUPS_MAX {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_eq!(network(3).share().txt("good.example").await.unwrap().records, [b"x"]);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(taken(), NETWORK_LOOKUPS_MAX);
    let late = network(2).share();
    assert_eq!(late.txt("good.example").await.unwrap().records, [b"x"], "what is in memory costs nothing");
    assert!(tokio::time::timeout(Duration::from_millis(50), late.txt("other.example")).await.is_err());
    assert!(absent(network(2).share_apart().txt("another.example").await), "but for what is not to be held up");
    asking.abort_all();
    while asking.join_next().await.is_some() {}
}

#[tokio::test]
async fn what_was_learned_outlives_a_reload() {
    let (responder, resolver) = start(Zone::from_iter([("example.org", Record::txt("x"))])).await;
    resolver.txt("example.org").await.unwrap();
    let same = resolver.reload(&[responder.address()]).unwrap();
    same.txt("example.org").await.unwrap();
    assert_eq!(responder.queries("example.org"), 1);
    let elsewhere = Responder::start(Zone::default()).await.unwrap();
    let other = resolver.reload(&[elsewhere.address()]).unwrap();
    assert!(absent(other.txt("example.org").await));
}
