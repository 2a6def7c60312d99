//! Replace tags: short names in angle brackets that stand for pieces of patterns.
//!
//! *Does:* keeps `replace_tag`, `replace_pre`, `replace_inter`, `replace_post`, and puts them into the patterns of the rules
//! that `replace_rules` names: only those, once all is read.
//! *Guarantees:* a pattern grows to at most [`PATTERN_OCTETS_MAX`], all together by [`GROWTH_OCTETS_MAX`], in at most
//! [`PASSES_MAX`] passes.
//! *Meaning:* in each pass, `<pre X>`, `<post X>` and `<inter X>` are taken out (one each); the text is cut at its tags; each
//! tag gets the X of `pre` before it and of `post` behind it, the gap between neighbours the one of `inter`; then tags are
//! replaced. Another pass follows where a replacement had tags itself. Tags that are not known stay.

use std::borrow::Cow;
use std::collections::HashMap;

use memchr::memmem::find;

use crate::rules::pattern::syntax::written::closing;

/// The longest pattern after replacement, in octets.
pub const PATTERN_OCTETS_MAX: usize = 256 << 10;
/// What all patterns together may grow by, in octets.
pub const GROWTH_OCTETS_MAX: usize = 16 << 20;
/// How often tags in replacements are replaced.
pub const PASSES_MAX: usize = 6;
/// Delimiters for a pattern whose own came into its text, in the order of preference.
const DELIMITERS: [u8; 8] = [b'/', b',', b';', b'%', b'~', b'!', b'"', 1];

type Named = HashMap<Box<[u8]>, Box<[u8]>>;

/// What the rule files say about tags.
#[derive(Debug)]
pub struct ReplaceTags {
    /// `replace_tag`.
    pub tags: Named,
    /// `replace_pre`.
    pub before: Named,
    /// `replace_inter`.
    pub between: Named,
    /// `replace_post`.
    pub after: Named,
    /// `replace_start`.
    pub start: Vec<u8>,
    /// `replace_end`.
    pub end: Vec<u8>,
    growth_left: usize,
}

impl Default for ReplaceTags {
    fn default() -> Self {
        ReplaceTags {
            tags: Named::new(),
            before: Named::new(),
            between: Named::new(),
            after: Named::new(),
            start: b"<".to_vec(),
            end: b">".to_vec(),
            growth_left: GROWTH_OCTETS_MAX,
        }
    }
}

/// Why a pattern stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// No delimiters.
    #[error("its delimiters are missing")]
    Delimiters,
    /// Too long.
    #[error("with its tags replaced it is too long")]
    TooLong,
}

impl ReplaceTags {
    /// The pattern with its tags replaced, its delimiters changed where they came into the text.
    pub fn replace(&mut self, written: &[u8]) -> Result<Box<[u8]>, ReplaceError> {
        let (text, flags) = take_apart(written).ok_or(ReplaceError::Delimiters)?;
        // Flags stand before the text while tags are replaced: so its first tag has no gap before it.
        let mut whole = [b"(?", flags, b")", text].concat();
        let head = whole.len() - text.len();
        for _ in 0..PASSES_MAX {
            let (replaced, again) = self.pass(whole)?;
            whole = replaced;
            if !again {
                break;
            }
        }
        let replaced = whole.get(head..).unwrap_or_default();
        if replaced == text {
            return Ok(written.into());
        }
        let growth = replaced.len().saturating_sub(text.len());
        self.growth_left = self.growth_left.checked_sub(growth).ok_or(ReplaceError::TooLong)?;
        put_together(replaced, flags).ok_or(ReplaceError::Delimiters)
    }

    fn pass(&self, mut text: Vec<u8>) -> Result<(Vec<u8>, bool), ReplaceError> {
        let before = self.take_out(&mut text, b"pre ", &self.before);
        let after = self.take_out(&mut text, b"post ", &self.after);
        let between = self.take_out(&mut text, b"inter ", &self.between);
        let mut pieces = pieces(&text);
        if let Some(before) = before {
            self.surround_all(&mut pieces, before, b"", false)?;
        }
        if let Some(after) = after {
            self.surround_all(&mut pieces, b"", after, true)?;
        }
        if let Some(between) = between {
            pieces.iter_mut().filter(|piece| piece.is_empty()).for_each(|piece| *piece = Cow::Borrowed(between));
        }
        let mut again = false;
        let mut replaced = Vec::new();
        for piece in &pieces {
            let tag = self.tag(piece).filter(|(_, name)| !name.is_empty());
            match tag.and_then(|(_, name)| Some((name, self.tags.get(name).filter(|to| truth(to))?))) {
                Some((name, to)) => {
                    again |= pieces_hold_tag(to);
                    replace_all(piece, &[&self.start, name, &self.end].concat(), to, &mut replaced);
                }
                None => replaced.extend_from_slice(piece),
            }
            if replaced.len() > PATTERN_OCTETS_MAX {
                return Err(ReplaceError::TooLong);
            }
        }
        Ok((replaced, again))
    }

