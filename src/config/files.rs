//! What the configuration names in the file system: is it there, and can it be used?
//!
//! *Does:* reads the certificate and its key, looks for the rules, and creates and removes one small file in each of
//! the directories that are written to.
//! *Never does:* create what is missing. A mail root that is not there may be a file system that is not mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::section::Problem;
use super::{Config, Tls, TlsFiles};

/// What is written to see whether a directory's disk has room, in octets.
const PROBE_OCTETS: usize = 4096;

/// Checks all files and directories that the configuration names; says what is wrong and what to do.
pub fn check_files(config: &Config) -> Vec<Problem> {
    let mut wrong = Vec::new();
    wrong.extend(config.tls.iter().flat_map(read_certificates).filter_map(Result::err));
    wrong.extend(probe_mail_root(&config.storage.mail.root).err());
    wrong.extend(check_state(&config.storage.state).err());
    wrong.extend(config.rules.paths.iter().filter_map(|path| check_rules(path).err()));
    wrong.into_iter().map(|message| Problem { place: None, message }).collect()
}

/// Can mail be written? The server asks when it starts: nothing else would tell before the first message.
pub fn check_mail_root(config: &Config) -> Result<(), Problem> {
    probe_mail_root(&config.storage.mail.root).map_err(|message| Problem { place: None, message })
}

/// A certificate and its key, which belong together.
#[derive(Debug)]
pub struct Certificate {
    /// Both, ready for use.
    pub certified: CertifiedKey,
    /// The hosts that it is for, by its subject alternative names: A-labels in lower case, wildcards as `*.example.org`.
    pub names: Vec<String>,
}

/// Reads all certificates and their keys, in the configuration's order, or says what is wrong with the first that cannot
/// be used. Blocks.
pub fn load_certificates(tls: &Tls) -> Result<Vec<Certificate>, Problem> {
    read_certificates(tls).collect::<Result<_, _>>().map_err(|message| Problem { place: None, message })
}

fn read_certificates(tls: &Tls) -> impl Iterator<Item = Result<Certificate, String>> {
    let more = tls.more.iter().map(|files| {
        let certificate = read_certificate("tls.more", files)?;
        match certificate.names.is_empty() {
            true => Err(format!(
                "tls.more: {} has no host name in it, so that nobody would ever be shown it. Name one that was issued for a host.",
                files.certificate.display()
            )),
            false => Ok(certificate),
        }
    });
    std::iter::once_with(|| read_certificate("tls", &tls.first)).chain(more)
}

fn read_certificate(section: &str, files: &TlsFiles) -> Result<Certificate, String> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain = read_chain(&files.certificate);
    let chain = chain.map_err(|error| pem_problem(section, "certificate", &files.certificate, error))?;
    let private_key = PrivateKeyDer::from_pem_file(&files.key);
    let private_key = private_key.map_err(|error| pem_problem(section, "key", &files.key, error))?;
    let pair = CertifiedKey::from_der(chain, private_key, &aws_lc_rs::default_provider());
    let certified = pair.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{section}.key: {key} is not the key of {certificate}. Name the two that were made together.")
        }
        error => format!("{section}: {certificate} and {key} can't be used ({error}). Have them issued again."),
    })?;
    let names = certified.end_entity_cert().map(names).unwrap_or_default();
    Ok(Certificate { certified, names })
}

/// The host names of a certificate; one that cannot be read has none.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate);
    certificate
        .map(|certificate| certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
        .unwrap_or_default()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(PemError::NoItemsFound) } else { Ok(chain) }
}

fn pem_problem(section: &str, name: &str, path: &Path, error: PemError) -> String {
    let (key, path) = (format!("{section}.{name}"), path.display());
    let what = if name == "key" { "private key" } else { name };
    match error {
        PemError::Io(error) => format!("{key}: {path} cannot be read ({error}). Correct the path or the permissions."),
        PemError::NoItemsFound => format!("{key}: {path} has no {what} in it. Name a PEM file with one."),
        error => format!("{key}: {path} is not a sound PEM file ({error}). Write it again."),
    }
}

fn probe_mail_root(root: &Path) -> Result<(), String> {
    probe(root).map_err(|error| {
        let root = root.display();
        match error.kind() {
            io::ErrorKind::NotFound => format!("storage.mail: {root} does not exist. Mount it or create it."),
            kind => format!("storage.mail: {root} cannot be written to ({error}). {}", remedy(kind)),
        }
    })
}

/// The state directory is created when the server first starts: the one that it will be created in must allow that.
fn check_state(state: &Path) -> Result<(), String> {
    let existing = state.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    probe(existing).map_err(|error| {
        let (state, existing) = (state.display(), existing.display());
        format!(
            "storage.state: {state} can't be used, as {existing} cannot be written to ({error}). {}",
            remedy(error.kind())
        )
    })
}

fn check_rules(path: &Path) -> Result<(), String> {
    let readable = match path.is_dir() {
        true => fs::read_dir(path).map(drop),
        false => File::open(path).map(drop),
    };
    let path = path.display();
    readable
        .map_err(|error| format!("rules.paths: {path} cannot be read ({error}). Correct the path or the permissions."))
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Make room.",
        io::ErrorKind::ReadOnlyFilesystem => "Mount it so that it can be written.",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "It must be a directory: create it or correct the path."
        }
        _ => "Give it to the user that mxkeep runs as.",
    }
}

