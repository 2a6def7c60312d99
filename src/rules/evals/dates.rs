//! Dates of a message: what Date says against what Received fields say.
//!
//! *Guarantees:* a date is read as SpamAssassin reads it, with all that it forgives: two-digit years, days and hours
//! that do not exist, zones nobody knows. Years are kept within 1970 to 2037.

use std::sync::LazyLock;

use super::facts::Facts;
use crate::rules::relays::shape::{Shape, Slot, Steps};

/// How many dates of Received fields are looked at.
pub const DATES_MAX: usize = 256;
/// How many octets of a text are looked through for a date: all Received fields of real mail.
pub const DATE_OCTETS_MAX: usize = 65_536;
/// Work on one Received field, in steps.
const STEPS_MAX: u32 = 4_000;
/// Seconds of a year, leap years shared out.
const YEAR_SECONDS: f64 = 31_556_952.0;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Zones by name, in minutes east of Greenwich.
const ZONES: [(&str, i64); 49] = [
    ("UT", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("WET", 0),
    ("NDT", -150),
    ("ADT", -180),
    ("NST", -210),
    ("AST", -240),
    ("EDT", -240),
    ("EST", -300),
    ("CDT", -300),
    ("CST", -360),
    ("MDT", -360),
    ("MST", -420),
    ("PDT", -420),
    ("PST", -480),
    ("AKDT", -480),
    ("AKST", -540),
    ("HADT", -540),
    ("HAST", -600),
    ("HST", -600),
    ("BRST", -120),
    ("BRT", -180),
    ("BST", 60),
    ("IST", 60),
    ("WEST", 60),
    ("CET", 60),
    ("MET", 60),
    ("MEZ", 60),
    ("CEST", 120),
    ("EET", 120),
    ("MEST", 120),
    ("MESZ", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("MSD", 240),
    ("IDT", 180),
    ("AEST", 600),
    ("AEDT", 660),
    ("ACST", 570),
    ("ACDT", 630),
    ("AWST", 480),
    ("NZST", 720),
    ("NZDT", 780),
    ("JST", 540),
    ("KST", 540),
    ("HKT", 480),
    ("SGT", 480),
    ("PHT", 480),
];

/// What a message says of its time, in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dates {
    /// Resent-Date, or else Date.
    pub date: Option<i64>,
    /// Received fields, the newest first, without those of a fetch from a mailbox.
    pub received: Vec<i64>,
    /// When it was fetched from a mailbox.
    pub fetched: Option<i64>,
}

impl Dates {
    /// Reads them.
    pub fn of(facts: &Facts) -> Dates {
        let values = |name| facts.text(name);
        let date = ["Resent-Date", "Date"].into_iter().find_map(|name| lines(&values(name)).find_map(parse));
        let received = facts.text("Received");
        let mut fields: Vec<&[u8]> =
            lines(&received).filter(|line| !line.trim_ascii().is_empty()).take(DATES_MAX).collect();
        let local: Vec<&[u8]> = fields.drain(..local(&fields)).collect();
        let past = |time: &i64| *time <= facts.now;
        let fetched = local.into_iter().filter_map(date_in).filter(past).max();
        Dates { date, received: fields.into_iter().filter_map(date_in).collect(), fetched }
    }

    /// How far Date is ahead of the Received fields, in seconds: by the one that comes nearest. 0 if either is missing.
    pub fn shift(&self) -> i64 {
        let Some(date) = self.date else { return 0 };
        let mut shifts: Vec<i64> = self.received.iter().map(|received| date.saturating_sub(*received)).collect();
        // The oldest field is often of the same mill as Date.
        if shifts.len() > 1 && shifts.last() == Some(&0) {
            shifts.pop();
        }
        shifts.into_iter().min_by_key(|shift| shift.unsigned_abs()).unwrap_or_default()
    }

    /// When the message was received, most likely: the median of what is said. 0 if nothing is.
    pub fn received(&self) -> i64 {
        let newest = self.received.first().copied();
        let shifted = self.date.filter(|_| newest.is_some()).map(|date| date.saturating_sub(self.shift()));
        let mut times: Vec<i64> = [self.date, newest, self.fetched, shifted].into_iter().flatten().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }
}

/// `check_for_shifted_date(min, max)`: Date is ahead by at least `min` and less than `max` hours; `None` is no limit.
pub fn shifted_date(dates: &Dates, min_hours: Option<f64>, max_hours: Option<f64>) -> bool {
    let shift = dates.shift() as f64;
    min_hours.is_none_or(|min| shift >= 3_600.0 * min) && max_hours.is_none_or(|max| shift < 3_600.0 * max)
}

/// `received_within_months(min, max)`: received at least `min` and less than `max` months ago; `None` is no limit.
pub fn received_within_months(dates: &Dates, now: i64, min: Option<f64>, max: Option<f64>) -> bool {
    let ago = now.saturating_sub(dates.received()) as f64;
    min.is_none_or(|min| ago >= YEAR_SECONDS * (min / 12.0)) && max.is_none_or(|max| ago < YEAR_SECONDS * (max / 12.0))
}

/// A limit as an argument of these: `undef` is none.
pub fn limit(argument: &str) -> Result<Option<f64>, &'static str> {
    match argument.trim() {
        "undef" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "a limit must be a number, or undef"),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| *octet == b'\n').filter(|line| !line.is_empty())
}

