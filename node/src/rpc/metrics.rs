//! Counters of requests between peers.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What is counted of requests, over all peers and classes.
#[derive(Clone, Debug, Default)]
pub struct RpcMetrics {
    /// Requests sent.
    pub requests_sent: Counter,
    /// Requests sent that were not answered in time.
    pub requests_timed_out: Counter,
    /// Requests served.
    pub requests_served: Counter,
    /// Blocks that were read for others whose clients wait for them, and what that took, in microseconds.
    pub reads_served: Counter,
    /// See [`Self::reads_served`].
    pub reads_served_micros: Counter,
    /// The same of blocks that were written.
    pub writes_served: Counter,
    /// See [`Self::writes_served`].
    pub writes_served_micros: Counter,
    /// Requests refused as `busy`.
    pub requests_refused: Counter,
    /// Requests left unanswered because their sender ignores every bound.
    pub requests_dropped: Counter,
    /// Frames that were no message.
    pub malformed: Counter,
}

impl RpcMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rpc");
        registry.register(
            "requests_sent",
            "Requests sent to other peers",
            self.requests_sent.clone(),
        );
        registry.register(
            "requests_timed_out",
            "Requests to other peers without an answer in time",
            self.requests_timed_out.clone(),
        );
        registry.register(
            "requests_served",
            "Requests of other peers answered",
            self.requests_served.clone(),
        );
        registry.register(
            "reads_served",
            "Blocks read for peers whose clients wait for them",
            self.reads_served.clone(),
        );
        registry.register(
            "reads_served_microseconds",
            "What reading them took",
            self.reads_served_micros.clone(),
        );
        registry.register(
            "writes_served",
            "Blocks written for peers whose clients wait for that",
            self.writes_served.clone(),
        );
        registry.register(
            "writes_served_microseconds",
            "What writing them took",
            self.writes_served_micros.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests of other peers refused as busy",
            self.requests_refused.clone(),
        );
        registry.register(
            "requests_dropped",
            "Requests of peers that ignore every bound, left unanswered",
            self.requests_dropped.clone(),
        );
        registry.register(
            "malformed_messages",
            "Frames of other peers that were no message",
            self.malformed.clone(),
        );
    }
}
