//! Facts about the parts of a message, for the evals that ask for one of them.

use crate::rules::views::header::Query;
use crate::rules::views::parts::View;
use crate::rules::views::white::{lines, trimmed_end};
use crate::rules::views::{Views, parts::Parts};

/// Lines of quoted-printable that are longer are too long, in octets, the line end counted as one (RFC 5322 section 2.1.1).
const QUOTED_LINE_OCTETS_MAX: usize = 79;

/// Pieces of charset names whose text is full of capital letters as it is encoded.
const CAPITALS: [&[u8]; 12] = [
    b"koi",
    b"jp",
    b"jis",
    b"euc",
    b"gb",
    b"big5",
    b"isoir",
    b"cp1251",
    b"windows-1251",
    b"georgianps",
    b"pt154",
    b"tis",
];

/// What was found in one pass over the parts.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct MimeFacts {
    /// Parts of type text/html.
    pub html_parts: usize,
    /// Parts of any other text.
    pub text_parts: usize,
    /// Parts in base64.
    pub base64_parts: usize,
    /// Parts in quoted-printable.
    pub quoted_printable_parts: usize,
    /// Parts that are attachments.
    pub attachments: usize,
    /// ASCII text is in base64, for no good reason.
    pub base64_encoded_text: bool,
    /// A charset looks like one of ISO's and is none.
    pub bad_iso_charset: bool,
    /// There is a multipart/alternative.
    pub multipart_alternative: bool,
    /// A delimiter is missing.
    pub missing_boundary: bool,
    /// A quoted-printable line is too long.
    pub quoted_printable_long_line: bool,
    /// Octets that were encoded and need not have been, of all octets in quoted-printable.
    pub quoted_printable_needless: usize,
    /// All octets in quoted-printable.
    pub quoted_printable_octets: usize,
    /// Plain ASCII text holds other octets.
    pub ascii_text_illegal: bool,
    /// The length of the last plain text by that of the last HTML in a multipart/alternative, or 1.
    pub multipart_ratio: f64,
    /// The longest line of a part in base64, in octets.
    pub base64_line_octets: usize,
    /// A charset of which text is full of capital letters.
    pub capital_charset: bool,
    plain_octets: usize,
    character_references: usize,
}

/// What the fields of a part say.
struct Fields {
    kind: String,
    charset: Option<Vec<u8>>,
    encoding: Vec<u8>,
    disposition: Vec<u8>,
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

impl Fields {
    fn of(part: View<'_>) -> Self {
        let lower = |name| part.field(name).map(|field| field.text().to_ascii_lowercase()).unwrap_or_default();
        let content_type = part.content_type();
        Fields {
            kind: content_type.map(|found| found.kind.clone()).unwrap_or_default(),
            charset: content_type.and_then(|found| found.charset.as_deref()).map(<[u8]>::to_ascii_lowercase),
            encoding: lower("Content-Transfer-Encoding"),
            disposition: lower("Content-Disposition"),
        }
    }

    fn is_base64(&self) -> bool {
        contains(&self.encoding, b"base64")
    }

    fn is_attachment(&self) -> bool {
        contains(&self.disposition, b"attachment")
    }
}

impl MimeFacts {
    /// Looks at all parts.
    pub fn new(views: &Views<'_>) -> Self {
        let parts: &Parts = views.parts();
        let mut facts = MimeFacts {
            multipart_ratio: 1.0,
            missing_boundary: parts.oddities.missing_boundary,
            ..MimeFacts::default()
        };
        let kind = views.get(&Query::read("Content-Type")).unwrap_or_default();
        facts.capital_charset = charset_word(&kind).is_some_and(is_capital);
        let (mut html_octets, mut text_octets) = (None, None);
        for part in parts.iter() {
            let fields = Fields::of(part);
            facts.multipart_alternative |= fields.kind == "multipart/alternative";
            facts.count(&fields);
            if !part.is_leaf() {
                continue;
            }
            facts.look_at(part.raw(), &fields);
            let octets = if facts.multipart_alternative { part.raw().len() } else { 0 };
            match fields.kind.as_str() {
                _ if fields.is_attachment() => {}
                "text/html" => html_octets = Some(octets),
                "text/plain" => text_octets = Some(octets),
                _ => {}
            }
        }
        if let (Some(text), Some(html), true) = (text_octets, html_octets, facts.multipart_alternative)
            && html > 0
        {
            facts.multipart_ratio = text as f64 / html as f64;
        }
        facts
    }