/// How many fields on top tell of a fetch from a mailbox: one by fetchmail, perhaps with a local hand-over above.
fn local(fields: &[&[u8]]) -> usize {
    static PIECES: LazyLock<[Shape; 3]> = LazyLock::new(|| {
        [
            "{b}from {localhost{ |\t}|{_} {{_} |}{_*}{b}127.0.0.1{b}}",
            "qmail {_#} invoked by uid {_#}",
            "{b}by localhost with {_%} (fetchmail-{{_#}|.}",
        ]
        .map(Shape::new)
    });
    let [handed, queued, fetched] = &*PIECES;
    let is = |at: usize, shape: &Shape| {
        fields.get(at).is_some_and(|field| shape.find(field, &mut Steps::new(STEPS_MAX)).is_some())
    };
    let above = usize::from(is(0, handed) || is(0, queued));
    if is(above, fetched) { above.saturating_add(1) } else { 0 }
}

/// The first date in a Received field.
pub fn date_in(field: &[u8]) -> Option<i64> {
    static DATE: LazyLock<Shape> = LazyLock::new(|| Shape::new("{first={_0-1.}{_#} {_3-3} {_#} {_#}:{_#}:{_#} {_}}"));
    let mut steps = Steps::new(STEPS_MAX);
    let found = field.windows(3).enumerate().find_map(|(at, window)| match window {
        [b' ' | 9..=13, day, next] if day.is_ascii_digit() || next.is_ascii_digit() => {
            DATE.matches(field.get(at.saturating_add(1)..)?, &mut steps)
        }
        _ => None,
    });
    parse(found?.get(Slot::First)?)
}

/// A date as people and programs write it (RFC 5322 section 3.3, and worse), in seconds since 1970.
pub fn parse(date: &[u8]) -> Option<i64> {
    let date = date.get(..DATE_OCTETS_MAX).unwrap_or(date);
    let text: String = date.iter().map(|octet| if *octet == b',' { ' ' } else { char::from(*octet) }).collect();
    let mut words: Vec<&str> = text.split(|letter: char| letter.is_ascii_whitespace() || letter == '\x0b').collect();
    words.retain(|word| !word.is_empty());
    let (day, month, year) = take_date(&mut words)?;
    let clock = words.iter().position(|word| clock(word).is_some());
    let (hour, minute, second) = clock.and_then(|at| self::clock(words.remove(at))).unwrap_or_default();
    let (year, month, day) = real_day(year, month, day);
    let year = year.clamp(1970, 2037);
    if day == 0 || day > days_of(year, month) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let time = ((days * 24 + hour.min(23)) * 60 + minute.min(59)) * 60 + second.min(59);
    let offset = zone(&words).unwrap_or_default().saturating_mul(60);
    // A zone to the east takes nothing to before 1970.
    Some(if offset > 0 && time < offset { 0 } else { time.saturating_sub(offset) })
}

