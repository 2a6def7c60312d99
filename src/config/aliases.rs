//! Aliases: where mail for an address of ours ends up.
//!
//! *Guarantees:* every walk ends, whatever the aliases say: it is bounded in depth and in what it collects.

use std::collections::{BTreeMap, HashSet};

use super::DomainConfig;
use crate::address::{Domain, Mailbox};

/// How many aliases may stand one behind the other.
pub const ALIAS_DEPTH_MAX: usize = 16;
/// How many mailboxes one address may reach. Each of them is a file to write and sync before the reply.
pub const ALIAS_MAILBOXES_MAX: usize = 1_000;

/// Why an alias leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// The domain is ours, the local-part is not there.
    #[error("{0} does not exist. Add it to the mailboxes or the aliases of its domain.")]
    Unknown(Mailbox),
    /// The domain is not ours.
    #[error("{0} is not at a domain of ours, and mxkeep never forwards. Use a mailbox of ours, or add the domain.")]
    Foreign(Mailbox),
    /// The addresses from one back to itself.
    #[error("this alias gets its own mail: {}. Take one of them out.", chain(.0))]
    Loop(Vec<Mailbox>),
    /// More than [`ALIAS_DEPTH_MAX`].
    #[error("more than {ALIAS_DEPTH_MAX} aliases stand one behind the other. Name the mailboxes themselves.")]
    TooDeep,
    /// More than [`ALIAS_MAILBOXES_MAX`].
    #[error(
        "this alias reaches more than {ALIAS_MAILBOXES_MAX} mailboxes. A mailing list manager is the tool for that."
    )]
    TooMany,
}

fn chain(addresses: &[Mailbox]) -> String {
    addresses.iter().map(Mailbox::to_string).collect::<Vec<_>>().join(" -> ")
}

/// What an address of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A mailbox.
    Mailbox(&'a Mailbox),
    /// An alias for these.
    Alias(&'a [Mailbox]),
}

/// All addresses of ours, ready to be looked up. Ours are lower-case; so must be what is asked for.
pub struct Directory<'a> {
    domains: &'a BTreeMap<Domain, DomainConfig>,
    mailboxes: HashSet<&'a Mailbox>,
}

impl<'a> Directory<'a> {
    /// Of these domains.
    pub fn new(domains: &'a BTreeMap<Domain, DomainConfig>) -> Self {
        Directory { domains, mailboxes: domains.values().flat_map(|domain| &domain.mailboxes).collect() }
    }

    /// Is there such an address, and what is it?
    pub fn find(&self, address: &Mailbox) -> Result<Target<'a>, AliasError> {
        let domain = address.domain().and_then(|domain| self.domains.get(domain));
        let domain = domain.ok_or_else(|| AliasError::Foreign(address.clone()))?;
        if let Some(targets) = domain.aliases.get(address.local_part()) {
            return Ok(Target::Alias(targets));
        }
        let mailbox = self.mailboxes.get(address).ok_or_else(|| AliasError::Unknown(address.clone()))?;
        Ok(Target::Mailbox(mailbox))
    }

    /// The mailboxes that an address reaches, in the order in which the aliases name them, each once.
    pub fn expand(&self, address: &Mailbox) -> Result<Vec<&'a Mailbox>, AliasError> {
        let mut walk = Walk { directory: self, path: Vec::new(), seen: HashSet::new(), reached: Vec::new() };
        walk.visit(address)?;
        Ok(walk.reached)
    }
}

struct Walk<'d, 'a> {
    directory: &'d Directory<'a>,
    /// The aliases that led here.
    path: Vec<Mailbox>,
    /// What need not be visited again: without it, doubled aliases would double the walk at each step.
    seen: HashSet<Mailbox>,
    reached: Vec<&'a Mailbox>,
}

impl Walk<'_, '_> {
    /// Calls itself, at most [`ALIAS_DEPTH_MAX`] deep.
    fn visit(&mut self, address: &Mailbox) -> Result<(), AliasError> {
        if let Some(start) = self.path.iter().position(|earlier| earlier == address) {
            let circle = self.path.iter().skip(start).chain([address]);
            return Err(AliasError::Loop(circle.cloned().collect()));
        }
        if !self.seen.insert(address.clone()) {
            return Ok(());
        }
        match self.directory.find(address)? {
            Target::Mailbox(_) if self.reached.len() >= ALIAS_MAILBOXES_MAX => return Err(AliasError::TooMany),
            Target::Mailbox(mailbox) => self.reached.push(mailbox),
            Target::Alias(_) if self.path.len() >= ALIAS_DEPTH_MAX => return Err(AliasError::TooDeep),
            Target::Alias(targets) => {
                self.path.push(address.clone());
                targets.iter().try_for_each(|target| self.visit(target))?;
                self.path.pop();
            }
        }
        Ok(())
    }
}