/// Creates, writes and removes a small file.
fn probe(directory: &Path) -> io::Result<()> {
    let path: PathBuf = directory.join(format!(".mxkeep-probe-{}", std::process::id()));
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match created {
        // One that an earlier run left behind proves nothing, and is in the way.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path).and_then(|()| probe(directory))
        }
        Err(error) => Err(error),
        Ok(mut file) => {
            let written = file.write_all(&[0; PROBE_OCTETS]);
            fs::remove_file(&path).and(written)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration whose files are all in `dir`, and there.
    fn sound(dir: &Path) -> Config {
        let mail = dir.join("mail");
        fs::create_dir_all(&mail).unwrap();
        fs::create_dir_all(dir.join("rules")).unwrap();
        for name in ["one", "other"] {
            let issued = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
            fs::write(dir.join(format!("{name}.crt")), issued.cert.pem()).unwrap();
            fs::write(dir.join(format!("{name}.key")), issued.signing_key.serialize_pem()).unwrap();
        }
        let text = format!(
            "hostname = \"mx.example.org\"\ntls = {{ certificate = \"one.crt\", key = \"one.key\" }}\n\
             storage = {{ mail = \"{}/{{local_part}}\", state = \"new/state\" }}\n\
             [domains.\"example.org\"]\nmailboxes = [\"alice\"]\n",
            mail.display()
        );
        Config::parse(&text, "mxkeep.toml", dir).unwrap().0
    }

    fn problems(config: &Config) -> Vec<String> {
        check_files(config).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn sound_files_are_left_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let config = sound(dir.path());
        fs::write(dir.path().join("mail").join(format!(".mxkeep-probe-{}", std::process::id())), "").unwrap();
        assert_eq!(problems(&config), [""; 0]);
        assert!(!dir.path().join("new").exists());
        assert_eq!(fs::read_dir(dir.path().join("mail")).unwrap().count(), 0);
    }

    #[test]
    fn each_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = sound(dir.path());
        fs::remove_file(dir.path().join("one.crt")).unwrap();
        fs::remove_dir(dir.path().join("mail")).unwrap();
        fs::remove_dir(dir.path().join("rules")).unwrap();
        fs::write(dir.path().join("new"), "a file, not a directory").unwrap();
        let said = problems(&config);
        let starts = ["tls.certificate: ", "storage.mail: ", "storage.state: ", "rules.paths: "];
        assert_eq!(said.len(), starts.len(), "{said:?}");
        for (said, start) in said.iter().zip(starts) {
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn each_pair_is_checked_and_those_for_single_names_have_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = sound(dir.path());
        let nameless = rcgen::generate_simple_self_signed(["192.0.2.1".to_owned()]).unwrap();
        fs::write(dir.path().join("nameless.crt"), nameless.cert.pem()).unwrap();
        fs::write(dir.path().join("nameless.key"), nameless.signing_key.serialize_pem()).unwrap();
        let pair = |certificate: &str, key: &str| TlsFiles {
            certificate: dir.path().join(certificate),
            key: dir.path().join(key),
        };
        let nameless = pair("nameless.crt", "nameless.key");
        config.tls = Some(Tls { first: nameless.clone(), more: vec![pair("other.crt", "other.key")] });
        assert_eq!(problems(&config), [""; 0], "the first one may be for an address");
        let more =
            vec![pair("none.crt", "one.key"), nameless, pair("one.crt", "other.key"), pair("one.crt", "none.key")];
        config.tls = Some(Tls { first: pair("one.crt", "one.key"), more });
        let said = problems(&config);
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(
            said[0].starts_with("tls.more.certificate: ") && said[0].contains("none.crt cannot be read"),
            "{said:?}"
        );
        assert!(
            said[1].starts_with("tls.more: ") && said[1].contains("nameless.crt has no host name in it"),
            "{said:?}"
        );
        assert!(said[2].starts_with("tls.more.key: ") && said[2].contains("is not the key of"), "{said:?}");
        assert!(said[3].starts_with("tls.more.key: ") && said[3].contains("none.key cannot be read"), "{said:?}");
        assert_eq!(load_certificates(config.tls.as_ref().unwrap()).unwrap_err().to_string(), said[0]);
    }

    #[test]
    fn a_certificate_and_key_must_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = sound(dir.path());
        let mut said_of = |certificate: &str, key: &str| {
            let first = TlsFiles { certificate: dir.path().join(certificate), key: dir.path().join(key) };
            config.tls = Some(Tls { first, more: Vec::new() });
            problems(&config).concat()
        };
        assert!(said_of("one.crt", "other.key").contains("is not the key of"));
        assert!(said_of("one.key", "one.key").contains("has no certificate in it"));
        assert!(said_of("one.crt", "one.crt").contains("has no private key in it"));
        fs::write(dir.path().join("cut.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        assert!(said_of("cut.crt", "one.key").contains("is not a sound PEM file"));
        fs::write(dir.path().join("bad.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert!(said_of("bad.crt", "one.key").contains("can't be used"));
    }
}
