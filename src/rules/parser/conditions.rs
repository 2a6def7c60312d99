//! Conditions: `if`, `ifplugin`, `else`, `endif`.
//!
//! *Does:* keeps what is open, and answers conditions: which version, which plugins, which features.
//! *Guarantees:* conditions nest to [`DEPTH_MAX`]; what stands deeper is skipped, its `endif`s counted.
//! *Answers* are those of version 4.0.1 with the plugins that its configuration loads by default, so that the same rules are
//! there; where a plugin's checks are not made here, its rules do not hit. A plugin of another name is not loaded, so that the
//! file's own fallback is used. What needs the network counts as allowed: `local_tests_only` is false.

use super::{IGNORED, Outcome, Problem};
use crate::rules::diagnostic::{Kind, Span, quoted};
use crate::rules::expression::Program;
use crate::rules::source::Statement;

/// How deep `if` may nest.
pub const DEPTH_MAX: usize = 100;
/// The version of the language, as `if (version >= ...)` sees it: 4.0.1.
const VERSION: f64 = 4.000_001;
/// The same as `require_version` writes it.
pub const VERSION_TEXT: &[u8] = b"4.000001";
/// The version of Perl that the original ran on when it was measured.
const PERL_VERSION: f64 = 5.036;

const PLUGIN_PREFIX: &str = "Mail::SpamAssassin::Plugin::";
const CONF_PREFIX: &str = "Mail::SpamAssassin::Conf::";

/// What is loaded by default. Some of these make checks that we do not make: their evals never hit.
const PLUGINS: [&str; 29] = [
    "AskDNS",
    "AutoLearnThreshold",
    "Bayes",
    "BodyEval",
    "Check",
    "DKIM",
    "DMARC",
    "DNSEval",
    "FreeMail",
    "HTMLEval",
    "HTTPSMismatch",
    "HashBL",
    "HeaderEval",
    "ImageInfo",
    "MIMEEval",
    "MIMEHeader",
    "Pyzor",
    "Razor2",
    // Always answered with yes, though it is gone: its rules are part of others.
    "RaciallyCharged",
    "RelayEval",
    "ReplaceTags",
    "SPF",
    "SpamCop",
    "URIDNSBL",
    "URIDetail",
    "URIEval",
    "VBounce",
    "WLBLEval",
    "WelcomeListSubject",
];

/// What `loadplugin` can add: its functions are here, or it has no part in what a rule finds.
const LOADABLE: [&str; 4] = ["FromNameSpoof", "OneLineBodyRuleType", "Reuse", "Rule2XSBody"];

/// Features that `can(...)` and `has(...)` ask for by function: the package without its prefix, and the function.
const FEATURES: [(&str, &[&str]); 14] = [
    (
        "Conf",
        &[
            "compat_welcomelist_blocklist",
            "feature_bayes_auto_learn_on_error",
            "feature_bayes_stopwords",
            "feature_blocklist_welcomelist",
            "feature_bug6558_free",
            "feature_capture_rules",
            "feature_compile_regexp",
            "feature_dns_block_rule",
            "feature_dns_local_ports_permit_avoid",
            "feature_dns_query_restriction",
            "feature_edns",
            "feature_geodb",
            "feature_get_host",
            "feature_header_address_parser",
            "feature_header_first_last",
            "feature_header_match_many",
            "feature_local_tests_only",
            "feature_meta_rules_matching",
            "feature_originating_ip_headers",
            "feature_registryboundaries",
            "feature_subjprefix",
            "feature_uri_host_listed",
            "feature_welcomelist_blocklist",
            "feature_yesno_takes_args",
            "has_tflags_nolog",
            "has_tflags_nosubject",
            "perl_min_version_5010000",
        ],
    ),
    ("AskDNS", &["has_tag_header"]),
    ("BodyEval", &["has_check_body_length", "has_plaintext_body_sig_ratio"]),
    ("DKIM", &["has_arc"]),
    ("DNSEval", &["has_tflags_domains_only", "has_tflags_ips_only"]),
    (
        "HashBL",
        &[
            "has_hashbl_attachments",
            "has_hashbl_bodyre",
            "has_hashbl_bodyre_num",
            "has_hashbl_email_domain",
            "has_hashbl_email_domain_alias",
            "has_hashbl_email_regex",
            "has_hashbl_email_welcomelist",
            "has_hashbl_email_whitelist",
            "has_hashbl_emails",
            "has_hashbl_ignore",
            "has_hashbl_sha256",
            "has_hashbl_tag",
            "has_hashbl_uris",
        ],
    ),
    ("MIMEEval", &["has_check_abundant_unicode_ratio", "has_check_for_ascii_text_illegal", "has_check_qp_ratio"]),
    (
        "MIMEHeader",
        &["has_all_header", "has_capture_rules", "has_tflags_concat", "has_tflags_multiple", "has_tflags_range"],
    ),
    ("Pyzor", &["has_fork", "has_perl"]),
    ("Razor2", &["has_fork"]),
    ("SPF", &["has_check_for_spf_errors", "has_check_spf_skipped_noenvfrom"]),
    (
        "URIDNSBL",
        &[
            "has_subtest_for_ranges",
            "has_tflags_domains_only",
            "has_tflags_notrim",
            "has_uridnsbl_a_ns",
            "has_uridnsbl_for_a",
            "has_uridnsbl_skip_mailto",
        ],
    ),
    ("URIDetail", &["has_host_key"]),
    ("FromNameSpoof", &[]),
];

/// What is open, and what is loaded.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    open: Vec<Condition>,
    /// How many are open beyond [`DEPTH_MAX`].
    beyond: usize,
    /// How many of `open` do not hold.
    failed: usize,
    /// What `loadplugin` added.
    loaded: Vec<&'static str>,
    /// What `enable_compat` switched on.
    compatible: Vec<Box<str>>,
}

