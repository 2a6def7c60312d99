//! What the session's model needs of the test suite's toolbox.
#![allow(dead_code, reason = "the suite uses the rest")]

#[path = "../../suite/support/dialogue.rs"]
pub mod dialogue;
#[path = "../../suite/support/memory.rs"]
pub mod memory;
