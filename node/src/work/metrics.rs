//! What the queue counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one peer's queue. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct WorkMetrics {
    /// Jobs put into this peer's queue.
    pub enqueued: Counter,
    /// Jobs of this peer's queue that were done, here or elsewhere.
    pub done: Counter,
    /// Jobs of this peer's queue that were given up.
    pub died: Counter,
    /// Jobs that this peer began, its own and those of others.
    pub begun: Counter,
    /// Those of others.
    pub stolen: Counter,
    /// Messages about work that were sent.
    pub messages: Counter,
    /// Messages that could not be sent, or were none.
    pub messages_lost: Counter,
    /// Jobs in this peer's queue, dead letters aside.
    pub depth: Gauge,
}

impl WorkMetrics {
    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let rows = [
            ("work_enqueued", "Jobs put into the queue", &self.enqueued),
            ("work_done", "Jobs of this queue that were done, here or elsewhere", &self.done),
            ("work_died", "Jobs of this queue that were given up", &self.died),
            ("work_begun", "Jobs that this peer began, of whichever queue", &self.begun),
            ("work_stolen", "Jobs of other queues that this peer began", &self.stolen),
            ("work_messages", "Messages about work sent", &self.messages),
            (
                "work_messages_lost",
                "Messages about work not sent, or not read",
                &self.messages_lost,
            ),
        ];
        for (name, help, counter) in rows {
            registry.register(name, help, counter.clone());
        }
        registry.register("work_depth", "Jobs in the queue of this peer", self.depth.clone());
    }
}
