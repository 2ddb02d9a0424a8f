//! A file that is not finished: beside its target, under a name of its own, until it is whole.
//!
//! Its name is made of target and CID, so that the next download of the same finds it; a lock keeps two at
//! once apart. Owns the open file. Never: touches the target before the last byte is on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::{Fault, Kind};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};

use crate::failure::io_fault;

/// Longest file name of common file systems, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Fails if something is at `target` that may not be replaced.
///
/// # Errors
/// [`Kind::Conflict`]; [`Kind::Invalid`] if it is no path of a file.
pub(crate) fn check_target(target: &Path, force: bool) -> Result<(), Fault> {
    let refuse = |kind, why: &str| {
        Err(Fault::new(kind, format!("cannot write {}: {why}", target.display())))
    };
    if target.file_name().is_none() || target.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refuse(Kind::Invalid, "name a file, not a directory");
    }
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_fault("cannot write", target, &error)),
        Ok(found) if found.is_dir() => refuse(
            Kind::Conflict,
            "a directory is there, which is never replaced; choose another name",
        ),
        Ok(found) if !found.is_file() && !found.is_symlink() => refuse(
            Kind::Conflict,
            "a device, a pipe or a socket is there, which is never replaced; write to it with shoal cat",
        ),
        Ok(_) if force => Ok(()),
        Ok(_) => {
            refuse(Kind::Conflict, "it exists; choose another name, or replace it with --force")
        }
    }
}

/// Returns the directory that `target` is in.
pub(crate) fn parent_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// An unfinished file, locked.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Part {
    /// Opens the unfinished file of `target`, or starts one. `what`: tells contents apart, such as the CID.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another process is at it, and those of opening.
    pub(crate) fn open(target: &Path, what: &str) -> Result<Self, Fault> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut own_name = format!(".{name}.{what}.part");
        if own_name.len() > NAME_BYTES_MAX {
            own_name = format!(".{what}.part");
        }
        let path = parent_of(target).join(own_name);
        let failed = |error: rustix::io::Errno| io_fault("cannot write", &path, &error.into());
        let busy = || {
            let detail =
                format!("cannot write {}: another download is writing it", target.display());
            Fault::new(Kind::Conflict, detail)
        };
        // Not through a link that somebody put there.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666)).map_err(failed)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| busy())?;
        let file = File::from(file);
        // Between opening and locking, the one who held the lock may have given the file its final name.
        let seen =
            |result: io::Result<_>| result.map_err(|error| io_fault("cannot read", &path, &error));
        let opened = seen(file.metadata())?;
        let here = std::fs::symlink_metadata(&path).map_err(|_| busy())?;
        if (opened.dev(), opened.ino()) != (here.dev(), here.ino()) {
            return Err(busy());
        }
        if opened.uid() != rustix::process::geteuid().as_raw() || !opened.is_file() {
            let detail = format!("cannot write {}: it belongs to somebody else", path.display());
            return Err(Fault::new(Kind::Conflict, detail));
        }
        Ok(Self { file, path, target: target.to_owned() })
    }

    /// Returns how many bytes are in it.
    ///
    /// # Errors
    /// As looking at the file does.
    pub(crate) fn bytes(&self) -> Result<u64, Fault> {
        let seen = self.file.metadata();
        seen.map(|seen| seen.len()).map_err(|error| io_fault("cannot read", &self.path, &error))
    }

    /// Returns another handle of the open file.
    ///
    /// # Errors
    /// As the system does.
    pub(crate) fn handle(&self) -> Result<File, Fault> {
        self.file.try_clone().map_err(|error| io_fault("cannot write", &self.path, &error))
    }

    /// Empties it.
    ///
    /// # Errors
    /// As the system does.
    pub(crate) fn clear(&self) -> Result<(), Fault> {
        self.file.set_len(0).map_err(|error| io_fault("cannot write", &self.path, &error))
    }

    /// Makes it durable and gives it its name. Without `force`, nothing that has come to be there is replaced.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if something is there; those of the system.
    pub(crate) fn commit(self, force: bool) -> Result<(), Fault> {
        let named = self.file.sync_all().and_then(|()| {
            if force {
                std::fs::rename(&self.path, &self.target)
            } else {
                rename_new(&self.path, &self.target)
            }
        });
        if let Err(error) = named {
            let fault = io_fault("cannot write", &self.target, &error);
            self.discard();
            return Err(fault);
        }
        sync_parent(&self.target)
    }

    /// Removes it.
    pub(crate) fn discard(self) {
        // If that fails, the next download of the same uses it or cuts it.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Renames `from` to `to`, unless something is there.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and those of the system.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag. A link fails if the name is taken, too.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP)
            if !from.is_dir() =>
        {
            rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Makes the name of `target` durable.
///
/// # Errors
/// Those of the system.
pub(crate) fn sync_parent(target: &Path) -> Result<(), Fault> {
    let parent = parent_of(target);
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io_fault("cannot make durable", parent, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use protocol::Kind;

    use super::{Part, check_target, rename_new};

    #[test]
    fn what_came_to_be_at_the_target_meanwhile_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        let part = Part::open(&target, "cid").unwrap();
        part.handle().unwrap().write_all(b"new").unwrap();
        fs::write(&target, b"somebody else's").unwrap();
        assert_eq!(part.commit(false).unwrap_err().kind, Kind::Conflict);
        assert_eq!(fs::read(&target).unwrap(), b"somebody else's");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_not_replaced_even_if_it_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        assert!(rename_new(&from, &to).is_err());
        fs::remove_dir(&to).unwrap();
        rename_new(&from, &to).unwrap();
    }

    #[test]
    fn two_downloads_of_the_same_do_not_write_one_file() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        let first = Part::open(&target, "cid").unwrap();
        assert_eq!(Part::open(&target, "cid").unwrap_err().kind, Kind::Conflict);
        first.commit(false).unwrap();
        assert!(target.exists());
        assert_eq!(check_target(&target, false).unwrap_err().kind, Kind::Conflict);
        check_target(&target, true).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_unfinished_file_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, home.path().join(".target.cid.part")).unwrap();
        assert!(Part::open(&home.path().join("target"), "cid").is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
