//! mxkeep: an MX and delivery agent for people who run their own mail.
//!
//! It answers on port 25, finds out who is really sending while the sender is still on the line, runs content rules that
//! the operator can read, and puts each accepted message durably into a Maildir. Three promises, in this order: a 250 is
//! on disk; every decision can be explained; it is small and fast.
//!
//! # The path of a message
//!
//! ```text
//! server::Server::run              accept, permit, spawn
//! └ connection::serve              loop { octets -> session -> Step }
//!   ├ receive::client     (connect)  iprev starts
//!   ├ Session::step                  pure: parse, sequence, limits
//!   ├ receive::sender     (MAIL)     SPF starts
//!   ├ receive::recipient  (RCPT)     does the mailbox exist?
//!   ├ Decoder::push       (DATA)     pure
//!   ├ receive::message    (end of data)
//!   │   ├ ledger.look_up            -> recipients that already have this very message: 250, no second copy
//!   │   ├ examiner.examine          -> SPF, DKIM, DMARC, iprev; the rules' hits
//!   │   ├ verdict::decide           -> Verdict, pure, for each recipient's policy; verdict::reconcile -> one reply
//!   │   ├ delivery::stage, commit   -> tmp/, fsync, intent, rename, fsync directory
//!   │   └ journal::Transaction      -> decision record
//!   └ receive::seen                  the client has provably seen the reply: the ledger forgets
//! ```
//!
//! # Modules, in the order in which a message meets them
//!
//! Each imports only modules above it (a test holds that). The questions of the protocol ([`smtp::Step`]) are the public
//! functions of [`receive`]: that symmetry is the design.
//!
//! # Architecture invariants
//!
//! * **The session does no I/O.** [`smtp`] knows no socket, no clock and no policy; framing is in there too. So dialogues
//!   are tested in memory, cut at every octet.
//! * **Acceptance is a 2yz reply.** Policy types never enter the protocol, and "accepted but answered 5yz" cannot be
//!   written.
//! * **[`verdict`] is pure.** Evidence and policy in, verdict out; each cause has one row.
//! * **A message never changes.** Authentication, rules and the ledger's digest see the octets as received; fields are
//!   removed only when a copy is staged.
//! * **The store never holds the only copy of anybody's mail.**
//! * **No queue and no bounce.** What cannot be delivered now is refused now, in the session.
#![deny(missing_docs)]

pub mod address;
pub mod message;
pub mod mime;
pub mod dns;
pub mod store;
pub mod config;
pub mod envelope;
pub mod smtp;
pub mod authentication;
pub mod reputation;
pub mod rules;
pub mod verdict;
pub mod mailbox;
pub mod delivery;
pub mod journal;
pub mod receive;
pub mod connection;
pub mod server;
pub mod control;
pub mod cli;
