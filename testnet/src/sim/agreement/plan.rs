//! Everything that a seed decides before a run begins.

use std::time::Duration;

use protocol::Prng;

/// The course of a run, as far as it is known before.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Peers at the start.
    pub(super) peers: usize,
    /// Clients at work.
    pub(super) clients: u64,
    /// Clients that want locks.
    pub(super) lockers: u64,
    /// How long faults happen.
    pub(super) storm: Duration,
    /// Mean pause between two faults.
    pub(super) fault_pause: Duration,
    /// Longest time until a machine that was switched off runs again, in milliseconds.
    pub(super) down_millis: u64,
    /// Entries between two snapshots, and those kept behind one: small, so that peers that were away need one.
    pub(super) snapshot_entries: u64,
    pub(super) log_entries_kept: u64,
    /// Whether appends wait for their sync.
    pub(super) sync_before_return: bool,
    /// Whether new leaders are waylaid: cut off at once, while the power of all who voted fails.
    pub(super) ambushes: bool,
    /// Whether members come and go.
    pub(super) churn: bool,
    /// Whether a power failure of all machines ends the storm.
    pub(super) ends_in_blackout: bool,
}

impl Plan {
    /// Draws a plan. `peers` overrides the seed's choice of their number.
    pub(super) fn draw(prng: &mut Prng, peers: Option<usize>) -> Self {
        let drawn = if prng.chance(2, 3) { 3 } else { 5 };
        Self {
            peers: peers.unwrap_or(drawn).max(1),
            clients: 2 + prng.below(4),
            lockers: prng.below(5),
            storm: Duration::from_millis(15_000 + prng.below(30_000)),
            fault_pause: Duration::from_millis(200 + prng.below(2_500)),
            // Often shorter than it takes the others to notice.
            down_millis: [60, 300, 3_000][prng.index(3).unwrap_or(2)],
            snapshot_entries: 10 + prng.below(100),
            log_entries_kept: 2 + prng.below(20),
            sync_before_return: prng.chance(1, 4),
            ambushes: prng.chance(1, 3),
            churn: prng.chance(1, 2),
            ends_in_blackout: prng.chance(1, 2),
        }
    }
}
