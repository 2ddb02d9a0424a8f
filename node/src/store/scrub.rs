//! What a scrub reads by: the blocks in the order of their names, and the place in it that it keeps.
//!
//! Owns nothing. Never: says what is read when; changes a block.

use bytes::Bytes;
use protocol::Cid;
use protocol::index::{self, Place, footprint};

use super::error::StoreError;
use super::handle::Store;
use crate::env::{Batch, Disk, Durability, Env, Map};

/// A block of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Its name.
    pub cid: Cid,
    /// Bytes that it takes on the disk; `None` for one that was found corrupt.
    pub bytes: Option<u64>,
}

impl<E: Env> Store<E> {
    /// Returns the blocks that come after `after` in the order of their names, at most `limit`, corrupt ones among
    /// them: all of them, page by page.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn blocks_after(
        &self,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<Indexed>, StoreError> {
        self.shared.check()?;
        let from = after.map_or_else(Bytes::new, |after| index::behind(&index::block_key(&after)));
        let found = self.shared.env.disk().scan(Map::Blocks, from, None, limit).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        let indexed = found.into_iter().filter_map(|(key, value)| {
            let place = Place::decode(&value)?;
            let bytes = place.is_held().then(|| footprint(place.block_bytes()));
            Some(Indexed { cid: index::block_in(&key)?, bytes })
        });
        Ok(indexed.collect())
    }

    /// Tells once more that a block is corrupt, if it still is.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn tell_corrupt(&self, cid: Cid) -> Result<(), StoreError> {
        if self.shared.lookup(&cid).await? == Some(Place::Corrupt) {
            self.shared.tell_corrupt(cid);
        }
        Ok(())
    }

    /// Returns the place of a scrub as it was kept last.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn scrub_place(&self) -> Result<Option<Bytes>, StoreError> {
        self.shared.check()?;
        let kept = self.shared.env.disk().get(Map::Segments, scrub_key()).await;
        kept.map_err(|error| self.shared.noted(error))
    }

    /// Keeps the place of a scrub. It is no harm if a crash takes it back.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn keep_scrub_place(&self, place: Bytes) -> Result<(), StoreError> {
        self.shared.check()?;
        let mut batch = Batch::default();
        batch.put(Map::Segments, scrub_key(), place);
        // Past the writer: no other change reads or writes this key.
        let written = self.shared.env.disk().write(batch, Durability::Buffered).await;
        written.map_err(|error| self.shared.noted(error))
    }
}

fn scrub_key() -> Bytes {
    Bytes::from_static(index::SCRUB_KEY)
}
