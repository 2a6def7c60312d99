//! Why the service does not start, or does not take a new configuration.

use std::io;
use std::net::SocketAddr;

use crate::config;
use crate::receive::SetUpError;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}. {}", listen_hint(.key, .error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// What the service manager handed over cannot be used.
    #[error("socket activation: {0}")]
    Inherited(String),
    /// Certificate or key.
    #[error("{0}")]
    Certificate(config::Problem),
    /// The TLS library refuses the certificate or its own settings.
    #[error("cannot set up TLS: {0}. See tls.certificate and tls.key.")]
    Tls(rustls::Error),
    /// What the mail path needs.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
}

impl StartError {
    /// Is it the configuration, or a file that it names, that has to be mended first?
    pub fn is_configuration(&self) -> bool {
        match self {
            StartError::Certificate(_) | StartError::Tls(_) | StartError::Inherited(_) => true,
            StartError::SetUp(error) => matches!(error, SetUpError::Rules(_) | SetUpError::Dns(_)),
            StartError::Listen { .. } => false,
        }
    }
}

fn listen_hint(key: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "Ports below 1024 need root or the capability CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep, or AmbientCapabilities in the systemd unit).".into(),
        io::ErrorKind::AddrInUse => {
            format!("Another program listens there (see `ss -ltnp`): stop it, or change {key}.")
        }
        io::ErrorKind::AddrNotAvailable => format!("This host does not have that address: change {key}."),
        _ => format!("See {key}."),
    }
}

/// Why a new configuration was not taken: all that is in the way. The old one stays in force as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ReloadError(pub Vec<String>);

fn lines(problems: &[String]) -> String {
    problems.join("\n")
}
