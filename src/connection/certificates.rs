//! The certificates that clients are shown, each by its names, and read again when their files change.
//!
//! *Does:* chooses by the name that the client asks for (SNI, RFC 6066 section 3): the certificate that has this name among
//! its subject alternative names, or a wildcard for it (RFC 6125 section 6.4.3: the left-most label, whole); without such
//! a name, the first one of the configuration. Of several that fit, the first whose key the client can use.
//! *Guarantees:* new certificates are in force as a whole or not at all; broken files leave the old ones in force.
//! Sessions that have begun are not touched.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{self, Problem, Tls};

/// The certificates of the configuration, as the files last had them in order.
pub struct Certificates {
    shown: RwLock<Arc<Shown>>,
    files: Mutex<Files>,
}

/// The files, and how they looked when they were last read.
struct Files {
    tls: Tls,
    looked: Vec<Option<Look>>,
}

/// Device, inode, size, and the times of the last change in nanoseconds: of the contents, and of anything else, such as
/// the permissions.
#[derive(Debug, PartialEq, Eq)]
struct Look(u64, u64, u64, i128, i128);

/// What is in force.
struct Shown {
    /// In the configuration's order; never empty.
    all: Vec<Arc<CertifiedKey>>,
    /// By name in lower case, wildcards by their own.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads the files. Blocks.
    pub fn load(tls: &Tls) -> Result<Arc<Self>, Problem> {
        let files = Files { tls: tls.clone(), looked: look(tls) };
        let shown = RwLock::new(Arc::new(Shown::load(tls)?));
        Ok(Arc::new(Certificates { shown, files: Mutex::new(files) }))
    }

    /// Reads the files again if one of them has changed, by its inode, size or times: true if new certificates are in
    /// force now. Those that cannot be used leave the old ones in force: the error says so, once for each change. Blocks.
    pub fn refresh(&self) -> Result<bool, Problem> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is seen the next time.
        let looks = look(&files.tls);
        if looks == files.looked {
            return Ok(false);
        }
        files.looked = looks;
        self.show(&files.tls).map(|()| true)
    }

    /// Reads the files of another configuration, and those from now on. An error leaves all as it was. Blocks.
    pub fn reload(&self, tls: &Tls) -> Result<(), Problem> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = look(tls);
        self.show(tls)?;
        *files = Files { tls: tls.clone(), looked };
        Ok(())
    }

    fn show(&self, tls: &Tls) -> Result<(), Problem> {
        let shown = Shown::load(tls).map_err(|problem| Problem {
            message: format!("{} The certificates that were read before stay in use.", problem.message),
            ..problem
        })?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        Ok(())
    }

    fn shown(&self) -> Arc<Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn look(tls: &Tls) -> Vec<Option<Look>> {
    tls.pairs().flat_map(|pair| [&pair.certificate, &pair.key]).map(|path| look_at(path)).collect()
}

/// `None`: not there, or out of reach.
fn look_at(path: &Path) -> Option<Look> {
    let found = fs::metadata(path).ok()?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = nanoseconds(found.mtime(), found.mtime_nsec());
    Some(Look(found.dev(), found.ino(), found.size(), modified, nanoseconds(found.ctime(), found.ctime_nsec())))
}

impl Shown {
    fn load(tls: &Tls) -> Result<Self, Problem> {
        let mut shown = Shown { all: Vec::new(), by_name: HashMap::new() };
        for certificate in config::load_certificates(tls)? {
            let certified = Arc::new(certificate.certified);
            for name in certificate.names {
                shown.by_name.entry(name).or_default().push(certified.clone());
            }
            shown.all.push(certified);
        }
        Ok(shown)
    }

    /// For a client that asks for this name and can use such keys.
    fn choose(&self, name: Option<&str>, can_use: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let of_name = name.and_then(|name| self.of_name(name)).unwrap_or_default();
        let fitting = of_name.iter().chain(&self.all).find(|certified| can_use(certified));
        // Nothing fits: the handshake fails, and says so.
        fitting.or(self.all.first()).cloned()
    }

    fn of_name(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wildcard).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes: &[SignatureScheme] = hello.signature_schemes();
        self.shown().choose(hello.server_name(), |certified| certified.key.choose_scheme(schemes).is_some())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;
    use crate::config::TlsFiles;