    /// Takes the first `<word name>` out of the text, and gives what that name stands for.
    fn take_out<'a>(&self, text: &mut Vec<u8>, word: &[u8], named: &'a Named) -> Option<&'a [u8]> {
        let opening = [&self.start, word].concat();
        let at = find(text, &opening)?;
        let name_at = at + opening.len();
        let rest = text.get(name_at..)?;
        let length = find(rest.get(1..)?, &self.end)? + 1;
        let value = named.get(rest.get(..length)?).filter(|value| truth(value));
        text.drain(at..name_at + length + self.end.len());
        value.map(|value| &**value)
    }

    /// The first tag of a piece: where it begins, and its name.
    fn tag<'a>(&self, piece: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let at = find(piece, &self.start)?;
        let rest = piece.get(at + self.start.len()..)?;
        let length = find(rest.get(1..)?, &self.end)? + 1;
        Some((at, rest.get(..length)?))
    }

    /// Puts text around the first tag of each piece, or around all.
    fn surround_all(
        &self,
        pieces: &mut [Cow<[u8]>],
        before: &[u8],
        after: &[u8],
        all: bool,
    ) -> Result<(), ReplaceError> {
        let mut octets = 0;
        for piece in pieces {
            *piece = Cow::Owned(self.surround(piece, before, after, all)?);
            octets += piece.len();
            if octets > PATTERN_OCTETS_MAX {
                return Err(ReplaceError::TooLong);
            }
        }
        Ok(())
    }

    fn surround(&self, piece: &[u8], before: &[u8], after: &[u8], all: bool) -> Result<Vec<u8>, ReplaceError> {
        let mut rest = piece;
        let mut out = Vec::new();
        while let Some((at, name)) = self.tag(rest) {
            let end = at + self.start.len() + name.len() + self.end.len();
            let (tag, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
            let (gap, tag) = tag.split_at_checked(at).unwrap_or((b"", tag));
            [gap, before, tag, after].iter().for_each(|part| out.extend_from_slice(part));
            rest = behind;
            if out.len() > PATTERN_OCTETS_MAX {
                return Err(ReplaceError::TooLong);
            }
            if !all {
                break;
            }
        }
        out.extend_from_slice(rest);
        Ok(out)
    }
}

/// What Perl takes for true.
fn truth(text: &[u8]) -> bool {
    !text.is_empty() && text != b"0"
}

/// `<`, at least one octet that is no bracket, `>`: where the first stands, and its length.
fn bracketed(text: &[u8]) -> Option<(usize, usize)> {
    let mut open = None;
    for (at, octet) in text.iter().enumerate() {
        match (octet, open) {
            (b'<', _) => open = Some(at),
            (b'>', Some(start)) if at > start + 1 => return Some((start, at + 1 - start)),
            (b'>', _) => open = None,
            _ => {}
        }
    }
    None
}

/// A replacement with a tag in it asks for another pass.
fn pieces_hold_tag(text: &[u8]) -> bool {
    let open = memchr::memchr(b'<', text);
    open.and_then(|at| text.get(at + 2..)).is_some_and(|rest| rest.contains(&b'>'))
}

/// The tags of a text and the gaps between them, alternating; gaps may be empty, at the end there is none that is.
fn pieces(mut text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut pieces = Vec::new();
    while let Some((at, length)) = bracketed(text) {
        let (gap, rest) = text.split_at_checked(at).unwrap_or((text, b""));
        let (tag, rest) = rest.split_at_checked(length).unwrap_or((rest, b""));
        pieces.extend([Cow::Borrowed(gap), Cow::Borrowed(tag)]);
        text = rest;
    }
    if !text.is_empty() {
        pieces.push(Cow::Borrowed(text));
    }
    pieces
}

