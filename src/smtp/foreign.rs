//! Other protocols: what begins as HTTP or TLS is no client that speaks SMTP badly, and nobody's words for us.
//!
//! *Guarantees:* told from the first octets of a line, before it is complete: a web browser that was led here is not
//! answered line by line (cross-protocol attacks, as ALPACA, CVE-2021-3618), and TLS on a port in clear text, which never
//! sends a line end, does not wait for its timeout.

/// A protocol that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A request line (RFC 9112 section 3), or HTTP/2's preface (RFC 9113 section 3.4).
    Http,
    /// A TLS record of a handshake (RFC 8446 section 5.1).
    Tls,
}

const HTTP_VERBS: [&[u8]; 10] =
    [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PATCH ", b"PRI "];

impl Foreign {
    /// What begins here, at the beginning of a line?
    pub fn begins(octets: &[u8]) -> Option<Self> {
        let starts = |verb: &[u8]| octets.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb));
        match octets.first()? {
            0x16 => (octets.get(1) == Some(&3)).then_some(Foreign::Tls),
            octet if octet.is_ascii_alphabetic() => HTTP_VERBS.iter().any(|verb| starts(verb)).then_some(Foreign::Http),
            _ => None,
        }
    }

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Http => "http",
            Foreign::Tls => "tls_in_clear_text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_octets_tell() {
        for (octets, foreign) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(Foreign::Http)),
            (b"connect ", Some(Foreign::Http)),
            (b"GET", None),
            (b"GETX ", None),
            (b" GET ", None),
            (b"\x16\x03", Some(Foreign::Tls)),
            (b"\x16", None),
            (b"\x16\x02", None),
            (b"", None),
        ] {
            assert_eq!(Foreign::begins(octets), foreign, "{octets:?}");
        }
    }
}
