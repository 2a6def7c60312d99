//! What a [`Responder`](super::responder::Responder) serves: names, their records, and how their queries are mistreated.
//!
//! *Guarantees:* any text gives records that can be sent; strings are cut where DNS ends.
//! *Never does:* I/O.
//! *RFC:* 1035 section 3.3 (records), 3.5 (reverse names); 2308 (negative answers); 8020 (what exists).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record as WireRecord, RecordType};

/// The time to live of a record, in seconds, unless its name has another.
const TTL_SECONDS: u32 = 300;
/// How long a negative answer may be kept, in seconds, unless its name has another time.
const NEGATIVE_TTL_SECONDS: u32 = 1;
/// CNAME records that are followed for one answer.
const CNAMES_MAX: usize = 8;
/// Strings of TXT data hold this many octets (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;

/// One record's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// TXT, string by string; each is cut at 255 octets.
    Txt(Vec<String>),
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// MX: preference and exchange.
    Mx(u16, String),
    /// PTR.
    Ptr(String),
    /// CNAME.
    Cname(String),
}

impl Record {
    /// A TXT record of any length: as many strings as it takes.
    pub fn txt(text: &str) -> Self {
        let strings = text.as_bytes().chunks(STRING_OCTETS_MAX);
        Record::Txt(strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect())
    }

    fn data(&self) -> Option<RData> {
        Some(match self {
            Record::Txt(strings) => {
                let cut = |string: &'_ String| string.as_bytes()[..string.len().min(STRING_OCTETS_MAX)].to_vec();
                let mut strings: Vec<Vec<u8>> = strings.iter().map(cut).collect();
                // TXT data without any string is malformed (RFC 1035 section 3.3.14).
                if strings.is_empty() {
                    strings.push(Vec::new());
                }
                RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
            }
            Record::A(address) => RData::A(A(*address)),
            Record::Aaaa(address) => RData::AAAA(AAAA(*address)),
            Record::Mx(preference, exchange) => RData::MX(MX::new(*preference, wire_name(exchange)?)),
            Record::Ptr(name) => RData::PTR(PTR(wire_name(name)?)),
            Record::Cname(name) => RData::CNAME(CNAME(wire_name(name)?)),
        })
    }
}

/// What a name's queries get instead of a plain answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Response code 2.
    ServFail,
    /// Response code 5.
    Refused,
    /// Response code 3, whatever stands there.
    NxDomain,
    /// No records and no error, whatever stands there.
    NoData,
    /// A negative answer without the SOA record that says how long it holds.
    NoSoa,
    /// NS records only, as from a server that does not recurse.
    Referral,
    /// No answer at all.
    Silent,
    /// No answer to so many queries, then the plain one.
    DropFirst(usize),
    /// Over UDP an empty answer with the TC bit; over TCP the whole one.
    Truncated,
    /// The answer, this much later.
    Delay(Duration),
    /// The right id, and then nothing that could be read.
    Garbage,
    /// Before the answer others that do not belong to the query, over UDP: of another id, and to another question. Their
    /// records say "forged".
    Forged,
    /// The question repeated in lower case, over UDP: a server that does not keep the case, or a forger who guesses.
    CaseFolded,
    /// The answer, and a record of another name beside it.
    Unasked,
}

/// Names and what stands at them. Every name that is not in it does not exist.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    records: BTreeMap<String, Vec<Record>>,
    behaviours: HashMap<String, Behaviour>,
    behaviours_below: HashMap<String, Behaviour>,
    ttls: HashMap<String, u32>,
}

impl Zone {
    /// Adds a record.
    pub fn add(&mut self, name: &str, record: Record) {
        self.records.entry(key(name)).or_default().push(record);
    }

    /// Makes a name misbehave.
    pub fn behave(mut self, name: &str, behaviour: Behaviour) -> Self {
        self.behaviours.insert(key(name), behaviour);
        self
    }

    /// Makes a name misbehave, and all names below it that do not misbehave otherwise. All names are below `""`.
    pub fn behave_below(mut self, name: &str, behaviour: Behaviour) -> Self {
        self.behaviours_below.insert(key(name), behaviour);
        self
    }

