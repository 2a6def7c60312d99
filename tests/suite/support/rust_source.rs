//! Reads Rust well enough for the tidy test: what is code and what is not, which paths are named, where functions end.

use std::collections::BTreeSet;

/// One file.
pub struct Source {
    /// Its path below the repository's root.
    pub name: String,
    /// All of it.
    pub text: String,
    /// The same, octet for octet, with comments, strings and `#[cfg(test)]` items blanked out.
    code: String,
}

/// A path that code names: `crate::a::b`, or `regex::Regex`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Without `crate::`.
    pub path: String,
    /// Of our own crate.
    pub ours: bool,
    /// Its line, from 1.
    pub line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from there to its closing brace.
    pub lines: usize,
}

impl Source {
    /// Reads a file.
    pub fn new(name: &str, text: &str) -> Self {
        let mut code = blank_comments_and_strings(text);
        let file_is_a_test = name.ends_with("tests.rs") || name.contains("/tests/");
        match file_is_a_test {
            true => code = blank(&code),
            false => blank_tests(&mut code),
        }
        Source { name: name.to_owned(), text: text.to_owned(), code }
    }

    /// The module of the crate's root that it belongs to.
    pub fn module(&self) -> &str {
        let inner = self.name.strip_prefix("src/").unwrap_or(&self.name);
        let end = inner.find(['/', '.']).unwrap_or(inner.len());
        &inner[..end]
    }

    /// How many modules deep the file lies: 1 for a module of the root.
    fn depth(&self) -> usize {
        let inner = self.name.strip_prefix("src/").unwrap_or(&self.name);
        match inner {
            "lib.rs" | "main.rs" => 0,
            _ => inner.split('/').count() - usize::from(inner.ends_with("/mod.rs")),
        }
    }

    /// The paths it names, in `use` and in code: our own modules, and whatever else begins in lower case.
    pub fn imports(&self) -> Vec<Import> {
        let (used, code) = self.used_paths();
        let words = words(&code);
        let submodules = words.windows(2).filter(|pair| pair[0].1 == "mod").map(|pair| pair[1].1);
        let mut local: BTreeSet<&str> = submodules.chain(PRIMITIVES).collect();
        let from_use = used.iter().filter(|used| !local.contains(head(&used.path)));
        let mut imports: Vec<Import> = from_use.filter_map(|used| self.import(&used.path, used.at)).collect();

        let renamed = used.iter().filter(|used| used.path != used.name);
        local.extend(renamed.map(|used| used.name.as_str()));
        let inline = inline_paths(&code).into_iter().filter(|(path, _)| !local.contains(head(path)));
        imports.extend(inline.filter_map(|(path, at)| self.import(&path, at)));
        imports
    }

    /// What `use` and `extern crate` bring in, and the code without them.
    fn used_paths(&self) -> (Vec<Used>, String) {
        let (mut used, mut code) = (Vec::new(), self.code.clone());
        for pair in words(&self.code).windows(2) {
            let ((at, word), (next, following)) = (pair[0], pair[1]);
            let start = match (word, following) {
                ("extern", "crate") => next + following.len(),
                // `impl Trait + use<'a>` brings nothing in.
                ("use", _) if !self.code[at + 3..].trim_start().starts_with('<') => at + 3,
                _ => continue,
            };
            let end = self.code[start..].find(';').map_or(self.code.len(), |end| start + end);
            read_tree("", &self.code[start..end], start, &mut used);
            code.replace_range(at..end, &blank(&self.code[at..end]));
        }
        (used, code)
    }

    /// Sorts a whole path: of ours, of another crate, or neither.
    fn import(&self, path: &str, at: usize) -> Option<Import> {
        let line = line_of(&self.code, at);
        let ours = |path: &str| Some(Import { path: path.to_owned(), ours: true, line });
        match head(path) {
            "crate" | "mxkeep" => ours(path.split_once("::")?.1),
            "self" => None,
            "super" => {
                let supers = path.split("::").take_while(|part| *part == "super").count();
                let inner = path.split("::").skip(supers).collect::<Vec<_>>().join("::");
                if supers == self.depth() { ours(&inner) } else { None }
            }
            head if !head.starts_with(|c: char| c.is_ascii_lowercase()) => None,
            _ => Some(Import { path: path.to_owned(), ours: false, line }),
        }
    }

    /// The functions of its production code.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (at, _) in words(&self.code).into_iter().filter(|(_, word)| *word == "fn") {
            let Some((name_at, name)) = words(&self.code[at + 2..]).into_iter().next() else { continue };
            let named = self.code[at + 2..at + 2 + name_at].chars().all(char::is_whitespace);
            if let (true, Some(end)) = (named, body_end(&self.code, at)) {
                let line = line_of(&self.code, at);
                functions.push(Function { name: name.to_owned(), line, lines: line_of(&self.code, end) - line + 1 });
            }
        }
        functions
    }

    /// Calls that panic, and that no comment vouches for.
    pub fn panics(&self) -> Vec<(usize, &'static str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let excused = |line: usize| {
            let reason =
                |text: &&str| text.split_once("// cannot fail:").is_some_and(|(_, why)| !why.trim().is_empty());
            lines.get(line - 1).is_some_and(reason) || line > 1 && lines.get(line - 2).is_some_and(reason)
        };
        let mut panics = Vec::new();
        for what in [".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!"] {
            for (at, _) in self.code.match_indices(what) {
                let line = line_of(&self.code, at);
                if !excused(line) {
                    panics.push((line, what));
                }
            }
        }
        panics
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Identifiers and keywords, with their places.
fn words(code: &str) -> Vec<(usize, &str)> {
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(start) = code[at..].find(is_word).map(|start| at + start) {
        let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |end| start + end);
        words.push((start, &code[start..end]));
        at = end;
    }
    words
}

fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Types that are named like modules.
const PRIMITIVES: [&str; 17] = [
    "str", "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
    "f32", "f64",
];

/// One name that `use` brings in.
struct Used {
    path: String,
    /// What it is called here.
    name: String,
    /// Where its last part stands.
    at: usize,
}

/// Reads `a::{b, c::{self, d as e}}`, which stands at this place, behind a prefix.
fn read_tree(prefix: &str, text: &str, at: usize, used: &mut Vec<Used>) {
    let at = at + text.len() - text.trim_start().len();
    let text = text.trim();
    let text_start = text.len() - text.trim_start_matches("::").len();
    let (text, at) = (&text[text_start..], at + text_start);
    if let Some(open) = text.find('{') {
        let prefix = format!("{prefix}{}", without_spaces(&text[..open]));
        let mut start = open + 1;
        for end in ends_of_parts(&text[start..]) {
            let end = open + 1 + end;
            read_tree(&prefix, &text[start..end], at + start, used);
            start = end + 1;
        }
        return;
    }
    let (path, alias) = text.split_once(" as ").map_or((text, None), |(path, alias)| (path, Some(alias.trim())));
    let path = format!("{prefix}{}", without_spaces(path));
    let path = path.strip_suffix("::self").unwrap_or(&path);
    if !path.is_empty() && !path.ends_with("::") {
        let name = alias.unwrap_or_else(|| path.rsplit("::").next().unwrap_or_default());
        used.push(Used { path: path.to_owned(), name: name.to_owned(), at });
    }
}

fn without_spaces(path: &str) -> String {
    path.split_whitespace().collect()
}

/// The places of the commas of a list, and of the brace that closes it.
fn ends_of_parts(list: &str) -> Vec<usize> {
    let (mut ends, mut depth) = (Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                ends.push(at);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => ends.push(at),
            _ => {}
        }
    }
    ends
}

/// Paths of two parts or more in code, with their places.
fn inline_paths(code: &str) -> Vec<(String, usize)> {
    let (mut paths, mut behind) = (Vec::new(), 0);
    for (at, word) in words(code) {
        let before = code[..at].trim_end();
        // `::idna::x` begins at the root; `a::idna` and `<T>::idna` were begun before.
        let root = before.strip_suffix("::").is_none_or(|rest| !rest.trim_end().ends_with(|c| is_word(c) || c == '>'));
        if at < behind || !root || before.ends_with('.') {
            continue;
        }
        let (mut path, mut end) = (word.to_owned(), at + word.len());
        while let Some(rest) = code[end..].trim_start().strip_prefix("::") {
            let part: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
            if part.is_empty() {
                break;
            }
            end = code.len() - rest.trim_start().len() + part.len();
            path = format!("{path}::{part}");
        }
        behind = end;
        if path.contains("::") {
            paths.push((path, at));
        }
    }
    paths
}

/// The place of the brace that closes the body of the item that begins here; `None` if it has none.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            ';' if braces == 0 && others == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && others == 0 {
                    return Some(from + at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Spaces for everything but line ends, octet for octet.
fn blank(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks each item that stands behind `#[cfg(test)]`, to its closing brace or semicolon.
fn blank_tests(code: &mut String) {
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let mut item = start + MARK.len();
        // Further attributes belong to the item.
        while let Some(attribute) = code[item..].trim_start().strip_prefix("#[") {
            item = code.len() - attribute.len();
            item += code[item..].find(']').map_or(0, |end| end + 1);
        }
        let end = body_end(code, item).or_else(|| code[item..].find(';').map(|end| item + end));
        let end = end.map_or(code.len(), |end| end + 1);
        let spaces = blank(&code[start..end]);
        code.replace_range(start..end, &spaces);
    }
}

/// Blanks comments, and what stands in strings and character literals.
fn blank_comments_and_strings(text: &str) -> String {
    let (mut code, mut rest, mut last) = (String::with_capacity(text.len()), text, ' ');
    while let Some(c) = rest.chars().next() {
        let octets = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            'r' | 'b' | 'c' if !is_word(last) => string_prefix(rest),
            '\'' => character(rest),
            _ => 0,
        };
        match octets {
            0 => {
                let is_ascii = c.is_ascii();
                if is_ascii {
                    code.push(c)
                } else {
                    code.push_str(&" ".repeat(c.len_utf8()))
                }
                rest = &rest[c.len_utf8()..];
                last = c;
            }
            octets => {
                code.push_str(&blank(&rest[..octets]));
                rest = &rest[octets..];
                last = ' ';
            }
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a literal in these quotes, escapes known.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a literal with a prefix (`r"`, `b"`, `br#"`, `b'`), or 0 if this is a name.
fn string_prefix(text: &str) -> usize {
    let letters = text.len() - text.trim_start_matches(['r', 'b', 'c']).len();
    let rest = &text[letters..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let raw = text[..letters].contains('r');
    match rest[hashes..].chars().next() {
        Some('"') if raw => {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = letters + hashes + 1;
            text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
        }
        Some('"') if hashes == 0 => letters + quoted(rest, '"'),
        Some('\'') if hashes == 0 && letters == 1 && text.starts_with('b') => 1 + quoted(rest, '\''),
        _ => 0,
    }
}

/// The length of a character literal, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}
