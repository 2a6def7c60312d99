//! What binds the evals of rules to functions: one place for all families.
//!
//! *Does:* finds the function of a name, has its arguments read, and hands back what is asked of each message.
//! *Never does:* guess: an eval that nobody answers is named, with the reason where there is one.

use std::fmt;

use super::arguments::{Arguments, Pattern};
use super::context::Context;
use super::html::{HtmlContext, HtmlEval};
use super::image::{ImageContext, ImageEval};
use super::uri::{UriContext, UriEval};
use super::{dates, facts, forged, mime, relays, senders, table};
use crate::rules::definition::EvalCall;
use crate::rules::environment::Environment;

type Question = dyn Fn(&Context<'_, '_>) -> u32 + Send + Sync;

/// What an eval asks of a message, its arguments read.
pub struct Function(Box<Question>);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

impl Function {
    /// A question that is answered with a count.
    pub fn counting(question: impl Fn(&Context<'_, '_>) -> u32 + Send + Sync + 'static) -> Self {
        Function(Box::new(question))
    }

    /// A question that is answered with yes or no.
    pub fn new(question: impl Fn(&Context<'_, '_>) -> bool + Send + Sync + 'static) -> Self {
        Function(Box::new(move |context| u32::from(question(context))))
    }

    /// How often it hits; 0 is no hit.
    pub fn call(&self, context: &Context<'_, '_>) -> u32 {
        (self.0)(context)
    }
}

/// What a family makes of a name and its arguments: none if the name is not its own.
pub type Bound = Option<Result<Function, String>>;

/// Binds a call. The error says what is wrong.
pub fn bind(call: &EvalCall, environment: &Environment) -> Result<Function, String> {
    let words: Vec<String> =
        call.arguments.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let arguments = Arguments(&words);
    let name = &*call.name;
    let over_mail = || {
        let eval = table::read(name, &words, &environment.options)?;
        Some(eval.map(|eval| Function::counting(move |context| eval.hits(&context.mail))))
    };
    let bound = over_mail()
        .or_else(|| of_relays(name, &arguments))
        .or_else(|| mime::bind(name, &arguments))
        .or_else(|| of_html(name, &words))
        .or_else(|| of_uris(name, &words))
        .or_else(|| of_images(name, &words));
    let missing = || match table::unanswerable(name) {
        Some(why) => format!("eval:{name} is not answered here: {why}"),
        None => format!("eval:{name} is not known"),
    };
    let named = |result: Result<Function, String>| result.map_err(|why| format!("eval:{name}: {why}"));
    bound.map_or_else(|| Err(missing()), named)
}

/// Evals over relays, senders and dates.
fn of_relays(name: &str, arguments: &Arguments<'_>) -> Bound {
    let asked: fn(&facts::Facts) -> bool = match name {
        "check_all_trusted" => relays::all_trusted,
        "check_no_relays" => relays::no_relays,
        "check_relays_unparseable" => relays::relays_unparseable,
        "check_for_numeric_helo" => relays::numeric_helo,
        "helo_ip_mismatch" => relays::helo_ip_mismatch,
        "check_for_sender_no_reverse" => relays::sender_no_reverse,
        "check_for_no_rdns_dotcom_helo" => relays::no_rdns_dotcom_helo,
        "check_mailfrom_matches_rcvd" => relays::mailfrom_matches_rcvd,
        "check_for_forged_received_trail" => |facts| relays::mismatches(facts).from > 1,
        "check_for_forged_received_ip_helo" => |facts| relays::mismatches(facts).ip_helo > 0,
        "check_for_matching_env_and_hdr_from" => senders::matching_env_and_hdr_from,
        "check_equal_from_domains" => senders::equal_from_domains,
        "check_ratware_name_id" => senders::ratware_name_id,
        "check_ratware_envelope_from" => senders::ratware_envelope_from,
        "check_outlook_message_id" => senders::outlook_message_id,
        "gated_through_received_hdr_remover" => forged::gated_through_received_hdr_remover,
        "check_for_forged_hotmail_received_headers" => |facts| forged::hotmail(facts).forged,
        "check_for_no_hotmail_received_headers" => |facts| forged::hotmail(facts).missing,
        "check_for_msn_groups_headers" => forged::msn_groups,
        "check_for_forged_eudoramail_received_headers" => forged::forged_eudoramail,
        "check_for_forged_yahoo_received_headers" => forged::forged_yahoo,
        "check_for_forged_juno_received_headers" => forged::forged_juno,
        "check_for_forged_gmail_received_headers" => forged::forged_gmail,
        "check_for_fake_aol_relay_in_rcvd" => forged::fake_aol_relay,
        _ => return of_dates(name, arguments),
    };
    Some(Ok(Function::new(move |context| asked(&context.facts))))
}

