//! Evals that look for mail of great providers that never was with them: the From address against the marks that the
//! provider's own hosts leave in Received and other fields.

use std::sync::LazyLock;

use memchr::memmem;

use super::facts::{Facts, ends_in, spaced};
use crate::rules::relays::address;
use crate::rules::relays::shape::{Shape, Steps};

/// Work on the Received fields of a message by one eval, in steps.
const STEPS_MAX: u32 = 200_000;

struct Marks(Vec<Shape>);

impl Marks {
    fn new(shapes: &[&'static str]) -> Self {
        Marks(shapes.iter().map(|shape| Shape::new(shape)).collect())
    }

    fn in_text(&self, text: &[u8]) -> bool {
        self.within(text, &mut Steps::new(STEPS_MAX))
    }

    fn within(&self, text: &[u8], steps: &mut Steps) -> bool {
        self.0.iter().any(|shape| shape.find(text, steps).is_some())
    }

    /// The same where a mark must stand within a line.
    fn in_line(&self, text: &[u8]) -> bool {
        let mut steps = Steps::new(STEPS_MAX);
        text.split(|octet| *octet == b'\n').any(|line| self.within(line, &mut steps))
    }
}

fn has_address(text: &[u8]) -> bool {
    address::find(text).is_some()
}

/// `gated_through_received_hdr_remover()`: the message came by a mailing list that takes Received fields out, or has
/// none.
pub fn gated_through_received_hdr_remover(facts: &Facts) -> bool {
    static EZMLM: LazyLock<[Marks; 3]> = LazyLock::new(|| {
        [
            Marks::new(&["contact {_}@{_}; run by ezmlm{$}"]),
            Marks::new(&["mailing list {_}@{_}"]),
            Marks::new(&["qmail {_#} invoked {from network|by {_3-20.}}); {_#} {_3-3.} {_#}"]),
        ]
    });
    let [list, delivered, queued] = &*EZMLM;
    let begins = |selector: &str, marks: &Marks| {
        let text = facts.text(selector);
        let mut steps = Steps::new(STEPS_MAX);
        let mut lines = text.split(|octet| *octet == b'\n');
        lines.any(|line| marks.0.iter().any(|shape| shape.matches(line, &mut steps).is_some()))
    };
    let Some(received) = (facts.get)("Received") else { return true };
    let ezmlm = begins("Mailing-List", list) && begins("Delivered-To", delivered) && queued.in_line(&received);
    static GROUPS: LazyLock<Marks> = LazyLock::new(|| Marks::new(&["from groups.msn.com ({_}.msn.com "]));
    ezmlm || GROUPS.in_text(&received)
}

/// What the trace of a message says of Hotmail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hotmail {
    /// `check_for_forged_hotmail_received_headers()`: somebody says to be Hotmail, and is not.
    pub forged: bool,
    /// `check_for_no_hotmail_received_headers()`: From names Hotmail, and no Received field does.
    pub missing: bool,
}

/// Answers both evals about Hotmail.
pub fn hotmail(facts: &Facts) -> Hotmail {
    static PICKUP: &[u8] = b"from mail pickup service by hotmail.com with Microsoft SMTPSVC;";
    static CLAIM: LazyLock<Marks> = LazyLock::new(|| Marks::new(&["{from |HELO |helo=}{_*}hotmail.com{b}"]));
    let received = facts.text("Received");
    let named = memmem::find(&received, b"hotmail.com").is_some();
    if !named && !ends_in(&facts.text("From:addr"), b"hotmail.com") {
        return Hotmail::default();
    }
    let received = spaced(&received);
    let claimed = named && CLAIM.in_text(&received);
    if !claimed && !ends_in(&facts.text("From:addr"), b"hotmail.com")
        || memmem::find(&received, PICKUP).is_some()
        || msn_groups(facts)
        || gated_through_received_hdr_remover(facts)
        || is_hotmail(facts, &received)
    {
        return Hotmail::default();
    }
    Hotmail { forged: claimed, missing: !claimed }
}

