//! Every directive there is: those with an effect, and those that are knowingly without.
//!
//! *Names:* `whitelist` and `blacklist` in a name are read as `welcomelist` and `blocklist`.

use std::fmt;

use super::{Outcome, Parser};
use crate::rules::source::Statement;

type Read = fn(&mut Parser, &Statement) -> Outcome;

/// Directives with an effect, sorted.
const DIRECTIVES: [(&str, Read); 103] = [
    ("add_header", Parser::field),
    ("adsp_override", Parser::adsp_override),
    ("all_spam_to", Parser::addresses),
    ("always_trust_envelope_sender", Parser::switch),
    ("askdns", Parser::known),
    ("blocklist_from", Parser::addresses),
    ("blocklist_subject", Parser::subject),
    ("blocklist_to", Parser::addresses),
    ("blocklist_uri_host", Parser::uri_hosts),
    ("body", Parser::text),
    ("body_part_scan_size", Parser::number),
    ("clear_headers", Parser::clear),
    ("clear_internal_networks", Parser::clear),
    ("clear_msa_networks", Parser::clear),
    ("clear_originating_ip_headers", Parser::clear),
    ("clear_trusted_networks", Parser::clear),
    ("clear_uridnsbl_skip_domain", Parser::clear_names),
    ("clear_url_shortener", Parser::clear_names),
    ("clear_util_rb", Parser::clear),
    ("def_welcomelist_auth", Parser::addresses),
    ("def_welcomelist_from_dkim", Parser::pairs),
    ("def_welcomelist_from_rcvd", Parser::pairs),
    ("def_welcomelist_from_spf", Parser::addresses),
    ("delist_uri_host", Parser::delist_uri_hosts),
    ("describe", Parser::describe),
    ("dkim_minimum_key_bits", Parser::number),
    ("enable_compat", Parser::enable_compatibility),
    ("enlist_addrlist", Parser::enlist_addresses),
    ("enlist_uri_host", Parser::uri_hosts),
    ("envelope_sender_header", Parser::line),
    ("freemail_domains", Parser::freemail_domains),
    ("freemail_import_def_welcomelist_auth", Parser::switch),
    ("freemail_import_welcomelist_auth", Parser::switch),
    ("freemail_max_body_emails", Parser::number),
    ("freemail_max_body_freemails", Parser::number),
    ("freemail_skip_bulk_envfrom", Parser::switch),
    ("freemail_skip_when_over_max", Parser::switch),
    ("freemail_welcomelist", Parser::freemail_welcomelist),
    ("full", Parser::text),
    ("header", Parser::header),
    ("internal_networks", Parser::networks),
    ("loadplugin", Parser::load_plugin),
    ("meta", Parser::meta),
    ("mimeheader", Parser::mime_header),
    ("more_spam_to", Parser::addresses),
    ("msa_networks", Parser::networks),
    ("normalize_charset", Parser::switch),
    ("ok_languages", Parser::few_words),
    ("ok_locales", Parser::few_words),
    ("originating_ip_headers", Parser::few_words),
    ("parse_dkim_uris", Parser::switch),
    ("priority", Parser::priority),
    ("rawbody", Parser::text),
    ("rawbody_part_scan_size", Parser::number),
    ("redirector_pattern", Parser::redirector),
    ("remove_header", Parser::field),
    ("replace_end", Parser::replace_mark),
    ("replace_inter", Parser::replace_tag),
    ("replace_post", Parser::replace_tag),
    ("replace_pre", Parser::replace_tag),
    ("replace_rules", Parser::replace_rules),
    ("replace_start", Parser::replace_mark),
    ("replace_tag", Parser::replace_tag),
    ("report_contact", Parser::line),
    ("report_hostname", Parser::line),
    ("required_hits", Parser::required_score),
    ("required_score", Parser::required_score),
    ("reuse", Parser::known),
    ("rewrite_header", Parser::rewrite_header),
    ("score", Parser::score),
    ("shortcircuit", Parser::short_circuit),
    ("subjprefix", Parser::subject_prefix),
    ("tflags", Parser::tflags),
    ("trusted_networks", Parser::networks),
    ("tryplugin", Parser::load_plugin),
    ("unblocklist_from", Parser::remove_addresses),
    ("unwelcomelist_auth", Parser::remove_addresses),
    ("unwelcomelist_from", Parser::remove_addresses),
    ("unwelcomelist_from_dkim", Parser::remove_pair),
    ("unwelcomelist_from_rcvd", Parser::remove_addresses),
    ("unwelcomelist_from_spf", Parser::remove_addresses),
    ("uri", Parser::text),
    ("uri_detail", Parser::uri_detail),
    ("uridnsbl_max_domains", Parser::number),
    ("uridnsbl_skip_domain", Parser::names),
    ("uridnsbl_skip_mailto", Parser::switch),
    ("url_shortener", Parser::names),
    ("url_shortener_get", Parser::names),
    ("util_rb_2tld", Parser::suffixes),
    ("util_rb_3tld", Parser::suffixes),
    ("util_rb_4tld", Parser::suffixes),
    ("util_rb_tld", Parser::suffixes),
    ("version_tag", Parser::few_words),
    ("welcomelist_allows_relays", Parser::addresses),
    ("welcomelist_auth", Parser::addresses),
    ("welcomelist_bounce_relays", Parser::addresses),
    ("welcomelist_from", Parser::addresses),
    ("welcomelist_from_dkim", Parser::pairs),
    ("welcomelist_from_rcvd", Parser::pairs),
    ("welcomelist_from_spf", Parser::addresses),
    ("welcomelist_subject", Parser::subject),
    ("welcomelist_to", Parser::addresses),
    ("welcomelist_uri_host", Parser::uri_hosts),
];

