//! What HTML comes to, at the front door.

use super::*;

fn text(html: &str) -> String {
    Html::parse(html, 1_000_000).text
}

#[test]
fn html_becomes_text() {
    for (html, expected) in [
        ("a  <b>b</b>\n c", "a b c"),
        ("<p>a</p><p>b", "\n\na\n\n\n\nb"),
        ("a <br/> b", "a\nb"),
        ("a<br&nbsp;/> b", "a\nb"),
        ("<td>a</td><td>b</td>", " a  b "),
        ("<title>t</title>x", "\n\nt\n\nx"),
        ("<title>t<b>x", "\n\nt\n\nx"),
        ("a<script>if (a<b) '</p>'</script>b<STYLE>x</STYLE>c", "abc"),
        ("a<style>never<br>closed", "a"),
        ("a<!-- <p> -->b<!x>e<?y>f", "abef"),
        ("a<a href=\"open>t</a>", "a"),
        ("&lt;b&gt;&amp;amp;&nbsp;&eacute;&eacute &copy2", "<b>&amp; éé ©2"),
        ("\u{201c}q\u{201d}\u{a0}x\u{c2}\u{a0}y", "\"q\"\u{a0}x y"),
        ("<a href=\u{201c}x\u{201d}>t</a>", "t"),
        ("<br> <b> y</b>", "\n y"),
        ("<font color=white>a <p>", "a \n\n"),
        ("<marquee>a</marquee><xmp>b &lt;</xmp>", "a\n\nb &lt;\n\n"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn facts_are_counted() {
    let html = "<!DOCTYPE html><html><body><p>V<b></b>iagra</p></x></p><o:p></o:p>\
        <img src=a width=10 height=50%><img width=x height=7><font size=5 face=\"a;;b\">x</font></body>";
    let html = Html::parse(html, 1_000);
    for (name, expected) in [
        ("html", Some(1.0)),
        ("length", Some(159.0)),
        ("non_space_len", Some(7.0)),
        ("image_area", Some(10.0 * 300.0 + 200.0 * 7.0)),
        ("max_size", Some(5.0)),
        ("min_size", Some(3.0)),
        ("closed_extra_ratio", Some(2.0 / 16.0)),
        ("bad_tag_ratio", Some(1.0 / 16.0)),
        ("non_element_ratio", Some(1.0 / 8.0)),
        ("obfuscation_ratio", Some(1.0 / 16.0)),
        ("font_face_bad", Some(1.0)),
        ("font_low_contrast", None),
        ("embeds", None),
    ] {
        assert_eq!(Fact::parse(name).and_then(|fact| html.fact(fact)), expected, "{name}");
    }
    for (name, expected) in
        [("html", Some(1)), ("body", Some(0)), ("x", Some(0)), ("!doctype", Some(0)), ("td", None), ("P", None)]
    {
        assert_eq!(html.open_count(name), expected, "{name}");
    }
}

#[test]
fn links_and_texts_are_kept() {
    let html = Html::parse(
        "<base href=http://a.example/b.html><a href=' c '>one <img src=//www.i.example/></a><a x/href=mailto:x@y.example>two</a>\
         <a name=n>three</a><meta http-equiv=Refresh content='0; URL= http://r.example/ ;x'><!--c--><title>t &amp;</title>\
         <script>s</script><td background=data:x><a href=c>four",
        1_000,
    );
    let uris: Vec<(&str, String, Vec<&str>)> =
        html.uris.iter().map(|uri| (uri.uri.as_str(), uri.kinds.join(","), html.anchor_texts(uri).collect())).collect();
    let expected: Vec<(&str, String, Vec<&str>)> = [
        ("http://a.example/b.html", "base", vec![]),
        ("http://a.example/c", "a", vec![]),
        ("c", "", vec!["one <img>\n", "four"]),
        ("http://www.i.example/", "img", vec![]),
        ("mailto:x@y.example", "a", vec!["two"]),
        ("", "", vec!["three"]),
        ("http://r.example/", "meta", vec![]),
        ("data:x", "td", vec![]),
    ]
    .map(|(uri, kinds, texts)| (uri, kinds.to_owned(), texts))
    .into();
    assert_eq!(uris, expected);
    for (kind, expected) in
        [("anchor", "one <img>\n|two|three|four"), ("comment", "<!--c-->"), ("title", "t &"), ("script", "s")]
    {
        let texts = TextKind::parse(kind).map(|kind| html.texts(kind).collect::<Vec<_>>().join("|"));
        assert_eq!(texts.as_deref(), Some(expected));
    }
}

#[test]
fn slashes_hide_no_links() {
    for (html, expected) in [
        ("<a x/href=http://a.example/>", "http://a.example/"),
        ("<img x/src=http://a.example/ src=b>", "http://a.example/"),
        ("<a href=\u{feff}http://a.example/>", "http://a.example/"),
        ("<A HREF=&#104;ttp://a.example/>", "http://a.example/"),
        ("<link data-saferedirecturl=http://a.example/>", "http://a.example/"),
    ] {
        assert!(Html::parse(html, 100).uris.iter().any(|uri| uri.uri == expected), "{html}");
    }
}

#[test]
fn everything_is_bounded() {
    assert!(Html::parse(&"<p>x".repeat(100_000), 1_000).text.len() < 1_010);
    for unit in [
        "<a>",
        "<a href=>",
        "<x1y",
        "<p style='",
        "<title>",
        "<title></title>",
        "<br",
        "<!---->",
        "&nbsp;",
        "<b /",
        "<td>",
        "</td>",
    ] {
        Html::parse(&unit.repeat(200_000), usize::MAX);
    }
    let names: String = (0..100_000).map(|n| format!("<x{n}><a href={n}>")).collect();
    let html = Html::parse(&names, 100);
    assert_eq!((html.uris.len(), html.inside.others.len()), (URIS_MAX, UNKNOWN_NAMES_MAX));
    let attributes: String = (0..200_000).map(|n| format!(" a{n}/href=x")).collect();
    Html::parse(&format!("<a{attributes}>"), 100);
}

proptest::proptest! {
    #[test]
    fn no_html_panics(html in r"([<>/!&;#x='a-c -]|\x{c2}\x{a0}|é|<script|<a href=|<base href=|<p style='|<br/>|&lt|\PC){0,40}") {
        let html = Html::parse(&html, 20);
        assert!(html.text.len() < 200);
    }
}
