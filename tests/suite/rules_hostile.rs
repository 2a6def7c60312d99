//! Hostile mail and hostile rules: bounded time, bounded memory, and words about what was given up.
//!
//! *Rules:* Debian's SpamAssassin rules where they are installed, ours where not; beside them patterns that backtrack
//! without end, in a file of their own.
//! *Time* is CPU time of the thread, so that a busy machine fails nothing. *Memory* is the peak of a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mxkeep::message::Message;
use mxkeep::rules::{OWN, Rules};
use rustix::time::{ClockId, clock_gettime};

use crate::sa_hits::stock_rules;
use crate::support::server::{Options, Server};

/// What one message may cost, in CPU time. The worst of these takes about a third of it.
const MESSAGE_CPU_MAX: Duration = Duration::from_secs(3);
/// The most memory that a process may have taken that scans them all, in KiB.
const MEMORY_KIB_MAX: u64 = 400 << 10;

const HTML: &str = "Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n";

/// Patterns that take exponential or quadratic time to backtrack, each asked of every view.
const CATASTROPHIC: [&str; 7] = [
    r"/^(a+)+$(?!x)/",
    r"/(?=(a|aa)+b)/",
    r"/(.*)(.*)(.*)(.*)\1\2\3\4\4x/s",
    r"/(?:(a*)*)*\1b/",
    r"/^(?:a?){40}a{40}(?<!a)x/",
    r"/(\w+\s?)+(?<=zz)$/",
    r"/(x+x+)+y\1/",
];

/// Mails that were made to hang or to fill a filter.
fn mails() -> Vec<(&'static str, String)> {
    let multipart = |kind: &str, inner: &str| format!("Content-Type: multipart/{kind}; boundary=b\r\n\r\n{inner}");
    let words: String = (0..600_000).map(|i| format!(" a{i}=b{i}")).collect();
    let relay = "Received: from a (b [192.0.2.1]) by c with ESMTP id d; Mon, 1 Jan 2024 00:00:00 +0000\r\n";
    vec![
        ("a header of 5 MB", format!("Subject: {}\r\n\r\nx\r\n", "aaaa ".repeat(1_000_000))),
        ("a folded header of 5 MB", format!("To: {}\r\n\r\nx\r\n", "a@b.example,\r\n ".repeat(330_000))),
        ("encoded words", format!("Subject: {}\r\n\r\n", "=?utf-8?B?YWE=?= ".repeat(300_000))),
        ("half an encoded word", format!("Subject: {}\r\n\r\n", "=?x?Q? ".repeat(700_000))),
        ("many fields", "X-A: b\r\n".repeat(600_000)),
        ("many relays", relay.repeat(60_000)),
        ("an endless relay", format!("Received: from {} by x\r\n\r\n", "(a [b] ".repeat(700_000))),
        ("addresses", format!("From: {}\r\n\r\n", "(\"a\"<,".repeat(700_000))),
        ("10,000 parts", multipart("mixed", &"--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n".repeat(10_000))),
        ("nested multiparts", multipart("mixed", "--b\r\n").repeat(40_000)),
        ("nested messages", "Content-Type: message/rfc822\r\n\r\n".repeat(40_000)),
        ("boundaries that are none", multipart("mixed", &"--bb\r\n-".repeat(700_000))),
        ("open tags", format!("{HTML}{}", "<div>".repeat(1_000_000))),
        ("nested tables", format!("{HTML}{}", "<table><tr><td style='color:red'>".repeat(150_000))),
        ("tags without end", format!("{HTML}{}", "<p".repeat(2_000_000))),
        ("one tag with 600,000 attributes", format!("{HTML}<a {words}>")),
        ("quotes without end", format!("{HTML}{}", "<a b='".repeat(800_000))),
        ("comments without end", format!("{HTML}{}", "<!--".repeat(1_000_000))),
        ("declarations", format!("{HTML}{}", "<!x '\" -- ".repeat(500_000))),
        ("entities", format!("{HTML}{}", "&#x41;&a&amp".repeat(400_000))),
        ("a number without end", format!("{HTML}&#{};", "9".repeat(5_000_000))),
        ("links", format!("{HTML}{}", "<a href=\"http://a%2561.example/?http://b.example\">x</a>".repeat(90_000))),
        ("relative links", format!("{HTML}<base href=\"http://a.example/\">{}", "<a href=../x>".repeat(350_000))),
        ("text links", format!("\r\n{}", "a.example.com www.b.com c@d.com ".repeat(150_000))),
        ("dots", format!("\r\n{}", "a.".repeat(2_500_000))),
        ("slashes", format!("\r\nhttp://{}", "/%25".repeat(1_200_000))),
        ("base64", format!("Content-Transfer-Encoding: base64\r\n\r\n{}", "YWFh\r\n".repeat(800_000))),
        (
            "quoted-printable",
            format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{}", "=61=\r\n".repeat(800_000)),
        ),
        ("UTF-16", format!("Content-Type: text/plain; charset=utf-16\r\n\r\n{}", "a\0\u{7f}".repeat(1_600_000))),
        ("UTF-7", format!("Content-Type: text/html; charset=utf-7\r\n\r\n{}", "+ADw-".repeat(1_000_000))),
        (
            "ISO-2022-JP",
            format!("Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n{}", "\x1b$B!!\x1b(B".repeat(600_000)),
        ),
        ("a word of 5 MB", format!("\r\n{}", "a".repeat(5_000_000))),
        ("as and no b", format!("Subject: {}\r\n\r\n{}", "a".repeat(200), "aaaa aaaa aa\r\n".repeat(350_000))),
        ("empty lines", "\r\n".repeat(2_500_000)),
        ("spaces", format!("\r\n{}", " \t".repeat(2_500_000))),
        ("look-alikes", format!("{HTML}{}", "v\u{456}\u{430}gr\u{430} \u{202e}\u{200b}".repeat(200_000))),
    ]
}

