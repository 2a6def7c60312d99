//! Folder names, as the IMAP user sees them and as Maildir++ spells them on disk.
//!
//! *Guarantees:* a [`FolderName`] is one directory directly in its Maildir: it has no slash, no empty level and no control
//! character. Letters beyond ASCII would need an encoding that depends on the IMAP server's settings: refused for now.

use std::fmt;
use std::str::FromStr;

/// The longest folder name, in octets: with its dot it is a file name.
pub const FOLDER_NAME_OCTETS_MAX: usize = 200;

/// The name of a folder; its levels are separated by dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FolderName(Box<str>);

impl FromStr for FolderName {
    /// What is wrong with it, as the end of a sentence that begins with the name.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Err(match text {
            "" => "is empty",
            text if text.eq_ignore_ascii_case("INBOX") => "is where mail goes that is not junk",
            text if !text.is_ascii() => "has a letter that is not ASCII, which is not supported yet",
            text if text.contains(['/', '&', '*', '%', '\\']) => "has one of the characters / & * % \\ in it",
            text if text.chars().any(char::is_control) => "has a control character in it",
            text if text.starts_with(['.', '~']) => "starts with a dot or a tilde",
            text if text.split('.').any(|level| level.trim().is_empty()) => "has a dot with no name behind it",
            text if text.len() > FOLDER_NAME_OCTETS_MAX => "is too long",
            text => return Ok(FolderName(text.into())),
        })
    }
}

impl Default for FolderName {
    fn default() -> Self {
        FolderName("Junk".into())
    }
}

impl FolderName {
    /// The levels, outermost first.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Its directory in the Maildir: `.Junk`.
    pub fn directory(&self) -> String {
        format!(".{}", self.0)
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_directory() {
        let name: FolderName = "Archive.2026".parse().unwrap();
        assert_eq!((name.to_string().as_str(), name.directory().as_str()), ("Archive.2026", ".Archive.2026"));
        assert!("Junk E-mail".parse::<FolderName>().is_ok());
        let long = "a".repeat(201);
        for text in
            ["", ".", "..", "/", "a..b", "a.", "/a", " ", "inbox", "a\nb", "a\0", "Gel\u{f6}scht", "a&b", "~a", "a*", &long]
        {
            assert!(text.parse::<FolderName>().is_err(), "{text:?}");
        }
    }
}
