//! What repair counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of the repairs of one peer, as the one that sees to them. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct HealMetrics {
    /// Blocks that a peer got, this one or another.
    pub blocks: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// References that a peer got to blocks that it held.
    pub references: Counter,
    /// Repairs that failed.
    pub failures: Counter,
    /// Comparisons with all other peers that came to their end.
    pub rounds: Counter,
    /// Those in which somebody could not be compared with.
    pub rounds_incomplete: Counter,
    /// Scans of the inventory.
    pub scans: Counter,
    /// Partitions that this peer let go of, since others hold them.
    pub dropped_partitions: Counter,
    /// Blocks that it does not hold any more for that.
    pub dropped_blocks: Counter,
    /// Their bytes.
    pub dropped_bytes: Counter,
}

impl HealMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let rows = [
            ("repair_blocks", "Blocks copied to peers that lacked them", &self.blocks),
            ("repair_bytes", "Bytes of blocks copied to peers that lacked them", &self.bytes),
            (
                "repair_references",
                "References given to peers that held the block",
                &self.references,
            ),
            ("repair_failures", "Repairs that failed", &self.failures),
            ("repair_rounds", "Comparisons with all other peers", &self.rounds),
            (
                "repair_rounds_incomplete",
                "Comparisons that did not reach every peer",
                &self.rounds_incomplete,
            ),
            ("repair_scans", "Scans of the inventory of this peer", &self.scans),
            (
                "repair_dropped_partitions",
                "Partitions dropped that others hold in this peer's stead",
                &self.dropped_partitions,
            ),
            ("repair_dropped_blocks", "Blocks dropped that others hold", &self.dropped_blocks),
            (
                "repair_dropped_bytes",
                "Bytes of blocks dropped that others hold",
                &self.dropped_bytes,
            ),
        ];
        for (name, help, counter) in rows {
            registry.register(name, help, counter.clone());
        }
    }
}
