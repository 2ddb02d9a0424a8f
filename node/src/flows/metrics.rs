//! Counters of uploads, downloads and searches.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What is counted of transfers and searches through this peer.
#[derive(Clone, Debug, Default)]
pub struct FlowMetrics {
    /// Uploads acknowledged.
    pub uploads: Counter,
    /// Bytes of objects acknowledged.
    pub upload_bytes: Counter,
    /// Uploads that failed.
    pub uploads_failed: Counter,
    /// Copies of uploads that another holder brought.
    pub copies_brought: Counter,
    /// Downloads begun.
    pub downloads: Counter,
    /// Bytes of objects delivered.
    pub download_bytes: Counter,
    /// Downloads that failed.
    pub downloads_failed: Counter,
    /// Blocks asked of a holder.
    pub block_requests: Counter,
    /// Blocks that came back, and what that took, in microseconds.
    pub block_answers: Counter,
    /// See [`Self::block_answers`].
    pub block_answers_micros: Counter,
    /// Blocks that came back with bytes of another name, from any holder.
    pub corrupt_blocks: Counter,
    /// Corrupt copies written anew.
    pub repaired_blocks: Counter,
    /// Blocks freed because nothing refers to them any more.
    pub collected_blocks: Counter,
    /// Their bytes.
    pub collected_bytes: Counter,
    /// Searches answered.
    pub searches: Counter,
    /// What they took, in microseconds.
    pub searches_micros: Counter,
    /// Objects that were put into the index of names, or taken out.
    pub indexed: Counter,
    /// Entries of other clusters that were put into the index of catalogs, or taken out.
    pub listed: Counter,
    /// Gossip that is no head.
    pub heads_refused: Counter,
    /// Questions of other clusters' peers.
    pub strangers_asked: Counter,
    /// Bytes that they were told.
    pub strangers_bytes: Counter,
    /// Fetches of other clusters' content begun.
    pub fetches: Counter,
    /// Those that failed.
    pub fetches_failed: Counter,
    /// Bytes of other clusters' content that were passed on.
    pub fetched_bytes: Counter,
}

impl FlowMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let rows = [
            ("upload_objects", "Objects acknowledged", &self.uploads),
            ("upload_bytes", "Bytes of objects acknowledged", &self.upload_bytes),
            ("upload_failures", "Uploads that failed", &self.uploads_failed),
            (
                "upload_copies_brought",
                "Copies of uploads that a holder brought to another",
                &self.copies_brought,
            ),
            ("download_objects", "Downloads begun", &self.downloads),
            ("download_bytes", "Bytes of objects delivered", &self.download_bytes),
            ("download_failures", "Downloads that failed", &self.downloads_failed),
            ("download_block_requests", "Blocks asked of a holder", &self.block_requests),
            ("download_blocks", "Blocks that holders gave", &self.block_answers),
            ("download_blocks_microseconds", "What that took", &self.block_answers_micros),
            (
                "download_corrupt_blocks",
                "Blocks whose bytes did not hash to their name, from any holder",
                &self.corrupt_blocks,
            ),
            ("download_repaired_blocks", "Corrupt copies written anew", &self.repaired_blocks),
            ("collect_blocks", "Blocks freed that nothing referred to", &self.collected_blocks),
            (
                "collect_bytes",
                "Bytes of blocks freed that nothing referred to",
                &self.collected_bytes,
            ),
            ("search_answers", "Searches answered", &self.searches),
            ("search_microseconds", "What they took", &self.searches_micros),
            (
                "search_indexed_objects",
                "Objects put into the index of names, or taken out",
                &self.indexed,
            ),
            (
                "catalog_entries",
                "Entries of other clusters put into the index of catalogs, or taken out",
                &self.listed,
            ),
            ("catalog_heads_refused", "Gossip that is no head of a catalog", &self.heads_refused),
            ("catalog_questions", "Questions of other clusters' peers", &self.strangers_asked),
            ("catalog_told_bytes", "Bytes that they were told", &self.strangers_bytes),
            ("catalog_fetches", "Fetches of other clusters' content begun", &self.fetches),
            ("catalog_fetch_failures", "Those that failed", &self.fetches_failed),
            (
                "catalog_fetched_bytes",
                "Bytes of other clusters' content passed on",
                &self.fetched_bytes,
            ),
        ];
        for (name, help, counter) in rows {
            registry.register(name, help, counter.clone());
        }
    }
}
