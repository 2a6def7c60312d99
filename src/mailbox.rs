//! Mailboxes: which addresses are ours, and which Maildirs their mail goes to.
//!
//! *Does:* answers RCPT (RFC 5321 section 3.3): is this recipient ours, and where does its mail end up? Aliases are
//! expanded here, once, when the configuration is loaded.
//! *Guarantees:* a recipient that is accepted has at least one Maildir, and each Maildir is named once. A local-part
//! from the wire never becomes a path: it only finds one that the configuration made.
//! *Never does:* I/O. Whether the Maildir exists is delivery's business.
//! Local-parts and domains are compared without regard to ASCII case (RFC 5321 section 2.4 leaves the former to us).

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::address::{Domain, ForwardPath, Mailbox};
use crate::config::{Config, Directory, Policy};

/// All addresses of ours. A new configuration makes a new one.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    /// The domain of a `<Postmaster>` without one.
    primary: Option<Domain>,
    /// By domain, then by local-part in lower case.
    domains: HashMap<Domain, HashMap<Box<str>, Vec<Arc<Place>>>>,
}

/// Where mail for one mailbox is put, and what its owner decided.
#[derive(Debug)]
struct Place {
    mailbox: Mailbox,
    maildir: Maildir,
    policy: Arc<Policy>,
}

/// A mailbox's Maildir, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Maildir {
    root: PathBuf,
    path: PathBuf,
}

/// A path that would not stay below the mail root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no path below the mail root: it may have neither `..` nor `.` nor a leading slash in it", .0.display())]
pub struct NotBeneath(PathBuf);

impl Maildir {
    /// The Maildir at `path` below the mail root, both never from the wire. The root may be reached through symbolic links;
    /// below it there must be none. An empty path means the root itself.
    pub fn new(root: impl Into<PathBuf>, path: impl Into<PathBuf>) -> Result<Self, NotBeneath> {
        let path = path.into();
        // `components` would pass over a dot or a slash in the middle: compare the octets too.
        let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        let canonical: PathBuf = path.components().collect();
        match plain && canonical.as_os_str() == path.as_os_str() {
            true => Ok(Maildir { root: root.into(), path }),
            false => Err(NotBeneath(path)),
        }
    }

    /// The mail root: absolute, the operator's.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What follows below the root.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The answer to RCPT.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// Ours: at least one recipient, several for an alias.
    Local(Vec<Recipient>),
    /// The domain is ours, the local-part is not.
    UnknownUser,
    /// Neither is.
    NotOurs,
}

/// One final mailbox of a forward-path.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    /// The mailbox behind all aliases, in lower case.
    pub mailbox: Mailbox,
    /// Its Maildir.
    pub maildir: Maildir,
    /// What its own domain decided. An alias at another domain does not change that.
    pub policy: Arc<Policy>,
    /// Of the address as it was given, not of the mailbox behind it.
    pub class: Class,
}

/// Who may share a transaction: only recipients of one class may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Everybody else.
    Ordinary,
    /// postmaster and abuse, at any domain of ours: never filtered (RFC 5321 section 4.5.1).
    Postmaster,
}

impl Class {
    /// The class of an address as given.
    fn of(local_part: &str) -> Self {
        match local_part {
            "postmaster" | "abuse" => Class::Postmaster,
            _ => Class::Ordinary,
        }
    }
}

impl Mailboxes {
    /// All addresses of a configuration, with their aliases expanded.
    pub fn new(config: &Config) -> Self {
        let places = places(config);
        let directory = Directory::new(&config.domains);
        let mut domains = HashMap::new();
        for (name, domain) in &config.domains {
            let mut addresses = HashMap::new();
            let aliases = domain.aliases.keys().filter_map(|alias| Mailbox::new(alias, name).ok());
            for address in domain.mailboxes.iter().cloned().chain(aliases) {
                // cannot fail for a configuration that was loaded: unknown targets and loops are refused there.
                let reached = directory.expand(&address).unwrap_or_default();
                let reached: Vec<_> = reached.into_iter().filter_map(|mailbox| places.get(mailbox).cloned()).collect();
                addresses.insert(Box::from(address.local_part()), reached);
            }
            domains.insert(name.clone(), addresses);
        }
        Mailboxes { primary: primary_domain(config), domains }
    }

