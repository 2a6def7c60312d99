//! Golden dialogues: what client and server say, and what must have been received, as text (`tests/dialogues/*.txt`).
//!
//! The replies in a dialogue are written from the RFC, before the code is run. Where the two differ the code is wrong.
//!
//! ```text
//! A title, the RFC sections that the replies were written from, and prose, up to the first empty line
//! RFC 5321 section 4.1.1.4
//!
//! # set recipients_max=2     a setting other than the default: message_octets_max, recipients_max, bad_commands_max,
//! #                          refused_recipients_max, messages_max
//! # set starttls             STARTTLS is on offer
//! # set xclient              the client may use XCLIENT
//! # in memory                not against the real server: it depends on the application in `support::memory`, or on
//! #                          octets that arrive with those behind which the server closes
//! # clear text only          not under TLS
//! -- A remark.
//! C: NOOP                    a line from the client; CRLF is added
//! C~ "NOOP " "x"*505 "\r\n"  octets from the client: quoted, joined, repeated, grouped with ( ), nothing added
//! D: Subject: x              more from the client (D~ for octets), in one write with the C: before it: BDAT's chunk
//! S: 250 2.0.0 *             a line of a reply: `*` is anything, `?` one octet
//! S+ 250 *                   a whole reply of any number of lines, the last of which is this
//! S*100: 250 2.1.5 *         so many replies of one line
//! TLS                        the handshake
//! F: carol@client.example    a message was received, with this reverse-path (empty: the null one),
//! R: alice@example.test      these recipients,
//! M: Subject: x              and exactly these lines (M~ for octets)
//! CLOSED                     the server has closed the connection
//! ```
//!
//! Client lines that follow each other are a pipelined group. Only the messages that are listed may be received.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// One dialogue.
#[derive(Debug)]
pub struct Dialogue {
    /// The file's name without `.txt`.
    pub name: String,
    /// How the server is set up for it.
    pub settings: Settings,
    /// It depends on the application of `support::memory`.
    pub in_memory_only: bool,
    /// It makes no sense under TLS.
    pub clear_text_only: bool,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What must have been received, in order, and nothing else.
    pub messages: Vec<Received>,
}

/// The server's settings, as far as dialogues change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `message_octets_max`.
    pub message_octets_max: u64,
    /// `recipients_max`.
    pub recipients_max: usize,
    /// `bad_commands_max`.
    pub bad_commands_max: u32,
    /// `refused_recipients_max`.
    pub refused_recipients_max: u32,
    /// `messages_max`.
    pub messages_max: u32,
    /// STARTTLS is on offer.
    pub starttls: bool,
    /// XCLIENT is permitted to the client.
    pub xclient: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            message_octets_max: 65_536,
            recipients_max: 100,
            bad_commands_max: 20,
            refused_recipients_max: 50,
            messages_max: 1000,
            starttls: false,
            xclient: false,
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client sends octets.
    Client(Vec<u8>),
    /// The server sends one line, as this pattern says.
    Line(String),
    /// The server sends one reply of one or more lines; its last line is as this pattern says.
    Reply(String),
    /// The TLS handshake.
    Tls,
    /// The server has closed the connection.
    Closed,
}

/// A message as the application received it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// The reverse-path without brackets.
    pub reverse_path: String,
    /// The forward-paths without brackets, in order.
    pub forward_paths: Vec<String>,
    /// The mail data.
    pub octets: Vec<u8>,
}

/// All dialogues, by name.
pub fn all() -> Vec<Dialogue> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut dialogues: Vec<Dialogue> = fs::read_dir(folder)
        .expect("tests/dialogues")
        .map(|entry| entry.expect("a directory entry").path())
        .map(|path| {
            let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a dialogue is UTF-8");
            parse(&name, &text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
        })
        .collect();
    dialogues.sort_by(|a, b| a.name.cmp(&b.name));
    dialogues
}

/// Reads a dialogue.
pub fn parse(name: &str, text: &str) -> Result<Dialogue, String> {
    let (head, body) = text.split_once("\n\n").ok_or("no empty line behind the head")?;
    if !head.lines().skip(1).any(|line| line.starts_with("RFC ")) {
        return Err("the second line names no RFC".to_owned());
    }
    let mut dialogue = Dialogue {
        name: name.to_owned(),
        settings: Settings::default(),
        in_memory_only: false,
        clear_text_only: false,
        steps: Vec::new(),
        messages: Vec::new(),
    };
    let first = head.lines().count() + 2;
    for (at, line) in body.lines().enumerate() {
        dialogue.read_line(line).map_err(|why| format!("line {}: {why}", first + at))?;
    }
    Ok(dialogue)
}

