//! The keys of a chain: each is looked up once, and all of them at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::set::Signature;
use super::{KEYS_MAX, Reason};
use crate::authentication::dkim::key::{Key, RSA_BITS_MAX, RSA_BITS_MIN, dns_name};
use crate::authentication::{DKIM_SECONDS_MAX, Inner};

/// Why a chain does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is broken.
    Fails(Reason),
    /// Nobody can tell now.
    Unknown(Reason),
}

/// The keys of one message, by their names in DNS.
pub struct Keys(HashMap<String, Result<Arc<Key>, Trouble>>);

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
                let key = timeout_at(deadline, inner.dkim.key(&inner.resolver, &name)).await;
                (name, key)
            });
        }
        while let Some(lookup) = lookups.join_next().await {
            let Ok((name, Ok(found))) = lookup else { continue };
            let key = match found {
                Ok(key) => key.map_err(Trouble::Fails),
                Err(_) => Err(Trouble::Unknown("a key could not be looked up")),
            };
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
        usable(key, signature).map_err(Trouble::Fails)?;
        let verified = key.library.p.verify_bytes(signed, &signature.octets, signature.algorithm);
        verified.map_err(|_| Trouble::Fails(fails))
    }
}

fn name(signature: &Signature) -> String {
    dns_name(signature.selector.as_str(), &signature.domain)
}

/// The key, if signatures like this one count under it.
fn usable(key: &Key, signature: &Signature) -> Result<(), Reason> {
    match key.bits {
        Some(bits) if bits < RSA_BITS_MIN => return Err("a key is too short"),
        Some(bits) if bits > RSA_BITS_MAX => return Err("a key is too long"),
        _ => {}
    }
    // RFC 6376 section 3.6.1: as if it had not been signed.
    if key.testing {
        return Err("a key is being tested by its domain");
    }
    key.refuses(signature.algorithm).map_or(Ok(()), Err)
}
