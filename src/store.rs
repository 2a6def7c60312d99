//! State: small records that survive a restart, in an embedded RocksDB. The only module that names it.
//!
//! *Does:* get, put, delete, atomic batches and iteration, by [`Table`]. A value's first octet is its record's version, and
//! belongs to the record's owner.
//! *Guarantees:* what was written survives the death of the process. It does **not** survive a power cut for certain: no
//! write is synced, because the store never holds the only copy of anybody's mail, and losing its last seconds costs at
//! most a second copy of a message or a sender's reputation. A damaged database is moved aside, loudly, and replaced by an
//! empty one; a database that is locked, out of reach or on a full disk is not damaged, and stays where it is. When a full
//! disk has room again, writes work again within seconds.
//! *Never does:* run our code inside RocksDB (no merge operator, no compaction filter: a panic must not cross C++).
//! *All calls block;* they belong on a blocking thread.
//! *Fails with:* [`StoreError`]. Damage may be found as late as on a read. To whoever asked, a failing read means
//! "unknown": they log it and go on.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Env,
    ErrorKind, IteratorMode, LogLevel, Options, WriteBatch,
};

/// What is read from disk and kept in memory, in octets, over all tables.
const BLOCK_CACHE_OCTETS: usize = 4 << 20;
/// What one table collects in memory before it writes a file, in octets.
const WRITE_BUFFER_OCTETS: usize = 4 << 20;
/// The write-ahead log's bound in octets: so much is read back at a start after a crash.
const LOG_OCTETS_MAX: u64 = 16 << 20;

/// The system's words for a full disk and for a quota that is used up.
const NO_SPACE: &str = "No space left on device";
const NO_QUOTA: &str = "Disk quota exceeded";

/// The tables, each a column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Deliveries whose reply the sender may not have seen: the ledger.
    Ledger,
    /// DMARC records that could not be looked up: [`crate::reputation::deferral`].
    Deferrals,
}

impl Table {
    const ALL: [Table; 2] = [Table::Ledger, Table::Deferrals];

    fn name(self) -> &'static str {
        match self {
            Table::Ledger => "ledger",
            Table::Deferrals => "deferrals",
        }
    }
}

/// The open store. Clones are cheap and mean the same store; the last one closes it.
#[derive(Clone)]
pub struct Store {
    database: Arc<DB>,
}

/// A damaged database was found: where it is now. Nothing in it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedAside {
    /// Its new directory.
    pub to: PathBuf,
    /// What RocksDB said.
    pub cause: String,
}

/// Why the store cannot be opened, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {} is in use by another process ({cause}). Is mxkeep running already? Stop it first, or name another storage.state", dir.display())]
    Locked {
        /// The database's directory.
        dir: PathBuf,
        /// What RocksDB said.
        cause: String,
    },
    /// It cannot be read or written for a reason outside of it: permissions, a full disk, too many open files.
    #[error(
        "the store {} cannot be used: {cause}. It must be a directory that mxkeep's user may write to, on a disk with room",
        dir.display()
    )]
    OutOfReach {
        /// The database's directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It is damaged, and cannot be moved aside.
    #[error("the store {} is damaged ({cause}) and cannot be moved aside: {error}. Move it away yourself; no mail is in it", dir.display())]
    Stuck {
        /// The database's directory.
        dir: PathBuf,
        /// What RocksDB said.
        cause: String,
        /// Why the directory could not be renamed.
        error: io::Error,
    },
    /// A read or write failed.
    #[error("the store did not answer: {0}")]
    Failed(String),
}

impl StoreError {
    /// Is a full disk (or quota) all that is wrong?
    pub fn is_disk_full(&self) -> bool {
        let says_so = |cause: &str| cause.contains(NO_SPACE) || cause.contains(NO_QUOTA);
        matches!(self, StoreError::OutOfReach { cause, .. } if says_so(cause))
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        StoreError::Failed(error.into_string())
    }
}

