//! A message's header section and its MIME parts: nothing is lost, invented or taken twice, and views stay bounded.

use mxkeep::message::{Field, Message};
use mxkeep::mime::{self, ContentType, Leaf, PARTS_MAX};

use super::support::find;

pub fn run(octets: &[u8]) {
    let message = Message::new(octets.to_vec());
    check_header(&message, octets);
    check_leaves(&message);
    check_stored(octets);
    check_content_type(octets);
    check_encodings(octets);
}

fn check_header(message: &Message, octets: &[u8]) {
    assert_eq!([message.header(), message.separator_and_body()].concat(), octets);
    let end = match octets {
        [b'\n', ..] | [b'\r', b'\n', ..] => 0,
        octets => {
            let ends = [find(octets, b"\n\n").map(|at| at + 1), find(octets, b"\n\r\n").map(|at| at + 1)];
            ends.into_iter().flatten().min().unwrap_or(octets.len())
        }
    };
    assert_eq!(message.header().len(), end, "the header section ends at the first empty line");
    let entries: Vec<&[u8]> = message.entries().map(|(raw, _)| raw).collect();
    assert_eq!(entries.concat(), message.header());
    message.fields().for_each(|field| check_field(&field));
}

fn check_field(field: &Field<'_>) {
    assert!(!field.name.is_empty() && field.name.iter().all(|octet| (33..127).contains(octet) && *octet != b':'));
    assert!(field.raw.starts_with(field.name) && field.raw.ends_with(field.body));
    let between = &field.raw[field.name.len()..field.raw.len() - field.body.len()];
    assert_eq!(between.trim_ascii(), b":", "{field:?}");
    let mut lines = field.raw.split_inclusive(|&octet| octet == b'\n').skip(1);
    assert!(lines.all(|line| line.starts_with(b" ") || line.starts_with(b"\t")), "only folding continues a field");
}

fn check_leaves(message: &Message) {
    let found = mime::leaves(message);
    assert!(found.leaves.len() <= PARTS_MAX);
    let mut end = message.body().as_ptr() as usize;
    for leaf in &found.leaves {
        let start = leaf.octets.as_ptr() as usize;
        assert!(leaf.octets.is_empty() || start >= end, "leaves are in order, and no octet is in two of them");
        end = end.max(start + leaf.octets.len());
        check_leaf(leaf);
    }
    assert!(end <= message.body().as_ptr() as usize + message.body().len());
}

fn check_leaf(leaf: &Leaf<'_>) {
    assert!(leaf.decoded().len() <= leaf.octets.len(), "decoding makes nothing larger");
    assert!(leaf.content_type.kind.contains('/'), "{:?}", leaf.content_type);
}

fn check_stored(octets: &[u8]) {
    let message = Message::from_stored(octets);
    let lines = message.octets().split_inclusive(|&octet| octet == b'\n');
    assert!(lines.filter(|line| line.ends_with(b"\n")).all(|line| line.ends_with(b"\r\n")));
    assert_eq!(Message::from_stored(message.octets()), message);
}

fn check_content_type(octets: &[u8]) {
    let content_type = ContentType::parse(octets);
    assert!(content_type.kind.contains('/'));
    for name in ["boundary", "charset", "name"] {
        assert!(content_type.parameter(name).is_none_or(|value| value.len() < octets.len()));
    }
}

fn check_encodings(octets: &[u8]) {
    assert!(mime::base64(octets).len() <= octets.len() && mime::quoted_printable(octets).len() <= octets.len());
    let octets = &octets[..octets.len().min(300)];
    assert_eq!(mime::base64(&as_base64(octets)), octets);
    assert_eq!(mime::quoted_printable(&as_quoted_printable(octets)), octets);
}

/// As RFC 2045 section 6.8 says, in lines of 60 characters.
fn as_base64(octets: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = Vec::new();
    for (at, group) in octets.chunks(3).enumerate() {
        let bits = group.iter().fold(0_u32, |bits, &octet| bits << 8 | u32::from(octet)) << (8 * (3 - group.len()));
        let characters = (0..4).map(|place| ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]);
        encoded.extend(characters.take(group.len() + 1).chain([b'='; 2].into_iter().take(3 - group.len())));
        encoded.extend_from_slice(if at % 15 == 14 { b"\r\n" } else { b"" });
    }
    encoded
}

/// As RFC 2045 section 6.7 says, in lines of 20 octets.
fn as_quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for line in octets.chunks(20) {
        for &octet in line {
            match octet {
                b'!'..=b'~' if octet != b'=' => encoded.push(octet),
                octet => encoded.extend_from_slice(format!("={octet:02X}").as_bytes()),
            }
        }
        encoded.extend_from_slice(b"=\r\n");
    }
    encoded
}
