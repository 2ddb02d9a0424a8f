//! Who of the cluster is there: the membership machine, driven by gossip, the network and the clock.
//!
//! Owns the peer table and the placement of the topologies it is given, and publishes both as one immutable
//! [`View`]. Who is a member and where blocks belong is agreed elsewhere and comes as a [`Roster`].
//! Addresses of known peers are kept on disk, so that a restart needs no bootstrap peer.
//! Never: chooses holders; sees blocks.

mod handle;
mod placements;
mod roster;
mod task;
mod view;

pub use handle::{Peers, PeersSettings};
pub use placements::Placements;
pub use roster::Roster;
pub use view::View;
