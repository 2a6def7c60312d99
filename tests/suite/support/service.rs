//! The service within the test's own process: for what cannot be seen from outside.

use std::fs;
use std::path::Path;

use mxkeep::config::Config;
use mxkeep::server::Server;

/// A service that does not accept yet, with the mailbox alice@example.test, below this directory. DNS does not answer.
pub async fn start(directory: &Path) -> Server {
    let text = format!(
        "hostname = \"mx.example.test\"\nlisten.smtp = [\"127.0.0.1:0\"]\ndns.servers = [\"127.0.0.1:9\"]\n\
         rules.paths = []\nstorage.mail = \"{at}/{{local_part}}\"\nstorage.state = \"{at}/state\"\n\
         domains.\"example.test\".mailboxes = [\"alice\"]\n",
        at = directory.display()
    );
    let file = directory.join("mxkeep.toml");
    fs::write(&file, text).expect("a configuration");
    let (config, _) = Config::load(&file).expect("it loads");
    Server::start(config, &file, Vec::new()).await.expect("it starts")
}
