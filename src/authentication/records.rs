//! What domains publish about their mail: DKIM and DMARC records, read strictly once and kept for their time to live.
//!
//! *Guarantees:* only this module fills the memory that the verifying library reads from. The library keeps whatever it
//! happened to ask for under the name alone; a sender could then have one method ask for another's
//! records and spoil them for everybody. Each method has a memory of its own, and none takes what the library offers.
//! *Works around in the library:* two DMARC records (RFC 9989 section 4.10.1: none) were as good as one.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::{Duration, Instant};

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::Dmarc;
use mail_auth::{DnsError as LibraryDnsError, Error, ResolverCache, Txt};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::dns::{DnsError, Resolver};

/// Records that are kept, for each method, in octets.
const RECORDS_OCTETS_MAX: u64 = 16 << 20;
/// What a record takes at least, in octets.
const RECORD_OCTETS_MIN: usize = 1_024;
/// What a parsed record takes for each octet of its text.
const OCTETS_FOR_EACH: usize = 16;
/// A record is kept at least this long, in seconds: it has to outlive the check that asked for it.
const RECORD_SECONDS_MIN: u64 = 30;
/// RSA keys below this do not verify, in bits (RFC 8301 section 3.2).
const RSA_KEY_BITS_MIN: usize = 1_024;

/// The memory of one method. Clones share it.
#[derive(Clone)]
pub(super) struct Records {
    read: fn(&[Vec<u8>]) -> Txt,
    kept: Cache<Box<str>, Kept>,
}

#[derive(Clone)]
struct Kept {
    record: Txt,
    octets: u32,
    valid_until: Instant,
}

impl Records {
    /// DKIM keys.
    pub fn dkim() -> Self {
        Self::new(read_key)
    }

    /// DMARC policy records.
    pub fn dmarc() -> Self {
        Self::new(read_dmarc)
    }

    fn new(read: fn(&[Vec<u8>]) -> Txt) -> Self {
        Self::bounded(read, RECORDS_OCTETS_MAX)
    }

    /// The oldest go first. The policy of the crate's own choice refuses new records once there is no room; the library,
    /// which reads from here, would then ask by itself.
    fn bounded(read: fn(&[Vec<u8>]) -> Txt, octets_max: u64) -> Self {
        let kept = Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, kept: &Kept| kept.octets)
            .max_capacity(octets_max)
            .build();
        Records { read, kept }
    }

    /// The record at `name`, from memory or from DNS. That there is none is kept too, also where there can be none because
    /// `name` is no legal DNS name. The error is always a temporary one: nobody could tell.
    pub async fn load(&self, resolver: &Resolver, name: &str) -> Result<Txt, DnsError> {
        let key = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
        if let Some(record) = self.find(key.as_str()) {
            return Ok(record);
        }
        let soon = Instant::now() + Duration::from_secs(RECORD_SECONDS_MIN);
        let (record, texts_octets, valid_until) = match resolver.txt(&key).await {
            Ok(texts) => {
                ((self.read)(&texts.records), texts.records.iter().map(Vec::len).sum::<usize>(), texts.valid_until)
            }
            Err(DnsError::NoRecords { valid_until, .. }) => (none(), 0, valid_until),
            Err(error) if error.is_temporary() => return Err(error),
            Err(DnsError::TooLarge) => (Txt::Error(Error::ParseError), 0, soon),
            Err(_) => (none(), 0, soon),
        };
        let octets = u32::try_from(RECORD_OCTETS_MIN + OCTETS_FOR_EACH * texts_octets).unwrap_or(u32::MAX);
        self.kept.insert(key.into(), Kept { record: record.clone(), octets, valid_until: valid_until.max(soon) });
        Ok(record)
    }

    fn find<Q>(&self, key: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let kept = self.kept.get(key)?;
        (kept.valid_until > Instant::now()).then_some(kept.record)
    }
}

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find(name)
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    /// Takes nothing: see the head of this file.
    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// There is no record of this kind.
fn none() -> Txt {
    Txt::Error(Error::Dns(LibraryDnsError::InvalidRecordType))
}

