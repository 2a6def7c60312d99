//! What comes before the session: the PROXY protocol's header, then TLS where it begins at once.
//!
//! *Guarantees:* a peer in `listen.proxy_protocol_from` has said for whom it speaks before anything else is read or sent,
//! and nobody else is asked. From here on that client is who counts, for limits, lookups and the log. Whoever fails here
//! is logged, and hears nothing; one client too many in clear text hears 421.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::deadlines::{Deadlines, PROXY_SECONDS_MAX};
use super::limits::Permit;
use super::wire::Wire;
use super::{Shared, proxy};
use crate::envelope::Client;
use crate::smtp::reply;

/// A connection whose session can begin.
pub(super) struct Opened {
    pub wire: Wire,
    pub client: Client,
    pub permit: Permit,
}

/// A connection that ended before its session began.
pub(super) struct Failed {
    pub client: Client,
    /// Why, for the log.
    pub end: &'static str,
}

/// Opens a connection that was accepted from this peer; `implicit_tls`: TLS begins at once.
pub(super) async fn open(
    mut stream: TcpStream,
    peer: SocketAddr,
    implicit_tls: bool,
    mut permit: Permit,
    shared: &Shared,
) -> Result<Opened, Failed> {
    let deadlines = Deadlines::new(Instant::now(), &shared.limits);
    let mut client = Client { address: peer.ip().to_canonical(), port: peer.port(), tls: None };
    let is_proxy = shared.is_proxy(client.address);
    if is_proxy {
        let received = timeout(Duration::from_secs(PROXY_SECONDS_MAX), proxy::receive(&mut stream)).await;
        let Ok(Some(said)) = received else { return Err(Failed { client, end: "proxy_protocol" }) };
        if let Some(said) = said {
            (client.address, client.port) = (said.ip(), said.port());
        }
    }
    let mut wire = Wire::new(stream, deadlines, shared.phase.clone());
    if is_proxy && let Err(full) = permit.count_for(client.address) {
        // Who expects TLS could not read a reply.
        if !implicit_tls {
            wire.queue(&reply::too_many_connections(&shared.settings.hostname, full.text()));
            // It ends now, whether the reply is read or not.
            let _ = wire.flush().await;
            wire.close().await;
        }
        return Err(Failed { client, end: full.name() });
    }
    if implicit_tls {
        let Some(acceptor) = &shared.tls else { return Err(Failed { client, end: "no_tls" }) };
        match wire.start_tls(acceptor).await {
            Ok((secured, tls)) => (wire, client.tls) = (secured, Some(tls)),
            Err(_) => return Err(Failed { client, end: "tls_handshake" }),
        }
    }
    Ok(Opened { wire, client, permit })
}
