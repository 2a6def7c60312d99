//! What the session asks the application. A question borrows the session until it is answered, and changes nothing when
//! it is dropped; a 2yz answer is the acceptance, anything else is not.

use crate::address::ForwardPath;
use crate::envelope::{Envelope, Helo};
use crate::smtp::chunk::ChunkEnd;
use crate::smtp::framing::{DataError, Decoder, Input};
use crate::smtp::reply::{self, Reply};
use crate::smtp::session::Session;
use crate::smtp::xclient::{XAddress, XClient};

/// May this sender open a transaction?
#[derive(Debug)]
#[must_use]
pub struct Mail<'s> {
    pub(super) session: &'s mut Session,
    pub(super) envelope: Envelope,
}

impl Mail<'_> {
    /// The transaction as it would be.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        self.session.helo()
    }

    /// 2yz opens the transaction. Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        match reply.is_positive() {
            true => self.session.open(self.envelope),
            false => self.session.refuse_mail(),
        }
        reply
    }
}

/// Do we take responsibility for this recipient?
#[derive(Debug)]
#[must_use]
pub struct Rcpt<'s> {
    pub(super) session: &'s mut Session,
    pub(super) forward_path: ForwardPath,
}

impl Rcpt<'_> {
    /// The recipient as given.
    pub fn forward_path(&self) -> &ForwardPath {
        &self.forward_path
    }

    /// The transaction so far.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.session.envelope()
    }

    /// 2yz adds the recipient, anything else is counted. Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        self.session.conclude_recipient(self.forward_path, &reply);
        reply
    }
}

/// The client has mail data for an open transaction with recipients.
#[derive(Debug)]
#[must_use]
pub struct Data<'s> {
    pub(super) session: &'s mut Session,
}

impl Data<'_> {
    /// 354, to send before the mail data is read.
    pub fn go_ahead(&self) -> Reply {
        reply::start_mail_input()
    }

    /// A decoder for the mail data.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.session.settings().message_octets_max)
    }

    /// What the client called itself.
    pub fn helo(&self) -> Option<&Helo> {
        self.session.helo()
    }

    /// The transaction.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.session.envelope()
    }

    /// Mail data that broke the protocol: the reply that refuses it.
    pub fn refusal(&self, error: DataError) -> Reply {
        match error {
            DataError::BareLineEnd => reply::bare_line_end(),
            DataError::TooLarge => reply::message_too_large(self.session.settings().message_octets_max),
        }
    }

    /// Ends the transaction, whatever the reply says (RFC 5321 section 4.1.1.4). Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        self.session.reset();
        reply
    }
}

/// The client sends a chunk of mail data (RFC 3030 section 2). Dropped before its end, it is asked again.
#[derive(Debug)]
#[must_use]
pub struct Chunk<'s> {
    pub(super) session: &'s mut Session,
}

impl<'s> Chunk<'s> {
    /// Moves octets of the chunk from `input` to `message`, which holds the chunks before it. `Some` at its end: then it is
    /// to be answered, by [`Chunk::received`] or through [`Chunk::whole`].
    pub fn push(&mut self, input: &mut Input, message: &mut Vec<u8>) -> Option<ChunkEnd> {
        self.session.chunks()?.push(input, message)
    }

    /// The octets of the message that were announced so far.
    pub fn octets(&self) -> u64 {
        self.session.octets_announced()
    }

    /// The transaction.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.session.envelope()
    }

    /// At the end of a part: the next command may come. Hands back what to send.
    pub fn received(self) -> Reply {
        reply::chunk(self.session.finish_chunk())
    }

    /// At the end of the message: what becomes of it is the same question as at the end of DATA.
    pub fn whole(self) -> Data<'s> {
        Data { session: self.session }
    }
}

/// A trusted proxy speaks for another client from now on: may that one be served?
#[derive(Debug)]
#[must_use]
pub struct NewClient<'s> {
    pub(super) session: &'s mut Session,
    pub(super) client: XClient,
}

impl NewClient<'_> {
    /// The client's address.
    pub fn address(&self) -> XAddress {
        self.client.address
    }

    /// The client's port, if the proxy knows it.
    pub fn port(&self) -> Option<u16> {
        self.client.port
    }

    /// What to answer if it may be served.
    pub fn banner(&self) -> Reply {
        self.session.banner()
    }

    /// 2yz starts over as that client: nothing that was said before counts. Hands back what to send.
    pub fn answer(self, reply: Reply) -> Reply {
        if reply.is_positive() {
            self.session.start_over(self.client);
        }
        reply
    }
}
