//! Authentication of a client as the MTA that wrote a Received field says it.
//!
//! *Never does:* judge whether that MTA is to be trusted; the trust boundary is [`super::Relays`]' matter.

use std::sync::LazyLock;

use memchr::memmem;

use super::address::is_word;
use super::marks::Mark;
use super::shape::{Found, Shape, Slot, Steps};
use super::tidy::begins;

/// RFC 3848 and its followers, and what web mailers write.
const AUTHENTICATED: [&[u8]; 12] = [
    b"ESMTPA",
    b"ESMTPSA",
    b"LMTPA",
    b"LMTPSA",
    b"UTF8SMTPA",
    b"UTF8SMTPSA",
    b"UTF8LMTPA",
    b"UTF8LMTPSA",
    b"ASMTP",
    b"HTTP",
    b"HTTPS",
    b"HTTPU",
];

/// How an authenticated session is shown, and what it is called.
struct Sign {
    needs: Mark,
    shape: Shape,
    named: fn(&Found) -> Vec<u8>,
}

static SIGNS: LazyLock<[Sign; 4]> = LazyLock::new(|| {
    [
        Sign {
            needs: Mark::Gmx,
            shape: Shape::new(
                "from {_*} ({HELO|EHLO} {_*}) [{_ip}] by {first=mail.gmx.{net|com}} ({_^)}) with {second={ESMTP|SMTP}}",
            ),
            named: |found| joined(&[b"GMX (", second(found), b" / ", first(found), b")"]),
        },
        Sign {
            needs: Mark::AuthenticatedAs,
            shape: Shape::new(") by {_.} ({_1-2#}.{_1-1#}.{_3-3#}{.{_1-3#}|}) (authenticated as {_.}) id "),
            named: |_| b"CriticalPath".to_vec(),
        },
        Sign {
            needs: Mark::Sender,
            shape: Shape::new(") (Authenticated sender: {_}) by {_} ({first^)}) with "),
            named: |found| match first(found) {
                b"Postfix" => b"Postfix".to_vec(),
                other => joined(&[b"Postfix (", other, b")"]),
            },
        },
        Sign {
            needs: Mark::Account,
            shape: Shape::new("CommuniGate Pro {HTTP|SMTP|XIMSS|IMAP}"),
            named: |_| b"Communigate".to_vec(),
        },
    ]
});

static GMAIL: LazyLock<[Shape; 2]> = LazyLock::new(|| {
    [" by mx.google.com with ESMTPS id {second}", "(version={first^ } cipher={second^)})"].map(Shape::new)
});

static COURIER: LazyLock<Shape> =
    LazyLock::new(|| Shape::new("from {?}{])|)]} (AUTH: {first={LOGIN|PLAIN|DIGEST-MD5|CRAM-MD5}} {_}{, {?}|}) by "));

/// What names the authentication; empty if there was none. The field begins with `from `, and has no date at its end.
pub fn authentication(field: &[u8], steps: &mut Steps) -> Vec<u8> {
    let by = Mark::By.is_in(field);
    if by && let Some(protocol) = protocol(field) {
        return protocol.to_vec();
    }
    if let Some(gmail) = gmail(field, steps) {
        return gmail;
    }
    if Mark::Auth.is_in(field)
        && let Some(found) = COURIER.matches(field, steps)
    {
        return first(&found).to_vec();
    }
    if Mark::Authenticated.is_in(field) && is_sendmail(field) {
        return b"Sendmail".to_vec();
    }
    let sign = |sign: &Sign, steps: &mut Steps| {
        sign.needs.is_in(field).then(|| sign.shape.find(field, steps)).flatten().map(|found| (sign.named)(&found))
    };
    if let Some(named) = SIGNS.iter().find_map(|of| sign(of, steps)) {
        return named;
    }
    if ends_a_word(field, Mark::HttpDav) {
        return b"HTTP-DAV".to_vec();
    }
    if by { via_http(field).unwrap_or_default().to_vec() } else { Vec::new() }
}

fn first<'t>(found: &Found<'t>) -> &'t [u8] {
    found.get(Slot::First).unwrap_or_default()
}

fn second<'t>(found: &Found<'t>) -> &'t [u8] {
    found.get(Slot::Second).unwrap_or_default()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ends_a_word(field: &[u8], mark: Mark) -> bool {
    mark.behind(field).any(|rest| !rest.first().is_some_and(|octet| is_word(*octet)))
}

