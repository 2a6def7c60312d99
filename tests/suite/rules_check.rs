//! `mxkeep check` on rule files: what they ask for and will not get, each with its place and what happens instead.

use crate::support::program;
use crate::support::server::{Options, Server};

const RULES: &str = "\
misspelt_directive yes
body GOOD /good/
body BAD_PATTERN /(unclosed/
body BAD_FLAG /x/y
header ASKS_DNS eval:check_rbl('a', 'zen.example.')
header UNKNOWN eval:check_nothing()
meta DEAD ASKS_DNS && GOOD
score MISSPELT_RULE 3
score GOOD many
trusted_networks 192.0.2.0/99
include /nowhere.cf
if (nonsense)
endif
";

/// The lines of a check that are about the rules, without the directory of the file.
fn findings(server: &Server, more: &[&str]) -> Vec<String> {
    let configuration = server.configuration();
    let arguments = [&["check", "--config", configuration.to_str().expect("UTF-8")], more].concat();
    let said = program::run(server.directory(), None, &arguments);
    assert_eq!(said.code, Some(0), "rules that were written for other programs are no error: {said:?}");
    let about_rules = |line: &&str| line.contains(".cf:") || line.contains("--rules");
    let short = |line: &str| match line.rsplit_once(".cf:") {
        Some((_, rest)) => rest.to_owned(),
        None => line.to_owned(),
    };
    said.err.lines().filter(about_rules).map(short).collect()
}

#[test]
fn what_rules_ask_for_and_do_not_get_is_listed() {
    let server = Server::start(Options { rules: RULES.to_owned(), ..Options::default() });
    let found = findings(&server, &[]);
    for (line, words) in [
        (1, "\"misspelt_directive\" is not supported"),
        (3, "BAD_PATTERN"),
        (4, "BAD_FLAG"),
        (5, "ASKS_DNS: eval:check_rbl is not answered here: asks a DNS list: the rule never hits"),
        (6, "UNKNOWN: eval:check_nothing is not known: the rule never hits"),
        (7, "DEAD: what it is made of never hits, or not together: the rule never hits"),
        (8, "there is no rule MISSPELT_RULE: the setting has no effect"),
        (9, "many"),
        (10, "192.0.2.0/99"),
        (12, "nonsense"),
    ] {
        let at = format!("{line}: ");
        assert!(found.iter().any(|finding| finding.starts_with(&at) && finding.contains(words)), "{line}: {found:#?}");
    }
    assert!(!found.iter().any(|finding| finding.starts_with("2: ")), "{found:#?}");
}

#[test]
fn a_few_findings_of_a_kind_are_shown_and_all_on_request() {
    let rules: String = (0..40).map(|at| format!("header DNS_{at} eval:check_rbl('a', 'b.example.')\n")).collect();
    let server = Server::start(Options { rules, ..Options::default() });
    let few = findings(&server, &[]);
    assert_eq!(
        (few.len(), few.last().map(String::as_str)),
        (6, Some("warning: unknown eval: 35 more, which `mxkeep check --rules` lists"))
    );
    assert_eq!(findings(&server, &["--rules"]).len(), 40);
}