impl Store {
    /// Opens the database in `dir`, a directory of its own, and creates what is missing. If it is damaged it goes to
    /// `<dir>.damaged-<time>` and an empty one takes its place.
    pub fn open(dir: &Path) -> Result<(Store, Option<MovedAside>), StoreError> {
        let out_of_reach = |error: io::Error| StoreError::OutOfReach { dir: dir.into(), cause: error.to_string() };
        make_dir(dir).map_err(out_of_reach)?;
        let error = match open_database(dir, &options()) {
            Ok(database) => return Ok((Store { database: Arc::new(database) }, None)),
            Err(error) => error,
        };
        if let Some(error) = not_damage(dir, &error) {
            return Err(error);
        }
        let moved = move_aside(dir, error.into_string())?;
        tracing::error!(store = %dir.display(), moved_to = %moved.to.display(), cause = moved.cause,
            "the store is damaged: it was moved aside and a new one begun; no mail is lost by this, \
             but a sender's retry may make a second copy");
        let database = open_database(dir, &options())
            .map_err(|error| not_damage(dir, &error).unwrap_or_else(|| StoreError::Failed(error.into_string())))?;
        Ok((Store { database: Arc::new(database) }, Some(moved)))
    }

    /// A store in memory that forgets everything when it is closed: for a server that has to start although the disk of
    /// its state, `dir`, is full.
    pub fn in_memory(dir: &Path) -> Result<Store, StoreError> {
        let mut options = options();
        options.set_env(&Env::mem_env()?);
        // The binding makes the directory on disk first: one that is there needs no room.
        let there = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        Ok(Store { database: Arc::new(open_database(there, &options)?) })
    }

    /// The value of `key`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.database.get_cf(self.family(table)?, key)?)
    }

    /// Sets the value of `key`.
    pub fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Ok(self.database.put_cf(self.family(table)?, key, value)?)
    }

    /// Removes `key`; it need not be there.
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        Ok(self.database.delete_cf(self.family(table)?, key)?)
    }

    /// Begins a set of changes that will happen together or not at all.
    pub fn batch(&self) -> Batch<'_> {
        Batch { store: self, changes: WriteBatch::default() }
    }

    /// All records in the order of their keys, as they stand now. Ends behind the first error.
    pub fn iterate(&self, table: Table) -> Result<impl Iterator<Item = Result<Record, StoreError>> + '_, StoreError> {
        let records = self.database.iterator_cf(self.family(table)?, IteratorMode::Start);
        Ok(records.map(|record| record.map_err(StoreError::from)))
    }

    fn family(&self, table: Table) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Failed(format!("there is no table {}", table.name()));
        self.database.cf_handle(table.name()).ok_or_else(missing)
    }
}

/// A key and its value.
pub type Record = (Box<[u8]>, Box<[u8]>);

/// Changes that happen together or not at all, once [`Batch::write`] is called.
#[must_use = "a batch does nothing until it is written"]
pub struct Batch<'a> {
    store: &'a Store,
    changes: WriteBatch,
}

impl Batch<'_> {
    /// Will set the value of `key`.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.changes.put_cf(self.store.family(table)?, key, value);
        Ok(())
    }

    /// Will remove `key`.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.changes.delete_cf(self.store.family(table)?, key);
        Ok(())
    }

    /// Makes all the changes.
    pub fn write(self) -> Result<(), StoreError> {
        match self.changes.is_empty() {
            true => Ok(()),
            false => Ok(self.store.database.write(self.changes)?),
        }
    }
}

/// Only mxkeep's user may look: who wrote to whom is private.
fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn open_database(dir: &Path, options: &Options) -> Result<DB, rocksdb::Error> {
    let ours = Table::ALL.map(Table::name);
    // RocksDB makes this one by itself, with a write buffer of 64 MiB; and only with as much room as the largest write
    // buffer takes does it work again after the disk was full.
    let mut names = vec!["default".to_owned()];
    names.extend(ours.map(str::to_owned));
    // A newer mxkeep may have made tables that this one does not know: RocksDB wants them all opened.
    let found = DB::list_cf(options, dir).unwrap_or_default();
    names.extend(found.into_iter().filter(|name| name != "default" && !ours.contains(&name.as_str())));
    let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    DB::open_cf_descriptors(options, dir, families)
}

