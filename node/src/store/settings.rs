//! What an operator sets of a store, and what a store tells of itself.

use crate::env::Space;

/// Segments are not made shorter than this: each is a file, and a sync of its directory.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// Settings of one store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Bytes that segment files and small blocks may take together.
    pub capacity_bytes: u64,
    /// Length at which a segment file is closed and the next begun, on a device with room. 256 MiB: a few
    /// thousand files a TB. Small stores and devices take shorter ones.
    pub segment_bytes: u64,
    /// Blocks below this lie in the index. Measured: from 64 KiB on, segments are cheaper in every respect.
    pub small_block_bytes: u32,
    /// Bytes of the device that blocks never take; `None`: 1 % of it, within 32 MiB and 1 GiB. The index
    /// needs room to work even when the store is full.
    pub reserve_bytes: Option<u64>,
    /// Mistakes on request, for tests of the tests.
    #[doc(hidden)]
    pub planted: Planted,
}

/// Mistakes that a test can switch on, to see that the checks find them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// Acknowledge what was not synced.
    pub ack_before_sync: bool,
}

impl StoreSettings {
    /// Returns the defaults for a store of this capacity.
    #[must_use]
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            segment_bytes: 256 << 20,
            small_block_bytes: 64 << 10,
            reserve_bytes: None,
            planted: Planted::default(),
        }
    }

    /// Returns these settings for a device: short segments where room is scarce. To regain space from a
    /// segment its live blocks are copied first, which must fit half of the reserve even when the store is
    /// full; a segment and a group that was begun before its end are at most half a reserve.
    pub(super) fn fitted_to(mut self, device: Space) -> Self {
        if self.reserve_bytes.is_none() {
            let scarce = (self.reserve_on(device) / 4).min(self.capacity_bytes / 16);
            self.segment_bytes = self.segment_bytes.min(scarce.max(SEGMENT_BYTES_MIN));
        }
        self
    }

    /// Returns the bytes of a device that blocks never take.
    pub(super) fn reserve_on(&self, device: Space) -> u64 {
        self.reserve_bytes.unwrap_or_else(|| (device.total_bytes / 100).clamp(32 << 20, 1 << 30))
    }
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes it may take.
    pub capacity_bytes: u64,
    /// Bytes it takes on the disk, those of freed blocks whose space was not regained yet included.
    pub used_bytes: u64,
    /// Blocks it holds.
    pub blocks: u64,
}
