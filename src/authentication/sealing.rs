//! An ARC sealer for the demonstration and for tests: its keys live as long as it does.
//!
//! *Does:* adds a set to a message as RFC 8617 section 5.1 has it: ARC-Authentication-Results, ARC-Message-Signature and
//! ARC-Seal.
//! *Never does:* seal mail that goes out (mxkeep sends none), or look at the chain that it prolongs: it always says that it
//! was valid.

use super::dkim::canonical::{Canonicalization, hash_small_body, write_field, write_relaxed};
use super::dkim::clock;
use super::dkim::content::Header;
use super::dkim::tags::to_base64;
use super::signing::{Signer, SigningError};
use crate::address::Domain;
use crate::message::Message;

/// The fields that are signed. One that is not there cannot be added unnoticed.
const SIGNED_NAMES: [&str; 8] =
    ["from", "to", "subject", "date", "message-id", "mime-version", "content-type", "dkim-signature"];
/// Characters of a signature on one line.
const LINE_CHARACTERS: usize = 72;

/// Seals messages for one domain with one key.
pub struct Sealer(Signer);

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
    pub fn rsa(domain: &Domain, selector: &str) -> Result<Self, SigningError> {
        Signer::rsa(domain, selector).map(Sealer)
    }

    /// A sealer with a new Ed25519 key (RFC 8463).
    pub fn ed25519(domain: &Domain, selector: &str) -> Result<Self, SigningError> {
        Signer::ed25519(domain, selector).map(Sealer)
    }

    /// Where the public key has to be published.
    pub fn dns_name(&self) -> &str {
        self.0.dns_name()
    }

    /// The TXT record to publish there (RFC 6376 section 3.6.1).
    pub fn dns_record(&self) -> &str {
        self.0.dns_record()
    }

    /// The message with one more set on top, that of the next instance. Lines have to end with CRLF.
    /// `authentication_results` is what an Authentication-Results field would say, its authserv-id first.
    pub fn seal(&self, message: &[u8], authentication_results: &str) -> Result<Vec<u8>, SigningError> {
        self.seal_changed(message, authentication_results, |_| {})
    }

    /// The same, with what `change` makes of the set before it is signed.
    pub(super) fn seal_changed(
        &self,
        message: &[u8],
        authentication_results: &str,
        change: impl FnOnce(&mut Draft),
    ) -> Result<Vec<u8>, SigningError> {
        let message = Message::new(message.to_vec());
        let mut draft = self.draft(&message, authentication_results);
        change(&mut draft);
        let Draft { results, names, signature, seal } = draft;
        let body = to_base64(&hash_small_body(message.body()));
        let signature = format!("{signature}; h={}; bh={body}; b=", names.join(":"));
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
        let Sealer(signer) = self;
        let who = format!("a={}; d={}; s={}; t={}", signer.algorithm(), signer.domain, signer.selector, clock());
        Draft {
            results: format!("i={instance}; {authentication_results}"),
            names: SIGNED_NAMES.map(str::to_owned).to_vec(),
            signature: format!("i={instance}; c=relaxed/relaxed; {who}"),
            seal: format!("i={instance}; cv={}; {who}", if instance == 1 { "none" } else { "pass" }),
        }
    }

    /// A signature field's body, its signature included: that of what is signed and of the field itself.
    fn complete(&self, name: &str, tags: String, mut signed: Vec<u8>) -> Result<String, SigningError> {
        write_relaxed(name.as_bytes(), tags.as_bytes(), &mut signed);
        let signature = self.0.sign_octets(&signed)?;
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
            write_field(field, Canonicalization::Relaxed, &mut sealed);
        }
    }
    for (name, body) in [("ARC-Authentication-Results", results), ("ARC-Message-Signature", signature)] {
        write_relaxed(name.as_bytes(), body.as_bytes(), &mut sealed);
        sealed.extend_from_slice(b"\r\n");
    }
    sealed
}
