//! Evals over senders and Message-IDs: whether what names the sender, and when, fits together.

use memchr::memmem;

use super::dates::parse;
use super::facts::Facts;
use crate::rules::relays::address::is_word;

/// `check_for_matching_env_and_hdr_from()`: reverse-path and From are one address. Two that are missing are one, too.
pub fn matching_env_and_hdr_from(facts: &Facts) -> bool {
    facts.text("EnvelopeFrom:addr").eq_ignore_ascii_case(&facts.text("From:addr"))
}

/// `check_equal_from_domains()`: reverse-path and From differ in the last two labels of their domains. (The name of the
/// eval says otherwise.)
pub fn equal_from_domains(facts: &Facts) -> bool {
    let (from, envelope) = (facts.text("From:addr"), facts.text("EnvelopeFrom:addr"));
    let domains = last_labels(&from).zip(last_labels(&envelope));
    domains.is_some_and(|(from, envelope)| !from.eq_ignore_ascii_case(envelope))
}

/// The last two labels of an address's domain.
fn last_labels(address: &[u8]) -> Option<&[u8]> {
    let domain = address.get(memchr::memrchr(b'@', address)?.saturating_add(1)..)?;
    let dots: Vec<usize> = memchr::memrchr_iter(b'.', domain).take(2).collect();
    let cut = match dots.as_slice() {
        [last, before] if *before > 0 && last.saturating_sub(*before) > 1 && last.saturating_add(1) < domain.len() => {
            before.saturating_add(1)
        }
        _ => 0,
    };
    domain.get(cut..).filter(|domain| !domain.is_empty())
}

/// `check_ratware_name_id()`: a Message-ID of 28 capital letters ends in the From address.
pub fn ratware_name_id(facts: &Facts) -> bool {
    let id = facts.text("MESSAGEID");
    let address = memchr::memchr_iter(b'<', &id).find_map(|at| {
        let rest = id.get(at.saturating_add(1)..)?;
        let (capitals, rest) = rest.split_at_checked(28)?;
        let rest = rest.strip_prefix(b".").filter(|_| capitals.iter().all(u8::is_ascii_uppercase))?;
        rest.get(..memchr::memchr(b'>', rest)?).filter(|address| !address.is_empty())
    });
    let Some(address) = address else { return false };
    let from = facts.text("From");
    let bracketed = [b"<", address, b">"].concat();
    memmem::find_iter(&from, &bracketed).any(|at| ends_in_quotes(from.get(..at).unwrap_or_default()))
}

/// A quoted string that is not empty, then blanks.
fn ends_in_quotes(text: &[u8]) -> bool {
    let Some(text) = text.trim_ascii_end().strip_suffix(b"\"") else { return false };
    memchr::memrchr(b'"', text).is_some_and(|quote| quote.saturating_add(1) < text.len())
}

/// `check_ratware_envelope_from()`: the recipient stands in the reverse-path, domain first.
pub fn ratware_envelope_from(facts: &Facts) -> bool {
    let (to, from) = (facts.text("To:addr"), facts.text("EnvelopeFrom:addr"));
    let rewritten = matches!(from.as_slice(), [s, r, s2, digit, b'=' | b'+' | b'-', ..]
        if [*s, *r, *s2].eq_ignore_ascii_case(b"SRS") && digit.is_ascii_digit());
    let Some((user, domain)) = memchr::memchr(b'@', &to).and_then(|at| to.split_at_checked(at)) else { return false };
    let domain = (facts.registered)(domain.get(1..).unwrap_or_default());
    if from.is_empty() || rewritten || user.is_empty() || !(facts.is_domain)(&domain) {
        return false;
    }
    let (from, domain) = (from.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let user = [&user.to_ascii_lowercase()[..], b"@"].concat();
    memmem::find_iter(&from, &domain).any(|at| {
        let word = |at: Option<usize>| at.and_then(|at| from.get(at)).is_some_and(|octet| is_word(*octet));
        let edge = word(at.checked_sub(1)) != word(Some(at));
        let after = from.get(at.saturating_add(domain.len()).saturating_add(1)..);
        edge && after.is_some_and(|after| after.starts_with(&user))
    })
}

/// `check_outlook_message_id()`: a Message-ID as Outlook makes it, of another time than Date and the first date
/// in Received fields.
pub fn outlook_message_id(facts: &Facts) -> bool {
    const NEAR: f64 = 250.0;
    let Some(token) = outlook_token(&facts.text("MESSAGEID")) else { return false };
    // Half of the octets of a FILETIME, 100 ns since 1601.
    let expected =
        |time: Option<i64>| (time.unwrap_or_default() as f64 * 0.002_328_306_436_538_7 + 27_111_902.832_984_9).trunc();
    let far = |time: Option<i64>| (f64::from(token) - expected(time)).abs() >= NEAR;
    far(parse(&facts.text("Date"))) && far(parse(&facts.text("Received")))
}

/// The time in `<0123xxxxxxxx$01234567$01234567@`.
fn outlook_token(id: &[u8]) -> Option<u32> {
    let hex = |octets: &[u8]| octets.iter().all(|octet| octet.is_ascii_digit() || (b'a'..=b'f').contains(octet));
    let (start, rest) = id.strip_prefix(b"<")?.split_at_checked(12)?;
    let (middle, rest) = rest.strip_prefix(b"$")?.split_at_checked(8)?;
    let (end, rest) = rest.strip_prefix(b"$")?.split_at_checked(8)?;
    let legal = hex(start) && hex(middle) && hex(end) && rest.first() == Some(&b'@');
    let token = std::str::from_utf8(start.get(4..)?).ok()?;
    u32::from_str_radix(token, 16).ok().filter(|_| legal)
}
