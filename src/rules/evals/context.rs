//! A message as all evals see it.

use std::cell::OnceCell;

use super::dates::Dates;
use super::facts::Facts;
use super::mail::Mail;
use super::mime::MimeFacts;
use super::mime::alternative::Difference;
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
    difference: OnceCell<Difference>,
}

impl<'a> Context<'a> {
    /// Nothing is asked yet.
    pub fn new(views: &'a Views<'a>, mail: Mail<'a>, facts: Facts<'a>, environment: &'a Environment) -> Self {
        let (dates, mime, difference) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Context { views, mail, facts, environment, dates, mime, difference }
    }

    /// What it says of its time.
    pub fn dates(&self) -> &Dates {
        self.dates.get_or_init(|| Dates::of(&self.facts))
    }

    /// What is known of its parts.
    pub fn mime(&self) -> &MimeFacts {
        self.mime.get_or_init(|| MimeFacts::new(self.views))
    }

    /// What is said twice in it, and not the same.
    pub fn difference(&self) -> &Difference {
        self.difference.get_or_init(|| Difference::new(self.views))
    }
}
