//! Evals over relays and headers, one table each.

use proptest::prelude::*;

use super::dates::{self, Dates};
use super::facts::Facts;
use super::{forged, relays, senders};
use crate::rules::relays::{Boundaries, Relays, Trace};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Asks an eval about a message with these fields; the values of `Received` end in line ends.
fn ask<T>(fields: Fields, eval: impl Fn(&Facts) -> T) -> T {
    let get = |name: &str| {
        let found = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_bytes().to_vec())
    };
    let received = get("Received").unwrap_or_default();
    let received = received.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()).collect();
    let relays = Relays::parse(&Trace { received, ..Trace::default() }, &Boundaries::default());
    let registered = |host: &[u8]| {
        let labels: Vec<&[u8]> = host.split(|octet| *octet == b'.').collect();
        labels.get(labels.len().saturating_sub(2)..).unwrap_or_default().join(&b'.')
    };
    let is_domain = |domain: &[u8]| domain.contains(&b'.');
    eval(&Facts { relays: &relays, get: &get, registered: &registered, is_domain: &is_domain, now: 1_800_000_000 })
}

/// Asks about a message with one field.
fn ask_received(received: &str, eval: impl Fn(&Facts) -> bool) -> bool {
    ask(&[("Received", received)], eval)
}

const PRIVATE: &str = "from a (a [10.0.0.1]) by b.example (Postfix) with ESMTP id X123\n";
const PUBLIC: &str = "from a (c.example [198.51.100.7]) by b.example (Postfix) with ESMTP id X124\n";
const STRANGE: &str = "from nobody knows\n";

#[test]
fn relays_are_counted() {
    let evals: [(Eval, [bool; 4]); 3] = [
        (relays::all_trusted, [false, true, false, false]),
        (relays::no_relays, [true, false, false, false]),
        (relays::relays_unparseable, [false, false, false, true]),
    ];
    for (eval, expected) in evals {
        let with = |text: &str| ask_received(text, eval);
        let mixed = [PRIVATE, STRANGE].concat();
        assert_eq!([with(""), with(PRIVATE), with(PUBLIC), with(&mixed)], expected);
    }
}

#[test]
fn clients_say_addresses_for_their_names() {
    let said =
        |helo: &str| format!("from {helo} (c.example [198.51.100.7]) by bb.example (Postfix) with SMTP id X124\n");
    for (helo, numeric, mismatch) in [
        ("c.example", false, false),
        ("198.51.100.9", true, false),
        ("203.0.113.4", true, true),
        ("10.0.0.1", true, false),
        ("[203.0.113.4]", false, false),
        ("203.0.113.4.example", false, false),
    ] {
        let received = said(helo);
        assert_eq!(ask_received(&received, relays::numeric_helo), numeric, "{helo}");
        assert_eq!(ask_received(&received, relays::helo_ip_mismatch), mismatch, "{helo}");
    }
    assert!(ask_received(&said("203.0.113.4"), |facts| relays::mismatches(facts).ip_helo == 1));
    assert!(ask_received(&said("198.51.3.4"), |facts| relays::mismatches(facts).ip_helo == 0));
}

#[test]
fn names_of_clients() {
    let no_name = "from mx.aol.com (unknown [198.51.100.7]) by b.example (Postfix) with SMTP id X124\n";
    assert!(ask_received(no_name, relays::no_rdns_dotcom_helo) && !ask_received(no_name, relays::sender_no_reverse));
    assert!(!ask_received(PUBLIC, relays::no_rdns_dotcom_helo) && ask_received(PUBLIC, relays::sender_no_reverse));
    let within = |from: &str, domain: &str, desired| {
        let received = "from a (mx.c.example [198.51.100.7]) by in.c.example (Postfix) with ESMTP id X124\n";
        let fields = [("Received", received), ("From:addr", from)];
        ask(&fields, |facts| relays::from_domain_in_received(facts, domain, desired))
    };
    assert!(within("x@c.example", "c.example", true) && !within("x@c.example", "c.example", false));
    assert!(within("x@d.example", "d.example", false) && !within("x@c.example", "d.example", false));
}

#[test]
fn trails_that_do_not_fit() {
    let hop = |name: &str, by: &str| format!("from x ({name} [198.51.100.7]) by {by} (Postfix) with ESMTP id X12\n");
    let count = |received: &[String]| ask(&[("Received", &received.concat())], |facts| relays::mismatches(facts).from);
    assert_eq!(count(&[hop("a.one.example", "b.two.example"), hop("c.six.example", "d.one.example")]), 0);
    assert_eq!(count(&[hop("a.one.example", "b.two.example"), hop("c.six.example", "d.ten.example")]), 1);
    assert_eq!(count(&[hop("a.one.example", "b.two.example"), hop("c.six.example", "localhost")]), 0);
}