/// Why a directive has no meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is no classifier that learns, and no reputation by address.
    Learning,
    /// Mail is not altered, and no report is attached.
    Report,
    /// Look-ups are the server's own, by its own configuration.
    Network,
    /// Checksum services are not asked, reports are not sent.
    Services,
    /// It is about the process, its files, databases or users.
    Process,
    /// It is about the content of attachments, countries or other checks that are not made.
    Checks,
    /// It is for the authors of a rule set.
    Authors,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Learning => "nothing is learned from mail",
            Reason::Report => "mail is not altered, and no report is attached",
            Reason::Network => "look-ups follow the server's own configuration",
            Reason::Services => "checksum services are not asked, nothing is reported to them",
            Reason::Process => "processes, files and users are the server's own",
            Reason::Checks => "checks that are not made",
            Reason::Authors => "for the authors of rules",
        })
    }
}

/// Directives without meaning here, by name or, with `*`, by how it begins.
const WITHOUT_MEANING: [(&str, Reason); 66] = [
    ("allow_user_rules", Reason::Process),
    ("asn_*", Reason::Checks),
    ("authres_*", Reason::Network),
    ("auto_learn*", Reason::Learning),
    ("auto_welcomelist_*", Reason::Learning),
    ("bayes_*", Reason::Learning),
    ("clear_asn_lookups", Reason::Checks),
    ("clear_dns_*", Reason::Network),
    ("clear_report_template", Reason::Report),
    ("clear_unsafe_report_template", Reason::Report),
    ("country_db_*", Reason::Checks),
    ("dcc_*", Reason::Services),
    ("dccifd_*", Reason::Services),
    ("dkim_timeout", Reason::Network),
    ("dmarc_*", Reason::Network),
    ("dns_*", Reason::Network),
    ("do_not_use_mail_spf*", Reason::Network),
    ("extracttext_*", Reason::Checks),
    ("fns_*", Reason::Checks),
    ("fold_headers", Reason::Report),
    ("freemail_add_describe_email", Reason::Report),
    ("geodb_*", Reason::Checks),
    ("hashbl_*", Reason::Network),
    ("ignore_always_matching_regexps", Reason::Authors),
    ("ignore_received_spf_header", Reason::Network),
    ("inactive_languages", Reason::Checks),
    ("lock_method", Reason::Process),
    ("max_short_url*", Reason::Network),
    ("mbox_format_from_regex", Reason::Process),
    ("olemacro_*", Reason::Checks),
    ("phishing_*", Reason::Checks),
    ("pyzor_*", Reason::Services),
    ("razor_*", Reason::Services),
    ("rbl_headers", Reason::Network),
    ("rbl_timeout", Reason::Network),
    ("report", Reason::Report),
    ("report_charset", Reason::Report),
    ("report_safe", Reason::Report),
    ("report_safe_copy_headers", Reason::Report),
    ("report_wrap_width", Reason::Report),
    ("resource_limit_*", Reason::Process),
    ("run_reuse_tests_only", Reason::Authors),
    ("shortcircuit_*", Reason::Process),
    ("skip_rbl_checks", Reason::Network),
    ("skip_uribl_checks", Reason::Network),
    ("spamcop_*", Reason::Services),
    ("spf_timeout", Reason::Network),
    ("test", Reason::Authors),
    ("textcat_*", Reason::Checks),
    ("time_limit", Reason::Process),
    ("trigger_*", Reason::Process),
    ("txrep_*", Reason::Learning),
    ("unsafe_report", Reason::Report),
    ("uri_country_db_*", Reason::Checks),
    ("uridns*", Reason::Network),
    ("urifullns*", Reason::Network),
    ("urins*", Reason::Network),
    ("urirhs*", Reason::Network),
    ("url_redirector*", Reason::Network),
    ("url_shortener_*", Reason::Network),
    ("use_auto_welcomelist", Reason::Learning),
    ("use_bayes*", Reason::Learning),
    ("use_dcc*", Reason::Services),
    ("use_*", Reason::Services),
    ("user_awl_*", Reason::Learning),
    ("user_scores_*", Reason::Process),
];

