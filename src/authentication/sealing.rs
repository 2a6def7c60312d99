//! An ARC sealer for the demonstration and for tests: its keys live as long as it does.
//!
//! *Does:* adds a set to a message as RFC 8617 section 5.1 has it: ARC-Authentication-Results, ARC-Message-Signature and
//! ARC-Seal.
//! *Never does:* seal mail that goes out (mxkeep sends none), or look at the chain that it prolongs: it always says that it
//! was valid.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, SigningKey as _};
use rcgen::PublicKeyData as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::arc::canonical::{BodyHash, Canonicalization, relaxed_field};
use super::arc::header::Header;
use super::signing::base64;
use crate::address::Domain;
use crate::message::Message;

/// The fields that are signed. One that is not there cannot be added unnoticed.
const SIGNED_NAMES: [&str; 8] =
    ["from", "to", "subject", "date", "message-id", "mime-version", "content-type", "dkim-signature"];
/// Characters of a signature on one line.
const LINE_CHARACTERS: usize = 72;

/// Why there is no key or no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal: {0}")]
pub struct SealingError(String);

impl SealingError {
    fn new(error: impl fmt::Display) -> Self {
        SealingError(error.to_string())
    }
}

/// Seals messages for one domain with one key.
pub struct Sealer {
    key: DkimKey,
    algorithm: &'static str,
    domain: Domain,
    selector: String,
    dns_name: String,
    dns_record: String,
}

/// A set before it is signed: what a bad sealer would write otherwise.
pub(super) struct Draft {
    /// The body of ARC-Authentication-Results.
    pub results: String,
    /// The names in the signature's `h=`, in lower case.
    pub names: Vec<String>,
    /// The tags of ARC-Message-Signature, without `h=`, `bh=` and `b=`.
    pub signature: String,
    /// The tags of ARC-Seal, without `b=`.
    pub seal: String,
}

impl Sealer {
    /// A sealer with a new RSA key of 2,048 bits (RFC 8301 section 3.2). `selector` is a DNS label.
    pub fn rsa(domain: &Domain, selector: &str) -> Result<Self, SealingError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).map_err(SealingError::new)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = RsaKey::from_key_der(private).map_err(SealingError::new)?;
        let record = format!("v=DKIM1; k=rsa; p={}", base64(&pair.subject_public_key_info()));
        Ok(Self::new(key.into(), "rsa-sha256", domain, selector, record))
    }

    /// A sealer with a new Ed25519 key (RFC 8463).
    pub fn ed25519(domain: &Domain, selector: &str) -> Result<Self, SealingError> {
        let private = Ed25519Key::generate_pkcs8().map_err(SealingError::new)?;
        let key = Ed25519Key::from_pkcs8_der(&private).map_err(SealingError::new)?;
        let record = format!("v=DKIM1; k=ed25519; p={}", base64(&key.public_key()));
        Ok(Self::new(key.into(), "ed25519-sha256", domain, selector, record))
    }

    fn new(key: DkimKey, algorithm: &'static str, domain: &Domain, selector: &str, dns_record: String) -> Self {
        let dns_name = format!("{selector}._domainkey.{domain}");
        Sealer { key, algorithm, domain: domain.clone(), selector: selector.to_owned(), dns_name, dns_record }
    }

    /// Where the public key has to be published.
    pub fn dns_name(&self) -> &str {
        &self.dns_name
    }

    /// The TXT record to publish there (RFC 6376 section 3.6.1).
    pub fn dns_record(&self) -> &str {
        &self.dns_record
    }

    /// The message with one more set on top, that of the next instance. Lines have to end with CRLF.
    /// `authentication_results` is what an Authentication-Results field would say, its authserv-id first.
    pub fn seal(&self, message: &[u8], authentication_results: &str) -> Result<Vec<u8>, SealingError> {
        self.seal_changed(message, authentication_results, |_| {})
    }

    /// The same, with what `change` makes of the set before it is signed.
    pub(super) fn seal_changed(
        &self,
        message: &[u8],
        authentication_results: &str,
        change: impl FnOnce(&mut Draft),
    ) -> Result<Vec<u8>, SealingError> {
        let message = Message::new(message.to_vec());
        let mut draft = self.draft(&message, authentication_results);
        change(&mut draft);
        let Draft { results, names, signature, seal } = draft;
        let mut body = BodyHash::new(message.body(), Canonicalization::Relaxed);
        while body.advance() {}
        let signature = format!("{signature}; h={}; bh={}; b=", names.join(":"), base64(&body.finish()));
        let signed = Header::new(&message).signed(&names, None, Canonicalization::Relaxed);
        let signature = self.complete("ARC-Message-Signature", signature, signed)?;
        let sealed = sealed(&message, &results, &signature);
        let seal = self.complete("ARC-Seal", format!("{seal}; b="), sealed)?;
        let set = format!(
            "ARC-Seal: {seal}\r\nARC-Message-Signature: {signature}\r\nARC-Authentication-Results: {results}\r\n"
        );
        Ok([set.as_bytes(), message.octets()].concat())
    }

    fn draft(&self, message: &Message, authentication_results: &str) -> Draft {
        let instance = message.fields().filter(|field| field.is("ARC-Seal")).count() + 1;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Sealer { algorithm, domain, selector, .. } = self;
        let who = format!("a={algorithm}; d={domain}; s={selector}; t={seconds}");
        Draft {
            results: format!("i={instance}; {authentication_results}"),
            names: SIGNED_NAMES.map(str::to_owned).to_vec(),
            signature: format!("i={instance}; c=relaxed/relaxed; {who}"),
            seal: format!("i={instance}; cv={}; {who}", if instance == 1 { "none" } else { "pass" }),
        }
    }

    /// A signature field's body, its signature included: that of what is signed and of the field itself.
    fn complete(&self, name: &str, tags: String, mut signed: Vec<u8>) -> Result<String, SealingError> {
        relaxed_field(name.as_bytes(), tags.as_bytes(), &mut signed);
        let signed = signed.strip_suffix(b"\r\n").unwrap_or(&signed);
        let signature = base64(&self.key.sign(signed).map_err(SealingError::new)?);
        let lines = signature.as_bytes().chunks(LINE_CHARACTERS).map(String::from_utf8_lossy);
        Ok(lines.fold(tags, |field, line| field + "\r\n\t" + &line))
    }
}

/// What a seal signs before itself: every set below, and the rest of its own (RFC 8617 section 5.1.1).
fn sealed(message: &Message, results: &str, signature: &str) -> Vec<u8> {
    let mut sealed = Vec::new();
    let of = |name: &'static str| message.fields().filter(move |field| field.is(name)).collect::<Vec<_>>();
    let names = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];
    let [all_results, signatures, seals] = names.map(of);
    for ((results, signature), seal) in all_results.iter().zip(&signatures).zip(&seals).rev() {
        for field in [results, signature, seal] {
            relaxed_field(field.name, field.body, &mut sealed);
        }
    }
    relaxed_field(b"ARC-Authentication-Results", results.as_bytes(), &mut sealed);
    relaxed_field(b"ARC-Message-Signature", signature.as_bytes(), &mut sealed);
    sealed
}