/// The protocol behind `with`, if it says that the client was authenticated.
fn protocol(field: &[u8]) -> Option<&[u8]> {
    words_behind(field, b" with ").find_map(|rest| {
        let word = rest.split(|octet| matches!(octet, b' ' | b';')).next()?;
        AUTHENTICATED.iter().any(|known| known.eq_ignore_ascii_case(word)).then_some(word)
    })
}

/// What stands behind each place of a mark, whatever its case. Marks begin with a blank.
fn words_behind<'f>(field: &'f [u8], mark: &'static [u8]) -> impl Iterator<Item = &'f [u8]> {
    memchr::memchr_iter(b' ', field).filter_map(move |at| {
        let rest = field.get(at..)?;
        begins(rest, mark).then(|| rest.get(mark.len()..)).flatten()
    })
}

/// `(via HTTP)`, with at most one more octet.
fn via_http(field: &[u8]) -> Option<&[u8]> {
    words_behind(field, b" (via http").find_map(|rest| {
        let length = rest.iter().take(2).position(|octet| *octet == b')')?;
        let ended = matches!(rest.get(length.saturating_add(1)), None | Some(b' ' | b';'));
        let start = field.len().saturating_sub(rest.len()).saturating_sub(b"http".len());
        let end = field.len().saturating_sub(rest.len()).saturating_add(length);
        ended.then(|| field.get(start..end)).flatten()
    })
}

/// Gmail does not write ESMTPSA, but its identifiers tell.
fn gmail(field: &[u8], steps: &mut Steps) -> Option<Vec<u8>> {
    let [line, cipher] = &*GMAIL;
    let id = line.find(field, steps)?.get(Slot::Second)?;
    if !is_submission(id) {
        return None;
    }
    let found = cipher.find(field, steps)?;
    Some(joined(&[b"GMail - transport=", first(&found), b" cipher=", second(&found)]))
}

/// `a1sm23456789abc.12.2020.01.02.03.04.05`: `sm` stands for submission.
fn is_submission(id: &[u8]) -> bool {
    let (name, numbers) = match memchr::memchr(b'.', id) {
        Some(dot) => id.split_at_checked(dot).unwrap_or((id, b"")),
        None => return false,
    };
    (1..=4).any(|length| is_submission_name(name, length)) && is_submission_time(numbers)
}

fn is_submission_name(name: &[u8], length: usize) -> bool {
    let Some((queue, rest)) = name.split_at_checked(length) else { return false };
    let Some(rest) = rest.strip_prefix(b"sm") else { return false };
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let letters = rest.get(digits..).unwrap_or_default();
    queue.iter().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit())
        && (2..=9).contains(&digits)
        && letters.len() == 3
        && letters.iter().all(u8::is_ascii_lowercase)
}

fn is_submission_time(numbers: &[u8]) -> bool {
    let mut parts = numbers.split(|octet| *octet == b'.').skip(1);
    let digits = |part: Option<&[u8]>, least, most| {
        part.is_some_and(|part| (least..=most).contains(&part.len()) && part.iter().all(u8::is_ascii_digit))
    };
    let clock = |part: Option<&[u8]>, whole: bool| match part {
        Some([b'0'..=b'6', b'0'..=b'9']) => true,
        Some([b'0'..=b'6', b'0'..=b'9', ..]) => !whole,
        _ => false,
    };
    digits(parts.next(), 1, 3)
        && digits(parts.next(), 4, 4)
        && (0..4).all(|_| clock(parts.next(), true))
        && clock(parts.next(), false)
}

/// sendmail and others: `(authenticated …)` behind the client in parentheses. Each part is taken where it first stands:
/// if there is any way to match, that is one.
fn is_sendmail(field: &[u8]) -> bool {
    let Some(mut rest) = field.strip_prefix(b"from ").and_then(behind_client) else { return false };
    for part in [&b"("[..], b"authenticated", b")", b" by"] {
        let Some(at) = memmem::find(rest, part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    true
}

/// Behind the first `]) `, `)] ` or `] (…)) `.
fn behind_client(field: &[u8]) -> Option<&[u8]> {
    let plain = memmem::find(field, b"]) ").into_iter().chain(memmem::find(field, b")] ")).min();
    let plain = plain.map(|at| at.saturating_add(3));
    let comment = memmem::find_iter(field, b")) ").find(|close| {
        let before = field.get(..*close).unwrap_or_default();
        let start = memchr::memrchr(b')', before).map_or(0, |at| at.saturating_add(1));
        before.get(start..).is_some_and(|comment| memmem::find(comment, b"] (").is_some())
    });
    let comment = comment.map(|close| close.saturating_add(3));
    field.get(plain.into_iter().chain(comment).min()?..)
}