/// Reads a statement by its directive.
pub(super) fn read(parser: &mut Parser, statement: &Statement) -> Outcome {
    if statement.directive.contains("whitelist") || statement.directive.contains("blacklist") {
        let directive = statement.directive.replace("whitelist", "welcomelist").replace("blacklist", "blocklist");
        let renamed = Statement { directive, span: statement.span.clone(), argument: statement.argument.clone() };
        return read_renamed(parser, &renamed);
    }
    read_renamed(parser, statement)
}

fn read_renamed(parser: &mut Parser, statement: &Statement) -> Outcome {
    let directive = statement.directive.as_str();
    let known = DIRECTIVES.binary_search_by(|(name, _)| (*name).cmp(directive));
    if let Some((_, read)) = known.ok().and_then(|at| DIRECTIVES.get(at)) {
        return read(parser, statement);
    }
    match without_meaning(directive) {
        Some(reason) => *parser.accepted.entry(reason).or_default() += 1,
        None => parser.diagnostics.add_directive(directive, &statement.span),
    }
    Ok(())
}

/// Why a directive has no meaning here, if that is known.
fn without_meaning(directive: &str) -> Option<Reason> {
    let is = |name: &str| match name.strip_suffix('*') {
        Some(start) => directive.starts_with(start),
        None => directive == name,
    };
    WITHOUT_MEANING.iter().find(|(name, _)| is(name)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        assert!(DIRECTIVES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (directive, reason) in [
            ("bayes_min_ham_num", Some(Reason::Learning)),
            ("report", Some(Reason::Report)),
            ("reports", None),
            ("use_razor2", Some(Reason::Services)),
            ("use_bayes", Some(Reason::Learning)),
            ("urirhssub", Some(Reason::Network)),
            ("user_scores_dsn", Some(Reason::Process)),
            ("test", Some(Reason::Authors)),
            ("header", None),
        ] {
            assert_eq!(without_meaning(directive), reason, "{directive}");
        }
        assert!(WITHOUT_MEANING.iter().all(|(name, _)| DIRECTIVES.iter().all(|(known, _)| known != name)));
    }
}
