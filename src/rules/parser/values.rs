//! The statements that set one thing.

use super::{Outcome, Parser, Problem};
use crate::rules::diagnostic::{Kind, quoted};
use crate::rules::preferences::Placed;
use crate::rules::source::Statement;

use super::conditions::Load;

/// The most entries of a short list of words.
const WORDS_MAX: usize = 100;
/// Settings that are read, but that nothing here asks.
const UNASKED: [&str; 9] = [
    "always_trust_envelope_sender",
    "body_part_scan_size",
    "envelope_sender_header",
    "normalize_charset",
    "ok_languages",
    "parse_dkim_uris",
    "rawbody_part_scan_size",
    "uridnsbl_max_domains",
    "uridnsbl_skip_mailto",
];

impl Parser {
    /// Settings that are on or off.
    pub(super) fn switch(&mut self, statement: &Statement) -> Outcome {
        let value = match &*statement.argument.to_ascii_lowercase() {
            b"1" | b"yes" => true,
            b"0" | b"no" => false,
            other => return Err(Problem::value(format!("\"{}\" is neither yes nor no", quoted(other)))),
        };
        let preferences = &mut self.preferences;
        let freemail = &mut preferences.freemail;
        let setting = match statement.directive.as_str() {
            "always_trust_envelope_sender" => &mut preferences.always_trust_envelope_sender,
            "normalize_charset" => &mut preferences.normalize_charset,
            "parse_dkim_uris" => &mut preferences.parse_dkim_uris,
            "uridnsbl_skip_mailto" => &mut preferences.uri_skip_mailto,
            "freemail_skip_when_over_max" => &mut freemail.skip_when_over_max,
            "freemail_skip_bulk_envfrom" => &mut freemail.skip_bulk_envelope,
            "freemail_import_welcomelist_auth" => &mut freemail.import_welcomelist_auth,
            _ => &mut freemail.import_def_welcomelist_auth,
        };
        let before = std::mem::replace(setting, value);
        asked(statement, before == value)
    }

