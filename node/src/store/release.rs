//! Releasing: an owner lets go of its references, in bounded steps.
//!
//! A step drops some references and frees the blocks that nobody else refers to, in one synced batch: what
//! was released before a crash stays released.

use protocol::OwnerId;
use protocol::index::{self, Place, block_in, owner_in};
use protocol::limits::STORE_RELEASE_STEP;

use super::command::Released;
use super::draft::Draft;
use super::error::StoreError;
use super::task::Writer;
use crate::env::{Disk, Durability, Env, Map};

impl<E: Env> Writer<E> {
    /// Drops at most [`STORE_RELEASE_STEP`] references of an owner.
    pub(super) async fn release_step(&mut self, owner: &OwnerId) -> Result<Released, StoreError> {
        self.shared.check()?;
        let roots = self.keys_of(index::rooted_by(owner), STORE_RELEASE_STEP).await?;
        let references = self.keys_of(index::owned_by(owner), STORE_RELEASE_STEP).await?;
        let mut step = Released {
            more: roots.len() == STORE_RELEASE_STEP || references.len() == STORE_RELEASE_STEP,
            ..Released::default()
        };
        let mut draft = Draft::new(&self.table);
        let mut freed_small_bytes = 0;
        for cid in roots.iter().filter_map(|key| block_in(key)) {
            draft.drop_references(index::root_keys(&cid, owner));
        }
        for cid in references.iter().filter_map(|key| block_in(key)) {
            draft.drop_references(index::reference_keys(&cid, owner));
            let referrers = self.keys_of(index::references_of(&cid), 2).await?;
            if referrers.iter().any(|key| owner_in(key) != Some(*owner)) {
                continue;
            }
            let Some(place) = self.shared.lookup(&cid).await? else { continue };
            draft.vacate(&cid, place);
            draft.forget(&cid);
            step.blocks += u64::from(place.is_held());
            step.bytes += place.block_bytes();
            if let Place::Small { bytes, .. } = place {
                freed_small_bytes += u64::from(bytes);
            }
        }
        if !draft.is_empty() {
            let changes = draft.finish();
            self.commit(changes, Durability::Synced).await?;
            self.freed_small_bytes += freed_small_bytes;
        }
        Ok(step)
    }

    /// Returns the keys of references that begin with `prefix`, at most `limit`.
    async fn keys_of(
        &self,
        prefix: bytes::Bytes,
        limit: usize,
    ) -> Result<Vec<bytes::Bytes>, StoreError> {
        let (from, until) = index::range_of(&prefix);
        let found = self.shared.env.disk().scan(Map::References, from, until, limit).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }
}
