//! From the file's text to a [`Config`].
//!
//! *Does:* checks the names of all keys, reads each section, checks what concerns several of them.
//! *Guarantees:* reports every error that it can see, not the first; a [`Config`] comes out only when there is none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::DeTable;

use super::section::{ConfigError, Problem, Report, Section, Value, Warning, path};
use super::{
    Authentication, Config, Dns, LineEndings, Listen, Log, LogFormat, MailTemplate, Network, Rules, Storage, domains,
    keys, limits, policy, tls,
};

/// The largest configuration file, in octets.
pub const CONFIG_OCTETS_MAX: u64 = 64 << 20;
/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to the directory that it is in.
    pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), ConfigError> {
        let file_name = path.display().to_string();
        let text = read_file(path).map_err(|why| {
            let message = format!("{file_name}: cannot be read ({why}). Name the configuration file with --config.");
            ConfigError { problems: vec![Problem { place: None, message }] }
        })?;
        let base_dir = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Config::parse(&text, &file_name, base_dir.parent().unwrap_or(Path::new("/")))
    }

    /// Reads a configuration. The file's name stands in the errors; relative paths are relative to `base_dir`.
    pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Result<(Config, Vec<Warning>), ConfigError> {
        let mut report = Report::default();
        let (file, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            let what = error.message();
            report.error(at, format!("this is not TOML: {what}. Correct the line; a text stands in double quotes."));
        }
        let defaults = keys::defaults();
        let (defaults, _) = DeTable::parse_recoverable(&defaults);
        // What the parser guessed behind a syntax error would only lead to more errors.
        let config = match errors.is_empty() {
            true => read(&mut report, &Section::root(file.get_ref(), defaults.get_ref()), base_dir),
            false => None,
        };
        let warnings = report.finish(file_name, text)?;
        // Never without errors: each part that is missing was reported, and so ended this function one line above.
        let config = config.ok_or(ConfigError { problems: Vec::new() })?;
        Ok((config, warnings))
    }
}

/// Where the state of the server of this configuration file is, as far as can be told: of the file only `storage.state` is
/// needed, so that a running server can be asked even if its file was broken since. None: the file cannot be read.
pub fn state_directory(path: &Path) -> Option<PathBuf> {
    let text = read_file(path).ok()?;
    let defaults = keys::defaults();
    let state_in = |text: &str| {
        let (file, _) = DeTable::parse_recoverable(text);
        let state = file.get_ref().get("storage")?.get_ref().as_table()?.get("state")?.get_ref().as_str()?.to_owned();
        Some(state).filter(|state| !state.is_empty())
    };
    let state = state_in(&text).or_else(|| state_in(&defaults))?;
    Some(std::path::absolute(path).ok()?.parent()?.join(state))
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut octets = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(CONFIG_OCTETS_MAX + 1).read_to_end(&mut octets).map_err(|error| error.to_string())?;
    if octets.len() as u64 > CONFIG_OCTETS_MAX {
        return Err(format!("it is longer than {CONFIG_OCTETS_MAX} octets"));
    }
    String::from_utf8(octets).map_err(|error| format!("it is not UTF-8 at octet {}", error.utf8_error().valid_up_to()))
}

/// Reads all sections. Each of them reports its own errors; a missing part is one of those.
fn read(report: &mut Report, root: &Section<'_>, base_dir: &Path) -> Option<Config> {
    check_names(report, root, "");
    let hostname = root.required(report, "hostname").and_then(|value| value.parsed(report, domains::domain_name));
    let listen = read_listen(report, root);
    let tls = tls::read(report, root, base_dir);
    check_listen(report, root, &listen);
    let storage = read_storage(report, root, base_dir);
    let dns = read_dns(report, root);
    let authentication = read_authentication(report, root);
    let limits = limits::read(report, root);
    let policy_section = root.section(report, "policy");
    let policy = policy::read(report, &policy_section);
    let domains = domains::read(report, root, &policy_section);
    let rules = read_rules(report, root, base_dir);
    let log = read_log(report, root);
    let config = Config {
        hostname: hostname?,
        listen,
        tls,
        storage: storage?,
        dns,
        authentication: authentication?,
        domains,
        limits: limits?,
        policy: policy?,
        rules,
        log: log?,
    };
    domains::check_maildirs(report, root, &config);
    Some(config)
}

/// Reports every name that the table of keys does not have.
fn check_names(report: &mut Report, section: &Section<'_>, schema: &str) {
    for (name, at, value) in section.entries() {
        let full_name = if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") };
        let below = format!("{full_name}.");
        match full_name.as_str() {
            "domains" => {
                for (_, _, domain) in Section::of(report, &value).entries() {
                    check_names_below(report, &domain, "domains.*");
                }
            }
            "domains.*.policy" => check_names_below(report, &value, "policy"),
            // A quoted name with dots in it looks like a key of another section, and would never be found there.
            _ if name.contains('.') => report.error(at, unknown_name(schema, name, &value.name)),
            full_name if keys::find(full_name).is_some() => {}
            full_name if keys::KEYS.iter().any(|key| key.name.starts_with(&below)) => {
                check_names_below(report, &value, full_name);
            }
            _ => report.error(at, unknown_name(schema, name, &value.name)),
        }
    }
}

