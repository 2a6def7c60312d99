//! What patterns mean, what is refused, and that nothing takes longer than it may.

use super::*;

/// Enough for any of these.
const PLENTY: u64 = 10_000_000;

/// A pattern, what it matches (nothing is "not asked"), and what it does not match.
const MEANINGS: &[(&str, &[u8], &[u8])] = &[
    ("/abc/", b"xabcx", b"xABC"),
    ("/abc/i", b"ABC", b"AB"),
    ("m{a/b}", b"a/b", b"a\\/b"),
    ("m,a,i", b"A", b"b"),
    ("m<a>", b"a", b"b"),
    (r"/a\/b/", b"a/b", b"ab"),
    ("/a$/", b"a\n", b"a\n\n"),
    ("/a$/", b"a", b"ab"),
    ("/^b/", b"b", b"a\nb"),
    ("/^b$/m", b"a\nb\nc", b"ab"),
    ("/(?m)^b/", b"a\nb", b"ab"),
    (r"/a\Z/", b"a\n", b"a\n\n"),
    (r"/a\z/", b"a", b"a\n"),
    ("/a.b/", b"a\rb", b"a\nb"),
    ("/a.b/s", b"a\nb", b"ab"),
    (r"/\<a\>/", b"<a>", b"a"),
    (r"/\223/", b"\x93", b"223"),
    (r"/\0/", b"\0", b"0"),
    (r"/\e\a\cA/", b"\x1b\x07\x01", b"ea"),
    (r"/\x41\x{42}/", b"AB", b"x"),
    (r"/\xe9/", b"\xe9", b"\xc3\xa9"),
    ("/é/", "é".as_bytes(), b"\xe9"),
    ("/[é]/", b"\xc3", b"e"),
    (r"/\import\qu/", b"importqu", b"mport"),
    ("/a{b}/", b"a{b}", b"ab"),
    ("/a{2}b/", b"aab", b"ab"),
    ("/^a{,2}$/", b"aa", b"aaa"),
    ("/a{,}/", b"a{,}", b"a"),
    ("/}]/", b"}]", b"]}"),
    ("/[[]a[]]/", b"[a]", b"a"),
    ("/[^]a]/", b"b", b"]"),
    ("/[a&&b]/", b"&", b"c"),
    ("/[a~~c]/", b"~", b"b"),
    ("/[a-c-e]/", b"-", b"d"),
    (r"/[\w-]/", b"-", b"."),
    (r"/[a-\d]/", b"-", b"b"),
    (r"/^[^\s\d]$/", b"x", b"1"),
    ("/^[[:alpha:]_]+$/", b"a_", b"1"),
    ("/[[:^digit:]]/", b"a", b"1"),
    (r"/[\b]/", b"\x08", b"b"),
    (r"/a\hb\vc/", b"a\tb\rc", b"a\nb c"),
    (r"/^\H\V$/", b"ab", b" b"),
    (r"/a\Rb/", b"a\r\nb", b"ab"),
    ("/ab c # d/x", b"abc", b"ab c"),
    (r"/[ ]a\ b/x", b" a b", b"ab"),
    ("/a(?i)b/", b"aB", b"AB"),
    ("/a(?i:b)c/", b"aBc", b"aBC"),
    ("/a(?-i:b)c/i", b"AbC", b"ABC"),
    ("/(a(?i)b)c/", b"aBc", b"aBC"),
    ("/(?^:a)B/i", b"ab", b"Ab"),
    ("/(?aa)a/", b"a", b"b"),
    ("/(?<n>a)(?P<m>b)(?'o'c)/", b"abc", b"n"),
    ("/a(?#comment)b/", b"ab", b"comment"),
    ("/(?|a|b)c/", b"bc", b"c"),
    ("/a+?b/", b"aab", b"b"),
    (r"/\bfoo\b/", b"a foo.", b"food"),
    ("/a|^$/", b"", b"b"),
    ("/#/", b"#", b"a"),
    (r"/a(?=b)/", b"ab", b"ac"),
    (r"/a(?!b)/", b"ac", b"ab"),
    (r"/(?<=a)b/", b"ab", b"cb"),
    (r"/(?<!a)b/", b"cb", b"ab"),
    (r"/(?<=a|bcd)e/", b"bcde", b"cde"),
    (r"/(?<=^\s{0,3})x/", b"  x", b"    x"),
    (r"/(a|b)\1/", b"bb", b"ab"),
    (r"/(a)(?i)\1/", b"aA", b"ab"),
    (r"/(?<q>['\x22])a\k<q>/", b"'a'", b"'a\""),
    (r"/(a)(b)\g{-1}\g1/", b"abba", b"abab"),
    (r"/(?P<x>a|b)(?P=x)/", b"bb", b"ba"),
    (r"/^(?>a*)b/", b"aab", b"aac"),
    (r"/^a++a/", b"", b"aaa"),
    (r"/^(?>a|ab)c/", b"ac", b"abc"),
    (r"/^(?:a|ab)c/", b"abc", b"abb"),
    (r"/^(a)?(?(1)b|c)$/", b"ab", b"ac"),
    (r"/^(?(?=a)..|b)$/", b"ax", b"x"),
    (r"/^(?|(a)|(b))\1$/", b"bb", b"ab"),
    (r"/a{2,1}|c/", b"c", b"aa"),
    (r"/^(?:ab?){2,3}$/", b"abaab", b"aaaa"),
    (r"/^(?:a|b){3}?$/", b"aba", b"ab"),
    (r"/^(?:(?:ab){2}c)+$/", b"ababcababc", b"ababcabc"),
    (r"/^(?:|a)+b$/", b"b", b"c"),
    (r"/x(*FAIL)|b/", b"b", b"x"),
    (r"/(*nla:b)[abc]$/", b"a", b"b"),
    (r"/a\Kb$/", b"ab", b"b"),
    (r"/\Ga/", b"a", b"ba"),
    (r"/^\X\X$/", b"\r\na", b"\r\n"),
    (r"/a\x{2019}b/", b"a\xe2\x80\x99b", b"a'b"),
    (r"/[x\x{2019}]b/", b"\xe2\x80\x99b", b"yb"),
    (r"/\o{101}\101/", b"AA", b"A"),
    (r"/(a)\10/", b"a\x08", b"aa0"),
    (r"/^\h\v$/", b"\xa0\x85", b"a\x85"),
    (r"/^\xe9$/i", b"\xc9", b"\xc8"),
    (r"/^[^\xe9]$/i", b"\xc8", b"\xc9"),
    (r"/^a { 1 , 2 } b$/x", b"aab", b"a{1,2}b"),
    (r"/^a{ 1, 2 }b$/", b"aab", b"aaab"),
    (r"/^[a b]$/xx", b"b", b" "),
    (r"/{2}/", b"{2}", b"2"),
    (r"/(?n)(a)(?<b>b)\1/", b"abb", b"aba"),
    (r"/^a$/m", b"b\na", b"ba"),
    (r"/a\n^/m", b"a\nb\na\nb", b"a\n"),
    (r"/^(a|ab)(c|bcd)(d*)$/", b"abcd", b"abce"),
];

