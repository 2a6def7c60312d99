//! RSA verification by the book (RFC 8017 section 8.2.2), for keys that are too short for the server's cryptography, and
//! to have a second opinion. Slow, and for public data only.

use mail_auth::common::crypto::HashAlgorithm;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

/// Base 64 to octets; white space does not count.
pub fn base64(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).expect("base 64").to_vec()
}

/// Does this signature of these octets verify with the key, a SubjectPublicKeyInfo?
pub fn verifies(key: &[u8], octets: &[u8], signature: &[u8], hash: HashAlgorithm) -> bool {
    let (modulus, exponent) = numbers(key);
    let length = modulus.len();
    if signature.len() != length {
        return false;
    }
    assert_eq!(exponent, [1, 0, 1], "65,537");
    let (n, s) = (limbs(&modulus), limbs(signature));
    let mut power = s.clone();
    for _ in 0..16 {
        power = multiply(&power, &power, &n);
    }
    let power = multiply(&power, &s, &n);
    let digest_info: &[u8] = match hash {
        HashAlgorithm::Sha1 => &[0x30, 0x21, 0x30, 9, 6, 5, 0x2B, 0x0E, 3, 2, 0x1A, 5, 0, 4, 20],
        HashAlgorithm::Sha256 => &[0x30, 0x31, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32],
    };
    let digest = [digest_info, hash.hash(octets).as_ref()].concat();
    let mut expected = vec![0xFF; length];
    (expected[0], expected[1]) = (0, 1);
    let start = length - digest.len();
    expected[start - 1] = 0;
    expected[start..].copy_from_slice(&digest);
    power == limbs(&expected)
}

/// The modulus and the exponent.
fn numbers(info: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (info, _) = element(info);
    let (_, rest) = element(info);
    let (key, _) = element(rest);
    let (key, _) = element(&key[1..]);
    let (modulus, rest) = element(key);
    (modulus.strip_prefix(&[0]).unwrap_or(modulus).to_vec(), element(rest).0.to_vec())
}

/// The contents of a DER element, and what stands behind it.
fn element(octets: &[u8]) -> (&[u8], &[u8]) {
    match octets[1] {
        0x82 => octets[4..].split_at(usize::from(octets[2]) << 8 | usize::from(octets[3])),
        0x81 => octets[3..].split_at(usize::from(octets[2])),
        length => octets[2..].split_at(usize::from(length)),
    }
}

/// Least significant first, one more than it takes.
fn limbs(octets: &[u8]) -> Vec<u32> {
    let limb = |group: &[u8]| group.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
    octets.rchunks(4).map(limb).chain([0]).collect()
}

fn multiply(one: &[u32], other: &[u32], n: &[u32]) -> Vec<u32> {
    let mut product = vec![0; n.len()];
    for limb in one.iter().rev() {
        for bit in (0..32).rev() {
            let same = product.clone();
            add(&mut product, &same, n);
            if limb >> bit & 1 == 1 {
                add(&mut product, other, n);
            }
        }
    }
    product
}

/// Modulo n: both are below it.
fn add(sum: &mut [u32], other: &[u32], n: &[u32]) {
    let mut carry = 0;
    for (limb, other) in sum.iter_mut().zip(other) {
        carry += u64::from(*limb) + u64::from(*other);
        *limb = carry as u32;
        carry >>= 32;
    }
    if sum.iter().rev().ge(n.iter().rev()) {
        let mut borrow = 0;
        for (limb, n) in sum.iter_mut().zip(n) {
            let difference = i64::from(*limb) - i64::from(*n) - borrow;
            *limb = difference as u32;
            borrow = i64::from(difference < 0);
        }
    }
}
