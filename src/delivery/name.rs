//! Unique file names, as every Maildir needs them.
//!
//! *Guarantees:* no two names are the same, whatever the thread, process or host: time, process, sequence number, random
//! bits and host all stand in it. `S=` (octets on disk) and `W=` (octets with CRLF line ends) are right, so that Dovecot
//! need not open a file to know them. Names of ours can be told from those of other programs.
//! *Never does:* take anything from a message into a name.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The host's part of a name, in octets; NAME_MAX is 255.
const HOST_OCTETS_MAX: usize = 128;

/// The machine's name, not the configured one: several hosts may share both the configuration and the Maildirs.
static HOST: LazyLock<String> = LazyLock::new(|| escape(&rustix::system::uname().nodename().to_string_lossy()));

/// A new name, in `tmp/` as well as in `new/`.
pub(super) fn unique(size_octets: u64, wire_octets: u64) -> String {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    // Keyed from the system's random source, once for this process.
    static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let random = RANDOM.hash_one((now, sequence));
    let host = HOST.as_str();
    format!("{seconds}.M{micros}P{pid}Q{sequence}R{random:016x}.{host},S={size_octets},W={wire_octets}")
}

/// Did an mxkeep on this host make this name?
pub(super) fn is_ours(name: &str) -> bool {
    parse(name).is_some()
}

fn parse(name: &str) -> Option<()> {
    let mut rest = digits(name)?;
    for tag in [".M", "P", "Q"] {
        rest = digits(rest.strip_prefix(tag)?)?;
    }
    let (random, rest) = rest.strip_prefix('R')?.split_at_checked(16)?;
    let rest = rest.strip_prefix('.')?.strip_prefix(HOST.as_str())?;
    let rest = digits(digits(rest.strip_prefix(",S=")?)?.strip_prefix(",W=")?)?;
    (rest.is_empty() && random.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())
}

/// What follows one or more digits.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// `/` and `:` as the Maildir convention has it, and all else that would confuse a reader in the same way.
fn escape(host: &str) -> String {
    let mut escaped = String::new();
    for octet in host.bytes().take_while(|&b| b != 0) {
        if escaped.len() + 4 > HOST_OCTETS_MAX {
            break;
        }
        match octet {
            b'-' | b'.' | b'_' => escaped.push(char::from(octet)),
            _ if octet.is_ascii_alphanumeric() => escaped.push(char::from(octet)),
            _ => write!(escaped, "\\{octet:03o}").unwrap_or_default(),
        }
    }
    if escaped.is_empty() { "localhost".to_owned() } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_across_threads() {
        let threads: Vec<_> =
            (0..8).map(|_| std::thread::spawn(|| (0..5000).map(|_| unique(1, 2)).collect::<Vec<_>>())).collect();
        let names: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(names.len(), 8 * 5000);
    }

    #[test]
    fn our_names_are_told_from_others() {
        let ours = unique(1234, 1250);
        assert!(is_ours(&ours) && ours.ends_with(",S=1234,W=1250"));
        let host = HOST.as_str();
        for other in [
            "",
            "1700000000.M1P2.host,S=1,W=2",
            &format!("1700000000.M1P2.{host},S=1,W=2"),
            &format!("1700000000.M1P2Q3R0123456789abcdef.{host}x,S=1,W=2"),
            &format!("1700000000.M1P2Q3R0123456789abcdeX.{host},S=1,W=2"),
            &format!("1700000000.M1P2Q3R01\u{e9}.{host},S=1,W=2"),
            &format!("{ours}:2,S"),
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_host_cannot_break_out_of_a_name() {
        assert_eq!(escape("mx1.example.org"), "mx1.example.org");
        assert_eq!(escape("a/b:c,d\n"), "a\\057b\\072c\\054d\\012");
        assert_eq!(escape(""), "localhost");
        assert!(escape(&"/".repeat(100)).len() <= HOST_OCTETS_MAX);
    }
}
