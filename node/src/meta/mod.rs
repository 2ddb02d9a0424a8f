//! Agreement among the peers of a cluster: a Raft log of commands, and the state that they make.
//!
//! The one home of the package `openraft`; nothing of it leaves this folder. [`Meta`] is the handle: it proposes
//! commands, reads the state as it is here or the latest, changes who votes, and answers other peers. The commands and
//! the state are `protocol::metadata`'s; what is here makes every peer apply the same ones in the same order.
//! Owns the home of metadata on the disk. Never: decides what a command does, or who should vote.
//! Source: Ongaro and Ousterhout, "In search of an understandable consensus algorithm", 2014.

mod check_in;
mod controller;
mod convert;
mod due;
mod effects;
mod flusher;
mod handle;
mod leases;
mod log;
mod machine;
mod members;
mod metrics;
mod network;
mod propose;
mod read;
mod rows;
mod runtime;
mod serve;
mod settings;
mod snapshot;
mod source;
mod status;
mod touch;
mod types;
mod watch;

pub use effects::{Effects, Told};
pub use handle::Meta;
pub(crate) use handle::forget_identity;
pub use metrics::MetaMetrics;
pub use read::Freshness;
pub use settings::{MetaSettings, Observed, Observer, Planted};
pub use status::{MembershipAt, MetaStatus, RaftId, Seated, StatusWatch};
