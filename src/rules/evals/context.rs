//! A message as all evals see it.

use std::cell::OnceCell;

use super::dates::Dates;
use super::facts::Facts;
use super::mail::Mail;
use super::mime::MimeFacts;
use crate::rules::environment::Environment;
use crate::rules::views::Views;

/// What can be asked of a message. What several evals need is made once.
pub struct Context<'a> {
    /// Its texts, parts and links.
    pub views: &'a Views<'a>,
    /// What the evals over headers, lists and the session ask for.
    pub mail: Mail<'a>,
    /// What the evals over relays ask for.
    pub facts: Facts<'a>,
    /// Lists and limits.
    pub environment: &'a Environment,
    dates: OnceCell<Dates>,
    mime: OnceCell<MimeFacts>,
}

impl<'a> Context<'a> {
    /// Nothing is asked yet.
    pub fn new(views: &'a Views<'a>, mail: Mail<'a>, facts: Facts<'a>, environment: &'a Environment) -> Self {
        Context { views, mail, facts, environment, dates: OnceCell::new(), mime: OnceCell::new() }
    }

    /// What it says of its time.
    pub fn dates(&self) -> &Dates {
        self.dates.get_or_init(|| Dates::of(&self.facts))
    }

    /// What is known of its parts.
    pub fn mime(&self) -> &MimeFacts {
        self.mime.get_or_init(|| MimeFacts::of(self.views))
    }
}
