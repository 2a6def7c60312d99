//! The whole loader: files that load, files that don't and what is said about them.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const MINIMAL: &str = r#"hostname = "mx.example.org"
tls = { certificate = "c.pem", key = "k.pem" }
[domains."example.org"]
mailboxes = ["postmaster", "abuse", "alice"]
"#;

fn parse(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    Config::parse(text, "mxkeep.toml", Path::new("/etc/mxkeep"))
}

/// What is said about the minimal file with more behind it (from its fifth line on), one problem a line.
fn errors_with(more: &str) -> String {
    errors(&format!("{MINIMAL}{more}"))
}

fn errors(text: &str) -> String {
    parse(text).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_reference_file_loads_to_the_defaults() {
    let (config, warnings) = parse(&reference()).unwrap();
    let domain = r#"mailboxes = ["alice", "bob"]
        aliases = { postmaster = ["alice"], abuse = ["alice"], info = ["alice", "bob"] }"#;
    let bare = format!("hostname = \"mx.example.org\"\n[domains.\"example.org\"]\n{domain}");
    assert_eq!(config, parse(&bare).unwrap().0);
    assert_eq!(config.limits.message_octets_max, 52_428_800);
    assert_eq!(config.policy.reject_score, 15.0);
    assert_eq!(config.rules.paths, [Path::new("/etc/mxkeep/rules")]);
    assert_eq!(config.storage.state, Path::new("/var/lib/mxkeep"));
    let tls = "mxkeep.toml:1:1: there is no [tls] section, so that mail travels in clear text. \
               Add one with certificate and key.";
    assert_eq!(warnings.iter().map(Problem::to_string).collect::<Vec<_>>(), [tls]);
}

#[test]
fn limits_in_each_others_way_are_warned_of() {
    let warnings = |limits: &str| -> Vec<String> {
        let (_, warnings) = parse(&format!("{MINIMAL}[limits]\n{limits}")).unwrap();
        warnings.iter().map(Problem::to_string).collect()
    };
    for (limits, warning) in [
        (
            "message_octets_max = 1000\nin_flight_octets_max = 999",
            "mxkeep.toml:7:24: limits.in_flight_octets_max (999) is smaller than limits.message_octets_max (1000): \
             a message between the two is deferred each time it comes.",
        ),
        (
            "memory_octets_max = 1000",
            "mxkeep.toml:6:21: limits.memory_octets_max (1000) is smaller than limits.message_memory_octets_max \
             (1048576): the larger one has no effect.",
        ),
        (
            "connections_per_client_max = 9\nconnections_per_network_max = 8",
            "mxkeep.toml:7:31: limits.connections_per_network_max (8) is smaller than \
             limits.connections_per_client_max (9): the larger one has no effect.",
        ),
        (
            "connections_max = 99",
            "mxkeep.toml:6:19: limits.connections_max (99) is smaller than limits.connections_per_network_max (100): \
             one network can keep all others out.",
        ),
        (
            "connections_per_network_max = 2001",
            "mxkeep.toml:6:31: limits.connections_max (2000) is smaller than limits.connections_per_network_max (2001): \
             one network can keep all others out.",
        ),
    ] {
        assert_eq!(warnings(limits), [warning], "{limits}");
    }
    let even = "message_octets_max = 9\nin_flight_octets_max = 9\nmemory_octets_max = 9\nmessage_memory_octets_max = 9\n\
                connections_max = 9\nconnections_per_client_max = 9\nconnections_per_network_max = 9";
    assert_eq!(warnings(even), [""; 0]);
}

/// A date is legal for no key at all: each key that the loader reads complains about it, under its own name.
#[test]
fn the_loader_reads_every_key_of_the_table() {
    for key in KEYS {
        let name = key.name.replace('*', "\"example.org\"");
        let mut text = format!("{name} = 1979-05-27\n");
        if key.name != "hostname" {
            text.push_str("hostname = \"mx.example.org\"\n");
        }
        if !key.name.starts_with("domains") {
            text.push_str("[domains.\"example.org\"]\nmailboxes = [\"alice\"]\n");
        }
        let said = errors(&text);
        assert!(said.contains(&format!("{name}: 1979-05-27 is not ")), "{}: {said}", key.name);
    }
}

#[test]
fn a_real_file_loads() {
    let text = r#"
        hostname = "mx.inbox.example"
        [listen]
        smtp = ["127.0.0.1:2525", "127.0.0.1:0"]
        proxy_protocol_from = ["192.0.2.0/24"]
        [storage]
        mail = "/x/y/{local_part}"
        state = "state"
        line_endings = "crlf"
        [dns]
        servers = ["127.0.0.1:5353", "127.0.0.1", "::1", "[::1]:54"]
        [domains."B\u00dccher.example"]
        mailboxes = ["Alice", "bob"]
        aliases = { Info = ["ALICE", "bob@b\u00fccher.example"], all = ["info", "bob"] }
        policy = { junk_score = 15, dmarc = "observe" }
        [policy]
        reject_score = 15.0
    "#;
    let (config, warnings) = parse(text).unwrap();
    let domain = &config.domains[&Domain::parse("xn--bcher-kva.example").unwrap()];
    let names = |mailboxes: &[Mailbox]| mailboxes.iter().map(|m| m.local_part().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&domain.mailboxes), ["alice", "bob"]);
    assert_eq!(names(&domain.aliases["info"]), ["alice", "bob"]);
    assert_eq!(names(&domain.aliases["postmaster"]), ["alice"]);
    assert_eq!((domain.policy.junk_score, domain.policy.dmarc), (15.0, DmarcMode::Observe));
    assert_eq!((config.policy.junk_score, config.policy.dmarc), (5.0, DmarcMode::Enforce));
    assert_eq!(config.storage.state, Path::new("/etc/mxkeep/state"));
    let servers: Vec<String> = config.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.1:5353", "127.0.0.1:53", "[::1]:53", "[::1]:54"]);
    assert_eq!(config.listen.proxy_protocol_from, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(
        warnings[1].to_string(),
        "mxkeep.toml:12:9: domains.\"B\u{dc}cher.example\": nobody is named for postmaster and abuse; that mail goes \
         to alice@xn--bcher-kva.example. Add an alias."
    );
}

#[test]
fn a_domain_inherits_overrides_key_by_key() {
    let text = format!(
        r#"{MINIMAL}[policy]
trusted_sealers = ["Lists.Example.NET"]
trusted_forwarders = ["b\u00fccher.example", "192.0.2.0/24", "192.0.2.1", "2001:db8::/32"]
dmarc_overrides = {{ "example.com" = "none", "Deep.Example.com" = "reject" }}
[domains."example.net"]
mailboxes = ["postmaster", "abuse"]
policy = {{ trusted_forwarders = [], dmarc_overrides = {{ "example.net" = "quarantine" }} }}
"#
    );
    let (config, warnings) = parse(&text).unwrap();
    assert_eq!(warnings, []);
    let domain = |text| Domain::parse(text).unwrap();
    let (inherits, own) =
        (&config.domains[&domain("example.org")].policy, &config.domains[&domain("example.net")].policy);
    assert_eq!(inherits, &config.policy);
    assert_eq!(
        (&own.trusted_sealers, &inherits.trusted_sealers[..]),
        (&inherits.trusted_sealers, &[domain("lists.example.net")][..])
    );
    let network = |text: &str| Forwarder::Network(text.parse().unwrap());
    let expected = [
        Forwarder::Domain(domain("xn--bcher-kva.example")),
        network("192.0.2.0/24"),
        network("192.0.2.1/32"),
        network("2001:db8::/32"),
    ];
    assert_eq!((&own.trusted_forwarders[..], &inherits.trusted_forwarders[..]), (&[][..], &expected[..]));
    let found =
        |policy: &Policy, author| policy.dmarc_override(&domain(author)).map(|(at, word)| (at.to_string(), word));
    for (author, expected) in [
        ("example.com", Some(("example.com", DmarcOverride::None))),
        ("sub.example.com", Some(("example.com", DmarcOverride::None))),
        ("deep.example.com", Some(("deep.example.com", DmarcOverride::Reject))),
        ("very.deep.example.com", Some(("deep.example.com", DmarcOverride::Reject))),
        ("badexample.com", None),
        ("com", None),
        ("example.net", None),
    ] {
        assert_eq!(found(inherits, author), expected.map(|(at, word)| (at.to_owned(), word)), "{author}");
    }
    assert_eq!(found(own, "example.net"), Some(("example.net".to_owned(), DmarcOverride::Quarantine)));
    assert_eq!(found(own, "example.com"), None, "a domain's own table takes the place of the server's");
}

#[test]
fn trust_in_half_the_world_is_warned_of() {
    let text = format!(
        "{MINIMAL}[policy]\ntrusted_sealers = [\"com\"]\ntrusted_forwarders = [\"net\", \"0.0.0.0/0\", \"::/1\"]\n\
         dmarc_overrides = {{ org = \"none\", zip = \"reject\" }}\n"
    );
    let warnings: Vec<String> = parse(&text).unwrap().1.iter().map(ToString::to_string).collect();
    let expected = [
        "mxkeep.toml:6:20: policy.trusted_sealers: \"com\" stands for every domain below it. Write the domains that you mean.",
        "mxkeep.toml:7:23: policy.trusted_forwarders: \"net\" stands for every domain below it. Write the domains that you mean.",
        "mxkeep.toml:7:30: policy.trusted_forwarders: 0.0.0.0/0 is everybody. Write the networks that you mean.",
        "mxkeep.toml:8:27: policy.dmarc_overrides.org: \"org\" stands for every domain below it. Write the domains that you mean.",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn certificates_are_read_in_the_files_order() {
    let text = MINIMAL.replace(
        "key = \"k.pem\"",
        "key = \"k.pem\", more = [{ certificate = \"a.pem\", key = \"/a.key\" }, { key = \"b.key\", certificate = \"b.pem\" }]",
    );
    let tls = parse(&text).unwrap().0.tls.unwrap();
    let paths: Vec<_> = tls.pairs().flat_map(|pair| [&pair.certificate, &pair.key]).collect();
    let expected = ["c.pem", "k.pem", "a.pem", "/a.key", "b.pem", "b.key"];
    assert_eq!(paths, expected.map(|path| Path::new("/etc/mxkeep").join(path)).iter().collect::<Vec<_>>());
    let inline = "tls = { certificate = \"c.pem\", key = \"k.pem\" }";
    let tables =
        "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[[tls.more]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    assert_eq!(parse(&MINIMAL.replace(inline, tables)).unwrap().0.tls.unwrap().more.len(), 1);
}

/// `tls` is an inline table in the minimal file, so that what stands behind it can't add to it.
#[test]
fn each_pair_of_a_certificate_and_its_key_is_checked() {
    let said = |more: &str| errors(&MINIMAL.replace("key = \"k.pem\"", &format!("key = \"k.pem\", more = {more}")));
    let example = "Write { certificate = \"/path/to/fullchain.pem\", key = \"/path/to/privkey.pem\" }.";
    for (more, expected) in [
        ("[]", String::new()),
        ("[\"a.pem\"]", format!("mxkeep.toml:2:55: tls.more: \"a.pem\" is not a certificate and its key. {example}")),
        ("[{ certificate = \"a.pem\" }]", format!("mxkeep.toml:2:55: tls.more: there is no key in it. {example}")),
        ("[{ key = \"a.pem\" }]", format!("mxkeep.toml:2:55: tls.more: there is no certificate in it. {example}")),
        (
            "[{ certificate = \"a\", key = \"\", name = \"b\" }]",
            "mxkeep.toml:2:82: tls.more.key: \"\" is not a path. Write the path of a file or directory.\n\
             mxkeep.toml:2:86: tls.more.name: there is no such key. Here may stand: certificate, key."
                .to_owned(),
        ),
        ("{}", "mxkeep.toml:2:54: tls.more: a section is not a list. Write it in brackets: [a section].".to_owned()),
    ] {
        assert_eq!(said(more), expected, "{more}");
    }
}

#[test]
fn a_default_does_not_stand_against_what_one_address_may_have() {
    let per_network = |more: &str| parse(&format!("{MINIMAL}{more}")).unwrap().0.limits.connections_per_network_max;
    assert_eq!(per_network(""), 100);
    assert_eq!(per_network("[limits]\nconnections_per_client_max = 60"), 100);
    assert_eq!(per_network("[limits]\nconnections_per_client_max = 5000"), 5000);
    assert_eq!(per_network("[limits]\nconnections_per_client_max = 60\nconnections_per_network_max = 7"), 7);
}

#[test]
fn a_domain_without_mailboxes_may_lead_to_another() {
    let more = "[domains.\"example.net\"]\naliases = { postmaster = [\"alice@example.org\"] }\n";
    let (config, warnings) = parse(&format!("{MINIMAL}{more}")).unwrap();
    let aliases = &config.domains[&Domain::parse("example.net").unwrap()].aliases;
    assert_eq!(aliases["abuse"], aliases["postmaster"]);
    assert_eq!(warnings.len(), 1);
}

/// `tests/broken.txt` explains itself.
#[test]
fn broken_files_are_told_what_is_wrong_and_what_to_do() {
    let cases: Vec<_> = include_str!("tests/broken.txt").split("\n== ").skip(1).collect();
    assert!(cases.len() > 40);
    for case in cases {
        let (title, case) = case.split_once('\n').unwrap();
        let (more, expected) = case.split_once("\n--\n").unwrap();
        assert_eq!(errors_with(more), expected.trim_end(), "{title}");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    assert_eq!(
        errors("[tls]"),
        "mxkeep.toml:1:1: hostname is missing. Add hostname = \"mx.example.org\" \
         (Our name: in the banner, in Received, and as authserv-id.)\n\
         mxkeep.toml:1:1: there is no domain to receive mail for. Add a section [domains.\"example.org\"].\n\
         mxkeep.toml:1:1: tls.certificate is missing. Add certificate = \"/etc/ssl/example/fullchain.pem\" \
         (PEM file: our certificate, then its chain. Without [tls] there is no STARTTLS.)\n\
         mxkeep.toml:1:1: tls.key is missing. Add key = \"/etc/ssl/example/privkey.pem\" \
         (PEM file: the certificate's private key.)"
    );
}

#[test]
fn a_quoted_name_with_dots_is_no_key_of_a_section() {
    let said = errors(&format!("\"limits.recipients_max\" = 5\n{MINIMAL}"));
    assert!(said.starts_with("mxkeep.toml:1:1: \"limits.recipients_max\": there is no such key."), "{said}");
}

#[test]
fn lines_and_columns_are_those_of_an_editor() {
    let text = "hostname = \"mx.example.org\"\r\n# \u{fc}\r\n[policy]\r\n\"\u{fc}\" = 1\r\nlog = \"\u{fc}\"\r\n";
    let said = errors(text);
    assert!(said.contains("mxkeep.toml:4:1: policy.\"\u{fc}\": there is no such key."), "{said}");
    let said = errors("x = { \"\u{fc}\" = \"\u{fc}\", = }");
    assert!(said.starts_with("mxkeep.toml:1:18: "), "{said}");
}

#[test]
fn a_file_is_read_relative_to_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mxkeep.toml");
    std::fs::write(&path, MINIMAL).unwrap();
    assert_eq!(Config::load(&path).unwrap().0.tls.unwrap().first.key, dir.path().join("k.pem"));
    std::fs::write(&path, b"hostname = \"\xff\"").unwrap();
    let said = Config::load(&path).unwrap_err().to_string();
    assert!(
        said.ends_with(
            "mxkeep.toml: cannot be read (it is not UTF-8 at octet 12). Name the configuration file with --config."
        ),
        "{said}"
    );
    let said = Config::load(&dir.path().join("none")).unwrap_err().to_string();
    assert!(said.contains("none: cannot be read (No such file or directory"), "{said}");
}

/// A chain of aliases from a0 on, each for the next two, the last of them for alice.
fn doubled_aliases(count: usize) -> String {
    let links: Vec<String> = (1..count)
        .map(|at| format!("a{} = [\"a{at}\", \"b{at}\"]\nb{} = [\"a{at}\", \"b{at}\"]", at - 1, at - 1))
        .collect();
    let last = count - 1;
    format!("[domains.\"example.org\".aliases]\n{}\na{last} = [\"alice\"]\nb{last} = [\"alice\"]\n", links.join("\n"))
}

#[test]
fn aliases_are_bounded() {
    assert_eq!(errors_with(&doubled_aliases(ALIAS_DEPTH_MAX)), "");
    let said = errors_with(&doubled_aliases(ALIAS_DEPTH_MAX + 1));
    assert!(said.contains("aliases.a0: more than 16 aliases stand one behind the other."), "{said}");
    let names: Vec<String> = (0..=ALIAS_MAILBOXES_MAX).map(|at| format!("\"m{at}\"")).collect();
    let many = format!("[domains.\"example.net\"]\nmailboxes = [{0}]\naliases = {{ all = [{0}] }}", names.join(","));
    let said = errors_with(&many);
    assert!(said.contains("aliases.all: this alias reaches more than 1000 mailboxes."), "{said}");
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = errors_with(&text);
    }

    /// Pieces of real files in any order come further than arbitrary characters.
    #[test]
    fn no_file_is_too_odd(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
        if let Err(error) = parse(&pieces.concat()) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}

const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\"",
    "'",
    "#",
    "\0",
    "\u{fc}",
    "\u{10ffff}",
    "[[",
    "]]",
    "-1",
    "0x10",
    "1e999",
    "nan",
    "hostname",
    " = ",
    "\"mx.example.org\"",
    "[domains.\"example.org\"]\n",
    "[domains.\"EXAMPLE.org\"]\n",
    "mailboxes = [\"alice\"]\n",
    "aliases = { a = [\"b\"], b = [\"a\"] }\n",
    "aliases = { a = [\"alice\"] }\n",
    "[policy]\n",
    "junk_score = 5\n",
    "[storage]\n",
    "mail = \"/m/{local_part}\"\n",
    "[listen]\nsmtp = [\"[::]:25\"]\n",
    "[tls]\n",
    "hostname = \"mx.example.org\"\n",
    "policy = {}\n",
    "[[domains]]\n",
    "[domains]\n",
    "policy.junk_score = 1\n",
];