/// Hosts of Hotmail handed the message on, and left their other marks.
fn is_hotmail(facts: &Facts, received: &[u8]) -> bool {
    static BY_IP: LazyLock<Marks> = LazyLock::new(|| {
        Marks::new(&[
            "from {{_*}.|}hotmail{_1-1.}com ({_}.hotmail{.msn|}.com{ |)}",
            "from {_*}.hotmail{_1-1.}com ([{_ip}]{ |)|:}",
            "from {_} by {_}.hotmail{.msn|}.com with HTTP;",
            "from [66.218{_1-1.}{_}] by {_}.yahoo.com",
        ])
    });
    static BY_ORGANISATION: LazyLock<Marks> = LazyLock::new(|| {
        Marks::new(&[
            "from {_*}.outbound.protection.outlook.com ({_}.outbound.protection.outlook.com{ |)}",
            "from {_*}.{eur|nam}prd{_#}.prod.outlook.com ({_ip})",
        ])
    });
    let organisation = || {
        let value = facts.text("X-OriginatorOrg");
        [&b"hotmail.com"[..], b"msonline-outlook"].iter().any(|name| memmem::find(&value, name).is_some())
    };
    has_address(&facts.text("X-Originating-Ip")) && BY_IP.in_text(received)
        || organisation() && BY_ORGANISATION.in_text(received)
}

/// `check_for_msn_groups_headers()`: a message of a group of MSN.
pub fn msn_groups(facts: &Facts) -> bool {
    let to = facts.text("To");
    let Some(list) = msn_list(&to) else { return false };
    let received = facts.text("Received");
    let Some(server) = msn_server(&received) else { return false };
    let id = facts.text("Message-Id");
    let Some(id) = id.strip_prefix(b"<") else { return false };
    let word = id.split(|octet| octet.is_ascii_whitespace()).next().unwrap_or_default();
    if list == b"notifications" {
        let at = [b"@", server].concat();
        return memmem::find(word, &at).is_some_and(|at| at > 0);
    }
    let of_list = word.strip_prefix(list).and_then(|rest| rest.strip_prefix(b"-"));
    let of_list = of_list.and_then(|rest| memmem::rfind(rest, b"@groups.msn.com>"));
    let bounce = [list, b"-bounce@groups.msn.com"].concat();
    of_list.is_some_and(|at| at > 0) && memmem::find(&facts.text("EnvelopeFrom:addr"), &bounce).is_some()
}

fn msn_list(to: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"@groups.msn.com>";
    let end = to.windows(END.len()).rposition(|window| window.eq_ignore_ascii_case(END))?;
    let before = to.get(..end)?;
    let start = before.iter().rposition(|octet| octet.is_ascii_whitespace()).map_or(0, |at| at.saturating_add(1));
    let word = before.get(start..)?;
    word.get(memchr::memchr(b'<', word)?.saturating_add(1)..).filter(|list| !list.is_empty())
}

fn msn_server(received: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"from mail pickup service by ";
    memmem::find_iter(received, MARK).find_map(|at| {
        let server = received.get(at.saturating_add(MARK.len())..)?;
        let [b'p', first, second, rest @ ..] = server else { return None };
        let numbered = first.is_ascii_digit() && second.is_ascii_digit();
        let ends = rest.get(1..)?.strip_prefix(b"groups.msn.com")?.first().is_none_or(|o| !address::is_word(*o));
        server.get(..18).filter(|_| numbered && ends)
    })
}

/// `check_for_forged_eudoramail_received_headers()`.
pub fn forged_eudoramail(facts: &Facts) -> bool {
    static OWN: LazyLock<Marks> = LazyLock::new(|| Marks::new(&["by {_*}whowhere{_1-1.}com;"]));
    ends_in(&facts.text("From:addr"), b"eudoramail.com")
        && !gated_through_received_hdr_remover(facts)
        && !(OWN.in_text(&facts.spaced("Received")) && has_address(&facts.text("X-Sender-Ip")))
}

