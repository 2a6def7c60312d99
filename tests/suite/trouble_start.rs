//! What keeps the program from starting, or nearly does: exit statuses by sysexits(3), and a message that says what to do.

use std::fs;
use std::path::Path;

use crate::support::dialogue::Settings;
use crate::support::disk::set_mode;
use crate::support::owner::Owner;
use crate::support::program::{self, Said};
use crate::support::server::{Options, Server};

const MESSAGE: &[u8] = b"From: carol@client.example\r\nSubject: hello\r\n\r\nHello!\r\n";

/// A server that has run once, and stopped.
fn stopped(options: Options) -> Server {
    let mut server = Server::start(options);
    assert!(server.stop().success());
    server
}

/// Changes its configuration.
fn edit(server: &Server, from: &str, to: &str) {
    let text = fs::read_to_string(server.configuration()).expect("a configuration");
    assert!(text.contains(from), "{from} stands in\n{text}");
    fs::write(server.configuration(), text.replacen(from, to, 1)).expect("the configuration can be written");
}

/// Runs `mxkeep COMMAND --config FILE` as this user.
fn run_as(server: &Server, owner: Option<&Owner>, command: &str) -> Said {
    let file = server.configuration();
    program::run(server.directory(), owner, &[command, "--config", file.to_str().expect("UTF-8")])
}

