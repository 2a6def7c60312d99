//! Every eval that is answered here, by its name; and those that nobody can answer, with the reason.

use super::arguments::{Arguments, Eval, Reader};
use super::mail::Mail;
use super::options::Options;
use super::{body, freemail, header, lists, recipients, session, subject, vbounce};
use crate::rules::evidence;

/// Name and reader, in the order of names.
const READERS: [(&str, Reader); 66] = [
    ("check_arc_signed", session::arc_signed),
    ("check_arc_valid", session::arc_valid),
    ("check_dkim_adsp", session::dkim_adsp),
    ("check_dkim_dependable", session::dkim_dependable),
    ("check_dkim_signall", session::dkim_signall),
    ("check_dkim_signed", session::dkim_signed),
    ("check_dkim_signsome", header::never),
    ("check_dkim_testing", session::dkim_testing),
    ("check_dkim_valid", session::dkim_valid),
    ("check_dkim_valid_author_sig", session::dkim_valid_author),
    ("check_dkim_valid_envelopefrom", session::dkim_valid_envelope_from),
    ("check_dkim_verified", session::dkim_valid),
    ("check_for_def_dkim_welcomelist_from", session::dkim_default_welcomelist),
    ("check_for_def_dkim_whitelist_from", session::dkim_default_welcomelist),
    ("check_for_def_spf_welcomelist_from", session::spf_default_welcomelist),
    ("check_for_def_spf_whitelist_from", session::spf_default_welcomelist),
    ("check_for_dkim_welcomelist_from", session::dkim_welcomelist),
    ("check_for_dkim_whitelist_from", session::dkim_welcomelist),
    ("check_for_faraway_charset_in_headers", header::faraway_charset),
    ("check_for_missing_to_header", header::missing_to),
    ("check_for_spf_welcomelist_from", session::spf_welcomelist),
    ("check_for_spf_whitelist_from", session::spf_welcomelist),
    ("check_for_to_in_subject", subject::names_recipient),
    ("check_for_unique_subject_id", header::never),
    ("check_forged_in_default_welcomelist", lists::forged_in_default_welcomelist),
    ("check_forged_in_default_whitelist", lists::forged_in_default_welcomelist),
    ("check_forged_in_welcomelist", lists::forged_in_welcomelist),
    ("check_forged_in_whitelist", lists::forged_in_welcomelist),
    ("check_freemail_body", freemail::body),
    ("check_freemail_from", freemail::from),
    ("check_freemail_header", freemail::header),
    ("check_freemail_replyto", freemail::reply_to),
    ("check_from_in_blacklist", lists::from_in_blocklist),
    ("check_from_in_blocklist", lists::from_in_blocklist),
    ("check_from_in_default_welcomelist", lists::from_in_default_welcomelist),
    ("check_from_in_default_whitelist", lists::from_in_default_welcomelist),
    ("check_from_in_list", lists::from_in_list),
    ("check_from_in_welcomelist", lists::from_in_welcomelist),
    ("check_from_in_whitelist", lists::from_in_welcomelist),
    ("check_header_count_range", header::count_range),
    ("check_illegal_chars", header::illegal_octets),
    ("check_messageid_not_usable", header::message_id_not_usable),
    ("check_replyto_in_list", lists::reply_to_in_list),
    ("check_spf_skipped_noenvfrom", session::spf_skipped),
    ("check_stock_info", body::stock_info),
    ("check_subject_in_blacklist", lists::subject_in_blocklist),
    ("check_subject_in_blocklist", lists::subject_in_blocklist),
    ("check_subject_in_welcomelist", lists::subject_in_welcomelist),
    ("check_subject_in_whitelist", lists::subject_in_welcomelist),
    ("check_to_in_all_spam", lists::to_in_all_spam),
    ("check_to_in_blacklist", lists::to_in_blocklist),
    ("check_to_in_blocklist", lists::to_in_blocklist),
    ("check_to_in_list", lists::to_in_list),
    ("check_to_in_more_spam", lists::to_in_more_spam),
    ("check_to_in_welcomelist", lists::to_in_welcomelist),
    ("check_to_in_whitelist", lists::to_in_welcomelist),
    ("check_unresolved_template", header::unresolved_template),
    ("check_welcomelist_bounce_relays", vbounce::handled),
    ("check_whitelist_bounce_relays", vbounce::handled),
    ("have_any_bounce_relays", vbounce::any),
    ("plaintext_body_length", body::text_length),
    ("plaintext_body_sig_ratio", body::signature_ratio),
    ("plaintext_sig_length", body::signature_length),
    ("similar_recipients", recipients::similar),
    ("sorted_recipients", recipients::sorted),
    ("subject_is_all_caps", subject::is_all_caps),
];

