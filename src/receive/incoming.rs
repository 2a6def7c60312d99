//! Mail data while it arrives.

use super::Receiver;
use crate::message::Message;

/// Mail data while it arrives: the decoder appends to [`Incoming::tail`], and [`Incoming::settle`] finds room for it. What
/// goes wrong (no room, a disk that fails) is remembered, the rest of the data is read and dropped, and
/// [`super::message`] answers with it: the protocol goes on to the end of the data whatever happens here.
#[derive(Debug)]
pub struct Incoming {
    octets: Vec<u8>,
}

impl Incoming {
    /// Room for one message.
    pub fn new(_receiver: &Receiver) -> Self {
        Incoming { octets: Vec::new() }
    }

    /// Where decoded octets are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// To be called whenever octets were appended.
    pub async fn settle(&mut self) {}

    /// The whole message.
    pub(super) fn into_message(self) -> Message {
        Message::new(self.octets)
    }
}
