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
