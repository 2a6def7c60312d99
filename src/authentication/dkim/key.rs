//! DKIM keys (RFC 6376 section 3.6.1, RFC 8463 section 4), read as strictly as they are published.
//!
//! *Guarantees:* a [`Key`] is a key for mail of a known type, and its octets are the key that its record says: RSA keys
//! are read through before the library sees them, and it sees nothing else of the record. `g=` counts for nothing (it was
//! RFC 4871's).

use std::sync::Arc;

use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;

use super::tags::{Tags, base64, items, to_base64};
use crate::address::Domain;

/// An Ed25519 key, in octets (RFC 8032 section 5.1.5).
const ED25519_OCTETS: usize = 32;
/// RSA keys that our cryptography verifies with, in bits.
pub(in crate::authentication) const RSA_BITS_MIN: usize = 1_024;
/// RSA keys that our cryptography verifies with, in bits.
pub(in crate::authentication) const RSA_BITS_MAX: usize = 8_192;

/// What is there is broken.
pub(in crate::authentication) const NOT_A_KEY: &str = "the key cannot be understood";

/// A public key and what may be done with it.
#[derive(Clone)]
pub(in crate::authentication) struct Key {
    /// It verifies.
    pub library: Arc<DomainKey>,
    /// The length of an RSA key, in bits; none for Ed25519.
    pub bits: Option<usize>,
    /// `t=y`: its domain is testing.
    pub testing: bool,
    /// `t=s`: `i=` has to be `d=` itself.
    pub strict: bool,
    /// `h=`: it may be used with SHA-1.
    pub sha1: bool,
    /// `h=`: it may be used with SHA-256.
    pub sha256: bool,
}

impl Key {
    /// Is this key for such a signature (RFC 6376 section 6.1.2)? If not, why?
    pub fn refuses(&self, algorithm: Algorithm) -> Option<&'static str> {
        let is_rsa = algorithm != Algorithm::Ed25519Sha256;
        let allowed = match HashAlgorithm::from(algorithm) {
            HashAlgorithm::Sha1 => self.sha1,
            HashAlgorithm::Sha256 => self.sha256,
        };
        match allowed {
            _ if is_rsa != self.bits.is_some() => Some("the key is not for this algorithm"),
            false => Some("the key is not for this hash"),
            true => None,
        }
    }
}

/// Where a key stands (RFC 6376 section 3.6.2.1).
pub(in crate::authentication) fn dns_name(selector: &str, domain: &Domain) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// What the TXT records at a name say. RFC 6376 section 3.6.2.2 leaves several keys undefined: they are none.
pub(in crate::authentication) fn read(texts: &[Vec<u8>]) -> Result<Key, &'static str> {
    let (mut keys, mut trouble) = (Vec::new(), None);
    for text in texts {
        match Tags::parse(text) {
            Some(tags) if is_other(&tags) => trouble = trouble.or(Some("no such key")),
            Some(tags) if tags.get("p").is_some() => keys.push(tags),
            _ => trouble = trouble.or(Some(NOT_A_KEY)),
        }
    }
    match keys.as_slice() {
        [] => Err(trouble.unwrap_or("no such key")),
        [key] => read_one(key),
        _ => Err("there are several keys"),
    }
}

/// A record with another `v=`, or one that is not in front, is to be discarded.
fn is_other(tags: &Tags) -> bool {
    tags.get("v").is_some_and(|version| version != "DKIM1" || !tags.begins_with("v"))
}

