//! Authentication-Results that claim to be ours: every spelling of our name is found, and nobody else's is taken for it; and
//! what one says is read without control characters.

use mxkeep::authentication::{claims, is_forged};
use mxkeep::message::Message;

const OURS: &str = "mx.example.org";

pub fn run(octets: &[u8]) {
    let is_ours = forged(octets);
    if let Some(read) = claims::parse(octets) {
        assert!(is_ours || !read.authserv_id.eq_ignore_ascii_case(OURS));
        let claims = read.claims.iter();
        let mut texts = claims.flat_map(|claim| claim.properties.iter().map(|(_, value)| value).chain(&claim.reason));
        assert!(texts.all(|text| !text.contains(|c: char| c.is_ascii_control() && c != '\t')), "{read:?}");
    }
    // What stands behind our name and a semicolon does not matter, nor does white space before it.
    let behind: Vec<u8> = octets.iter().map(|&octet| if octet == b'\n' { b' ' } else { octet }).collect();
    for begin in
        [&b" mx.example.org;"[..], b"\tMX.Example.ORG ;", b" \"mx.example.org\" 1;", b" (a(b)\\)) mx.example.org."]
    {
        let end = if begin.ends_with(b".") { &b";"[..] } else { b"" };
        assert!(forged(&[begin, end, &behind].concat()), "{:?}", String::from_utf8_lossy(begin));
    }
    // A plain token that is another name is another server's field.
    let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    if !octets.is_empty() && octets.iter().all(is_name) {
        assert!(!forged(&[octets, b"; spf=pass"].concat()));
        assert!(!forged(&[octets, b".example.net; spf=pass (mx.example.org)"].concat()));
    }
}

fn forged(body: &[u8]) -> bool {
    let message = Message::new([b"Authentication-Results:", body, b"\r\n\r\n"].concat());
    message.fields().next().is_some_and(|field| is_forged(&field, OURS))
}
