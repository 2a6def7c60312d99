//! `mxkeep demo`: the first thing that anybody runs.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const SAMPLES: [&str; 5] = ["Signed and aligned", "Spoofed", "SPF softfail", "Spam by content", "Unknown mailbox"];

fn demo(directory: &Path, listen: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mxkeep"));
    command.args(["demo", "--once", "--listen", listen]).current_dir(directory);
    command.output().expect("the binary starts")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// It fails with this status, and says this; what it printed to standard output is nothing.
fn refuses(output: &Output, status: i32, said: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert_eq!(text(&output.stdout), "");
    for part in said {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_demo_tells_five_stories_and_can_be_run_again() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README.md");
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let output = demo(directory.path(), "127.0.0.1:0");
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{told}\n{}", text(&output.stderr));
        for (at, sample) in SAMPLES.iter().enumerate() {
            let start = format!("{}. {sample}", at + 1);
            let title = told.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}\n{told}"));
            assert!(readme.contains(title), "README.md shows the demo, and has no line \"{title}\"");
        }
        assert!(told.ends_with("5 of 5 went as they should.\n"), "{told}");
    }
}

#[test]
fn files_that_no_demo_made_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let precious = directory.path().join("var/precious");
    fs::create_dir(directory.path().join("var")).expect("a directory");
    fs::write(&precious, "x").expect("a file");
    refuses(&demo(directory.path(), "127.0.0.1:0"), 71, &["var has files that no demo made", "--dir"]);
    assert!(precious.exists());
}

#[test]
fn a_port_that_is_taken_costs_no_earlier_demo() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(demo(directory.path(), "127.0.0.1:0").status.success());
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("an address").to_string();
    refuses(&demo(directory.path(), &address), 71, &["cannot listen on", &address, "--listen"]);
    assert!(directory.path().join("var/mxkeep.toml").exists());
}

#[test]
fn nobody_else_is_listened_to() {
    let directory = tempfile::tempdir().expect("a directory");
    refuses(&demo(directory.path(), "0.0.0.0:0"), 64, &["write 127.0.0.1 and a port"]);
}
