//! A progress bar on a terminal; nothing anywhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far a scan is, by the octets that were read.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar on standard error, if that is a terminal.
    pub fn new(octets: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(octets), ProgressDrawTarget::stderr_with_hz(5));
        let template = "{wide_bar} {percent:>3} % of {total_bytes}, {msg} messages, {elapsed_precise}, {eta} left";
        // The template is ours; a wrong one would cost its looks, not the scan.
        Progress(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// For what is done at once.
    pub fn none() -> Self {
        Progress(ProgressBar::hidden())
    }

    /// Prints something where the bar would be in its way.
    pub fn above<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }

    /// So many more octets were read, and so many messages in all.
    pub fn advance(&self, octets: u64, messages: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(messages.to_string());
        }
        self.0.inc(octets);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