/// Both `check` and `serve` end with this status, and say all of this on standard error.
fn both_say(server: &Server, owner: Option<&Owner>, code: i32, texts: &[&str]) {
    for command in ["check", "serve"] {
        let said = run_as(server, owner, command);
        assert_eq!(said.code, Some(code), "{command}: {said:?}");
        for text in texts {
            assert!(said.err.contains(text), "{command} does not say {text:?}: {said:?}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_64() {
    let here = tempfile::tempdir().expect("a directory");
    let wrong: [(&[&str], &str); 5] = [
        (&[], "Usage: mxkeep"),
        (&["deliver"], "unrecognized subcommand 'deliver'"),
        (&["check", "--quick"], "unexpected argument '--quick'"),
        (&["scan"], "<FILE>..."),
        (&["scan", "--ip", "nowhere", "-"], "invalid value 'nowhere' for '--ip <ADDRESS>'"),
    ];
    for (arguments, text) in wrong {
        let said = program::run(here.path(), None, arguments);
        assert_eq!(said.code, Some(64), "{said:?}");
        assert!(said.err.contains(text) && said.out.is_empty(), "{said:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "serve"], &["scan", "--help"]] {
        let said = program::run(here.path(), None, arguments);
        assert!(said.code == Some(0) && !said.out.is_empty() && said.err.is_empty(), "{said:?}");
    }
    let help = program::run(here.path(), None, &["--help"]).out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for status in ["64 wrong command line", "69 no server answers", "71 the system", "78 wrong configuration"] {
        assert!(help.contains(status), "{help}");
    }
    assert_eq!(fs::read_dir(here.path()).expect("a directory").count(), 0, "nothing was written");
}

#[test]
fn a_broken_configuration_is_78_and_named_by_line() {
    let server = stopped(Options::default());
    let sound = fs::read_to_string(server.configuration()).expect("a configuration");
    let broken = [
        ("hostname = \"mx.example.test\"", "hostname = \"mx.example.test", "2:", "this is not TOML"),
        ("hostname", "hostnam", "2:1: hostnam", "Did you mean hostname?"),
        ("limits.recipients_max = 100", "limits.recipients_max = \"many\"", "9:", "limits.recipients_max"),
        ("listen.smtp = [\"127.0.0.1:0\"]", "listen.smtp = [\"here\"]", "3:", "listen.smtp"),
        ("{local_part}", "{user}", "4:", "storage.mail"),
    ];
    for (from, to, place, text) in broken {
        edit(&server, from, to);
        both_say(&server, None, 78, &[&format!("mxkeep.toml:{place}"), text]);
        fs::write(server.configuration(), &sound).expect("the configuration can be written");
    }
    let said = run_as(&server, None, "status");
    assert_eq!(said.code, Some(69), "sound again: {said:?}");
    fs::remove_file(server.configuration()).expect("it is there");
    for command in ["check", "serve", "status"] {
        let said = run_as(&server, None, command);
        assert!(said.code == Some(78) && said.err.contains("mxkeep.toml: cannot be read"), "{said:?}");
        assert!(said.err.contains("--config"), "{said:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_78() {
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = stopped(Options { settings, ..Options::default() });
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| server.directory().join(name));
    let sound = fs::read(&certificate).expect("a certificate");
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\ngarbage\n").expect("it can be written");
    both_say(&server, None, 78, &["tls.certificate: ", "certificate.pem is not a sound PEM file"]);
    fs::write(&certificate, sound).expect("it can be written");
    fs::remove_file(&key).expect("it is there");
    both_say(&server, None, 78, &["tls.key: ", "key.pem cannot be read", "Correct the path or the permissions"]);
}

#[test]
fn a_key_that_the_user_may_not_read_is_78() {
    if !program::can_change_user() {
        return;
    }
    let settings = Settings { starttls: true, ..Settings::default() };
    let server = stopped(Options { settings, owner: Some(Owner::of_mail()), ..Options::default() });
    let key = server.directory().join("key.pem");
    std::os::unix::fs::chown(&key, Some(0), Some(0)).expect("root may");
    set_mode(&key, 0o600);
    both_say(&server, Some(&Owner::of_mail()), 78, &["key.pem cannot be read (Permission denied", "the permissions"]);
}

#[test]
fn a_rules_path_that_is_missing_is_78_and_said_once() {
    let server = stopped(Options::default());
    edit(&server, "/rules\"]", "/rulez\"]");
    both_say(&server, None, 78, &["rules.paths: ", "rulez cannot be read", "Correct the path"]);
    assert_eq!(run_as(&server, None, "check").err.matches("rulez").count(), 1);
}

#[test]
fn a_broken_rule_is_a_warning_and_the_others_work() {
    let rules = "header GOOD Subject =~ /hello/\nscore GOOD 6\nbody BAD /(/\nfrobnicate x\n";
    let server = Server::start(Options { rules: rules.to_owned(), ..Options::default() });
    for warning in ["test.cf:3: BAD: not a pattern", "test.cf:4: \"frobnicate\" is not supported"] {
        assert!(server.log().contains(warning), "{warning}");
    }
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let messages = server.maildir("alice").messages();
    assert!(messages.len() == 1 && messages[0].folder == "Junk", "{messages:?}");
    let said = run_as(&server, None, "check");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("test.cf:3: ") && said.out.contains("rules: 1"), "{said:?}");
}

#[test]
fn a_port_in_use_is_71_and_names_the_remedy() {
    let running = Server::start(Options::default());
    let server = stopped(Options::default());
    edit(&server, "127.0.0.1:0", &running.address().to_string());
    let said = run_as(&server, None, "serve");
    assert_eq!(said.code, Some(71), "{said:?}");
    let wanted = format!("cannot listen on {}: Address already in use", running.address());
    assert!(said.err.contains(&wanted) && said.err.contains("change listen.smtp"), "{said:?}");
    assert!(!server.directory().join("state/control").exists());
    deliver_one(&running);
}

#[test]
fn a_second_server_on_the_same_state_is_71_and_leaves_the_first_alone() {
    let running = Server::start(Options::default());
    let said = run_as(&running, None, "serve");
    assert_eq!(said.code, Some(71), "{said:?}");
    assert!(said.err.contains("state/db is in use by another process"), "{said:?}");
    assert!(said.err.contains("Is mxkeep running already? Stop it first"), "{said:?}");
    deliver_one(&running);
    let said = run_as(&running, None, "status");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(&format!("process {}", running.pid())), "{said:?}");
    assert!(said.out.contains("1 accepted, 0 rejected, 0 deferred"), "{said:?}");
    let entries = fs::read_dir(running.directory().join("state")).expect("the state").count();
    assert_eq!(entries, 2, "db and control: nothing was moved aside");
}

#[test]
fn status_needs_a_server() {
    let mut server = Server::start(Options::default());
    let file = server.configuration();
    let arguments = ["status", "--json", "--config", file.to_str().expect("UTF-8")];
    let said = program::run(server.directory(), None, &arguments);
    assert_eq!(said.code, Some(0), "{said:?}");
    let status: serde_json::Value = serde_json::from_str(&said.out).expect("one JSON object");
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["listening"][0], server.address().to_string());
    server.kill();
    // A killed server leaves its socket behind.
    assert!(server.directory().join("state/control").exists());
    let said = program::run(server.directory(), None, &arguments);
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(said.err.contains("no server answers at ") && said.err.contains("Start it with"), "{said:?}");
    server.restart();
    assert_eq!(program::run(server.directory(), None, &arguments).code, Some(0));
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_the_start() {
    if !program::can_change_user() {
        return;
    }
    let server = stopped(Options { owner: Some(Owner::of_mail()), ..Options::default() });
    let state = server.directory().join("state");
    fs::remove_dir_all(state.join("db")).expect("it is there");
    std::os::unix::fs::chown(&state, Some(0), Some(0)).expect("root may");
    let check = run_as(&server, Some(&Owner::of_mail()), "check");
    assert_eq!(check.code, Some(78), "{check:?}");
    assert!(check.err.contains("storage.state: ") && check.err.contains("Permission denied"), "{check:?}");
    let serve = run_as(&server, Some(&Owner::of_mail()), "serve");
    assert_eq!(serve.code, Some(71), "{serve:?}");
    assert!(serve.err.contains("state/db cannot be used: Permission denied"), "{serve:?}");
    assert!(serve.err.contains("a directory that mxkeep's user may write to"), "{serve:?}");
    assert!(is_empty(&state), "nothing was moved or made");
}

fn deliver_one(server: &Server) {
    let mut client = server.client();
    client.expect("EHLO client.example", "250");
    let reply = client.message("carol@client.example", &["alice@example.test"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!(server.maildir("alice").take_messages().len(), 1);
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").next().is_none()
}
