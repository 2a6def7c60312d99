//! Evals: questions about a message that no pattern can ask.

pub mod mime;