fn pattern(written: &str) -> Pattern {
    Pattern::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"))
}

fn count(written: &str, text: &[u8]) -> u32 {
    pattern(written).count(text, 100, &mut Budget::new(PLENTY))
}

#[test]
fn patterns_mean_what_perl_means() {
    for (written, yes, no) in MEANINGS {
        let (pattern, mut budget) = (pattern(written), Budget::new(PLENTY));
        if !yes.is_empty() || written.contains("^$") {
            assert!(pattern.is_match(yes, &mut budget), "{written} must match {}", yes.escape_ascii());
        }
        assert!(!pattern.is_match(no, &mut budget), "{written} must not match {}", no.escape_ascii());
        assert_eq!(budget.aborts(), 0, "{written}");
    }
}

#[test]
fn the_first_match_is_the_leftmost_and_its_alternatives_are_tried_in_order() {
    for (written, text, range) in [
        ("/a|ab/", "xab", 1..2),
        ("/ab|a/", "xab", 1..3),
        ("/a*?/", "aa", 0..0),
        ("/a+/", "baa", 1..3),
        ("/a$/", "ba\n", 1..2),
        (r"/a\Kb+/", "abb", 1..3),
        ("/(?:a|ab)(?:c|bcd)/", "abcd", 0..4),
        ("/x*/", "aax", 0..0),
        ("/a{1,2}?b/", "aaab", 1..4),
        ("/.*c/", "ab\nabcabc", 3..9),
        (r"/(\w+) \1/", "the the", 0..7),
    ] {
        assert_eq!(pattern(written).find(text.as_bytes(), &mut Budget::new(PLENTY)), Some(range), "{written}");
    }
}

