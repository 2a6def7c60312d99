//! RFC5322.From: the author domain that is found stands in the field, and neither folding nor case changes what is found.

use mxkeep::authentication::{Authors, authors};
use mxkeep::message::Message;

use super::support::find;

pub fn run(octets: &[u8]) {
    // As a header, and as the body of one From field: most of what is made up is no field.
    let found = authors(&Message::new(octets.to_vec()));
    if let Authors::One(_) = found {
        let more = [b"From: eve@other.example\r\n", octets].concat();
        assert_eq!(authors(&Message::new(more)), Authors::Several, "a second From field is never overlooked");
    }
    let body: Vec<u8> = octets.iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect();
    check_body(&body);
}

fn check_body(body: &[u8]) {
    let found = read(body);
    let folded = body.split(|&octet| octet == b' ').collect::<Vec<_>>().join(&b"\r\n "[..]);
    assert_eq!(read(&folded), found, "folding changes nothing");
    let Authors::One(domain) = found else { return };
    if body.is_ascii() {
        assert!(find(&body.to_ascii_lowercase(), domain.as_str().as_bytes()).is_some(), "{domain} stands in the field");
        assert_eq!(read(&body.to_ascii_uppercase()), Authors::One(domain.clone()), "case changes nothing");
    }
    let other = [body, b", <eve@other.example>"].concat();
    assert_ne!(read(&other), Authors::One(domain), "an author who is added is not overlooked");
}

fn read(body: &[u8]) -> Authors {
    authors(&Message::new([b"From: ", body, b"\r\n\r\n"].concat()))
}
