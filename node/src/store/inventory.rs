//! Inventories: who refers to which of the blocks that are held, in the order of blocks.
//!
//! The references from blocks begin with the block's digest, so that a partition is one range of keys. Not shown are
//! blocks found corrupt, of which there is nothing to give, and the owner of sixteen zero bytes, which stands for
//! whoever wrote a corrupt copy anew. Which blocks are roots is not told yet: nobody uses it, so no row has the mark.
//! Owns nothing. Never: changes a map; reads bytes of blocks.

use protocol::index::{self, Place};
use std::sync::Arc;

use bytes::Bytes;
use protocol::placement::Partition;
use protocol::repair::{Row, RowKey};
use protocol::{Cid, OwnerId};

use super::error::StoreError;
use super::handle::Store;
use crate::env::{Disk, DiskError, Env, Home, Map, MapReader};

/// References that one call looks at: some milliseconds, after which others may read.
const LOOKED_AT_MAX: usize = 4096;

/// References that are read at a time where all are wanted, and where those of some partitions are, of
/// which each may have few.
const READ_OF_ALL: usize = 1024;
/// See [`READ_OF_ALL`].
const READ_OF_SOME: usize = 64;

/// Which part of an inventory is wanted.
#[derive(Clone, Debug)]
pub struct RowsWanted {
    /// These partitions, in order; `None` for all.
    pub partitions: Option<Arc<[Partition]>>,
    /// Only what comes behind this row.
    pub after: Option<RowKey>,
    /// At most so many rows; at least one.
    pub limit: usize,
}

/// A part of an inventory.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// In the order of their keys.
    pub rows: Vec<Row>,
    /// Where to go on, if there may be more: behind this.
    pub next: Option<RowKey>,
}

impl RowsWanted {
    fn has(&self, partition: Partition) -> bool {
        self.partitions.as_ref().is_none_or(|all| all.binary_search(&partition).is_ok())
    }

    /// Returns where to begin reading, or `None` if nothing is wanted.
    fn begin(&self) -> Option<Bytes> {
        let first = match &self.partitions {
            Some(partitions) => index::references_from(*partitions.first()?),
            None => Bytes::from_static(index::REFERENCES),
        };
        let behind = self.after.map(|after| {
            let [key, _] = index::reference_keys(&after.cid, &after.owner);
            index::behind(&key)
        });
        Some(behind.map_or(first.clone(), |behind| behind.max(first)))
    }

    /// Returns where to read on behind a partition that is not wanted.
    fn skip(&self, unwanted: Partition) -> Option<Bytes> {
        let partitions = self.partitions.as_ref()?;
        let next = partitions.partition_point(|partition| *partition < unwanted);
        partitions.get(next).map(|partition| index::references_from(*partition))
    }
}

impl<E: Env> Store<E> {
    /// Returns rows of this peer's inventory, as of one moment: at most `limit`, and maybe fewer, or none, although
    /// there are more. Cost: a look into the index for each row, and for each partition asked for.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn rows(&self, wanted: RowsWanted) -> Result<Rows, StoreError> {
        self.shared.check()?;
        let disk = self.shared.env.disk();
        let rows = disk.query(Home::Blocks, move |reader| read(reader, &wanted)).await;
        rows.map_err(|error| self.shared.noted(error))
    }
}

fn read(reader: &dyn MapReader, wanted: &RowsWanted) -> Result<Rows, DiskError> {
    let (_, until) = index::range_of(index::REFERENCES);
    let at_a_time = if wanted.partitions.is_some() { READ_OF_SOME } else { READ_OF_ALL };
    let mut found = Rows::default();
    let mut block: Option<(Cid, Option<u32>)> = None;
    let (mut looked_at, mut last) = (0, wanted.after);
    let mut from = wanted.begin();
    while let Some(begin) = from.take() {
        let keys = reader.scan(Map::References, &begin, until.as_deref(), at_a_time)?;
        if keys.len() == at_a_time {
            from = keys.last().map(|(key, _)| index::behind(key));
        }
        for at in keys.iter().filter_map(|(key, _)| index::reference_in(key)) {
            let partition = Partition::of(&at.cid);
            if !wanted.has(partition) {
                from = wanted.skip(partition);
                break;
            }
            if found.rows.len() >= wanted.limit || looked_at >= LOOKED_AT_MAX {
                found.next = last;
                return Ok(found);
            }
            looked_at += 1;
            last = Some(at);
            if at.owner == OwnerId::REPAIR {
                continue;
            }
            let bytes = match block {
                Some((cid, bytes)) if cid == at.cid => bytes,
                Some(_) | None => held_bytes(reader, &at.cid)?,
            };
            block = Some((at.cid, bytes));
            if let Some(bytes) = bytes {
                found.rows.push(Row { cid: at.cid, owner: at.owner, root: false, bytes });
            }
        }
    }
    Ok(found)
}

/// Returns the length of a block that is held.
fn held_bytes(reader: &dyn MapReader, cid: &Cid) -> Result<Option<u32>, DiskError> {
    let value = reader.get(Map::Blocks, &index::block_key(cid))?;
    let place = value.and_then(|value| Place::decode(&value)).filter(|place| place.is_held());
    Ok(place.and_then(|place| u32::try_from(place.block_bytes()).ok()))
}
