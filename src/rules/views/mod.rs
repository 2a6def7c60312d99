//! Views: the texts of a message that rules match, each built at most once, and only if a rule asks.
//!
//! *Guarantees:* building a view takes time linear in the octets that are looked at, and those are bounded
//! ([`crate::message::HEADER_OCTETS_MAX`], [`crate::mime::INSPECTED_OCTETS_MAX`], [`body::TEXT_OCTETS_MAX`]). Views are UTF-8
//! wherever a character set was known or could be guessed; rules match octets.
//! *Follows* SpamAssassin 4.0.1 as it was observed, so that its rules mean the same. Where we differ, the view says so.

pub mod body;
pub mod charset;
pub mod header;
pub mod html;
pub mod uri;

use std::cell::OnceCell;

use crate::address::ReversePath;
use crate::message::Message;
use crate::rules::definition::Selector;

use body::Text;
use header::Header;

/// The views of one message.
pub struct Views<'a> {
    message: &'a Message,
    header: Header<'a>,
    text: OnceCell<Text>,
}

impl<'a> Views<'a> {
    /// Nothing but the list of fields is built yet.
    pub fn new(message: &'a Message, reverse_path: Option<&'a ReversePath>) -> Self {
        Views { message, header: Header::new(message, reverse_path), text: OnceCell::new() }
    }

    /// The header text that a selector selects; none if there is no such field.
    pub fn header(&self, selector: &Selector) -> Option<Vec<u8>> {
        self.header.select(selector)
    }

    /// The paragraphs of the text, the Subject first.
    pub fn text(&self) -> &Text {
        self.text.get_or_init(|| Text::new(self.header.subject(), self.message))
    }
}
