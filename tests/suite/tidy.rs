//! What a test can check is a test, not a convention: layering, sizes, headers, panics, paths.
//!
//! The scanner reads Rust well enough for our own code: comments and strings are blanked, `#[cfg(test)]` items are skipped,
//! paths are followed through nested braces. Each rule has a snippet below that breaks it: a test that cannot fail is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use crate::support::rust_source::{Function, Import, Source};

/// A module of the crate's root, in the order in which a message meets them. Rows are those of the table in lib.rs.
struct Module {
    name: &'static str,
    row: u8,
}

const fn module(name: &'static str, row: u8) -> Module {
    Module { name, row }
}

/// Each module imports only from rows above its own (a lower number), or from its own row without a circle.
const MODULES: &[Module] = &[
    module("address", 1),
    module("message", 1),
    module("received", 1),
    module("mime", 1),
    module("dns", 1),
    module("store", 1),
    module("config", 2),
    module("envelope", 2),
    module("smtp", 3),
    module("authentication", 4),
    module("reputation", 4),
    module("rules", 5),
    module("verdict", 6),
    module("mailbox", 6),
    module("delivery", 7),
    module("journal", 7),
    module("receive", 8),
    module("connection", 9),
    module("server", 10),
    module("control", 10),
    module("admin", 10),
    module("cli", 11),
    module("main", 11),
];

/// Crates, and the only modules that may name them.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("idna", &["address"]),
    ("mail_parser", &["message"]),
    ("hickory_resolver", &["dns"]),
    ("rocksdb", &["store"]),
    ("redis", &["store"]),
    ("toml", &["config"]),
    ("webpki", &["config"]),
    ("mail_auth", &["authentication"]),
    ("regex", &["rules"]),
    ("html5ever", &["rules"]),
    ("maildir", &["delivery"]),
    ("tokio_rustls", &["connection"]),
    ("sd_notify", &["server"]),
    ("axum", &["admin"]),
    ("clap", &["cli"]),
];

/// The protocol is pure: all that it may name. (`std` is judged by `IMPURE`.)
const SMTP_CRATES: &[&str] = &["std", "core", "alloc", "memchr", "thiserror"];
const SMTP_MODULES: &[&str] = &["address", "envelope", "smtp"];

/// Modules without I/O, time and environment, and what they may not name.
const PURE_MODULES: &[&str] = &["address", "envelope", "smtp", "verdict"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os",
    "tokio",
    "rustix",
    "jiff::Zoned",
];

/// A function fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// A file is split before it gets here.
const FILE_LINES_MAX: usize = 600;

/// A broken rule and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

#[test]
fn tidy() {
    let sources = sources();
    let mut violations: Vec<Violation> = sources.iter().flat_map(check_source).collect();
    violations.extend(check_circles(&sources));
    violations.extend(check_lib(&fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs")));
    violations.extend(texts().iter().flat_map(|(name, text)| check_paths(name, text)));
    violations.sort();
    let report: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "{} rules broken\n{}", report.len(), report.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let (root, mut sources) = (root(), Vec::new());
    walk(&root.join("src"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&root).expect("it lies below").to_string_lossy().into_owned();
            sources.push(Source::new(&name, &fs::read_to_string(path).expect("UTF-8")));
        }
    });
    assert!(sources.len() > 5, "the sources are there");
    sources
}

/// Everything of ours that is text.
fn texts() -> Vec<(String, String)> {
    let (root, mut texts) = (root(), Vec::new());
    let mut keep = |path: &Path| {
        if let Ok(text) = fs::read_to_string(path) {
            texts.push((path.strip_prefix(&root).expect("it lies below").to_string_lossy().into_owned(), text));
        }
    };
    for folder in ["src", "rules", "tests", "systemd", ".ci", ".cargo"] {
        walk(&root.join(folder), &mut keep);
    }
    for file in ["Cargo.toml", "Makefile", "README.md", "CHANGELOG.md", ".rustfmt.toml", ".gitignore"] {
        keep(&root.join(file));
    }
    texts
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => walk(&path, visit),
            false => visit(&path),
        }
    }
}

