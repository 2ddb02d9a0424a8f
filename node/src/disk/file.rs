//! Files of the data directory: written at an offset, synced on request.

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::Advice;

use super::driver::Opened;
use super::lane::Health;
use crate::env::{DiskError, DiskFile, Space};

/// Parts handed to one system call: what Linux takes at most.
const PARTS_MAX: usize = 1024;

/// Bytes written before the device is set to work on them: two blocks, an eighth of a group.
const RUN_BYTES: usize = 2 << 20;

/// An open file.
#[derive(Clone, Debug)]
pub struct RealFile {
    file: Arc<File>,
    opened: Opened,
}

impl RealFile {
    pub(super) fn new(file: File, opened: Opened) -> Self {
        Self { file: Arc::new(file), opened }
    }
}

impl DiskFile for RealFile {
    async fn write_at(&self, offset: u64, parts: Vec<Bytes>) -> Result<(), DiskError> {
        let file = Arc::clone(&self.file);
        self.opened
            .change(move |health| {
                write_parts(&file, offset, &parts).map_err(|e| health.of_write("write", &e))
            })
            .await
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let file = Arc::clone(&self.file);
        self.opened
            .read(move |health| read_part(&file, offset, len).map_err(|e| of_read(health, &e)))
            .await
    }

    async fn sync(&self) -> Result<(), DiskError> {
        let file = Arc::clone(&self.file);
        // Even a sync that fails for want of room may have dropped dirty pages: in doubt for ever.
        self.opened
            .change(move |health| {
                file.sync_data().map_err(|error| health.fail(format!("sync: {error}")))
            })
            .await
    }

    async fn len(&self) -> Result<u64, DiskError> {
        let file = Arc::clone(&self.file);
        self.opened
            .read(move |health| {
                let metadata = file.metadata().map_err(|error| of_read(health, &error))?;
                Ok(metadata.len())
            })
            .await
    }

    async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let file = Arc::clone(&self.file);
        self.opened
            .change(move |health| {
                file.set_len(len).map_err(|error| health.of_write("truncate", &error))?;
                file.sync_all().map_err(|error| health.fail(format!("sync: {error}")))
            })
            .await
    }
}

/// Returns the room on the device of `path`.
pub(super) fn space_at(path: &Path, health: &Health) -> Result<Space, DiskError> {
    let device =
        rustix::fs::statvfs(path).map_err(|error| health.of_write("space", &error.into()))?;
    Ok(Space {
        free_bytes: device.f_bavail.saturating_mul(device.f_frsize),
        total_bytes: device.f_blocks.saturating_mul(device.f_frsize),
    })
}

/// Returns the error of a read: a bad spot on the device leaves the rest of it readable.
fn of_read(health: &Health, error: &io::Error) -> DiskError {
    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        return DiskError::Corrupt { detail: error.to_string() };
    }
    health.fail(format!("read: {error}"))
}

/// Writes all parts without joining them first.
fn write_parts(file: &File, offset: u64, parts: &[Bytes]) -> io::Result<()> {
    let (mut at, mut rest) = (offset, parts);
    while !rest.is_empty() {
        let (run, others) = rest.split_at(run_of(rest));
        let end = write_run(file, at, run)?;
        if !others.is_empty() {
            begin_to_store(file, at, end - at);
        }
        (at, rest) = (end, others);
    }
    Ok(())
}

/// Returns how many of the parts are written before the device is set to work.
fn run_of(parts: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = parts.iter().take_while(|part| {
        let has_room = bytes < RUN_BYTES;
        bytes += part.len();
        has_room
    });
    fits.count().min(PARTS_MAX)
}

/// Writes some parts and returns where they end.
fn write_run(file: &File, offset: u64, parts: &[Bytes]) -> io::Result<u64> {
    let mut at = offset;
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match rustix::io::pwritev(file, rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}

/// Has the device begin to store a range that was written, while what follows it is copied: the sync at the
/// end of a group then waits for its last run instead of for all of it. Pages that are stored by then leave
/// the page cache, as cold as they were before.
fn begin_to_store(file: &File, offset: u64, bytes: u64) {
    // A hint: what the kernel makes of it decides about speed only.
    rustix::fs::fadvise(file, offset, NonZeroU64::new(bytes), Advice::DontNeed).ok();
}

/// Reads `len` bytes, fewer where the file ends.
fn read_part(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes.into())
}
