//! A message as its signatures see it, those of DKIM and of ARC alike: its header fields by name, and hashes of its body.
//!
//! *Guarantees:* what a signature signs is found in one step for each name. The body is hashed once for each
//! canonicalization, hash and length, whoever asks.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use tokio::sync::Mutex;

use super::canonical::{BodyHash, Canonicalization, hash_body, write_field, write_signature_field};
use crate::message::{Field, Message};

/// Header fields of a message whose signatures are verified: each signed name is looked for among them.
pub(in crate::authentication) const FIELDS_MAX: usize = 2_000;
/// The header of a message whose signatures are verified, in octets: each signature may have all of it hashed.
pub(in crate::authentication) const HEADER_OCTETS_MAX: usize = 1_048_576;

/// A message, and what was made of it for its signatures.
pub(in crate::authentication) struct Content<'m> {
    message: &'m Message,
    header: OnceLock<Header<'m>>,
    hashes: Mutex<HashMap<Kind, BodyHash>>,
}

/// Of a body hash: the canonicalization, whether it is SHA-256, and `l=`.
type Kind = (Canonicalization, bool, Option<u64>);

impl<'m> Content<'m> {
    /// Takes a message. Nothing is done yet.
    pub fn new(message: &'m Message) -> Self {
        Content { message, header: OnceLock::new(), hashes: Mutex::default() }
    }

    /// The message.
    pub fn message(&self) -> &'m Message {
        self.message
    }

    /// Is the header too large to verify signatures of it?
    pub fn is_oversized(&self) -> bool {
        self.message.header().len() > HEADER_OCTETS_MAX || self.message.fields().nth(FIELDS_MAX).is_some()
    }

    /// What a signature field signs: the fields of these names (in lower case) and itself, but for the value of its `b=`,
    /// which stands at `b` in its body (RFC 6376 section 3.7).
    pub fn signed(&self, names: &[String], own: Field, b: Range<usize>, canonicalization: Canonicalization) -> Vec<u8> {
        let header = self.header.get_or_init(|| Header::new(self.message));
        let mut octets = header.signed(names, Some(own), canonicalization);
        write_signature_field(&own, b, canonicalization, &mut octets);
        octets
    }

    /// The hash of the body, or of the first `length` octets of its canonical form.
    pub async fn body_hash(&self, form: Canonicalization, algorithm: Algorithm, length: Option<u64>) -> BodyHash {
        let algorithm = HashAlgorithm::from(algorithm);
        let kind = (form, algorithm == HashAlgorithm::Sha256, length);
        // Who comes while it is being taken waits for it.
        let mut hashes = self.hashes.lock().await;
        if let Some(hash) = hashes.get(&kind) {
            return hash.clone();
        }
        let hash = hash_body(self.message.body(), form, algorithm, length).await;
        hashes.insert(kind, hash.clone());
        hash
    }
}

/// A message's header fields by name, lowest first.
pub(in crate::authentication) struct Header<'m>(HashMap<Vec<u8>, Vec<Field<'m>>>);

impl<'m> Header<'m> {
    /// Looks a message's fields through, once.
    pub fn new(message: &'m Message) -> Self {
        let mut by_name = HashMap::<_, Vec<_>>::new();
        for field in message.fields() {
            by_name.entry(field.name.to_ascii_lowercase()).or_default().push(field);
        }
        by_name.values_mut().for_each(|fields| fields.reverse());
        Header(by_name)
    }

    /// The canonical form of the fields that `names` (in lower case) lists, in that order. A name that is listed again
    /// means the next field above; one that there is no field for adds nothing (RFC 6376 section 5.4.2). `own`, the
    /// signature itself, is no field yet where it is made.
    pub fn signed(&self, names: &[String], own: Option<Field>, canonicalization: Canonicalization) -> Vec<u8> {
        let (mut out, mut next) = (Vec::new(), HashMap::<&str, usize>::new());
        for name in names {
            let Some(fields) = self.0.get(name.as_bytes()) else { continue };
            let at = next.entry(name).or_default();
            if fields.get(*at).is_some_and(|field| own.is_some_and(|own| std::ptr::eq(field.raw, own.raw))) {
                *at += 1;
            }
            let Some(field) = fields.get(*at) else { continue };
            *at += 1;
            write_field(field, canonicalization, &mut out);
        }
        out
    }
}
