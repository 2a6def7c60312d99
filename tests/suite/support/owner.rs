//! Whom the mail of a test belongs to: the user as whom both mxkeep and Dovecot run, as they do in the field.
//!
//! Dovecot serves no mail of root's. So where root runs the tests the owner is `nobody`; otherwise it is whoever runs them.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user and their group.
#[derive(Debug, Clone)]
pub struct Owner {
    uid: u32,
    gid: u32,
    /// The user's name.
    pub user: String,
    /// The group's name.
    pub group: String,
}

impl Owner {
    /// The owner of all mail.
    pub fn of_mail() -> Self {
        let own_uid = rustix::process::getuid().as_raw();
        let is_owner = |entry: &Entry| if own_uid == 0 { entry.name == "nobody" } else { entry.id == own_uid };
        let user = entries("/etc/passwd").into_iter().find(is_owner).expect("the user is in /etc/passwd");
        let gid = user.group.expect("a user has a group");
        let group = entries("/etc/group").into_iter().find(|entry| entry.id == gid).expect("so has the group a name");
        Owner { uid: user.id, gid, user: user.name, group: group.name }
    }

    /// A command that runs as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if rustix::process::getuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Gives a directory and all that is in it to this user.
    pub fn own(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("a file can be given away");
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.own(&entry.path());
        }
    }
}

/// A line of /etc/passwd or /etc/group: a name, a number, and of a user also the group.
struct Entry {
    name: String,
    id: u32,
    group: Option<u32>,
}

fn entries(file: &str) -> Vec<Entry> {
    let text = fs::read_to_string(file).expect("it can be read");
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Entry { name: fields.first()?.to_string(), id: number(2)?, group: number(3) })
    };
    text.lines().filter_map(entry).collect()
}
