//! What the rules cost: Debian's SpamAssassin rules over real mail, in one process on one core, beside SpamAssassin itself.
//!
//! *Does:* prints what loading takes, the CPU time a message, the memory; the same with twice the rules (each once more under
//! another name); and SpamAssassin's CPU time on a part of the same mails, with the ratio. `make bench-rules` runs it.
//! *Needs:* Debian's package spamassassin, and the corpus beside the repository; else it says what is missing.
//! *To count instructions* instead: `MXKEEP_BENCH=rules:100 valgrind --tool=callgrind target/release/deps/rules-*`.
//! *Never does:* run in `cargo test`, or judge: figures of one machine are no test.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mxkeep::message::Message;
use mxkeep::rules::Rules;

const STOCK: &str = "/usr/share/spamassassin";
const NETWORKS: &str = "trusted_networks 192.0.2.0/24\ninternal_networks 192.0.2.0/24\n";
const SCRIPT: &str = include_str!("../suite/support/spamassassin.pl");
/// SpamAssassin gets one of so many mails.
const PEER_STEP: usize = 14;
/// Words that define a rule.
const DEFINING: [&str; 10] =
    ["header", "body", "rawbody", "uri", "full", "meta", "mimeheader", "uri_detail", "askdns", "urirhssub"];

fn main() {
    if !Path::new(STOCK).join("72_active.cf").exists() {
        return println!("skipped: Debian's package spamassassin is not installed");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let networks = directory.path().join("networks.cf");
    fs::write(&networks, NETWORKS).expect("written");
    let Some(mails) = mails(directory.path()) else { return };
    if let Ok(part) = env::var("MXKEEP_BENCH") {
        let count = part.rsplit(':').next().and_then(|count| count.parse().ok()).unwrap_or(100);
        let rules = load("stock rules", &[STOCK.into(), networks]);
        return evaluate(&rules, mails.iter().take(count));
    }
    let before = memory("VmRSS");
    let rules = load("stock rules", &[STOCK.into(), networks.clone()]);
    measure("stock rules", &rules, &mails, before);
    let before = memory("VmRSS");
    let twice = load("twice the rules", &[STOCK.into(), doubled(directory.path()), networks]);
    measure("twice the rules", &twice, &mails, before);
    drop(twice);
    peer(&rules, &mails, directory.path());
}

fn load(what: &str, paths: &[PathBuf]) -> Rules {
    let mut loaded = None;
    let took = cpu(|| loaded = Some(Rules::load(paths).expect("rules")));
    let (rules, diagnostics) = loaded.expect("loaded");
    println!(
        "{what}: loaded in {:.2} s of CPU time, {} scored, {} findings",
        took.as_secs_f64(),
        rules.scored().count(),
        diagnostics.len()
    );
    rules
}

fn measure(what: &str, rules: &Rules, mails: &[PathBuf], before: u64) {
    let loaded = memory("VmRSS");
    // The first round grows caches.
    let first = cpu(|| evaluate(rules, mails.iter()));
    let second = cpu(|| evaluate(rules, mails.iter()));
    let ms = |took: Duration| 1000.0 * took.as_secs_f64() / mails.len() as f64;
    println!(
        "{what}: {:.3} CPU-ms a message (first round {:.3}) over {} mails; memory: {:.1} MiB for the rules, {:.1} MiB more with caches, {:.1} MiB in all",
        ms(second),
        ms(first),
        mails.len(),
        mib(loaded.saturating_sub(before)),
        mib(memory("VmRSS").saturating_sub(loaded)),
        mib(memory("VmHWM")),
    );
}

fn evaluate<'a>(rules: &Rules, mails: impl Iterator<Item = &'a PathBuf>) {
    for mail in mails {
        let message = Message::from_stored(&fs::read(mail).expect("a mail"));
        std::hint::black_box(rules.evaluate(&message, None));
    }
}

/// The CPU time of this thread that something takes.
fn cpu(run: impl FnOnce()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let started = now();
    run();
    now() - started
}

/// A line of /proc/self/status, in KiB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The mails that SpamAssassin's hits are known of.
fn mails(directory: &Path) -> Option<Vec<PathBuf>> {
    let shared = env::var_os("MXKEEP_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let (archive, said) = (shared.join("corpus/dev.tar.xz"), shared.join("corpus/dev_sa_hits.jsonl.xz"));
    if !archive.exists() || !said.exists() {
        println!("skipped: there is no corpus below $MXKEEP_SHARED or ../shared");
        return None;
    }
    let unpacked = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(directory).status();
    assert!(unpacked.expect("tar runs").success());
    let said = Command::new("xz").arg("-dc").arg(said).output().expect("xz runs").stdout;
    let said = String::from_utf8(said).expect("UTF-8");
    let mut mails = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match path.is_dir() {
                true => waiting.push(path),
                false if said.contains(&format!("\"h\":\"{stem}\"")) => mails.push(path),
                false => {}
            }
        }
    }
    mails.sort();
    Some(mails)
}

/// All stock rules once more, each under another name.
fn doubled(directory: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(STOCK).expect("rules").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cf"));
    files.sort();
    let texts: Vec<String> =
        files.iter().map(|file| String::from_utf8_lossy(&fs::read(file).expect("a file")).into_owned()).collect();
    let mut names = std::collections::HashSet::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|word| DEFINING.contains(&word)) {
            names.extend(words.next());
        }
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    for text in &texts {
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push_str(word);
            out.push_str(if names.contains(word) { "_AGAIN" } else { "" });
            let next = after.find(is_word).unwrap_or(after.len());
            out.push_str(&after[..next]);
            rest = &after[next..];
        }
        out.push('\n');
    }
    let file = directory.join("again.cf");
    fs::write(&file, out).expect("written");
    file
}

/// SpamAssassin on a part of the mails, and ours on the same.
fn peer(rules: &Rules, mails: &[PathBuf], directory: &Path) {
    let part: Vec<&PathBuf> = mails.iter().step_by(PEER_STEP).collect();
    let script = directory.join("spamassassin.pl");
    fs::write(&script, SCRIPT).expect("written");
    let mut perl = Command::new("perl")
        .arg(&script)
        .args([STOCK, NETWORKS])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("perl runs");
    let list: String = part.iter().map(|mail| format!("{}\n", mail.display())).collect();
    perl.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("it reads");
    let said = perl.wait_with_output().expect("it ends").stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    let theirs = said.lines().find_map(|line| line.strip_prefix("cpu_ms_a_message=")?.parse::<f64>().ok());
    // Caches are warm again, as SpamAssassin's are once it has compiled its rules.
    evaluate(rules, part.iter().copied());
    let ours = 1000.0 * cpu(|| evaluate(rules, part.iter().copied())).as_secs_f64() / part.len() as f64;
    match theirs {
        Some(theirs) => println!(
            "{} of the mails: SpamAssassin {theirs:.1} CPU-ms a message, mxkeep {ours:.3}: {:.0} times as fast",
            part.len(),
            theirs / ours
        ),
        None => println!("SpamAssassin did not run: {said}"),
    }
}
