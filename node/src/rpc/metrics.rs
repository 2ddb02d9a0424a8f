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
