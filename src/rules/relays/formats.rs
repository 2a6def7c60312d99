//! The formats of Received fields that are known, in the order in which they are tried: what the many MTAs write behind
//! `Received: from `, in the notation of [`super::shape`].
//!
//! *Guarantees:* the order decides. A shape that could only match what one above it takes is left out.

use std::sync::LazyLock;

use super::shape::Shape;
use Meaning::{Fetched, Hotmail, Ignored, Looked, LookedIdent, Odd, Qmail, Relay, Scanner, Xmail};

/// What a field means that has a known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A relay; this MTA does not look up the client's name, or does not say so.
    Relay,
    /// A relay; this MTA looks up the client's name: none here means that there is none.
    Looked,
    /// The same, with `user@` of RFC 1413 before the name.
    LookedIdent,
    /// A relay as qmail writes it: `unknown` where nothing was looked up.
    Qmail,
    /// A relay as XMail writes it: identifier and sender in angle brackets.
    Xmail,
    /// A relay of which little can be read: more is looked for.
    Odd,
    /// A hand-over by web to Hotmail of old.
    Hotmail,
    /// No hand-over by SMTP from another host, or one that says nothing of use.
    Ignored,
    /// What qmail-scanner adds: the sender belongs to the field below.
    Scanner,
    /// Fetched from a mailbox: what stands above is the way after the delivery.
    Fetched,
}

/// One format.
#[derive(Debug)]
pub struct Format {
    /// How it is put together.
    pub shape: Shape,
    /// It may stand anywhere, not only behind `from `.
    pub anywhere: bool,
    /// What must stand somewhere, besides.
    pub needs: Option<Shape>,
    /// What must stand nowhere.
    pub unless: Option<Shape>,
    /// What it means.
    pub meaning: Meaning,
}

/// Formats that are only looked for where a mark of their MTA stands.
#[derive(Debug)]
pub struct Family {
    /// The mark.
    pub marks: Vec<Shape>,
    /// Its formats.
    pub formats: Vec<Format>,
}

fn format(meaning: Meaning, shape: &'static str) -> Format {
    Format { shape: Shape::new(shape), anywhere: false, needs: None, unless: None, meaning }
}

fn anywhere(meaning: Meaning, shape: &'static str) -> Format {
    Format { anywhere: true, ..format(meaning, shape) }
}

fn needs(format: Format, needs: &'static str) -> Format {
    Format { needs: Some(Shape::new(needs)), ..format }
}

fn unless(format: Format, unless: &'static str) -> Format {
    Format { unless: Some(Shape::new(unless)), ..format }
}

fn family(marks: &[&'static str], formats: Vec<Format>) -> Family {
    Family { marks: marks.iter().map(|mark| Shape::new(mark)).collect(), formats }
}

/// Web mail: tried before all others.
pub static WEB: LazyLock<Vec<Format>> = LazyLock::new(|| {
    vec![
        needs(
            anywhere(Relay, "{ip}{b}{!.}{!-}{_10-80.}by {by} with HTTP"),
            " ({SquirrelMail|NaSMail} authenticated user ",
        ),
        needs(anywhere(Relay, "{ip} by {by} ({_ip}) with HTTP (WebMailUI)"), "aol.com"),
    ]
});

/// By MTA: only the first family whose mark stands in a field is tried.
pub static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    vec![
        family(
            &[" SMTPSVC"],
            vec![
                format(Relay, "{helo*} ([{ip}]{_0-40^)}) by {by} with Microsoft SMTPSVC"),
                format(Ignored, "mail pickup service by {_} with Microsoft SMTPSVC{$}"),
            ],
        ),
        family(
            &[
                " with Microsoft SMTP Server {({_^)}) |}{_#}.{_#}.{_#}.{_#}{{$}| }",
                " with mapi id {({_^)}) |}{_#}.{_#}.{_#}.{_#}{{$}| }",
            ],
            vec![format(Relay, "{helo} ({[|}{ip}{%{zone}|}{]|}) by {by} {id=}")],
        ),
        family(&["[XMail "], vec![format(Xmail, "{helo} ({[|}{ip}{]|}:{_#}) by {by}{ ({_})|} with [XMail")]),
        family(
            &["(ecelerity{b}"],
            vec![format(Relay, "([{ip}:{_#}] helo={helo}) by {by} "), format(Relay, "{_} ([{ip}:{_#}]) by {by} ")],
        ),
        family(
            &["Exim"],
            vec![
                anywhere(Ignored, "{b}with local{-{_}|} "),
                format(Relay, "[{ip}] ({rest*?.}) by {by} "),
                format(Relay, "{both} ([{ip}]{rest*?.}) by {by} "),
                format(Relay, "{both} [{ip}]{:{_#}|} by {by} "),
                format(Odd, ""),
            ],
        ),
        family(
            &[" (Postfix) with"],
            vec![format(Looked, "{helo} ({rdns} [{ip}]) by {by} "), format(Looked, "{helo} ({rdns}[{ip}]) by {by} ")],
        ),
        family(&["(Scalix SMTP Relay"], vec![format(Relay, "{helo} ({ |}{ip}) by {by}")]),
        family(&[" (Lotus Domino "], vec![format(Relay, "{helo} ([{ip}]) by {by} (Lotus")]),
    ]
});

