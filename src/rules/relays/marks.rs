//! Marks that every Received field is looked through for, prepared once.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A text to be found: the one at the same place of the table below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    By,
    Id,
    HeloIs,
    Helo,
    Ehlo,
    ParenthesisBy,
    WithLocalFor,
    Auth,
    Authenticated,
    Gmx,
    AuthenticatedAs,
    Sender,
    Account,
    HttpDav,
    IdentIs,
    XmailId,
    XmailFrom,
}

const TEXTS: [&[u8]; 17] = [
    b" by ",
    b" id ",
    b"helo=",
    b"HELO ",
    b"EHLO ",
    b")by ",
    b"with local for",
    b"(AUTH: ",
    b"authenticated",
    b" by mail.gmx.",
    b" (authenticated as ",
    b") (Authenticated sender: ",
    b" (account ",
    b" with Microsoft Exchange Server HTTP-DAV",
    b"ident=",
    b" id <",
    b" from <",
];

static FINDERS: LazyLock<[Finder<'static>; TEXTS.len()]> = LazyLock::new(|| TEXTS.map(Finder::new));

impl Mark {
    /// It stands somewhere.
    pub fn is_in(self, text: &[u8]) -> bool {
        self.places(text).next().is_some()
    }

    /// Where it begins and ends, from the first place on.
    pub fn places(self, text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let finder = FINDERS.get(self as usize);
        finder.into_iter().flat_map(move |finder| {
            let length = finder.needle().len();
            overlapping(finder, text).map(move |at| (at, at.saturating_add(length)))
        })
    }

    /// What stands behind each place.
    pub fn behind(self, text: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.places(text).filter_map(|(_, end)| text.get(end..))
    }
}

/// Where a text begins, those places too that lie within the one before.
pub fn overlapping(finder: &Finder<'static>, text: &[u8]) -> impl Iterator<Item = usize> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = finder.find(text.get(from..)?)?.saturating_add(from);
        from = at.saturating_add(1);
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_their_texts() {
        for (mark, text) in
            [(Mark::By, " by "), (Mark::HttpDav, "HTTP-DAV"), (Mark::IdentIs, "ident="), (Mark::XmailFrom, " from <")]
        {
            let field = format!("x{}y", String::from_utf8_lossy(TEXTS[mark as usize]));
            assert!(mark.is_in(field.as_bytes()) && field.contains(text), "{mark:?}");
            assert_eq!(mark.behind(field.as_bytes()).collect::<Vec<_>>(), [b"y"]);
        }
    }
}
