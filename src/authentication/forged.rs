//! Which Authentication-Results fields of an incoming message claim to be ours (RFC 8601 section 5).
//!
//! *Guarantees:* what any reader could take for our word is found, in whatever spelling; what cannot be understood and has
//! our name in it is found as well. Work is linear in the field.
//! *Never does:* find other receivers' fields, or those of an ARC set: who trusts them, and when, is another question.

use super::claims::Lexer;
use crate::address::Domain;
use crate::message::Field;

/// An authserv-id beyond ASCII with more octets is no receiver's name.
const ID_OCTETS_MAX: usize = 1_024;
/// The same for one of its labels, in characters (RFC 1035 section 2.3.4; an A-label is longer than its U-label).
const LABEL_CHARACTERS_MAX: usize = 63;
/// What IDNA reads as a dot (UTS 46 section 2.3).
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// Does this field of an incoming message claim to be ours (RFC 8601 section 5)? It does if its authserv-id is
/// `authserv_id`, in whatever spelling. What cannot be understood claims so if our name is anywhere in it.
pub fn is_forged(field: &Field, authserv_id: &str) -> bool {
    if !field.is("Authentication-Results") {
        return false;
    }
    match read_authserv_id(field.body) {
        Some(id) => is_ours(&id, authserv_id),
        None => mentions(field.body, authserv_id),
    }
}

/// The authserv-id of a field that begins well: `[CFWS] authserv-id [ CFWS version ] [CFWS] ( ";" / end )`.
fn read_authserv_id(body: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(body);
    let (id, _) = lexer.issuer()?;
    (lexer.at_end() || lexer.is_at(b';')).then(|| String::from_utf8_lossy(&id).into_owned())
}

/// Is this authserv-id ours, as a domain in any spelling, a fold or space in a quoted-string left out? IDNA's work grows
/// with the square of a label: what no name can be is not given to it, and taken for ours, for nobody else is called that.
fn is_ours(id: &str, authserv_id: &str) -> bool {
    let id: String = id.split_whitespace().collect();
    let (id, ours) = (id.trim_end_matches(DOTS), normal(authserv_id));
    let is_long = |label: &str| label.chars().nth(LABEL_CHARACTERS_MAX).is_some();
    match id.is_ascii() {
        true => id.eq_ignore_ascii_case(&ours),
        false => id.len() > ID_OCTETS_MAX || id.split(DOTS).any(is_long) || normal(id) == ours,
    }
}

/// A domain in its A-label form, or else any name in lower case.
fn normal(id: &str) -> String {
    Domain::from_unicode(id).map_or_else(|_| id.to_lowercase(), |domain| domain.to_string())
}

