//! A sender: as little SMTP as a sample needs. It blocks.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::samples::Sample;

/// How long the server may take for one reply, in seconds.
const REPLY_SECONDS_MAX: u64 = 60;

/// Sends a sample. Hands back the reply that decided: the first that is not positive, or the last one.
pub fn send(address: SocketAddr, sample: &Sample) -> io::Result<String> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(REPLY_SECONDS_MAX)))?;
    let mut dialogue = Dialogue { replies: BufReader::new(stream.try_clone()?), stream };
    dialogue.reply()?;
    let mut decisive = String::new();
    let commands = [
        format!("EHLO {}\r\n", sample.helo),
        format!("MAIL FROM:<{}>\r\n", sample.reverse_path),
        format!("RCPT TO:<{}>\r\n", sample.forward_path),
        "DATA\r\n".to_owned(),
        format!("{}.\r\n", stuffed(&sample.message)),
    ];
    for command in commands {
        decisive = dialogue.ask(&command)?;
        if !decisive.starts_with(['2', '3']) {
            break;
        }
    }
    dialogue.ask("QUIT\r\n")?;
    Ok(decisive)
}

/// Dot-stuffing (RFC 5321 section 4.5.2).
fn stuffed(message: &str) -> String {
    let text = message.replace("\r\n.", "\r\n..");
    if text.starts_with('.') { format!(".{text}") } else { text }
}

struct Dialogue {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Dialogue {
    fn ask(&mut self, command: &str) -> io::Result<String> {
        self.stream.write_all(command.as_bytes())?;
        self.reply()
    }

    /// The last line of the next reply.
    fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.replies.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}
