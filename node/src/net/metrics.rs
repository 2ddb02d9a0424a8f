//! What the network counts.
//!
//! Labels are classes of traffic, never peers. Never: decides by a count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::wire::Class;

/// The class of traffic of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// The network's counters. Clones count into the same ones.
#[derive(Clone, Debug, Default)]
pub struct NetMetrics {
    connections: Gauge,
    peers: Gauge,
    frames_sent: Family<ClassLabel, Counter>,
    frames_received: Family<ClassLabel, Counter>,
    bytes_sent: Family<ClassLabel, Counter>,
    bytes_received: Family<ClassLabel, Counter>,
    malformed_frames: Counter,
    dial_failures: Counter,
    handshake_failures: Counter,
    commands_refused: Counter,
    guests_refused: Counter,
}

impl NetMetrics {
    /// Adds every metric to `registry`, with the prefix `net_`.
    pub fn register(&self, registry: &mut Registry) {
        let net = registry.sub_registry_with_prefix("net");
        net.register("connections", "Connections with other peers", self.connections.clone());
        net.register("peers", "Peers of this cluster that are connected", self.peers.clone());
        net.register("frames_sent", "Frames written to streams", self.frames_sent.clone());
        net.register("frames_received", "Frames read from streams", self.frames_received.clone());
        net.register("bytes_sent", "Bytes of frames written", self.bytes_sent.clone());
        net.register("bytes_received", "Bytes of frames read", self.bytes_received.clone());
        net.register(
            "malformed_frames",
            "Frames that broke the protocol and ended their connection",
            self.malformed_frames.clone(),
        );
        net.register("dial_failures", "Dials without a connection", self.dial_failures.clone());
        net.register(
            "handshake_failures",
            "Incoming connections that ended before the peer was known",
            self.handshake_failures.clone(),
        );
        net.register(
            "commands_refused",
            "Dials that were not begun because too many waited",
            self.commands_refused.clone(),
        );
        net.register(
            "guests_refused",
            "Questions of guests that were too many, or found nobody to answer",
            self.guests_refused.clone(),
        );
    }

    /// Returns how many connections there are.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Returns how many frames were malformed.
    #[must_use]
    pub fn malformed_frames(&self) -> u64 {
        self.malformed_frames.get()
    }

    /// Returns how many incoming connections ended before the peer was known.
    #[must_use]
    pub fn handshake_failures(&self) -> u64 {
        self.handshake_failures.get()
    }

    /// Returns how many frames of a class were written.
    #[must_use]
    pub fn frames_sent(&self, class: Class) -> u64 {
        self.frames_sent.get_or_create(&label(class)).get()
    }

    /// Returns how many frames of a class were read.
    #[must_use]
    pub fn frames_received(&self, class: Class) -> u64 {
        self.frames_received.get_or_create(&label(class)).get()
    }

    pub(super) fn sent(&self, class: Class) -> Tally {
        tally(&self.frames_sent, &self.bytes_sent, class)
    }

    pub(super) fn received(&self, class: Class) -> Tally {
        tally(&self.frames_received, &self.bytes_received, class)
    }

    pub(super) fn set_connections(&self, count: u32) {
        self.connections.set(count.into());
    }

    pub(super) fn set_peers(&self, count: usize) {
        self.peers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn malformed_frame(&self) {
        self.malformed_frames.inc();
    }

    pub(super) fn dial_failed(&self) {
        self.dial_failures.inc();
    }

    pub(super) fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }

    pub(super) fn guest_refused(&self) {
        self.guests_refused.inc();
    }

    pub(super) fn command_refused(&self) {
        self.commands_refused.inc();
    }
}

/// The two counters that one stream adds to, looked up once.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    frames: Counter,
    bytes: Counter,
}

impl Tally {
    /// Counts one frame of this many bytes.
    pub(super) fn count(&self, bytes: usize) {
        self.frames.inc();
        self.bytes.inc_by(bytes as u64);
    }
}

fn tally(
    frames: &Family<ClassLabel, Counter>,
    bytes: &Family<ClassLabel, Counter>,
    class: Class,
) -> Tally {
    Tally {
        frames: frames.get_or_create_owned(&label(class)),
        bytes: bytes.get_or_create_owned(&label(class)),
    }
}

fn label(class: Class) -> ClassLabel {
    ClassLabel { class: class.name() }
}

#[cfg(test)]
mod tests {
    use super::NetMetrics;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use protocol::wire::Class;

    #[test]
    fn counts_appear_under_their_class() {
        let metrics = NetMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.sent(Class::Bulk).count(10);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("net_bytes_sent_total{class=\"bulk\"} 10"), "{text}");
        assert!(text.contains("net_frames_sent_total{class=\"bulk\"} 1"), "{text}");
    }
}
