//! When a peer repairs.

use std::time::Duration;

use protocol::limits::{REPAIR_AWAY, REPAIR_INTERVAL, REPAIR_SETTLE};

/// How patient a peer is with differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealSettings {
    /// How long a peer has to be away before others take its place.
    pub away: Duration,
    /// How long a difference has to last before it is repaired.
    pub settle: Duration,
    /// Time between two comparisons that nothing calls for.
    pub interval: Duration,
}

impl HealSettings {
    /// Returns the settings of a peer for which others are lost after `away`: who waits for less than the usual time
    /// until a peer counts as lost does not wait for longer until a difference counts as one.
    #[must_use]
    pub fn with_away(away: Duration) -> Self {
        Self { away, settle: REPAIR_SETTLE.min(away), interval: REPAIR_INTERVAL }
    }
}

impl Default for HealSettings {
    fn default() -> Self {
        Self::with_away(REPAIR_AWAY)
    }
}
