//! The data directory of a daemon: its lock, its key, the name of its cluster.
//!
//! Owns the files `lock`, `key` and `cluster`. Never: blocks and indexes, which the disk driver keeps.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use node::net::identity::{self, SecretKey};
use protocol::ClusterId;

/// How often, and how far apart, a lock is tried that somebody holds: a second in all.
const LOCK_TRIES: u32 = 20;
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

    /// Returns the name of this directory's cluster: the one it was made for, else `wanted`, else a new one.
    ///
    /// # Errors
    /// It was made for another cluster than `wanted`, or the file cannot be read or written.
    pub(super) fn cluster(&self, wanted: Option<&str>) -> anyhow::Result<String> {
        let path = self.path.join("cluster");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let name = text.trim().to_owned();
                match wanted {
                    Some(wanted) if wanted != name => bail!(
                        "the data directory {} belongs to cluster {name}, not {wanted}; give this daemon its own with --data-dir",
                        self.path.display()
                    ),
                    Some(_) | None => Ok(name),
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let name = wanted.map_or_else(new_name, ToOwned::to_owned);
                self.write_new("cluster", format!("{name}\n").as_bytes())?;
                Ok(name)
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
fn new_name() -> String {
    let mut bytes = [0; 4];
    node::env::real::fill(&mut bytes);
    format!("cluster-{:08x}", u32::from_le_bytes(bytes))
}

/// Returns the id of the cluster of this name.
pub(super) fn cluster_id(name: &str) -> ClusterId {
    let digest =
        *protocol::Cid::of(protocol::Codec::Raw, format!("shoal cluster {name}").as_bytes())
            .digest();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    ClusterId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::DataDir;

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
    fn key_and_cluster_are_kept_and_not_mixed_up() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        assert_eq!(data.key().unwrap().as_bytes(), data.key().unwrap().as_bytes());
        assert_eq!(data.cluster(Some("home")).unwrap(), "home");
        assert_eq!(data.cluster(None).unwrap(), "home");
        let error = data.cluster(Some("work")).unwrap_err().to_string();
        assert!(error.contains("belongs to cluster home"), "{error}");
        std::fs::write(dir.path().join("key"), b"short").unwrap();
        assert!(data.key().unwrap_err().to_string().contains("is no key"));
    }
}