/// Evals that are known and never hit here, and why. Their rules are neither errors nor surprises.
pub const UNANSWERABLE: [(&str, &str); 76] = [
    ("check_access_database", "asks a Berkeley DB file"),
    ("check_asn", "asks the DNS for the sender's network"),
    ("check_authres_result", "asks Authentication-Results of others; ours are known without it"),
    ("check_bayes", "there is no Bayes database"),
    ("check_body_8bits", "TextCat is not loaded by default"),
    ("check_dcc", "asks DCC"),
    ("check_dcc_reputation_range", "asks DCC"),
    ("check_dns_sender", "asks the DNS"),
    ("check_from_in_auto_welcomelist", "there is no list of earlier scores"),
    ("check_from_in_auto_whitelist", "there is no list of earlier scores"),
    ("check_fromname_contains_email", "FromNameSpoof is not loaded by default"),
    ("check_fromname_different", "FromNameSpoof is not loaded by default"),
    ("check_fromname_domain_differ", "FromNameSpoof is not loaded by default"),
    ("check_fromname_equals_replyto", "FromNameSpoof is not loaded by default"),
    ("check_fromname_equals_to", "FromNameSpoof is not loaded by default"),
    ("check_fromname_owners_differ", "FromNameSpoof is not loaded by default"),
    ("check_fromname_spoof", "FromNameSpoof is not loaded by default"),
    ("check_hashbl_attachments", "asks a DNS list"),
    ("check_hashbl_bodyre", "asks a DNS list"),
    ("check_hashbl_emails", "asks a DNS list"),
    ("check_hashbl_tag", "asks a DNS list"),
    ("check_hashbl_uris", "asks a DNS list"),
    ("check_language", "TextCat is not loaded by default"),
    ("check_microsoft_executable", "AntiVirus is not loaded by default"),
    ("check_olemacro", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_csv", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_download_exe", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_encrypted", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_malice", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_mhtml_uri", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_redirect_uri", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_renamed", "OLEVBMacro is not loaded by default"),
    ("check_olemacro_zip_password", "OLEVBMacro is not loaded by default"),
    ("check_oleobject", "OLEVBMacro is not loaded by default"),
    ("check_olertfobject", "OLEVBMacro is not loaded by default"),
    ("check_phishing", "asks lists that others publish"),
    ("check_pyzor", "asks Pyzor"),
    ("check_razor2", "asks Razor"),
    ("check_razor2_range", "asks Razor"),
    ("check_rbl", "asks a DNS list"),
    ("check_rbl_envfrom", "asks a DNS list"),
    ("check_rbl_from_domain", "asks a DNS list"),
    ("check_rbl_from_host", "asks a DNS list"),
    ("check_rbl_headers", "asks a DNS list"),
    ("check_rbl_ns_from", "asks a DNS list"),
    ("check_rbl_rcvd", "asks a DNS list"),
    ("check_rbl_sub", "asks a DNS list"),
    ("check_rbl_txt", "asks a DNS list"),
    ("check_senders_reputation", "there is no list of earlier scores"),
    ("check_shortcircuit", "all rules are always evaluated"),
    ("check_suspect_name", "AntiVirus is not loaded by default"),
    ("check_uri_local_bl", "asks a file of networks by country"),
    ("check_uridnsbl", "asks a DNS list"),
    ("html_charset_faraway", "all locales are welcome"),
    ("pdf_count", "PDFInfo is not loaded by default"),
    ("pdf_image_count", "PDFInfo is not loaded by default"),
    ("pdf_image_size_exact", "PDFInfo is not loaded by default"),
    ("pdf_image_size_range", "PDFInfo is not loaded by default"),
    ("pdf_image_to_text_ratio", "PDFInfo is not loaded by default"),
    ("pdf_is_empty_body", "PDFInfo is not loaded by default"),
    ("pdf_is_encrypted", "PDFInfo is not loaded by default"),
    ("pdf_match_details", "PDFInfo is not loaded by default"),
    ("pdf_match_fuzzy_md5", "PDFInfo is not loaded by default"),
    ("pdf_match_md5", "PDFInfo is not loaded by default"),
    ("pdf_name_regex", "PDFInfo is not loaded by default"),
    ("pdf_named", "PDFInfo is not loaded by default"),
    ("pdf_pixel_coverage", "PDFInfo is not loaded by default"),
    ("short_url", "follows links"),
    ("short_url_200", "follows links"),
    ("short_url_404", "follows links"),
    ("short_url_chained", "follows links"),
    ("short_url_code", "follows links"),
    ("short_url_loop", "follows links"),
    ("short_url_maxchain", "follows links"),
    ("short_url_redir", "follows links"),
    ("short_url_tests", "follows links"),
];

/// Makes the eval of a name. None if it is not answered here; the error says what is wrong with the arguments.
pub fn read(name: &str, arguments: &[String], options: &Options) -> Option<Result<Eval, String>> {
    if let Ok(at) = READERS.binary_search_by(|(found, _)| (*found).cmp(name)) {
        return READERS.get(at).map(|(_, reader)| reader(&Arguments(arguments), options));
    }
    let question = evidence::eval(name)?;
    Some(Ok(Eval::new(move |mail: &Mail<'_>| mail.evidence.is_some_and(question))))
}

/// Why an eval never hits here; none if it may.
pub fn unanswerable(name: &str) -> Option<&'static str> {
    let at = UNANSWERABLE.binary_search_by(|(found, _)| (*found).cmp(name)).ok()?;
    UNANSWERABLE.get(at).map(|(_, reason)| *reason)
}

/// Asks what a rule writes: `name('argument','argument')`.
#[cfg(test)]
pub(crate) fn asked(call: &str, options: &Options, mail: &Mail<'_>) -> u32 {
    let (name, rest) = call.split_once('(').expect("a call");
    let rest = rest.strip_suffix(')').expect("a call");
    let words: Vec<String> = rest.split(',').map(|word| word.trim_matches('\'').to_owned()).collect();
    let words = if rest.is_empty() { Vec::new() } else { words };
    read(name, &words, options).expect("a known eval").expect("right arguments").hits(mail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::freemail::FreeMail;
    use super::super::mail::tests::Parts;
    use super::super::mailboxes::TopLevelDomains;
    use super::*;

    #[test]
    fn the_tables_are_in_order_and_apart() {
        assert!(READERS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(UNANSWERABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(READERS.iter().all(|(name, _)| unanswerable(name).is_none()));
        assert_eq!(unanswerable("check_pyzor"), Some("asks Pyzor"));
        assert!(read("check_pyzor", &[], &Options::default()).is_none());
        assert!(read("check_for_spf_pass", &[], &Options::default()).is_some());
    }

    /// Lists that make every eval work.
    fn options() -> Options {
        let mut free = FreeMail::default();
        for word in ["b", "b.*", "*.c", "?b*.c*.*"] {
            assert!(free.domains.add(word.as_bytes()));
        }
        let locales = Arc::new(vec!["en".to_owned()]);
        let top_level_domains = Arc::new(TopLevelDomains::from_words(["b", "c"]));
        let mut options = Options { freemail: Arc::new(free), locales, top_level_domains, ..Options::default() };
        options.enlist("L", ["*a*b*c@*d", "*@*.a.example", "*@b.example", "?*x*y*z?"]);
        options.enlist("welcomelist_from", ["*a*b*c@*d"]);
        options
    }

    /// A header as long as one may be, of whatever makes a reader go back.
    #[test]
    fn hostile_headers_are_bounded() {
        let options = options();
        let began = std::time::Instant::now();
        for part in ["a@b\n", "=?a", "=?a?Q?", " for <a@b", "a=", "%A", "re:", ".", "a@b.c\n", "ab", "<mailto:"] {
            ask_all(part.repeat((256 << 10) / part.len()).as_bytes(), &options);
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }

    /// Asks many evals of a message that has this everywhere.
    fn ask_all(text: &[u8], options: &Options) {
        let fields = ["From:addr", "ToCc:addr", "To:addr", "Reply-To:addr", "EnvelopeFrom", "List-Unsubscribe"];
        let texts = ["Subject", "Subject:raw", "From:raw", "ALL", "Received", "Mailing-List", "Delivered-To", "To"];
        let header = fields.iter().chain(&texts).map(|field| (*field, text.to_vec())).collect();
        let parts = Parts { header, body: vec![b"mail b@x.b or b@b.c, b.b@b.b"], ..Parts::of(&[]) };
        for call in [
            "check_from_in_list('L')",
            "check_to_in_list('L')",
            "check_from_in_welcomelist()",
            "check_freemail_from()",
            "check_freemail_replyto('reply')",
            "check_freemail_body()",
            "similar_recipients('2','undef')",
            "subject_is_all_caps()",
            "check_for_to_in_subject('address')",
            "check_for_to_in_subject('user')",
            "check_unresolved_template()",
            "check_illegal_chars('From','0','1')",
            "check_for_faraway_charset_in_headers()",
            "check_messageid_not_usable()",
            "check_header_count_range('To','2','3')",
        ] {
            parts.ask(None, |mail| asked(call, options, mail));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
                            written in r"[a@.=? <>:;%A\n,-]{0,60}") {
            let options = options();
            ask_all(&text, &options);
            ask_all(written.as_bytes(), &options);
        }
    }
}
