//! The keys of a chain: each is looked up once, and all of them at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::DkimError;
use mail_auth::{Error, Txt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::chain::Trouble;
use super::set::Signature;
use super::{KEYS_MAX, Reason};
use crate::authentication::{DKIM_SECONDS_MAX, Inner};

/// RSA keys below this do not verify, in bits (RFC 8301 section 3.2).
const RSA_KEY_BITS_MIN: usize = 1_024;
/// The library's flag for `t=y` in a key record.
const TESTING_FLAG: u64 = 0x10;

/// The keys of one message, by their names in DNS.
pub struct Keys(HashMap<String, Result<Arc<DomainKey>, Trouble>>);

impl Keys {
    /// Looks the keys of these signatures up: of the first [`KEYS_MAX`] different ones.
    pub async fn fetch(inner: &Arc<Inner>, signatures: impl Iterator<Item = &Signature>) -> Self {
        let deadline = Instant::now() + Duration::from_secs(DKIM_SECONDS_MAX);
        let (mut lookups, mut keys) = (JoinSet::new(), HashMap::new());
        for name in signatures.map(name) {
            if keys.len() == KEYS_MAX || keys.contains_key(&name) {
                continue;
            }
            keys.insert(name.clone(), Err(Trouble::Unknown("looking a key up took too long")));
            let inner = inner.clone();
            lookups.spawn(async move {
                let key = timeout_at(deadline, inner.dkim.load(&inner.resolver, &name)).await;
                (name, key)
            });
        }
        while let Some(lookup) = lookups.join_next().await {
            let Ok((name, Ok(record))) = lookup else { continue };
            let key = record.map_or(Err(Trouble::Unknown("a key could not be looked up")), usable);
            keys.insert(name, key);
        }
        Keys(keys)
    }

    /// Verifies a signature of these octets.
    pub fn verify(&self, signature: &Signature, signed: &[u8], fails: Reason) -> Result<(), Trouble> {
        let key = match self.0.get(&name(signature)) {
            Some(key) => key.as_ref().map_err(|trouble| *trouble)?,
            None => return Err(Trouble::Unknown("there are too many keys to look up")),
        };
        key.p.verify_bytes(signed, &signature.octets, signature.algorithm).map_err(|_| Trouble::Fails(fails))
    }
}

/// Where a signature's key stands (RFC 6376 section 3.6.2.1).
fn name(signature: &Signature) -> String {
    format!("{}._domainkey.{}", signature.selector, signature.domain)
}

/// The key, if signatures under it count.
fn usable(record: Txt) -> Result<Arc<DomainKey>, Trouble> {
    Err(Trouble::Fails(match record {
        Txt::DomainKey(key) if key.p.public_key_bits() < RSA_KEY_BITS_MIN => "a key is too short",
        // RFC 6376 section 3.6.1: as if it had not been signed.
        Txt::DomainKey(key) if key.has_flag(TESTING_FLAG) => "a key is being tested by its domain",
        Txt::DomainKey(key) => return Ok(key),
        Txt::Error(Error::Dkim(DkimError::RevokedPublicKey)) => "a key was revoked",
        Txt::Error(Error::Dkim(DkimError::UnsupportedKeyType)) => "a key is of an unknown type or too short",
        Txt::Error(Error::Dkim(DkimError::UnsupportedAlgorithm)) => "a key is not for this use",
        Txt::Error(Error::Dns(_)) => "a key is not there",
        _ => "a key cannot be understood",
    }))
}