fn read_one(tags: &Tags) -> Result<Key, &'static str> {
    let lists =
        |tag: &str, wanted: &str| items(tags.get(tag).unwrap_or("")).any(|item| item.eq_ignore_ascii_case(wanted));
    if tags.get("s").is_some() && !lists("s", "*") && !lists("s", "email") {
        return Err("the key is not for mail");
    }
    let value = tags.get("p").unwrap_or_default();
    if value.is_empty() {
        return Err("the key was revoked");
    }
    let octets = base64(value).ok_or(NOT_A_KEY)?;
    let (octets, bits) = match tags.get("k").unwrap_or("rsa") {
        name if name.eq_ignore_ascii_case("rsa") => {
            rsa(&octets).map(|(key, bits)| (key, Some(bits))).ok_or(NOT_A_KEY)?
        }
        name if name.eq_ignore_ascii_case("ed25519") && octets.len() == ED25519_OCTETS => (octets.as_slice(), None),
        name if name.eq_ignore_ascii_case("ed25519") => return Err(NOT_A_KEY),
        _ => return Err("the key is of an unknown type"),
    };
    let kind = if bits.is_some() { "rsa" } else { "ed25519" };
    let record = format!("k={kind};p={}", to_base64(octets));
    let library = DomainKey::parse(record.as_bytes()).map_err(|_| NOT_A_KEY)?;
    Ok(Key {
        library: Arc::new(library),
        bits,
        testing: lists("t", "y"),
        strict: lists("t", "s"),
        sha1: tags.get("h").is_none() || lists("h", "sha1"),
        sha256: tags.get("h").is_none() || lists("h", "sha256"),
    })
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// 1.2.840.113549.1.1.1, rsaEncryption, as DER.
const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// The RSAPublicKey (RFC 8017 appendix A.1.1) and its length in bits. Section 3.6.1 has it bare, all the world in a
/// SubjectPublicKeyInfo (its errata): both are read.
fn rsa(octets: &[u8]) -> Option<(&[u8], usize)> {
    let wrapped = || {
        let (info, rest) = element(octets, SEQUENCE)?;
        let (algorithm, info) = element(info, SEQUENCE)?;
        let (key, info) = element(info, BIT_STRING)?;
        let is_rsa = algorithm.starts_with(&RSA_ENCRYPTION) && info.is_empty() && rest.is_empty();
        is_rsa.then_some(key.strip_prefix(&[0])?)
    };
    let key = wrapped().unwrap_or(octets);
    let (numbers, rest) = element(key, SEQUENCE)?;
    let (modulus, numbers) = element(numbers, INTEGER)?;
    let (exponent, numbers) = element(numbers, INTEGER)?;
    let is_whole = rest.is_empty() && numbers.is_empty() && !exponent.is_empty();
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = modulus.first().filter(|first| is_whole && **first != 0)?;
    Some((key, modulus.len() * 8 - first.leading_zeros() as usize))
}

