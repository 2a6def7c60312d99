//! The protocol of RFC 5321, without I/O: octets in, [`Step`]s out.
//!
//! *Does:* frames lines and mail data ([`framing`], [`chunk`]), parses commands ([`command`], [`xclient`]), keeps the
//! session's sequence ([`session`]), asks ([`question`]) and spells replies ([`reply`]).
//! *Guarantees:* only CRLF ends a line, only CRLF.CRLF or an announced count ends mail data; every buffer is bounded; nothing panics whatever
//! arrives; a command that is out of order or malformed changes nothing.
//! *Never does:* read a socket, a clock or the configuration, resolve a name, or know what a policy is. A question to the
//! application ([`Step::Mail`], [`Step::Rcpt`], [`Step::Data`], [`Step::Chunk`], [`Step::Client`]) is answered with a [`reply::Reply`], and a 2yz reply *is*
//! the acceptance.

pub mod chunk;
pub mod command;
pub mod foreign;
pub mod framing;
pub mod question;
pub mod reply;
pub mod session;
pub mod xclient;

pub use chunk::ChunkEnd;
pub use framing::{DataError, Decoder, Input};
pub use question::{Chunk, Data, Mail, NewClient, Rcpt};
pub use reply::{Enhanced, Reply};
pub use session::{Session, Settings, Start, Step};
pub use xclient::XAddress;

#[cfg(test)]
mod tests;
