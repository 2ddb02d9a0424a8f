//! A block together with the fact that its bytes hash to its name.
//!
//! Never: exists for other bytes; there is one way to make it, and that hashes.

use bytes::Bytes;
use protocol::Cid;

/// A block whose bytes were hashed, and hash to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBlock {
    cid: Cid,
    bytes: Bytes,
}

impl VerifiedBlock {
    /// Returns the block, or `None` when `bytes` are not those of this name. Cost: one SHA-256 over `bytes`.
    #[must_use]
    pub fn check(cid: Cid, bytes: Bytes) -> Option<Self> {
        cid.matches(&bytes).then_some(Self { cid, bytes })
    }

    /// Returns the block's name.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        self.cid
    }

    /// Returns the block's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the block's bytes alone.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