/// `check_for_forged_yahoo_received_headers()`.
pub fn forged_yahoo(facts: &Facts) -> bool {
    static OWN: LazyLock<Marks> = LazyLock::new(|| {
        Marks::new(&[
            "by web{_}.mail{_*}.yahoo.com via HTTP",
            "by sonic{_}.consmr.mail{_*}.yahoo.com with HTTP",
            "by smtp{_}.yahoo.com with SMTP",
            "from [{_ip}] by {_}.{groups|scd|dcn}.yahoo.com with NNFMP",
            "by {_%}.{_%}.yahoo.com ({_#}.{_#}.{_#}/{_#}.{_#}.{_#}){ with ESMTP|} id {_%}",
        ])
    });
    static BULK: LazyLock<Marks> = LazyLock::new(|| Marks::new(&["{b}mailer{_#}.bulk.scd.yahoo.com{b}"]));
    let from = facts.text("From:addr");
    if !ends_in(&from, b"yahoo.com") || gated_through_received_hdr_remover(facts) || came_from_yahoo(facts) {
        return false;
    }
    let resent = !facts.text("Resent-From").is_empty() && !facts.text("Resent-To").is_empty();
    let moved = if resent { facts.text("X-Received") } else { Vec::new() };
    let received = if moved.is_empty() { facts.spaced("Received") } else { spaced(&moved) };
    let reply = from.to_ascii_lowercase().ends_with(b"@reply.yahoo.com") && BULK.in_text(&received);
    !reply && !OWN.in_text(&received)
}

/// A trusted relay, or the first untrusted, has a name at Yahoo.
fn came_from_yahoo(facts: &Facts) -> bool {
    let relays = facts.relays.trusted().iter().chain(facts.relays.untrusted().first());
    relays.into_iter().any(|relay| relay.rdns.strip_suffix(b".yahoo.com").is_some_and(|host| !host.is_empty()))
}

/// `check_for_forged_juno_received_headers()`. Without X-Originating-IP nothing counts as genuine.
pub fn forged_juno(facts: &Facts) -> bool {
    static OWN: LazyLock<Marks> =
        LazyLock::new(|| Marks::new(&["from{~}{b}{juno|untd}.com{~}{[|(}{_ip}{]|)}{~}by", " cookie.{juno|untd}.com "]));
    if !ends_in(&facts.text("From:addr"), b"juno.com") || gated_through_received_hdr_remover(facts) {
        return false;
    }
    facts.text("X-Originating-IP").is_empty()
        || !OWN.in_line(&facts.text("Received"))
        || memmem::find(&facts.text("X-Mailer"), b"Juno ").is_none()
}

/// `check_for_forged_gmail_received_headers()`.
pub fn forged_gmail(facts: &Facts) -> bool {
    const STATE_OCTETS_MIN: usize = 60;
    static OWN: LazyLock<[Marks; 2]> = LazyLock::new(|| {
        [
            Marks::new(&["by 10.{_} with SMTP id {_}", "by 2002:a{_2-2#}:{_%}:{_} with SMTP id {_}"]),
            Marks::new(&["by smtp.googlemail.com with ESMTPSA id {_}"]),
        ]
    });
    let [moved, submitted] = &*OWN;
    let long = |selector: &str| facts.text(selector).len() >= STATE_OCTETS_MIN;
    let genuine = || {
        moved.in_text(&facts.text("X-Received"))
            || submitted.in_text(&facts.text("Received"))
            || long("X-Gm-Message-State") && long("X-Google-Smtp-Source")
    };
    ends_in(&facts.text("From:addr"), b"gmail.com") && !genuine()
}

/// `check_for_fake_aol_relay_in_rcvd()`.
pub fn fake_aol_relay(facts: &Facts) -> bool {
    static OWN: LazyLock<Marks> =
        LazyLock::new(|| Marks::new(&["/AOL-{_#}.{_#}.{_#})", "ESMTP id {RELAY|MAILRELAY|MAILIN}"]));
    let received = facts.text("Received");
    let begins = |at: usize| received.get(at.saturating_sub(3)..at).is_some_and(|rly| rly.eq_ignore_ascii_case(b"rly"));
    if !memchr::memchr_iter(b'-', &received).any(begins) {
        return false;
    }
    let received = spaced(&received);
    let relay = |at: usize| match received.get(at..) {
        Some([b' ', r, l, y, b'-', a, b, c, d, b'.', ..]) => {
            [*r, *l, *y].eq_ignore_ascii_case(b"rly")
                && a.is_ascii_alphabetic()
                && b.is_ascii_alphabetic()
                && c.is_ascii_digit()
                && d.is_ascii_digit()
        }
        _ => false,
    };
    memchr::memchr_iter(b' ', &received).any(relay) && !OWN.in_text(&received)
}
