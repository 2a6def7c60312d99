//! Where HTML is cut.

use super::*;

/// All tokens, written short.
fn short(html: &str) -> String {
    let mut out = String::new();
    tokenize(html, |token| match token {
        Token::Start(name, attributes) => {
            out.push_str(&format!("<{name}"));
            attributes.iter().for_each(|a| out.push_str(&format!("|{}={}", a.name, a.value)));
            out.push('>');
        }
        Token::End(name) => out.push_str(&format!("</{name}>")),
        Token::Text(text, verbatim) => out.push_str(&format!("{}[{text}]", if *verbatim { "v" } else { "" })),
        Token::Comment(text) => out.push_str(&format!("C({text})")),
        Token::Declaration(text) => out.push_str(&format!("D({text})")),
    });
    out
}

#[test]
fn tags_and_attributes() {
    for (html, expected) in [
        ("<a href>x</a>", "<a|href=href>[x]</a>"),
        ("<A b=c/>d", "<A|b=c/>[d]"),
        ("<a b = \"c\" d>", "<a|b=c|d=d>"),
        ("<a b=\"c\"d=e>", "<a|b=c|d=e>"),
        ("<a =\"x\">y", "<a|=\"x\"==\"x\">[y]"),
        ("<a b='c\">d'>y", "<a|b=c\">d>[y]"),
        ("<a b=>c", "<a|b=>[c]"),
        ("<a/b é=ü>", "<a/b|é=ü>"),
        ("</b \"x>y\"z>c", "</b>[c]"),
        ("</b\"x>y", "</b\"x>[y]"),
        ("a < b <3 x", "[a ][< b ][<3 x]"),
        ("<?xml a?>b", "[b]"),
        ("</>a</ b>c", "C(</>)[a]C(</ b>)[c]"),
        ("<a href=\"x>y</a>z", "C(<a href=\"x>y</a>z)"),
        ("a<b", "[a]C(<b)"),
        ("a<3", "[a][<3]"),
        ("a<", "[a]C(<)"),
    ] {
        assert_eq!(short(html), expected, "{html}");
    }
}

#[test]
fn literal_elements() {
    for (html, expected) in [
        ("<script>a</scr</script x></script >b", "<script>v[a</scr</script x>]</script>[b]"),
        ("<STYLE>a", "<STYLE>v[a]</style>"),
        ("<script>", "<script></script>"),
        ("<!--<script>a<b>&c", "C(<!--<script>)[a]<b>[&c]"),
        ("<!--a><script>b<p>&c", "C(<!--a>)<script></script>v[b]<p>v[&c]"),
        ("<title><script>b<!--c>d-->e", "<title></title><script></script>v[b]C(<!--c>d-->)v[e]"),
        ("<title><script>", "<title></title><script>"),
        ("<title>a<b>c", "<title>[a]</title><b>[c]"),
        ("<title>a<b></Title>c", "<title>[a<b>]</Title>[c]"),
        ("<textarea>x<b>&lt;</textarea>z", "<textarea>[x<b>&lt;]</textarea>[z]"),
        ("<plaintext>a<b></plaintext>c", "<plaintext>v[a<b></plaintext>c]"),
        ("<iframe a>x<b>y</iframe>z", "<iframe|a=a>v[x<b>y]</iframe>[z]"),
        ("<xmp>x<b", "<xmp>v[x<b]"),
    ] {
        assert_eq!(short(html), expected, "{html}");
    }
}

#[test]
fn comments_and_declarations() {
    for (html, expected) in [
        ("a<!-- b -- > c --->d", "[a]C(<!-- b -- >)[ c --->d]"),
        ("<!-- b --->d", "C(<!-- b --->)[d]"),
        ("<!-->a-->b", "C(<!-->a-->)[b]"),
        ("a<!-- b > c<!--d>e>f", "[a]C(<!-- b >)[ c]C(<!--d>)[e>f]"),
        ("a<!-- open", "[a]C(<!-- open)"),
        ("<!>a<!x>b<!-x>c", "C(<!>)[a]C(<!x>)[b]C(<!-x>)[c]"),
        ("<!ENTITY a \"b>c\" -- d -- >x", "D(<!ENTITY a \"b>c\" -- d -- >)[x]"),
        ("<!doctype html>x", "D(<!doctype html>)[x]"),
        ("<!doctype \"a>b\" -x>c", "C(<!doctype \"a>b\" -x>)[c]"),
        ("<!doctype \"a>b", "C(<!doctype \"a>b)"),
    ] {
        assert_eq!(short(html), expected, "{html}");
    }
}

#[test]
fn marked_sections() {
    for (html, expected) in [
        ("<![CDATA[a<b>c&lt;]]>d", "v[a<b>c&lt;][d]"),
        ("<![ rcdata [a<b>]]>d]]>", "[a<b>][d]]>]"),
        ("<![if !mso]>x<![endif]>", "C(<![if !mso]>)[x]C(<![endif]>)"),
        ("<![IGNORE[a<b>c]]>d", "[d]"),
        ("<![[a<b>]<c>]]>d", "[a]<b>[]<c>][d]"),
        ("<![ -- > -- include[a]]]>b]]>c", "[a]]]>b][c]"),
        ("<![CDATA[<b", "C(<b)"),
    ] {
        assert_eq!(short(html), expected, "{html}");
    }
}

#[test]
fn any_repetition_is_quick() {
    let units =
        ["<b", "<!--", "<!-->", "<style>", "<title>", "<a b='", "<a b=\">", "</", "<", "<a =", "<![", "<![[", "]]>"];
    let mut count = 0_usize;
    for unit in units.into_iter().chain([
        "<!doctype '",
        "<!doctype -",
        "</a '",
        "<!-- --",
        "<!--<script>",
        "<title><style>",
        "<a b ",
        "<script></",
        "<?",
        "<title></title ",
    ]) {
        tokenize(&unit.repeat(200_000), |_| count += 1);
    }
    assert!(count > 1_000_000);
}

proptest::proptest! {
    #[test]
    fn no_html_panics(html in r"([<>/!&;#x='a-c -]|\[|\]|é|<script|<title>|<!\[cdata\[|--|<!doctype|\PC){0,40}") {
        let mut octets = 0;
        tokenize(&html, |token| if let Token::Text(text, _) = token { octets += text.len() });
        assert!(octets <= html.len());
    }
}