    fn count(&mut self, fields: &Fields) {
        let charset = fields.charset.as_deref().unwrap_or_default();
        let is_text = fields.kind.starts_with("text");
        match fields.kind == "text/html" {
            true => self.html_parts += 1,
            false => self.text_parts += usize::from(is_text),
        }
        match fields.is_base64() {
            true => self.base64_parts += 1,
            false => self.quoted_printable_parts += usize::from(contains(&fields.encoding, b"quoted-printable")),
        }
        self.attachments += usize::from(fields.is_attachment());
        let placed = [&b"attachment"[..], b"inline"].iter().any(|start| fields.disposition.starts_with(start));
        self.base64_encoded_text |= is_text && fields.is_base64() && is_ascii(charset) && !placed;
        self.bad_iso_charset |= is_bad_iso(charset);
        self.capital_charset |= charset.split(u8::is_ascii_whitespace).any(is_capital);
    }

    fn look_at(&mut self, raw: &[u8], fields: &Fields) {
        if fields.encoding == b"quoted-printable" {
            lines(raw).filter(|line| !line.starts_with(b"SPAM: ")).for_each(|line| self.quoted_line(line));
        }
        if fields.encoding == b"base64" && fields.kind != "application/ics" {
            let longest = lines(raw).map(<[u8]>::len).max().unwrap_or(0);
            self.base64_line_octets = self.base64_line_octets.max(longest);
        }
        if fields.kind != "text/plain" {
            return;
        }
        if fields.charset.as_deref().is_none_or(|charset| charset == b"us-ascii") {
            self.ascii_text_illegal |= raw.iter().any(|b| matches!(b, 0 | b'\r' | 0x80..));
        }
        if matches!(&fields.encoding[..], b"" | b"7bit" | b"8bit") {
            let references = memchr::memmem::find_iter(raw, b"&#x").filter(|at| is_reference(raw, *at)).count();
            self.character_references += references;
            self.plain_octets += raw.len() - REFERENCE_OCTETS * references;
        }
    }

    fn quoted_line(&mut self, line: &[u8]) {
        self.quoted_printable_long_line |= line.len() > QUOTED_LINE_OCTETS_MAX;
        self.quoted_printable_octets += line.len();
        let needless = memchr::memchr_iter(b'=', line).filter(|at| is_needless(line, *at)).count();
        // Blanks at the end of a line must be encoded.
        let mut text = trimmed_end(line);
        let mut blanks = 0;
        while let Some(rest) = text.strip_suffix(b"=20").or_else(|| text.strip_suffix(b"=09")) {
            text = rest;
            blanks += 1;
        }
        self.quoted_printable_needless += needless.saturating_sub(blanks);
    }

    /// `check_for_mime(fact)`.
    pub fn fact(&self, name: &str) -> bool {
        match name {
            "mime_base64_count" => self.base64_parts > 0,
            "mime_base64_encoded_text" => self.base64_encoded_text,
            "mime_bad_iso_charset" => self.bad_iso_charset,
            "mime_body_html_count" => self.html_parts > 0,
            "mime_body_text_count" => self.text_parts > 0,
            "mime_attachment" => self.attachments > 0,
            "mime_missing_boundary" => self.missing_boundary,
            "mime_multipart_alternative" => self.multipart_alternative,
            "mime_multipart_ratio" => self.multipart_ratio != 0.0,
            "mime_qp_count" if self.quoted_printable_octets > 0 => self.quoted_printable_needless > 0,
            "mime_qp_count" => self.quoted_printable_parts > 0,
            "mime_qp_long_line" => self.quoted_printable_long_line,
            "mime_qp_ratio" => self.quoted_printable_needless > 0,
            "mime_ascii_text_illegal" => self.ascii_text_illegal,
            "mime_text_unicode_ratio" => self.unicode_ratio() > 0.0,
            _ => false,
        }
    }