impl Dialogue {
    fn read_line(&mut self, line: &str) -> Result<(), String> {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "--" => {}
            "#" => self.read_directive(rest)?,
            "C:" => self.steps.push(Step::Client(format!("{rest}\r\n").into_bytes())),
            "C~" => self.steps.push(Step::Client(octets(rest)?)),
            "D:" => self.last_octets()?.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "D~" => {
                let octets = octets(rest)?;
                self.last_octets()?.extend_from_slice(&octets);
            }
            "S:" => self.steps.push(Step::Line(rest.to_owned())),
            "S+" => self.steps.push(Step::Reply(rest.to_owned())),
            "TLS" => self.steps.push(Step::Tls),
            "CLOSED" => self.steps.push(Step::Closed),
            "F:" => self.messages.push(Received { reverse_path: rest.to_owned(), ..Received::default() }),
            "R:" => self.message()?.forward_paths.push(rest.to_owned()),
            "M:" => self.message()?.octets.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "M~" => {
                let octets = octets(rest)?;
                self.message()?.octets.extend_from_slice(&octets);
            }
            mark => {
                let times = mark.strip_prefix("S*").and_then(|mark| mark.strip_suffix(':')?.parse().ok());
                let times: usize = times.ok_or_else(|| format!("unknown mark {mark:?}"))?;
                self.steps.extend(vec![Step::Line(rest.to_owned()); times]);
            }
        }
        Ok(())
    }

    fn read_directive(&mut self, directive: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<u32>().map_err(|why| format!("{text:?}: {why}"));
        match directive.split_once('=').unwrap_or((directive, "")) {
            ("in memory", "") => self.in_memory_only = true,
            ("clear text only", "") => self.clear_text_only = true,
            ("set starttls", "") => self.settings.starttls = true,
            ("set xclient", "") => self.settings.xclient = true,
            ("set message_octets_max", value) => self.settings.message_octets_max = number(value)?.into(),
            ("set recipients_max", value) => self.settings.recipients_max = number(value)? as usize,
            ("set bad_commands_max", value) => self.settings.bad_commands_max = number(value)?,
            ("set refused_recipients_max", value) => self.settings.refused_recipients_max = number(value)?,
            ("set messages_max", value) => self.settings.messages_max = number(value)?,
            _ => return Err(format!("unknown directive {directive:?}")),
        }
        Ok(())
    }

    /// The client's octets that nothing else stands behind yet.
    fn last_octets(&mut self) -> Result<&mut Vec<u8>, String> {
        match self.steps.last_mut() {
            Some(Step::Client(octets)) => Ok(octets),
            _ => Err("D: must stand behind C: or C~".to_owned()),
        }
    }

    fn message(&mut self) -> Result<&mut Received, String> {
        self.messages.last_mut().ok_or_else(|| "F: must stand before R: and M:".to_owned())
    }
}

/// Reads `"text\r\n"`, `"x"*505`, `("a" "b")*3`, and several of them in a row.
fn octets(text: &str) -> Result<Vec<u8>, String> {
    let mut rest = text;
    let octets = sequence(&mut rest)?;
    match rest.is_empty() {
        true => Ok(octets),
        false => Err(format!("cannot read {rest:?}")),
    }
}

fn sequence(rest: &mut &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    loop {
        *rest = rest.trim_start();
        let item = if let Some(group) = rest.strip_prefix('(') {
            *rest = group;
            let group = sequence(rest)?;
            *rest = rest.strip_prefix(')').ok_or("`)` is missing")?;
            group
        } else if let Some(quoted) = rest.strip_prefix('"') {
            *rest = quoted;
            quoted_octets(rest)?
        } else {
            return Ok(octets);
        };
        octets.extend(item.repeat(times(rest)?));
    }
}

/// Takes `*N` off the front, if it is there.
fn times(rest: &mut &str) -> Result<usize, String> {
    let Some(number) = rest.strip_prefix('*') else { return Ok(1) };
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    *rest = &number[end..];
    number[..end].parse().map_err(|_| "a number must stand behind `*`".to_owned())
}

