//! What domains publish about their mail: DKIM and DMARC records, read strictly once and kept for their time to live.
//!
//! *Guarantees:* only this module fills the memory that the verifying library reads from. The library keeps whatever it
//! happened to ask for under the name alone; a sender could then have one method ask for another's
//! records and spoil them for everybody. Each method has a memory of its own, and none takes what the library offers.
//! *Works around in the library:* two DMARC records (RFC 9989 section 4.10.1: none) were as good as one.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::dmarc::Dmarc;
use mail_auth::{DnsError as LibraryDnsError, Error, ResolverCache, Txt};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::dkim::key::{self, Key};
use crate::dns::{DnsError, Resolver};

/// Records that are kept, for each method, in octets.
const RECORDS_OCTETS_MAX: u64 = 16 << 20;
/// What a record takes at least, in octets.
const RECORD_OCTETS_MIN: usize = 1_024;
/// What a parsed record takes for each octet of its text.
const OCTETS_FOR_EACH: usize = 16;
/// A record is kept at least this long, in seconds: it has to outlive the check that asked for it.
const RECORD_SECONDS_MIN: u64 = 30;

/// The memory of one method. Cheap to clone: clones share it.
#[derive(Clone)]
pub(super) struct Records {
    read: Reader,
    kept: Cache<Box<str>, Kept>,
}

/// Makes a record of the TXT records at a name; none if there are more than are read.
type Reader = fn(Option<&[Vec<u8>]>) -> Record;

/// What stands at a name.
#[derive(Clone)]
enum Record {
    /// A DKIM key, or why there is none.
    Key(Result<Arc<Key>, &'static str>),
    /// A DMARC policy.
    Policy(Txt),
}

#[derive(Clone)]
struct Kept {
    record: Record,
    octets: u32,
    valid_until: Instant,
}

impl Records {
    /// DKIM keys.
    pub fn dkim() -> Self {
        Self::new(|texts| Record::Key(texts.map_or(Err(key::NOT_A_KEY), key::read).map(Arc::new)))
    }

    /// DMARC policy records.
    pub fn dmarc() -> Self {
        Self::new(read_dmarc)
    }

    fn new(read: Reader) -> Self {
        Self::bounded(read, RECORDS_OCTETS_MAX)
    }

    /// The oldest go first. The policy of the crate's own choice refuses new records once there is no room; the library,
    /// which reads from here, would then ask by itself.
    fn bounded(read: Reader, octets_max: u64) -> Self {
        let kept = Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, kept: &Kept| kept.octets)
            .max_capacity(octets_max)
            .build();
        Records { read, kept }
    }

    /// The record at `name` as the library sees it, from memory or from DNS: with a key that may count for nothing it sees
    /// none. The error is always a temporary one: nobody could tell.
    pub async fn load(&self, resolver: &Resolver, name: &str) -> Result<Txt, DnsError> {
        Ok(self.record(resolver, name).await?.for_library())
    }

