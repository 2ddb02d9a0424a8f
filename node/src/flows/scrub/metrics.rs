//! What scrubbing counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of one peer's scrub. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ScrubMetrics {
    /// Blocks read again.
    pub blocks: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Those of them that were corrupt.
    pub corrupt_blocks: Counter,
    /// Passes over everything.
    pub passes: Counter,
    /// Corrupt copies written anew, whoever found them.
    pub repaired_blocks: Counter,
    /// Corrupt copies that could not be written anew when they were found.
    pub repair_failures: Counter,
}

impl ScrubMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let rows = [
            ("scrub_blocks", "Blocks read again to see whether they rotted", &self.blocks),
            ("scrub_bytes", "Bytes of blocks read again", &self.bytes),
            ("scrub_corrupt_blocks", "Blocks that a scrub found corrupt", &self.corrupt_blocks),
            ("scrub_passes", "Passes over everything that is held", &self.passes),
            (
                "scrub_repaired_blocks",
                "Corrupt copies written anew from another holder",
                &self.repaired_blocks,
            ),
            (
                "scrub_repair_failures",
                "Corrupt copies that could not be written anew at once",
                &self.repair_failures,
            ),
        ];
        for (name, help, counter) in rows {
            registry.register(name, help, counter.clone());
        }
    }
}