#[test]
fn matches_are_counted_as_perl_goes_on() {
    for (written, text, expected) in [
        ("/a/", "banana", 3),
        ("/aa/", "aaaaa", 2),
        ("/a*/", "baac", 4),
        ("/x*$/", "xx\n", 3),
        ("/^/m", "a\nb\n", 2),
        (r"/\b/", "ab cd", 4),
        ("/^a/", "aaa", 1),
        (r"/\Ga/", "aaba", 2),
        ("/(?=a)/", "aba", 2),
        ("/a|b*?/", "ab", 4),
        ("/z/", "banana", 0),
    ] {
        assert_eq!(count(written, text.as_bytes()), expected, "{written}");
    }
    assert_eq!(pattern("/a/").count(b"aaaa", 3, &mut Budget::new(PLENTY)), 3);
    assert_eq!(pattern("/a/").count(b"aaaa", 0, &mut Budget::new(PLENTY)), 0);
}

#[test]
fn named_groups_are_captured_if_they_took_part() {
    let pattern = pattern(r"/(?<user>\w+)@(?<host>[\w.]+)(?:(?<port>:\d+)|(?'rest'!.*))?/");
    assert!(pattern.has_named_groups());
    let found = pattern.captures(b"to joe@example.org!x", &mut Budget::new(PLENTY)).unwrap_or_default();
    let found: Vec<(&str, Range<usize>)> = found.iter().map(|(name, range)| (&**name, range.clone())).collect();
    assert_eq!(found, [("user", 3..6), ("host", 7..18), ("rest", 18..20)]);
    assert_eq!(pattern.captures(b"nobody", &mut Budget::new(PLENTY)), None);
    assert!(!super::Pattern::parse(b"/(a)/").is_ok_and(|pattern| pattern.has_named_groups()));
}

#[test]
fn what_is_no_pattern_is_refused() {
    for written in [
        "",
        "/",
        "//",
        "abc",
        "/abc",
        "m",
        "ma b",
        "/a/q",
        "/a/g",
        "/(a/",
        "/a)/",
        "/[a/",
        "/a\\/",
        "/[z-a]/",
        "/(?",
        "/(?i/",
        "/*a/",
        "/a**/",
        "/a{2}{3}/",
        "/a+++/",
        r"/\p{L}/",
        r"/\x{41/",
        "/[[:what:]]/",
        "/(?k)/",
        r"/\1(?:a)/",
        r"/(a)\2/",
        r"/\k<x>/",
        "/(?<1>a)/",
        "/(?(1)a|b|c)/",
        "/(?<=a*)b/",
        "/(?<!a{1,300})b/",
        "/(?R)/",
        "/(?1)/",
        "/(?{1})/",
        "/(*PRUNE)a/",
        "/a{70000}/",
        "/a/b/",
        r"/[a-\x{2019}]/",
        r"/[^\x{2019}]/",
        "m\\a\\",
        "/(?#a/",
    ] {
        assert!(Pattern::parse(written.as_bytes()).is_err(), "{written}");
    }
    let said = Pattern::parse(b"/ab(c/").map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(said, Err("not a pattern: a \")\" is missing (at octet 4)".to_owned()));
}

#[test]
fn large_patterns_are_refused_or_stay_small() {
    let deep = format!("/{}a{}/", "(".repeat(20_000), ")".repeat(20_000));
    assert!(Pattern::parse(deep.as_bytes()).is_err());
    let long = format!("/{}/", "ab?".repeat(40_000));
    assert_eq!(Pattern::parse(long.as_bytes()).map(|_| ()), Err(PatternError::TooLarge));
    let counts = pattern(r"/(?:(?:\w{1000}){1000}){1000}/");
    assert!(counts.octets() < 4096, "{}", counts.octets());
    assert!(!counts.is_match(&[b'a'; 3000], &mut Budget::new(PLENTY)));
}