    /// Settings that are a whole number.
    pub(super) fn number(&mut self, statement: &Statement) -> Outcome {
        let text = std::str::from_utf8(&statement.argument).ok();
        let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|number| (0.0..=1e9).contains(number));
        let wrong = || Problem::value(format!("\"{}\" is no number that fits", quoted(&statement.argument)));
        let number = number.ok_or_else(wrong)? as u32;
        let preferences = &mut self.preferences;
        let setting = match statement.directive.as_str() {
            "body_part_scan_size" => &mut preferences.body_part_chars_max,
            "rawbody_part_scan_size" => &mut preferences.rawbody_part_octets_max,
            "dkim_minimum_key_bits" => &mut preferences.dkim_key_bits_min,
            "uridnsbl_max_domains" => &mut preferences.uri_domains_max,
            "freemail_max_body_emails" => &mut preferences.freemail.body_addresses_max,
            _ => &mut preferences.freemail.body_freemails_max,
        };
        let before = std::mem::replace(setting, number);
        asked(statement, before == number)
    }

    /// `required_score n`.
    pub(super) fn required_score(&mut self, statement: &Statement) -> Outcome {
        let text = std::str::from_utf8(&statement.argument).ok();
        let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|number| number.abs() <= 1_000_000.0);
        let number =
            number.ok_or_else(|| Problem::value(format!("\"{}\" is no score", quoted(&statement.argument))))?;
        let before = std::mem::replace(&mut self.preferences.required_score, number);
        match before == number {
            true => Ok(()),
            false => Err(no_effect(statement, "from policy.junk_score of the configuration on it is spam")),
        }
    }

    /// Settings that are a text.
    pub(super) fn line(&mut self, statement: &Statement) -> Outcome {
        let text = String::from_utf8_lossy(&statement.argument);
        if text.is_empty() {
            return Err(Problem::value("a value is missing"));
        }
        let preferences = &mut self.preferences;
        match statement.directive.as_str() {
            "envelope_sender_header" => preferences.envelope_sender_header = Some(text.into()),
            "report_hostname" => preferences.report_hostname = Some(text.into()),
            _ => preferences.report_contact = text.into(),
        }
        asked(statement, false)
    }

    /// Settings that are a few words: the last line counts, or they add up.
    pub(super) fn few_words(&mut self, statement: &Statement) -> Outcome {
        let preferences = &mut self.preferences;
        let (list, adds) = match statement.directive.as_str() {
            "ok_locales" => (&mut preferences.ok_locales, false),
            "ok_languages" => (&mut preferences.ok_languages, false),
            "version_tag" => (&mut preferences.version_tags, true),
            _ => (&mut preferences.originating_ip_headers, true),
        };
        if !adds {
            list.clear();
        }
        for word in statement.words().map(String::from_utf8_lossy) {
            if list.len() < WORDS_MAX && !list.iter().any(|known| known.eq_ignore_ascii_case(&word)) {
                list.push(word.into());
            }
        }
        asked(statement, statement.argument == b"all")
    }

    /// Networks, as written.
    pub(super) fn networks(&mut self, statement: &Statement) -> Outcome {
        let preferences = &mut self.preferences;
        let list = match statement.directive.as_str() {
            "trusted_networks" => &mut preferences.trusted_networks,
            "internal_networks" => &mut preferences.internal_networks,
            _ => &mut preferences.msa_networks,
        };
        list.extend(statement.words().map(|word| Placed { text: word.into(), span: statement.span.clone() }));
        Ok(())
    }

    /// `clear_...`.
    pub(super) fn clear(&mut self, statement: &Statement) -> Outcome {
        if !statement.argument.is_empty() {
            return Err(Problem::value("nothing belongs behind it"));
        }
        let preferences = &mut self.preferences;
        match statement.directive.as_str() {
            "clear_trusted_networks" => preferences.trusted_networks.clear(),
            "clear_internal_networks" => preferences.internal_networks.clear(),
            "clear_msa_networks" => preferences.msa_networks.clear(),
            "clear_originating_ip_headers" => preferences.originating_ip_headers.clear(),
            "clear_util_rb" => preferences.suffixes = Default::default(),
            _ => preferences.fields.clear(),
        }
        Ok(())
    }

    /// `redirector_pattern /re/`.
    pub(super) fn redirector(&mut self, statement: &Statement) -> Outcome {
        if statement.argument.is_empty() {
            return Err(Problem::value("a pattern is missing"));
        }
        let placed = Placed { text: statement.argument.clone().into(), span: statement.span.clone() };
        self.preferences.redirectors.push(placed);
        Ok(())
    }

    /// `add_header`, `remove_header`.
    pub(super) fn field(&mut self, statement: &Statement) -> Outcome {
        let text = String::from_utf8_lossy(&statement.argument);
        let fields = &mut self.preferences.fields;
        let done = if statement.directive == "add_header" { fields.add(&text) } else { fields.remove(&text) };
        done.ok_or_else(|| Problem::value("it is not \"spam\", \"ham\" or \"all\", a name, and a text"))
    }

    /// `rewrite_header Subject|From|To text`.
    pub(super) fn rewrite_header(&mut self, statement: &Statement) -> Outcome {
        let (_, text) = statement.name_and_rest();
        if text.is_empty() {
            return Ok(());
        }
        let what = format!("rewrite_header {}", quoted(&statement.argument));
        Err(Problem {
            kind: Kind::NoEffect,
            what,
            instead: "mail is never altered, a field that is added tells the same",
        })
    }

    /// `loadplugin`, `tryplugin`.
    pub(super) fn load_plugin(&mut self, statement: &Statement) -> Outcome {
        let (name, _) = statement.name_and_rest();
        let name = String::from_utf8_lossy(name);
        match self.conditions.load_plugin(&name) {
            Load::Unknown if statement.directive == "loadplugin" => {
                let what = format!("the plugin {} is not there", quoted(name.as_bytes()));
                let instead = "what stands under ifplugin for it is skipped";
                Err(Problem { kind: Kind::Plugin, what, instead })
            }
            _ => Ok(()),
        }
    }

    /// `enable_compat flag`.
    pub(super) fn enable_compatibility(&mut self, statement: &Statement) -> Outcome {
        self.conditions.enable_compatibility(&String::from_utf8_lossy(&statement.argument));
        Ok(())
    }
}

/// A setting that nothing asks is said to be one, unless it changes nothing.
fn asked(statement: &Statement, same: bool) -> Outcome {
    match same || !UNASKED.contains(&statement.directive.as_str()) {
        true => Ok(()),
        false => Err(no_effect(statement, "it is as without it")),
    }
}

fn no_effect(statement: &Statement, instead: &'static str) -> Problem {
    let what = format!("{} {}", statement.directive, quoted(&statement.argument));
    Problem { kind: Kind::NoEffect, what, instead }
}
