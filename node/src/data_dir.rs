//! The data directory of a daemon: its lock, its key, its place, the administrator's token.
//!
//! Owns the files `lock`, `key`, `place` and `admin-token`. Never: blocks and indexes, which the disk driver keeps.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use node::access;
use node::net::identity::{self, SecretKey};

/// How often, and how far apart, a lock is tried that somebody holds: a second in all.
const LOCK_TRIES: u32 = 20;
/// The file of the administrator's token, which the client on this machine looks for.
const ADMIN_TOKEN: &str = "admin-token";

/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A data directory that this process alone uses, for as long as the value lives.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes a data directory, making it when it is missing.
    ///
    /// # Errors
    /// It cannot be made, or another daemon uses it.
    pub(super) fn take(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("cannot open the lock in {}", path.display()))?;
        match lock_patiently(&lock) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another daemon uses the data directory {}; stop it, or give this one its own with --data-dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the key of this peer, made at the first call for this directory.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub(super) fn key(&self) -> anyhow::Result<SecretKey> {
        let path = self.path.join("key");
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| {
                    anyhow::anyhow!(
                        "{} is no key: it has {} bytes, not 32",
                        path.display(),
                        bytes.len()
                    )
                })?;
                Ok(SecretKey::from_bytes(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = identity::generate();
                self.write_new("key", key.as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Returns the administrator's token of the cluster that this directory founds, made at the first call.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn admin_token(&self) -> anyhow::Result<String> {
        if let Some(token) = self.known_admin_token()? {
            return Ok(token);
        }
        let token = access::new_token();
        self.write_new(ADMIN_TOKEN, format!("{token}\n").as_bytes())?;
        Ok(token)
    }

    fn known_admin_token(&self) -> anyhow::Result<Option<String>> {
        let path = self.path.join(ADMIN_TOKEN);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Checks that this directory lies where its key was made, and takes note of the place at the first call.
    ///
    /// Two peers with one identity would both vote in its name, and acknowledged writes would be lost; an old
    /// copy would vote as if it had never promised what it promised since. `is_moved`: its owner says that
    /// this is the only copy, and the latest.
    ///
    /// # Errors
    /// It is a copy of another directory, or its files cannot be read or written.
    pub(super) fn check_place(&self, is_moved: bool) -> anyhow::Result<()> {
        let key = self.path.join("key");
        let seen = fs::metadata(&key).with_context(|| format!("cannot read {}", key.display()))?;
        let born = seen.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born_nanos = born.map_or(0, |age| age.as_nanos());
        let here = format!("{} {born_nanos}\n", seen.ino());
        let path = self.path.join("place");
        match fs::read_to_string(&path) {
            Ok(known) if known == here => Ok(()),
            Ok(_) if !is_moved => bail!(
                "the data directory {} is a copy of another one, or was restored from one: a peer that ran twice, or \
                 came back from the past, would lose what its cluster acknowledged. If the original is gone for good \
                 and this is its latest state, start once with --moved; else give this peer an empty directory and a \
                 new ticket",
                self.path.display()
            ),
            Ok(_) => self.write_new("place", here.as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.write_new("place", here.as_bytes())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes a file whole and durably, or not at all.
    fn write_new(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, beside) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Locks a file, allowing a daemon that was just killed the moment in which the kernel ends its threads.
fn lock_patiently(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    lock.try_lock()
}

/// Returns a name for a cluster that nobody named, so that two such never meet by accident.
pub(super) fn new_cluster_name() -> String {
    let mut bytes = [0; 4];
    node::env::real::fill(&mut bytes);
    format!("cluster-{:08x}", u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::DataDir;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_serves_one_daemon_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::take(&path).unwrap();
        let error = DataDir::take(&path).unwrap_err().to_string();
        assert!(error.contains("another daemon uses"), "{error}");
        drop(first);
        DataDir::take(&path).unwrap();
    }

    #[test]
    fn key_and_token_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        assert_eq!(data.key().unwrap().as_bytes(), data.key().unwrap().as_bytes());
        assert_eq!(data.admin_token().unwrap(), data.admin_token().unwrap());
        let mode = std::fs::metadata(dir.path().join("admin-token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join("key"), b"short").unwrap();
        assert!(data.key().unwrap_err().to_string().contains("is no key"));
    }

    #[test]
    fn a_copied_directory_is_refused_until_its_owner_says_that_it_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let data = DataDir::take(&old).unwrap();
        data.key().unwrap();
        data.check_place(false).unwrap();
        data.check_place(false).unwrap();
        drop(data);
        std::fs::create_dir(&new).unwrap();
        for file in ["key", "place"] {
            std::fs::copy(old.join(file), new.join(file)).unwrap();
        }
        let copy = DataDir::take(&new).unwrap();
        let error = copy.check_place(false).unwrap_err().to_string();
        assert!(error.contains("is a copy of another one"), "{error}");
        copy.check_place(true).unwrap();
        copy.check_place(false).unwrap();
        drop(copy);
        // Renamed in place it is still the same one.
        std::fs::rename(&old, dir.path().join("renamed")).unwrap();
        DataDir::take(&dir.path().join("renamed")).unwrap().check_place(false).unwrap();
    }
}
