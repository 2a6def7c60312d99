//! The server's end of a client's connection, as the kernel's table of connections shows it (`/proc/net/tcp`).

use std::fs;

use super::server::Server;
use super::smtp_client::Client;

/// What `/proc/PID/fd` says of it.
pub fn path(server: &Server, client: &Client) -> String {
    format!("socket:[{}]", fields(server, client)[9])
}

/// How many octets wait there for the server to read them?
pub fn unread(server: &Server, client: &Client) -> u32 {
    let fields = fields(server, client);
    let (_, octets) = fields[4].split_once(':').expect("two queues");
    u32::from_str_radix(octets, 16).expect("a number")
}

fn fields(server: &Server, client: &Client) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let (ours, theirs) = (format!(":{:04X}", server.address().port()), format!(":{:04X}", client.port()));
    let mut rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let row = rows.find(|fields| fields.len() > 9 && fields[1].ends_with(&ours) && fields[2].ends_with(&theirs));
    row.expect("the connection is in the table")
}
