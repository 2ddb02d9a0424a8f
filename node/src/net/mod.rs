//! The real network: libp2p below, [`Net`](crate::env::Net) above.
//!
//! One task owns the swarm, on a runtime of its own, so that neither bulk work elsewhere nor a slow service
//! delays a heartbeat. Frames cross streams that live as long as their connection, one per peer, class and
//! direction; each has a task that reads or writes it, and back-pressure ends at that stream.
//! The only place that names libp2p. Never: decides whom to talk to, beyond finding the cluster.

mod bootstrap;
mod composition;
mod discovery;
pub mod identity;
mod lines;
mod links;
mod malformed;
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
mod real_test;
#[cfg(test)]
mod test_peer;

pub use metrics::NetMetrics;
pub use real::RealNet;
pub use settings::{NetSettings, StartError, check_address};
