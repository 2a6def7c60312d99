//! Evals: questions that rules ask by name (`header X eval:check_freemail_from()`).
pub mod arguments;
pub mod body;
pub mod freemail;
pub mod globs;
pub mod header;
pub mod lists;
pub mod locales;
pub mod mail;
pub mod mailboxes;
pub mod options;
pub mod places;
pub mod recipients;
pub mod session;
pub mod subject;
pub mod table;
pub mod vbounce;