/// The contents of a DER element of this kind, and what stands behind it. Its length has to be in the shortest form.
fn element(octets: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = octets.strip_prefix(&[kind])?.split_first()?;
    let (length, rest, least) = match first {
        0..=0x7F => (usize::from(*first), rest, 0),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest, 0x80))?,
        0x82 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest, 0x100))?
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| length >= least)
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;

    /// A 512-bit RSA key.
    const WEAK: &str = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKGwRA0rXmAXKLxF4YfopS4/B+O7zTBc7gNywTKFXUeoAZsfHhuuMPMgM0FPCU\
        LasK8Imdcp8vKQQAfShqlxK/MCAwEAAQ==";

    fn read_texts(texts: &[&str]) -> Result<Key, &'static str> {
        read(&texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn reason(text: &str) -> &'static str {
        read_texts(&[text]).err().unwrap_or("a key")
    }

    #[test]
    fn records_are_read_strictly() {
        let ed25519 = to_base64(&[7; 32]);
        for (text, expected) in [
            (format!("v=DKIM1; p={WEAK}"), "a key"),
            (format!("p={WEAK}"), "a key"),
            (
                format!(" v = DKIM1 ; k = RSA ; t=y:x:s; s=tlsrpt:EMAIL; h=md5:sha256; n=note; x=y; p={WEAK} ; "),
                "a key",
            ),
            (format!("v=DKIM1; g=; p={WEAK}"), "a key"),
            (format!("v=DKIM1; g=nobody; p={WEAK}"), "a key"),
            (format!("k=ed25519; p={ed25519}"), "a key"),
            (format!("v=DKIM2; p={WEAK}"), "no such key"),
            (format!("v=dkim1; p={WEAK}"), "no such key"),
            (format!("k=rsa; v=DKIM1; p={WEAK}"), "no such key"),
            (format!("v=DKIM1: p={WEAK}"), "no such key"),
            ("v=spf1 -all".to_owned(), "no such key"),
            ("v=DKIM1".to_owned(), NOT_A_KEY),
            ("".to_owned(), NOT_A_KEY),
            ("v=DKIM1; p=".to_owned(), "the key was revoked"),
            ("v=DKIM1; k=rsa; p= ".to_owned(), "the key was revoked"),
            (format!("v=DKIM1; s=tlsrpt; p={WEAK}"), "the key is not for mail"),
            (format!("v=DKIM1; s=; p={WEAK}"), "the key is not for mail"),
            (format!("v=DKIM1; k=dsa; p={WEAK}"), "the key is of an unknown type"),
            (format!("v=DKIM1; k=; p={WEAK}"), "the key is of an unknown type"),
            (format!("v=DKIM1; p={WEAK}; p={WEAK}"), NOT_A_KEY),
            (format!("v=DKIM1; t; p={WEAK}"), NOT_A_KEY),
            (format!("v=DKIM1; p={WEAK}="), NOT_A_KEY),
            (format!("v=DKIM1; p=\\{WEAK}"), NOT_A_KEY),
            (format!("v=DKIM1; p=AA{WEAK}"), NOT_A_KEY),
            (format!("v=DKIM1; k=ed25519; p={WEAK}"), NOT_A_KEY),
            (format!("v=DKIM1; p={ed25519}"), NOT_A_KEY),
            ("v=DKIM1; p=MFww".to_owned(), NOT_A_KEY),
        ] {
            assert_eq!(reason(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_key_is_for() {
        let weak = read_texts(&[&format!("v=DKIM1; t=y; h=sha1; p={WEAK}")]).unwrap();
        assert_eq!((weak.bits, weak.testing, weak.strict), (Some(512), true, false));
        assert_eq!(weak.refuses(Algorithm::RsaSha256), Some("the key is not for this hash"));
        assert_eq!(weak.refuses(Algorithm::RsaSha1), None);
        assert_eq!(weak.refuses(Algorithm::Ed25519Sha256), Some("the key is not for this algorithm"));
        let ed25519 = read_texts(&[&format!("k=ed25519; t=s; p={}", to_base64(&[7; 32]))]).unwrap();
        assert_eq!((ed25519.bits, ed25519.testing, ed25519.strict), (None, false, true));
        assert_eq!(ed25519.refuses(Algorithm::Ed25519Sha256), None);
        assert_eq!(ed25519.refuses(Algorithm::RsaSha256), Some("the key is not for this algorithm"));
    }

    #[test]
    fn several_keys_are_none_and_other_records_count_for_nothing() {
        let key = format!("v=DKIM1; p={WEAK}");
        assert_eq!(read_texts(&[&key, &key]).err(), Some("there are several keys"));
        assert_eq!(read_texts(&[&key, "v=DKIM1; p="]).err(), Some("there are several keys"));
        assert!(read_texts(&["v=spf1 -all", &key, "some text"]).is_ok());
        assert_eq!(read_texts(&[]).err(), Some("no such key"));
    }

    #[test]
    fn the_length_of_a_key_is_exact() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let info = pair.subject_public_key_info();
        let (bare, bits) = rsa(&info).unwrap();
        assert_eq!((bits, rsa(bare).map(|(key, bits)| (key == bare, bits))), (2_048, Some((true, 2_048))));
        // The library rounds up to whole octets.
        let mut modulus = vec![SEQUENCE, 0x81, 136, INTEGER, 0x81, 128, 0x7F];
        modulus.extend([0xFF; 127]);
        modulus.extend([INTEGER, 3, 1, 0, 1]);
        assert_eq!(rsa(&modulus).map(|(_, bits)| bits), Some(1_023));
        for cut in 0..bare.len() {
            assert!(rsa(&bare[..cut]).is_none(), "{cut}");
        }
        for cut in 0..info.len() {
            assert!(rsa(&info[..cut]).is_none(), "{cut}");
        }
        assert!(rsa(&[&info[..], b"\0"].concat()).is_none());
        let mut long = modulus.clone();
        // 128 octets in two octets of length.
        long.splice(4..6, [0x82, 0, 128]);
        long[2] = 137;
        assert!(rsa(&long).is_none());
    }
}
