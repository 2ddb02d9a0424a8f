//! A draft: changes of the index that become true together.
//!
//! It collects a batch and, beside it, what the writer's table becomes once the batch is written, so that the
//! two cannot drift apart. A draft that is dropped has changed nothing.

use protocol::index::{
    self, Place, Segment, TOTALS_KEY, Totals, block_key, footprint, record_key, segment_key,
};
use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{Cid, OwnerId};

use super::segment::Table;
use crate::env::{Batch, Map};

/// Changes in the making, on top of `table`.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    table: &'a Table,
    batch: Batch,
    totals: Totals,
    segments: BTreeMap<u32, Segment>,
}

/// A finished draft, to be written and then applied.
#[derive(Debug)]
#[must_use = "changes are not made until they are written and applied"]
pub(super) struct Changes {
    pub(super) batch: Batch,
    totals: Totals,
    segments: BTreeMap<u32, Segment>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self { table, batch: Batch::default(), totals: table.totals, segments: BTreeMap::new() }
    }

    /// Says whether nothing was changed.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.changes.is_empty() && self.segments.is_empty()
    }

    /// Has a block lie at `place`, where none of its bytes were counted before.
    pub(super) fn settle(&mut self, cid: &Cid, place: Place) {
        self.batch.put(Map::Blocks, block_key(cid), place.encode());
        match place {
            Place::Small { bytes, .. } => self.totals.small_bytes += footprint(bytes.into()),
            Place::Segment { number, offset, bytes } => {
                self.batch.put(Map::Segments, record_key(number, offset), block_key(cid));
                self.segment(number).live += footprint(bytes.into());
            }
            Place::Corrupt => return,
        }
        self.totals.blocks += 1;
    }

    /// Stores the bytes of a small block.
    pub(super) fn keep_small(&mut self, cid: &Cid, bytes: Bytes) {
        self.batch.put(Map::Small, block_key(cid), bytes);
    }

    /// Has the bytes at `place` count as garbage. What becomes of the block is the caller's next word.
    pub(super) fn vacate(&mut self, cid: &Cid, place: Place) {
        match place {
            Place::Small { bytes, .. } => {
                self.batch.delete(Map::Small, block_key(cid));
                let small = &mut self.totals.small_bytes;
                *small = small.saturating_sub(footprint(bytes.into()));
            }
            Place::Segment { number, offset, bytes } => {
                self.batch.delete(Map::Segments, record_key(number, offset));
                let live = &mut self.segment(number).live;
                *live = live.saturating_sub(footprint(bytes.into()));
            }
            Place::Corrupt => return,
        }
        self.totals.blocks = self.totals.blocks.saturating_sub(1);
    }

    /// Forgets a block whose bytes were vacated.
    pub(super) fn forget(&mut self, cid: &Cid) {
        self.batch.delete(Map::Blocks, block_key(cid));
    }

    /// Drops the key of a live record that is none.
    pub(super) fn drop_record_key(&mut self, key: Bytes) {
        self.batch.delete(Map::Segments, key);
    }

    /// Has `owner` refer to a block.
    pub(super) fn refer(&mut self, cid: &Cid, owner: &OwnerId, root: bool) {
        let roots = root.then(|| index::root_keys(cid, owner));
        for key in index::reference_keys(cid, owner).into_iter().chain(roots.into_iter().flatten())
        {
            self.batch.put(Map::References, key, Bytes::new());
        }
    }

    /// Removes keys of references.
    pub(super) fn drop_references(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        for key in keys {
            self.batch.delete(Map::References, key);
        }
    }

    /// Records that a segment is indexed up to `indexed`.
    pub(super) fn indexed(&mut self, number: u32, indexed: u64) {
        self.segment(number).indexed = indexed;
    }

    /// Returns the changes, with the facts about segments and totals among them.
    pub(super) fn finish(mut self) -> Changes {
        for (number, segment) in &self.segments {
            self.batch.put(Map::Segments, segment_key(*number), segment.encode());
        }
        self.batch.put(Map::Segments, Bytes::from_static(TOTALS_KEY), self.totals.encode());
        Changes { batch: self.batch, totals: self.totals, segments: self.segments }
    }

    fn segment(&mut self, number: u32) -> &mut Segment {
        let table = self.table;
        self.segments.entry(number).or_insert_with(|| table.segment(number))
    }
}

impl Table {
    /// Applies changes that were written; their batch is spent.
    pub(super) fn apply(&mut self, changes: Changes) {
        self.totals = changes.totals;
        self.segments.extend(changes.segments);
    }
}
