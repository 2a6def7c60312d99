//! How long a client may take: the arithmetic, with the time as an argument.
//!
//! *Guarantees:* a client that sends an octet now and then gains nothing by it: a command line is to be complete so many
//! seconds after the last reply, mail data has to come at a minimum rate, and a session ends after
//! `limits.session_seconds_max` whatever it does.
//! *Never does:* look at a clock, or wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// How long a client may take for a command line from our last reply on, in seconds (RFC 5321 section 4.5.3.2.7: at
/// least five minutes).
pub const COMMAND_SECONDS_MAX: u64 = 300;
/// How long a client may send nothing within mail data, in seconds (RFC 5321 section 4.5.3.2.5: three minutes).
pub const DATA_SILENCE_SECONDS_MAX: u64 = 300;
/// For so long, in seconds, mail data may come as slowly as it likes; then `limits.data_octets_per_second_min` holds, on
/// average from its beginning.
pub const DATA_GRACE_SECONDS: u64 = 300;
/// How long a client may take to read what we send at a time, in seconds.
pub const FLUSH_SECONDS_MAX: u64 = 300;
/// How long the TLS handshake may take, in seconds.
pub const HANDSHAKE_SECONDS_MAX: u64 = 60;
/// How long the header of the PROXY protocol may take, in seconds.
pub const PROXY_SECONDS_MAX: u64 = 10;
/// How long a client may take to read the last reply of a session that is over, in seconds.
const LAST_REPLY_SECONDS_MAX: u64 = 2;

/// A time at which it is too late, and by which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub at: Instant,
    /// For the log.
    pub limit: &'static str,
}

/// What a client owes us until when.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// The end of the session.
    session: Instant,
    /// A command line has to be complete by then.
    command: Instant,
    data_octets_per_second_min: u64,
}

/// How far mail data has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// When we asked for it.
    pub since: Instant,
    /// Octets that arrived from then on.
    pub octets: u64,
}

impl Deadlines {
    /// Of a connection that was accepted now.
    pub fn new(now: Instant, limits: &Limits) -> Self {
        Deadlines {
            session: later(now, limits.session_seconds_max),
            command: later(now, COMMAND_SECONDS_MAX),
            data_octets_per_second_min: limits.data_octets_per_second_min,
        }
    }

    /// We have replied: the next command line has all of its time.
    pub fn on_reply(&mut self, now: Instant) {
        self.command = later(now, COMMAND_SECONDS_MAX);
    }

    /// When the command line has to be complete.
    pub fn command(&self) -> Due {
        self.within_session(Due { at: self.command, limit: "timeout" })
    }

    /// When more mail data has to be there.
    pub fn data(&self, now: Instant, progress: Progress) -> Due {
        let silence = Due { at: later(now, DATA_SILENCE_SECONDS_MAX), limit: "timeout" };
        let worth_seconds = progress.octets.div_ceil(self.data_octets_per_second_min.max(1));
        let at = later(progress.since, worth_seconds.max(DATA_GRACE_SECONDS));
        let slow = Due { at, limit: "data_octets_per_second_min" };
        self.within_session(if slow.at < silence.at { slow } else { silence })
    }

    /// When a client has to have read what we send now. The last reply can be sent even when the session is over.
    pub fn flush(&self, now: Instant) -> Instant {
        later(now, FLUSH_SECONDS_MAX).min(self.session.max(later(now, LAST_REPLY_SECONDS_MAX)))
    }

    /// When the TLS handshake has to be done.
    pub fn handshake(&self, now: Instant) -> Instant {
        later(now, HANDSHAKE_SECONDS_MAX).min(self.session)
    }

    fn within_session(&self, due: Due) -> Due {
        let session = Due { at: self.session, limit: "session_seconds_max" };
        if session.at < due.at { session } else { due }
    }
}

