//! Letting go of whole partitions, because others hold them.
//!
//! The writer looks at a partition once more before it removes it, so that what came since the others were asked
//! stays. All references of a partition go in one synced batch, and with them the blocks that nobody else refers
//! to. Never: says whether a peer may let go; asks anybody.

use protocol::index::{self, Place};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use protocol::limits::{STORE_DROP_ROWS_MAX, STORE_DROP_STEP};
use protocol::placement::Partition;
use protocol::repair::{Bucket, Row, RowKey, Summary};
use protocol::{Cid, OwnerId};

use super::command::Command;
use super::draft::Draft;
use super::error::StoreError;
use super::handle::Store;
use super::task::Writer;
use crate::env::{Disk, Durability, Env, Map};

/// Partitions that the writer is told of at a time.
const PARTITIONS_MAX: usize = 256;

/// What must still be so in the moment of removal.
#[derive(Clone)]
pub struct Proviso(Arc<dyn Fn() -> bool + Send + Sync>);

impl Proviso {
    /// Returns the proviso that `holds` says yes. It must not wait.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    fn holds(&self) -> bool {
        self.0()
    }
}

impl fmt::Debug for Proviso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proviso").finish_non_exhaustive()
    }
}

/// What was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departed {
    /// Partitions.
    pub partitions: u64,
    /// Blocks that nobody refers to here any more.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What one step of it came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) departed: Departed,
    /// Partitions, from the first on, that were looked at: they went, or are kept.
    pub(super) looked_at: usize,
}

/// All references to the blocks of a partition.
struct Held {
    references: Vec<RowKey>,
    blocks: Vec<(Cid, Place)>,
}

impl<E: Env> Store<E> {
    /// Removes all references of these partitions, and the blocks that nobody else refers to, as long as
    /// `proviso` holds: each partition whole, or not at all if its inventory is not the one that is named any more,
    /// if a block of it is corrupt, or if it has more than [`STORE_DROP_ROWS_MAX`] references. After an
    /// error some may be gone.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn depart(
        &self,
        mut partitions: Vec<(Partition, Bucket)>,
        proviso: Proviso,
    ) -> Result<Departed, StoreError> {
        let mut departed = Departed::default();
        while !partitions.is_empty() {
            let wanted = partitions.iter().take(PARTITIONS_MAX).copied().collect();
            let proviso = proviso.clone();
            let step = self.ask(|reply| Command::Depart { wanted, proviso, reply }).await?;
            departed.partitions += step.departed.partitions;
            departed.blocks += step.departed.blocks;
            departed.bytes += step.departed.bytes;
            partitions.drain(..step.looked_at.clamp(1, partitions.len()));
        }
        Ok(departed)
    }
}

impl<E: Env> Writer<E> {
    /// Lets go of the first of these partitions.
    pub(super) async fn depart_step(
        &mut self,
        wanted: &[(Partition, Bucket)],
        proviso: &Proviso,
    ) -> Result<Step, StoreError> {
        self.shared.check()?;
        let mut draft = Draft::new(&self.table);
        let (mut step, mut references, mut freed_small_bytes) = (Step::default(), 0, 0);
        for (partition, bucket) in wanted {
            if references >= STORE_DROP_STEP {
                break;
            }
            step.looked_at += 1;
            let Some(held) = self.held_of(*partition, *bucket).await? else { continue };
            references += held.references.len();
            let mut unexplained = BTreeSet::new();
            for RowKey { cid, owner } in &held.references {
                if *owner == OwnerId::REPAIR {
                    // Nobody can tell what it means, so nobody confirmed it.
                    unexplained.insert(*cid);
                    continue;
                }
                draft.drop_references(index::reference_keys(cid, owner));
                draft.drop_references(index::root_keys(cid, owner));
            }
            let going = held.blocks.iter().filter(|(cid, _)| !unexplained.contains(cid));
            for (cid, place) in going {
                draft.vacate(cid, *place);
                draft.forget(cid);
                step.departed.blocks += 1;
                step.departed.bytes += place.block_bytes();
                if let Place::Small { bytes, .. } = place {
                    freed_small_bytes += u64::from(*bytes);
                }
            }
            step.departed.partitions += 1;
        }
        // Last of all: nothing is looked at any more before it is written.
        if draft.is_empty() || !proviso.holds() {
            return Ok(Step { departed: Departed::default(), ..step });
        }
        let changes = draft.finish();
        self.commit(changes, Durability::Synced).await?;
        self.freed_small_bytes += freed_small_bytes;
        Ok(step)
    }

    /// Returns what is held of a partition if that is what `bucket` tells and all of it may go.
    async fn held_of(
        &self,
        partition: Partition,
        bucket: Bucket,
    ) -> Result<Option<Held>, StoreError> {
        let (from, until) = index::references_within(partition);
        let disk = self.shared.env.disk();
        let found = disk.scan(Map::References, from, until, STORE_DROP_ROWS_MAX + 1).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        if found.is_empty() || found.len() > STORE_DROP_ROWS_MAX {
            return Ok(None);
        }
        let references: Vec<RowKey> =
            found.iter().filter_map(|(key, _)| index::reference_in(key)).collect();
        let mut cids: Vec<Cid> = references.iter().map(|reference| reference.cid).collect();
        cids.dedup();
        let keys: Vec<Bytes> = cids.iter().map(index::block_key).collect();
        let places = disk.get_many(Map::Blocks, keys).await;
        let places = places.map_err(|error| self.shared.noted(error))?;
        let mut blocks = Vec::with_capacity(cids.len());
        for (cid, value) in cids.into_iter().zip(places) {
            // What is referred to and not whole is in no inventory, so that nobody confirmed its references.
            let place = value.and_then(|value| Place::decode(&value));
            let Some(place) = place.filter(|place| place.is_held()) else { return Ok(None) };
            blocks.push((cid, place));
        }
        let held = Held { references, blocks };
        let (now, held) = self.shared.env.compute(move || (held.bucket(partition), held)).await;
        Ok((now == bucket).then_some(held))
    }
}

impl Held {
    /// Returns its inventory in short.
    fn bucket(&self, partition: Partition) -> Bucket {
        let mut summary = Summary::new();
        for RowKey { cid, owner } in &self.references {
            if *owner != OwnerId::REPAIR {
                // The length is in no digest.
                summary.insert(&Row { cid: *cid, owner: *owner, root: false, bytes: 0 });
            }
        }
        summary.bucket(partition)
    }
}