fn check_names_below(report: &mut Report, value: &Value<'_>, schema: &str) {
    let section = Section::of(report, value);
    check_names(report, &section, schema);
}

fn unknown_name(schema: &str, name: &str, full_name: &str) -> String {
    match keys::suggestion(schema, name) {
        Some(suggestion) => format!("{full_name}: there is no such key. Did you mean {suggestion}?"),
        None => {
            let names: Vec<_> = keys::names_in(schema).collect();
            format!("{full_name}: there is no such key. Here may stand: {}.", names.join(", "))
        }
    }
}

fn read_listen(report: &mut Report, root: &Section<'_>) -> Listen {
    let section = root.section(report, "listen");
    let errors_before = report.errors();
    let smtp = list(report, &section, "smtp", listen_address);
    if let (true, Some(value)) = (smtp.is_empty() && report.errors() == errors_before, section.value("smtp")) {
        value.error(report, "the list is empty, so that no mail could arrive. Write an address such as \"[::]:25\".");
    }
    let smtps = list(report, &section, "smtps", listen_address);
    let trusted_relays = list(report, &section, "trusted_relays", Network::from_str);
    let proxy_protocol_from = list(report, &section, "proxy_protocol_from", Network::from_str);
    let xclient_from = list(report, &section, "xclient_from", Network::from_str);
    Listen { smtp, smtps, proxy_protocol_from, xclient_from, trusted_relays }
}

/// What would only be found when the service starts: TLS without a certificate, and one address named twice.
fn check_listen(report: &mut Report, root: &Section<'_>, listen: &Listen) {
    let section = root.section(report, "listen");
    let has_tls = root.section(report, "tls").is_present();
    let mut taken = BTreeSet::new();
    for (name, addresses) in [("smtp", &listen.smtp), ("smtps", &listen.smtps)] {
        let Some(value) = section.value(name) else { continue };
        // The system chooses another port for each 0.
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if !taken.insert(address) {
                value.error(report, format!("{address} is named twice. Name it once, in listen.smtp or listen.smtps."));
            }
        }
        if name == "smtps" && !addresses.is_empty() && !has_tls {
            value.error(report, "there is no certificate for it. Add [tls] with certificate and key.");
        }
    }
}

fn read_storage(report: &mut Report, root: &Section<'_>, base_dir: &Path) -> Option<Storage> {
    let section = root.section(report, "storage");
    const LINE_ENDINGS: &[(&str, LineEndings)] = &[("lf", LineEndings::Lf), ("crlf", LineEndings::Crlf)];
    let mail = section.value("mail").and_then(|value| value.parsed(report, MailTemplate::from_str));
    let state = section.value("state").and_then(|value| value.parsed(report, |text| path(text, base_dir)));
    let line_endings = section.value("line_endings").and_then(|value| value.choice(report, LINE_ENDINGS));
    Some(Storage { mail: mail?, state: state?, line_endings: line_endings? })
}

fn read_dns(report: &mut Report, root: &Section<'_>) -> Dns {
    let section = root.section(report, "dns");
    Dns { servers: list(report, &section, "servers", dns_server) }
}

fn read_authentication(report: &mut Report, root: &Section<'_>) -> Option<Authentication> {
    let section = root.section(report, "authentication");
    let mut switch = |name| section.value(name).and_then(|value| value.switch(report));
    let (received_spf, count_body_length) = (switch("received_spf"), switch("count_body_length"));
    Some(Authentication { received_spf: received_spf?, count_body_length: count_body_length? })
}

fn read_rules(report: &mut Report, root: &Section<'_>, base_dir: &Path) -> Rules {
    let section = root.section(report, "rules");
    Rules { paths: list(report, &section, "paths", |text| path(text, base_dir)) }
}

fn read_log(report: &mut Report, root: &Section<'_>) -> Option<Log> {
    let section = root.section(report, "log");
    const FORMAT: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    Some(Log { format: section.value("format")?.choice(report, FORMAT)? })
}

/// The elements of a list, each read by `read`; those that can't be are reported.
fn list<T>(report: &mut Report, section: &Section<'_>, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let elements = section.value(name).map(|value: Value<'_>| value.list(report)).unwrap_or_default();
    elements.iter().filter_map(|element| element.parsed(report, &read)).collect()
}

/// Port 0 is allowed: the system then chooses one, and the server says which.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let text = text.escape_debug();
        format!("\"{text}\" is not an address and port. Write one such as \"192.0.2.1:25\" or \"[::]:25\".")
    })
}

fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    let server = text.parse().or_else(|_| bare()).ok().filter(|server: &SocketAddr| server.port() != 0);
    server.ok_or_else(|| {
        let text = text.escape_debug();
        format!("\"{text}\" is not a name server's address. Write one such as \"127.0.0.1\" or \"127.0.0.1:5353\".")
    })
}