    /// Says how long what stands at a name may be kept, or that nothing does, in seconds.
    pub fn keep(mut self, name: &str, seconds: u32) -> Self {
        self.ttls.insert(key(name), seconds);
        self
    }

    /// How a name's queries are mistreated.
    pub(super) fn behaviour(&self, name: &str) -> Option<Behaviour> {
        let below = || {
            let starts = name.match_indices('.').map(|(dot, _)| dot + 1);
            let mut above = std::iter::once(0).chain(starts).chain([name.len()]).filter_map(|start| name.get(start..));
            above.find_map(|name| self.behaviours_below.get(name))
        };
        self.behaviours.get(name).or_else(below).copied()
    }

    /// How long there is nothing at a name, in seconds.
    pub(super) fn negative_ttl(&self, name: &str) -> u32 {
        self.ttls.get(name).copied().unwrap_or(NEGATIVE_TTL_SECONDS)
    }

    fn at(&self, name: &str) -> &[Record] {
        self.records.get(name).map_or(&[], Vec::as_slice)
    }

    /// A name exists where a record stands at it or below it (RFC 8020 section 2).
    fn has(&self, name: &str) -> bool {
        self.records
            .keys()
            .any(|other| other.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.')))
    }

    /// The records that answer a question, CNAME records on the way included, and whether the last name exists.
    pub(super) fn answer(&self, name: &str, record_type: RecordType) -> (Vec<WireRecord>, bool) {
        let (mut answers, mut name) = (Vec::new(), name.to_owned());
        for _ in 0..CNAMES_MAX {
            let Some(owner) = wire_name(&name) else { break };
            let records = self.at(&name);
            let ttl = self.ttls.get(&name).copied().unwrap_or(TTL_SECONDS);
            let data = records.iter().filter_map(Record::data).filter(|data| data.record_type() == record_type);
            let before = answers.len();
            answers.extend(data.map(|data| WireRecord::from_rdata(owner.clone(), ttl, data)));
            let alias = records.iter().find(|record| matches!(record, Record::Cname(_)));
            match alias {
                Some(alias @ Record::Cname(target)) if answers.len() == before => {
                    answers.extend(alias.data().map(|data| WireRecord::from_rdata(owner, ttl, data)));
                    name = key(target);
                }
                _ => break,
            }
        }
        (answers, self.has(&name))
    }
}

impl<N: AsRef<str>> FromIterator<(N, Record)> for Zone {
    fn from_iter<I: IntoIterator<Item = (N, Record)>>(records: I) -> Self {
        let mut zone = Zone::default();
        for (name, record) in records {
            zone.add(name.as_ref(), record);
        }
        zone
    }
}

/// The name under which PTR records for an address stand (RFC 1035 section 3.5; RFC 3596 section 2.5).
pub fn reverse_name(address: IpAddr) -> String {
    key(&Name::from(address).to_ascii())
}

/// Lower-case, without the final dot.
pub(super) fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

pub(super) fn wire_name(name: &str) -> Option<Name> {
    let labels = name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name([192, 0, 2, 1].into()), "1.2.0.192.in-addr.arpa");
        assert!(reverse_name("2001:db8::1".parse().unwrap()).ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"));
    }

    #[test]
    fn text_without_octets_is_one_empty_string() {
        for record in [Record::txt(""), Record::Txt(Vec::new())] {
            let Some(RData::TXT(text)) = record.data() else { panic!("no data") };
            assert_eq!(text.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [0]);
        }
    }

    #[test]
    fn behaviours_are_those_of_the_name_or_of_the_nearest_above() {
        let zone = Zone::default()
            .behave_below("", Behaviour::Refused)
            .behave_below("b.example", Behaviour::Silent)
            .behave("a.b.example", Behaviour::Garbage);
        for (name, expected) in [
            ("a.b.example", Behaviour::Garbage),
            ("x.a.b.example", Behaviour::Silent),
            ("b.example", Behaviour::Silent),
            ("bb.example", Behaviour::Refused),
            ("", Behaviour::Refused),
        ] {
            assert_eq!(zone.behaviour(name), Some(expected), "{name}");
        }
        assert_eq!(Zone::default().behaviour("example"), None);
    }
}