#[derive(Debug)]
struct Condition {
    span: Span,
    holds: bool,
}

/// What `loadplugin` came to.
pub(super) enum Load {
    /// It is there.
    Loaded,
    /// It is not.
    Unknown,
}

impl Conditions {
    /// Do all that are open hold?
    pub fn hold(&self) -> bool {
        self.failed == 0 && self.beyond == 0
    }

    /// Ends a file: nothing is open then. Where the innermost that was begins.
    pub fn end_file(&mut self) -> Option<Span> {
        (self.beyond, self.failed) = (0, 0);
        let last = self.open.pop();
        self.open.clear();
        last.map(|open| open.span)
    }

    /// Reads one of the four statements.
    pub fn statement(&mut self, statement: &Statement) -> Outcome {
        let argument = &*statement.argument;
        match statement.directive.as_str() {
            "else" | "endif" if !argument.is_empty() => {
                Err(problem(format!("\"{}\" behind {}", quoted(argument), statement.directive), IGNORED))
            }
            "else" => self.otherwise(),
            "endif" => self.close(),
            "ifplugin" => {
                let loaded = self.has_plugin(String::from_utf8_lossy(argument).trim());
                self.open(statement, if argument.is_empty() { Err("no plugin is named".into()) } else { Ok(loaded) })
            }
            _ => self.open(statement, self.evaluate(argument)),
        }
    }

    fn open(&mut self, statement: &Statement, holds: Result<bool, String>) -> Outcome {
        if self.open.len() >= DEPTH_MAX {
            self.beyond = self.beyond.saturating_add(1);
            return Err(problem("if nests too deep", "what stands in it is skipped"));
        }
        let value = *holds.as_ref().unwrap_or(&false);
        self.failed += usize::from(!value);
        self.open.push(Condition { span: statement.span.clone(), holds: value });
        holds.map(drop).map_err(|what| problem(what, "the condition does not hold"))
    }

    fn otherwise(&mut self) -> Outcome {
        match self.open.last_mut() {
            _ if self.beyond > 0 => Ok(()),
            Some(condition) => {
                condition.holds = !condition.holds;
                self.failed = if condition.holds { self.failed.saturating_sub(1) } else { self.failed + 1 };
                Ok(())
            }
            None => Err(problem("else without if", IGNORED)),
        }
    }

    fn close(&mut self) -> Outcome {
        if let Some(beyond) = self.beyond.checked_sub(1) {
            self.beyond = beyond;
            return Ok(());
        }
        let condition = self.open.pop().ok_or_else(|| problem("endif without if", IGNORED))?;
        self.failed = self.failed.saturating_sub(usize::from(!condition.holds));
        Ok(())
    }

    /// What stands behind `if`.
    fn evaluate(&self, text: &[u8]) -> Result<bool, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the condition is not ASCII".to_owned())?;
        let program = Program::parse(text)?;
        if let Some(unknown) = program.names().find(|name| self.value(name).is_none()) {
            return Err(format!("\"{}\" is not known in a condition", quoted(unknown.as_bytes())));
        }
        Ok(program.evaluate(&mut Vec::new(), |name| self.value(name).unwrap_or(0.0)) != 0.0)
    }

    fn value(&self, name: &str) -> Option<f64> {
        let truth = |value: bool| if value { 1.0 } else { 0.0 };
        match name {
            "version" => return Some(VERSION),
            "perl_version" => return Some(PERL_VERSION),
            "local_tests_only" => return Some(0.0),
            _ => {}
        }
        let (function, argument) = name.strip_suffix(')')?.split_once('(')?;
        match function {
            "plugin" => Some(truth(self.has_plugin(argument))),
            "can" | "has" => Some(truth(self.has_feature(argument))),
            _ => None,
        }
    }

    fn has_plugin(&self, name: &str) -> bool {
        name.strip_prefix(PLUGIN_PREFIX).is_some_and(|name| {
            let name = renamed(name);
            PLUGINS.contains(&name) || self.loaded.contains(&name)
        })
    }

    fn has_feature(&self, name: &str) -> bool {
        let Some((package, function)) = name.rsplit_once("::") else { return false };
        let listed = |package| FEATURES.iter().any(|(found, all)| *found == package && all.contains(&function));
        match package.strip_prefix(PLUGIN_PREFIX) {
            Some(plugin) => self.has_plugin(package) && listed(renamed(plugin)),
            None if CONF_PREFIX.strip_suffix("::") == Some(package) => {
                let compatible = function.strip_prefix("compat_");
                listed("Conf") || self.compatible.iter().any(|flag| compatible == Some(&**flag))
            }
            None => false,
        }
    }

    /// `loadplugin`.
    pub fn load_plugin(&mut self, name: &str) -> Load {
        if self.has_plugin(name) {
            return Load::Loaded;
        }
        let loadable = LOADABLE.iter().find(|loadable| name.strip_prefix(PLUGIN_PREFIX) == Some(loadable));
        self.loaded.extend(loadable);
        if loadable.is_some() { Load::Loaded } else { Load::Unknown }
    }

    /// `enable_compat`.
    pub fn enable_compatibility(&mut self, flag: &str) {
        if self.compatible.len() < DEPTH_MAX {
            self.compatible.push(flag.into());
        }
    }
}

/// Two plugins had other names.
fn renamed(plugin: &str) -> &str {
    match plugin {
        "Dmarc" => "DMARC",
        "WhiteListSubject" => "WelcomeListSubject",
        other => other,
    }
}

fn problem(what: impl Into<String>, instead: &'static str) -> Problem {
    Problem { kind: Kind::Condition, what: what.into(), instead }
}
