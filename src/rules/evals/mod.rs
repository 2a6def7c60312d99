//! Evals: the questions that rules ask by name, where no pattern would do.

pub mod dates;
pub mod facts;
pub mod forged;
pub mod relays;
pub mod senders;
#[cfg(test)]
mod tests;
