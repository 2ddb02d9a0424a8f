//! What the cache counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of one cache. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    /// Blocks that were looked for and there.
    pub hits: Counter,
    /// Blocks that were looked for and not there.
    pub misses: Counter,
    /// Bytes held, what the cache needs for itself among them.
    pub held_bytes: Gauge,
    /// Bytes that may be held.
    pub capacity_bytes: Gauge,
}

impl CacheMetrics {
    /// Adds all of them to `registry`. Names of counters end in `_total` when they are told.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("cache_hits", "Blocks of downloads that were found in memory", &self.hits),
            ("cache_misses", "Blocks of downloads that were not found in memory", &self.misses),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("cache_held_bytes", "Bytes of blocks kept in memory", &self.held_bytes),
            ("cache_capacity_bytes", "Bytes that blocks may take in memory", &self.capacity_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}
