//! What a Shoal peer does: the services of the daemon `shoald`, over one seam.
//!
//! `README.md` beside this crate's manifest has the architecture and its invariants.
//! Never: decisions. What chooses a peer, a count, an order or a time is in the crate `protocol`.

pub mod api;
pub mod config;
pub mod disk;
pub mod env;
pub mod flows;
pub mod net;
pub mod node;
pub mod peers;
pub mod rpc;
pub mod serve;
pub mod store;

pub use flows::{Planted, UploadOptions, Uploaded};
pub use node::{Node, NodeSettings};
