//! What a Shoal peer does: the services of the daemon `shoald`, over one seam.
//!
//! `README.md` beside this crate's manifest has the architecture and its invariants.
//! Never: decisions. What chooses a peer, a count, an order or a time is in the crate `protocol`.

pub mod access;
pub mod api;
pub mod cache;
pub mod config;
pub mod disk;
mod entry;
pub mod env;
pub mod flows;
mod home;
pub mod index;
mod log_limiter;
pub mod meta;
pub mod net;
pub mod node;
pub mod peers;
pub mod rpc;
pub mod serve;
pub mod sessions;
pub mod store;
pub mod work;

pub use entry::{Entry, Founding, is_settled};
pub use flows::{HealSettings, Planted, Root, UploadOptions, Uploaded, WorkSettings};
pub use node::{CatalogQuota, Federation, MetaProbe, Node, NodeSettings};
