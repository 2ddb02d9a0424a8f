//! How well work spreads over idle peers: makespan and messages at every size, measured against the targets and beside
//! the alternatives.
//!
//! Uses `protocol` alone: the queues are the machines themselves, on a network of virtual time where every message takes the same
//! time and every peer handles one after the other. A seed decides everything.
//! Never: decides anything; the targets are those of `protocol/decisions/0013-stealing.md`.

mod table;
mod ways;
mod world;

pub use table::run;
pub(crate) use table::{DELAYS, JOBS_PER_PEER, PEERS, Row, SEEDS, rows};
pub(crate) use ways::{Start, Way};
