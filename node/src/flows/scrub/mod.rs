//! Scrubbing: everything that a peer holds is read again from time to time, so that what rots is found before it is
//! needed.
//!
//! One task per peer (`task`) reads and hashes blocks in the order and at the speed that `protocol::repair::Scrub`
//! says, slower while clients are served. A second one (`rewrite`) writes anew what the store found corrupt, be it
//! by a scrub, a read or the moving of segments: from another holder, at once, since the peer that has the
//! place knows best what it lacks. Where that fails, healing is told to look. Owns the place of the scrub. Never:
//! removes a block; keeps bytes that were not hashed.

mod handle;
mod metrics;
mod rewrite;
mod task;

pub use handle::Scrub;
pub(crate) use handle::ScrubInbox;
pub use metrics::ScrubMetrics;
pub(crate) use rewrite::rewrite;
pub(crate) use task::scrub;
