//! The demo's world: a directory with a configuration, a certificate, rules, Maildirs and state, and the DNS of its senders.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::address::Domain;
use crate::authentication::signing::Signer;
use crate::config::Config;
use crate::delivery;
use crate::dns::responder::{Record, Responder, Zone};
use crate::message::Message;
use crate::rules;

/// Marks a directory as one that a demo made and may replace.
const MARK: &str = ".mxkeep-demo";

/// Everything the demo needs, alive as long as this is.
pub struct World {
    dir: PathBuf,
    /// The configuration, which also stands in `mxkeep.toml` there.
    pub config: Config,
    /// Signs for signed.example.
    pub signer: Signer,
    /// Answers for the senders' domains.
    _dns: Responder,
}

/// Where a message landed.
pub struct Landed {
    /// The file.
    pub path: PathBuf,
    /// It is in the Junk folder.
    pub in_junk: bool,
    /// What the stored trace fields say of the decision.
    pub why: Vec<String>,
}

impl World {
    /// Makes the directory anew.
    pub async fn create(dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        clear(dir)?;
        let dir = dir.canonicalize()?;
        let signer = Signer::rsa(&Domain::parse("signed.example")?, "demo")?;
        let dns = Responder::start(zone(&signer)).await.context("cannot start the demo's DNS responder")?;
        write_certificate(&dir)?;
        fs::create_dir(dir.join("mail"))?;
        fs::create_dir(dir.join("rules"))?;
        for (name, text) in rules::OWN {
            fs::write(dir.join(name), text)?;
        }
        let file = configuration_file(&dir);
        fs::write(&file, configuration(&dir, listen, dns.address()))?;
        let (config, _) = Config::load(&file)?;
        Ok(World { dir, config, signer, _dns: dns })
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        configuration_file(&self.dir)
    }

    /// The mailboxes' Maildirs.
    pub fn maildirs(&self) -> Vec<PathBuf> {
        ["alice", "bob"]
            .iter()
            .map(|mailbox| self.dir.join("mail/example.test").join(mailbox).join("Maildir"))
            .collect()
    }

    /// How to go on.
    pub fn farewell(&self, address: SocketAddr) -> String {
        let (dir, port) = (self.dir.display(), address.port());
        // `make run` installs nothing: the program is where it is.
        let mxkeep = std::env::current_exe().unwrap_or_else(|_| "mxkeep".into());
        let mxkeep = mxkeep.display();
        format!(
            "\nThe server stays up until Ctrl-C. To send a message yourself:\n\n\
             \x20 swaks --server 127.0.0.1:{port} --tls --from you@softfail.example --to alice@example.test\n\n\
             or, with nothing but curl:\n\n\
             \x20 printf 'From: you@softfail.example\\r\\nSubject: hello\\r\\n\\r\\nHello!\\r\\n' |\n\
             \x20 curl smtp://127.0.0.1:{port}/me.example --mail-from you@softfail.example --mail-rcpt alice@example.test -T -\n\n\
             To read what arrived:\n\n\
             \x20 cat {dir}/mail/example.test/alice/Maildir/new/*\n\n\
             To see what the server is doing, have it take a changed configuration, and ask it about a stored message:\n\n\
             \x20 {mxkeep} status --config {dir}/mxkeep.toml\n\
             \x20 {mxkeep} reload --config {dir}/mxkeep.toml\n\
             \x20 {mxkeep} scan --config {dir}/mxkeep.toml --ip 127.0.0.1 {dir}/mail/example.test/bob/Maildir/.Junk/new/*\n\n\
             To go on to a real set-up: take {dir}/mxkeep.toml as a start, put in your host name, domain, mailboxes and\n\
             certificate, say `mxkeep check --config FILE`, then `mxkeep serve --config FILE` (README: \"Run it for real\")."
        )
    }
}

