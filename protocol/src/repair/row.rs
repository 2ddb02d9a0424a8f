//! Rows of an inventory: who refers to which block.
//!
//! A holder has one row for each owner that refers to a block whose bytes it has. A block without its
//! references would be freed, or kept for ever, so what is compared and restored is the reference, and the
//! bytes with it. Never in an inventory: a block found corrupt, whose references stand but whose bytes do not;
//! [`OwnerId::REPAIR`], by which a peer that lost its index keeps what it cannot tell about.

use crate::placement::Partition;
use crate::record::codec_byte;
use crate::{Cid, Codec, OwnerId};

/// What tells a row from others, and their order: by block, as partitions and stores go, then by owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The block.
    pub cid: Cid,
    /// Who refers to it.
    pub owner: OwnerId,
}

/// One reference to a block that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The block.
    pub cid: Cid,
    /// Who refers to it.
    pub owner: OwnerId,
    /// Whether it is the root of what the owner uploaded.
    pub root: bool,
    /// Bytes of the block: what a copy costs. Follows from the block, so it is compared with nobody's.
    pub bytes: u32,
}

impl Row {
    /// Returns what tells this row from others.
    #[must_use]
    pub const fn key(&self) -> RowKey {
        RowKey { cid: self.cid, owner: self.owner }
    }

    /// Returns the partition of its block.
    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition::of(&self.cid)
    }

    /// Returns 128 bits of SHA-256 over what is compared. Cost: one round of the hash, since it all fits
    /// one of its blocks.
    pub(super) fn digest(&self) -> u128 {
        let mut bytes = [0; 50];
        bytes[..32].copy_from_slice(self.cid.digest());
        bytes[32] = codec_byte(self.cid.codec());
        bytes[33..49].copy_from_slice(self.owner.as_bytes());
        bytes[49] = u8::from(self.root);
        let hash = Cid::of(Codec::Raw, &bytes);
        hash.digest().first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
    }
}