/// Takes what stands up to the closing quote; `\r \n \t \0 \" \\ \xHH` are known.
fn quoted_octets(rest: &mut &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '"' {
            *rest = &rest[at + 1..];
            return Ok(octets);
        }
        if c != '\\' {
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        octets.push(match chars.next().map(|(_, c)| c) {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('x') => {
                let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits}"))?
            }
            Some(c @ ('"' | '\\')) => c as u8,
            other => return Err(format!("unknown escape {other:?}")),
        });
    }
    Err("the closing quote is missing".to_owned())
}

/// Does this line fit the pattern? `*` is anything, `?` one character.
pub fn matches(pattern: &str, line: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => line.is_empty(),
        Some('*') => {
            let rest = pattern_chars.as_str();
            line.char_indices().any(|(at, _)| matches(rest, &line[at..])) || matches(rest, "")
        }
        Some(wanted) => line
            .chars()
            .next()
            .is_some_and(|c| (wanted == '?' || wanted == c) && matches(pattern_chars.as_str(), &line[c.len_utf8()..])),
    }
}

/// Holds a dialogue's server steps against the lines that came. `Err` says where they part.
pub fn check_replies(steps: &[Step], wire: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(wire).map_err(|_| "a reply is not ASCII".to_owned())?;
    if !text.is_empty() && !text.ends_with("\r\n") {
        return Err(format!("the last reply has no CRLF: {text:?}"));
    }
    let mut lines = text.split_terminator("\r\n");
    let mut said = String::new();
    for step in steps {
        let (pattern, whole) = match step {
            Step::Client(octets) => {
                let _ = writeln!(said, "  C {}", shorten(&String::from_utf8_lossy(octets)));
                continue;
            }
            Step::Line(pattern) => (pattern, false),
            Step::Reply(pattern) => (pattern, true),
            Step::Tls | Step::Closed => continue,
        };
        let mut line = lines.next().unwrap_or_default();
        while whole && line.as_bytes().get(3) == Some(&b'-') {
            line = lines.next().unwrap_or_default();
        }
        if !matches(pattern, line) {
            return Err(format!("{said}expected  S {pattern}\nbut got   S {line}"));
        }
        let _ = writeln!(said, "  S {line}");
    }
    match lines.next() {
        None => Ok(()),
        Some(line) => Err(format!("{said}then came one more line: {line}")),
    }
}

fn shorten(text: &str) -> String {
    text.escape_debug().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_quoted_repeated_and_grouped() {
        assert_eq!(octets(r#""a\r\n" "b"*3 ("c" "\0\xff")*2"#).unwrap(), b"a\r\nbbbc\0\xffc\0\xff");
        for text in [r#""a"#, r#""\q""#, r#"("a""#, "a", r#""a"*"#, r#""\xg0""#] {
            assert!(octets(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_know_stars_and_question_marks() {
        for (pattern, line, expected) in [
            ("250 2.0.0 *", "250 2.0.0 OK", true),
            ("250 2.0.0 *", "250 2.0.1 OK", false),
            ("50? *", "502 x", true),
            ("250 x*", "250 x", true),
            ("250 x", "250 xy", false),
            ("250*y", "250 x y z y", true),
        ] {
            assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
        }
    }

    #[test]
    fn replies_that_are_missing_wrong_or_too_many_are_seen() {
        let steps = [Step::Reply("250 b".into()), Step::Line("250 c".into())];
        assert_eq!(check_replies(&steps, b"250-a\r\n250 b\r\n250 c\r\n"), Ok(()));
        for wire in [&b"250 b\r\n"[..], b"250 b\r\n250 d\r\n", b"250 b\r\n250 c\r\n250 c\r\n", b"250 b\r\n250 c"] {
            assert!(check_replies(&steps, wire).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn a_dialogue_with_a_mistake_in_it_is_refused() {
        for body in ["X: y", "# set x=1", "# sett starttls", "R: a@b", "M: x", "C~ x", "D: x"] {
            assert!(parse("x", &format!("title\nRFC 5321\n\n{body}\n")).is_err(), "{body}");
        }
        assert!(parse("x", "title\nno standard\n\nC: QUIT\n").is_err());
    }
}
