//! Evals: questions that rules ask by name (`header X eval:check_freemail_from()`).
//!
//! *Does:* [`table::read`] makes an [`Eval`](arguments::Eval) of a name and its arguments when rules are loaded: arguments are
//! checked, patterns compiled, lists looked up in the [`Options`](options::Options). A [`Mail`](mail::Mail) answers it.
//! *Guarantees:* an eval takes time linear in what it looks at, or bounded by a named limit, and no memory beyond that. What
//! several evals need is computed once a message.
//! *Never does:* I/O. What asks the network, other programs or databases stands in [`table::UNANSWERABLE`] with the reason:
//! its rules are known, and never hit.
//! *Follows* SpamAssassin 4.0.1 as it was observed. Where we differ, the module says so.
//!
//! Who answers what SpamAssassin's own rules ask:
//!
//! | evals | where |
//! |---|---|
//! | `check_freemail_body`, `_from`, `_header`, `_replyto` | [`freemail`] |
//! | `check_from_in_blocklist`, `_list`, `_welcomelist`, `_default_welcomelist`, `check_forged_in_*`, `check_to_in_blocklist`, `_list`, `_welcomelist`, `_more_spam`, `_all_spam`, `check_replyto_in_list`, `check_subject_in_blocklist`, `_welcomelist`, and their names with black and white | [`lists`] |
//! | `check_for_missing_to_header`, `check_header_count_range`, `check_unresolved_template`, `check_illegal_chars`, `check_for_faraway_charset_in_headers`, `check_messageid_not_usable`, `check_for_unique_subject_id` | [`header`] |
//! | `subject_is_all_caps`, `check_for_to_in_subject` | [`subject`] |
//! | `sorted_recipients`, `similar_recipients` | [`recipients`] |
//! | `check_stock_info`, `plaintext_body_length`, `plaintext_sig_length`, `plaintext_body_sig_ratio` | [`body`] |
//! | `have_any_bounce_relays`, `check_welcomelist_bounce_relays` | [`vbounce`] |
//! | `check_dkim_*`, `check_arc_*`, `check_for_[def_]dkim_welcomelist_from`, `check_for_[def_]spf_welcomelist_from`, `check_spf_skipped_noenvfrom` | [`session`] |
//! | `check_for_spf_*`, `check_for_spf_helo_*`, `check_dmarc_*`, and our own | [`evidence`](crate::rules::evidence) |
//! | `html_*`, `check_iframe_src`, `image_*`, `pixel_coverage` | facts of HTML and images |
//! | `check_https_*_mismatch`, `check_uri_host_*`, `check_uri_truncated` | facts of URIs |
//! | `check_for_mime*`, `check_mime_multipart_ratio`, `check_msg_parse_flags`, `multipart_alternative_difference*`, `check_for_uppercase`, `check_for_ascii_text_illegal`, `check_abundant_unicode_ratio`, `check_ma_non_text`, `check_base64_length`, `check_for_faraway_charset`, `check_blank_line_ratio`, `check_body_length`, `tvd_vertical_words` | facts of parts and text |
//! | `check_all_trusted`, `check_no_relays`, `check_relays_unparseable`, `check_mailfrom_matches_rcvd`, `helo_ip_mismatch`, `gated_through_received_hdr_remover`, `check_for_forged_*`, `check_for_no_*`, `check_for_fake_aol_relay_in_rcvd`, `check_for_matching_env_and_hdr_from`, `check_equal_from_domains`, `check_for_shifted_date`, `check_outlook_message_id`, `check_ratware_*` | relays and dates |
//! | `check_rbl*`, `check_uridnsbl`, `check_dns_sender`, `check_hashbl_*`, Bayes, DCC, Pyzor, Razor, AWL, TxRep, TextCat, PDFInfo, AntiVirus, FromNameSpoof, `short_url*`, `check_shortcircuit`, `check_access_database` | [`table::UNANSWERABLE`] |

pub mod arguments;
pub mod bind;
pub mod body;
pub mod context;
pub mod dates;
pub mod facts;
pub mod forged;
pub mod freemail;
pub mod globs;
pub mod header;
pub mod html;
pub mod image;
pub mod lists;
pub mod locales;
pub mod mail;
pub mod mailboxes;
pub mod mime;
pub mod options;
pub mod places;
pub mod recipients;
pub mod relays;
pub mod senders;
pub mod session;
pub mod subject;
pub mod table;
pub mod uri;
pub mod vbounce;

pub use bind::{Function, bind};
pub use context::Context;
