//! The protocol of RFC 5321, without I/O: octets in, [`Step`]s out.
//!
//! *Does:* frames lines and mail data ([`framing`]), parses commands ([`command`]), keeps the session's sequence
//! ([`session`]) and spells replies ([`reply`]).
//! *Guarantees:* only CRLF ends a line and only CRLF.CRLF ends mail data; every buffer is bounded; nothing panics whatever
//! arrives; a command that is out of order or malformed changes nothing.
//! *Never does:* read a socket, a clock or the configuration, resolve a name, or know what a policy is. A question to the
//! application ([`Step::Mail`], [`Step::Rcpt`], [`Step::Data`]) is answered with a [`reply::Reply`], and a 2yz reply *is*
//! the acceptance.

pub mod command;
pub mod framing;
pub mod reply;
pub mod session;

pub use framing::{DataError, Decoder, Input};
pub use reply::{Enhanced, Reply};
pub use session::{Data, Mail, Rcpt, Session, Settings, Step};
