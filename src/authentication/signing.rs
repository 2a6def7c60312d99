//! A DKIM signer for the demonstration and for tests: its keys live as long as it does.
//!
//! *Never does:* sign mail that goes out. mxkeep sends none.

use std::fmt;

use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, SigningKey as _};
use rcgen::PublicKeyData as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::dkim::canonical::{Canonicalization, hash_small_body, write_field, write_signature_field};
use super::dkim::key::dns_name;
use super::dkim::tags::to_base64;
use crate::address::Domain;
use crate::message::{Field, Message};

/// The fields that are signed, if they are there.
const SIGNED_FIELDS: [&str; 7] = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

/// Why there is no key or no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign: {0}")]
pub struct SigningError(String);

impl SigningError {
    fn new(error: impl fmt::Display) -> Self {
        SigningError(error.to_string())
    }
}

/// Signs messages for one domain with one key.
pub struct Signer {
    key: DkimKey,
    pub(super) domain: Domain,
    pub(super) selector: String,
    dns_name: String,
    dns_record: String,
}

impl Signer {
    /// A signer with a new RSA key of 2,048 bits (RFC 8301 section 3.2). `selector` is a DNS label.
    pub fn rsa(domain: &Domain, selector: &str) -> Result<Self, SigningError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).map_err(SigningError::new)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = RsaKey::from_key_der(private).map_err(SigningError::new)?;
        let record = format!("v=DKIM1; k=rsa; p={}", to_base64(&pair.subject_public_key_info()));
        Ok(Self::new(key.into(), domain, selector, record))
    }

    /// A signer with a new Ed25519 key (RFC 8463).
    pub fn ed25519(domain: &Domain, selector: &str) -> Result<Self, SigningError> {
        let private = Ed25519Key::generate_pkcs8().map_err(SigningError::new)?;
        let key = Ed25519Key::from_pkcs8_der(&private).map_err(SigningError::new)?;
        let record = format!("v=DKIM1; k=ed25519; p={}", to_base64(&key.public_key()));
        Ok(Self::new(key.into(), domain, selector, record))
    }

    fn new(key: DkimKey, domain: &Domain, selector: &str, dns_record: String) -> Self {
        let dns_name = dns_name(selector, domain);
        Signer { key, domain: domain.clone(), selector: selector.to_owned(), dns_name, dns_record }
    }

    /// Where the public key has to be published.
    pub fn dns_name(&self) -> &str {
        &self.dns_name
    }

    /// The TXT record to publish there (RFC 6376 section 3.6.1).
    pub fn dns_record(&self) -> &str {
        &self.dns_record
    }

    /// The name of its algorithm, as `a=` has it.
    pub(super) fn algorithm(&self) -> &'static str {
        self.key.algorithm().name()
    }

    /// The signature of these octets, in base64.
    pub(super) fn sign_octets(&self, octets: &[u8]) -> Result<String, SigningError> {
        Ok(to_base64(&self.key.sign(octets).map_err(SigningError::new)?))
    }

    /// The message with a DKIM-Signature field on top (RFC 6376 section 5). Lines have to end with CRLF.
    pub fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, SigningError> {
        let message = Message::new(octets.to_vec());
        let fields: Vec<Field> = message.fields().filter(|f| SIGNED_FIELDS.iter().any(|name| f.is(name))).collect();
        // Of fields with one name the last is signed first (section 5.4.2).
        let names: Vec<_> = fields.iter().rev().map(|field| String::from_utf8_lossy(field.name)).collect();
        let mut signature = format!(
            "DKIM-Signature: v=1; a={}; d={}; s={};\r\n\tc=relaxed/relaxed; h={};\r\n\tbh={};\r\n\tb=",
            self.algorithm(),
            self.domain,
            self.selector,
            names.join(":"),
            to_base64(&hash_small_body(message.body())),
        );
        let mut signed = Vec::new();
        fields.iter().rev().for_each(|field| write_field(field, Canonicalization::Relaxed, &mut signed));
        let (name, body) = signature.split_at("DKIM-Signature:".len());
        let own =
            Field { name: name.trim_end_matches(':').as_bytes(), body: body.as_bytes(), raw: signature.as_bytes() };
        write_signature_field(&own, body.len()..body.len(), Canonicalization::Relaxed, &mut signed);
        signature += &self.sign_octets(&signed)?;
        signature += "\r\n";
        Ok([signature.as_bytes(), octets].concat())
    }
}