/// Day, month from 1 on, and year, their words taken out. `3 Mar 2026`, `Mar 3 10:11:12 2026` (with its time), `3 Mar
/// 26`.
fn take_date(words: &mut Vec<&str>) -> Option<(i64, i64, i64)> {
    let by_day = |words: &[&str], digits: &[usize]| {
        words.windows(3).enumerate().find_map(|(at, window)| match window {
            [day, month, year] if digits.contains(&year.len()) => {
                Some((at, 3, (number(day)?, self::month(month)?, full_year(year)?)))
            }
            _ => None,
        })
    };
    let by_month = |words: &[&str]| {
        words.windows(4).enumerate().find_map(|(at, window)| match window {
            [month, day, time, year] if year.len() == 4 => {
                let parts = time.split(':').filter_map(number).count();
                let is_time = parts == 3 && time.matches(':').count() == 2;
                Some((at, 4, (number(day)?, self::month(month)?, full_year(year)?))).filter(|_| is_time)
            }
            _ => None,
        })
    };
    let found = by_day(words, &[4]).or_else(|| by_month(words)).or_else(|| by_day(words, &[2, 3]));
    let (at, count, date) = found?;
    words.drain(at..at.saturating_add(count).min(words.len()));
    Some(date)
}

/// Digits only. What is too large is as large as fits.
fn number(word: &str) -> Option<i64> {
    let digits = !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| word.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000))
}

fn month(word: &str) -> Option<i64> {
    MONTHS.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, month)| month)
}

/// RFC 5322 section 4.3: years of two and three digits.
fn full_year(word: &str) -> Option<i64> {
    let year = number(word)?;
    Some(match word.len() {
        2 if year < 50 => year.saturating_add(2000),
        4 => year,
        _ => year.saturating_add(1900),
    })
}

fn clock(word: &str) -> Option<(i64, i64, i64)> {
    let mut parts = word.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    let two = |part: &str| part.len() == 2;
    let fits = hour.len() <= 2 && two(minute) && second.is_none_or(two) && parts.next().is_none();
    fits.then(|| Some((number(hour)?, number(minute)?, second.map_or(Some(0), number)?)))?
}

/// A day that its month does not have is the first of the next.
fn real_day(year: i64, month: i64, day: i64) -> (i64, i64, i64) {
    match (day > days_of(year, month), month) {
        (false, _) => (year, month, day),
        (true, 12) => (year.saturating_add(1), 1, 1),
        (true, _) => (year, month.saturating_add(1), 1),
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1970;
    // From 1970 to 2037 every fourth year is a leap year.
    let leaps = (past + 1) / 4 + i64::from(year % 4 == 0 && month > 2);
    let before = BEFORE.iter().zip(1..).find(|(_, of)| *of == month).map_or(0, |(days, _)| *days);
    past * 365 + leaps + before + day - 1
}

/// Minutes east of Greenwich: `+0130`, or else the first name that could be one.
fn zone(words: &[&str]) -> Option<i64> {
    let numeric = |word: &&str| {
        let (sign, digits) = word.split_at_checked(1)?;
        let sign = match sign {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let (hours, minutes) = digits.split_at_checked(2).filter(|_| digits.len() == 4)?;
        Some(sign * (number(hours)? * 60 + number(minutes)?))
    };
    if let Some(offset) = words.iter().find_map(numeric) {
        return Some(offset);
    }
    let name = words.iter().find_map(|word| zone_name(word))?;
    ZONES.iter().find(|(known, _)| *known == name).map(|(_, minutes)| *minutes)
}

/// The first that could be the name of a zone: two to four capitals, perhaps with `-DST` behind, which no known zone
/// has.
fn zone_name(word: &str) -> Option<&str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut rest = word.trim_start_matches(|letter| !is_word(letter));
    while !rest.is_empty() {
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at_checked(end)?;
        if (2..=4).contains(&piece.len()) && piece.bytes().all(|octet| octet.is_ascii_uppercase()) {
            let summer = after.strip_prefix("-DST").is_some_and(|after| !after.starts_with(is_word));
            return if summer { rest.get(..end.saturating_add(4)) } else { Some(piece) };
        }
        rest = after.trim_start_matches(|letter| !is_word(letter));
    }
    None
}
