//! The envelope: who speaks, what they call themselves, and who is to get what from whom.
//!
//! *Does:* holds what the session learned, as plain data.
//! *Never does:* judge any of it.

use std::fmt;
use std::net::IpAddr;

use crate::address::{ForwardPath, Host, ReversePath};

/// The id of one connection or transaction: 12 characters of `A-Z a-z 0-9 - _`. It stands in the final reply, in the
/// Received field and in the log, so that a sender can quote it and an operator can find it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; Id::OCTETS]);

impl Id {
    /// Its length in octets.
    pub const OCTETS: usize = 12;
    const ALPHABET: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

    /// Spells 72 bits. Ids made from a clock in the high bits sort by time.
    pub fn from_bits(bits: u128) -> Self {
        let mut text = [0; Self::OCTETS];
        for (at, octet) in text.iter_mut().enumerate() {
            let shift = 6 * (Self::OCTETS - 1 - at);
            *octet = Self::ALPHABET[(bits >> shift) as usize & 63];
        }
        Id(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's address; an IPv4-mapped IPv6 address has been unmapped.
    pub address: IpAddr,
    /// The client's port.
    pub port: u16,
    /// The connection's protection, once there is one.
    pub tls: Option<Tls>,
}

/// A TLS connection as it was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The cipher suite's name.
    pub cipher: String,
}

/// What the client called itself, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helo {
    /// The name or address literal.
    pub host: Host,
    /// EHLO, not HELO.
    pub extended: bool,
}

/// `BODY=` of RFC 6152: what the client says of the mail data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Body {
    /// Not said, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME` (RFC 3030 section 3): any octets, and only by BDAT.
    BinaryMime,
}

/// One transaction as far as it is known: MAIL, then one RCPT after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The argument of MAIL FROM.
    pub reverse_path: ReversePath,
    /// `SIZE=` in octets (RFC 1870), if the client declared it.
    pub size_octets: Option<u64>,
    /// `BODY=`.
    pub body: Body,
    /// `SMTPUTF8`: addresses and header fields may be UTF-8 (RFC 6531 section 3.4).
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689). We are the last hop: nothing goes on from here without TLS.
    pub requiretls: bool,
    /// `PRDR`: the client takes a reply for each recipient at the end of the mail data.
    pub prdr: bool,
    /// The recipients that were accepted, as given, in order.
    pub forward_paths: Vec<ForwardPath>,
}
