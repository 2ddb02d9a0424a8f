//! Which peers should hold a block, and what moves when the topology changes.
//!
//! A CID's digest names its [`Partition`]; a [`Placement`] is the table of replica sets of all partitions
//! for one [`crate::topology::Topology`]: weighted rendezvous hashing, distinct zones while zones last, and
//! weights tuned until no peer holds more than a twentieth above its fair share. Every peer computes the
//! same table from the same topology, so placement needs no messages. Why it is done so, with the
//! measurements behind it: `protocol/decisions/0003-placement.md`.
//! Never: IO, clocks, floating point (ties would differ between machines), who is alive.
//! Source: Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998;
//! Mirrokni, Thorup & Zadimoghaddam, "Consistent hashing with bounded loads", 2016.

mod candidates;
mod contest;
mod evolve;
mod movement;
mod partition;
mod score;
mod share;
mod table;
mod tuning;

pub use movement::{Move, Movement, moved};
pub use partition::Partition;
pub use table::Placement;
