//! Reading blocks: past the writer, checked against their checksums.

use bytes::Bytes;
use protocol::Cid;
use protocol::index::{Place, block_key};
use protocol::record::{RECORD_HEADER_BYTES, RecordHeader, checksum};

use super::command::Command;
use super::error::StoreError;
use super::handle::{Shared, Store};
use super::segment;
use crate::env::{Disk, DiskError, DiskFile, Env, Map};

/// How often a block may move under a reader before it is taken for damaged.
const MOVES_MAX: usize = 8;

/// What was found at a place.
#[derive(Debug)]
pub(super) enum Found {
    /// The block, and the header of its record unless it is a small one.
    Whole(Option<RecordHeader>, Bytes),
    /// Something else than what was written, or nothing.
    Damaged,
}

impl<E: Env> Store<E> {
    /// Returns the bytes of a block as they were put, or `None` when it is not held. That they hash to `cid`
    /// is for the caller to check; a damaged disk is found here in all likelihood.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], until the block is written anew: it counts as not held; [`StoreError::Disk`];
    /// [`StoreError::Stopped`].
    pub async fn get(&self, cid: Cid) -> Result<Option<Bytes>, StoreError> {
        self.shared.check()?;
        let mut seen = None;
        for _ in 0..MOVES_MAX {
            let Some(place) = self.shared.lookup(&cid).await? else { return Ok(None) };
            if !place.is_held() {
                return Err(StoreError::Corrupt { cid });
            }
            if seen == Some(place) {
                break;
            }
            if let Found::Whole(_, bytes) = self.shared.read(&cid, place).await? {
                self.shared.metrics.read_bytes.inc_by(bytes.len() as u64);
                return Ok(Some(bytes));
            }
            // The block may have been moved or freed since it was looked up, and its file be gone: look again.
            seen = Some(place);
        }
        let marked = self.ask(|reply| Command::MarkCorrupt { cid, seen, reply }).await;
        if let Err(error) = marked {
            tracing::debug!(%cid, err = %error, "corrupt block was not marked");
        }
        Err(StoreError::Corrupt { cid })
    }
}

impl<E: Env> Shared<E> {
    /// Returns where a block lies.
    pub(super) async fn lookup(&self, cid: &Cid) -> Result<Option<Place>, StoreError> {
        let value = self.env.disk().get(Map::Blocks, block_key(cid)).await;
        let value = value.map_err(|error| self.noted(error))?;
        Ok(value.and_then(|value| Place::decode(&value)))
    }

    /// Returns what lies at a place.
    pub(super) async fn read(&self, cid: &Cid, place: Place) -> Result<Found, StoreError> {
        let read = match place {
            Place::Small { bytes, checksum } => self.read_small(cid, bytes, checksum).await,
            Place::Segment { number, offset, bytes } => {
                self.read_record(cid, number, offset, bytes).await
            }
            Place::Corrupt => Ok(Found::Damaged),
        };
        match read {
            Ok(found) => Ok(found),
            Err(DiskError::Missing { .. } | DiskError::Corrupt { .. }) => Ok(Found::Damaged),
            Err(error @ (DiskError::Full | DiskError::Failed { .. } | DiskError::Closed)) => {
                Err(self.noted(error))
            }
        }
    }

    async fn read_small(&self, cid: &Cid, bytes: u32, sum: u64) -> Result<Found, DiskError> {
        let value = self.env.disk().get(Map::Small, block_key(cid)).await?;
        Ok(value
            .filter(|value| value.len() as u64 == u64::from(bytes) && checksum(value) == sum)
            .map_or(Found::Damaged, |value| Found::Whole(None, value)))
    }

    async fn read_record(
        &self,
        cid: &Cid,
        number: u32,
        offset: u64,
        bytes: u32,
    ) -> Result<Found, DiskError> {
        let file = self.segment_file(number).await?;
        let record = file.read_at(offset, RECORD_HEADER_BYTES + bytes as usize).await?;
        let Ok(header) = RecordHeader::decode(&record) else { return Ok(Found::Damaged) };
        let payload = record.slice(RECORD_HEADER_BYTES..);
        if header.cid != *cid || header.payload_bytes != bytes || !header.fits(&payload) {
            return Ok(Found::Damaged);
        }
        Ok(Found::Whole(Some(header), payload))
    }

    /// Returns a segment's file, open for reading.
    pub(super) async fn segment_file(
        &self,
        number: u32,
    ) -> Result<<E::Disk as Disk>::File, DiskError> {
        if let Some(file) = self.open_files().get(&number) {
            return Ok(file.clone());
        }
        let file = self.env.disk().open(&segment::name_of(number), false).await?;
        self.open_files().put(number, file.clone());
        Ok(file)
    }

    /// Returns the files open for reading. Held for a few lines only.
    pub(super) fn open_files(
        &self,
    ) -> std::sync::MutexGuard<'_, lru::LruCache<u32, <E::Disk as Disk>::File>> {
        // A panic elsewhere leaves the cache usable: it holds nothing but handles.
        self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