/// A small footprint: two background threads, little memory, a bounded log, no statistics.
fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_OCTETS));
    blocks.set_bloom_filter(10.0, false);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(2);
    options.set_write_buffer_size(WRITE_BUFFER_OCTETS);
    options.set_max_total_wal_size(LOG_OCTETS_MAX);
    // A log that breaks off, or is garbage from some point on, is good up to there.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// The error to report if this failure to open says nothing against the database itself. RocksDB tells these apart in
/// text only: the system's own words, which no locale changes here.
fn not_damage(dir: &Path, error: &rocksdb::Error) -> Option<StoreError> {
    const OUT_OF_REACH: [&str; 8] = [
        "Permission denied",
        "Operation not permitted",
        NO_SPACE,
        NO_QUOTA,
        "Read-only file system",
        "Too many open files",
        "Cannot allocate memory",
        "File too large",
    ];
    let cause = error.as_ref();
    let says = |text: &str| cause.contains(text);
    if error.kind() != ErrorKind::IOError {
        return None;
    }
    if says("lock hold by") || says("Resource temporarily unavailable") {
        return Some(StoreError::Locked { dir: dir.into(), cause: cause.into() });
    }
    let out_of_reach = OUT_OF_REACH.into_iter().any(says);
    out_of_reach.then(|| StoreError::OutOfReach { dir: dir.into(), cause: cause.into() })
}