fn replace_all(text: &[u8], from: &[u8], to: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(text.get(copied..at).unwrap_or_default());
        // One that would make it too long is left out: the caller then refuses the whole.
        if out.len() <= PATTERN_OCTETS_MAX {
            out.extend_from_slice(to);
        }
        copied = at + from.len();
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// The text and the flags of a pattern. Flags are letters behind the last closing delimiter.
pub fn take_apart(written: &[u8]) -> Option<(&[u8], &[u8])> {
    let (open, rest) = match written.split_first()? {
        (b'/', rest) => (b'/', rest),
        _ => {
            let rest = written.strip_prefix(b"m").or_else(|| written.strip_prefix(b"qr"))?;
            let (open, rest) = rest.split_first()?;
            (*open, rest)
        }
    };
    if open.is_ascii_alphanumeric() || matches!(open, b'_' | b'\\') {
        return None;
    }
    let end = rest.iter().rposition(|octet| *octet == closing(open))?;
    let (text, flags) = rest.split_at_checked(end)?;
    let flags = flags.get(1..)?;
    flags.iter().all(u8::is_ascii_lowercase).then_some((text, flags))
}

/// The pattern with the first delimiters that do not stand in it as themselves.
fn put_together(text: &[u8], flags: &[u8]) -> Option<Box<[u8]>> {
    let delimiter = DELIMITERS.iter().find(|delimiter| !stands_bare(text, **delimiter))?;
    let m: &[u8] = if *delimiter == b'/' { b"" } else { b"m" };
    Some([m, &[*delimiter], text, &[*delimiter], flags].concat().into())
}

/// Does this octet stand in the text without a backslash before it?
pub fn stands_bare(text: &[u8], octet: u8) -> bool {
    let mut escaped = false;
    text.iter().any(|found| {
        let bare = !escaped && *found == octet;
        escaped = !escaped && *found == b'\\';
        bare
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> ReplaceTags {
        let named = |pairs: &[(&str, &str)]| -> Named {
            pairs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect()
        };
        ReplaceTags {
            tags: named(&[("A", "[aA4]"), ("B", "(?:b|<A>)"), ("S", "[ /]"), ("L", "<L><L>"), ("Z", "0")]),
            before: named(&[("P", "p*")]),
            between: named(&[("I", "\\W?")]),
            after: named(&[("Q", "+")]),
            ..ReplaceTags::default()
        }
    }

    #[test]
    fn tags_become_text() {
        for (written, expected) in [
            ("/x/i", "/x/i"),
            ("/<A>/i", "/[aA4]/i"),
            ("/<B>x<A>/", "/(?:b|[aA4])x[aA4]/"),
            ("m{<A>/}x", "m,[aA4]/,x"),
            ("/<S>,<A>/", "m;[ /],[aA4];"),
            ("/<inter I><A><A>x<A>/", "/[aA4]\\W?[aA4]x[aA4]/"),
            ("/<pre P><post Q><A>x<A>/", "/p*[aA4]+xp*[aA4]+/"),
            ("/<post Q><U>/", "/<U>+/"),
            ("/<Z>(?<n>y)(?<!z)/", "/<Z>(?<n>y)(?<!z)/"),
            ("/<<A>>/", "/<[aA4]>/"),
            ("/<inter none><A><A>/", "/[aA4][aA4]/"),
        ] {
            let replaced = tags().replace(written.as_bytes()).expect("replaced");
            assert_eq!(String::from_utf8_lossy(&replaced), expected, "{written}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let mut tags = tags();
        // 2 to the power of the passes, and no more.
        assert_eq!(tags.replace(b"/<L>/").map(|text| text.len()), Ok(64 * 3 + 2));
        let long: Vec<u8> = b"<A>".repeat(100);
        tags.tags.insert(b"L".to_vec().into(), long.repeat(10).into());
        assert_eq!(tags.replace(&[b"/", &*b"<L>".repeat(1_000), b"/"].concat()), Err(ReplaceError::TooLong));
        tags.growth_left = 10;
        assert_eq!(tags.replace(b"/<A><A><A><A><A><A>/"), Err(ReplaceError::TooLong));
        for bare in ["", "x", "/x", "/x/I", "mxxx", "m", "qr"] {
            assert_eq!(tags.replace(bare.as_bytes()), Err(ReplaceError::Delimiters), "{bare}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_panics(text in r"/(<|>|<(pre|post|inter) |[ABLSZPQI]|<[ABL]>|.){0,40}/[ix]?", start in "[<(]{0,2}") {
            let mut tags = tags();
            tags.start = start.into_bytes();
            let _ = tags.replace(text.as_bytes());
        }
    }
}