/// Is our name in here, with or without what stands in parentheses, whatever white space, quotes and backslashes split it?
fn mentions(body: &[u8], authserv_id: &str) -> bool {
    let name = normal(authserv_id);
    let squeezed = |text: &str| -> String {
        let noise = |c: &char| !c.is_ascii_whitespace() && !"()\"\\".contains(*c);
        text.chars().filter(noise).flat_map(char::to_lowercase).collect()
    };
    let text = String::from_utf8_lossy(body);
    squeezed(&text).contains(&name) || squeezed(&without_comments(&text)).contains(&name)
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn forged(header: &[u8]) -> bool {
        let message = Message::new(header.to_vec());
        message.fields().any(|field| is_forged(&field, "mx.example.org"))
    }

    #[test]
    fn what_reads_as_ours_is_forged() {
        for header in [
            &b"Authentication-Results: mx.example.org; spf=pass"[..],
            b"authentication-RESULTS:MX.Example.ORG;spf=pass",
            b"Authentication-Results : mx.example.org; none",
            b"Authentication-Results:\r\n mx.example.org;\r\n\tspf=pass",
            b"Authentication-Results: mx.example.org",
            b"Authentication-Results: mx.example.org 1; none",
            b"Authentication-Results: mx.example.org (v) 1 (c); none",
            b"Authentication-Results: (a (nested \\) b)) mx.example.org; none",
            b"Authentication-Results: \"mx.example.org\"; none",
            b"Authentication-Results: \"mx.\\example.org\" 1; none",
            b"Authentication-Results: \"mx.\r\n example.org\"; none",
            b"Authentication-Results: mx.example.org.; none",
            b"Authentication-Results: mx.example.org..; none",
            b"Authentication-Results: mx . example . org; none",
            b"Authentication-Results: mx.(x)example.org; none",
            b"Authentication-Results: mx.example.org spf=pass",
            b"Authentication-Results: mx.example.org/1; none",
            b"Authentication-Results: (unclosed mx.example.org; spf=pass",
            b"Authentication-Results: \"mx.example.org; spf=pass",
            b"Authentication-Results: ; mx.example.org; spf=pass",
            b"Authentication-Results: x\0, mx.example.org; spf=pass",
            b"Authentication-Results \t : mx.example.org; none",
            b"Authentication-Results:\r\n\t(\r\n c)\r\n\tmx.example.org\r\n\t1\r\n\t; none",
            b"Authentication-Results: mx.example.org 2; none",
            b"Authentication-Results: mx.example.org 99999999999999999999; none",
            b"Authentication-Results: mx.example.org (; none",
            b"Authentication-Results: \"mx.example.org.\"; none",
            b"Authentication-Results: \"m\\x.example\" . org; none",
            b"Authentication-Results: =?utf-8?q?mx.example.org?=; none",
            b"X: y\r\nAuthentication-Results: mx.example.org; none",
            b"no field\r\nAuthentication-Results: mx.example.org; none",
            // Full-width letters, an ideographic full stop, a soft hyphen: all of them IDNA's spellings of our name.
            "Authentication-Results: \u{ff4d}x.example.org; none".as_bytes(),
            "Authentication-Results: mx\u{3002}example\u{3002}org; none".as_bytes(),
            "Authentication-Results: mx.exam\u{ad}ple.org; none".as_bytes(),
        ] {
            assert!(forged(header), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        for header in [
            &b"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example.org"[..],
            b"Authentication-Results: mx.example.org.evil.example; none",
            b"Authentication-Results: other.example (for mx.example.org); none",
            b"Authentication-Results: spf=pass smtp.mailfrom=example.com",
            b"Authentication-Results: other.example 1; none",
            b"ARC-Authentication-Results: i=1; mx.example.org; none",
            b"ARC-Authentication-Results: mx.example.org; none",
            b"X-Authentication-Results: mx.example.org; none",
            b"Authentication-\r\n Results: mx.example.org; none",
            b"Authentication-Results: mx.example.or; none",
            b"Authentication-Results: x.example.org; none",
            "Authentication-Results: \u{43c}x.example.org; none".as_bytes(),
            b"Subject: mx.example.org",
            b"Authentication-Results:",
        ] {
            assert!(!forged(header), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn a_name_in_u_labels_is_ours_too() {
        for id in [
            "mx.b\u{fc}cher.example",
            "MX.B\u{dc}CHER.example",
            "mx.xn--bcher-kva.example",
            "\"mx.b\u{fc}cher.example\"",
        ] {
            let message = Message::new(format!("Authentication-Results: {id}; none").into_bytes());
            assert!(message.fields().any(|field| is_forged(&field, "mx.xn--bcher-kva.example")), "{id}");
        }
    }

    /// IDNA's work on a label grows with the square of its length: a field may hold thousands of the longest that it takes.
    #[test]
    fn a_name_of_a_megabyte_costs_no_time() {
        let label: String = ('\u{4e00}'..).take(999).collect();
        for id in [format!("{label}.").repeat(500), "xn--999999b.".repeat(100_000)] {
            let begin = std::time::Instant::now();
            forged(format!("Authentication-Results: {id}; none").as_bytes());
            println!("{:?} for {} octets", begin.elapsed(), id.len());
            assert!(begin.elapsed() < std::time::Duration::from_millis(300), "{:?}", begin.elapsed());
        }
        // No name of ours is that long; what IDNA would leave out of it is not asked.
        assert!(forged(format!("Authentication-Results: mx.example.org{}; none", "\u{ad}".repeat(1_000)).as_bytes()));
        assert!(!forged(format!("Authentication-Results: {}mx.example.org; none", "x.".repeat(1_000)).as_bytes()));
    }
}
