//! A small device: a file system in memory that is mounted for a scenario.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

/// The name of the file that fills the device.
const BALLAST: &str = "ballast";

/// A mounted device, unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Tmpfs(TempDir);

impl Tmpfs {
    /// Mounts a device of so many bytes, or returns `None` where that is not allowed.
    pub(super) fn mount(folder: TempDir, bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "shoal-chaos"])
            .arg(folder.path());
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_mounted.then_some(Self(folder))
    }

    /// Returns where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join(BALLAST)
    }

    /// Takes all bytes of the device but so many.
    ///
    /// # Errors
    /// It cannot be written for another reason than being full.
    pub(super) fn fill(&self, bytes_left: u64) -> anyhow::Result<()> {
        let mut file = File::create(self.ballast())?;
        let space = rustix::fs::statvfs(self.path())?;
        let mut wanted = (space.f_bavail * space.f_frsize).saturating_sub(bytes_left);
        let piece = vec![0x55; 64 << 10];
        while wanted > 0 {
            let bytes = usize::try_from(wanted.min(piece.len() as u64))?;
            match file.write_all(&piece[..bytes]) {
                Ok(()) => wanted -= bytes as u64,
                // Somebody else took the rest.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("cannot fill the device"),
            }
        }
        Ok(())
    }

    /// Gives back what [`Self::fill`] took.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn relieve(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("cannot empty the device")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that still ends may have files open, and the folder must go.
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}