/// Whatever the MTA is.
pub static GENERAL: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let mut formats = usual();
    formats.extend(qmailish());
    formats.extend(bracketed());
    formats.extend(rare());
    formats.extend(local());
    formats.extend(silent());
    formats
});

/// sendmail, and what looks like it.
fn usual() -> Vec<Format> {
    vec![
        needs(format(Relay, "{ip} ([{_ip}]) by {by}"), "{b}with HTTP{b}"),
        unless(format(LookedIdent, "{helo} ({rdns} [{ip}]{~}) by {by} ("), " by {_} (qmail-{_}) with "),
        format(Looked, "{helo} ({rdns} [{ip}]) by {by} with {_} ("),
        format(Relay, "{rdns} ([{ip}] helo={helo}) by {by} with "),
        format(Relay, "{helo} (<unknown{_*}>[{ip}]) by {by} "),
        format(Looked, "{helo} ({rdns={_}.{_}}[{ip}]) by {by} "),
        format(Looked, "{helo} ({ident*}@[{ip}]{~}) by {by} ("),
        anywhere(Hotmail, "by {by={_}.hotmail.msn.com} "),
    ]
}

fn qmailish() -> Vec<Format> {
    vec![
        format(Relay, "{rdns} ({HELO|EHLO} {helo*}) ({ip}) by {by} (qpsmtpd/{_}) with {ESMTP|SMTP}"),
        format(Relay, "{rdns} (LHLO {helo*}) ({ip}) by {by} with LMTP"),
        format(Relay, "{rdns} ({HELO|EHLO} {helo*}) [{ip}] by {by} ({_^)}) with {ESMTP|SMTP}"),
        format(Relay, "{helo} ([{ip}]) by {by} via smtpd (for {_}) with SMTP("),
        format(
            Qmail,
            "{_}{ ({HELO|EHLO} {_*})|} ({{_}@|}{[|}{_ip}{]|}){ (envelope-sender <{_}>)|} by {_}{ ({_.})|} \
             with {{~} |}{SMTP|QMQP}{! id }",
        ),
    ]
}

/// What is tried, one after the other, on a field that is [`Meaning::Qmail`].
pub static QMAIL: LazyLock<[Shape; 4]> = LazyLock::new(|| {
    [
        "{rdns} ({HELO|EHLO} {helo*^ ()}) ({ident*}@{[|}{ip}{]|}){ (envelope-sender <{_}>)|} by {by}",
        "{rdns} ({HELO|EHLO} {helo*^ ()}) ({[|}{ip}{]|}){ (envelope-sender <{_}>)|} by {by}",
        "{both} ({ident*}@{[|}{ip}{]|}){ (envelope-sender <{_}>)|} by {by}",
        "{both} ({[|}{ip}{]|}){ (envelope-sender <{_}>)|} by {by}",
    ]
    .map(Shape::new)
});

fn bracketed() -> Vec<Format> {
    vec![
        format(Relay, "[{ip}] by {by} via HTTP{$}"),
        format(Relay, "{_} ( [{ip}]){?} by {by} "),
        format(Relay, "({helo} [{ip}]) by {by} "),
        format(Relay, "[{ip}] by {by} "),
        format(Relay, "({[|}{ip}{]|}) by {by} "),
        format(Looked, "{helo} [{ip}] by {by} [{_ip}] with "),
        format(Relay, "{helo} [({ip})] by {by} ({_ip}) "),
        format(Looked, "{helo} ([{ip}]) by {by} ("),
        format(Relay, "{helo} (softdnserr [{ip}]){?} by {by}{b}"),
        format(Looked, "{helo} ({rdns} [{ip}]){?} by {by}{b}"),
        format(Looked, "{helo} ([{ip}{{.|:}{_#}|}]){?} by {by} "),
        anywhere(Fetched, "with {POP3|IMAP}"),
        format(Looked, "{rdns} ({HELO|EHLO} {helo*^)}) ({{ident*}@|}{[|}{ip}{]|}){~} by {by} "),
        format(Looked, "{both} ({{ident*}@|}{[|}{ip}{]|}){~} by {by} "),
    ]
}

