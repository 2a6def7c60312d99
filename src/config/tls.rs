//! `[tls]`: the certificates and their keys.

use std::path::{Path, PathBuf};

use super::section::{Report, Section, Value, path};

/// The server's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `tls.certificate` and `tls.key`: for clients that ask for no name, or for one that no certificate has.
    pub first: TlsFiles,
    /// `tls.more`: each for its own names.
    pub more: Vec<TlsFiles>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// A PEM file with the chain, our certificate first.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

impl Tls {
    /// All of them, in the configuration's order.
    pub fn pairs(&self) -> impl Iterator<Item = &TlsFiles> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// Reads `[tls]`. Without it there is no TLS, and the operator hears of it.
pub(super) fn read(report: &mut Report, root: &Section<'_>, base_dir: &Path) -> Option<Tls> {
    let section = root.section(report, "tls");
    if !section.is_present() {
        let message =
            "there is no [tls] section, so that mail travels in clear text. Add one with certificate and key.";
        report.warning(0, message);
        return None;
    }
    let certificate = section.required(report, "certificate");
    let certificate = certificate.and_then(|value| value.parsed(report, |text| path(text, base_dir)));
    let key = section.required(report, "key").and_then(|value| value.parsed(report, |text| path(text, base_dir)));
    let more = section.value("more").map(|value| value.list(report)).unwrap_or_default();
    let more = more.iter().filter_map(|pair| read_pair(report, pair, base_dir)).collect();
    Some(Tls { first: TlsFiles { certificate: certificate?, key: key? }, more })
}

/// One element of `tls.more`.
fn read_pair(report: &mut Report, pair: &Value<'_>, base_dir: &Path) -> Option<TlsFiles> {
    const EXAMPLE: &str = r#"Write { certificate = "/path/to/fullchain.pem", key = "/path/to/privkey.pem" }."#;
    if !pair.is_section() {
        pair.error(report, format!("{} is not a certificate and its key. {EXAMPLE}", pair.shown()));
        return None;
    }
    let section = Section::of(report, pair);
    for (name, at, value) in section.entries() {
        if !matches!(name, "certificate" | "key") {
            report.error(at, format!("{}: there is no such key. Here may stand: certificate, key.", value.name));
        }
    }
    let mut file = |name: &str| {
        let value = section.value(name);
        if value.is_none() {
            pair.error(report, format!("there is no {name} in it. {EXAMPLE}"));
        }
        value.and_then(|value| value.parsed(report, |text| path(text, base_dir)))
    };
    let (certificate, key) = (file("certificate"), file("key"));
    Some(TlsFiles { certificate: certificate?, key: key? })
}