/// Removes an earlier demo; anything else there stays, and is an error.
fn clear(dir: &Path) -> anyhow::Result<()> {
    if dir.join(MARK).exists() {
        fs::remove_dir_all(dir).map_err(|error| cannot("remove the earlier demo in", dir, &error))?;
    }
    let empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    anyhow::ensure!(empty, "{} has files that no demo made: name another place with --dir", dir.display());
    fs::create_dir_all(dir).map_err(|error| cannot("create", dir, &error))?;
    let mark = "Made by `mxkeep demo`, which replaces this directory when it is run again.\n";
    fs::write(dir.join(MARK), mark).map_err(|error| cannot("write into", dir, &error))
}

fn cannot(what: &str, dir: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot {what} {} ({error}): name another place with --dir", dir.display())
}

/// Where the demo in this directory keeps its state.
pub fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

fn configuration_file(dir: &Path) -> PathBuf {
    dir.join("mxkeep.toml")
}

/// The DNS of the senders. All of them send from 127.0.0.1.
fn zone(signer: &Signer) -> Zone {
    let mut zone = Zone::default();
    let txt = |zone: &mut Zone, name: &str, text: &str| zone.add(name, Record::txt(text));
    txt(&mut zone, "signed.example", "v=spf1 ip4:127.0.0.1 -all");
    txt(&mut zone, signer.dns_name(), signer.dns_record());
    txt(&mut zone, "_dmarc.signed.example", "v=DMARC1; p=reject");
    txt(&mut zone, "_dmarc.bank.example", "v=DMARC1; p=reject");
    txt(&mut zone, "bank.example", "v=spf1 -all");
    txt(&mut zone, "softfail.example", "v=spf1 ip4:192.0.2.1 ~all");
    txt(&mut zone, "offers.example", "v=spf1 ip4:127.0.0.1 -all");
    zone
}

fn write_certificate(dir: &Path) -> anyhow::Result<()> {
    let certified = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()])?;
    fs::write(dir.join("certificate.pem"), certified.cert.pem())?;
    let mut key = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("key.pem"))?;
    std::io::Write::write_all(&mut key, certified.signing_key.serialize_pem().as_bytes())?;
    Ok(())
}

fn configuration(dir: &Path, listen: SocketAddr, dns: SocketAddr) -> String {
    // A JSON string is a TOML string.
    let quoted = |path: &str| serde_json::Value::from(dir.join(path).to_string_lossy()).to_string();
    format!(
        r#"# Made by `mxkeep demo`. A real set-up differs in names, paths, port and DNS, and in nothing else.
hostname = "mx.example.test"

[listen]
smtp = ["{listen}"]

[tls]
certificate = {certificate}
key = {key}

[storage]
mail = {mail}
state = {state}

[dns]
servers = ["{dns}"]          # the demo's own; leave it out to use the system's

[domains."example.test"]
mailboxes = ["alice", "bob"]
aliases = {{ postmaster = ["alice"], abuse = ["alice"] }}

[rules]
paths = ["rules"]
"#,
        certificate = quoted("certificate.pem"),
        key = quoted("key.pem"),
        mail = quoted("mail/{domain}/{local_part}/Maildir"),
        state = quoted("state"),
    )
}

/// Finds the delivered message whose reply this was: its id stands in the reply and in the Received field.
pub fn find(maildirs: &[PathBuf], told: &str) -> anyhow::Result<Option<Landed>> {
    let Some((_, id)) = told.trim_end_matches(')').rsplit_once('(') else { return Ok(None) };
    for maildir in maildirs {
        for (folder, in_junk) in [(maildir.clone(), false), (maildir.join(".Junk"), true)] {
            for path in delivery::messages(&folder) {
                let message = Message::from_stored(&fs::read(&path)?);
                let received = message.field("Received").map(|field| String::from_utf8_lossy(field.body).into_owned());
                if received.is_some_and(|received| received.contains(id)) {
                    return Ok(Some(Landed { why: reasons(&message), path, in_junk }));
                }
            }
        }
    }
    Ok(None)
}

fn reasons(message: &Message) -> Vec<String> {
    let unfolded = |name| {
        let field = message.field(name)?;
        let words: Vec<_> = std::str::from_utf8(field.raw).ok()?.split_ascii_whitespace().collect();
        Some(words.join(" "))
    };
    ["Authentication-Results", "X-Spam-Status"].into_iter().filter_map(unfolded).collect()
}