    /// Whose mail is this? A `<Postmaster>` without a domain is that of the primary domain: the nearest one of ours
    /// that our host name is or lies below, or else the first by name.
    pub fn look_up(&self, path: &ForwardPath) -> Lookup {
        let (local_part, domain) = match path {
            ForwardPath::Postmaster => ("postmaster", self.primary.as_ref()),
            ForwardPath::Mailbox(mailbox) => (mailbox.local_part(), mailbox.domain()),
        };
        let Some(addresses) = domain.and_then(|domain| self.domains.get(domain)) else { return Lookup::NotOurs };
        let local_part = local_part.to_ascii_lowercase();
        let places = addresses.get(local_part.as_str()).map(Vec::as_slice).unwrap_or_default();
        let class = Class::of(&local_part);
        match places {
            [] => Lookup::UnknownUser,
            places => Lookup::Local(places.iter().map(|place| place.recipient(class)).collect()),
        }
    }

    /// Every Maildir that mail may have been put into, each once, in the order of their paths.
    pub fn all_maildirs(&self) -> Vec<Maildir> {
        let places = self.domains.values().flat_map(HashMap::values).flatten();
        let maildirs: BTreeSet<&Maildir> = places.map(|place| &place.maildir).collect();
        maildirs.into_iter().cloned().collect()
    }
}

impl Place {
    fn recipient(&self, class: Class) -> Recipient {
        Recipient {
            mailbox: self.mailbox.clone(),
            maildir: self.maildir.clone(),
            policy: Arc::clone(&self.policy),
            class,
        }
    }
}

fn places(config: &Config) -> HashMap<&Mailbox, Arc<Place>> {
    let template = &config.storage.mail;
    let mut places = HashMap::new();
    for (name, domain) in &config.domains {
        let policy = Arc::new(domain.policy.clone());
        for mailbox in &domain.mailboxes {
            let path = template.expand(mailbox.local_part(), name);
            // cannot fail for a configuration that was loaded: its paths are checked there.
            let Ok(maildir) = Maildir::new(&template.root, path) else { continue };
            let place = Place { mailbox: mailbox.clone(), maildir, policy: Arc::clone(&policy) };
            places.insert(mailbox, Arc::new(place));
        }
    }
    places
}

