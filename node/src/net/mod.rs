//! The real network: libp2p below, [`Net`](crate::env::Net) above.
//!
//! One task owns the swarm, on a runtime of its own, so that neither bulk work elsewhere nor a slow service
//! delays a heartbeat. Frames cross streams that live as long as their connection, one per peer, class and
//! direction; each has a task that reads or writes it, and back-pressure ends at that stream. Members of the
//! cluster have a connection for what is urgent and one for blocks; everybody else may ask a question as a guest,
//! and take part in the overlay.
//! The only place that names libp2p. Never: decides whom to talk to, beyond finding the cluster.

mod bootstrap;
mod composition;
mod discovery;
mod gossip;
mod guests;
pub mod identity;
mod latest;
mod lines;
mod links;
mod metrics;
mod real;
mod sessions;
mod settings;
mod streams;
mod swarm;
mod transport;
mod wanted;

#[cfg(test)]
mod bad_input_test;
#[cfg(test)]
mod bench_test;
#[cfg(test)]
mod gossip_test;
#[cfg(test)]
mod guests_test;
#[cfg(test)]
mod members_test;
#[cfg(test)]
mod real_test;
#[cfg(test)]
mod test_peer;
#[cfg(test)]
mod test_proxy;

pub use metrics::NetMetrics;
pub use real::RealNet;
pub use settings::{NetSettings, StartError, check_address};
