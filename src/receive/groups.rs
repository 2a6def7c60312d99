//! Which recipients are answered together.
//!
//! Without PRDR all are: there is one reply. With it each RCPT has its own, and mailboxes behind one RCPT share it. RCPTs that
//! lead to the same mailbox share their answer as well, for that mailbox gets the message once, or not at all.

/// For each RCPT of a transaction the first one that is answered together with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups(Vec<usize>);

impl Groups {
    /// So many RCPTs, each for itself or all together.
    pub fn new(rcpts: usize, each_for_itself: bool) -> Self {
        Groups((0..rcpts).map(|rcpt| if each_for_itself { rcpt } else { 0 }).collect())
    }

    /// These two are answered together.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        if let Some(leader) = self.0.get_mut(a.max(b)) {
            *leader = a.min(b);
        }
    }

    /// The group of a RCPT: the number of its first one.
    pub fn of(&self, mut rcpt: usize) -> usize {
        // A leader is never behind those that it leads, so this ends.
        while let Some(&leader) = self.0.get(rcpt).filter(|leader| **leader < rcpt) {
            rcpt = leader;
        }
        rcpt
    }

    /// How many RCPTs there are.
    pub fn rcpts(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(groups: &Groups) -> Vec<usize> {
        (0..groups.rcpts()).map(|rcpt| groups.of(rcpt)).collect()
    }

    #[test]
    fn who_shares_a_mailbox_shares_the_answer() {
        let mut groups = Groups::new(6, true);
        assert_eq!(all(&groups), [0, 1, 2, 3, 4, 5]);
        groups.join(3, 1);
        groups.join(5, 4);
        assert_eq!(all(&groups), [0, 1, 2, 1, 4, 4]);
        groups.join(5, 3);
        groups.join(3, 5);
        groups.join(2, 2);
        assert_eq!(all(&groups), [0, 1, 2, 1, 1, 1]);
    }

    #[test]
    fn one_reply_is_one_group() {
        let mut groups = Groups::new(3, false);
        groups.join(2, 1);
        assert_eq!(all(&groups), [0, 0, 0]);
    }
}
