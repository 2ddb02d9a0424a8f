//! How far a download may fetch ahead while others are under way.
//!
//! Never: counts the others; fetches.

use crate::limits::{CHUNK_BYTES, DOWNLOAD_WINDOW_BYTES, TRANSFER_BYTES_MAX};

/// Returns how many bytes a download may fetch ahead whose consumer has taken `taken` bytes, among `transfers` that are
/// under way: its share of what all of them may hold, and no more than it has shown that it takes, so that one that
/// is not read holds little. At least a chunk, so that everybody moves.
#[must_use]
pub fn window_bytes(transfers: u32, taken: u64) -> u32 {
    let share = TRANSFER_BYTES_MAX / transfers.max(1);
    let shown = u32::try_from(taken).unwrap_or(u32::MAX).saturating_add(CHUNK_BYTES);
    share.min(shown).clamp(CHUNK_BYTES, DOWNLOAD_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TRANSFERS_MAX;

    #[test]
    fn what_was_read_opens_the_window_up_to_its_bound() {
        assert_eq!(window_bytes(1, 0), CHUNK_BYTES);
        assert_eq!(window_bytes(1, 3 << 20), CHUNK_BYTES + (3 << 20));
        assert_eq!(window_bytes(0, u64::MAX), DOWNLOAD_WINDOW_BYTES);
    }

    #[test]
    fn all_together_hold_no_more_than_their_bound_and_a_chunk_each() {
        for transfers in 1..=TRANSFERS_MAX {
            let window = window_bytes(transfers, u64::MAX);
            assert!(window >= CHUNK_BYTES);
            let chunks = u64::from(transfers) * u64::from(CHUNK_BYTES);
            let bound = u64::from(TRANSFER_BYTES_MAX).max(chunks);
            assert!(u64::from(transfers) * u64::from(window) <= bound, "{transfers} transfers");
        }
    }
}
