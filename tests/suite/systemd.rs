//! The files below systemd/, as systemd's own programs read them. Where those are missing the tests say so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::tool;

/// What `systemd-analyze security` may find at most, in tenths of its points: 0 is a service that can do nothing.
const EXPOSURE_MAX: u32 = 20;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// Copies of the units, with the binary that was built in the place of the one that is installed.
fn units(directory: &Path) -> Vec<PathBuf> {
    let copy = |name: &str| {
        let text = fs::read_to_string(source(name)).expect("a unit");
        let path = directory.join(name);
        fs::write(&path, text.replace("/usr/local/bin/mxkeep", env!("CARGO_BIN_EXE_mxkeep"))).expect("a copy");
        path
    };
    ["mxkeep.service", "mxkeep.socket"].map(copy).into()
}

fn run(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn systemd_has_nothing_to_complain_about() {
    let Some(analyze) = tool::find("systemd-analyze") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let units = units(directory.path());
    let (good, said) = run(Command::new(&analyze).args(["verify", "--man=no"]).args(&units));
    // Of other units of this machine it may say what it likes.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("mxkeep")).collect();
    assert!(good && ours.is_empty(), "{said}");
    fs::write(&units[0], "[Service]\nExecStart=/nowhere/mxkeep\nProtectSistem=strict\n").expect("a copy");
    let (_, said) = run(Command::new(&analyze).args(["verify", "--man=no"]).arg(&units[0]));
    assert!(said.contains("ProtectSistem"), "a mistake is seen: {said}");
}

#[test]
fn the_service_can_do_little_else() {
    let Some(analyze) = tool::find("systemd-analyze") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let unit = &units(directory.path())[0];
    let (good, said) = run(Command::new(analyze)
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")])
        .arg(unit));
    if said.contains("unrecognized option") || said.contains("Unknown") {
        println!("skipped: this systemd-analyze knows no --offline: {said}");
        return;
    }
    assert!(good && said.contains("Overall exposure level"), "{said}");
}

/// In a directory that plays the root of a system.
#[test]
fn user_and_directories_are_made_as_the_readme_says() {
    let (Some(sysusers), Some(tmpfiles)) = (tool::find("systemd-sysusers"), tool::find("systemd-tmpfiles")) else {
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("etc")).expect("a directory");
    let at = format!("--root={}", root.path().display());
    let (good, said) = run(Command::new(&sysusers).args(["--dry-run", &at]).arg(source("mxkeep.sysusers")));
    assert!(good && said.contains("Creating user 'vmail'") && said.contains("UID 5000"), "{said}");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: giving directories to another user takes root");
        return;
    }
    for (program, name) in [(Command::new(&sysusers), "mxkeep.sysusers"), (Command::new(&tmpfiles), "mxkeep.tmpfiles")]
    {
        let mut program = program;
        if name.ends_with("tmpfiles") {
            program.arg("--create");
        }
        let (good, said) = run(program.arg(&at).arg(source(name)));
        assert!(good, "{name}: {said}");
    }
    for path in ["var/mail/vhosts", "var/lib/mxkeep"] {
        let made = fs::metadata(root.path().join(path)).expect("it is made");
        assert_eq!((made.uid(), made.gid(), made.permissions().mode() & 0o7777), (5000, 5000, 0o700), "{path}");
    }
}

/// What the README's example configuration needs to write to, the unit lets it write to.
#[test]
fn the_unit_lets_it_write_where_it_has_to() {
    let unit = fs::read_to_string(source("mxkeep.service")).expect("a unit");
    let tmpfiles = fs::read_to_string(source("mxkeep.tmpfiles")).expect("a file");
    for line in ["ReadWritePaths=/var/mail/vhosts", "RequiresMountsFor=/var/mail/vhosts", "StateDirectory=mxkeep"] {
        assert!(unit.lines().any(|text| text == line), "{line}");
    }
    for path in ["/var/mail/vhosts", "/var/lib/mxkeep"] {
        assert!(tmpfiles.contains(&format!("d {path} 0700 vmail vmail")), "{path}");
    }
}
