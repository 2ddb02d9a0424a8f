//! What is counted of agreement.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the latency of a proposal, in seconds: from a sync of a fast disk to the patience of a client.
const LATENCY_SECONDS: [f64; 12] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// What is counted of agreement on one peer.
#[derive(Clone, Debug)]
pub struct MetaMetrics {
    /// The current term.
    pub term: Gauge<u64, AtomicU64>,
    /// Entries of the log that are applied.
    pub applied: Gauge<u64, AtomicU64>,
    /// Whether this peer leads.
    pub is_leader: Gauge<u64, AtomicU64>,
    /// Other leaders than before that this peer saw.
    pub leader_changes: Counter,
    /// Commands that this peer proposed, for its own clients.
    pub proposals: Counter,
    /// Of these, attempts at another peer.
    pub proposals_forwarded: Counter,
    /// Of these, given up with an unknown outcome.
    pub proposals_in_doubt: Counter,
    /// Time from a proposal to its answer.
    pub proposal_seconds: Histogram,
    /// Reads of the latest state.
    pub reads_latest: Counter,
    /// Questions to a quorum that answered these.
    pub read_indexes: Counter,
    /// Entries applied.
    pub entries_applied: Counter,
    /// Snapshots taken over from others.
    pub snapshots_installed: Counter,
    /// Messages refused because they were meant for another directory or cluster, or came from somebody else.
    pub messages_refused: Counter,
}

impl Default for MetaMetrics {
    fn default() -> Self {
        Self {
            term: Gauge::default(),
            applied: Gauge::default(),
            is_leader: Gauge::default(),
            leader_changes: Counter::default(),
            proposals: Counter::default(),
            proposals_forwarded: Counter::default(),
            proposals_in_doubt: Counter::default(),
            proposal_seconds: Histogram::new(LATENCY_SECONDS),
            reads_latest: Counter::default(),
            read_indexes: Counter::default(),
            entries_applied: Counter::default(),
            snapshots_installed: Counter::default(),
            messages_refused: Counter::default(),
        }
    }
}

impl MetaMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("meta");
        registry.register("term", "Current term of Raft", self.term.clone());
        registry.register("applied_entries", "Entries of the log applied", self.applied.clone());
        registry.register("is_leader", "Whether this peer leads", self.is_leader.clone());
        registry.register("leader_changes", "Leaders seen", self.leader_changes.clone());
        registry.register("proposals", "Commands proposed here", self.proposals.clone());
        registry.register(
            "proposals_forwarded",
            "Attempts to have another peer propose",
            self.proposals_forwarded.clone(),
        );
        registry.register(
            "proposals_in_doubt",
            "Commands given up with an unknown outcome",
            self.proposals_in_doubt.clone(),
        );
        registry.register(
            "proposal_seconds",
            "Time from a proposal to its answer",
            self.proposal_seconds.clone(),
        );
        registry.register("reads_latest", "Reads of the latest state", self.reads_latest.clone());
        registry.register(
            "read_indexes",
            "Questions to a quorum for reads",
            self.read_indexes.clone(),
        );
        registry.register(
            "applied_entries_counted",
            "Entries applied since the start",
            self.entries_applied.clone(),
        );
        registry.register(
            "snapshots_installed",
            "Snapshots taken over from other peers",
            self.snapshots_installed.clone(),
        );
        registry.register(
            "messages_refused",
            "Messages for another directory or cluster, or from somebody else",
            self.messages_refused.clone(),
        );
    }
}