fn primary_domain(config: &Config) -> Option<Domain> {
    let hostname = config.hostname.as_str();
    let mut parents = std::iter::successors(Some(hostname), |name| name.split_once('.').map(|(_, parent)| parent));
    let nearest = parents.find_map(|name| config.domains.keys().find(|domain| domain.as_str() == name));
    nearest.or_else(|| config.domains.keys().next()).cloned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TWO_DOMAINS: &str = r#"
        hostname = "mx.b.example"
        [storage]
        mail = "/mail/{domain}/{local_part}/Maildir"
        [domains."a.example"]
        mailboxes = ["Alice", "bob"]
        aliases = { info = ["alice", "carol@B.example"], all = ["info", "alice", "bob"], "o'neil" = ["bob"] }
        policy = { junk_score = 1.0 }
        [domains."b.example"]
        mailboxes = ["carol", "abuse"]
        [domains."b\u00fccher.example"]
        mailboxes = ["alice"]
    "#;

    fn mailboxes(text: &str) -> Mailboxes {
        Mailboxes::new(&Config::parse(text, "mxkeep.toml", Path::new("/")).unwrap().0)
    }

    /// What a forward-path leads to, on one line.
    fn look_up(mailboxes: &Mailboxes, path: &str) -> String {
        match mailboxes.look_up(&ForwardPath::parse(path).unwrap()) {
            Lookup::NotOurs => "not ours".to_owned(),
            Lookup::UnknownUser => "unknown".to_owned(),
            Lookup::Local(recipients) => {
                let shown = |r: &Recipient| format!("{} {:?}", r.mailbox, r.class);
                recipients.iter().map(shown).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn each_address_leads_to_its_mailboxes() {
        let ours = mailboxes(TWO_DOMAINS);
        for (path, expected) in [
            ("<alice@a.example>", "alice@a.example Ordinary"),
            ("<ALICE@A.EXAMPLE>", "alice@a.example Ordinary"),
            ("<\"alice\"@a.example>", "alice@a.example Ordinary"),
            ("<\"al ice\"@a.example>", "unknown"),
            ("<alice@b.example>", "unknown"),
            ("<alice+x@a.example>", "unknown"),
            ("<alice@c.example>", "not ours"),
            ("<alice@sub.a.example>", "not ours"),
            ("<alice@[192.0.2.1]>", "not ours"),
            ("<alice@b\u{fc}cher.example>", "alice@xn--bcher-kva.example Ordinary"),
            ("<alice@XN--BCHER-KVA.example>", "alice@xn--bcher-kva.example Ordinary"),
            ("<al\u{ed}ce@b\u{fc}cher.example>", "unknown"),
            ("<al\u{ed}ce@a.example>", "unknown"),
            ("<\u{130}nfo@a.example>", "unknown"),
            ("<postmaster@b\u{fc}cher.example>", "alice@xn--bcher-kva.example Postmaster"),
            ("<info@a.example>", "alice@a.example Ordinary, carol@b.example Ordinary"),
            ("<all@a.example>", "alice@a.example Ordinary, carol@b.example Ordinary, bob@a.example Ordinary"),
            ("<O'Neil@a.example>", "bob@a.example Ordinary"),
            ("<PostMaster@a.example>", "alice@a.example Postmaster"),
            ("<Abuse@a.example>", "alice@a.example Postmaster"),
            ("<abuse@b.example>", "abuse@b.example Postmaster"),
            ("<\"../../etc/passwd\"@a.example>", "unknown"),
        ] {
            assert_eq!(look_up(&ours, path), expected, "{path}");
        }
    }

    #[test]
    fn postmaster_without_a_domain_is_at_the_nearest_of_ours() {
        assert_eq!(look_up(&mailboxes(TWO_DOMAINS), "<Postmaster>"), "carol@b.example Postmaster");
        for (hostname, expected) in [
            ("b.example", "carol@b.example Postmaster"),
            ("a.deep.mx.b.example", "carol@b.example Postmaster"),
            ("xb.example", "alice@a.example Postmaster"),
            ("mx.c.example", "alice@a.example Postmaster"),
        ] {
            let ours = mailboxes(&TWO_DOMAINS.replacen("mx.b.example", hostname, 1));
            assert_eq!(look_up(&ours, "<Postmaster>"), expected, "{hostname}");
        }
    }

    #[test]
    fn a_recipient_has_the_maildir_and_the_policy_of_its_own_mailbox() {
        let ours = mailboxes(TWO_DOMAINS);
        let Lookup::Local(recipients) = ours.look_up(&ForwardPath::parse("<info@a.example>").unwrap()) else {
            panic!("info is ours");
        };
        let junk_scores: Vec<f64> = recipients.iter().map(|recipient| recipient.policy.junk_score).collect();
        assert_eq!(junk_scores, [1.0, 5.0]);
        let maildir = Maildir { root: "/mail".into(), path: "b.example/carol/Maildir".into() };
        assert_eq!(recipients[1].maildir, maildir);
    }

    #[test]
    fn every_maildir_is_listed_once() {
        let paths: Vec<_> = mailboxes(TWO_DOMAINS).all_maildirs().into_iter().map(|maildir| maildir.path).collect();
        let expected = [
            "a.example/alice/Maildir",
            "a.example/bob/Maildir",
            "b.example/abuse/Maildir",
            "b.example/carol/Maildir",
            "xn--bcher-kva.example/alice/Maildir",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn a_maildir_stays_below_its_root() {
        assert!(Maildir::new("/m", "example.org/alice").is_ok());
        assert!(Maildir::new("/m", "").is_ok());
        for path in ["/etc", "..", "a/../b", "./a", "a/./b", "a//b", "a/"] {
            assert!(Maildir::new("/m", path).is_err(), "{path}");
        }
    }
}
