//! An IMAP client for tests: as much of RFC 9051 as it takes to read mail octet for octet, and not a word more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that says nothing for so long fails the test, in seconds.
const SILENCE_SECONDS_MAX: u64 = 30;

/// A connection that is logged in.
pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

/// One response of the server: a line, and the literals in it (RFC 9051 section 4.3).
#[derive(Debug, Clone)]
pub struct Response {
    /// The line without CRLF. A literal is its length in braces, as on the wire.
    pub line: String,
    /// The octets of each literal.
    pub literals: Vec<Vec<u8>>,
}

impl Imap {
    /// Connects and logs in, with the password `secret`.
    pub fn login(address: SocketAddr, user: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(SILENCE_SECONDS_MAX))).expect("a time-out");
        let mut imap = Imap { stream: BufReader::new(stream), tag: 0 };
        let greeting = imap.response().line;
        assert!(greeting.starts_with("* OK "), "{greeting}");
        imap.command(&format!("LOGIN {user} secret"));
        imap
    }

    /// Sends a command, insists on OK, and gives the responses before that.
    pub fn command(&mut self, command: &str) -> Vec<Response> {
        let tag = self.begin(command);
        self.finish(&tag, command)
    }

    /// Sends a command in answer to which the server hangs up, and gives what it still said.
    pub fn last_command(mut self, command: &str) -> Vec<u8> {
        self.begin(command);
        let mut octets = Vec::new();
        self.stream.read_to_end(&mut octets).expect("the end of the stream");
        octets
    }

    /// Opens a mailbox, and gives its UIDVALIDITY.
    pub fn select(&mut self, mailbox: &str) -> u64 {
        let responses = self.command(&format!("SELECT {mailbox}"));
        responses.iter().find_map(|response| response.number_after("[UIDVALIDITY ")).expect("a UIDVALIDITY")
    }

    /// What `LIST` or `LSUB` shows: the names of mailboxes, in their order.
    pub fn names(&mut self, command: &str) -> Vec<String> {
        let mut names = Vec::new();
        for Response { line, .. } in self.command(&format!("{command} \"\" \"*\"")) {
            let name = line.rsplit_once(' ').map_or(line.as_str(), |(_, name)| name);
            names.push(name.trim_matches('"').to_owned());
        }
        names.sort();
        names
    }

    /// RFC822.SIZE of every message in the open mailbox, as the server knows it without being asked for the message.
    pub fn sizes(&mut self) -> Vec<u64> {
        let responses = self.command("FETCH 1:* RFC822.SIZE");
        responses.iter().map(|response| response.number_after("RFC822.SIZE ").expect("a size")).collect()
    }

    /// The octets of one item (`BODY.PEEK[]`) of the message with this number.
    pub fn octets(&mut self, number: usize, item: &str) -> Vec<u8> {
        let responses = self.command(&format!("FETCH {number} {item}"));
        let literal = responses.into_iter().find_map(|mut response| response.literals.pop());
        literal.unwrap_or_else(|| panic!("no literal for {item} of message {number}"))
    }

    /// Puts a message into a mailbox.
    pub fn append(&mut self, mailbox: &str, flags: &str, octets: &[u8]) {
        let tag = self.begin(&format!("APPEND {mailbox} ({flags}) {{{}}}", octets.len()));
        self.expect_continuation();
        self.send(octets);
        self.send(b"\r\n");
        self.finish(&tag, "APPEND");
    }

    /// Waits, in the open mailbox, for a response that contains these words (RFC 2177). `meanwhile` runs once the server
    /// has said that it is watching.
    pub fn idle(&mut self, meanwhile: impl FnOnce(), words: &str) {
        let tag = self.begin("IDLE");
        self.expect_continuation();
        meanwhile();
        while !self.response().line.contains(words) {}
        self.send(b"DONE\r\n");
        self.finish(&tag, "IDLE");
    }

    /// Sends a command with a tag of its own, and gives the tag.
    fn begin(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.send(format!("{tag} {command}\r\n").as_bytes());
        tag
    }

    fn finish(&mut self, tag: &str, command: &str) -> Vec<Response> {
        let mut responses = Vec::new();
        loop {
            let response = self.response();
            match response.line.strip_prefix(tag) {
                Some(status) if status.starts_with(" OK") => return responses,
                Some(status) => panic!("{command}:{status}"),
                None => responses.push(response),
            }
        }
    }

    fn expect_continuation(&mut self) {
        let line = self.response().line;
        assert!(line.starts_with('+'), "{line}");
    }

    fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).expect("the server reads");
    }

    fn response(&mut self) -> Response {
        let mut response = Response { line: String::new(), literals: Vec::new() };
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).expect("a response");
            let line = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("no CRLF behind {line:?}"));
            response.line.push_str(&String::from_utf8_lossy(line));
            let Some(octets) = literal_octets(&response.line) else { return response };
            let mut literal = vec![0; octets];
            self.stream.read_exact(&mut literal).expect("a whole literal");
            response.literals.push(literal);
        }
    }
}

impl Response {
    /// The number behind these words.
    pub fn number_after(&self, words: &str) -> Option<u64> {
        let (_, rest) = self.line.split_once(words)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    }
}

/// How many octets of a literal follow a line that ends like this: `{3}`, or `~{3}` (RFC 3516).
fn literal_octets(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
