//! Under a service manager: sockets that it hands over, and what it is told. The test plays systemd.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use crate::support::load::{self, Sessions, while_sending};
use crate::support::program;
use crate::support::server::{Options, Server};
use crate::support::smtp_client::Client;

/// How often the service is restarted under load.
const ROUNDS: usize = 3;
/// Messages between two restarts.
const ROUND_MESSAGES: u64 = 30;

fn listen() -> Arc<TcpListener> {
    Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port"))
}

#[test]
fn a_restart_in_the_middle_of_load_refuses_nobody_and_loses_nothing() {
    let socket = listen();
    let address = socket.local_addr().expect("an address");
    let mut server = Server::start(Options { inherited: Some(socket), ..Options::default() });
    assert_eq!(server.address(), address);
    let sent = while_sending(address, &[Sessions::Many; 8], |load| {
        for _ in 0..ROUNDS {
            load.await_messages(ROUND_MESSAGES);
            assert_eq!(server.stop().code(), Some(0));
            server.restart();
        }
        load.await_messages(ROUND_MESSAGES);
    });
    load::check(&server, &sent);
}

#[test]
fn an_inherited_socket_stays_whatever_the_configuration_says() {
    let socket = listen();
    let address = socket.local_addr().expect("an address");
    let server = Server::start(Options { inherited: Some(socket), ..Options::default() });
    let shown = format!("{address} (from the service manager)");
    server.await_log(&format!("listening on {shown}"));
    server.edit(|text| text.replace("listen.smtp = [\"127.0.0.1:0\"]", "listen.smtp = [\"127.0.0.2:0\"]"));
    let said = server.run("reload");
    assert!(said.code == Some(0) && said.err.contains("listen.smtp: not used"), "{said:?}");
    let status = server.run("status").out;
    assert!(status.lines().any(|line| line == format!("listening    {shown}")), "{status}");
    Client::greeted(address);
}

#[test]
fn what_is_no_listening_tcp_socket_is_78() {
    let mut server = Server::start(Options::default());
    assert!(server.stop().success());
    let file = server.configuration();
    let arguments = ["serve", "--config", file.to_str().expect("UTF-8")];
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let unix = || OwnedFd::from(UnixDatagram::unbound().expect("a socket"));
    let connected = || OwnedFd::from(socket2_stream());
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
    let wrong: [(OwnedFd, &str, &str); 4] = [
        (udp(), "smtp", "is no TCP socket"),
        (unix(), "smtp", "is no TCP socket"),
        (connected(), "smtp", "does not listen"),
        (listener(), "web", "is no name that we know"),
    ];
    for (descriptor, name, text) in wrong {
        let said = program::run_command(program::activated(descriptor, name), server.directory(), &arguments);
        assert!(said.code == Some(78) && said.err.contains("socket activation: "), "{said:?}");
        assert!(said.err.contains(text) && said.err.contains("into the socket unit"), "{said:?}");
    }
    let said = program::run_command(program::activated(listener(), "smtps"), server.directory(), &arguments);
    assert!(said.code == Some(78) && said.err.contains("there is no [tls] section"), "{said:?}");
    assert!(!server.directory().join("state/control").exists());
}

/// A TCP socket that does not listen.
fn socket2_stream() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket")
}

#[test]
fn the_service_manager_is_told_what_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let told = || {
        let mut datagram = [0; 4096];
        let octets = manager.recv(&mut datagram).expect("it is told");
        String::from_utf8_lossy(&datagram[..octets]).into_owned()
    };
    let environment = vec![("NOTIFY_SOCKET".to_owned(), path.to_str().expect("UTF-8").to_owned())];
    let mut server = Server::start(Options { environment, ..Options::default() });
    let ready = format!("READY=1\nSTATUS=Listening on {}\n", server.address());
    assert_eq!(told(), ready);
    assert_eq!(server.run("reload").code, Some(0));
    let reloading = told();
    let (first, rest) = reloading.split_once('\n').expect("lines");
    let clock = rest.strip_prefix("MONOTONIC_USEC=").and_then(|rest| rest.split('\n').next());
    assert!(first == "RELOADING=1" && clock.is_some_and(|clock| clock.parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(told(), ready);
    server.edit(|text| text.replace("/rules\"]", "/rulez\"]"));
    assert_eq!(server.run("reload").code, Some(78));
    assert!(told().starts_with("RELOADING=1\n"));
    let failed = told();
    assert!(failed.starts_with("READY=1\n") && failed.contains("; not reloaded: rules.paths: "), "{failed}");
    assert!(server.stop().success());
    assert!(told().starts_with("STOPPING=1\n"));
}
