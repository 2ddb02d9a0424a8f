//! Set reconciliation: which entries two sides do not have in common, for little more than the bytes of what differs.
//!
//! Home of negentropy (range-based set reconciliation). The side that pulls asks, the other answers each message by itself and
//! remembers nothing. Its fingerprints are sums, so that whoever chooses entries at will could hide some: what is found is only
//! ever one's own catalog's, and each entry is signed. Never: an entry itself.
//! Source: negentropy protocol V1.

use std::collections::BTreeSet;

use bytes::Bytes;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::{CatalogError, EntryId};
use crate::limits::{OVERLAY_QUESTION_BYTES_MAX, RECONCILE_ANSWER_BYTES_MAX, RECONCILE_ROUNDS_MAX};

/// Bytes of a message that the library may go beyond its bound, and what stands around it.
const MARGIN_BYTES: usize = 1 << 10;

/// The entries that one side has, by sequence and id. Memory: 40 bytes each.
#[derive(Clone, Debug)]
pub struct Items(NegentropyStorageVector);

impl Items {
    /// Returns the set of these entries.
    ///
    /// # Errors
    /// [`CatalogError::Reconcile`] when one is there twice.
    pub fn of(entries: impl IntoIterator<Item = (u64, EntryId)>) -> Result<Self, CatalogError> {
        let mut items = NegentropyStorageVector::new();
        for (sequence, id) in entries {
            items.insert(sequence, Id::from_byte_array(id.0)).map_err(failed)?;
        }
        items.seal().map_err(failed)?;
        Ok(Self(items))
    }

    /// Answers a message of the side that pulls. Cost: O(entries) in the worst case.
    ///
    /// # Errors
    /// [`CatalogError::Reconcile`] when it is none.
    pub fn answer(&self, message: &[u8]) -> Result<Bytes, CatalogError> {
        let limit = (RECONCILE_ANSWER_BYTES_MAX - MARGIN_BYTES) as u64;
        let mut side = Negentropy::borrowed(&self.0, limit).map_err(failed)?;
        side.reconcile(message).map(Bytes::from).map_err(failed)
    }
}

/// What one side has and the other has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differs {
    /// Entries that only the other side has.
    pub missing: BTreeSet<EntryId>,
    /// Entries that only this side has.
    pub surplus: BTreeSet<EntryId>,
}

/// The side that pulls, until it knows what differs.
#[derive(Debug)]
pub struct Pulling {
    items: Items,
    differs: Differs,
    rounds: usize,
}

impl Pulling {
    /// Begins to compare. Returns the first message.
    ///
    /// # Errors
    /// [`CatalogError::Reconcile`]
    pub fn begin(items: Items) -> Result<(Self, Bytes), CatalogError> {
        let message = Self::side(&items)?.initiate().map_err(failed)?;
        Ok((Self { items, differs: Differs::default(), rounds: 0 }, message.into()))
    }

    fn side(items: &Items) -> Result<Negentropy<'_, NegentropyStorageVector>, CatalogError> {
        let limit = (OVERLAY_QUESTION_BYTES_MAX - MARGIN_BYTES) as u64;
        Negentropy::borrowed(&items.0, limit).map_err(failed)
    }

    /// Takes an answer. Returns what to ask next; `None` when all is known. `missing_max`: entries that may be missing.
    ///
    /// # Errors
    /// [`CatalogError::Reconcile`] when the answer is none, tells of more than that, or there is no end of answers.
    pub fn step(
        &mut self,
        answer: &[u8],
        missing_max: usize,
    ) -> Result<Option<Bytes>, CatalogError> {
        self.rounds += 1;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = {
            let mut side = Self::side(&self.items)?;
            side.set_initiator();
            side.reconcile_with_ids(answer, &mut have, &mut need).map_err(failed)?
        };
        self.differs.surplus.extend(have.into_iter().map(|id| EntryId(id.to_bytes())));
        self.differs.missing.extend(need.into_iter().map(|id| EntryId(id.to_bytes())));
        if self.differs.missing.len() > missing_max || self.rounds > RECONCILE_ROUNDS_MAX {
            let detail = "the other side tells of more than it may".to_owned();
            return Err(CatalogError::Reconcile { detail });
        }
        Ok(next.map(Bytes::from))
    }

    /// Returns what differs, once all is known.
    #[must_use]
    pub fn differs(self) -> Differs {
        self.differs
    }
}

fn failed(error: negentropy::Error) -> CatalogError {
    CatalogError::Reconcile { detail: error.to_string() }
}
