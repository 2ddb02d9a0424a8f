//! Who of the cluster is there: failure detector and peer table.
//!
//! Every peer gossips a table of heartbeats to a few others and judges by its own clock whose
//! heartbeat has stopped: no coordinator, and traffic per peer that does not grow with the cluster.
//! Says who is alive, which is a guess; who is a member is a fact, which [`Input::Members`] brings, and
//! a dead peer stays one. Never: decides placement; a short absence moves nothing.
//! Source: van Renesse, Minsky and Hayden, "A gossip-style failure detection service", 1998.

mod interface;
mod machine;
mod members;
mod round;
mod table;

pub use interface::{Config, Input, MemberFacts, Output};
pub use machine::Membership;
pub use table::{Liveness, PeerInfo};

#[cfg(test)]
mod network_test;
