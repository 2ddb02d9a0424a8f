//! What a Shoal peer does: the services of the daemon `shoald`, over one seam.
//!
//! `README.md` beside this crate's manifest has the architecture and its invariants.
//! Never: decisions. What chooses a peer, a count, an order or a time is in the crate `protocol`.

pub mod env;