/// RFC 9989 section 4.10.1: more than one policy record at a name are none.
fn read_dmarc(texts: &[Vec<u8>]) -> Txt {
    let mut records = texts.iter().filter_map(|text| Dmarc::parse(text).ok());
    match (records.next(), records.next()) {
        (Some(record), None) => Txt::from(record),
        _ => none(),
    }
}

/// The first record that is a key (RFC 6376 section 3.6.2.2 leaves several undefined), if mail may be signed with it.
fn read_key(texts: &[Vec<u8>]) -> Txt {
    let mut outcome = none();
    for text in texts {
        let key = match DomainKey::parse(text) {
            Ok(key) => key,
            Err(error) => {
                outcome = Txt::Error(error);
                continue;
            }
        };
        // RFC 6376 section 3.6.1: `h=` lists acceptable hashes, `s=` services; RFC 8301 leaves SHA-256 alone.
        if !lists(text, "h", &["sha256"]) || !lists(text, "s", &["*", "email"]) {
            return Txt::Error(Error::Dkim(DkimError::UnsupportedAlgorithm));
        }
        if key.p.public_key_bits() < RSA_KEY_BITS_MIN {
            return Txt::Error(Error::Dkim(DkimError::UnsupportedKeyType));
        }
        return Txt::from(key);
    }
    outcome
}

/// Is the tag absent, or does its colon-separated list have one of these?
fn lists(text: &[u8], tag: &str, wanted: &[&str]) -> bool {
    let text = String::from_utf8_lossy(text);
    let tags = text.split(';').filter_map(|pair| pair.split_once('='));
    let value = tags.filter(|(name, _)| name.trim() == tag).map(|(_, value)| value).next();
    value.is_none_or(|value| value.split(':').any(|item| wanted.contains(&item.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::responder::{Record as ZoneRecord, Responder, Zone};

    /// Were it refused for want of room, the library would ask by itself, and read leniently.
    #[tokio::test]
    async fn the_newest_record_is_always_there() {
        let responder = Responder::start(Zone::default()).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        let records = Records::bounded(read_dmarc, 64 << 10);
        responder.add("_dmarc.often.example", ZoneRecord::txt("v=DMARC1; p=none"));
        for at in 0..200 {
            let name = format!("_dmarc.n{at}.example");
            responder.add(&name, ZoneRecord::txt(&format!("v=DMARC1; p=none; x={}", "a".repeat(2 * at))));
            records.load(&resolver, &name).await.unwrap();
            records.kept.run_pending_tasks();
            assert!(matches!(records.find(format!("{name}.").as_str()), Some(Txt::Dmarc(_))), "{name}");
            assert!(records.kept.weighted_size() <= 64 << 10);
            for _ in 0..5 {
                records.load(&resolver, "_dmarc.often.example").await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn where_no_record_can_be_there_is_none() {
        let responder = Responder::start(Zone::default()).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        let records = Records::dmarc();
        for name in [format!("_dmarc.{}example", "a.".repeat(121)), "_dmarc.a..b".to_owned()] {
            assert!(matches!(records.load(&resolver, &name).await.unwrap(), Txt::Error(_)), "{name}");
        }
    }

    #[test]
    fn keys_are_for_mail_and_sha256() {
        assert!(lists(b"v=DKIM1; p=x", "h", &["sha256"]));
        assert!(lists(b"v=DKIM1; h=sha1 : sha256; p=x", "h", &["sha256"]));
        assert!(!lists(b"v=DKIM1; h=sha1; p=x", "h", &["sha256"]));
        assert!(!lists(b"v=DKIM1; s=tlsrpt; p=x", "s", &["*", "email"]));
    }

    #[test]
    fn weak_keys_are_refused() {
        // A 512-bit RSA key.
        let weak = b"v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKGwRA0rXmAXKLxF4YfopS4/B+O7zTBc7gNywTKFXUeoAZsfHhuuMPMgM0FPCU\
            LasK8Imdcp8vKQQAfShqlxK/MCAwEAAQ==";
        assert!(matches!(read_key(&[weak.to_vec()]), Txt::Error(Error::Dkim(DkimError::UnsupportedKeyType))));
    }
}
