//! A Received field made ready to be read: blanks, semicolons and the date at its end.

use std::borrow::Cow;

use super::address::is_word;
use super::marks::Mark;

/// One blank between words, none around, no semicolon at the end.
pub fn tidied(value: &[u8]) -> Vec<u8> {
    let mut tidy = Vec::with_capacity(value.len());
    for octet in value {
        match octet {
            b' ' | 9..=13 if matches!(tidy.last(), None | Some(b' ')) => {}
            b' ' | 9..=13 => tidy.push(b' '),
            octet => tidy.push(*octet),
        }
    }
    if tidy.last() == Some(&b' ') {
        tidy.pop();
    }
    while tidy.last() == Some(&b';') {
        tidy.pop();
        if tidy.last() == Some(&b' ') {
            tidy.pop();
        }
    }
    tidy
}

/// The field begins so, whatever the case.
pub fn begins(field: &[u8], with: &[u8]) -> bool {
    field.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

/// `with local for`, as whole words.
pub fn is_local(field: &[u8]) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| field.get(at)).is_some_and(|octet| is_word(*octet));
    Mark::WithLocalFor.places(field).any(|(start, end)| !word(start.checked_sub(1)) && !word(Some(end)))
}

/// `from name by name;`, which tells nothing but names. An address in brackets would tell something.
pub fn is_only_names(field: &[u8]) -> bool {
    let after_blank = |text: &[u8]| memchr::memchr(b' ', text).unwrap_or(text.len());
    let Some(rest) = field.get(b"from ".len()..).filter(|_| begins(field, b"from ")) else { return false };
    let Some((name, rest)) = rest.split_at_checked(after_blank(rest)) else { return false };
    let Some(rest) = rest.get(b" by ".len()..).filter(|_| begins(rest, b" by ")) else { return false };
    let by = rest.iter().take_while(|octet| !matches!(octet, b' ' | b';')).count();
    let after = rest.get(by..).unwrap_or_default();
    let address = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"))
        .is_some_and(|text| !text.is_empty() && text.iter().all(|octet| octet.is_ascii_digit() || *octet == b'.'));
    by > 0 && !name.is_empty() && !address && (after.starts_with(b";") || after.starts_with(b" ;"))
}

/// Without a date at the end, as long as no comment stands behind it.
pub fn without_date(field: &[u8]) -> &[u8] {
    date_start(field).and_then(|start| field.get(..start)).unwrap_or(field)
}

/// Where the blanks and semicolons before the date begin: from the last word on backwards, zone, time, year, month, day
/// and perhaps the day of the week.
fn date_start(field: &[u8]) -> Option<usize> {
    const DAYS: [&[u8]; 7] = [b"Mon, ", b"Tue, ", b"Wed, ", b"Thu, ", b"Fri, ", b"Sat, ", b"Sun, "];
    let (rest, zone) = last_word(field)?;
    let (rest, time) = last_word(rest)?;
    let (rest, year) = last_word(rest)?;
    let (rest, month) = last_word(rest)?;
    let digits = rest.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    if zone.is_empty() || digits == 0 || !is_time(time) || !is_number(year) || !MONTHS.contains(&month) {
        return None;
    }
    let before_day = rest.get(..rest.len().saturating_sub(digits))?;
    let before_week = DAYS.iter().find_map(|day| before_day.strip_suffix(*day));
    [before_week, Some(before_day)].into_iter().flatten().find_map(|before| {
        let gap = before.iter().rev().take_while(|octet| matches!(octet, b' ' | b';')).count();
        before.len().checked_sub(gap).filter(|_| gap > 0)
    })
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

fn last_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, word) = text.split_at_checked(memchr::memrchr(b' ', text)?)?;
    Some((rest, word.get(1..)?))
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn is_time(text: &[u8]) -> bool {
    let parts = text.split(|octet| *octet == b':');
    matches!(parts.clone().count(), 2 | 3) && parts.into_iter().all(is_number)
}

/// With a blank between the first closing parenthesis and `by`.
pub fn spaced(field: &[u8]) -> Cow<'_, [u8]> {
    let glued = Mark::ParenthesisBy.places(field).next();
    let glued = glued.and_then(|(start, _)| field.split_at_checked(start.saturating_add(1)));
    glued.map_or(Cow::Borrowed(field), |(before, after)| Cow::Owned([before, b" ", after].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_tidied() {
        for (value, expected) in [
            ("  from a\r\n\tby b ; ;", "from a by b"),
            ("from a by b;;", "from a by b"),
            ("from a", "from a"),
            (" ; ", ""),
        ] {
            assert_eq!(tidied(value.as_bytes()), expected.as_bytes(), "{value}");
        }
        assert_eq!(&*spaced(b"from a (b)by c (d)by e"), b"from a (b) by c (d)by e");
    }

    #[test]
    fn dates_at_the_end_go() {
        for (field, expected) in [
            ("from a; Tue, 3 Mar 2026 10:11:12 +0100", "from a"),
            ("from a ;; 3 Mar 2026 10:11 GMT", "from a"),
            ("from a; Day, 3 Mar 2026 10:11 GMT", "from a; Day,"),
            ("from a; Tue, 3 Mar 2026 10:11:12 +0100 (CET)", "from a; Tue, 3 Mar 2026 10:11:12 +0100 (CET)"),
            ("from a; Tue, 3 Mrz 2026 10:11:12 +0100", "from a; Tue, 3 Mrz 2026 10:11:12 +0100"),
            ("from a; Tue, x3 Mar 2026 10:11:12 +0100", "from a; Tue, x3 Mar 2026 10:11:12 +0100"),
        ] {
            assert_eq!(without_date(field.as_bytes()), expected.as_bytes(), "{field}");
        }
    }

    #[test]
    fn names_alone_tell_nothing() {
        for (field, expected) in [
            ("from a.example by b.example ; Tue", true),
            ("FROM a.example BY b.example; Tue", true),
            ("from [192.0.2.1] by b.example; Tue", false),
            ("from [x] by b.example; Tue", true),
            ("from a.example by b.example with SMTP; Tue", false),
            ("from a.example", false),
        ] {
            assert_eq!(is_only_names(field.as_bytes()), expected, "{field}");
        }
        assert!(is_local(b"from a by b with local for c"));
        assert!(!is_local(b"from a by b with local forty"));
    }
}