/// So many seconds later. What the clock cannot count is as good as never: a century later.
fn later(from: Instant, seconds: u64) -> Instant {
    const CENTURY_SECONDS: u64 = 100 * 365 * 24 * 3600;
    from + Duration::from_secs(seconds.min(CENTURY_SECONDS))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn deadlines(now: Instant, session_seconds_max: u64, data_octets_per_second_min: u64) -> Deadlines {
        let text = "hostname = \"mx.example.org\"\n[domains.\"example.org\"]\nmailboxes = [\"alice\"]\n";
        let (config, _) = crate::config::Config::parse(text, "mxkeep.toml", Path::new("/etc")).unwrap();
        Deadlines::new(now, &Limits { session_seconds_max, data_octets_per_second_min, ..config.limits })
    }

    /// A deadline as seconds after a time.
    fn seconds(due: Due, from: Instant) -> (u64, &'static str) {
        (due.at.duration_since(from).as_secs(), due.limit)
    }

    #[test]
    fn a_command_line_has_its_time_from_the_last_reply_on_and_not_from_each_octet() {
        let begin = Instant::now();
        let mut deadlines = deadlines(begin, 7200, 100);
        assert_eq!(seconds(deadlines.command(), begin), (300, "timeout"));
        assert_eq!(seconds(deadlines.command(), begin), (300, "timeout"), "it does not move by itself");
        deadlines.on_reply(later(begin, 250));
        assert_eq!(seconds(deadlines.command(), begin), (550, "timeout"));
        deadlines.on_reply(later(begin, 7000));
        assert_eq!(seconds(deadlines.command(), begin), (7200, "session_seconds_max"));
    }

    #[test]
    fn mail_data_may_not_be_silent_nor_too_slow() {
        let begin = Instant::now();
        let deadlines = deadlines(begin, 7200, 100);
        let since = later(begin, 1000);
        let due = |at: u64, octets| seconds(deadlines.data(later(since, at), Progress { since, octets }), since);
        // In the first five minutes only their end counts.
        assert_eq!(due(0, 0), (300, "timeout"));
        assert_eq!(due(10, 1), (300, "data_octets_per_second_min"));
        assert_eq!(due(299, 30_000), (300, "data_octets_per_second_min"));
        // Each 100 octets are worth a second.
        assert_eq!(due(299, 30_100), (301, "data_octets_per_second_min"));
        assert_eq!(due(500, 60_000), (600, "data_octets_per_second_min"));
        assert_eq!(due(500, 50_001), (501, "data_octets_per_second_min"));
        assert_eq!(due(500, 40_000), (400, "data_octets_per_second_min"), "too late already");
        // However fast it was: five minutes of silence are the end.
        assert_eq!(due(500, 100_000_000), (800, "timeout"));
        assert_eq!(due(500, u64::MAX), (800, "timeout"));
        assert_eq!(due(6000, 100_000_000), (6200, "session_seconds_max"));
    }

    #[test]
    fn a_flush_ends_with_the_session_but_for_a_last_reply() {
        let begin = Instant::now();
        let deadlines = deadlines(begin, 1000, 100);
        let due = |at: u64| deadlines.flush(later(begin, at)).duration_since(begin).as_secs();
        assert_eq!((due(0), due(600), due(800), due(999), due(5000)), (300, 900, 1000, 1001, 5002));
    }

    #[test]
    fn a_handshake_ends_with_the_session() {
        let begin = Instant::now();
        let deadlines = deadlines(begin, 1000, 100);
        let due = |at: u64| deadlines.handshake(later(begin, at)).duration_since(begin).as_secs();
        assert_eq!((due(0), due(950)), (60, 1000));
    }

    #[test]
    fn a_limit_beyond_the_clock_is_no_trouble() {
        let begin = Instant::now();
        let mut deadlines = deadlines(begin, u64::MAX, 1);
        deadlines.on_reply(begin);
        assert_eq!(seconds(deadlines.command(), begin), (300, "timeout"));
    }
}
