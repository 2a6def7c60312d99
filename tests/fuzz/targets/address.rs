//! Addresses: what is accepted is legal, within its limits, and the same when it is printed and read again; and a naive
//! reading of the grammar accepts the same.

use mxkeep::address::{
    DOMAIN_OCTETS_MAX, Domain, ForwardPath, Host, LOCAL_PART_OCTETS_MAX, Mailbox, PATH_OCTETS_MAX, ReversePath,
};

pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    check_domain(&text);
    check_host(&text);
    check_mailbox(&text);
    check_paths(&text);
}

fn check_domain(text: &str) {
    let parsed = Domain::parse(text);
    assert_eq!(parsed.is_ok(), is_domain(text), "{text:?}");
    for domain in [parsed, Domain::from_unicode(text)].into_iter().flatten() {
        let spelled = domain.as_str();
        assert!(is_domain(spelled) && spelled == spelled.to_ascii_lowercase(), "{spelled:?}");
        assert_eq!(Domain::parse(spelled).as_ref(), Ok(&domain));
        assert_eq!(Domain::parse(&spelled.to_ascii_uppercase()).as_ref(), Ok(&domain));
    }
}

fn check_host(text: &str) {
    let parsed = Host::parse(text);
    if let Ok(host) = &parsed {
        assert_eq!(&Host::parse(&host.to_string()), &parsed);
        assert_eq!(host.domain().is_some(), is_domain(text), "{text:?}");
    }
}

fn check_mailbox(text: &str) {
    let parsed = Mailbox::parse(text);
    if let Some((local_part, host)) = text.split_once('@').filter(|(local_part, _)| !local_part.starts_with('"')) {
        let host = match host {
            literal if literal.starts_with('[') => Host::parse(literal).is_ok(),
            ascii if ascii.is_ascii() => is_domain(ascii),
            labels => Domain::from_unicode(labels).is_ok() && !labels.ends_with('.'),
        };
        let within = local_part.len() <= LOCAL_PART_OCTETS_MAX;
        assert_eq!(parsed.is_ok(), is_dot_string(local_part) && within && host, "{text:?}");
    }
    let Ok(mailbox) = parsed else { return };
    check_local_part(mailbox.local_part());
    let spelled = mailbox.to_string();
    assert_eq!(Mailbox::parse(&spelled).as_ref(), Ok(&mailbox), "{spelled:?}");
    if let Some(domain) = mailbox.domain() {
        assert_eq!(Mailbox::new(mailbox.local_part(), domain).as_ref(), Ok(&mailbox));
    }
}

fn check_local_part(local_part: &str) {
    assert!((1..=LOCAL_PART_OCTETS_MAX).contains(&local_part.len()), "{local_part:?}");
    assert!(!local_part.contains(|c: char| c.is_control() || is_line_end(c)), "{local_part:?}");
}

/// As given, and between brackets: most of what is made up has none.
fn check_paths(text: &str) {
    for text in [text.to_owned(), format!("<{text}>")] {
        if let Ok(path) = ReversePath::parse(&text) {
            assert!(text.len() <= PATH_OCTETS_MAX);
            assert_eq!(ReversePath::parse(&format!("<{path}>")), Ok(path));
        }
        if let Ok(path) = ForwardPath::parse(&text) {
            assert!(text.len() <= PATH_OCTETS_MAX);
            assert_eq!(ForwardPath::parse(&format!("<{path}>")), Ok(path));
        }
    }
}

/// RFC 5321 section 4.1.2 `Domain`, and underscores.
fn is_domain(text: &str) -> bool {
    let letters = |label: &str| label.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_'));
    let edges = |label: &str| !label.starts_with('-') && !label.ends_with('-');
    let label = |label: &str| letters(label) && edges(label) && !label.is_empty() && label.len() <= 63;
    text.len() <= DOMAIN_OCTETS_MAX && text.split('.').all(label)
}

/// Line and paragraph separator.
fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// RFC 5321 section 4.1.2 `Dot-string`, with the UTF-8 of RFC 6531 section 3.3.
fn is_dot_string(text: &str) -> bool {
    let atext = |c: char| match c {
        '\0'..='\u{7f}' => matches!(c, '!'..='~') && !"()<>[]:;@\\,.\"".contains(c),
        c => !c.is_control() && !is_line_end(c),
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}