    /// Issues a certificate for these names, as `NAME.crt` and `NAME.key`, whatever was there before. Like the clients
    /// of certificate authorities, it puts new files in the place of the old ones.
    fn issue(dir: &Path, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let issued = rcgen::generate_simple_self_signed(hosts).unwrap();
        replace(&dir.join(format!("{name}.crt")), &issued.cert.pem());
        replace(&dir.join(format!("{name}.key")), &issued.signing_key.serialize_pem());
        issued.cert.der().clone()
    }

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, path).unwrap();
    }

    fn pair(dir: &Path, name: &str) -> TlsFiles {
        let path = |extension: &str| -> PathBuf { dir.join(format!("{name}.{extension}")) };
        TlsFiles { certificate: path("crt"), key: path("key") }
    }

    fn tls(dir: &Path, first: &str, more: &[&str]) -> Tls {
        Tls { first: pair(dir, first), more: more.iter().map(|name| pair(dir, name)).collect() }
    }

    fn chosen(certificates: &Certificates, name: Option<&str>) -> CertificateDer<'static> {
        certificates.shown().choose(name, |_| true).unwrap().cert[0].clone()
    }

    #[test]
    fn the_certificate_that_has_the_name_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let first = issue(dir, "first", &["mx.example.org"]);
        let net = issue(dir, "net", &["mx.example.net", "MX2.Example.NET", "*.example.com"]);
        let com = issue(dir, "com", &["www.example.com", "*.mail.example.com", "mx.example.org"]);
        let certificates = Certificates::load(&tls(dir, "first", &["net", "com"])).unwrap();
        let cases = [
            (None, &first),
            (Some("mx.example.org"), &first),
            (Some("mx.example.net"), &net),
            (Some("MX.EXAMPLE.net"), &net),
            (Some("mx2.example.net"), &net),
            (Some("mx.example.net."), &net),
            // A name of its own goes before a wildcard.
            (Some("mx.example.com"), &net),
            (Some("www.example.com"), &com),
            (Some("a.mail.example.com"), &com),
            // A wildcard is for one label, no more and no less.
            (Some("mail.example.com"), &net),
            (Some("a.b.example.com"), &first),
            (Some("example.com"), &first),
            (Some("*.example.com"), &net),
            (Some("example.net"), &first),
            (Some("com"), &first),
            (Some(""), &first),
            (Some("."), &first),
        ];
        for (name, expected) in cases {
            assert_eq!(&chosen(&certificates, name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_key_that_the_client_cannot_use_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let first = issue(dir, "first", &["mx.example.org"]);
        let second = issue(dir, "second", &["mx.example.org"]);
        let shown = Shown::load(&tls(dir, "first", &["second"])).unwrap();
        let unlike = |wrong: &CertificateDer<'static>| {
            let wrong = wrong.clone();
            move |certified: &CertifiedKey| certified.cert[0] != wrong
        };
        let of = |certified: Option<Arc<CertifiedKey>>| certified.unwrap().cert[0].clone();
        for name in [None, Some("mx.example.org"), Some("other.example")] {
            assert_eq!(of(shown.choose(name, |_| true)), first);
            assert_eq!(of(shown.choose(name, unlike(&first))), second);
            assert_eq!(of(shown.choose(name, |_| false)), first, "the handshake says what is wrong");
        }
    }

    #[test]
    fn changed_files_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let old = issue(dir, "first", &["mx.example.org"]);
        let other = issue(dir, "other", &["mx.example.net"]);
        let certificates = Certificates::load(&tls(dir, "first", &["other"])).unwrap();
        assert_eq!(certificates.refresh(), Ok(false));
        let new = issue(dir, "first", &["mx.example.org"]);
        assert_eq!(chosen(&certificates, None), old, "nobody has looked yet");
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!(chosen(&certificates, None), new);
        assert_eq!(certificates.refresh(), Ok(false));
        // A change in any of them counts, and one in permissions too: a key may have been unreadable.
        let renamed = issue(dir, "other", &["mx.example.com"]);
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!((chosen(&certificates, Some("mx.example.com")), chosen(&certificates, None)), (renamed, new));
        assert_ne!(chosen(&certificates, Some("mx.example.net")), other);
    }

    /// As certbot and others lay them out: links that are moved.
    #[test]
    fn links_that_lead_elsewhere_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        issue(dir, "1", &["mx.example.org"]);
        let new = issue(dir, "2", &["mx.example.org"]);
        let link = |name: &str, target: &str| {
            let _ = fs::remove_file(dir.join(name));
            std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
        };
        link("live.crt", "1.crt");
        link("live.key", "1.key");
        let certificates = Certificates::load(&tls(dir, "live", &[])).unwrap();
        link("live.crt", "2.crt");
        link("live.key", "2.key");
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!(chosen(&certificates, None), new);
    }

    #[test]
    fn broken_files_leave_the_old_certificates_in_force_and_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let old = issue(dir, "first", &["mx.example.org"]);
        issue(dir, "second", &["mx.example.net"]);
        let certificates = Certificates::load(&tls(dir, "first", &["second"])).unwrap();
        // The first that is wrong is named.
        let breaks: [(&str, &dyn Fn()); 3] = [
            ("cannot be read", &|| fs::remove_file(dir.join("second.key")).unwrap()),
            ("is not a sound PEM file", &|| replace(&dir.join("first.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n")),
            // A new certificate whose key has not been written yet.
            ("is not the key of", &|| {
                issue(dir, "second", &["mx.example.net"]);
                issue(dir, "first", &["mx.example.org"]);
                fs::copy(dir.join("second.key"), dir.join("first.key")).map(drop).unwrap();
            }),
        ];
        for (what, break_it) in breaks {
            break_it();
            let said = certificates.refresh().unwrap_err().to_string();
            assert!(
                said.contains(what) && said.ends_with("The certificates that were read before stay in use."),
                "{said}"
            );
            assert_eq!(certificates.refresh(), Ok(false), "said once");
            assert_eq!(chosen(&certificates, None), old);
        }
        let new = issue(dir, "first", &["mx.example.org"]);
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!(chosen(&certificates, None), new);
    }

    #[test]
    fn another_configuration_is_in_force_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let one = issue(dir, "one", &["mx.example.org"]);
        let two = issue(dir, "two", &["mx.example.org"]);
        let certificates = Certificates::load(&tls(dir, "one", &[])).unwrap();
        let said = certificates.reload(&tls(dir, "two", &["none"])).unwrap_err().to_string();
        assert!(said.starts_with("tls.more.certificate: ") && said.contains("stay in use"), "{said}");
        assert_eq!(chosen(&certificates, None), one);
        certificates.reload(&tls(dir, "two", &[])).unwrap();
        assert_eq!(chosen(&certificates, None), two);
        // The files that count now are those of the new configuration.
        issue(dir, "one", &["mx.example.org"]);
        assert_eq!(certificates.refresh(), Ok(false));
        let two = issue(dir, "two", &["mx.example.org"]);
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!(chosen(&certificates, None), two);
    }

    /// A whole handshake in memory, by a client that trusts these certificates and no others.
    fn handshake(
        server: &Arc<ServerConfig>,
        trusted: &[&CertificateDer<'static>],
        name: &'static str,
    ) -> CertificateDer<'static> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().map(|certificate| (*certificate).clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(name).unwrap()).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        while client.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        client.peer_certificates().unwrap()[0].clone().into_owned()
    }

    #[test]
    fn a_replaced_certificate_is_shown_to_the_next_client() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let first = issue(dir, "first", &["mx.example.org"]);
        let old = issue(dir, "second", &["*.example.net"]);
        let certificates = Certificates::load(&tls(dir, "first", &["second"])).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let server = Arc::new(server.with_no_client_auth().with_cert_resolver(certificates.clone()));
        assert_eq!(handshake(&server, &[&first, &old], "mx.example.org"), first);
        assert_eq!(handshake(&server, &[&first, &old], "mx.example.net"), old);
        let new = issue(dir, "second", &["mx.example.net"]);
        assert_eq!(certificates.refresh(), Ok(true));
        assert_eq!(handshake(&server, &[&first, &new], "mx.example.net"), new);
        assert_eq!(handshake(&server, &[&first, &new], "mx.example.org"), first);
    }
}
