//! RSA signatures by the book (RFC 8017 section 8.2), for keys that are too short for the server's cryptography, and to have
//! a second opinion. Slow, and for published keys only.

use mail_auth::common::crypto::HashAlgorithm;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

/// Base 64 to octets; white space does not count.
pub fn base64(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).expect("base 64").to_vec()
}

/// Octets to base 64.
pub fn to_base64(octets: &[u8]) -> String {
    let mut text = Vec::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in octets.chunks(3) {
        let bits = group.iter().chain(&[0, 0]).take(3).fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let digit = |at: usize| if at > group.len() { b'=' } else { alphabet[(bits >> (18 - 6 * at) & 63) as usize] };
        text.extend((0..4).map(digit));
    }
    String::from_utf8(text).expect("ASCII")
}

/// Does this signature of these octets verify with the key, a SubjectPublicKeyInfo?
pub fn verifies(key: &[u8], octets: &[u8], signature: &[u8], hash: HashAlgorithm) -> bool {
    let (modulus, exponent) = numbers(key);
    signature.len() == modulus.len()
        && power(signature, &exponent, &modulus) == limbs(&encoded(octets, hash, modulus.len()))
}

/// A private key.
pub struct PrivateKey {
    modulus: Vec<u8>,
    public_exponent: Vec<u8>,
    exponent: Vec<u8>,
}

impl PrivateKey {
    /// Reads an RSAPrivateKey (RFC 8017 appendix A.1.2).
    pub fn from_der(der: &[u8]) -> Self {
        let (_, rest) = element(element(der).0);
        let (modulus, rest) = element(rest);
        let (public_exponent, rest) = element(rest);
        let (exponent, _) = element(rest);
        let number = |octets: &[u8]| octets.strip_prefix(&[0]).unwrap_or(octets).to_vec();
        PrivateKey { modulus: number(modulus), public_exponent: number(public_exponent), exponent: number(exponent) }
    }

    /// The RSAPublicKey (RFC 8017 appendix A.1.1).
    pub fn public_key(&self) -> Vec<u8> {
        let integer = |octets: &[u8]| tagged(2, &[&[0], octets].concat());
        tagged(0x30, &[integer(&self.modulus), tagged(2, &self.public_exponent)].concat())
    }

    /// Signs with SHA-256.
    pub fn sign(&self, octets: &[u8]) -> Vec<u8> {
        let length = self.modulus.len();
        let limbs = power(&encoded(octets, HashAlgorithm::Sha256, length), &self.exponent, &self.modulus);
        let octets: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
        octets[octets.len() - length..].to_vec()
    }
}

/// A DER element.
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    match length {
        0..=127 => [&[tag, length as u8], contents].concat(),
        128..=255 => [&[tag, 0x81, length as u8], contents].concat(),
        _ => [&[tag, 0x82, (length >> 8) as u8, length as u8], contents].concat(),
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2).
fn encoded(octets: &[u8], hash: HashAlgorithm, length: usize) -> Vec<u8> {
    let digest_info: &[u8] = match hash {
        HashAlgorithm::Sha1 => &[0x30, 0x21, 0x30, 9, 6, 5, 0x2B, 0x0E, 3, 2, 0x1A, 5, 0, 4, 20],
        HashAlgorithm::Sha256 => &[0x30, 0x31, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32],
    };
    let digest = [digest_info, hash.hash(octets).as_ref()].concat();
    [&[0, 1][..], &vec![0xFF; length - 3 - digest.len()], &[0], &digest].concat()
}

fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u32> {
    let (n, base) = (limbs(modulus), limbs(base));
    let mut power = vec![0; n.len()];
    power[0] = 1;
    for octet in exponent {
        for bit in (0..8).rev() {
            power = multiply(&power, &power, &n);
            if octet >> bit & 1 == 1 {
                power = multiply(&power, &base, &n);
            }
        }
    }
    power
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
            double(&mut product);
            reduce(&mut product, n);
            if limb >> bit & 1 == 1 {
                add(&mut product, other);
                reduce(&mut product, n);
            }
        }
    }
    product
}

fn double(number: &mut [u32]) {
    let mut carry = 0;
    for limb in number {
        (*limb, carry) = (*limb << 1 | carry, *limb >> 31);
    }
}

fn add(sum: &mut [u32], other: &[u32]) {
    let mut carry = 0;
    for (limb, other) in sum.iter_mut().zip(other) {
        carry += u64::from(*limb) + u64::from(*other);
        *limb = carry as u32;
        carry >>= 32;
    }
}

/// What was below twice n is then below n.
fn reduce(number: &mut [u32], n: &[u32]) {
    if number.iter().rev().ge(n.iter().rev()) {
        let mut borrow = 0;
        for (limb, n) in number.iter_mut().zip(n) {
            let difference = i64::from(*limb) - i64::from(*n) - borrow;
            *limb = difference as u32;
            borrow = i64::from(difference < 0);
        }
    }
}
