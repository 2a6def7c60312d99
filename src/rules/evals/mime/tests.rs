//! Tests of the evals over parts: small mails, and what is asked of each.

use super::alternative::Difference;
use super::*;
use crate::rules::environment::Environment;
use crate::rules::views::header::Known;
use crate::rules::views::parts::Parts;

fn with<T>(mail: &str, ask: impl FnOnce(&Views<'_>) -> T) -> T {
    let parts = Parts::of_stored(mail.as_bytes());
    ask(&Views::new(&parts, Known::default(), &Environment::default()))
}

fn facts(mail: &str) -> MimeFacts {
    with(mail, MimeFacts::new)
}

const ALTERNATIVE: &str = "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n";

#[test]
fn facts_of_parts() {
    for (fact, hit, miss) in [
        ("mime_base64_count", "Content-Transfer-Encoding: base64\n\nYQ==\n", "\nYQ==\n"),
        (
            "mime_base64_encoded_text",
            "Content-Transfer-Encoding: base64\n\nYQ==\n",
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nYQ==\n",
        ),
        (
            "mime_bad_iso_charset",
            "Content-Type: a/b; charset=iso-1-2\n\n",
            "Content-Type: a/b; charset=iso-8859-15\n\n",
        ),
        ("mime_bad_iso_charset", "Content-Type: a/b; charset=iso-8859-151\n\n", "Content-Type: a/b; charset=iso-8\n\n"),
        ("mime_attachment", "Content-Disposition: attachment\n\n", "Content-Disposition: inline\n\n"),
        ("mime_missing_boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", "\nx"),
        (
            "mime_qp_count",
            "Content-Transfer-Encoding: quoted-printable\n\n=41=20\n",
            "Content-Transfer-Encoding: quoted-printable\n\n=3D=20\n",
        ),
        ("mime_ascii_text_illegal", "\ncaf\u{e9}\n", "Content-Type: text/plain; charset=utf-8\n\ncaf\u{e9}\n"),
        ("mime_faraway_charset", "", ""),
    ] {
        assert_eq!(facts(hit).fact(fact), fact != "mime_faraway_charset", "{fact}: {hit}");
        assert!(!facts(miss).fact(fact), "{fact}: {miss}");
    }
    let long = format!("Content-Transfer-Encoding: quoted-printable\n\n{}\n", "x".repeat(79));
    assert!(facts(&long).fact("mime_qp_long_line"));
    assert_eq!(facts(&long).quoted_printable_ratio(), 0.0);
    assert_eq!(facts("\n&#x00E9;&#x00e9;12\n").unicode_ratio(), 1.0 / 11.0);
    assert_eq!(facts("Content-Transfer-Encoding: base64\n\nYQ==\nYWI=YWI=\n").base64_line_octets, 9);
}

#[test]
fn html_and_text() {
    let ask = |mail: &str| {
        with(mail, |views| {
            let facts = MimeFacts::new(views);
            (has_html(views, &facts), is_html_only(views, &facts), facts.multipart_ratio)
        })
    };
    assert_eq!(ask("\nx\n"), (false, false, 1.0));
    assert_eq!(ask("Content-Type: text/html\n\n<b>\n"), (true, true, 1.0));
    assert_eq!(ask(&format!("{ALTERNATIVE}ab\n--b\nContent-Type: text/html\n\nabcd\n--b--\n")), (true, false, 0.5));
    assert!(with(&format!("{ALTERNATIVE}a\n--b\nContent-Type: image/png\n\nx\n--b--\n"), has_odd_alternative));
    assert!(!with(&format!("{ALTERNATIVE}a\n--b\nContent-Type: application/rtf\n\nx\n--b--\n"), has_odd_alternative));
}

#[test]
fn flags() {
    for (flag, mail) in [
        ("missing_head_body_separator", "A: 1\n".to_owned()),
        ("truncated_header", format!("A: {}\n\n", "x".repeat(9_000))),
        ("truncated_header", format!("{}\n", format!("A: {}\n", "x".repeat(7_000)).repeat(10))),
        ("mime_epilogue_exists", format!("{ALTERNATIVE}x\n--b--\nx\n")),
        ("missing_mime_headers", "Content-Type: multipart/x; boundary=b\n\n--b\n\nx\n--b--\n".to_owned()),
        (
            "missing_mime_head_body_separator",
            "Content-Type: multipart/x; boundary=b\n\n--b\nA: 1\nx\nx\n--b--\n".to_owned(),
        ),
    ] {
        assert!(with(&mail, |views| parse_flag(views, flag)), "{flag}");
        assert!(!with("A: 1\n\nx\n", |views| parse_flag(views, flag)), "{flag}");
    }
}

#[test]
fn text_evals() {
    let shout = "HELLO you ".repeat(30);
    assert_eq!(with(&format!("\n{shout}"), |views| text::uppercase(views, false)), 62.5);
    assert_eq!(with(&format!("\n{shout}"), |views| text::uppercase(views, true)), 0.0);
    assert_eq!(with("\nHELLO YOU", |views| text::uppercase(views, false)), 0.0);
    assert_eq!(with("\nab cd efgh", text::vertical_words), 25);
    assert_eq!(with("\nab", text::vertical_words), -1);
    assert!(text::vertical_words_hit(100, 50.0, 100.0) && !text::vertical_words_hit(10, 0.0, 10.0));
    assert_eq!(with("\na\n\nb\n\n", |views| text::blank_lines(views, 1)), 50.0);
    assert_eq!(with("\na\n", |views| text::blank_lines(views, 4)), -1.0);
    assert!(text::blank_lines_hit(50.0, 0.0, 50.0) && !text::blank_lines_hit(50.0, 50.0, 90.0));
    assert_eq!(with("\nbody\n-- \nJoe Public\n", text::signature), Some((5, 12)));
    assert_eq!(with("\nbody\n-- \nJoe\n", text::signature), Some((5, 5)));
    assert_eq!(with("\nbody\n--\nJ\n", text::signature), Some((10, 0)));
    assert_eq!(text::signature_ratio((10, 0)), 1e6);
    assert_eq!(with("A: 1\n\nab\n", body_octets), 3);
}

#[test]
fn alternatives_differ() {
    let ask = |text: &str, html: &str| {
        with(&format!("{ALTERNATIVE}{text}\n--b\nContent-Type: text/html\n\n{html}\n--b--\n"), Difference::new)
    };
    let found = ask("one two", "<p>one two three three</p>");
    assert_eq!((found.html_words, found.text_words), (3, 2));
    assert!(found.hits(33.0, Some(34.0)) && !found.hits(34.0, None) && !found.hits(0.0, Some(33.0)));
    assert_eq!(ask("one two - two", "two two - one").percentage, 0.0);
    assert_eq!(ask("two", "two two").percentage, 100.0);
    assert_eq!(ask("x", "<img src=a>").percentage, 100.0);
    assert_eq!(ask("x", "").percentage, 0.0);
    assert!(ask("a b c d", "a").count_hits(3.0, 0.0) && !ask("a b c d", "a").count_hits(3.0, 1.0));
}
