//! Do the recipients look like a run of a list? `sorted_recipients` and `similar_recipients`.

use super::arguments::{Arguments, Eval};
use super::mail::Mail;
use super::options::Options;

/// So few are in order by chance.
const SORTED_MIN: usize = 7;
/// So few are alike by chance.
const SIMILAR_MIN: usize = 5;
/// How many octets of a local-part and of a domain are compared.
const SIMILAR_OCTETS: usize = 2;
/// Bcc is asked only where To and Cc name fewer than that.
const FEW: usize = 5;
/// The most that are compared, each with each.
pub const COMPARED_MAX: usize = 256;

/// What was found of a message's recipients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipients {
    /// There are several, in the order of their octets.
    sorted: bool,
    /// How many pairs begin alike, of all pairs; a pair counts twice if both parts do.
    similarity: f64,
}

impl Recipients {
    fn of(mail: &Mail<'_>) -> Self {
        let mut all = mail.values("ToCc:addr");
        if all.len() < FEW {
            all.extend(mail.values("Bcc:addr"));
        }
        let mut addresses: Vec<&[u8]> = Vec::new();
        for address in all.iter().take_while(|address| !address.is_empty() && *address != b"0") {
            if addresses.last().is_none_or(|last| !last.eq_ignore_ascii_case(address)) {
                addresses.push(address);
            }
            if addresses.len() >= COMPARED_MAX {
                break;
            }
        }
        let sorted = addresses.len() >= SORTED_MIN && addresses.is_sorted();
        let similarity = if addresses.len() >= SIMILAR_MIN { similarity(&addresses) } else { 0.0 };
        Recipients { sorted, similarity }
    }
}

fn similarity(addresses: &[&[u8]]) -> f64 {
    let start = |text: &[u8]| text.get(..SIMILAR_OCTETS).unwrap_or(text).to_vec();
    // Addresses without a domain are skipped here, and those behind them move up, as SpamAssassin has it.
    let mut domains: Vec<&[u8]> = addresses.iter().filter_map(|address| domain(address)).collect();
    domains.resize(addresses.len(), b"");
    let compared: Vec<_> =
        addresses.iter().zip(&domains).map(|(a, domain)| (start(a), start(domain), *domain)).collect();
    let (mut hits, mut pairs) = (0_u32, 0_u32);
    for (at, (user, host, domain)) in compared.iter().enumerate() {
        for (other_user, other_host, other_domain) in compared.iter().skip(at + 1) {
            hits += u32::from(user == other_user) + u32::from(host == other_host && domain != other_domain);
            pairs += 1;
        }
    }
    f64::from(hits) / f64::from(pairs.max(1))
}

/// What stands behind the first `@`.
fn domain(address: &[u8]) -> Option<&[u8]> {
    address.iter().position(|octet| *octet == b'@').and_then(|at| address.get(at + 1..))
}

/// `sorted_recipients()`
pub fn sorted(_: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    Ok(Eval::new(|mail| mail.memo.likeness.get_or_init(|| Recipients::of(mail)).sorted))
}

/// `similar_recipients(MIN, MAX)`: at least and below; "undef" is no limit.
pub fn similar(arguments: &Arguments<'_>, _: &Options) -> Result<Eval, String> {
    let (min, max) = (arguments.limit(0)?, arguments.limit(1)?);
    Ok(Eval::new(move |mail| {
        let found = mail.memo.likeness.get_or_init(|| Recipients::of(mail)).similarity;
        min.is_none_or(|min| found >= min) && max.is_none_or(|max| found < max)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::Parts;
    use super::super::table;
    use super::*;

    #[test]
    fn runs_of_a_list_are_seen() {
        for (to_cc, bcc, sorted, similarity) in [
            ("", "", false, 0.0),
            ("aa1@x.example\naa2@x.example\naa3@x.example\naa4@x.example", "", false, 0.0),
            ("aa1@x.example\naa2@x.example\naa3@x.example\naa4@x.example", "aa5@x.example", false, 1.0),
            ("aa@xx1\naa@xx2\naa@xx3\naa@xx4\naa@xx5", "", false, 2.0),
            ("aa@x\nAA@x\naa@x\naa@x\nbb@x\ncc@x\ndd@x", "", false, 0.0),
            ("a@x\nb@x\nc@x\nd@x\ne@x\nf@x\ng@x", "", true, 0.0),
            ("a@x\nb@x\nc@x\nd@x\ne@x\ng@x\nf@x", "", false, 0.0),
            ("abc\nabd\nabe@xy1\nabf@xy2\nabg", "", false, 1.1),
        ] {
            let parts = Parts::of(&[("ToCc:addr", to_cc), ("Bcc:addr", bcc)]);
            let found = parts.ask(None, Recipients::of);
            assert_eq!(found, Recipients { sorted, similarity }, "{to_cc:?} {bcc:?}");
            let calls = [("sorted_recipients()", sorted), ("similar_recipients('0.65','undef')", similarity >= 0.65)];
            for (call, hit) in calls {
                assert_eq!(
                    parts.ask(None, |mail| table::asked(call, &Options::default(), mail) > 0),
                    hit,
                    "{call} {to_cc:?}"
                );
            }
        }
    }
}