/// Rules that ask each of these patterns of each view.
fn catastrophic() -> String {
    let mut text = String::new();
    for (number, pattern) in CATASTROPHIC.iter().enumerate() {
        for kind in ["body", "rawbody", "full", "uri", "header", "mimeheader"] {
            let field = match kind {
                "header" => "Subject =~ ",
                "mimeheader" => "Content-Type =~ ",
                _ => "",
            };
            text.push_str(&format!("{kind} C{number}_{} {field}{pattern}\n", kind.to_uppercase()));
        }
    }
    text
}

/// The rules that there are, and those of the test.
fn rules(directory: &Path) -> Vec<PathBuf> {
    let own = directory.join("own.cf");
    fs::write(&own, OWN.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n")).expect("written");
    let hostile = directory.join("hostile.cf");
    fs::write(&hostile, catastrophic()).expect("written");
    stock_rules("hostile mail: Debian's rules").into_iter().chain([own, hostile]).collect()
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
fn hostile_mail_takes_bounded_time_and_says_what_was_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let (rules, _) = Rules::load(&rules(directory.path())).expect("loaded");
    let (mut worst, mut given_up) = ((Duration::ZERO, ""), 0);
    for (what, mail) in mails() {
        let message = Message::new(mail.into_bytes());
        let began = cpu();
        let hits = rules.evaluate(&message, None);
        let took = cpu() - began;
        worst = worst.max((took, what));
        given_up += hits.given_up.len();
        assert!(took < MESSAGE_CPU_MAX, "{what}: {took:?}, given up: {:?}", hits.given_up);
        assert!(hits.score().is_finite());
    }
    println!("hostile mail: the worst was {} with {:?} of CPU time; patterns given up: {given_up}", worst.1, worst.0);
    assert!(given_up > 0, "none of these patterns took too many steps");
}

#[test]
fn hostile_mail_takes_bounded_memory() {
    let server = Server::start(Options { rules: catastrophic(), ..Options::default() });
    let directory = server.directory().join("hostile");
    fs::create_dir(&directory).expect("made");
    for (number, (_, mail)) in mails().into_iter().enumerate() {
        fs::write(directory.join(format!("{number:02}.eml")), mail).expect("written");
    }
    let script = "import resource, subprocess, sys\n\
                  code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n\
                  print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n";
    let output = Command::new("python3")
        .args(["-c", script, env!("CARGO_BIN_EXE_mxkeep"), "scan", "--local", "--json", "--config"])
        .args([&server.configuration(), &directory])
        .output();
    let Ok(output) = output else { return println!("hostile mail takes bounded memory: skipped, no python3") };
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [code, kib] = *numbers.as_slice() else { panic!("{output:?}") };
    println!("hostile mail: {:.1} MiB at most", kib as f64 / 1024.0);
    assert_eq!(code, 0, "{output:?}");
    assert!(kib <= MEMORY_KIB_MAX, "{kib} KiB");
}

/// Rule files that were made to hang or to fill a filter: they load in bounded time, with words.
#[test]
fn hostile_rules_load_in_bounded_time() {
    let nested = |open: &str, close: &str, times: usize| open.repeat(times) + "a" + &close.repeat(times);
    for (what, text) in [
        ("nested groups", format!("body A /{}/", nested("(", ")", 20_000))),
        ("nested look-ahead", format!("body A /{}/", nested("(?=", ")", 20_000))),
        ("nested repeats", format!("body A /{}/", nested("(?:", "){100}", 30))),
        ("a large repeat", "body A /(?:\\w{900}){900}/".to_owned()),
        ("a large look-behind", format!("body A /(?<={})x/", "a|b".repeat(15_000))),
        ("many large patterns", (0..2_000).map(|i| format!("body A{i} /(?:[a-y]{{1,200}}x){{1,200}}{i}/\n")).collect()),
        ("replace tags of replace tags", {
            let tags: String = (0..60).map(|i| format!("replace_tag T{} <T{i}><T{i}>\n", i + 1)).collect();
            format!("replace_tag T0 aaaaaaaa\n{tags}body A /<T60>/\nreplace_rules A\n")
        }),
        ("conditions", "if (1)\n".repeat(200_000)),
        ("an expression", format!("meta A {}1\n", "(1+".repeat(100_000))),
        ("metas of metas", (0..20_000).map(|i| format!("meta A{i} A{} + A{}\n", i + 1, i + 2)).collect()),
        ("many lists", (0..200_000).map(|i| format!("welcomelist_from *@a{i}.*.example\n")).collect()),
        ("many domains", (0..200_000).map(|i| format!("freemail_domains a{i}.example\n")).collect()),
        ("unknown directives", (0..300_000).map(|i| format!("x{i} y\n")).collect()),
        ("no text", "\0\u{ff}\\\n".repeat(300_000)),
    ] {
        let began = cpu();
        let (rules, diagnostics) = Rules::from_texts(&[("hostile.cf", &text)]);
        let took = cpu() - began;
        let began = cpu();
        rules.evaluate(&Message::from_stored(b"From: a@b.example\nSubject: aaaa\n\naaaaaaaaaaaaaaaaaaaa aaaa\n"), None);
        println!("{what}: {took:?}, then {:?}, {} findings", cpu() - began, diagnostics.len());
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
        assert!(cpu() - began < MESSAGE_CPU_MAX, "{what}");
        assert!(diagnostics.len() < 10_000, "{what}: {}", diagnostics.len());
    }
}
