//! Character sets by language, for `ok_locales`.

/// Sets that are used beside the common ones, by the language's code.
const SETS: [(&str, &[&str]); 8] = [
    ("ja", &["EUCJP", "SHIFTJIS", "ISO2022JP", "SJIS", "JIS7", "JISX0201", "JISX0208", "JISX0212", "SHIFT_JIS"]),
    ("ko", &["EUCKR", "KSC56011987"]),
    ("ru", CYRILLIC),
    ("ka", CYRILLIC),
    ("uk", CYRILLIC),
    ("bg", CYRILLIC),
    ("th", &["TIS620"]),
    ("zh", &["GB1988", "GB2312", "GB231219800", "GB18030", "GBK", "BIG5HKSCS", "BIG5", "EUCTW", "ISO2022CN"]),
];
const CYRILLIC: &[&str] = &["KOI8R", "KOI8U", "KOI8T", "ISOIR111", "CP1251", "GEORGIANPS", "PT154", "CP866"];
/// Beginnings of sets that anybody uses.
const COMMON: [&str; 6] = ["ISO8859", "ISO10646", "UTF", "UCS", "CP125", "WINDOWS"];
/// And whole names.
const COMMON_NAMES: [&str; 7] = ["USASCII", "ASCII", "IBM852", "UNICODE11UTF7", "UNICODE11UTF8", "XUNKNOWN", "ISO"];
/// Languages that share the Cyrillic sets.
const ALSO_CYRILLIC: [&str; 2] = ["tg", "be"];

/// Is this character set, as it was declared, one of these languages?
pub fn is_ok(charset: &[u8], locales: &[String]) -> bool {
    let name: String =
        charset.iter().filter(|o| o.is_ascii_alphanumeric()).map(|o| char::from(o.to_ascii_uppercase())).collect();
    // What badly encoded quoted-printable leaves.
    let name = name.strip_prefix("3D").unwrap_or(&name);
    let listed = |language: &str| SETS.iter().any(|(found, sets)| *found == language && sets.contains(&name));
    let ok = |locale: &String| {
        let language = locale.get(..2).unwrap_or(locale);
        listed(if ALSO_CYRILLIC.contains(&language) { "ru" } else { language })
    };
    COMMON.iter().any(|start| name.starts_with(start)) || COMMON_NAMES.contains(&name) || locales.iter().any(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_belong_to_languages() {
        for (charset, locale, ok) in [
            ("utf-8", "en", true),
            ("Windows-1251", "en", true),
            ("3Dkoi8-r", "en", false),
            ("koi8-r", "ru_RU", true),
            ("koi8-r", "be", true),
            ("gb2312", "zh", true),
            ("gb2312", "ja", false),
            ("", "en", false),
        ] {
            assert_eq!(is_ok(charset.as_bytes(), &[locale.to_owned()]), ok, "{charset} {locale}");
        }
    }
}
