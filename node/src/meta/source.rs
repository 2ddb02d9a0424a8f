//! The state of `protocol::metadata` as it lies on the disk: under the prefix of the generation that counts.
//!
//! Each snapshot that a peer takes over is written under a prefix of its own, so that it becomes the state by one
//! small write. Never: caches.

use bytes::Bytes;
use protocol::metadata::{Source, SourceError};
use protocol::raft::{Progress, decode};

use super::log::PROGRESS;
use crate::env::{DiskError, Map, MapReader};

/// Bytes of a prefix.
pub(super) const PREFIX_BYTES: usize = 4;

/// One generation of the state, over one unchanging state of the disk.
pub(super) struct Generation<'a> {
    reader: &'a dyn MapReader,
    number: u32,
}

impl<'a> Generation<'a> {
    /// Returns a generation.
    pub(super) fn new(reader: &'a dyn MapReader, number: u32) -> Self {
        Self { reader, number }
    }

    /// Returns which one it is.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Returns the generation that counts.
    ///
    /// # Errors
    /// [`DiskError`]
    pub(super) fn current(reader: &'a dyn MapReader) -> Result<Self, DiskError> {
        let progress = read_progress(reader)?;
        Ok(Self::new(reader, progress.generation))
    }
}

/// Returns how far the log was applied.
///
/// # Errors
/// [`DiskError`]
pub(super) fn read_progress(reader: &dyn MapReader) -> Result<Progress, DiskError> {
    let Some(bytes) = reader.get(Map::RaftState, PROGRESS)? else {
        return Ok(Progress::default());
    };
    decode("progress", &bytes).map_err(|error| DiskError::Corrupt { detail: error.to_string() })
}

/// Returns a key with the prefix of its generation.
pub(super) fn key_in(generation: u32, key: &[u8]) -> Bytes {
    let mut prefixed = Vec::with_capacity(PREFIX_BYTES + key.len());
    prefixed.extend_from_slice(&generation.to_be_bytes());
    prefixed.extend_from_slice(key);
    prefixed.into()
}

/// Returns the first key behind a generation.
pub(super) fn end_of(generation: u32) -> Bytes {
    match generation.checked_add(1) {
        Some(next) => key_in(next, &[]),
        // No key of the last generation is this long and high.
        None => Bytes::from_static(&[0xFF; 4_096]),
    }
}

fn failed(error: &DiskError) -> SourceError {
    SourceError { detail: error.to_string() }
}

impl Source for Generation<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError> {
        let key = key_in(self.number, key);
        self.reader.get(Map::Metadata, &key).map_err(|error| failed(&error))
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
        let from = key_in(self.number, from);
        let until = until.map_or_else(|| end_of(self.number), |until| key_in(self.number, until));
        let page = self.reader.scan(Map::Metadata, &from, Some(&until), limit);
        let page = page.map_err(|error| failed(&error))?;
        let stripped = |(key, value): (Bytes, Bytes)| (key.slice(PREFIX_BYTES..), value);
        Ok(page.into_iter().map(stripped).collect())
    }
}
