//! What the store counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of one store. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    /// Bytes of blocks made durable.
    pub block_bytes: Counter,
    /// Blocks made durable.
    pub puts: Counter,
    /// Bytes of blocks read and found whole.
    pub read_bytes: Counter,
    /// Blocks whose bytes were found damaged.
    pub corrupt_blocks: Counter,
    /// Puts and claims refused for want of room.
    pub full: Counter,
    /// Syncs of segment files.
    pub syncs: Counter,
    /// Bytes copied forward to regain space.
    pub moved_bytes: Counter,
    /// Bytes of segment files given back.
    pub reclaimed_bytes: Counter,
    /// Bytes cut from the ends of segments after a crash.
    pub torn_bytes: Counter,
    /// Blocks held.
    pub blocks: Gauge,
    /// Bytes taken on the disk.
    pub used_bytes: Gauge,
    /// Bytes that may be taken.
    pub capacity_bytes: Gauge,
}

impl StoreMetrics {
    /// Adds all of them to `registry`. Names of counters end in `_total` when they are told.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("store_block_bytes", "Bytes of blocks made durable", &self.block_bytes),
            ("store_puts", "Blocks made durable", &self.puts),
            ("store_read_bytes", "Bytes of blocks read and found whole", &self.read_bytes),
            ("store_corrupt_blocks", "Blocks found damaged on disk", &self.corrupt_blocks),
            ("store_full", "Puts and claims refused for want of room", &self.full),
            ("store_syncs", "Syncs of segment files", &self.syncs),
            ("store_moved_bytes", "Bytes copied forward to regain space", &self.moved_bytes),
            ("store_reclaimed_bytes", "Bytes of segment files given back", &self.reclaimed_bytes),
            ("store_torn_bytes", "Bytes cut from segments after a crash", &self.torn_bytes),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("store_blocks", "Blocks held", &self.blocks),
            ("store_used_bytes", "Bytes taken on the disk", &self.used_bytes),
            ("store_capacity_bytes", "Bytes that may be taken", &self.capacity_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}