fn of_dates(name: &str, arguments: &Arguments<'_>) -> Bound {
    let shifted = match name {
        "check_for_shifted_date" => true,
        "received_within_months" => false,
        "check_for_from_domain_in_received_headers" => return Some(from_domain_in_received(arguments)),
        _ => return None,
    };
    let limits = || -> Result<_, String> { Ok((dates::limit(arguments.text(0)?)?, dates::limit(arguments.text(1)?)?)) };
    Some(limits().map(|(min, max)| {
        Function::new(move |context| match shifted {
            true => dates::shifted_date(context.dates(), min, max),
            false => dates::received_within_months(context.dates(), context.facts.now, min, max),
        })
    }))
}

fn from_domain_in_received(arguments: &Arguments<'_>) -> Result<Function, String> {
    let (domain, desired) = (arguments.text(0)?.to_owned(), arguments.text(1)? == "true");
    Ok(Function::new(move |context| relays::from_domain_in_received(&context.facts, &domain, desired)))
}

/// What is said of arguments where it is not known which of them is wrong.
const ARGUMENTS: &str = "its arguments are not those that it takes";

fn of_html(name: &str, words: &[String]) -> Bound {
    const OTHERS: [&str; 1] = ["check_iframe_src"];
    let is_html = name.starts_with("html_") && table::unanswerable(name).is_none();
    if !is_html && !OTHERS.contains(&name) {
        return None;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(eval) = HtmlEval::parse(name, &words) else { return Some(Err(ARGUMENTS.to_owned())) };
    let pattern = match &eval {
        HtmlEval::TextMatch(_, text) | HtmlEval::TextNotMatch(_, text) => match Pattern::of_argument(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => return Some(Err(error)),
        },
        _ => None,
    };
    Some(Ok(Function::new(move |context| {
        let matches = |_: &str, text: &[u8]| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
        let subject_octets = context.mail.value("Subject").len();
        eval.check(context.html(), &HtmlContext { subject_octets, matches: &matches })
    })))
}

fn of_uris(name: &str, words: &[String]) -> Bound {
    const NAMES: [&str; 9] = [
        "check_https_http_mismatch",
        "check_https_ip_mismatch",
        "check_for_http_redirector",
        "check_uri_truncated",
        "check_uri_host_listed",
        "check_uri_host_in_blocklist",
        "check_uri_host_in_blacklist",
        "check_uri_host_in_welcomelist",
        "check_uri_host_in_whitelist",
    ];
    if !NAMES.contains(&name) {
        return None;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(eval) = UriEval::parse(name, &words) else { return Some(Err(ARGUMENTS.to_owned())) };
    Some(Ok(Function::new(move |context| {
        let environment = context.environment;
        eval.check(&UriContext {
            html: context.html(),
            uris: context.views.uris(),
            boundaries: &environment.registries,
            lists: &environment.uri_hosts,
        })
    })))
}

fn of_images(name: &str, words: &[String]) -> Bound {
    if !name.starts_with("image_") && name != "pixel_coverage" {
        return None;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(eval) = ImageEval::parse(name, &words) else { return Some(Err(ARGUMENTS.to_owned())) };
    let pattern = match &eval {
        ImageEval::NameMatches(text) => match Pattern::of_argument(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => return Some(Err(error)),
        },
        _ => None,
    };
    Some(Ok(Function::new(move |context| {
        let matches = |_: &str, text: &[u8]| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
        let text_octets = context.views.text().lines().map(<[u8]>::len).sum();
        eval.check(context.images(), &ImageContext { text_octets, matches: &matches })
    })))
}
