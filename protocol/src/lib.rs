//! What Shoal peers decide: pure values and state machines.
//!
//! Everything that chooses a peer, a count, an order or a time lives here, as a function or as a
//! machine `handle(&mut self, now, input, &mut Vec<Output>)` with `next_deadline()`.
//! Never: IO, clocks, entropy, threads, async. The crate's manifest is the proof.

pub mod api;
pub mod byte_count;
pub mod catalog;
pub mod cid;
pub mod dag;
pub mod error;
pub mod format;
pub mod id;
pub mod index;
pub mod invite;
pub mod limits;
pub mod log_end;
pub mod membership;
pub mod metadata;
pub mod placement;
pub mod prng;
pub mod raft;
pub mod record;
pub mod repair;
pub mod search;
pub mod time;
pub mod topology;
pub mod transfer;
pub mod wire;
pub mod work;

pub use cid::{Cid, Codec};
pub use error::{Fault, Kind};
pub use id::{ClusterId, OwnerId, PeerId};
pub use prng::Prng;
pub use time::{Instant, WallTime};
