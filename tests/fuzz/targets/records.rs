//! What domains publish: SPF, DMARC and DKIM records of any text. No record but a valid one lets anything pass.
//!
//! The octets are three records, a line each. `$` in them is the domain that publishes them.

use mxkeep::address::{Host, ReversePath};
use mxkeep::authentication::{Authentication, MethodResult};
use mxkeep::message::Message;

use super::support::is_printable;
use super::world;

pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    world::with(|world, domain| {
        let text = text.replace('$', domain.as_str());
        let mut records = text.splitn(3, '\n');
        let mut publish = |name: String| {
            let record = records.next().unwrap_or_default();
            // TXT data is at least one string (RFC 1035 section 3.3.14).
            if !record.is_empty() {
                world.publish(&name, record);
            }
            record
        };
        let spf = publish(domain.to_string());
        let dmarc = publish(format!("_dmarc.{domain}"));
        publish(format!("s._domainkey.{domain}"));
        let sender = ReversePath::parse(&format!("<\"a {{b}}\"@{domain}>")).expect("a path");
        let message = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\
            \tb=AAAA\r\nFrom: a@{domain}\r\n\r\n"
        );
        let found = world.verify(&Message::new(message.into_bytes()), &Host::Domain(domain.clone()), &sender);
        check(&found, spf, dmarc);
    });
}

fn check(found: &Authentication, spf: &str, dmarc: &str) {
    let begins = |text: &str, version: &str| text.get(..version.len()).is_some_and(|v| v.eq_ignore_ascii_case(version));
    if !begins(spf, "v=spf1") {
        assert_eq!(found.spf.result, MethodResult::None, "{spf:?} is no SPF record");
    }
    if !begins(dmarc.trim_start(), "v") {
        assert_eq!(found.dmarc.result, MethodResult::None, "{dmarc:?} is no DMARC record");
    }
    assert!(found.dkim.iter().all(|dkim| dkim.result != MethodResult::Pass), "nobody signed this");
    check_field(found);
}

/// The field that says what was found is one field of printable lines.
pub fn check_field(found: &Authentication) {
    let field = found.field("mx.example.org");
    let lines: Vec<&str> = field.strip_suffix("\r\n").expect("whole lines").split("\r\n").collect();
    assert!(lines[0].starts_with("Authentication-Results: mx.example.org"));
    assert!(lines.iter().skip(1).all(|line| line.starts_with('\t')), "{field:?}");
    assert!(lines.iter().all(|line| is_printable(line.trim_start_matches('\t')) && line.len() <= 998), "{field:?}");
}
