//! The outside of a pattern: its delimiters and its flags.

use super::PatternError;

/// The flags that change what the text of a pattern means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `i`
    pub fold: bool,
    /// `m`
    pub multi_line: bool,
    /// `s`
    pub dot_all: bool,
    /// `x`
    pub extended: bool,
    /// `xx`
    pub extended_classes: bool,
    /// `n`
    pub no_captures: bool,
}

impl Flags {
    /// These flags with some letters switched on; letters behind a `-` switch off, a `^` begins anew. Letters that choose
    /// character sets make no difference over octets. An octet that is no flag comes back as the error.
    pub fn with(mut self, letters: &[u8]) -> Result<Self, u8> {
        let mut on = true;
        let mut before = 0;
        for letter in letters {
            match letter {
                b'i' => self.fold = on,
                b'm' => self.multi_line = on,
                b's' => self.dot_all = on,
                b'x' => {
                    self.extended = on;
                    self.extended_classes = on && before == b'x';
                }
                b'n' => self.no_captures = on,
                b'-' if on => on = false,
                b'^' if before == 0 => self = Flags::default(),
                b'a' | b'u' | b'l' | b'd' if on => {}
                b'p' => {}
                other => return Err(*other),
            }
            before = *letter;
        }
        Ok(self)
    }
}

fn missing(at: usize) -> PatternError {
    PatternError::Syntax { what: "its delimiters are missing".into(), at }
}

/// The pattern's text and its flags. As in SpamAssassin, a delimiter that is no pair must not stand unescaped inside.
pub fn strip_delimiters(written: &[u8]) -> Result<(&[u8], Flags), PatternError> {
    let rest = written.strip_prefix(b"m").or_else(|| written.strip_prefix(b"qr")).unwrap_or(written);
    let (&open, rest) = rest.split_first().ok_or_else(|| missing(0))?;
    let bare = rest.len().saturating_add(1) == written.len();
    let never = open.is_ascii_alphanumeric() || open.is_ascii_whitespace() || open == b'_' || open == b'\\';
    if never || bare && open != b'/' {
        return Err(missing(0));
    }
    let close = closing(open);
    let end = rest.iter().rposition(|octet| *octet == close).ok_or_else(|| missing(written.len()))?;
    let (text, flags) = rest.split_at(end);
    let flags = flags.get(1..).unwrap_or_default();
    if text.is_empty() {
        return Err(PatternError::Syntax { what: "it is empty, and would match always".into(), at: 1 });
    }
    if open == close && unescaped(text, close) {
        let what = format!("an unescaped delimiter \"{}\" inside", close.escape_ascii());
        return Err(PatternError::Syntax { what, at: 0 });
    }
    // `o` once meant "compile once", and rules have it.
    let flags: Vec<u8> = flags.iter().copied().filter(|flag| *flag != b'o').collect();
    let legal = flags.iter().all(u8::is_ascii_lowercase);
    let read = if legal { Flags::default().with(&flags) } else { Err(b'-') };
    let what = |flag: u8| format!("the flag \"{}\"", flag.escape_ascii());
    let flags = read.map_err(|flag| PatternError::Unsupported { what: what(flag), at: written.len() })?;
    Ok((text, flags))
}

/// The delimiter that ends what this one begins.
pub fn closing(open: u8) -> u8 {
    match open {
        b'{' => b'}',
        b'(' => b')',
        b'[' => b']',
        b'<' => b'>',
        other => other,
    }
}

fn unescaped(text: &[u8], close: u8) -> bool {
    let mut escaped = false;
    text.iter().any(|octet| {
        let found = !escaped && *octet == close;
        escaped = !escaped && *octet == b'\\';
        found
    })
}
