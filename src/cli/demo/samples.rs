//! The sample messages, and what should become of each.

use std::fmt;

use super::world::Landed;
use crate::authentication::signing::Signer;

/// One sender's attempt.
pub struct Sample {
    /// What it shows.
    pub title: &'static str,
    /// What the client calls itself.
    pub helo: &'static str,
    /// MAIL FROM.
    pub reverse_path: &'static str,
    /// RCPT TO.
    pub forward_path: &'static str,
    /// The mail data, with CRLF.
    pub message: String,
    /// What should become of it.
    pub expected: Expected,
}

/// What should become of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 250, in the inbox.
    Inbox,
    /// 250, in Junk.
    Junk,
    /// This code and enhanced status, and nothing delivered.
    Refused(&'static str),
}

impl Expected {
    /// Did it go so?
    pub fn matches(self, told: &str, landed: Option<&Landed>) -> bool {
        match (self, landed) {
            (Expected::Inbox, Some(landed)) => told.starts_with("250 ") && !landed.in_junk,
            (Expected::Junk, Some(landed)) => told.starts_with("250 ") && landed.in_junk,
            (Expected::Refused(status), None) => told.starts_with(status),
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Inbox => f.write_str("a delivery into the inbox"),
            Expected::Junk => f.write_str("a delivery into Junk"),
            Expected::Refused(status) => write!(f, "a refusal with {status}"),
        }
    }
}

/// All samples, in the order of the story.
pub fn all(signer: &Signer) -> anyhow::Result<Vec<Sample>> {
    Ok(vec![signed(signer)?, spoofed(), softfail(), spam(), unknown()])
}

fn signed(signer: &Signer) -> anyhow::Result<Sample> {
    let signed = message(
        "Ann <ann@signed.example>",
        "alice@example.test",
        "Minutes of Monday",
        &[
            "Hello Alice,",
            "",
            "the minutes of Monday's meeting are on the usual page. Tell me if something is missing.",
            "",
            "Ann",
        ],
    );
    Ok(Sample {
        title: "Signed and aligned: the sender is who the message says (SPF, DKIM and DMARC pass)",
        helo: "out.signed.example",
        reverse_path: "ann@signed.example",
        forward_path: "alice@example.test",
        message: String::from_utf8(signer.sign(signed.as_bytes())?)?,
        expected: Expected::Inbox,
    })
}

fn spoofed() -> Sample {
    Sample {
        title: "Spoofed: bank.example says to reject what is not authenticated (DMARC p=reject)",
        helo: "mail.offers.example",
        reverse_path: "bounce@offers.example",
        forward_path: "alice@example.test",
        message: message(
            "Your bank <service@bank.example>",
            "alice@example.test",
            "Please confirm",
            &["Your account has been limited. Confirm it at once."],
        ),
        expected: Expected::Refused("550 5.7.1"),
    }
}

fn softfail() -> Sample {
    Sample {
        title: "SPF softfail: perhaps forwarded, perhaps forged; noted and scored, not refused",
        helo: "relay.softfail.example",
        reverse_path: "news@softfail.example",
        forward_path: "bob@example.test",
        message: message(
            "News <news@softfail.example>",
            "bob@example.test",
            "This month",
            &["Dear reader,", "", "this month's issue has the second part of the series on bees."],
        ),
        expected: Expected::Inbox,
    }
}

fn spam() -> Sample {
    Sample {
        title: "Spam by content: the sender is genuine, the text is not wanted",
        helo: "mail.offers.example",
        reverse_path: "deals@offers.example",
        forward_path: "bob@example.test",
        message: message(
            "Barrister Deals <deals@offers.example>",
            "bob@example.test",
            "Confidential",
            &[
                "Dear friend,",
                "",
                "the sum of $ 4.5 million waits for the next of kin of my late client. I need a foreign partner to receive it;",
                "30% of the money is for you. This is strictly confidential. For the fees send bitcoin to",
                "1BoatSLRHtKNngkdXEeobR76b53LETtpyT and reply with your full name and telephone number.",
            ],
        ),
        expected: Expected::Junk,
    }
}

fn unknown() -> Sample {
    Sample {
        title: "Unknown mailbox: refused at RCPT, before the message is sent",
        helo: "out.signed.example",
        reverse_path: "ann@signed.example",
        forward_path: "nobody@example.test",
        message: message("Ann <ann@signed.example>", "nobody@example.test", "Hello?", &["Is somebody there?"]),
        expected: Expected::Refused("550 5.1.1"),
    }
}

fn message(from: &str, to: &str, subject: &str, lines: &[&str]) -> String {
    let now = jiff::Timestamp::now();
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let domain = from.rsplit('@').next().unwrap_or(from).trim_end_matches('>');
    let id = now.as_microsecond();
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}@{domain}>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}