    /// Octets in quoted-printable that need not be encoded, of all.
    pub fn quoted_printable_ratio(&self) -> f64 {
        match self.quoted_printable_octets {
            0 => 0.0,
            octets => self.quoted_printable_needless as f64 / octets as f64,
        }
    }

    /// Character references in plain text, of all other octets.
    pub fn unicode_ratio(&self) -> f64 {
        match self.plain_octets {
            0 => 0.0,
            octets => self.character_references as f64 / octets as f64,
        }
    }
}

/// `&#xABCD;`
const REFERENCE_OCTETS: usize = 8;

fn is_reference(text: &[u8], at: usize) -> bool {
    let digits = |digits: &[u8]| digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    match text.get(at + 3..).and_then(|rest| rest.split_at_checked(4)) {
        Some((four, [b';', ..])) => digits(four),
        _ => false,
    }
}

/// Printable ASCII but `=`, and the tab, as capital digits have it.
fn is_needless(line: &[u8], at: usize) -> bool {
    let digits = (line.get(at + 1).copied().unwrap_or(0), line.get(at + 2).copied().unwrap_or(0));
    let second = matches!(digits.1, b'0'..=b'9' | b'A'..=b'F');
    match digits.0 {
        b'0' => digits.1 == b'9',
        b'3' => second && digits.1 != b'D',
        b'2' | b'4' | b'5' | b'6' => second,
        b'7' => second && digits.1 != b'F',
        _ => false,
    }
}

fn is_ascii(charset: &[u8]) -> bool {
    let names = [
        &b"ascii"[..],
        b"ansi_x3.4-1968",
        b"iso-ir-6",
        b"ansi_x3.4-1986",
        b"iso_646.irv:1991",
        b"us",
        b"ibm367",
        b"cp367",
    ];
    charset.is_empty() || names.iter().any(|name| contains(charset, name))
}

/// `iso-` with two more pieces, but neither of the 8859 family nor of those that Japan and Korea use.
fn is_bad_iso(charset: &[u8]) -> bool {
    let word_end = |text: &[u8]| !text.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let piece = |at: usize| {
        charset.get(at + 4..).unwrap_or_default().split(|b| b.is_ascii_whitespace()).next().unwrap_or_default()
    };
    let known = |at: usize| {
        let rest = charset.get(at + 4..).unwrap_or_default();
        let digits = rest.strip_prefix(b"8859-").map(|rest| {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            (1..=2).contains(&digits) && word_end(rest.get(digits..).unwrap_or_default())
        });
        let asian = rest.strip_prefix(b"2022-jp").or_else(|| rest.strip_prefix(b"2022-kr"));
        digits.unwrap_or(false) || asian.is_some_and(word_end)
    };
    let in_pieces = |at: &usize| {
        let piece = piece(*at);
        let dash = piece.iter().skip(1).position(|b| *b == b'-').map(|dash| dash + 1);
        dash.is_some_and(|dash| {
            piece.get(dash + 1..).is_some_and(|rest| rest.iter().any(|b| b.is_ascii_alphanumeric() || *b == b'_'))
        })
    };
    let starts: Vec<usize> = memchr::memmem::find_iter(charset, b"iso-").collect();
    starts.iter().any(in_pieces) && !starts.into_iter().any(known)
}

/// The charset that a Content-Type field names.
fn charset_word(kind: &[u8]) -> Option<&[u8]> {
    let lower = kind.to_ascii_lowercase();
    let rest = kind.get(memchr::memmem::find(&lower, b"charset=")? + 8..)?;
    match rest.split_first() {
        Some((quote @ (b'"' | b'\''), rest)) => rest.split(|b| b == quote).next(),
        _ => rest.split(|b| b.is_ascii_whitespace()).next(),
    }
}

fn is_capital(charset: &[u8]) -> bool {
    let lower = charset.to_ascii_lowercase();
    lower.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
        && CAPITALS.iter().any(|piece| contains(&lower, piece))
}
