//! DKIM keys: read strictly once, and kept for the time to live of their records.
//!
//! *Guarantees:* that there is no key, or none that can be understood, is kept like a key; that nobody could tell is not. The
//! memory is bounded, and the oldest go first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::dkim::key::{self, Key};
use crate::dns::{DnsError, Resolver};

/// Keys that are kept, in octets.
const RECORDS_OCTETS_MAX: u64 = 16 << 20;
/// What a record takes at least, in octets.
const RECORD_OCTETS_MIN: usize = 1_024;
/// What a parsed record takes for each octet of its text.
const OCTETS_FOR_EACH: usize = 16;
/// That there can be no key is kept this long, in seconds.
const NONE_SECONDS: u64 = 30;

/// A key, or why there is none.
pub(super) type KeyRecord = Result<Arc<Key>, &'static str>;

/// The keys that are remembered. Cheap to clone: clones share them.
#[derive(Clone)]
pub(super) struct Records {
    kept: Cache<Box<str>, Kept>,
}

#[derive(Clone)]
struct Kept {
    key: KeyRecord,
    octets: u32,
    valid_until: Instant,
}

impl Records {
    /// No keys yet.
    pub fn new() -> Self {
        Self::bounded(RECORDS_OCTETS_MAX)
    }

    fn bounded(octets_max: u64) -> Self {
        let kept = Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, kept: &Kept| kept.octets)
            .max_capacity(octets_max)
            .build();
        Records { kept }
    }

    /// The key at `name`, from memory or from DNS. The error is always a temporary one: nobody could tell.
    pub async fn key(&self, resolver: &Resolver, name: &str) -> Result<KeyRecord, DnsError> {
        let name = memory_name(name);
        if let Some(key) = self.find(&name) {
            return Ok(key);
        }
        let soon = Instant::now() + Duration::from_secs(NONE_SECONDS);
        let (texts, valid_until) = match resolver.txt(&name).await {
            Ok(texts) => (Some(texts.records), texts.valid_until),
            Err(DnsError::NoRecords { valid_until, .. }) => (Some(Vec::new()), valid_until),
            Err(error) if error.is_temporary() => return Err(error),
            // More than is read.
            Err(DnsError::TooLarge) => (None, soon),
            // No legal DNS name: there can be none.
            Err(_) => (Some(Vec::new()), soon),
        };
        let key = texts.as_deref().map_or(Err(key::NOT_A_KEY), key::read).map(Arc::new);
        let octets = RECORD_OCTETS_MIN + OCTETS_FOR_EACH * texts.iter().flatten().map(Vec::len).sum::<usize>();
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.kept.insert(name.into(), Kept { key: key.clone(), octets, valid_until });
        Ok(key)
    }

    /// The same from memory alone.
    pub fn known_key(&self, name: &str) -> Option<KeyRecord> {
        self.find(&memory_name(name))
    }

    fn find(&self, name: &str) -> Option<KeyRecord> {
        let kept = self.kept.get(name)?;
        (kept.valid_until > Instant::now()).then_some(kept.key)
    }
}

fn memory_name(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::responder::{Record as ZoneRecord, Responder, Zone};

    async fn start() -> (Responder, Resolver) {
        let responder = Responder::start(Zone::default()).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        (responder, resolver)
    }

    #[tokio::test]
    async fn the_newest_key_is_always_there() {
        let (responder, resolver) = start().await;
        let records = Records::bounded(64 << 10);
        // An Ed25519 key.
        let key = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        responder.add("s._domainkey.often.example", ZoneRecord::txt(key));
        for at in 0..200 {
            let name = format!("s._domainkey.n{at}.example");
            responder.add(&name, ZoneRecord::txt(&format!("{key}; x={}", "a".repeat(2 * at))));
            records.key(&resolver, &name).await.unwrap().unwrap();
            records.kept.run_pending_tasks();
            assert!(matches!(records.known_key(&name), Some(Ok(_))), "{name}");
            assert!(records.kept.weighted_size() <= 64 << 10);
            for _ in 0..5 {
                records.key(&resolver, "s._domainkey.often.example").await.unwrap().unwrap();
            }
        }
    }

    #[tokio::test]
    async fn where_no_key_can_be_there_is_none() {
        let (_responder, resolver) = start().await;
        let records = Records::new();
        for name in [format!("s._domainkey.{}example", "a.".repeat(121)), "s._domainkey.a..b".to_owned()] {
            assert!(records.key(&resolver, &name).await.unwrap().is_err(), "{name}");
            assert!(matches!(records.known_key(&name), Some(Err(_))), "{name}");
        }
    }
}