fn move_aside(dir: &Path, cause: String) -> Result<MovedAside, StoreError> {
    let mut to = dir.as_os_str().to_owned();
    to.push(format!(".damaged-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%6fZ")));
    let to = PathBuf::from(to);
    let moved = fs::rename(dir, &to).and_then(|()| make_dir(dir));
    match moved {
        Ok(()) => Ok(MovedAside { to, cause }),
        Err(error) => Err(StoreError::Stuck { dir: dir.into(), cause, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn open(dir: &Path) -> (Store, Option<MovedAside>) {
        Store::open(dir).unwrap()
    }

    /// A store with records in its files and more in its log.
    fn filled(dir: &Path) {
        let (store, _) = open(dir);
        for n in 0u32..2000 {
            store.put(Table::Ledger, &n.to_be_bytes(), &[1; 40]).unwrap();
        }
        store.database.flush_cf(store.family(Table::Ledger).unwrap()).unwrap();
        store.put(Table::Deferrals, b"in the log", b"1").unwrap();
    }

    #[test]
    fn records_live_in_their_table_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let (store, moved) = open(dir.path());
        assert_eq!(moved, None);
        store.put(Table::Ledger, b"a", b"1").unwrap();
        let mut batch = store.batch();
        batch.put(Table::Deferrals, b"b", b"2").unwrap();
        batch.put(Table::Deferrals, b"c", b"3").unwrap();
        batch.delete(Table::Ledger, b"a").unwrap();
        batch.write().unwrap();
        drop(store);
        let (store, _) = open(dir.path());
        assert_eq!(store.get(Table::Ledger, b"a").unwrap(), None);
        assert_eq!(store.get(Table::Deferrals, b"b").unwrap().as_deref(), Some(&b"2"[..]));
        let keys: Vec<_> = store.iterate(Table::Deferrals).unwrap().map(|record| record.unwrap().0).collect();
        assert_eq!(keys, [Box::from(&b"b"[..]), Box::from(&b"c"[..])]);
        store.delete(Table::Deferrals, b"b").unwrap();
        assert_eq!(store.get(Table::Deferrals, b"b").unwrap(), None);
    }

    #[test]
    fn tables_of_a_newer_version_are_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["ledger", "deferrals", "from the future"];
        drop(DB::open_cf(&options(), dir.path(), names).unwrap());
        assert_eq!(open(dir.path()).1, None);
    }

    /// Whatever file is garbage: the store opens, and answers or says that it cannot.
    #[test]
    fn garbage_in_any_file_costs_at_most_the_records() {
        let parent = tempfile::tempdir().unwrap();
        for (kind, must_move) in [
            ("CURRENT", true),
            ("MANIFEST-", true),
            (".sst", true),
            (".log", false),
            ("OPTIONS-", false),
            ("IDENTITY", false),
        ] {
            for garbage in [&b""[..], &[0xa5; 3000], b"MANIFEST-999999\n"] {
                let dir = parent.path().join(format!("{kind}{}", garbage.len()));
                filled(&dir);
                let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
                let mut damaged = 0;
                for file in files.filter(|path| path.to_str().unwrap().rsplit('/').next().unwrap().contains(kind)) {
                    fs::write(file, garbage).unwrap();
                    damaged += 1;
                }
                assert!(damaged > 0, "no {kind} file");
                let (store, moved) = open(&dir);
                assert!(!must_move || moved.is_some(), "{kind} with {} octets of garbage", garbage.len());
                if let Some(moved) = moved {
                    assert!(moved.to.is_dir());
                }
                store.put(Table::Ledger, b"k", b"v").unwrap();
                assert_eq!(store.get(Table::Ledger, b"k").unwrap().as_deref(), Some(&b"v"[..]));
            }
        }
    }

    #[test]
    fn damage_inside_a_file_is_an_error_on_read_and_no_wrong_answer() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let paths = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        for path in paths().filter(|path| path.extension().is_some_and(|ext| ext == "sst")) {
            let mut octets = fs::read(&path).unwrap();
            octets[..200].fill(0xa5);
            fs::write(path, octets).unwrap();
        }
        let (store, _) = open(dir.path());
        let answer = store.get(Table::Ledger, &0u32.to_be_bytes());
        assert!(matches!(answer, Err(StoreError::Failed(_))), "{answer:?}");
        assert!(store.get(Table::Ledger, &1999u32.to_be_bytes()).unwrap().is_some());
    }

    /// A file system of this size, for as long as this lives; `None` without the right to mount one.
    struct SmallDisk(PathBuf);

    impl SmallDisk {
        fn mount(at: &Path, size: &str) -> Option<Self> {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", size, "mxkeep-test"]).arg(at);
            mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(at.into()))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }

    #[test]
    fn a_full_disk_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let Some(_disk) = SmallDisk::mount(dir.path(), "size=12k") else {
            eprintln!("skipped: mounting a small file system takes root");
            return;
        };
        let opened = Store::open(&dir.path().join("store")).err();
        assert!(opened.as_ref().is_some_and(StoreError::is_disk_full), "{opened:?}");
        let store = Store::in_memory(&dir.path().join("store")).unwrap();
        store.put(Table::Ledger, b"k", &[1; 100_000]).unwrap();
        assert_eq!(store.get(Table::Ledger, b"k").unwrap().map(|value| value.len()), Some(100_000));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_that_was_full_works_again() {
        let dir = tempfile::tempdir().unwrap();
        let Some(_disk) = SmallDisk::mount(dir.path(), "size=64m") else {
            eprintln!("skipped: mounting a small file system takes root");
            return;
        };
        let (store, _) = open(&dir.path().join("store"));
        fs::write(dir.path().join("ballast"), vec![0; 56 << 20]).unwrap();
        let filled = (0u32..3000).find(|n| store.put(Table::Ledger, &n.to_be_bytes(), &[0; 8192]).is_err());
        assert!(filled.is_some());
        fs::remove_file(dir.path().join("ballast")).unwrap();
        let start = std::time::Instant::now();
        while store.put(Table::Ledger, b"again", b"1").is_err() {
            assert!(start.elapsed().as_secs() < 30, "RocksDB looks for room every five seconds");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(store.get(Table::Ledger, b"again").unwrap().as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn a_lock_or_a_bad_place_is_no_damage() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("store");
        let (_store, _) = open(&dir);
        assert!(matches!(Store::open(&dir), Err(StoreError::Locked { .. })));
        fs::write(parent.path().join("file"), "x").unwrap();
        assert!(matches!(Store::open(&parent.path().join("file")), Err(StoreError::OutOfReach { .. })));
        assert!(matches!(Store::open(Path::new("/proc/nothing/here")), Err(StoreError::OutOfReach { .. })));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}
