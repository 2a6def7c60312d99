//! What the tests share.

pub mod dialogue;
pub mod memory;
