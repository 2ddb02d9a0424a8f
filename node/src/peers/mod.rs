//! Who of the cluster is there: the membership machine, driven by gossip, the network and the clock.
//!
//! Owns the peer table and the placement computed from it, and publishes both as one immutable [`View`].
//! Addresses of known peers are kept on disk, so that a restart needs no bootstrap peer.
//! Never: chooses holders; sees blocks.

mod handle;
mod placements;
mod task;
mod view;

pub use handle::{Peers, PeersSettings};
pub use placements::Placements;
pub use view::View;
