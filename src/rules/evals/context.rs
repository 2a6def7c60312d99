//! A message as all evals see it.

use std::cell::OnceCell;

use super::dates::Dates;
use super::facts::Facts;
use super::image::Images;
use super::mail::Mail;
use super::mime::MimeFacts;
use super::mime::alternative::Difference;
use crate::rules::environment::Environment;
use crate::rules::views::Views;
use crate::rules::views::html::Html;

/// What can be asked of a message. What several evals need is made once.
pub struct Context<'a, 'p> {
    /// Its texts, parts and links.
    pub views: &'a Views<'p>,
    /// What the evals over headers, lists and the session ask for.
    pub mail: Mail<'a>,
    /// What the evals over relays ask for.
    pub facts: Facts<'a>,
    /// Lists and limits.
    pub environment: &'a Environment,
    dates: OnceCell<Dates>,
    mime: OnceCell<MimeFacts>,
    difference: OnceCell<Difference>,
    html: OnceCell<Vec<&'a Html>>,
    images: OnceCell<Images>,
}

impl<'a, 'p> Context<'a, 'p> {
    /// Nothing is asked yet.
    pub fn new(views: &'a Views<'p>, mail: Mail<'a>, facts: Facts<'a>, environment: &'a Environment) -> Self {
        let (dates, mime, difference) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let (html, images) = (OnceCell::new(), OnceCell::new());
        Context { views, mail, facts, environment, dates, mime, difference, html, images }
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

    /// Its HTML parts.
    pub fn html(&self) -> &[&'a Html] {
        let views = self.views;
        self.html.get_or_init(|| views.rendered().iter().flatten().filter_map(|part| part.html.as_deref()).collect())
    }

    /// Its images.
    pub fn images(&self) -> &Images {
        self.images.get_or_init(|| {
            let mut images = Images::default();
            for part in self.views.parts().leaves().filter(|part| part.kind().starts_with("image/")) {
                let encoding = part.field("Content-Transfer-Encoding").map(|field| field.text().to_ascii_lowercase());
                if encoding.is_some_and(|encoding| memchr::memmem::find(&encoding, b"base64").is_some()) {
                    let name = part.name().map(String::from_utf8_lossy);
                    images.add(part.kind(), name.as_deref(), part.decoded());
                }
            }
            images
        })
    }
}