fn rare() -> Vec<Format> {
    vec![
        format(Looked, "{rdns}({ip}) by {by} via smap "),
        format(Looked, "{rdns}({ip}, {HELO|EHLO} {helo*}) by {by} via smap "),
        format(Relay, "{ip} by {by} ({SMTPL|InterScan}{b}"),
        format(Ignored, "{_} by {_} with BSMTP"),
        format(Looked, "{helo} ({rdns} [{ip}]) by {by} with "),
        format(Looked, "{rdns} ({HELO|EHLO} {helo*}) ({{ident}@|}{ip}{?}) by {by} with "),
        format(Relay, "[{ip}] ({account {_} |}{HELO|EHLO} {helo*}) by {by} ("),
        needs(format(Looked, "{both} ([{ip}] verified) by {by} ("), " (CommuniGate Pro"),
        format(Relay, "{helo={nodigit}{_}} ({ip}) by {by} "),
        format(Ignored, "{_} ({_}) by {_} (Content Technologies "),
        format(Relay, "{helo} ([{ip}] [{_}]) by {by} with "),
        format(Relay, "{ip} by {by} with "),
        format(Looked, "{helo} ({rdns}[{ip}]) by {by} "),
        format(Relay, "[{ip}]{_} ({HELO|EHLO} {helo*}) by {by} "),
        format(Relay, "{ip} ({HELO|EHLO} {helo*}) by {by} "),
        format(Relay, "{helo} [{ip}] by {by} "),
        format(Relay, "{rdns}({ip}) by {by} "),
        format(Relay, "{helo} (unverified [{ip}]) by {by} "),
        format(Relay, "{ip} ({letter}{_^)}) by {by} with "),
        format(Relay, "[{ip}] ({rest^)}) by {by} "),
        format(Relay, "{rdns} ({{_}@|}{ip}) by {by} with "),
        format(Relay, "{rdns=UNKNOWN}({ip}){, claiming to be \"{helo}\"|{helo=}} via {_} by {by},"),
        format(Looked, "{rdns}({ip}){, claiming to be \"{helo}\"|{helo=}} via {_} by {by},"),
        format(Relay, "{helo} ({_}@{ip} with login) by {by={_}.yahoo.com} with SMTP"),
        format(Relay, "X-Originating-IP: {ip}{by=}{$}"),
    ]
}

/// Hand-overs within a host or a house.
fn local() -> Vec<Format> {
    vec![
        format(Ignored, "{_} ({_^ @}@{local}) by {_} ("),
        format(Ignored, "{_} {_} by {_} with local-{esmtp|smtp} "),
        format(Ignored, "127.0.0.1 (AVG SMTP {_} [{_}])"),
        format(Ignored, "{_}@{_} by {_} "),
        format(Ignored, "Unknown/Local ("),
        format(Ignored, "{local} ({{_}@|}{local}{)|[}"),
        format(Ignored, "{_} ({{_}@|}{local}) "),
        format(Ignored, "{_} ({_}@{_} [{local}]) "),
        format(Ignored, "(AUTH: {_}) by {_} with "),
        format(Ignored, "localhost (localhost [[UNIX: localhost]]) by "),
        format(Ignored, "{_}.amazon.com by {_}.amazon.com with ESMTP (peer crosscheck: "),
        format(Ignored, "{_^.} by {_} with Novell_GroupWise"),
        format(Ignored, "no.name.available by {_} via smtpd (for "),
        format(Scanner, "{_} by {_} ({_0-100.}) with qmail-scanner"),
        format(Ignored, "{_} by {_} with local"),
        format(Ignored, "{_} ([unix socket]) by {_} (Cyrus v{_*#}.{_*#}.{_*#}) with LMTPA"),
    ]
}

/// Hand-overs that say too little: no address stands in them.
fn silent() -> Vec<Format> {
    vec![
        format(Ignored, "{_} by {_} {with|via|for|(}"),
        format(Ignored, "{_} {{with|via|for} {_}|(unverified)} by{b}"),
        format(Ignored, "{_} (unknown) by {_} (SG) with {b}"),
        format(Ignored, "{_} ({_} [local]) by {_} (OpenSMTPD) with {b}"),
        anywhere(Ignored, "(LSMTP for"),
        format(Ignored, "([{local}]) with MailEnable "),
        format(Ignored, "facebook.com ({_^)}) by facebook.com with Thrift id {_}{$}"),
        format(Ignored, "{_} named {_} by gmailapi.google.com with HTTPREST{$}"),
        format(Ignored, "{_} id {_}{$}"),
        format(Ignored, "[<{?} (Jetsend"),
    ]
}

/// Behind `FROM `, in capitals.
pub static CAPITALS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let shape = "{helo} ({rdns} [{ip}]) BY {by} {({_^)}) WITH SMTP |}ID {<|}{id+?}{>|}{ FOR <{_^>}>|}{$}";
    vec![format(Looked, shape)]
});

/// Behind `(from `.
pub static PARENTHESIS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    vec![
        format(Relay, "{helo*} [{ip}]) by {by} (NAVGW {?}) with "),
        format(Ignored, "{_}@localhost) by {_} "),
        format(Ignored, "{_^ @}@{_^)}) by {_}(jqueuemail) id {_^ ;}"),
    ]
});