/// Every rule that one file alone can break.
fn check_source(source: &Source) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut violation = |line: usize, rule: String| {
        broken.push(Violation { file: source.name.clone(), line, rule });
    };
    if !source.text.starts_with("//!") && !source.text.starts_with("#!") {
        violation(1, "a file begins with a `//!` header that says what it does".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        violation(lines, format!("a file has at most {FILE_LINES_MAX} lines: split it"));
    }
    for Function { name, line, lines } in source.functions() {
        if lines > FUNCTION_LINES_MAX {
            violation(line, format!("`{name}` has {lines} lines: a function has at most {FUNCTION_LINES_MAX}"));
        }
    }
    let imports = source.imports();
    for import in &imports {
        for rule in import_rules(source.module(), import) {
            violation(import.line, rule);
        }
    }
    for (line, what) in source.panics() {
        violation(
            line,
            format!("`{what}` outside of tests without `// cannot fail: why` on its line or the one before"),
        );
    }
    broken.sort();
    broken.dedup();
    broken
}

/// The rules of layering that an import breaks.
fn import_rules(module: &str, import: &Import) -> Vec<String> {
    let mut rules = Vec::new();
    let head = import.path.split("::").next().unwrap_or_default();
    if import.ours {
        let (Some(own), Some(other)) = (row(module), row(head)) else {
            if row(module).is_none() {
                rules.push(format!("the module `{module}` is not in the table"));
            }
            return rules;
        };
        if other > own {
            rules.push(format!(
                "`{module}` (row {own}) may not import `{head}` (row {other}): only rows above, or its own"
            ));
        }
        if module == "smtp" && !SMTP_MODULES.contains(&head) {
            rules.push(format!("smtp is pure: of ours it may import {SMTP_MODULES:?}, not `{head}`"));
        }
        return rules;
    }
    if let Some((name, owners)) = OWNED_CRATES.iter().find(|(name, _)| *name == head)
        && !owners.contains(&module)
    {
        rules.push(format!("`{name}` is named in {owners:?} only, not in `{module}`"));
    }
    if module == "smtp" && !SMTP_CRATES.contains(&head) {
        rules.push(format!("smtp is pure: it may name {SMTP_CRATES:?}, not `{head}`"));
    }
    let impure = |name: &&&str| import.path == **name || import.path.starts_with(&format!("{name}::"));
    if PURE_MODULES.contains(&module)
        && let Some(name) = IMPURE.iter().find(impure)
    {
        rules.push(format!("`{module}` is pure: it may not name `{name}`"));
    }
    rules
}

fn row(module: &str) -> Option<u8> {
    MODULES.iter().find(|known| known.name == module).map(|known| known.row)
}

/// Modules of one row may import each other, but not in a circle.
fn check_circles(sources: &[Source]) -> Vec<Violation> {
    let mut edges: BTreeMap<&str, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for source in sources {
        for import in source.imports().into_iter().filter(|import| import.ours) {
            let head = import.path.split("::").next().unwrap_or_default().to_owned();
            if head != source.module() && row(&head).is_some() && row(&head) == row(source.module()) {
                edges.entry(source.module()).or_default().insert(head, (source.name.clone(), import.line));
            }
        }
    }
    let mut broken = Vec::new();
    for (from, targets) in &edges {
        for (to, (file, line)) in targets {
            if reaches(&edges, to, from, &mut BTreeSet::new()) {
                let rule = format!("`{from}` and `{to}` import each other, if by way of others: a circle");
                broken.push(Violation { file: file.clone(), line: *line, rule });
            }
        }
    }
    broken
}

type Edges<'a> = BTreeMap<&'a str, BTreeMap<String, (String, usize)>>;

fn reaches<'a>(edges: &'a Edges<'_>, from: &'a str, to: &str, seen: &mut BTreeSet<&'a str>) -> bool {
    from == to
        || seen.insert(from)
            && edges.get(from).is_some_and(|targets| targets.keys().any(|next| reaches(edges, next, to, seen)))
}

/// lib.rs declares its modules in the table's order.
fn check_lib(text: &str) -> Vec<Violation> {
    let (mut broken, mut last) = (Vec::new(), 0);
    for (at, line) in text.lines().enumerate() {
        let declared = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')) else { continue };
        let rule = match MODULES.iter().position(|module| module.name == name) {
            None => format!("the module `{name}` is not in the table"),
            Some(place) if place < last => format!("`{name}` is declared out of the table's order"),
            Some(place) => {
                last = place;
                continue;
            }
        };
        broken.push(Violation { file: "src/lib.rs".to_owned(), line: at + 1, rule });
    }
    broken
}