#[test]
fn reverse_paths_match_relays() {
    for (path, expected) in
        [("x@c.example", true), ("x@mail.c.example", true), ("x@d.example", false), ("x@example", false), ("", false)]
    {
        let fields = [("Received", PUBLIC), ("EnvelopeFrom:addr", path)];
        assert_eq!(ask(&fields, relays::mailfrom_matches_rcvd), expected, "{path}");
    }
}

#[test]
fn senders_are_compared() {
    for (path, from, same, other) in [
        ("a@b.example", "A@B.example", true, false),
        ("a@x.b.example", "a@y.b.example", false, false),
        ("a@b.example", "a@c.example", false, true),
        ("", "", true, false),
        ("a@b.example", "", false, false),
        ("a@b.c.example", "a@c.example.", false, true),
    ] {
        let fields = [("EnvelopeFrom:addr", path), ("From:addr", from)];
        assert_eq!(ask(&fields, senders::matching_env_and_hdr_from), same, "{path} {from}");
        assert_eq!(ask(&fields, senders::equal_from_domains), other, "{path} {from}");
    }
}

#[test]
fn ratware_gives_itself_away() {
    for (to, path, expected) in [
        ("joe@b.example", "x-b.example-joe@c.example", true),
        ("joe@b.example", "xb.example-joe@c.example", false),
        ("joe@b.example", "SRS0=b.example=joe@c.example", false),
        ("joe@b.example", "joe@b.example", false),
        ("joe@b", "b=joe@c.example", false),
    ] {
        let fields = [("To:addr", to), ("EnvelopeFrom:addr", path)];
        assert_eq!(ask(&fields, senders::ratware_envelope_from), expected, "{to} {path}");
    }
    let id = "<ABCDEFGHIJKLMNOPQRSTUVWXYZAB.joe@b.example>\n";
    for (from, expected) in [
        ("\"Joe\" <joe@b.example>\n", true),
        ("\"Joe\"<joe@b.example>\n", true),
        ("\"\" <joe@b.example>\n", false),
        ("Joe <joe@b.example>\n", false),
        ("\"Joe\" <jim@b.example>\n", false),
    ] {
        assert_eq!(ask(&[("MESSAGEID", id), ("From", from)], senders::ratware_name_id), expected, "{from}");
    }
}

#[test]
fn outlook_message_ids_hold_a_time() {
    let received = "from a by b; Tue, 3 Mar 2026 10:11:12 +0000\n";
    let time = dates::parse(b"3 Mar 2026 10:11:12 +0000").expect("a date") as f64;
    let token = (time * 0.002_328_306_436_538_7 + 27_111_902.832_984_9) as u32;
    for (token, date, expected) in [
        (token, "Tue, 3 Mar 2026 10:11:12 +0000\n", false),
        (token, "Tue, 3 Mar 2020 10:11:12 +0000\n", false),
        (token + 1_000, "Tue, 3 Mar 2026 10:11:12 +0000\n", true),
    ] {
        let id = format!("<0001{token:08x}$01234567$89abcdef@host>\n");
        let fields = [("MESSAGEID", id.as_str()), ("Date", date), ("Received", received)];
        assert_eq!(ask(&fields, senders::outlook_message_id), expected, "{id} {date}");
    }
    assert!(!ask(&[("MESSAGEID", "<x@y>\n")], senders::outlook_message_id));
}

