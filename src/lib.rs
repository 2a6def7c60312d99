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
//!   ├ Decoder::push       (DATA)     pure; Chunk::push for BDAT
//!   ├ receive::Incoming              memory, or a temporary file
//!   ├ receive::message    (end of data)
//!   │   ├ ledger.look_up            -> recipients that already have this very message: 250, no second copy
//!   │   ├ examiner.examine          -> SPF, DKIM, DMARC, ARC, iprev; the rules' hits
//!   │   ├ verdict::decide           -> Decision, pure, for each recipient's policy; verdict::reconcile -> one reply, or one each
//!   │   ├ delivery::stage, commit   -> tmp/, fsync, intent, rename, fsync directory
//!   │   └ journal::Transaction      -> decision record
//!   └ receive::seen                  the client has provably seen the reply: the ledger forgets
//! ```
//!
//! Every arrow points down, and from `serve` to `fsync` it is about four calls. What the protocol asks ([`smtp::Step`]) are
//! the public functions of [`receive`]: read that file first.
//!
//! # Modules, in the order in which a message meets them
//!
//! A module imports only from rows with a lower number, or from its own row without a circle. `tests/suite/tidy.rs` holds
//! that, and that the crates in the last column are named nowhere else.
//!
//! | row | module | what it is | the only one to name |
//! |---|---|---|---|
//! | 1 | [`address`] | domains, mailboxes, reverse-paths and forward-paths; a value in hand is legal | `idna` |
//! | 1 | [`message`] | mail data as received, and its header fields | |
//! | 1 | [`received`] | what a Received field says of one hop | |
//! | 1 | [`mime`] | the parts of a message and their encodings | |
//! | 1 | [`dns`] | the resolver; "there is none" and "nobody could tell" are different answers | `hickory_resolver` |
//! | 1 | [`store`] | small records that survive a restart | `rocksdb` |
//! | 2 | [`config`] | one table of keys, one file, each recipient's policy | `toml`, `webpki` |
//! | 2 | [`envelope`] | client, HELO, recipients, ids: what a session learned | |
//! | 3 | [`smtp`] | framing, commands, sequence, replies: the protocol, without I/O | |
//! | 4 | [`authentication`] | SPF, DKIM, DMARC, ARC, iprev, and the field that says so | `mail_auth` |
//! | 4 | [`reputation`] | what is remembered of senders: so far, DNS failures that deferred mail | |
//! | 5 | [`rules`] | content rules: `.cf` files in, hits out | `regex`, `html5ever` |
//! | 6 | [`verdict`] | evidence and a recipient's policy in, verdict with its cause and DMARC's disposition, and reply out; pure | |
//! | 6 | [`mailbox`] | which addresses are ours, and whose Maildir that is | |
//! | 7 | [`delivery`] | stage, commit, ledger, recovery; Maildirs | `maildir` |
//! | 7 | [`journal`] | the decision record, and the event that it becomes | |
//! | 8 | [`receive`] | the mail path on one screen | |
//! | 9 | [`connection`] | one client: octets, deadlines, limits, TLS, the PROXY protocol | `tokio_rustls` |
//! | 10 | [`server`] | listeners, start, reload and stop; the service manager | `sd_notify` |
//! | 10 | [`control`] | the running server's own socket, for `mxkeep status` and `mxkeep reload` | |
//! | 11 | [`cli`] | one file a subcommand | `clap` |
//!
//! # What happens when
//!
//! * **Start.** Certificates, listeners (or those that the service manager hands over), resolver, rules; then the store is opened and [`delivery::recover`] settles what a
//!   crash left; only then is the first client served. `serve` and `demo` alone open the store.
//! * **Connect, MAIL.** iprev and SPF (of MAIL FROM and of HELO, at once) start in tasks of their own, and are waited for at the end of the data. Nothing that
//!   the next reply does not need is waited for.
//! * **End of data.** The ledger is asked *before* any verdict: a recipient that has this very message takes no part in it.
//!   Everybody else is judged by the policy of their own domain, and the verdicts are reconciled into one reply; with PRDR
//!   each recipient has their own.
//! * **Behind a trusted relay** of ours iprev and SPF wait for the end of the data: the client is in the Received field that
//!   the relay wrote. What would be refused goes to Junk, or the relay would bounce it to whoever was forged.
//! * **After the reply.** Its ledger entries are *released* once the client has provably seen it: a command begins in octets
//!   that were read after the flush, when the socket had been read empty just before; or the client ends its stream, and
//!   every octet that we sent is acknowledged (behind a proxy only a command counts). Until then the same octets are a
//!   retry, and after it a new message.
//! * **DNS.** What one message asks overlaps: keys and policy records are looked up while SPF is. Each check has a share of the
//!   lookups that may be under way, and a deadline; a server that fails is passed over ([`dns`]).
//! * **Reload.** Another configuration, with its rules, certificate and resolver, is built beside the one in force, and then
//!   swapped at once: new connections begin with the new generation, sessions keep theirs, and the last of them takes it
//!   along. Store, ledger, deferrals, counters and connection limits are the service's, and all generations share them; DNS
//!   answers too, if the same resolvers are asked. What
//!   cannot be built as a whole changes nothing.
//! * **Stop.** Idle sessions get 421, and transactions have [`server::SHUTDOWN_SECONDS_MAX`]; then they get 421 as well.
//!
//! Blocking work (files, the store, large messages in the rules) runs on blocking threads, never on the async workers.
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
//! * **Nothing local turns a delivered message into a 4yz.** Once every directory is synced, 250 follows, whatever the
//!   ledger or the log have to say.
//! * **The store never holds the only copy of anybody's mail.** Trouble with it, or with DNS, refuses nothing: the answer is
//!   "unknown", and never "pass". Trouble in writing mail is 4yz.
//! * **No queue and no bounce.** What cannot be delivered now is refused now, in the session.
//! * **Nothing from the wire becomes a path.** A local-part finds a Maildir that the configuration made, or none; opens stay
//!   below the mail root and follow no symbolic link.
//! * **Everything has a limit**, with a name and a unit at the end of it. The memory of all messages that are being received
//!   and judged together has one ([`receive`]): past it they live in files, and take turns.
#![deny(missing_docs)]

pub mod address;
pub mod message;
pub mod received;
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