#[test]
fn nothing_takes_longer_than_it_may() {
    let many = "a".repeat(2000);
    let hostile = [
        (r"/(a+)+$/", false),
        (r"/(?:a|aa)+b/", false),
        (r"/(?:a*)*b/", false),
        (r"/(a*)(a*)(a*)(a*)\1\2b/", true),
        (r"/(?=(a+)+b)a/", true),
        (r"/(?:(?:a+)+)+(?!a)b/", true),
        (r"/(?<!x)(?:a?){60}a{60}b/", true),
    ];
    for (written, backtracks) in hostile {
        let (pattern, mut budget) = (pattern(written), Budget::new(STEPS_PER_MATCH_MAX * 4));
        let text = format!("{many}!");
        assert_eq!(pattern.backtracks(), backtracks, "{written}");
        for _ in 0..6 {
            assert!(!pattern.is_match(text.as_bytes(), &mut budget), "{written}");
        }
        assert_eq!(pattern.count(text.as_bytes(), 9, &mut budget), 0, "{written}");
    }
    let (given_up, mut budget) = (pattern(r"/(a*)(a*)(a*)\1\2\3(?:xb|yb|zb)|b(?:xb|yb)/"), Budget::new(PLENTY));
    let text = format!("{many}bzxb");
    assert!(!given_up.is_match(text.as_bytes(), &mut budget));
    assert_eq!(budget.aborts(), 1, "what was given up is said");
    let mut nothing_left = Budget::new(0);
    assert!(pattern("/(a+)+b/").is_match(b"xaab", &mut nothing_left), "the linear engine answers still");
    assert!(!pattern(r"/(a)\1/").is_match(b"xaab", &mut nothing_left));
    assert_eq!(nothing_left.aborts(), 1);
}

#[test]
fn a_slow_pattern_gives_the_same_answers() {
    let pattern = pattern("/(?:a+)+(?:b|c$)/");
    let mut budget = Budget::new(PLENTY);
    let slow = "a".repeat(3000);
    for _ in 0..3 {
        assert!(!pattern.is_match(slow.as_bytes(), &mut budget));
        assert!(pattern.is_match(format!("{slow}b").as_bytes(), &mut budget));
        assert!(pattern.is_match(b"ac\n", &mut budget));
        assert!(!pattern.is_match(b"ac\n\n", &mut budget));
    }
    assert_eq!(budget.aborts(), 0);
    assert!(pattern.octets() > 1000);
}

#[test]
fn literals_stand_in_every_match() {
    let literals = |written: &str| -> Option<Vec<String>> {
        let pattern = pattern(written);
        let literals = pattern.literals()?.iter().map(|literal| String::from_utf8_lossy(literal).into_owned());
        Some(literals.collect())
    };
    let some = |strings: &[&str]| Some(strings.iter().map(|string| (*string).to_owned()).collect::<Vec<_>>());
    assert_eq!(literals("/Viagra/"), some(&["viagra"]));
    assert_eq!(literals("/colou?r me/i"), some(&["color me", "colour me"]));
    assert_eq!(literals("/\\d+ (?:dollars|pounds)\\b/"), some(&[" dollars", " pounds"]));
    assert_eq!(literals("/(?!cheap).*meds.*(?=pills)/"), some(&["meds"]));
    assert_eq!(literals("/(?:abcd){2}/"), some(&["abcdabcd"]));
    assert_eq!(literals("/(?:abcd)+/"), some(&["abcd"]));
    assert_eq!(literals("/(?:abcd)*/"), None);
    assert_eq!(literals("/abcd|\\w/"), None);
    assert_eq!(literals(r"/(.)\1/"), None);
    assert_eq!(literals("/e/"), None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn no_octets_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
        let parsed = Pattern::parse(&[b"/", &octets[..], b"/x"].concat());
        let _ = parsed.map(|pattern| pattern.count(&octets, 10, &mut Budget::new(10_000)));
    }

    /// What looks like a pattern: no panic, and what the text lacks of literals does not match.
    #[test]
    fn no_pattern_panics(
        written in r"[\[\]\\(){}?*+^$.|:#<>=!a-c0-2,\-ixmsPdwNkg]{0,24}",
        text in "[a-c01 \n]{0,16}",
    ) {
        if let Ok(pattern) = Pattern::parse(format!("/{written}/").as_bytes()) {
            let mut budget = Budget::new(100_000);
            let found = pattern.find(text.as_bytes(), &mut budget);
            let demanded = pattern.literals();
            let has = |literal: &[u8]| text.as_bytes().windows(literal.len()).any(|octets| octets == literal);
            if found.is_some() {
                proptest::prop_assert!(demanded.is_none_or(|literals| literals.iter().any(|literal| has(literal))));
                proptest::prop_assert!(pattern.is_match(text.as_bytes(), &mut budget) || budget.aborts() > 0);
            }
        }
    }
}
