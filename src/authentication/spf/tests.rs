//! SPF against real DNS answers.
