//! The one table of the configuration: each key, its default, its unit and its meaning.
//!
//! *Guarantees:* the loader takes its defaults and its list of known keys from here, so the table can't say anything
//! else than the program does. The commented file ([`reference()`]) and the manual are made from it.

use std::fmt::Write;

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its full name; `*` stands for any domain.
    pub name: &'static str,
    /// What holds when the file does not say.
    pub preset: Preset,
    /// The unit of its value; empty where it has none.
    pub unit: &'static str,
    /// What it means, in sentences.
    pub meaning: &'static str,
}

/// What holds when the file does not name a key. The text is TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This default.
    Default(&'static str),
    /// There is no default that would be safe: the file must say. An example.
    Required(&'static str),
    /// The feature is off. An example.
    Off(&'static str),
}

impl Preset {
    /// The default or the example, as TOML.
    pub fn text(self) -> &'static str {
        match self {
            Preset::Default(text) | Preset::Required(text) | Preset::Off(text) => text,
        }
    }
}

use Preset::{Default, Off, Required};

/// All keys, in the order of the reference file.
pub const KEYS: &[Key] = &[
    key("hostname", Required(r#""mx.example.org""#), "", "Our name: in the banner, in Received, and as authserv-id."),
    key(
        "listen.smtp",
        Default(r#"["[::]:25"]"#),
        "",
        "Addresses and ports. [::] falls back to IPv4 where IPv6 is off.",
    ),
    key(
        "listen.smtps",
        Default("[]"),
        "",
        "Addresses and ports where TLS begins at once (implicit TLS). No MTA delivers there: for gateways of yours.",
    ),
    key(
        "listen.proxy_protocol_from",
        Default("[]"),
        "",
        "Networks of the load balancers that speak the PROXY protocol (1 or 2). Each of them has to send its header first.",
    ),
    key(
        "listen.xclient_from",
        Default("[]"),
        "",
        "Networks of the peers that may say with XCLIENT for whom they speak.",
    ),
    key(
        "listen.trusted_relays",
        Default("[]"),
        "",
        "Networks of our own gateways and backup MX: the client is the one in the Received field that they wrote.",
    ),
    key(
        "tls.certificate",
        Off(r#""/etc/ssl/example/fullchain.pem""#),
        "",
        "PEM file: our certificate, then its chain. Without [tls] there is no STARTTLS.",
    ),
    key("tls.key", Off(r#""/etc/ssl/example/privkey.pem""#), "", "PEM file: the certificate's private key."),
    key(
        "tls.more",
        Off(r#"[{ certificate = "/etc/ssl/example/other.pem", key = "/etc/ssl/example/other.key" }]"#),
        "",
        "More of them, each shown to clients that ask for one of its names (SNI); the first one to all others.",
    ),
    key(
        "storage.mail",
        Default(r#""/var/mail/{domain}/{local_part}/Maildir""#),
        "",
        "Each mailbox's Maildir. What stands before the first placeholder is the mail root, and must exist.",
    ),
    key(
        "storage.state",
        Default(r#""/var/lib/mxkeep""#),
        "",
        "Our own state and the control socket. Never the only copy of mail.",
    ),
    key("storage.line_endings", Default(r#""lf""#), "", r#"How lines end in the Maildir: "lf" or "crlf"."#),
    key(
        "dns.servers",
        Default("[]"),
        "",
        "Resolvers to ask, best one on this machine. Port 53 unless given; empty: the system's.",
    ),
    key(
        "authentication.received_spf",
        Default("false"),
        "",
        "Write a Received-SPF field (RFC 7208 section 9.1) into stored copies as well.",
    ),
    key(
        "authentication.count_body_length",
        Default("false"),
        "",
        "Let DKIM signatures of a part of the body (l=) count: anybody may add to what they sign (RFC 6376 section 8.2).",
    ),
    key("domains.*.mailboxes", Default("[]"), "", "Local-parts that have a Maildir, in any case."),
    key(
        "domains.*.aliases",
        Default("{}"),
        "",
        "Other local-parts, and who of ours gets their mail. postmaster and abuse: the first mailbox, unless named.",
    ),
    key("domains.*.policy", Default("{}"), "", "What this domain decides for itself: any key of [policy]."),
    key("limits.message_octets_max", Default("52428800"), "octets", "The largest message; announced with SIZE."),
    key(
        "limits.recipients_max",
        Default("100"),
        "recipients a transaction",
        "The most recipients. RFC 5321 asks for at least 100.",
    ),
    key("limits.connections_max", Default("2000"), "connections", "The most connections at a time, in all."),
    key(
        "limits.connections_per_client_max",
        Default("50"),
        "connections",
        "The most connections at a time from one address.",
    ),
    key(
        "limits.connections_per_network_max",
        Default("100"),
        "connections",
        "The most connections at a time from one IPv4 /24 or IPv6 /64; unless set, at least what one address may have.",
    ),
    key(
        "limits.bad_commands_max",
        Default("20"),
        "commands a session",
        "More wrong commands than this, and we hang up.",
    ),
    key(
        "limits.refused_recipients_max",
        Default("50"),
        "recipients a session",
        "More refused recipients than this, and we hang up at the next: somebody is guessing names.",
    ),
    key("limits.messages_max", Default("1000"), "messages a session", "The most messages; announced with LIMITS."),
    key("limits.session_seconds_max", Default("7200"), "seconds", "The longest that a session may last."),
    key(
        "limits.data_octets_per_second_min",
        Default("100"),
        "octets a second",
        "The slowest that mail data may come, on average, after its first five minutes.",
    ),
    key(
        "limits.message_memory_octets_max",
        Default("1048576"),
        "octets",
        "A larger message lives in a temporary file below storage.state while it is received.",
    ),
    key(
        "limits.memory_octets_max",
        Default("134217728"),
        "octets",
        "All messages in memory together; past it they go to temporary files.",
    ),
    key(
        "limits.in_flight_octets_max",
        Default("4294967296"),
        "octets",
        "All messages that are being received together, in memory and in files; past it: 452.",
    ),
    key(
        "limits.in_flight_octets_per_network_max",
        Default("1073741824"),
        "octets",
        "Those of them that come from one IPv4 /24 or IPv6 /64: nobody alone can keep others out.",
    ),
    key(
        "limits.inspection_octets_max",
        Default("67108864"),
        "octets",
        "Octets of large messages that are judged at a time; the others wait for their turn.",
    ),
    key("policy.junk_score", Default("5.0"), "points", "From this score on a message goes to the Junk folder."),
    key("policy.reject_score", Default("15.0"), "points", "From this score on a message is refused in the session."),
    key(
        "policy.dmarc",
        Default(r#""enforce""#),
        "",
        r#""enforce": p=reject is refused, p=quarantine goes to Junk. "observe": nothing is refused or goes to Junk for it, nor do our rules count it; the log says what would have been done."#,
    ),
    key("policy.junk_folder", Default(r#""Junk""#), "", "The folder's name, as the IMAP user sees it."),
    key(
        "policy.trusted_sealers",
        Default("[]"),
        "",
        "Domains, and what is below them: where they sealed (ARC) that DMARC passed before, its failure here is overridden.",
    ),
    key(
        "policy.trusted_forwarders",
        Default("[]"),
        "",
        "Domains, and what is below them (by SPF, DKIM or the client's name), or networks: a DMARC failure of what they send is overridden.",
    ),
    key(
        "policy.dmarc_overrides",
        Default("{}"),
        "",
        r#"Author domains, and what is below them, each with "none", "quarantine" or "reject" in the place of its published policy."#,
    ),
    key("rules.paths", Default(r#"["rules"]"#), "", "Rule files (.cf) and directories of them; relative to this file."),
    key("log.format", Default(r#""text""#), "", r#""text" for people, "json" for one object a line."#),
];

const fn key(name: &'static str, preset: Preset, unit: &'static str, meaning: &'static str) -> Key {
    Key { name, preset, unit, meaning }
}

/// The example domain of the reference file.
const EXAMPLE_DOMAIN: &str = r#"[domains."example.org"]
# Local-parts that have a Maildir, in any case.
mailboxes = ["alice", "bob"]
# Other local-parts, and who of ours gets their mail; mail is never forwarded to other hosts.
# postmaster and abuse go to the first mailbox unless they are named.
aliases = { postmaster = ["alice"], abuse = ["alice"], info = ["alice", "bob"] }
# What this domain decides for itself: any key of [policy].
#policy = { junk_score = 4.0 }
"#;

/// The commented configuration file: every key with its default and its meaning. It loads as it stands.
pub fn reference() -> String {
    let mut text = String::from("# mxkeep's configuration: every key, with its default.\n\n");
    let mut open = "";
    for key in KEYS {
        let (section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let mark = if matches!(key.preset, Off(_)) { "#" } else { "" };
        if section != open {
            open = section;
            text.push('\n');
            match section {
                "domains.*" => text.push_str(EXAMPLE_DOMAIN),
                section => line(&mut text, format_args!("{mark}[{section}]")),
            }
        }
        if section != "domains.*" {
            let unit = if key.unit.is_empty() { String::new() } else { format!(" Unit: {}.", key.unit) };
            line(&mut text, format_args!("# {}{unit}", key.meaning));
            line(&mut text, format_args!("{mark}{name} = {}", key.preset.text()));
        }
    }
    text
}

/// The file that holds every default and nothing else; the loader looks here for what the operator's file does not say.
pub(super) fn defaults() -> String {
    let mut text = String::new();
    for key in KEYS.iter().filter(|key| !key.name.contains('*')) {
        if let Default(value) = key.preset {
            line(&mut text, format_args!("{} = {value}", key.name));
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // cannot fail: a String takes whatever is written to it.
    let _ = writeln!(text, "{line}");
}

/// The table's entry for a key, by its full name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names that may stand directly in a section: `""` is the file itself.
pub(super) fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    let inside = move |key: &'static Key| match section {
        "" => Some(key.name),
        section => key.name.strip_prefix(section)?.strip_prefix('.'),
    };
    let mut names: Vec<_> = KEYS.iter().filter_map(inside).filter_map(|rest| rest.split('.').next()).collect();
    names.dedup();
    names.into_iter()
}

/// What may have been meant by an unknown name: one close to it here, or the same name in another section.
pub(super) fn suggestion(section: &str, name: &str) -> Option<String> {
    if let Some(near) = nearest(name, names_in(section)) {
        return Some(near.to_owned());
    }
    KEYS.iter().find(|key| key.name.rsplit('.').next() == Some(name)).map(|key| key.name.to_owned())
}

/// The candidate that a typing mistake or two would turn into `name`.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = candidates.map(|candidate| (edits(&name.to_ascii_lowercase(), candidate), candidate));
    distances.filter(|(edits, candidate)| *edits <= 1 + candidate.len() / 5).min().map(|(_, candidate)| candidate)
}

/// How many octets must be put in, left out or exchanged to get from one name to the other (Levenshtein). Names much
/// longer than any key are not measured.
fn edits(from: &str, to: &str) -> usize {
    const NAME_OCTETS_MAX: usize = 64;
    if from.len() > NAME_OCTETS_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (1..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (cell, b) in row.iter_mut().zip(to.bytes()) {
            left = (diagonal + usize::from(a != b)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("acb", "abc", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }

    #[test]
    fn a_mistyped_name_finds_the_right_one() {
        assert_eq!(suggestion("", "hostnam").as_deref(), Some("hostname"));
        assert_eq!(suggestion("limits", "recipient_max").as_deref(), Some("recipients_max"));
        assert_eq!(suggestion("", "Hostname").as_deref(), Some("hostname"));
        assert_eq!(suggestion("", "junk_score").as_deref(), Some("policy.junk_score"));
        assert_eq!(suggestion("", "colour"), None);
        assert_eq!(suggestion("", &"a".repeat(100_000)), None);
    }
}