#[test]
fn dates_are_read() {
    let cases: [(&str, Option<i64>); 19] = [
        ("Thu, 1 Jan 1970 00:00:00 +0000", Some(0)),
        ("1 jan 1970 00:01", Some(60)),
        ("Tue, 3 Mar 2026 10:11:12 +0100", Some(1_772_529_072)),
        ("Tue, 3 Mar 2026 10:11:12 CET", Some(1_772_529_072)),
        ("Tue, 3 Mar 2026 10:11:12 (CET)", Some(1_772_529_072)),
        ("Tue, 3 Mar 2026 10:11:12 XYZ", Some(1_772_532_672)),
        ("Tue,3 Mar 26 9:11:12 GMT", Some(1_772_529_072)),
        ("Tue Mar  3 10:11:12 2026", Some(1_772_496_000)),
        ("29 Feb 2024 00:00:00 +0000", Some(1_709_164_800)),
        ("1 Mar 2024 00:00:00 +0000", Some(1_709_251_200)),
        ("29 Feb 2023 00:00:00 +0000", Some(1_677_628_800)),
        ("32 Dec 2023 00:00:00 +0000", Some(1_704_067_200)),
        ("1 Jan 2024 99:99:99 +0000", Some(1_704_153_599)),
        ("1 Jan 9999 00:00:00 +0000", Some(2_114_380_800)),
        ("1 Jan 1970 00:00:00 +1400", Some(0)),
        ("0 Jan 2024 00:00:00 +0000", None),
        ("1 Foo 2024 00:00:00 +0000", None),
        ("99999999999999999999 Jan 2024 00:00:00", Some(1_706_745_600)),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(dates::parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn dates_are_compared() {
    let at = |hour: u32| format!("from a by b; Tue, 3 Mar 2026 {hour:02}:00:00 +0000\n");
    let all = |date: &str, hours: &[u32]| {
        let received: String = hours.iter().map(|hour| at(*hour)).collect();
        ask(&[("Date", date), ("Received", &received)], Dates::of)
    };
    for (date, hours, shift) in [
        ("Tue, 3 Mar 2026 12:00:00 +0000\n", &[11, 10][..], 1),
        ("Tue, 3 Mar 2026 12:00:00 +0000\n", &[8, 12], 4),
        ("Tue, 3 Mar 2026 12:00:00 +0000\n", &[12], 0),
        ("Tue, 3 Mar 2026 12:00:00 +0000\n", &[15, 18], -3),
        ("never\n", &[15, 18], 0),
        ("Tue, 3 Mar 2026 12:00:00 +0000\n", &[], 0),
    ] {
        assert_eq!(all(date, hours).shift(), shift * 3_600, "{date} {hours:?}");
    }
    let dates = all("Tue, 3 Mar 2026 15:00:00 +0000\n", &[12]);
    for (min, max, expected) in [("3", "6", true), ("undef", "3", false), ("3", "undef", true), ("-1", "3", false)] {
        let limit = |text| dates::limit(text).expect("a limit");
        assert_eq!(dates::shifted_date(&dates, limit(min), limit(max)), expected, "{min} {max}");
    }
    assert!(dates::limit("soon").is_err());
    let received = dates.received();
    assert!(dates::received_within_months(&dates, received + 86_400 * 40, Some(1.0), Some(2.0)));
    assert!(!dates::received_within_months(&dates, received + 86_400 * 80, None, Some(2.0)));
}

#[test]
fn fetches_from_mailboxes_are_no_part_of_the_way() {
    let received = "from localhost (localhost) by a; Tue, 3 Mar 2026 14:00:00 +0000\n\
                    from pop by localhost with POP3 (fetchmail-6.4) for b; Tue, 3 Mar 2026 13:00:00 +0000\n\
                    from c by d; Tue, 3 Mar 2026 09:11:12 +0000\n";
    let dates =
        ask(&[("Received", received), ("Resent-Date", "x\n"), ("Date", "3 Mar 2026 09:11:12 +0000\n")], Dates::of);
    let expected = Dates { date: Some(1_772_529_072), received: vec![1_772_529_072], fetched: Some(1_772_546_400) };
    assert_eq!(dates, expected);
}

type Eval = fn(&Facts) -> bool;

fn from(address: &str) -> (&str, &str) {
    ("From:addr", address)
}

fn received(value: &str) -> (&str, &str) {
    ("Received", value)
}

fn check(cases: &[(Eval, Fields, bool)]) {
    for (at, (eval, fields, expected)) in cases.iter().enumerate() {
        assert_eq!(ask(fields, eval), *expected, "case {at}: {fields:?}");
    }
}

#[test]
fn providers_leave_their_marks() {
    let long = "x".repeat(60);
    check(&[
        (forged::forged_gmail, &[from("a@gmail.com"), received(PUBLIC)], true),
        (forged::forged_gmail, &[from("a@notgmail.com"), received(PUBLIC)], false),
        (forged::forged_gmail, &[from("a@gmail.com"), ("X-Received", "by 10.1.2.3 with SMTP id a1;\n")], false),
        (
            forged::forged_gmail,
            &[from("a@gmail.com"), ("X-Gm-Message-State", &long), ("X-Google-Smtp-Source", &long)],
            false,
        ),
        (forged::forged_yahoo, &[from("a@yahoo.com"), received(PUBLIC)], true),
        (forged::forged_yahoo, &[from("a@yahoo.com")], false),
        (
            forged::forged_yahoo,
            &[from("a@yahoo.com"), received("from x by sonic1.consmr.mail.a.yahoo.com with HTTP\n")],
            false,
        ),
        (
            forged::forged_yahoo,
            &[
                from("a@yahoo.com"),
                received("from a (b.yahoo.com [198.51.100.7]) by c.example (Postfix) with SMTP id x\n"),
            ],
            false,
        ),
        (forged::forged_juno, &[from("a@juno.com"), received(PUBLIC)], true),
        (
            forged::forged_juno,
            &[
                from("a@juno.com"),
                ("X-Originating-IP", "1.2.3.4\n"),
                ("X-Mailer", "Juno 5\n"),
                received("from x cookie.juno.com y\n"),
            ],
            false,
        ),
        (forged::forged_eudoramail, &[from("a@eudoramail.com"), received(PUBLIC)], true),
        (
            forged::forged_eudoramail,
            &[from("a@eudoramail.com"), received("by x.whowhere.com; now\n"), ("X-Sender-Ip", "1.2.3.4\n")],
            false,
        ),
    ]);
}

#[test]
fn hotmail_and_lists_leave_their_marks() {
    check(&[
        (
            |facts| forged::hotmail(facts).forged,
            &[received("from x.hotmail.com (b.example [198.51.100.7]) by c\n")],
            true,
        ),
        (|facts| forged::hotmail(facts).missing, &[received(PUBLIC), from("a@hotmail.com")], true),
        (|facts| forged::hotmail(facts).missing, &[received(PUBLIC), from("a@b.example")], false),
        (
            |facts| forged::hotmail(facts).forged,
            &[
                received("from x.hotmail.com (y.hotmail.com [198.51.100.7]) by c\n"),
                ("X-Originating-Ip", "[1.2.3.4]\n"),
            ],
            false,
        ),
        (
            |facts| forged::hotmail(facts).missing,
            &[
                from("a@hotmail.com"),
                ("X-OriginatorOrg", "hotmail.com\n"),
                received("from a.outbound.protection.outlook.com (b.outbound.protection.outlook.com [1.2.3.4]) by c\n"),
            ],
            false,
        ),
        (forged::fake_aol_relay, &[received("from x by rly-ab12.mx.example with QMQP\n")], true),
        (forged::fake_aol_relay, &[received("from x by rly-ab12.mx.example (8/8/AOL-5.0.0) with SMTP\n")], false),
        (forged::gated_through_received_hdr_remover, &[], true),
        (forged::gated_through_received_hdr_remover, &[received(PUBLIC)], false),
        (
            forged::gated_through_received_hdr_remover,
            &[
                received("(qmail 12 invoked from network); 3 Mar 2026 09:11:12 -0000\n"),
                ("Mailing-List", "contact a@b.example; run by ezmlm\n"),
                ("Delivered-To", "mailing list c@b.example\n"),
            ],
            true,
        ),
        (
            forged::msn_groups,
            &[
                ("To", "<x@groups.msn.com>\n"),
                received("from mail pickup service by p01.groups.msn.com with x\n"),
                ("Message-Id", "<x-1@groups.msn.com>\n"),
                ("EnvelopeFrom:addr", "x-bounce@groups.msn.com"),
            ],
            true,
        ),
        (
            forged::msn_groups,
            &[
                ("To", "<notifications@groups.msn.com>\n"),
                received("from mail pickup service by p01.groups.msn.com with x\n"),
                ("Message-Id", "<x@p01.groups.msn.com>\n"),
            ],
            true,
        ),
        (forged::msn_groups, &[("To", "<x@groups.msn.com>\n"), received(PUBLIC)], false),
    ]);
}

proptest! {
    #[test]
    fn no_date_stops_the_reader(text in "[0-9A-Za-z:,+() -]{0,60}|.{0,60}") {
        dates::parse(text.as_bytes());
        dates::date_in(text.as_bytes());
    }

    #[test]
    fn no_fields_stop_the_evals(value in "[a-z<>@. \\[\\]0-9\n\"$]{0,80}", domain in "gmail|yahoo|juno|hotmail|eudoramail") {
        let address = format!("{value}@{domain}.com");
        let names = ["Received", "MESSAGEID", "To", "To:addr", "EnvelopeFrom:addr", "Message-Id", "From", "Mailing-List", "X-Received", "Date"];
        let mut fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, value.as_str())).collect();
        fields.push(("From:addr", &address));
        ask(&fields, |facts| {
            forged::hotmail(facts);
            let evals = [forged::forged_gmail, forged::forged_yahoo, forged::forged_juno, forged::forged_eudoramail,
                forged::fake_aol_relay, forged::msn_groups, senders::ratware_name_id, senders::ratware_envelope_from,
                senders::outlook_message_id, senders::equal_from_domains, relays::mailfrom_matches_rcvd];
            evals.iter().for_each(|eval| { eval(facts); });
            relays::mismatches(facts);
            Dates::of(facts).received();
        });
    }
}