    /// The DKIM key at `name`, from memory or from DNS, or why there is none. The outer error is always a temporary one:
    /// nobody could tell.
    pub async fn key(&self, resolver: &Resolver, name: &str) -> Result<Result<Arc<Key>, &'static str>, DnsError> {
        Ok(self.record(resolver, name).await?.into_key())
    }

    /// The same from memory alone.
    pub fn known_key(&self, name: &str) -> Option<Result<Arc<Key>, &'static str>> {
        self.find(memory_name(name).as_str()).map(Record::into_key)
    }

    /// That there is no record is kept too, also where there can be none because `name` is no legal DNS name.
    async fn record(&self, resolver: &Resolver, name: &str) -> Result<Record, DnsError> {
        let name = memory_name(name);
        if let Some(record) = self.find(name.as_str()) {
            return Ok(record);
        }
        let soon = Instant::now() + Duration::from_secs(RECORD_SECONDS_MIN);
        let (texts, valid_until) = match resolver.txt(&name).await {
            Ok(texts) => (Some(texts.records), texts.valid_until),
            Err(DnsError::NoRecords { valid_until, .. }) => (Some(Vec::new()), valid_until),
            Err(error) if error.is_temporary() => return Err(error),
            Err(DnsError::TooLarge) => (None, soon),
            Err(_) => (Some(Vec::new()), soon),
        };
        let record = (self.read)(texts.as_deref());
        let texts_octets: usize = texts.iter().flatten().map(Vec::len).sum();
        let octets = u32::try_from(RECORD_OCTETS_MIN + OCTETS_FOR_EACH * texts_octets).unwrap_or(u32::MAX);
        self.kept.insert(name.into(), Kept { record: record.clone(), octets, valid_until: valid_until.max(soon) });
        Ok(record)
    }

    fn find<Q>(&self, name: &Q) -> Option<Record>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let kept = self.kept.get(name)?;
        (kept.valid_until > Instant::now()).then_some(kept.record)
    }
}

impl Record {
    fn into_key(self) -> Result<Arc<Key>, &'static str> {
        match self {
            Record::Key(key) => key,
            Record::Policy(_) => Err("no such key"),
        }
    }

    fn for_library(self) -> Txt {
        match self {
            Record::Key(Ok(key)) if key.is_sound() => Txt::DomainKey(key.library.clone()),
            Record::Key(_) => none(),
            Record::Policy(record) => record,
        }
    }
}

fn memory_name(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find(name).map(Record::for_library)
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
fn read_dmarc(texts: Option<&[Vec<u8>]>) -> Record {
    let Some(texts) = texts else { return Record::Policy(Txt::Error(Error::ParseError)) };
    let mut records = texts.iter().filter_map(|text| Dmarc::parse(text).ok());
    Record::Policy(match (records.next(), records.next()) {
        (Some(record), None) => Txt::from(record),
        _ => none(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::signing::base64;
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
            let found = records.find(format!("{name}.").as_str());
            assert!(matches!(found, Some(Record::Policy(Txt::Dmarc(_)))), "{name}");
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

    /// What verifies a chain for the library may not be a key that no signature of today counts with.
    #[tokio::test]
    async fn the_library_sees_sound_keys_alone() {
        let strong = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let strong = base64(&rcgen::PublicKeyData::subject_public_key_info(&strong));
        // A 512-bit RSA key.
        let weak = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKGwRA0rXmAXKLxF4YfopS4/B+O7zTBc7gNywTKFXUeoAZsfHhuuMPMgM0FPCULasK8I\
            mdcp8vKQQAfShqlxK/MCAwEAAQ==";
        let responder = Responder::start(Zone::default()).await.unwrap();
        let resolver = Resolver::new(&[responder.address()]).unwrap();
        let records = Records::dkim();
        for (at, (text, expected)) in [
            (format!("v=DKIM1; p={strong}"), true),
            (format!("v=DKIM1; h=sha256; s=email; t=s; p={strong}"), true),
            (format!("v=DKIM1; p={weak}"), false),
            (format!("v=DKIM1; t=y; p={strong}"), false),
            (format!("v=DKIM1; h=sha1; p={strong}"), false),
            (format!("v=DKIM1; s=tlsrpt; p={strong}"), false),
            ("v=DKIM1; p=".to_owned(), false),
        ]
        .iter()
        .enumerate()
        {
            let name = format!("s{at}._domainkey.example.org");
            responder.add(&name, ZoneRecord::txt(text));
            let record = records.load(&resolver, &name).await.unwrap();
            assert_eq!(matches!(record, Txt::DomainKey(_)), *expected, "{text}");
            let known = ResolverCache::<Box<str>, Txt>::get(&records, format!("{name}.").as_str());
            assert_eq!(matches!(known, Some(Txt::DomainKey(_))), *expected, "{text}");
        }
    }
}
