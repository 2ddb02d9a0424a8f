//! What repair counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::flows::work::Restored;

/// Counters of one peer: what it copied, as the one that does the job, and what it compared. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct HealMetrics {
    /// Blocks that a peer got, this one or another, by this one's doing.
    pub blocks: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// References that a peer got to blocks that it held.
    pub references: Counter,
    /// Jobs in the background that failed.
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
    /// Counts what a job came to, and returns the bytes that it moved.
    pub(in crate::flows) fn note(&self, restored: Restored) -> u64 {
        match restored {
            Restored::Block(bytes) => {
                self.blocks.inc();
                self.bytes.inc_by(bytes);
                bytes
            }
            Restored::Reference => {
                self.references.inc();
                0
            }
            Restored::Unwanted => 0,
        }
    }

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
            ("repair_failures", "Jobs that copy blocks that failed", &self.failures),
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
