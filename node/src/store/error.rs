//! Why the store did not do what it was asked.

use protocol::Cid;
use protocol::error::{Fault, Kind};
use protocol::limits::BLOCK_BYTES_MAX;

use crate::env::DiskError;

/// One variant per reaction of the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room: store elsewhere. Reads go on, and puts again once something was released.
    #[error(
        "store is full: {used} of {capacity} bytes are used, {free} bytes are free on the device"
    )]
    Full {
        /// Bytes the store takes.
        used: u64,
        /// Bytes it may take.
        capacity: u64,
        /// Bytes free on the device.
        free: u64,
    },
    /// Longer than any block may be.
    #[error("block has {bytes} bytes, at most {BLOCK_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// The copy of this block is damaged. It counts as not held from now on: fetch it elsewhere, put it anew.
    #[error("block {cid} is corrupt on disk")]
    Corrupt {
        /// Which.
        cid: Cid,
    },
    /// A repair of a block that nobody refers to here, or never did.
    #[error("nobody refers to block {cid} here")]
    Unreferenced {
        /// Which.
        cid: Cid,
    },
    /// The disk failed. After [`DiskError::Failed`] the peer must stop.
    #[error("store cannot use its disk")]
    Disk(#[from] DiskError),
    /// The store was stopped: the peer shuts down.
    #[error("the store has stopped")]
    Stopped,
}

impl StoreError {
    /// Returns the kind by which clients and peers are told.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Full { .. } | Self::Disk(DiskError::Full) => Kind::Full,
            Self::TooLarge { .. } => Kind::Invalid,
            Self::Unreferenced { .. } => Kind::NotFound,
            Self::Corrupt { .. } | Self::Disk(DiskError::Corrupt { .. }) => Kind::Corrupt,
            Self::Stopped | Self::Disk(DiskError::Closed) => Kind::Unavailable,
            Self::Disk(DiskError::Missing { .. } | DiskError::Failed { .. }) => Kind::Internal,
        }
    }

    /// Returns the failure as it is told.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let detail = match self {
            Self::Disk(cause) => format!("{self}: {cause}"),
            Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::Corrupt { .. }
            | Self::Unreferenced { .. }
            | Self::Stopped => self.to_string(),
        };
        Fault::new(self.kind(), detail)
    }
}