/// Paths of the machine on which something was written have no place in what is published.
fn check_paths(name: &str, text: &str) -> Vec<Violation> {
    // In two halves, or this file would break its own rule.
    let needles = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut broken = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for needle in needles {
            // A path that only passes through a folder of that name is another one.
            let absolute = |(at, _): (usize, &str)| {
                !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "._-}>".contains(c))
            };
            if line.match_indices(needle).any(absolute) {
                let rule = format!("{needle} is a path of one machine");
                broken.push(Violation { file: name.to_owned(), line: at + 1, rule });
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that a file breaks, as lines and texts.
    fn broken(name: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source::new(name, &format!("//! Header.\n{text}"));
        check_source(&source).into_iter().map(|violation| (violation.line, violation.rule)).collect()
    }

    #[track_caller]
    fn breaks(name: &str, text: &str, line: usize, rule: &str) {
        let found = broken(name, text);
        assert!(
            found.len() == 1 && found[0].0 == line && found[0].1.contains(rule),
            "expected line {line}: {rule}\nfound {found:#?}"
        );
    }

    #[test]
    fn imports_point_upwards() {
        breaks("src/address.rs", "use crate::smtp::Reply;", 2, "may not import `smtp` (row 3)");
        breaks(
            "src/dns/cache.rs",
            "fn f() {\n    crate::config::load();\n}",
            3,
            "`dns` (row 1) may not import `config`",
        );
        breaks("src/delivery/mod.rs", "use crate::{store, receive::x};", 2, "`receive`");
        breaks(
            "src/message.rs",
            "use crate::{\n    address::{Domain, Host},\n    smtp::{self, Reply},\n};",
            4,
            "`smtp`",
        );
        breaks("src/message.rs", "use super::envelope::Helo;", 2, "`envelope`");
        breaks("src/dns/a/b.rs", "use super::super::super::{smtp};", 2, "`smtp`");
        breaks("src/dns/mod.rs", "macro_rules! m { () => { $crate::cli::x() } }", 2, "`cli`");
        breaks("src/nowhere.rs", "use crate::address::Domain;", 2, "`nowhere` is not in the table");
        assert_eq!(broken("src/receive.rs", "use crate::{store, rules::{self, Hit}, smtp::Reply, verdict};"), []);
        assert_eq!(broken("src/smtp/session.rs", "use super::framing::Input;\nuse self::x::Y;"), []);
        assert_eq!(broken("src/main.rs", "fn main() { mxkeep::cli::run() }"), []);
    }

    #[test]
    fn a_crate_is_named_in_its_module_only() {
        breaks("src/receive.rs", "use rocksdb::DB;", 2, "`rocksdb` is named in [\"store\"] only");
        breaks("src/receive.rs", "fn f() { let x = regex::Regex::new(s); }", 2, "`regex`");
        breaks("src/receive.rs", "use {std::fmt, toml::Value};", 2, "`toml`");
        breaks("src/receive.rs", "use ::idna as names;", 2, "`idna`");
        breaks("src/receive.rs", "#[derive(clap::Parser)]\nstruct A;", 2, "`clap`");
        breaks("src/receive.rs", "pub(crate) use maildir;", 2, "`maildir`");
        assert_eq!(broken("src/store.rs", "use rocksdb::DB;"), []);
        assert_eq!(broken("src/delivery/mod.rs", "use crate::rules::regex::x;\nself.toml::<A>();"), []);
    }

    #[test]
    fn the_protocol_is_pure() {
        breaks("src/smtp/session.rs", "use tracing::info;", 2, "not `tracing`");
        breaks("src/smtp/session.rs", "use crate::message::Message;", 2, "not `message`");
        breaks("src/smtp/session.rs", "fn f() { jiff::Timestamp::now(); }", 2, "not `jiff`");
        breaks("src/smtp/session.rs", "use std::{fmt, io::Read};", 2, "may not name `std::io`");
        breaks("src/verdict.rs", "use std::time::{Duration, Instant};", 2, "`std::time::Instant`");
        breaks("src/verdict.rs", "fn f() { tokio::spawn(g()) }", 2, "`tokio`");
        assert_eq!(broken("src/smtp/framing.rs", "use std::net::IpAddr;\nuse memchr::{memchr2, memmem};"), []);
        assert_eq!(
            broken(
                "src/smtp/framing.rs",
                "use At::*;\nuse memchr::memmem;\nfn f() { memmem::find(a, b); u8::from(x) }"
            ),
            []
        );
    }

    #[test]
    fn circles_in_a_row_are_found() {
        let source = |name: &str, text: &str| Source::new(name, text);
        let chain = [source("src/message.rs", "use crate::mime::A;"), source("src/mime.rs", "use crate::dns::A;")];
        assert_eq!(check_circles(&chain), []);
        let [a, b] = chain;
        let circle = [a, b, source("src/dns/mod.rs", "\nuse crate::message::A;")];
        let found = check_circles(&circle);
        assert_eq!(found.len(), 3);
        assert!(found.iter().any(|violation| violation.file == "src/dns/mod.rs" && violation.line == 2));
    }

    #[test]
    fn sizes_are_limited() {
        let function =
            |lines: usize| format!("impl A {{\n    fn f(x: [u8; 2]) {{\n{}    }}\n}}", "x();\n".repeat(lines - 2));
        assert_eq!(broken("src/store.rs", &function(70)), []);
        breaks("src/store.rs", &function(71), 3, "`f` has 71 lines");
        assert_eq!(broken("src/store.rs", &"\n".repeat(598)), []);
        breaks("src/store.rs", &"\n".repeat(600), 601, "at most 600 lines");
    }

    #[test]
    fn a_file_has_a_header() {
        let found = check_source(&Source::new("src/store.rs", "use std::fmt;\n"));
        assert!(found.len() == 1 && found[0].rule.contains("header"), "{found:?}");
    }

    #[test]
    fn a_panic_needs_a_reason() {
        breaks("src/store.rs", "fn f() {\n    x.unwrap();\n}", 3, ".unwrap()");
        breaks("src/store.rs", "fn f() {\n    x\n        .expect(\"y\");\n}", 4, ".expect(");
        breaks("src/store.rs", "fn f() { todo!() }", 2, "todo!");
        breaks("src/store.rs", "// cannot fail: not this line\n\nfn f() { x.unwrap() }", 4, ".unwrap()");
        breaks("src/store.rs", "fn f() { x.unwrap() } // cannot fail:", 2, ".unwrap()");
        assert_eq!(broken("src/store.rs", "// cannot fail: it is there\nlet a = x.unwrap();"), []);
        assert_eq!(broken("src/store.rs", "let a = x.unwrap(); // cannot fail: it is there"), []);
        assert_eq!(broken("src/store.rs", "x.unwrap_or(1); // .unwrap()\n/// .expect(\nlet s = \".unwrap()\";"), []);
    }

    #[test]
    fn tests_may_do_what_they_like() {
        let tests = "#[cfg(test)]\nmod tests {\n    use crate::cli;\n    fn f() { x.unwrap(); rocksdb::DB::open() }\n}";
        assert_eq!(broken("src/address.rs", tests), []);
        breaks("src/address.rs", &format!("{tests}\nuse crate::cli;"), 7, "`cli`");
        assert_eq!(broken("src/address.rs", "#[cfg(test)]\n#[allow(dead_code)]\nuse crate::cli;"), []);
        assert_eq!(broken("src/rules/tests.rs", "fn f() { x.unwrap() }"), []);
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "/* use crate::cli; /* nested */ use crate::cli; */\nlet a = \"use crate::cli; \\\" crate::cli\";\n\
            let b = r#\"\"crate::cli\"#;\nlet c = b'\"'; let d = '\"'; fn f<'a>(x: &'a str) { crate::smtp::x() }";
        breaks("src/address.rs", text, 5, "`smtp`");
    }

    #[test]
    fn lib_is_in_the_tables_order() {
        assert_eq!(check_lib("//! x\npub mod address;\npub mod dns;\npub mod smtp;\n"), []);
        assert_eq!(check_lib("pub mod smtp;\npub mod dns;\n").len(), 1);
        assert_eq!(check_lib("pub mod helpers;\n").len(), 1);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let path = concat!("/wo", "rk/main");
        assert_eq!(check_paths("a", &format!("x\nsee {path}")).len(), 1);
        assert_eq!(check_paths("a", &format!("\"{path}\"")).len(), 1);
        assert_eq!(check_paths("a", &format!("net{path} {{at}}{path}")), []);
    }
}
